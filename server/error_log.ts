// The context of reported errors, and the default log of a server without an
// `onError`.

import { ProtocolError } from "../codec.ts";
import { quote } from "../codec/format.ts";
import { RefGroup, type Timer } from "../transport/ref_group.ts";
import type { Fid, FidNode } from "./fid.ts";

/** Maximum of errors that are logged in one window of time. */
const ERRORS_MAX = 10;
/** Length of the window in milliseconds. */
const WINDOW_MS = 1000;

/** The known facts about an error. */
export interface ErrorContext {
  /** Label of the client's end; undefined for an error of a listener. */
  readonly peer?: string;
  /** Type of the request's message, such as `Tread`. */
  readonly request?: string;
  /** User of the request's fid. */
  readonly uname?: string;
  /** Path of the fid's file, if the tree knows it. */
  readonly path?: string;
  /**
   * True for an error that was sent to the client: a NinePError of a function,
   * or a system error such as `ENOENT`. The default log omits such errors.
   */
  readonly expected?: boolean;
}

/** The request that an error belongs to. */
export interface ErrorSource {
  /** Type of the request's message, such as `Tread`. */
  readonly type?: string | undefined;
  /** Fid of the request. */
  readonly fid?: Fid | undefined;
  /** True for an error that is sent to the client. */
  readonly expected?: boolean;
}

/** Collects the known facts about an error. */
export function contextOf(
  peer: string,
  { type, fid, expected = false }: ErrorSource,
): ErrorContext {
  // An attach that failed has no node yet.
  const node: FidNode | undefined = fid?.node;
  const path = node?.path;
  return {
    peer,
    ...(type === undefined ? {} : { request: type }),
    ...(fid === undefined ? {} : { uname: fid.uname }),
    ...(path === undefined ? {} : { path }),
    ...(expected ? { expected } : {}),
  };
}

/**
 * Logs errors to the console. The number of errors per second is limited,
 * because a client may be able to cause any number of errors.
 */
export class ErrorLog {
  #logged = 0;
  #omitted = 0;
  readonly #refs = new RefGroup();
  #timer: Timer | undefined;
  #windowEnd = 0;

  /** Makes a log whose timer does not keep the process alive. */
  constructor() {
    this.#refs.unref();
  }

  /**
   * Logs an error with its context. The log omits the ends of connections,
   * which are not errors of the server, and errors that were sent to the
   * client.
   */
  report(error: unknown, context: ErrorContext): void {
    if (context.expected) return;
    if (error instanceof ProtocolError && context.peer !== undefined) return;
    const now = performance.now();
    if (now >= this.#windowEnd && this.#timer === undefined) {
      this.#windowEnd = now + WINDOW_MS;
      this.#logged = 0;
    }
    if (this.#logged < ERRORS_MAX) {
      this.#logged++;
      // Only the message: the stack of a listener's error says nothing useful.
      // Deno also opens a file to format a stack, and ends the process when no
      // file descriptor is left.
      const shown = error instanceof ProtocolError ? error.message : error;
      console.error(`${lineOf(context)}\n`, shown);
      return;
    }
    this.#omitted++;
    this.#timer ??= this.#refs.after(
      this.#windowEnd - now,
      () => this.#reportOmitted(),
    );
  }

  /** Logs the number of omitted errors, and stops the timer. */
  end(): void {
    if (this.#timer === undefined) return;
    this.#refs.cancel(this.#timer);
    this.#reportOmitted();
  }

  #reportOmitted(): void {
    const errors = this.#omitted === 1 ? "error" : "errors";
    console.error(`9P server: ${this.#omitted} further ${errors} left out`);
    this.#omitted = 0;
    this.#timer = undefined;
    this.#windowEnd = 0;
  }
}

/**
 * Formats the context of an error as one line. Names that clients choose are
 * quoted, so that they cannot break the line.
 */
function lineOf({ peer, request, uname, path }: ErrorContext): string {
  let line = `9P server: ${request ?? "error"}`;
  if (path !== undefined) line += ` of ${quote(path)}`;
  if (uname !== undefined) line += ` by ${quote(uname)}`;
  if (peer !== undefined) line += ` from ${peer}`;
  return line;
}
