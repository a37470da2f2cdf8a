// The receiving side of client and server: large reads into a buffer that is
// used again, and the frames in them. The outbox is the sending side.

import { Splitter } from "../codec/frames.ts";
import type { Channel } from "./channel.ts";

/** Size of the buffer: small, for most connections of a server are idle; it grows while reads fill it. */
const START = 2048;
const MOST = 256 * 1024;
/** A larger one is given back after so many small chunks: bulk transfers are over. */
const LARGE = 64 * 1024;
const SMALL_CHUNKS = 4;

/** Frames that come from a channel. */
export class Intake {
  /** Stands on one frame after the other, when push() has given it a chunk. */
  readonly splitter: Splitter;
  readonly #channel: Channel;
  #buffer = new Uint8Array(START);
  /** Bytes at its start: the beginning of a frame, which is read on behind them. */
  #kept = 0;
  /** The last chunk filled the buffer. */
  #full = false;
  /** Chunks since the last one that was not small. */
  #smallChunks = 0;
  /** Somebody has views of the buffer. */
  #held = false;
  /** The last chunk, when it is one of the channel's own. */
  #foreign: Uint8Array | undefined;

  /**
   * @param channel Where the bytes come from.
   * @param msize Largest frame in bytes that is taken.
   */
  constructor(channel: Channel, msize: number) {
    this.#channel = channel;
    this.splitter = new Splitter(msize);
  }

  /** Size in bytes of the buffer that holds the last chunk. */
  get bufferSize(): number {
    return Math.max(this.#buffer.length, this.#foreign?.length ?? 0);
  }

  /** The next bytes, for push(); null at the end. The last chunk is gone then, unless it is held. */
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
    // A quarter of bulk data would be copied twice if each frame that two
    // chunks have parts of got a buffer of its own.
    this.#kept = splitter.rest > 0 ? splitter.move(this.#buffer) : 0;
  }

  /** A chunk of the channel's own was taken apart. */
  #giveBack(chunk: Uint8Array): void {
    const { splitter } = this;
    // Put together where it is, for the chunk to come will not be in the buffer.
    splitter.spill(!this.#held);
    if (!this.#held) this.#channel.free?.(chunk);
    this.#foreign = undefined;
  }

  /** Has the splitter take a chunk apart; all frames of the one before were taken. */
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

  /** The chunk that was read last is to stay as it is. */
  hold(): void {
    this.#held = true;
  }
}
