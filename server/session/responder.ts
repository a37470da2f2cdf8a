// The contract between a session and the program that answers its requests.

import type { Connection } from "../../transport.ts";
import type { FidNode } from "../fid.ts";
import type { FidHooks } from "../fids/releases.ts";
import type { Awaitable } from "../handler.ts";
import type { Operation } from "../requests/operation.ts";

/** Answers the operations of a session. */
export interface Responder<N extends FidNode> extends FidHooks<N> {
  /** Accepts a connection before its first request, or refuses it by an error. */
  connect(connection: Connection): Awaitable<void>;
  /** Called when an accepted connection has ended and all fids are released. */
  disconnect(connection: Connection): Awaitable<void>;
  /** Answers the operation, now or later. */
  deliver(operation: Operation<N>): void;
  /** Returns the largest msize for a version, at most `msize`. */
  msize(msize: number, version: string): number;
  /**
   * Called when an operation is cancelled. `ended` is true when its whole
   * session has ended.
   */
  flushed(operation: Operation<N>, ended: boolean): void;
}
