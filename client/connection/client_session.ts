// The fids of a session. Also after a failure or an abort, the session knows
// for which fid numbers the server has a fid.

import {
  dontTouch,
  IOHDRSZ,
  MAXWELEM,
  NinePError,
  NOFID,
  ORDWR,
  ProtocolError,
  type Qid,
  type Rcreate,
  type ReplyTo,
  type Ropen,
  type Stat,
  type Tattach,
  type Tauth,
  type Tmessage,
  type Topen,
  type Twalk,
} from "../../codec.ts";
import { utf8Length } from "../../codec/wire.ts";
import type { Connection } from "../../transport.ts";
import type { Environment } from "./environment.ts";
import type { AbortedRequest, RequestSender } from "./mux.ts";
import { isIncomplete } from "./message_table.ts";
import { FidPool } from "./numbers.ts";
import type { PeerTraits } from "./peer.ts";
import type { ProgressMonitor } from "../transfer/stall.ts";
import { Appends } from "./appends.ts";

/**
 * Default for the most bytes that a transfer has in flight. More bytes do not
 * make a transfer faster, see bench/README.md.
 */
export const WINDOW: number = 1024 * 1024;

/**
 * Most numbers that the client tries for a new fid. A server may have fids that
 * the client does not know.
 */
const FID_ATTEMPTS = 8;
/**
 * Error texts with which servers say that the number of a new fid is in use.
 */
const IN_USE = /\bfid\b.*\b(in use|exists)\b|\bduplicate fid\b/i;

/** An open fid. */
export interface OpenFid {
  readonly session: ClientSession;
  readonly fid: number;
  /** Mode of the Topen. */
  readonly mode: number;
  readonly qid: Qid;
  iounit: number;
  /** Largest transfer in bytes; the msize of the session may change it. */
  readonly limit: number;
  /**
   * Watches the progress of the transfer, if the transfer has a `stall` limit.
   */
  monitor?: ProgressMonitor | undefined;
}

/** A request that makes a fid. */
export type NewFidRequest = Tattach | Tauth | Twalk;

/** A session with a server: its fids, and the requests that change them. */
export class ClientSession {
  /** Most milliseconds that an operation takes by default. */
  readonly timeout: number | undefined;
  /** Most bytes of file data that one transfer has in flight. */
  window: number = WINDOW;
  readonly #sender: RequestSender;
  /**
   * The numbers of fids. A number is free only if the server certainly has no
   * such fid.
   */
  readonly fids: FidPool;
  /**
   * True when the server has shown that it has Tcall, false when it has shown
   * that it has not; undefined before.
   */
  hasTcall: boolean | undefined;
  /**
   * True when the server has shown that it keeps the new fid of an incomplete
   * walk, contrary to walk(9P).
   */
  #keepsIncompleteFids = false;
  /**
   * Numbers of incomplete walks for which the session does not know whether the
   * server has a fid.
   */
  readonly #doubtful = new Set<number>();
  /** The order of appends to files. */
  readonly appends: Appends = new Appends();
  /** Clunks under way, so that a fid is clunked only once. */
  readonly #clunks = new Map<number, Promise<void>>();
  readonly #fidBase: number;
  /**
   * The error with which all requests reject after renew() has ended this
   * session; undefined before.
   */
  #endError: DOMException | undefined;
  /**
   * Callbacks to call at the end of the session, by their keys; undefined while
   * there was none.
   */
  #watchers: Map<unknown, (error: unknown) => void> | undefined;

  constructor(
    sender: RequestSender,
    timeout: number | undefined,
    fidBase: number,
  ) {
    this.#sender = sender;
    this.timeout = timeout;
    this.#fidBase = fidBase;
    this.fids = new FidPool(fidBase);
  }

  /** How the server differs from the manual. */
  get traits(): PeerTraits {
    return this.#sender.traits;
  }

  /** The state that all calls of the client share. */
  get environment(): Environment {
    return this.#sender.environment;
  }

  /** The connection. */
  get connection(): Connection {
    return this.#sender.connection;
  }

  /** Label of the server. */
  get peer(): string {
    return this.#sender.peer;
  }

  /** Version of the protocol: `9P2000`. */
  get version(): string {
    return this.#sender.dialect.version;
  }

  /** Largest message in bytes. */
  get msize(): number {
    return this.#sender.msize;
  }

  /** Largest transfer in bytes that msize allows. */
  get limit(): number {
    return this.msize - IOHDRSZ;
  }

  /**
   * The error with which all new requests reject, or undefined while requests
   * are possible.
   */
  get error(): unknown {
    const { error } = this.#sender;
    return error === undefined ? this.#endError : error;
  }

  /**
   * Calls a function once when the session has ended. Unlike a callback of the
   * promise `ended`, this callback can be removed before the session ends.
   *
   * @param key Key of the callback. A further callback with the same key
   *   replaces it.
   * @returns A function that removes the callback.
   */
  onEnd(key: unknown, callback: (error: unknown) => void): () => void {
    if (this.error !== undefined) {
      const late = new Map([[key, callback]]);
      queueMicrotask(() => late.get(key)?.(this.error));
      return () => void late.delete(key);
    }
    if (this.#watchers === undefined) {
      this.#watchers = new Map();
      this.ended.then(() => this.#callEndCallbacks());
    }
    const watchers = this.#watchers;
    watchers.set(key, callback);
    return () => {
      if (watchers.get(key) === callback) watchers.delete(key);
    };
  }

  #callEndCallbacks(): void {
    const watchers = this.#watchers;
    this.#watchers = undefined;
    for (const callback of watchers?.values() ?? []) callback(this.error);
  }

  /** Number of lost connections that were replaced. */
  get losses(): number {
    return this.#sender.losses;
  }

  /** Resolves when the connection has ended; never rejects. */
  get ended(): Promise<void> {
    return this.#sender.ended;
  }

  /**
   * Starts another session on the connection. This session ends: its requests
   * reject, both those under way and later ones.
   */
  async renew(msize: number): Promise<ClientSession> {
    const error = new DOMException(
      `The session with "${this.peer}" was started anew: requests are given up, fids are void`,
      "AbortError",
    );
    this.#endError = error;
    this.#callEndCallbacks();
    await this.#sender.version(msize, error);
    const next = new ClientSession(this.#sender, this.timeout, this.#fidBase);
    next.hasTcall = this.hasTcall;
    next.window = this.window;
    return next;
  }

  /** Ends the connection. All pending requests reject with `error`. */
  fail(error: unknown): void {
    this.#sender.fail(error);
  }

  /** Sends a request and returns its reply; see {@linkcode Mux.rpc}. */
  rpc<T extends Tmessage>(
    request: T,
    signal?: AbortSignal,
    tag?: number,
  ): Promise<ReplyTo<T>> {
    if (this.#endError) return Promise.reject(this.error);
    return this.#sender.rpc(request, signal, tag);
  }

  /** Reads into a buffer; see {@linkcode Mux.read}. */
  read(
    fid: number,
    offset: number,
    into: Uint8Array,
    signal?: AbortSignal,
  ): Promise<number> {
    if (this.#endError) return Promise.reject(this.error);
    return this.#sender.read(fid, offset, into, signal);
  }

  /** Sends one Twrite and returns the count of the reply. */
  async write(
    fid: number,
    offset: number,
    data: Uint8Array,
    signal?: AbortSignal,
  ): Promise<number> {
    const { count } = await this.rpc(
      { type: "Twrite", tag: 0, fid, offset: BigInt(offset), data },
      signal,
    );
    return count;
  }

  /** Cancels the request with a tag; see {@linkcode Mux.flush}. */
  flush(oldtag: number, reason: unknown): Promise<void> {
    if (this.#endError) return Promise.reject(this.error);
    return this.#sender.flush(oldtag, reason);
  }

  /** Cancels all requests for a fid; see {@linkcode Mux.flushFid}. */
  flushFid(fid: number, reason: () => unknown): void {
    if (!this.#endError) this.#sender.flushFid(fid, reason);
  }

  /** The aborted requests; see {@linkcode Mux.abortedRequests}. */
  abortedRequests(): readonly AbortedRequest[] {
    return this.#sender.abortedRequests();
  }

  /**
   * Attaches to a tree and returns a new fid of its root. See `attach(9P)`.
   */
  async attach(
    uname: string,
    aname: string,
    afid: number = NOFID,
    signal?: AbortSignal,
  ): Promise<number> {
    const [fid] = await this.#makeFid(
      (fid) => ({ type: "Tattach", tag: 0, fid, afid, uname, aname }),
      signal,
    );
    return fid;
  }

  /** Makes a fid for the authentication of a user. See `attach(9P)`. */
  async auth(
    uname: string,
    aname: string,
    signal?: AbortSignal,
  ): Promise<OpenFid> {
    const [afid, { aqid: qid }] = await this.#makeFid(
      (afid) => ({ type: "Tauth", tag: 0, afid, uname, aname }),
      signal,
    );
    return this.#opened(afid, ORDWR, { qid, iounit: 0 });
  }

  /**
   * Walks to a file and returns a new fid of the file, with as many Twalks as
   * the path needs. See `walk(9P)`.
   *
   * @throws {NinePError} A name was not found; the message has the name.
   */
  async walk(
    from: number,
    names: readonly string[],
    signal?: AbortSignal,
    newfid?: number,
  ): Promise<number> {
    const wname = this.#step(names, 0);
    const [fid, { wqid }] = await this.#makeFid(
      twalkFrom(from, wname),
      signal,
      newfid,
    );
    if (wqid.length < wname.length) throw notFound(names[wqid.length]);
    if (wqid.length === names.length) return fid;
    try {
      await this.#walkOn(fid, names, wqid.length, signal);
    } catch (error) {
      this.drop(fid);
      throw error;
    }
    return fid;
  }

  /**
   * Walks to a new fid with one Twalk, which must take all names.
   *
   * @returns The fid, and the qids of the names.
   * @throws {NinePError} A name was not found; the message has the name.
   */
  async walkStep(
    from: number,
    wname: string[],
    signal?: AbortSignal,
  ): Promise<[fid: number, wqid: readonly Qid[]]> {
    const [fid, { wqid }] = await this.#makeFid(
      twalkFrom(from, wname),
      signal,
    );
    if (wqid.length < wname.length) throw notFound(wname[wqid.length]);
    return [fid, wqid];
  }

  /**
   * Moves a fid along the remaining names of a path, with as many Twalks as
   * needed.
   */
  async #walkOn(
    fid: number,
    names: readonly string[],
    walked: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    while (walked < names.length) {
      const wname = this.#step(names, walked);
      const { wqid } = await this.rpc(
        { type: "Twalk", tag: 0, fid, newfid: fid, wname },
        signal,
      );
      walked += wqid.length;
      if (wqid.length < wname.length) throw notFound(names[walked]);
    }
  }

  /** Tells whether one Twalk can carry all names. */
  isOneStep(names: readonly string[]): boolean {
    return this.#step(names, 0).length === names.length;
  }

  /**
   * Returns the next names for a Twalk: at most MAXWELEM names, and only as
   * many as fit into msize.
   */
  #step(names: readonly string[], start: number): string[] {
    let size = 17; // size[4] Twalk tag[2] fid[4] newfid[4] nwname[2]
    let end = start;
    while (end < names.length && end - start < MAXWELEM) {
      size += 2 + utf8Length(names[end] ?? "");
      if (size > this.msize && end > start) break;
      end++;
    }
    return names.slice(start, end);
  }

  /**
   * Sends a request that makes a fid, with a number that neither the client nor
   * the server uses. If the promise rejects or the Rwalk is incomplete, there
   * is no new fid. The number then becomes free. If the server may have a fid
   * of that number, the client clunks this fid first.
   *
   * @param own The only number to try; by default any free number.
   */
  async #makeFid<T extends NewFidRequest>(
    request: (fid: number) => T,
    signal: AbortSignal | undefined,
    own?: number,
  ): Promise<[fid: number, reply: ReplyTo<T>]> {
    let fid = own ?? this.fids.take();
    for (let attempt = 1;; attempt++) {
      const message = request(fid);
      const isDoubtful = this.#doubtful.has(fid);
      try {
        const reply = await this.rpc(message, signal);
        if (isIncomplete(message, reply)) this.#returnIncomplete(fid);
        else if (isDoubtful) this.#doubtful.delete(fid);
        return [fid, reply];
      } catch (error) {
        const isKept = this.#returnFailed(fid, error, isDoubtful);
        if (!isKept || own !== undefined || attempt === FID_ATTEMPTS) {
          throw error;
        }
        fid = this.fids.take(fid);
      }
    }
  }

  /**
   * Frees the number of an incomplete walk. If the server keeps such fids, the
   * client clunks the fid first.
   */
  #returnIncomplete(fid: number): void {
    if (this.#keepsIncompleteFids) return this.drop(fid);
    this.#doubtful.add(fid);
    this.fids.give(fid);
  }

  /**
   * Frees the number of a failed request. If the server may have a fid of that
   * number, the client clunks this fid first. Returns true when the server has
   * a fid of that number.
   */
  #returnFailed(fid: number, error: unknown, isDoubtful: boolean): boolean {
    const isKept = isInUse(error, isDoubtful);
    if (isKept || error instanceof ProtocolError) this.drop(fid);
    else this.fids.give(fid);
    if (isKept) this.#clearDoubtful();
    return isKept;
  }

  /**
   * Clunks the fids that the server may have for free numbers, after the server
   * has shown that it keeps the fids of incomplete walks.
   */
  #clearDoubtful(): void {
    this.#keepsIncompleteFids = true;
    for (const fid of this.#doubtful) {
      if (this.fids.has(fid)) continue;
      this.#doubtful.delete(fid);
      this.fids.claim(fid);
      this.drop(fid);
    }
  }

  /**
   * Sends a request that makes a fid with a number that the caller has
   * reserved. If the promise rejects, the session frees the number, and clunks
   * the fid first if the server may have it. An incomplete Rwalk makes no fid,
   * and the number stays reserved for the caller.
   *
   * @throws {RangeError} The number does not belong to the caller.
   */
  async makeOwnFid<T extends NewFidRequest>(
    request: T,
    fid: number,
    signal?: AbortSignal,
    tag?: number,
  ): Promise<ReplyTo<T>> {
    this.fids.use(fid);
    try {
      const reply = await this.rpc(request, signal, tag);
      if (isIncomplete(request, reply)) {
        if (this.#keepsIncompleteFids) await this.#clunkUnused(fid);
        this.fids.unuse(fid);
      }
      return reply;
    } catch (error) {
      this.#returnFailed(fid, error, false);
      throw error;
    }
  }

  /** Opens the file of a fid for reading or writing. See `open(9P)`. */
  async open(
    fid: number,
    mode: number,
    signal?: AbortSignal,
  ): Promise<OpenFid> {
    const request: Topen = { type: "Topen", tag: 0, fid, mode };
    return this.#opened(fid, mode, await this.rpc(request, signal));
  }

  /**
   * Makes a file in the directory of a fid. The fid then stands for the open
   * file. See `open(9P)`.
   */
  async create(
    fid: number,
    name: string,
    perm: number,
    mode: number,
    signal?: AbortSignal,
  ): Promise<OpenFid> {
    const reply = await this.rpc(
      { type: "Tcreate", tag: 0, fid, name, perm, mode },
      signal,
    );
    return this.#opened(fid, mode, reply);
  }

  #opened(
    fid: number,
    mode: number,
    reply: Pick<Ropen | Rcreate, "qid" | "iounit">,
  ): OpenFid {
    const { qid, iounit } = reply;
    return {
      session: this,
      fid,
      mode,
      qid,
      iounit,
      get limit(): number {
        return Math.min(this.iounit || Infinity, this.session.limit);
      },
    };
  }

  /** Gets a file's attributes. See `stat(9P)`. */
  stat(fid: number, signal?: AbortSignal): Promise<Stat> {
    return this.rpc({ type: "Tstat", tag: 0, fid }, signal)
      .then((reply) => reply.stat);
  }

  /** Changes a file's attributes. See `stat(9P)`. */
  async wstat(
    fid: number,
    changes: Partial<Stat>,
    signal?: AbortSignal,
  ): Promise<void> {
    const stat = dontTouch(changes);
    await this.rpc({ type: "Twstat", tag: 0, fid, stat }, signal);
  }

  /**
   * Removes a file. The call ends the fid, even if the server refuses to remove
   * the file. See `remove(9P)`.
   */
  async remove(fid: number, signal?: AbortSignal): Promise<void> {
    try {
      await this.rpc({ type: "Tremove", tag: 0, fid }, signal);
      this.fids.give(fid);
    } catch (error) {
      // An Rerror also ends the fid.
      if (error instanceof NinePError && error !== signal?.reason) {
        this.fids.give(fid);
      } else {
        this.drop(fid);
      }
      throw error;
    }
  }

  /**
   * Clunks a fid. Its number becomes free when the reply arrives, even if the
   * reply is an error. See `clunk(9P)`.
   */
  clunk(fid: number): Promise<void> {
    let clunk = this.#clunks.get(fid);
    if (!clunk) this.#clunks.set(fid, clunk = this.#clunk(fid));
    return clunk;
  }

  async #clunk(fid: number): Promise<void> {
    try {
      await this.rpc({ type: "Tclunk", tag: 0, fid });
    } finally {
      this.#clunks.delete(fid);
      this.fids.give(fid);
    }
  }

  /**
   * Clunks the fid that the server may have kept for a number. The number stays
   * taken.
   */
  async #clunkUnused(fid: number): Promise<void> {
    try {
      await this.rpc({ type: "Tclunk", tag: 0, fid });
    } catch {
      // The server has no such fid, or the connection has ended.
    }
  }

  /** Clunks a fid, and does not wait for the reply. */
  drop(fid: number): void {
    this.clunk(fid).catch(() => {});
  }

  /**
   * Cancels pending requests, clunks all fids, and ends the connection, within
   * `timeout` milliseconds.
   */
  async close(timeout: number): Promise<void> {
    const error = new ProtocolError(
      `Connection to "${this.peer}" is closed`,
    );
    // A server may delay the Rclunk until it has answered the other requests of
    // the fid, so these are flushed first.
    const isFree = this.#sender.cancelAll(error);
    const clunks = isFree ? this.fids.all().map((fid) => this.clunk(fid)) : [];
    this.#sender.seal(error);
    const { refs } = this.environment;
    const timer = refs.after(timeout, () => this.#sender.fail(error));
    await Promise.allSettled(clunks);
    refs.cancel(timer);
    this.#sender.fail(error);
    await this.#sender.ended;
  }
}

/** Returns a function that makes the Twalk from a fid to a new fid. */
function twalkFrom(from: number, wname: string[]): (newfid: number) => Twalk {
  return (newfid) => ({ type: "Twalk", tag: 0, fid: from, newfid, wname });
}

/**
 * Makes the error for an incomplete walk. The reply of such a walk gives no
 * reason, so the error has the usual text for a missing file.
 */
function notFound(name: string | undefined): NinePError {
  const ename = "file does not exist";
  return new NinePError(ename, { message: `${ename} at "${name}"` });
}

/**
 * Tells whether the server refuses a number because it has a fid of that
 * number.
 *
 * @param isDoubtful True for the number of an incomplete walk. For such a
 *   number, any error text counts unless the text is known to mean another
 *   error.
 */
function isInUse(error: unknown, isDoubtful: boolean): boolean {
  if (!(error instanceof NinePError)) return false;
  const { code, ename } = error;
  const isUnclear = code === undefined || code === "EBADF";
  return IN_USE.test(ename) || isDoubtful && isUnclear;
}
