// The sockets of a runtime, for dial() and listen(): one object for each
// runtime.

import type { TcpAddress, UnixAddress } from "./address.ts";
import type {
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
} from "./connection.ts";

/**
 * Milliseconds of silence after which the system asks whether the peer of a TCP
 * connection is still there.
 */
export const KEEP_ALIVE_MS: number = 60_000;

/** An address of a socket. */
export type SocketAddress = TcpAddress | UnixAddress;

/** The sockets of a runtime. Its errors are passed on as they are. */
export interface Sockets {
  /** Connects; may stop early when the signal aborts. */
  connect(address: SocketAddress, options: DialOptions): Promise<Connection>;
  /** Listens. */
  listen(
    address: SocketAddress,
    options: ListenerOptions,
  ): Listener | Promise<Listener>;
}

/** Tells whether this runtime has the modules of Node. */
export function hasNodeModules(): boolean {
  // A cast is needed, because the types of Node are a package.
  const { process } = globalThis as unknown as {
    process?: { getBuiltinModule?(name: string): unknown };
  };
  return process?.getBuiltinModule?.("node:net") !== undefined;
}
