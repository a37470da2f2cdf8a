// The JSON of function calls: the text of a Tcall, and the text of the Rerror
// that answers a function that failed. Tcall and Rcall are the messages of the
// extension. The JSON has the same form as in pyroute2's `plan9` package.

import { codeOfErrno, errnoOf } from "./error_table.ts";
import { NinePError } from "./errors.ts";
import { checkExact, encodeJson, isPlain } from "./json.ts";
import { utf8Length } from "./wire.ts";

/** Deepest nesting of arrays and objects in arguments. */
export const DEPTH_MAX = 64;

/** The error of a function, as the server sends it to the caller. */
export interface ErrorEnvelope {
  /** Name of the error's class, such as `ValueError`. */
  class: string;
  /** Arguments of the error: `[errno, text]` for system errors, else `[]`. */
  argv: readonly unknown[];
  /** The message. */
  str: string;
}

/** Options of a {@linkcode FunctionError}. */
export interface FunctionErrorOptions {
  /** Text on the wire; the message by default. */
  ename?: string;
  /**
   * Message of the error object. The default is `str` of the envelope, or its
   * class when `str` is empty.
   */
  message?: string;
  /** Cause of the error. */
  cause?: unknown;
}

/**
 * The error of a remote function: a {@linkcode NinePError} that also has the
 * class, the arguments and the message from the server.
 *
 * The class is only a name. `code` tells the meaning of the error, such as
 * `ENOENT` for a `FileNotFoundError`.
 */
export class FunctionError extends NinePError {
  /** Name of the error's class on the server, such as `ValueError`. */
  readonly class: string;
  /** Arguments of the error: `[errno, text]` for system errors, else empty. */
  readonly argv: readonly unknown[];
  /** Message of the error. */
  readonly str: string;

  /**
   * Makes an error for an envelope.
   *
   * @param envelope Class, arguments and message.
   * @param options Text on the wire (the message by default) and cause.
   */
  constructor(
    envelope: ErrorEnvelope,
    options: FunctionErrorOptions = {},
  ) {
    super(options.ename ?? envelope.str, {
      message: options.message ?? (envelope.str || envelope.class),
      code: codeOfEnvelope(envelope),
      cause: options.cause,
    });
    this.name = "FunctionError";
    this.class = envelope.class;
    this.argv = envelope.argv;
    this.str = envelope.str;
  }
}

/**
 * The error that ends a client's connection. When a function throws a
 * Plan9Exit, the server sends the error to the caller and then closes the
 * caller's connection.
 *
 * @example A function that ends its client
 * ```ts
 * import { MemoryFs, Plan9Exit } from "@ninep/ninep";
 *
 * const fs = new MemoryFs();
 * fs.register("bye", () => {
 *   throw new Plan9Exit("see you");
 * });
 * ```
 */
export class Plan9Exit extends FunctionError {
  /**
   * Makes the error.
   *
   * @param message Message for the caller.
   * @param options Text on the wire (the message by default) and cause.
   */
  constructor(message = "exit", options: FunctionErrorOptions = {}) {
    super({ class: "Plan9Exit", argv: [], str: message }, options);
    this.name = "Plan9Exit";
  }
}

/** Class of the error for a function file that was removed. */
const REMOVED_CLASS = "StaleFileError";
/** Text of the error for a file that was removed. */
const REMOVED = "file has been removed";

// A fid of a function file stays valid when the file is removed. The next Tcall
// on this fid fails with {"class": "StaleFileError", "argv": [116, "file has
// been removed"], "str": "file has been removed"}, and the next read or write
// fails with the text of `str`. 116 is the number of ESTALE on Linux. The class
// distinguishes this error from every error that a function throws: a function
// may throw any text and any code, but the server sends its error with another
// class. After a StaleFileError, a client therefore knows that the function was
// not called, and may walk and call again.

/** Makes the error for a fid whose function file was removed. */
export function removedError(): FunctionError {
  const argv = [errnoOf("ESTALE"), REMOVED];
  return new FunctionError({ class: REMOVED_CLASS, argv, str: REMOVED });
}

/**
 * Recognizes the error of a call whose function file was removed. In this case
 * the function was not called.
 */
export function isRemovedError(error: unknown): boolean {
  return error instanceof FunctionError && error.class === REMOVED_CLASS;
}

const CODE_OF_CLASS: ReadonlyMap<string, string> = new Map([
  ["ValueError", "EINVAL"],
  ["SyntaxError", "EINVAL"],
  ["RangeError", "EINVAL"],
  ["TypeError", "EINVAL"],
  ["UnicodeDecodeError", "EINVAL"],
  ["JSONDecodeError", "EINVAL"],
  ["KeyError", "ENOENT"],
  ["FileNotFoundError", "ENOENT"],
  ["PermissionError", "EACCES"],
  ["FileExistsError", "EEXIST"],
  ["IsADirectoryError", "EISDIR"],
  ["NotADirectoryError", "ENOTDIR"],
  ["TimeoutError", "ETIMEDOUT"],
  ["InterruptedError", "EINTR"],
  ["NotImplementedError", "ENOSYS"],
]);

function codeOfEnvelope(envelope: ErrorEnvelope): string | undefined {
  const [errno] = envelope.argv;
  // The number decides first, because Python's PermissionError stands for two
  // numbers.
  return codeOfErrno(errno) ?? CODE_OF_CLASS.get(envelope.class);
}

/**
 * Returns the envelope of an error that a function threw. The envelope has the
 * error's message and never its stack.
 */
export function envelopeOf(error: unknown): ErrorEnvelope {
  if (error instanceof FunctionError) {
    return { class: error.class, argv: error.argv, str: error.str };
  }
  const str = error instanceof NinePError
    ? error.ename
    : textOfValue(error instanceof Error ? error.message : error);
  const code = codeIn(error);
  const errno = code === undefined ? undefined : errnoOf(code);
  if (errno !== undefined) {
    return { class: classOfCode(code), argv: [errno, str], str };
  }
  if (error instanceof NinePError) return { class: "OSError", argv: [], str };
  return { class: classOf(error), argv: [], str };
}

/**
 * Returns the code of an error of this library, or of a system error such as a
 * missing file.
 */
function codeIn(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Returns the class of an error. A class that only extends Error has no name of
 * its own.
 */
function classOf(error: unknown): string {
  if (!(error instanceof Error)) return "Error";
  const name = error.name === "Error" ? error.constructor?.name : error.name;
  return textOfValue(name || "Error");
}

function textOfValue(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "unknown error"; // An object without toString, say.
  }
}

function classOfCode(code: string | undefined): string {
  switch (code) {
    case "ENOENT":
      return "FileNotFoundError";
    case "EACCES":
    case "EPERM":
      return "PermissionError";
    case "EEXIST":
      return "FileExistsError";
    case "EISDIR":
      return "IsADirectoryError";
    case "ENOTDIR":
      return "NotADirectoryError";
    case "ENOSYS":
      return "NotImplementedError";
    case "ETIMEDOUT":
      return "TimeoutError";
    case "EINTR":
      return "InterruptedError";
    default:
      return "OSError";
  }
}

/**
 * Returns the JSON of an envelope in at most `limit` bytes, 100 or more. Texts
 * that are too long are cut, so that the JSON stays whole.
 */
export function encodeEnvelope(
  envelope: ErrorEnvelope,
  limit: number,
): string {
  const most = Math.min(limit, 0xffff); // No text on the wire is longer.
  const whole = jsonOf(envelope);
  if (whole !== undefined && utf8Length(whole) <= most) return whole;
  // Only the number of `argv` is kept. Its text is also in `str`, which may
  // fill the remaining bytes.
  const [errno] = envelope.argv;
  const argv = Number.isSafeInteger(errno) ? [errno] : [];
  const cut = { class: cutJson(envelope.class, most >> 1), argv, str: "" };
  cut.str = cutJson(envelope.str, most - utf8Length(JSON.stringify(cut)));
  return JSON.stringify(cut);
}

/**
 * Returns the JSON of an envelope, or undefined when JSON cannot carry `argv`.
 */
function jsonOf({ class: name, argv, str }: ErrorEnvelope): string | undefined {
  try {
    return JSON.stringify({ class: name, argv, str });
  } catch {
    return undefined;
  }
}

/**
 * Returns the start of a text whose JSON, without the quotes, has at most
 * `most` bytes.
 */
function cutJson(text: string, most: number): string {
  let end = 0;
  for (const character of text) {
    most -= utf8Length(JSON.stringify(character)) - 2;
    if (most < 0) break;
    end += character.length;
  }
  return text.slice(0, end);
}

/**
 * Parses the JSON that an Rerror has for a failed function.
 *
 * @param ename Text of an Rerror.
 * @returns The error, or undefined when the text is no such JSON.
 */
export function parseEnvelope(ename: string): FunctionError | undefined {
  if (!ename.startsWith("{")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(ename);
  } catch {
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const { class: name, argv, str } = value;
  if (typeof name !== "string" && typeof str !== "string") return undefined;
  const envelope: ErrorEnvelope = {
    class: typeof name === "string" ? name : "Error",
    argv: Array.isArray(argv) ? argv : [],
    str: typeof str === "string" ? str : "",
  };
  if (envelope.class === "Plan9Exit") {
    return new Plan9Exit(envelope.str, { ename });
  }
  return new FunctionError(envelope, { ename });
}

/** Arguments of a call. */
export interface CallArguments {
  /** Positional arguments. */
  argv: readonly unknown[];
  /** Keyword arguments. */
  kwarg: Readonly<Record<string, unknown>>;
  /** Name of the keyword argument that gets the payload. */
  dataArg: string;
}

/**
 * Encodes the text of a Tcall.
 *
 * @throws {TypeError} JSON would change an argument; see encodeJson().
 */
export function encodeCall(call: CallArguments): string {
  const { argv, kwarg, dataArg } = call;
  checkExact(argv, "argv");
  // Most calls have nothing but positional arguments.
  if (dataArg === "data" && isEmpty(kwarg)) {
    return `{"argv":${JSON.stringify(argv)},"kwarg":{},"data_arg":"data"}`;
  }
  checkExact(kwarg, "kwarg");
  return JSON.stringify({ argv, kwarg, data_arg: dataArg });
}

function isEmpty(kwarg: CallArguments["kwarg"]): boolean {
  for (const _ in kwarg) return false;
  return isPlain(kwarg);
}

/**
 * Encodes keyword arguments that are written to a function file.
 *
 * @throws {TypeError} JSON would change an argument; see encodeJson().
 */
export function encodeKwarg(kwarg: CallArguments["kwarg"]): string {
  return encodeJson(kwarg, "kwarg");
}

/** Checks the parsed text of a Tcall. Missing members get their defaults. */
export function checkCall(value: unknown): CallArguments {
  if (!isRecord(value)) {
    throw new TypeError("the arguments of a call must be an object");
  }
  checkSafe(value, -1); // That object itself does not count as a level.
  const { argv = [], kwarg = {}, data_arg: dataArg = "data" } = value;
  if (!Array.isArray(argv)) throw new TypeError("argv must be an array");
  if (!isRecord(kwarg)) throw new TypeError("kwarg must be an object");
  if (typeof dataArg !== "string") {
    throw new TypeError("data_arg must be a string");
  }
  if (isForbidden(dataArg)) {
    throw new TypeError(`data_arg must not be "${dataArg}"`);
  }
  return { argv, kwarg, dataArg };
}

/**
 * Throws for arguments that are nested too deeply, or that have a member whose
 * name gives access to a prototype.
 */
export function checkSafe(value: unknown, depth = 0): void {
  if (typeof value !== "object" || value === null) return;
  if (depth >= DEPTH_MAX) {
    throw new RangeError(`arguments are nested deeper than ${DEPTH_MAX}`);
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i];
      if (typeof item === "object") checkSafe(item, depth + 1);
    }
  } else if (isRecord(value)) {
    // A loop over the names makes no array.
    for (const name in value) {
      if (isForbidden(name)) {
        throw new TypeError(`arguments must not have a member "${name}"`);
      }
      const member = value[name];
      if (typeof member === "object") checkSafe(member, depth + 1);
    }
  }
}

/** Recognizes member names that give access to an object's prototype. */
function isForbidden(name: string): boolean {
  return name === "__proto__" || name === "constructor" || name === "prototype";
}

/** Recognizes objects that are not arrays or bytes. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null &&
    !Array.isArray(value) && !ArrayBuffer.isView(value);
}
