// Qid paths for the files of several trees, so that no two files of a
// composition have the same path. See intro(9P).

/** Bits of a path that a tree's own number stands above. */
const OWN_BITS = 56n;

/** Paths below this one keep their low bits, and need no table. */
const OWN_END = 1n << OWN_BITS;

/** The tag of paths from the table. */
const TABLE = 0xffn << OWN_BITS;

/** Low bits of a large path that are kept: neighbours share a row of the table. */
const ROW_BITS = 20n;

/** Rows of a tree after which those are forgotten that were not used for as many. */
const ROWS = 65536;

/** Most rows that there are numbers for. */
const MAX_ROWS = 2 ** 36;

/** Most trees of a composition. */
export const MAX_TREES = 254;

/** The rows that a tree has used lately, and those before. */
interface Rows {
  recent: Map<number, number>;
  old: Map<number, number>;
}

/**
 * Gives each file of several trees a path of its own, always the same one.
 *
 * A path below 2^56 gets the number of its tree as its upper 8 bits; so the
 * first tree keeps its paths, and a restarted server gives the same ones. The
 * upper 44 bits of a larger path are looked up in a table, which has a row for
 * each million neighbours. The table is bounded: of a tree whose paths are
 * large and scattered, such as hashes, a file that was not seen for the last
 * 65,536 others may get a new path, but never that of another file.
 */
export class PathNumbers {
  readonly #tables: Map<number, Rows> = new Map();
  #lastRow = 0;

  /**
   * Numbers a file.
   *
   * @param tree Number of the tree, 0 to 253.
   * @param path Path of the file there.
   * @returns Its path in the composition.
   */
  pathOf(tree: number, path: bigint): bigint {
    if (path >= OWN_END) {
      const row = this.#rowOf(tree, Number(path >> ROW_BITS));
      return TABLE | BigInt(row) << ROW_BITS | BigInt.asUintN(20, path);
    }
    return tree === 0 ? path : BigInt(tree) << OWN_BITS | path;
  }

  #rowOf(tree: number, upper: number): number {
    let rows = this.#tables.get(tree);
    if (rows === undefined) {
      rows = { recent: new Map(), old: new Map() };
      this.#tables.set(tree, rows);
    }
    let row = rows.recent.get(upper);
    if (row !== undefined) return row;
    row = rows.old.get(upper) ?? this.#nextRow();
    if (rows.recent.size === ROWS) {
      rows.old = rows.recent;
      rows.recent = new Map();
    }
    rows.recent.set(upper, row);
    return row;
  }

  #nextRow(): number {
    if (this.#lastRow === MAX_ROWS) throw new RangeError("No qid path is left");
    return this.#lastRow++;
  }
}
