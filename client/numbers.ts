// Tags and fids are the same to a client: small numbers that it chooses, and
// that the server must not see twice at a time.

/** Numbers of one kind; the lowest one that is free is taken next. */
export class NumberPool {
  readonly #base: number;
  /** How many numbers there are. */
  readonly #count: number;
  /** By number, counted from the base; there are holes. */
  readonly #taken: boolean[] = [];
  /** No number below it is free, counted from the base. */
  #lowest = 0;
  #size = 0;

  /** The numbers are `base` to `limit` - 1. */
  constructor(limit: number, base = 0) {
    this.#base = base;
    this.#count = limit - base;
  }

  /** How many numbers are taken. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes the lowest free number.
   *
   * @throws {RangeError} All are taken.
   */
  take(): number {
    let at = this.#lowest;
    while (this.#taken[at]) at++;
    if (at >= this.#count) {
      throw new RangeError(`Cannot take a tag or fid: all ${at} are in use`);
    }
    this.#taken[at] = true;
    this.#lowest = at + 1;
    this.#size++;
    return this.#base + at;
  }

  /**
   * Takes one number.
   *
   * @throws {RangeError} It is taken, or not one of the pool's.
   */
  claim(number: number): void {
    const base = this.#base;
    const at = number - base;
    const isOne = Number.isInteger(at) && at >= 0 && at < this.#count;
    if (!isOne || this.#taken[at]) {
      const last = base + this.#count - 1;
      throw new RangeError(
        `Cannot take ${number} as a tag or fid: ${
          isOne ? "it is in use" : `the range is ${base} to ${last}`
        }`,
      );
    }
    this.#taken[at] = true;
    this.#size++;
  }

  /** Gives a number back; one that is not taken is ignored. */
  give(number: number): void {
    const at = number - this.#base;
    if (!this.#taken[at]) return;
    this.#taken[at] = false;
    if (at < this.#lowest) this.#lowest = at;
    this.#size--;
  }

  /** The numbers that are taken, in order. */
  all(): number[] {
    const all: number[] = [];
    this.#taken.forEach((isTaken, at) => {
      if (isTaken) all.push(this.#base + at);
    });
    return all;
  }
}
