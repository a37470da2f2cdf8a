// What clients list of a directory: the records of its members, encoded once
// and good for every listing until something changes.

import { putStat } from "../codec/stat.ts";
import { Writer } from "../codec/wire.ts";
import type { DirMember } from "../server.ts";
import { NOTHING } from "./data.ts";
import type { Order } from "./order.ts";

/** Bytes of a usual record: of a short name and owner. */
const USUAL = 80;
/** Most bytes to make room for before they are known to be wanted. */
const MOST = 8192;

/** The records of a directory's members, as far as a client has read, until something changes. */
export class Listing {
  /** Whether the records are those of now; else each member is to be asked. */
  isCurrent = true;
  readonly #order: Order;
  #writer: Writer;
  #length = 0;
  #encoded = 0;

  constructor(order: Order) {
    order.close();
    this.#order = order;
    for (let i = 0; i < order.size && this.isCurrent; i++) {
      this.isCurrent = !order.nodeAt(i).isVolatile;
    }
    const usual = this.isCurrent ? order.size * USUAL : 0;
    this.#writer = new Writer(new Uint8Array(Math.min(usual, MOST)));
    this.#writer.what = "a stat record";
  }

  /** Something is about to change. */
  expire(): void {
    this.isCurrent = false;
    this.#writer.bytes = NOTHING; // Clients that list it may never come back.
  }

  /** Encodes more records, until they go beyond an offset or there are no more; gives all that are there. */
  encode(offset: number): Uint8Array {
    const writer = this.#writer;
    while (this.#length <= offset && this.#encoded < this.#order.size) {
      writer.at = this.#length; // Not behind half a record, if the last one failed.
      putStat(writer, this.#order.nodeAt(this.#encoded).stat);
      this.#length = writer.at;
      this.#encoded++;
    }
    return writer.bytes.subarray(0, this.#length);
  }
}

/**
 * A client's way through a directory: runs of records, each of the member as it
 * is at its turn, of those that were there in the beginning and still are.
 */
export class DirReader implements Iterable<DirMember>, Iterator<DirMember> {
  readonly #order: Order;
  readonly #listing: Listing;
  /** Place of the last that was there in the beginning. */
  readonly #end: number;
  /** Place of the last that was given. */
  #place = 0;
  /** How many were given, and where their records end, while the listing is current. */
  #index = 0;
  #at = 0;
  readonly #next: IteratorYieldResult<DirMember>;

  constructor(order: Order, listing: Listing) {
    this.#order = order;
    this.#listing = listing;
    this.#end = order.last;
    this.#next = { done: false, value: (room) => this.#take(room) };
  }

  /** Itself: it goes on where it is. */
  [Symbol.iterator](): this {
    return this;
  }

  /** The members that are left, as one, until there are none. */
  next(): IteratorResult<DirMember> {
    const isOver = this.#listing.isCurrent
      ? this.#index === this.#order.size
      : this.#order.next(this.#place, this.#end) === undefined;
    return isOver ? { done: true, value: undefined } : this.#next;
  }

  /** As many records as there is room for; if there is none, the next one, which stays the next. */
  #take(room: number): Uint8Array | undefined {
    return this.#listing.isCurrent ? this.#takeRun(room) : this.#takeOne(room);
  }

  #takeOne(room: number): Uint8Array | undefined {
    const next = this.#order.next(this.#place, this.#end);
    if (next === undefined) return undefined;
    const { record } = next.node;
    if (record.length <= room) this.#place = next.place;
    return record;
  }

  #takeRun(room: number): Uint8Array {
    const start = this.#at;
    const bytes = this.#listing.encode(start + room);
    while (this.#at < bytes.length) {
      const size = bytes[this.#at] | bytes[this.#at + 1] << 8;
      const end = this.#at + 2 + size;
      if (end - start > room) {
        if (this.#at === start) return bytes.subarray(start, end);
        break;
      }
      this.#at = end;
      this.#place = this.#order.placeAt(this.#index++);
    }
    return bytes.subarray(start, this.#at);
  }
}
