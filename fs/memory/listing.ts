// The listing of a directory in memory: its members in order of their arrival.

import type { Attributes, DirEntry } from "../../server.ts";
import type { Order } from "./order.ts";

/** A member of a directory that can be listed. */
export interface Listed {
  /** Attributes, as a value. */
  readonly attributes: Attributes;
  /** True when they may change without notice. */
  readonly isVolatile: boolean;
}

/** The members of a directory, until one of them changes. */
export class Listing implements Iterable<DirEntry> {
  readonly #order: Order<Listed>;
  #isCurrent = true;

  constructor(order: Order<Listed>) {
    order.close();
    this.#order = order;
    for (const node of order) {
      if (node.isVolatile) this.#isCurrent = false;
    }
  }

  /** True when the members and their attributes are those of now. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** A member is about to change. */
  expire(): void {
    this.#isCurrent = false;
  }

  /** The members that are there now, and still are at their turn. */
  [Symbol.iterator](): Iterator<DirEntry> {
    return new Members(this.#order, 0);
  }
}

/** Members of a directory behind a place, without those that come later. */
export class Members
  implements Iterable<DirEntry>, Iterator<DirEntry, undefined> {
  readonly #order: Order<Listed>;
  readonly #end: number;
  #place: number;
  #index: number;
  #removals: number;

  constructor(order: Order<Listed>, place: number) {
    this.#order = order;
    this.#end = order.last;
    this.#place = place;
    this.#index = order.indexBehind(place);
    this.#removals = order.removals;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<DirEntry, undefined> {
    const order = this.#order;
    if (this.#removals !== order.removals) {
      this.#removals = order.removals;
      this.#index = order.indexBehind(this.#place);
    }
    while (this.#index < order.size) {
      const cookie = order.placeAt(this.#index);
      if (cookie > this.#end) break;
      const node = order.nodeAt(this.#index++);
      this.#place = cookie;
      if (node === undefined) continue;
      return { done: false, value: { stat: node.attributes, cookie } };
    }
    return { done: true, value: undefined };
  }
}
