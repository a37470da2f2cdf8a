// Reads ahead of the caller and writes in the background, for the chunks and
// streams of a file. A window limits the bytes in flight.

import type { AbortListeners } from "../connection/abort.ts";
import type { OpenFid } from "../connection/client_session.ts";
import {
  chunkSize,
  FIRST,
  LANES,
  lengthOf,
  readInto,
  writeAll,
  writesAllowedAfter,
} from "../transfer/transfer.ts";

/** A group of requests that can be aborted together. */
class RequestGroup {
  readonly #ending = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  /** Number of requests under way. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts a request. The caller may ignore its outcome. */
  start<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const running = work(this.#ending.signal);
    this.#running.add(running);
    const done = () => this.#running.delete(running);
    running.then(done, done);
    return running;
  }

  /** Waits until one of the requests has ended. */
  async oneSettled(): Promise<void> {
    await Promise.race(this.#running).catch(() => {});
  }

  /** Waits until all requests have ended. */
  async allSettled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /**
   * Aborts all requests, and does not wait for the server, because the server
   * may not answer.
   */
  abort(reason: unknown): void {
    this.#ending.abort(reason);
  }

  /**
   * Runs work that waits for the requests. When the work fails or is aborted,
   * the requests are aborted.
   */
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
  /** The bytes; fewer than `size` at the end of the file. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * Reads a file from an offset to its end, chunk by chunk, in order.
 *
 * The first read is sent alone, so that its bytes arrive soon. The following
 * reads, up to the length of the file that the server gives, are in flight
 * together, ahead of the caller. After this length the client sends one read at
 * a time, because the server may compute the file, and a read may block until
 * there are more data.
 */
export class ReadAhead {
  readonly #open: OpenFid;
  readonly #flight = new RequestGroup();
  /** Offset of the next request. */
  #at: number;
  /** Offset of the bytes that next() returns next. */
  #offset: number;
  /**
   * The length of the file; undefined until the server was asked. Reads up to
   * this length are in flight together.
   */
  #length: number | undefined;
  readonly #parts: Part[] = [];
  /** Buffers that can be used again. */
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

  /**
   * Returns the next bytes, which then belong to the caller; undefined at the
   * end.
   */
  next(signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#flight.during(
      this.#open.session.environment.aborts,
      signal,
      () => this.#next(),
    );
  }

  /** Takes back bytes that next() returned, to use their buffer again. */
  recycle({ buffer }: Uint8Array<ArrayBuffer>): void {
    if (this.#spare.length < LANES) this.#spare.push(buffer);
  }

  #take(size: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#spare.pop();
    return buffer && buffer.byteLength >= size
      ? new Uint8Array(buffer, 0, size)
      : new Uint8Array(size);
  }

  /** Aborts the requests in flight. */
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
      await this.#flight.allSettled();
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
 * Writes bytes into a file, from an offset on.
 *
 * One write is in flight at a time until {@linkcode writesAllowedAfter} allows
 * several. From then on, a failed write rejects a later call.
 */
export class WriteBehind {
  readonly #open: OpenFid;
  readonly #flight = new RequestGroup();
  readonly #start: number;
  /** Offset of the next request. */
  #at: number;
  /** Most writes in flight, once this number is known. */
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

  /**
   * Writes bytes, or starts to write them. The caller may change the bytes
   * after the promise has resolved. The promise rejects with the first failure
   * so far.
   */
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
        await this.#flight.allSettled();
        if (this.#failure) throw this.#failure.error;
      },
    );
  }

  /** Aborts the requests in flight. */
  stop(reason: unknown): void {
    this.#flight.abort(reason);
  }

  async #write(data: Uint8Array): Promise<void> {
    if (this.#lanes === undefined && this.#at - this.#start >= FIRST) {
      this.#lanes = await this.#flight.start((signal) =>
        writesAllowedAfter(this.#open, this.#at, signal)
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
      while (this.#flight.size >= lanes) await this.#flight.oneSettled();
      if (this.#failure) throw this.#failure.error;
      // The bytes are copied, because the caller may change them before the
      // server has taken all.
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

/**
 * Makes the abort reason for reads ahead whose data the caller does not need
 * any more.
 */
export function leftOff(): DOMException {
  return new DOMException("The rest of the file is not wanted", "AbortError");
}

/** Copies as many bytes as fit into the buffer of a BYOB reader. */
export function copyInto(
  request: ReadableStreamBYOBRequest,
  chunk: Uint8Array<ArrayBuffer>,
): number {
  // The view exists until respond() is called.
  const { buffer, byteOffset, byteLength } = request.view!;
  const count = Math.min(byteLength, chunk.length);
  new Uint8Array(buffer, byteOffset).set(chunk.subarray(0, count));
  return count;
}
