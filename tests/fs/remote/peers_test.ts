// Faults that users of other proxies have met, tried on a RemoteFs; and a
// RemoteFs inside other trees.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../../client.ts";
import {
  DMDIR,
  FunctionError,
  NinePError,
  OAPPEND,
  ORCLOSE,
  ORDWR,
  OREAD,
  OWRITE,
  Plan9Exit,
} from "../../../codec.ts";
import { MemoryFs, mount, readonly, RemoteFs, union } from "../../../fs/mod.ts";
import { serve } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { test } from "../../harness.ts";
import { bridge } from "./remote_host.ts";
import { soon, T } from "../../server/wire_client.ts";

const open = { mode: 0o777 };

// 9fans/go pull 143: a number was used again before its Rclunk had come.
test("RemoteFs: many near fids that come and go at once keep their far fids apart", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`f${i}`, `text ${i}`]),
  );
  const fs = new MemoryFs(files, open);
  await using b = await bridge(fs);
  const near = await b.dial();
  for (let round = 0; round < 5; round++) {
    const texts = await Promise.all(
      Object.keys(files).map((name) => near.readTextFile(name)),
    );
    assertEquals(texts, Object.values(files));
  }
});

// infernode pull 77: fids that were made for a request that failed were left.
test("RemoteFs: what fails leaves no far fid", async () => {
  const fs = new MemoryFs({ secret: "s", dir: { a: "" }, taken: "" }, {
    uid: "glenda",
    mode: 0o755,
  });
  fs.chmod("secret", 0);
  await using b = await bridge(fs);
  const near = await b.wire();
  const start = await b.count();
  const refused = [
    T.open(1, 1, ORDWR),
    T.open(1, 1, OREAD),
    T.wstat(1, 1, { mode: 0o777 }),
    T.wstat(1, 1, { name: "other" }),
    T.create(1, 2, "new"),
    T.create(1, 2, "newdir", DMDIR + 0o755, OREAD),
    T.create(1, 2, "taken"),
    T.read(1, 1),
    T.write(1, 1, "x"),
    T.remove(1, 1),
  ];
  await near.rpc(T.walk(1, 0, 1, "secret"));
  await near.rpc(T.walk(1, 0, 2));
  for (const request of refused) {
    const reply = await near.rpc(request);
    assertEquals(reply.type, "Rerror", request.type);
  }
  await near.ask(T.call(1, 2), "Rcall 1 255");
  await near.rpc(T.clunk(1, 2));
  assertEquals(await b.count(), start);
});

// chaos/diod issue 93: a rename directly after the create.
test("RemoteFs: a file is renamed through the fid that has made it", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "a", 0o644, ORDWR));
  await near.ask(T.wstat(1, 1, { name: "b" }), "Rwstat 1");
  await near.ask(T.write(1, 1, "text"), "Rwrite 1 4");
  await near.ask(T.stat(1, 1), "Rstat 1 b");
  await near.rpc(T.walk(1, 1, 2));
  await near.rpc(T.clunk(1, 1));
  await near.rpc(T.open(1, 2));
  await near.ask(T.read(1, 2), "Rread 1 text");
  assertEquals(fs.readTextFile("b"), "text");
});

// conclusiveeng/lib9p issue 22, rclone pull 9924: fids of, and below, a
// directory that another fid renames.
test("RemoteFs: a rename by another fid leaves the fids to their files", async () => {
  const fs = new MemoryFs({ dir: { sub: { f: "text" } } }, open);
  fs.chmod("dir", 0o777);
  fs.chmod("dir/sub", 0o777);
  await using b = await bridge(fs);
  const [near, other] = [await b.wire(), await b.wire()];
  await near.rpc(T.walk(1, 0, 1, "dir", "sub"));
  await near.rpc(T.walk(1, 1, 2));
  await near.rpc(T.create(1, 2, "made", 0o666, ORDWR));
  await near.rpc(T.walk(1, 2, 3));
  await near.rpc(T.clunk(1, 2));
  await other.rpc(T.walk(1, 0, 1, "dir"));
  await other.ask(T.wstat(1, 1, { name: "renamed" }), "Rwstat 1");
  await other.rpc(T.walk(1, 1, 2, "sub", "made"));
  await other.ask(T.wstat(1, 2, { name: "made too" }), "Rwstat 1");
  const walked = await near.rpc(T.walk(1, 1, 4, "f"));
  assert(walked.type === "Rwalk");
  await near.rpc(T.open(1, 4));
  await near.ask(T.read(1, 4), "Rread 1 text");
  await near.rpc(T.walk(1, 1, 5));
  await near.rpc(T.create(1, 5, "inner", DMDIR + 0o755, OREAD));
  await near.ask(T.stat(1, 3), "Rstat 1 made too");
  await near.rpc(T.open(1, 3, OWRITE));
  await near.ask(T.write(1, 3, "x"), "Rwrite 1 1");
  assertEquals(fs.readTextFile("renamed/sub/made too"), "x");
});

// mirage/ocaml-9p pull 82: a Tclunk of a fid that a Tremove has ended.
test("RemoteFs: a far fid that was removed is not clunked", async () => {
  const fs = new MemoryFs({ a: "", b: { c: "" } }, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  for (const [name, reply] of [["a", "Rremove 1"], ["b", ""]] as const) {
    const before = await b.count();
    await near.rpc(T.walk(1, 0, 1, name));
    b.watch.log.splice(0);
    const { type } = await near.rpc(T.remove(1, 1));
    assertEquals(type, reply === "" ? "Rerror" : "Rremove");
    assertEquals(await b.count(), before);
    const counts = (type: string) =>
      b.watch.log.filter((logged) => logged === type).length;
    assertEquals([counts("Tremove"), counts("Tclunk")], [1, 1]);
  }
});

// barre/ZeroFS pull 448: an open file that is removed.
test("RemoteFs: a file that is open, and that another client removes, is read and written", async () => {
  const fs = new MemoryFs({ a: "text" }, { ...open, uid: "none" });
  await using b = await bridge(fs);
  const [near, other] = [await b.wire(), await b.dial()];
  await near.rpc(T.walk(1, 0, 1, "a"));
  await near.rpc(T.open(1, 1, ORDWR));
  await other.remove("a");
  await near.ask(T.read(1, 1), "Rread 1 text");
  await near.ask(T.write(1, 1, "more", 4), "Rwrite 1 4");
  await near.ask(T.read(1, 1), "Rread 1 textmore");
});

test("RemoteFs: it is mounted in another tree, with all that it can", async () => {
  const far = new MemoryFs({ lib: { motd: "far\n" }, motd: "far\n" }, open);
  far.chmod("motd", 0o666);
  far.register("add", (a, b) => a + b, { params: ["a", "b"] });
  far.register("exit", () => {
    throw new Plan9Exit("good bye");
  });
  const local = new MemoryFs({ motd: "near\n" }, open);
  await using b = await bridge(far);
  const [near, end] = pair();
  const served = serve(end, mount({ "/": local, "/far": b.tree }));
  const client = await connect(near);
  assertEquals(await client.readTextFile("motd"), "near\n");
  assertEquals(await client.readTextFile("far/motd"), "far\n");
  assertEquals(await client.readTextFile("far/lib/../../motd"), "near\n");
  assertEquals(
    await client.readDirNames("far"),
    ["lib", "motd", "add", "exit"],
  );
  assertEquals(await client.call("far/add", { argv: [1, 2] }), 3);
  await client.truncate("far/motd", 1);
  assertEquals(far.readTextFile("motd"), "f");
  const append = await client.open("far/motd", { flags: OWRITE | OAPPEND });
  await append.writeAll(new TextEncoder().encode("!"));
  await append.close();
  assertEquals(far.readTextFile("motd"), "f!");
  const flags = ORDWR | ORCLOSE;
  const scratch = await client.open("far/scratch", { flags, create: true });
  assertEquals(far.readDir("/").at(-1)?.name, "scratch");
  await scratch.close();
  assertEquals(far.readDir("/").at(-1)?.name, "exit");
  await client.rename("far/motd", "far/news");
  await client.remove("far/news");
  const qids = [
    (await client.stat("motd")).qid,
    (await client.stat("far/add")).qid,
  ];
  assert(qids[0]?.path !== qids[1]?.path);
  const error = await assertRejects(
    () => client.call("far/exit"),
    FunctionError,
  );
  assertEquals(error.class, "Plan9Exit");
  await b.between.closed;
  const lost = await assertRejects(() => client.stat("far/lib"), NinePError);
  assertEquals(lost.code, "ECONNRESET");
  assertEquals(await client.readTextFile("motd"), "near\n");
  await client.close();
  await soon(served);
});

test("RemoteFs: it is the lower tree of a union, and read-only", async () => {
  const far = new MemoryFs({ a: "far a", b: "far b" });
  await using b = await bridge(far);
  const [near, end] = pair();
  const upper = new MemoryFs({ a: "near a" }, { ...open, uid: "none" });
  const served = serve(end, union(upper, readonly(b.tree)));
  const client = await connect(near);
  assertEquals(await client.readTextFile("a"), "near a");
  assertEquals(await client.readTextFile("b"), "far b");
  assertEquals((await client.readDirNames("/")).sort(), ["a", "b"]);
  assertEquals(far.readTextFile("b"), "far b");
  await client.close();
  await soon(served);
});

test("RemoteFs: a tree behind a tree behind a tree", async () => {
  const fs = new MemoryFs({ motd: "hello\n" }, open);
  fs.register("fail", () => {
    throw new RangeError("bad value");
  });
  await using first = await bridge(fs, { far: { onError: () => {} } });
  await using second = await bridge(first.tree);
  await using third = await bridge(second.tree);
  const client = await third.dial();
  assertEquals(await client.readTextFile("motd"), "hello\n");
  await client.writeTextFile("new", "text");
  assertEquals(fs.readTextFile("new"), "text");
  const error = await assertRejects(() => client.call("fail"), FunctionError);
  assertEquals([error.class, error.str], ["RangeError", "bad value"]);
  await client.close();
});

test("RemoteFs: the same tree serves near and in a second server at once", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs);
  const twin = new RemoteFs(b.between);
  const [near, end] = pair();
  const served = serve(end, twin);
  const [one, other] = [await b.dial(), await connect(near)];
  await one.writeTextFile("f", "one");
  assertEquals(await other.readTextFile("f"), "one");
  await other.remove("f");
  assertEquals(await one.exists("f"), false);
  await other.close();
  await soon(served);
});
