/**
 * A clock for tests of time limits: time passes when the test says so.
 *
 * @module
 */

import { assert } from "@std/assert";

/** Stands in for the timers and `performance.now()` while it is in use. */
export class Clock implements Disposable {
  /** Timers that are running, by their delay in milliseconds. */
  readonly timers: Map<number, () => void> = new Map();
  readonly #setTimeout = globalThis.setTimeout;
  readonly #clearTimeout = globalThis.clearTimeout;
  readonly #now = performance.now;
  /** Milliseconds that have passed. */
  now = 0;

  constructor() {
    const set = (callback: () => void, delay: number): number => {
      assert(!this.timers.has(delay));
      this.timers.set(delay, callback);
      return delay;
    };
    // As far as the client uses them.
    globalThis.setTimeout = set as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((delay: number) => {
      this.timers.delete(delay);
    }) as typeof clearTimeout;
    performance.now = () => this.now;
  }

  /** Lets the time of one timer be up: so much time has passed since its start. */
  expire(delay: number): void {
    const callback = this.timers.get(delay);
    assert(callback, `no timer of ${delay} ms`);
    this.timers.delete(delay);
    this.now += delay;
    callback();
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#setTimeout;
    globalThis.clearTimeout = this.#clearTimeout;
    performance.now = this.#now;
  }
}
