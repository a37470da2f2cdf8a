// Files that a program defines by functions: content that is made at each open,
// callbacks for written data, or answers to each request.

import { NinePError, OTRUNC, OWRITE } from "../../codec.ts";
import { isRecord, removedError } from "../../codec/call.ts";
import type {
  Awaitable,
  CallRequest,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../../server.ts";
import { FileData, isLength } from "../memory/data.ts";
import { FileNode, NodeOpen } from "../memory/file.ts";
import { DirNode, type NodeInit, type TreeNode } from "../memory/node.ts";
import { checkLimit, HeldRoom } from "../memory/quota.ts";
import { bytesOf, kindOf, relayError } from "./request_hooks.ts";
import type { Ending, OpenFile, TreeFile } from "../tree.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** Default of `maxLength`. */
const LENGTH_MAX = 64 * 1024;

/**
 * The functions that define a file; all are optional. `content` and `written`
 * work with whole contents; `read`, `write` and `call` work with single
 * requests. The value of `open` is the state of that open, and the last
 * argument of `content`, `written`, `read`, `write`, `call` and `clunk`. Each
 * function may throw a NinePError, whose text the client gets. For any other
 * error the client gets `i/o error`, and `onError` of the server gets the
 * error.
 *
 * A request is plain data; its context has the user (`uname`), the fid, the
 * connection, and a signal that is aborted when the client gives up. The server
 * makes the context, so a client cannot forge it.
 */
export interface FileHooks<State = unknown> {
  /**
   * Opens another file in place of this one, as a clone file does. Returns its
   * path from the directory of this file, such as `3/ctl`. The fid then stands
   * for that file. A file with `clone` can have no other function but `remove`
   * and `release`.
   */
  clone?(request: OpenRequest, context: RequestContext): Awaitable<string>;
  /** Begins an open, and returns its state. */
  open?(request: OpenRequest, context: RequestContext): Awaitable<State>;
  /**
   * Makes the content that an open reads: text or bytes. The content counts for
   * the connection until the clunk (`maxHeldBytes`).
   */
  content?(
    request: OpenRequest,
    context: RequestContext,
    state: State,
  ): Awaitable<string | Uint8Array>;
  /**
   * Gets all the bytes that an open wrote, at the clunk or at the end of the
   * connection. It is called after a write of no bytes as well. It is not
   * called without a write, or when one of the writes was refused or given up.
   * The context is that of the open.
   */
  written?(
    data: Uint8Array,
    context: RequestContext,
    state: State,
  ): Awaitable<void>;
  /**
   * Answers a Tread: at most `count` bytes from `offset` on, none at the end. A
   * file has either `read` or `content`.
   */
  read?(
    request: ReadRequest,
    context: RequestContext,
    state: State,
  ): Awaitable<Uint8Array>;
  /**
   * Answers a Twrite. Its data are a view that is valid until the answer.
   * Returns the number of bytes that were taken, or undefined for all. A file
   * has either `write` or `written`.
   */
  write?(
    request: WriteRequest,
    context: RequestContext,
    state: State,
  ): Awaitable<number | void>;
  /**
   * Answers a Tcall with the value: bytes or text. Without `call` the file is
   * not a function file.
   */
  call?(
    request: CallRequest,
    context: RequestContext,
    state: State,
  ): Awaitable<string | Uint8Array>;
  /** Ends an open; its connection may have ended, too. The context is that of the open. */
  clunk?(context: RequestContext, state: State): Awaitable<void>;
  /**
   * Cuts or extends the file, for OTRUNC (with length 0) and for a Twstat of
   * the length. Without `truncate`, both succeed and have no effect.
   */
  truncate?(length: number, uname: string): Awaitable<void>;
  /**
   * Called before a client removes the file. An error that it throws refuses
   * the removal.
   */
  remove?(context: RequestContext): Awaitable<void>;
  /**
   * For a member of a directory that is defined by functions: called when no
   * fid stands for the file any more. See {@linkcode DirHooks.release}.
   */
  release?(): Awaitable<void>;
  /**
   * Size in bytes for stat, a whole number. By default 0, which means that the
   * size is not known.
   */
  length?: number | (() => number);
  /**
   * Most bytes that `written` gets, 65,536 by default. A longer write is
   * refused with `file too big` before it is stored.
   */
  maxLength?: number;
  /**
   * Permissions, and DMAPPEND, DMEXCL, DMTMP. By default 0444 for a file that
   * can be read, 0222 for a file that can be written, 0666 for a function file
   * or a clone file.
   */
  mode?: number;
  /**
   * Owner. By default that of the tree, or of the directory that defines the
   * file.
   */
  uid?: string;
  /**
   * Group. By default that of the tree, or of the directory that defines the
   * file.
   */
  gid?: string;
}

/**
 * Returns the default permissions of a file, which depend on its functions.
 */
export function modeOf(hooks: FileHooks): number {
  const { content, read, write, written, call, clone } = hooks;
  const reads = content ?? read ?? call ?? clone;
  const writes = written ?? write ?? call ?? clone;
  return (reads ? 0o444 : 0) | (writes ? 0o222 : 0);
}

/** The names of the hooks that are functions. */
const FUNCTIONS = [
  "clone",
  "open",
  "content",
  "written",
  "read",
  "write",
  "call",
  "clunk",
  "truncate",
  "remove",
  "release",
] as const;

/** The hooks that exclude `clone`, because the file itself is never open. */
const OF_OPEN_FILES = FUNCTIONS.slice(1, -2);

/**
 * Throws for hooks that are not functions, hooks that exclude each other, and a
 * wrong length.
 */
export function checkHooks(path: string, hooks: FileHooks): void {
  const what = `Cannot define "${path}"`;
  checkFunctions(what, hooks, FUNCTIONS);
  const { content, read, write, written, length = 0, maxLength = 0 } = hooks;
  checkLimit("maxLength", maxLength);
  if (content && read) {
    throw new TypeError(`${what}: it has either content or read, not both`);
  }
  for (const name of hooks.clone ? OF_OPEN_FILES : []) {
    if (hooks[name] === undefined) continue;
    throw new TypeError(`${what}: it has either clone or ${name}, not both`);
  }
  if (write && written) {
    throw new TypeError(`${what}: it has either write or written, not both`);
  }
  if (typeof length !== "function" && !isLength(length)) {
    throw new RangeError(
      `${what}: the length is ${length}, not a whole number from 0 on`,
    );
  }
}

/**
 * Throws for hooks that are not functions, as a program without types may give
 * them.
 */
export function checkFunctions(
  what: string,
  hooks: unknown,
  names: readonly string[],
): void {
  if (!isRecord(hooks)) {
    throw new TypeError(`${what}: ${kindOf(hooks)} is no object of functions`);
  }
  for (const name of names) {
    const hook = hooks[name];
    if (hook === undefined || typeof hook === "function") continue;
    throw new TypeError(`${what}: ${name} is ${kindOf(hook)}, not a function`);
  }
}

/** A file that is defined by functions. */
export class HookNode extends FileNode {
  /**
   * Drops a reference to this file. Set only for a member of a directory that
   * is defined by functions.
   *
   * @ignore
   */
  release?: () => Awaitable<void>;
  readonly #hooks: FileHooks;

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(init: NodeInit, hooks: FileHooks) {
    super(init);
    this.#hooks = hooks;
  }

  /** True for a file with a `call` hook. */
  override get implicitOpen(): boolean {
    return this.#hooks.call !== undefined || super.implicitOpen;
  }

  /** True for a clone file: an open of this file opens another file. */
  get isClone(): boolean {
    return this.#hooks.clone !== undefined;
  }

  /** Opens the file, or for a clone file another file. */
  override open(
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<OpenFile> {
    if (!this.isClone) return super.open(request, context);
    return this.#openOther(request, context);
  }

  async #openOther(
    request: OpenRequest,
    context: RequestContext,
  ): Promise<OpenFile> {
    const { parent } = this;
    if (parent === undefined) throw new NinePError("file has been removed");
    const path: unknown = await this.#hooks.clone?.(request, context);
    if (typeof path !== "string") {
      throw new TypeError(`clone() gave ${kindOf(path)}, not a path`);
    }
    return openPath(parent, path, request, context);
  }

  /** Size in bytes; 0 if the size is not known. */
  override get length(): number {
    const { length = 0 } = this.#hooks;
    const bytes = typeof length === "number"
      ? length
      : length.call(this.#hooks);
    if (isLength(bytes)) return bytes;
    throw new RangeError(
      `Cannot tell the length of "${this.name}": ${bytes} is not a whole number from 0 on`,
    );
  }

  /** True when a function gives the length. */
  override get isVolatile(): boolean {
    return typeof this.#hooks.length === "function";
  }

  /** Begins an open: makes its state and its content. */
  protected override async begin(
    request: OpenRequest,
    context: RequestContext,
  ): Promise<NodeOpen> {
    const open = new HookOpen(this, this.#hooks, context);
    try {
      await open.begin(request, context);
      return open;
    } catch (error) {
      await open.fail();
      throw error;
    }
  }

  /**
   * Throws for a function file that was removed. For any other removed file,
   * the fids that have it open can still use it.
   *
   * @ignore
   */
  checkPresent(): void {
    if (this.isRemoved && this.implicitOpen) throw removedError();
  }

  /**
   * Makes an empty content for an open.
   *
   * @ignore
   */
  contentFor({ memory }: RequestContext): FileData {
    return new FileData(new HeldRoom(memory, this.quota.maxFileSize));
  }

  /**
   * Notes that a user has written.
   *
   * @ignore
   */
  wrote(uname: string): void {
    this.touched(uname);
  }

  /** Cuts or extends the file, if the file has a function for it. */
  override async truncate(
    length: number,
    uname: string = this.uid,
  ): Promise<void> {
    await this.#hooks.truncate?.(length, uname);
  }

  /** Throws if the file may not be removed. */
  override removing(context: RequestContext): Awaitable<void> {
    return this.#hooks.remove?.(context);
  }
}

/**
 * A file that a fid has open, with the state that its functions have returned.
 */
class HookOpen extends NodeOpen {
  readonly #node: HookNode;
  readonly #hooks: FileHooks;
  /** Context of the open, for the functions that are called at its end. */
  readonly #context: RequestContext;
  #state: unknown = undefined;
  /** True when there is a state for `clunk`. */
  #begun = false;
  /** Content that the open reads. */
  #content: FileData | undefined;
  /** Bytes that the open wrote. */
  #written: FileData | undefined;

  constructor(node: HookNode, hooks: FileHooks, context: RequestContext) {
    super(node);
    this.#node = node;
    this.#hooks = hooks;
    this.#context = context;
  }

  /**
   * Makes the state and the content. For a further mode, keeps the state and
   * makes only content that is missing.
   */
  async begin(request: OpenRequest, context: RequestContext): Promise<void> {
    const hooks = this.#hooks;
    if (!this.#begun) this.#state = await hooks.open?.(request, context);
    this.#begun = true;
    if ((request.mode & OTRUNC) !== 0) {
      await this.#node.truncate(0, context.uname);
    }
    const reads = (request.mode & 3) !== OWRITE && this.#content === undefined;
    if (!reads || hooks.content === undefined) return;
    const content = bytesOf(
      "content",
      await hooks.content(request, context, this.#state),
    );
    const data = this.#node.contentFor(context);
    data.replace(content);
    this.#content = data;
  }

  /** Ends an open that has failed. */
  async fail(): Promise<void> {
    if (this.#begun) await this.#hooks.clunk?.(this.#context, this.#state);
  }

  reopen(request: OpenRequest, context: RequestContext): Promise<void> {
    return this.begin(request, context);
  }

  /** Reads the content of the open, or calls the hook. */
  override answerRead(
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array> {
    if (this.#content !== undefined) {
      return this.#content.slice(request.offset, request.count);
    }
    this.#node.checkPresent();
    const hooks = this.#hooks;
    if (hooks.read === undefined) return NO_BYTES;
    return hooks.read(request, context, this.#state);
  }

  /**
   * Calls the `write` hook, or keeps the bytes until the clunk for the
   * `written` hook.
   */
  override answerWrite(
    request: WriteRequest,
    context: RequestContext,
  ): Awaitable<number> {
    const { length } = request.data; // The data are a view, which is valid only while the hook runs.
    this.#node.checkPresent();
    if (this.#hooks.write === undefined) {
      this.#keep(request, context);
      return this.#wrote(context, length);
    }
    const count = this.#hooks.write(request, context, this.#state);
    if (!(count instanceof Promise)) return this.#wrote(context, length, count);
    return count.then((count) => this.#wrote(context, length, count));
  }

  #keep(
    { data, offset, append }: WriteRequest,
    { memory }: RequestContext,
  ): void {
    const { written, maxLength = LENGTH_MAX } = this.#hooks;
    if (written === undefined) throw new NinePError("Operation not supported");
    const kept = this.#written ??= new FileData(
      new HeldRoom(memory, maxLength),
    );
    if (data.length > 0) kept.write(data, append ? kept.length : offset);
  }

  #wrote(
    { uname }: RequestContext,
    length: number,
    count?: number | void,
  ): number {
    if (length > 0) this.#node.wrote(uname);
    return count ?? length;
  }

  /** Answers a Tcall, if the file has a function for it. */
  override answerCall(
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array | undefined> {
    const hooks = this.#hooks;
    if (hooks.call === undefined) return undefined;
    this.#node.checkPresent();
    try {
      const value = hooks.call(request, context, this.#state);
      if (!(value instanceof Promise)) return bytesOf("call", value);
      return value.then((value) => bytesOf("call", value)).catch(relayError);
    } catch (error) {
      return relayError(error);
    }
  }

  /**
   * Calls `written` with the written data, and then `clunk` with the state.
   */
  protected override async end({ writeFailed }: Ending): Promise<void> {
    const written = this.#written;
    this.#content?.resize(0);
    const context = this.#context;
    try {
      if (written !== undefined && !writeFailed) {
        await this.#hooks.written?.(written.copy(), context, this.#state);
      }
    } finally {
      written?.resize(0); // Not before the function is done with its copy.
      if (this.#begun) await this.#hooks.clunk?.(context, this.#state);
    }
  }
}

/** Opens a file below a directory, for a fid that then stands for that file. */
async function openPath(
  dir: DirNode,
  path: string,
  request: OpenRequest,
  context: RequestContext,
): Promise<OpenFile> {
  const given: TreeNode[] = [];
  try {
    const between: DirNode[] = [];
    let last: TreeNode = dir;
    for (const name of path.split("/")) {
      if (!(last instanceof DirNode)) throw new NinePError("not a directory");
      if (last !== dir) between.push(last);
      const next: TreeNode | undefined = await last.lookup(name, context);
      if (next === undefined) throw new NinePError("file does not exist");
      given.push(next);
      last = next;
    }
    if (last.target instanceof HookNode && last.target.isClone) {
      throw new TypeError(`clone() gave "${path}", which is a clone file`);
    }
    const open = await last.open(request, context);
    if (!(open instanceof NodeOpen)) return { file: last, between };
    open.file = last;
    open.between = between;
    return open;
  } catch (error) {
    for (const node of given.reverse()) await releaseNode(node);
    throw error;
  }
}

/** Releases a node that a lookup has returned. */
export function releaseNode(node: TreeFile): Awaitable<void> {
  return node.release?.();
}
