// Limits of a tree: names, names of users, files, bytes.
import { assertEquals, assertThrows } from "@std/assert";
import { DMDIR, NinePError, ORDWR, OWRITE } from "../../../codec.ts";
import { MemoryFs, type MemoryFsOptions } from "../../../fs/mod.ts";
import type { Quota } from "../../../fs/memory/quota.ts";
import { test } from "../../harness.ts";
import { refused, ServedTree } from "../tree_client.ts";

const FULL = "file system is full";

function tree(options: MemoryFsOptions): ServedTree {
  return new ServedTree(new MemoryFs({}, { mode: 0o777, ...options }));
}

test("maxFiles: files and directories, made by clients or by the program", async () => {
  await using served = tree({ maxFiles: 3 });
  served.fs.create("a");
  const client = await served.client();
  await client.create("/", "b", 0o666);
  await client.create("/", "c", DMDIR + 0o777);
  await refused(FULL, client.create("c", "d"));
  await refused(FULL, client.create("c", "d", DMDIR + 0o777));
  assertEquals(served.fs.readDir("c"), []);
  const error = assertThrows(() => served.fs.create("d"), NinePError);
  assertEquals([error.ename, error.code], [FULL, "ENOSPC"]);
  assertThrows(() => served.fs.register("d", () => {}), NinePError);
  assertThrows(() => served.fs.mkdir("d"), NinePError);
});

test("maxFiles: removed ones do not count, renamed ones count once", async () => {
  await using served = tree({ maxFiles: 2 });
  const client = await served.client();
  for (let i = 0; i < 5; i++) {
    const fid = await client.create("/", "a", 0o666);
    await client.create("/", "b", 0o666);
    await client.wstat(fid, { name: `c${i}` });
    await client.remove(fid);
    await client.remove("b");
  }
  served.fs.mkdir("d/e", { recursive: true });
  served.fs.remove("d", { recursive: true });
  served.fs.mkdir("d/e", { recursive: true });
});

test("maxFiles: the files of the constructor count", () => {
  new MemoryFs({ a: "", b: { c: "" } }, { maxFiles: 3 });
  assertThrows(
    () => new MemoryFs({ a: "", b: { c: "" } }, { maxFiles: 2 }),
    NinePError,
    FULL,
  );
});

test("maxSize: what could not be made takes no room, whatever the reason", () => {
  const fs = new MemoryFs({ a: "" }, { maxFiles: 1, maxSize: 100 });
  const data = new Uint8Array(60);
  for (let i = 0; i < 3; i++) {
    assertThrows(() => fs.writeFile("b", data), NinePError, FULL);
  }
  fs.writeFile("a", data);
  assertThrows(() => fs.writeFile("a", new Uint8Array(101)), NinePError, FULL);
});

test("maxSize: a file that was removed takes nothing more", () => {
  const fs = new MemoryFs({}, { maxSize: 100 });
  const node = fs.create("a");
  fs.remove("a");
  const content = new Uint8Array(60);
  assertThrows(() => node.content = content, NinePError, "removed");
  fs.create("b", { data: content });
});

test("maxFiles: 1,048,576 by default", () => {
  const fs = new MemoryFs({ a: "" });
  // The count alone: so many nodes would take half a GiB.
  const { quota } = fs.find("a") as unknown as { quota: Quota };
  for (let i = 1; i < 1_048_576; i++) quota.addFile();
  assertThrows(() => fs.mkdir("b"), NinePError, "file system is full");
  quota.dropFile();
  fs.mkdir("b");
});

test("maxName: bytes of a name, at create and rename, by client and program", async () => {
  await using served = tree({ maxName: 4 });
  const client = await served.client("rob");
  const tooLong = "File name too long";
  const fid = await client.create("/", "1234");
  await refused(tooLong, client.create("/", "12345"));
  await refused(tooLong, client.create("/", "12ßß"));
  await refused(tooLong, client.wstat(fid, { name: "12345" }));
  await client.wstat(fid, { name: "12ß" });
  assertThrows(() => served.fs.create("12345"), NinePError, tooLong);
  assertThrows(() => served.fs.rename("12ß", "12345"), NinePError, tooLong);
});

test("maxName: 255 bytes by default", () => {
  const fs = new MemoryFs();
  fs.create("x".repeat(255));
  assertThrows(() => fs.create("x".repeat(256)), NinePError);
});

test("maxName: a user whose name no listing has room for may not attach", async () => {
  await using served = tree({});
  const client = await served.client("x".repeat(255));
  await refused("unknown user", client.attach(7, "x".repeat(256)));
  await refused("unknown user", client.attach(7, "ß".repeat(128)));
  await client.attach(7, "rob");
  await client.create("/", "f", 0o666);
  const dir = await client.open("/");
  assertEquals(await client.list(dir), ["f"]);
});

test("maxFileSize, maxSize: refused, and nothing changed", async () => {
  await using served = tree({ maxFileSize: 8, maxSize: 12 });
  const client = await served.client();
  const one = await client.create("/", "one", 0o666, OWRITE);
  await client.write(one, "12345678");
  await refused("file too big", client.write(one, "9", 8));
  await refused("file too big", client.write(one, "9", 2 ** 53 - 9));
  await refused("file too big", client.wstat(one, { length: 9n }));
  const two = await client.create("/", "two", 0o666, OWRITE);
  await refused(FULL, client.write(two, "12345"));
  await refused(FULL, client.wstat(two, { length: 5n }));
  await client.write(two, "1234");
  assertEquals((await client.stat(one)).length, 8n);
  assertEquals((await client.stat(two)).length, 4n);
});

test("maxFileSize, maxSize: 1 GiB and 2 GiB by default, and a gap takes no memory", async () => {
  await using served = tree({});
  const client = await served.client();
  const one = await client.create("/", "one", 0o666, ORDWR);
  const GiB = 2 ** 30;
  await refused("file too big", client.wstat(one, { length: BigInt(GiB + 1) }));
  await refused("file too big", client.write(one, "x", GiB));
  await client.write(one, "x", GiB - 1);
  assertEquals((await client.stat(one)).length, BigInt(GiB));
  assertEquals(await client.text(one, GiB - 2), "\0x");
  await client.create("/", "two", 0o666, OWRITE);
  await client.wstat("two", { length: BigInt(GiB) });
  const three = await client.create("/", "three", 0o666, OWRITE);
  await refused(FULL, client.write(three, "x"));
  await client.wstat("two", { length: BigInt(GiB - 1) });
  await client.write(three, "x");
});

test("maxSize: what a cut gives back is there for others", async () => {
  await using served = tree({ maxSize: 4 * 2 ** 20 });
  const client = await served.client();
  const piece = new Uint8Array(2 ** 15).fill(1);
  for (const name of ["a", "b", "c"]) {
    const fid = await client.create("/", name, 0o666, ORDWR);
    for (let at = 0; at < 3 * 2 ** 20; at += piece.length) {
      await client.write(fid, piece, at);
    }
    await client.wstat(fid, { length: 10n });
    assertEquals((await client.read(fid)).length, 10);
  }
});

test("MemoryFs: a limit that is none is refused", () => {
  const names = [
    "maxFileSize",
    "maxSize",
    "maxFiles",
    "maxName",
    "maxCalls",
    "maxTreeCalls",
  ] as const;
  for (const name of names) {
    for (const limit of [-1, NaN, "10"]) {
      // As from JavaScript.
      const options = { [name]: limit } as MemoryFsOptions;
      assertThrows(() => new MemoryFs({}, options), RangeError, name);
    }
  }
});
