// Functions that clients call: their arguments and values, their time limits,
// and the number of their calls at a time.

import { FunctionError, NinePError } from "../../codec.ts";
import {
  type CallArguments,
  checkCall,
  checkSafe,
  DEPTH_MAX,
  envelopeOf,
  isRecord,
  isRemovedError,
} from "../../codec/call.ts";
import { BYTES_PER_BYTE, encodeJson, measureJson } from "../../codec/json.ts";
import { encodeText, utf8Length } from "../../codec/wire.ts";
import type { Connection } from "../../transport.ts";
import type {
  Awaitable,
  Budget,
  CallRequest,
  Fid,
  RequestContext,
} from "../../server.ts";
import { checkLimit } from "../memory/quota.ts";

/**
 * Default of `maxText`: most bytes of an argument text. The text of a Tcall has
 * at most 65,535 bytes, because its length has 16 bits.
 */
const TEXT_MAX = 1024 * 1024;
/** Longest delay of a timer, in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1;
/** Default of `maxValue`: most bytes of a value. */
const VALUE_MAX = 64 * 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/**
 * The context of a call.
 *
 * A function gets this context as its first argument if it is registered with
 * `context: true`; see {@linkcode ContextOptions}. A caller cannot replace the
 * context with an argument, so a function may use the context to decide what
 * the caller may do.
 */
export interface CallContext {
  /**
   * User that calls. For a Tcall it is the sender. For a read it is the user
   * that wrote the arguments, or the reader if there are no arguments.
   */
  readonly uname: string;
  /** Fid of that user. */
  readonly fid: Fid;
  /** Label of that user's end of the connection. */
  readonly peer: string;
  /** The connection of the caller, with the address of the peer. */
  readonly connection: Connection;
  /**
   * Signal that is aborted when no client waits for the value any more, or when
   * `timeout` has passed.
   */
  readonly signal: AbortSignal;
}

/**
 * A function that can be bound to a file. See {@linkcode CallableOptions} for
 * its arguments.
 */
// Any parameters, because the arguments come over the wire, and the function
// checks them.
// deno-lint-ignore no-explicit-any
export type FileFunction = (...args: any[]) => unknown;

/** A function that can be bound to a file with `context: true`. */
// The parameters are any, as those of a FileFunction.
// deno-lint-ignore no-explicit-any
export type ContextFunction = (context: CallContext, ...args: any[]) => unknown;

/**
 * Functions that can be bound to one file, by name. Only own, enumerable
 * members count.
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

/** The option that asks for the context of the caller. */
export interface ContextOptions {
  /**
   * Call the function with a {@linkcode CallContext} before all other
   * arguments. Without this option no function gets a context.
   */
  context: true;
}

/**
 * How functions are called.
 *
 * The arguments are untrusted: the function must check them. With `params` the
 * function gets its arguments by these names. Without `params` it gets the
 * positional arguments of the caller, followed by one object of the keyword
 * arguments, if there are any. In a call without positional arguments, a
 * function with at most one parameter gets the object of the keyword arguments,
 * which may be empty. For a function with more parameters such a call is a
 * `ValueError`, because the names of its parameters are not known. Rest
 * parameters, and parameters from the first default value on, do not count,
 * because `Function.length` does not count them.
 */
export interface CallableOptions {
  /**
   * Names of the parameters, without the context. For an object of functions:
   * one list for each function, by the name of the function.
   */
  params?: readonly string[] | { readonly [method: string]: readonly string[] };
  /**
   * Decodes arguments: the bytes that were written, or the text of a Tcall.
   * JSON by default. An empty text means no arguments; the loader is not called
   * then. For bad arguments a loader throws a NinePError. Its other errors are
   * reported to `onError` of the server, as errors of the function are. While
   * the call runs, the arguments count 40 bytes for each byte of their text
   * (`maxHeldBytes`).
   */
  loader?: (bytes: Uint8Array) => unknown;
  /**
   * Encodes the value. By default bytes stay as they are, undefined becomes
   * null, and every other value becomes JSON. A value that JSON would change,
   * such as a Date, is a TypeError that names the place.
   */
  dumper?: (value: unknown) => Uint8Array | string;
  /**
   * Longest time of a call in milliseconds, up to 2^31 - 1. By default
   * Infinity, because a call may wait for an event.
   */
  timeout?: number;
  /** Most bytes of an argument text, 1 MiB by default: each fid may keep one. */
  maxText?: number;
  /** Most bytes of a value, 64 MiB by default: each fid may keep one. */
  maxValue?: number;
  /**
   * Hide the errors of the function: the caller gets `i/o error`. False by
   * default, or the option of the tree. By default the caller gets the class
   * and the message of any error, never the stack, because a caller needs to
   * know what was wrong. Set this option if messages may contain secrets, as
   * those of databases do. A NinePError is for the caller and never hidden,
   * unless another server sent it to the function. `onError` of the server gets
   * all errors, hidden or not. NinePErrors that are not hidden are marked as
   * `expected`.
   */
  maskErrors?: boolean;
}

/**
 * Throws for options of a wrong type, which programs without type checks may
 * pass.
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
 * Throws for an object without a function. The object may have other members
 * for its functions; no client can reach them.
 */
export function checkMethods(path: string, fn: object): void {
  const hasFunction = Object.keys(fn)
    .some((name) => typeof ownMember(fn, name) === "function");
  if (hasFunction) return;
  throw new TypeError(`Cannot register "${path}": no member is a function`);
}

/**
 * A dumper that returns bytes unchanged and converts every other value to text.
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

/**
 * Counts the running calls of each connection, and of all connections together.
 * A call counts until its function has ended, even if no client waits for the
 * value.
 */
export class RunningCalls {
  readonly #max: number;
  readonly #maxAll: number;
  readonly #running: Map<object, number> = new Map();
  #all = 0;

  constructor(max: number, maxAll: number) {
    this.#max = max;
    this.#maxAll = maxAll;
  }

  /** Throws when a connection must not begin another call. */
  check(connection: object): void {
    if (this.#of(connection) >= this.#max || this.#all >= this.#maxAll) {
      throw new NinePError("Too many open files");
    }
  }

  /** Counts a call that begins. */
  add(connection: object): void {
    this.#running.set(connection, this.#of(connection) + 1);
    this.#all++;
  }

  /** Counts a call that has ended. */
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

/** The memory that one call takes from the budget of its connection. */
export class Charge {
  readonly #memory: Budget;
  #bytes = 0;
  /** True when the budget had no room for bytes. */
  isRefused = false;

  constructor(memory: Budget) {
    this.#memory = memory;
  }

  /** Takes bytes. */
  take(bytes: number): void {
    if (!this.#memory.take(bytes)) {
      this.isRefused = true;
      throw new NinePError("Cannot allocate memory");
    }
    this.#bytes += bytes;
  }

  /** Gives back all bytes. */
  end(): void {
    this.#memory.give(this.#bytes);
    this.#bytes = 0;
  }
}

/** A function to call, and the arguments of the call. */
interface Call {
  readonly fn: FileFunction;
  /** The object of functions that contains `fn`, if there is one. */
  readonly self: FileMethods | undefined;
  readonly argv: readonly unknown[];
  readonly kwarg: Readonly<Record<string, unknown>>;
  readonly params: readonly string[] | undefined;
}

/** A function, or an object of functions, that clients can call. */
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

  /**
   * Returns the arguments of a written text: an object of keyword arguments.
   */
  loadWritten(
    bytes: Uint8Array,
    request: RequestContext,
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

  /** Returns the arguments of a Tcall: those of its text, and its payload. */
  loadCall(
    { text, data }: CallRequest,
    context: RequestContext,
    charge: Charge,
  ): CallArguments {
    if (text.length * 3 > this.maxText && utf8Length(text) > this.maxText) {
      throw new NinePError("file too big");
    }
    let value: unknown = {};
    if (!/^[ \n\r\t]*$/.test(text)) {
      value = this.#loader === undefined
        ? parse(text, charge)
        : this.#load(this.#loader, encoder.encode(text), context, charge);
    }
    const call = checkCall(value);
    if (data.length === 0) return call;
    charge.take(data.length);
    // The data are copied, because the function may keep them, and the read
    // buffer is used again.
    const kwarg = { ...call.kwarg, [call.dataArg]: data.slice() };
    return { ...call, kwarg };
  }

  /**
   * Calls the loader of the program. The memory of its result is not known, so
   * the charge is computed from the length of the text.
   */
  #load(
    loader: (bytes: Uint8Array) => unknown,
    bytes: Uint8Array,
    request: RequestContext,
    charge: Charge,
  ): unknown {
    charge.take(bytes.length * BYTES_PER_BYTE);
    try {
      return loader(bytes);
    } catch (error) {
      this.#report(error, request);
      throw this.#errorForCaller(error);
    }
  }

  /** Throws when the connection of a request may not begin another call now. */
  check({ connection }: RequestContext): void {
    this.#running.check(connection);
  }

  /**
   * Calls the function. An error of the function is reported to the owner of
   * the server, and becomes an error for the caller.
   *
   * @param load Returns the arguments, and charges their memory.
   * @param context Context of the caller, for a function that asks for it.
   * @param request Request that makes the call; the call counts for its
   *   connection.
   * @returns The value's bytes.
   */
  invoke(
    load: (charge: Charge) => CallArguments,
    context: CallContext,
    request: RequestContext,
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
        throw this.#errorForCaller(error);
      },
    );
  }

  #apply(
    { fn, self }: Call,
    args: unknown[],
    request: RequestContext,
  ): unknown {
    try {
      return Reflect.apply(fn, self, args);
    } catch (error) {
      this.#report(error, request);
      throw this.#errorForCaller(error);
    }
  }

  /**
   * Returns the function of a call. Of several functions, `fname` or the first
   * argument names it.
   */
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

  /**
   * Encodes a value. An error of the dumper is treated as an error of the
   * function.
   */
  #dump(value: unknown, request: RequestContext): Uint8Array {
    try {
      const dumped: unknown = this.#dumper(value);
      const bytes = typeof dumped === "string" ? encodeText(dumped) : dumped;
      if (!(bytes instanceof Uint8Array)) {
        throw new TypeError(
          `the dumper made ${typeof dumped} of the value, not text or bytes`,
        );
      }
      if (bytes.length > this.#maxValue) throw new NinePError("file too big");
      return bytes === dumped ? bytes.slice() : bytes; // The function may reuse its own bytes.
    } catch (error) {
      this.#report(error, request);
      throw this.#errorForCaller(error);
    }
  }

  /**
   * Reports an error to `onError` of the server, unless the error only says
   * that the caller has given up. A NinePError that the caller gets is marked
   * as `expected`.
   */
  #report(
    error: unknown,
    request: RequestContext,
    context: CallContext | undefined = undefined,
  ): void {
    const { signal } = context ?? {};
    const isReason = isAbortError(error) || error === signal?.reason;
    if (signal?.aborted === true && isReason) return;
    request.report(error, error instanceof NinePError && !this.#masks(error));
  }

  /**
   * Returns the error that the caller gets for an error of the function, the
   * loader or the dumper.
   */
  #errorForCaller(error: unknown): NinePError {
    if (!this.#masks(error)) return forCaller(error);
    return new NinePError("i/o error", { cause: error });
  }

  #masks(error: unknown): boolean {
    return this.#maskErrors && !isMeant(error);
  }
}

/**
 * Parses JSON. Measures and charges the memory of the result before the parse.
 */
function parse(text: string, charge: Charge): unknown {
  // A text of this length cannot be nested too deep.
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

/** Returns a member of an object that is own and enumerable. */
function ownMember(object: object | undefined, name: string): unknown {
  if (object === undefined) return undefined;
  const isOwn = Object.prototype.propertyIsEnumerable.call(object, name);
  return isOwn ? Reflect.get(object, name) : undefined;
}

function listOf(params: unknown): readonly string[] | undefined {
  return Array.isArray(params) ? params : undefined;
}

/**
 * Returns the arguments of a function, after the context if the function asks
 * for one.
 */
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

/** Makes the error for a call whose keyword arguments match no parameters. */
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

/**
 * Returns the error that a caller may see for an error of a function: with the
 * message, never with the stack.
 */
export function forCaller(error: unknown): NinePError {
  // Only the server itself may say that this file was removed. A function that
  // called another, removed file must not say so.
  if (isRemovedError(error)) return new NinePError("file has been removed");
  if (error instanceof NinePError) return error;
  return new FunctionError(envelopeOf(error), { cause: error });
}

/**
 * Recognizes an error for the caller: a NinePError, unless another server sent
 * it to the function. A client of another server makes such errors, with a
 * cause or a request.
 */
function isMeant(error: unknown): boolean {
  return error instanceof NinePError && error.request === undefined &&
    !(error.cause instanceof NinePError);
}

/**
 * Recognizes the error that functions of the platform throw when their signal
 * is aborted.
 */
function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/**
 * Settles as the promise does, or rejects with the signal's reason, whichever
 * comes first.
 */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    // The promise gets its handlers first, so that its failure is always
    // handled.
    promise.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", abort)
    );
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** A context whose signal is also aborted when the time limit has passed. */
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

  get connection(): Connection {
    return this.#context.connection;
  }

  get fid(): Fid {
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

  /**
   * Settles as the promise does, or rejects when the time limit has passed or
   * the caller has given up.
   */
  race<T>(value: Promise<T>): Promise<T> {
    return abortable(value, this.signal).finally(() => this.clear());
  }
}
