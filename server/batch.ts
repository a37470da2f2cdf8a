// batchHandler(): a whole session in one call, for functions at the edge that
// keep no connection.

import { ProtocolError } from "../codec.ts";
import { NO_BYTES } from "../codec/wire.ts";
import type { Connection, Streams } from "../transport.ts";
import { streamsOf } from "../transport/streams.ts";
import { type ConnectionsOptions, ServedConnections } from "./connections.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";

/** Options of {@linkcode batchHandler}. */
export interface BatchOptions extends ConnectionsOptions {
  /**
   * Most bytes of the replies of one batch, 64 MiB by default. A batch with more
   * is refused.
   */
  maxReplies?: number;
  /**
   * Most milliseconds of one batch, 30000 by default. Then the requests that are
   * not answered are aborted, and have no reply.
   */
  timeout?: number;
}

const REPLIES_MAX = 64 * 1024 * 1024;
const TIMEOUT = 30_000;

/**
 * Answers a batch: the bytes of all requests of a session, from its Tversion on.
 *
 * @param requests The requests.
 * @returns The replies, in the order in which they were made.
 */
export type BatchHandler = (
  requests: Uint8Array,
) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * Makes a function that serves a session in one call: it takes the bytes of all
 * requests, and gives the bytes of all replies. The function keeps nothing of the
 * session, so it suits functions at the edge, queues and tests. All batches share
 * the limits.
 *
 * `connectBatch()` is its client. `webHandler()` answers a batch in a POST as
 * well.
 *
 * @param handler What to serve: a handler object, or a tree such as a MemoryFs.
 * @param options Limits and choices.
 * @returns The function. It rejects with a ProtocolError if the replies have
 *   more than `maxReplies` bytes, or if there are too many batches at a time.
 * @throws {RangeError} A limit is out of its range.
 *
 * @example A tree without a connection
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { batchHandler, connectBatch, MemoryFs } from "@ninep/ninep";
 *
 * const handle = batchHandler(new MemoryFs({ motd: "hello\n" }));
 * const client = connectBatch(handle);
 * assertEquals(await client.readTextFile("motd"), "hello\n");
 * ```
 */
export function batchHandler<N extends FidNode>(
  handler: Handler<N> | Servable<N>,
  options: BatchOptions = {},
): BatchHandler {
  const { maxReplies = REPLIES_MAX, timeout = TIMEOUT } = options;
  if (!(maxReplies >= 1) || !(timeout > 0)) {
    throw new RangeError(
      `Cannot serve batches with maxReplies ${maxReplies} and timeout ${timeout}: both are above 0`,
    );
  }
  const connections = new ServedConnections(handler, options);
  return async (requests) => {
    const batch = new BatchConnection(requests, maxReplies);
    const timer = setTimeout(() => batch.close(), timeout);
    try {
      connections.serve(batch);
      await batch.closed;
      return batch.replies();
    } finally {
      clearTimeout(timer);
    }
  };
}

/** A connection that gives the requests, and gathers the replies. */
class BatchConnection implements Connection {
  readonly peer = "batch";
  readonly repliesAfterEnd = true;
  readonly closed: Promise<void>;
  readonly #maxReplies: number;
  #streams: Streams | undefined;
  #requests: Uint8Array | undefined;
  #replies: Uint8Array[] = [];
  #size = 0;
  #error: ProtocolError | undefined;
  #resolveClosed: () => void = () => {};

  constructor(requests: Uint8Array, maxReplies: number) {
    this.#requests = requests;
    this.#maxReplies = maxReplies;
    this.closed = new Promise((resolve) => this.#resolveClosed = resolve);
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  read(_buffer: Uint8Array): Promise<Uint8Array | null> {
    const requests = this.#requests;
    this.#requests = undefined;
    return Promise.resolve(requests && requests.length > 0 ? requests : null);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#error) return Promise.reject(this.#error);
    this.#size += bytes.length;
    if (this.#size > this.#maxReplies) {
      this.#error = new ProtocolError(
        `Cannot answer the batch: its replies have more than ${this.#maxReplies} bytes`,
      );
      return Promise.reject(this.#error);
    }
    this.#replies.push(new Uint8Array(bytes)); // The caller uses its buffer again.
    return undefined;
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#resolveClosed();
  }

  /** Returns the replies, or throws. */
  replies(): Uint8Array<ArrayBuffer> {
    if (this.#error) throw this.#error;
    const all = this.#size === 0 ? NO_BYTES : new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#replies) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}
