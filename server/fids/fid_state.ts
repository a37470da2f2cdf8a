// A fid with the internal state of its session.

import { OAPPEND, ORDWR, OWRITE, QTDIR } from "../../codec.ts";
import type { Attributes } from "../attributes.ts";
import type { Fid, FidNode } from "../fid.ts";
import type { DirectoryRead } from "../replies/directory_read.ts";

/** Number of fids that share a node because they are clones of each other. */
export interface NodeReferences {
  count: number;
}

/** A fid with the internal state of its session. */
export class FidState<N extends FidNode = FidNode> implements Fid<N> {
  readonly fid: number;
  readonly uname: string;
  readonly aname: string;
  // Set when the fid becomes bound. While its walk or attach is in progress,
  // the fid has no node.
  node!: N;
  mode = -1;
  writeFailed = false;
  lost = false;
  /** True when the fid stands for a file. */
  bound = false;
  /** True for an authentication file. */
  auth = false;
  /**
   * Access that an implicit open has granted: bit 0 for reading, bit 1 for
   * writing.
   */
  implicit = 0;
  /** State of the reads of a directory. */
  dir: DirectoryRead | undefined = undefined;
  /** Offset of the next read of the directory. */
  dirOffset = 0;
  state: unknown = undefined;
  /**
   * Count of the fids that share the node; undefined when this fid has no
   * clone.
   */
  references: NodeReferences | undefined = undefined;
  /** Attributes of the last Rstat, with their encoded record. */
  recorded:
    | { readonly stat: Attributes; readonly record: Uint8Array }
    | undefined = undefined;
  /** True when the node was a directory when the fid began to stand for it. */
  isDir = false;
  /** Number of requests that use the fid now; see {@linkcode enter}. */
  active = 0;
  /** Number of reads among them. */
  reads = 0;
  /** True while one request uses the fid exclusively. */
  locked = false;
  /**
   * True when the fid is out of the table. The fid is released as soon as
   * `active` is 0.
   */
  gone = false;
  /** True when the fid is released, or when a request releases the fid. */
  released = false;

  constructor(fid: number, uname: string, aname: string) {
    this.fid = fid;
    this.uname = uname;
    this.aname = aname;
  }

  /** Sets the node of the fid. */
  standFor(node: N): void {
    this.node = node;
    this.isDir = (node.qid.type & QTDIR) !== 0;
  }

  /**
   * Counts a request that begins to use the fid: as a read (`reads`),
   * exclusively (`locks`), or neither.
   */
  enter(reads: boolean, locks: boolean): void {
    this.active++;
    if (reads) this.reads++;
    if (locks) this.locked = true;
  }

  /**
   * Counts a request that ends its use of the fid. The arguments are those of
   * enter().
   */
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

/**
 * Returns true when a fid stands for a directory. A node that is a directory
 * stays a directory.
 */
export function isDirectory(fid: { readonly isDir: boolean }): boolean {
  return fid.isDir;
}
