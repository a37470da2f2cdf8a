/**
 * A clock for tests of time limits. A test lets time pass explicitly.
 *
 * @module
 */

import { assert } from "@std/assert";

interface Timer {
  readonly callback: () => void;
  /** When it fires. */
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
    // The functions that the client uses.
    globalThis.setTimeout = set as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((delay: number) => {
      this.timers.delete(delay);
    }) as typeof clearTimeout;
    performance.now = () => this.#time;
  }

  /** Advances the time; fails when a timer would fire. */
  pass(milliseconds: number): void {
    this.#time += milliseconds;
    for (const { due } of this.timers.values()) {
      assert(due > this.#time, `a timer was due at ${due} ms`);
    }
  }

  /** Lets one timer fire. */
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
