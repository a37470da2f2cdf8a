// How long one connection may work before the others have their turn.

/** Milliseconds of work in a turn. */
const TURN_MS = 8;
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
export class Turn {
  /** Milliseconds of work in this turn. */
  #worked = 0;
  /** When the work began that is not counted yet; 0 when it is not timed. */
  #since = 0;
  /** How often that work counts. */
  #weight = 1;
  #chunks = 0;
  /** Work since the last look at the clock. */
  #work = 0;

  /** The work on a chunk begins. */
  begin(): void {
    this.#work = 0;
    this.#since = 0;
    if (++this.#chunks % SAMPLE !== 0) return;
    this.#since = performance.now();
    this.#weight = SAMPLE;
  }

  /** Counts a request of so many bytes; true when the turn is over. */
  isOver(bytes: number): boolean {
    this.#work += 1 + Math.floor(bytes / BYTES);
    if (this.#work < LOOK) return false;
    this.#work = 0;
    this.#look();
    return this.#worked > TURN_MS;
  }

  /** The work on a chunk has ended; true when the turn is over. */
  end(): boolean {
    if (this.#since > 0) this.#look();
    return this.#worked > TURN_MS;
  }

  /** The work goes on after a wait, which does not count. */
  resume(): void {
    this.#since = performance.now();
    this.#weight = 1;
  }

  /** Waits until the others have had their turn; the next turn begins. */
  async next(): Promise<void> {
    // A timer: after setImmediate() Deno has looked at no other socket.
    await new Promise((resolve) => setTimeout(resolve));
    this.#worked = 0;
    this.resume();
  }

  #look(): void {
    const now = performance.now();
    if (this.#since > 0) this.#worked += (now - this.#since) * this.#weight;
    this.#since = now;
    this.#weight = 1;
  }
}
