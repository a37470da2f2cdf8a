// A fid, with what only its session knows.

import { OAPPEND, ORDWR, OWRITE, QTDIR } from "../../codec.ts";
import type { Attributes } from "../attributes.ts";
import type { Fid, Node } from "../fid.ts";
import type { DirectoryRead } from "../replies/directory_read.ts";

/** How many fids stand for a node that was given once. */
export interface Sharing {
  fids: number;
}

/** A fid, with what only its session knows. */
export class FidState<N extends Node = Node> implements Fid<N> {
  readonly fid: number;
  readonly uname: string;
  readonly aname: string;
  // Set before a handler sees the fid: one whose walk or attach is under way is not bound.
  node!: N;
  mode = -1;
  writeFailed = false;
  lost = false;
  /** Whether the fid stands for a file yet. */
  bound = false;
  /** Whether it is an authentication file. */
  auth = false;
  /** Access that was granted without an open: bit 0 to read, bit 1 to write. */
  implicit = 0;
  /** Where a read of the directory goes on. */
  dir: DirectoryRead | undefined = undefined;
  /** The offset at which a read of the directory goes on. */
  dirOffset = 0;
  state: unknown = undefined;
  /** The fids that share the node with this one, because one is a clone of the other. */
  sharing: Sharing | undefined = undefined;
  /** Attributes that were told last, and their record. */
  recorded:
    | { readonly stat: Attributes; readonly record: Uint8Array }
    | undefined = undefined;
  /** Requests that work with the fid now; see {@linkcode enter}. */
  active = 0;
  /** Those of them that are reads. */
  reads = 0;
  /** Whether one has it for itself. */
  locked = false;
  /** Whether it is out of the table, and to be released when `active` is 0. */
  gone = false;
  /** Whether it is released, or a request sees to it. */
  released = false;

  constructor(fid: number, uname: string, aname: string) {
    this.fid = fid;
    this.uname = uname;
    this.aname = aname;
  }

  /** A request begins to work with the fid: as a read, or with the fid for itself. */
  enter(reads: boolean, locks: boolean): void {
    this.active++;
    if (reads) this.reads++;
    if (locks) this.locked = true;
  }

  /** It does not any more; the same as it entered with. */
  leave(reads: boolean, locks: boolean): void {
    this.active--;
    if (reads) this.reads--;
    if (locks) this.locked = false;
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

  get appends(): boolean {
    return this.mode >= 0 && (this.mode & OAPPEND) !== 0;
  }
}

/** Whether a fid stands for a directory. */
export function isDirectory(fid: Fid): boolean {
  return (fid.node.qid.type & QTDIR) !== 0;
}
