// The text of an Rerror, in its two forms.

import { ENAME_MAX, FunctionError, NinePError } from "../../codec.ts";
import { encodeEnvelope, envelopeOf, Plan9Exit } from "../../codec/call.ts";
import { cutUtf8 } from "../../codec/wire.ts";

/**
 * Recognizes a NinePError. What cannot be examined is none: a Proxy may throw,
 * and an object of a subclass may have no text.
 */
export function isForClient(error: unknown): error is NinePError {
  try {
    return error instanceof NinePError && typeof error.ename === "string";
  } catch {
    return false;
  }
}

/** How a client is told about an error. */
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
 * @param most Most bytes of the text.
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
    // A caller without types made an error without its texts.
    return { ename: "i/o error", exits: false };
  }
}

/** One line that every client takes: of at most `most` bytes, and 126. */
function plainText(error: NinePError, most: number): string {
  const text = error instanceof FunctionError
    ? error.str.split("\n", 1)[0]
    : error.ename;
  // What the wire cannot carry must not cost more than this request.
  const clean = text.toWellFormed().replaceAll("\0", "\ufffd");
  return cutUtf8(clean, Math.min(ENAME_MAX, most)) || "i/o error";
}

/** The JSON that callers of functions expect, of at most `most` bytes. */
function jsonText(error: NinePError, most: number): string {
  return encodeEnvelope(envelopeOf(error), most);
}
