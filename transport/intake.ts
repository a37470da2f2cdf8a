// The receiving side of client and server. It reads large chunks into a buffer
// that is used again, and splits the chunks into frames. outbox.ts has the
// sending side.

import { Splitter } from "../codec/frames.ts";
import type { Channel } from "./channel.ts";

/**
 * First size of the buffer. The size is small, because most connections of a
 * server are idle. The buffer grows while reads fill it.
 */
const BUFFER_MIN = 2048;
const BUFFER_MAX = 256 * 1024;
/**
 * A buffer larger than LARGE_BUFFER bytes is replaced by a small one after
 * SMALL_CHUNKS small chunks.
 */
const LARGE_BUFFER = 64 * 1024;
const SMALL_CHUNKS = 4;

/** Reads chunks from a channel and splits them into frames. */
export class Intake {
  /** Splits the chunk of push() into frames. */
  readonly splitter: Splitter;
  readonly #channel: Channel;
  #buffer = new Uint8Array(BUFFER_MIN);
  /**
   * Number of bytes at the start of the buffer that are the beginning of a
   * frame. The next read continues after these bytes.
   */
  #kept = 0;
  /** True when the last chunk filled the buffer. */
  #full = false;
  /** Number of chunks since the last chunk that was not small. */
  #smallChunks = 0;
  /** True when requests have views of the buffer. */
  #held = false;
  /** The last chunk, when it belongs to the channel. */
  #foreign: Uint8Array | undefined;

  /**
   * @param channel Channel of the bytes.
   * @param msize Largest frame in bytes.
   */
  constructor(channel: Channel, msize: number) {
    this.#channel = channel;
    this.splitter = new Splitter(msize);
  }

  /** Size in bytes of the buffer that holds the last chunk. */
  get bufferSize(): number {
    return Math.max(this.#buffer.length, this.#foreign?.length ?? 0);
  }

  /**
   * Reads the next bytes, which the caller then gives to push(). Returns null
   * at the end. The memory of the last chunk is used again, unless hold() was
   * called.
   */
  read(): Promise<Uint8Array | null> {
    this.#makeRoom();
    const free = this.#kept > 0
      ? this.#buffer.subarray(this.#kept)
      : this.#buffer;
    return this.#channel.read(free);
  }

  #makeRoom(): void {
    const { splitter } = this;
    const isIdle = this.#smallChunks >= SMALL_CHUNKS;
    // The views to keep may belong to a frame from several chunks, whose memory
    // the splitter has.
    if (this.#held || isIdle) splitter.shrink();
    if (this.#foreign !== undefined) this.#giveBack(this.#foreign);
    let size = Math.min(this.#buffer.length * (this.#full ? 2 : 1), BUFFER_MAX);
    if (size > LARGE_BUFFER && isIdle) size = BUFFER_MIN;
    if (splitter.rest > 0) size = Math.max(size, splitter.needed);
    const last = this.#buffer;
    if (size !== last.length || this.#held) this.#buffer = new Uint8Array(size);
    this.#full = this.#held = false;
    // The beginning of a frame is moved to the start of the buffer, so that the
    // frame is completed there. In a separate buffer for such frames, a quarter
    // of bulk data would be copied twice.
    this.#kept = splitter.rest > 0 ? splitter.move(this.#buffer) : 0;
  }

  /**
   * Returns a chunk to the channel after its frames were taken, unless the
   * chunk is held.
   */
  #giveBack(chunk: Uint8Array): void {
    const { splitter } = this;
    // The splitter copies the rest of the chunk, because the next chunk is
    // expected to be another chunk of the channel, not in the buffer.
    splitter.spill(!this.#held);
    if (!this.#held) this.#channel.free?.(chunk);
    this.#foreign = undefined;
  }

  /**
   * Gives a chunk to the splitter. The caller must have taken all frames of the
   * previous chunk.
   */
  push(chunk: Uint8Array): void {
    const { splitter } = this;
    const buffer = this.#buffer;
    const kept = this.#kept;
    this.#kept = 0;
    this.#smallChunks = chunk.length <= BUFFER_MIN ? this.#smallChunks + 1 : 0;
    if (splitter.rest > 0) splitter.spill(); // There was no read() for this chunk.
    if (chunk.buffer === buffer.buffer) {
      const end = kept + chunk.length;
      this.#full = end === buffer.length;
      splitter.push(buffer, end);
      return;
    }
    this.#foreign = chunk;
    if (kept > 0) {
      splitter.push(buffer, kept);
      splitter.spill();
    }
    splitter.push(chunk);
  }

  /**
   * Prevents the next read() from using the memory of the last chunk again.
   */
  hold(): void {
    this.#held = true;
  }
}
