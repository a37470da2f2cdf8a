// Bytes that grow: the content of a plain file, or what is written to a file
// before its function gets it.

import { NinePError } from "../codec.ts";
import type { Quota } from "./quota.ts";

/** No bytes: they can be shared, for nobody can change them. */
export const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** Bytes that grow, counted by the tree. */
export class FileData {
  readonly #quota: Quota;
  // The data are the first #length bytes; all behind them are 0.
  #bytes: Uint8Array = NOTHING;
  #length = 0;

  constructor(quota: Quota) {
    this.#quota = quota;
  }

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** All of them: a view that is good until the next change. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Some of them: a view that is good until the next change. */
  slice(offset: number, count: number): Uint8Array {
    return this.#bytes.subarray(
      Math.min(offset, this.#length),
      Math.min(offset + count, this.#length),
    );
  }

  /** Puts bytes at an offset; a gap before them is 0. */
  write(data: Uint8Array, offset: number): void {
    const end = offset + data.length;
    if (end > this.#length) this.resize(end);
    this.#bytes.set(data, offset);
  }

  /** Puts bytes in the place of all. */
  replace(data: Uint8Array): void {
    this.check(data.length);
    this.resize(0);
    this.resize(data.length);
    this.#bytes.set(data);
  }

  /** Throws unless there may be so many. */
  check(length: number): void {
    if (length > this.#quota.maxFileSize) throw new NinePError("file too big");
    if (length > this.#length) this.#quota.check(length - this.#length);
  }

  /** Cuts, or extends with zeros. */
  resize(length: number): void {
    const old = this.#length;
    if (length > old) {
      this.check(length);
      if (length > this.#bytes.length) this.#grow(length);
    } else if (length === 0) {
      this.#bytes = NOTHING;
    } else if (length < this.#bytes.length / 4) {
      // What is counted as given back must be given back.
      this.#bytes = this.#bytes.slice(0, length);
    } else {
      this.#bytes.fill(0, length, old);
    }
    this.#quota.take(length - old);
    this.#length = length;
  }

  /** Doubles the room, so that what is written in pieces is copied rarely. */
  #grow(length: number): void {
    const room = Math.min(
      Math.max(length, this.#bytes.length * 2, 64),
      Math.max(length, this.#quota.maxFileSize),
    );
    const bytes = new Uint8Array(room);
    bytes.set(this.bytes);
    this.#bytes = bytes;
  }
}
