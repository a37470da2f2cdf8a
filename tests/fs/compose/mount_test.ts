// Several trees as one: identities, seams, listings, rules.
import { assert, assertEquals } from "@std/assert";
import { DMDIR, DMEXCL, ORCLOSE, OWRITE } from "../../../codec.ts";
import { PathNumbers } from "../../../fs/compose/numbers.ts";
import {
  MemoryFs,
  mount,
  NinePError,
  pair,
  type Tree,
  treeOf,
} from "../../../mod.ts";
import { contextOf, dirIn, namesOf, rootOf, Scene } from "./scene.ts";
import { test } from "../../harness.ts";
import { PlainTree } from "../plain_tree.ts";
import { refused } from "../tree_client.ts";

test("mount() shows each tree at its path, and `..` leads from one to the other", async () => {
  const root = new MemoryFs({ motd: "root", etc: { hosts: "h" } });
  const host = new PlainTree({ "sub/file": "host" });
  await using scene = new Scene(mount({ "/": root, "/host": host }));
  const client = await scene.client();
  assertEquals(await client.readTextFile("host/sub/file"), "host");
  assertEquals(await client.readTextFile("host/sub/../../motd"), "root");
  assertEquals(await client.readTextFile("host/../etc/hosts"), "h");
  assertEquals(await namesOf(client, "/"), ["etc", "host", "motd"]);
  assertEquals(await namesOf(client, "host"), ["sub"]);
  assertEquals((await client.stat("host")).name, "host");
  assertEquals((await client.stat("/")).name, "/");

  const raw = await scene.raw();
  const sub = await raw.walk("host/sub");
  const up = await raw.walk("../../..", sub); // The root's parent is the root.
  assertEquals((await raw.stat(up)).name, "/");
});

test("mount() makes up directories on the way that no tree has", async () => {
  const deep = new PlainTree({ file: "deep" });
  const root = new MemoryFs({ a: { x: "x" } });
  for (const trees of [{ "/a/b/c": deep, "/": root }, { "/a/b/c/": deep }]) {
    await using scene = new Scene(mount(trees));
    const client = await scene.client();
    assertEquals(await client.readTextFile("a/b/c/file"), "deep");
    const inA = "/" in trees ? ["b", "x"] : ["b"];
    assertEquals(await namesOf(client, "a"), inA);
    assertEquals(await namesOf(client, "a/b"), ["c"]);
    assertEquals((await client.stat("a/b")).mode, DMDIR + 0o555);
    const raw = await scene.raw("sys");
    await refused("permission denied", raw.create("a/b", "new"));
    await refused("permission denied", raw.remove("a/b/c"));
  }
});

test("mount() lets no client remove, move or shadow a mount point, nor what is above it", async () => {
  const root = new PlainTree({ "a/x": "x", "point/hidden": "h", "y": "y" });
  const deep = new PlainTree({ file: "deep" });
  const tree = mount({ "/": root, "/a/b": deep, "/point": deep });
  await using scene = new Scene(tree);
  const raw = await scene.raw();
  const busy = "Device or resource busy";
  for (const path of ["a", "a/b", "point"]) {
    await refused(busy, raw.remove(path));
    await refused(busy, raw.wstat(path, { name: "moved" }));
  }
  const taken = "file already exists";
  await refused(taken, raw.create("a", "b"));
  await refused(taken, raw.create("/", "point", DMDIR + 0o777));
  await refused(taken, raw.wstat("a/x", { name: "b" }));
  await refused(taken, raw.wstat("y", { name: "point" }));
  const client = await scene.client();
  assert(!await client.exists("point/hidden"));
  assertEquals(root.text("point/hidden"), "h");
  assertEquals(root.text("a/x"), "x");
});

test("mount() gives no two files the same qid path, for any paths of the trees", async () => {
  const trees: Record<string, Tree> = {
    "/": new PlainTree({ a: "1", b: "2" }),
    "/one": new PlainTree({ a: "1", b: "2" }),
    "/two": new PlainTree({ a: "1", b: "2" }),
    "/high": new PlainTree({ a: "1", b: "2" }, 2n ** 64n - 3n),
    "/tagged": new PlainTree({ a: "1", b: "2" }, 1n << 56n),
    "/x/y": new PlainTree({ a: "1", b: "2" }, (1n << 56n) - 1n),
  };
  trees["/nested"] = mount({ "/": trees["/one"], "/x": trees["/two"] });
  await using scene = new Scene(mount(trees));
  const client = await scene.client();
  const paths = new Map<bigint, string>();
  const visit = async (path: string) => {
    for await (const stat of client.readDir(path)) {
      const full = `${path}/${stat.name}`;
      const other = paths.get(stat.qid.path);
      assertEquals(other, undefined, `${full} has the path of ${other}`);
      paths.set(stat.qid.path, full);
      const { qid } = await client.stat(full);
      assertEquals(qid, stat.qid, full);
      if (stat.mode >= DMDIR) await visit(full);
    }
  };
  await visit("");
  assertEquals(paths.size, 24);
  // They are the same for another client.
  const other = await scene.client();
  for (const [path, name] of paths) {
    assertEquals((await other.stat(name)).qid.path, path);
  }
});

test("PathNumbers gives equal paths to equal files, and different ones to all others", () => {
  const numbers = new PathNumbers();
  const all = new Map<bigint, string>();
  const limits = [0n, 1n << 20n, 1n << 32n, 1n << 53n, 1n << 56n, 1n << 63n];
  limits.push(1n << 64n);
  for (let round = 0; round < 2; round++) {
    for (const tree of [0, 1, 2, 253, 254]) {
      for (const limit of limits) {
        for (let path = limit - 3n; path < limit + 3n; path++) {
          if (path < 0n || path >= 1n << 64n) continue;
          const outer = numbers.pathOf(tree, path);
          assert(outer >= 0n && outer < 1n << 64n);
          const name = `${tree} ${path}`;
          assertEquals(all.get(outer) ?? name, name);
          all.set(outer, name);
        }
      }
    }
  }
  assertEquals(numbers.pathOf(0, 17n), 17n);
});

test("PathNumbers keeps a bounded table, and gives no path again", () => {
  const numbers = new PathNumbers();
  const seen = new Set<bigint>();
  const count = 3 * 65536;
  for (let i = 0; i < count; i++) {
    seen.add(numbers.pathOf(1, BigInt(i) << 40n | 1n << 63n));
  }
  const recent = BigInt(count - 1) << 40n | 1n << 63n;
  assert(seen.has(numbers.pathOf(1, recent)));
  assertEquals(seen.size, count);
  assert(!seen.has(numbers.pathOf(1, 1n << 63n)), "it was forgotten");
});

test("mount() refuses renames from one tree to another", async () => {
  const [one, two] = [new PlainTree({ file: "1" }), new PlainTree()];
  const tree = mount({ "/one": one, "/two": two });
  // Plain 9P2000 has no such rename: the trees are asked as a dialect would.
  const context = contextOf();
  const root = await rootOf(tree);
  const [from, to] = [await dirIn(root, "one"), await dirIn(root, "two")];
  const file = await from.lookup("file", context);
  assert(file !== undefined);
  const move = { name: "file", file, newName: "file", replace: false };
  const cross = "Invalid cross-device link";
  const attempt = async (fn: () => unknown) => void await fn();
  await refused(
    cross,
    attempt(() => from.rename?.({ ...move, newDir: to }, context)),
  );
  await refused(cross, attempt(() => to.link?.("link", file, context)));
  await refused(cross, attempt(() => to.remove?.("file", file, context)));
  await from.rename?.({ ...move, newDir: from, newName: "moved" }, context);
  assertEquals(one.text("moved"), "1");
});

test("mount() releases all that it was given, also what a listing looked at", async () => {
  const trees = {
    "/": new PlainTree({ "a/x": "x" }),
    "/a/b": new PlainTree({ "dir/file": "f" }),
    "/c": new PlainTree({}),
  };
  {
    await using scene = new Scene(mount(trees));
    const client = await scene.client();
    assertEquals(await namesOf(client, "/"), ["a", "c"]);
    assertEquals(await namesOf(client, "a"), ["b", "x"]);
    assertEquals(await client.readTextFile("a/b/dir/file"), "f");
    await client.writeTextFile("a/b/dir/new", "new");
    await client.mkdir("c/dir");
    await client.remove("c/dir");
    await client.remove("a/b/dir/file");
    await client.stat("c/missing").catch(() => {});
    const raw = await scene.raw();
    await raw.open("a/b/dir/new"); // Left to the end of the connection.
  }
  for (const [path, { held, opens }] of Object.entries(trees)) {
    assertEquals([held, opens], [0, 0], path);
  }
});

test("mount() keeps the rules of each tree", async () => {
  const memory = new MemoryFs({ secret: "s" }, {
    users: { glenda: {}, staff: { members: ["glenda"] } },
    gid: "staff",
  });
  memory.chmod("secret", 0o060); // For the group.
  const free = new PlainTree({ file: "f" }, 1n, "nobody");
  const file = free.find("file");
  file?.set({ mode: 0 });
  const unchecked: Tree = {
    attach: () => free.attach(),
    rules: { access: false },
  };
  const strict: Tree = { attach: () => free.attach(), rules: {} };
  const tree = mount({ "/m": memory, "/free": unchecked, "/strict": strict });
  await using scene = new Scene(tree);
  const glenda = await scene.client("glenda");
  const rob = await scene.raw("rob");
  assertEquals(await glenda.readTextFile("m/secret"), "s");
  await refused("permission denied", rob.open("m/secret"));
  assertEquals(await glenda.readTextFile("free/file"), "f");
  await refused("permission denied", rob.open("strict/file"));
});

test("mount() lists a tree that cannot be attached to, and keeps the others usable", async () => {
  const closed: Tree = {
    attach: ({ uname }) => {
      throw new NinePError(uname === "rob" ? "permission denied" : "i/o error");
    },
  };
  const tree = mount({ "/": new MemoryFs({ a: "a" }), "/closed": closed });
  await using scene = new Scene(tree);
  const client = await scene.client("rob");
  assertEquals(await namesOf(client, "/"), ["a", "closed"]);
  const raw = await scene.raw("rob");
  await refused("permission denied", raw.walk("closed"));
  assertEquals(await client.readTextFile("a"), "a");
});

test("mount() lists in pieces, each member once", async () => {
  const root = new PlainTree({ "point": "hidden" });
  for (let i = 0; i < 50; i++) root.put(`f${i}`, "");
  const tree = mount({ "/": root, "/point": new PlainTree(), "/z/z": root });
  await using scene = new Scene(tree);
  const raw = await scene.raw();
  const names = await raw.list(await raw.open("/"), 300);
  assertEquals(names.length, 52);
  assertEquals(new Set(names).size, 52);
});

test("mount() continues a listing after a cookie", async () => {
  const root = new PlainTree({ a: "", b: "", point: "", c: "" });
  const tree = mount({ "/": root, "/point": new PlainTree() });
  const context = contextOf();
  const dir = await rootOf(tree);
  const namesFrom = async (cookie: number) => {
    const found: [string, number | undefined][] = [];
    const entries = await dir.list?.({ cookie }, context) ?? [];
    for await (const { stat, cookie } of entries) {
      found.push([stat.name, cookie]);
    }
    return found;
  };
  const all = await namesFrom(0);
  assertEquals(all.map(([name]) => name), ["point", "a", "b", "c"]);
  for (const [i, [, cookie]] of all.entries()) {
    assert(cookie !== undefined);
    assertEquals(await namesFrom(cookie), all.slice(i + 1));
  }
});

test("mount() keeps DMEXCL, ORCLOSE and removed files as the trees alone do", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  await using scene = new Scene(mount({ "/m": fs }));
  const [one, two] = [await scene.raw(), await scene.raw()];
  const made = await one.create("m", "lock", DMEXCL + 0o666, OWRITE);
  await refused("exclusive use file already open", two.open("m/lock"));
  await one.clunk(made);
  const open = await two.open("m/lock", OWRITE | ORCLOSE);
  await two.write(open, "x");
  await two.clunk(open);
  assertEquals(fs.find("lock"), undefined);

  fs.writeFile("gone", "still", { mode: 0o666 });
  const fid = await one.open("m/gone");
  await two.remove("m/gone");
  assertEquals(await one.text(fid), "still");
  await refused("incomplete walk", two.walk("m/gone"));
});

test("mount() mounts one tree at two places, as two", async () => {
  const fs = new MemoryFs({ file: "f" }, { mode: 0o777 });
  await using scene = new Scene(mount({ "/a": fs, "/b": fs }));
  const client = await scene.client();
  const [a, b] = [await client.stat("a/file"), await client.stat("b/file")];
  assert(a.qid.path !== b.qid.path);
  await client.writeTextFile("a/new", "new");
  assertEquals(await client.readTextFile("b/new"), "new");
});

test("mount() keeps what is the same the same, so that a session need not encode it again", async () => {
  const fs = new MemoryFs({ d: { x: "", y: "" } });
  const tree = mount({ "/": new MemoryFs(), "/m": fs });
  const context = contextOf();
  const root = await rootOf(tree);
  const m = await dirIn(root, "m");
  const d = await dirIn(m, "d");
  assert(d === await m.lookup("d", context));
  assert(await d.stat(context) === await d.stat(context));
  const list = () => d.list?.({ cookie: 0 }, context);
  const first = await list();
  assert(first === await list());
  assert(first !== undefined && "isCurrent" in first && first.isCurrent);
  fs.writeFile("d/x", "changed");
  assert(!first.isCurrent);
  assert(first !== await list());
});

test("mount() tells the trees of connections", async () => {
  const log: string[] = [];
  const tell = (name: string): Tree => ({
    attach: () => new PlainTree().attach(),
    connect: () => void log.push(`${name} comes`),
    disconnect: () => void log.push(`${name} goes`),
  });
  const tree = mount({
    "/a": tell("a"),
    "/b": tell("b"),
    "/c": treeOf(tell("c")),
  });
  const [connection] = pair();
  await tree.handler.connect?.(connection);
  await tree.handler.disconnect?.(connection);
  assertEquals(log.slice(0, 3), ["a comes", "b comes", "c comes"]);
  assertEquals(log.slice(3).sort(), ["a goes", "b goes", "c goes"]);
});

test("mount() disconnects the other trees when one tree refuses a connection", async () => {
  const log: string[] = [];
  const tree = mount({
    "/a": {
      attach: () => new PlainTree().attach(),
      disconnect: () => void log.push("a goes"),
    },
    "/b": {
      attach: () => new PlainTree().attach(),
      connect: () => Promise.reject(new NinePError("permission denied")),
      disconnect: () => void log.push("b goes"),
    },
  });
  const [connection] = pair();
  const { connect } = tree.handler;
  await refused("permission denied", Promise.resolve(connect?.(connection)));
  assertEquals(log, ["a goes"]);
});

test("mount() refuses paths that mean nothing", () => {
  const tree = new MemoryFs();
  for (const path of ["/a/../b", "/./a", "/a/..", "../x"]) {
    let error: unknown;
    try {
      mount({ [path]: tree });
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof TypeError, path);
  }
  let error: unknown;
  try {
    mount({ "/a": tree, "a/": tree });
  } catch (thrown) {
    error = thrown;
  }
  assert(error instanceof TypeError);
  const many = Object.fromEntries(
    Array.from({ length: 255 }, (_, i) => [`/${i}`, tree]),
  );
  try {
    mount(many);
  } catch (thrown) {
    error = thrown;
  }
  assert(error instanceof RangeError);
});
