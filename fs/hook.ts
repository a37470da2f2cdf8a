// Files that a program defines by functions: content that is made at each open,
// callbacks for what is written, or raw answers to each request.

import { NinePError, OTRUNC, OWRITE } from "../codec.ts";
import { isRecord, removedError } from "../codec/call.ts";
import type {
  Awaitable,
  CallRequest,
  Fid,
  OpenRequest,
  ReadRequest,
  WriteRequest,
} from "../server.ts";
import { forCaller } from "./callable.ts";
import { FileData, isLength, NOTHING } from "./data.ts";
import { FileNode } from "./file.ts";
import type { NodeInit, TreeNode } from "./node.ts";
import { checkLimit, HeldRoom } from "./quota.ts";

/** Default of `maxLength`. */
const LENGTH_MAX = 64 * 1024;

const encoder = new TextEncoder();

/**
 * The functions that define a file; all are optional. `content` and `written`
 * work with whole contents; `read`, `write` and `call` work with single
 * requests. The value of `open` is the state of that open, and the last
 * argument of the other functions. Each function may throw a NinePError, whose
 * text the client gets. For any other error the client gets `i/o error`, and
 * `onError` of the server gets the error.
 *
 * A request has the fid, its user (`request.fid.uname`), the file
 * (`request.fid.node`), the connection, and a signal that is aborted when the
 * client gives up. It comes first, and the server makes it: nothing that a
 * client sends can take its place.
 */
export interface FileHooks<State = unknown> {
  /** Begins an open, and gives its state. */
  open?(request: OpenRequest<TreeNode>): Awaitable<State>;
  /**
   * Makes the content that an open reads: text or bytes. The content counts for
   * the connection until the clunk (`maxHeldBytes`).
   */
  content?(
    request: OpenRequest<TreeNode>,
    state: State,
  ): Awaitable<string | Uint8Array>;
  /**
   * Gets all the bytes that an open wrote, at the clunk or at the end of the
   * connection. It is called after a write of no bytes as well. It is not
   * called without a write, or when one of the writes was refused or given up.
   */
  written?(
    data: Uint8Array,
    fid: Fid<TreeNode>,
    state: State,
  ): Awaitable<void>;
  /** Answers a Tread: at most `count` bytes from `offset` on, none at the end. Not beside `content`. */
  read?(request: ReadRequest<TreeNode>, state: State): Awaitable<Uint8Array>;
  /**
   * Answers a Twrite: its data are a view that lives until then. Gives how many
   * bytes were taken, nothing for all. Not beside `written`.
   */
  write?(
    request: WriteRequest<TreeNode>,
    state: State,
  ): Awaitable<number | void>;
  /**
   * Answers a Tcall with the value: bytes or text. Without it the file is no
   * function.
   */
  call?(
    request: CallRequest<TreeNode>,
    state: State,
  ): Awaitable<string | Uint8Array>;
  /** Ends an open; its connection may have ended, too. */
  clunk?(fid: Fid<TreeNode>, state: State): Awaitable<void>;
  /** Cuts or extends the file, for OTRUNC (0) and a Twstat of the length. Without it both are accepted, to no effect. */
  truncate?(length: number, uname: string): Awaitable<void>;
  /**
   * Called before a client removes the file. An error that it throws refuses
   * the removal.
   */
  remove?(fid: Fid<TreeNode>): Awaitable<void>;
  /** Size in bytes, to be told by stat: a whole number; 0, not known, by default. */
  length?: number | (() => number);
  /**
   * Most bytes that `written` gets, 65,536 by default. A longer write is
   * refused with `file too big` before it is stored.
   */
  maxLength?: number;
  /** Permissions, and DMAPPEND, DMEXCL, DMTMP. By default 0444 for what can be read, 0222 for what can be written, both for what can be called. */
  mode?: number;
  /** Owner; the tree's by default. */
  uid?: string;
  /** Group; the tree's by default. */
  gid?: string;
}

/** The permissions of a file by what it can do. */
export function modeOf(hooks: FileHooks): number {
  const { content, read, write, written, call } = hooks;
  const reads = content ?? read ?? call;
  const writes = written ?? write ?? call;
  return (reads ? 0o444 : 0) | (writes ? 0o222 : 0);
}

/** The names of the hooks that are functions. */
const FUNCTIONS = [
  "open",
  "content",
  "written",
  "read",
  "write",
  "call",
  "clunk",
  "truncate",
  "remove",
] as const;

/**
 * Throws for hooks that are not functions, hooks that exclude each other, and a
 * wrong length.
 */
export function checkHooks(path: string, hooks: FileHooks): void {
  const what = `Cannot define "${path}"`;
  checkFunctions(what, hooks);
  const { content, read, write, written, length = 0, maxLength = 0 } = hooks;
  checkLimit("maxLength", maxLength);
  if (content && read) {
    throw new TypeError(`${what}: it has either content or read, not both`);
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
function checkFunctions(what: string, hooks: unknown): void {
  if (!isRecord(hooks)) {
    throw new TypeError(`${what}: ${kindOf(hooks)} is no object of functions`);
  }
  for (const name of FUNCTIONS) {
    const hook = hooks[name];
    if (hook === undefined || typeof hook === "function") continue;
    throw new TypeError(`${what}: ${name} is ${kindOf(hook)}, not a function`);
  }
}

/** An open of a file by a fid. */
interface Open {
  state: unknown;
  /** Whether there is a state, for `clunk` to get. */
  begun: boolean;
  /** Done when it has begun, or failed to. */
  beginning: Promise<void> | undefined;
  /** Content that the open reads. */
  content: FileData | undefined;
  /** Bytes that the open wrote. */
  written: FileData | undefined;
}

/** A file that is defined by functions. */
export class HookNode extends FileNode {
  readonly #hooks: FileHooks;
  readonly #opens: Map<Fid<TreeNode>, Open> = new Map();

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(init: NodeInit, hooks: FileHooks) {
    super(init);
    this.#hooks = hooks;
  }

  /** Whether it can be called. */
  override get implicitOpen(): boolean {
    return this.#hooks.call !== undefined;
  }

  /** Size in bytes; 0 where it is not known. */
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

  /** Whether the length is asked for each time. */
  override get isVolatile(): boolean {
    return typeof this.#hooks.length === "function";
  }

  /** Begins an open: its state, its content. */
  override open(
    fid: Fid<TreeNode>,
    request: OpenRequest<TreeNode>,
  ): Promise<void> {
    // There is one already when the fid was open implicitly.
    const open: Open = this.#opens.get(fid) ?? {
      state: undefined,
      begun: false,
      beginning: undefined,
      content: undefined,
      written: undefined,
    };
    this.#opens.set(fid, open);
    return open.beginning = this.#begin(open, request);
  }

  async #begin(open: Open, request: OpenRequest<TreeNode>): Promise<void> {
    const hooks = this.#hooks;
    if (!open.begun) open.state = await hooks.open?.(request);
    open.begun = true;
    if ((request.mode & OTRUNC) !== 0 && !this.isAppendOnly) {
      await this.truncate(0, request.fid.uname);
    }
    const reads = (request.mode & 3) !== OWRITE && open.content === undefined;
    if (!reads || hooks.content === undefined) return;
    const content = bytesOf(
      "content",
      await hooks.content(request, open.state),
    );
    const { maxFileSize } = this.quota;
    const data = new FileData(new HeldRoom(request.memory, maxFileSize));
    data.replace(content);
    open.content = data;
  }

  /** Reads the content that was made at the open, or asks the hook. */
  override read(
    fid: Fid<TreeNode>,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array> {
    const open = this.#opens.get(fid);
    const { content } = open ?? {};
    if (content !== undefined) {
      return content.slice(request.offset, request.count);
    }
    this.#checkPresent();
    const hooks = this.#hooks;
    if (hooks.read === undefined) return NOTHING;
    return hooks.read(request, open?.state);
  }

  /** Keeps the bytes until the clunk, or hands them to the hook. */
  override write(
    fid: Fid<TreeNode>,
    request: WriteRequest<TreeNode>,
  ): Awaitable<number> {
    const open = this.#opens.get(fid);
    const { length } = request.data; // The data are a view, which is valid only while the hook runs.
    this.#checkPresent();
    if (this.#hooks.write === undefined) {
      this.#keep(open, request);
      return this.#wrote(fid, length);
    }
    const count = this.#hooks.write(request, open?.state);
    if (!(count instanceof Promise)) return this.#wrote(fid, length, count);
    return count.then((count) => this.#wrote(fid, length, count));
  }

  #keep(open: Open | undefined, request: WriteRequest<TreeNode>): void {
    const { written, maxLength = LENGTH_MAX } = this.#hooks;
    if (written === undefined || open === undefined) {
      throw new NinePError("Operation not supported");
    }
    const { data, offset, memory } = request;
    open.written ??= new FileData(new HeldRoom(memory, maxLength));
    const isAppended = this.isAppendOnly || request.fid.appends;
    const at = isAppended ? open.written.length : offset;
    if (data.length > 0) open.written.write(data, at);
  }

  #wrote(fid: Fid<TreeNode>, length: number, count?: number | void): number {
    if (length > 0) this.touched(fid.uname);
    return count ?? length;
  }

  /** Answers a Tcall, if it can. */
  override call(
    fid: Fid<TreeNode>,
    request: CallRequest<TreeNode>,
  ): Awaitable<Uint8Array | undefined> {
    const hooks = this.#hooks;
    if (hooks.call === undefined) return undefined;
    this.#checkPresent();
    try {
      const value = hooks.call(request, this.#opens.get(fid)?.state);
      if (!(value instanceof Promise)) return bytesOf("call", value);
      return value.then((value) => bytesOf("call", value)).catch(relay);
    } catch (error) {
      return relay(error);
    }
  }

  /**
   * Throws when the file was removed and is a function. Fids that have any
   * other removed file open can still use it.
   */
  #checkPresent(): void {
    if (this.isRemoved && this.implicitOpen) throw removedError();
  }

  /** Cuts or extends the file, if it can. */
  override async truncate(
    length: number,
    uname: string = this.uid,
  ): Promise<void> {
    await this.#hooks.truncate?.(length, uname);
  }

  /** Ends an open. */
  override async clunk(fid: Fid<TreeNode>): Promise<void> {
    const open = this.#opens.get(fid);
    if (open === undefined) return;
    this.#opens.delete(fid);
    // It goes on when the client gave up the request that it is for.
    await open.beginning?.catch(() => {});
    const { state, begun, content, written } = open;
    content?.resize(0);
    try {
      if (written !== undefined && !fid.writeFailed) {
        await this.#hooks.written?.(written.copy(), fid, state);
      }
    } finally {
      written?.resize(0); // Not before the function is done with its copy.
      if (begun) await this.#hooks.clunk?.(fid, state);
    }
  }

  /** Asks whether it may be removed. */
  override remove(fid: Fid<TreeNode>): Awaitable<void> {
    return this.#hooks.remove?.(fid);
  }
}

/**
 * Returns the bytes of what a hook gave. A program without types may give
 * anything else, which must not look like an empty file.
 */
function bytesOf(hook: string, value: string | Uint8Array): Uint8Array {
  if (typeof value === "string") return encoder.encode(value);
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`${hook}() gave ${kindOf(value)}, not text or bytes`);
}

function kindOf(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/**
 * Throws an error of a call hook again. The hook may have called a file of
 * another server, whose error must not say that this file was removed.
 */
function relay(error: unknown): never {
  throw error instanceof NinePError ? forCaller(error) : error;
}
