// The numbers of tags and fids. The client chooses small numbers, and uses no
// number twice at the same time.

import { NOFID } from "../../codec.ts";

/** A pool of numbers. The lowest free number is taken next. */
export class NumberPool {
  readonly #kind: "tag" | "fid";
  readonly #base: number;
  /** Number of all numbers. */
  readonly #count: number;
  /**
   * True for each taken number, counted from the base. The array has holes.
   */
  readonly #taken: boolean[] = [];
  /** No number below this one is free, counted from the base. */
  #lowest = 0;
  #size = 0;

  /** The numbers are `base` to `limit` - 1. */
  constructor(kind: "tag" | "fid", limit: number, base = 0) {
    this.#kind = kind;
    this.#base = base;
    this.#count = limit - base;
  }

  /** Number of taken numbers. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes the lowest free number.
   *
   * @param above Take a number above this one; by default any number.
   * @throws {RangeError} All numbers are taken.
   */
  take(above?: number): number {
    let at = above === undefined ? this.#lowest : above - this.#base + 1;
    while (this.#taken[at]) at++;
    if (at >= this.#count) {
      throw new RangeError(`Cannot take a ${this.#kind}: all ${at} are in use`);
    }
    this.#taken[at] = true;
    if (above === undefined) this.#lowest = at + 1;
    this.#size++;
    return this.#base + at;
  }

  /**
   * Takes a given number. It must not be far above the others, because all()
   * counts up to it.
   *
   * @throws {RangeError} The number is taken, or out of the range of the pool.
   */
  claim(number: number): void {
    const base = this.#base;
    const at = number - base;
    const isOne = Number.isInteger(at) && at >= 0 && at < this.#count;
    if (!isOne || this.#taken[at]) {
      const last = base + this.#count - 1;
      throw new RangeError(
        `Cannot take ${number} as a ${this.#kind}: ${
          isOne ? "it is in use" : `the range is ${base} to ${last}`
        }`,
      );
    }
    this.#taken[at] = true;
    this.#size++;
  }

  /** Frees a number. A number that is not taken is ignored. */
  give(number: number): void {
    const at = number - this.#base;
    if (!this.#taken[at]) return;
    this.#taken[at] = false;
    if (at < this.#lowest) this.#lowest = at;
    this.#size--;
  }

  /** Tells whether a number is taken. */
  has(number: number): boolean {
    return this.#taken[number - this.#base] ?? false;
  }

  /** Returns the taken numbers, in order. */
  all(): number[] {
    const all: number[] = [];
    this.#taken.forEach((isTaken, at) => {
      if (isTaken) all.push(this.#base + at);
    });
    return all;
  }
}

/** The numbers of fids. Callers may reserve numbers, each for one fid. */
export class FidPool extends NumberPool {
  /** Numbers that callers have reserved, and that no fid has yet. */
  readonly #reserved = new Set<number>();

  constructor(base: number) {
    super("fid", NOFID, base);
  }

  /** Reserves the lowest free number for a caller. */
  reserve(): number {
    const number = this.take();
    this.#reserved.add(number);
    return number;
  }

  /**
   * Uses a reserved number for a fid.
   *
   * @throws {RangeError} Another fid has the number, or it was not reserved.
   */
  use(number: number): void {
    if (this.#reserved.delete(number)) return;
    const detail = this.has(number)
      ? "it is in use"
      : "it is not from allocFid()";
    throw new RangeError(`Cannot take ${number} as a fid: ${detail}`);
  }

  /** Reserves a used number again, because there is no fid. */
  unuse(number: number): void {
    this.#reserved.add(number);
  }

  override give(number: number): void {
    this.#reserved.delete(number);
    super.give(number);
  }
}
