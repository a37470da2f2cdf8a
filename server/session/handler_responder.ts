// Answers the requests of a session with a handler.

import type { Connection } from "../../transport.ts";
import type { FidNode } from "../fid.ts";
import type { FidState } from "../fids/fid_state.ts";
import type { Awaitable, Handler, RequestContext } from "../handler.ts";
import { releaseFid } from "../requests/9p2000/clunk.ts";
import type { Operation } from "../requests/operation.ts";
import type { Responder } from "./responder.ts";

/** Calls the functions of a handler. A synchronous answer needs no promise. */
export class HandlerResponder<N extends FidNode> implements Responder<N> {
  readonly #handler: Handler<N>;
  /** True when the handler has a release(). */
  readonly releases: boolean;

  constructor(handler: Handler<N>) {
    this.#handler = handler;
    this.releases = handler.release !== undefined;
  }

  connect(connection: Connection): Awaitable<void> {
    return this.#handler.connect?.(connection);
  }

  disconnect(connection: Connection): Awaitable<void> {
    return this.#handler.disconnect?.(connection);
  }

  deliver(operation: Operation<N>): void {
    let answer: unknown;
    try {
      answer = operation.request.ask(this.#handler);
    } catch (error) {
      operation.error(error);
      return;
    }
    if (answer instanceof Promise) {
      answer.then(
        (value) => operation.respond(value),
        (error) => operation.error(error),
      );
    } else {
      operation.respond(answer);
    }
  }

  release(fid: FidState<N>, context: RequestContext<N>): Awaitable<void> {
    return releaseFid(fid, this.#handler, context);
  }

  leave(fid: FidState<N>): Awaitable<void> {
    return this.#handler.leave?.(fid);
  }

  releaseNode(node: N): Awaitable<void> {
    return this.#handler.release?.(node);
  }

  msize(msize: number, version: string): number {
    return this.#handler.version?.(msize, version) ?? msize;
  }

  flushed(operation: Operation<N>): void {
    this.#handler.flush?.(operation.request);
  }
}
