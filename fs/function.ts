// Function files: write the arguments and read the value, or do both with a
// Tcall. A call record is one argument text and what becomes of it.

import { NinePError } from "../codec.ts";
import {
  type CallArguments,
  checkCall,
  checkSafe,
  envelopeOf,
  FunctionError,
  isRecord,
} from "../codec/call.ts";
import type {
  Awaitable,
  CallRequest,
  Fid,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../server.ts";
import { FileNode, type NodeInit, type Quota, type TreeNode } from "./node.ts";

/** Most bytes of an argument text that is written. */
const TEXT_MAX = 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** What a function learns of its caller. */
export interface CallContext {
  /** User that calls. */
  readonly uname: string;
  /** Label of the caller's end of the connection. */
  readonly peer: string;
  /** Aborted when nobody waits for the value any more, or when `timeout` is over. */
  readonly signal: AbortSignal;
}

/**
 * A function that can be bound to a file. See {@linkcode FunctionOptions} for
 * what it is called with.
 */
// Any parameters, for the arguments come over the wire: a function checks what it needs.
// deno-lint-ignore no-explicit-any
export type FileFunction = (...args: any[]) => unknown;

/** How a function is bound to a file. */
export interface FunctionOptions {
  /**
   * Names of the parameters: the function is called with them one by one, and
   * the {@linkcode CallContext} behind the last. Without names, it is called
   * with one object of the keyword arguments and the context, or, for a Tcall
   * with positional arguments, with those and an object of the keyword
   * arguments, if there are any.
   */
  params?: readonly string[];
  /**
   * Decodes arguments: the bytes that were written, or the text of a Tcall.
   * JSON by default; an empty text is never asked for, it means no arguments.
   */
  loader?: (bytes: Uint8Array) => unknown;
  /** Encodes the value. By default JSON; bytes stay as they are. */
  dumper?: (value: unknown) => Uint8Array | string;
  /** Call at each read at offset 0, also when nothing was written. False by default. */
  callOnRead?: boolean;
  /** Let a fid that did not write read the value of the last write by any fid. True by default. */
  shared?: boolean;
  /** Longest time of a call in milliseconds; none by default. */
  timeout?: number;
  /** Permissions of the file, 0666 by default: write to write, read to read, both to call. */
  mode?: number;
  /** Owner; the tree's by default. */
  uid?: string;
  /** Group; the tree's by default. */
  gid?: string;
}

/**
 * A dumper that passes bytes through and turns all else into text.
 *
 * @param value Value of a function.
 * @returns The bytes, or `String(value)`.
 */
export function rawDumper(value: unknown): Uint8Array | string {
  return value instanceof Uint8Array ? value : String(value);
}

function jsonLoader(bytes: Uint8Array): unknown {
  return JSON.parse(decoder.decode(bytes));
}

function jsonDumper(value: unknown): Uint8Array | string {
  if (value instanceof Uint8Array) return value;
  const text: string | undefined = JSON.stringify(value ?? null);
  if (text === undefined) {
    throw new TypeError(`a ${typeof value} cannot be written as JSON`);
  }
  return text;
}

/** One argument text and what becomes of it. It is called once at most, whoever reads it. */
interface CallRecord {
  /** Arguments, until they are used. */
  text: Uint8Array;
  /** The call that is under way. */
  call: SharedCall | undefined;
  /** Value of the call. */
  value: Uint8Array | undefined;
  /** What the call threw. */
  error: unknown;
  /** Whether the call is over, or at least the text complete. */
  done: boolean;
}

/** A call that several reads may wait for. */
interface SharedCall {
  readonly promise: Promise<Uint8Array>;
  readonly abort: AbortController;
  waiting: number;
}

/** What a fid has to do with the file. */
interface FidCalls {
  /** Record of the fid's last write. */
  written: CallRecord | undefined;
  /** Record that it read at offset 0. */
  read: CallRecord | undefined;
}

/** A file that stands for a function. */
export class FunctionNode extends FileNode {
  readonly #function: FileFunction;
  readonly #params: readonly string[] | undefined;
  readonly #loader: (bytes: Uint8Array) => unknown;
  readonly #dumper: (value: unknown) => Uint8Array | string;
  readonly #callOnRead: boolean;
  readonly #shared: boolean;
  readonly #timeout: number | undefined;
  // A fid that is clunked takes its state along.
  readonly #fids: WeakMap<Fid<TreeNode>, FidCalls> = new WeakMap();
  /** Record of the last write by any fid. */
  #last: CallRecord | undefined;

  /** Made by a tree. */
  constructor(
    init: NodeInit,
    quota: Quota,
    fn: FileFunction,
    options: FunctionOptions,
  ) {
    super(init, quota);
    this.#function = fn;
    this.#params = options.params;
    this.#loader = options.loader ?? jsonLoader;
    this.#dumper = options.dumper ?? jsonDumper;
    this.#callOnRead = options.callOnRead ?? false;
    this.#shared = options.shared ?? true;
    this.#timeout = options.timeout;
  }

  /** True. */
  override get isFunction(): boolean {
    return true;
  }

  /** Bytes of the last value. */
  override get length(): number {
    return this.#last?.value?.length ?? 0;
  }

  /** Takes arguments: at offset 0 new ones, at their end more of them. */
  override write(
    fid: Fid<TreeNode>,
    request: WriteRequest<TreeNode>,
  ): number {
    const { offset, data } = request;
    if (offset === 0) {
      if (data.length > TEXT_MAX) throw new NinePError("file too big");
      const record = newRecord(data.slice());
      this.#callsOf(fid).written = record;
      if (this.#shared) {
        this.#last = record;
        this.resized();
      }
    } else {
      const record = this.#callsOf(fid).written;
      const grows = record !== undefined && !record.done &&
        record.call === undefined && offset === record.text.length;
      if (!grows) throw new NinePError("illegal offset");
      if (offset + data.length > TEXT_MAX) throw new NinePError("file too big");
      const text = new Uint8Array(offset + data.length);
      text.set(record.text);
      text.set(data, offset);
      record.text = text;
    }
    return data.length;
  }

  /** Gives the value: at offset 0 with a call, if there was none. */
  override read(
    fid: Fid<TreeNode>,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array> {
    const calls = this.#callsOf(fid);
    if (request.offset > 0) {
      const { read } = calls;
      if (read?.call === undefined) return slice(read?.value, request);
      // The client reads ahead.
      return this.#wait(read, request).then((value) => slice(value, request));
    }
    const record = calls.written ?? this.#last;
    if (this.#callOnRead) {
      // Each read calls: with the arguments of the record, in one of its own.
      if (record !== undefined) record.done = true; // Its text is complete.
      const own = newRecord(record?.text ?? new Uint8Array(0));
      return this.#readRecord(own, calls, request);
    }
    if (record === undefined) return new Uint8Array(0);
    return this.#readRecord(record, calls, request);
  }

  #readRecord(
    record: CallRecord,
    calls: FidCalls,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array> {
    calls.read = record;
    const value = this.#valueOf(record, request);
    return value instanceof Promise
      ? value.then((bytes) => slice(bytes, request))
      : slice(value, request);
  }

  /** The value of a record, by a call if there was none. */
  #valueOf(
    record: CallRecord,
    request: RequestContext<TreeNode>,
  ): Awaitable<Uint8Array> {
    if (record.value !== undefined) return record.value;
    if (record.done) throw record.error;
    if (record.call !== undefined) return this.#wait(record, request);

    const abort = new AbortController();
    let value: Awaitable<Uint8Array>;
    try {
      const kwarg = this.#load(record.text);
      if (!isRecord(kwarg)) throw new TypeError("arguments must be an object");
      checkSafe(kwarg);
      value = this.#invoke({ argv: [], kwarg, dataArg: "data" }, {
        uname: request.fid.uname,
        peer: request.peer,
        signal: abort.signal,
      });
    } catch (error) {
      return this.#fail(record, forCaller(error));
    }
    if (!(value instanceof Promise)) return this.#succeed(record, value);
    // An aborted call leaves no trace, however it ends: the record may be
    // under way again.
    const promise = value.then(
      (bytes) => {
        abort.signal.throwIfAborted();
        return this.#succeed(record, bytes);
      },
      (error) => {
        abort.signal.throwIfAborted();
        return this.#fail(record, error);
      },
    );
    promise.catch(() => {}); // Those who wait hear of it.
    record.call = { promise, abort, waiting: 0 };
    return this.#wait(record, request);
  }

  /** Waits for a call that others may wait for, too; when nobody does, it is aborted. */
  async #wait(
    record: CallRecord,
    request: RequestContext<TreeNode>,
  ): Promise<Uint8Array> {
    const { call } = record;
    if (call === undefined) return record.value ?? new Uint8Array(0);
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
    record.value = value;
    end(record);
    if (!this.#callOnRead) this.modified(this.uid);
    return value;
  }

  #fail(record: CallRecord, error: unknown): never {
    record.error = error;
    end(record);
    throw error;
  }

  /** Calls the function with the arguments of a Tcall. */
  override call(
    _fid: Fid<TreeNode>,
    request: CallRequest<TreeNode>,
  ): Awaitable<Uint8Array | undefined> {
    let call: CallArguments;
    try {
      call = checkCall(this.#load(encoder.encode(request.text)));
    } catch (error) {
      throw forCaller(error);
    }
    if (request.data.length > 0) {
      // The function may keep it, the read buffer goes on.
      const data = request.data.slice();
      call = { ...call, kwarg: { ...call.kwarg, [call.dataArg]: data } };
    }
    const value = this.#invoke(call, {
      uname: request.fid.uname,
      peer: request.peer,
      get signal() {
        return request.signal;
      },
    });
    return value instanceof Promise ? abortable(value, request.signal) : value;
  }

  /** Arguments out of a text; none for an empty one. */
  #load(text: Uint8Array): unknown {
    return text.every(isSpace) ? {} : this.#loader(text);
  }

  #invoke(call: CallArguments, context: CallContext): Awaitable<Uint8Array> {
    const timeout = this.#timeout;
    try {
      const timed = timeout === undefined
        ? undefined
        : new Deadline(timeout, context);
      let value: unknown;
      try {
        value = this.#function(...this.#bind(call, timed ?? context));
      } catch (error) {
        timed?.clear();
        throw error;
      }
      if (!isPromise(value)) {
        timed?.clear();
        return this.#dump(value);
      }
      const promise = Promise.resolve(value);
      const awaited = timed === undefined ? promise : timed.race(promise);
      return awaited.then((value) => this.#dump(value)).catch((error) => {
        throw forCaller(error);
      });
    } catch (error) {
      throw forCaller(error);
    }
  }

  /** What the function is called with. */
  #bind(call: CallArguments, context: CallContext): unknown[] {
    const { argv, kwarg } = call;
    const params = this.#params;
    if (params === undefined) {
      if (argv.length === 0) return [kwarg, context];
      return Object.keys(kwarg).length > 0 ? [...argv, kwarg] : [...argv];
    }
    if (argv.length > params.length) {
      throw new TypeError(
        `the function takes ${params.length} arguments, ${argv.length} were given`,
      );
    }
    const values: unknown[] = new Array(params.length).fill(undefined);
    for (let i = 0; i < argv.length; i++) values[i] = argv[i];
    for (const [name, value] of Object.entries(kwarg)) {
      const at = params.indexOf(name);
      if (at < 0) throw new TypeError(`unknown argument "${name}"`);
      if (at < argv.length) {
        throw new TypeError(`argument "${name}" was given twice`);
      }
      values[at] = value;
    }
    values.push(context);
    return values;
  }

  #dump(value: unknown): Uint8Array {
    const dumped: unknown = this.#dumper(value);
    if (typeof dumped === "string") return encoder.encode(dumped);
    if (dumped instanceof Uint8Array) return dumped.slice(); // The function may use its bytes again.
    throw new TypeError(
      `the dumper made ${typeof dumped} of the value, not text or bytes`,
    );
  }

  #callsOf(fid: Fid<TreeNode>): FidCalls {
    let calls = this.#fids.get(fid);
    if (calls === undefined) {
      calls = { written: undefined, read: undefined };
      this.#fids.set(fid, calls);
    }
    return calls;
  }
}

function newRecord(text: Uint8Array): CallRecord {
  return {
    text,
    call: undefined,
    value: undefined,
    error: undefined,
    done: false,
  };
}

/** The arguments are used up, the call is over. */
function end(record: CallRecord): void {
  record.done = true;
  record.call = undefined;
  record.text = new Uint8Array(0);
}

function slice(
  value: Uint8Array | undefined,
  request: ReadRequest<TreeNode>,
): Uint8Array {
  const { offset, count } = request;
  return value?.subarray(offset, offset + count) ?? new Uint8Array(0);
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Also what is like a promise, as the queries of some databases are. */
function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value instanceof Promise ||
    (typeof value === "object" && value !== null && "then" in value &&
      typeof value.then === "function");
}

/** What a function threw, as an error that its caller may see: the message, never the stack. */
function forCaller(error: unknown): NinePError {
  if (error instanceof NinePError) return error;
  return new FunctionError(envelopeOf(error), { cause: error });
}

/** The promise, or the signal's reason, whichever comes first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    // First of all, so that its failure is never unheard.
    promise.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", abort)
    );
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** A context whose signal is also aborted when the time is over. */
class Deadline implements CallContext {
  readonly #context: CallContext;
  readonly #abort = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  #signal: AbortSignal | undefined;

  constructor(milliseconds: number, context: CallContext) {
    this.#context = context;
    this.#timer = setTimeout(
      () => this.#abort.abort(new NinePError("Connection timed out")),
      milliseconds,
    );
  }

  get uname(): string {
    return this.#context.uname;
  }

  get peer(): string {
    return this.#context.peer;
  }

  get signal(): AbortSignal {
    return this.#signal ??= AbortSignal.any([
      this.#context.signal,
      this.#abort.signal,
    ]);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  /** The promise, or the error of the time limit, or the end of the caller's patience. */
  race<T>(value: Promise<T>): Promise<T> {
    return abortable(value, this.signal).finally(() => this.clear());
  }
}
