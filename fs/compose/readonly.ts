// A tree that clients cannot change.

import type { ServableTree } from "../rules.ts";
import type { Tree } from "../tree.ts";
import { wrapTree } from "./wrap.ts";

/**
 * Makes a tree that shows another one, and in which clients can change nothing:
 * what would gives `read only file system`. That goes for an open that writes,
 * truncates or removes at the clunk, for new attributes, and for calls of
 * functions, since the tree cannot know what a function does.
 *
 * What an open or a read does by itself, such as that of a clone file, it does
 * here as well. The program that owns the tree can still change it.
 *
 * @param tree The tree.
 * @returns The tree to serve.
 */
export function readonly(tree: Tree): ServableTree {
  return wrapTree(tree, { rules: (rules) => ({ ...rules, readonly: true }) });
}
