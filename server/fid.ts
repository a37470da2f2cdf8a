// A fid: a number, chosen by the client, that stands for one file for one
// user. See intro(9P).

import { ORDWR, OWRITE, type Qid } from "../codec.ts";
import type { DirMember } from "./handler.ts";
import type { Operation } from "./operation.ts";

/**
 * What a fid stands for: any object that tells its qid. Objects of a handler's
 * own are bound to fids by attach, walk and create.
 */
export interface Node {
  /** Identity of the file; read again for each reply, so it may change its version. */
  readonly qid: Qid;
  /**
   * Whether a read, write or call on a fid that is not open opens it, with the
   * checks of that access. Function files want it, for clients that never send
   * a Topen. False by default.
   */
  readonly implicitOpen?: boolean;
}

/** A fid of a session: the file that it stands for, and for whom. See `intro(9P)`. */
export interface Fid<N extends Node = Node> {
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
}

/** A fid, with what only its session knows. */
export class FidState<N extends Node = Node> implements Fid<N> {
  readonly fid: number;
  readonly uname: string;
  readonly aname: string;
  // Set before a handler sees the fid: one whose walk or attach is under way is not born.
  node!: N;
  mode = -1;
  /** Whether the fid stands for a file yet. */
  born = false;
  /** Whether it is an authentication file. */
  auth = false;
  /** Access that was granted without an open: bit 0 to read, bit 1 to write. */
  implicit = 0;
  /** Where a read of the directory goes on. */
  dir: DirRead | undefined = undefined;
  /** Requests that work with the fid now. */
  active = 0;
  /** Whether the one that does has it for itself. */
  locked = false;
  /** Requests that wait for it, in order of arrival. */
  waiting: Operation<N>[] | undefined = undefined;
  /** Whether it is out of the table, and to be released when `active` is 0. */
  gone = false;
  /** Whether it is released, or a request sees to it. */
  released = false;

  constructor(fid: number, uname: string, aname: string) {
    this.fid = fid;
    this.uname = uname;
    this.aname = aname;
  }

  get open(): boolean {
    return this.mode >= 0;
  }

  get readable(): boolean {
    return this.mode >= 0 && (this.mode & 3) !== OWRITE;
  }

  get writable(): boolean {
    const access = this.mode & 3;
    return this.mode >= 0 && (access === OWRITE || access === ORDWR);
  }
}

/** State of a fid that reads a directory. See `read(9P)`. */
export interface DirRead {
  /** The members that are still to come: a snapshot of offset 0. */
  members: Iterator<DirMember>;
  /** The member that did not fit into the last reply. */
  held: DirMember | undefined;
  /** The offset that goes on. */
  offset: number;
}
