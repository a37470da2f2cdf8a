// The contract of a handler: the object with a function for each request.

import type { Stat } from "../codec.ts";
import type { Awaitable } from "../codec/_awaitable.ts";
import type { Connection } from "../transport.ts";
import type { Attributes } from "./attributes.ts";
import type { Budget } from "./budget.ts";
import type { Fid, FidNode } from "./fid.ts";

export type { Awaitable };

/**
 * The context of a request: the user, the connection, and what the request may
 * use. A program passes a context on as it is, and uses it for its own request
 * only.
 */
export interface RequestContext<N extends FidNode = FidNode> {
  /** Fid that the request works with. */
  readonly fid: Fid<N>;
  /** User in whose name the request is made: that of the fid. */
  readonly uname: string;
  /** Aborted when the client flushes the request, or the connection ends. */
  readonly signal: AbortSignal;
  /** Label of the client's end, for logs. */
  readonly peer: string;
  /**
   * Connection to the client. It identifies the client; only the session reads
   * and writes it.
   */
  readonly connection: Connection;
  /**
   * The memory budget of the connection. A file takes from it the bytes that it
   * keeps for a fid beyond one request, and gives them back at the clunk.
   */
  readonly memory: Budget;
  /**
   * Reports an error to the owner of the server (`onError`), with the path of
   * the file, the user and the peer.
   *
   * @param error The error.
   * @param expected True for an error that is an answer to the client: the
   *   default log leaves it out. False by default.
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
  /** Authentication that was made before, by the auth handler's node; undefined for none. */
  readonly afid: Fid<N> | undefined;
}

/** The data of a Topen. See `open(9P)`. */
export interface OpenRequest {
  /**
   * OREAD, OWRITE, ORDWR or OEXEC, with OTRUNC, ORCLOSE, OAPPEND. With OAPPEND
   * each write must go to the end of the file; {@linkcode WriteRequest.append}
   * says so then.
   */
  readonly mode: number;
  /** True when the client sent no Topen, but a read, write or call of a fid that is not open. */
  readonly implicit: boolean;
}

/** The data of a Tcreate. See `open(9P)`. */
export interface CreateRequest {
  /** Name of the new file: legal, but perhaps taken. */
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

/** The request for a listing: where the listing begins. */
export interface ListRequest {
  /** Cookie of the last member that the client has; 0 for none. */
  readonly cookie: number;
}

/** The data of a Twrite. See `read(9P)`. */
export interface WriteRequest {
  /** Byte to start at, 0 to 2^53 - 1; it means nothing with `append`. */
  readonly offset: number;
  /** Bytes to write: a view that lives until the request is answered. */
  readonly data: Uint8Array;
  /** True when the data go to the end of the file, wherever that is: for OAPPEND, and for an append-only file. */
  readonly append: boolean;
}

/** The data of a Twstat. See `stat(9P)`. */
export interface WstatRequest {
  /** Attributes to set, without those to leave alone; none asks for stable storage. */
  readonly changes: Partial<Stat>;
}

/** The data of a Tcall. */
export interface CallRequest {
  /** Arguments: JSON, unless the function has another loader. */
  readonly text: string;
  /** Binary argument, or nothing: a view that lives until the request is answered. */
  readonly data: Uint8Array;
}

/** A member of a directory, as a listing gives it. */
export interface DirEntry {
  /** Attributes of the member. */
  readonly stat: Attributes;
  /**
   * Position behind the member, at which a later listing can begin: whole
   * numbers from 1 on that ascend in the order of the listing. By default the
   * library counts the members.
   */
  readonly cookie?: number;
}

/**
 * The members of a directory, to be read one by one. The library reads no
 * further than it has room for.
 *
 * A handler may return an iterable with `isCurrent` again as long as
 * `isCurrent` is true: no member and no attribute of a member has changed. The
 * library then sends the records that it has encoded before.
 */
export type Listing =
  | (Iterable<DirEntry> & { readonly isCurrent?: boolean })
  | AsyncIterable<DirEntry>;

/** A file that attach, auth or walk found. */
export interface Found<N extends FidNode> {
  /** The file. */
  node: N;
}

/** The answer to a walk: the nodes that were found. */
export interface Walked<N extends FidNode> {
  /** The files of the names walked, in order; fewer than names when one was not found. */
  nodes: readonly N[];
}

/** The answer to a read. */
export interface ReadAnswer {
  /** At most `count` bytes; none at the end. */
  data: Uint8Array;
}

/** The answer to a write. */
export interface WriteAnswer {
  /** Bytes taken; all of them by default. */
  count?: number;
}

/** The answer to a stat. */
export interface StatAnswer {
  /** Attributes. */
  stat: Attributes;
}

/** The answer to a call. */
export interface CallAnswer {
  /** The value's bytes; undefined for a file that is no function. */
  data: Uint8Array | undefined;
}

/** The answer to a Topen. */
export interface Opened<N extends FidNode> {
  /** File that the fid stands for from now on, when it is another one. */
  node?: N;
  /** Largest transfer in bytes that is atomic; 0, the default, leaves it to msize. */
  iounit?: number;
}

/** The answer to a Tcreate. */
export interface Created<N extends FidNode> extends Opened<N> {
  /** The new file. */
  node: N;
}

/**
 * A handler answers the requests of clients, with one function for each kind.
 * attach, walk and open are required; the other functions have the defaults
 * that their texts name.
 *
 * The library calls a function only for requests that the protocol allows: fids
 * exist and are open in the right mode, names are legal, directories are not
 * written to. A function answers with a value or a promise, at any time and in
 * any order. An error that it throws is the error of this request only: a
 * NinePError with its text, an error of the system (of `Deno.errors`, with a
 * `code` such as `ENOENT`, a DOMException) with the text of its code, any other
 * error as `i/o error`. While a request changes a fid, no other request uses
 * the fid.
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
   * Bounds the msize of a session, in bytes. See `version(9P)`.
   *
   * Default: the option `msize`, which bounds the result as well.
   */
  version?(msize: number, version: string): number;
  /**
   * Begins an authentication: the file whose reads and writes are the exchange.
   *
   * Default: `authentication not required`.
   */
  auth?(
    fid: Fid<N>,
    request: AuthRequest,
    context: RequestContext<N>,
  ): Awaitable<N>;
  /** Gives the root of a tree to a user, or throws. See `attach(9P)`. */
  attach(
    fid: Fid<N>,
    request: AttachRequest<N>,
    context: RequestContext<N>,
  ): Awaitable<N>;
  /**
   * Looks up one name in a directory, `..` included (in the root, the root).
   * See `walk(9P)`.
   *
   * @returns The file, or undefined when there is none.
   */
  walk(
    node: N,
    name: string,
    context: RequestContext<N>,
  ): Awaitable<N | undefined>;
  /** Opens a file: checks permissions, truncates with OTRUNC. See `open(9P)`. */
  open(
    fid: Fid<N>,
    request: OpenRequest,
    context: RequestContext<N>,
  ): Awaitable<Opened<N> | void>;
  /**
   * Makes a file in the directory of the fid. The fid then stands for the open
   * file.
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
   * memory. Default: no bytes.
   */
  read?(
    fid: Fid<N>,
    request: ReadRequest,
    context: RequestContext<N>,
  ): Awaitable<Uint8Array>;
  /**
   * Lists a directory: the members behind a cookie, without `.` and `..`. The
   * library encodes the records, and cuts them into reads.
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
   * @returns Bytes taken, all of them when it is undefined.
   *
   * Default: `Operation not supported`.
   */
  write?(
    fid: Fid<N>,
    request: WriteRequest,
    context: RequestContext<N>,
  ): Awaitable<number | void>;
  /**
   * Ends the use of a file by a fid that has used it without a Topen, because
   * the fid moves to another file. Its errors go to `onError`.
   */
  leave?(fid: Fid<N>): Awaitable<void>;
  /**
   * Releases a fid: called exactly once for each fid that got a node, whether
   * the client clunked or removed it, began a new session or went away.
   *
   * An error that it throws answers a Tclunk; the fid is gone nevertheless. A
   * flushed read or call that ignores its signal may still be under way.
   */
  clunk?(fid: Fid<N>): Awaitable<void>;
  /**
   * Removes the file of a fid: for Tremove, and for ORCLOSE before the clunk.
   *
   * Default: `Operation not supported`.
   */
  remove?(fid: Fid<N>, context: RequestContext<N>): Awaitable<void>;
  /**
   * Tells the attributes of a file. See `stat(9P)`.
   *
   * Default: `Operation not supported`.
   */
  stat?(fid: Fid<N>, context: RequestContext<N>): Awaitable<Attributes>;
  /**
   * Changes attributes, all or none; a read of the fid may be under way. See
   * `stat(9P)`.
   *
   * Default: success when nothing is to change, else `wstat prohibited`.
   */
  wstat?(
    fid: Fid<N>,
    request: WstatRequest,
    context: RequestContext<N>,
  ): Awaitable<void>;
  /**
   * Calls a function file.
   *
   * @returns The value's bytes, or undefined for a file that is no function.
   *
   * Default: no file is a function.
   */
  call?(
    fid: Fid<N>,
    request: CallRequest,
    context: RequestContext<N>,
  ): Awaitable<Uint8Array | undefined>;
  /**
   * Releases a node that attach, auth, walk, create or open returned. It is
   * called exactly once for each time that the node was returned, when no fid
   * stands for it any more. So it is called for nodes that a walk passes, for
   * the directory of a fid that a create has moved to the new file, and after
   * the clunk of the last fid that was cloned from the same walk. Its errors go
   * to `onError`.
   */
  release?(node: N): Awaitable<void>;
  /** Called for each request that is flushed, after its signal was aborted. See `flush(9P)`. */
  flush?(context: RequestContext<N>): void;
  /**
   * Accepts a connection before its first request; an error closes it, and goes
   * to `onError` unless it is a NinePError. The answer and the client's Tversion
   * together have the time of `versionTimeout`. All requests of the connection
   * have the same object in their context.
   *
   * Default: every connection is accepted.
   */
  connect?(connection: Connection): Awaitable<void>;
  /**
   * Called once for each accepted connection, when it has ended and its fids
   * are released. When connect() accepts a connection that has ended meanwhile,
   * this is called at once. Its errors go to `onError`.
   */
  disconnect?(connection: Connection): Awaitable<void>;
}

/** Something that has a handler, such as a MemoryFs: it can be served as it is. */
export interface Servable<N extends FidNode = FidNode> {
  /** The handler. */
  readonly handler: Handler<N>;
}

/**
 * The two ways to answer a request of a session. A program uses one of them,
 * exactly once.
 */
export interface Answerable<Type extends string, Answer> {
  /** Kind of the request, by its message. */
  readonly type: Type;
  /** Tag that the client gave it. */
  readonly tag: number;
  /**
   * Answers the request; nothing happens when the client gave it up.
   *
   * @param answer What the request asks for.
   * @throws {TypeError} The request was answered before.
   */
  respond(answer: Answer): void;
  /**
   * Answers the request with an error; nothing happens when the client gave it up.
   *
   * @param error NinePError for the client to see. An error of the system becomes
   *   the text of its code, anything else `i/o error`.
   * @throws {TypeError} The request was answered before.
   */
  error(error: unknown): void;
}

/** The data of a Twalk: all of its names. See `walk(9P)`. */
export interface WalkRequest<N extends FidNode = FidNode> {
  /** Names to walk; the fid's node is where they start. */
  readonly wname: readonly string[];
  /** Fid for the file reached; may be the fid itself. */
  readonly newfid: Fid<N>;
}

/** The context of each request of a session. */
export interface SessionContext<N extends FidNode = FidNode> {
  /** Fid that the request works with. */
  readonly fid: Fid<N>;
  /** The user, the connection, and what the request may use. */
  readonly context: RequestContext<N>;
}

/**
 * A request of a session, told apart by `type`. The protocol allows each of
 * them.
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
