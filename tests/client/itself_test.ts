// Copies of files and directories onto and into themselves, where neither paths
// nor addresses show this: two connections to one server under different names.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import { qid, sent, start } from "./scripted.ts";
import { type Client, connect } from "../../client.ts";
import { DMAPPEND, NinePError } from "../../codec.ts";
import { type Content, MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

/** Connects to a tree as if it belonged to another server. */
async function visit(fs: MemoryFs): Promise<Client> {
  const [near, far] = pair();
  void serve(far, fs);
  return await connect(near, { msize: 8192 });
}

function tree(content: Content): MemoryFs {
  return new MemoryFs(content, { mode: 0o777, uid: "none" });
}

/** Gives a file the qid of a file in another tree. */
function disguise(fs: MemoryFs, path: string, other: MemoryFs, as = path) {
  const node = fs.find(path);
  assert(node !== undefined);
  node.qid.path = other.stat(as).qid.path;
}

const long = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7 + (i >> 8));

test("copy() of a file onto itself through another address leaves it as it is", async () => {
  for (const content of [new Uint8Array(0), long.slice(0, 5), long]) {
    const fs = tree({ f: content });
    fs.link("f", "same");
    await using client = await visit(fs);
    await using target = await visit(fs);
    for (const to of ["f", "same"]) {
      await client.copy("f", to, { target });
      assertEquals(fs.readFile("f"), content);
    }
  }
});

test("copy() of an append-only file onto itself through another address ends", async () => {
  const fs = tree({});
  await using client = await visit(fs);
  await using target = await visit(fs);
  const log = await client.create("log", { perm: DMAPPEND + 0o666 });
  await log.writeAll("one\n");
  await log.close();
  await client.copy("log", "log", { target });
  assertEquals(fs.readTextFile("log"), "one\none\n");
});

test("copy() of a tree onto one with files of its own loses nothing", async () => {
  const fs = tree({ d: { f: "in d" }, e: {} });
  fs.link("d/f", "e/f");
  await using client = await visit(fs);
  await using target = await visit(fs);
  await client.copy("d", "e", { target, recursive: true });
  assertEquals([fs.readTextFile("d/f"), fs.readTextFile("e/f")], [
    "in d",
    "in d",
  ]);
});

test("copy() onto a longer file whose qid happens to be the same cuts it", async () => {
  const [from, to] = [tree({ f: "new" }), tree({ f: "old and longer" })];
  disguise(from, "f", to);
  await using client = await visit(from);
  await using target = await visit(to);
  assertEquals((await client.stat("f")).qid, (await target.stat("f")).qid);
  await client.copy("f", "f", { target });
  assertEquals(to.readTextFile("f"), "new");
});

test("copy() of a directory onto and into itself through another address is refused", async () => {
  for (
    const [to, message] of [
      ["d", 'Cannot copy "d" to "d": Invalid argument: it is copied onto'],
      ["d/x", 'Cannot copy "d" to "d/x": Invalid argument: it is copied into'],
      ["d/sub", 'Cannot copy "d" to "d/sub": Invalid argument'],
      ["d/sub/x", 'Cannot copy "d/sub" to "d/sub/x/sub": Invalid argument'],
    ] as const
  ) {
    const fs = tree({ d: { a: "1", sub: { b: "2" } } });
    await using client = await visit(fs);
    await using target = await visit(fs);
    const error = await assertRejects(
      () => client.copy("d", to, { target, recursive: true }),
      NinePError,
      message,
    );
    assertEquals(error.code, "EINVAL");
    const names = [];
    for await (const { path } of client.walkTree("/")) names.push(path);
    assertEquals(names.filter((name) => name.includes("copy-")), []);
  }
});

test("copy() of directories whose qids happen to be the same goes on, and leaves no mark", async () => {
  const content = { a: { b: { c: { f: "x" } } } };
  const [from, to] = [tree(content), tree({ a: {} })];
  disguise(from, "a", to);
  await using client = await visit(from);
  await using target = await visit(to);
  assertEquals((await client.stat("a")).qid.path, to.stat("a").qid.path);
  await client.copy("a", "a", { target, recursive: true });
  const names = [];
  for await (const { path } of target.walkTree("/")) names.push(path);
  assertEquals(names, ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/f"]);
});

test("copy() to a target that is no tree rejects", async () => {
  await using client = await visit(tree({ f: "x" }));
  for (const target of [null, 42, "tcp://host"]) {
    await assertRejects(
      // A JavaScript caller may pass this.
      () => client.copy("f", "g", { target: target as unknown as Client }),
      TypeError,
      `Cannot copy "f" to "g": target is ${target}, not a client`,
    );
  }
});

test("copy() of a tree over another one has no more requests for a file where no qid is the same", async () => {
  await using from = await visit(tree({ a: { f: "x", g: "y", h: "z" } }));
  await using to = await start();
  to.run((request) =>
    request.type === "Twalk"
      ? { type: "Rwalk", wqid: request.wname.map((_, i) => qid(1000 + i)) }
      : undefined
  );
  await from.copy("a", "a", { target: to.client, recursive: true });
  const count = (type: string) => sent(to).filter((t) => t === type).length;
  assertEquals(
    ["Tstat", "Topen", "Twrite", "Twstat"].map(count),
    [1, 3, 3, 0], // The one is of the directory.
  );
  const modes = to.server.log.flatMap((t) => t.type === "Topen" ? t.mode : []);
  assertEquals(modes, [0x11, 0x11, 0x11]); // OWRITE | OTRUNC
});

test("copy() of a made-up file behind a log that has its qid on another server gives all of it", async () => {
  const source = tree({});
  source.define("status", { content: () => "hello\n" });
  const logs = tree({});
  logs.create("log", { data: "old\n", mode: DMAPPEND + 0o666 });
  disguise(source, "status", logs, "log");
  await using client = await visit(source);
  await using target = await visit(logs);
  await client.copy("status", "log", { target });
  assertEquals(logs.readTextFile("log"), "old\nhello\n");
});
