// The identity of a file. See intro(9P).

/** The server's identity of a file. See `intro(9P)`. */
export interface Qid {
  /** Kind of the file: QT bits, the top byte of its mode. */
  type: number;
  /** Version, 0 to 2^32 - 1; grows with each change of the content. */
  vers: number;
  /** Number that no other file of the tree has or had, 0 to 2^64 - 1. */
  path: bigint;
}
