// A fid: a number, chosen by the client, that stands for one file for one
// user. See intro(9P).

import type { Qid } from "../codec.ts";

/**
 * The object that a fid stands for: any object with a qid. attach, walk and
 * create of a handler bind such objects to fids.
 */
export interface FidNode {
  /** Identity of the file; read again for each reply, so it may change its version. */
  readonly qid: Qid;
  /**
   * Whether a read, write or call on a fid that is not open opens it, with the
   * checks of that access. Function files want it, for clients that never send
   * a Topen. False by default.
   */
  readonly implicitOpen?: boolean;
  /** Path of the file in its tree, such as `/etc/hosts`, for error reports. */
  readonly path?: string;
}

/**
 * A fid of a session: the file that it stands for, and its user. See
 * `intro(9P)`.
 */
export interface Fid<N extends FidNode = FidNode> {
  /** Number that the client chose. */
  readonly fid: number;
  /** User of the attach that the fid descends from. */
  readonly uname: string;
  /** Tree of that attach. */
  readonly aname: string;
  /** File that the fid stands for. */
  readonly node: N;
  /** Mode that the fid was opened with, as in Topen; -1 when it is not open. */
  readonly mode: number;
  /** Whether the fid is open. */
  readonly open: boolean;
  /** Whether the fid is open in a mode that reads. */
  readonly readable: boolean;
  /** Whether the fid is open in a mode that writes. */
  readonly writable: boolean;
  /**
   * True when the fid was opened with OAPPEND: each write goes to the end of
   * the file, and its offset is ignored.
   */
  readonly appends: boolean;
  /**
   * True after a write of the fid was refused or given up: the data that the
   * fid wrote are not complete.
   */
  readonly writeFailed: boolean;
  /**
   * True when the fid ended with its session or connection, and not by a Tclunk
   * or Tremove.
   */
  readonly lost: boolean;
  /**
   * State of the handler for the fid, such as an open file; undefined at first.
   * The library does not use it.
   */
  state: unknown;
}
