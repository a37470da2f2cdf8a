/**
 * A clock for tests of time limits: time passes when the test says so.
 *
 * @module
 */

import { assert } from "@std/assert";

interface Timer {
  readonly callback: () => void;
  /** When its time is up. */
  readonly due: number;
}

/** Stands in for the timers and `performance.now()` while it is in use. */
export class Clock implements Disposable {
  /** Timers that are running, by their delay in milliseconds. */
  readonly timers: Map<number, Timer> = new Map();
  readonly #setTimeout = globalThis.setTimeout;
  readonly #clearTimeout = globalThis.clearTimeout;
  readonly #now = performance.now;
  #time = 0;

  constructor() {
    const set = (callback: () => void, delay: number): number => {
      assert(!this.timers.has(delay), `two timers of ${delay} ms`);
      this.timers.set(delay, { callback, due: this.#time + delay });
      return delay;
    };
    // As far as the client uses them.
    globalThis.setTimeout = set as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((delay: number) => {
      this.timers.delete(delay);
    }) as typeof clearTimeout;
    performance.now = () => this.#time;
  }

  /** Lets time pass, in which the time of no timer may be up. */
  pass(milliseconds: number): void {
    this.#time += milliseconds;
    for (const { due } of this.timers.values()) {
      assert(due > this.#time, `a timer was due at ${due} ms`);
    }
  }

  /** Lets the time of one timer be up. */
  expire(delay: number): void {
    const timer = this.timers.get(delay);
    assert(timer, `no timer of ${delay} ms`);
    this.timers.delete(delay);
    this.#time = Math.max(this.#time, timer.due);
    timer.callback();
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#setTimeout;
    globalThis.clearTimeout = this.#clearTimeout;
    performance.now = this.#now;
  }
}
