// Differences of known servers from the manual, as far as the client must know
// them.

/** Differences of a server from the manual. */
export interface PeerTraits {
  /**
   * True when the server can flush. Otherwise an aborted request runs to its
   * end, and its reply is dropped.
   */
  readonly flushes: boolean;
  /**
   * True when reads of a directory end between two records, as read(9P)
   * demands.
   */
  readonly wholeRecords: boolean;
  /** True when the arguments of a function file may be written in pieces. */
  readonly longArguments: boolean;
  /**
   * Largest reply in bytes for a server that ignores msize; 0 for all other
   * servers.
   */
  readonly largestReply: number;
  /**
   * True when the client may send OAPPEND. Some servers give the bit another
   * meaning.
   */
  readonly appendMode: boolean;
}

/** A server as the manual describes it. */
export const REGULAR: PeerTraits = {
  flushes: true,
  wholeRecords: true,
  longArguments: true,
  largestReply: 0,
  appendMode: true,
};

/** The server of pyroute2's `plan9` package. */
export const PYROUTE2: PeerTraits = {
  flushes: false,
  wholeRecords: false,
  longArguments: false,
  largestReply: 64 * 1024 * 1024,
  appendMode: false,
};

/**
 * Largest message for pyroute2, which takes no message that arrives in two
 * pieces.
 */
export const PYROUTE2_MSIZE = 8192;
