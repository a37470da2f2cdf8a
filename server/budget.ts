// Memory that a peer can make the server hold. Each connection has a budget of
// its own, which is part of the budget of its server.

/** Counts bytes against a limit, and against the limit of the budget that this one is part of. */
export class Budget {
  readonly #limit: number;
  readonly #whole: Budget | undefined;
  readonly #least: number;
  #used = 0;
  #reserved = 0;

  /**
   * Makes a budget of which nothing is taken.
   *
   * @param limit Most bytes; Infinity for no limit.
   * @param whole Budget that this one is part of: of the server, for a connection.
   * @param least Bytes that this one may always have, also when that one is
   *   full: none by default. So others cannot take all from this one.
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

  /** True when the limit is reached, of this budget or of the one that it is part of. */
  get isFull(): boolean {
    return this.#used >= this.#limit || this.#whole?.isFull === true;
  }

  /** Reserves bytes that work under way may come to hold; below zero, gives them back. Only lacks() counts them. */
  reserve(bytes: number): void {
    this.#reserved += bytes;
    this.#whole?.reserve(bytes);
  }

  /** True when further work may come to hold so many bytes, and there is no room for them. */
  lacks(bytes: number): boolean {
    return this.#used + this.#reserved + bytes > this.#limit ||
      this.#whole?.lacks(bytes) === true;
  }

  /** Counts bytes that are held already, also beyond the limit; give() takes them back. */
  charge(bytes: number): void {
    this.#used += bytes;
    this.#whole?.charge(bytes);
  }

  /** Takes bytes; false, and nothing is taken, when a limit would be passed. */
  take(bytes: number): boolean {
    const used = this.#used + bytes;
    if (used > this.#limit) return false;
    const whole = this.#whole;
    if (used <= this.#least) whole?.charge(bytes);
    else if (whole !== undefined && !whole.take(bytes)) return false;
    this.#used = used;
    return true;
  }

  /** Gives bytes back that were taken. */
  give(bytes: number): void {
    this.#used -= bytes;
    this.#whole?.give(bytes);
  }
}
