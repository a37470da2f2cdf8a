// The contract between a server and the program that answers its requests.

import type { Stat } from "../codec.ts";
import type { Awaitable } from "../codec/_awaitable.ts";
import type { Connection } from "../transport.ts";
import type { Attributes } from "./attributes.ts";
import type { Budget } from "./budget.ts";
import type { Fid, FidNode } from "./fid.ts";

export type { Awaitable };

/**
 * The context of a request: its user, its connection, its signal and its memory
 * budget. Each request has its own context object.
 */
export interface RequestContext<N extends FidNode = FidNode> {
  /** Fid that the request works with. */
  readonly fid: Fid<N>;
  /** User of the fid. */
  readonly uname: string;
  /** Aborted when the client flushes the request, or the connection ends. */
  readonly signal: AbortSignal;
  /** Label of the client's end, for logs. */
  readonly peer: string;
  /**
   * Connection to the client. Use it only as an identity, because the session
   * reads and writes it.
   */
  readonly connection: Connection;
  /**
   * The memory budget of the connection. A file takes from the budget the bytes
   * that it keeps for a fid beyond one request, and gives the bytes back at the
   * clunk.
   */
  readonly memory: Budget;
  /**
   * Reports an error to the owner of the server (`onError`), with the path of
   * the file, the user and the peer.
   *
   * @param error The error.
   * @param expected True for an error that is sent to the client; the default
   *   log omits such errors. False by default.
   */
  report(error: unknown, expected?: boolean): void;
}

/** The data of a Tauth. See `attach(9P)`. */
export interface AuthRequest {
  /** User. */
  readonly uname: string;
  /** Tree. */
  readonly aname: string;
}

/** The data of a Tattach. See `attach(9P)`. */
export interface AttachRequest<N extends FidNode = FidNode>
  extends AuthRequest {
  /** Fid of an earlier Tauth; undefined for none. */
  readonly afid: Fid<N> | undefined;
}

/** The data of a Topen. See `open(9P)`. */
export interface OpenRequest {
  /**
   * OREAD, OWRITE, ORDWR or OEXEC, with OTRUNC, ORCLOSE, OAPPEND. With OAPPEND
   * each write must go to the end of the file, and {@linkcode
   * WriteRequest.append} is true.
   */
  readonly mode: number;
  /**
   * True when the client sent no Topen. A read, write or call on the fid opens
   * the file.
   */
  readonly implicit: boolean;
}

/** The data of a Tcreate. See `open(9P)`. */
export interface CreateRequest {
  /** Name of the new file. The name is legal, but the file may exist. */
  readonly name: string;
  /** Permissions, with DMDIR, DMAPPEND, DMEXCL, DMTMP. */
  readonly perm: number;
  /** Mode to open the file with, as in a Topen. */
  readonly mode: number;
}

/** The data of a Tread of a file. See `read(9P)`. */
export interface ReadRequest {
  /** Byte to start at, 0 to 2^53 - 1. */
  readonly offset: number;
  /** Most bytes to read. */
  readonly count: number;
}

/** The data of a listing of a directory. */
export interface ListRequest {
  /** Cookie of the last member that the client has read; 0 for none. */
  readonly cookie: number;
}

/** The data of a Twrite. See `read(9P)`. */
export interface WriteRequest {
  /**
   * Byte to start at, 0 to 2^53 - 1. Ignore the offset when `append` is true.
   */
  readonly offset: number;
  /** Bytes to write: a view that is valid until the request is answered. */
  readonly data: Uint8Array;
  /**
   * True when the data go to the end of the file: for OAPPEND, and for an
   * append-only file.
   */
  readonly append: boolean;
}

/** The data of a Twstat. See `stat(9P)`. */
export interface WstatRequest {
  /**
   * Attributes to set. When there are none, the client asks that the file be
   * written to stable storage.
   */
  readonly changes: Partial<Stat>;
}

/** The data of a Tcall. */
export interface CallRequest {
  /** Arguments: JSON, unless the function has another loader. */
  readonly text: string;
  /**
   * Binary argument, or no bytes: a view that is valid until the request is
   * answered.
   */
  readonly data: Uint8Array;
}

/** A member of a directory in a listing. */
export interface DirEntry {
  /** Attributes of the member. */
  readonly stat: Attributes;
  /**
   * Position after the member, at which a later listing continues. Cookies are
   * whole numbers of at least 1 that ascend in the order of the listing. By
   * default the library counts the members.
   */
  readonly cookie?: number;
}

/**
 * The members of a directory. The library takes only as many members as the
 * reply has room for.
 *
 * A handler may return an iterable again while its `isCurrent` is true, which
 * means that no member and no attribute of a member has changed. The library
 * then sends the records that it has already encoded.
 */
export type Listing =
  | (Iterable<DirEntry> & { readonly isCurrent?: boolean })
  | AsyncIterable<DirEntry>;

/** The answer to a Tattach or Tauth. */
export interface Found<N extends FidNode> {
  /** The file. */
  node: N;
}

/** The answer to a Twalk. */
export interface Walked<N extends FidNode> {
  /**
   * The files of the names, in order. There are fewer files than names when a
   * name was not found.
   */
  nodes: readonly N[];
}

/** The answer to a Tread. */
export interface ReadAnswer {
  /** At most `count` bytes; none at the end. */
  data: Uint8Array;
}

/** The answer to a Twrite. */
export interface WriteAnswer {
  /** Number of bytes written; all of them by default. */
  count?: number;
}

/** The answer to a Tstat. */
export interface StatAnswer {
  /** Attributes. */
  stat: Attributes;
}

/** The answer to a Tcall. */
export interface CallAnswer {
  /** Bytes of the result; undefined for a file that is not a function. */
  data: Uint8Array | undefined;
}

/** The answer to a Topen. */
export interface Opened<N extends FidNode> {
  /**
   * File that the fid stands for after the open; by default the fid keeps its
   * file.
   */
  node?: N;
  /**
   * Largest atomic transfer in bytes; 0 by default, which means that msize is
   * the limit.
   */
  iounit?: number;
}

/** The answer to a Tcreate. */
export interface Created<N extends FidNode> extends Opened<N> {
  /** The new file. */
  node: N;
}

/**
 * The functions that answer the requests of clients, one for each kind of
 * request. attach, walk and open are required; the description of each other
 * function names its default.
 *
 * The library checks each request before it calls the handler: fids exist and
 * are open in the right mode, names are legal, directories are not written to.
 * A function returns a value or a promise, at any time and in any order. An
 * error that it throws is the error of that request only: a NinePError is sent
 * with its text, a system error (of `Deno.errors`, with a `code` such as
 * `ENOENT`, or a DOMException) with the text of its code, and any other error
 * as `i/o error`. While a request changes a fid, no other request uses that
 * fid.
 *
 * @example One file, made up at each read
 * ```ts
 * import { connect, type Handler, type FidNode, pair, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const root: FidNode = { qid: { type: 0x80, vers: 0, path: 0n } };
 * const hello: FidNode = { qid: { type: 0, vers: 0, path: 1n } };
 * const text = new TextEncoder().encode("hello\n");
 * const handler: Handler = {
 *   attach: () => root,
 *   walk: (_node, name) => name === "hello" ? hello : undefined,
 *   open: () => {},
 *   read: (_fid, { offset, count }) => text.subarray(offset, offset + count),
 * };
 *
 * const [here, there] = pair();
 * const served = serve(there, handler);
 * const client = await connect(here);
 * assertEquals(await client.readTextFile("hello"), "hello\n");
 * await client.close();
 * await served;
 * ```
 */
export interface Handler<N extends FidNode = FidNode> {
  /**
   * Returns the largest msize of a session in bytes. See `version(9P)`.
   *
   * Default: the option `msize`, which also limits the returned value.
   */
  version?(msize: number, version: string): number;
  /**
   * Begins an authentication. The client and the server then exchange data by
   * reads and writes of the returned file.
   *
   * Default: `authentication not required`.
   */
  auth?(
    fid: Fid<N>,
    request: AuthRequest,
    context: RequestContext<N>,
  ): Awaitable<N>;
  /** Returns the root of a tree for a user, or throws. See `attach(9P)`. */
  attach(
    fid: Fid<N>,
    request: AttachRequest<N>,
    context: RequestContext<N>,
  ): Awaitable<N>;
  /**
   * Looks up one name in a directory. The name may be `..`; in the root, `..`
   * is the root. See `walk(9P)`.
   *
   * @returns The file, or undefined when there is none.
   */
  walk(
    node: N,
    name: string,
    context: RequestContext<N>,
  ): Awaitable<N | undefined>;
  /**
   * Opens a file. Checks permissions, and truncates the file with OTRUNC. See
   * `open(9P)`.
   */
  open(
    fid: Fid<N>,
    request: OpenRequest,
    context: RequestContext<N>,
  ): Awaitable<Opened<N> | void>;
  /**
   * Creates a file in the directory of the fid, and opens the file. The fid
   * then stands for the new file.
   *
   * Default: `Operation not supported`.
   */
  create?(
    fid: Fid<N>,
    request: CreateRequest,
    context: RequestContext<N>,
  ): Awaitable<Created<N>>;
  /**
   * Reads at most `count` bytes of a file; none at its end. See `read(9P)`.
   *
   * The library copies the bytes at once, so they may be a view of the file's
   * own memory. Default: no bytes.
   */
  read?(
    fid: Fid<N>,
    request: ReadRequest,
    context: RequestContext<N>,
  ): Awaitable<Uint8Array>;
  /**
   * Lists the members of a directory after a cookie, without `.` and `..`. The
   * library encodes the records, and distributes them over the reads.
   *
   * Default: no members.
   */
  readdir?(
    fid: Fid<N>,
    request: ListRequest,
    context: RequestContext<N>,
  ): Awaitable<Listing>;
  /**
   * Writes to a file. See `read(9P)`.
   *
   * @returns Number of bytes written; undefined means all of them.
   *
   * Default: `Operation not supported`.
   */
  write?(
    fid: Fid<N>,
    request: WriteRequest,
    context: RequestContext<N>,
  ): Awaitable<number | void>;
  /**
   * Called when a fid that was opened implicitly, without a Topen, moves to
   * another file. Errors go to `onError`.
   */
  leave?(fid: Fid<N>): Awaitable<void>;
  /**
   * Releases a fid. Called exactly once for each fid that had a node: after a
   * Tclunk or Tremove, when the client starts a new session, or when the
   * connection ends.
   *
   * An error becomes the reply to the Tclunk; the fid is released all the same.
   * A flushed read or call that ignores its signal may still be in progress.
   */
  clunk?(fid: Fid<N>): Awaitable<void>;
  /**
   * Removes the file of a fid. Called for a Tremove, and before the clunk of a
   * fid that is open with ORCLOSE.
   *
   * Default: `Operation not supported`.
   */
  remove?(fid: Fid<N>, context: RequestContext<N>): Awaitable<void>;
  /**
   * Returns the attributes of a file. See `stat(9P)`.
   *
   * Default: `Operation not supported`.
   */
  stat?(fid: Fid<N>, context: RequestContext<N>): Awaitable<Attributes>;
  /**
   * Changes all given attributes of a file, or none. A read of the fid may be
   * in progress. See `stat(9P)`.
   *
   * Default: success when there are no changes, otherwise `wstat prohibited`.
   */
  wstat?(
    fid: Fid<N>,
    request: WstatRequest,
    context: RequestContext<N>,
  ): Awaitable<void>;
  /**
   * Calls a function file.
   *
   * @returns Bytes of the result, or undefined for a file that is not a
   *   function.
   *
   * Default: no file is a function.
   */
  call?(
    fid: Fid<N>,
    request: CallRequest,
    context: RequestContext<N>,
  ): Awaitable<Uint8Array | undefined>;
  /**
   * Releases a node that attach, auth, walk, create or open has returned.
   * Called exactly once for each time that the node was returned, when no fid
   * stands for the node any more: for nodes that a walk passes, for the
   * directory of a fid that a create has moved to the new file, and after the
   * clunk of the last of all fids that are clones of each other. Errors go to
   * `onError`.
   */
  release?(node: N): Awaitable<void>;
  /**
   * Called for each flushed request, after its signal is aborted. See
   * `flush(9P)`.
   */
  flush?(context: RequestContext<N>): void;
  /**
   * Accepts a connection before its first request. An error closes the
   * connection, and goes to `onError` unless it is a NinePError.
   * `versionTimeout` limits the time of this function and of the client's
   * Tversion together. The context of each request has the same connection
   * object.
   *
   * Default: every connection is accepted.
   */
  connect?(connection: Connection): Awaitable<void>;
  /**
   * Called once for each accepted connection, when the connection has ended and
   * its fids are released. When connect() accepts a connection that has already
   * ended, disconnect() is called at once. Errors go to `onError`.
   */
  disconnect?(connection: Connection): Awaitable<void>;
}

/** An object with a handler, such as a MemoryFs. */
export interface Servable<N extends FidNode = FidNode> {
  /** The handler that answers requests. */
  readonly handler: Handler<N>;
}

/**
 * The methods that answer a request of a session. Exactly one of them must be
 * called, once.
 */
export interface Answerable<Type extends string, Answer> {
  /** Kind of the request, by its message. */
  readonly type: Type;
  /** Tag that the client gave it. */
  readonly tag: number;
  /**
   * Answers the request. Does nothing when the client has flushed the request.
   *
   * @param answer The answer of the request's kind.
   * @throws {TypeError} The request was answered before.
   */
  respond(answer: Answer): void;
  /**
   * Answers the request with an error. Does nothing when the client has flushed
   * the request.
   *
   * @param error A NinePError is sent with its text, a system error with the
   *   text of its code, and any other error as `i/o error`.
   * @throws {TypeError} The request was answered before.
   */
  error(error: unknown): void;
}

/** The data of a Twalk: all of its names. See `walk(9P)`. */
export interface WalkRequest<N extends FidNode = FidNode> {
  /** Names to walk, from the fid's node on. */
  readonly wname: readonly string[];
  /** Fid for the file that the walk reaches; may be the fid itself. */
  readonly newfid: Fid<N>;
}

/** The fid and the context of a request of a session. */
export interface SessionContext<N extends FidNode = FidNode> {
  /** Fid that the request works with. */
  readonly fid: Fid<N>;
  /** User, connection, signal and memory budget of the request. */
  readonly context: RequestContext<N>;
}

/**
 * A request of a session. The member `type` says which kind it is. The session
 * has checked the request.
 */
export type SessionRequest<N extends FidNode = FidNode> =
  & SessionContext<N>
  & (
    | AuthRequest & Answerable<"Tauth", Found<N>>
    | AttachRequest<N> & Answerable<"Tattach", Found<N>>
    | WalkRequest<N> & Answerable<"Twalk", Walked<N>>
    | OpenRequest & Answerable<"Topen", Opened<N> | void>
    | CreateRequest & Answerable<"Tcreate", Created<N>>
    | ReadRequest & Answerable<"Tread", ReadAnswer>
    | WriteRequest & Answerable<"Twrite", WriteAnswer>
    | Answerable<"Tclunk", void>
    | Answerable<"Tremove", void>
    | Answerable<"Tstat", StatAnswer>
    | WstatRequest & Answerable<"Twstat", void>
    | CallRequest & Answerable<"Tcall", CallAnswer>
  );
