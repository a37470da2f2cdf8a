// A tree that clients cannot change.

import type { ServableTree } from "../rules.ts";
import type { Tree } from "../tree.ts";
import { wrapTree } from "./wrap.ts";

/**
 * Makes a tree that shows another one, and in which clients can change nothing.
 * A request that would change a file gets `read only file system`. Such
 * requests are an open that writes, truncates or removes at the clunk, new
 * attributes, and calls of functions, because the tree cannot know whether a
 * function changes something.
 *
 * Effects of an open or a read, such as that of a clone file, remain. The
 * program that owns the tree can still change it.
 *
 * @param tree The tree.
 * @returns The tree to serve.
 */
export function readonly(tree: Tree): ServableTree {
  return wrapTree(tree, { rules: (rules) => ({ ...rules, readonly: true }) });
}
