// Requests that a tree refuses with `strict`, and accepts without.
import { assertEquals } from "@std/assert";
import { ORDWR } from "../../../codec.ts";
import { MemoryFs } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { refused, ServedTree } from "../tree_client.ts";

const PROHIBITED = "wstat prohibited";
const REMOVED = "file has been removed";

function tree(strict: boolean): ServedTree {
  const fs = new MemoryFs({}, { mode: 0o777, uid: "ken", strict });
  fs.create("f", { mode: 0o666, data: "data" });
  fs.mkdir("d", { mode: 0o777 });
  fs.register("add", (a, b) => a + b, { params: ["a", "b"] });
  return new ServedTree(fs);
}

test("strict: a wish for atime is refused, alone and beside others", async () => {
  await using served = tree(true);
  const ken = await served.client("ken");
  await refused(PROHIBITED, ken.wstat("f", { atime: 5 }));
  await refused(PROHIBITED, ken.wstat("f", { atime: 5, mtime: 5 }));
  await refused(PROHIBITED, ken.wstat("add", { atime: 5 }));
  assertEquals((await ken.stat("f")).mtime !== 5, true);
  await using tolerant = tree(false);
  await (await tolerant.client("ken")).wstat("f", { atime: 5 });
});

test("strict: a muid beside a name or a time is refused", async () => {
  await using served = tree(true);
  const ken = await served.client("ken");
  await refused(PROHIBITED, ken.wstat("f", { name: "g", muid: "ken" }));
  await refused(PROHIBITED, ken.wstat("f", { mtime: 5, muid: "ken" }));
  assertEquals((await ken.stat("f")).name, "f");
  await using tolerant = tree(false);
  const other = await tolerant.client("ken");
  await other.wstat("f", { name: "g", muid: "ken" });
});

test("strict: what is right stays right", async () => {
  await using served = tree(true);
  const ken = await served.client("ken");
  await ken.wstat("f", { name: "g", mode: 0o600, mtime: 5, length: 2n });
  await ken.wstat("g", {});
  const { mode, mtime, length } = await ken.stat("g");
  assertEquals([mode, mtime, length], [0o600, 5, 2n]);
});

test("strict: an open file that was removed is of no use, but clunked", async () => {
  await using served = tree(true);
  const ken = await served.client("ken");
  const fid = await ken.open("f", ORDWR);
  const idle = await ken.walk("f");
  served.fs.remove("f");
  await refused(REMOVED, ken.read(fid));
  await refused(REMOVED, ken.write(fid, "x"));
  await refused(REMOVED, ken.stat(fid));
  await refused(REMOVED, ken.wstat(fid, { mode: 0o600 }));
  await refused(REMOVED, ken.ask({ type: "Topen", fid: idle, mode: 0 }));
  await ken.clunk(fid);
  await refused(REMOVED, ken.remove(idle));
  await refused("fid unknown or out of range", ken.clunk(idle));
});

test("strict: nor is a directory, or a function file", async () => {
  await using served = tree(true);
  const ken = await served.client("ken");
  const dir = await ken.open("d");
  const add = await ken.walk("add");
  assertEquals((await ken.call(add, '{"argv": [1, 2]}')).value, "3");
  served.fs.remove("d");
  served.fs.remove("add");
  await refused(REMOVED, ken.read(dir));
  await refused(
    '{"class":"StaleFileError","argv":[116,"file has been removed"],"str":"file has been removed"}',
    ken.call(add, '{"argv": [1, 2]}'),
  );
});

test("not strict: an open file that was removed goes on", async () => {
  await using served = tree(false);
  const ken = await served.client("ken");
  const fid = await ken.open("f", ORDWR);
  served.fs.remove("f");
  await ken.write(fid, "more", 4);
  assertEquals(await ken.text(fid), "datamore");
  assertEquals((await ken.stat(fid)).length, 8n);
});
