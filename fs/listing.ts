// What clients list of a directory: the records of its members, encoded once
// and good for every listing until something changes.

import { putStat } from "../codec/stat.ts";
import { Writer } from "../codec/wire.ts";
import type { DirMember } from "../server.ts";
import type { TreeNode } from "./node.ts";

/** Bytes of a usual record: of a short name and owner. */
const USUAL = 80;
/** Most bytes to make room for before they are known to be wanted. */
const MOST = 8192;

/** The members of a directory at one moment, and their records as far as a client has read. */
export class Listing {
  /** The members, in the order of their creation. */
  readonly members: readonly TreeNode[];
  /** Whether the records are those of now; else each member is to be asked. */
  isCurrent: boolean;
  readonly #writer: Writer;
  #length = 0;
  #encoded = 0;

  constructor(members: Iterable<TreeNode>) {
    this.members = [...members];
    this.isCurrent = this.members.every((member) => !member.isVolatile);
    const usual = this.isCurrent ? this.members.length * USUAL : 0;
    this.#writer = new Writer(new Uint8Array(Math.min(usual, MOST)));
    this.#writer.what = "a stat record";
  }

  /** Encodes more records, until they go beyond an offset or there are no more; gives all that are there. */
  encode(offset: number): Uint8Array {
    const writer = this.#writer;
    while (this.#length <= offset && this.#encoded < this.members.length) {
      writer.at = this.#length; // Not behind half a record, if the last one failed.
      putStat(writer, this.members[this.#encoded].stat);
      this.#length = writer.at;
      this.#encoded++;
    }
    return writer.bytes.subarray(0, this.#length);
  }
}

/** A client's way through a listing: runs of records, each of the member as it is at its turn. */
export class DirReader implements Iterable<DirMember>, Iterator<DirMember> {
  readonly #dir: TreeNode;
  readonly #listing: Listing;
  #index = 0;
  /** Where the member's record is, while the listing is current. */
  #at = 0;
  readonly #next: IteratorYieldResult<DirMember>;

  constructor(dir: TreeNode, listing: Listing) {
    this.#dir = dir;
    this.#listing = listing;
    this.#next = { done: false, value: (room) => this.#take(room) };
  }

  /** Itself: it goes on where it is. */
  [Symbol.iterator](): this {
    return this;
  }

  /** The members that are left, as one, until there are none. */
  next(): IteratorResult<DirMember> {
    const { length } = this.#listing.members;
    return this.#index < length ? this.#next : { done: true, value: undefined };
  }

  /** As many records as there is room for; if there is none, the next one, which stays the next. */
  #take(room: number): Uint8Array | undefined {
    const { members, isCurrent } = this.#listing;
    if (!isCurrent) {
      const member = members[this.#index];
      const isThere = member.parent === this.#dir;
      const record = isThere ? member.record : undefined;
      if (record === undefined || record.length <= room) this.#index++;
      return record;
    }
    const start = this.#at;
    const bytes = this.#listing.encode(start + room);
    while (this.#at < bytes.length) {
      const size = bytes[this.#at] | bytes[this.#at + 1] << 8;
      const end = this.#at + 2 + size;
      if (end - start > room) {
        return bytes.subarray(start, this.#at > start ? this.#at : end);
      }
      this.#at = end;
      this.#index++;
    }
    return bytes.subarray(start);
  }
}
