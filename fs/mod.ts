/**
 * Trees of files to serve: MemoryFs, and functions that are bound to files.
 *
 * @example A tree, changed by the program that serves it
 * ```ts
 * import { MemoryFs } from "@ninep/ninep/fs";
 * import { assertEquals } from "@std/assert";
 *
 * const fs = new MemoryFs({ motd: "hello\n" });
 * fs.mkdir("log");
 * fs.writeFile("log/today", "started\n");
 * assertEquals(fs.readTextFile("motd"), "hello\n");
 * ```
 *
 * @module
 */

export type { Group, Owned, Users } from "./rules/access.ts";
export {
  type CallableOptions,
  type CallContext,
  type ContextFunction,
  type ContextMethods,
  type ContextOptions,
  type FileFunction,
  type FileMethods,
  rawDumper,
} from "./functions/callable.ts";
export { FileNode, NodeOpen, PlainNode } from "./memory/file.ts";
export { FunctionNode, type FunctionOptions } from "./functions/function.ts";
export {
  choose,
  forUser,
  mount,
  readonly,
  subtree,
  type TreeChanges,
  union,
  wrapTree,
} from "./compose.ts";
export { HostFs, type HostFsOptions } from "./host/host_fs.ts";
export { type FileHooks, HookNode } from "./functions/hook.ts";
export {
  type Definition,
  type DirHooks,
  type FunctionDefinition,
  HookDir,
} from "./functions/hook_dir.ts";
export { MemoryFs } from "./memory.ts";
export { LinkNode } from "./memory/link.ts";
export { DirNode, TreeNode } from "./memory/node.ts";
export type { HookRemoval, RequestHooks } from "./functions/request_hooks.ts";
export { PathNode } from "./rules/path_node.ts";
export { RemoteFs, type RemoteFsOptions } from "./remote.ts";
export { handlerOf, type ServableTree, treeOf } from "./rules.ts";
export type {
  Capacity,
  CreatedFile,
  CreateFile,
  Ending,
  MakeDir,
  MakeSymlink,
  OpenFile,
  Place,
  Rename,
  Rules,
  Tree,
  TreeDir,
  TreeFile,
} from "./tree.ts";
export type {
  Content,
  DirOptions,
  FileOptions,
  MemoryFsOptions,
  RemoveNodeOptions,
} from "./memory/options.ts";
