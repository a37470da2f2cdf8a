// The base class of files of all kinds, and plain files, whose content is in
// memory.

import { NinePError, ORDWR, OREAD, OTRUNC } from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import { removedError } from "../../codec/call.ts";
import type {
  AttributeChanges,
  Awaitable,
  CallRequest,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../../server.ts";
import { FileData } from "./data.ts";
import { closed, type NodeInit, opened, TreeNode } from "./node.ts";
import {
  type AddedHooks,
  answerCall,
  answerRead,
  answerWrite,
  checkHook,
  type HookRemoval,
  type RequestHooks,
  withHook,
  withoutHook,
} from "../functions/request_hooks.ts";
import type { Ending, OpenFile, TreeDir, TreeFile } from "../tree.ts";
import { now } from "./volume.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** A file of any kind. It gets only requests that the rules allow. */
export abstract class FileNode extends TreeNode {
  /** Functions that were added with on(). */
  #hooks: AddedHooks | undefined;

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(init: NodeInit) {
    super(init, init.name);
  }

  /**
   * True when a fid that is not open may be used. Clients of pyroute2 never
   * open function files.
   */
  get implicitOpen(): boolean {
    return this.#hooks !== undefined && this.#hooks.call.length > 0;
  }

  /**
   * The functions that answer in place of the file.
   *
   * @ignore
   */
  get requestHooks(): AddedHooks | undefined {
    return this.#hooks;
  }

  /**
   * Adds a function that answers requests in place of the file, for all fids,
   * also those that have the file open. The function that was added last
   * answers. By `next` it gets the answer of the function before it, or of the
   * file.
   *
   * @param kind Requests to answer: `read`, `write` or `call`. With `call`, the
   *   file is a function file.
   * @param hook The function.
   * @returns Removes the function. Requests that the function is answering go
   *   on.
   * @throws {TypeError} The kind does not exist, or the hook is no function.
   *
   * @example A file that is watched
   * ```ts
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { assertEquals } from "@std/assert";
   *
   * const fs = new MemoryFs();
   * const file = fs.create("notes", { mode: 0o666, data: "hello" });
   * let reads = 0;
   * const off = file.on("read", (request, _context, next) => {
   *   reads++;
   *   return next(request);
   * });
   *
   * const [here, there] = pair();
   * const served = serve(there, fs);
   * const client = await connect(here);
   * assertEquals(await client.readTextFile("notes"), "hello");
   * off();
   * const seen = reads;
   * assertEquals(await client.readTextFile("notes"), "hello");
   * assertEquals(reads, seen);
   * await client.close();
   * await served;
   * ```
   */
  on<Kind extends keyof RequestHooks>(
    kind: Kind,
    hook: RequestHooks[Kind],
  ): HookRemoval {
    checkHook(this.path, kind, hook);
    const added = { hook };
    this.#hooks = withHook(this.#hooks, kind, added);
    const off = () => {
      this.#hooks = withoutHook(this.#hooks, kind, added);
    };
    return Object.assign(off, { [Symbol.dispose]: off });
  }

  /** Size in bytes; 0 when the size is not known. */
  get length(): number {
    return 0;
  }

  /** Opens the file for a fid. See `open(9P)`. */
  override open(
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<OpenFile> {
    if (this.isRemoved) {
      throw this.implicitOpen
        ? removedError()
        : new NinePError("file has been removed");
    }
    opened(this);
    const access = request.mode & 3;
    if (access === OREAD || access === ORDWR) this.atime = now();
    try {
      const open = this.begin(request, context);
      if (!(open instanceof Promise)) return open;
      return open.catch((error) => {
        closed(this);
        throw error;
      });
    } catch (error) {
      closed(this);
      throw error;
    }
  }

  /**
   * Makes the open file of a fid. OTRUNC cuts the content.
   *
   * @ignore
   */
  protected abstract begin(
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<NodeOpen>;

  /** Throws if the file may not have the new length. */
  checkWstat({ length }: AttributeChanges): void {
    if (length === undefined) return;
    if (this.isRemoved && this.opens === 0) {
      throw new NinePError("file has been removed");
    }
    this.checkLength(Number(length));
  }

  /**
   * Throws if the file may not have a length.
   *
   * @param _length Length in bytes.
   * @throws {NinePError} `file too big`, `file system is full`.
   */
  checkLength(_length: number): void {}

  /**
   * Changes attributes. The length comes first, because only this change can
   * fail.
   */
  override wstat(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void> {
    const { length } = changes;
    if (length === undefined) return super.wstat(changes, context);
    this.checkWstat(changes);
    return then(
      this.truncate(Number(length), context.uname),
      () => super.wstat(changes, context),
    );
  }

  /**
   * Cuts the content, or extends it with zeros. By default a file has no stored
   * content, and the method does nothing.
   *
   * @param _length New length in bytes.
   * @param _uname User that asks for the change; the owner by default.
   * @throws {NinePError} `file too big`, `file system is full`.
   */
  truncate(_length: number, _uname: string = this.uid): Awaitable<void> {}
}

/** A file that a fid has open. */
export abstract class NodeOpen implements OpenFile {
  /** Another file that the fid stands for after the open. */
  file: TreeFile | undefined = undefined;
  /** Directories on the way to that file. */
  between: readonly TreeDir[] | undefined = undefined;
  readonly #node: FileNode;

  /** Made by the file when it is opened. */
  constructor(node: FileNode) {
    this.#node = node;
  }

  /** Answers a Tread: by a function that was added, or by the file. */
  read(request: ReadRequest, context: RequestContext): Awaitable<Uint8Array> {
    const hooks = this.#node.requestHooks;
    if (hooks === undefined) return this.answerRead(request, context);
    return answerRead(hooks.read, request, context, this);
  }

  /** Answers a Twrite: by a function that was added, or by the file. */
  write(
    request: WriteRequest,
    context: RequestContext,
  ): Awaitable<number | void> {
    const hooks = this.#node.requestHooks;
    if (hooks === undefined) return this.answerWrite(request, context);
    return answerWrite(hooks.write, request, context, this);
  }

  /** Answers a Tcall: by a function that was added, or by the file. */
  call(
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array | undefined> {
    const hooks = this.#node.requestHooks;
    if (hooks === undefined) return this.answerCall(request, context);
    return answerCall(hooks.call, request, context, this);
  }

  /**
   * Reads bytes of the file itself.
   *
   * @ignore
   */
  answerRead(
    _request: ReadRequest,
    _context: RequestContext,
  ): Awaitable<Uint8Array> {
    return NO_BYTES;
  }

  /**
   * Writes to the file itself.
   *
   * @ignore
   */
  answerWrite(
    _request: WriteRequest,
    _context: RequestContext,
  ): Awaitable<number | void> {
    throw new NinePError("Operation not supported");
  }

  /**
   * Calls the file itself. By default a file is no function.
   *
   * @ignore
   */
  answerCall(
    _request: CallRequest,
    _context: RequestContext,
  ): Awaitable<Uint8Array | undefined> {
    return undefined;
  }

  /** Ends the open. */
  close(ending: Ending): Awaitable<void> {
    let done: Awaitable<void> = undefined;
    try {
      done = this.end(ending);
    } finally {
      if (!(done instanceof Promise)) closed(this.#node);
    }
    if (done instanceof Promise) {
      return done.finally(() => closed(this.#node));
    }
  }

  /**
   * Ends the open file.
   *
   * @ignore
   */
  protected end(_ending: Ending): Awaitable<void> {}
}

/** A plain file: its content is in memory. */
export class PlainNode extends FileNode {
  // Most files have no content when they are made.
  #data: FileData | undefined;

  /** Size in bytes. */
  override get length(): number {
    return this.#data?.length ?? 0;
  }

  /**
   * A copy of the content. Setting the content does not change version and
   * times; see modified().
   */
  get content(): Uint8Array {
    return this.#data?.copy() ?? NO_BYTES;
  }
  set content(content: Uint8Array) {
    if (this.isRemoved && this.opens === 0) {
      throw new NinePError("file has been removed"); // Nothing would free it.
    }
    (this.#data ??= new FileData(this.quota)).replace(content);
    this.resized();
  }

  /** Begins an open. OTRUNC cuts the content. */
  protected override begin(
    request: OpenRequest,
    { uname }: RequestContext,
  ): NodeOpen {
    this.reopen(request, uname);
    return new PlainOpen(this);
  }

  /**
   * Continues an open in a further mode.
   *
   * @ignore
   */
  reopen({ mode }: OpenRequest, uname: string): void {
    if ((mode & OTRUNC) === 0) return;
    this.#data?.resize(0);
    this.modified(uname);
  }

  /**
   * Reads bytes: a view of the content.
   *
   * @ignore
   */
  read({ offset, count }: ReadRequest): Uint8Array {
    return this.#data?.slice(offset, count) ?? NO_BYTES;
  }

  /**
   * Writes bytes.
   *
   * @ignore
   */
  write({ data, offset, append }: WriteRequest, uname: string): number {
    if (data.length > 0) {
      const content = this.#data ??= new FileData(this.quota);
      content.write(data, append ? content.length : offset);
      this.modified(uname);
    }
    return data.length;
  }

  /** Throws if the file may not have a length. */
  override checkLength(length: number): void {
    (this.#data ?? new FileData(this.quota)).check(length);
  }

  /** Cuts the content, or extends it with zeros. */
  override truncate(length: number, uname: string = this.uid): void {
    if (length === this.length) return;
    (this.#data ??= new FileData(this.quota)).resize(length);
    this.modified(uname);
  }

  /** Frees the content. */
  protected override free(): void {
    this.#data?.resize(0);
    this.resized();
  }
}

/** A plain file that a fid has open. */
class PlainOpen extends NodeOpen {
  readonly #node: PlainNode;

  constructor(node: PlainNode) {
    super(node);
    this.#node = node;
  }

  override answerRead(request: ReadRequest): Uint8Array {
    return this.#node.read(request);
  }

  override answerWrite(
    request: WriteRequest,
    { uname }: RequestContext,
  ): number {
    return this.#node.write(request, uname);
  }

  reopen(request: OpenRequest, { uname }: RequestContext): void {
    this.#node.reopen(request, uname);
  }
}
