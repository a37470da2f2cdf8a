// Function files: one round trip with Tcall, or arguments written and the
// value read where the server has no Tcall.

import { encodeCall, FunctionError } from "../codec/call.ts";
import { ORDWR } from "../codec/constants.ts";
import { NinePError, ProtocolError } from "../codec/errors.ts";
import { type CallerOptions, hasCode } from "./operation.ts";
import type { Session } from "./session.ts";
import { readAll, writeAll } from "./transfer.ts";

/** Err of an Rcall when the file is not a function. */
const NOT_A_FUNCTION = 255;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const NOTHING = new Uint8Array(0);

/** Options of `Client.call()`. */
export interface CallOptions<T = unknown> extends CallerOptions {
  /** Positional arguments. */
  argv?: readonly unknown[];
  /** Keyword arguments. */
  kwarg?: Readonly<Record<string, unknown>>;
  /** Binary argument; it becomes the keyword argument that `dataArg` names. */
  data?: Uint8Array;
  /** Name of the keyword argument for `data`, `data` by default. */
  dataArg?: string;
  /** Makes the value of its bytes; by default they are JSON in UTF-8, and nothing at all is undefined. */
  loader?: (data: Uint8Array) => T;
}

/** The calls of a session, which remember whether its server has Tcall. */
export class Calls {
  readonly #session: Session;
  #hasTcall: boolean | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Calls the function file that a fid stands for; the fid stays as it is. */
  async call<T>(fid: number, options: CallOptions<T>): Promise<T> {
    const { argv = [], data = NOTHING, loader, signal } = options;
    // What the function returns is for the caller to know.
    const load = loader ?? (loadJson as (data: Uint8Array) => T);
    const writable = argv.length === 0 && data.length === 0;
    if (writable && this.#hasTcall === false) {
      return load(await this.#writeAndRead(fid, options));
    }
    let value: Uint8Array;
    try {
      value = await this.#tcall(fid, options);
    } catch (error) {
      if (!writable || signal?.aborted) throw error;
      // Too long for a Tcall: nothing was sent.
      const tooLong = error instanceof RangeError;
      if (!tooLong && !await this.#lacksTcall(error, fid, signal)) throw error;
      value = await this.#writeAndRead(fid, options);
      if (!tooLong) this.#hasTcall = false;
    }
    return load(value);
  }

  async #tcall(fid: number, options: CallOptions): Promise<Uint8Array> {
    const { argv = [], kwarg = {}, dataArg = "data" } = options;
    const { data = NOTHING, signal } = options;
    const text = encodeCall({ argv, kwarg, dataArg });
    const reply = await this.#session.rpc(
      { type: "Tcall", tag: 0, fid, text, data },
      signal,
    );
    this.#hasTcall = true;
    if (reply.err === 0) return reply.data;
    throw new NinePError(
      reply.err === NOT_A_FUNCTION
        ? "not a function file"
        : `error ${reply.err}: ${reply.text}`,
    );
  }

  /** Tells whether an error means that the server has no Tcall, so that nothing was called. */
  async #lacksTcall(
    error: unknown,
    fid: number,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!(error instanceof NinePError) || this.#hasTcall) return false;
    if (error instanceof FunctionError) {
      this.#hasTcall = true;
      return false;
    }
    if (hasCode(error, "EOPNOTSUPP") || hasCode(error, "ENOSYS")) return true;
    // Any other text, as long as nothing is wrong with the fid.
    try {
      await this.#session.stat(fid, signal);
      return true;
    } catch {
      return false;
    }
  }

  async #writeAndRead(
    fid: number,
    options: CallOptions,
  ): Promise<Uint8Array> {
    const session = this.#session;
    const { kwarg = {}, signal } = options;
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
