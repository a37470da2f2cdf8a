// Kinds of servers that are known to differ from what the manual says, as far
// as a client must know.

/** What a client must know of the kind of its server. */
export interface PeerTraits {
  /** It can flush. Otherwise what is aborted runs to its end, and the reply is dropped. */
  readonly flushes: boolean;
  /** Reads of a directory end between two records, as read(9P) has it. */
  readonly wholeRecords: boolean;
  /** The arguments of a function file may be written in pieces. */
  readonly longArguments: boolean;
  /**
   * Largest reply in bytes for a server that ignores msize; 0 for all other
   * servers.
   */
  readonly largestReply: number;
  /**
   * True if the client may send OAPPEND. Other servers take the bit for
   * something else.
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

/** Largest message for pyroute2, which takes none that arrives in two pieces. */
export const PYROUTE2_MSIZE = 8192;
