// Makes trees that can be served. The rules of the manual are applied to them.

import type { Handler } from "../server.ts";
import { PathNode } from "./rules/path_node.ts";
import { TreeRules } from "./rules/tree_rules.ts";
import type { Rules, Tree, TreeDir } from "./tree.ts";

/** A tree that can be served. */
export interface ServableTree extends Tree {
  /** The handler. Its functions need no `this`. */
  readonly handler: Handler<PathNode>;
}

/**
 * Makes a tree that can be served from a tree of files. The rules of the manual
 * are applied to it.
 *
 * @param tree A tree, or its root directory.
 * @param rules The rules to choose; those of the tree by default.
 * @returns The tree, with the handler that serve() and listen() take.
 *
 * @example A directory of one file
 * ```ts
 * import { connect, pair, serve, type TreeDir, type TreeFile, treeOf } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const text = new TextEncoder().encode("hello\n");
 * const qid = { type: 0, vers: 0, path: 1n };
 * const stat = { qid, name: "hello", mode: 0o444, length: text.length };
 * const hello: TreeFile = {
 *   qid,
 *   stat: () => stat,
 *   open: () => ({ read: ({ offset, count }) => text.subarray(offset, offset + count) }),
 * };
 * const root: TreeDir = {
 *   qid: { type: 0x80, vers: 0, path: 0n },
 *   stat: () => ({ qid: root.qid, name: "/", mode: 0x80000000 + 0o555 }),
 *   lookup: (name) => name === "hello" ? hello : undefined,
 *   list: () => [{ stat }],
 * };
 *
 * const [here, there] = pair();
 * const served = serve(there, treeOf(root));
 * const client = await connect(here);
 * assertEquals(await client.readTextFile("hello"), "hello\n");
 * await client.close();
 * await served;
 * ```
 */
export function treeOf(
  tree: Tree | TreeDir,
  rules: Rules | undefined = tree.rules,
): ServableTree {
  const { attach, connect, disconnect } = "attach" in tree
    ? boundOf(tree)
    : { attach: () => tree };
  const made: Tree = {
    attach,
    ...(rules === undefined ? {} : { rules }),
    ...(connect === undefined ? {} : { connect }),
    ...(disconnect === undefined ? {} : { disconnect }),
  };
  return { ...made, handler: handlerOf(made) };
}

function boundOf(tree: Tree): Omit<Tree, "rules"> {
  return {
    attach: (request, context) => tree.attach(request, context),
    ...(tree.connect === undefined
      ? {}
      : { connect: (connection) => tree.connect?.(connection) }),
    ...(tree.disconnect === undefined
      ? {}
      : { disconnect: (connection) => tree.disconnect?.(connection) }),
  };
}

/**
 * Makes the handler of a tree.
 *
 * @param tree The tree.
 * @returns Functions that need no `this`, so that a program can spread them and
 *   replace some.
 */
export function handlerOf(tree: Tree): Handler<PathNode> {
  const rules = new TreeRules(tree);
  return {
    connect: (connection) => tree.connect?.(connection),
    disconnect: (connection) => tree.disconnect?.(connection),
    attach: (_fid, request, context) => rules.attach(request, context),
    walk: (node, name, context) => rules.walk(node, name, context),
    open: (fid, request, context) => rules.open(fid, request, context),
    create: (fid, request, context) => rules.create(fid, request, context),
    read: (fid, request, context) => rules.read(fid, request, context),
    readdir: (fid, request, context) => rules.list(fid, request, context),
    write: (fid, request, context) => rules.write(fid, request, context),
    call: (fid, request, context) => rules.call(fid, request, context),
    leave: (fid) => rules.leave(fid),
    clunk: (fid) => rules.leave(fid),
    remove: (fid, context) => rules.remove(fid, context),
    stat: (fid, context) => rules.stat(fid, context),
    wstat: (fid, request, context) => rules.wstat(fid, request, context),
    // A program may have added an auth() with nodes of its own.
    release: (node: unknown) =>
      node instanceof PathNode ? node.release() : undefined,
  };
}
