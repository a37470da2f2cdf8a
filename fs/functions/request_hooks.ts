// Functions that a program adds to an existing file, to answer requests in
// place of the file.

import { NinePError } from "../../codec.ts";
import type {
  Awaitable,
  CallRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../../server.ts";
import { forCaller } from "./callable.ts";

const encoder = new TextEncoder();

/**
 * Functions that `on()` adds to a file. Each function gets the request, its
 * context, and `next`, which answers a request as the file did without the
 * function. Errors are treated as those of the functions of {@linkcode
 * FileHooks}.
 */
export interface RequestHooks {
  /** Answers a Tread: at most `count` bytes from `offset` on, none at the end. */
  read(
    request: ReadRequest,
    context: RequestContext,
    next: (request: ReadRequest) => Awaitable<Uint8Array>,
  ): Awaitable<Uint8Array>;
  /**
   * Answers a Twrite. Returns the number of bytes that were taken, or undefined
   * for all.
   */
  write(
    request: WriteRequest,
    context: RequestContext,
    next: (request: WriteRequest) => Awaitable<number | void>,
  ): Awaitable<number | void>;
  /** Answers a Tcall with the value: bytes or text; undefined says that the file is no function. */
  call(
    request: CallRequest,
    context: RequestContext,
    next: (request: CallRequest) => Awaitable<Uint8Array | undefined>,
  ): Awaitable<string | Uint8Array | undefined>;
}

/**
 * Removes the function, when it is called or at the end of a block with
 * `using`.
 */
export interface HookRemoval extends Disposable {
  /** Removes the function. Further calls do nothing. */
  (): void;
}

/** The functions of the file itself. */
interface Answers {
  answerRead(
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array>;
  answerWrite(
    request: WriteRequest,
    context: RequestContext,
  ): Awaitable<number | void>;
  answerCall(
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array | undefined>;
}

/**
 * An added function. It is an object, because a function can be added twice.
 */
export interface Added<Kind extends keyof RequestHooks> {
  /** The function. */
  readonly hook: RequestHooks[Kind];
}

/**
 * The functions that were added to a file, the last first. It is never changed:
 * requests under way go on as they began.
 */
export type AddedHooks = {
  readonly [Kind in keyof RequestHooks]: readonly Added<Kind>[];
};

const NONE: AddedHooks = { read: [], write: [], call: [] };

/** Returns the functions of a file with one more function. */
export function withHook<Kind extends keyof RequestHooks>(
  hooks: AddedHooks | undefined,
  kind: Kind,
  added: Added<Kind>,
): AddedHooks {
  const before = hooks ?? NONE;
  return { ...before, [kind]: [added, ...before[kind]] };
}

/**
 * Returns the functions of a file without one of them; undefined if none is
 * left.
 */
export function withoutHook<Kind extends keyof RequestHooks>(
  hooks: AddedHooks | undefined,
  kind: Kind,
  added: Added<Kind>,
): AddedHooks | undefined {
  if (hooks === undefined) return undefined;
  const list: readonly Added<Kind>[] = hooks[kind];
  const left = { ...hooks, [kind]: list.filter((one) => one !== added) };
  const { read, write, call } = left;
  return read.length + write.length + call.length > 0 ? left : undefined;
}

/** Throws if a function cannot be added to a file. */
export function checkHook(path: string, kind: string, hook: unknown): void {
  const what = `Cannot add a function to "${path}"`;
  if (!Object.hasOwn(NONE, kind)) {
    throw new TypeError(`${what}: "${kind}" is neither read, write nor call`);
  }
  if (typeof hook === "function") return;
  throw new TypeError(`${what}: ${kindOf(hook)} is not a function`);
}

/** Answers a Tread by the functions from an index on, and at last by the file. */
export function answerRead(
  hooks: AddedHooks["read"],
  request: ReadRequest,
  context: RequestContext,
  file: Answers,
  index: number = 0,
): Awaitable<Uint8Array> {
  if (index >= hooks.length) return file.answerRead(request, context);
  return hooks[index].hook(
    request,
    context,
    (request) => answerRead(hooks, request, context, file, index + 1),
  );
}

/** Answers a Twrite by the functions from an index on, and at last by the file. */
export function answerWrite(
  hooks: AddedHooks["write"],
  request: WriteRequest,
  context: RequestContext,
  file: Answers,
  index: number = 0,
): Awaitable<number | void> {
  if (index >= hooks.length) return file.answerWrite(request, context);
  return hooks[index].hook(
    request,
    context,
    (request) => answerWrite(hooks, request, context, file, index + 1),
  );
}

/** Answers a Tcall by the functions from an index on, and at last by the file. */
export function answerCall(
  hooks: AddedHooks["call"],
  request: CallRequest,
  context: RequestContext,
  file: Answers,
  index: number = 0,
): Awaitable<Uint8Array | undefined> {
  if (index >= hooks.length) return file.answerCall(request, context);
  try {
    const value = hooks[index].hook(
      request,
      context,
      (request) => answerCall(hooks, request, context, file, index + 1),
    );
    if (!(value instanceof Promise)) return valueOf(value);
    return value.then(valueOf).catch(relayError);
  } catch (error) {
    return relayError(error);
  }
}

function valueOf(
  value: string | Uint8Array | undefined,
): Uint8Array | undefined {
  return value === undefined ? undefined : bytesOf("call", value);
}

/**
 * Returns the bytes of a hook's result. A program without types may return any
 * value, which must not look like an empty file.
 */
export function bytesOf(hook: string, value: string | Uint8Array): Uint8Array {
  if (typeof value === "string") return encoder.encode(value);
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`${hook}() gave ${kindOf(value)}, not text or bytes`);
}

/** Returns the kind of a value, for messages. */
export function kindOf(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/**
 * Throws an error of a call hook again. The hook may have called a file of
 * another server, whose error must not say that this file was removed.
 */
export function relayError(error: unknown): never {
  throw error instanceof NinePError ? forCaller(error) : error;
}
