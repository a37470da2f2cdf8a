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
 * Makes one tree of several that lie over each other. The first tree that has
 * a name has the file; directories that several have show the members of all.
 * All changes go to the upper tree, and the lower ones are never written to.
 *
 * - A file of a lower tree is copied to the upper one before its first change:
 *   its content, permissions, times, owner and group. The copy appears at once
 *   as a whole, keeps the qid path, and fids that read the old one go on with
 *   it. A flush ends a copy. Function files are used where they are, but those
 *   of another server are taken for plain files.
 * - A name that is removed, and that a lower tree has, leaves an empty file
 *   `.wh.NAME` in the upper tree, which hides the name for good, as in the
 *   layers of container images. No client sees such names, or can use them. For
 *   a name of more than 251 bytes there is no such mark: it cannot be removed.
 * - A directory that a lower tree has cannot be renamed (`Invalid cross-device
 *   link`); clients copy it then. A file is copied, and the copy renamed.
 *
 * The upper tree needs `create`, `mkdir`, `rename` and `remove`, and for
 * attributes `wstat`. Its rules and users are those of the union. A listing
 * looks each member of a lower tree up in the trees above, and holds no names.
 * The lower trees must not change their names while they are in use; where the
 * upper tree is kept and the server starts anew, copies have the qid paths that
 * the upper tree gives them.
 *
 * @param upper The tree that is written to.
 * @param lower The trees below it, from the top down.
 * @returns The tree to serve.
 * @throws {RangeError} There are too many trees.
 *
 * @example A scratch tree over one that stays as it is
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
  // Clients that attach to the same roots share their files.
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
