// A host directory where the host sets the limits: large directories, names
// that are no UTF-8, full disks, files that may not be opened, and connections
// that die while files are open.

import { assert, assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { DMDIR, ORDWR, OWRITE } from "../../../codec.ts";
import { test } from "../../harness.ts";
import { withHost, withWritableHost } from "./tree.ts";
import { bytes, refused } from "../tree_client.ts";

const ENTRIES = Number(process.env.NINEP_HOST_ENTRIES ?? 20_000);

/** User and group "nobody". */
const NOBODY = 65534;

/** The functions of node:fs/promises that HostFs uses, to watch them. */
const files: { lstat(path: string, options?: object): Promise<unknown> } =
  process.getBuiltinModule("node:fs/promises");

/** Counts the looks at members while `use` runs. */
async function watchingLooks(
  use: (looks: { begun: number; most: number }) => Promise<void>,
): Promise<void> {
  const { lstat } = files;
  const looks = { begun: 0, most: 0 };
  let running = 0;
  files.lstat = async (path, options) => {
    looks.begun++;
    looks.most = Math.max(looks.most, ++running);
    try {
      return await lstat(path, options);
    } finally {
      running--;
    }
  };
  try {
    await use(looks);
  } finally {
    files.lstat = lstat;
  }
}

/** Paths of the descriptors of this process that lead into a directory. */
function descriptors(dir: string): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(dir) ? [path] : [];
    } catch {
      return []; // It was the descriptor of this listing.
    }
  });
}

test("HostFs looks at few members of a large directory before the first reply, and at few at once", async () => {
  await withHost({}, async ({ dir, client }) => {
    for (let i = 0; i < ENTRIES; i++) writeFileSync(`${dir}/f${i}`, "");
    const glenda = await client();
    await watchingLooks(async (looks) => {
      const first = await glenda.open("");
      const { length } = await glenda.read(first, 0, 8192);
      assert(length > 4096, `the first reply has ${length} bytes`);
      assert(looks.begun <= 256, `${looks.begun} looks for the first reply`);
      const names = await glenda.list(await glenda.open(""));
      assertEquals(names.length, ENTRIES);
      assertEquals(new Set(names).size, ENTRIES);
      assert(looks.most <= 128, `${looks.most} looks at once`);
    });
  });
});

test("HostFs lists no name that is no UTF-8, and reaches no such file", async () => {
  await withWritableHost(async ({ dir, client }) => {
    await writeFile(`${dir}/plain`, "");
    // The runtimes have no way to make such names.
    for (const octal of ["377", "300", "355\\240\\200"]) {
      execFileSync("sh", ["-c", `: > "$1/$(printf 'f\\${octal}')"`, "-", dir]);
    }
    const glenda = await client();
    assertEquals(await glenda.list(await glenda.open("")), ["plain"]);
    for (const name of ["f\uFFFD", "f\uFFFD\uFFFD", "f\uFFFD\uFFFD\uFFFD"]) {
      await refused("file does not exist", glenda.walk(name));
      await refused("illegal name", glenda.create("", name));
    }
  });
});

test("HostFs closes its descriptors when connections die with files open", async () => {
  let served = "";
  await withWritableHost(async ({ dir, client, defects }) => {
    served = dir;
    await mkdir(`${dir}/d/e`, { recursive: true });
    for (let i = 0; i < 200; i++) writeFileSync(`${dir}/d/e/f${i}`, "text");
    const stays = await client();
    const open = await stays.open("d/e/f0");
    for (let round = 0; round < 20; round++) {
      const dies = await client();
      const tags: number[] = [];
      for (let i = 0; i < 20; i++) {
        const fid = await dies.open(`d/e/f${i}`, ORDWR);
        const data = bytes("x".repeat(1000));
        tags.push(
          dies.send({ type: "Twrite", fid, offset: 0n, data }),
          dies.send({ type: "Tread", fid, offset: 0n, count: 100 }),
        );
      }
      const list = await dies.open("d/e");
      await dies.read(list, 0, 512);
      tags.push(
        dies.send({ type: "Tread", fid: list, offset: 512n, count: 512 }),
      );
      dies.send({
        type: "Twalk",
        fid: 0,
        newfid: 9000,
        wname: ["d", "e", "f9"],
      });
      const create = await dies.walk("d");
      dies.send({
        type: "Tcreate",
        fid: create,
        name: `new${round}`,
        perm: 0o600,
        mode: OWRITE,
      });
      for (const tag of tags) dies.reply(tag).catch(() => {});
      dies.close();
      await dies.ended;
    }
    // No number was closed twice: the file that stays open is readable.
    assertEquals((await stays.text(open)).slice(-4).length, 4);
    assertEquals(defects, []);
  });
  // All sessions have ended by now, and released their fids.
  assertEquals(descriptors(served), []);
});

test("HostFs refuses opens and listings beyond maxOpen, and takes them again after a clunk", async () => {
  await withHost({ maxOpen: 3 }, async ({ dir, client }) => {
    for (let i = 0; i < 200; i++) writeFileSync(`${dir}/f${i}`, "text");
    const glenda = await client();
    const ken = await client("ken");
    await glenda.open("f0");
    await ken.open("f0");
    const list = await ken.open("");
    await ken.read(list, 0, 100);
    for (let round = 0; round < 3; round++) {
      await refused("Too many open files", glenda.open("f0"));
      const other = await glenda.open("");
      await refused("Too many open files", glenda.read(other, 0, 100));
      await glenda.clunk(other);
    }
    await ken.clunk(list);
    // The system may close the directory a moment later.
    let free: number | undefined;
    while (free === undefined) {
      free = await glenda.open("f0").catch(() => undefined);
    }
    await glenda.clunk(free);
    assertEquals((await glenda.list(await glenda.open(""))).length, 200);
  });
});

test("HostFs tells that the host forbids to open, list, make or remove", async () => {
  await withWritableHost(async ({ dir, client }) => {
    await writeFile(`${dir}/locked`, "secret");
    await mkdir(`${dir}/closed`);
    await mkdir(`${dir}/fixed`);
    await writeFile(`${dir}/fixed/f`, "");
    await chmod(`${dir}/locked`, 0o000);
    await chmod(`${dir}/closed`, 0o000);
    await chmod(`${dir}/fixed`, 0o555);
    const glenda = await client();
    // The host allows everything to root.
    const isRoot = process.getuid?.() === 0;
    if (isRoot) process.seteuid?.(NOBODY);
    try {
      const denied = "permission denied";
      await refused(denied, glenda.open("locked"));
      await refused(denied, glenda.open("locked", OWRITE));
      await refused(
        denied,
        glenda.open("closed").then((fid) => glenda.list(fid)),
      );
      const closed = await glenda.walk("closed");
      await refused(denied, glenda.walk("x", closed));
      await refused(denied, glenda.create("fixed", "new"));
      await refused(denied, glenda.remove("fixed/f"));
      assertEquals((await glenda.stat("locked")).length, 6n);
      assertEquals(await glenda.list(await glenda.open("fixed")), ["f"]);
      if (isRoot) {
        // Only the owner of a file, or root, changes its attributes.
        const text = "Operation not permitted";
        await refused(text, glenda.wstat("fixed", { mode: DMDIR + 0o755 }));
      }
    } finally {
      if (isRoot) process.seteuid?.(0);
      await chmod(`${dir}/closed`, 0o700);
    }
  });
});

/** Mounts a file system of one MiB; undefined where this program may not. */
function mountSmall(dir: string): (() => void) | undefined {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", dir], {
      stdio: "ignore",
    });
  } catch {
    return undefined;
  }
  // The server may hold the directory for a while.
  return () => execFileSync("umount", ["-l", dir]);
}

test("HostFs tells that the disk is full, and how many bytes were taken", async () => {
  await withWritableHost(async ({ dir, client }) => {
    await mkdir(`${dir}/small`);
    const unmount = mountSmall(`${dir}/small`);
    if (unmount === undefined) {
      console.warn("skipped: this user cannot mount a small file system");
      return;
    }
    try {
      const glenda = await client();
      const fid = await glenda.create("small", "f", 0o600, OWRITE);
      const data = new Uint8Array(32 * 1024).fill(7);
      let offset = 0;
      await refused(
        "file system is full",
        (async () => {
          for (;;) offset += await glenda.write(fid, data, offset);
        })(),
      );
      assertEquals(BigInt(offset), (await glenda.stat("small/f")).length);
      assert(offset <= 1024 * 1024, `${offset} bytes`);
      // The disk has room again, and writes of the same fid succeed.
      await glenda.wstat("small/f", { length: 0n });
      assertEquals(await glenda.write(fid, data), data.length);
      await glenda.clunk(fid);
      await glenda.remove("small/f");
    } finally {
      unmount();
    }
  });
});
