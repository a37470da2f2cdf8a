// The two ways to serve a connection: a session, which is a loop over its
// requests, and serve(), which puts a handler behind it.

import { NinePError } from "../codec.ts";
import type { Connection } from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import { SessionCore } from "./core.ts";
import { BornFids, type Fid, type FidState, type Node } from "./fid.ts";
import { release } from "./fid_operations.ts";
import type {
  Awaitable,
  Handler,
  RequestContext,
  Servable,
  SessionRequest,
} from "./handler.ts";
import type { Operation } from "./operation.ts";
import type { SessionOptions } from "./options.ts";
import type { Request } from "./request.ts";
import type { Responder } from "./responder.ts";

/** Asks a handler; an answer that is there at once costs no promise. */
class HandlerResponder<N extends Node> implements Responder<N> {
  readonly #handler: Handler<N>;

  constructor(handler: Handler<N>) {
    this.#handler = handler;
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
    return release(fid, this.#handler, context);
  }

  leave(fid: FidState<N>): Awaitable<void> {
    return this.#handler.leave?.(fid);
  }

  get releases(): boolean {
    return this.#handler.release !== undefined;
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

/**
 * Serves one connection with a handler, until it ends.
 *
 * @param connection Connection to a client; it is closed in the end.
 * @param handler What to serve: a handler object, or a tree such as a MemoryFs.
 * @param options Limits and choices of the session.
 * @returns When the connection has ended, all fids are released and the
 *   handler's disconnect() is done. It does not reject when the client breaks
 *   the rules or vanishes; `onError` is told.
 * @throws {RangeError} A limit is out of its range.
 *
 * @example Two ends in one process
 * ```ts
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const [here, there] = pair();
 * const served = serve(there, new MemoryFs({ motd: "hello\n" }));
 * const client = await connect(here);
 * assertEquals(await client.readTextFile("motd"), "hello\n");
 * await client.close();
 * await served;
 * ```
 */
export function serve<N extends Node>(
  connection: Connection,
  handler: Handler<N> | Servable<N>,
  options: ServeOptions = {},
): Promise<void> {
  return serveWith(connection, handler, options, new RefGroup());
}

/**
 * Serves as {@linkcode serve} does. `refs` decides whether the connection keeps
 * the process alive.
 */
export async function serveWith<N extends Node>(
  connection: Connection,
  handler: Handler<N> | Servable<N>,
  options: ServeOptions,
  refs: RefGroup,
): Promise<void> {
  const { signal } = options;
  const asked = "handler" in handler ? handler.handler : handler;
  const responder = new HandlerResponder(asked);
  const core = new SessionCore(connection, options, responder, refs);
  refs.add(connection);
  const stop = () => core.stop(true);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  try {
    await core.run();
  } finally {
    signal?.removeEventListener("abort", stop);
    refs.delete(connection);
    core.options.endLog();
  }
}

/** Options of {@linkcode serve}. */
export interface ServeOptions extends SessionOptions {
  /** Ends the connection when it is aborted. */
  signal?: AbortSignal | undefined;
}

/**
 * The queue drops the requests that were taken when their number exceeds this.
 */
const TAKEN_MAX = 1024;

/** A queue of requests, from which a loop takes them. */
class RequestQueue<N extends Node> implements Responder<N> {
  /** All requests in order of arrival, withdrawn ones included. */
  #queue: Request<N>[] = [];
  /** Number of requests at the head of the queue that the loop has passed. */
  #taken = 0;
  /** Requests that the loop has not taken. */
  readonly #waiting: Set<Request<N>> = new Set();
  readonly #onRelease: ((fid: Fid<N>) => void) | undefined;
  readonly #onReleaseNode: ((node: N) => void) | undefined;
  #wake: (() => void) | undefined;
  #done = false;

  constructor({ onRelease, onReleaseNode }: SessionLoopOptions<N>) {
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

  /** What the loop has not seen never happens, but for the ends of fids, which are gone already. */
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
    // Sound: each class of request gives the data of its type.
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

/** Options of a {@linkcode Session}. */
export interface SessionLoopOptions<N extends Node = Node>
  extends SessionOptions {
  /**
   * Told of each fid that ends without a Tclunk or Tremove that the loop has
   * seen: with a new session of the client's, or with the connection.
   */
  onRelease?: (fid: Fid<N>) => void;
  /**
   * Told of each node that the loop has given, once for each time, when no fid
   * stands for it any more: nodes that a walk has passed, the directory of a
   * fid that a create has moved to the new file.
   */
  onReleaseNode?: (node: N) => void;
}

/**
 * A connection of a server as a loop over its requests: what serve() stands
 * on, for programs that answer requests themselves.
 *
 * The session owns the protocol: versions, tags, fids, flush and all checks of
 * the manual. What it gives is legal and must be answered exactly once, with
 * respond() or error(), at any time and in any order. Leaving the loop ends
 * the connection.
 *
 * @example A server of one empty directory
 * ```ts
 * import { connect, type Node, NinePError, pair, Session } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const root: Node = { qid: { type: 0x80, vers: 0, path: 0n } };
 * const [here, there] = pair();
 *
 * async function run() {
 *   for await (const request of new Session<Node>(there)) {
 *     if (request.type === "Tattach") request.respond({ node: root });
 *     else if (request.type === "Tclunk") request.respond();
 *     else request.error(new NinePError("permission denied"));
 *   }
 * }
 *
 * const served = run();
 * const client = await connect(here);
 * assertEquals(client.msize, 1024 * 1024 + 24);
 * await client.close();
 * await served;
 * ```
 */
export class Session<N extends Node = Node>
  implements AsyncIterable<SessionRequest<N>>, AsyncDisposable {
  readonly #core: SessionCore<N>;
  readonly #responder: RequestQueue<N>;
  #finished: Promise<void> | undefined;

  /**
   * Makes a session; it begins with the loop.
   *
   * @param connection Connection to a client; it is closed in the end.
   * @param options Limits and choices of the session, and a hook.
   * @throws {RangeError} A limit is out of its range.
   */
  constructor(connection: Connection, options: SessionLoopOptions<N> = {}) {
    this.#responder = new RequestQueue(options);
    this.#core = new SessionCore(connection, options, this.#responder);
  }

  /** Label of the client's end, for logs. */
  get peer(): string {
    return this.#core.connection.peer;
  }

  /** Largest message in bytes: what was negotiated, before that the own maximum. */
  get msize(): number {
    return this.#core.msize;
  }

  /** Version that was negotiated; empty before. */
  get version(): string {
    return this.#core.version;
  }

  /** The fids of the client, by number, without those that are still on their way. */
  get fids(): ReadonlyMap<number, Fid<N>> {
    return new BornFids(this.#core.fids);
  }

  /**
   * Gives the requests, until the connection ends. One loop at a time.
   *
   * @throws {TypeError} There is or was a loop over the session.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<
    SessionRequest<N>,
    void,
    void
  > {
    if (this.#finished !== undefined) {
      throw new TypeError("Cannot iterate a session twice");
    }
    this.#finished = this.#core.run().finally(() => this.#responder.end());
    try {
      while (true) {
        const request = await this.#responder.next();
        if (request === undefined) break;
        yield request;
      }
    } finally {
      this.#core.stop(false);
    }
  }

  /**
   * Ends the connection when what is answered is sent; further calls do nothing.
   *
   * @returns When all is released. Requests that are not answered hold it up.
   */
  async close(): Promise<void> {
    if (this.#finished === undefined) this.#core.close();
    else this.#core.stop(false);
    await this.#finished;
  }

  /** As close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
