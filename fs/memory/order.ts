// The members of a directory in order of arrival, for listings that continue
// while members come and go.

/** Fewest gaps that are worth closing. */
const GAPS = 32;

/**
 * Nodes, each at a place: a number that grows with each new node, and never
 * changes. So a listing needs to remember only the place that it has reached.
 */
export class Order<Item extends object> implements Iterable<Item> {
  /** Ascending. */
  #places: number[] = [];
  /** A gap is a node that was removed. */
  #nodes: (Item | undefined)[] = [];
  #gaps = 0;
  #last = 0;
  /** Counts the times that nodes have got other indexes, or gone. */
  removals = 0;

  /** Place of the node that came last; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** Number of places, gaps included. */
  get size(): number {
    return this.#nodes.length;
  }

  /** A node by its index; undefined for a gap. */
  nodeAt(index: number): Item | undefined {
    return this.#nodes[index];
  }

  /** A place by its index. */
  placeAt(index: number): number {
    return this.#places[index];
  }

  /** Puts a node behind all others, and returns its place. */
  add(node: Item): number {
    this.#nodes.push(node);
    this.#places.push(++this.#last);
    return this.#last;
  }

  /** Removes the node at a place. */
  remove(place: number): void {
    const index = this.indexBehind(place) - 1;
    this.#nodes[index] = undefined;
    this.removals++;
    this.#gaps++;
    while (this.#gaps > 0 && this.#nodes.at(-1) === undefined) {
      this.#nodes.pop();
      this.#places.pop();
      this.#gaps--;
    }
    if (this.#gaps >= Math.max(GAPS, this.#nodes.length / 2)) this.close();
  }

  /** Closes the gaps. */
  close(): void {
    if (this.#gaps === 0) return;
    this.removals++;
    this.#places = this.#places.filter((_, i) => this.#nodes[i] !== undefined);
    this.#nodes = this.#nodes.filter((node) => node !== undefined);
    this.#gaps = 0;
  }

  /** All that are there, in their order. */
  *[Symbol.iterator](): Generator<Item> {
    for (const node of this.#nodes) if (node !== undefined) yield node;
  }

  /** Index of the first place behind a place. */
  indexBehind(place: number): number {
    const places = this.#places;
    let low = 0;
    for (let high = places.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (places[middle] <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
