// Limits on the memory that clients make a tree hold.

import { NinePError } from "../../codec.ts";
import type { Budget } from "../../server.ts";

/** The bounds of a tree. */
export interface Bounds {
  /** Most bytes of one file. */
  readonly maxFileSize: number;
  /** Most bytes of all files together. */
  readonly maxSize: number;
  /** Most files and directories. */
  readonly maxFiles: number;
}

/** Bytes of a block: as many as a client with the default msize reads at once. */
export const BLOCK: number = 1024 * 1024;
/**
 * Most blocks that are kept for other files: 64, or this part of the tree's
 * room.
 */
const SPARE_MAX = 64;
const SPARE_PART = 1 / 32;

/** Counts the bytes of a tree or of a connection. */
export interface Room {
  /** Most bytes of one file. */
  readonly maxFileSize: number;
  /** Throws if there is no room for so many bytes more. */
  check(bytes: number): void;
  /** Takes room for bytes, or throws. A negative number gives room back. */
  take(bytes: number): void;
  /**
   * Returns a block that was used before, with its old bytes, if there is one.
   */
  takeBlock(): Uint8Array | undefined;
  /**
   * Keeps a block for another file. No reader may have a view of the block any
   * more.
   */
  giveBlock(block: Uint8Array): void;
}

/** Counts bytes that a file holds for a connection, in the budget of that connection. */
export class HeldRoom implements Room {
  /** Most bytes of one content. */
  readonly maxFileSize: number;
  readonly #memory: Budget;

  constructor(memory: Budget, maxFileSize: number = Infinity) {
    this.#memory = memory;
    this.maxFileSize = maxFileSize;
  }

  /** Throws if there is no room for so many bytes more. */
  check(bytes: number): void {
    this.take(bytes);
    this.#memory.give(bytes);
  }

  /** Takes room for bytes. A negative number gives room back. */
  take(bytes: number): void {
    if (bytes < 0) {
      this.#memory.give(-bytes);
    } else if (!this.#memory.take(bytes)) {
      throw new NinePError("Cannot allocate memory");
    }
  }

  /** Returns nothing: only blocks of the tree are reused. */
  takeBlock(): undefined {}

  /** Drops the block: only blocks of the tree are reused. */
  giveBlock(_block: Uint8Array): void {}
}

/** Counts the bytes and names of a tree. */
export class Quota implements Room {
  /** Most bytes of one file. */
  readonly maxFileSize: number;
  readonly #maxSize: number;
  readonly #maxFiles: number;
  #bytes = 0;
  #files = 0;
  readonly #spare: Uint8Array[] = [];
  readonly #spareMax: number;

  constructor(bounds: Bounds) {
    this.maxFileSize = bounds.maxFileSize;
    this.#maxSize = bounds.maxSize;
    this.#maxFiles = bounds.maxFiles;
    this.#spareMax = Math.min(SPARE_MAX, bounds.maxSize / BLOCK * SPARE_PART);
  }

  /** Throws if there is no room for so many bytes more. */
  check(bytes: number): void {
    if (this.#bytes + bytes > this.#maxSize) {
      throw new NinePError("file system is full");
    }
  }

  /** Takes room for bytes. A negative number gives room back. */
  take(bytes: number): void {
    if (bytes > 0) this.check(bytes);
    this.#bytes += bytes;
  }

  /**
   * Returns a block that was used before, with its old bytes, if there is one.
   */
  takeBlock(): Uint8Array | undefined {
    return this.#spare.pop();
  }

  /**
   * Keeps an unused block for another file. A new block would cost more than to
   * clear this one, because the system and the collector have work with it.
   */
  giveBlock(block: Uint8Array): void {
    if (this.#spare.length + 1 <= this.#spareMax) this.#spare.push(block);
  }

  /** Takes room for a name. */
  addFile(): void {
    if (this.#files >= this.#maxFiles) {
      throw new NinePError("file system is full");
    }
    this.#files++;
  }

  /** Frees the room of a name. */
  dropFile(): void {
    this.#files--;
  }
}

/** Throws for a wrong limit, as programs without types may set it. */
export function checkLimit(
  name: string,
  limit: number,
  most: number = Infinity,
): void {
  if (typeof limit === "number" && limit >= 0 && limit <= most) return;
  const range = most === Infinity ? "from 0 on" : `from 0 to ${most}`;
  throw new RangeError(
    `Cannot set ${name} to ${limit}: a limit is a number ${range}`,
  );
}
