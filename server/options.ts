// The options of a session, and their defaults.

import {
  type Message,
  MSIZE_DEFAULT,
  MSIZE_MIN,
  type ProtocolError,
} from "../codec.ts";
import type { Connection } from "../transport.ts";
import type { Budget } from "./budget.ts";
import { type ErrorContext, ErrorLog } from "./error_log.ts";

/** Facts about each traced message. */
export interface TraceContext {
  /** Label of the client's end. */
  readonly peer: string;
  /** The connection, which distinguishes clients with the same label. */
  readonly connection: Connection;
  /** Time in milliseconds since 1970-01-01 UTC. */
  readonly time: number;
}

/** A message that a session received or sent. */
export interface TracedMessage extends TraceContext {
  /** `in` from the client, `out` to it. */
  readonly direction: "in" | "out";
  /**
   * The message. Its data are views that are valid until `onMessage` returns.
   */
  readonly message: Message;
  /** Always undefined. */
  readonly error?: undefined;
}

/** A malformed frame of the client, which was answered with an error. */
export interface TracedFrame extends TraceContext {
  /** Always from the client. */
  readonly direction: "in";
  /** Always undefined. */
  readonly message?: undefined;
  /** The error in the frame. */
  readonly error: ProtocolError;
  /** All bytes of the frame: a view that is valid until `onMessage` returns. */
  readonly frame: Uint8Array;
}

/** Options of a session: its limits and choices. */
export interface SessionOptions {
  /** Largest message in bytes, 256 or more; 1 MiB and 24 bytes by default. */
  msize?: number;
  /**
   * Maximum of fids at a time, 65536 by default. A request for a further fid
   * fails with `Too many open files`.
   */
  maxFids?: number;
  /**
   * Maximum of requests in progress at a time, 1 to 65536, 65536 by default.
   * These are requests in handlers, requests that wait for an event or for
   * their fid, and flushed requests whose handlers have not ended. A further
   * request fails with `Too many open files`. A Tclunk, a Tremove, a Tflush and
   * a Tversion are never refused.
   */
  maxRequests?: number;
  /**
   * Maximum of bytes of requests in progress, including flushed requests whose
   * handlers have not ended; 16 MiB by default. The data of up to 16 started
   * requests do not count. Above the limit the server stops reading from the
   * client as long as requests are answered. When no request was answered for
   * 20 times `waitingAfter`, the server continues to read, and refuses requests
   * of more than 512 bytes with `Cannot allocate memory`.
   */
  maxRequestBytes?: number;
  /**
   * Maximum of bytes of replies, 256 MiB by default: replies that the client
   * has not taken, and the largest possible replies to the reads and calls in
   * progress. Above the limit further reads and calls wait, and so do later
   * requests on the same fids. All other requests continue. One read or call
   * alone may exceed the limit.
   *
   * The server reserves no memory for the reply to a request that waits for an
   * event; see `waitingAfter`. Such a reply uses the memory that is left. If
   * none is left, because the client does not take its replies, the request
   * fails with `Cannot allocate memory`.
   */
  maxReplyBytes?: number;
  /**
   * Milliseconds after which a request counts as one that waits for an event, 1
   * to 2^31 - 1, 50 by default; the actual time is up to twice as long. The
   * server then reserves no memory for its reply any more.
   */
  waitingAfter?: number;
  /**
   * Memory budget that the session shares with others, none by default. The
   * budget counts the requests of the session, the replies that its client has
   * not taken, its fids, and the bytes that files hold for it. listen() makes
   * one budget for all of its connections; see `maxMemory`. When the budget is
   * full, a session may still have requests of one message's size (`msize`),
   * one reply, and as much again that files hold for it.
   */
  memory?: Budget;
  /**
   * Maximum of bytes that files hold for the connection beyond one request, 64
   * MiB by default: contents that were made at an open, arguments and values of
   * calls. Above the limit a request fails with `Cannot allocate memory`.
   */
  maxHeldBytes?: number;
  /**
   * Maximum of bytes of a name, 255 by default, as on most systems. A request
   * with a longer name fails with `File name too long`.
   */
  maxName?: number;
  /**
   * Milliseconds within which a Tversion must start a session, 30,000 by
   * default; 0 for no limit. After that time the server closes the connection,
   * because an unused connection costs a socket.
   */
  versionTimeout?: number;
  /**
   * Milliseconds without a request after which the server closes the
   * connection; 0, no limit, by default. A client that waits for the reply to a
   * request is not idle.
   */
  idleTimeout?: number;
  /**
   * Milliseconds within which a client must take a sixteenth of the replies
   * that wait for it, 120,000 by default; 0 for no limit. Otherwise the server
   * closes the connection, even if requests are in progress.
   */
  stallTimeout?: number;
  /**
   * Milliseconds that the requests in progress have to finish when the server
   * stops, 1000 by default. After that time they are aborted. The client has
   * one further second to take the last replies.
   */
  closeTimeout?: number;
  /**
   * True to refuse requests that the manual forbids but common clients send:
   * walks from open fids, and undefined mode bits. False by default. Trees such
   * as MemoryFs have a `strict` option of their own.
   */
  strict?: boolean;
  /**
   * True to open a file at the first read, write or call on a fid that is not
   * open. Function files are always opened this way. False by default.
   */
  implicitOpen?: boolean;
  /**
   * Form of error texts: `text` by default, or `json` for the clients of
   * pyroute2. The error of a call is always JSON.
   */
  errors?: "text" | "json";
  /**
   * Called with each message in both directions, and with each malformed frame
   * of the client. See formatMessage().
   */
  onMessage?: (traced: TracedMessage | TracedFrame) => void;
  /**
   * Called with each error of a handler that is not a NinePError, and with a
   * ProtocolError when a connection fails. The client does not see the message
   * of such an error: it gets the text of the code of a system error such as
   * `ENOENT`, and `i/o error` for any other error. By default the errors whose
   * texts clients do not get are logged to the console, at most 10 per second,
   * each with a line of context. A last line has the number of omitted errors.
   */
  onError?: (error: unknown, context: ErrorContext) => void;
}

/** The options with their defaults. */
export type SessionSettings =
  & Required<Omit<SessionOptions, "onMessage" | "memory">>
  & Pick<SessionOptions, "onMessage">
  & {
    /** Ends the default log of errors, and stops its timer. */
    endLog: () => void;
  };

const DEFAULTS: Omit<SessionSettings, "onError" | "endLog"> = {
  msize: MSIZE_DEFAULT,
  maxFids: 65536,
  maxRequests: 65536,
  maxRequestBytes: 16 * 1024 * 1024,
  maxReplyBytes: 256 * 1024 * 1024,
  waitingAfter: 50,
  maxHeldBytes: 64 * 1024 * 1024,
  maxName: 255,
  versionTimeout: 30_000,
  idleTimeout: 0,
  stallTimeout: 120_000,
  closeTimeout: 1000,
  strict: false,
  implicitOpen: false,
  errors: "text",
};

/**
 * Returns the options with their defaults. Throws a RangeError or a TypeError
 * for an invalid option.
 */
export function settingsOf(options: SessionOptions): SessionSettings {
  const log = new ErrorLog();
  const settings: SessionSettings = {
    ...DEFAULTS,
    onError: (error, context) => log.report(error, context),
    endLog: () => log.end(),
  };
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) Object.assign(settings, { [name]: value });
  }
  const { onError } = settings;
  settings.onError = (error, context) => {
    try {
      onError(error, context);
    } catch {
      // An error of onError itself cannot be reported.
    }
  };
  const errors: unknown = settings.errors; // Of callers without types.
  if (errors !== "text" && errors !== "json") {
    throw new TypeError(`Cannot serve with errors ${errors}: text or json`);
  }
  checkRange(settings, "msize", MSIZE_MIN, 0xffffffff);
  checkRange(settings, "maxFids", 1, 0xffffffff);
  checkRange(settings, "maxRequests", 1, 0x10000);
  checkRange(settings, "maxRequestBytes", 1, Number.MAX_SAFE_INTEGER);
  checkRange(settings, "maxReplyBytes", 1, Number.MAX_SAFE_INTEGER);
  checkRange(settings, "waitingAfter", 1, 0x7fffffff);
  checkRange(settings, "maxHeldBytes", 1, Number.MAX_SAFE_INTEGER);
  checkRange(settings, "maxName", 1, 0xffff);
  checkRange(settings, "versionTimeout", 0, 0x7fffffff);
  checkRange(settings, "idleTimeout", 0, 0x7fffffff);
  checkRange(settings, "stallTimeout", 0, 0x7fffffff);
  checkRange(settings, "closeTimeout", 0, 0x7fffffff);
  return settings;
}

/** Throws unless a setting is a whole number from `least` to `most`. */
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
