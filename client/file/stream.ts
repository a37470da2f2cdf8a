// What streams of a file stand on: reads ahead of who wants the bytes, writes
// behind who gives them, no more of either than a window.

import type { AbortListeners } from "../connection/abort.ts";
import type { OpenFid } from "../connection/client_session.ts";
import {
  chunkSize,
  FIRST,
  LANES,
  lanesBehind,
  lengthOf,
  readInto,
  writeAll,
} from "../transfer/transfer.ts";

/** Requests that are ended together. */
class Flight {
  readonly #ending = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  /** Requests that have not come to their end. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts a request; who made it may look at its outcome, or not. */
  start<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const running = work(this.#ending.signal);
    this.#running.add(running);
    const done = () => this.#running.delete(running);
    running.then(done, done);
    return running;
  }

  /** Waits until one of the requests has come to its end. */
  async landed(): Promise<void> {
    await Promise.race(this.#running).catch(() => {});
  }

  /** Waits until all have. */
  async over(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** Aborts all requests. Nobody waits for what comes of it: the server may hang. */
  abort(reason: unknown): void {
    this.#ending.abort(reason);
  }

  /** Runs work that waits for the requests: when it fails or is aborted, so are they. */
  async during<T>(
    aborts: AbortListeners,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    const onAbort = () => this.abort(signal?.reason);
    aborts.add(signal, onAbort);
    try {
      return await work();
    } catch (error) {
      this.abort(error);
      throw error;
    } finally {
      aborts.remove(signal, onAbort);
    }
  }
}

/** A chunk that is being read. */
interface Part {
  readonly size: number;
  /** As many bytes, or fewer at the end of the file. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * The bytes of a file from an offset to its end, chunk by chunk, in order.
 *
 * The first read is one alone, and what it gives is there at once. As far as
 * the length that the server names, further reads are in flight together,
 * ahead of who asks; behind it they come one by one, for then the file may be
 * made up, and block until there is more.
 */
export class ReadAhead {
  readonly #open: OpenFid;
  readonly #flight = new Flight();
  /** Where the next request starts. */
  #at: number;
  /** Offset of the next bytes that the caller gets. */
  #offset: number;
  /** As far as reads are in flight together, once the server was asked. */
  #length: number | undefined;
  readonly #parts: Part[] = [];
  /** Buffers that nobody keeps. */
  readonly #spare: ArrayBuffer[] = [];
  #isLastFull = false;
  #isOver = false;

  constructor(open: OpenFid, offset: number) {
    this.#open = open;
    this.#at = this.#offset = offset;
  }

  /** Offset of the next bytes. */
  get offset(): number {
    return this.#offset;
  }

  /** The next bytes, which are the caller's to keep; undefined at the end. */
  next(signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#flight.during(
      this.#open.session.environment.aborts,
      signal,
      () => this.#next(),
    );
  }

  /** Takes back bytes that next() gave, to read into them again. */
  recycle({ buffer }: Uint8Array<ArrayBuffer>): void {
    if (this.#spare.length < LANES) this.#spare.push(buffer);
  }

  #take(size: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#spare.pop();
    return buffer && buffer.byteLength >= size
      ? new Uint8Array(buffer, 0, size)
      : new Uint8Array(size);
  }

  /** Aborts what is in flight. */
  stop(reason: unknown): void {
    this.#isOver = true;
    this.#flight.abort(reason);
  }

  async #next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#isOver) return undefined;
    if (this.#isLastFull && this.#length === undefined) {
      this.#length = await this.#flight.start((signal) =>
        lengthOf(this.#open, signal)
      );
    }
    this.#launch();
    const part = this.#parts.shift();
    if (!part) return await this.#single();
    const bytes = await part.bytes;
    this.#offset += bytes.length;
    if (bytes.length < part.size) { // What is asked for behind it is void.
      this.#isOver = true;
      await this.#flight.over();
    }
    return bytes.length > 0 ? bytes : undefined;
  }

  /** Starts reads until the window is full. */
  #launch(): void {
    const end = this.#length ?? 0;
    while (this.#parts.length < LANES && this.#at < end) {
      const size = Math.min(chunkSize(this.#open), end - this.#at);
      const at = this.#at;
      const bytes = this.#flight.start((signal) =>
        this.#read(at, size, signal)
      );
      this.#parts.push({ size, bytes });
      this.#at += size;
    }
  }

  async #read(
    at: number,
    size: number,
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const into = this.#take(size);
    const count = await readInto(this.#open, into, at, 1, signal);
    return count === size ? into : into.subarray(0, count);
  }

  /** Reads with one request. */
  async #single(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { session, fid, limit } = this.#open;
    const size = Math.min(limit, FIRST);
    const buffer = this.#take(size);
    const count = await this.#flight.start((signal) =>
      session.read(fid, this.#at, buffer, signal)
    );
    this.#offset = this.#at += count;
    this.#isLastFull = count === size;
    if (count === 0) {
      this.#isOver = true;
      return undefined;
    }
    if (this.#isLastFull) return buffer;
    const bytes = buffer.slice(0, count); // It may be a few bytes that are kept for long.
    this.recycle(buffer);
    return bytes;
  }
}

/**
 * Bytes on their way into a file, from an offset on.
 *
 * Writes come one by one until {@linkcode lanesBehind} lets several be in
 * flight; from then on the caller is told of a failure later.
 */
export class WriteBehind {
  readonly #open: OpenFid;
  readonly #flight = new Flight();
  readonly #start: number;
  /** Where the next request starts. */
  #at: number;
  /** Most writes in flight, once it is known. */
  #lanes: number | undefined;
  #failure: { error: unknown } | undefined;

  constructor(open: OpenFid, offset: number) {
    this.#open = open;
    this.#start = this.#at = offset;
  }

  /** Offset of the next bytes. */
  get offset(): number {
    return this.#at;
  }

  /** Takes bytes, which are the caller's again when it resolves; rejects with the first failure so far. */
  write(data: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#flight.during(
      this.#open.session.environment.aborts,
      signal,
      () => this.#write(data),
    );
  }

  /** Waits until everything is written; rejects with the first failure. */
  flush(signal?: AbortSignal): Promise<void> {
    return this.#flight.during(
      this.#open.session.environment.aborts,
      signal,
      async () => {
        await this.#flight.over();
        if (this.#failure) throw this.#failure.error;
      },
    );
  }

  /** Aborts what is in flight. */
  stop(reason: unknown): void {
    this.#flight.abort(reason);
  }

  async #write(data: Uint8Array): Promise<void> {
    if (this.#lanes === undefined && this.#at - this.#start >= FIRST) {
      this.#lanes = await this.#flight.start((signal) =>
        lanesBehind(this.#open, this.#at, signal)
      );
    }
    const lanes = this.#lanes ?? 1;
    if (lanes === 1) {
      const at = this.#at;
      this.#at += data.length;
      return await this.#send(data, at);
    }
    const size = chunkSize(this.#open);
    for (let start = 0; start < data.length; start += size) {
      while (this.#flight.size >= lanes) await this.#flight.landed();
      if (this.#failure) throw this.#failure.error;
      // A copy: the caller's bytes may change before they are all taken.
      const part = data.slice(start, start + size);
      this.#send(part, this.#at).catch((error) => {
        this.#failure ??= { error };
      });
      this.#at += part.length;
    }
    if (this.#failure) throw this.#failure.error;
  }

  #send(data: Uint8Array, at: number): Promise<void> {
    return this.#flight.start((signal) =>
      writeAll(this.#open, data, at, 1, signal)
    );
  }
}

/** Why what was read ahead is given up when nobody wants it. */
export function leftOff(): DOMException {
  return new DOMException("The rest of the file is not wanted", "AbortError");
}

/** Puts as much into the buffer of a BYOB reader as it holds. */
export function copyInto(
  request: ReadableStreamBYOBRequest,
  chunk: Uint8Array<ArrayBuffer>,
): number {
  // There as long as nobody has responded.
  const { buffer, byteOffset, byteLength } = request.view!;
  const count = Math.min(byteLength, chunk.length);
  new Uint8Array(buffer, byteOffset).set(chunk.subarray(0, count));
  return count;
}
