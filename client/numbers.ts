// Tags and fids are the same to a client: small numbers that it chooses, and
// that the server must not see twice at a time.

/** Numbers of one kind; the lowest one that is free is taken next. */
export class NumberPool {
  readonly #limit: number;
  /** By number; there are holes. */
  readonly #taken: boolean[] = [];
  /** No number below it is free. */
  #lowest = 0;
  #size = 0;

  /** @param limit The numbers are 0 to `limit` - 1. */
  constructor(limit: number) {
    this.#limit = limit;
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
    let number = this.#lowest;
    while (this.#taken[number]) number++;
    if (number >= this.#limit) {
      throw new RangeError(
        `Cannot take a tag or fid: all ${number} are in use`,
      );
    }
    this.#taken[number] = true;
    this.#lowest = number + 1;
    this.#size++;
    return number;
  }

  /**
   * Takes one number.
   *
   * @throws {RangeError} It is taken, or not one of the pool's.
   */
  claim(number: number): void {
    const isOne = Number.isInteger(number) && number >= 0 &&
      number < this.#limit;
    if (!isOne || this.#taken[number]) {
      throw new RangeError(
        `Cannot take ${number} as a tag or fid: ${
          isOne ? "it is in use" : `the range is 0 to ${this.#limit - 1}`
        }`,
      );
    }
    this.#taken[number] = true;
    this.#size++;
  }

  /** Gives a number back; one that is not taken is ignored. */
  give(number: number): void {
    if (!this.#taken[number]) return;
    this.#taken[number] = false;
    if (number < this.#lowest) this.#lowest = number;
    this.#size--;
  }

  /** The numbers that are taken, in order. */
  all(): number[] {
    return [...this.#taken.keys()].filter((number) => this.#taken[number]);
  }
}
