// The sockets of a runtime, for dial() and listen(): one object for each
// runtime.

import type { Address } from "./address.ts";
import type { Connection, Listener, ListenerOptions } from "./connection.ts";

/** The sockets of a runtime. Its errors are passed on as they are. */
export interface Sockets {
  /** Connects; may stop early when `signal` aborts. */
  connect(address: Address, signal?: AbortSignal): Promise<Connection>;
  /** Listens, on all addresses of the machine as `0.0.0.0`. */
  listen(address: Address, options: ListenerOptions): Listener;
}
