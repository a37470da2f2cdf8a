// Tstat and Twstat on a tree: every rule of stat(9P), and all or nothing.
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
  dontTouch,
  encode,
  ORDWR,
  OREAD,
  type Stat,
} from "../../../codec.ts";
import { MemoryFs } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { refused, ServedTree } from "../tree_client.ts";

const DENIED = "permission denied";
const PROHIBITED = "wstat prohibited";

/** A file f of ken and group sys, 0664, in a directory d that only ken may write. */
function tree(): ServedTree {
  const fs = new MemoryFs({ top: "" }, { mode: 0o777 });
  fs.mkdir("d", { mode: 0o755, uid: "ken", gid: "sys" });
  fs.create("d/f", { data: "data", mode: 0o664, uid: "ken", gid: "sys" });
  fs.create("d/other", { data: "other", uid: "ken" });
  return new ServedTree(fs);
}

/** Fails unless changes are refused, and nothing has changed. */
async function nothingChanges(
  served: ServedTree,
  uname: string,
  changes: Partial<Stat>,
  ename: string,
  path = "d/f",
): Promise<void> {
  const client = await served.client(uname);
  const all = () =>
    ["/", "d", "d/f", "d/other"].map((at) => served.fs.stat(at));
  const before = all();
  await refused(ename, client.wstat(path, changes));
  assertEquals(all(), before);
  client.close();
}

test("stat: the record of the root and of a directory (S93, S94, S95)", async () => {
  await using served = tree();
  const client = await served.client("nobody");
  const root = await client.stat("/");
  assertEquals([root.name, root.length, root.mode], ["/", 0n, DMDIR + 0o777]);
  for (const path of ["/", "d", "d/f"]) {
    const { mode, qid, type, dev } = await client.stat(path);
    assertEquals(mode >>> 24, qid.type);
    assertEquals([type, dev], [0, 0]);
  }
});

test("stat: Rwalk, Ropen, Rstat and entries give one qid", async () => {
  await using served = tree();
  const client = await served.client("ken");
  const fid = client.newFid();
  const { wqid } = await client.ask({
    type: "Twalk",
    fid: 0,
    newfid: fid,
    wname: ["d", "f"],
  });
  const { qid } = await client.ask({ type: "Topen", fid, mode: ORDWR });
  assertEquals(wqid[1], qid);
  assertEquals((await client.stat(fid)).qid, qid);
  await client.write(fid, "new");
  assertNotEquals((await client.stat(fid)).qid, qid);
});

// P-42.
test("wstat: nothing to change is a success for everyone (S96)", async () => {
  await using served = tree();
  const client = await served.client("nobody");
  const before = served.fs.stat("d/f");
  await client.wstat("d/f", {});
  await client.wstat("/", {});
  await client.wstat(await client.open("d/f"), {});
  assertEquals({ ...served.fs.stat("d/f"), atime: 0 }, { ...before, atime: 0 });
});

test("wstat: type, dev, qid and uid do not change (S101)", async () => {
  await using served = tree();
  const { qid } = served.fs.stat("d/f");
  const wishes: Partial<Stat>[] = [
    { type: 1 },
    { dev: 1 },
    { qid: { ...qid, path: qid.path + 100n } },
    { qid: { ...qid, vers: qid.vers + 1 } },
    { qid: { ...qid, type: 0x80 } },
    { uid: "rob" },
    { muid: "rob" },
  ];
  for (const changes of wishes) {
    await nothingChanges(served, "ken", changes, PROHIBITED);
  }
});

test("wstat: the present values are no wishes (S101)", async () => {
  await using served = tree();
  const client = await served.client("ken");
  const { type, dev, qid, uid } = await client.stat("d/f");
  await client.wstat("d/f", { type, dev, qid, uid });
  const { name, gid, mode, length } = await client.stat("d/f");
  await client.wstat("d/f", { type, dev, qid, uid, gid, name, mode, length });
});

test("wstat: muid beside a name or a time is ignored (S101)", async () => {
  await using served = tree();
  const client = await served.client("ken");
  await client.wstat("d/f", { muid: "rob", name: "g" });
  await client.wstat("d/g", { muid: "rob", mtime: 5 });
  const stat = await client.stat("d/g");
  assertNotEquals(stat.muid, "rob");
  assertEquals(stat.mtime, 5);
});

test("wstat: atime and mtime by owner and group leader (S102)", async () => {
  await using served = tree();
  const ken = await served.client("ken");
  await ken.wstat("d/f", { atime: 1, mtime: 2 });
  const { atime, mtime } = await ken.stat("d/f");
  assertEquals([atime, mtime], [1, 2]);
  const leader = await served.client("sys");
  await leader.wstat("d/f", { mtime: 3 });
  assertEquals((await ken.stat("d/f")).mtime, 3);
  await nothingChanges(served, "rob", { mtime: 4 }, "not owner");
  await nothingChanges(served, "rob", { atime: 4 }, "not owner");
});

test("wstat: mtime beside a length needs only write permission (S102)", async () => {
  await using served = tree();
  served.fs.chmod("d/f", 0o666);
  const rob = await served.client("rob");
  await rob.wstat("d/f", { length: 2n, mtime: 7 });
  const { length, mtime, muid } = await rob.stat("d/f");
  assertEquals([length, mtime, muid], [2n, 7, "rob"]);
  served.fs.chmod("d/f", 0o664);
  await nothingChanges(served, "rob", { length: 1n, mtime: 8 }, DENIED);
});

test("wstat: the user that sets mtime is the last modifier", async () => {
  await using served = tree();
  const leader = await served.client("sys");
  await leader.wstat("d/f", { mtime: 3 });
  assertEquals((await leader.stat("d/f")).muid, "sys");
  await leader.wstat("d/f", { mode: 0o660 });
  assertEquals((await leader.stat("d/f")).qid.vers, 0);
});

test("wstat: a rename keeps the qid and open fids (S98)", async () => {
  await using served = tree();
  const client = await served.client("ken");
  const fid = await client.open("d/f", ORDWR);
  const { qid } = await client.stat(fid);
  const parent = await client.stat("d");
  await client.wstat(fid, { name: "größer" });
  const stat = await client.stat("d/größer");
  assertEquals([stat.name, stat.qid], ["größer", qid]);
  assertEquals(await client.text(fid), "data");
  const after = await client.stat("d");
  assertGreater(after.qid.vers, parent.qid.vers);
  assertEquals(after.muid, "ken");
  await refused("incomplete walk", client.walk("d/f"));
});

test("wstat: a directory with open files inside is renamed", async () => {
  await using served = tree();
  const client = await served.client("nobody");
  const fid = await client.open("d/f");
  await client.wstat("d", { name: "e" });
  assertEquals(await client.text(fid), "data");
  assertEquals(await client.text(await client.open("e/f")), "data");
});

test("wstat: a rename needs write permission in the parent, not on the file", async () => {
  await using served = tree();
  await nothingChanges(served, "sys", { name: "g" }, DENIED);
  const rob = await served.client("rob");
  await rob.wstat("top", { name: "bottom" });
});

test("wstat: a rename replaces nothing, and takes only legal names (S98, S99)", async () => {
  await using served = tree();
  await nothingChanges(served, "ken", { name: "other" }, "file already exists");
  for (const name of [".", "..", "a/b", "/x"]) {
    await nothingChanges(served, "ken", { name }, "illegal name");
  }
  const name = "x".repeat(256);
  await nothingChanges(served, "ken", { name }, "File name too long");
  await nothingChanges(
    served,
    "none",
    { name: "x" },
    "cannot remove root",
    "/",
  );
});

test("wstat: the present name needs no permission and changes nothing", async () => {
  await using served = tree();
  const rob = await served.client("rob");
  const before = served.fs.stat("d");
  await rob.wstat("d/f", { name: "f" });
  assertEquals(served.fs.stat("d"), before);
});

test("wstat: a name that is free again can be taken", async () => {
  await using served = tree();
  const client = await served.client("ken");
  await client.wstat("d/f", { name: "g" });
  await client.wstat("d/other", { name: "f" });
  await client.wstat("d/g", { name: "other" });
  assertEquals(served.fs.readTextFile("d/other"), "data");
});

test("wstat: length cuts and extends with zeros (S97)", async () => {
  await using served = tree();
  const client = await served.client("ken");
  const before = await client.stat("d/f");
  await client.wstat("d/f", { length: 2n });
  await client.wstat("d/f", { length: 6n });
  assertEquals(served.fs.readTextFile("d/f"), "da\0\0\0\0");
  const after = await client.stat("d/f");
  assertGreater(after.qid.vers, before.qid.vers);
  assertEquals([after.length, after.muid], [6n, "ken"]);
  const fid = await client.open("d/f", OREAD);
  await client.wstat(fid, { length: 0n });
  assertEquals((await client.stat(fid)).length, 0n);
});

test("wstat: length needs write permission, and fits the limits (S97)", async () => {
  await using served = tree();
  await nothingChanges(served, "rob", { length: 0n }, DENIED);
  const fs = new MemoryFs({}, { maxFileSize: 8, maxSize: 12 });
  fs.create("f", { data: "1234567", mode: 0o666 });
  fs.create("g", { data: "1234", mode: 0o666 });
  await using small = new ServedTree(fs);
  const client = await small.client();
  await refused("file too big", client.wstat("f", { length: 9n }));
  await refused("file too big", client.wstat("f", { length: 2n ** 63n }));
  await refused("file system is full", client.wstat("g", { length: 6n }));
  await client.wstat("g", { length: 5n });
});

test("wstat: a directory takes only length 0 (S97)", async () => {
  await using served = tree();
  const ken = await served.client("ken");
  await ken.wstat("d", { length: 0n });
  await nothingChanges(served, "ken", { length: 1n }, "Is a directory", "d");
});

test("wstat: an append-only file is not cut", async () => {
  await using served = tree();
  served.fs.chmod("d/f", 0o666 + DMAPPEND);
  await nothingChanges(served, "ken", { length: 0n }, DENIED);
  const ken = await served.client("ken");
  await ken.wstat("d/f", { length: 4n });
});

test("wstat: mode by owner and group leader, DMDIR stays (S100, S102)", async () => {
  await using served = tree();
  const ken = await served.client("ken");
  await ken.wstat("d/f", { mode: 0o600 + DMAPPEND + DMEXCL + DMTMP });
  let { mode, qid } = await ken.stat("d/f");
  assertEquals(mode, 0o600 + DMAPPEND + DMEXCL + DMTMP);
  assertEquals(qid.type, mode >>> 24);
  await (await served.client("sys")).wstat("d/f", { mode: 0o640 });
  ({ mode, qid } = await ken.stat("d/f"));
  assertEquals([mode, qid.type], [0o640, 0]);
  await nothingChanges(served, "rob", { mode: 0o666 }, "not owner");
  const convert = "wstat can't convert between files and directories";
  await nothingChanges(served, "ken", { mode: DMDIR + 0o755 }, convert);
  await nothingChanges(served, "ken", { mode: 0o755 }, convert, "d");
  await ken.wstat("d", { mode: DMDIR + 0o700 });
  assertEquals((await ken.stat("d")).mode, DMDIR + 0o700);
});

test("wstat: mode bits of other kinds of files are refused", async () => {
  await using served = tree();
  for (const bit of [0x10000000, 0x08000000, 0x02000000, 0x00800000, 0o1000]) {
    await nothingChanges(served, "ken", { mode: 0o600 + bit }, "illegal mode");
  }
});

test("wstat: gid by an owner that is a member of the group, else not (S105)", async () => {
  await using served = tree();
  const denied = "not a member of proposed group";
  await nothingChanges(served, "ken", { gid: "bin" }, denied);
  await nothingChanges(served, "rob", { gid: "rob" }, denied);
  await nothingChanges(served, "sys", { gid: "bin" }, denied);
  const ken = await served.client("ken");
  await ken.wstat("d/f", { gid: "ken" });
  assertEquals((await ken.stat("d/f")).gid, "ken");
  // Sys does not lead ken's group, and so may not take the file back.
  await nothingChanges(served, "sys", { gid: "sys" }, denied);
});

test("wstat: one illegal change, and none is made (S103)", async () => {
  await using served = tree();
  served.fs.chmod("d/f", 0o666);
  const good: Partial<Stat>[] = [
    { name: "g" },
    { length: 1n },
    { mode: 0o600 },
    { mtime: 9 },
    { atime: 9 },
    { gid: "ken" },
  ];
  const bad: [Partial<Stat>, string][] = [
    [{ uid: "rob" }, PROHIBITED],
    [{ name: "other" }, "file already exists"],
    [{ name: "a/b" }, "illegal name"],
    [
      { mode: DMDIR + 0o700 },
      "wstat can't convert between files and directories",
    ],
    [{ mode: 0o600 + 0x02000000 }, "illegal mode"],
    [{ gid: "bin" }, "not a member of proposed group"],
    [{ length: 2n ** 50n }, "file too big"],
  ];
  for (const changes of good) {
    for (const [wrong, ename] of bad) {
      await nothingChanges(served, "ken", { ...changes, ...wrong }, ename);
    }
  }
  const chmod = { length: 0n, mode: 0o600 };
  await nothingChanges(served, "rob", chmod, "not owner");
});

test("wstat: all of several changes are made", async () => {
  await using served = tree();
  const ken = await served.client("ken");
  await ken.wstat("d/f", {
    name: "g",
    length: 2n,
    mode: 0o600,
    gid: "ken",
    mtime: 5,
    atime: 6,
  });
  const { name, length, mode, gid, mtime, atime } = await ken.stat("d/g");
  assertEquals(
    { name, length, mode, gid, mtime, atime },
    { name: "g", length: 2n, mode: 0o600, gid: "ken", mtime: 5, atime: 6 },
  );
});

test("wstat: fids that do not exist, and records that do not fit (S104)", async () => {
  await using served = tree();
  const client = await served.client("ken");
  await refused("fid unknown or out of range", client.wstat(77, {}));
  const fid = await client.walk("d/f");
  const stat = dontTouch({ mode: 0o600 });
  for (const at of [11, 13]) {
    const frame = encode({ type: "Twstat", tag: 9, fid, stat });
    frame[at]++; // One of the two sizes of the record.
    client.sendBytes(frame);
    assertEquals((await client.reply(9)).type, "Rerror");
  }
  assertEquals(served.fs.stat("d/f").mode, 0o664);
});

test("wstat: of a member moves mtime and muid of its directory, not its version", async () => {
  const fs = new MemoryFs({ d: { f: "data" } }, { uid: "rob" });
  fs.chmod("d/f", 0o666);
  const before = fs.stat("d").qid.vers;
  await using served = new ServedTree(fs);
  const client = await served.client("rob");
  for (
    const changes of [{ mode: 0o600 }, { mtime: 5 }, { atime: 6 }, {
      length: 2n,
    }]
  ) {
    await client.wstat("d", { mtime: 1 });
    await client.wstat("d/f", changes);
    const { mtime, muid, qid } = fs.stat("d");
    assert(mtime > 1);
    assertEquals([muid, qid.vers], ["rob", before]);
  }
  await client.wstat("d", { mtime: 1 });
  await client.wstat("d/f", {});
  await client.wstat("d/f", { name: "f" });
  assertEquals(fs.stat("d").mtime, 1);
});

test("wstat: the present name of a file that was removed is no change", async () => {
  await using served = tree();
  const client = await served.client("ken");
  const fid = await client.open("d/f", ORDWR);
  await client.remove("d/f");
  await client.wstat(fid, { name: "f" });
  await client.wstat(fid, { name: "f", length: 1n });
  assertEquals(await client.text(fid), "d");
});
