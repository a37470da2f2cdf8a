// Function files. A client writes the arguments and reads the value, or does
// both with a Tcall. callable.ts calls the functions.

import { NinePError, OWRITE } from "../../codec.ts";
import { removedError } from "../../codec/call.ts";
import type {
  Awaitable,
  Budget,
  CallRequest,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../../server.ts";
import {
  abortable,
  Callable,
  type CallableOptions,
  type Charge,
  type FileFunction,
  type FileMethods,
  type RunningCalls,
} from "./callable.ts";
import { FileNode, NodeOpen } from "../memory/file.ts";
import type { NodeInit } from "../memory/node.ts";
import { HeldRoom, type Room } from "../memory/quota.ts";
import { type Caller, CallRecord, forOthers } from "./record.ts";
import type { Ending } from "../tree.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** Options of a function file. */
export interface FunctionOptions extends CallableOptions {
  /**
   * Call the function at each read at offset 0, even if no arguments were
   * written. False by default.
   */
  callOnRead?: boolean;
  /**
   * Let a fid that did not write read the value of the last write by another
   * fid, so that one program can write and another program can read. This holds
   * for the write of a fid that is open for writing only, or that was clunked
   * without a read. For a fid that was never opened, the end of its connection
   * has the same effect as the clunk. A value that a fid both wrote and read is
   * never shared. True by default.
   */
  shared?: boolean;
  /**
   * Permissions of the file, 0666 by default. A client needs write permission
   * to write arguments, read permission to read the value, and both for a
   * Tcall.
   */
  mode?: number;
  /** Owner; the tree's by default. */
  uid?: string;
  /** Group; the tree's by default. */
  gid?: string;
}

/** The file of a function. */
export class FunctionNode extends FileNode {
  /**
   * Drops a reference to this file. Set only for a member of a directory that
   * is defined by functions.
   *
   * @ignore
   */
  release?: () => Awaitable<void>;
  readonly #callable: Callable;
  readonly #callOnRead: boolean;
  readonly #shared: boolean;
  /** The record of the last write that other fids may read. */
  #shares: CallRecord | undefined;

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(
    init: NodeInit,
    fn: FileFunction | FileMethods,
    options: FunctionOptions & { context?: boolean },
    running: RunningCalls,
  ) {
    super(init);
    this.#callable = new Callable(fn, options, running);
    this.#callOnRead = options.callOnRead ?? false;
    this.#shared = options.shared ?? true;
  }

  /** True. */
  override get implicitOpen(): boolean {
    return true;
  }

  /** Length of the shared value in bytes. */
  override get length(): number {
    return this.#shares?.value?.length ?? 0;
  }

  /** Makes the open file of a fid. It has no records yet. */
  protected override begin(
    { mode, implicit }: OpenRequest,
    { memory }: RequestContext,
  ): NodeOpen {
    return new FunctionOpen(this, memory, implicit ? undefined : mode);
  }

  /**
   * Stores written arguments. A write at offset 0, or after a call, begins new
   * arguments. A write at the end of the arguments adds to them.
   *
   * @ignore
   */
  write(
    calls: FunctionOpen,
    request: WriteRequest,
    context: RequestContext,
  ): number {
    this.#checkPresent();
    const { offset, data } = request;
    const { written } = calls;
    // Programs that write and read in turn do not seek back to offset 0.
    if (offset === 0 || written?.isUsed) {
      return this.#keep(calls, request, callerOf(context));
    }
    if (offset !== written?.end) throw new NinePError("illegal offset");
    this.#checkText(written.text.length + data.length);
    written.append(data);
    return data.length;
  }

  #checkText(length: number): void {
    if (length > this.#callable.maxText) throw new NinePError("file too big");
  }

  /** Keeps the first bytes of new arguments. */
  #keep(
    calls: FunctionOpen,
    { data, offset }: WriteRequest,
    caller: Caller,
  ): number {
    this.#checkText(data.length);
    const { written } = calls;
    const record = new CallRecord(caller, data.slice(), offset);
    calls.written = replace(written, record, calls.room);
    calls.unread = undefined;
    if (calls.mode === undefined || (calls.mode & 3) !== OWRITE) {
      if (!calls.hasRead) calls.unread = record;
      return data.length;
    }
    try {
      this.#share(record);
    } catch (error) {
      calls.written = undefined; // A refused write leaves nothing behind.
      record.drop(calls.room);
      throw error;
    }
    return data.length;
  }

  /** Shares a record with all fids that do not write. */
  #share(record: CallRecord): void {
    if (!this.#shared) return;
    this.#shares = replace(this.#shares, record, this.quota);
    this.resized();
  }

  /**
   * Returns a part of the value. A read at offset 0 first calls the function,
   * if the arguments were not used for a call yet.
   *
   * @ignore
   */
  read(
    calls: FunctionOpen,
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array> {
    calls.hasRead = true;
    calls.unread = undefined;
    if (request.offset > 0) {
      const { lastRead: read } = calls;
      if (read?.call === undefined) return slice(read?.value, request);
      // A client that reads ahead sends this read before the call has ended.
      return this.#waitForOther(read, context)
        .then((value) => part(calls, read, value, request));
    }
    this.#checkPresent();
    let record = calls.written ?? this.#shares;
    if (this.#callOnRead) {
      // Each read calls the function with the arguments of the record, in a
      // record of the read.
      if (record !== undefined) record.done = true; // Its text is complete.
      const text = record?.text ?? NO_BYTES;
      record = new CallRecord(record?.caller ?? callerOf(context), text);
    }
    if (record === undefined) return NO_BYTES;
    const kept = record;
    calls.lastRead = replace(calls.lastRead, kept, calls.room, () => {
      calls.lastRead = undefined;
      calls.lost = kept;
    });
    if (calls.lost === kept) calls.lost = undefined;
    const value = this.#valueOf(kept, context);
    return value instanceof Promise
      ? value.then((value) => part(calls, kept, value, request))
      : part(calls, kept, value, request);
  }

  /**
   * Throws when the file was removed. Fids can still read a value that was made
   * before.
   */
  #checkPresent(): void {
    if (this.isRemoved) throw removedError();
  }

  /**
   * Returns the value of a record. Calls the function if it was not called yet.
   */
  #valueOf(
    record: CallRecord,
    request: RequestContext,
  ): Awaitable<Uint8Array> {
    if (record.value !== undefined) return record.value;
    if (record.call !== undefined) {
      return this.#waitForOther(record, request);
    }
    if (record.done) throw record.error;
    this.#callable.check(request); // Not in the call: its failure would be kept.

    const abort = new AbortController();
    const { caller, text } = record;
    const { signal } = abort;
    let value: Awaitable<Uint8Array>;
    let isRefused = false;
    const load = (charge: Charge) => {
      try {
        return this.#callable.loadWritten(text, request, charge);
      } finally {
        isRefused = charge.isRefused;
      }
    };
    try {
      value = this.#callable.invoke(
        load,
        { ...caller, signal },
        request,
      );
      if (!(value instanceof Promise)) return this.#succeed(record, value);
    } catch (error) {
      // The record does not keep this error, because only the connection of
      // this reader has no memory left for the arguments.
      if (!isRefused) record.fail(error);
      throw error;
    }
    // The result of an aborted call is dropped, because a new call with the
    // same record may already run.
    const promise = value.then((bytes) => {
      signal.throwIfAborted();
      return this.#succeed(record, bytes);
    }).catch((error) => {
      signal.throwIfAborted();
      record.fail(error);
      throw error;
    });
    promise.catch(() => {}); // The waiting requests get the error.
    record.call = { promise, abort, waiting: 0 };
    return this.#wait(record, request);
  }

  /** Waits for a call that another request has started. */
  async #waitForOther(
    record: CallRecord,
    request: RequestContext,
  ): Promise<Uint8Array> {
    try {
      return await this.#wait(record, request);
    } catch (error) {
      throw forOthers(error);
    }
  }

  /**
   * Waits for a call. The call is aborted when no request waits for it any
   * more.
   */
  async #wait(
    record: CallRecord,
    request: RequestContext,
  ): Promise<Uint8Array> {
    const { call } = record;
    if (call === undefined) return record.value ?? NO_BYTES;
    call.waiting++;
    try {
      return await abortable(call.promise, request.signal);
    } finally {
      call.waiting--;
      if (call.waiting === 0 && !record.done && record.call === call) {
        record.call = undefined;
        call.abort.abort(request.signal.reason);
      }
    }
  }

  #succeed(record: CallRecord, value: Uint8Array): Uint8Array {
    // The value is copied, because it may be a view of a large buffer that
    // should be freed.
    const isCut = value.length < value.buffer.byteLength;
    record.succeed(isCut ? value.slice() : value);
    if (!this.#callOnRead) this.modified(this.uid);
    return value;
  }

  /**
   * Calls the function with the arguments of a Tcall.
   *
   * @ignore
   */
  call(request: CallRequest, context: RequestContext): Awaitable<Uint8Array> {
    this.#checkPresent();
    this.#callable.check(context);
    const value = this.#callable.invoke(
      (charge) => this.#callable.loadCall(request, context, charge),
      context,
      context,
    );
    return value instanceof Promise ? abortable(value, context.signal) : value;
  }

  /**
   * Forgets the records of the fid. Arguments that the fid wrote without a read
   * are shared from now on. If the connection was lost, they are not shared:
   * the fid was also open for reading, so the client meant to read the value
   * itself. A fid that never opened the file is an exception, because its
   * client never clunks.
   *
   * @ignore
   */
  forget(calls: FunctionOpen, { lost }: Ending): void {
    const { room, written, unread, lastRead: read } = calls;
    try {
      const isLost = lost && calls.mode !== undefined;
      if (unread !== undefined && !this.isRemoved && !isLost) {
        this.#share(unread);
      }
    } finally {
      written?.drop(room);
      read?.drop(room);
    }
  }

  /** Forgets the shared record. */
  protected override free(): void {
    this.#shares?.drop(this.quota);
    this.#shares = undefined;
  }
}

/** The open function file of a fid, with the records of the fid. */
class FunctionOpen extends NodeOpen {
  /** Mode of the Topen; undefined for a fid that sent none. */
  mode: number | undefined;
  /** Counts the records of the fid in the budget of its connection. */
  readonly room: Room;
  /** True when the fid has read. Its writes are then never shared. */
  hasRead = false;
  /** Record of the fid's last write. */
  written: CallRecord | undefined = undefined;
  /** The same record, if it is shared after a clunk without a read. */
  unread: CallRecord | undefined = undefined;
  /** Record that the fid has read from offset 0. */
  lastRead: CallRecord | undefined = undefined;
  /**
   * The record of the last read, if its value was dropped because the budget of
   * the connection was full.
   */
  lost: CallRecord | undefined = undefined;
  readonly #node: FunctionNode;

  constructor(node: FunctionNode, memory: Budget, mode: number | undefined) {
    super(node);
    this.#node = node;
    this.room = new HeldRoom(memory);
    this.mode = mode;
  }

  override answerRead(
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array> {
    return this.#node.read(this, request, context);
  }

  override answerWrite(request: WriteRequest, context: RequestContext): number {
    return this.#node.write(this, request, context);
  }

  override answerCall(
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array> {
    return this.#node.call(request, context);
  }

  /** Continues the records of the fid in a further mode. */
  reopen({ mode, implicit }: OpenRequest): void {
    if (!implicit) this.mode = mode;
  }

  protected override end(ending: Ending): void {
    this.#node.forget(this, ending);
  }
}

/** Returns the caller of a request, for a record that outlives the request. */
function callerOf({ uname, fid, peer, connection }: RequestContext): Caller {
  return { uname, fid, peer, connection };
}

/** Keeps a record in place of another record. */
function replace(
  old: CallRecord | undefined,
  record: CallRecord,
  room: Room,
  lose?: () => void,
): CallRecord {
  if (old === record) return record;
  record.hold(room, lose);
  old?.drop(room);
  return record;
}

/**
 * Returns the part of the value that a read gets. Throws if the value was
 * dropped because the budget of the connection was full.
 */
function part(
  { lost }: FunctionOpen,
  record: CallRecord,
  value: Uint8Array,
  request: ReadRequest,
): Uint8Array {
  if (lost === record) throw new NinePError("Cannot allocate memory");
  return slice(value, request);
}

function slice(
  value: Uint8Array | undefined,
  { offset, count }: ReadRequest,
): Uint8Array {
  return value?.subarray(offset, offset + count) ?? NO_BYTES;
}
