// Links, devices and FIFOs in a host directory: no client reaches a file
// outside, also while another process swaps links in.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import {
  chmod,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DMDIR, ORDWR, OREAD, OTRUNC, OWRITE, QTDIR } from "../../../codec.ts";
import { HostDir } from "../../../fs/host/host_dir.ts";
import type { HostFile } from "../../../fs/host/host_file.ts";
import { HostFs } from "../../../fs/mod.ts";
import type { AttachRequest, RequestContext } from "../../../server.ts";
import { firstLine, run, start } from "../../child.ts";
import { isNode, test } from "../../harness.ts";
import { withFolder } from "../../folder.ts";
import { BAIT, withHost, withWritableHost } from "./tree.ts";
import { refusal, refused, textOf } from "../tree_client.ts";

const isDeno = "Deno" in globalThis;
const QTSYMLINK = 0x02;
const DMSYMLINK = 0x02000000;
const GONE = "file has been removed";

test("HostFs follows no link: one to a file, one to a directory, one that leads nowhere", async () => {
  await withWritableHost(async ({ dir, outside, client }) => {
    await mkdir(`${dir}/d`);
    await writeFile(`${dir}/d/f`, "inside");
    await symlink(`${outside}/bait`, `${dir}/file`);
    await symlink(outside, `${dir}/dir`);
    await symlink("../../outside", `${dir}/d/up`);
    await symlink("d/f", `${dir}/in`);
    await symlink("nowhere", `${dir}/broken`);
    await symlink("loop", `${dir}/loop`);
    const glenda = await client();
    for (const path of ["file", "dir", "d/up", "in", "broken", "loop"]) {
      const stat = await glenda.stat(path);
      assertEquals(stat.qid.type, QTSYMLINK, path);
      assertEquals(stat.mode, DMSYMLINK + 0o777, path);
      for (const mode of [OREAD, OWRITE, ORDWR, OREAD | OTRUNC]) {
        await refused("illegal mode", glenda.open(path, mode));
      }
      await refusal(glenda.wstat(path, { length: 1n }));
    }
    for (const path of ["dir/bait", "d/up/bait", "file/x"]) {
      const fid = 700;
      const wname = path.split("/");
      const { wqid } = await glenda.ask({
        type: "Twalk",
        fid: 0,
        newfid: fid,
        wname,
      });
      assertEquals(wqid.length, wname.length - 1);
    }
    const link = await glenda.walk("dir");
    await refused(
      "not a directory",
      glenda.ask({
        type: "Tcreate",
        fid: link,
        name: "x",
        perm: 0o644,
        mode: 0,
      }),
    );
    // The link itself is moved, changed and removed.
    await glenda.wstat("file", { name: "renamed", mtime: 1_000_000_000 });
    assertEquals(await readlink(`${dir}/renamed`), `${outside}/bait`);
    assertEquals((await lstat(`${dir}/renamed`)).mtimeMs, 1e12);
    assert((await lstat(`${outside}/bait`)).mtimeMs !== 1e12);
    await refused(
      "Operation not supported",
      glenda.wstat("renamed", { mode: DMSYMLINK }),
    );
    assertNotEquals((await lstat(`${outside}/bait`)).mode & 0o777, 0);
    for (const path of ["renamed", "dir", "d/up", "in", "broken", "loop"]) {
      await glenda.remove(path);
    }
    assertEquals((await readdir(dir)).sort(), ["d"]);
    assertEquals(await readdir(`${dir}/d`), ["f"]);
  });
});

test("HostFs: a create does not go through a link that leads out of the tree", async () => {
  await withWritableHost(async ({ dir, outside, client }) => {
    await symlink(`${outside}/new`, `${dir}/new`);
    const glenda = await client();
    const exists = "file already exists";
    await refused(exists, glenda.create("", "new", 0o644, OWRITE));
    await refused(exists, glenda.create("", "new", DMDIR + 0o755));
    await writeFile(`${dir}/f`, "");
    await refused(exists, glenda.wstat("f", { name: "new" }));
    assertEquals(await readdir(outside), ["bait"]);
  });
});

test("HostFs with followLinks follows links to what is in the tree, and no others", async () => {
  await withHost(
    { readonly: false, followLinks: true },
    async ({ dir, outside, client }) => {
      await mkdir(`${dir}/d/e`, { recursive: true });
      await writeFile(`${dir}/d/f`, "inside");
      await writeFile(`${dir}/top`, "top");
      const inside: Record<string, string> = {
        rel: "d/f",
        abs: `${dir}/d/f`,
        chain: "rel",
        folder: "d",
        "d/up": "../top",
        "d/e/root": "../..",
        dots: "./d/.././d//f",
        "d/e/via": "root/folder/f",
      };
      const outer: Record<string, string> = {
        bait: `${outside}/bait`,
        up: "../outside/bait",
        deep: "d/e/../../../outside",
        almost: `${dir}x`,
        broken: "nowhere",
        loop: "loop",
        ping: "pong",
        pong: "ping",
        through: "top/x",
        proc: "/proc/self/root",
        "d/e/out": "root/../outside",
      };
      for (const [path, target] of Object.entries({ ...inside, ...outer })) {
        await symlink(target, `${dir}/${path}`);
      }
      const glenda = await client();
      const f = await glenda.stat("d/f");
      for (
        const path of ["rel", "abs", "chain", "dots", "d/e/via", "folder/f"]
      ) {
        assertEquals(
          await glenda.text(await glenda.open(path)),
          "inside",
          path,
        );
        assertEquals((await glenda.stat(path)).qid, f.qid, path);
        assertEquals((await glenda.stat(path)).name, path.split("/").at(-1));
      }
      assertEquals(await glenda.text(await glenda.open("d/up")), "top");
      assertEquals((await glenda.stat("folder")).qid.type, QTDIR);
      assertEquals(
        (await glenda.list(await glenda.open("d/e/root"))).sort(),
        (await glenda.list(await glenda.open(""))).sort(),
      );
      for (const path of Object.keys(outer)) {
        assertEquals((await glenda.stat(path)).qid.type, QTSYMLINK, path);
        await refused("illegal mode", glenda.open(path));
      }
      // A link that is followed loses its own name, not its file's.
      const fid = await glenda.create("folder", "new", 0o644, ORDWR);
      await glenda.write(fid, "new");
      assertEquals(await readFile(`${dir}/d/new`, "utf8"), "new");
      await glenda.wstat("rel", { mode: 0o600 });
      assertEquals((await lstat(`${dir}/d/f`)).mode & 0o777, 0o600);
      await glenda.wstat("chain", { name: "chain2" });
      assertEquals(await readlink(`${dir}/chain2`), "rel");
      await glenda.remove("chain2");
      await glenda.remove("folder");
      assertEquals(await readFile(`${dir}/d/f`, "utf8"), "inside");
      // A walk finds the members of a listing.
      const listed = await glenda.list(await glenda.open("d"));
      assertEquals(listed.sort(), ["e", "f", "new", "up"]);
    },
  );
});

test("HostFs with followLinks lists a directory while targets of links are replaced and removed", async () => {
  await withHost({ followLinks: true }, async ({ dir, fs }) => {
    const request = { uname: "glenda", aname: "", afid: undefined };
    const root = await fs.attach(request);
    assert(root instanceof HostDir);
    for (const name of ["replaced", "removed"]) {
      await writeFile(`${dir}/${name}`, name);
      await symlink(name, `${dir}/to-${name}`);
    }
    // The other process acts after the lookup, and before the stat.
    const lookup = root.lookup.bind(root);
    root.lookup = async (name) => {
      const file = await lookup(name);
      if (name === "to-replaced") {
        root.lookup = lookup;
        await writeFile(`${dir}/new`, "new content");
        await rename(`${dir}/new`, `${dir}/replaced`);
      }
      return file;
    };
    assertEquals((await root.followed("to-replaced"))?.length, 11n);
    root.lookup = async (name) => {
      const file = await lookup(name);
      await unlink(`${dir}/removed`).catch(() => {});
      return file;
    };
    const names: string[] = [];
    for await (const { stat } of root.list({ cookie: 0 })) {
      names.push(stat.name);
    }
    // A link whose target was removed is listed as a link.
    for (const name of ["replaced", "to-replaced", "to-removed"]) {
      assert(names.includes(name), name);
    }
    await root.release();
  });
});

test("HostFs opens no FIFO, device or socket, and waits for none", async () => {
  await withWritableHost(async ({ dir, client }) => {
    // Under Deno the tests have no right to run mkfifo.
    if (!isDeno) execFileSync("mkfifo", [`${dir}/fifo`]);
    else await listenOn(`${dir}/fifo`);
    const glenda = await client();
    const fid = await glenda.walk("fifo");
    for (const mode of [OREAD, OWRITE, ORDWR]) {
      await refused(
        "no access to special file",
        glenda.ask({ type: "Topen", fid, mode }),
      );
    }
    assertEquals((await glenda.stat(fid)).length, 0n);
    await refused("no access to special file", glenda.wstat(fid, { mode: 0 }));
    assertEquals(await glenda.list(await glenda.open("")), ["fifo"]);
    // A file that becomes a FIFO after its walk is not opened, either.
    await writeFile(`${dir}/f`, "text");
    const walked = await glenda.walk("f");
    await rename(`${dir}/fifo`, `${dir}/f`);
    await refused(
      GONE,
      glenda.ask({ type: "Topen", fid: walked, mode: OREAD }),
    );
    await glenda.remove("f");
    assertEquals(await readdir(dir), []);
  });
});

/** Makes the file of a socket, and leaves it there. */
async function listenOn(path: string): Promise<void> {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((done) => server.listen(path, done));
  // The end of the listener removes the file; its second name stays.
  await link(path, `${path}2`);
  await new Promise((done) => server.close(done));
  await rm(path, { force: true });
  await rename(`${path}2`, path);
}

test("HostFs: a link that is swapped in after a walk is not followed, for any request", async () => {
  await withWritableHost(async ({ dir, outside, client }) => {
    await mkdir(`${dir}/d`);
    await writeFile(`${dir}/d/bait`, "inside");
    const glenda = await client();
    const file = await glenda.walk("d/bait");
    const folder = await glenda.walk("d");
    await rename(`${dir}/d`, `${dir}/own`);
    await symlink(outside, `${dir}/d`);
    const gone = (answer: Promise<unknown>) => refused(GONE, answer);
    const create = (perm: number) =>
      glenda.walk("", folder).then((fid) =>
        glenda.ask({ type: "Tcreate", fid, name: "x", perm, mode: 0 })
      );
    for (const fid of [file, folder]) {
      // Either the file that it was, or nothing.
      const answer = await glenda.ask({ type: "Tstat", fid }).catch(() =>
        undefined
      );
      if (answer !== undefined) {
        assertNotEquals(answer.stat.length, BigInt(BAIT.length));
      }
    }
    const read = await glenda.ask({ type: "Topen", fid: file, mode: OREAD })
      .then(() => glenda.text(file), () => "");
    assertNotEquals(read, BAIT);
    for (const perm of [0o644, DMDIR + 0o755]) {
      await create(perm).catch(() => {});
    }
    await glenda.wstat(file, { length: 0n }).catch(() => {});
    await glenda.wstat(file, { mode: 0 }).catch(() => {});
    await glenda.remove(file).catch(() => {});
    assertEquals(await readdir(outside), ["bait"]);
    assertNotEquals((await lstat(`${outside}/bait`)).mode & 0o777, 0);
    // The leaf.
    await writeFile(`${dir}/leaf`, "inside");
    for (
      const request of [
        (fid: number) => glenda.ask({ type: "Topen", fid, mode: OREAD }),
        (fid: number) =>
          glenda.ask({ type: "Topen", fid, mode: ORDWR | OTRUNC }),
        (fid: number) => glenda.wstat(fid, { mode: 0 }),
        (fid: number) => glenda.wstat(fid, { length: 0n }),
        (fid: number) => glenda.wstat(fid, { mtime: 1 }),
        (fid: number) => glenda.wstat(fid, { name: "elsewhere" }),
        (fid: number) => glenda.stat(fid),
        (fid: number) => glenda.remove(fid),
      ]
    ) {
      const fid = await glenda.walk("leaf");
      await rename(`${dir}/leaf`, `${dir}/leaf.own`);
      await symlink(`${outside}/bait`, `${dir}/leaf`);
      await gone(request(fid));
      await unlink(`${dir}/leaf`);
      await rename(`${dir}/leaf.own`, `${dir}/leaf`);
    }
    assertEquals(await readFile(`${dir}/leaf`, "utf8"), "inside");
  });
});

/** Uses the directory itself, with what 9P2000 does not carry yet. */
async function rootOf(
  dir: string,
): Promise<{ root: HostDir; context: RequestContext }> {
  // Files of the host ask nothing of a context.
  const context = {} as RequestContext;
  const request = {
    uname: "glenda",
    aname: "",
    afid: undefined,
  } satisfies AttachRequest;
  const root = await new HostFs(dir, { readonly: false }).attach(request);
  assert(root instanceof HostDir);
  return { root, context };
}

test("HostDir makes links as they are, reads them, gives further names, syncs and tells its size", async () => {
  await withFolder(async (dir) => {
    const { root, context } = await rootOf(dir);
    for (const target of ["", "a\0b", "\ud800"]) {
      await refused("Invalid argument", root.symlink({ name: "l", target }));
    }
    await refused(
      "File name too long",
      root.symlink({ name: "l", target: "x".repeat(5000) }),
    );
    await refused("illegal name", root.symlink({ name: "../l", target: "x" }));
    const made = await root.symlink({ name: "l", target: "/etc/passwd" });
    assertEquals(await made.readlink?.(context), "/etc/passwd");
    assertEquals((await made.stat(context)).target, "/etc/passwd");
    const { file, open } = await root.create({
      name: "f",
      perm: 0o644,
      mode: ORDWR,
    });
    await refused(
      "Invalid argument",
      Promise.resolve(file.readlink?.(context)),
    );
    await root.link("g", file);
    assertEquals((await file.stat(context)).nlink, 2);
    await assertCode("EEXIST", root.link("l", file));
    await refused("illegal name", root.link("../g", file));
    await refused("Operation not permitted", root.link("h", root));
    await file.sync?.(context);
    await root.sync();
    const { atimeNsec, nuid, ngid } = await file.stat(context);
    assertEquals([typeof atimeNsec, typeof nuid, typeof ngid], [
      "number",
      "number",
      "number",
    ]);
    // Deno asks for a permission that the tests do not have.
    if (!isDeno) {
      const { blockSize, blocks, free, maxName } = await root.statfs();
      assert(blockSize > 0 && blocks >= free && maxName === 255);
    }
    await open?.close?.({ lost: false, writeFailed: false });
    for (const given of [made, file, root]) await given.release?.();
  });
});

test("HostDir.rename() moves between directories, replaces when it is asked to, and loses nothing", async () => {
  await withFolder(async (dir) => {
    const { root, context } = await rootOf(dir);
    await mkdir(`${dir}/a/full`, { recursive: true });
    await mkdir(`${dir}/b/full`, { recursive: true });
    await mkdir(`${dir}/b/empty`);
    await writeFile(`${dir}/a/f`, "f");
    await writeFile(`${dir}/a/full/x`, "x");
    await writeFile(`${dir}/b/full/y`, "y");
    await writeFile(`${dir}/b/g`, "g");
    const find = async (in_: HostDir, name: string): Promise<HostFile> => {
      const file = await in_.find(name);
      assert(file !== undefined, name);
      return file;
    };
    const a = await find(root, "a") as HostDir;
    const b = await find(root, "b") as HostDir;
    const f = await find(a, "f");
    const full = await find(a, "full");
    const rename_ = (
      file: HostFile,
      newName: string,
      replace: boolean,
      newDir = b,
    ) => {
      const from = file.parent;
      assert(from instanceof HostDir);
      return from.rename({ name: file.name, file, newDir, newName, replace });
    };
    await assertCode("EEXIST", rename_(f, "g", false));
    await assertCode("EEXIST", rename_(full, "full", false));
    await assertCode("EEXIST", rename_(full, "empty", false));
    await assertCode("EEXIST", rename_(f, "full", false));
    await assertCode("ENOTEMPTY EEXIST", rename_(full, "full", true));
    await assertCode("EISDIR EEXIST", rename_(f, "empty", true));
    await assertCode("ENOTDIR", rename_(full, "g", true));
    await assertCode("EINVAL", rename_(b, "inside", true, b));
    await refused("illegal name", rename_(f, "../x", true));
    assertEquals(await readFile(`${dir}/b/g`, "utf8"), "g");
    assertEquals((await readdir(`${dir}/a`)).sort(), ["f", "full"]);
    assertEquals((await readdir(`${dir}/b`)).sort(), ["empty", "full", "g"]);
    // An open file and a fid below a directory come along.
    const x = await find(full as HostDir, "x");
    await rename_(full, "moved", false);
    assertEquals((await x.stat()).name, "x");
    await rename_(f, "new", false);
    assertEquals((await f.stat()).name, "new");
    await rename_(f, "g", true);
    assertEquals(await readFile(`${dir}/b/g`, "utf8"), "f");
    // Two names of one file: rename(2) alone would leave both.
    await link(`${dir}/b/g`, `${dir}/b/twin`);
    await rename_(f, "twin", true);
    assertEquals((await readdir(`${dir}/b`)).sort(), [
      "empty",
      "full",
      "moved",
      "twin",
    ]);
    await rename_(full, "empty", true);
    assertEquals(await readFile(`${dir}/b/empty/x`, "utf8"), "x");
    const other = await rootOf(dir);
    await refused(
      "Invalid cross-device link",
      rename_(f, "z", true, other.root),
    );
    for (const file of [x, full, f, a, b, root, other.root]) {
      await file.release();
    }
    void context;
  });
});

/** Fails unless an operation is refused with one of these codes. */
async function assertCode(
  codes: string,
  answer: Promise<unknown>,
): Promise<void> {
  const code: unknown = await answer.then(
    () => "none",
    (error: { code?: unknown }) => error.code,
  );
  assert(codes.split(" ").includes(String(code)), `${code}, not ${codes}`);
}

/** The outcome of a race. */
interface Outcome {
  rounds: number;
  read: number;
  refused: number;
  bait: number;
}

/** Rounds that take about a second; the whole number with NINEP_HOST_ROUNDS. */
function roundsWanted(): number {
  try {
    return Number(process.env.NINEP_HOST_ROUNDS ?? 3000);
  } catch {
    return 3000; // The variable may not be read.
  }
}

const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Serves a directory in one process while another one swaps links into it. */
async function race(...words: string[]): Promise<Outcome> {
  let outcome: Outcome | undefined;
  await withFolder(async (folder) => {
    const [dir, outside] = [`${folder}/export`, `${folder}/outside`];
    await mkdir(`${dir}/dir`, { recursive: true });
    await mkdir(outside);
    await writeFile(`${outside}/bait`, BAIT);
    await writeFile(`${dir}/dir/bait`, "inside");
    await writeFile(`${dir}/file`, "inside");
    const before = (await lstat(`${outside}/bait`)).mtimeMs;
    const map = script("../../std/import_map.json");
    const flags = isDeno
      ? ["run", "--quiet", "--no-check", "-A", `--import-map=${map}`]
      : isNode
      ? ["--import", new URL("../../node_std.mjs", import.meta.url).href]
      : [];
    const swapper = start(process.execPath, [
      ...flags,
      script("swapper.ts"),
      dir,
      outside,
    ]);
    try {
      await firstLine(swapper);
      const rounds = String(roundsWanted());
      const args = [...flags, script("race.ts"), dir, rounds, ...words];
      const { code, bytes, errors } = await run(process.execPath, args);
      assertEquals({ code, errors }, { code: 0, errors: "" });
      outcome = JSON.parse(textOf(bytes));
    } finally {
      swapper.kill("SIGKILL");
      await swapper.ended;
    }
    assertEquals(await readFile(`${outside}/bait`, "utf8"), BAIT);
    assertEquals((await lstat(`${outside}/bait`)).mtimeMs, before);
    assertEquals(await readdir(outside), ["bait"]);
  });
  assert(outcome !== undefined);
  return outcome;
}

for (const words of [[], ["--follow"], ["--write"]]) {
  test(`HostFs never reaches what a link that is swapped in leads to ${words}`, async () => {
    if (process.platform !== "linux") return; // Elsewhere it is not promised.
    const { rounds, read, refused, bait } = await race(...words);
    assertEquals(bait, 0);
    assert(rounds >= roundsWanted());
    // The race has taken place.
    assert(read > 0 && refused > 0, `${read} read, ${refused} refused`);
  });
}

test("HostFs: bits of a mode that a link has do not count for what is behind it", async () => {
  await withWritableHost(async ({ dir, outside, client }) => {
    await symlink(outside, `${dir}/l`);
    const glenda = await client();
    await chmod(outside, 0o755);
    await refusal(glenda.wstat("l", { mode: DMSYMLINK + 0o700 }));
    assertEquals((await lstat(outside)).mode & 0o777, 0o755);
  });
});
