// A function as it is called over the wire: how arguments get in and the value
// gets out, and how long and how often at a time it runs.

import { NinePError } from "../codec.ts";
import {
  type CallArguments,
  checkCall,
  checkSafe,
  envelopeOf,
  FunctionError,
  isRecord,
} from "../codec/call.ts";
import { encodeText, utf8Length } from "../codec/wire.ts";
import type { Awaitable, Fid, RequestContext } from "../server.ts";
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
 * What a function learns of its caller.
 *
 * A function that decides by it who may do what must be bound with `params`:
 * then the context is always the argument behind them. Without, positional
 * arguments of a Tcall come where the context would be.
 */
export interface CallContext {
  /** User that calls: of a Tcall the sender; of a read who wrote the arguments, or the reader where nothing was written. */
  readonly uname: string;
  /** Fid of that user: with the function file as its node. */
  readonly fid: Fid<TreeNode>;
  /** Label of that user's end of the connection. */
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

/**
 * Functions that can be bound to one file, by name: only those that are the
 * object's own and enumerable, never what it inherits.
 */
export interface FileMethods {
  /** A function by its name. */
  readonly [name: string]: FileFunction;
}

/** How functions are called. */
export interface CallableOptions {
  /**
   * Names of the parameters: the function is called with them one by one, and
   * the {@linkcode CallContext} behind the last. Without names, it is called
   * with one object of the keyword arguments and the context, or, for a Tcall
   * with positional arguments, with those and an object of the keyword
   * arguments, if there are any: then there is no context, but what a caller
   * sent in its place. For an object of functions: by their names.
   */
  params?: readonly string[] | { readonly [method: string]: readonly string[] };
  /**
   * Decodes arguments: the bytes that were written, or the text of a Tcall.
   * JSON by default; an empty text is never asked for, it means no arguments.
   */
  loader?: (bytes: Uint8Array) => unknown;
  /** Encodes the value. By default JSON; bytes stay as they are. */
  dumper?: (value: unknown) => Uint8Array | string;
  /** Longest time of a call in milliseconds, up to 2^31 - 1; Infinity, none, by default, for a call may well wait for something to happen. */
  timeout?: number;
  /** Most bytes of an argument text, 1 MiB by default: each fid may keep one. */
  maxText?: number;
  /** Most bytes of a value, 64 MiB by default: each fid may keep one. */
  maxValue?: number;
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
  const text: string | undefined = JSON.stringify(value ?? null);
  if (text === undefined) {
    throw new TypeError(`a ${typeof value} cannot be written as JSON`);
  }
  return text;
}

/** Counts the calls that run, for each connection: also those that nobody waits for any more. */
export class RunningCalls {
  readonly #max: number;
  readonly #running: Map<object, number> = new Map();

  constructor(max: number) {
    this.#max = max;
  }

  /** Throws when the connection of a request may not begin another call. */
  check({ connection }: RequestContext<TreeNode>): void {
    if (this.#of(connection) >= this.#max) {
      throw new NinePError("Too many open files");
    }
  }

  /** Counts a call until it ends. */
  add(
    { connection }: RequestContext<TreeNode>,
    call: Promise<unknown>,
  ): void {
    this.#running.set(connection, this.#of(connection) + 1);
    const end = () => {
      const left = this.#of(connection) - 1;
      if (left > 0) this.#running.set(connection, left);
      else this.#running.delete(connection);
    };
    call.then(end, end);
  }

  #of(connection: object): number {
    return this.#running.get(connection) ?? 0;
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
  readonly #params: CallableOptions["params"];
  readonly #loader: ((bytes: Uint8Array) => unknown) | undefined;
  readonly #dumper: (value: unknown) => Uint8Array | string;
  readonly #timeout: number | undefined;
  readonly #maxValue: number;
  readonly #running: RunningCalls;

  constructor(
    fn: FileFunction | FileMethods,
    options: CallableOptions,
    running: RunningCalls,
  ) {
    this.#function = fn;
    this.#params = options.params;
    this.#loader = options.loader;
    this.#dumper = options.dumper ?? jsonDumper;
    const { timeout = Infinity } = options;
    this.#timeout = timeout === Infinity ? undefined : timeout;
    this.maxText = options.maxText ?? TEXT_MAX;
    this.#maxValue = options.maxValue ?? VALUE_MAX;
    this.#running = running;
    checkLimit("maxText", this.maxText);
    checkLimit("maxValue", this.#maxValue);
    checkLimit("timeout", this.#timeout ?? 0, TIMEOUT_MAX);
  }

  /** The arguments of a text that was written: an object of keyword arguments. */
  loadWritten(bytes: Uint8Array): CallArguments {
    let kwarg: unknown = {};
    if (!bytes.every(isSpace)) {
      kwarg = this.#loader === undefined
        ? JSON.parse(decoder.decode(bytes))
        : this.#loader(bytes);
    }
    if (!isRecord(kwarg)) throw new TypeError("arguments must be an object");
    checkSafe(kwarg);
    return { argv: [], kwarg, dataArg: "data" };
  }

  /** The arguments of a Tcall: those of its text, and its payload. */
  loadCall(text: string, data: Uint8Array): CallArguments {
    if (text.length * 3 > this.maxText && utf8Length(text) > this.maxText) {
      throw new NinePError("file too big");
    }
    let value: unknown = {};
    if (!/^[ \n\r\t]*$/.test(text)) {
      value = this.#loader === undefined
        ? JSON.parse(text)
        : this.#loader(encoder.encode(text));
    }
    const call = checkCall(value);
    if (data.length === 0) return call;
    // The function may keep it, the read buffer goes on.
    const kwarg = { ...call.kwarg, [call.dataArg]: data.slice() };
    return { ...call, kwarg };
  }

  /** Throws when the connection of a request may not begin another call now. */
  check(request: RequestContext<TreeNode>): void {
    this.#running.check(request);
  }

  /**
   * Calls the function; what it throws becomes an error for its caller.
   *
   * @param load Gives the arguments.
   * @param context What the function learns.
   * @param request Request that makes the call, for the connection to count it.
   * @returns The value's bytes.
   */
  invoke(
    load: () => CallArguments,
    context: CallContext,
    request: RequestContext<TreeNode>,
  ): Awaitable<Uint8Array> {
    try {
      const call = this.#select(load());
      const timed = this.#timeout === undefined
        ? undefined
        : new Deadline(this.#timeout, context);
      let value: unknown;
      try {
        value = Reflect.apply(
          call.fn,
          call.self,
          bind(call, timed ?? context),
        );
      } catch (error) {
        timed?.clear();
        throw error;
      }
      if (!isPromise(value)) {
        timed?.clear();
        return this.#dump(value);
      }
      const promise = Promise.resolve(value);
      this.#running.add(request, promise);
      const awaited = timed === undefined ? promise : timed.race(promise);
      return awaited.then((value) => this.#dump(value)).catch((error) => {
        throw forCaller(error);
      });
    } catch (error) {
      throw forCaller(error);
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

  #dump(value: unknown): Uint8Array {
    const dumped: unknown = this.#dumper(value);
    const bytes = typeof dumped === "string" ? encodeText(dumped) : dumped;
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(
        `the dumper made ${typeof dumped} of the value, not text or bytes`,
      );
    }
    if (bytes.length > this.#maxValue) throw new NinePError("file too big");
    return bytes === dumped ? bytes.slice() : bytes; // The function may use its bytes again.
  }
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

/** What the function is called with. */
function bind(call: Call, context: CallContext): unknown[] {
  const { argv, kwarg, params } = call;
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
  for (const name of Object.keys(kwarg)) {
    const at = params.indexOf(name);
    if (at < 0) throw new TypeError(`unknown argument "${name}"`);
    if (at < argv.length) {
      throw new TypeError(`argument "${name}" was given twice`);
    }
    values[at] = kwarg[name];
  }
  values.push(context);
  return values;
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
