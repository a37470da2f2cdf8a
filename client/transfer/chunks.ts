// Writes data that a stream or an iterable gives in chunks.

import type { OpenFid } from "../connection/client_session.ts";
import { chunkSize, writeAll, writesAllowedAfter } from "./transfer.ts";
import { endOfFile } from "./append.ts";

const encoder = new TextEncoder();

/** Data for a file: bytes, a text that becomes UTF-8, or chunks of either. */
export type FileData =
  | Uint8Array
  | string
  | ReadableStream<Uint8Array | string>
  | Iterable<Uint8Array | string>
  | AsyncIterable<Uint8Array | string>;

/** A source of chunks. */
export interface ChunkSource {
  /** Returns the next chunk, or undefined at the end. */
  next(): Promise<Uint8Array | undefined>;
  /** Cancels the source, unless it has ended. */
  cancel(reason: unknown): void;
}

/**
 * Makes a chunk source from a stream or an iterable.
 *
 * @throws {TypeError} The value is neither a stream nor an iterable of chunks.
 */
export function chunksOf(
  data: Exclude<FileData, Uint8Array | string>,
): ChunkSource {
  if (data instanceof ReadableStream) return ofStream(data);
  // Callers without types may give anything.
  const given: unknown = data;
  const isIterable = typeof given === "object" && given !== null &&
    !ArrayBuffer.isView(given) && // Of numbers.
    (Symbol.asyncIterator in given || Symbol.iterator in given);
  if (isIterable) return ofIterable(data);
  throw new TypeError(
    `Cannot write a file: the data are ${
      kindOf(given)
    }, not a Uint8Array, a string, or a ReadableStream or iterable of them`,
  );
}

function ofStream(stream: ReadableStream<Uint8Array | string>): ChunkSource {
  const reader = stream.getReader();
  return {
    async next() {
      const { done, value } = await reader.read();
      if (!done) return bytesOf(value);
      reader.releaseLock();
    },
    cancel(reason) {
      reader.cancel(reason).catch(() => {}); // It has ended by itself.
      reader.releaseLock();
    },
  };
}

function ofIterable(
  data: Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>,
): ChunkSource {
  if (Symbol.asyncIterator in data) {
    return ofIterator(data[Symbol.asyncIterator](), undefined);
  }
  const iterator = data[Symbol.iterator]();
  const first = iterator.next();
  const source = ofIterator(iterator, first);
  try {
    if (!first.done) bytesOf(first.value);
    return source;
  } catch (error) {
    source.cancel(error);
    throw error;
  }
}

/** @param first The result that the iterator has already given. */
function ofIterator(
  iterator: Iterator<Uint8Array | string> | AsyncIterator<Uint8Array | string>,
  first: IteratorResult<Uint8Array | string> | undefined,
): ChunkSource {
  let isOver = first?.done ?? false;
  return {
    async next() {
      let result = first;
      first = undefined;
      try {
        result ??= await iterator.next();
      } finally {
        isOver = result?.done ?? true; // One that threw is over, too.
      }
      return result?.done ? undefined : bytesOf(result.value);
    },
    cancel() {
      if (isOver) return;
      isOver = true;
      // The iterator may be busy, so nothing waits for its end.
      const end = async () => await iterator.return?.();
      end().catch(() => {}); // What failed before is the error to tell.
    },
  };
}

/** Returns the bytes of a chunk. Callers without types may give anything. */
export function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === "string") return encoder.encode(chunk);
  if (chunk instanceof Uint8Array) return chunk;
  throw new TypeError(
    `Cannot write a chunk: it is neither bytes nor text but ${kindOf(chunk)}`,
  );
}

/** Returns the kind of a value, for error messages. */
function kindOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return typeof value;
  return value.constructor?.name ?? "an object";
}

/**
 * Writes the chunks of a source: first one chunk, then as many chunks at once
 * as {@linkcode writesAllowedAfter} allows. The client asks the source for a chunk
 * only when it can send the chunk.
 *
 * @param offset Offset of the first chunk; undefined appends each chunk.
 */
export async function writeChunks(
  open: OpenFid,
  source: ChunkSource,
  offset: number | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const writer = new ChunkWriter(open, offset, signal);
  const onAbort = () => writer.fail(signal?.reason);
  const { aborts } = open.session.environment;
  aborts.add(signal, onAbort);
  // When the session ends, the source may be idle and no request in flight.
  // Then only this callback ends the transfer.
  const unwatch = open.session.onEnd(writer, (error) => writer.fail(error));
  try {
    await writer.write(source);
  } finally {
    unwatch();
    aborts.remove(signal, onAbort);
  }
}

/**
 * Appends bytes to a file in one piece, after all earlier appends to this file
 * in this session.
 *
 * @param least End of the bytes that the same caller has appended before. The
 *   append starts there or later, because the length that the server gives may
 *   be out of date.
 * @returns The end of these bytes.
 */
export function appendAll(
  open: OpenFid,
  data: Uint8Array,
  least: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  return open.session.appends.run(open, signal, async () => {
    const end = Math.max(least, await endOfFile(open, signal));
    await writeAll(open, data, end, 1, signal);
    return end + data.length;
  });
}

class ChunkWriter {
  readonly #open: OpenFid;
  readonly #size: number;
  readonly #start: number;
  /** Offset of the next request. */
  #offset: number;
  readonly #appends: boolean;
  /** End of the bytes that were appended last; 0 before the first append. */
  #end = 0;
  /** Most writes in flight, once it is known. */
  #lanes: number | undefined;
  readonly #signal: AbortSignal | undefined;
  /** Writes in flight. */
  #running = 0;
  #failure: { error: unknown } | undefined;
  /**
   * The answer of the source: a chunk, or undefined at its end; unset while the
   * source has not answered.
   */
  #given: { chunk: Uint8Array | undefined } | undefined;
  #wake: () => void = () => {};

  constructor(
    open: OpenFid,
    offset: number | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#open = open;
    this.#appends = offset === undefined;
    // An appended chunk is not cut here, so that the appends of other callers
    // come before or after the whole chunk.
    this.#size = this.#appends ? Infinity : chunkSize(open);
    this.#start = this.#offset = offset ?? 0;
    if (this.#appends) this.#lanes = 1;
    this.#signal = signal;
  }

  /**
   * Writes all chunks. After a failure, the promise rejects when no write is in
   * flight any more, even if the source hangs.
   */
  async write(source: ChunkSource): Promise<void> {
    while (await this.#room()) {
      source.next().then((chunk) => {
        this.#given = { chunk };
        this.#wake();
      }, (error) => this.fail(error));
      await this.#awaitSource();
      const chunk = this.#given?.chunk;
      this.#given = undefined;
      if (chunk === undefined) break;
      for (let at = 0; at < chunk.length && await this.#room();) {
        const part = chunk.subarray(at, at + this.#size);
        await this.#widen();
        this.#send(part);
        at += part.length;
      }
    }
    while (this.#running > 0) await this.#change();
    if (this.#failure) throw this.#failure.error;
  }

  /** Ends the transfer with an error, so that no further write begins. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  /**
   * After the first write, when nothing is in flight, finds out how many writes
   * may be in flight.
   */
  async #widen(): Promise<void> {
    if (this.#lanes !== undefined || this.#offset === this.#start) return;
    this.#lanes = await writesAllowedAfter(
      this.#open,
      this.#offset,
      this.#signal,
    );
  }

  #send(data: Uint8Array): void {
    this.#running++;
    this.#put(data, this.#offset)
      .catch((error) => this.fail(error))
      .finally(() => {
        this.#running--;
        this.#wake();
      });
    this.#offset += data.length;
  }

  async #put(data: Uint8Array, offset: number): Promise<void> {
    if (this.#appends) {
      this.#end = await appendAll(this.#open, data, this.#end, this.#signal);
    } else {
      await writeAll(this.#open, data, offset, 1, this.#signal);
    }
  }

  /** Waits until another write may begin. Returns false after a failure. */
  async #room(): Promise<boolean> {
    await this.#until(() => this.#running < (this.#lanes ?? 1));
    return this.#failure === undefined;
  }

  /**
   * Waits for the next chunk of the source. While no request is in flight, the
   * time of the wait does not count for `stall`.
   */
  async #awaitSource(): Promise<void> {
    const { monitor } = this.#open;
    while (this.#given === undefined && !this.#failure) {
      if (this.#running === 0) monitor?.pause();
      await this.#change();
    }
    monitor?.resume();
  }

  async #until(isReached: () => boolean): Promise<void> {
    while (!isReached() && !this.#failure) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }
}
