// What the tree is made of: files with content and directories. A kind of file
// with a behaviour of its own is a class that extends FileNode.

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  encodeStat,
  NinePError,
  type Qid,
  type Stat,
} from "../codec.ts";
import type {
  Awaitable,
  CallRequest,
  Fid,
  Node,
  ReadRequest,
  WriteRequest,
} from "../server.ts";

/** Now, in seconds since 1970-01-01 UTC. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** Attributes that a node is made with. */
export interface NodeInit {
  /** Name in its directory. */
  name: string;
  /** Number for its qid, never used before in the tree. */
  path: bigint;
  /** Permissions and DM bits. */
  mode: number;
  /** Owner, who is also the last modifier. */
  uid: string;
  /** Group. */
  gid: string;
}

/** A file or directory of a tree. */
export abstract class TreeNode implements Node {
  /** Identity; one object for the node's whole life. */
  readonly qid: Qid;
  /** Directory that the node is in: itself for the root; undefined when the node was removed. */
  parent: DirNode | undefined;
  /** Number of fids that have it open. */
  opens = 0;
  #name: string;
  #mode: number;
  #uid: string;
  #gid: string;
  #muid: string;
  #atime: number;
  #mtime: number;
  // The encoded stat record, until something changes: a Tstat then costs one copy.
  #record: Uint8Array | undefined;

  /** Made by a tree. */
  constructor(init: NodeInit) {
    this.qid = { type: init.mode >>> 24, vers: 0, path: init.path };
    this.#name = init.name;
    this.#mode = init.mode;
    this.#uid = init.uid;
    this.#gid = init.gid;
    this.#muid = init.uid;
    this.#atime = this.#mtime = now();
  }

  /** Size in bytes; 0 for directories. */
  abstract get length(): number;

  /** Name in its directory; `/` for the root. */
  get name(): string {
    return this.#name;
  }
  set name(name: string) {
    this.#name = name;
    this.#record = undefined;
  }

  /** Permissions and DM bits. */
  get mode(): number {
    return this.#mode;
  }
  set mode(mode: number) {
    this.#mode = mode >>> 0;
    this.qid.type = mode >>> 24;
    this.#record = undefined;
  }

  /** Owner. */
  get uid(): string {
    return this.#uid;
  }

  /** Group. */
  get gid(): string {
    return this.#gid;
  }
  set gid(gid: string) {
    this.#gid = gid;
    this.#record = undefined;
  }

  /** Last read, in seconds since 1970-01-01 UTC. */
  get atime(): number {
    return this.#atime;
  }
  set atime(atime: number) {
    if (atime === this.#atime) return;
    this.#atime = atime;
    this.#record = undefined;
  }

  /** Last change of the content, in seconds since 1970-01-01 UTC. */
  get mtime(): number {
    return this.#mtime;
  }
  set mtime(mtime: number) {
    this.#mtime = mtime;
    this.#record = undefined;
  }

  /** User who moved mtime last. */
  get muid(): string {
    return this.#muid;
  }
  set muid(muid: string) {
    this.#muid = muid;
    this.#record = undefined;
  }

  /** Whether it is a directory. */
  get isDirectory(): boolean {
    return (this.#mode & DMDIR) !== 0;
  }

  /** Whether writes go to the end, whatever their offset. */
  get isAppendOnly(): boolean {
    return (this.#mode & DMAPPEND) !== 0;
  }

  /** Whether one fid at most has it open. */
  get isExclusive(): boolean {
    return (this.#mode & DMEXCL) !== 0;
  }

  /**
   * Notes a change of the content: version and times move.
   *
   * @param muid User who made it.
   */
  modified(muid: string): void {
    this.qid.vers = (this.qid.vers + 1) >>> 0;
    this.#atime = this.#mtime = now();
    this.#muid = muid;
    this.#record = undefined;
  }

  /** Notes a change of the length, if nothing else tells of it. */
  protected resized(): void {
    this.#record = undefined;
  }

  /** All attributes. */
  get stat(): Stat {
    return {
      type: 0,
      dev: 0,
      qid: { ...this.qid },
      mode: this.#mode,
      atime: this.#atime,
      mtime: this.#mtime,
      length: BigInt(this.length),
      name: this.#name,
      uid: this.#uid,
      gid: this.#gid,
      muid: this.#muid,
    };
  }

  /** All attributes, encoded. */
  get record(): Uint8Array {
    return this.#record ??= encodeStat(this.stat);
  }
}

/** A directory. */
export class DirNode extends TreeNode {
  /** Members by name, in the order of their creation. */
  readonly members: Map<string, TreeNode> = new Map();

  /** Always 0. */
  get length(): number {
    return 0;
  }
}

/** How much the files of a tree may hold. */
export interface Quota {
  /** Most bytes of one file. */
  readonly maxFileSize: number;
  /** Most bytes of all files together. */
  readonly maxSize: number;
  /** Bytes of all files together. */
  used: number;
}

/** A plain file: its content is in memory. */
export class FileNode extends TreeNode {
  /** Whether it stands for a function, and so has no content to cut or extend. */
  get isFunction(): boolean {
    return false;
  }

  /** Whether a fid that is not open may be used: clients of the first ancestor never open function files. */
  get implicitOpen(): boolean {
    return this.isFunction;
  }

  readonly #quota: Quota;
  // The content is the first #length bytes; all behind it are 0.
  #bytes: Uint8Array = new Uint8Array(0);
  #length = 0;

  /** Made by a tree. */
  constructor(init: NodeInit, quota: Quota) {
    super(init);
    this.#quota = quota;
  }

  /** Size in bytes. */
  get length(): number {
    return this.#length;
  }

  /** The content: a view that is good until the next write. Setting it does not move version and times: see modified(). */
  get content(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
  set content(content: Uint8Array) {
    this.checkLength(content.length);
    this.#resize(0);
    this.#resize(content.length);
    this.#bytes.set(content);
  }

  /**
   * Reads bytes; none at the end. See `read(9P)`.
   *
   * @param _fid Fid that reads.
   * @param request Where, and how many.
   * @returns The bytes, which may be a view of the content.
   */
  read(
    _fid: Fid<TreeNode>,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array> {
    const { offset, count } = request;
    return this.#bytes.subarray(
      Math.min(offset, this.#length),
      Math.min(offset + count, this.#length),
    );
  }

  /**
   * Writes bytes. See `read(9P)`.
   *
   * @param fid Fid that writes.
   * @param request Where, and what.
   * @returns How many were taken.
   */
  write(
    fid: Fid<TreeNode>,
    request: WriteRequest<TreeNode>,
  ): Awaitable<number> {
    const { data } = request;
    if (data.length === 0) return 0;
    const offset = this.isAppendOnly ? this.#length : request.offset;
    const end = offset + data.length;
    if (end > this.#length) this.#resize(end);
    this.#bytes.set(data, offset);
    this.modified(fid.uname);
    return data.length;
  }

  /**
   * Cuts or extends the content, with zeros.
   *
   * @param length New length in bytes.
   * @throws {NinePError} `file too big`, `file system is full`.
   */
  truncate(length: number): void {
    this.#resize(length);
  }

  /**
   * Calls a function file; this is none.
   *
   * @returns The value's bytes; undefined where the file is no function.
   */
  call(
    _fid: Fid<TreeNode>,
    _request: CallRequest<TreeNode>,
  ): Awaitable<Uint8Array | undefined> {
    return undefined;
  }

  /** Frees the content when the file is removed and no fid has it open. */
  dispose(): void {
    this.#quota.used -= this.#length;
    this.#bytes = new Uint8Array(0);
    this.#length = 0;
  }

  /** Throws unless the file may have that length. */
  checkLength(length: number): void {
    const { maxFileSize, maxSize, used } = this.#quota;
    if (length > maxFileSize) throw new NinePError("file too big");
    if (used + length - this.#length > maxSize) {
      throw new NinePError("file system is full");
    }
  }

  #resize(length: number): void {
    const old = this.#length;
    if (length > old) {
      this.checkLength(length);
      if (length > this.#bytes.length) this.#grow(length);
    } else if (length === 0) {
      this.#bytes = new Uint8Array(0);
    } else {
      this.#bytes.fill(0, length, old);
    }
    this.#quota.used += length - old;
    this.#length = length;
    this.resized();
  }

  /** Doubles the room, so that a file written in pieces is copied rarely. */
  #grow(length: number): void {
    const room = Math.min(
      Math.max(length, this.#bytes.length * 2, 64),
      Math.max(length, this.#quota.maxFileSize),
    );
    const bytes = new Uint8Array(room);
    bytes.set(this.content);
    this.#bytes = bytes;
  }
}
