// Function files: one round trip with Tcall, or arguments written and the
// value read where the server has no Tcall.

import { encodeCall, FunctionError } from "../codec/call.ts";
import { ORDWR } from "../codec/constants.ts";
import { NinePError, ProtocolError } from "../codec/errors.ts";
import { type CallerOptions, hasCode, labelOf } from "./operation.ts";
import type { Session } from "./session.ts";
import { readAll, writeAll } from "./transfer.ts";

/** Err of an Rcall when the file is not a function. */
const NOT_A_FUNCTION = 255;
/** Error of a Tcall whose value no Rcall holds. */
const TOO_LARGE = "i/o count too large";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const NOTHING = new Uint8Array(0);

/** Options of {@linkcode Files.call}. */
export interface CallOptions<T = unknown> extends CallerOptions {
  /** Positional arguments; none by default. */
  argv?: readonly unknown[] | undefined;
  /** Keyword arguments; none by default. */
  kwarg?: Readonly<Record<string, unknown>> | undefined;
  /** Binary argument; it becomes the keyword argument that `dataArg` names, unless it is empty. */
  data?: Uint8Array | undefined;
  /** Name of the keyword argument for `data`, `data` by default. */
  dataArg?: string | undefined;
  /** Makes the value of its bytes; by default they are JSON in UTF-8, and nothing at all is undefined. */
  loader?: ((data: Uint8Array) => T) | undefined;
}

/**
 * Calls the function file that a fid stands for; the fid stays as it is.
 *
 * @param label What errors say that was called.
 * @throws {TypeError} JSON cannot say the arguments.
 */
export async function callFile<T>(
  session: Session,
  fid: number,
  options: CallOptions<T>,
  signal: AbortSignal | undefined,
  label: string = labelOf(fid),
): Promise<T> {
  let value: Uint8Array;
  try {
    value = await valueOf(session, fid, options, signal);
  } catch (error) {
    if (!(error instanceof TypeError) || error === signal?.reason) throw error;
    const message = `Cannot call ${label}: ${error.message}`;
    throw new TypeError(message, { cause: error });
  }
  // What the function returns is for the caller to know.
  const load = options.loader ?? (loadJson as (data: Uint8Array) => T);
  return load(value);
}

/** The value in bytes, in whichever way the server can give it. */
async function valueOf(
  session: Session,
  fid: number,
  options: CallOptions,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { argv = [], kwarg = {}, data = NOTHING } = options;
  const isWritable = argv.length === 0 && data.length === 0;
  if (isWritable && session.hasTcall === false) {
    return await writeAndRead(session, fid, kwarg, signal);
  }
  try {
    return await tcall(session, fid, options, signal);
  } catch (error) {
    if (!isWritable || signal?.aborted) throw error;
    if (error instanceof RangeError) {
      // Too long for a Tcall: nothing was sent.
      if (!session.traits.longArguments) throw error;
      return await writeAndRead(session, fid, kwarg, signal);
    }
    if (!await lacksTcall(session, fid, error, signal)) throw error;
  }
  const value = await writeAndRead(session, fid, kwarg, signal);
  session.hasTcall ??= false;
  return value;
}

async function tcall(
  session: Session,
  fid: number,
  options: CallOptions,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { argv = [], kwarg = {}, data = NOTHING, dataArg = "data" } = options;
  const text = encodeCall({ argv, kwarg, dataArg });
  const reply = await session.rpc(
    { type: "Tcall", tag: 0, fid, text, data },
    signal,
  );
  session.hasTcall = true;
  if (reply.err === 0) return reply.data;
  if (reply.err === NOT_A_FUNCTION) throw new NinePError("not a function file");
  const detail = reply.text === "" ? "" : `: ${reply.text}`;
  throw new NinePError(`error ${reply.err}${detail}`);
}

/** Tells whether an error means that the server has no Tcall, so that nothing was called. */
async function lacksTcall(
  session: Session,
  fid: number,
  error: unknown,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (!(error instanceof NinePError) || session.hasTcall) return false;
  // A function that failed, or a value that no Rcall holds: it was called.
  if (error instanceof FunctionError || error.ename === TOO_LARGE) {
    session.hasTcall = true;
    return false;
  }
  if (hasCode(error, "EOPNOTSUPP") || hasCode(error, "ENOSYS")) return true;
  // Any other text, as long as nothing is wrong with the fid.
  try {
    await session.stat(fid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Calls on a fid of its own, so that calls at the same time do not see each other's arguments. */
async function writeAndRead(
  session: Session,
  fid: number,
  kwarg: Readonly<Record<string, unknown>>,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const data = encoder.encode(JSON.stringify(kwarg));
  const copy = await session.walk(fid, [], signal);
  try {
    const open = await session.open(copy, ORDWR, signal);
    await writeAll(open, data, 0, 1, signal);
    return await readAll(open, signal);
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
