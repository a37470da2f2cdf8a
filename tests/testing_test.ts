// The fixture for users, and over it what pyroute2's own tests do.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import type { Client } from "../client.ts";
import { NinePError } from "../codec.ts";
import { MemoryFs } from "../fs/mod.ts";
import { test } from "./harness.ts";
import { withTestServer } from "./testing.ts";

test("P-46 withTestServer() serves a data file and a call-on-read file", async () => {
  const before = Date.now();
  const value = await withTestServer(async ({ client, fs }) => {
    assertEquals(await client.readTextFile("data"), "hello\n");
    fs.writeFile("data", "from the server's side");
    assertEquals(await client.readTextFile("data"), "from the server's side");
    const time = Number(await client.readTextFile("time"));
    assert(before <= time && time <= Date.now());
    await client.writeTextFile("new", "anyone may");
    return fs.readTextFile("new");
  });
  assertEquals(value, "anyone may");
});

test("P-46 withTestServer() takes options, and a tree of the test's own", async () => {
  const fs = new MemoryFs({ own: "tree" });
  const connect = { uname: "glenda", msize: 4096 };
  await withTestServer(async ({ client, fs: served }) => {
    assertStrictEquals<MemoryFs>(served, fs);
    assertEquals(client.msize, 1024);
    assertEquals(await client.readTextFile("own"), "tree");
    const refused = client.writeTextFile("own", "by glenda");
    await assertRejects(() => refused, NinePError, "permission denied");
  }, { fs, connect, serve: { msize: 1024 } });
});

test("P-46 withTestServer() takes a handler", async () => {
  const root = { qid: { type: 0x80, vers: 0, path: 0n } };
  const gone: string[] = [];
  const fs = {
    attach: () => root,
    walk: () => undefined,
    open: () => {},
    disconnect: ({ peer }: { peer: string }) => {
      gone.push(peer);
    },
  };
  await withTestServer(async ({ client }) => {
    await assertRejects(() => client.stat("x"), NinePError, "does not exist");
  }, { fs });
  assertEquals(gone, ["pair"]);
});

test("P-46 withTestServer() closes both ends after an error, which it gives", async () => {
  let client: Client | undefined;
  const error = new Error("of the test");
  const failing = withTestServer(async (test) => {
    client = test.client;
    await client.open("data"); // Left open.
    throw error;
  });
  assertStrictEquals(await failing.catch((error) => error), error);
  assertEquals(await client?.closed, undefined);
  // Also when there is no client at all.
  const fs = {
    attach: () => {
      throw new NinePError("permission denied");
    },
    walk: () => undefined,
    open: () => {},
  };
  const refused = withTestServer(() => assert(false), { fs });
  await assertRejects(() => refused, NinePError, "permission denied");
});

test("P-46 withTestServer() ends while a function runs that never does", async () => {
  const fs = new MemoryFs();
  const running = Promise.withResolvers<void>();
  fs.register("forever", () => {
    running.resolve();
    return new Promise(() => {});
  });
  let call: Promise<unknown> | undefined;
  await withTestServer(async ({ client }) => {
    call = assertRejects(() => client.call("forever"), Error, "is closed");
    await running.promise;
  }, { fs, connect: { closeTimeout: 1 } });
  await call;
});

test("P-48: reads data that is there", async () => {
  const fs = new MemoryFs({ test_file: "initial data" }, { uid: "none" });
  await withTestServer(async ({ client }) => {
    const fid = await client.protocol.walk("test_file");
    await client.protocol.rpc({ type: "Topen", fid, mode: 0 });
    const data = await client.protocol.read(fid);
    assertEquals(new TextDecoder().decode(data), "initial data");
    await client.protocol.clunk(fid);
  }, { fs });
});

test("P-48: five reads of a call-on-read file give five times", async () => {
  const fs = new MemoryFs();
  let clock = 1_000;
  fs.register("time", () => clock += 0.25, { callOnRead: true });
  await withTestServer(async ({ client }) => {
    // On one fid that was never opened, as that client does it; then by path.
    const fid = await client.protocol.fid("time");
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const data = await client.protocol.read(fid);
      times.push(JSON.parse(new TextDecoder().decode(data)));
    }
    assertEquals(times, [1000.25, 1000.5, 1000.75, 1001, 1001.25]);
    for (let i = 0; i < 5; i++) {
      times.push(Number(await client.readTextFile("time")));
    }
    assertEquals(new Set(times).size, 10);
  }, { fs });
});

test("P-48: what was written is read", async () => {
  const fs = new MemoryFs({ test_file: "initial data" }, { uid: "none" });
  await withTestServer(async ({ client }) => {
    await using file = await client.open("test_file", {
      read: true,
      write: true,
      truncate: true,
    });
    assertEquals(await client.protocol.write(file.fid, "new data"), 8);
    const data = await client.protocol.read(file.fid);
    assertEquals(new TextDecoder().decode(data), "new data");
    assertEquals(fs.readTextFile("test_file"), "new data");
  }, { fs });
});

test("P-18: the whole example: register, start, write and read 42, call 42, stop", async () => {
  const fs = new MemoryFs();
  fs.register("test_func", ({ a, b }: { a: number; b: number }) => a + b);
  await withTestServer(async ({ client }) => {
    const fid = await client.protocol.fid("test_func");
    await client.protocol.write(fid, '{"a": 17, "b": 25}');
    const data = await client.protocol.read(fid);
    assertEquals(JSON.parse(new TextDecoder().decode(data)), 42);
    const kwarg = { a: 17, b: 25 };
    assertEquals(await client.call("test_func", { kwarg }), 42);
    assertEquals(await client.call(fid, { kwarg }), 42);
  }, { fs });
});

test("P-27, P-28: read() and write() of a fid take their offset", async () => {
  await withTestServer(async ({ client, fs }) => {
    await using file = await client.open("data", { read: true, write: true });
    const { fid } = file;
    assertEquals(await client.protocol.write(fid, "J"), 1);
    assertEquals(await client.protocol.write(fid, "y!", { offset: 4 }), 2);
    assertEquals(
      await client.protocol.write(fid, new Uint8Array([63]), { offset: 6n }),
      1,
    );
    assertEquals(fs.readTextFile("data"), "Jelly!?");
    const text = new TextDecoder();
    assertEquals(text.decode(await client.protocol.read(fid)), "Jelly!?");
    const part = await client.protocol.read(fid, { offset: 1, count: 4 });
    assertEquals(text.decode(part), "elly");
    const end = await client.protocol.read(fid, { offset: 7n });
    assertEquals(end.length, 0);
  });
});
