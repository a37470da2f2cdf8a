// A host directory for clients: read-only trees, names and attributes, new
// files, changes, moves and removals.

import {
  assert,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import {
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  OAPPEND,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  QTDIR,
} from "../../../codec.ts";
import { HostFs } from "../../../fs/mod.ts";
import { isHostName } from "../../../fs/host/names.ts";
import { parseNames } from "../../../fs/host/owners.ts";
import { qidPath } from "../../../fs/host/attributes.ts";
import { test } from "../../harness.ts";
import { withHost, withWritableHost } from "./tree.ts";
import { refusal, refused } from "../tree_client.ts";

const READONLY = "read only file system";
const GONE = "file has been removed";

test("HostFs is read-only by default, for every request that changes something", async () => {
  await withHost({}, async ({ dir, client }) => {
    await writeFile(`${dir}/f`, "text");
    await mkdir(`${dir}/d`);
    const before = (await stat(`${dir}/f`)).mtimeMs;
    const glenda = await client();
    for (const mode of [OWRITE, ORDWR, OREAD | OTRUNC]) {
      await refused(READONLY, glenda.open("f", mode));
    }
    await refused(READONLY, glenda.create("", "new"));
    await refused(READONLY, glenda.create("", "new", DMDIR + 0o777));
    await refused(READONLY, glenda.remove("f"));
    await refused(READONLY, glenda.remove("d"));
    for (
      const changes of [
        { name: "g" },
        { length: 0n },
        { mode: 0o600 },
        { mtime: 1 },
        { gid: "0" },
      ]
    ) {
      await refused(READONLY, glenda.wstat("f", changes));
    }
    // Clients also sync files that they only read.
    await glenda.wstat("f", {});
    assertEquals(await glenda.text(await glenda.open("f")), "text");
    // ORCLOSE says nothing before the clunk.
    const fid = await glenda.walk("f");
    await refusal(
      glenda.ask({ type: "Topen", fid, mode: ORCLOSE })
        .then(() => glenda.clunk(fid)),
    );
    assertEquals((await stat(`${dir}/f`)).mtimeMs, before);
    assertEquals((await readdir(dir)).sort(), ["d", "f"]);
  });
});

test("HostFs takes no name that could lead elsewhere", async () => {
  await withWritableHost(async ({ dir, client }) => {
    await mkdir(`${dir}/d`);
    await writeFile(`${dir}/f`, "");
    const glenda = await client();
    const root = await glenda.walk("");
    const bad = [
      "",
      ".",
      "..",
      "/",
      "../outside/x",
      "a/b",
      "/etc/passwd",
      "d/..",
    ];
    for (const name of bad) {
      for (const perm of [0o644, DMDIR + 0o755]) {
        await refused(
          "illegal name",
          glenda.ask({ type: "Tcreate", fid: root, name, perm, mode: 0 }),
        );
      }
      if (name === "") continue; // Asks for nothing.
      await refused("illegal name", glenda.wstat("f", { name }));
    }
    for (
      const name of ["", ".", "../outside", "outside/bait", "/etc", "d/../f"]
    ) {
      await refused(
        "file does not exist",
        glenda.ask({ type: "Twalk", fid: root, newfid: 900, wname: [name] }),
      );
    }
    // `..` stays in the tree, however often.
    const wname = Array.from({ length: 16 }, () => "..");
    await glenda.ask({ type: "Twalk", fid: root, newfid: 901, wname });
    assertEquals((await glenda.stat(901)).qid, (await glenda.stat(0)).qid);
    const long = "é".repeat(128);
    await refused("File name too long", glenda.create("", long));
    await refused("File name too long", glenda.wstat("f", { name: long }));
    assertEquals((await readdir(dir)).sort(), ["d", "f"]);
  });
});

test("HostFs: the tree itself checks names, also without the rules above it", () => {
  const linux = ["", ".", "..", "a/b", "a\0b", "\ud800", "a\uFFFD"];
  for (const name of linux) {
    assertEquals(isHostName(name, "linux"), false, name);
  }
  for (
    const name of ["a\\b", "c:", "con", "NUL.txt", "x ", "x.", "a*", "com1"]
  ) {
    assertEquals(isHostName(name, "linux"), true, name);
    assertEquals(isHostName(name, "win32"), false, name);
  }
  for (const name of ["a", "é", ".x", "console", "a b"]) {
    assertEquals(isHostName(name, "win32"), true, name);
  }
});

test("HostFs serves one tree, whose directory must be there", async () => {
  await withHost({}, async ({ dir, client }) => {
    const glenda = await client();
    await refused("file does not exist", glenda.attach(5, "glenda", "other"));
    await glenda.attach(6, "glenda", "/");
    assertThrows(() => new HostFs(dir, { maxOpen: 0 }), RangeError, "maxOpen");
  });
  await withHost({}, async ({ dir, outside, client }) => {
    await rm(dir, { recursive: true });
    await refused("file does not exist", client());
    await writeFile(dir, "a file");
    await refused("not a directory", client());
    await rm(dir);
    // It comes back.
    await rename(outside, dir);
    const glenda = await client();
    assertEquals(await glenda.list(await glenda.open("")), ["bait"]);
    await rename(dir, outside);
  });
});

test("HostFs: qid, version, mode, length, times and owners are those of the host", async () => {
  await withHost({}, async ({ dir, client }) => {
    await mkdir(`${dir}/d`, { mode: 0o750 });
    await writeFile(`${dir}/d/f`, "12345");
    await chmod(`${dir}/d/f`, 0o640);
    await utimes(`${dir}/d/f`, 1_000_000_000, 1_100_000_000);
    await link(`${dir}/d/f`, `${dir}/g`);
    const own = await lstat(`${dir}/d/f`, { bigint: true });
    const glenda = await client();
    const f = await glenda.stat("d/f");
    assertEquals(f.mode, 0o640);
    assertEquals(f.length, 5n);
    assertEquals([f.atime, f.mtime], [1_000_000_000, 1_100_000_000]);
    assertEquals(f.qid.path, own.ino);
    // Two names of one file are one file.
    assertEquals((await glenda.stat("g")).qid, f.qid);
    const d = await glenda.stat("d");
    assertEquals([d.mode, d.qid.type, d.length], [DMDIR + 0o750, QTDIR, 0n]);
    const names = await readFile("/etc/passwd", "utf8").then(
      (text) => parseNames(text).byNumber,
      () => new Map<number, string>(),
    );
    const uid = Number(own.uid);
    assertEquals(f.uid, names.get(uid) ?? String(uid));
    // All replies agree.
    const fid = await glenda.walk("d/f");
    const { qid } = await glenda.ask({ type: "Topen", fid, mode: OREAD });
    assertEquals(qid, f.qid);
    // The same size, another time: another version.
    await utimes(`${dir}/g`, 1_000_000_000, 1_100_000_000.5);
    assertNotEquals((await glenda.stat(fid)).qid.vers, f.qid.vers);
    assertEquals((await glenda.stat(fid)).qid, (await glenda.stat("g")).qid);
  });
});

test("HostFs: times that no record can tell break no listing", async () => {
  await withHost({}, async ({ dir, client }) => {
    for (
      const [name, time] of [["old", new Date(-10_000_000)], [
        "new",
        2 ** 33,
      ]] as const
    ) {
      await writeFile(`${dir}/${name}`, "");
      await utimes(`${dir}/${name}`, time, time);
    }
    const glenda = await client();
    const names = await glenda.list(await glenda.open(""));
    assertEquals(names.sort(), ["new", "old"]);
    assertEquals((await glenda.stat("old")).mtime, 0);
    assert((await glenda.stat("new")).mtime > 2 ** 31);
  });
});

test("qidPath() gives no two files of a tree one path", () => {
  const paths = new Set<bigint>();
  const devices = [1n, 2n, 65024n, 2n ** 40n, 2n ** 64n - 1n];
  const numbers = [
    0n,
    1n,
    2n,
    2n ** 32n,
    2n ** 63n - 1n,
    2n ** 63n,
    2n ** 64n - 1n,
  ];
  for (const dev of devices) {
    for (const ino of numbers) {
      const path = qidPath({ dev, ino, kind: "file" }, 65024n);
      assert(path >= 0n && path < 2n ** 64n, String(path));
      paths.add(path);
    }
  }
  assertEquals(paths.size, devices.length * numbers.length);
  assertEquals(qidPath({ dev: 7n, ino: 12n, kind: "file" }, 7n), 12n);
});

test("parseNames() takes the first name, and no broken line", () => {
  const { byNumber, byName } = parseNames(
    "root:x:0:0::/:/bin/sh\ntoor:x:0:\n+::::\n#c:x:5:\n\nbad:x:-1:\nx:x:99999999999:\n__proto__:x:7:",
  );
  assertEquals([...byNumber], [[0, "root"], [7, "__proto__"]]);
  assertEquals(byName.get("toor"), 0);
  assertEquals(byName.get("constructor"), undefined);
});

test("HostFs makes files with the permissions that the directory has, for any umask", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const glenda = await client();
    for (
      const [parent, perm, file, made] of [
        [0o777, 0o666, 0o666, 0o666],
        [0o755, 0o777, 0o755, 0o755],
        [0o750, 0o666, 0o640, 0o640],
        [0o700, 0o111, 0o111, 0o100],
      ]
    ) {
      await chmod(dir, parent);
      await glenda.remove(await glenda.create("", "f", perm, OREAD));
      const fid = await glenda.create("", "f", perm, ORDWR);
      assertEquals((await stat(`${dir}/f`)).mode & 0o7777, file);
      assertEquals(await glenda.write(fid, "abc"), 3);
      assertEquals(await glenda.text(fid), "abc");
      await glenda.remove(fid);
      const sub = await glenda.create("", "d", DMDIR + perm);
      assertEquals((await stat(`${dir}/d`)).mode & 0o7777, made);
      await glenda.remove(sub);
    }
  });
});

test("HostFs: no client gives setuid, setgid, the sticky bit, or bits that the host does not keep", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const glenda = await client();
    await writeFile(`${dir}/f`, "");
    await chmod(`${dir}/f`, 0o644);
    for (const bit of [0x80000, 0x40000, 0x10000]) {
      for (const perm of [bit + 0o755, bit + DMDIR + 0o755]) {
        await refusal(glenda.create("", "x", perm));
      }
      await refusal(glenda.wstat("f", { mode: bit + 0o755 }));
    }
    for (const bit of [DMAPPEND, DMEXCL]) {
      await refused(
        "Operation not supported",
        glenda.create("", "x", bit + 0o644),
      );
      await refused("illegal mode", glenda.wstat("f", { mode: bit + 0o644 }));
    }
    assertEquals(await readdir(dir), ["f"]);
    assertEquals((await stat(`${dir}/f`)).mode & 0o7777, 0o644);
    // Bits that the host has set stay, or are removed.
    await chmod(`${dir}/f`, 0o2755);
    const { mode } = await glenda.stat("f");
    await glenda.wstat("f", { mode: mode & ~0o011 });
    assertEquals((await stat(`${dir}/f`)).mode & 0o7777, 0o2744);
    await glenda.wstat("f", { mode: 0o744 });
    assertEquals((await stat(`${dir}/f`)).mode & 0o7777, 0o744);
  });
});

test("HostFs: a create is exclusive, and OTRUNC, OAPPEND, OEXEC do what they say", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const glenda = await client();
    await writeFile(`${dir}/f`, "content");
    await mkdir(`${dir}/d`);
    for (const name of ["f", "d"]) {
      const exists = "file already exists";
      await refused(exists, glenda.create("", name, 0o644, OWRITE | OTRUNC));
      await refused(exists, glenda.create("", name, DMDIR + 0o755));
    }
    assertEquals(await readFile(`${dir}/f`, "utf8"), "content");
    await refused("permission denied", glenda.open("f", OEXEC));
    await refused("permission denied", glenda.open("f", OEXEC | OTRUNC));
    assertEquals(await readFile(`${dir}/f`, "utf8"), "content");
    await chmod(`${dir}/f`, 0o755);
    assertEquals(await glenda.text(await glenda.open("f", OEXEC)), "content");
    await refused("Is a directory", glenda.open("d", OWRITE));
    // Two writers at the end never overlap, though each names offset 0.
    const rob = await client("rob");
    const ends = [
      [glenda, await glenda.open("f", OWRITE | OAPPEND | OTRUNC)],
      [rob, await rob.open("f", ORDWR | OAPPEND)],
    ] as const;
    const line = "0123456789\n";
    await Promise.all(Array.from({ length: 40 }, (_, i) => {
      const [client, fid] = ends[i % 2];
      return client.write(fid, line);
    }));
    assertEquals(await readFile(`${dir}/f`, "utf8"), line.repeat(40));
  });
});

test("HostFs reads and writes at offsets, gaps and ends, with many requests at once", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const glenda = await client();
    const fid = await glenda.create("", "f", 0o644, ORDWR);
    const block = (i: number) => new Uint8Array(1000).fill(i + 1);
    const count = 64;
    await Promise.all(
      Array.from(
        { length: count },
        (_, i) => glenda.write(fid, block(i), i * 1000),
      ),
    );
    const parts = await Promise.all(
      Array.from({ length: count }, (_, i) => glenda.read(fid, i * 1000, 1000)),
    );
    for (const [i, part] of parts.entries()) assertEquals(part, block(i));
    const bytes = await readFile(`${dir}/f`);
    assertEquals(bytes.length, count * 1000);
    // Behind the end, and over it, with reads that come together.
    const [last, over, behind] = await Promise.all([
      glenda.read(fid, 63_500, 300),
      glenda.read(fid, 63_800, 300),
      glenda.read(fid, 64_100, 300),
    ]);
    assertEquals([last.length, over.length, behind.length], [300, 200, 0]);
    assertEquals((await glenda.read(fid, 2 ** 52, 100)).length, 0);
    await glenda.write(fid, "x", 70_000);
    const gap = await glenda.read(fid, 64_000, 8000);
    assertEquals(gap.length, 6001);
    assert(gap.subarray(0, 6000).every((byte) => byte === 0));
    await refused("file too big", glenda.write(fid, "x", 2 ** 53 - 2));
    assertEquals(await glenda.write(fid, ""), 0);
  });
});

test("HostFs: a file that grows, shrinks and vanishes under its readers", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const glenda = await client();
    await writeFile(`${dir}/log`, "one\n");
    const fid = await glenda.open("log");
    assertEquals(await glenda.text(fid), "one\n");
    assertEquals(await glenda.text(fid, 4), "");
    await writeFile(`${dir}/log`, "two\n", { flag: "a" });
    assertEquals(await glenda.text(fid, 4), "two\n");
    await writeFile(`${dir}/log`, "x".repeat(50_000), { flag: "a" });
    let got = 8;
    for (let part; (part = await glenda.read(fid, got)).length > 0;) {
      got += part.length;
    }
    assertEquals(got, 50_008);
    const file = await open(`${dir}/log`, "r+");
    await file.truncate(2);
    await file.close();
    assertEquals(await glenda.text(fid), "on");
    assertEquals((await glenda.stat(fid)).length, 2n);
    // Another file takes the name: the fid stands for the old one.
    await writeFile(`${dir}/next`, "next");
    await rename(`${dir}/next`, `${dir}/log`);
    assertEquals(await glenda.text(fid), "on");
    assertEquals((await glenda.stat(fid)).length, 2n);
    const next = await glenda.open("log");
    assertEquals(await glenda.text(next), "next");
    await glenda.clunk(next);
    // A fid that is not open reaches neither.
    const walked = await glenda.walk("log");
    await writeFile(`${dir}/third`, "third");
    await rename(`${dir}/third`, `${dir}/log`);
    await refused(GONE, glenda.stat(walked));
    await refused(
      GONE,
      glenda.ask({ type: "Topen", fid: walked, mode: OREAD }),
    );
    await refused(GONE, glenda.wstat(walked, { mode: 0 }));
    await refused(GONE, glenda.remove(walked));
    assertEquals(await readFile(`${dir}/log`, "utf8"), "third");
  });
});

test("HostFs: a removed file stays readable through open fids, and no other fid reaches it", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const [glenda, rob] = [await client(), await client("rob")];
    await writeFile(`${dir}/f`, "old");
    const fid = await glenda.open("f", ORDWR);
    const idle = await glenda.walk("f");
    await rob.remove("f");
    assertEquals(await glenda.text(fid), "old");
    assertEquals(await glenda.write(fid, "new"), 3);
    assertEquals((await glenda.stat(fid)).length, 3n);
    // The host may give the number of the file to the next one.
    await rob.write(await rob.create("", "f", 0o644, OWRITE), "other");
    assertEquals(await glenda.text(fid), "new");
    await glenda.clunk(fid);
    for (let i = 0; i < 20; i++) {
      await rob.remove("f");
      await rob.clunk(await rob.create("", "f", 0o644, OWRITE));
      await refused(
        GONE,
        glenda.ask({ type: "Topen", fid: idle, mode: OREAD }),
      );
    }
    await mkdir(`${dir}/d`);
    const removed = await glenda.walk("d");
    await rob.remove("d");
    await rob.create("", "d", DMDIR + 0o755);
    await rob.clunk(await rob.create("d", "x", 0o644));
    await refused(GONE, glenda.walk("x", removed));
    await refused(
      GONE,
      glenda.ask({
        type: "Tcreate",
        fid: removed,
        name: "y",
        perm: 0o644,
        mode: 0,
      }),
    );
    await refused("directory is not empty", rob.remove("d"));
    assertEquals(await readdir(`${dir}/d`), ["x"]);
  });
});

test("HostFs: fids below a directory stay valid when a client or the host renames it", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const [glenda, rob] = [await client(), await client("rob")];
    await mkdir(`${dir}/a/b`, { recursive: true });
    await writeFile(`${dir}/a/b/f`, "inside");
    const open = await glenda.open("a/b/f", ORDWR);
    const idle = await glenda.walk("a/b/f");
    const below = await glenda.walk("a/b");
    await rob.wstat("a", { name: "z" });
    await mkdir(`${dir}/a/b`, { recursive: true });
    await writeFile(`${dir}/a/b/f`, "another");
    assertEquals(await glenda.text(open), "inside");
    await glenda.ask({ type: "Topen", fid: idle, mode: OREAD });
    assertEquals(await glenda.text(idle), "inside");
    assertEquals(
      await glenda.list(
        await glenda.walk("", below).then(async (fid) => {
          await glenda.ask({ type: "Topen", fid, mode: OREAD });
          return fid;
        }),
      ),
      ["f"],
    );
    const file = await glenda.walk("f", below);
    await glenda.wstat(file, { name: "g" });
    assertEquals(await readdir(`${dir}/z/b`), ["g"]);
    assertEquals((await glenda.stat(open)).name, "g");
    // The host moves a directory: its fids work or fail, and reach no other file.
    await rename(`${dir}/z`, `${dir}/y`);
    await mkdir(`${dir}/z/b`, { recursive: true });
    await writeFile(`${dir}/z/b/g`, "another");
    assertEquals(await glenda.text(open), "inside");
    const again = await glenda.walk("", file);
    const outcome = await glenda.ask({ type: "Topen", fid: again, mode: OREAD })
      .then(() => glenda.text(again), (error: Error) => error.message);
    assert(["inside", GONE].includes(outcome), outcome);
  });
});

test("HostFs: a directory that is moved out of the tree is out of reach", async () => {
  await withWritableHost(async ({ dir, outside, client }) => {
    const glenda = await client();
    await mkdir(`${dir}/d/e`, { recursive: true });
    await writeFile(`${dir}/d/e/f`, "text");
    const fid = await glenda.walk("d/e");
    await glenda.walk("f", fid);
    await rename(`${dir}/d`, `${outside}/d`);
    await writeFile(`${outside}/d/e/secret`, "secret");
    await refused(GONE, glenda.walk("secret", fid));
    await refused(
      GONE,
      glenda.ask({ type: "Tcreate", fid, name: "x", perm: 0o644, mode: 0 }),
    );
    // The tree as a whole may be moved.
    const root = await glenda.walk("");
    await writeFile(`${dir}/here`, "here");
    await glenda.clunk(await glenda.walk("here", root));
  });
});

test("HostFs: a directory is out of reach after its parent was moved out of the tree", async () => {
  await withWritableHost(async ({ dir, outside, client }) => {
    const glenda = await client();
    await mkdir(`${dir}/d/e`, { recursive: true });
    // The server holds a descriptor of d, and none of e yet.
    const fid = await glenda.walk("d/e");
    await rename(`${dir}/d`, `${outside}/d`);
    await writeFile(`${outside}/d/e/secret`, "secret");
    await refused(GONE, glenda.walk("secret", fid));
    await refused(
      GONE,
      glenda.ask({ type: "Tcreate", fid, name: "x", perm: 0o644, mode: 0 }),
    );
    assertEquals(await readdir(`${outside}/d/e`), ["secret"]);
  });
});

test("HostFs: a Twstat is all or none", async () => {
  await withWritableHost(async ({ dir, client }) => {
    const glenda = await client();
    await writeFile(`${dir}/f`, "content");
    await writeFile(`${dir}/taken`, "");
    await chmod(`${dir}/f`, 0o644);
    await utimes(`${dir}/f`, 1000, 2000);
    const before = await glenda.stat("f");
    for (
      const [changes, text] of [
        [{ mode: 0o600, length: 1n, name: "taken" }, "file already exists"],
        [{ mode: 0o600, mtime: 5, gid: "no such group" }, "unknown group"],
        [
          { name: "g", mode: DMDIR + 0o755 },
          "wstat can't convert between files and directories",
        ],
        [{ length: 2n ** 63n, mode: 0o600 }, "file too big"],
        [
          { length: 2n ** 60n, mode: 0o600, mtime: 7, name: "g" },
          "file too big",
        ],
        [{ mtime: 5, name: "a/b" }, "illegal name"],
      ] as const
    ) {
      await refused(text, glenda.wstat("f", changes));
      assertEquals(await glenda.stat("f"), before);
    }
    await glenda.wstat("f", {
      name: "g",
      mode: 0o600,
      mtime: 3000,
      length: 3n,
    });
    const after = await glenda.stat("g");
    assertEquals(
      [after.mode, after.mtime, after.atime, after.length, after.qid.path],
      [0o600, 3000, 1000, 3n, before.qid.path],
    );
    assertEquals(await readFile(`${dir}/g`, "utf8"), "con");
    await glenda.wstat("g", { length: 5n });
    assertEquals(await readFile(`${dir}/g`, "utf8"), "con\0\0");
    await mkdir(`${dir}/d`);
    await refused("Is a directory", glenda.wstat("d", { length: 1n }));
    await glenda.wstat("d", { length: 0n, mode: DMDIR + 0o711 });
    assertEquals((await stat(`${dir}/d`)).mode & 0o7777, 0o711);
    await refused("cannot remove root", glenda.wstat(0, { name: "x" }));
    await refused("cannot remove root", glenda.remove(await glenda.walk("")));
  });
});
