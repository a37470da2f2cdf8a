// A RemoteFs between two servers of this library: requests of a near client
// arrive at the far tree, and no fid stays there.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  FunctionError,
  NinePError,
  OAPPEND,
  ORCLOSE,
  ORDWR,
  OREAD,
  OWRITE,
  Plan9Exit,
  QTDIR,
} from "../../../codec.ts";
import {
  type CallContext,
  MemoryFs,
  RemoteFs,
  type Tree,
  type TreeDir,
  type TreeFile,
  treeOf,
} from "../../../fs/mod.ts";
import { connect } from "../../../client.ts";
import { serve } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { test } from "../../harness.ts";
import { bridge, until } from "./remote_host.ts";
import { soon, T } from "../../server/wire_client.ts";

const open = { mode: 0o777 };
const encoder = new TextEncoder();

test("RemoteFs: files are read, made, changed and removed there", async () => {
  const fs = new MemoryFs({ lib: { motd: "hello\n" } }, open);
  fs.chmod("lib", 0o777);
  await using b = await bridge(fs);
  const near = await b.dial();
  assertEquals(await near.readTextFile("lib/motd"), "hello\n");
  await near.mkdir("a/b", { recursive: true });
  await near.writeTextFile("a/b/c", "text");
  assertEquals(fs.readTextFile("a/b/c"), "text");
  await near.rename("a/b/c", "a/b/d");
  await near.truncate("a/b/d", 2);
  await near.chmod("a/b/d", 0o600);
  await near.utime("a/b/d", undefined, 1_000_000_000);
  await near.sync("a/b/d");
  const { mode, length, mtime, uid } = await near.stat("a/b/d");
  assertEquals([mode, length, mtime, uid], [0o600, 2, 1_000_000_000, "none"]);
  assertEquals((await near.stat("/")).name, "/");
  assertEquals(await near.readDirNames("/"), ["lib", "a"]);
  await near.remove("a", { recursive: true });
  assertEquals(fs.readDir("/").map(({ name }) => name), ["lib"]);
  assertEquals(await b.count(), 2); // The client's root, and that of the attach.
});

test("RemoteFs: a name and other attributes are changed together, or neither", async () => {
  const fs = new MemoryFs({ a: "text", b: "" }, { ...open, uid: "none" });
  await using b = await bridge(fs);
  const near = await b.dial();
  b.watch.take();
  await near.wstat("a", { name: "c", length: 1, mode: 0o600 });
  assertEquals(fs.readTextFile("c"), "t");
  assertEquals(b.watch.take().filter((type) => type === "Twstat").length, 1);
  await assertRejects(
    () => near.wstat("c", { name: "b", length: 0 }),
    NinePError,
    "file already exists",
  );
  await assertRejects(
    () => near.wstat("c", { name: "d", gid: "sys" }),
    NinePError,
  );
  assertEquals(fs.readTextFile("c"), "t");
});

test("RemoteFs: a name, a stat and a read cost one round trip each", async () => {
  const fs = new MemoryFs({ lib: { motd: "hello\n" } });
  await using b = await bridge(fs);
  const near = await b.wire();
  b.watch.take();
  await near.rpc(T.walk(1, 0, 1, "lib"));
  assertEquals(b.watch.take(), ["Twalk"]);
  await near.rpc(T.walk(1, 1, 2, "motd"));
  assertEquals(b.watch.take(), ["Twalk"]);
  await near.rpc(T.stat(1, 2));
  assertEquals(b.watch.take(), ["Tstat"]);
  await near.rpc(T.walk(1, 2, 3));
  assertEquals(b.watch.take(), [], "a clone shares the far fid");
  await near.rpc(T.open(1, 2));
  assertEquals(b.watch.take(), ["Twalk", "Topen"]);
  await near.ask(T.read(1, 2), "Rread 1 hello");
  assertEquals(b.watch.take(), ["Tread"]);
});

test("RemoteFs: each near fid has as many far fids as it needs, and gives them back", async () => {
  const fs = new MemoryFs({ lib: { motd: "hello\n" } }, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  const start = await b.count();
  await near.rpc(T.walk(1, 0, 1, "lib", "motd"));
  assertEquals(await b.count(), start + 2); // The directory, for `..`.
  await near.rpc(T.walk(1, 1, 2));
  assertEquals(await b.count(), start + 2);
  await near.rpc(T.open(1, 2));
  assertEquals(await b.count(), start + 3);
  await near.rpc(T.clunk(1, 1));
  assertEquals(await b.count(), start + 3);
  await near.ask(T.read(1, 2), "Rread 1 hello");
  await near.rpc(T.clunk(1, 2));
  assertEquals(await b.count(), start);

  await near.rpc(T.walk(1, 0, 1, "lib", "none"));
  await near.rpc(T.walk(1, 0, 1, "none"));
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "new", 0o600, OWRITE));
  assertEquals(await b.count(), start + 2); // An open one, and one to walk from.
  await near.rpc(T.walk(1, 0, 2, "new"));
  await near.rpc(T.open(1, 2, 3)); // Refused: it cannot be executed.
  await near.rpc(T.remove(1, 2));
  await near.rpc(T.clunk(1, 1));
  assertEquals(await b.count(), start);
});

test("RemoteFs: a near client that goes away leaves no far fid", async () => {
  const fs = new MemoryFs({ lib: { motd: "hello\n" } }, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  const before = await b.count();
  await near.rpc(T.walk(1, 0, 1, "lib"));
  await near.rpc(T.open(1, 1));
  await near.rpc(T.read(1, 1));
  await near.rpc(T.walk(1, 0, 2, "lib", "motd"));
  await near.rpc(T.open(1, 2));
  await near.rpc(T.walk(1, 0, 3));
  await near.rpc(T.create(1, 3, "d", DMDIR + 0o755, OREAD));
  near.close();
  await until(async () => await b.count() < before);
});

test("RemoteFs: removing a file through one near fid leaves the others to it", async () => {
  const fs = new MemoryFs({ a: "text" }, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1, "a"));
  await near.rpc(T.walk(1, 1, 2));
  await near.rpc(T.open(1, 2));
  await near.ask(T.remove(1, 1), "Rremove 1");
  await near.ask(T.read(1, 2), "Rread 1 text");
  await near.ask(T.stat(1, 2), "Rstat 1 a");
  await near.ask(T.clunk(1, 2), "Rclunk 1");
});

test("RemoteFs: a created file can be walked to, cloned and opened by the clone", async () => {
  await using b = await bridge(new MemoryFs({}, open));
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "f", 0o644, ORDWR));
  await near.ask(T.write(1, 1, "text"), "Rwrite 1 4");
  await near.ask(T.walk(1, 1, 2), "Rwalk 1");
  await near.ask(T.clunk(1, 1), "Rclunk 1");
  await near.ask(T.stat(1, 2), "Rstat 1 f");
  await near.rpc(T.open(1, 2));
  await near.ask(T.read(1, 2), "Rread 1 text");
  await near.rpc(T.walk(1, 0, 3));
  await near.rpc(T.create(1, 3, "d", DMDIR + 0o755, OREAD));
  await near.rpc(T.walk(1, 3, 4));
  await near.rpc(T.create(1, 4, "g", 0o644, OWRITE));
  await near.ask(T.remove(1, 4), "Rremove 1");
  await near.ask(T.read(1, 3), "Rread 1");
  await near.ask(T.remove(1, 3), "Rremove 1");
});

test("RemoteFs: a created file is not another one that has its name by now", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "f", 0o644, ORDWR));
  await near.rpc(T.walk(1, 1, 2));
  await near.rpc(T.clunk(1, 1));
  fs.remove("f");
  fs.writeFile("f", "of another");
  await near.ask(T.open(1, 2), "Rerror 1 file has been removed");
  assertEquals((await near.rpc(T.remove(1, 2))).type, "Rerror");
  assertEquals(fs.readTextFile("f"), "of another");
});

test("RemoteFs: functions are called, with and without a Topen", async () => {
  const fs = new MemoryFs({ plain: "text" }, open);
  fs.register("add", (a, b) => a + b, { params: ["a", "b"] });
  await using b = await bridge(fs);
  const near = await b.dial();
  assertEquals(await near.call("add", { argv: [17, 25] }), 42);
  assertEquals(await near.call("add", { kwarg: { a: 1, b: 2 } }), 3);
  await assertRejects(
    () => near.call("plain", { argv: [1] }),
    NinePError,
    "not a function file",
  );
  const wire = await b.wire();
  await wire.rpc(T.walk(1, 0, 1, "add"));
  await wire.ask(T.write(1, 1, '{"a":3,"b":4}'), "Rwrite 1 13");
  await wire.ask(T.read(1, 1), "Rread 1 7");
  await wire.ask(T.call(1, 1, '{"argv":[5,6]}'), "Rcall 1 0 11");
  await wire.ask(T.read(1, 1), "Rread 1 7");
  // Arguments that were written without a Topen stay after a Topen.
  await wire.rpc(T.open(1, 1, ORDWR));
  await wire.ask(T.read(1, 1), "Rread 1 7");
  await wire.rpc(T.walk(1, 0, 2, "plain"));
  await wire.ask(T.read(1, 2), "Rerror 1 bad use of fid");
  await wire.ask(T.write(1, 2, "x"), "Rerror 1 bad use of fid");
  await wire.ask(T.call(1, 2), "Rcall 1 255");
});

test("RemoteFs: two near fids do not see what the other has written to a function", async () => {
  const fs = new MemoryFs({}, open);
  fs.register("echo", (text) => text, { params: ["text"] });
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1, "echo"));
  await near.rpc(T.walk(1, 1, 2));
  await near.rpc(T.write(1, 1, '{"text":"one"}'));
  await near.rpc(T.write(1, 2, '{"text":"two"}'));
  await near.ask(T.read(1, 1), 'Rread 1 "one"');
  await near.ask(T.read(1, 2), 'Rread 1 "two"');
});

test("RemoteFs: what a client has written that went away is not for others", async () => {
  const fs = new MemoryFs({}, open);
  fs.register("echo", (text) => text, { params: ["text"] });
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1, "echo"));
  await near.rpc(T.open(1, 1, ORDWR));
  await near.rpc(T.write(1, 1, '{"text":"secret"}'));
  const before = await b.count();
  near.close();
  await until(async () => await b.count() < before);
  const other = await b.dial();
  assertEquals(await other.readTextFile("echo"), "");
});

test("RemoteFs: errors are those of the far server", async () => {
  const fs = new MemoryFs({ "secret": "s" }, open);
  fs.chmod("secret", 0);
  fs.register("fail", () => {
    throw new RangeError("bad value");
  });
  fs.register("missing", () => {
    throw new NinePError("file does not exist");
  });
  fs.define("odd", {
    read: () => {
      throw new NinePError("the moon is full");
    },
  });
  await using b = await bridge(fs, { far: { onError: () => {} } });
  const near = await b.dial();
  const failed = await assertRejects(() => near.call("fail"), FunctionError);
  assertEquals([failed.class, failed.str], ["RangeError", "bad value"]);
  const missing = await assertRejects(
    () => near.call("missing"),
    FunctionError,
  );
  assertEquals([missing.code, missing.argv[0]], ["ENOENT", 2]);
  const odd = await assertRejects(() => near.readFile("odd"), NinePError);
  assertEquals(odd.ename, "the moon is full");
  const refused = await assertRejects(
    () => near.readFile("secret"),
    NinePError,
  );
  assertEquals(refused.code, "EACCES");
  await assertRejects(() => near.readFile("none"), NinePError, "not exist");
  await assertRejects(() => near.stat("secret/x"), NinePError);
  assertEquals(b.errors, [], "errors of the near server");
});

test("RemoteFs: the exit error of a far function does not end the near client", async () => {
  const fs = new MemoryFs({}, open);
  fs.register("exit", () => {
    throw new Plan9Exit("good bye");
  });
  const [here, there] = pair();
  const farServed = serve(there, fs);
  const between = await connect(here);
  const [near, end] = pair();
  const served = serve(end, new RemoteFs(between));
  const client = await connect(near);
  const error = await assertRejects(() => client.call("exit"), FunctionError);
  assertEquals([error.class, error.str], ["Plan9Exit", "good bye"]);
  await between.closed;
  const lost = await assertRejects(() => client.stat("/"), NinePError);
  assertEquals(lost.ename, "Connection reset by peer");
  await client.close();
  await soon(Promise.all([served, farServed]));
});

/** A file whose reads wait until they are let go, or aborted. */
function waiting(fs: MemoryFs): { aborted: () => number; release: () => void } {
  let aborted = 0;
  const waits = new Set<() => void>();
  fs.register("event", ({ signal }: CallContext) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    waits.add(() => resolve("now"));
    signal.addEventListener("abort", () => {
      aborted++;
      reject(signal.reason);
    });
    return promise;
  }, { callOnRead: true, context: true });
  return {
    aborted: () => aborted,
    release: () => waits.forEach((go) => go()),
  };
}

test("RemoteFs: a read waits for its event, beside other requests", async () => {
  const fs = new MemoryFs({ motd: "hello\n" }, open);
  const event = waiting(fs);
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1, "event"));
  await near.rpc(T.open(1, 1));
  near.send(T.read(2, 1));
  await near.ask(T.stat(3, 0), "Rstat 3 /");
  event.release();
  await near.expect('Rread 2 "now"');
});

test("RemoteFs: a flush of a near read flushes the far one", async () => {
  const fs = new MemoryFs({}, open);
  const event = waiting(fs);
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.walk(1, 0, 1, "event"));
  await near.rpc(T.open(1, 1));
  near.send(T.read(2, 1), T.flush(3, 2));
  await near.expect("Rflush 3");
  await b.count();
  assertEquals(event.aborted(), 1);
  await near.ask(T.clunk(1, 1), "Rclunk 1");
});

test("RemoteFs: the end of a near client flushes its far reads, not those of others", async () => {
  const fs = new MemoryFs({}, open);
  const event = waiting(fs);
  await using b = await bridge(fs);
  const [one, other] = [await b.wire(), await b.wire()];
  for (const near of [one, other]) {
    await near.rpc(T.walk(1, 0, 1, "event"));
    await near.rpc(T.open(1, 1));
    near.send(T.read(2, 1));
    await near.ask(T.stat(3, 0), "Rstat 3 /");
  }
  one.close();
  await until(() => event.aborted() === 1);
  event.release();
  await other.expect('Rread 2 "now"');
  assertEquals(event.aborted(), 1);
});

test("RemoteFs: transfers are cut to what the far session takes", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs, { far: { msize: 4096 } });
  const near = await b.wire(65536);
  await near.rpc(T.walk(1, 0, 1));
  const created = await near.rpc(T.create(1, 1, "f", 0o644, ORDWR));
  assert(created.type === "Rcreate");
  assertEquals(created.iounit, 4096 - 24);
  const data = Uint8Array.from({ length: 20_000 }, (_, i) => i % 251);
  await near.ask(T.write(1, 1, data), "Rwrite 1 20000");
  assertEquals(fs.readFile("f"), data);
  const read = await near.rpc(T.read(1, 1, 0, 20_000));
  assert(read.type === "Rread");
  assertEquals(read.data, data.subarray(0, 4096 - 24));

  const client = await b.dial();
  await client.writeFile("g", data);
  assertEquals(await client.readFile("g"), data);
});

test("RemoteFs: appends go to the end, also of two near clients", async () => {
  const fs = new MemoryFs({ log: "" }, open);
  fs.chmod("log", 0o666);
  await using b = await bridge(fs);
  const [one, other] = [await b.dial(), await b.dial()];
  const flags = OWRITE | OAPPEND;
  const files = [
    await one.open("log", { flags }),
    await other.open("log", { flags }),
  ];
  for (const text of ["a", "b", "c", "d"]) {
    await files[text === "b" || text === "d" ? 1 : 0]
      ?.writeAll(encoder.encode(text));
  }
  for (const file of files) await file.close();
  assertEquals(fs.readTextFile("log"), "abcd");
  const perm = DMAPPEND + 0o666;
  await (await one.create("only", { perm, mode: OWRITE })).close();
  const wire = await b.wire();
  await wire.rpc(T.walk(1, 0, 1, "only"));
  await wire.rpc(T.open(1, 1, OWRITE));
  await wire.ask(T.write(1, 1, "x", 0), "Rwrite 1 1");
  await wire.ask(T.write(1, 1, "y", 2n ** 64n - 1n), "Rwrite 1 1");
  assertEquals(fs.readTextFile("only"), "xy");
});

test("RemoteFs: an exclusive file is open once, by a near client or a far one", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs);
  const [one, other] = [await b.dial(), await b.dial()];
  const lock = await one.create("lock", { perm: DMEXCL + 0o666, mode: ORDWR });
  const refused = await assertRejects(() => other.open("lock"), NinePError);
  assertEquals(refused.ename, "exclusive use file already open");
  await assertRejects(() => b.between.open("lock"), NinePError, "exclusive");
  await lock.close();
  await (await other.open("lock")).close();
});

test("RemoteFs: a file that was opened with ORCLOSE goes with its fid", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs);
  const near = await b.wire();
  const other = await b.dial();
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "a", 0o666, ORDWR | ORCLOSE));
  await near.ask(T.clunk(1, 1), "Rclunk 1");
  assertEquals(fs.readDir("/"), []);
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "b", 0o666, ORDWR | ORCLOSE));
  await near.ask(T.remove(1, 1), "Rremove 1");
  assertEquals(fs.readDir("/"), []);
  await near.rpc(T.walk(1, 0, 1));
  await near.rpc(T.create(1, 1, "c", 0o666, ORDWR | ORCLOSE));
  near.close();
  await until(async () => !(await other.exists("c")));
});

test("RemoteFs: the far server sees one user, or each", async () => {
  const fs = new MemoryFs({}, open);
  const none = await bridge(fs, { between: { uname: "gate" } });
  {
    await using b = none;
    const near = await b.dial({ uname: "glenda" });
    await near.writeTextFile("one", "");
    assertEquals(fs.stat("one").uid, "gate");
  }
  await using b = await bridge(fs, {
    remote: (between) => ({
      attach: (uname, aname) => between.attach({ uname, aname }),
    }),
  });
  const glenda = await b.dial({ uname: "glenda" });
  await glenda.writeTextFile("each", "mine", { mode: 0o600 });
  assertEquals(fs.stat("each").uid, "glenda");
  const ken = await b.dial({ uname: "ken" });
  await assertRejects(() => ken.readTextFile("each"), NinePError, "denied");
  assertEquals(await glenda.readTextFile("each"), "mine");
});

test("RemoteFs: a path is the root, and nothing above it is reached", async () => {
  const fs = new MemoryFs({ lib: { news: { motd: "hello\n" } }, secret: "" });
  await using b = await bridge(fs, { remote: { path: "lib/news" } });
  const near = await b.wire();
  await near.ask(T.stat(1, 0), "Rstat 1 /");
  await near.rpc(T.walk(1, 0, 1, "..", "..", "motd"));
  await near.ask(T.stat(1, 1), "Rstat 1 motd");
  const above = await near.rpc(T.walk(1, 0, 2, "..", "secret"));
  assert(above.type === "Rwalk");
  assertEquals(above.wqid.length, 1);
  await near.ask(T.remove(1, 0), "Rerror 1 cannot remove root");
});

test("RemoteFs: a root must be there, and be a directory", async () => {
  const fs = new MemoryFs({ motd: "" });
  for (const [path, ename] of [["none", "not exist"], ["motd", "directory"]]) {
    await using b = await bridge(fs, { remote: { path } });
    await assertRejects(() => b.dial(), NinePError, ename);
  }
});

test("RemoteFs: a move to another directory is refused", async () => {
  const fs = new MemoryFs({ a: { f: "" }, b: {} }, open);
  await using b = await bridge(fs);
  const near = await b.dial();
  const error = await assertRejects(
    () => near.rename("a/f", "b/f"),
    NinePError,
  );
  assertEquals(error.code, "EXDEV");
});

test("RemoteFs: a directory is read as the near client asks, and left in the middle", async () => {
  const fs = new MemoryFs();
  fs.mkdir("many");
  fs.chmod("many", 0o755);
  for (let i = 0; i < 5000; i++) fs.writeFile(`many/file${i}`, "");
  await using b = await bridge(fs, { far: { msize: 8192 } });
  const near = await b.wire(8192);
  await near.rpc(T.walk(1, 0, 1, "many"));
  await near.rpc(T.open(1, 1));
  b.watch.take();
  const first = await near.rpc(T.read(1, 1, 0, 8000));
  assert(first.type === "Rread" && first.data.length > 0);
  assert(b.watch.take().length <= 2, "reads of the far directory");
  await near.ask(T.clunk(1, 1), "Rclunk 1");

  const client = await b.dial();
  const names = await client.readDirNames("many");
  assertEquals(names.length, 5000);
  assertEquals(new Set(names).size, 5000);
  // From the beginning again, with the same fid.
  await near.rpc(T.walk(1, 0, 1, "many"));
  await near.rpc(T.open(1, 1));
  const again = await near.rpc(T.read(1, 1, 0, 8000));
  assertEquals(again, first);
  assertEquals(await near.rpc(T.read(1, 1, 0, 8000)), first);
});

test("RemoteFs: a listing goes on behind a cookie", async () => {
  const fs = new MemoryFs({ a: "", b: "", c: "", d: "" });
  await using b = await bridge(fs);
  const near = await b.wire();
  await near.rpc(T.stat(1, 0));
  // As another dialect asks the tree.
  const signal = new AbortController().signal;
  const context = { signal } as never; // The tree uses nothing else of it.
  const request = { uname: "u", aname: "", afid: undefined };
  const root = await b.tree.attach(request, context);
  const list = await root.list?.({ cookie: 2 }, context) ?? [];
  const names: string[] = [];
  for await (const { stat } of list) names.push(stat.name);
  assertEquals(names, ["c", "d"]);
  await root.release?.();
});

test("RemoteFs: a clone file opens as another file", async () => {
  const file = (name: string, path: bigint, extra: Partial<TreeFile> = {}) => {
    const qid = { type: 0, vers: 0, path };
    const made: TreeFile = {
      qid,
      stat: () => ({ qid, name, mode: 0o666 }),
      ...extra,
    };
    return made;
  };
  const ctl = file("ctl", 2n);
  const clone = file("clone", 1n, {
    open: () => ({ file: ctl, read: () => encoder.encode("7") }),
  });
  const qid = { type: QTDIR, vers: 0, path: 0n };
  const root: TreeDir = {
    qid,
    stat: () => ({ qid, name: "/", mode: DMDIR + 0o777 }),
    lookup: () => clone,
  };
  await using b = await bridge(treeOf(root));
  const near = await b.wire();
  await near.ask(T.walk(1, 0, 1, "clone"), "Rwalk 1 1");
  await near.ask(T.open(1, 1, ORDWR), "Ropen 1 2");
  await near.ask(T.read(1, 1), "Rread 1 7");
  await near.ask(T.stat(1, 1), "Rstat 1 ctl");
  await near.ask(T.clunk(1, 1), "Rclunk 1");
});

test("RemoteFs: a server that mounts itself answers at every depth", async () => {
  const fs: Tree = new MemoryFs({ motd: "hello\n" });
  const [here, there] = pair();
  const first = Promise.withResolvers<RemoteFs>();
  const own = treeOf({
    attach: async (request, context) => {
      const root = await fs.attach(request, context);
      return {
        qid: root.qid,
        stat: (context) => root.stat(context),
        list: (request, context) => root.list?.(request, context) ?? [],
        lookup: async (name, context) => {
          if (name !== "self") return root.lookup(name, context);
          const self = await first.promise;
          return self.attach(
            { uname: "u", aname: "", afid: undefined },
            context,
          );
        },
      } satisfies TreeDir;
    },
  });
  const served = serve(there, own);
  const between = await connect(here);
  first.resolve(new RemoteFs(between));
  const [near, end] = pair();
  const nearServed = serve(end, own);
  const client = await connect(near);
  const path = [..."12345"].map(() => "self").join("/");
  assertEquals(await client.readTextFile(`${path}/motd`), "hello\n");
  assertEquals(await client.readDirNames(path), ["motd"]);
  await client.close();
  await soon(nearServed);
  await between.close();
  await soon(served);
});

test("RemoteFs: two near clients work at once", async () => {
  const fs = new MemoryFs({}, open);
  await using b = await bridge(fs);
  const clients = [await b.dial(), await b.dial()];
  await Promise.all(clients.map(async (client, who) => {
    for (let i = 0; i < 30; i++) {
      const text = `${who} ${i}`;
      await client.writeTextFile(`f${who}`, text);
      assertEquals(await client.readTextFile(`f${who}`), text);
    }
    await client.remove(`f${who}`);
  }));
});

test("RemoteFs: closeTimeout must be a time", () => {
  const tree = undefined as never; // It is not used.
  for (const closeTimeout of [0, -1, NaN, 2 ** 31]) {
    let error: unknown;
    try {
      new RemoteFs(tree, { closeTimeout });
    } catch (caught) {
      error = caught;
    }
    assert(error instanceof RangeError, `${closeTimeout}`);
  }
});
