// What client and server send through: frames are put one behind the other
// into a buffer, and all that came in one turn goes out with one write.

import { putMessage } from "../codec/layout.ts";
import type { Dialect } from "../codec/layout.ts";
import type { Message } from "../codec/messages.ts";
import { Writer } from "../codec/wire.ts";
import type { Channel } from "./channel.ts";

// A buffer that grew beyond this is not kept for the next write. A batch of
// bulk writes is about 1 MiB.
const KEEP = 2 * 1024 * 1024;
const START = 512; // Two of them are most of an idle connection.
// A larger one is given back after so many small writes: bulk transfers are over.
const LARGE = 64 * 1024;
const SMALL_WRITES = 4;

/** Frames on their way to a channel. */
export class Outbox {
  /** The frames that wait; put further ones behind them, then call schedule(). */
  writer: Writer = new Writer(new Uint8Array(START));
  readonly #channel: Channel;
  readonly #onError: (error: unknown) => void;
  readonly #onTaken: (() => void) | undefined;
  // Bytes of the write that is going on.
  #underway = 0;
  // The buffer of the last write, to be used again.
  #spare: Uint8Array | undefined;
  #smallWrites = 0;
  #scheduled = false;
  #writing = false;
  #dead = false;
  #waiting: (() => void)[] = [];

  /**
   * @param channel Where the frames go.
   * @param onError Told once when a write fails; all frames after it are dropped.
   * @param onTaken Told when the channel has taken what was written.
   */
  constructor(
    channel: Channel,
    onError: (error: unknown) => void,
    onTaken?: () => void,
  ) {
    this.#channel = channel;
    this.#onError = onError;
    this.#onTaken = onTaken;
  }

  /** Bytes that wait for the write that is going on. */
  get size(): number {
    return this.writer.at;
  }

  /** Bytes that the channel has not taken. */
  get untaken(): number {
    return this.#underway + this.writer.at;
  }

  /** Whether all bytes were taken by the channel. */
  get idle(): boolean {
    return !this.#writing && this.writer.at === 0;
  }

  /** Sends a message at the end of this turn. */
  send(message: Message, dialect?: Dialect): void {
    putMessage(this.writer, message, dialect);
    this.schedule();
  }

  /** Sees to it that what is in the writer goes out at the end of this turn. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#onTurnEnd);
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /** Starts to send now, unless a write is going on: then its end does. */
  flush(): void {
    while (!this.#writing && this.writer.at > 0) {
      const { writer } = this;
      const { bytes, at } = writer;
      if (this.#dead) {
        writer.at = 0;
        break;
      }
      this.#smallWrites = at <= LARGE / 16 ? this.#smallWrites + 1 : 0;
      writer.bytes = this.#spare ?? new Uint8Array(START);
      writer.at = 0;
      this.#spare = undefined;
      let written: Promise<void> | undefined;
      try {
        written = this.#channel.write(bytes.subarray(0, at));
      } catch (error) {
        this.#fail(error);
        break;
      }
      if (written === undefined) {
        this.#taken(bytes);
        continue;
      }
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
    this.#writing = false;
    this.#underway = 0;
    this.#taken(bytes);
    this.flush();
  }

  #taken(bytes: Uint8Array): void {
    const most = this.#smallWrites < SMALL_WRITES ? KEEP : LARGE;
    if (bytes.length <= most) this.#spare = bytes;
    this.#onTaken?.();
  }

  #fail(error: unknown): void {
    this.#writing = false;
    this.#underway = 0;
    this.writer.at = 0;
    if (!this.#dead) {
      this.#dead = true;
      this.#onError(error);
    }
    this.#wake();
  }

  #wake(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
