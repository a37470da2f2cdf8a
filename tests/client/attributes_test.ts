// The attributes of files and their changes, against a scripted server.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "../harness.ts";
import { type Scene, sent, start, stat } from "./scripted.ts";
import { connect, type StatChanges } from "../../client.ts";
import {
  changesOf,
  DMAPPEND,
  DMDIR,
  NinePError,
  type Stat,
  type Tmessage,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const yes = { type: "Rwstat" } as const;

/** Starts a server that makes all requested changes. */
function willing(scene: Scene, attributes: Partial<Stat> = {}): void {
  scene.run((request: Tmessage) => {
    if (request.type === "Twstat") return yes;
    return request.type === "Tstat"
      ? { type: "Rstat", stat: { ...stat("a"), ...attributes } }
      : undefined;
  });
}

/** Returns the requested changes. */
function wishes({ server }: Scene): Partial<Stat>[] {
  return server.log.flatMap((t) =>
    t.type === "Twstat" ? [changesOf(t.stat)] : []
  );
}

// C-83.
test("exists(), isDirectory(), isFile() say no where a path leads nowhere", async () => {
  for (const ename of ["file does not exist", "walk in non-directory"]) {
    await using scene = await start();
    scene.run((request) =>
      request.type === "Twalk" ? { type: "Rerror", ename } : undefined
    );
    const { client } = scene;
    assertEquals(await client.exists("a/b"), false);
    assertEquals(await client.isDirectory("a/b"), false);
    assertEquals(await client.isFile(["a", "b"]), false);
  }
});

test("exists() says no after an incomplete Rwalk, and yes after a whole one", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twalk" && request.wname[0] === "a"
      ? { type: "Rwalk", wqid: [stat("a").qid] }
      : undefined
  );
  const { client } = scene;
  assertEquals(await client.exists("a/b"), false);
  assertEquals(await client.exists("b/c"), true);
  assertEquals(await client.exists("/"), true);
  assertEquals(sent(scene).filter((type) => type === "Tstat"), []);
});

test("exists(), isDirectory(), isFile() tell all other errors", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twalk"
      ? { type: "Rerror", ename: "permission denied" }
      : undefined
  );
  const { client } = scene;
  const probes = [
    [() => client.exists("a"), 'Cannot look for "a": permission denied'],
    [() => client.isDirectory("a"), 'Cannot stat "a": permission denied'],
    [() => client.isFile("a"), 'Cannot stat "a": permission denied'],
  ] as const;
  for (const [probe, message] of probes) {
    const error = await assertRejects(probe, NinePError, message);
    assertEquals(error.code, "EACCES");
  }
});

// C-15, C-18.
test("isDirectory() and isFile() of both kinds, by path and fid", async () => {
  for (const isDirectory of [true, false]) {
    await using scene = await start();
    const attributes = stat("a", 0, isDirectory ? DMDIR : 0);
    willing(scene, attributes);
    const { client } = scene;
    assertEquals(await client.isDirectory("a"), isDirectory);
    assertEquals(await client.isFile("a"), !isDirectory);
    assertEquals(await client.isDirectory(client.protocol.root), isDirectory);
  }
});

// C-88.
test("chmod() keeps the DM bits", async () => {
  const cases = [
    [0o644, 0o600, 0o600],
    [DMDIR + 0o755, 0, DMDIR],
    [DMAPPEND + 0o640, 0o777, DMAPPEND + 0o777],
    [0x1ff, 0o111, 0o111],
  ] as const;
  for (const [before, mode, after] of cases) {
    await using scene = await start();
    willing(scene, { mode: before });
    await scene.client.chmod("a", mode);
    assertEquals(wishes(scene), [{ mode: after }]);
  }
});

// C-88.
test("truncate(), chgrp(), utime(), sync() ask for what they should, and nothing else", async () => {
  await using scene = await start();
  willing(scene);
  const { client } = scene;
  await client.truncate("a");
  await client.truncate(client.protocol.root, 2 ** 53 - 1);
  await client.chgrp("a", "sys");
  await client.utime("a", 1, 2.9);
  await client.utime("a", undefined, new Date(1999));
  await client.utime("a", 0xfffffffe, undefined);
  await client.sync("a");
  await client.wstat("a", { name: undefined, length: undefined, mode: 1 });
  assertEquals<unknown>(wishes(scene), [
    { length: 0n },
    { length: 2n ** 53n - 1n },
    { gid: "sys" },
    { atime: 1, mtime: 2 },
    { mtime: 1 },
    { atime: 0xfffffffe },
    {},
    { mode: 1 },
  ]);
});

test("attributes out of range reach no server", async () => {
  await using scene = await start();
  willing(scene);
  const { client } = scene;
  for (const length of [-1, 0.5, NaN, 2 ** 53, Infinity]) {
    await assertRejects(() => client.truncate("a", length), RangeError);
    await assertRejects(() => client.wstat("a", { length }), RangeError);
  }
  for (const mode of [-1, 0o1000, 0.5, NaN, DMDIR + 0o755]) {
    await assertRejects(
      () => client.chmod("a", mode),
      RangeError,
      "the range is 0 to 0o777",
    );
  }
  const times = [-1, 2 ** 32 - 1, NaN, Infinity, new Date(NaN), new Date(-1)];
  for (const time of times) {
    await assertRejects(() => client.utime("a", time, 0), RangeError);
    await assertRejects(
      () => client.utime("a", 0, time),
      RangeError,
      "the range is 0 to 4294967294",
    );
  }
  assertEquals(sent(scene), []);
});

test("wstat() names the attribute that is out of its range", async () => {
  await using scene = await start();
  willing(scene);
  const { client } = scene;
  const cases = [
    [{ mode: -1 }, "mode is -1, the range is 0 to 4294967294"],
    [{ mode: 2 ** 32 - 1 }, "mode is 4294967295, the range is"], // "Don't touch".
    [{ atime: 0.5 }, "atime is 0.5, the range is 0 to 4294967294"],
    [{ mtime: NaN }, "mtime is NaN, the range is 0 to 4294967294"],
    [{ length: -1 }, "length is -1, the range is 0 to 9007199254740991"],
  ] as const;
  for (const [changes, detail] of cases) {
    await assertRejects(
      () => client.wstat("x", changes),
      RangeError,
      `Cannot change "x": ${detail}`,
    );
  }
  await assertRejects(
    () => client.wstat(client.protocol.root, { name: "y", mode: 0.5 }),
    RangeError,
    "Cannot change fid 0: mode is 0.5, the range is",
  );
  await assertRejects(
    () => client.utime("x", 0, new Date(NaN)),
    RangeError,
    'Cannot utime "x": mtime is NaN, the range is 0 to 4294967294',
  );
  assertEquals(sent(scene), []);
});

test("wstat() refuses what 9P2000 does not change", async () => {
  await using scene = await start();
  willing(scene);
  const { client } = scene;
  const qid = { type: 0, vers: 0, path: 0n };
  const fixed = { type: 0, dev: 0, qid, uid: "u", muid: "u", isFile: true };
  for (const [name, value] of Object.entries(fixed)) {
    const changes: StatChanges = { mode: 0o600, ...{ [name]: value } };
    await assertRejects(
      () => client.wstat("x", changes),
      TypeError,
      `Cannot change "x": ${name} is none of name, length, mode, atime, mtime, gid`,
    );
  }
  assertEquals(sent(scene), []);
});

test("what is no path is a TypeError that says so", async () => {
  await using scene = await start();
  const { client } = scene;
  // A JavaScript caller may pass this.
  for (const path of [undefined, null, {}, [undefined], ["a", 1]] as never[]) {
    const calls = [
      () => client.stat(path),
      () => client.exists(path),
      () => client.rename(path, "b"),
      () => client.rename("a", path),
      () => client.open(path),
      () => client.create(path),
      () => client.readFile(path),
      () => client.readDir(path).next(),
      () => client.readDirNames(path),
      () => client.walkTree(path).next(),
      () => client.mkdir(path),
      () => client.mkdir(path, { recursive: true }),
      () => client.remove(path),
      () => client.copy(path, "b"),
      () => client.protocol.walk(path),
      () => client.chdir(path),
      () => client.proxy(path),
    ];
    for (const call of calls) {
      await assertRejects(call, TypeError, "is neither a path nor a fid");
    }
  }
  assertEquals(sent(scene), []);
});

test("changes that are refused say what was tried", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twstat"
      ? { type: "Rerror", ename: "not owner" }
      : undefined
  );
  const { client } = scene;
  const cases = [
    ["truncate", () => client.truncate("a/b")],
    ["chmod", () => client.chmod("a/b", 0)],
    ["chgrp", () => client.chgrp("a/b", "g")],
    ["utime", () => client.utime("a/b", 0, 0)],
    ["sync", () => client.sync("a/b")],
    ["change", () => client.wstat("a/b", {})],
    ["rename", () => client.rename("a/b", "a/c")],
  ] as const;
  for (const [verb, change] of cases) {
    const message = `Cannot ${verb} "a/b": not owner`;
    const error = await assertRejects(change, NinePError, message);
    assertEquals(error.code, "EPERM");
  }
});

test("stat() with a length beyond 2^53 - 1: only asking for it throws", async () => {
  await using scene = await start();
  willing(scene, { name: "big", length: 2n ** 53n });
  const attributes = await scene.client.stat("big");
  assertEquals([attributes.name, attributes.isFile], ["big", true]);
  assertThrows(
    () => attributes.length,
    RangeError,
    'Cannot tell the length of "big": 9007199254740992 is beyond 2^53 - 1',
  );
});

test("stat() with a length beyond 2^53 - 1 can be copied", async () => {
  await using scene = await start();
  willing(scene, { name: "big", length: 2n ** 64n - 1n });
  const attributes = await scene.client.stat("big");
  const { qid: _qid, ...rest } = attributes; // JSON has no bigint.
  assertEquals(JSON.parse(JSON.stringify(rest)).name, "big");
  for (const copy of [{ ...attributes }, structuredClone(attributes)]) {
    assertEquals([copy.name, "length" in copy], ["big", false]);
  }
});

test("wstat() and chmod() of a directory keep DMDIR, and give it to no other file", async () => {
  const fs = new MemoryFs({ d: {}, f: "" }, { mode: 0o777, uid: "none" });
  const [near, far] = pair();
  void serve(far, fs);
  await using client = await connect(near);
  await client.wstat("d", { mode: 0o755, mtime: 5 });
  const { mode, mtime } = await client.stat("d");
  assertEquals([mode, mtime], [DMDIR + 0o755, 5]);
  await client.wstat(await client.protocol.walk("d"), { mode: DMDIR + 0o700 });
  assertEquals((await client.stat("d")).mode, DMDIR + 0o700);
  await client.chmod("d", 0o711);
  assertEquals((await client.stat("d")).mode, DMDIR + 0o711);
  await client.wstat("f", { mode: DMAPPEND + 0o640 });
  assertEquals((await client.stat("f")).mode, DMAPPEND + 0o640);
  await client.wstat("f", { mode: 0o600 });
  assertEquals((await client.stat("f")).mode, 0o600);
  const error = await assertRejects(
    () => client.wstat("f", { mode: DMDIR + 0o755 }),
    NinePError,
    "wstat can't convert between files and directories",
  );
  assertEquals(error.code, "EPERM");
});
