// Files with several names, and nodes that last as long as a scope (P-39).
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { NinePError, ORCLOSE, ORDWR, OTRUNC, OWRITE } from "../../../codec.ts";
import { LinkNode, MemoryFs, PlainNode } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { bytes, refused, ServedTree } from "../tree_client.ts";

/** A file a/f that has the further name b/g. */
function linked(): { fs: MemoryFs; served: ServedTree } {
  const fs = new MemoryFs({ a: {}, b: {} }, { mode: 0o777 });
  fs.chmod("a", 0o777);
  fs.chmod("b", 0o777);
  fs.create("a/f", { mode: 0o666, data: "data" });
  fs.link("a/f", "b/g");
  return { fs, served: new ServedTree(fs) };
}

test("link(): two names, one file: content, mode, qid", async () => {
  const { fs, served } = linked();
  await using _ = served;
  const client = await served.client();
  const [f, g] = [await client.stat("a/f"), await client.stat("b/g")];
  assertEquals([f.name, g.name], ["f", "g"]);
  assertEquals({ ...g, name: "f" }, f);
  const fid = await client.open("b/g", ORDWR);
  await client.write(fid, "more", 4);
  fs.chmod("b/g", 0o644);
  assertEquals(fs.readTextFile("a/f"), "datamore");
  assertEquals((await client.stat("a/f")).length, 8n);
  assertEquals((await client.stat("b/g")).length, 8n);
  assertEquals((await client.stat("a/f")).mode, 0o644);
  const dir = await client.open("b");
  assertEquals(await client.list(dir), ["g"]);
  assertEquals(fs.readDir("b").map(({ name }) => name), ["g"]);
});

test("link(): find() gives the same node for each name", () => {
  const { fs } = linked();
  const node = fs.find("a/f");
  assertInstanceOf(node, PlainNode);
  assertStrictEquals(fs.find("b/g"), node);
  assertEquals([node.name, node.parent], ["f", fs.find("a")]);
  const entry = fs.find("b") === undefined ? undefined : fs.root.members
    .get("b");
  assert(entry !== undefined && "members" in entry);
  const members = entry.members as ReadonlyMap<string, unknown>; // Of a DirNode.
  const link = members.get("g");
  assertInstanceOf(link, LinkNode);
  assertEquals([link.name, link.target], ["g", node]);
});

test("link(): a link to a link is one to the file", () => {
  const { fs } = linked();
  fs.link("b/g", "h");
  fs.remove("b/g");
  fs.remove("a/f");
  assertEquals(fs.readTextFile("h"), "data");
});

test("link(): removing a name leaves the others, the last removes the file", async () => {
  const { fs, served } = linked();
  await using _ = served;
  const node = fs.find("a/f");
  const client = await served.client();
  await client.remove("a/f");
  assertEquals(node?.isRemoved, false);
  assertEquals(fs.readTextFile("b/g"), "data");
  await refused("file does not exist", client.open("a/f").catch(toNotFound));
  const fid = await client.open("b/g", ORDWR | ORCLOSE);
  await client.clunk(fid);
  assertEquals(fs.find("b/g"), undefined);
  assertEquals(node?.isRemoved, true);
  assertEquals(node?.length, 0);
});

/** A walk that ends behind the directory says no more than that. */
function toNotFound(error: NinePError): never {
  throw error.ename === "incomplete walk"
    ? new NinePError("file does not exist")
    : error;
}

test("link(): a fid that was walked by a name that is gone still has the file", async () => {
  const { fs, served } = linked();
  await using _ = served;
  const client = await served.client();
  const fid = await client.walk("b/g");
  fs.remove("b/g");
  await client.ask({ type: "Topen", fid, mode: ORDWR });
  await client.write(fid, "more", 4);
  assertEquals(fs.readTextFile("a/f"), "datamore");
  await refused("file has been removed", client.wstat(fid, { name: "h" }));
  await refused("file has been removed", client.remove(fid));
});

test("link(): a client renames the name that it walked to", async () => {
  const { fs, served } = linked();
  await using _ = served;
  const client = await served.client();
  await client.wstat("b/g", { name: "h" });
  assertEquals(fs.readTextFile("b/h"), "data");
  assertEquals(fs.readTextFile("a/f"), "data");
  fs.rename("b/h", "i");
  assertEquals(fs.readTextFile("i"), "data");
  assertEquals(fs.find("i")?.name, "f");
});

test("link(): exclusive use, truncation and permissions are the file's", async () => {
  const { fs, served } = linked();
  await using _ = served;
  const client = await served.client();
  fs.chmod("a/f", 0x20000000 + 0o666);
  const fid = await client.open("a/f", ORDWR);
  await refused("exclusive use file already open", client.open("b/g"));
  await client.clunk(fid);
  await client.open("b/g", ORDWR | OTRUNC);
  assertEquals(fs.stat("a/f").length, 0n);
});

test("link(): a function file may be in two directories", async () => {
  const fs = new MemoryFs({ d: {} });
  fs.register("add", (a, b) => a + b, { params: ["a", "b"] });
  fs.link("add", "d/plus");
  await using served = new ServedTree(fs);
  const client = await served.client();
  assertEquals((await client.call("d/plus", '{"argv": [1, 2]}')).value, "3");
  const fid = await client.walk("d/plus"); // Not opened.
  await client.write(fid, '{"a": 17, "b": 25}');
  assertEquals(await client.text(fid), "42");
  const writer = await client.open("d/plus", OWRITE);
  await client.write(writer, '{"a": 40, "b": 2}');
  assertEquals(await client.text(await client.open("add")), "42");
  assertEquals((await client.stat("d/plus")).length, 2n);
});

test("link(): refuses directories, names that are taken, what is not there", () => {
  const { fs } = linked();
  const refuse = (from: string, to: string, ename: string) =>
    assertEquals(
      assertThrows(() => fs.link(from, to), NinePError).ename,
      ename,
    );
  refuse("a", "b/a", "Is a directory");
  refuse("a/f", "b/g", "file already exists");
  refuse("a/f", "no/g", "file does not exist");
  refuse("no", "b/h", "file does not exist");
  refuse("a/f", "..", "illegal name");
});

test("link(): names are counted, and given back", () => {
  const fs = new MemoryFs({ f: "data" }, { maxFiles: 2, maxSize: 4 });
  fs.link("f", "g");
  const full = assertThrows(() => fs.link("f", "h"), NinePError);
  assertEquals([full.ename, full.code], ["file system is full", "ENOSPC"]);
  fs.remove("f");
  fs.link("g", "h");
  fs.remove("g");
  fs.remove("h");
  fs.create("i", { data: "data" });
});

test("using: a node is removed at the end of its scope", () => {
  const fs = new MemoryFs();
  {
    using dir = fs.mkdir("tmp");
    using file = fs.create("tmp/f", { data: bytes("x") });
    assertEquals([dir.name, file.name], ["tmp", "f"]);
    fs.mkdir("tmp/more/and/more", { recursive: true });
  }
  assertEquals(fs.readDir("/"), []);
});

test("using: what is gone already, or renamed, is no trouble; the root stays", () => {
  const fs = new MemoryFs();
  {
    using _gone = fs.create("gone");
    using _renamed = fs.create("old");
    fs.remove("gone");
    fs.rename("old", "new");
    using _root = fs.root;
  }
  assertEquals(fs.readDir("/"), []);
  fs.create("f");
});
