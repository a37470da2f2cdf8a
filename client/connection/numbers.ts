// Tags and fids are the same to a client: small numbers that it chooses, and
// that the server must not see twice at a time.

import { NOFID } from "../../codec.ts";

/** Numbers of one kind; the lowest one that is free is taken next. */
export class NumberPool {
  readonly #kind: "tag" | "fid";
  readonly #base: number;
  /** How many numbers there are. */
  readonly #count: number;
  /** By number, counted from the base; there are holes. */
  readonly #taken: boolean[] = [];
  /** No number below it is free, counted from the base. */
  #lowest = 0;
  #size = 0;

  /** The numbers are `base` to `limit` - 1. */
  constructor(kind: "tag" | "fid", limit: number, base = 0) {
    this.#kind = kind;
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
   * @param above The number is above this one; any number by default.
   * @throws {RangeError} All are taken.
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
   * Takes one number, which must not be far above the others: all() counts up
   * to it.
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
        `Cannot take ${number} as a ${this.#kind}: ${
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

  /** Whether a number is taken. */
  has(number: number): boolean {
    return this.#taken[number - this.#base] ?? false;
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

/** Numbers for fids. Callers take some for themselves, each of them for one fid. */
export class FidPool extends NumberPool {
  /** Those that callers have taken, and that no fid has. */
  readonly #reserved = new Set<number>();

  constructor(base: number) {
    super("fid", NOFID, base);
  }

  /** Takes the lowest free number for a caller. */
  reserve(): number {
    const number = this.take();
    this.#reserved.add(number);
    return number;
  }

  /**
   * A caller makes a fid with a number of his own.
   *
   * @throws {RangeError} Another fid has it, or it was not taken for a caller.
   */
  use(number: number): void {
    if (this.#reserved.delete(number)) return;
    const detail = this.has(number)
      ? "it is in use"
      : "it is not from allocFid()";
    throw new RangeError(`Cannot take ${number} as a fid: ${detail}`);
  }

  /** A caller's number was used, but there is no fid. */
  unuse(number: number): void {
    this.#reserved.add(number);
  }

  override give(number: number): void {
    this.#reserved.delete(number);
    super.give(number);
  }
}
