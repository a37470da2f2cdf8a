// A fid: a number, chosen by the client, that stands for one file for one
// user. See intro(9P).

import { OAPPEND, ORDWR, OWRITE, type Qid, QTDIR } from "../codec.ts";
import type { Attributes } from "./attributes.ts";
import type { DirectoryRead } from "./directory_read.ts";
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
  /** Path of the file in its tree, such as `/etc/hosts`, for error reports. */
  readonly path?: string;
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
  /** What the handler keeps for the fid, such as an open file; undefined at first. The library does not look at it. */
  state: unknown;
}

/** How many fids stand for a node that was given once. */
export interface Sharing {
  fids: number;
}

/** A fid, with what only its session knows. */
export class FidState<N extends Node = Node> implements Fid<N> {
  readonly fid: number;
  readonly uname: string;
  readonly aname: string;
  // Set before a handler sees the fid: one whose walk or attach is under way is not born.
  node!: N;
  mode = -1;
  writeFailed = false;
  lost = false;
  /** Whether the fid stands for a file yet. */
  born = false;
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
  told: { readonly stat: Attributes; readonly record: Uint8Array } | undefined =
    undefined;
  /** Requests that work with the fid now; see {@linkcode enter}. */
  active = 0;
  /** Those of them that are reads. */
  reads = 0;
  /** Whether one has it for itself. */
  locked = false;
  /** Requests that wait for it, in order of arrival. */
  waiting: Set<Operation<N>> | undefined = undefined;
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

/** Those fids of a session that stand for a file: what its client may use. */
export class BornFids<N extends Node> implements ReadonlyMap<number, Fid<N>> {
  readonly #fids: ReadonlyMap<number, FidState<N>>;

  /**
   * @param fids All, those included whose walk or attach is under way.
   */
  constructor(fids: ReadonlyMap<number, FidState<N>>) {
    this.#fids = fids;
  }

  get size(): number {
    let size = 0;
    for (const _ of this) size++;
    return size;
  }

  get(fid: number): Fid<N> | undefined {
    const state = this.#fids.get(fid);
    return state?.born ? state : undefined;
  }

  has(fid: number): boolean {
    return this.get(fid) !== undefined;
  }

  forEach(
    callback: (
      value: Fid<N>,
      key: number,
      map: ReadonlyMap<number, Fid<N>>,
    ) => void,
  ): void {
    for (const [fid, state] of this) callback(state, fid, this);
  }

  *entries(): MapIterator<[number, Fid<N>]> {
    for (const entry of this.#fids) {
      if (entry[1].born) yield entry;
    }
  }

  *keys(): MapIterator<number> {
    for (const [fid] of this) yield fid;
  }

  *values(): MapIterator<Fid<N>> {
    for (const [, state] of this) yield state;
  }

  [Symbol.iterator](): MapIterator<[number, Fid<N>]> {
    return this.entries();
  }
}
