// Budgets of memory. Each connection has a budget, which is part of the budget
// of its server.

/**
 * Counts bytes against a limit. A budget can be part of a larger budget, whose
 * limit then holds as well.
 */
export class Budget {
  readonly #limit: number;
  readonly #whole: Budget | undefined;
  readonly #least: number;
  #used = 0;
  #reserved = 0;

  /**
   * Makes an empty budget.
   *
   * @param limit Most bytes; Infinity for no limit.
   * @param whole Larger budget that contains this budget, as the budget of a
   *   server contains those of its connections.
   * @param least Bytes that this budget may always take, even if the larger
   *   budget is full; 0 by default.
   */
  constructor(limit: number, whole?: Budget, least: number = 0) {
    this.#limit = limit;
    this.#whole = whole;
    this.#least = least;
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
   * Reserves bytes that requests in progress may need later. A negative number
   * gives bytes back. Only lacks() counts reserved bytes.
   */
  reserve(bytes: number): void {
    this.#reserved += bytes;
    this.#whole?.reserve(bytes);
  }

  /** True when `bytes` more do not fit. Reserved bytes count as used. */
  lacks(bytes: number): boolean {
    return this.#used + this.#reserved + bytes > this.#limit ||
      this.#whole?.lacks(bytes) === true;
  }

  /**
   * Takes bytes that are already in use, even above the limit. Give them back
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
    const used = this.#used + bytes;
    if (used > this.#limit) return false;
    const whole = this.#whole;
    if (used <= this.#least) whole?.charge(bytes);
    else if (whole !== undefined && !whole.take(bytes)) return false;
    this.#used = used;
    return true;
  }

  /** Gives back bytes that were taken. */
  give(bytes: number): void {
    this.#used -= bytes;
    this.#whole?.give(bytes);
  }
}
