// Reads the bytes of a client, and notices the end of the client even while the
// session waits.

import type { Channel } from "../../transport/channel.ts";
import { Intake } from "../../transport/intake.ts";

/** Size of the buffer of a read ahead. */
const AHEAD_SIZE = 8 * 1024;
/**
 * Maximum of reads ahead while a session waits. After them the session notices
 * the end of the client only after the wait.
 */
const AHEAD_MAX = 32;
const AHEAD_BYTES_MAX = 256 * 1024;

/** The receiving half of a connection. */
export class Input extends Intake {
  readonly #channel: Channel;
  // Reads ahead, started while the session waits, to notice the end of the
  // client.
  readonly #ahead: Promise<Uint8Array | null>[] = [];
  #onEnd: ((lost?: unknown) => void) | undefined;
  #reading = false;
  /** Bytes that were read ahead during the current wait. */
  #aheadBytes = 0;

  constructor(channel: Channel, msize: number) {
    super(channel, msize);
    this.#channel = channel;
  }

  override read(): Promise<Uint8Array | null> {
    const ahead = this.#ahead.length > 0 ? this.#ahead.shift() : undefined;
    return ahead ?? super.read();
  }

  /**
   * Reads ahead until unwatch().
   *
   * @param onEnd Called when the client has ended the connection, or with an
   *   error when the connection has failed.
   */
  watch(onEnd: (lost?: unknown) => void): void {
    this.#onEnd = onEnd;
    this.#aheadBytes = 0;
    this.#readAhead();
  }

  /** Stops reading ahead. */
  unwatch(): void {
    this.#onEnd = undefined;
  }

  #readAhead(): void {
    if (this.#onEnd === undefined || this.#reading) return;
    if (
      this.#ahead.length >= AHEAD_MAX || this.#aheadBytes > AHEAD_BYTES_MAX
    ) return;
    this.#reading = true;
    const read = this.#channel.read(new Uint8Array(AHEAD_SIZE));
    this.#ahead.push(read);
    read.then((chunk) => {
      this.#reading = false;
      if (chunk === null) return this.#onEnd?.();
      this.#aheadBytes += chunk.length;
      this.#readAhead();
    }, (error) => this.#onEnd?.(error));
  }

  /** Reads the remaining bytes and discards them without parsing them. */
  async drain(): Promise<void> {
    for (const ahead of this.#ahead) await ahead;
    const buffer = new Uint8Array(AHEAD_SIZE);
    while (await this.#channel.read(buffer) !== null);
  }
}
