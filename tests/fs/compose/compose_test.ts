// Trees made of one other tree: a part of a tree, trees for reading only, trees
// for one user, trees chosen at the attach.
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
import {
  choose,
  forUser,
  MemoryFs,
  mount,
  NinePError,
  type OpenFile,
  readonly,
  subtree,
  type Tree,
  type TreeFile,
  treeOf,
  union,
  wrapTree,
} from "../../../mod.ts";
import { contextOf, dirIn, namesOf, rootOf, Scene } from "./scene.ts";
import { test } from "../../harness.ts";
import { PlainDir, PlainTree } from "../plain_tree.ts";
import { refused } from "../tree_client.ts";

test("subtree() shows a directory as a tree that no path leads out of", async () => {
  const fs = new MemoryFs({ secret: "s", a: { b: { x: "x", c: { y: "y" } } } });
  await using scene = new Scene(subtree(fs, "/a/b"));
  const client = await scene.client();
  assertEquals(await namesOf(client, "/"), ["c", "x"]);
  assertEquals(await client.readTextFile("c/../../../x"), "x");
  assertEquals((await client.stat("/")).name, "/");
  assertEquals((await client.stat("c")).name, "c");
  const raw = await scene.raw("sys");
  const c = await raw.walk("c");
  const up = await raw.walk("../..", c);
  await refused("file does not exist", raw.walk("secret", up));
  await refused("cannot remove root", raw.remove(up));
});

test("subtree() moves files into its root and out of it", async () => {
  const tree = new PlainTree({ "top/d/file": "f", "top/r": "r" });
  const context = contextOf();
  const part = subtree(tree, "top");
  const root = await rootOf(part);
  const d = await dirIn(root, "d");
  const file = await d.lookup("file", context);
  assert(file !== undefined);
  const move = { name: "file", file, newName: "moved", replace: false };
  await d.rename?.({ ...move, newDir: root }, context);
  assertEquals(tree.text("top/moved"), "f");
});

test("subtree() gives no way out through a directory that its owner moves away", async () => {
  const fs = new MemoryFs({ part: { d: { e: {} } }, secret: { key: "k" } });
  await using scene = new Scene(subtree(fs, "part"));
  const raw = await scene.raw();
  const [d, e] = [await raw.walk("d"), await raw.walk("d/e")];
  fs.rename("part/d", "secret/d");
  for (const fid of [d, e]) {
    for (
      const path of ["../key", "../../key", "../../secret", "../../../key"]
    ) {
      const found = await raw.walk(path, fid).then(() => path, () => "nothing");
      assertEquals(found, "nothing");
    }
  }
  assertEquals((await raw.stat(await raw.walk("../..", e))).name, "/");
});

test("subtree() holds the directories above, and releases all in the end", async () => {
  const tree = new PlainTree({ "a/b/x": "x", "a/f": "f" });
  {
    await using scene = new Scene(subtree(tree, "a/b"));
    const [one, two] = [await scene.raw(), await scene.raw()];
    assertEquals(await one.text(await one.open("x")), "x");
    await two.open("x");
    assertEquals(tree.find("a")?.held, 2);
  }
  assertEquals([tree.held, tree.opens], [0, 0]);
  for (
    const [path, error] of [
      ["a/c", "file does not exist"],
      ["a/f", "not a directory"],
      ["a/f/x", "not a directory"],
    ]
  ) {
    await using scene = new Scene(subtree(tree, path));
    await refused(error, scene.raw());
  }
  assertEquals(tree.held, 0);
});

test("subtree() releases all when its owner moves a member to the place of the root", async () => {
  const tree = new PlainTree({ "a/b/c/x": "x" });
  const [a, b, c] = ["a", "a/b", "a/b/c"].map((path) => tree.find(path));
  assert(a instanceof PlainDir && b instanceof PlainDir);
  assert(c instanceof PlainDir);
  const context = contextOf();
  const part = subtree(tree, "a/b");
  const old = await rootOf(part);
  const member = await old.lookup("c", context);
  b.members.delete("c");
  a.members.set("b", c);
  c.members.set("old", b);
  const root = await rootOf(part);
  assertEquals((await root.stat(context)).name, "/");
  const found = await root.lookup("old", context);
  for (const file of [member, found, root, old]) await file?.release?.();
  assertEquals(tree.held, 0);
});

test("subtree() and mount() compose, each way", async () => {
  const fs = new MemoryFs({ a: { x: "x" } }, { mode: 0o777 });
  const inner = mount({ "/": fs, "/a/m": new MemoryFs({ y: "y" }) });
  const tree = mount({
    "/part": subtree(inner, "/a"),
    "/m": subtree(inner, "a/m"),
  });
  await using scene = new Scene(tree);
  const client = await scene.client();
  assertEquals(await namesOf(client, "part"), ["m", "x"]);
  assertEquals(await client.readTextFile("part/m/y"), "y");
  assertEquals(await client.readTextFile("m/y"), "y");
  assertEquals(await client.readTextFile("part/m/../x"), "x");
  assertEquals((await client.stat("part")).name, "part");
  assertEquals((await client.stat("m")).name, "m");
});

test("readonly() refuses all that would change the tree, and lets read", async () => {
  const fs = new MemoryFs({ file: "f", dir: { x: "x" } }, { uid: "glenda" });
  fs.create("log", { mode: DMAPPEND + 0o666 });
  await using scene = new Scene(readonly(fs));
  const raw = await scene.raw();
  const before = fs.stat("file");
  const erofs = "read only file system";
  for (
    const mode of [
      OWRITE,
      ORDWR,
      OTRUNC,
      ORCLOSE,
      OTRUNC | OWRITE,
      ORCLOSE | ORDWR,
    ]
  ) {
    await refused(erofs, raw.open("file", mode));
    await refused(erofs, raw.open("log", mode));
  }
  await refused(erofs, raw.create("/", "new"));
  await refused(erofs, raw.create("dir", "new", DMDIR + 0o777));
  await refused(erofs, raw.remove("file"));
  await refused(erofs, raw.remove("dir"));
  for (
    const changes of [
      { name: "moved" },
      { length: 0n },
      { mode: 0o777 },
      { mtime: 1 },
      { gid: "glenda", mtime: 1 },
    ]
  ) {
    await refused(erofs, raw.wstat("file", changes));
  }
  await raw.wstat("file", {}); // Stable storage is no change.
  const fid = await raw.open("file");
  assertEquals(await raw.text(fid), "f");
  await refused("bad use of fid", raw.write(fid, "x"));
  fs.chmod("file", 0o755);
  await raw.open("file", OEXEC);
  assertEquals(fs.readTextFile("file"), "f");
  assertEquals(fs.stat("file").qid.vers, before.qid.vers);
});

test("readonly() holds for trees in it, and only for it", async () => {
  const [a, b] = [new PlainTree({ x: "x" }), new PlainTree({ x: "x" })];
  const both = mount({ "/a": a, "/b": b });
  const tree = mount({ "/ro": readonly(both), "/rw": both });
  await using scene = new Scene(tree);
  const raw = await scene.raw();
  await refused("read only file system", raw.open("ro/a/x", OWRITE));
  await refused("read only file system", raw.create("ro/b", "new"));
  await raw.open("rw/a/x", OWRITE);
  // Rules that are given to the whole do not take it away.
  const loose = treeOf(readonly(a), { access: false });
  await using other = new Scene(loose);
  await refused("read only file system", (await other.raw()).remove("x"));
});

test("forUser() does everything in the name of one user", async () => {
  const fs = new MemoryFs({}, { uid: "glenda", mode: 0o755 });
  fs.writeFile("private", "p", { mode: 0o600 });
  await using scene = new Scene(forUser(fs, "glenda"));
  const rob = await scene.client("rob");
  assertEquals(await rob.readTextFile("private"), "p");
  await rob.writeTextFile("new", "n");
  assertEquals([fs.stat("new").uid, fs.stat("new").muid], ["glenda", "glenda"]);
  await rob.chmod("new", 0o600);
  await rob.remove("new");

  await using weak = new Scene(forUser(fs, "none"));
  const glenda = await weak.raw("glenda");
  await refused("permission denied", glenda.open("private"));
  await refused("permission denied", glenda.create("/", "x"));
  await refused("not owner", glenda.wstat("private", { mode: 0o777 }));
});

test("forUser() goes into mounted trees, and into what is open", async () => {
  const seen: string[] = [];
  const note = (name: string, uname: string) => seen.push(`${name} ${uname}`);
  const open: OpenFile = {
    read: (_request, { uname }) => {
      note("read", uname);
      return new Uint8Array(0);
    },
    write: (_request, { uname }) => void note("write", uname),
    close: () => {},
  };
  const file: TreeFile = {
    qid: { type: 0, vers: 0, path: 2n },
    stat: ({ uname }) => {
      note("stat", uname);
      return { qid: file.qid, name: "file", mode: 0o777 };
    },
    open: (_request, { uname, signal, fid, peer, memory }) => {
      note("open", uname);
      assert(!signal.aborted && fid.aname === "" && peer !== "");
      assert(memory.used >= 0);
      return open;
    },
  };
  const tree: Tree = {
    attach: ({ uname }, context) => {
      note("attach", uname);
      note("attach", context.uname);
      return {
        qid: { type: 0x80, vers: 0, path: 1n },
        stat: () => ({ qid: file.qid, name: "/", mode: DMDIR + 0o777 }),
        lookup: () => file,
      };
    },
  };
  await using scene = new Scene(forUser(mount({ "/t": tree }), "glenda"));
  const raw = await scene.raw("rob");
  const fid = await raw.open("t/file", ORDWR);
  await raw.read(fid);
  await raw.write(fid, "x");
  assert(seen.length > 4);
  assertEquals(seen.filter((line) => !line.endsWith(" glenda")), []);
});

test("choose() gives each user and each name a tree, with its own rules", async () => {
  const homes = new Map<string, MemoryFs>();
  const home = (uname: string) => {
    const fs = homes.get(uname) ?? new MemoryFs({}, { uid: uname });
    homes.set(uname, fs);
    return fs;
  };
  const secret = new PlainTree({ x: "x" }, 1n, "nobody");
  secret.root.set({ mode: DMDIR });
  const free = { attach: () => secret.attach(), rules: { access: false } };
  const tree = choose(({ uname, aname }) => {
    if (uname === "rob") throw new NinePError("permission denied");
    if (aname === "free") return free;
    return aname === "" ? Promise.resolve(home(uname)) : undefined;
  });
  {
    await using scene = new Scene(tree);
    const glenda = await scene.client("glenda");
    await glenda.writeTextFile("note", "mine");
    const bootes = await scene.client("bootes");
    assertEquals(await namesOf(bootes, "/"), []);
    assertEquals(homes.get("glenda")?.readTextFile("note"), "mine");
    await refused("permission denied", scene.raw("rob"));
    await refused("file does not exist", scene.raw("glenda", "none"));
    const open = await scene.client("glenda", "free");
    assertEquals(await open.readTextFile("x"), "x");
  }
  assertEquals(secret.held, 0);
});

test("wrapTree() passes on what a file lacks as its default", async () => {
  const bare: TreeFile = {
    qid: { type: 0, vers: 0, path: 2n },
    stat: () => ({ qid: bare.qid, name: "bare", mode: 0o777 }),
  };
  const tree: Tree = {
    attach: () => ({
      qid: { type: 0x80, vers: 0, path: 1n },
      stat: () => ({
        qid: { type: 0x80, vers: 0, path: 1n },
        name: "/",
        mode: DMDIR + 0o777,
      }),
      lookup: (name) => name === "bare" ? bare : undefined,
    }),
  };
  const refusals = async (tree: Tree) => {
    await using scene = new Scene(treeOf(tree));
    const raw = await scene.raw();
    const of = async (answer: Promise<unknown>) => {
      const value = await answer.catch((error) => error);
      return value instanceof NinePError ? value.ename : "fine";
    };
    const fid = await raw.open("bare", ORDWR);
    return [
      await of(raw.read(fid)),
      await of(raw.write(fid, "x")),
      await of(raw.call(fid, "{}")),
      await of(raw.create("/", "x")),
      await of(raw.create("/", "x", DMDIR + 0o777)),
      await of(raw.remove("bare")),
      await of(raw.wstat("bare", { name: "x" })),
      await of(raw.wstat("bare", { mode: 0o700 })),
      await of(raw.wstat("bare", {})),
      await of(raw.list(await raw.open("/"))),
    ];
  };
  assertEquals(await refusals(wrapTree(tree, {})), await refusals(tree));
  assertEquals(await refusals(mount({ "/": tree })), await refusals(tree));
});

test("wrapTree() and union() follow a file that a clone file leads to, and its end", async () => {
  const kinds = [
    (tree: Tree) => mount({ "/t": tree }),
    (tree: Tree) => mount({ "/t": union(tree, new PlainTree()) }),
    (tree: Tree) => mount({ "/t": union(new PlainTree(), tree) }),
  ];
  for (const make of kinds) {
    const tree = new PlainTree({ "n/data": "data" });
    const data = tree.find("n/data");
    const clone: TreeFile = {
      qid: { type: 0, vers: 0, path: 99n },
      stat: () => ({ qid: clone.qid, name: "clone", mode: 0o666 }),
      open: () => {
        assert(data !== undefined);
        const open = data.open({ mode: 0, implicit: false });
        return { ...open, file: data.given() };
      },
    };
    const { root } = tree;
    const lookup = root.lookup.bind(root);
    root.lookup = (name) => name === "clone" ? clone : lookup(name);
    {
      await using scene = new Scene(make(tree));
      const raw = await scene.raw();
      const fid = await raw.open("t/clone");
      const stat = await raw.stat(fid);
      assertEquals(stat.name, "data");
      assertEquals(stat.qid, (await raw.stat("t/n/data")).qid);
      assertEquals(await raw.text(fid), "data");
    }
    assertEquals([tree.held, tree.opens], [0, 0]);
  }
});
