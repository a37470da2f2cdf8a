// The two errors of the protocol.

import { codeOf } from "./error_table.ts";

/** Options of a {@linkcode NinePError}. */
export interface NinePErrorOptions {
  /** Code such as `ENOENT`; found by the text when it is not given. */
  code?: string | undefined;
  /** Message for people; `ename` by default. */
  message?: string | undefined;
  /** Kind of the request that it answers, such as `Topen`. */
  request?: string | undefined;
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * An error that the peer answered with, or that a handler answers with: an
 * Rerror. See `error(9P)`.
 *
 * @example Told apart by its code
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { NinePError } from "@ninep/ninep";
 *
 * const error = new NinePError("file does not exist");
 * assertEquals(error.code, "ENOENT");
 * ```
 */
export class NinePError extends Error {
  /** Text on the wire, exactly. */
  readonly ename: string;
  /** Code such as `ENOENT`; undefined for a text that is not known. */
  readonly code: string | undefined;
  /**
   * Kind of the request that it answers, such as `Topen`; undefined when it
   * answers no request.
   */
  readonly request: string | undefined;

  /**
   * Makes an error for a text.
   *
   * @param ename Text on the wire, such as `permission denied`.
   * @param options Code, message and cause.
   */
  constructor(ename: string, options: NinePErrorOptions = {}) {
    super(
      options.message ?? ename,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "NinePError";
    this.ename = ename;
    this.code = options.code ?? codeOf(ename);
    this.request = options.request;
  }
}

/** Options of a {@linkcode ProtocolError}. */
export interface ProtocolErrorOptions {
  /** Code of the system's error, such as `ECONNREFUSED`. */
  code?: string | undefined;
  /** The error that led to this one. */
  cause?: unknown;
}

/** The peer broke the rules of the protocol, or the stream died. */
export class ProtocolError extends Error {
  /** Code of the system's error, such as `ECONNREFUSED`, if there is one. */
  readonly code: string | undefined;

  /**
   * Makes an error.
   *
   * @param message What was attempted, a colon, the detail.
   * @param options Code and cause.
   */
  constructor(message: string, options: ProtocolErrorOptions = {}) {
    super(
      message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "ProtocolError";
    this.code = options.code;
  }
}
