// The bytes that a client sends, chunk by chunk.

import type { Channel } from "../transport/channel.ts";

/** Size of the read buffer: it grows while reads fill it. */
const READ_MIN = 8 * 1024;
const READ_MAX = 256 * 1024;
/** Reads ahead of a session that waits, and their bytes; behind more than these a client can hide its end. */
const AHEAD_MAX = 32;
const AHEAD_BYTES_MAX = 256 * 1024;

/** The receiving half of a connection. */
export class Input {
  readonly #channel: Channel;
  #buffer = new Uint8Array(READ_MIN);
  /** Requests are under way that hold views of the buffer. */
  #held = false;
  #full = false;
  // While the session waits, reads go on ahead of it, so that the client's end shows.
  readonly #ahead: Promise<Uint8Array | null>[] = [];
  #watcher: ((lost?: unknown) => void) | undefined;
  #reading = false;
  /** Bytes that were read ahead since the wait began. */
  #aheadBytes = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** The next bytes, good until the next call or, after hold(), for ever; null at the end. */
  read(): Promise<Uint8Array | null> {
    const ahead = this.#ahead.shift();
    if (ahead !== undefined) return ahead;
    if (this.#held || this.#full) {
      const { length } = this.#buffer;
      this.#buffer = new Uint8Array(
        this.#full ? Math.min(READ_MAX, length * 2) : length,
      );
      this.#held = this.#full = false;
    }
    return this.#channel.read(this.#buffer);
  }

  /** The chunk that was read last is to stay as it is. */
  hold(): void {
    this.#held = true;
  }

  /** Tells that a chunk is done with: one that filled the buffer asks for a larger one. */
  done(chunk: Uint8Array): void {
    this.#full = chunk.length === this.#buffer.length &&
      chunk.length < READ_MAX;
  }

  /**
   * Reads ahead until unwatch().
   *
   * @param onEnd Told when the client has gone, with the error if there is one.
   */
  watch(onEnd: (lost?: unknown) => void): void {
    this.#watcher = onEnd;
    this.#aheadBytes = 0;
    this.#readAhead();
  }

  /** Reads no further ahead. */
  unwatch(): void {
    this.#watcher = undefined;
  }

  #readAhead(): void {
    if (this.#watcher === undefined || this.#reading) return;
    if (this.#ahead.length >= AHEAD_MAX) return;
    if (this.#aheadBytes > AHEAD_BYTES_MAX) return;
    this.#reading = true;
    const read = this.#channel.read(new Uint8Array(READ_MIN));
    this.#ahead.push(read);
    read.then((chunk) => {
      this.#reading = false;
      if (chunk === null) return this.#watcher?.();
      this.#aheadBytes += chunk.length;
      this.#readAhead();
    }, (error) => this.#watcher?.(error));
  }

  /** Reads what is left, for nobody. */
  async drain(): Promise<void> {
    while (await this.read() !== null);
  }
}
