// One tree over others. All changes are made in the upper tree.

import type { AttachRequest, RequestContext } from "../../server.ts";
import { type ServableTree, treeOf } from "../rules.ts";
import type { Tree, TreeDir } from "../tree.ts";
import { connectionHooks } from "./connections.ts";
import { Layers } from "./layers.ts";
import { MAX_TREES } from "./numbers.ts";
import { UnionDir } from "./union_node.ts";
import { releaseAll } from "./wrap.ts";

/**
 * Makes one tree of several trees that lie over each other. A name leads to the
 * file of the first tree that has the name. A directory that several trees have
 * shows the members of all of them. All changes go to the upper tree. The lower
 * trees are never written to.
 *
 * - A file of a lower tree is copied to the upper one before its first change:
 *   its content, permissions, times, owner and group. Clients see the copy
 *   only when it is complete. The copy keeps the qid path, and fids that read
 *   the old file continue with the copy. A flush ends a copy. Function files
 *   are not copied, except those of another server, which look like plain
 *   files.
 * - When a client removes a name that a lower tree has, the upper tree gets an
 *   empty file `.wh.NAME`. This mark hides the name, as in the layers of
 *   container images. Clients cannot see or use such names. A name of more than
 *   251 bytes has no room for the mark, so it cannot be removed.
 * - A directory that a lower tree has cannot be renamed (`Invalid cross-device
 *   link`), so clients copy it instead. A file is copied, and the copy is
 *   renamed.
 *
 * The upper tree needs `create`, `mkdir`, `rename` and `remove`, and for
 * attributes `wstat`. The rules and users of the upper tree are those of the
 * union. A listing looks up each member of a lower tree in the trees above, and
 * stores no names. The names in the lower trees must not change while the union
 * is in use. After a restart of the server, copies have the qid paths that the
 * upper tree gives them.
 *
 * @param upper The tree that is written to.
 * @param lower The trees below it, from the top down.
 * @returns The tree to serve.
 * @throws {RangeError} When there are too many trees.
 *
 * @example A writable tree over a tree that stays unchanged
 * ```ts
 * import { connect, MemoryFs, pair, serve, union } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const below = new MemoryFs({ motd: "hello\n" }, { uid: "glenda" });
 * const tree = union(new MemoryFs({}, { uid: "glenda" }), below);
 *
 * const [here, there] = pair();
 * const served = serve(there, tree);
 * const client = await connect(here, { uname: "glenda" });
 * await client.writeTextFile("motd", "changed\n");
 * assertEquals(await client.readTextFile("motd"), "changed\n");
 * assertEquals(below.readTextFile("motd"), "hello\n");
 * await client.remove("motd");
 * assertEquals(await client.exists("motd"), false);
 * await client.close();
 * await served;
 * ```
 */
export function union(upper: Tree, ...lower: Tree[]): ServableTree {
  const trees = [upper, ...lower];
  if (trees.length > MAX_TREES) {
    throw new RangeError(
      `Cannot unite ${trees.length} trees: the maximum is ${MAX_TREES}`,
    );
  }
  // Clients that attach to the same roots share the objects of their files.
  const roots = new Set<UnionDir>();
  const layers = new Layers(upper.rules ?? {}, (node) => {
    for (const root of roots) if (root === node) roots.delete(root);
  });
  return treeOf({
    attach: (request, context) =>
      attachTo(trees, roots, layers, request, context),
    ...(upper.rules === undefined ? {} : { rules: upper.rules }),
    ...connectionHooks(trees),
  });
}

async function attachTo(
  [upper, ...lower]: readonly Tree[],
  roots: Set<UnionDir>,
  layers: Layers,
  request: AttachRequest,
  context: RequestContext,
): Promise<TreeDir> {
  const dirs: TreeDir[] = [];
  try {
    dirs.push(await upper.attach(request, context));
    for (const tree of lower) {
      dirs.push(await tree.attach({ ...request, aname: "" }, context));
    }
  } catch (error) {
    await releaseAll(dirs);
    throw error;
  }
  const parts = dirs.map((file, layer) => {
    const rules = file.rules ?? [upper, ...lower][layer].rules ?? {};
    return { layer, file, rules };
  });
  for (const root of roots) {
    if (!parts.every((part) => root.has([part]))) continue;
    root.uses++;
    await releaseAll(dirs);
    return root;
  }
  const [first, ...rest] = parts;
  const root = new UnionDir(layers, [first, ...rest], undefined, "/");
  roots.add(root);
  return root;
}
