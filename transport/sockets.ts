// What dial() and listen() need of a runtime: one object for each runtime.

import type { Address } from "./address.ts";
import type { Connection, Listener, ListenerOptions } from "./connection.ts";

/** What a runtime gives: its own errors come out as they are. */
export interface Sockets {
  /** Connects; may stop early when `signal` aborts. */
  connect(address: Address, signal?: AbortSignal): Promise<Connection>;
  /** Listens, on all addresses of the machine as `0.0.0.0`. */
  listen(address: Address, options: ListenerOptions): Listener;
}
