// What the owner of a server is told about errors: the facts, and the log for a
// server without an `onError`.

import { ProtocolError } from "../codec.ts";
import { quote } from "../codec/format.ts";
import { RefGroup, type Timer } from "../transport/ref_group.ts";
import type { Fid, Node } from "./fid.ts";

/** Most errors that are logged in one window of time. */
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
  /** Path of the file of the request's fid, if the tree knows it. */
  readonly path?: string;
  /**
   * True for an error that the client was told about: a NinePError of a
   * function, or an error of the system such as `ENOENT`. The default log
   * leaves it out.
   */
  readonly expected?: boolean;
}

/** The request that an error belongs to. */
export interface ErrorSource {
  /** Type of the request's message, such as `Tread`. */
  readonly type?: string | undefined;
  /** Fid of the request. */
  readonly fid?: Fid | undefined;
  /** True for an error that is an answer to the client. */
  readonly expected?: boolean;
}

/** Collects the known facts about an error. */
export function contextOf(
  peer: string,
  { type, fid, expected = false }: ErrorSource,
): ErrorContext {
  // An attach that failed has no node yet.
  const node: Node | undefined = fid?.node;
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
 * Logs errors to the console. The number of errors a second is bounded, because
 * a client may be able to cause errors at will.
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
   * Logs an error with its context. The end of a connection is not logged: it
   * is no error of the server. Nor is an error that is an answer to the client.
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
      // The stack of a listener's error leads nowhere. And Deno, which needs a
      // file to make a stack, ends the process when the system has none left.
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

  /** Tells of the errors that were left out so far, and leaves no timer. */
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
 * The context of an error in one line. Names that clients choose are quoted, so
 * that they cannot break the line.
 */
function lineOf({ peer, request, uname, path }: ErrorContext): string {
  let line = `9P server: ${request ?? "error"}`;
  if (path !== undefined) line += ` of ${quote(path)}`;
  if (uname !== undefined) line += ` by ${quote(uname)}`;
  if (peer !== undefined) line += ` from ${peer}`;
  return line;
}
