// A fid, with what only its session knows.

import { OAPPEND, ORDWR, OWRITE, QTDIR } from "../../codec.ts";
import type { Attributes } from "../attributes.ts";
import type { Fid, Node } from "../fid.ts";
import type { DirectoryRead } from "../replies/directory_read.ts";

/** How many fids stand for a node that was given once. */
export interface NodeReferences {
  count: number;
}

/** A fid, with what only its session knows. */
export class FidState<N extends Node = Node> implements Fid<N> {
  readonly fid: number;
  readonly uname: string;
  readonly aname: string;
  // Set before a handler sees the fid. While its walk or attach is under way, the fid is not bound.
  node!: N;
  mode = -1;
  writeFailed = false;
  lost = false;
  /** True when the fid stands for a file. */
  bound = false;
  /** True for an authentication file. */
  auth = false;
  /** Access that was granted without an open: bit 0 to read, bit 1 to write. */
  implicit = 0;
  /** The read of the directory. */
  dir: DirectoryRead | undefined = undefined;
  /** Offset of the next read of the directory. */
  dirOffset = 0;
  state: unknown = undefined;
  /** The fids that share the node with this one, because one is a clone of the other. */
  references: NodeReferences | undefined = undefined;
  /** Attributes of the last Rstat, and their record. */
  recorded:
    | { readonly stat: Attributes; readonly record: Uint8Array }
    | undefined = undefined;
  /** True when the node was a directory when the fid began to stand for it. */
  isDir = false;
  /** Number of requests that use the fid now; see {@linkcode enter}. */
  active = 0;
  /** Number of reads among them. */
  reads = 0;
  /** True when one request has the fid for itself. */
  locked = false;
  /** True when the fid is out of the table, and is released as soon as `active` is 0. */
  gone = false;
  /** True when the fid is released, or a request releases it. */
  released = false;

  constructor(fid: number, uname: string, aname: string) {
    this.fid = fid;
    this.uname = uname;
    this.aname = aname;
  }

  /** The fid stands for a node from now on. */
  standFor(node: N): void {
    this.node = node;
    this.isDir = (node.qid.type & QTDIR) !== 0;
  }

  /** A request begins to use the fid: as a read, or with the fid for itself. */
  enter(reads: boolean, locks: boolean): void {
    this.active++;
    if (reads) this.reads++;
    if (locks) this.locked = true;
  }

  /** The request ends to use the fid. The arguments are those of enter(). */
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

/** Tells whether a fid stands for a directory; what it stands for has been a directory, or a file, from the start. */
export function isDirectory(fid: { readonly isDir: boolean }): boolean {
  return fid.isDir;
}
