// Counts the descriptors that the fids of a host directory hold.

import { NinePError } from "../../codec.ts";

/** Counts descriptors up to a limit. */
export class Descriptors {
  readonly #most: number;
  #count = 0;

  /** @param most Most descriptors. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Number of descriptors that are open or are being opened. */
  get count(): number {
    return this.#count;
  }

  /**
   * Reserves a descriptor.
   *
   * @throws {NinePError} When the limit is reached.
   */
  take(): void {
    if (this.#count >= this.#most) throw new NinePError("Too many open files");
    this.#count++;
  }

  /** Gives a descriptor back. */
  give(): void {
    this.#count--;
  }
}
