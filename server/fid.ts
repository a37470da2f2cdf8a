// Fids. A fid is a number that the client chooses; it stands for one file and
// one user. See intro(9P).

import type { Qid } from "../codec.ts";

/**
 * A file, as a handler represents it: any object with a qid. Attach, auth,
 * walk, open and create bind the nodes of a handler to fids.
 */
export interface FidNode {
  /**
   * Identity of the file. The session reads it for each reply, so its version
   * may change.
   */
  readonly qid: Qid;
  /**
   * True when a read, write or call on a fid that is not open opens the file,
   * with the permission checks of an open. Function files set it for clients
   * that never send a Topen. False by default.
   */
  readonly implicitOpen?: boolean;
  /** Path of the file in its tree, such as `/etc/hosts`, for error reports. */
  readonly path?: string;
}

/**
 * A fid of a session: a number of the client with its file and its user. See
 * `intro(9P)`.
 */
export interface Fid<N extends FidNode = FidNode> {
  /** Number that the client chose. */
  readonly fid: number;
  /** User of the attach that the fid comes from. */
  readonly uname: string;
  /** Tree of that attach. */
  readonly aname: string;
  /** File that the fid stands for. */
  readonly node: N;
  /** Mode that the fid was opened with, as in Topen; -1 when it is not open. */
  readonly mode: number;
  /** True when the fid is open. */
  readonly open: boolean;
  /** True when the fid is open for reading. */
  readonly readable: boolean;
  /** True when the fid is open for writing. */
  readonly writable: boolean;
  /**
   * True when the fid is open with OAPPEND. Each write goes to the end of the
   * file, and the offset is ignored.
   */
  readonly appends: boolean;
  /**
   * True after a write of the fid has failed or was flushed. The file may then
   * lack data.
   */
  readonly writeFailed: boolean;
  /**
   * True when the fid ended with its session or connection, without a Tclunk or
   * Tremove.
   */
  readonly lost: boolean;
  /**
   * Data of the handler for the fid, such as an open file. Undefined at first;
   * the library does not use it.
   */
  state: unknown;
}
