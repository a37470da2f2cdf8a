// The fids of one connection, by the numbers that its client chose. See intro(9P).

import { NinePError, NOFID } from "../../codec.ts";
import type { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
import { FidState } from "./fid_state.ts";

/** Memory of a fid, with what a tree keeps for it: up to 2.8 KB were measured. */
const FID_BYTES = 2048;
/** Fids that a connection may always have, however full the server's memory is. */
const FIDS_LEAST = 256;

/** The fids of one connection; each counts in the memory of the server. */
export class FidTable<N extends FidNode> {
  /** By number, those included whose walk or attach is under way. */
  readonly byNumber: Map<number, FidState<N>> = new Map();
  readonly #most: number;
  readonly #memory: Budget;

  /**
   * @param most Most fids at a time.
   * @param memory Memory that all connections of the server may hold.
   */
  constructor(most: number, memory: Budget) {
    this.#most = most;
    this.#memory = memory;
  }

  /** Finds a fid by its number. */
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

  /** Takes a fid out of the table, if it is in; the caller releases it. */
  remove(fid: FidState<N>): void {
    fid.released = true;
    if (fid.gone) return;
    fid.gone = true;
    this.byNumber.delete(fid.fid);
    this.#memory.charge(-FID_BYTES);
  }

  /** Takes all fids out of the table, and returns them to be released. */
  clear(): FidState<N>[] {
    const fids = [...this.byNumber.values()];
    for (const fid of fids) fid.gone = true;
    this.byNumber.clear();
    this.#memory.charge(-FID_BYTES * fids.length);
    return fids;
  }
}
