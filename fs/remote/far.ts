// The far end of a remote tree: requests by fid, whose errors are those that a
// near client gets.

import {
  hasBrand,
  MALFORMED_REPLY,
  UNSENDABLE,
} from "../../client/error_brand.ts";
import type { Client, RpcReply, RpcRequest } from "../../client.ts";
import {
  dontTouch,
  FunctionError,
  IOHDRSZ,
  NinePError,
  Plan9Exit,
  ProtocolError,
  type Qid,
  type Stat,
} from "../../codec.ts";

/** A fid of the far server that stands for a file. */
export interface FarFid {
  /** Its number. */
  readonly fid: number;
  /** Identity of the file; undefined when the walk had no names. */
  readonly qid: Qid | undefined;
}

/** A fid of the far server that is open. */
export interface FarOpen {
  /** Its number. */
  readonly fid: number;
  /** Identity of the file. */
  readonly qid: Qid;
  /** Most bytes of one read or write. */
  readonly iounit: number;
}

/** One tree of the far server, in the session that was there at the attach. */
export class Far {
  readonly #tree: Client;
  readonly #closeTimeout: number;

  /**
   * @param tree The tree, bound to its session; see `Client.pinned()`.
   * @param closeTimeout Most milliseconds to wait for an Rclunk.
   */
  constructor(tree: Client, closeTimeout: number) {
    this.#tree = tree;
    this.#closeTimeout = closeTimeout;
  }

  /** Most bytes of one read or write. */
  get limit(): number {
    return this.#tree.msize - IOHDRSZ;
  }

  /**
   * Sends a request and returns its reply.
   *
   * @throws {NinePError} The far server refused, or is gone.
   */
  async request<R extends RpcRequest>(
    request: R,
    signal: AbortSignal | undefined,
  ): Promise<RpcReply<R>> {
    try {
      return await this.#tree.protocol.rpc(request, { signal });
    } catch (error) {
      throw nearError(error, signal);
    }
  }

  /** Makes a fid of the directory at a path from the root of the tree. */
  async top(
    path: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<FarOpen> {
    let fid: number;
    try {
      fid = await this.#tree.protocol.walk(`/${path.join("/")}`, { signal });
    } catch (error) {
      throw nearError(error, signal);
    }
    try {
      // An Rwalk without names does not tell the qid.
      const { qid } = await this.stat(fid, signal);
      return { fid, qid, iounit: 0 };
    } catch (error) {
      this.drop(fid);
      throw error;
    }
  }

  /**
   * Walks to a new fid.
   *
   * @returns The fid; undefined when a name is missing.
   */
  async walk(
    from: number,
    wname: string[],
    signal: AbortSignal | undefined,
  ): Promise<FarFid | undefined> {
    const newfid = this.#number();
    const request = { type: "Twalk", fid: from, newfid, wname } as const;
    const { wqid } = await this.request(request, signal);
    if (wqid.length === wname.length) return { fid: newfid, qid: wqid.at(-1) };
    this.#tree.protocol.releaseFid(newfid); // An incomplete walk makes no fid.
    return undefined;
  }

  #number(): number {
    try {
      return this.#tree.protocol.allocFid();
    } catch (cause) {
      throw new NinePError("Too many open files", { cause });
    }
  }

  /** Opens a fid. */
  async open(
    fid: number,
    mode: number,
    signal: AbortSignal | undefined,
  ): Promise<FarOpen> {
    const reply = await this.request({ type: "Topen", fid, mode }, signal);
    return this.#opened(fid, reply);
  }

  /** Opens a fid. If that fails, the fid is clunked. */
  async openOrDrop(
    fid: number,
    mode: number,
    signal: AbortSignal | undefined,
  ): Promise<FarOpen> {
    try {
      return await this.open(fid, mode, signal);
    } catch (error) {
      this.drop(fid);
      throw error;
    }
  }

  /** Makes a file in the directory of a fid. If that fails, the fid is clunked. */
  async create(
    fid: number,
    { name, perm, mode }: {
      readonly name: string;
      readonly perm: number;
      readonly mode: number;
    },
    signal: AbortSignal | undefined,
  ): Promise<FarOpen> {
    const request = { type: "Tcreate", fid, name, perm, mode } as const;
    try {
      return this.#opened(fid, await this.request(request, signal));
    } catch (error) {
      this.drop(fid);
      throw error;
    }
  }

  #opened(
    fid: number,
    { qid, iounit }: { readonly qid: Qid; readonly iounit: number },
  ): FarOpen {
    return { fid, qid, iounit: Math.min(iounit || Infinity, this.limit) };
  }

  /** Tells the attributes of a fid's file. */
  async stat(fid: number, signal: AbortSignal | undefined): Promise<Stat> {
    return (await this.request({ type: "Tstat", fid }, signal)).stat;
  }

  /** Changes attributes, all of them or none. */
  async wstat(
    fid: number,
    changes: Partial<Stat>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const stat = dontTouch(changes);
    await this.request({ type: "Twstat", fid, stat }, signal);
  }

  /** Removes a file. Its fid is gone, also after an error. */
  async remove(fid: number, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#tree.remove(fid, { signal });
    } catch (error) {
      throw nearError(error, signal);
    }
  }

  /** Gives a fid back. The wait is bounded, because no request of a client can abort it. */
  async clunk(fid: number): Promise<void> {
    try {
      await this.#tree.protocol.clunk(fid, { timeout: this.#closeTimeout });
    } catch (error) {
      throw nearError(error, undefined);
    }
  }

  /** Gives a fid back, and does not wait for the answer. */
  drop(fid: number): void {
    this.#tree.protocol.clunk(fid).catch(() => {});
  }

  /**
   * Reads no bytes behind the start of a file, and clunks the fid. A server of
   * function files then knows that the fid reads its own value, so the server
   * does not let other users read it.
   */
  conceal(fid: number): void {
    const request = { type: "Tread", fid, offset: 1n, count: 0 } as const;
    this.#tree.protocol.rpc(request, { timeout: this.#closeTimeout })
      .catch(() => {})
      .finally(() => this.drop(fid));
  }
}

/** Makes the error for a file that cannot be found again. */
export function staleError(cause?: unknown): NinePError {
  return new NinePError("Stale file handle", { code: "ESTALE", cause });
}

/** Tells whether a fid is lost, and its last request was not sent. */
export function isLost(error: unknown): boolean {
  return error instanceof NinePError && error.code === "ESTALE" &&
    error.request === undefined;
}

/** Makes the error for a far server that breaks the protocol. */
export function botch(cause?: unknown): NinePError {
  return new NinePError("protocol botch", { cause });
}

/**
 * Returns the error for the near client. An error of the far server stays as it
 * is.
 */
export function nearError(
  error: unknown,
  signal: AbortSignal | undefined,
): unknown {
  if (signal?.aborted && error === signal.reason) return error;
  if (error instanceof Plan9Exit) {
    // The far connection ends with it; that of the near client does not.
    const { argv, str, ename } = error;
    return new FunctionError({ class: error.class, argv, str }, {
      ename,
      cause: error,
    });
  }
  if (error instanceof NinePError) return error;
  if (error instanceof ProtocolError) {
    // One reply was wrong, or the connection has ended.
    if (hasBrand(error, MALFORMED_REPLY)) return botch(error);
    return new NinePError("Connection reset by peer", {
      code: "ECONNRESET",
      cause: error,
    });
  }
  if (error instanceof DOMException) {
    if (error.name === "TimeoutError") {
      return new NinePError("Connection timed out", { cause: error });
    }
    // The session was started anew, or the tree was closed.
    if (error.name === "AbortError") return staleError(error);
  }
  if (error instanceof RangeError && hasBrand(error, UNSENDABLE)) {
    return new NinePError("i/o count too large", { cause: error });
  }
  return error;
}
