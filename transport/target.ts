// What a program may give in the place of a connection.

import { badAddress } from "./failure.ts";
import type { Connection } from "./connection.ts";

/**
 * One end of a way to the peer, for `connect()` and `serve()`: a
 * {@linkcode Connection}.
 */
export type Target = Connection;

/**
 * Returns the connection of a target.
 *
 * @param attempt What the caller does, for the error: `connect to` or `serve`.
 * @param target The target; a caller without types may pass anything.
 * @throws {TypeError} The target is none.
 */
export function connectionOf(attempt: string, target: Target): Connection {
  const value: unknown = target;
  if (typeof value === "object" && value !== null) {
    if ("readable" in value && "writable" in value) return target;
  }
  throw badAddress(
    `Cannot ${attempt} ${value}: it is neither an address nor a connection`,
  );
}
