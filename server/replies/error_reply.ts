// The text of an Rerror, in its two forms.

import {
  ENAME_MAX,
  FunctionError,
  NinePError,
  Plan9Exit,
} from "../../codec.ts";
import { encodeEnvelope, envelopeOf } from "../../codec/call.ts";
import { cutUtf8 } from "../../codec/wire.ts";

/**
 * Returns true for a NinePError with a text. An object that cannot be examined
 * is not one: a Proxy may throw, and an object of a subclass may have no text.
 */
export function isForClient(error: unknown): error is NinePError {
  try {
    return error instanceof NinePError && typeof error.ename === "string";
  } catch {
    return false;
  }
}

/** The reply for an error. */
export interface ErrorReply {
  /** Text of the Rerror. */
  readonly ename: string;
  /** True when the connection ends after the reply. */
  readonly exits: boolean;
}

/**
 * Makes the reply for an error. It never throws.
 *
 * @param asJson True for the JSON that callers of functions expect.
 * @param most Maximum of bytes of the text.
 */
export function errorReply(
  error: NinePError,
  asJson: boolean,
  most: number,
): ErrorReply {
  try {
    const ename = asJson ? jsonText(error, most) : plainText(error, most);
    return { ename, exits: error instanceof Plan9Exit };
  } catch {
    // A program without type checks has made an error without its texts.
    return { ename: "i/o error", exits: false };
  }
}

/**
 * Returns the text as one line of at most `most` bytes, and of at most
 * ENAME_MAX bytes, which every client accepts.
 */
function plainText(error: NinePError, most: number): string {
  const text = error instanceof FunctionError
    ? error.str.split("\n", 1)[0]
    : error.ename;
  // Characters that cannot be encoded are replaced, so that the error does not
  // end the connection.
  const clean = text.toWellFormed().replaceAll("\0", "\ufffd");
  return cutUtf8(clean, Math.min(ENAME_MAX, most)) || "i/o error";
}

/**
 * Returns the error as the JSON that callers of functions expect, of at most
 * `most` bytes.
 */
function jsonText(error: NinePError, most: number): string {
  return encodeEnvelope(envelopeOf(error), most);
}
