// The sending side of client and server. Frames are appended to a buffer, and
// all frames of one turn of the event loop are sent in one write.

import type { Dialect, Message } from "../codec.ts";
import { putMessage } from "../codec/layout.ts";
import { NO_BYTES, Writer } from "../codec/wire.ts";
import type { Channel } from "./channel.ts";

// The limits up to which a buffer is kept for the next write. BULK_MOST is the
// limit during a bulk transfer, whose batches are about 1 MiB. FEW_SMALL_MAX is
// the limit after FEW_SMALL_WRITES small writes in a row, and MANY_SMALL_MAX after MANY_SMALL_WRITES small
// writes in a row. A large buffer is not freed at once, because a client that
// lists directories gets small replies between large ones. If the buffer grew
// again for each large reply, a third of the work would be spent on this.
const BULK_MOST = 2 * 1024 * 1024;
const FEW_SMALL_WRITES = 4;
const FEW_SMALL_MAX = 256 * 1024;
const MANY_SMALL_WRITES = 64;
const MANY_SMALL_MAX = 64 * 1024;
/** Most bytes of a small write. */
const SMALL = 4 * 1024;
/**
 * Number of waiting bytes after which the following frames go into another
 * buffer. A single buffer would double its size, and copy all frames, each time
 * it is full. With 768 KiB, little of a buffer of 1 MiB stays unused in most
 * cases.
 */
const FULL_BUFFER = 768 * 1024;

/** A full buffer that waits for the writes before it. */
interface Part {
  readonly bytes: Uint8Array;
  /** Number of its bytes that are to be written. */
  readonly length: number;
}

/** The queue of frames to send to a channel. */
export class Outbox {
  /**
   * The writer with the waiting frames. Append further frames, then call
   * schedule().
   */
  writer: Writer = new Writer(NO_BYTES);
  readonly #channel: Channel;
  readonly #onError: (error: unknown) => void;
  readonly #onTaken: (() => void) | undefined;
  readonly #onHeld: ((bytes: number) => void) | undefined;
  // Number of bytes of the write that is pending.
  #underway = 0;
  /** Full buffers in order. The frames in the writer follow them. */
  #parts: Part[] = [];
  /** Number of bytes to be written from the full buffers. */
  #fullBytes = 0;
  /**
   * Total size of the buffers that were reported to onHeld and still wait for
   * the channel.
   */
  #heldBytes = 0;
  /** Number of bytes of finished writes. */
  #finishedBytes = 0;
  // A second buffer, kept for reuse when the writer already has a buffer.
  #spare: Uint8Array | undefined;
  #smallWrites = 0;
  #scheduled = false;
  #postponed = false;
  #writing = false;
  #ended = false;
  #waiting: (() => void)[] = [];

  /**
   * @param channel Channel for the frames.
   * @param onError Called once when a write fails; later frames are dropped.
   * @param onTaken Called when the channel has taken the written frames.
   * @param onHeld Called with the size of each buffer that starts to wait for
   *   the channel, and with the negative size when the buffer no longer waits.
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

  /**
   * Number of bytes that wait to be written, without the bytes of the pending
   * write.
   */
  get size(): number {
    return this.#fullBytes + this.writer.at;
  }

  /**
   * Number of bytes that the channel has not taken, with the bytes of the
   * pending write.
   */
  get untaken(): number {
    return this.#underway + this.#fullBytes + this.writer.at;
  }

  /** True when the channel has taken all bytes. */
  get idle(): boolean {
    return !this.#writing && this.#fullBytes === 0 && this.writer.at === 0;
  }

  /**
   * A number that grows with each finished write, and with each byte that the
   * channel's `taken` counts.
   */
  get progress(): number {
    return this.#finishedBytes + (this.#channel.taken ?? 0);
  }

  /** Sends a message at the end of this turn of the event loop. */
  send(message: Message, dialect?: Dialect): void {
    putMessage(this.writer, message, dialect);
    this.schedule();
  }

  /**
   * Stops schedule() from scheduling writes until the next flush(). The caller
   * must call flush() before it waits.
   */
  postpone(): void {
    this.#postponed = true;
  }

  /**
   * Sends the frames of the writer at the end of this turn of the event loop.
   */
  schedule(): void {
    if (this.writer.at >= FULL_BUFFER) this.#queueBuffer();
    if (this.#scheduled || this.#postponed) return;
    this.#scheduled = true;
    queueMicrotask(this.#onTurnEnd);
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /** Moves the buffer of the writer to the end of the full buffers. */
  #queueBuffer(): void {
    const { bytes, at } = this.writer;
    // When no write is pending, frames that fit into one write stay together.
    if (!this.#writing && at < BULK_MOST) return;
    this.#renewWriter();
    if (this.#ended) return;
    this.#parts.push({ bytes, length: at });
    this.#fullBytes += at;
    this.#countHeld(bytes.length);
  }

  #renewWriter(): void {
    this.writer.bytes = this.#spare ?? NO_BYTES;
    this.writer.at = 0;
    this.#spare = undefined;
  }

  /**
   * Counts a buffer that starts to wait. A negative size counts a buffer that
   * no longer waits.
   */
  #countHeld(bytes: number): void {
    this.#heldBytes += bytes;
    this.#onHeld?.(bytes);
  }

  /** Starts sending now, or after the pending write. */
  flush(): void {
    this.#postponed = false;
    while (!this.#writing && this.size > 0) {
      const { writer } = this;
      if (this.#ended) {
        writer.at = 0;
        break;
      }
      const part = this.#parts.shift();
      const bytes = part?.bytes ?? writer.bytes;
      const at = part?.length ?? writer.at;
      if (part === undefined) this.#renewWriter();
      else this.#fullBytes -= at;
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
        this.#finishedBytes += at;
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

  /**
   * Waits until the channel has taken all bytes or has failed. Returns
   * undefined when no bytes wait.
   */
  drained(): Promise<void> | undefined {
    if (this.idle) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #written(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#writing = false;
    this.#finishedBytes += this.#underway;
    this.#underway = 0;
    this.#countHeld(-bytes.length);
    this.#reuse(bytes);
    this.flush();
  }

  #reuse(bytes: Uint8Array): void {
    if (bytes.length <= this.#reusableMax) {
      // The next frames go into this buffer, unless the writer already has
      // another buffer.
      if (this.writer.bytes.length === 0) this.writer.bytes = bytes;
      else this.#spare = bytes;
    }
    this.#onTaken?.();
  }

  /** Size in bytes up to which a buffer is kept for reuse. */
  get #reusableMax(): number {
    if (this.#smallWrites < FEW_SMALL_WRITES) return BULK_MOST;
    return this.#smallWrites < MANY_SMALL_WRITES
      ? FEW_SMALL_MAX
      : MANY_SMALL_MAX;
  }

  #fail(error: unknown): void {
    const isFirst = !this.#ended;
    this.drop();
    if (isFirst) this.#onError(error);
    this.#wake();
  }

  /**
   * Drops all waiting frames and all later frames. Called when the connection
   * has ended.
   */
  drop(): void {
    this.#ended = true;
    this.#writing = false;
    this.#underway = 0;
    this.writer.at = 0;
    for (const { bytes } of this.#parts) free(bytes);
    this.#parts = [];
    this.#fullBytes = 0;
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
 * Frees the memory of a buffer at once. The garbage collector would free the
 * memory much later.
 */
function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
