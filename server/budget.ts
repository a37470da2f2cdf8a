// The memory that clients make the server hold. Each connection has a budget,
// which is part of the budget of its server.

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
   * @param whole Larger budget that this budget is part of, such as the budget
   *   of the server for that of a connection.
   * @param least Bytes that this budget may always have, even if the larger one
   *   is full, so that others cannot take all: none by default.
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
