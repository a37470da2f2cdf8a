// Session: one connection of a server as a loop over its requests.

import type { Connection } from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import type { Fid, FidNode } from "./fid.ts";
import { BoundFids } from "./fids/bound_fids.ts";
import type { SessionRequest } from "./handler.ts";
import type { SessionOptions } from "./options.ts";
import { ServedConnection } from "./session/served_connection.ts";
import { RequestQueue } from "./session/request_queue.ts";

/** Options of a {@linkcode Session}. */
export interface SessionLoopOptions<N extends FidNode = FidNode>
  extends SessionOptions {
  /**
   * Called with each fid that ends without a Tclunk or Tremove in the loop:
   * when the client starts a new session, or the connection ends.
   */
  onRelease?: (fid: Fid<N>) => void;
  /**
   * Called with each node of an answer when no fid stands for the node any
   * more, once for each answer that contained the node. This includes nodes
   * that a walk has passed, and the directory of a fid that a create has moved
   * to the new file.
   */
  onReleaseNode?: (node: N) => void;
}

/**
 * A connection of a server as a loop over its requests, for programs that
 * answer requests without a handler.
 *
 * The session implements the protocol: versions, tags, fids, flush and all
 * checks of the manual. The loop gets only legal requests. The program must
 * answer each request exactly once, with respond() or error(), at any time and
 * in any order. Leaving the loop ends the connection.
 *
 * @example A server of one empty directory
 * ```ts
 * import { connect, type FidNode, NinePError, pair, Session } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const root: FidNode = { qid: { type: 0x80, vers: 0, path: 0n } };
 * const [here, there] = pair();
 *
 * async function run() {
 *   for await (const request of new Session<FidNode>(there)) {
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
export class Session<N extends FidNode = FidNode>
  implements AsyncIterable<SessionRequest<N>>, AsyncDisposable {
  readonly #connection: ServedConnection<N>;
  readonly #responder: RequestQueue<N>;
  #finished: Promise<void> | undefined;

  /**
   * Makes a session. The session starts when the loop starts.
   *
   * @param connection Connection to a client; it is closed in the end.
   * @param options Limits and choices of the session, and its callbacks.
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

  /**
   * Largest message in bytes. Before a session is negotiated, this is the
   * option `msize`.
   */
  get msize(): number {
    return this.#connection.msize;
  }

  /** Version of the session; empty before it is negotiated. */
  get version(): string {
    return this.#connection.version;
  }

  /**
   * The fids of the client by number, without fids whose walk, attach or auth
   * is in progress.
   */
  get fids(): ReadonlyMap<number, Fid<N>> {
    return new BoundFids(this.#connection.fids);
  }

  /**
   * Yields the requests until the connection ends. A session can be iterated
   * once.
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
   * Ends the connection after the replies so far are sent. Further calls do
   * nothing.
   *
   * @returns A promise that resolves when all fids are released. It waits for
   *   the requests that are not answered.
   */
  async close(): Promise<void> {
    if (this.#finished === undefined) this.#connection.close();
    else this.#connection.stop(false);
    await this.#finished;
  }

  /** Closes the session as {@linkcode close} does. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
