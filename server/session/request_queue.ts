// Queues the requests of a session for a loop.

import { NinePError } from "../../codec.ts";
import type { Fid, FidNode } from "../fid.ts";
import type { FidState } from "../fids/fid_state.ts";
import type { SessionRequest } from "../handler.ts";
import type { Operation } from "../requests/operation.ts";
import type { Request } from "../requests/request.ts";
import type { Responder } from "./responder.ts";

/**
 * The queue is shortened when more than this many of its requests were taken.
 */
const TAKEN_MAX = 1024;

/** Callbacks for a program that takes requests from a queue. */
export interface QueueHooks<N extends FidNode> {
  /** Called with each fid that ends without a Tclunk or Tremove that the loop has seen. */
  onRelease?: (fid: Fid<N>) => void;
  /** Called with each node that no fid stands for any more. */
  onReleaseNode?: (node: N) => void;
}

/** A queue of requests, from which a loop takes them. */
export class RequestQueue<N extends FidNode> implements Responder<N> {
  /** All requests in order of arrival, withdrawn ones included. */
  #queue: Request<N>[] = [];
  /**
   * Number of requests at the head of the queue that were taken or withdrawn.
   */
  #taken = 0;
  /** Requests that the loop has not taken. */
  readonly #waiting: Set<Request<N>> = new Set();
  readonly #onRelease: ((fid: Fid<N>) => void) | undefined;
  readonly #onReleaseNode: ((node: N) => void) | undefined;
  #wake: (() => void) | undefined;
  #done = false;

  constructor({ onRelease, onReleaseNode }: QueueHooks<N>) {
    this.#onRelease = onRelease;
    this.#onReleaseNode = onReleaseNode;
  }

  connect(): void {}

  disconnect(): void {}

  deliver(operation: Operation<N>): void {
    this.#queue.push(operation.request);
    this.#waiting.add(operation.request);
    this.#wake?.();
  }

  release(fid: FidState<N>): void {
    this.#onRelease?.(fid);
  }

  leave(): void {}

  get releases(): boolean {
    return this.#onReleaseNode !== undefined;
  }

  releaseNode(node: N): void {
    this.#onReleaseNode?.(node);
  }

  msize(msize: number): number {
    return msize;
  }

  /**
   * Withdraws a request that the loop has not taken. A request that ends its
   * fid stays, because the fid is gone already.
   */
  flushed({ request }: Operation<N>, ended: boolean): void {
    if (!this.#waiting.has(request)) return;
    const { endsFid } = request;
    if (endsFid && !ended) return;
    this.#waiting.delete(request);
    request.error(new NinePError("Interrupted system call"));
    if (endsFid) this.release(request.fid);
  }

  end(): void {
    this.#done = true;
    this.#wake?.();
  }

  async next(): Promise<SessionRequest<N> | undefined> {
    while (this.#waiting.size === 0 && !this.#done) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const request = this.#take();
    if (request === undefined) return undefined;
    const { type, tag, fid, data } = request;
    // The cast is sound: each class of requests returns the data of its type.
    return {
      type,
      tag,
      fid,
      context: request,
      ...data,
      respond: (answer: unknown) => request.respond(answer),
      error: (error: unknown) => request.error(error),
    } as SessionRequest<N>;
  }

  #take(): Request<N> | undefined {
    let taken: Request<N> | undefined;
    while (taken === undefined && this.#taken < this.#queue.length) {
      const request = this.#queue[this.#taken++];
      if (this.#waiting.delete(request)) taken = request;
    }
    const isLong = this.#taken > TAKEN_MAX;
    if (this.#taken === this.#queue.length) this.#queue = [];
    else if (isLong && 2 * this.#taken > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#taken);
    } else return taken;
    this.#taken = 0;
    return taken;
  }
}
