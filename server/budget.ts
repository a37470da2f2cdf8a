// The memory that clients make the server hold. Each connection has a budget,
// which is part of the budget of its server.

/**
 * Counts bytes against a limit. A budget can be part of a larger budget, whose
 * limit then holds as well.
 */
export class Budget {
  readonly #limit: number;
  readonly #whole: Budget | undefined;
  #used = 0;
  #reserved = 0;

  /**
   * Makes an empty budget.
   *
   * @param limit Most bytes; Infinity for no limit.
   * @param whole Larger budget that this budget is part of, such as the budget
   *   of the server for that of a connection.
   */
  constructor(limit: number, whole?: Budget) {
    this.#limit = limit;
    this.#whole = whole;
  }

  /** Bytes that are taken. */
  get used(): number {
    return this.#used;
  }

  /** True when this budget or the larger one has reached its limit. */
  get isFull(): boolean {
    return this.#used >= this.#limit || this.#whole?.isFull === true;
  }

  /**
   * Reserves bytes that work under way may need later; a negative number gives
   * them back. Only lacks() counts reserved bytes.
   */
  reserve(bytes: number): void {
    this.#reserved += bytes;
    this.#whole?.reserve(bytes);
  }

  /**
   * True when there is no room for so many further bytes, reserved bytes
   * included.
   */
  lacks(bytes: number): boolean {
    return this.#used + this.#reserved + bytes > this.#limit ||
      this.#whole?.lacks(bytes) === true;
  }

  /**
   * Counts bytes that are held already, even above the limit. Give them back
   * with give().
   */
  charge(bytes: number): void {
    this.#used += bytes;
    this.#whole?.charge(bytes);
  }

  /**
   * Takes bytes. Takes none and returns false when a limit would be exceeded.
   */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.#limit) return false;
    if (this.#whole !== undefined && !this.#whole.take(bytes)) return false;
    this.#used += bytes;
    return true;
  }

  /** Gives back bytes that were taken. */
  give(bytes: number): void {
    this.#used -= bytes;
    this.#whole?.give(bytes);
  }
}
