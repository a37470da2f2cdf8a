// The work of a session that no client waits for.

import type { Awaitable } from "../handler.ts";

/**
 * Counts the work that goes on without a reply: operations of an old session,
 * and releases of fids and nodes.
 */
export class Background {
  readonly #onIdle: () => void;
  #count = 0;

  /**
   * @param onIdle Called when nothing is under way any more.
   */
  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
  }

  /** True when nothing is under way. */
  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Work begins. */
  begin(): void {
    this.#count++;
  }

  /** Work has ended. */
  end(): void {
    this.#count--;
    if (this.#count === 0) this.#onIdle();
  }

  /**
   * Runs work, and counts it if it takes time.
   *
   * @param work The work.
   * @param failed Called with the error of the work.
   * @param ended Called when it has ended.
   */
  run(
    work: () => Awaitable<void>,
    failed: (error: unknown) => void,
    ended?: () => void,
  ): void {
    try {
      const done = work();
      if (done instanceof Promise) {
        this.begin();
        done.catch(failed).then(ended).then(() => this.end());
        return;
      }
    } catch (error) {
      failed(error);
    }
    ended?.();
  }
}
