// A directory of a tree as a tree of its own.

import { NinePError } from "../../codec.ts";
import type { AttachRequest, Awaitable, RequestContext } from "../../server.ts";
import { type ServableTree, treeOf } from "../rules.ts";
import type { Tree, TreeDir, TreeFile } from "../tree.ts";
import { connectionHooks } from "./connections.ts";
import { namesOf } from "./path.ts";
import { isDir, releaseAll, View, WrappedDir } from "./wrap.ts";

/**
 * Makes a tree whose root is a directory of another tree. No path leads out of
 * the new tree: `..` of its root is the root. The directory is looked up at
 * each attach. The permissions of the directories above it are not checked.
 *
 * @param tree The tree.
 * @param path Path of the directory, such as `/home/glenda`.
 * @returns The tree to serve.
 * @throws {TypeError} When the path has a name that no file can have, such as
 *   `..`.
 */
export function subtree(tree: Tree, path: string): ServableTree {
  const names = namesOf(path, "make a tree of");
  const view = new View(tree, {}, true);
  return treeOf({
    attach: (request, context) => attachTo(view, names, request, context),
    ...(tree.rules === undefined ? {} : { rules: tree.rules }),
    ...connectionHooks([tree]),
  });
}

async function attachTo(
  view: View,
  names: readonly string[],
  request: AttachRequest,
  context: RequestContext,
): Promise<TreeDir> {
  let dir = await view.attachInner(request, context);
  let rules = dir.rules ?? view.tree.rules;
  const held: TreeFile[] = [dir];
  try {
    for (const name of names) {
      const file = await dir.lookup(name, context);
      if (file === undefined) throw new NinePError("file does not exist");
      held.push(file);
      if (!isDir(file)) throw new NinePError("not a directory");
      dir = file;
      rules = dir.rules ?? rules;
    }
  } catch (error) {
    await releaseAll(held);
    throw error;
  }
  const inner = dir;
  const options = rules === undefined ? { name: "/" } : { name: "/", rules };
  const make = () => new SubtreeRoot(inner, view, options);
  const known = view.dirOf(inner, make);
  // The directory was a member of the subtree before its owner moved it here.
  const root = known instanceof SubtreeRoot ? known : view.adopt(inner, make());
  root.hold(held);
  return root;
}

/**
 * The root of a subtree. It holds the directories above it, because its tree
 * may need them.
 */
class SubtreeRoot extends WrappedDir {
  /** For each attach, the directories from the root of the tree to this one. */
  readonly #held: TreeFile[][] = [];

  /** Holds directories until the next release. */
  hold(files: TreeFile[]): void {
    this.#held.push(files);
  }

  override release(): Awaitable<void> {
    const held = this.#held.pop();
    // A lookup has found the directory, after its owner moved it into the
    // subtree.
    return held === undefined ? super.release() : releaseAll(held);
  }
}
