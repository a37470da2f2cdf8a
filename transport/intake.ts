// The receiving side of client and server: large reads into a buffer that is
// used again, and the frames in them. The outbox is the sending side.

import { Splitter } from "../codec/frames.ts";
import type { Channel } from "./channel.ts";

/**
 * First size of the buffer. It is small, because most connections of a server
 * are idle, and grows while reads fill it.
 */
const START = 2048;
const MOST = 256 * 1024;
/** Number of small chunks after which a larger buffer is given back. */
const LARGE = 64 * 1024;
const SMALL_CHUNKS = 4;

/** Frames that come from a channel. */
export class Intake {
  /** Splits the chunk of push() into frames. */
  readonly splitter: Splitter;
  readonly #channel: Channel;
  #buffer = new Uint8Array(START);
  /**
   * Number of bytes at the start of the buffer that begin a frame. The next
   * read continues behind them.
   */
  #kept = 0;
  /** True when the last chunk filled the buffer. */
  #full = false;
  /** Chunks since the last one that was not small. */
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
   * Reads the next bytes, for push(); null at the end. The memory of the last
   * chunk is used again, unless the chunk is held.
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
    // The held view may be of a frame that was put together.
    if (this.#held || isIdle) splitter.shrink();
    if (this.#foreign !== undefined) this.#giveBack(this.#foreign);
    let size = Math.min(this.#buffer.length * (this.#full ? 2 : 1), MOST);
    if (size > LARGE && isIdle) size = START;
    if (splitter.rest > 0) size = Math.max(size, splitter.needed);
    const last = this.#buffer;
    if (size !== last.length || this.#held) this.#buffer = new Uint8Array(size);
    this.#full = this.#held = false;
    // If each frame that crosses two chunks got another buffer, a quarter of
    // bulk data would be copied twice.
    this.#kept = splitter.rest > 0 ? splitter.move(this.#buffer) : 0;
  }

  /** Called when a chunk of the channel was split. */
  #giveBack(chunk: Uint8Array): void {
    const { splitter } = this;
    // The frame is put together where it is, because the next chunk will not be
    // in the buffer.
    splitter.spill(!this.#held);
    if (!this.#held) this.#channel.free?.(chunk);
    this.#foreign = undefined;
  }

  /** Gives the splitter a chunk. All frames of the chunk before were taken. */
  push(chunk: Uint8Array): void {
    const { splitter } = this;
    const buffer = this.#buffer;
    const kept = this.#kept;
    this.#kept = 0;
    this.#smallChunks = chunk.length <= START ? this.#smallChunks + 1 : 0;
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

  /** Keeps the memory of the last chunk unchanged. */
  hold(): void {
    this.#held = true;
  }
}
