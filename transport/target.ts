// What a program may give in the place of a connection.

import { badAddress } from "./failure.ts";
import type { Connection } from "./connection.ts";
import { fromPort, type MessageTarget } from "./message_port.ts";
import { fromWebSocket, type WebSocketLike } from "./web_socket.ts";

/**
 * One end of a way to the peer, for `connect()` and `serve()`: a
 * {@linkcode Connection}, a `WebSocket`, a `MessagePort`, a `Worker`, or `self` in
 * a worker.
 */
export type Target = Connection | MessageTarget | WebSocketLike;

/**
 * Returns the connection of a target.
 *
 * @param attempt What the caller does, for the error: `connect to` or `serve`.
 * @param target The target; a caller without types may pass anything.
 * @throws {TypeError} The target is none.
 */
export function connectionOf(attempt: string, target: Target): Connection {
  if (typeof target === "object" && target !== null) {
    if ("readable" in target && "writable" in target) return target;
    if ("postMessage" in target) return fromPort(target);
    if ("binaryType" in target) return fromWebSocket(target);
  }
  throw badAddress(
    `Cannot ${attempt} ${target}: it is neither an address nor a connection`,
  );
}
