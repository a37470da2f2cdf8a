// Memory that a peer can make the server hold. Each connection has a budget of
// its own, which is part of the budget of its server.

/** Counts bytes against a limit, and against the limit of the budget that this one is part of. */
export class Budget {
  readonly #limit: number;
  readonly #whole: Budget | undefined;
  #used = 0;
  #reserved = 0;

  /**
   * Makes a budget of which nothing is taken.
   *
   * @param limit Most bytes; Infinity for no limit.
   * @param whole Budget that this one is part of: of the server, for a connection.
   */
  constructor(limit: number, whole?: Budget) {
    this.#limit = limit;
    this.#whole = whole;
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
    if (this.#used + bytes > this.#limit) return false;
    if (this.#whole !== undefined && !this.#whole.take(bytes)) return false;
    this.#used += bytes;
    return true;
  }

  /** Gives bytes back that were taken. */
  give(bytes: number): void {
    this.#used -= bytes;
    this.#whole?.give(bytes);
  }
}
