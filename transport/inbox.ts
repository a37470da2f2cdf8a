// Bytes that came before a read, for pair() and Bun's sockets.

import { pending } from "./failure.ts";

/** Most bytes that wait on one side before the other side is held, 256 KiB. */
export const INBOX_LIMIT: number = 256 * 1024;

/**
 * Up to this number of bytes, a copy into the reader's buffer costs less than
 * access to their buffer: Bun makes the buffer of a small array at the first
 * access (a quarter of the time of a stat, without that of the system).
 */
const SMALL = 2048;

/** Most chunks that are kept for further copies. */
const SPARE_MAX = 2;

interface Reader {
  buffer: Uint8Array;
  resolve: (bytes: Uint8Array | null) => void;
  reject: (reason: unknown) => void;
}

/**
 * A queue from pushed chunks to reads. It has no limit of its own. The code
 * that pushes reads `size` and waits.
 */
export class Inbox {
  readonly #peer: string;
  #chunks: Uint8Array[] = [];
  #size = 0;
  readonly #spare: Uint8Array[] = [];
  #reader: Reader | undefined;
  #ended = false;
  #error: unknown;

  constructor(peer: string) {
    this.#peer = peer;
  }

  /** Bytes that wait to be read. */
  get size(): number {
    return this.#size;
  }

  /** Number of chunks that wait to be read. */
  get count(): number {
    return this.#chunks.length;
  }

  /** Takes over a chunk. The caller must not use it any more. */
  push(chunk: Uint8Array): void {
    if (this.#ended || chunk.length === 0) return;
    const reader = this.#reader;
    const { length } = chunk;
    if (!reader) {
      this.#chunks.push(chunk);
      this.#size += length;
    } else if (length <= SMALL && length <= reader.buffer.length) {
      this.#fill(reader, chunk);
    } else {
      this.#reader = undefined;
      reader.resolve(chunk);
    }
  }

  /** Takes a copy of `bytes`, directly into the buffer of a waiting reader. */
  copy(bytes: Uint8Array): void {
    const reader = this.#reader;
    if (reader && bytes.length > 0 && bytes.length <= reader.buffer.length) {
      this.#fill(reader, bytes);
    } else {
      const { length } = bytes;
      const spare = this.#spare.pop();
      const fits = spare !== undefined && spare.length >= length;
      const chunk = fits ? spare.subarray(0, length) : new Uint8Array(length);
      chunk.set(bytes);
      this.push(chunk);
    }
  }

  /** Takes back a chunk from read(), for copy(). */
  free(chunk: Uint8Array): void {
    if (chunk.length <= SMALL || this.#spare.length >= SPARE_MAX) return;
    this.#spare.push(new Uint8Array(chunk.buffer));
  }

  /** Copies bytes into the buffer of a waiting reader, and ends its wait. */
  #fill({ buffer, resolve }: Reader, bytes: Uint8Array): void {
    this.#reader = undefined;
    buffer.set(bytes);
    resolve(buffer.subarray(0, bytes.length));
  }

  /**
   * Ends the stream. Waiting bytes can still be read; then reads give null or
   * the error.
   */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    const reader = this.#reader;
    if (!reader) return;
    this.#reader = undefined;
    if (error === undefined) reader.resolve(null);
    else reader.reject(error);
  }

  /**
   * Ends the stream and drops the waiting bytes. Reads give null from then on.
   */
  close(): void {
    this.#chunks = [];
    this.#spare.length = 0;
    this.#size = 0;
    this.#error = undefined;
    this.end();
  }

  /** Reads as `Connection.read` does. */
  read(buffer: Uint8Array): Promise<Uint8Array | null> {
    if (this.#size > 0) return Promise.resolve(this.#take(buffer));
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(null);
    if (this.#reader) return Promise.reject(pending(this.#peer, "read from"));
    return new Promise((resolve, reject) => {
      this.#reader = { buffer, resolve, reject };
    });
  }

  /** Hands over one chunk, or gathers small ones in `buffer`. */
  #take(buffer: Uint8Array): Uint8Array {
    const chunks = this.#chunks;
    let count = 0;
    let length = 0;
    for (const chunk of chunks) {
      if (length + chunk.length > buffer.length) break;
      length += chunk.length;
      count++;
    }
    const [first] = chunks; // There is one: size is above 0.
    if (count === 0 || (count === 1 && first.length > SMALL)) {
      chunks.shift();
      this.#size -= first.length;
      return first;
    }
    let at = 0;
    for (let i = 0; i < count; i++) {
      const chunk = chunks[i];
      buffer.set(chunk, at);
      at += chunk.length;
    }
    chunks.splice(0, count);
    this.#size -= length;
    return buffer.subarray(0, length);
  }
}
