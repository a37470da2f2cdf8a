// What can be chosen for a session, and what is chosen where nothing is said.

import {
  type Message,
  MSIZE_DEFAULT,
  MSIZE_MIN,
  ProtocolError,
} from "../codec.ts";
import type { Connection } from "../transport.ts";

/** What is known of each message that a session is traced by. */
export interface TraceContext {
  /** Label of the client's end. */
  readonly peer: string;
  /** The connection: tells clients apart whose labels are the same. */
  readonly connection: Connection;
  /** When, in milliseconds since 1970-01-01 UTC. */
  readonly time: number;
}

/** A message that a session received or sent. */
export interface TracedMessage extends TraceContext {
  /** `in` from the client, `out` to it. */
  readonly direction: "in" | "out";
  /** The message; its data are views that live until the hook returns. */
  readonly message: Message;
  /** There is none. */
  readonly error?: undefined;
}

/** A frame of the client's that is no message; it was answered with an error. */
export interface TracedFrame extends TraceContext {
  /** Always from the client. */
  readonly direction: "in";
  /** There is none. */
  readonly message?: undefined;
  /** What is wrong with it. */
  readonly error: ProtocolError;
  /** All of its bytes: a view that lives until the hook returns. */
  readonly frame: Uint8Array;
}

/** What an error belongs to, as far as it is known. */
export interface ErrorContext {
  /** Label of the client's end; undefined for an error of a listener. */
  readonly peer?: string;
  /** Kind of the request, by its message, such as `Tread`. */
  readonly request?: string;
  /** User of the request's fid. */
  readonly uname?: string;
  /** Path of the file that the request's fid stands for, where its node tells one. */
  readonly path?: string;
}

/** Options of a session: its limits and choices. */
export interface SessionOptions {
  /** Largest message in bytes, 256 or more; 1 MiB and 24 bytes by default. */
  msize?: number;
  /**
   * Most fids at a time, 65536 by default: each costs memory. Beyond it `Too
   * many open files`.
   */
  maxFids?: number;
  /**
   * Most requests that are processed at a time, 1 to 65535, 1024 by default. Beyond it the
   * client waits; 64 more are taken in, so that a Tflush among them is seen.
   */
  maxRequests?: number;
  /**
   * Most bytes of requests that wait or are being processed, and of flushed
   * ones whose handlers go on, 16 MiB by default; the data of up to 16 that
   * have begun do not count. Beyond it nothing further is read, not even a
   * Tflush, until there is room again.
   */
  maxRequestBytes?: number;
  /**
   * Most bytes that the client may be owed, 256 MiB by default: answers that it
   * has not taken, and what the reads and calls under way may be answered
   * with. Beyond it further reads and calls wait, and with them the requests
   * behind them on their fids, but no others. One alone is always taken.
   */
  maxReplyBytes?: number;
  /**
   * Most bytes that the files of the connection may hold for it beyond a
   * request, 64 MiB by default: contents that were made at an open, arguments
   * and values of calls. Beyond it `Cannot allocate memory`.
   */
  maxHeldBytes?: number;
  /** Most bytes of a name, 255 by default, as on most hosts. Beyond it `File name too long`. */
  maxName?: number;
  /**
   * Most milliseconds without a session, until a Tversion starts one, 30,000 by
   * default, for a connection that says nothing costs a socket; 0 for no limit.
   * Beyond it the connection is closed.
   */
  versionTimeout?: number;
  /**
   * Most milliseconds without a request while none is under way; 0, no limit,
   * by default. Beyond it the connection is closed.
   */
  idleTimeout?: number;
  /**
   * Most milliseconds that a client may go unseen, 120,000 by default; 0 for no
   * limit. That is when requests wait beyond `maxRequests` or `maxRequestBytes`
   * and so much more has come that no further is read. Beyond it the connection
   * is closed, for otherwise handlers could wait for a client that is gone.
   */
  stallTimeout?: number;
  /**
   * Most milliseconds that requests which are under way have to finish when the
   * session is stopped, 1000 by default. Then they are aborted. The client has
   * one second more to take the last replies.
   */
  closeTimeout?: number;
  /** Refuse what the manual refuses although usual clients do it: walks from open fids, undefined mode bits. False by default. What a tree refuses is an option of the tree, as of a MemoryFs. */
  strict?: boolean;
  /** Open a file at the first read, write or call of a fid that is not open; function files always do. False by default. */
  implicitOpen?: boolean;
  /** Form of error texts: `json` for servers whose clients are pyroute2's; `text` by default. A failed call is always JSON. */
  errors?: "text" | "json";
  /** Told of each message, in both directions, and of frames that are none; see formatMessage(). It costs nothing when it is not given. */
  onMessage?: (traced: TracedMessage | TracedFrame) => void;
  /** Told of errors that a client must not see: what handlers throw that is no NinePError, and connections that die (as ProtocolError). By default the former go to the console. */
  onError?: (error: unknown, context: ErrorContext) => void;
}

/** The options with their defaults. */
export type SessionSettings =
  & Required<Omit<SessionOptions, "onMessage">>
  & Pick<SessionOptions, "onMessage">;

const DEFAULTS: SessionSettings = {
  msize: MSIZE_DEFAULT,
  maxFids: 65536,
  maxRequests: 1024,
  maxRequestBytes: 16 * 1024 * 1024,
  maxReplyBytes: 256 * 1024 * 1024,
  maxHeldBytes: 64 * 1024 * 1024,
  maxName: 255,
  versionTimeout: 30_000,
  idleTimeout: 0,
  stallTimeout: 120_000,
  closeTimeout: 1000,
  strict: false,
  implicitOpen: false,
  errors: "text",
  onError: reportInternal,
};

/** Adds the defaults; throws a RangeError or a TypeError for what cannot be. */
export function settingsOf(options: SessionOptions): SessionSettings {
  const settings = { ...DEFAULTS };
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) Object.assign(settings, { [name]: value });
  }
  const { onError } = settings;
  settings.onError = (error, context) => {
    try {
      onError(error, context);
    } catch {
      // There is nobody left to tell.
    }
  };
  const errors: unknown = settings.errors; // Of callers without types.
  if (errors !== "text" && errors !== "json") {
    throw new TypeError(`Cannot serve with errors ${errors}: text or json`);
  }
  checkRange(settings, "msize", MSIZE_MIN, 0xffffffff);
  checkRange(settings, "maxFids", 1, 0xffffffff);
  checkRange(settings, "maxRequests", 1, 0xffff);
  checkRange(settings, "maxRequestBytes", 1, Number.MAX_SAFE_INTEGER);
  checkRange(settings, "maxReplyBytes", 1, Number.MAX_SAFE_INTEGER);
  checkRange(settings, "maxHeldBytes", 1, Number.MAX_SAFE_INTEGER);
  checkRange(settings, "maxName", 1, 0xffff);
  checkRange(settings, "versionTimeout", 0, 0x7fffffff);
  checkRange(settings, "idleTimeout", 0, 0x7fffffff);
  checkRange(settings, "stallTimeout", 0, 0x7fffffff);
  checkRange(settings, "closeTimeout", 0, 0x7fffffff);
  return settings;
}

/** Throws unless a setting is a whole number of a range. */
function checkRange<Name extends string>(
  settings: { readonly [name in Name]: number },
  name: Name,
  least: number,
  most: number,
): void {
  const value = settings[name];
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(
    `Cannot serve with ${name} ${value}: the range is ${least} to ${most}`,
  );
}

/** What no client may see, somebody should; that a client went away is no news. */
function reportInternal(error: unknown, { peer }: ErrorContext): void {
  const isOfConnection = error instanceof ProtocolError && peer !== undefined;
  if (!isOfConnection) console.error(error);
}
