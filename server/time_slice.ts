// How long one connection may work before the others have their turn.

/** Milliseconds of work in a turn. */
const TURN_MS = 8;
/**
 * Milliseconds of work on a chunk that hold nobody up: the runtime looks at
 * other sockets after 61 chunks at the latest.
 */
const SHORT_MS = 0.25;
/** Milliseconds between two chunks in which the runtime has looked at other sockets. */
const PAUSE_MS = 0.3;
/** Work between two looks at the clock within a chunk, in small requests. */
const LOOK = 16;
/** Bytes of a request that count as much as one more small request. */
const BYTES = 1024;
/** Of so many small chunks one is timed, for all of them: a look at the clock costs a tenth of a Tstat. */
const SAMPLE = 8;

/**
 * The turn of a connection. A client that always has sent more than the server
 * has read would otherwise keep the server for itself: the runtime looks at
 * other sockets only between two tasks, and not after each of them.
 */
export class TimeSlice {
  /** Milliseconds of work in this turn, without the chunk that is being worked on. */
  #worked = 0;
  /** Milliseconds of work on this chunk. */
  #chunk = 0;
  /** When the work began that is not counted yet; 0 when it is not timed. */
  #since = 0;
  /** When the work on a long chunk ended; 0 after a short one. */
  #ended = 0;
  #chunks = 0;
  /** For how many chunks this one counts. */
  #weight = 1;
  /** Work since the last look at the clock. */
  #work = 0;

  /** The work on a chunk begins. */
  begin(): void {
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
  }

  /** Counts a request of so many bytes; true when the turn is over. */
  isOver(bytes: number): boolean {
    this.#work += 1 + Math.floor(bytes / BYTES);
    if (this.#work < LOOK) return false;
    this.#work = 0;
    this.#look();
    return this.#worked + this.#chunk > TURN_MS;
  }

  /** The work on a chunk has ended; true when the turn is over. */
  end(): boolean {
    if (this.#since === 0) return false;
    this.#look();
    if (this.#chunk < SHORT_MS) return false;
    this.#worked += this.#chunk * this.#weight;
    this.#ended = this.#since;
    return this.#worked > TURN_MS;
  }

  /** The work goes on after a wait, which does not count. */
  resume(): void {
    this.#since = performance.now();
  }

  /** Waits until the others have had their turn; the next turn begins. */
  async next(): Promise<void> {
    // After a timer of 0 ms that is due, or setImmediate(), Deno has not looked
    // at other sockets; a timer takes 2 ms, in which it does nothing else.
    await new Promise((resolve) => setTimeout(resolve));
    this.#worked = this.#chunk = 0;
    this.resume();
  }

  #look(): void {
    const now = performance.now();
    if (this.#since > 0) this.#chunk += now - this.#since;
    this.#since = now;
  }
}
