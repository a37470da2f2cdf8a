// How long one connection may work before other connections work.

import { SLICE_MS, yieldToSockets } from "../../transport/yield.ts";

/**
 * Milliseconds of work on a chunk that delay no other connection: the runtime
 * looks at other sockets after 61 chunks at the latest.
 */
const SHORT_MS = 0.25;
/**
 * A pause of so many milliseconds between two chunks means that the runtime has
 * looked at other sockets.
 */
const PAUSE_MS = 0.3;
/**
 * Work between two looks at the clock within a chunk, counted in small
 * requests.
 */
const CLOCK_INTERVAL = 16;
/** Bytes of a request that count as one more small request. */
const SMALL_REQUEST = 1024;
/**
 * One of so many small chunks is timed, for all of them: a look at the clock
 * costs a tenth of a Tstat.
 */
const SAMPLE = 8;

/**
 * The time slice of a connection. Without it, a client that always has sent
 * more than the server has read would keep the server for itself: the runtime
 * looks at other sockets only between two tasks, and not after each task.
 */
export class TimeSlice {
  /** Milliseconds of work in this slice, without the chunk at hand. */
  #worked = 0;
  /** Milliseconds of work on this chunk. */
  #chunk = 0;
  /** When the work that is not counted yet began; 0 when it is not timed. */
  #since = 0;
  /** When the work on a long chunk ended; 0 after a short one. */
  #ended = 0;
  #chunks = 0;
  /** Number of chunks that the chunk at hand stands for. */
  #weight = 1;
  /** Work since the last look at the clock. */
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

  /** Counts a request of so many bytes. Returns true when the slice is over. */
  isOver(bytes: number): boolean {
    this.#work += 1 + Math.floor(bytes / SMALL_REQUEST);
    if (this.#work < CLOCK_INTERVAL) return false;
    this.#work = 0;
    this.#readClock();
    return this.#worked + this.#chunk > SLICE_MS;
  }

  /**
   * Ends the work on a chunk. A slice that is over ends at the next chunk, so
   * that a client with nothing more to send costs no timer.
   */
  end(): void {
    if (this.#since === 0) return;
    this.#readClock();
    if (this.#chunk < SHORT_MS) return;
    this.#worked += this.#chunk * this.#weight;
    this.#ended = this.#since;
  }

  /** Continues the work after a wait, which does not count. */
  resume(): void {
    this.#since = performance.now();
  }

  /** Waits until other connections have worked; then the next slice begins. */
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
