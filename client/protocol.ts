// The messages and fids of 9P, for programs that use the protocol directly.

import type { ReplyTo, Tflush, Tmessage, Tversion } from "../codec.ts";
import { bytesOf } from "./transfer/chunks.ts";
import { withResource } from "./with_resource.ts";
import {
  awaited,
  bounded,
  type CallerOptions,
  checkRange,
  explained,
  labelOf,
  operate,
} from "./operation.ts";
import type { TreePaths } from "./trees/tree_paths.ts";
import type {
  ClientSession,
  NewFidRequest,
} from "./connection/client_session.ts";
import { newFidOf } from "./connection/message_table.ts";

/** Options of {@linkcode Protocol.rpc}. */
export interface RpcOptions extends CallerOptions {
  /** Tag of the request, 0 to 65534; the lowest that is free by default. */
  tag?: number | undefined;
}

/** Options of {@linkcode Protocol.walk}. */
export interface WalkOptions extends CallerOptions {
  /**
   * Fid to start from; by default the root or the current directory, as the
   * path says.
   */
  from?: number | undefined;
  /** Number for the new fid, from {@linkcode Protocol.allocFid} and not used yet; the lowest that is free by default. */
  newfid?: number | undefined;
}

/** Options of {@linkcode Protocol.read}. */
export interface ReadOptions extends CallerOptions {
  /** Byte to start at, 0 by default. */
  offset?: number | bigint | undefined;
  /** Most bytes to read; by default as many as fit into one message. */
  count?: number | undefined;
}

/** Options of {@linkcode Protocol.write}. */
export interface WriteOptions extends CallerOptions {
  /** Byte to start at, 0 by default. */
  offset?: number | bigint | undefined;
}

/** A request that can be sent with {@linkcode Protocol.rpc}; the client sets its tag. */
export type RpcRequest = Untagged<Exclude<Tmessage, Tversion | Tflush>>;

/** A message without its tag. */
export type Untagged<M extends Tmessage> = M extends unknown ? Omit<M, "tag">
  : never;

/** The reply to a {@linkcode RpcRequest}, for example Rwalk for Twalk. */
export type RpcReply<R extends RpcRequest> = ReplyTo<
  Extract<Tmessage, { type: R["type"] }>
>;

/**
 * Sends single 9P messages and manages fids on the tree of a {@linkcode
 * Client}. Each client has such an object as its member `protocol`.
 *
 * @example A walk of two elements
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
 * await using client = await connect(near);
 * const { protocol } = client;
 * const newfid = protocol.allocFid();
 * const reply = await protocol.rpc({
 *   type: "Twalk",
 *   fid: protocol.root,
 *   newfid,
 *   wname: ["lib", "motd"],
 * });
 * assertEquals(reply.wqid.length, 2);
 * await protocol.clunk(newfid);
 * ```
 */
export class Protocol {
  readonly #paths: () => TreePaths;

  /**
   * Made by a client.
   *
   * @ignore
   */
  constructor(paths: () => TreePaths) {
    this.#paths = paths;
  }

  get #session(): ClientSession {
    return this.#paths().session;
  }

  /** Fid of the root of the tree. */
  get root(): number {
    return this.#paths().root;
  }

  /**
   * Sends a request and returns its reply.
   *
   * The caller must take the number of each new fid from {@linkcode
   * Protocol.allocFid}. Each number is for one fid. When a request that makes a
   * fid (Tattach, Tauth, Twalk) rejects, the client frees the number; if the
   * request was aborted, the client clunks the fid of a late reply first. An
   * Rwalk with fewer qids than names makes no fid, and its number can be used
   * again. A caller that sends a Tclunk or Tremove with this method must then
   * free the number with {@linkcode Protocol.releaseFid}.
   *
   * @param request Message without its tag.
   * @param options Signal, tag.
   * @returns The reply. Its data belong to the caller.
   * @throws {RangeError} The request cannot be encoded, or is longer than
   *   msize; the tag is in use; or the number of a new fid is not from
   *   {@linkcode Protocol.allocFid}, or was used before.
   */
  rpc<R extends RpcRequest>(
    request: R,
    options: RpcOptions = {},
  ): Promise<RpcReply<R>> {
    const { tag } = options;
    // A RpcRequest with a tag is a Tmessage, and rpc() returns the reply of its
    // type.
    const message = { ...request, tag: 0 } as unknown as Tmessage;
    if (message.type === "Tversion" || message.type === "Tflush") {
      return Promise.reject(
        new TypeError(
          `Cannot send ${message.type}: it has a method of its own`,
        ),
      );
    }
    const session = this.#session;
    const fid = newFidOf(message);
    const { signal } = options;
    if (fid !== undefined && signal?.aborted) {
      return rejectUnsent(session, fid, signal);
    }
    const what = () => `send ${message.type} to "${session.peer}"`;
    const reply = fid === undefined
      ? bounded(
        session,
        what,
        options,
        (signal) => session.rpc(message, signal, tag),
      )
      : bounded(
        session,
        what,
        options,
        // newFidOf() has returned a fid, so the message is a request that makes
        // a fid.
        (signal) =>
          session.makeOwnFid(message as NewFidRequest, fid, signal, tag),
        () => session.drop(fid),
      );
    return reply as Promise<RpcReply<R>>;
  }

  /**
   * Cancels a request by a Tflush. See `flush(9P)`.
   *
   * This method is for requests whose `tag` the caller has chosen. For any
   * other request, the `signal` of the call does the same. The request rejects
   * with a DOMException named `AbortError`, unless its reply came first.
   *
   * @param oldtag Tag of the request, 0 to 65534. A tag that no request has is
   *   no error.
   * @param options Signal; an abort only ends the waiting.
   * @returns Resolves when the server has answered. Then the server does not
   *   work on the request any more.
   */
  flush(oldtag: number, options: CallerOptions = {}): Promise<void> {
    const session = this.#session;
    const message = `The request with tag ${oldtag} was flushed`;
    return awaited(
      session,
      () => `flush tag ${oldtag} of "${session.peer}"`,
      options,
      session.flush(oldtag, new DOMException(message, "AbortError")),
    );
  }

  /**
   * Reserves the lowest free number for a new fid. The caller then makes the
   * fid with {@linkcode Protocol.rpc} or {@linkcode Protocol.walk}.
   *
   * @returns The number.
   */
  allocFid(): number {
    return this.#session.fids.reserve();
  }

  /**
   * Frees the number of a fid without a Tclunk. The server must not have a fid
   * of this number.
   *
   * @param fid Number from {@linkcode Protocol.allocFid}.
   * @throws {RangeError} The number is that of the root, or is not taken.
   */
  releaseFid(fid: number): void {
    const { fids } = this.#session;
    if (!fids.has(fid) || fid === this.root) {
      throw new RangeError(
        `Cannot release ${labelOf(fid)}: it is not from allocFid()`,
      );
    }
    fids.give(fid);
  }

  /**
   * Walks to a file without opening it. See `walk(9P)`.
   *
   * @param path Path; an empty path gives another fid of the same file.
   * @param options Fid to start from, number of the new fid, signal.
   * @returns A new fid, which the caller must clunk with {@linkcode
   *   Protocol.clunk}. If the walk rejects, the client frees the number of the
   *   new fid, even if the caller gave it as `newfid`.
   * @throws {TypeError} `from` and `newfid` are the same.
   * @throws {RangeError} `newfid` is not from {@linkcode Protocol.allocFid}, or
   *   was used before. In this case the client does not free the number.
   */
  walk(
    path: string | readonly string[],
    options: WalkOptions = {},
  ): Promise<number> {
    const session = this.#session;
    const { from, newfid } = options;
    if (from !== undefined && from === newfid) {
      return Promise.reject(
        new TypeError(
          `Cannot walk to ${labelOf(path)}: from and newfid are both ${from}`,
        ),
      );
    }
    const { signal } = options;
    if (newfid !== undefined && signal?.aborted) {
      return rejectUnsent(session, newfid, signal);
    }
    return operate(
      session,
      "walk to",
      path,
      options,
      async (signal) => {
        if (newfid !== undefined) session.fids.use(newfid);
        return await this.#paths().walk(path, signal, { from, newfid });
      },
      (fid) => session.drop(fid),
    );
  }

  /**
   * Returns a fid of a path that the client keeps. The client walks to the path
   * once, and further calls return the same fid until the fid is clunked or the
   * client is closed. See `walk(9P)`.
   *
   * The next call walks again after {@linkcode Client.rename} or {@linkcode
   * Client.remove} was called for the path, or after the server has reported
   * that the file does not exist any more. The old fid stays valid until it is
   * clunked or the client is closed.
   *
   * @param path Path.
   * @param options Signal.
   * @returns The fid. The caller must not open this fid; {@linkcode
   *   Protocol.walk} returns fids that the caller may open.
   */
  fid(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<number> {
    return operate(
      this.#session,
      "walk to",
      path,
      options,
      (signal) => this.#paths().keep(path, signal),
    );
  }

  /**
   * Walks to a file, runs a function on its fid, and clunks the fid, also after
   * an error. See `walk(9P)`.
   *
   * An abort cancels the pending requests of the fid. The client clunks the fid
   * only after the function has ended, so that the number does not stand for
   * another file while the function runs.
   *
   * @param path Path.
   * @param use Function that works with the fid and does not clunk it.
   * @param options Signal and timeout for the whole call. By default only the
   *   single requests have a timeout.
   * @returns The result of the function.
   */
  withFid<T>(
    path: string | readonly string[],
    use: (fid: number) => T | Promise<T>,
    options: CallerOptions = {},
  ): Promise<T> {
    const session = this.#session;
    return withResource(path, options, {
      session,
      take: (bounds) => this.walk(path, bounds),
      interrupt: (fid, reason) => session.flushFid(fid, () => reason),
      giveBack: (fid) =>
        operate(session, "clunk", path, {}, () => session.clunk(fid)),
    }, use);
  }

  /**
   * Clunks a fid, so that the server forgets it. See `clunk(9P)`.
   *
   * @param fid Fid. The call ends the fid, even if the call rejects.
   * @param options Signal; an abort only ends the waiting.
   */
  clunk(fid: number, options: CallerOptions = {}): Promise<void> {
    const { session, cachedFids } = this.#paths();
    cachedFids.forget(fid);
    return awaited(
      session,
      () => `clunk ${labelOf(fid)}`,
      options,
      explained("clunk", fid, () => session.clunk(fid)),
    );
  }

  /**
   * Reads from an open fid with one request. See `read(9P)`.
   *
   * @param fid Fid that is open for reading.
   * @param options Offset, count, signal.
   * @returns The bytes; none at the end of the file.
   * @throws {RangeError} The offset is not in 0 to 2^53 - 1, or 2^64 - 1 as a
   *   bigint.
   */
  read(fid: number, options: ReadOptions = {}): Promise<Uint8Array> {
    const most = this.#session.limit;
    const { offset = 0, count = most } = options;
    return explained("read", fid, async () => {
      const { data } = await this.rpc({
        type: "Tread",
        fid,
        offset: wireOffset("read", fid, offset),
        count: Math.min(count, most),
      }, options);
      return data;
    });
  }

  /**
   * Writes to an open fid with one request. See `read(9P)`.
   *
   * @param fid Fid that is open for writing.
   * @param data Bytes, or a text that is sent as UTF-8. Data longer than one
   *   message are cut.
   * @param options Offset, signal.
   * @returns Number of bytes that the server took.
   * @throws {RangeError} The offset is out of its range, as for
   *   {@linkcode Protocol.read}.
   */
  write(
    fid: number,
    data: Uint8Array | string,
    options: WriteOptions = {},
  ): Promise<number> {
    const session = this.#session;
    const { offset = 0 } = options;
    return explained("write", fid, async () => {
      const { count } = await this.rpc({
        type: "Twrite",
        fid,
        offset: wireOffset("write", fid, offset),
        data: bytesOf(data).subarray(0, session.limit),
      }, options);
      return count;
    });
  }
}

/**
 * Returns a rejected promise for a request that was aborted before it was sent,
 * and frees the number of its new fid.
 *
 * @throws {RangeError} The number is not the caller's.
 */
async function rejectUnsent(
  { fids }: ClientSession,
  fid: number,
  signal: AbortSignal,
): Promise<never> {
  fids.use(fid);
  fids.give(fid);
  return await Promise.reject(signal.reason);
}

/** Returns an offset as it is sent. The codec checks the range of a bigint. */
function wireOffset(
  verb: string,
  fid: number,
  offset: number | bigint,
): bigint {
  if (typeof offset !== "bigint") {
    const what = `${verb} ${labelOf(fid)}`;
    checkRange(what, "offset", offset, 0, Number.MAX_SAFE_INTEGER);
  }
  return BigInt(offset);
}
