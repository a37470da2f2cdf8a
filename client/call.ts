// Function files: one round trip with Tcall, or arguments written and the
// value read where the server has no Tcall.

import { encodeCall, encodeKwarg, FunctionError } from "../codec/call.ts";
import { ORDWR } from "../codec/constants.ts";
import { NinePError, ProtocolError } from "../codec/errors.ts";
import type { Rcall } from "../codec/messages.ts";
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
  /** Positional arguments; none by default. JSON must be able to carry them: no Date, no Map, no bytes, no undefined. */
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
 * @throws {TypeError} JSON would change an argument, such as a Date.
 */
export function callFile<T>(
  session: Session,
  fid: number,
  options: CallOptions<T>,
  signal: AbortSignal | undefined,
  label: string = labelOf(fid),
): Promise<T> {
  const { argv = [], kwarg = {}, data = NOTHING, dataArg = "data" } = options;
  // What the function returns is for the caller to know.
  const load = options.loader ?? (loadJson as (data: Uint8Array) => T);
  const write = () =>
    writeAndRead(session, fid, encode(label, encodeKwarg, kwarg), signal);
  const isWritable = argv.length === 0 && data.length === 0;
  if (isWritable && session.hasTcall === false) return write().then(load);
  const text = encode(label, encodeCall, { argv, kwarg, dataArg });
  // One promise from the reply to the value: more cost as much as all the rest.
  return session.rpc({ type: "Tcall", tag: 0, fid, text, data }, signal).then(
    (reply) => load(valueIn(reply, session)),
    async (error) => {
      const isOver = !isWritable || signal?.aborted;
      if (isOver || !await isUncalled(session, fid, error, signal)) throw error;
      const value = await write();
      if (!(error instanceof RangeError)) session.hasTcall ??= false;
      return load(value);
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

/** The value in bytes. */
function valueIn({ err, text, data }: Rcall, session: Session): Uint8Array {
  session.hasTcall = true;
  if (err === 0) return data;
  if (err === NOT_A_FUNCTION) throw new NinePError("not a function file");
  const detail = text === "" ? "" : `: ${text}`;
  throw new NinePError(`error ${err}${detail}`);
}

/** Tells whether an error means that nothing was called, and that it may be called by a write. */
async function isUncalled(
  session: Session,
  fid: number,
  error: unknown,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  // Too long for a Tcall: nothing was sent.
  if (error instanceof RangeError) return session.traits.longArguments;
  return await lacksTcall(session, fid, error, signal);
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
  kwarg: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const data = encoder.encode(kwarg);
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
