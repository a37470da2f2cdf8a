// Counts the work of a session that has no reply.

import type { Awaitable } from "../handler.ts";

/**
 * Counts asynchronous work without a reply: operations of an old session, and
 * releases of fids and nodes.
 */
export class Background {
  readonly #onIdle: () => void;
  #count = 0;

  /** @param onIdle Called when no work is in progress any more. */
  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
  }

  /** True when no work is in progress. */
  get isIdle(): boolean {
    return this.#count === 0;
  }

  /** Counts work that begins. */
  begin(): void {
    this.#count++;
  }

  /** Counts work that has ended. */
  end(): void {
    this.#count--;
    if (this.#count === 0) this.#onIdle();
  }

  /**
   * Runs work, and counts it while its promise is pending.
   *
   * @param work The work.
   * @param failed Called with the error of the work.
   * @param ended Called when the work has ended, even if it has failed.
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
