// The contract between a session and the program that answers its requests.

import type { Connection } from "../transport.ts";
import type { FidState, Node } from "./fid.ts";
import type { Awaitable, RequestContext } from "./handler.ts";
import type { Operation } from "./operation.ts";

/** Answers a session's operations. */
export interface Responder<N extends Node> {
  /** Accepts a connection before its first request, or refuses it by an error. */
  connect(connection: Connection): Awaitable<void>;
  /** Called when an accepted connection has ended and all is released. */
  disconnect(connection: Connection): Awaitable<void>;
  /** Answers the operation, now or later. */
  deliver(operation: Operation<N>): void;
  /** Releases a fid that ended without a Tclunk or Tremove. */
  release(fid: FidState<N>, context: RequestContext<N>): Awaitable<void>;
  /** Ends the use of a file by a fid that moves. */
  leave(fid: FidState<N>): Awaitable<void>;
  /** Whether {@linkcode releaseNode} does anything. */
  readonly releases: boolean;
  /** Lets go of a node that no fid stands for. */
  releaseNode(node: N): Awaitable<void>;
  /** Returns the largest msize for a version, at most `msize`. */
  msize(msize: number, version: string): number;
  /**
   * Called when an operation is given up: alone, or with its whole session
   * (`ended`).
   */
  flushed(operation: Operation<N>, ended: boolean): void;
}
