// The fids of one connection, by number. See intro(9P).

import { NinePError, NOFID } from "../../codec.ts";
import type { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
import { FidState } from "./fid_state.ts";

/**
 * Bytes that are counted for a fid and its objects in a tree. Up to 2.8 KB were
 * measured.
 */
const FID_BYTES = 2048;
/**
 * Number of fids that a connection may always have, even when the memory of the
 * server is full.
 */
const FIDS_LEAST = 256;

/**
 * The fids of one connection. Each fid is charged to the memory of the server.
 */
export class FidTable<N extends FidNode> {
  /**
   * All fids by number, including fids whose walk, attach or auth is in
   * progress.
   */
  readonly byNumber: Map<number, FidState<N>> = new Map();
  readonly #most: number;
  readonly #memory: Budget;

  /**
   * @param most Maximum of fids at a time.
   * @param memory Memory budget of all connections of the server.
   */
  constructor(most: number, memory: Budget) {
    this.#most = most;
    this.#memory = memory;
  }

  /** Returns the fid with a number. Throws when there is none. */
  find(fid: number): FidState<N> {
    const known = this.byNumber.get(fid);
    if (known === undefined) {
      throw new NinePError("fid unknown or out of range");
    }
    return known;
  }

  /** Makes a fid that does not stand for a file yet. */
  add(fid: number, uname: string, aname: string): FidState<N> {
    const { size } = this.byNumber;
    if (this.byNumber.has(fid)) throw new NinePError("fid already in use");
    if (fid === NOFID) throw new NinePError("fid unknown or out of range");
    if (size >= this.#most) throw new NinePError("Too many open files");
    if (size >= FIDS_LEAST && this.#memory.isFull) {
      throw new NinePError("Cannot allocate memory");
    }
    const state = new FidState<N>(fid, uname, aname);
    this.byNumber.set(fid, state);
    this.#memory.charge(FID_BYTES);
    return state;
  }

  /** Removes a fid from the table. The caller must release the fid. */
  remove(fid: FidState<N>): void {
    fid.released = true;
    if (fid.gone) return;
    fid.gone = true;
    this.byNumber.delete(fid.fid);
    this.#memory.charge(-FID_BYTES);
  }

  /**
   * Removes all fids from the table and returns them. The caller must release
   * them.
   */
  clear(): FidState<N>[] {
    const fids = [...this.byNumber.values()];
    for (const fid of fids) fid.gone = true;
    this.byNumber.clear();
    this.#memory.charge(-FID_BYTES * fids.length);
    return fids;
  }
}
