// The sending side of client and server. Frames are put one behind the other
// into a buffer, and the frames of one turn of the event loop go out in one
// write.

import type { Dialect, Message } from "../codec.ts";
import { putMessage } from "../codec/layout.ts";
import { NO_BYTES, Writer } from "../codec/wire.ts";
import type { Channel } from "./channel.ts";

// Sizes up to which a buffer is kept for the next write: during a bulk
// transfer, whose batches are about 1 MiB; after a few small writes; and after
// a long time. A large buffer is not freed at once, because a client that lists
// directories has small replies between large ones, and to let the buffer grow
// each time costs a third of the work.
const BULK_MOST = 2 * 1024 * 1024;
const PAUSE = 4;
const PAUSE_MOST = 256 * 1024;
const REST = 64;
const REST_MOST = 64 * 1024;
/** Most bytes of a small write. */
const SMALL = 4 * 1024;
/**
 * When so many bytes wait, the following frames go into another buffer. One
 * buffer for all of them would double its size, and copy all frames, each time
 * that it is full. With this number, most frames leave little room in a buffer
 * of 1 MiB.
 */
const PART = 768 * 1024;

/** A full buffer that waits for the writes before it. */
interface Part {
  readonly bytes: Uint8Array;
  /** Number of its bytes that are to be written. */
  readonly length: number;
}

/** Frames on their way to a channel. */
export class Outbox {
  /**
   * The writer with the waiting frames. Put further frames behind them, then
   * call schedule().
   */
  writer: Writer = new Writer(NO_BYTES);
  readonly #channel: Channel;
  readonly #onError: (error: unknown) => void;
  readonly #onTaken: (() => void) | undefined;
  readonly #onHeld: ((bytes: number) => void) | undefined;
  // Bytes of the write that is under way.
  #underway = 0;
  /** Full buffers in order. The frames in the writer follow them. */
  #parts: Part[] = [];
  /** Number of bytes to be written from the full buffers. */
  #parted = 0;
  /** Total size of the buffers that were reported to onHeld. */
  #heldBytes = 0;
  /** Number of bytes of finished writes. */
  #done = 0;
  // The buffer of the last write, to be used again, when there are two.
  #spare: Uint8Array | undefined;
  #smallWrites = 0;
  #scheduled = false;
  #held = false;
  #writing = false;
  #dead = false;
  #waiting: (() => void)[] = [];

  /**
   * @param channel Channel for the frames.
   * @param onError Called once when a write fails; later frames are dropped.
   * @param onTaken Called when the channel has taken the written frames.
   * @param onHeld Called with the size of each buffer that waits for the
   *   channel, and with the negative size when the buffer waits no more.
   */
  constructor(
    channel: Channel,
    onError: (error: unknown) => void,
    onTaken?: () => void,
    onHeld?: (bytes: number) => void,
  ) {
    this.#channel = channel;
    this.#onError = onError;
    this.#onTaken = onTaken;
    this.#onHeld = onHeld;
  }

  /** Bytes that wait for the write that is going on. */
  get size(): number {
    return this.#parted + this.writer.at;
  }

  /** Bytes that the channel has not taken. */
  get untaken(): number {
    return this.#underway + this.#parted + this.writer.at;
  }

  /** True when all bytes were taken by the channel. */
  get idle(): boolean {
    return !this.#writing && this.#parted === 0 && this.writer.at === 0;
  }

  /**
   * A number that grows with each byte that the peer takes, or with each write
   * if the channel does not count bytes.
   */
  get progress(): number {
    return this.#done + (this.#channel.taken ?? 0);
  }

  /** Sends a message at the end of this turn. */
  send(message: Message, dialect?: Dialect): void {
    putMessage(this.writer, message, dialect);
    this.schedule();
  }

  /**
   * Schedules no write until the next flush(), which the caller makes before it
   * waits.
   */
  hold(): void {
    this.#held = true;
  }

  /**
   * Sends the frames of the writer at the end of this turn of the event loop.
   */
  schedule(): void {
    if (this.writer.at >= PART) this.#endPart();
    if (this.#scheduled || this.#held) return;
    this.#scheduled = true;
    queueMicrotask(this.#onTurnEnd);
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /** Moves the buffer of the writer to the end of the full buffers. */
  #endPart(): void {
    const { bytes, at } = this.writer;
    // Frames that fit into one write are not divided.
    if (!this.#writing && at < BULK_MOST) return;
    this.#renewWriter();
    if (this.#dead) return;
    this.#parts.push({ bytes, length: at });
    this.#parted += at;
    this.#countHeld(bytes.length);
  }

  #renewWriter(): void {
    this.writer.bytes = this.#spare ?? NO_BYTES;
    this.writer.at = 0;
    this.#spare = undefined;
  }

  /**
   * Counts a buffer that waits, or, with a negative size, one that waits no
   * more.
   */
  #countHeld(bytes: number): void {
    this.#heldBytes += bytes;
    this.#onHeld?.(bytes);
  }

  /** Starts to send now, or at the end of the write that is under way. */
  flush(): void {
    this.#held = false;
    while (!this.#writing && this.size > 0) {
      const { writer } = this;
      if (this.#dead) {
        writer.at = 0;
        break;
      }
      const part = this.#parts.shift();
      const bytes = part?.bytes ?? writer.bytes;
      const at = part?.length ?? writer.at;
      if (part === undefined) this.#renewWriter();
      else this.#parted -= at;
      this.#smallWrites = at <= SMALL ? this.#smallWrites + 1 : 0;
      let written: Promise<void> | undefined;
      try {
        written = this.#channel.write(bytes.subarray(0, at));
      } catch (error) {
        this.#fail(error);
        break;
      }
      if (written === undefined) {
        if (part !== undefined) this.#countHeld(-bytes.length);
        this.#done += at;
        this.#reuse(bytes);
        continue;
      }
      if (part === undefined) this.#countHeld(bytes.length);
      this.#writing = true;
      this.#underway = at;
      written.then(() => this.#written(bytes), (error) => this.#fail(error));
    }
    if (this.idle) this.#wake();
  }

  /** Waits until all bytes were taken by the channel, or it failed. */
  drained(): Promise<void> | undefined {
    if (this.idle) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #written(bytes: Uint8Array): void {
    if (this.#dead) return;
    this.#writing = false;
    this.#done += this.#underway;
    this.#underway = 0;
    this.#countHeld(-bytes.length);
    this.#reuse(bytes);
    this.flush();
  }

  #reuse(bytes: Uint8Array): void {
    if (bytes.length <= this.#most) {
      // The next frames go into this buffer, unless they have another one by
      // now.
      if (this.writer.bytes.length === 0) this.writer.bytes = bytes;
      else this.#spare = bytes;
    }
    this.#onTaken?.();
  }

  /** Largest buffer that is kept. */
  get #most(): number {
    if (this.#smallWrites < PAUSE) return BULK_MOST;
    return this.#smallWrites < REST ? PAUSE_MOST : REST_MOST;
  }

  #fail(error: unknown): void {
    const isFirst = !this.#dead;
    this.drop();
    if (isFirst) this.#onError(error);
    this.#wake();
  }

  /** Drops all frames, later ones included: the connection has ended. */
  drop(): void {
    this.#dead = true;
    this.#writing = false;
    this.#underway = 0;
    this.writer.at = 0;
    for (const { bytes } of this.#parts) free(bytes);
    this.#parts = [];
    this.#parted = 0;
    this.#spare = undefined;
    if (this.#heldBytes > 0) this.#countHeld(-this.#heldBytes);
  }

  #wake(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/**
 * Frees the memory of a buffer at once; the garbage collector would do so much
 * later.
 */
function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
