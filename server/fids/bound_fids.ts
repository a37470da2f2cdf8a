// The fids that the client of a session may use.

import type { Fid, FidNode } from "../fid.ts";
import type { FidState } from "./fid_state.ts";

/**
 * The fids of a session that stand for a file, without fids whose walk, attach
 * or auth is in progress.
 */
export class BoundFids<N extends FidNode>
  implements ReadonlyMap<number, Fid<N>> {
  readonly #fids: ReadonlyMap<number, FidState<N>>;

  /** @param fids All fids of the session. */
  constructor(fids: ReadonlyMap<number, FidState<N>>) {
    this.#fids = fids;
  }

  get size(): number {
    let size = 0;
    for (const _ of this) size++;
    return size;
  }

  get(fid: number): Fid<N> | undefined {
    const state = this.#fids.get(fid);
    return state?.bound ? state : undefined;
  }

  has(fid: number): boolean {
    return this.get(fid) !== undefined;
  }

  forEach(
    callback: (
      value: Fid<N>,
      key: number,
      map: ReadonlyMap<number, Fid<N>>,
    ) => void,
  ): void {
    for (const [fid, state] of this) callback(state, fid, this);
  }

  *entries(): MapIterator<[number, Fid<N>]> {
    for (const entry of this.#fids) {
      if (entry[1].bound) yield entry;
    }
  }

  *keys(): MapIterator<number> {
    for (const [fid] of this) yield fid;
  }

  *values(): MapIterator<Fid<N>> {
    for (const [, state] of this) yield state;
  }

  [Symbol.iterator](): MapIterator<[number, Fid<N>]> {
    return this.entries();
  }
}
