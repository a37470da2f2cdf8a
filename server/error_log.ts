// Where the errors of a server go when its owner has named no `onError`.

import { ProtocolError } from "../codec.ts";
import { quote } from "../codec/format.ts";
import { ProcessHold, type Timer } from "../transport/process_hold.ts";
import type { Fid, Node } from "./fid.ts";
import type { ErrorContext } from "./options.ts";

/** Errors that are logged within a second. */
const MOST = 10;
/** Milliseconds in which so many are logged. */
const WINDOW_MS = 1000;

/** The request that an error belongs to. */
export interface ErrorSource {
  /** Kind of the request, by its message. */
  readonly type?: string | undefined;
  /** Fid of the request. */
  readonly fid?: Fid | undefined;
}

/** Gathers what is known of an error. */
export function contextOf(
  peer: string,
  { type, fid }: ErrorSource,
): ErrorContext {
  // An attach that failed has no node yet.
  const node: Node | undefined = fid?.node;
  const path = node?.path;
  return {
    peer,
    ...(type === undefined ? {} : { request: type }),
    ...(fid === undefined ? {} : { uname: fid.uname }),
    ...(path === undefined ? {} : { path }),
  };
}

/** Logs errors to the console, a bounded number in a second: a client may be able to cause them at will. */
export class ErrorLog {
  #logged = 0;
  #leftOut = 0;
  readonly #hold = new ProcessHold();
  #timer: Timer | undefined;
  #windowEnd = 0;

  /** Makes a log whose timer does not keep the process alive. */
  constructor() {
    this.#hold.unref();
  }

  /** Logs an error with what it belongs to. That a connection died is no error of the server; an error of a listener has no peer. */
  report(error: unknown, context: ErrorContext): void {
    if (error instanceof ProtocolError && context.peer !== undefined) return;
    const now = performance.now();
    if (now >= this.#windowEnd && this.#timer === undefined) {
      this.#windowEnd = now + WINDOW_MS;
      this.#logged = 0;
    }
    if (this.#logged < MOST) {
      this.#logged++;
      // The stack of a listener's error leads nowhere. And Deno, which needs a
      // file to make a stack, ends the process when the system has none left.
      const shown = error instanceof ProtocolError ? error.message : error;
      console.error(`${lineOf(context)}\n`, shown);
      return;
    }
    this.#leftOut++;
    this.#timer ??= this.#hold.after(
      this.#windowEnd - now,
      () => this.#tellLeftOut(),
    );
  }

  /** Tells of the errors that were left out so far, and leaves no timer. */
  end(): void {
    if (this.#timer === undefined) return;
    this.#hold.cancel(this.#timer);
    this.#tellLeftOut();
  }

  #tellLeftOut(): void {
    const errors = this.#leftOut === 1 ? "error" : "errors";
    console.error(`9P server: ${this.#leftOut} further ${errors} left out`);
    this.#leftOut = 0;
    this.#timer = undefined;
    this.#windowEnd = 0;
  }
}

/** What an error belongs to, in one line; texts of clients cannot break it. */
function lineOf({ peer, request, uname, path }: ErrorContext): string {
  let line = `9P server: ${request ?? "error"}`;
  if (path !== undefined) line += ` of ${quote(path)}`;
  if (uname !== undefined) line += ` by ${quote(uname)}`;
  if (peer !== undefined) line += ` from ${peer}`;
  return line;
}
