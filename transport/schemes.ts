// The table of transports: for each scheme of an address, the module that
// connects and listens. A module is loaded when it is first used, so that a
// program in a browser does not load sockets.

import type { Address } from "./address.ts";
import type {
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
} from "./connection.ts";

/**
 * The functions of a transport. They pass on the errors of the system as they
 * are. An error for what this runtime lacks is made by `unsupported()`.
 */
export interface Transport {
  /** Connects; may stop early when the signal aborts. */
  dial(address: Address, options: DialOptions): Promise<Connection>;
  /** Listens. */
  listen(address: Address, options: ListenerOptions): Promise<Listener>;
}

/** Loads the transport of each scheme. */
export const TRANSPORTS: {
  readonly [S in Address["scheme"]]: () => Promise<Transport>;
} = {
  // Deno, Bun, Node.
  tcp: () => import("./socket.ts"),
  tls: () => import("./socket.ts"),
  unix: () => import("./socket.ts"),
  stdio: () => import("./stdio.ts"),
  ws: () => import("./web.ts"),
  wss: () => import("./web.ts"),
  http: () => import("./web.ts"),
  https: () => import("./web.ts"),
};
