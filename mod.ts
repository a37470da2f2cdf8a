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
 * `/transport`, and `/codec` for messages and their bytes. The numbers of the
 * protocol are here too: the bits of an open mode (`OREAD`, `OTRUNC` …), of a
 * file's mode (`DMDIR`, `DMUREAD` …) and of its qid (`QTDIR` …), and `NOTAG`
 * and `NOFID`, which stand for none.
 *
 * @module
 */

export {
  type AttachOptions,
  Attributes,
  type Authenticate,
  type AuthOptions,
  type CallerOptions,
  type CallOptions,
  Client,
  connect,
  type ConnectOptions,
  type CopyOptions,
  type CopyProgress,
  type CreateOptions,
  type FileData,
  type FileRef,
  Files,
  type FileStat,
  type LinesOptions,
  type MkdirOptions,
  normalizePath,
  type OpenOptions,
  type ProxyOptions,
  type ReadDirNamesOptions,
  type ReadOptions,
  type ReconnectOptions,
  type RemoteApi,
  RemoteFile,
  RemoteTree,
  type RemoveOptions,
  Requests,
  type RpcOptions,
  type RpcReply,
  type RpcRequest,
  type StatChanges,
  type TreeEntry,
  type Untagged,
  type VersionOptions,
  type VersionReply,
  type WalkOptions,
  type WalkTreeOptions,
  type Whence,
  type WriteFileOptions,
  type WriteOptions,
} from "./client.ts";
export {
  DMAPPEND,
  DMAUTH,
  DMDIR,
  DMEXCL,
  DMGEXEC,
  DMGREAD,
  DMGWRITE,
  DMMOUNT,
  DMOEXEC,
  DMOREAD,
  DMOWRITE,
  DMTMP,
  DMUEXEC,
  DMUREAD,
  DMUWRITE,
  formatMessage,
  FunctionError,
  type Message,
  NinePError,
  NOFID,
  NOTAG,
  OAPPEND,
  OCEXEC,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  Plan9Exit,
  ProtocolError,
  type Qid,
  QTAPPEND,
  QTAUTH,
  QTDIR,
  QTEXCL,
  QTFILE,
  QTMOUNT,
  QTTMP,
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
  type SessionLoopOptions,
  type SessionOptions,
  type SessionRequest,
  type StatAnswer,
  type StatRecord,
  type TraceContext,
  type TracedFrame,
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
