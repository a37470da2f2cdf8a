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
  /** Not set. */
  readonly error?: undefined;
}

/** A frame of the client's that is no message; it was answered with an error. */
export interface TracedFrame extends TraceContext {
  /** Always from the client. */
  readonly direction: "in";
  /** Not set. */
  readonly message?: undefined;
  /** The error in the frame. */
  readonly error: ProtocolError;
  /** All of its bytes: a view that lives until the hook returns. */
  readonly frame: Uint8Array;
}

/** Options of a session: its limits and choices. */
export interface SessionOptions {
  /** Largest message in bytes, 256 or more; 1 MiB and 24 bytes by default. */
  msize?: number;
  /**
   * Most fids at a time, 65536 by default. A further fid gets `Too many open
   * files`.
   */
  maxFids?: number;
  /**
   * Most requests under way at a time, 1 to 65536, 65536 by default: requests
   * that a handler processes, requests that wait for an event or for their fid,
   * and flushed requests whose handlers go on. A further request is refused
   * with `Too many open files`. A Tclunk, a Tremove, a Tflush and a Tversion
   * are never refused.
   */
  maxRequests?: number;
  /**
   * Most bytes of requests under way, and of flushed ones whose handlers go on,
   * 16 MiB by default; the data of up to 16 requests that have begun do not
   * count. Beyond it the server stops reading from the client as long as
   * requests are answered. When no request was answered for 20 times
   * `waitingAfter`, the server reads on, and refuses requests of more than 512
   * bytes with `Cannot allocate memory`.
   */
  maxRequestBytes?: number;
  /**
   * Most bytes of replies, 256 MiB by default: those that the client has not
   * taken, and the largest answers of the reads and calls under way. Beyond it
   * further reads and calls wait, and so do later requests on the same fids.
   * All other requests go on. One read or call alone may exceed the limit.
   *
   * The server keeps no room for the answer of a request that waits for an
   * event; see `waitingAfter`. Such an answer takes the room that is left. If
   * there is none, because the client does not take its replies, the request
   * fails with `Cannot allocate memory`.
   */
  maxReplyBytes?: number;
  /**
   * Milliseconds after which a request counts as one that waits for an event, 1
   * to 2^31 - 1, 50 by default; the actual time is up to twice as long. The
   * server then keeps no room for its answer any more.
   */
  waitingAfter?: number;
  /**
   * Memory budget that the session shares with others, none by default. It
   * counts the requests of the session, the replies that its client has not
   * taken, its fids, and what files hold for it. listen() makes one budget for
   * all of its connections; see `maxMemory`. When the budget is full, a session
   * may still have requests of one message's size (`msize`), one reply, and as
   * much again that files hold for it.
   */
  memory?: Budget;
  /**
   * Most bytes that files may hold for the connection beyond one request, 64
   * MiB by default: contents that were made at an open, arguments and values of
   * calls. Beyond it a request fails with `Cannot allocate memory`.
   */
  maxHeldBytes?: number;
  /** Most bytes of a name, 255 by default, as on most hosts. Beyond it `File name too long`. */
  maxName?: number;
  /**
   * Most milliseconds without a session, until a Tversion starts one, 30,000 by
   * default, because a silent connection costs a socket; 0 for no limit. Beyond
   * it the connection is closed.
   */
  versionTimeout?: number;
  /**
   * Most milliseconds without a request while none is under way; 0, no limit,
   * by default. Beyond it the connection is closed. A client that waits for the
   * answer to a request is not idle.
   */
  idleTimeout?: number;
  /**
   * Most milliseconds in which a client takes less than a sixteenth of the
   * replies that wait for it, 120,000 by default; 0 for no limit. Beyond it the
   * connection is closed, even if requests are under way.
   */
  stallTimeout?: number;
  /**
   * Most milliseconds that requests which are under way have to finish when the
   * session is stopped, 1000 by default. Then they are aborted. The client has
   * one second more to take the last replies.
   */
  closeTimeout?: number;
  /**
   * Refuse requests that the manual forbids and usual clients send: walks from
   * open fids, undefined mode bits. False by default. A tree has such an option
   * of its own, as MemoryFs does.
   */
  strict?: boolean;
  /** Open a file at the first read, write or call of a fid that is not open; function files always do. False by default. */
  implicitOpen?: boolean;
  /** Form of error texts: `json` for servers whose clients are pyroute2's; `text` by default. A failed call is always JSON. */
  errors?: "text" | "json";
  /**
   * Called with each message, in both directions, and with each frame that is
   * no message; see formatMessage(). Without it, tracing costs nothing.
   */
  onMessage?: (traced: TracedMessage | TracedFrame) => void;
  /**
   * Called with the errors of handlers other than NinePError, and with
   * connections that die (as ProtocolError). Clients see none of their
   * messages: an error of the system, such as one with the code `ENOENT`,
   * becomes the text of its code, any other error `i/o error`. By default the
   * errors that clients are not told about go to the console, at most 10 a
   * second, each after a line with its context. A last line has the number of
   * errors that were left out.
   */
  onError?: (error: unknown, context: ErrorContext) => void;
}

/** The options with their defaults. */
export type SessionSettings =
  & Required<Omit<SessionOptions, "onMessage" | "memory">>
  & Pick<SessionOptions, "onMessage">
  & {
    /** Ends the log of errors, if there is one, and its timer. */
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

/** Adds the defaults; throws a RangeError or a TypeError for what cannot be. */
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
