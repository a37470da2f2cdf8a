/**
 * The client: connects to a 9P server and works with its files.
 *
 * {@linkcode connect} gives a {@linkcode Client}, whose methods are those of
 * Deno's file functions where Deno has them: `readTextFile`, `writeFile`,
 * `readDir`, `stat`, and `open`, which gives a {@linkcode RemoteFile}.
 * {@linkcode Client.call} calls the function files of a server.
 * {@linkcode Client.protocol} has the fids and messages of the protocol.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({ motd: "hello\n" }, { uid: "none" }));
 * await using client = await connect(near);
 * await client.writeTextFile("motd", "goodbye\n");
 * assertEquals(await client.readTextFile("motd"), "goodbye\n");
 * ```
 *
 * @module
 */

export {
  BatchClient,
  type BatchClientOptions,
  connectBatch,
} from "./client/batch.ts";
export type { CallOptions } from "./client/call.ts";
export type { FileData } from "./client/transfer/chunks.ts";
export {
  type AttachOptions,
  type AuthOptions,
  Client,
  type CopyOptions,
  type VersionOptions,
  type VersionReply,
} from "./client/client.ts";
export { connect, type ConnectOptions } from "./client/connect.ts";
export type { CopyProgress } from "./client/trees/copy.ts";
export type {
  MkdirOptions,
  ReadDirNamesOptions,
  RemoveOptions,
} from "./client/directories.ts";
export type { FileStat, StatChanges } from "./client/file_stat.ts";
export type {
  CreateOptions,
  OpenOptions,
  ReadFileOptions,
  WriteFileOptions,
} from "./client/files.ts";
export type { Authenticate } from "./client/connection/login.ts";
export type { CallerOptions, FileRef } from "./client/operation.ts";
export type { TransferOptions } from "./client/transfer/stall.ts";
export { spawn, type SpawnOptions } from "./client/spawn.ts";
export { normalizePath } from "./client/trees/tree_paths.ts";
export type {
  ProxyOptions,
  RemoteApi,
  RemoteMethod,
  RemoteValue,
} from "./client/proxy.ts";
export type { ReconnectOptions } from "./client/connection/reconnect.ts";
export type { LinesOptions } from "./client/file/lines.ts";
export { RemoteFile, type Whence } from "./client/file/remote_file.ts";
export {
  Protocol,
  type ReadOptions,
  type RpcOptions,
  type RpcReply,
  type RpcRequest,
  type Untagged,
  type WalkOptions,
  type WriteOptions,
} from "./client/protocol.ts";
export type { TreeEntry, WalkTreeOptions } from "./client/trees/walk_tree.ts";
