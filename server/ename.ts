// The text of an Rerror, in its two forms.

import { ENAME_MAX, FunctionError, type NinePError } from "../codec.ts";
import { encodeEnvelope, envelopeOf } from "../codec/call.ts";
import { cutUtf8 } from "../codec/wire.ts";

/** One line that every client takes: of at most `most` bytes, and 126. */
export function textOf(error: NinePError, most: number): string {
  const text = error instanceof FunctionError
    ? error.str.split("\n", 1)[0]
    : error.ename;
  // What the wire cannot carry must not cost more than this request.
  const clean = text.toWellFormed().replaceAll("\0", "\ufffd");
  return cutUtf8(clean, Math.min(ENAME_MAX, most)) || "i/o error";
}

/** The JSON that callers of functions expect, of at most `most` bytes. */
export function jsonOf(error: NinePError, most: number): string {
  return encodeEnvelope(envelopeOf(error), most);
}
