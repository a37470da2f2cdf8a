// Brands of errors: how the client tells its own errors apart. A message is for
// readers, so that no code looks into it.

/** A request could not be encoded, or is longer than the session's msize. */
export const UNSENDABLE: unique symbol = Symbol("unsendable");

/** One reply breaks the protocol; the connection goes on. */
export const MALFORMED_REPLY: unique symbol = Symbol("malformed reply");

/** The message says what was attempted, and with what. */
export const COMPLETE: unique symbol = Symbol("complete");

/** A brand of an error. */
export type Brand =
  | typeof UNSENDABLE
  | typeof MALFORMED_REPLY
  | typeof COMPLETE;

/** Brands an error, and returns it. The brand does not show when the error is printed. */
export function branded<E extends Error>(error: E, brand: Brand): E {
  return Object.defineProperty(error, brand, { value: true });
}

/** Tells whether an error has a brand. */
export function hasBrand(error: Error, brand: Brand): boolean {
  return brand in error;
}

/**
 * Makes the error for an argument that is out of its range, or for a result that
 * exceeds a limit of the caller.
 *
 * @param message What was attempted, a colon, and the detail.
 */
export function rangeError(message: string, cause?: unknown): RangeError {
  const options = cause === undefined ? undefined : { cause };
  return branded(new RangeError(message, options), COMPLETE);
}
