// The queue of bytes that arrived before they were read, for pair() and Bun's
// sockets.

import { pending } from "./failure.ts";

/** Number of waiting bytes at which the sending side is paused, 256 KiB. */
export const INBOX_LIMIT: number = 256 * 1024;

/**
 * Number of waiting chunks at which the sending side is paused, because a chunk
 * of one byte takes much more memory than its byte.
 */
const COUNT_LIMIT = 4096;

/**
 * Up to this size, copying a chunk into the reader's buffer costs less than
 * handing over the chunk. Bun creates the ArrayBuffer of a small array at the
 * first access to `chunk.buffer`. This would take a quarter of the time of a
 * stat request, system calls not counted.
 */
const SMALL = 2048;

/** Maximum number of chunks that are kept for later copies. */
const SPARE_MAX = 2;

interface PendingRead {
  buffer: Uint8Array;
  resolve: (bytes: Uint8Array | null) => void;
  reject: (reason: unknown) => void;
}

/**
 * A queue of chunks. push() and copy() add chunks, and read() takes them. The
 * queue has no limit: the code that pushes must check `size` and wait.
 */
export class Inbox {
  readonly #peer: string;
  #chunks: Uint8Array[] = [];
  #size = 0;
  readonly #spare: Uint8Array[] = [];
  #reader: PendingRead | undefined;
  #ended = false;
  #error: unknown;

  constructor(peer: string) {
    this.#peer = peer;
  }

  /** Number of bytes that wait to be read. */
  get size(): number {
    return this.#size;
  }

  /** Number of chunks that wait to be read. */
  get count(): number {
    return this.#chunks.length;
  }

  /** True when the sending side is to be paused. */
  get isFull(): boolean {
    return this.#size >= INBOX_LIMIT || this.#chunks.length >= COUNT_LIMIT;
  }

  /**
   * Adds a chunk. The queue then owns the chunk, and the caller must not use
   * the chunk any more.
   */
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

  /**
   * Adds a copy of `bytes`. If a reader waits and the bytes fit, they are
   * copied directly into the reader's buffer.
   */
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

  /**
   * Takes back a chunk that read() has returned. copy() uses its memory again.
   */
  free(chunk: Uint8Array): void {
    if (chunk.length <= SMALL || this.#spare.length >= SPARE_MAX) return;
    this.#spare.push(new Uint8Array(chunk.buffer));
  }

  /**
   * Copies bytes into the buffer of a waiting reader and resolves its read.
   */
  #fill({ buffer, resolve }: PendingRead, bytes: Uint8Array): void {
    this.#reader = undefined;
    buffer.set(bytes);
    resolve(buffer.subarray(0, bytes.length));
  }

  /**
   * Ends the stream. Waiting bytes can still be read. After them, reads return
   * null or reject with the error.
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
   * Ends the stream and drops the waiting bytes. From then on, reads return
   * null.
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

  /**
   * Returns one chunk itself, or copies several small chunks into `buffer`.
   */
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
