// Lets a session wait for a condition.

import type { RefGroup } from "../../transport/ref_group.ts";

/** Lets callers wait until a condition is true. */
export class Condition {
  readonly #refs: RefGroup;
  readonly #limit: number;
  /** The functions that end the current waits. */
  #waits: (() => void)[] = [];

  /**
   * @param refs The group of the timers.
   * @param limit Most milliseconds of within().
   */
  constructor(refs: RefGroup, limit: number) {
    this.#refs = refs;
    this.#limit = limit;
  }

  /**
   * Waits until `done` returns true. wake() makes the wait call `done` again.
   */
  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>((resolve) => this.#waits.push(resolve));
    }
  }

  /** Waits until `done` returns true, but not longer than the limit. */
  async within(done: () => boolean): Promise<void> {
    if (done()) return;
    let late = false;
    const timer = this.#refs.after(this.#limit, () => {
      late = true;
      this.wake();
    });
    await this.until(() => late || done());
    this.#refs.cancel(timer);
  }

  /** Makes all waits check their conditions again. */
  wake(): void {
    if (this.#waits.length === 0) return;
    const waits = this.#waits;
    this.#waits = [];
    for (const resolve of waits) resolve();
  }
}
