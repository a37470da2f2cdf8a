// Requests of clients to a tree, and their effects on nodes: permissions, open
// modes, create, read, write, remove. Twstat is in fs/rules/tree_wstat_test.ts,
// reads of directories in fs/rules/tree_dir_test.ts.
import {
  assert,
  assertEquals,
  assertGreater,
  assertNotEquals,
} from "@std/assert";
import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  DMTMP,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  type Stat,
} from "../../../codec.ts";
import { MemoryFs, type MemoryFsOptions } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import {
  refusal,
  refused,
  ServedTree,
  type TreeClient,
} from "../tree_client.ts";

const DENIED = "permission denied";

/** A tree whose root everyone may write. */
function openTree(
  content = {},
  options: MemoryFsOptions = {},
): ServedTree {
  return new ServedTree(new MemoryFs(content, { mode: 0o777, ...options }));
}

/** Members that move when a file's content, or a directory's members, do. */
function state({ qid, length, muid }: Stat): unknown {
  return { vers: qid.vers, length, muid };
}

test("attach: one root for all users, with QTDIR (S31, S34)", async () => {
  await using served = openTree({ d: {} });
  const client = await served.client("glenda");
  const root = await client.attach(90, "rob", "/");
  assertEquals(root.type, 0x80);
  assertEquals((await client.stat(90)).qid, root);
  assertEquals(await client.attach(91, "ken"), root);
  const { wqid } = await client.ask({
    type: "Twalk",
    fid: 0,
    newfid: 92,
    wname: ["d", ".."],
  });
  assertEquals(wqid[1], root);
  const opened = await client.ask({ type: "Topen", fid: 92, mode: OREAD });
  assertEquals(opened.qid, root);
});

test("attach: an unknown tree is refused, the fid is not born (S33)", async () => {
  await using served = openTree();
  const client = await served.client();
  await refused("file does not exist", client.attach(7, "glenda", "other"));
  await refused("fid unknown or out of range", client.stat(7));
  await client.attach(7, "glenda");
});

test("walk: execute is needed in each directory walked from (S49)", async () => {
  const fs = new MemoryFs({ a: { b: { c: "" } } });
  fs.chmod("a", 0o744);
  fs.chmod("a/b", 0o700);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const a = await client.walk("a");
  await refused(DENIED, client.walk("b", a));
  await refused(DENIED, client.walk("..", a));
  await refused("incomplete walk", client.walk("a/b"));
  fs.chmod("a", 0o711);
  await client.walk("b", a);
  await refused("incomplete walk", client.walk("b/c", a));
  const owner = await served.client("sys");
  await owner.walk("a/b/c");
});

test("walk: .. in the root is the root, and a/../b ends at b (S43, S44)", async () => {
  await using served = openTree({ a: {}, b: "" });
  const client = await served.client();
  const walk = async (...wname: string[]) => {
    const newfid = client.newFid();
    return (await client.ask({ type: "Twalk", fid: 0, newfid, wname })).wqid;
  };
  const root = (await client.stat("/")).qid;
  assertEquals(await walk(".."), [root]);
  const qids = await walk("a", "..", "b");
  assertEquals(qids.length, 3);
  assertEquals(qids[1], root);
  assertEquals(qids[2], (await client.stat("b")).qid);
});

test("walk: nothing is found in a removed directory (S50)", async () => {
  await using served = openTree({ d: {} });
  const client = await served.client();
  served.fs.chmod("d", 0o777);
  const d = await client.walk("d");
  served.fs.remove("d");
  await refused("file has been removed", client.walk("x", d));
  await refused("file has been removed", client.walk("..", d));
  const request = { type: "Tcreate", name: "x", perm: 0o666, mode: 0 } as const;
  await refused("file has been removed", client.ask({ ...request, fid: d }));
});

test("walk: a fid stands for the file, whatever its name becomes", async () => {
  await using served = openTree({ d: { f: "data" }, e: {} });
  const client = await served.client();
  const f = await client.walk("d/f");
  const d = await client.walk("d");
  served.fs.rename("d", "e/d2");
  assertEquals(await client.text(await client.open("e/d2/f")), "data");
  await client.ask({ type: "Topen", fid: f, mode: OREAD });
  assertEquals(await client.text(f), "data");
  assertEquals(
    (await client.stat(await client.walk("..", d))).qid,
    (await client.stat("e")).qid,
  );
});

test("open: modes against the bits of owner, group and other (S52)", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  const bits = [0o1, 0o2, 0o4, 0o6, 0o7];
  const modes = [0, ...bits.flatMap((bit) => [bit, bit << 3, bit << 6])];
  for (const mode of modes) {
    fs.create(`m${mode.toString(8)}`, { mode, uid: "ken", gid: "sys" });
  }
  await using served = new ServedTree(fs);
  const client = await served.client();
  const users: [uname: string, shifts: number[]][] = [
    ["ken", [0, 3, 6]],
    ["sys", [0, 3]],
    ["rob", [0]],
  ];
  const needs: [mode: number, access: number][] = [
    [OREAD, 4],
    [OWRITE, 2],
    [ORDWR, 6],
    [OEXEC, 1],
    [OREAD | OTRUNC, 6],
    [OWRITE | OTRUNC, 2],
  ];
  for (const [at, [uname, shifts]] of users.entries()) {
    const root = 1000 + at;
    await client.attach(root, uname);
    for (const mode of modes) {
      const granted = shifts.reduce((sum, by) => sum | mode >> by, 0) & 7;
      for (const [openMode, access] of needs) {
        const fid = await client.walk(`m${mode.toString(8)}`, root);
        const opened = client.ask({ type: "Topen", fid, mode: openMode });
        const allowed = (granted & access) === access;
        const what = `${uname} opens 0${mode.toString(8)} with ${openMode}`;
        if (allowed) await opened;
        else assertEquals(await refusal(opened), DENIED, what);
        await client.clunk(fid);
      }
    }
  }
});

test("open: rights of owner and group add up", async () => {
  const fs = new MemoryFs({});
  fs.create("f", { mode: 0o241, uid: "ken", gid: "ken" });
  await using served = new ServedTree(fs);
  const ken = await served.client("ken");
  await ken.open("f", ORDWR);
  await ken.open("f", OEXEC);
});

test("open: what was granted stays, also after a chmod to 0 (S84)", async () => {
  await using served = openTree({ f: "data" });
  served.fs.chmod("f", 0o666);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  served.fs.chmod("f", 0);
  assertEquals(await client.text(fid), "data");
  assertEquals(await client.write(fid, "DA"), 2);
  await refused(DENIED, client.open("f"));
});

test("open: OEXEC reads, OREAD does not write, OWRITE does not read (S70, S78)", async () => {
  await using served = openTree({ f: "data" });
  served.fs.chmod("f", 0o777);
  const client = await served.client();
  const bad = "bad use of fid";
  assertEquals(await client.text(await client.open("f", OEXEC)), "data");
  await refused(bad, client.write(await client.open("f", OEXEC), "x"));
  await refused(bad, client.write(await client.open("f", OREAD), "x"));
  await refused(bad, client.read(await client.open("f", OWRITE)));
  await refused(bad, client.read(await client.walk("f")));
  await refused(bad, client.write(await client.walk("f"), "x"));
  await refused(bad, client.write(await client.open("/"), "x"));
});

test("open: OTRUNC empties, and moves version, mtime, muid (S57, S60)", async () => {
  await using served = openTree({ f: "data" });
  served.fs.chmod("f", 0o666);
  const client = await served.client();
  const before = await client.stat("f");
  const fid = await client.walk("f");
  const opened = await client.ask({
    type: "Topen",
    fid,
    mode: OREAD | OTRUNC,
  });
  const after = await client.stat(fid);
  assertEquals(opened.qid, after.qid);
  assert(opened.iounit <= 65536 - 24);
  assertGreater(after.qid.vers, before.qid.vers);
  assertEquals([after.length, after.muid], [0n, "glenda"]);
  assert(after.mtime >= before.mtime);
});

test("open: OTRUNC without write permission is refused, nothing is cut (S53)", async () => {
  await using served = openTree({ f: "data" });
  const client = await served.client();
  await refused(DENIED, client.open("f", OREAD | OTRUNC));
  assertEquals(served.fs.readTextFile("f"), "data");
});

test("open: a directory is only read (S54, S55)", async () => {
  await using served = openTree({ d: {} });
  served.fs.chmod("d", 0o777);
  const client = await served.client();
  await client.open("d", OREAD);
  for (
    const mode of [OWRITE, ORDWR, OREAD | OTRUNC, OREAD | ORCLOSE]
  ) {
    await refused("Is a directory", client.open("d", mode));
  }
  served.fs.chmod("d", 0o711);
  await refused(DENIED, client.open("d", OREAD));
});

test("ORCLOSE: needs write permission in the parent (S55)", async () => {
  const fs = new MemoryFs({ d: { f: "" }, w: { f: "" } });
  fs.chmod("d/f", 0o666);
  fs.chmod("w", 0o777);
  await using served = new ServedTree(fs);
  const client = await served.client();
  await refused(DENIED, client.open("d/f", OREAD | ORCLOSE));
  const fid = await client.open("w/f", OREAD | ORCLOSE);
  await client.clunk(fid);
  assertEquals(fs.readDir("w"), []);
});

test("ORCLOSE: removes at the clunk, and at the end of the connection (S87)", async () => {
  await using served = openTree({ f: "", g: "" });
  const client = await served.client();
  const first = await client.open("f", OREAD | ORCLOSE);
  const made = await client.create("/", "h", 0o600, ORDWR | ORCLOSE);
  await client.open("g", OREAD | ORCLOSE);
  assertEquals(served.fs.readDir("/").length, 3);
  await client.clunk(first);
  await client.clunk(made);
  assertEquals(served.fs.readDir("/").map(({ name }) => name), ["g"]);
  client.close();
  await served[Symbol.asyncDispose]();
  assertEquals(served.fs.readDir("/"), []);
});

test("ORCLOSE: a new session removes, too (S23)", async () => {
  await using served = openTree({ f: "" });
  const client = await served.client();
  await client.open("f", OREAD | ORCLOSE);
  await client.ask({ type: "Tversion", msize: 8192, version: "9P2000" });
  assertEquals(served.fs.readDir("/"), []);
});

test("DMEXCL: one open at a time, on any connection (S58)", async () => {
  const inUse = "exclusive use file already open";
  await using served = openTree();
  served.fs.create("f", { mode: 0o666 + DMEXCL });
  const one = await served.client("one");
  const two = await served.client("two");
  const fid = await one.open("f");
  await refused(inUse, one.open("f"));
  await refused(inUse, two.open("f", OWRITE));
  await one.clunk(fid);
  const again = await two.open("f");
  await refused(inUse, one.open("f"));
  await two.remove(again);
  assertEquals(served.fs.readDir("/"), []);
});

test("DMEXCL: the creator holds it, the end of the connection lets go (S58)", async () => {
  await using served = openTree();
  const one = await served.client("one");
  const two = await served.client("two");
  await one.create("/", "f", 0o666 + DMEXCL, ORDWR);
  const waiting = await two.walk("f");
  const open = () => two.ask({ type: "Topen", fid: waiting, mode: OREAD });
  await refused("exclusive use file already open", open());
  one.close();
  // The server notices the end of the connection a little later.
  for (let tries = 0; tries < 1000; tries++) {
    if (await open().then(() => true, () => false)) return;
  }
  throw new Error("the file is still held");
});

test("DMEXCL: a refused remove does not let go of it", async () => {
  const fs = new MemoryFs({});
  fs.create("f", { mode: 0o666 + DMEXCL });
  await using served = new ServedTree(fs);
  const one = await served.client("one");
  const two = await served.client("two");
  await one.open("f");
  await refused(DENIED, two.remove("f"));
  await refused("exclusive use file already open", two.open("f"));
});

test("DMEXCL: an open that fails does not hold it", async () => {
  await using served = openTree();
  served.fs.create("f", { mode: 0o644 + DMEXCL });
  const client = await served.client();
  await refused(DENIED, client.open("f", ORDWR));
  await client.open("f");
});

test("DMEXCL: with implicitOpen a fid excludes other fids, and not itself", async () => {
  const fs = new MemoryFs({});
  fs.create("f", { data: "data", mode: 0o666 + DMEXCL });
  await using served = new ServedTree(fs, { implicitOpen: true });
  const one = await served.client("one");
  const two = await served.client("two");
  const fid = await one.walk("f");
  assertEquals(await one.text(fid), "data");
  assertEquals(await one.write(fid, "DATA"), 4);
  await refused("exclusive use file already open", two.open("f"));
  await one.clunk(fid);
  assertEquals(await two.text(await two.open("f")), "DATA");
});

test("DMAPPEND: data go to the end whatever the offset (S79)", async () => {
  await using served = openTree();
  served.fs.create("f", { data: "0", mode: 0o666 + DMAPPEND });
  const one = await served.client("one");
  const two = await served.client("two");
  const a = await one.open("f", OWRITE);
  const b = await two.open("f", OWRITE);
  await one.write(a, "aa", 0);
  await two.write(b, "bb", 1000);
  await one.write(a, "cc", 3);
  assertEquals(served.fs.readTextFile("f"), "0aabbcc");
});

test("DMAPPEND: OTRUNC succeeds and cuts nothing (S56)", async () => {
  await using served = openTree();
  served.fs.create("f", { data: "log", mode: 0o666 + DMAPPEND });
  const client = await served.client();
  const before = await client.stat("f");
  const fid = await client.open("f", OWRITE | OTRUNC);
  assertEquals(state(await client.stat(fid)), state(before));
});

test("create: the fid is the new file, open (S64, S65, S66)", async () => {
  const fs = new MemoryFs({}, { gid: "sys", mode: 0o777 });
  await using served = new ServedTree(fs);
  const client = await served.client("ken");
  const fid = await client.walk("/");
  const { qid, iounit } = await client.ask({
    type: "Tcreate",
    fid,
    name: "größe 日本",
    perm: 0o644,
    mode: ORDWR,
  });
  assert(iounit <= 65536 - 24);
  assertEquals(await client.write(fid, "data"), 4);
  assertEquals(await client.text(fid), "data");
  const stat = await client.stat("größe 日本");
  assertEquals(stat.qid.path, qid.path);
  assertEquals(qid.vers, 0);
  assertEquals(
    [stat.name, stat.uid, stat.gid, stat.muid, stat.mode],
    ["größe 日本", "ken", "sys", "ken", 0o644],
  );
});

test("create: rights that the directory does not give are masked (S65)", async () => {
  const fs = new MemoryFs({});
  fs.mkdir("d", { mode: 0o753, uid: "ken", gid: "sys" });
  await using served = new ServedTree(fs);
  const client = await served.client("ken");
  const perms = [0, 0o777, 0o666, 0o644, 0o111, 0o600];
  for (const perm of perms) {
    const file = await client.create("d", `f${perm}`, perm);
    const mode = perm & (~0o666 | 0o753 & 0o666);
    assertEquals((await client.stat(file)).mode, mode);
    const dir = await client.create("d", `d${perm}`, DMDIR + perm);
    assertEquals((await client.stat(dir)).mode, DMDIR + (perm & 0o753));
  }
});

test("create: DM bits pass through and show in the qid", async () => {
  await using served = openTree();
  const client = await served.client();
  for (const bit of [DMAPPEND, DMEXCL, DMTMP, DMAPPEND + DMEXCL + DMTMP]) {
    const fid = await client.create("/", `f${bit}`, bit + 0o600);
    const { mode, qid } = await client.stat(fid);
    assertEquals([mode, qid.type], [bit + 0o600, bit >>> 24]);
  }
});

test("create: bits that stand for other kinds of files are refused", async () => {
  await using served = openTree();
  const client = await served.client();
  for (const bit of [0x10000000, 0x08000000, 0x02000000, 0o1000, 0x00800000]) {
    await refused("illegal mode", client.create("/", "f", bit + 0o600));
  }
  await refused("illegal mode", client.create("/", "f", 0o600, 0x08));
  assertEquals(served.fs.readDir("/"), []);
});

test("create: the mode is not checked against perm (S68)", async () => {
  await using served = openTree();
  const client = await served.client();
  const fid = await client.create("/", "f", 0o444, OWRITE);
  assertEquals(await client.write(fid, "x"), 1);
  await refused(DENIED, client.open("f", OWRITE));
});

test("create: needs write permission in the directory (S68)", async () => {
  const fs = new MemoryFs({ d: {} });
  await using served = new ServedTree(fs);
  const client = await served.client();
  await refused(DENIED, client.create("d", "f"));
  assertEquals(fs.readDir("d"), []);
});

test("create: a directory is opened for reading only (S67)", async () => {
  await using served = openTree();
  const client = await served.client();
  for (const mode of [OWRITE, ORDWR, OREAD | OTRUNC, OREAD | ORCLOSE]) {
    await refused(
      "Is a directory",
      client.create("/", "d", DMDIR + 0o755, mode),
    );
  }
  assertEquals(served.fs.readDir("/"), []);
  const fid = await client.create("/", "d", DMDIR + 0o755);
  assertEquals(await client.list(fid), []);
  await client.create("d", "f");
  assertEquals(await client.list(fid), ["f"]);
});

test("create: a name that is taken leaves all as it is (S63)", async () => {
  await using served = openTree({ f: "data", d: {} });
  const client = await served.client();
  const fid = await client.walk("/");
  const root = state(await client.stat("/"));
  for (const name of ["f", "d"]) {
    await refused(
      "file already exists",
      client.ask({
        type: "Tcreate",
        fid,
        name,
        perm: 0o666,
        mode: OWRITE | OTRUNC,
      }),
    );
  }
  assertEquals(served.fs.readTextFile("f"), "data");
  assertEquals(state(await client.stat("/")), root);
  await client.ask({ type: "Topen", fid, mode: OREAD });
  assertEquals(await client.list(fid), ["f", "d"]);
});

test("create: not in a file, not under an illegal name (S61, S62)", async () => {
  await using served = openTree({ f: "" });
  served.fs.chmod("f", 0o777);
  const client = await served.client();
  await refused("not a directory", client.create("f", "x"));
  for (const name of ["", ".", "..", "a/b", "/"]) {
    await refused("illegal name", client.create("/", name));
  }
  await refused(
    "File name too long",
    client.create("/", "é".repeat(128)),
  );
  await client.create("/", "é".repeat(127));
});

test("directories: create, remove and rename move version, muid and mtime (S69)", async () => {
  await using served = openTree();
  const root = served.fs.root;
  const moves = async (uname: string, change: () => Promise<unknown>) => {
    const { vers } = root.qid;
    root.mtime = 1;
    await change();
    assertGreater(root.qid.vers, vers);
    assertEquals(root.stat().muid, uname);
    assertGreater(root.mtime, 1);
  };
  const ken = await served.client("ken");
  const rob = await served.client("rob");
  await moves("ken", () => ken.create("/", "f", 0o666));
  await moves("rob", () => rob.create("/", "d", DMDIR + 0o777));
  await moves("ken", () => ken.wstat("f", { name: "g" }));
  await moves("rob", () => rob.remove("g"));
  await moves("ken", () => ken.remove("d"));
});

test("read: short at the end, nothing behind it (S71, S72, S73)", async () => {
  await using served = openTree({ f: "0123456789" });
  const client = await served.client();
  const fid = await client.open("f");
  assertEquals(await client.text(fid, 7, 100), "789");
  assertEquals(await client.text(fid, 3, 2), "34");
  assertEquals(await client.text(fid, 10), "");
  assertEquals(await client.text(fid, 0, 0), "");
  for (const offset of [11n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const request = { type: "Tread", fid, offset, count: 4 } as const;
    const { data } = await client.ask(request);
    assertEquals(data.length, 0);
  }
});

test("write: at its offset, with zeros in a gap (S80, S81, S82)", async () => {
  await using served = openTree({ f: "" });
  served.fs.chmod("f", 0o666);
  const client = await served.client("ken");
  const fid = await client.open("f", ORDWR);
  assertEquals(await client.write(fid, "ab", 3), 2);
  assertEquals(await client.text(fid), "\0\0\0ab");
  assertEquals(await client.write(fid, "XY", 1), 2);
  assertEquals(await client.text(fid), "\0XYab");
  const before = await client.stat(fid);
  assertEquals(before.length, 5n);
  assertEquals(before.muid, "ken");
  assertEquals(await client.write(fid, "", 100), 0);
  assertEquals(await client.stat(fid), before);
  await client.write(fid, "z", 0);
  assertGreater((await client.stat(fid)).qid.vers, before.qid.vers);
});

test("write: what was cut off does not come back in a gap", async () => {
  await using served = openTree({ f: "secret" });
  served.fs.chmod("f", 0o666);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.wstat(fid, { length: 2n });
  await client.write(fid, "!", 5);
  assertEquals(await client.text(fid), "se\0\0\0!");
});

test("write: beyond a limit nothing changes (S80)", async () => {
  const options = { maxFileSize: 8, maxSize: 12, mode: 0o777 };
  await using served = openTree({ f: "1234", g: "1234" }, options);
  served.fs.chmod("f", 0o666);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  const before = state(await client.stat(fid));
  await refused("file too big", client.write(fid, "56789", 4));
  await refused("file too big", client.write(fid, "x", 2 ** 40));
  for (const offset of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    const data = new Uint8Array(2);
    const request = { type: "Twrite", fid, offset, data } as const;
    await refused("file too big", client.ask(request));
  }
  assertEquals(state(await client.stat(fid)), before);
  await client.write(fid, "5678", 4);
  const other = await client.create("/", "h", 0o666, OWRITE);
  await refused("file system is full", client.write(other, "x"));
  await client.remove(fid);
  assertEquals(await client.write(other, "x"), 1);
});

test("remove: frees the fid, also when it fails (S89, S91)", async () => {
  const fs = new MemoryFs({ d: { f: "" } });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.walk("d/f");
  await refused(DENIED, client.remove(fid));
  await refused("fid unknown or out of range", client.clunk(fid));
  fs.chmod("d", 0o777);
  await client.remove("d/f");
  await refused(
    "file does not exist",
    client.walk("f", await client.walk("d")),
  );
});

test("remove: not the root, not a directory with members (S90)", async () => {
  await using served = openTree({ d: { f: "" } });
  served.fs.chmod("d", 0o777);
  const client = await served.client("none");
  await refused("cannot remove root", client.remove("/"));
  await refused("directory is not empty", client.remove("d"));
  await client.remove("d/f");
  await client.remove("d");
  await refused("file does not exist", client.walk("d"));
});

test("remove: another open fid goes on with its own data (S92)", async () => {
  await using served = openTree({ f: "data" });
  served.fs.chmod("f", 0o666);
  const one = await served.client("one");
  const two = await served.client("two");
  const open = await one.open("f", ORDWR);
  await two.remove("f");
  await using other = new ServedTree(served.fs);
  await (await other.client()).create("/", "f", 0o666, OWRITE);
  assertEquals(await one.text(open), "data");
  await one.write(open, "more", 4);
  assertEquals(await one.text(open), "datamore");
  assertEquals(served.fs.readTextFile("f"), "");
  await refused("file has been removed", one.remove(open));
});

test("remove: a fid that is not open cannot open the file any more (S92)", async () => {
  await using served = openTree({ f: "data", d: {} });
  served.fs.chmod("f", 0o666);
  const client = await served.client();
  const f = await client.walk("f");
  const d = await client.walk("d");
  await client.remove("f");
  await client.remove("d");
  for (const fid of [f, d]) {
    const request = { type: "Topen", fid, mode: OREAD } as const;
    await refused("file has been removed", client.ask(request));
  }
  await refused("file has been removed", client.wstat(f, { length: 9n }));
  await refused("file has been removed", client.wstat(f, { name: "g" }));
  assertEquals((await client.stat(f)).name, "f");
});

/** Fills the tree to the last byte, and makes room again. */
async function assertAllFree(client: TreeClient, size: number): Promise<void> {
  const fid = await client.create("/", "fill", 0o600, ORDWR | ORCLOSE);
  assertEquals(await client.write(fid, new Uint8Array(size)), size);
  await client.clunk(fid);
}

test("remove: room is free when the last open fid is gone", async () => {
  await using served = openTree({ f: "1234567890" }, { maxSize: 10 });
  served.fs.chmod("f", 0o666);
  const client = await served.client();
  const open = await client.open("f", ORDWR);
  await client.remove("f");
  const other = await client.create("/", "g", 0o666, OWRITE);
  await refused("file system is full", client.write(other, "x"));
  assertEquals(await client.text(open), "1234567890");
  await client.clunk(open);
  await assertAllFree(client, 10);
});

test("remove: no use of a removed file keeps its room for ever", async () => {
  const fs = new MemoryFs({}, { maxSize: 10, mode: 0o777 });
  await using served = new ServedTree(fs, { implicitOpen: true });
  const client = await served.client();
  fs.create("f", { data: "12345", mode: 0o666 });
  const open = await client.open("f", ORDWR);
  const walked = await client.walk("f");
  fs.remove("f");
  await client.wstat(walked, { length: 10n }).catch(() => {});
  await client.write(walked, "1234567890").catch(() => {});
  await client.clunk(open);
  await client.wstat(walked, { length: 10n }).catch(() => {});
  await client.write(walked, "1234567890").catch(() => {});
  await client.clunk(walked);
  await assertAllFree(client, 10);
});

test("remove: a name that is made again is another file (S114)", async () => {
  await using served = openTree({ f: "" });
  const client = await served.client();
  const { path } = (await client.stat("f")).qid;
  await client.remove("f");
  await client.create("/", "f");
  assertNotEquals((await client.stat("f")).qid.path, path);
});
