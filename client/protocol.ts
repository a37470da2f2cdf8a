// The fids and messages of the protocol, for programs that work with them.

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
  /** Most bytes to read; as many as a message takes by default. */
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

/** The reply to a {@linkcode RpcRequest}: Rwalk to Twalk. */
export type RpcReply<R extends RpcRequest> = ReplyTo<
  Extract<Tmessage, { type: R["type"] }>
>;

/**
 * The fids and messages of the protocol on the tree of a {@linkcode Client}: its
 * member `protocol`.
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
   * Sends a request and gives its reply.
   *
   * The numbers of new fids come from {@linkcode Protocol.allocFid}, each for
   * one fid. When a request that makes a fid (Tattach, Tauth, Twalk) rejects,
   * the client gives its number back; if the request was aborted, the client
   * clunks the fid of a late reply first. An Rwalk with fewer qids than names
   * makes no fid, and its number can be used again. After a Tclunk or Tremove
   * of its own, the caller gives the number back with
   * {@linkcode Protocol.releaseFid}.
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
      return giveUp(session, fid, signal);
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
        // A message with a new fid is a request that makes one.
        (signal) =>
          session.makeOwnFid(message as NewFidRequest, fid, signal, tag),
        () => session.drop(fid),
      );
    return reply as Promise<RpcReply<R>>;
  }

  /**
   * Has the server give up a request. See `flush(9P)`.
   *
   * This is for requests that were sent with a tag of their own; the `signal` of
   * any call does the same. The request rejects with a DOMException named
   * `AbortError`, unless its reply came first.
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
   * Takes the lowest free number for a fid, which {@linkcode Protocol.rpc} or
   * {@linkcode Protocol.walk} then makes.
   *
   * @returns The number.
   */
  allocFid(): number {
    return this.#session.fids.reserve();
  }

  /**
   * Gives a number back without a Tclunk, when the server does not have the fid.
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
   * @returns A new fid, which the caller gives back with
   *   {@linkcode Protocol.clunk}. When the walk rejects, the client gives the
   *   number back, also that of `newfid`.
   * @throws {TypeError} `from` and `newfid` are the same.
   * @throws {RangeError} `newfid` is not from {@linkcode Protocol.allocFid}, or
   *   was used before; then the client does not give it back.
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
      return giveUp(session, newfid, signal);
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
   * Gives the fid of a path. The client walks to the path once, and gives the
   * same fid to further calls, until the fid is clunked or the client is closed.
   * See `walk(9P)`.
   *
   * The next call walks again when {@linkcode Client.rename} or
   * {@linkcode Client.remove} has taken the path away, or the server says that
   * the file does not exist any more. The fid from before stays until it is
   * clunked or the client is closed.
   *
   * @param path Path.
   * @param options Signal.
   * @returns The fid. It must not be opened; {@linkcode Protocol.walk} gives
   *   fids for that.
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
   * An abort ends the requests that are under way with the fid. The fid is
   * clunked when the function has ended, so that no other file gets its number
   * before.
   *
   * @param path Path.
   * @param use Function that works with the fid and does not clunk it.
   * @param options Signal and timeout for the whole call. By default there is
   *   no timeout but those of the requests.
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
   * Gives a fid back. See `clunk(9P)`.
   *
   * @param fid Fid; it is gone afterwards, also after an error.
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
 * Rejects for a request that was aborted before it was sent, and gives the
 * number of its new fid back.
 *
 * @throws {RangeError} The number is not the caller's.
 */
async function giveUp(
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
