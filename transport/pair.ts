// Two connected ends in memory: the socketpair of tests and of one process.

import { closed, lost, pending } from "./failure.ts";
import { Inbox, INBOX_LIMIT } from "./inbox.ts";
import { type Streams, streamsOf } from "./streams.ts";
import type { Connection } from "./connection.ts";

/**
 * Makes two connections that are each other's peers, in memory.
 *
 * One end reads the bytes that the other end writes, in order. Bytes are
 * copied, so a writer may reuse its buffer. While more than 256 KiB wait at the
 * other end, a write stays pending. When one end closes, the other end still
 * reads the bytes that were written before.
 *
 * @returns The two ends, both with the label `pair`.
 *
 * @example What one end writes the other reads
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { pair } from "@ninep/ninep/transport";
 *
 * const [near, far] = pair();
 * await near.write?.(new TextEncoder().encode("hello"));
 * near.close();
 * assertEquals(await new Response(far.readable).text(), "hello");
 * far.close();
 * ```
 */
export function pair(): [Connection, Connection] {
  const near = new PairEnd();
  return [near, new PairEnd(near)];
}

/** Milliseconds that the two ends keep all else in the process waiting at a time. */
const TURN_MS = 5;
/** Reads between two looks at the clock, which costs a tenth of a Tstat. */
const READS = 16;

/**
 * Two ends in one process can go on for ever without a turn of the event loop:
 * then no timer would run, and no timeout would be heard.
 */
class Turn {
  #reads = 0;
  #since = 0;
  #next: Promise<void> | undefined;

  /** The next turn, when this one has been long enough. */
  due(): Promise<void> | undefined {
    if (++this.#reads % READS !== 0) return undefined;
    const now = performance.now();
    if (this.#next !== undefined) {
      return now - this.#since > TURN_MS ? this.#next : undefined;
    }
    this.#since = now;
    this.#next = new Promise((resolve) =>
      nextTurn(() => {
        this.#next = undefined;
        resolve();
      })
    );
  }
}

function nextTurn(callback: () => void): void {
  // Browsers have only setTimeout(), which is slower. Plain tsc does not know
  // setImmediate().
  const { setImmediate } = globalThis as {
    setImmediate?: (callback: () => void) => void;
  };
  if (setImmediate) setImmediate(callback);
  else setTimeout(callback);
}

class PairEnd implements Connection {
  readonly peer = "pair";
  /** Bytes from the other end. */
  readonly #inbox = new Inbox("pair");
  #other: PairEnd;
  readonly #turn = new Turn();
  /** A read waits for the next turn. */
  #deferred = false;
  #streams: Streams | undefined;
  /** A write that waits for room in the other's inbox. */
  #writer: PromiseWithResolvers<void> | undefined;
  #writeEnded = false;
  #closed = false;

  /** The first end has no other yet: the second one joins it. */
  constructor(other?: PairEnd) {
    this.#other = other ?? this;
    this.#other.#other = this;
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  read(buffer: Uint8Array): Promise<Uint8Array | null> {
    if (this.#deferred) {
      return Promise.reject(pending(this.peer, "read from"));
    }
    const turn = this.#turn.due();
    if (turn === undefined) return this.#read(buffer);
    this.#deferred = true;
    return turn.then(() => {
      this.#deferred = false;
      return this.#read(buffer);
    });
  }

  #read(buffer: Uint8Array): Promise<Uint8Array | null> {
    const bytes = this.#inbox.read(buffer);
    if (this.#inbox.size <= INBOX_LIMIT) this.#other.#resume();
    return bytes;
  }

  free(chunk: Uint8Array): void {
    if (!this.#closed) this.#inbox.free(chunk);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#other.#closed) return Promise.reject(lost(this.peer));
    if (this.#writer) return Promise.reject(pending(this.peer, "write to"));
    this.#other.#inbox.copy(bytes);
    if (this.#other.#inbox.size <= INBOX_LIMIT) return undefined;
    this.#writer = Promise.withResolvers();
    return this.#writer.promise;
  }

  closeWrite(): Promise<void> {
    this.#writeEnded = true;
    this.#other.#inbox.end();
    return Promise.resolve();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeEnded = true;
    this.#other.#inbox.end();
    this.#inbox.close();
    this.#stop(closed(this.peer));
    this.#other.#stop(lost(this.peer));
  }

  /** The peer has read: a pending write is done. */
  #resume(): void {
    this.#writer?.resolve();
    this.#writer = undefined;
  }

  #stop(error: Error): void {
    this.#writer?.reject(error);
    this.#writer = undefined;
  }
}
