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

export {
  type CallContext,
  type FileFunction,
  FunctionNode,
  type FunctionOptions,
  rawDumper,
} from "./function.ts";
export {
  type Content,
  type DirOptions,
  type FileOptions,
  MemoryFs,
  type MemoryFsOptions,
  type RemoveNodeOptions,
} from "./memory.ts";
export {
  DirNode,
  FileNode,
  type NodeInit,
  type Quota,
  TreeNode,
} from "./node.ts";
