// The common parts of all operations of the client: names of files, aborts and
// timeouts, and the messages of errors.

import { FunctionError, NinePError, Plan9Exit } from "../codec.ts";
import {
  branded,
  COMPLETE,
  hasBrand,
  rangeError,
  UNSENDABLE,
} from "./error_brand.ts";
import type { AbortListeners } from "./connection/abort.ts";
import type { Environment } from "./connection/environment.ts";
import type { AbortedRequest } from "./connection/mux.ts";

/**
 * A file: its path, or a fid. A path is a string with slashes, or the list of
 * its elements, which must not contain slashes. Empty elements and `.` are
 * ignored, and `..` is the parent directory. A string with a leading slash
 * starts at the root of the tree. Any other path starts at the current
 * directory, which is the root until `chdir()` is called.
 */
export type FileRef = string | readonly string[] | number;

/** Options of every operation. */
export interface CallerOptions {
  /**
   * Aborts the operation: its promise rejects at once with the signal's reason,
   * and the client sends a Tflush. See `flush(9P)`.
   */
  signal?: AbortSignal | undefined;
  /**
   * Most milliseconds that the operation takes as a whole, above 0 and up to
   * 2^31 - 1, or Infinity. After this time the operation is aborted with a
   * DOMException named `TimeoutError`. The default is the `timeout` of
   * `connect()`.
   */
  timeout?: number | undefined;
}

/** Longest delay that setTimeout() supports, in milliseconds. */
export const TIMEOUT_MAX: number = 2 ** 31 - 1;

/**
 * Returns the elements of a path, without empty elements and `.`.
 *
 * @throws {TypeError} The value is not a path.
 */
export function namesOf(path: string | readonly string[]): string[] {
  const names = typeof path === "string" ? path.split("/") : path;
  if (Array.isArray(names) && names.every((name) => typeof name === "string")) {
    if (names === path) checkElements(names);
    return names.filter((name) => name !== "" && name !== ".");
  }
  throw new TypeError(`Cannot find ${path}: it is neither a path nor a fid`);
}

/**
 * Checks that no element has a slash, because the server would see several
 * elements.
 */
function checkElements(names: readonly string[]): void {
  const bad = names.find((name) => name.includes("/"));
  if (bad === undefined) return;
  throw new TypeError(
    `Cannot find ${
      labelOf(names)
    }: "${bad}" is an element of the list, and has a slash`,
  );
}

/** Tells whether a path is the path of a file, or a path below it. */
export function leadsTo(
  names: readonly string[],
  file: readonly string[],
): boolean {
  return file.every((name, i) => names[i] === name);
}

/** Returns the path of a file as a text, or the number of its fid. */
export function pathOf(file: FileRef): string {
  if (typeof file === "number") return `fid ${file}`;
  return Array.isArray(file) ? file.join("/") : `${file}`;
}

/** Returns the name of a file for messages. */
export function labelOf(file: FileRef): string {
  return typeof file === "number" ? pathOf(file) : `"${pathOf(file)}"`;
}

/** Returns the path of a member of a directory. */
export function join(path: string, name: string): string {
  return path === "" || path.endsWith("/") ? path + name : `${path}/${name}`;
}

/**
 * Checks an option that is a whole number.
 *
 * @throws {RangeError} The value is no integer from `least` to `most`.
 */
export function checkRange(
  verb: string,
  name: string,
  value: number,
  least: number,
  most: number,
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw rangeError(
    `Cannot ${verb}: ${name} is ${value}, the range is ${least} to ${most}`,
  );
}

/** Recognizes an error of the server by its code. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof NinePError && error.code === code;
}

/**
 * Tells whether an error says that a path names no file: a name does not exist,
 * or a name before the last one is not a directory.
 */
export function isMissing(error: unknown): boolean {
  return hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR");
}

/** The limits for the operations of a client. */
export interface Limits {
  /** Most milliseconds that an operation takes; undefined means no limit. */
  readonly timeout: number | undefined;
  /** The state that all calls of the client share. */
  readonly environment: Environment;
  /** Returns the aborted requests that the server may still answer. */
  abortedRequests?(): readonly AbortedRequest[];
}

/**
 * Runs an operation on a file for a caller.
 *
 * After an abort, the work continues until the server has answered, so that the
 * work can clean up. `undo` is called with a result that comes after the abort.
 */
export async function operate<T>(
  limits: Limits,
  verb: string,
  file: FileRef,
  options: CallerOptions,
  work: (signal: AbortSignal | undefined) => Promise<T>,
  undo?: (result: T) => void,
): Promise<T> {
  const what = () => `${verb} ${labelOf(file)}`;
  try {
    return await bounded(limits, what, options, work, undo);
  } catch (error) {
    throw explain(error, verb, file, options.signal);
  }
}

/**
 * Waits for work that an abort or a timeout does not stop. They only end the
 * wait.
 */
export function awaited<T>(
  limits: Limits,
  what: () => string,
  options: CallerOptions,
  work: Promise<T>,
): Promise<T> {
  work.catch(() => {}); // Whether anybody waits or not.
  return bounded(limits, what, options, () => work);
}

/**
 * Runs work. The promise rejects at once when the caller aborts or the time is
 * up.
 */
export function bounded<T>(
  limits: Limits,
  what: () => string,
  options: CallerOptions,
  work: (signal: AbortSignal | undefined) => Promise<T>,
  undo?: (result: T) => void,
): Promise<T> {
  const { signal, timeout = limits.timeout } = options;
  const { environment } = limits;
  const { aborts } = environment;
  if (timeout === undefined) {
    return signal ? abortable(aborts, signal, work, undo) : work(undefined);
  }
  return timed(
    { timeout, environment },
    signal,
    what,
    (signal) => abortable(aborts, signal, work, undo),
    limits.abortedRequests?.(),
  );
}

/**
 * Runs work with a signal that aborts when the given signal aborts or the time
 * is up.
 *
 * @param abortedRequests Aborted requests whose replies have not arrived yet. The
 *   server answers the new request only after those replies, so the time counts
 *   from the last of those replies. Each aborted request has at most one such
 *   reply.
 * @throws {RangeError} The timeout is out of its range.
 */
export async function timed<T>(
  { timeout, environment: { aborts, refs } }: Limits,
  signal: AbortSignal | undefined,
  what: () => string,
  work: (signal: AbortSignal | undefined) => Promise<T>,
  abortedRequests: readonly AbortedRequest[] = [],
): Promise<T> {
  if (timeout === undefined || timeout === Infinity) return await work(signal);
  if (!(timeout > 0 && timeout <= TIMEOUT_MAX)) {
    throw new RangeError(
      `Cannot ${what()}: timeout is ${timeout}, the range is above 0 to 2^31 - 1, or Infinity`,
    );
  }
  const both = new AbortController();
  const onAbort = () => both.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else aborts.add(signal, onAbort);
  const end = () => {
    const left = lastOf(abortedRequests) + timeout - performance.now();
    if (left > 0) {
      timer = refs.after(left, end);
      return;
    }
    const message = `Cannot ${what()}: no answer within ${timeout} ms`;
    both.abort(new DOMException(message, "TimeoutError"));
  };
  let timer = refs.after(timeout, end);
  try {
    return await work(both.signal);
  } finally {
    refs.cancel(timer);
    aborts.remove(signal, onAbort);
  }
}

/**
 * Returns the time of the last reply to any of the aborted requests; -Infinity
 * if there was none.
 */
export function lastOf(abortedRequests: readonly AbortedRequest[]): number {
  return abortedRequests.reduce(
    (last, { at }) => Math.max(last, at),
    -Infinity,
  );
}

/** Runs work. The promise rejects at once when the signal aborts. */
export function abortable<T>(
  aborts: AbortListeners,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal | undefined) => Promise<T>,
  undo?: (result: T) => void,
): Promise<T> {
  if (!signal) return work(signal);
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    aborts.add(signal, onAbort);
    const done = () => aborts.remove(signal, onAbort);
    work(signal).then((result) => {
      done();
      if (signal.aborted) undo?.(result);
      resolve(result);
    }, (error) => {
      done();
      reject(error);
    });
  });
}

/**
 * Checks a limit that a caller has given as an option.
 *
 * @param what The operation, for errors.
 * @param name Name of the option, such as `maxLength`.
 * @throws {RangeError} The limit is neither a whole number of at least 0 nor
 *   Infinity.
 */
export function checkMost(what: string, name: string, most = 0): void {
  if (Number.isSafeInteger(most) && most >= 0 || most === Infinity) return;
  throw rangeError(
    `Cannot ${what}: ${name} is ${most}, the range is 0 to 2^53 - 1, or Infinity`,
  );
}

/**
 * Runs work, and puts the operation and the file in front of the message of its
 * error. This applies to an error of the server, and to the error of a request
 * that cannot be encoded or is too long. An error that already names an
 * operation keeps its message. The reason of an abort is not changed.
 *
 * This function makes a new error, whose stack contains the caller, because the
 * caller awaits this function. The stack of the server's error contains only
 * the loop that reads replies.
 */
export async function explained<T>(
  verb: string,
  file: FileRef,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explain(error, verb, file, signal);
  }
}

/** Returns the error that the caller gets; see {@linkcode explained}. */
function explain(
  error: unknown,
  verb: string,
  file: FileRef,
  signal: AbortSignal | undefined,
): unknown {
  const messageOf = ({ message }: Error) =>
    `Cannot ${verb} ${labelOf(file)}: ${message}`;
  if (isUnsendable(error)) return rangeError(messageOf(error), error);
  if (error instanceof RangeError && hasBrand(error, COMPLETE)) {
    return rangeError(error.message, error.cause);
  }
  if (!(error instanceof NinePError)) return error;
  if (signal?.aborted && error === signal.reason) return error;
  const isComplete = hasBrand(error, COMPLETE);
  return withMessage(error, isComplete ? error.message : messageOf(error));
}

/**
 * Returns an error of the server with another message. Its cause is the
 * original error.
 */
export function withMessage(error: NinePError, message: string): NinePError {
  const cause = hasBrand(error, COMPLETE) ? error.cause : error;
  return branded(copyOf(error, message, cause), COMPLETE);
}

function copyOf(
  error: NinePError,
  message: string,
  cause: unknown,
): NinePError {
  const { ename, code, request } = error;
  if (error instanceof Plan9Exit) {
    return new Plan9Exit(error.str, { ename, message, cause });
  }
  if (error instanceof FunctionError) {
    return new FunctionError(error, { ename, message, cause });
  }
  return new NinePError(ename, { code, message, request, cause });
}

/**
 * Tells whether an error says that a request cannot be encoded or is too long.
 */
export function isUnsendable(error: unknown): error is RangeError {
  return error instanceof RangeError && hasBrand(error, UNSENDABLE);
}
