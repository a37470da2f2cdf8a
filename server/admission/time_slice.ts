// Limits how long the server works for one connection before it works for
// others.

import { SLICE_MS, yieldToSockets } from "../../transport/yield.ts";

/**
 * Work on a chunk that is shorter does not count, in milliseconds. The runtime
 * polls other sockets after 61 chunks at the latest, so short chunks delay no
 * other connection.
 */
const SHORT_MS = 0.25;
/**
 * A longer pause between two chunks, in milliseconds, means that the runtime
 * has polled other sockets.
 */
const PAUSE_MS = 0.3;
/** Number of small requests of a chunk between two readings of the clock. */
const CLOCK_INTERVAL = 16;
/**
 * Each of these many bytes of a request counts as one further small request.
 */
const SMALL_REQUEST = 1024;
/**
 * Of this many small chunks only one is timed, because a reading of the clock
 * costs a tenth of a Tstat.
 */
const SAMPLE = 8;

/**
 * The time slice of a connection. Without it, a client that sends faster than
 * the server reads would block all other clients, because the runtime polls
 * other sockets only between two tasks, and not after each task.
 */
export class TimeSlice {
  /** Milliseconds of work in this slice, without the current chunk. */
  #worked = 0;
  /** Milliseconds of work on the current chunk. */
  #chunk = 0;
  /**
   * Start of the work that is not counted yet; 0 when the work is not timed.
   */
  #since = 0;
  /** End of the work on a long chunk; 0 after a short chunk. */
  #ended = 0;
  #chunks = 0;
  /** Number of chunks that the current chunk represents in the sample. */
  #weight = 1;
  /** Work since the last reading of the clock, in small requests. */
  #work = 0;

  /** Begins the work on a chunk. Returns true when the slice is over. */
  begin(): boolean {
    this.#work = this.#chunk = this.#since = 0;
    this.#weight = 1;
    if (this.#ended > 0) {
      this.#since = performance.now();
      if (this.#since - this.#ended > PAUSE_MS) this.#worked = 0;
      this.#ended = 0;
    } else if (++this.#chunks % SAMPLE === 0) {
      this.#since = performance.now();
      this.#weight = SAMPLE;
    }
    return this.#worked > SLICE_MS;
  }

  /** Counts a request of `bytes` bytes. Returns true when the slice is over. */
  isOver(bytes: number): boolean {
    this.#work += 1 + Math.floor(bytes / SMALL_REQUEST);
    if (this.#work < CLOCK_INTERVAL) return false;
    this.#work = 0;
    this.#readClock();
    return this.#worked + this.#chunk > SLICE_MS;
  }

  /**
   * Ends the work on a chunk. begin() of the next chunk ends the slice, so a
   * client that sends no further chunk costs no timer.
   */
  end(): void {
    if (this.#since === 0) return;
    this.#readClock();
    if (this.#chunk < SHORT_MS) return;
    this.#worked += this.#chunk * this.#weight;
    this.#ended = this.#since;
  }

  /** Continues the work after a wait. The time of the wait does not count. */
  resume(): void {
    this.#since = performance.now();
  }

  /**
   * Waits until the server has worked for other connections, and begins the
   * next slice.
   */
  async next(): Promise<void> {
    await yieldToSockets();
    this.#worked = this.#chunk = 0;
    this.resume();
  }

  #readClock(): void {
    const now = performance.now();
    if (this.#since > 0) this.#chunk += now - this.#since;
    this.#since = now;
  }
}
