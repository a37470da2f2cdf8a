// The marks of a union, which hide names of the lower trees.
import { assert, assertEquals } from "@std/assert";
import { NinePError, union } from "../../../mod.ts";
import type { DirEntry } from "../../../server.ts";
import { contents, contextOf, dirIn, rootOf, Scene } from "./scene.ts";
import { test } from "../../harness.ts";
import { PlainDir, PlainTree } from "../plain_tree.ts";
import { refused } from "../tree_client.ts";

test("union() hides the old name of a file that is renamed onto a removed one", async () => {
  const lower = new PlainTree({ one: "1", two: "2" });
  const upper = new PlainTree();
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  await client.remove("two");
  await client.writeTextFile("one", "changed");
  await client.rename("one", "two");
  assertEquals(await contents(client), { two: "changed" });
  await using again = new Scene(union(upper, lower));
  assertEquals(await contents(await again.client()), { two: "changed" });
});

test("union() hides a copied file that is removed, also after a new start", async () => {
  const lower = new PlainTree({ "d/x": "x", "d/y": "y", z: "z" });
  const upper = new PlainTree();
  {
    await using scene = new Scene(union(upper, lower));
    const client = await scene.client();
    await client.writeTextFile("d/x", "copy");
    await client.remove("z");
    await client.writeTextFile("z", "anew");
  }
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  assertEquals(await contents(client), {
    ...{ "d/": "", "d/x": "copy", "d/y": "y", z: "anew" },
  });
  await client.remove("d/x");
  await client.rename("d/y", "d/x");
  assertEquals(await contents(client), { "d/": "", "d/x": "y", z: "anew" });
});

test("union() leaves no mark where no lower tree has the name", async () => {
  const upper = new PlainTree();
  await using scene = new Scene(union(upper, new PlainTree({ test: "t" })));
  const client = await scene.client();
  await client.mkdir("dir");
  await client.copy("test", "dir/test");
  await client.remove("test");
  await client.remove("dir/test");
  await client.writeTextFile("temporary", "x");
  await client.rename("temporary", "final");
  await client.remove("final");
  assertEquals(await contents(client), { "dir/": "" });
  await client.remove("dir");
  assertEquals([...upper.root.members.keys()], [".wh.test"]);
});

test("union() keeps a file that it cannot hide", async () => {
  const upper = new PlainTree({ both: "upper" });
  const lower = new PlainTree({ both: "lower", only: "lower" });
  const long = "n".repeat(252);
  lower.put(long, "long");
  const { root } = upper;
  const create = root.create.bind(root);
  root.create = (request, context) => {
    if (request.name.startsWith(".wh.both")) {
      throw new NinePError("file system is full");
    }
    return create(request, context);
  };
  await using scene = new Scene(union(upper, lower));
  const [client, raw] = [await scene.client(), await scene.raw()];
  await refused("file system is full", raw.remove("both"));
  await refused("file system is full", raw.wstat("both", { name: "new" }));
  assertEquals(await client.readTextFile("both"), "upper");
  await client.writeTextFile("both", "still");
  await refused("File name too long", raw.remove(long));
  assertEquals(await client.readTextFile(long), "long");
  assertEquals(await client.exists("new"), false);
});

test("union() keeps a directory that has got a member while it was removed", async () => {
  const upper = new PlainTree({ "d/x": "x" });
  const lower = new PlainTree({ "d/y": "y" });
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  await client.remove("d/x");
  await client.remove("d/y");
  // The upper tree is also used without the union.
  const { root } = upper;
  const remove = root.remove.bind(root);
  root.remove = (name, file) => {
    if (name === "d") upper.put("d/late", "late");
    remove(name, file);
  };
  const raw = await scene.raw();
  await refused("directory is not empty", raw.remove("d"));
  assertEquals(await contents(client), { "d/": "", "d/late": "late" });
});

test("union() removes a directory with any number of marks in it", async () => {
  const upper = new PlainTree();
  const lower = new PlainTree();
  for (let i = 0; i < 2001; i++) lower.put(`d/f${i}`, "");
  await using scene = new Scene(union(upper, lower));
  const client = await scene.client();
  await client.mkdir("d/own");
  await client.remove("d", { recursive: true });
  assertEquals([...upper.root.members.keys()], [".wh.d"]);
});

test("union() shows no removed member of a directory while the directory is removed", async () => {
  const lower = new PlainTree({ "d/x": "removed", "d/y": "removed" });
  const upper = new PlainTree();
  const context = contextOf();
  const root = await rootOf(union(upper, lower));
  const dir = await dirIn(root, "d");
  for (const name of ["x", "y"]) {
    const file = await dir.lookup(name, context);
    assert(file !== undefined);
    await dir.remove?.(name, file, context);
    await file.release?.();
  }
  const [up, low] = [upper.find("d"), lower.find("d")];
  assert(up instanceof PlainDir && low instanceof PlainDir);
  // The lookup and the listing have begun, and wait for the upper tree.
  const { promise, resolve } = Promise.withResolvers<void>();
  const [lookup, list] = [up.lookup.bind(up), up.list.bind(up)];
  up.lookup = (name: string) => {
    up.lookup = lookup;
    return promise.then(() => lookup(name)) as unknown as undefined;
  };
  const found = dir.lookup("x", context);
  up.list = (request) => {
    up.list = list;
    return promise.then(() => list(request)) as unknown as DirEntry[];
  };
  const listing = await dir.list?.({ cookie: 0 }, context) ?? [];
  const listed = Array.fromAsync(listing, ({ stat }) => stat.name);
  let unheld = 0;
  const lowerLookup = low.lookup.bind(low);
  low.lookup = (name) => {
    if (low.held === 0) unheld++;
    return lowerLookup(name);
  };
  await root.remove?.("d", dir, context);
  resolve();
  assertEquals(await found, undefined);
  assertEquals(await listed, []);
  assertEquals(unheld, 0);
  await dir.release?.();
  await root.release?.();
  assertEquals([upper.held, lower.held], [0, 0]);
});

test("union() copies no file to a tree that takes no content", async () => {
  const upper = new PlainTree();
  const { root } = upper;
  const create = root.create.bind(root);
  root.create = (request, context) => {
    const { file, open } = create(request, context);
    open?.close?.({ lost: false, writeFailed: false });
    return { file };
  };
  await using scene = new Scene(union(upper, new PlainTree({ x: "x", y: "" })));
  const raw = await scene.raw();
  await refused("Operation not supported", raw.wstat("x", { mode: 0o600 }));
  await raw.wstat("y", { mode: 0o600 });
  assertEquals([...root.members.keys()], ["y"]);
});
