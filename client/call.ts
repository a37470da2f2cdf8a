// Calls of function files: by one Tcall, or by a write of the arguments and a
// read of the value if the server has no Tcall.

import { rangeError } from "./error_brand.ts";
import {
  FunctionError,
  NinePError,
  ORDWR,
  ProtocolError,
  type Rcall,
} from "../codec.ts";
import { encodeCall, encodeKwarg } from "../codec/call.ts";
import {
  type CallerOptions,
  checkMost,
  isUnsendable,
  labelOf,
  withMessage,
} from "./operation.ts";
import type { ClientSession } from "./connection/client_session.ts";
import {
  MAX_LENGTH,
  readAll,
  type ReadBounds,
  tooLarge,
  writeAll,
} from "./transfer/transfer.ts";
import { NO_BYTES } from "../codec/wire.ts";

/** Value of `err` in an Rcall when the file is not a function file. */
const NOT_A_FUNCTION = 255;
/** Error text of a Tcall whose value is too long for an Rcall. */
const TOO_LARGE = "i/o count too large";
/** Error texts of servers that do not support a request. */
const NOT_SUPPORTED =
  /^(operation not supported|function not implemented)\W*$/i;
/**
 * Error texts of servers that do not know the message type of Tcall, which is
 * 80, such as `bad fcall type 80`.
 */
const UNKNOWN_TYPE =
  /^(unknown|unrecognized|unsupported|unexpected|bad|bogus|illegal|invalid) ((9p )?(message|fcall|msg)|((message|fcall|msg|request) )?type(?=\W+80\b)|(message|fcall|msg|request) type)(\W+80)?\W*$/i;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
/** Options of {@linkcode Client.call}. */
export interface CallOptions<T = unknown> extends CallerOptions {
  /**
   * Positional arguments; none by default. JSON must be able to express them: a
   * Date, a Map, bytes or undefined are refused with a TypeError.
   */
  argv?: readonly unknown[] | undefined;
  /** Keyword arguments; none by default. */
  kwarg?: Readonly<Record<string, unknown>> | undefined;
  /** Binary argument; it becomes the keyword argument that `dataArg` names, unless it is empty. */
  data?: Uint8Array | undefined;
  /** Name of the keyword argument for `data`, `data` by default. */
  dataArg?: string | undefined;
  /**
   * Call by write and read if no Tcall is possible; true by default. No Tcall
   * is possible if the server has no Tcall, or if the keyword arguments are
   * longer than a Tcall can hold.
   *
   * On a server of this library, other users cannot read the arguments and the
   * value of such a call. Another server may let users with access to the file
   * read them. With false, the client refuses such a call.
   */
  fallback?: boolean | undefined;
  /**
   * Most bytes of the value, 0 to 2^53 - 1, or Infinity; 1 GiB by default. A
   * longer value is a RangeError. The value of a Tcall must also fit into one
   * message.
   */
  maxLength?: number | undefined;
  /**
   * Decodes the value from its bytes. By default the bytes are decoded as JSON
   * in UTF-8, and a value without bytes becomes undefined.
   */
  loader?: ((data: Uint8Array) => T) | undefined;
}

/**
 * Calls the function file of a fid. The call neither opens nor moves the fid.
 *
 * @param label Name of the file, for errors.
 * @throws {RangeError} The arguments are too long for a Tcall, and cannot be
 *   written.
 * @throws {TypeError} JSON would change an argument, such as a Date.
 */
export function callFile<T>(
  session: ClientSession,
  fid: number,
  options: CallOptions<T>,
  signal: AbortSignal | undefined,
  label: string = labelOf(fid),
): Promise<T> {
  const { argv = [], kwarg = {}, data = NO_BYTES, dataArg = "data" } = options;
  const { fallback = true, maxLength = MAX_LENGTH } = options;
  const bounds = { maxLength, what: `call ${label}` };
  checkMost(bounds.what, "maxLength", maxLength);
  // Without a `loader`, the caller declares the type of the value by `T`.
  const load = options.loader ?? (loadJson as (data: Uint8Array) => T);
  const isWritable = fallback && argv.length === 0 && data.length === 0;
  const write = () => {
    const text = encode(label, encodeKwarg, kwarg);
    return writeAndRead(session, fid, label, text, bounds, signal).then(load);
  };
  if (isWritable && session.hasTcall === false) return write();
  const text = encode(label, encodeCall, { argv, kwarg, dataArg });
  // Only one promise lies between the reply and the value, because further
  // promises would take as much time as the rest of the call.
  return session.rpc({ type: "Tcall", tag: 0, fid, text, data }, signal).then(
    (reply) => load(valueIn(reply, session, bounds)),
    (error) => {
      if (signal?.aborted) throw error;
      if (isUnsendable(error)) {
        // The request was not sent.
        if (isWritable && session.traits.longArguments) return write();
        throw tooLong(label, error);
      }
      if (!lacksTcall(session, error)) throw error;
      session.hasTcall ??= false;
      if (!isWritable) throw error;
      return write();
    },
  );
}

function encode<A>(
  label: string,
  encoder: (args: A) => string,
  args: A,
): string {
  try {
    return encoder(args);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new TypeError(`Cannot call ${label}: ${cause.message}`, { cause });
  }
}

/** Makes the error for arguments that are too long for a Tcall. */
function tooLong(label: string, cause: RangeError): RangeError {
  return rangeError(
    `Cannot call ${label}: the arguments are too long for a Tcall, and only keyword arguments can be written instead, where that is allowed (${cause.message})`,
    cause,
  );
}

/** Returns the value of an Rcall. */
function valueIn(
  reply: Rcall,
  session: ClientSession,
  { what, maxLength }: ReadBounds,
): Uint8Array {
  session.hasTcall = true;
  const data = bytesOfValue(reply);
  if (data.length > maxLength) throw tooLarge(what, maxLength);
  return data;
}

/** Returns the bytes of the value in an Rcall. */
function bytesOfValue({ err, text, data }: Rcall): Uint8Array {
  if (err === 0) return data;
  if (err === NOT_A_FUNCTION) throw new NinePError("not a function file");
  const detail = text === "" ? "" : `: ${text}`;
  throw new NinePError(`error ${err}${detail}`);
}

/** Decodes the value in an Rcall. */
export function valueOf<T>(
  reply: Rcall,
  loader: CallOptions<T>["loader"],
): T {
  // Without a `loader`, the caller declares the type of the value by `T`.
  const load = loader ?? (loadJson as (data: Uint8Array) => T);
  return load(bytesOfValue(reply));
}

/**
 * Tells whether an error proves that the server has no Tcall. Then no function
 * was called. Any other error text may come from a function that was called.
 */
function lacksTcall(session: ClientSession, error: unknown): boolean {
  if (!(error instanceof NinePError) || session.hasTcall) return false;
  // The function has failed, or its value is too long. In both cases it was
  // called.
  if (error instanceof FunctionError || error.ename === TOO_LARGE) {
    session.hasTcall = true;
    return false;
  }
  const { ename } = error;
  return NOT_SUPPORTED.test(ename) || UNKNOWN_TYPE.test(ename);
}

/**
 * Calls a function file by a write and a read on a new fid, so that
 * simultaneous calls do not see the arguments of each other.
 *
 * A server of this library shares the arguments that were written through a
 * fid, if nothing was ever read through this fid, so that another program can
 * read the value. The call can end between its write and its read, by an abort
 * or the end of the connection. To keep the arguments private even then, the
 * client reads through the fid before it writes, at an offset where a read
 * calls no function. Only a server that has Tcall is known to accept such a
 * read. If the client does not know yet whether the server has Tcall, it sends
 * the read only after a failure. If the server has no Tcall, it sends no such
 * read.
 */
async function writeAndRead(
  session: ClientSession,
  fid: number,
  label: string,
  kwarg: string,
  bounds: ReadBounds,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const data = encoder.encode(kwarg);
  const copy = await session.walk(fid, [], signal);
  let isUnsure = false;
  try {
    const open = await session.open(copy, ORDWR, signal);
    if (session.hasTcall) {
      await session.read(copy, 1, new Uint8Array(1), signal);
    } else isUnsure = session.hasTcall === undefined;
    await writeAll(open, data, 0, 1, signal);
    return await readAll(open, signal, bounds);
  } catch (error) {
    if (isUnsure) session.read(copy, 1, new Uint8Array(1)).catch(() => {});
    if (!(error instanceof NinePError) || error === signal?.reason) throw error;
    const message = `Cannot call ${label} by write and read: ${error.message}`;
    throw withMessage(error, message);
  } finally {
    session.drop(copy);
  }
}

function loadJson(data: Uint8Array): unknown {
  if (data.length === 0) return undefined;
  try {
    return JSON.parse(decoder.decode(data));
  } catch (cause) {
    throw new ProtocolError("Cannot decode the value of a call: not JSON", {
      cause,
    });
  }
}
