// Qid paths for the files of several trees, so that no two files of a
// composition have the same path. See intro(9P).

/** Number of bits below the number of a tree in a path. */
const OWN_BITS = 56n;

/** Paths below this limit keep their low bits, and need no table. */
const OWN_END = 1n << OWN_BITS;

/** The upper bits of paths from the table. */
const TABLE = 0xffn << OWN_BITS;

/**
 * Low bits of a large path that stay. Paths that differ only in them share a
 * row.
 */
const ROW_BITS = 20n;

/**
 * Maximum of recent rows of a tree. Rows that were not used while as many other
 * rows were used are removed.
 */
const ROWS = 65536;

/** Maximum of rows in all: each row needs a number. */
const MAX_ROWS = 2 ** 36;

/** Maximum of trees of a composition. */
export const MAX_TREES = 254;

/** The rows that a tree has used recently, and the rows before them. */
interface Rows {
  recent: Map<number, number>;
  old: Map<number, number>;
}

/**
 * Gives each file of several trees its own path. The path of a file stays the
 * same.
 *
 * A path below 2^56 gets the number of its tree as its upper 8 bits; so the
 * first tree keeps its paths, and a restarted server gives the same paths. The
 * upper 44 bits of a larger path are looked up in a table, which has a row for
 * each million neighbours. The table is bounded: of a tree whose paths are
 * large and scattered, such as hashes, a file that was not seen for the last
 * 65,536 others may get a new path, but never that of another file.
 */
export class PathNumbers {
  readonly #tables: Map<number, Rows> = new Map();
  #lastRow = 0;

  /**
   * Returns the path of a file in the composition.
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
