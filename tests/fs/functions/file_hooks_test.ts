// Functions that are added to a file that exists, and taken away (P-38); names
// that are given and taken by node (P-39); what can be registered.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { NinePError, ORDWR } from "../../../codec.ts";
import { FileNode, MemoryFs } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { Gate } from "../../server/toy.ts";
import { bytes, refused, ServedTree, textOf } from "../tree_client.ts";

test("on: answers in place of the file, also for fids that have it open, until it is taken away", async () => {
  const fs = new MemoryFs({ f: "content" }, { mode: 0o777 });
  fs.chmod("f", 0o666);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  const file = fs.find("f");
  assert(file instanceof FileNode);
  const off = file.on("read", () => bytes("hooked"));
  assertEquals(await client.text(fid), "hooked");
  const inner = file.on("read", async (request, { uname }, next) => {
    const data = await next({ ...request, offset: 1 });
    return bytes(`${uname}: ${textOf(data)}`);
  });
  assertEquals(await client.text(fid), "glenda: hooked");
  off();
  assertEquals(await client.text(fid), "glenda: ontent");
  inner();
  off();
  assertEquals(await client.text(fid), "content");

  const written: string[] = [];
  {
    using _off = file.on(
      "write",
      ({ data }) => void written.push(textOf(data)),
    );
    await client.write(fid, "lost");
  }
  await client.write(fid, "C");
  assertEquals(written, ["lost"]);
  assertEquals(fs.readTextFile("f"), "Content");
});

test("on: with call, any file is a function", async () => {
  const fs = new MemoryFs({ f: "content" });
  fs.chmod("f", 0o666);
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const file = fs.find("f");
  const add = fs.find("add");
  assert(file instanceof FileNode && add instanceof FileNode);
  const off = file.on("call", ({ text }) => `called with ${text}`);
  const called = { err: 0, value: "called with {}" };
  assertEquals(await client.call("f", "{}"), called);
  off();
  await client.open("f");
  const seen: string[] = [];
  using _seen = add.on("call", (request, _context, next) => {
    seen.push(request.text);
    return next(request);
  });
  const text = '{"argv":[17,25]}';
  assertEquals(await client.call("add", text), { err: 0, value: "42" });
  assertEquals(seen, [text]);
});

test("on: a read that waits goes on when its function is taken away", async () => {
  const gate = new Gate();
  const begun = new Gate();
  const fs = new MemoryFs({ f: "content" });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const file = fs.find("f");
  assert(file instanceof FileNode);
  const off = file.on("read", async () => {
    begun.open();
    await gate.passed;
    return bytes("late");
  });
  const fid = await client.open("f");
  const late = client.text(fid);
  await begun.passed;
  off();
  assertEquals(await client.text(fid), "content");
  gate.open();
  assertEquals(await late, "late");
});

test("on: its errors are those of the request; misuse is refused", async () => {
  const fs = new MemoryFs({ f: "content" });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const file = fs.find("f");
  assert(file instanceof FileNode);
  const fid = await client.open("f");
  const off = file.on("read", () => {
    throw new NinePError("not now");
  });
  await refused("not now", client.read(fid));
  off();
  const wrong = file.on("read", () => "text" as unknown as Uint8Array); // As from JavaScript.
  await refused("i/o error", client.read(fid));
  wrong();
  const on = (kind: unknown, hook: unknown) =>
    file.on(kind as "read", hook as () => Uint8Array); // As from JavaScript.
  assertThrows(() => on("open", () => {}), TypeError, "open");
  assertThrows(() => on("read", 5), TypeError, "number");
  assertEquals(await client.text(fid), "content");
});

test("link, unlink, parents: names of a file in several directories", () => {
  const fs = new MemoryFs({ f: "content", a: {}, b: {} });
  const [f, a, b] = [fs.find("f"), fs.mkdir("x"), fs.mkdir("y")];
  assert(f instanceof FileNode);
  a.link("one", f);
  b.link("two", f);
  assertEquals(f.parents, [fs.root, a, b]);
  assertEquals(fs.readTextFile("y/two"), "content");
  const error = assertThrows(() => a.link("one", f), NinePError);
  assertEquals(error.ename, "file already exists");
  fs.root.unlink("f");
  assertEquals(f.parents, [a, b]);
  b.link("three", f);
  a.unlink("one");
  b.unlink("two");
  assertEquals([f.parents, f.isRemoved], [[b], false]);
  b.unlink("three");
  assertEquals([f.parents, f.isRemoved], [[], true]);

  const refusals: [() => void, string][] = [
    [() => a.link("dead", f), "file has been removed"],
    [() => a.link("dir", b), "Is a directory"],
    [
      () => a.link("other", new MemoryFs().create("g")),
      "Invalid cross-device link",
    ],
    [() => a.link("x/y", fs.create("g")), "illegal name"],
    [() => a.unlink("none"), "file does not exist"],
    [() => fs.mkdir("x/sub") && fs.root.unlink("x"), "directory is not empty"],
  ];
  for (const [call, ename] of refusals) {
    assertEquals(assertThrows(call, NinePError).ename, ename);
  }
  assertEquals(a.parents, [fs.root]);
});

test("register: an object without a function is refused", () => {
  const fs = new MemoryFs();
  const register = (fn: unknown) => fs.register("x", fn as () => void); // As from JavaScript.
  for (const fn of [{ a: 5 }, {}, { a: null }, Object.create({ f() {} })]) {
    assertThrows(() => register(fn), TypeError, "no member is a function");
  }
  assertEquals(fs.find("x"), undefined);
});
