// What a program serves: the handler object, and the questions it is asked.

import type { Stat } from "../codec.ts";
import type { Awaitable } from "../codec/_awaitable.ts";
import type { Connection } from "../transport.ts";
import type { Budget } from "./budget.ts";
import type { Fid, Node } from "./fid.ts";

export type { Awaitable };

/** What all requests of a session have. */
export interface RequestContext<N extends Node = Node> {
  /** Fid that the request works with. */
  readonly fid: Fid<N>;
  /** Aborted when the client flushes the request, or the connection ends. */
  readonly signal: AbortSignal;
  /** Label of the client's end, for logs. */
  readonly peer: string;
  /** Connection to the client; its identity, for it is the session that reads and writes. */
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

/** A Tauth. See `attach(9P)`. */
export interface AuthRequest<N extends Node> extends RequestContext<N> {
  /** User. */
  readonly uname: string;
  /** Tree. */
  readonly aname: string;
}

/** A Tattach. See `attach(9P)`. */
export interface AttachRequest<N extends Node> extends AuthRequest<N> {
  /** Authentication that was made before, by the auth handler's node; undefined for none. */
  readonly afid: Fid<N> | undefined;
}

/** A Topen. See `open(9P)`. */
export interface OpenRequest<N extends Node> extends RequestContext<N> {
  /**
   * OREAD, OWRITE, ORDWR or OEXEC, with OTRUNC, ORCLOSE, OAPPEND. With OAPPEND
   * each write must go to the end of the file; {@linkcode Fid.appends} has the
   * same later.
   */
  readonly mode: number;
}

/** A Tcreate. See `open(9P)`. */
export interface CreateRequest<N extends Node> extends OpenRequest<N> {
  /** Name of the new file: legal, but perhaps taken. */
  readonly name: string;
  /** Permissions, with DMDIR, DMAPPEND, DMEXCL, DMTMP. */
  readonly perm: number;
}

/** A Tread of a file. See `read(9P)`. */
export interface ReadRequest<N extends Node> extends RequestContext<N> {
  /** Byte to start at, 0 to 2^53 - 1. */
  readonly offset: number;
  /** Most bytes to read. */
  readonly count: number;
}

/** A Twrite. See `read(9P)`. */
export interface WriteRequest<N extends Node> extends RequestContext<N> {
  /** Byte to start at, 0 to 2^53 - 1. */
  readonly offset: number;
  /** Bytes to write: a view that lives until the request is answered. */
  readonly data: Uint8Array;
}

/** A Twstat. See `stat(9P)`. */
export interface WstatRequest<N extends Node> extends RequestContext<N> {
  /** Attributes to set, without those to leave alone; none asks for stable storage. */
  readonly changes: Partial<Stat>;
}

/** A Tcall. */
export interface CallRequest<N extends Node> extends RequestContext<N> {
  /** Arguments: JSON, unless the function has another loader. */
  readonly text: string;
  /** Binary argument, or nothing: a view that lives until the request is answered. */
  readonly data: Uint8Array;
}

/** A stat record: its attributes, or its bytes as encodeStat() gives them, which are sent as they are. */
export type StatRecord = Stat | Uint8Array;

/**
 * A member of a directory: its record, or a function that is asked for it when
 * its turn comes, and gives undefined when the member is gone by then. The
 * function learns how many bytes there is room for: what is longer is not sent,
 * and asked for again. It may give the records of several members at once, one
 * behind the other, if there is room for them.
 */
export type DirMember =
  | StatRecord
  | ((room: number) => StatRecord | undefined);

/** A file that attach, auth or walk found. */
export interface Found<N extends Node> {
  /** The file. */
  node: N;
}

/** What a walk found. */
export interface Walked<N extends Node> {
  /** The files of the names walked, in order; fewer than names when one was not found. */
  nodes: readonly N[];
}

/** What a read gives. */
export interface ReadAnswer {
  /** At most `count` bytes; none at the end. */
  data: Uint8Array;
}

/** What a write took. */
export interface WriteAnswer {
  /** Bytes taken; all of them by default. */
  count?: number;
}

/** What a stat tells. */
export interface StatAnswer {
  /** Attributes, or their record. */
  stat: StatRecord;
}

/** What a call gives. */
export interface CallAnswer {
  /** The value's bytes; undefined for a file that is no function. */
  data: Uint8Array | undefined;
}

/** The answer to a Topen. */
export interface Opened<N extends Node> {
  /** File that the fid stands for from now on, when it is another one. */
  node?: N;
  /** Largest transfer in bytes that is atomic; 0, the default, leaves it to msize. */
  iounit?: number;
}

/** The answer to a Tcreate. */
export interface Created<N extends Node> extends Opened<N> {
  /** The new file. */
  node: N;
}

/**
 * What a server does for its clients: one function for each request. attach,
 * walk and open are required; the others have the default that their text
 * names.
 *
 * A handler is asked only what the protocol allows: fids exist and are open in
 * the right mode, names are legal, directories are not written to. It answers
 * with a value or a promise, at any time and in any order; what it throws
 * becomes the error for that request only: a NinePError with its text, anything
 * else as `i/o error`. Requests that change a fid have it for themselves.
 *
 * @example One file, made up at each read
 * ```ts
 * import { connect, type Handler, type Node, pair, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const root: Node = { qid: { type: 0x80, vers: 0, path: 0n } };
 * const hello: Node = { qid: { type: 0, vers: 0, path: 1n } };
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
export interface Handler<N extends Node = Node> {
  /**
   * Bounds the msize of a session, in bytes. See `version(9P)`.
   *
   * Default: the option `msize`, which also bounds what this gives.
   */
  version?(msize: number, version: string): number;
  /**
   * Begins an authentication: the file whose reads and writes are the exchange.
   *
   * Default: `authentication not required`.
   */
  auth?(fid: Fid<N>, request: AuthRequest<N>): Awaitable<N>;
  /** Gives the root of a tree to a user, or throws. See `attach(9P)`. */
  attach(fid: Fid<N>, request: AttachRequest<N>): Awaitable<N>;
  /**
   * Looks up one name in a directory, `..` included (in the root, the root).
   * See `walk(9P)`.
   *
   * @returns The file, or undefined when there is none.
   */
  walk(
    node: N,
    name: string,
    request: RequestContext<N>,
  ): Awaitable<N | undefined>;
  /** Opens a file: checks permissions, truncates with OTRUNC. See `open(9P)`. */
  open(fid: Fid<N>, request: OpenRequest<N>): Awaitable<Opened<N> | void>;
  /**
   * Makes a file in the directory of the fid, which then stands for it, open.
   *
   * Default: `Operation not supported`.
   */
  create?(fid: Fid<N>, request: CreateRequest<N>): Awaitable<Created<N>>;
  /**
   * Reads at most `count` bytes of a file; none at its end. See `read(9P)`.
   *
   * The bytes are copied at once, so they may be a view of what the file holds.
   * Default: no bytes.
   */
  read?(fid: Fid<N>, request: ReadRequest<N>): Awaitable<Uint8Array>;
  /**
   * Lists a directory: the members that it has at this moment, without `.` and
   * `..`. Asked at offset 0; the library cuts the records into reads.
   *
   * Default: no members.
   */
  readdir?(
    fid: Fid<N>,
    request: RequestContext<N>,
  ): Awaitable<Iterable<DirMember>>;
  /**
   * Writes to a file. See `read(9P)`.
   *
   * @returns Bytes taken, all of them when it is undefined.
   *
   * Default: `Operation not supported`.
   */
  write?(fid: Fid<N>, request: WriteRequest<N>): Awaitable<number | void>;
  /**
   * Releases a fid: called exactly once for each fid that got a node, whether
   * the client clunked or removed it, began a new session or went away.
   *
   * What it throws answers a Tclunk; the fid is gone all the same. A read or
   * call that was flushed, and took no notice of its signal, may still be going on.
   */
  clunk?(fid: Fid<N>): Awaitable<void>;
  /**
   * Removes the file of a fid: for Tremove, and for ORCLOSE before the clunk.
   *
   * Default: `Operation not supported`.
   */
  remove?(fid: Fid<N>): Awaitable<void>;
  /**
   * Tells the attributes of a file. See `stat(9P)`.
   *
   * Default: `Operation not supported`.
   */
  stat?(fid: Fid<N>, request: RequestContext<N>): Awaitable<StatRecord>;
  /**
   * Changes attributes, all or none; a read of the fid may be under way. See
   * `stat(9P)`.
   *
   * Default: success when nothing is to change, else `wstat prohibited`.
   */
  wstat?(fid: Fid<N>, request: WstatRequest<N>): Awaitable<void>;
  /**
   * Calls a function file.
   *
   * @returns The value's bytes, or undefined for a file that is no function.
   *
   * Default: no file is a function.
   */
  call?(
    fid: Fid<N>,
    request: CallRequest<N>,
  ): Awaitable<Uint8Array | undefined>;
  /** Told of each request that is flushed, after its signal was aborted. See `flush(9P)`. */
  flush?(request: RequestContext<N>): void;
  /** Told when a connection has ended and all its fids are released. */
  disconnect?(peer: string): Awaitable<void>;
}

/** Something that has a handler, such as a MemoryFs: it can be served as it is. */
export interface Tree<N extends Node = Node> {
  /** What a server asks. */
  readonly handler: Handler<N>;
}

/** How a request of a session is answered: exactly once, with one of the two. */
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
   * @param error NinePError for the client to see; anything else becomes `i/o error`.
   * @throws {TypeError} The request was answered before.
   */
  error(error: unknown): void;
}

/** A Twalk: all of its names. See `walk(9P)`. */
export interface WalkRequest<N extends Node> extends RequestContext<N> {
  /** Names to walk; the fid's node is where they start. */
  readonly wname: readonly string[];
  /** Fid for the file reached; may be the fid itself. */
  readonly newfid: Fid<N>;
}

/** A request that a session gives, told apart by `type`; only what the protocol allows. */
export type SessionRequest<N extends Node = Node> =
  | AuthRequest<N> & Answerable<"Tauth", Found<N>>
  | AttachRequest<N> & Answerable<"Tattach", Found<N>>
  | WalkRequest<N> & Answerable<"Twalk", Walked<N>>
  | OpenRequest<N> & Answerable<"Topen", Opened<N> | void>
  | CreateRequest<N> & Answerable<"Tcreate", Created<N>>
  | ReadRequest<N> & Answerable<"Tread", ReadAnswer>
  | WriteRequest<N> & Answerable<"Twrite", WriteAnswer>
  | RequestContext<N> & Answerable<"Tclunk", void>
  | RequestContext<N> & Answerable<"Tremove", void>
  | RequestContext<N> & Answerable<"Tstat", StatAnswer>
  | WstatRequest<N> & Answerable<"Twstat", void>
  | CallRequest<N> & Answerable<"Tcall", CallAnswer>;
