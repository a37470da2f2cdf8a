// One tree over others: lookups, copies on change, hidden names after removals,
// and several clients at once.
import { assert, assertEquals } from "@std/assert";
import {
  DMAPPEND,
  DMDIR,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OTRUNC,
  OWRITE,
} from "../../../codec.ts";
import type { TreeDir, TreeFile } from "../../../fs/mod.ts";
import {
  type Client,
  type DirHooks,
  MemoryFs,
  mount,
  NinePError,
  readonly,
  subtree,
  union,
} from "../../../mod.ts";
import { contents, contextOf, dirIn, namesOf, rootOf, Scene } from "./scene.ts";
import { test } from "../../harness.ts";
import { PlainDir, type PlainFile, PlainTree } from "../plain_tree.ts";
import { refused } from "../tree_client.ts";

test("union() shows the first tree that has a name, and merges directories", async () => {
  const upper = new PlainTree({ both: "upper", "d/u": "u", "kind": "file" });
  const middle = new PlainTree({ both: "middle", "d/m": "m", "kind/x": "x" });
  const lower = new PlainTree({ both: "lower", "d/m": "below", "e/l": "l" });
  await using scene = new Scene(union(upper, middle, lower));
  const client = await scene.client();
  assertEquals(await contents(client), {
    ...{ both: "upper", kind: "file" },
    ...{ "d/": "", "d/u": "u", "d/m": "m", "e/": "", "e/l": "l" },
  });
});

test("union() copies a file with all its attributes before its first change", async () => {
  const lower = new MemoryFs({ a: { b: { file: "below" } } }, {
    uid: "glenda",
  });
  const file = lower.find("a/b/file");
  assert(file !== undefined);
  file.mode = DMAPPEND + 0o664;
  file.gid = "staff";
  file.mtime = file.atime = 1000;
  const upper = new MemoryFs({}, { uid: "glenda" });
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  const raw = await scene.raw();
  const before = await raw.stat("a/b/file");
  await raw.wstat("a/b/file", { mode: DMAPPEND + 0o660 });
  const after = await raw.stat("a/b/file");
  const { type, path } = before.qid;
  assertEquals([after.qid.type, after.qid.path], [type, path]);
  const { uid, gid, mtime, atime, length, mode } = after;
  assertEquals([uid, gid, mtime, atime], ["glenda", "staff", 1000, 1000]);
  assertEquals([length, mode], [5n, DMAPPEND + 0o660]);
  await client.writeTextFile("a/b/file", "!", { append: true });
  assertEquals(await client.readTextFile("a/b/file"), "below!");
  assertEquals(upper.readTextFile("a/b/file"), "below!");
  assertEquals(lower.readTextFile("a/b/file"), "below");
  assertEquals(lower.stat("a/b/file").qid.vers, file.qid.vers);
  assertEquals(upper.stat("a/b").mode, lower.stat("a/b").mode);
  assertEquals(await namesOf(client, "a/b"), ["file"]);
});

test("union() keeps the qid path of what it copies, and lets its version grow", async () => {
  const lower = new PlainTree({ "d/file": "below" });
  for (let i = 0; i < 10; i++) lower.find("d/file")?.set({});
  await using scene = new Scene(union(new PlainTree(), lower));
  const client = await scene.client();
  const [dir, file] = [await client.stat("d"), await client.stat("d/file")];
  let last = file.qid.vers;
  for (const text of ["one", "two", "three"]) {
    await client.writeTextFile("d/file", text);
    const { qid } = await client.stat("d/file");
    assertEquals(qid.path, file.qid.path);
    assert(qid.vers > last, `${qid.vers} is not above ${last}`);
    last = qid.vers;
    for await (const listed of client.readDir("d")) {
      assertEquals(listed.qid, qid);
    }
  }
  assertEquals((await client.stat("d")).qid.path, dir.qid.path);
  await client.rename("d/file", "d/other");
  assertEquals((await client.stat("d/other")).qid.path, file.qid.path);
});

test("union() copies for each kind of change, and for none that is none", async () => {
  const kinds: [string, (client: Client) => Promise<unknown>, string?][] = [
    ["read", (client) => client.readTextFile("file")],
    ["stat", (client) => client.stat("file")],
    [
      "write",
      (client) => client.writeTextFile("file", "B"),
      "B",
    ],
    [
      "append",
      (client) => client.writeTextFile("file", "+", { append: true }),
      "below+",
    ],
    ["truncate", (client) => client.truncate("file", 2), "be"],
    ["chmod", (client) => client.chmod("file", 0o600), "below"],
    ["utime", (client) => client.utime("file", 1, 2), "below"],
  ];
  for (const [name, change, text] of kinds) {
    const [upper, lower] = [new PlainTree(), new PlainTree({ file: "below" })];
    await using scene = new Scene(union(upper, lower));
    await change(await scene.client());
    assertEquals(upper.text("file"), text, name);
    assertEquals(lower.text("file"), "below", name);
  }
  for (
    const [mode, text] of [
      [OWRITE, "below"],
      [ORDWR, "below"],
      [OTRUNC | OWRITE, ""],
      [OTRUNC, ""],
      [OEXEC, undefined],
    ] as const
  ) {
    const [upper, lower] = [new PlainTree(), new PlainTree()];
    lower.put("file", "below", 0o777);
    await using scene = new Scene(union(upper, lower));
    await (await scene.raw()).open("file", mode);
    assertEquals(upper.text("file"), text, `mode ${mode}`);
  }
});

test("union() hides what is removed, and shows what is made in its place", async () => {
  const upper = new PlainTree({ "d/up": "up", shadow: "upper" });
  const lower = new PlainTree({
    ...{ file: "below", shadow: "below", "d/x": "x", "d/sub/y": "y" },
  });
  const tree = union(upper, lower);
  await using scene = new Scene(tree);
  const client = await scene.client();
  await client.remove("file");
  await client.remove("shadow");
  assertEquals(await namesOf(client, "/"), ["d"]);
  assertEquals(await client.exists("shadow"), false);
  await client.writeTextFile("file", "anew");
  assertEquals(await client.readTextFile("file"), "anew");
  await client.remove("file");
  assertEquals(await client.exists("file"), false);

  const raw = await scene.raw();
  await refused("directory is not empty", raw.remove("d"));
  await refused("directory is not empty", raw.remove("d/sub"));
  await client.remove("d/sub/y");
  await client.remove("d/sub");
  await client.remove("d/x");
  await client.remove("d/up");
  assertEquals(await namesOf(client, "d"), []);
  await client.remove("d");
  assertEquals(await contents(client), {});
  // A directory that is made again does not show the members from before.
  await client.mkdir("d");
  assertEquals(await contents(client), { "d/": "" });
  await client.mkdir("d/sub");
  assertEquals(await contents(client), { "d/": "", "d/sub/": "" });
  await client.writeTextFile("d/x", "second");
  assertEquals(lower.text("d/x"), "x");

  // The next union of the two sees the same.
  await using again = new Scene(union(upper, lower));
  assertEquals(await contents(await again.client()), {
    ...{ "d/": "", "d/sub/": "", "d/x": "second" },
  });
});

test("union() keeps its own names from clients", async () => {
  const [upper, lower] = [new PlainTree(), new PlainTree({ x: "x" })];
  lower.put(".wh.y", "");
  await using scene = new Scene(union(upper, lower));
  const raw = await scene.raw();
  await raw.remove("x");
  assert(upper.find(".wh.x") !== undefined);
  assertEquals(await raw.list(await raw.open("/")), []);
  await refused("file does not exist", raw.walk(".wh.x"));
  await refused("file does not exist", raw.walk(".wh.y"));
  await refused("illegal name", raw.create("/", ".wh.z"));
  await refused("illegal name", raw.create("/", ".wh.z", DMDIR + 0o777));
  await raw.create("/", "z");
  await refused("illegal name", raw.wstat("z", { name: ".wh.x" }));
});

test("union() renames files and its own directories, and no directory of a lower tree", async () => {
  const upper = new PlainTree({ "own/x": "x" });
  const lower = new PlainTree({ file: "below", "d/y": "y", "target": "t" });
  await using scene = new Scene(union(upper, lower));
  const [client, raw] = [await scene.client(), await scene.raw()];
  await refused("file already exists", raw.wstat("file", { name: "target" }));
  await client.rename("file", "moved");
  assertEquals(await client.readTextFile("moved"), "below");
  assertEquals(await client.exists("file"), false);
  await client.rename("own", "mine");
  assertEquals(await client.readTextFile("mine/x"), "x");
  await refused("Invalid cross-device link", raw.wstat("d", { name: "e" }));
  // The name is free again, and a directory there shows nothing old.
  await client.remove("d/y");
  await client.remove("d");
  await client.rename("mine", "d");
  assertEquals(await contents(client), {
    ...{ "d/": "", "d/x": "x", moved: "below", target: "t" },
  });
  // The fid of a file stays valid at its new place.
  const fid = await raw.open("moved", ORDWR);
  await raw.wstat(fid, { name: "again" });
  await raw.write(fid, "!", 5);
  assertEquals(await client.readTextFile("again"), "below!");
});

test("union() moves from one directory to another, and replaces", async () => {
  const upper = new PlainTree();
  const lower = new PlainTree({ "a/x": "x", "b/y": "y", "b/d/z": "z" });
  const tree = union(upper, lower);
  const context = contextOf();
  const root = await rootOf(tree);
  const [a, b] = [await dirIn(root, "a"), await dirIn(root, "b")];
  const get = async (dir: TreeDir, name: string): Promise<TreeFile> => {
    const file = await dir.lookup(name, context);
    assert(file !== undefined);
    return file;
  };
  const move = async (
    from: TreeDir,
    name: string,
    newDir: TreeDir,
    newName: string,
    replace: boolean,
  ) => {
    const file = await get(from, name);
    await from.rename?.({ name, file, newDir, newName, replace }, context);
  };
  await refused("file already exists", move(a, "x", b, "y", false));
  await refused("Is a directory", move(a, "x", b, "d", true));
  await move(a, "x", b, "y", true);
  assertEquals(await a.lookup("x", context), undefined);
  assertEquals(upper.text("b/y"), "x");
  await a.mkdir?.({ name: "new", perm: DMDIR + 0o777 }, context);
  await refused("directory is not empty", move(a, "new", b, "d", true));
  const d = await dirIn(b, "d");
  await d.remove?.("z", await get(d, "z"), context);
  await move(a, "new", b, "d", true);
  assertEquals(await (await dirIn(b, "d")).lookup("z", context), undefined);
  await refused(
    "Invalid argument",
    move(root, "b", await dirIn(b, "d"), "b", false),
  );
  const other = await rootOf(union(new PlainTree(), lower));
  await refused(
    "Invalid cross-device link",
    move(b, "y", other, "y", false),
  );
});

test("union() makes fids that read the old file continue with its copy", async () => {
  const lower = new PlainTree({ file: "below" });
  await using scene = new Scene(union(new PlainTree(), lower));
  const [one, two] = [await scene.raw(), await scene.raw()];
  const reader = await one.open("file");
  assertEquals(await one.text(reader), "below");
  const writer = await two.open("file", OWRITE);
  await two.write(writer, "ABOVE");
  assertEquals(await one.text(reader), "ABOVE");
  await two.remove("file");
  assertEquals(await one.text(reader), "ABOVE");
  assertEquals(lower.opens, 0);
});

test("union() keeps a removed file of a lower tree readable for fids that have it open", async () => {
  const [upper, lower] = [new PlainTree(), new PlainTree({ file: "below" })];
  await using scene = new Scene(union(upper, lower));
  const [one, two] = [await scene.raw(), await scene.raw()];
  const reader = await one.open("file");
  const idle = await one.walk("file");
  await two.remove("file");
  assertEquals(await one.text(reader), "below");
  const gone = "file has been removed";
  await refused(gone, one.ask({ type: "Topen", fid: idle, mode: OWRITE }));
  await refused(gone, one.wstat(idle, { mode: 0o777 }));
  assertEquals([...upper.root.members.keys()], [".wh.file"]);
});

/** A tree with a file whose reads wait until they are let go. */
class SlowTree extends PlainTree {
  readonly #gate = Promise.withResolvers<void>();
  readonly #begun = Promise.withResolvers<void>();

  constructor(text: string) {
    super({});
    const file = this.put("slow", text);
    const open = file.open.bind(file);
    file.open = (request) => {
      const opened = open(request);
      return {
        ...opened,
        read: async (request, context) => {
          if (request.offset > 0) {
            this.#begun.resolve();
            await this.#gate.promise;
          }
          return await opened.read?.({ ...request, count: 4 }, context) ??
            new Uint8Array(0);
        },
      };
    };
  }

  /** When the second piece is asked for. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** Lets all reads go. */
  go(): void {
    this.#gate.resolve();
  }
}

test("union() copies once for several writers, and shows no half copy", async () => {
  const [upper, lower] = [new PlainTree(), new SlowTree("12345678")];
  let copies = 0;
  const create = upper.root.create.bind(upper.root);
  upper.root.create = (request, context) => {
    copies++;
    return create(request, context);
  };
  await using scene = new Scene(union(upper, lower));
  const [one, two] = [await scene.raw(), await scene.raw()];
  const three = await scene.raw();
  const [a, b] = [await one.walk("slow"), await two.walk("slow")];
  const opening = [
    one.ask({ type: "Topen", fid: a, mode: OWRITE }),
    two.ask({ type: "Topen", fid: b, mode: OWRITE }),
  ];
  await lower.begun; // Half of it is copied.
  assertEquals(await three.list(await three.open("/")), ["slow"]);
  assertEquals((await three.stat("slow")).length, 8n);
  const reader = await three.open("slow");
  assertEquals(await three.text(reader, 0, 4), "1234");
  lower.go();
  await Promise.all(opening);
  assertEquals(copies, 1);
  assertEquals(await three.text(reader), "12345678");
  await one.write(a, "AB", 0);
  await two.write(b, "YZ", 6);
  assertEquals(await three.text(reader), "AB3456YZ");
  assertEquals(upper.text("slow"), "AB3456YZ");
  assertEquals([...upper.root.members.keys()], ["slow"]);
});

test("union() lets another writer make the copy when the first gives up", async () => {
  const [upper, lower] = [new PlainTree(), new SlowTree("12345678")];
  await using scene = new Scene(union(upper, lower));
  const [one, two] = [await scene.raw(), await scene.raw()];
  const [a, b] = [await one.walk("slow"), await two.walk("slow")];
  const first = one.start({ type: "Topen", fid: a, mode: OWRITE });
  await lower.begun;
  const second = two.ask({ type: "Topen", fid: b, mode: OWRITE });
  const flushed = one.flush(first.tag);
  await one.stat(0); // The Tflush came before.
  lower.go();
  await flushed;
  await second;
  await two.write(b, "x");
  assertEquals(upper.text("slow"), "x2345678");
  assertEquals([...upper.root.members.keys()], ["slow"]);
  assertEquals((await one.stat(a)).length, 8n); // Its fid is not open.
  await one.ask({ type: "Topen", fid: a, mode: OWRITE });
});

test("union() ends a copy when the client that wants it goes away", async () => {
  const [upper, lower] = [new PlainTree(), new SlowTree("12345678")];
  {
    await using scene = new Scene(union(upper, lower));
    const raw = await scene.raw();
    const fid = await raw.walk("slow");
    raw.send({ type: "Topen", fid, mode: OWRITE });
    await lower.begun;
    raw.close();
    await raw.ended;
    lower.go();
  }
  assertEquals([...upper.root.members.keys()], []);
  assertEquals([upper.held, upper.opens], [0, 0]);
  assertEquals([lower.held, lower.opens], [0, 0]);
});

test("union() leaves no trace of a copy that fails", async () => {
  for (const at of ["read", "write", "wstat", "rename"] as const) {
    const [upper, lower] = [new PlainTree(), new PlainTree({ file: "below" })];
    const fail = () => {
      throw new NinePError("file system is full");
    };
    const { root } = upper;
    const create = root.create.bind(root);
    root.create = (request, context) => {
      const made = create(request, context);
      if (at === "wstat") Object.assign(made.file, { wstat: fail });
      return at === "write"
        ? { ...made, open: { ...made.open, write: fail } }
        : made;
    };
    if (at === "rename") root.rename = fail;
    const file = lower.find("file");
    file?.set({ mtime: 1000 });
    const open = file?.open.bind(file);
    if (at === "read") {
      Object.assign(file ?? {}, {
        open: (request: Parameters<PlainFile["open"]>[0]) => ({
          ...open?.(request),
          read: fail,
        }),
      });
    }
    {
      await using scene = new Scene(union(upper, lower));
      const raw = await scene.raw();
      await refused("file system is full", raw.open("file", OWRITE));
      await refused("file system is full", raw.wstat("file", { mode: 0o600 }));
      assertEquals([...root.members.keys()], [], at);
    }
    assertEquals([lower.text("file"), lower.opens, lower.held], [
      "below",
      0,
      0,
    ]);
    assertEquals([upper.held, upper.opens], [0, 0], at);
  }
});

test("union() releases all that it was given", async () => {
  const upper = new PlainTree({ "d/u": "u" });
  const lower = new PlainTree({
    "d/l": "l",
    "d/e/f": "f",
    "g": "g",
    "h/i": "i",
  });
  {
    await using scene = new Scene(union(upper, lower));
    const client = await scene.client();
    await contents(client);
    await client.writeTextFile("d/l", "changed");
    await client.writeTextFile("d/e/new", "new");
    await client.rename("g", "gg");
    await client.remove("gg");
    await client.remove("d/e/f");
    await client.remove("h/i");
    await client.remove("h");
    await client.mkdir("h");
    const raw = await scene.raw();
    await raw.open("d/l", ORDWR);
    const made = await raw.create("d", "temporary", 0o666, ORDWR | ORCLOSE);
    await raw.clunk(made);
    await raw.walk("d/e");
    await contents(client);
  }
  assertEquals([upper.held, upper.opens], [0, 0], "upper");
  assertEquals([lower.held, lower.opens], [0, 0], "lower");
});

test("union() lists each member once while others are copied and removed", async () => {
  const lower = new PlainTree();
  for (let i = 0; i < 60; i++) lower.put(`f${i}`, `${i}`);
  await using scene = new Scene(union(new PlainTree(), lower));
  const [client, raw] = [await scene.client(), await scene.raw()];
  const fid = await raw.open("/");
  const names: string[] = [];
  const { decodeDir } = await import("../../../codec.ts");
  for (let offset = 0, i = 0;; i++) {
    const data = await raw.read(fid, offset, 300);
    if (data.length === 0) break;
    offset += data.length;
    names.push(...decodeDir(data).map(({ name }) => name));
    await client.chmod(`f${i * 2}`, 0o600); // Before and behind the listing.
    await client.chmod(`f${59 - i}`, 0o600);
  }
  assertEquals(names.length, 60);
  assertEquals(new Set(names).size, 60);
});

test("union() never writes to a lower tree, for any request", async () => {
  const lower = new MemoryFs({ file: "f", d: { x: "x" } }, { uid: "glenda" });
  const before = JSON.stringify(
    [...lower.readDir("/"), ...lower.readDir("d")],
    (_, v) => typeof v === "bigint" ? `${v}` : v,
  );
  const upper = new MemoryFs({}, { uid: "glenda", mode: 0o777 });
  await using scene = new Scene(union(upper, readonly(lower)));
  const client = await scene.client();
  await client.writeTextFile("file", "changed");
  await client.writeTextFile("d/y", "y");
  await client.rename("d/x", "d/z");
  await client.remove("file");
  await client.remove("d", { recursive: true });
  assertEquals(await namesOf(client, "/"), []);
  assertEquals(
    JSON.stringify(
      [...lower.readDir("/"), ...lower.readDir("d")],
      (_, v) => typeof v === "bigint" ? `${v}` : v,
    ),
    before,
  );
});

test("union() uses function files of a lower tree where they are", async () => {
  const lower = new MemoryFs();
  lower.register("add", (a: number, b: number) => a + b);
  const upper = new MemoryFs({}, { mode: 0o777 });
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  assertEquals(await client.call("add", { argv: [17, 25] }), 42);
  assertEquals(upper.readDir("/"), []);
});

test("union() composes with mount() and subtree()", async () => {
  const base = new PlainTree({ "root/etc/hosts": "h", "root/bin/sh": "sh" });
  const layer = union(new PlainTree(), subtree(base, "root"));
  const over = union(new PlainTree(), layer);
  await using scene = new Scene(mount({ "/a": over, "/b": layer }));
  const client = await scene.client();
  await client.writeTextFile("a/etc/hosts", "changed");
  await client.remove("a/bin/sh");
  await client.writeTextFile("b/etc/new", "new");
  assertEquals(await client.readTextFile("a/etc/new"), "new");
  assertEquals(await namesOf(client, "a/bin"), []);
  assertEquals(await namesOf(client, "b/bin"), ["sh"]);
  assertEquals(await client.readTextFile("b/etc/hosts"), "h");
});

test("union() does what several clients want at once, in some order", async () => {
  const lower = new PlainTree();
  for (let i = 0; i < 8; i++) lower.put(`d/f${i}`, `${i}`);
  const upper = new PlainTree();
  {
    await using scene = new Scene(union(upper, lower));
    const clients = await Promise.all(
      Array.from({ length: 4 }, () => scene.client()),
    );
    const jobs = clients.flatMap((client, n) =>
      Array.from({ length: 8 }, async (_, i) => {
        const path = `d/f${i}`;
        const attempt = (job: Promise<unknown>) =>
          job.catch((error) => assert(error instanceof NinePError, `${error}`));
        await attempt(client.writeTextFile(path, `${n}`));
        if (i % 2 === 0) await attempt(client.remove(path));
        if (n % 2 === 0) await attempt(client.writeTextFile(path, "again"));
        await attempt(contents(client));
      })
    );
    await Promise.all(jobs);
    const client = clients[0];
    const names = await namesOf(client, "d");
    for (const name of names) await client.readTextFile(`d/${name}`);
    for (const i of [1, 3, 5, 7]) assert(names.includes(`f${i}`), `f${i}`);
    const d = upper.find("d");
    assert(d instanceof PlainDir);
    const left = [...d.members.keys()].filter((name) =>
      name.includes(".copy.")
    );
    assertEquals(left, []);
  }
  assertEquals([upper.held, lower.held], [0, 0]);
});

// Faults of other unions of file systems, by the reports of their users.

test("union() opens a clone file of a lower tree where it is, for reading and writing", async () => {
  const lower = new MemoryFs({}, { mode: 0o777 });
  const jobs = new Map<string, DirHooks>();
  const released: string[] = [];
  const written: string[] = [];
  let last = 0;
  lower.define("jobs", {
    lookup: (name) => jobs.get(name),
    list: () => jobs.keys(),
  });
  lower.define("jobs/clone", {
    clone: () => {
      const name = String(++last);
      const write = ({ data }: { data: Uint8Array }) => {
        written.push(`${name} ${new TextDecoder().decode(data)}`);
      };
      jobs.set(name, {
        members: { ctl: { content: () => name, write } },
        release: () => {
          released.push(name);
          jobs.delete(name);
        },
      });
      return `${name}/ctl`;
    },
  });
  const upper = new MemoryFs({}, { mode: 0o777 });
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  for (const truncate of [false, true]) {
    const options = { read: true, write: true, truncate };
    const file = await client.open("jobs/clone", options);
    const [job = ""] = jobs.keys();
    await file.write("go");
    assertEquals(written.splice(0), [`${job} go`]);
    await file.close();
    assertEquals([...jobs.keys()], []);
  }
  assertEquals(released.length, last);
  assertEquals(upper.find("jobs/clone"), undefined);
});
