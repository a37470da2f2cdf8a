// Files: what any kind of them answers, and the plain one, whose content is in
// memory.

import { NinePError, OTRUNC } from "../codec.ts";
import type {
  Awaitable,
  CallRequest,
  Fid,
  OpenRequest,
  ReadRequest,
  WriteRequest,
} from "../server.ts";
import { FileData, NOTHING } from "./data.ts";
import { type NodeInit, TreeNode } from "./node.ts";

/** A file of any kind: the tree hands it the requests that a client is allowed to make. */
export abstract class FileNode extends TreeNode {
  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(init: NodeInit) {
    super(init, init.name);
  }

  /** Whether it stands for a function, and so has no times to set. */
  get isFunction(): boolean {
    return false;
  }

  /** Whether a fid that is not open may be used: clients of the first ancestor never open function files. */
  get implicitOpen(): boolean {
    return false;
  }

  /** Size in bytes; 0 where it is not known. */
  get length(): number {
    return 0;
  }

  /**
   * A fid opens it. See `open(9P)`.
   *
   * @param _fid Fid; it may do so again, when it had opened implicitly.
   * @param _request Mode; with OTRUNC the content goes.
   */
  open(
    _fid: Fid<TreeNode>,
    _request: OpenRequest<TreeNode>,
  ): Awaitable<void> {}

  /**
   * Reads bytes; none at the end. See `read(9P)`.
   *
   * @param fid Fid that reads.
   * @param request Where, and how many.
   * @returns The bytes, which may be a view of the content.
   */
  abstract read(
    fid: Fid<TreeNode>,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array>;

  /**
   * Writes bytes. See `read(9P)`.
   *
   * @param fid Fid that writes.
   * @param request Where, and what.
   * @returns How many were taken; all of them when it is undefined.
   */
  abstract write(
    fid: Fid<TreeNode>,
    request: WriteRequest<TreeNode>,
  ): Awaitable<number | void>;

  /**
   * Throws unless the file may have a length.
   *
   * @param _length Length in bytes.
   * @throws {NinePError} `file too big`, `file system is full`.
   */
  checkLength(_length: number): void {}

  /**
   * Cuts or extends the content, with zeros; where that means nothing, nothing happens.
   *
   * @param _length New length in bytes.
   * @param _uname User who wants it, the owner by default.
   * @throws {NinePError} `file too big`, `file system is full`.
   */
  truncate(_length: number, _uname: string = this.uid): Awaitable<void> {}

  /**
   * Calls a function file.
   *
   * @param _fid Fid that calls.
   * @param _request Arguments.
   * @returns The value's bytes; undefined where the file is no function.
   */
  call(
    _fid: Fid<TreeNode>,
    _request: CallRequest<TreeNode>,
  ): Awaitable<Uint8Array | undefined> {
    return undefined;
  }

  /**
   * Ends the use of the file by a fid that had it open. See `clunk(9P)`.
   *
   * @param _fid Fid.
   */
  clunk(_fid: Fid<TreeNode>): Awaitable<void> {}

  /**
   * A client that may do so is about to remove it. See `remove(9P)`.
   *
   * @param _fid Fid of the client.
   */
  remove(_fid: Fid<TreeNode>): Awaitable<void> {}
}

/** A plain file: its content is in memory. */
export class PlainNode extends FileNode {
  // Most files have no content when they are made.
  #data: FileData | undefined;

  /** Size in bytes. */
  override get length(): number {
    return this.#data?.length ?? 0;
  }

  /** The content, a copy. Setting it does not move version and times: see modified(). */
  get content(): Uint8Array {
    return this.#data?.copy() ?? NOTHING;
  }
  set content(content: Uint8Array) {
    if (this.isRemoved && this.opens === 0) {
      throw new NinePError("file has been removed"); // Nothing would free it.
    }
    (this.#data ??= new FileData(this.quota)).replace(content);
    this.resized();
  }

  /** Truncates with OTRUNC. */
  override open(
    fid: Fid<TreeNode>,
    { mode }: OpenRequest<TreeNode>,
  ): void {
    if ((mode & OTRUNC) !== 0 && !this.isAppendOnly) {
      this.#data?.resize(0);
      this.modified(fid.uname);
    }
  }

  /** Reads bytes. */
  override read(
    _fid: Fid<TreeNode>,
    { offset, count }: ReadRequest<TreeNode>,
  ): Uint8Array {
    return this.#data?.slice(offset, count) ?? NOTHING;
  }

  /** Writes bytes. */
  override write(
    fid: Fid<TreeNode>,
    { data, offset }: WriteRequest<TreeNode>,
  ): number {
    if (data.length > 0) {
      const content = this.#data ??= new FileData(this.quota);
      const isTail = this.isAppendOnly || fid.appends;
      content.write(data, isTail ? content.length : offset);
      this.modified(fid.uname);
    }
    return data.length;
  }

  /** Throws unless the file may have a length. */
  override checkLength(length: number): void {
    (this.#data ?? new FileData(this.quota)).check(length);
  }

  /** Cuts or extends the content, with zeros. */
  override truncate(length: number, uname: string = this.uid): void {
    if (length === this.length) return;
    (this.#data ??= new FileData(this.quota)).resize(length);
    this.modified(uname);
  }

  /** Frees the content. */
  protected override release(): void {
    this.#data?.resize(0);
    this.resized();
  }
}
