// The contract between a session and the program that answers its requests.

import type { FidState, Node } from "./fid.ts";
import type { Awaitable } from "./handler.ts";
import type { Operation } from "./operation.ts";

/** Answers a session's operations. */
export interface Responder<N extends Node> {
  /** Has the operation answered. */
  deliver(operation: Operation<N>): void;
  /** Releases a fid that is gone without a Tclunk or Tremove. */
  release(fid: FidState<N>): Awaitable<void>;
  /** The largest msize for a version, which the responder may lower. */
  msize(msize: number, version: string): number;
  /** Is told of an operation that is given up: alone, or with all of its session. */
  flushed(operation: Operation<N>, ended: boolean): void;
}
