// Misuse by callers: illegal modes, paths and targets. Nothing is sent, and the
// error names the operation.
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { test } from "../harness.ts";
import { failure } from "./reconnecting.ts";
import { type Scene, sent, start } from "./scripted.ts";
import { type Client, connect, normalizePath } from "../../client.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

/** Connects a client to a server that answers all requests. */
async function served(): Promise<Scene> {
  const scene = await start();
  scene.run(() => undefined);
  return scene;
}

test("mkdir(), open(), create() and writeFile() refuse modes that no file can have", async () => {
  await using scene = await served();
  const { client } = scene;
  for (const mode of [NaN, -1, 7.5, 2 ** 32, 2 ** 40 + 0o755]) {
    const isOut = `is ${mode}, the range is 0 to 4294967295`;
    const calls: [string, () => Promise<unknown>][] = [
      ['make directory "a": mode', () => client.mkdir("a", { mode })],
      [
        'make directory "b/c": mode',
        () => client.mkdir("b/c", { mode, recursive: true }),
      ],
      [
        'open "d": mode',
        () => client.open("d", { write: true, create: true, mode }),
      ],
      ['open "e": mode', () => client.writeFile("e", "", { mode })],
      ['create "f": perm', () => client.create("f", { perm: mode })],
    ];
    for (const [operation, call] of calls) {
      await assertRejects(call, RangeError, `Cannot ${operation} ${isOut}`);
    }
  }
  assertEquals(sent(scene), []);
  await client.mkdir("a", { mode: 0 });
  await client.mkdir("a", { mode: 0xffffffff });
});

test("a path that no message holds is a RangeError that says what was tried", async () => {
  await using scene = await served();
  const { client } = scene;
  const calls: [string, (path: string) => Promise<unknown>][] = [
    ["stat", (path) => client.stat(path)],
    ["read", (path) => client.readFile(path)],
    ["open", (path) => client.open(path)],
    ["remove", (path) => client.remove(path)],
    ["list", (path) => client.readDirNames(path)],
    ["walk to", (path) => client.protocol.fid(path)],
    ['copy "a" to', (path) => client.copy("a", path)],
  ];
  for (
    const [path, detail] of [
      ["a\0b", "has a NUL"],
      ["\ud800", "has half of a surrogate pair"],
      ["x".repeat(70_000), "has 70000 bytes, the maximum is 65535"],
    ] as const
  ) {
    for (const [verb, call] of calls) {
      const error = await failure(call(path));
      assertInstanceOf(error, RangeError);
      assertEquals(
        error.message,
        `Cannot ${verb} "${path}": Cannot encode Twalk: "wname" ${detail}`,
      );
      assertInstanceOf(error.cause, RangeError);
    }
  }
});

test("a list of elements with a slash in one is a TypeError everywhere", async () => {
  await using scene = await served();
  const { client } = scene;
  const list = ["d", "a/b"];
  const calls: ((client: Client) => Promise<unknown>)[] = [
    () => client.stat(list),
    () => client.exists(list),
    () => client.protocol.fid(list),
    () => client.protocol.walk(list),
    () => client.chdir(list),
    () => client.writeFile(list, ""),
    () => client.mkdir(list),
    () => client.rename("d", list),
    () => client.remove(list),
    () => client.copy(list, "e"),
    async () => await Array.fromAsync(client.readDir(["/"])),
  ];
  for (const call of calls) {
    await assertRejects(() => call(client), TypeError, "has a slash");
  }
  await assertRejects(
    async () => normalizePath(await Promise.resolve(list)),
    TypeError,
    'Cannot find "d/a/b": "a/b" is an element of the list, and has a slash',
  );
  assertEquals(sent(scene).includes("Tcreate"), false);
});

test("connect() says what it wants when it gets something else", async () => {
  for (const target of [undefined, null, 564, new URL("tcp://host"), {}]) {
    await assertRejects(
      // A JavaScript caller may pass this.
      () => connect(target as never),
      TypeError,
      `Cannot connect to ${target}: it is neither an address nor a connection`,
    );
  }
});

test("client: a message of wrong types is refused, and costs no other", async () => {
  const [near, far] = pair();
  const served = serve(far, new MemoryFs({ a: "data" }));
  await using client = await connect(near);
  const five = 5 as unknown as string;
  const wname = [five];
  for (
    const wrong of [
      () => client.chgrp("a", five),
      () => client.attach({ uname: five }),
      () => {
        const newfid = client.protocol.allocFid();
        return client.protocol.rpc({
          type: "Twalk",
          fid: client.protocol.root,
          newfid,
          wname,
        });
      },
    ]
  ) {
    await assertRejects(wrong, TypeError, "is number, not a text");
    assertEquals(await client.readTextFile("a"), "data");
  }
  assertThrows(
    () => client.protocol.releaseFid(client.protocol.root),
    RangeError,
  );
  assertThrows(() => client.protocol.releaseFid(77), RangeError);
  await client.close();
  await served;
});

test("connect() refuses a kind of peer that it does not know", async () => {
  const [near, far] = pair();
  const peer = "plan9port" as "pyroute2";
  await assertRejects(() => connect(near, { peer }), TypeError, "plan9port");
  near.close();
  far.close();
});
