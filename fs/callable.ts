// A function as it is called over the wire: how arguments get in and the value
// gets out, and how long and how often at a time it runs.

import { NinePError } from "../codec.ts";
import {
  type CallArguments,
  checkCall,
  checkSafe,
  DEPTH_MAX,
  envelopeOf,
  FunctionError,
  isRecord,
  isRemovedError,
} from "../codec/call.ts";
import { BYTES_PER_BYTE, encodeJson, measureJson } from "../codec/json.ts";
import { encodeText, utf8Length } from "../codec/wire.ts";
import type {
  Awaitable,
  Budget,
  CallRequest,
  Fid,
  RequestContext,
} from "../server.ts";
import type { TreeNode } from "./node.ts";
import { checkLimit } from "./quota.ts";

/** Most bytes of an argument text, where nothing is said: of a Tcall's it is the 16th part. */
const TEXT_MAX = 1024 * 1024;
/** Longest delay of a timer, in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1;
/** Most bytes of a value, where nothing is said. */
const VALUE_MAX = 64 * 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/**
 * The caller of a function, as the function sees it.
 *
 * A function gets it as its first argument, if it is registered with `context:
 * true`; see {@linkcode ContextOptions}. Nothing that a caller sends ever stands
 * there, so a function may decide by the context what its caller may do.
 */
export interface CallContext {
  /** User that calls: of a Tcall the sender; of a read the user who wrote the arguments, or the reader where nothing was written. */
  readonly uname: string;
  /** Fid of that user: with the function file as its node. */
  readonly fid: Fid<TreeNode>;
  /** Label of that user's end of the connection. */
  readonly peer: string;
  /** Aborted when no client waits for the value any more, or when `timeout` is over. */
  readonly signal: AbortSignal;
}

/**
 * A function that can be bound to a file. See {@linkcode CallableOptions} for
 * the arguments that it is called with.
 */
// Any parameters, for the arguments come over the wire: a function checks what it needs.
// deno-lint-ignore no-explicit-any
export type FileFunction = (...args: any[]) => unknown;

/** A function that can be bound to a file with `context: true`. */
// Any parameters, as those of a FileFunction.
// deno-lint-ignore no-explicit-any
export type ContextFunction = (context: CallContext, ...args: any[]) => unknown;

/**
 * Functions that can be bound to one file, by name: only those that are the
 * object's own and enumerable, never what it inherits.
 */
export interface FileMethods {
  /** A function by its name. */
  readonly [name: string]: FileFunction;
}

/** Functions that can be bound to one file with `context: true`, by name. */
export interface ContextMethods {
  /** A function by its name. */
  readonly [name: string]: ContextFunction;
}

/** Asks for the context of the caller. */
export interface ContextOptions {
  /**
   * Call the function with a {@linkcode CallContext} before all other arguments.
   * Without it no function gets one.
   */
  context: true;
}

/**
 * How functions are called.
 *
 * The arguments are untrusted: the function checks them. With `params` the
 * function gets its arguments by these names. Without, it gets the positional
 * arguments of the caller, and behind them one object of the keyword arguments,
 * if there are any. A call without positional arguments gives a function of one
 * parameter the object, empty where nothing was sent, and is a `ValueError` for
 * a function of more parameters, which cannot tell the names. Parameters with
 * a default and rest parameters do not count: JavaScript does not show them.
 */
export interface CallableOptions {
  /** Names of the parameters, without the context. For an object of functions: by their names. */
  params?: readonly string[] | { readonly [method: string]: readonly string[] };
  /**
   * Decodes arguments: the bytes that were written, or the text of a Tcall.
   * JSON by default. An empty text means no arguments, without the loader. It
   * throws a NinePError for bad arguments: other errors are reported to the
   * server's `onError`, as those of the function. While the call runs, the
   * arguments count 40 bytes for each byte of their text (`maxHeldBytes`).
   */
  loader?: (bytes: Uint8Array) => unknown;
  /**
   * Encodes the value. By default bytes stay as they are, nothing is null, and
   * all else is JSON; what JSON would change, such as a Date, is a TypeError
   * that names the place.
   */
  dumper?: (value: unknown) => Uint8Array | string;
  /** Longest time of a call in milliseconds, up to 2^31 - 1; Infinity, none, by default, for a call may well wait for something to happen. */
  timeout?: number;
  /** Most bytes of an argument text, 1 MiB by default: each fid may keep one. */
  maxText?: number;
  /** Most bytes of a value, 64 MiB by default: each fid may keep one. */
  maxValue?: number;
  /**
   * Hide the errors of the function: the caller gets `i/o error`. A NinePError
   * is meant for the caller and always told, unless it came from another server
   * that the function asked. By default (that of the
   * tree, false) the caller gets the message and the class of any error, never
   * the stack: whoever calls a function uses it, and needs to know what was
   * wrong. Set it where a message may hold secrets, as those of databases do.
   * The server's `onError` gets all errors but NinePErrors, and those NinePErrors
   * that are hidden.
   */
  maskErrors?: boolean;
}

/**
 * Throws for options that say nothing, which a program without types may give.
 *
 * @param path Path of the function, for the error.
 */
export function checkCallable(path: string, options: CallableOptions): void {
  const { loader, dumper, params } = options;
  const what = `Cannot register "${path}"`;
  for (const [name, fn] of Object.entries({ loader, dumper })) {
    if (fn === undefined || typeof fn === "function") continue;
    throw new TypeError(`${what}: ${name} is no function`);
  }
  if (params === undefined) return;
  const lists: unknown[] = isRecord(params) ? Object.values(params) : [params];
  for (const names of lists) {
    const isList = Array.isArray(names) &&
      names.every((name) => typeof name === "string") &&
      new Set(names).size === names.length;
    if (isList) continue;
    throw new TypeError(`${what}: params is no list of different names`);
  }
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

function jsonDumper(value: unknown): Uint8Array | string {
  if (value instanceof Uint8Array) return value;
  return encodeJson(value ?? null, "the value");
}

/** Counts the calls that run, of each connection and of all: also those that no client waits for any more. */
export class RunningCalls {
  readonly #max: number;
  readonly #maxAll: number;
  readonly #running: Map<object, number> = new Map();
  #all = 0;

  constructor(max: number, maxAll: number) {
    this.#max = max;
    this.#maxAll = maxAll;
  }

  /** Throws when a connection may not begin another call. */
  check(connection: object): void {
    if (this.#of(connection) >= this.#max || this.#all >= this.#maxAll) {
      throw new NinePError("Too many open files");
    }
  }

  /** A call of a connection runs. */
  add(connection: object): void {
    this.#running.set(connection, this.#of(connection) + 1);
    this.#all++;
  }

  /** A call of a connection has ended. */
  end(connection: object): void {
    const left = this.#of(connection) - 1;
    if (left > 0) this.#running.set(connection, left);
    else this.#running.delete(connection);
    this.#all--;
  }

  #of(connection: object): number {
    return this.#running.get(connection) ?? 0;
  }
}

/** Memory that a call takes from the budget of its connection, until it ends. */
export class Charge {
  readonly #memory: Budget;
  #bytes = 0;

  constructor(memory: Budget) {
    this.#memory = memory;
  }

  /** Takes bytes. */
  take(bytes: number): void {
    if (!this.#memory.take(bytes)) {
      throw new NinePError("Cannot allocate memory");
    }
    this.#bytes += bytes;
  }

  /** Gives all of them back. */
  end(): void {
    this.#memory.give(this.#bytes);
    this.#bytes = 0;
  }
}

/** A call as the function sees it. */
interface Call {
  readonly fn: FileFunction;
  /** The object that it is a member of, if it is one. */
  readonly self: FileMethods | undefined;
  readonly argv: readonly unknown[];
  readonly kwarg: Readonly<Record<string, unknown>>;
  readonly params: readonly string[] | undefined;
}

/** A function, or an object of functions, with all that calls it over the wire. */
export class Callable {
  /** Most bytes of an argument text. */
  readonly maxText: number;
  readonly #function: FileFunction | FileMethods;
  readonly #context: boolean;
  readonly #params: CallableOptions["params"];
  readonly #loader: ((bytes: Uint8Array) => unknown) | undefined;
  readonly #dumper: (value: unknown) => Uint8Array | string;
  readonly #timeout: number | undefined;
  readonly #maxValue: number;
  readonly #maskErrors: boolean;
  readonly #running: RunningCalls;

  constructor(
    fn: FileFunction | FileMethods,
    options: CallableOptions & { context?: boolean },
    running: RunningCalls,
  ) {
    this.#function = fn;
    this.#context = options.context ?? false;
    this.#params = options.params;
    this.#loader = options.loader;
    this.#dumper = options.dumper ?? jsonDumper;
    const { timeout = Infinity } = options;
    this.#timeout = timeout === Infinity ? undefined : timeout;
    this.maxText = options.maxText ?? TEXT_MAX;
    this.#maxValue = options.maxValue ?? VALUE_MAX;
    this.#maskErrors = options.maskErrors ?? false;
    this.#running = running;
    checkLimit("maxText", this.maxText);
    checkLimit("maxValue", this.#maxValue);
    checkLimit("timeout", this.#timeout ?? 0, TIMEOUT_MAX);
  }

  /** The arguments of a text that was written: an object of keyword arguments. */
  loadWritten(
    bytes: Uint8Array,
    request: RequestContext<TreeNode>,
    charge: Charge,
  ): CallArguments {
    let kwarg: unknown = {};
    if (!bytes.every(isSpace)) {
      kwarg = this.#loader === undefined
        ? parse(decoder.decode(bytes), charge)
        : this.#load(this.#loader, bytes, request, charge);
    }
    if (!isRecord(kwarg)) throw new TypeError("arguments must be an object");
    checkSafe(kwarg);
    return { argv: [], kwarg, dataArg: "data" };
  }

  /** The arguments of a Tcall: those of its text, and its payload. */
  loadCall(request: CallRequest<TreeNode>, charge: Charge): CallArguments {
    const { text, data } = request;
    if (text.length * 3 > this.maxText && utf8Length(text) > this.maxText) {
      throw new NinePError("file too big");
    }
    let value: unknown = {};
    if (!/^[ \n\r\t]*$/.test(text)) {
      value = this.#loader === undefined
        ? parse(text, charge)
        : this.#load(this.#loader, encoder.encode(text), request, charge);
    }
    const call = checkCall(value);
    if (data.length === 0) return call;
    charge.take(data.length);
    // The function may keep it, the read buffer goes on.
    const kwarg = { ...call.kwarg, [call.dataArg]: data.slice() };
    return { ...call, kwarg };
  }

  /** Asks the owner's loader; its size in memory is not known, but the length of the text is. */
  #load(
    loader: (bytes: Uint8Array) => unknown,
    bytes: Uint8Array,
    request: RequestContext<TreeNode>,
    charge: Charge,
  ): unknown {
    charge.take(bytes.length * BYTES_PER_BYTE);
    try {
      return loader(bytes);
    } catch (error) {
      this.#report(error, request);
      throw this.#told(error);
    }
  }

  /** Throws when the connection of a request may not begin another call now. */
  check({ connection }: RequestContext<TreeNode>): void {
    this.#running.check(connection);
  }

  /**
   * Calls the function. An error of the function becomes an error for the
   * caller, and is reported to the owner of the server.
   *
   * @param load Gives the arguments, and charges what they take.
   * @param context Context of the caller, for a function that asks for it.
   * @param request Request that makes the call: its connection counts the call.
   * @returns The value's bytes.
   */
  invoke(
    load: (charge: Charge) => CallArguments,
    context: CallContext,
    request: RequestContext<TreeNode>,
  ): Awaitable<Uint8Array> {
    const charge = new Charge(request.memory);
    let call: Call;
    try {
      call = this.#select(load(charge));
    } catch (error) {
      charge.end();
      throw forCaller(error);
    }
    const timed = this.#timeout === undefined
      ? undefined
      : new Deadline(this.#timeout, context);
    const asked = this.#context ? timed ?? context : undefined;
    let promise: Promise<unknown>;
    try {
      const args = bind(call, asked);
      const value: unknown = this.#apply(call, args, request);
      if (!isPromise(value)) {
        const bytes = this.#dump(value, request);
        timed?.clear();
        charge.end();
        return bytes;
      }
      promise = Promise.resolve(value);
    } catch (error) {
      timed?.clear();
      charge.end();
      throw forCaller(error);
    }
    const { connection } = request;
    this.#running.add(connection);
    const end = () => {
      this.#running.end(connection);
      charge.end();
    };
    promise.then(end, (error) => {
      end();
      this.#report(error, request, context);
    });
    const awaited = timed === undefined ? promise : timed.race(promise);
    return awaited.then(
      (value) => this.#dump(value, request),
      (error) => {
        throw this.#told(error);
      },
    );
  }

  #apply(
    { fn, self }: Call,
    args: unknown[],
    request: RequestContext<TreeNode>,
  ): unknown {
    try {
      return Reflect.apply(fn, self, args);
    } catch (error) {
      this.#report(error, request);
      throw this.#told(error);
    }
  }

  /** The function that is meant: of several, the one that `fname` names, or the first argument. */
  #select({ argv, kwarg }: CallArguments): Call {
    const fn = this.#function;
    if (typeof fn === "function") {
      const params = listOf(this.#params);
      return { fn, self: undefined, argv, kwarg, params };
    }
    let name: unknown;
    if (Object.hasOwn(kwarg, "fname")) {
      ({ fname: name, ...kwarg } = kwarg);
    } else {
      [name, ...argv] = argv;
    }
    if (typeof name !== "string") throw new TypeError("no function is named");
    if (typeof ownMember(fn, name) !== "function") {
      throw new TypeError(`there is no function "${name}"`);
    }
    const params = listOf(ownMember(this.#params, name));
    return { fn: fn[name], self: fn, argv, kwarg, params };
  }

  /** The bytes of a value. An error of the dumper is treated as one of the function. */
  #dump(value: unknown, request: RequestContext<TreeNode>): Uint8Array {
    try {
      const dumped: unknown = this.#dumper(value);
      const bytes = typeof dumped === "string" ? encodeText(dumped) : dumped;
      if (!(bytes instanceof Uint8Array)) {
        throw new TypeError(
          `the dumper made ${typeof dumped} of the value, not text or bytes`,
        );
      }
      if (bytes.length > this.#maxValue) throw new NinePError("file too big");
      return bytes === dumped ? bytes.slice() : bytes; // The function may use its bytes again.
    } catch (error) {
      this.#report(error, request);
      throw this.#told(error);
    }
  }

  /** Tells the owner of an error, unless it is meant for the caller or only says that the caller gave up. */
  #report(
    error: unknown,
    request: RequestContext<TreeNode>,
    context: CallContext | undefined = undefined,
  ): void {
    if (error instanceof NinePError && !this.#masks(error)) return;
    if (isAbortError(error) && context?.signal.aborted === true) return;
    request.report(error);
  }

  /** The error that the caller gets for an error of the owner's code. */
  #told(error: unknown): NinePError {
    if (!this.#masks(error)) return forCaller(error);
    return new NinePError("i/o error", { cause: error });
  }

  #masks(error: unknown): boolean {
    return this.#maskErrors && !isMeant(error);
  }
}

/** Parses JSON whose size was measured and charged before. */
function parse(text: string, charge: Charge): unknown {
  // So short a text cannot be nested too deep.
  if (text.length <= DEPTH_MAX) {
    charge.take(text.length * BYTES_PER_BYTE);
  } else {
    const { depth, bytes } = measureJson(text);
    // The object of a Tcall itself does not count as a level.
    if (depth > DEPTH_MAX + 1) {
      throw new RangeError(`arguments are nested deeper than ${DEPTH_MAX}`);
    }
    charge.take(bytes);
  }
  return JSON.parse(text);
}

/** A member that is an object's own and enumerable. */
function ownMember(object: object | undefined, name: string): unknown {
  if (object === undefined) return undefined;
  const isOwn = Object.prototype.propertyIsEnumerable.call(object, name);
  return isOwn ? Reflect.get(object, name) : undefined;
}

function listOf(params: unknown): readonly string[] | undefined {
  return Array.isArray(params) ? params : undefined;
}

/** The arguments of a function, with the context before them if it is asked for. */
function bind(call: Call, context: CallContext | undefined): unknown[] {
  const { fn, argv, kwarg, params } = call;
  const args: unknown[] = context === undefined ? [] : [context];
  const first = args.length;
  if (params === undefined) {
    args.push(...argv);
    if (argv.length === 0) {
      const count = fn.length - first;
      if (count > 1) throw namelessError(count);
      args.push(kwarg);
    } else if (Object.keys(kwarg).length > 0) {
      args.push(kwarg);
    }
    return args;
  }
  if (argv.length > params.length) {
    throw new TypeError(
      `the function takes ${params.length} arguments, ${argv.length} were given`,
    );
  }
  for (let i = 0; i < params.length; i++) args.push(argv[i]);
  for (const name of Object.keys(kwarg)) {
    const at = params.indexOf(name);
    if (at < 0) throw new TypeError(`unknown argument "${name}"`);
    if (at < argv.length) {
      throw new TypeError(`argument "${name}" was given twice`);
    }
    args[first + at] = kwarg[name];
  }
  return args;
}

/** The error for keyword arguments that no parameter has the name of. */
function namelessError(count: number): FunctionError {
  const str = `the function has ${count} parameters without names: ` +
    'pass positional arguments, or register it with "params" to name them; ' +
    'the context of a call comes first, with "context: true"';
  return new FunctionError({ class: "ValueError", argv: [], str });
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Recognizes promises, and objects with a `then`, such as the queries of some databases. */
function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value instanceof Promise ||
    (typeof value === "object" && value !== null && "then" in value &&
      typeof value.then === "function");
}

/** The error that a caller may see for an error of a function: the message, never the stack. */
export function forCaller(error: unknown): NinePError {
  // Only the server itself says that this file was removed, not a function that met another one.
  if (isRemovedError(error)) return new NinePError("file has been removed");
  if (error instanceof NinePError) return error;
  return new FunctionError(envelopeOf(error), { cause: error });
}

/**
 * Recognizes an error that a function means for its caller: a NinePError, but
 * not one that another server has sent to the function. Clients make those of
 * the server's error, or of a request.
 */
function isMeant(error: unknown): boolean {
  return error instanceof NinePError && error.request === undefined &&
    !(error.cause instanceof NinePError);
}

/** Recognizes the error of the platform's own functions whose signal is aborted. */
function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** The promise, or the signal's reason, whichever comes first. */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
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

  get fid(): Fid<TreeNode> {
    return this.#context.fid;
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
