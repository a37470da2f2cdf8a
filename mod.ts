/**
 * ninep: 9P, Plan 9's file protocol, for Deno and Bun. A server offers a tree
 * of files, and whatever it does is read and written as files.
 *
 * @example Serve a tree, and work with it
 * ```ts
 * import { connect, listen, MemoryFs } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const fs = new MemoryFs({ "motd": "hello\n" });
 * fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
 * await using server = await listen("tcp://127.0.0.1:0", fs);
 *
 * await using client = await connect(server.addr);
 * assertEquals(await client.readTextFile("motd"), "hello\n");
 * assertEquals(await client.call("add", { argv: [17, 25] }), 42);
 * ```
 *
 * The modules below it are `@ninep/ninep/client`, `/server`, `/fs`,
 * `/transport`, and `/codec` for messages and their bytes.
 *
 * @module
 */

export {
  type AttachOptions,
  type CallerOptions,
  type CallOptions,
  Client,
  connect,
  type ConnectOptions,
  type CreateOptions,
  type FileRef,
  Files,
  type FileStat,
  type MkdirOptions,
  type OpenOptions,
  type ReadOptions,
  RemoteFile,
  RemoteTree,
  Requests,
  type RpcOptions,
  type RpcReply,
  type RpcRequest,
  type StatChanges,
  type Untagged,
  type WalkOptions,
  type Whence,
  type WriteFileOptions,
  type WriteOptions,
} from "./client.ts";
export {
  formatMessage,
  FunctionError,
  NinePError,
  Plan9Exit,
  ProtocolError,
  type Qid,
  type Stat,
} from "./codec.ts";
export {
  type CallableOptions,
  type CallContext,
  type Content,
  DirNode,
  type DirOptions,
  type FileFunction,
  type FileHooks,
  type FileMethods,
  FileNode,
  type FileOptions,
  FunctionNode,
  type FunctionOptions,
  type Group,
  HookNode,
  LinkNode,
  MemoryFs,
  type MemoryFsOptions,
  PlainNode,
  rawDumper,
  type RemoveNodeOptions,
  TreeNode,
  type Users,
} from "./fs/mod.ts";
export {
  type Answerable,
  type AttachRequest,
  type AuthRequest,
  type Awaitable,
  type CallAnswer,
  type CallRequest,
  type Created,
  type CreateRequest,
  type DirMember,
  type Fid,
  type Found,
  type Handler,
  listen,
  type ListenOptions,
  type Node,
  type Opened,
  type OpenRequest,
  type ReadAnswer,
  type ReadRequest,
  type RequestContext,
  serve,
  type ServeOptions,
  type Server,
  Session,
  type SessionOptions,
  type SessionRequest,
  type StatAnswer,
  type StatRecord,
  type TracedMessage,
  type Tree,
  type Walked,
  type WalkRequest,
  type WriteAnswer,
  type WriteRequest,
  type WstatRequest,
} from "./server.ts";
export {
  type Connection,
  dial,
  fromStreams,
  pair,
  type StreamPair,
} from "./transport.ts";
