// The requests of the protocol, for those who work with fids.

import type { ReplyTo, Tflush, Tmessage, Tversion } from "../codec.ts";
import type { Connection } from "../transport.ts";
import { bytesOf } from "./transfer/chunks.ts";
import { lend } from "./with_resource.ts";
import {
  awaited,
  bounded,
  type CallerOptions,
  checkRange,
  explained,
  labelOf,
  operate,
} from "./operation.ts";
import type { Paths } from "./trees/tree_paths.ts";
import {
  type Bearing,
  newFidOf,
  type Session,
} from "./connection/client_session.ts";

/** Options of {@linkcode Requests.rpc}. */
export interface RpcOptions extends CallerOptions {
  /** Tag of the request, 0 to 65534; the lowest that is free by default. */
  tag?: number | undefined;
}

/** Options of {@linkcode Requests.walk}. */
export interface WalkOptions extends CallerOptions {
  /** Fid to start from; by default the path says where. */
  from?: number | undefined;
  /** Number for the new fid, from {@linkcode Requests.allocFid} and not used yet; the lowest that is free by default. */
  newfid?: number | undefined;
}

/** Options of {@linkcode Requests.read}. */
export interface ReadOptions extends CallerOptions {
  /** Byte to start at, 0 by default. */
  offset?: number | bigint | undefined;
  /** Most bytes to read; as many as a message takes by default. */
  count?: number | undefined;
}

/** Options of {@linkcode Requests.write}. */
export interface WriteOptions extends CallerOptions {
  /** Byte to start at, 0 by default. */
  offset?: number | bigint | undefined;
}

/** A request that can be sent with {@linkcode Requests.rpc}; the client sets its tag. */
export type RpcRequest = Untagged<Exclude<Tmessage, Tversion | Tflush>>;

/** A message without its tag. */
export type Untagged<M extends Tmessage> = M extends unknown ? Omit<M, "tag">
  : never;

/** The reply to a {@linkcode RpcRequest}: Rwalk to Twalk. */
export type RpcReply<R extends RpcRequest> = ReplyTo<
  Extract<Tmessage, { type: R["type"] }>
>;

/**
 * The requests of the protocol on one tree of a server: what
 * {@linkcode RemoteTree} and {@linkcode Client} have for those who work with
 * fids.
 */
export class Requests {
  /** @ignore Another one after `Client.version()`. */
  protected paths: Paths;

  /** @ignore Made by `connect()` and `Client.attach()`. */
  constructor(paths: Paths) {
    this.paths = paths;
  }

  /** @ignore */
  protected get session(): Session {
    return this.paths.session;
  }

  /**
   * The connection to the server, as it was dialled or given to `connect()`:
   * the streams that the client reads from (`readable`) and writes to
   * (`writable`; `connection-inport` and `connection-outport` of the Scheme
   * egg), its label and its `close()`. While the client lives, the
   * bytes are its own; closing the connection ends the client.
   *
   * @example
   * ```ts
   * import { assertStrictEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs());
   * await using client = await connect(near);
   * assertStrictEquals(client.connection.readable, near.readable);
   * assertStrictEquals(client.connection.writable, near.writable);
   * ```
   */
  get connection(): Connection {
    return this.session.connection;
  }

  /** Label of the server: `tcp://127.0.0.1:564`. */
  get peer(): string {
    return this.session.peer;
  }

  /** Largest message of the session, in bytes (`connection-message-size` of the Scheme egg); {@linkcode Client.version} changes it. */
  get msize(): number {
    return this.session.msize;
  }

  /** Fid of the root of the tree. */
  get root(): number {
    return this.paths.root;
  }

  /**
   * Sends any request and gives its reply (`request` of the Scheme egg).
   *
   * Numbers for new fids come from {@linkcode Requests.allocFid}, each for one
   * fid. When a request that makes a fid (Tattach, Tauth, Twalk) rejects, its
   * number is given back by the client, after a late reply to an aborted one
   * was clunked. An Rwalk with fewer qids than names has made none: the number
   * can be used again.
   * After a Tclunk or Tremove of one's own it is given back with
   * {@linkcode Requests.releaseFid}.
   *
   * @param request Message without its tag.
   * @param options Signal, tag.
   * @returns The reply; its data are the caller's.
   * @throws {RangeError} The request cannot be encoded, or not in msize bytes,
   *   or the tag is in use, or the number for a new fid is not from
   *   {@linkcode Requests.allocFid} or is that of a fid already.
   *
   * @example A walk of two elements
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
   * await using client = await connect(near);
   * const newfid = client.allocFid();
   * const reply = await client.rpc({
   *   type: "Twalk",
   *   fid: client.root,
   *   newfid,
   *   wname: ["lib", "motd"],
   * });
   * assertEquals(reply.wqid.length, 2);
   * await client.clunk(newfid);
   * ```
   */
  rpc<R extends RpcRequest>(
    request: R,
    options: RpcOptions = {},
  ): Promise<RpcReply<R>> {
    const { tag } = options;
    // A RpcRequest with a tag is a Tmessage; rpc() gives what belongs to its type.
    const message = { ...request, tag: 0 } as unknown as Tmessage;
    if (message.type === "Tversion" || message.type === "Tflush") {
      return Promise.reject(
        new TypeError(
          `Cannot send ${message.type}: it has a method of its own`,
        ),
      );
    }
    const { session } = this;
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
        // It makes a fid.
        (signal) => session.bearOwn(message as Bearing, fid, signal, tag),
        () => session.drop(fid),
      );
    return reply as Promise<RpcReply<R>>;
  }

  /**
   * Asks the server to give a request up. See `flush(9P)`.
   *
   * This is for requests that were sent with a tag of one's own; the `signal`
   * of any call does the same. The request rejects with a DOMException named
   * `AbortError`, unless its reply came first.
   *
   * @param oldtag Tag of the request, 0 to 65534; that no request has it is no error.
   * @param options Signal; an abort only ends the waiting.
   * @returns Resolves when the server has answered: then the request is done, or never will be.
   *
   * @example
   * ```ts
   * import { assertRejects } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const fs = new MemoryFs();
   * fs.define("events", { read: () => new Promise(() => {}) });
   * const [near, far] = pair();
   * void serve(far, fs);
   * await using client = await connect(near);
   * await using file = await client.open("events");
   * const read = client.rpc(
   *   { type: "Tread", fid: file.fid, offset: 0n, count: 100 },
   *   { tag: 7 },
   * );
   * const refused = assertRejects(() => read, DOMException, "flushed");
   * await client.flush(7);
   * await refused;
   * ```
   */
  flush(oldtag: number, options: CallerOptions = {}): Promise<void> {
    const { session } = this;
    const message = `The request with tag ${oldtag} was flushed`;
    return awaited(
      session,
      () => `flush tag ${oldtag} of "${session.peer}"`,
      options,
      session.flush(oldtag, new DOMException(message, "AbortError")),
    );
  }

  /**
   * Takes the lowest free number for a fid (`alloc-handle` of the Scheme egg),
   * to be made once with {@linkcode Requests.rpc} or {@linkcode Requests.walk}.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * const newfid = client.allocFid();
   * assertEquals(await client.walk("motd", { newfid }), newfid);
   * await client.clunk(newfid);
   * ```
   */
  allocFid(): number {
    return this.session.fids.reserve();
  }

  /**
   * Gives a number back without a Tclunk, when the server does not have it
   * (`release-handle` of the Scheme egg).
   *
   * @param fid Number from {@linkcode Requests.allocFid}.
   * @throws {RangeError} It is the root, or not taken.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs());
   * await using client = await connect(near);
   * const fid = client.allocFid();
   * client.releaseFid(fid);
   * assertEquals(client.allocFid(), fid);
   * ```
   */
  releaseFid(fid: number): void {
    const { fids } = this.session;
    if (!fids.has(fid) || fid === this.paths.root) {
      throw new RangeError(
        `Cannot release ${labelOf(fid)}: it is not from allocFid()`,
      );
    }
    fids.give(fid);
  }

  /**
   * Walks to a file without opening it (`path-walk` of the Scheme egg). See
   * `walk(9P)`.
   *
   * @param path Path; an empty one gives another fid of the same file.
   * @param options Fid to start from, number of the new one, signal.
   * @returns A new fid, to be given back with {@linkcode Requests.clunk}.
   *   When this rejects, its number is given back, also that of `newfid`.
   * @throws {TypeError} The new fid is the one to start from.
   * @throws {RangeError} `newfid` is not from {@linkcode Requests.allocFid}, or
   *   is that of a fid already; then it is not given back.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
   * await using client = await connect(near);
   * const lib = await client.walk("lib");
   * const motd = await client.walk("motd", { from: lib });
   * assertEquals((await client.stat(motd)).name, "motd");
   * await Promise.all([client.clunk(lib), client.clunk(motd)]);
   * ```
   */
  walk(
    path: string | readonly string[],
    options: WalkOptions = {},
  ): Promise<number> {
    const { session } = this;
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
        return await this.paths.walk(path, signal, { from, newfid });
      },
      (fid) => session.drop(fid),
    );
  }

  /**
   * Gives the fid of a path: walked to once, and kept for further calls until
   * it is clunked or the tree is closed. See `walk(9P)`.
   *
   * When {@linkcode Attributes.rename} or {@linkcode RemoteTree.remove} takes
   * the path away, or the server says that there is no such file any more, the
   * next call walks again; the fid before it stays until it is clunked or the
   * tree is closed.
   *
   * @param path Path.
   * @param options Signal.
   * @returns The fid; what is opened must be another one, from {@linkcode Requests.walk}.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
   * await using client = await connect(near);
   * const fid = await client.fid("lib/motd");
   * assertEquals((await client.stat(fid)).length, 6);
   * assertEquals(await client.fid("/lib/motd"), fid);
   * ```
   */
  fid(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<number> {
    return operate(
      this.session,
      "walk to",
      path,
      options,
      (signal) => this.paths.keep(path, signal),
    );
  }

  /**
   * Runs a function on a fid that lives as long as it; clunked also after an
   * error (`with-handle-to` of the Scheme egg). See `walk(9P)`.
   *
   * An abort ends the requests that are under way with the fid. It is clunked
   * when the function has ended, so that no other file has its number before.
   *
   * @param path Path.
   * @param use What is done with the fid, but for giving it back.
   * @param options Signal and timeout, which hold for all of it; there is no
   *   timeout by default, but those of the calls.
   * @returns What the function gave.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * const { length } = await client.withFid("motd", (fid) => client.stat(fid));
   * assertEquals(length, 6);
   * ```
   */
  withFid<T>(
    path: string | readonly string[],
    use: (fid: number) => T | Promise<T>,
    options: CallerOptions = {},
  ): Promise<T> {
    const { session } = this;
    return lend(path, options, {
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
   * @param fid Fid; gone afterwards, also after an error.
   * @param options Signal; an abort only ends the waiting.
   *
   * @example
   * ```ts
   * import { assertRejects } from "@std/assert";
   * import { connect, MemoryFs, NinePError, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * const fid = await client.walk("motd");
   * await client.clunk(fid);
   * await assertRejects(() => client.stat(fid), NinePError, "fid unknown");
   * ```
   */
  clunk(fid: number, options: CallerOptions = {}): Promise<void> {
    const { session } = this;
    this.paths.kept.forget(fid);
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
   * @returns The bytes; none at the end.
   * @throws {RangeError} The offset is not in 0 to 2^53 - 1, or 2^64 - 1 as a
   *   bigint.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * await client.withFid("motd", async (fid) => {
   *   await client.rpc({ type: "Topen", fid, mode: 0 });
   *   const bytes = await client.read(fid, { offset: 1, count: 3 });
   *   assertEquals(new TextDecoder().decode(bytes), "ell");
   * });
   * ```
   */
  read(fid: number, options: ReadOptions = {}): Promise<Uint8Array> {
    const most = this.session.limit;
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
   * @param data Bytes, or a text to be sent as UTF-8; what a message does not
   *   take is left out.
   * @param options Offset, signal.
   * @returns Number of bytes that the server took.
   * @throws {RangeError} The offset is out of its range, as for
   *   {@linkcode Requests.read}.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }, { uid: "none" }));
   * await using client = await connect(near);
   * await client.withFid("motd", async (fid) => {
   *   await client.rpc({ type: "Topen", fid, mode: 1 });
   *   assertEquals(await client.write(fid, "j", { offset: 0 }), 1);
   * });
   * assertEquals(await client.readTextFile("motd"), "jello\n");
   * ```
   */
  write(
    fid: number,
    data: Uint8Array | string,
    options: WriteOptions = {},
  ): Promise<number> {
    const { offset = 0 } = options;
    return explained("write", fid, async () => {
      const { count } = await this.rpc({
        type: "Twrite",
        fid,
        offset: wireOffset("write", fid, offset),
        data: bytesOf(data).subarray(0, this.session.limit),
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
  { fids }: Session,
  fid: number,
  signal: AbortSignal,
): Promise<never> {
  fids.use(fid);
  fids.give(fid);
  return await Promise.reject(signal.reason);
}

/** An offset as it is sent; that a bigint is in its range, the codec checks. */
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
