// Session: one connection of a server as a loop over its requests.

import type { Connection } from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import type { Fid, Node } from "./fid.ts";
import { BoundFids } from "./fids/bound_fids.ts";
import type { SessionRequest } from "./handler.ts";
import type { SessionOptions } from "./options.ts";
import { ServedConnection } from "./session/core.ts";
import { RequestQueue } from "./session/request_queue.ts";

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
  readonly #connection: ServedConnection<N>;
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
    this.peer = connection.peer;
    this.#responder = new RequestQueue(options);
    this.#connection = new ServedConnection({
      connection,
      options,
      responder: this.#responder,
      refs: new RefGroup(),
    });
  }

  /** Label of the client's end, for logs. */
  readonly peer: string;

  /** Largest message in bytes: what was negotiated, before that the own maximum. */
  get msize(): number {
    return this.#connection.msize;
  }

  /** Version that was negotiated; empty before. */
  get version(): string {
    return this.#connection.version;
  }

  /** The fids of the client, by number, without those that are still on their way. */
  get fids(): ReadonlyMap<number, Fid<N>> {
    return new BoundFids(this.#connection.fids);
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
    this.#finished = this.#connection.run().finally(() =>
      this.#responder.end()
    );
    try {
      while (true) {
        const request = await this.#responder.next();
        if (request === undefined) break;
        yield request;
      }
    } finally {
      this.#connection.stop(false);
    }
  }

  /**
   * Ends the connection when what is answered is sent; further calls do nothing.
   *
   * @returns When all is released. Requests that are not answered hold it up.
   */
  async close(): Promise<void> {
    if (this.#finished === undefined) this.#connection.close();
    else this.#connection.stop(false);
    await this.#finished;
  }

  /** As close(). */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
