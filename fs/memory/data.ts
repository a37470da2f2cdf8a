// Bytes that grow: the content of a plain file, or data for a function.

import { NO_BYTES } from "../../codec/wire.ts";
import { NinePError } from "../../codec.ts";
import { BLOCK, type Room } from "./quota.ts";

/** Tells whether a number can be a length: whole, from 0 to 2^53 - 1. */
export function isLength(length: number): boolean {
  return Number.isSafeInteger(length) && length >= 0;
}

/** Least bytes that are taken at a time. */
const LEAST = 64;

/**
 * Bytes that grow. They count in the room of their tree or connection. They are
 * stored in blocks, so that a long file is never copied to grow, and a gap
 * costs nothing. Except for a few bytes, the memory is at most twice the
 * length.
 */
export class FileData {
  readonly #room: Room;
  #length = 0;
  // Up to the length of the file, bytes that a block lacks are 0. Behind the
  // length a block may hold anything, because blocks are reused.
  /** The first block grows with its content, because most files are short. */
  #first: Uint8Array = NO_BYTES;
  /**
   * Further blocks, by their numbers, because a file may have gaps. They have
   * the full size.
   */
  #more: Map<number, Uint8Array> | undefined;
  /** Blocks that a reader may have a view of. */
  #viewed: Set<Uint8Array> | undefined;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Number of bytes. */
  get length(): number {
    return this.#length;
  }

  /** Number of allocated bytes. */
  get capacity(): number {
    return this.#first.length + (this.#more?.size ?? 0) * BLOCK;
  }

  /**
   * Returns a part of the bytes: a view that is valid until the next change, or
   * a copy if the part crosses blocks.
   */
  slice(offset: number, count: number): Uint8Array {
    const end = Math.min(offset + count, this.#length);
    if (offset >= end) return NO_BYTES;
    const start = blockAt(offset);
    const block = this.#block(start);
    if (block !== undefined && end - start <= block.length) {
      if (start > 0) (this.#viewed ??= new Set()).add(block);
      return block.subarray(offset - start, end - start);
    }
    return this.#gather(offset, end);
  }

  /** Returns a copy of all bytes. */
  copy(): Uint8Array<ArrayBuffer> {
    return this.#gather(0, this.#length);
  }

  #gather(offset: number, end: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(end - offset);
    for (let at = offset; at < end;) {
      const start = blockAt(at);
      const next = Math.min(start + BLOCK, end);
      const part = this.#block(start)?.subarray(at - start, next - start);
      if (part !== undefined) bytes.set(part, at - offset);
      at = next;
    }
    return bytes;
  }

  /** Writes bytes at an offset. A gap before them is filled with zeros. */
  write(data: Uint8Array, offset: number): void {
    const end = offset + data.length;
    if (end > this.#length) this.check(end);
    if (offset > this.#length) this.#clear(offset);
    if (end <= BLOCK) {
      this.#reserveFirst(end).set(data, offset);
    } else {
      for (let at = offset; at < end;) {
        const start = blockAt(at);
        const next = Math.min(start + BLOCK, end);
        this.#reserve(start, at, next)
          .set(data.subarray(at - offset, next - offset), at - start);
        at = next;
      }
    }
    if (end > this.#length) this.#setLength(end);
  }

  /** Replaces all bytes. */
  replace(data: Uint8Array): void {
    this.check(data.length);
    this.resize(0);
    if (data.length < BLOCK) this.#first = new Uint8Array(data.length);
    this.write(data, 0);
  }

  /** Throws if there may not be so many bytes. */
  check(length: number): void {
    if (length > this.#room.maxFileSize) throw new NinePError("file too big");
    if (length > this.#length) this.#room.check(length - this.#length);
  }

  /** Cuts the bytes, or extends them with zeros. */
  resize(length: number): void {
    if (length < this.#length) {
      this.#cut(length);
    } else {
      this.check(length);
      this.#clear(length);
    }
    this.#setLength(length);
  }

  #setLength(length: number): void {
    this.#room.take(length - this.#length);
    this.#length = length;
  }

  #cut(length: number): void {
    for (const [at, block] of this.#more ?? []) {
      if (at < length) continue;
      this.#more?.delete(at);
      // A late reader must not see the bytes of another file.
      if (!this.#viewed?.delete(block)) this.#room.giveBlock(block);
    }
    if (length === 0) {
      this.#first = NO_BYTES;
    } else if (this.#first.length > Math.max(length * 2, LEAST)) {
      // The memory no longer counts, so it must be freed. The block grows by
      // half each time, so the copies are at most a few times as long as the
      // cut bytes.
      this.#first = this.#first.slice(0, length);
    }
  }

  /** Clears the bytes behind the length, up to the new end of the content. */
  #clear(to: number): void {
    const start = blockAt(this.#length); // The last that there is.
    this.#block(start)?.fill(0, this.#length - start, to - start);
  }

  /** Returns the block that starts at an offset, if there is one. */
  #block(start: number): Uint8Array | undefined {
    return start === 0 ? this.#first : this.#more?.get(start);
  }

  /**
   * Returns the block that starts at an offset, to be filled from `at` to
   * `next`.
   */
  #reserve(start: number, at: number, next: number): Uint8Array {
    if (start === 0) return this.#reserveFirst(next);
    this.#more ??= new Map();
    let block = this.#more.get(start);
    if (block === undefined) {
      const used = this.#room.takeBlock();
      used?.fill(0, 0, at - start);
      used?.fill(0, next - start, Math.max(next, this.#length) - start);
      block = used ?? new Uint8Array(BLOCK);
      this.#more.set(start, block);
    }
    return block;
  }

  /** Returns the first block, with room for so many bytes. */
  #reserveFirst(room: number): Uint8Array {
    const first = this.#first;
    if (room <= first.length) return first;
    const most = Math.min(Math.ceil(first.length * 1.5), BLOCK);
    this.#first = new Uint8Array(Math.max(room, most, LEAST));
    this.#first.set(first);
    return this.#first;
  }
}

/** Returns the start of the block of an offset. */
function blockAt(offset: number): number {
  return offset - offset % BLOCK;
}
