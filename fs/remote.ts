// A tree of another server that can be served here. Every request goes there
// with a fid, so that files keep their identity.

import type { Client } from "../client.ts";
import { normalizePath } from "../client.ts";
import { NinePError, type Qid, QTDIR } from "../codec.ts";
import type {
  AttachRequest,
  Awaitable,
  Handler,
  RequestContext,
} from "../server.ts";
import { abortable } from "./functions/callable.ts";
import type { PathNode } from "./rules/path_node.ts";
import { Far, nearError } from "./remote/far.ts";
import { RemoteDir } from "./remote/node.ts";
import { handlerOf, type ServableTree } from "./rules.ts";
import type { Rules, TreeDir } from "./tree.ts";

/** Options of a {@linkcode RemoteFs}. */
export interface RemoteFsOptions {
  /** Directory of the far tree that is the root here; the far root by default. */
  readonly path?: string | readonly string[] | undefined;
  /**
   * Attaches to the far server for a near user, so that the far server applies
   * the permissions of that user. The tree is closed when the near client has
   * ended. By default all near users work with the rights of the one user that
   * the client was connected as.
   *
   * A near server without authentication takes any name that a client gives.
   *
   * @param uname Near user.
   * @param aname Tree that the near client asks for.
   * @param signal Aborted when the near client gives up.
   */
  readonly attach?:
    | ((
      uname: string,
      aname: string,
      signal: AbortSignal | undefined,
    ) => Awaitable<Client>)
    | undefined;
  /**
   * Most milliseconds that a near Tclunk waits for the far server, above 0 and
   * up to 2^31 - 1; 5000 by default.
   */
  readonly closeTimeout?: number | undefined;
}

/** Longest delay that setTimeout() knows, in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1;

/**
 * A tree of another server, through a client. It can be served as it is, or
 * mounted in another tree.
 *
 * - Each file of a near fid has one fid on the far server, and each open of a
 *   file has another one. They are clunked with the near fid.
 * - Reads that wait for an event wait on the far server. When the near client
 *   flushes such a read, or goes away, the far read is flushed. The near Tflush
 *   is answered at once.
 * - Function files work, with and without a Topen.
 * - Errors are those of the far server. When the connection to it is lost,
 *   requests fail with `Connection reset by peer`. With `reconnect` of
 *   `connect()` they wait for the next connection, and files that cannot be
 *   found again fail with `Stale file handle`; a walk from the root finds them.
 * - The far server checks permissions, for the user of the client, unless there
 *   is the option `attach`. It also enforces DMEXCL, DMAPPEND and ORCLOSE.
 *
 * A server may mount its own tree. Such a tree has no end: programs that go
 * through all of it must bound the depth.
 *
 * The client still belongs to the caller. Closing it ends the tree.
 *
 * @example A server in front of another one
 * ```ts
 * import { connect, MemoryFs, pair, RemoteFs, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const [gate, far] = pair();
 * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
 * await using between = await connect(gate);
 *
 * const [near, here] = pair();
 * void serve(here, new RemoteFs(between, { path: "lib" }));
 * await using client = await connect(near);
 * assertEquals(await client.readTextFile("motd"), "hello\n");
 * ```
 */
export class RemoteFs implements ServableTree {
  /** The far server checks permissions and exclusive use, and removes files at their close. */
  readonly rules: Rules = {
    access: false,
    exclusive: false,
    removeOnClose: false,
  };
  /** The handler. Its functions need no `this`. */
  readonly handler: Handler<PathNode>;
  readonly #tree: Client;
  readonly #path: readonly string[];
  readonly #attach: RemoteFsOptions["attach"];
  readonly #closeTimeout: number;

  /**
   * Makes a tree of a client.
   *
   * @param tree A client of the far server.
   * @param options Directory to show, users.
   * @throws {RangeError} `closeTimeout` is out of its range.
   * @throws {TypeError} An element of the path has a slash.
   */
  constructor(tree: Client, options: RemoteFsOptions = {}) {
    const { path = "/", attach, closeTimeout = 5000 } = options;
    if (!(closeTimeout > 0 && closeTimeout <= TIMEOUT_MAX)) {
      throw new RangeError(
        `Cannot make a RemoteFs: closeTimeout is ${closeTimeout}, the range is above 0 to 2^31 - 1`,
      );
    }
    this.#tree = tree;
    this.#path = normalizePath(path).split("/").filter((name) => name !== "");
    this.#attach = attach;
    this.#closeTimeout = closeTimeout;
    this.handler = handlerOf(this);
  }

  /** Gives the root to a near user. See `attach(9P)`. */
  async attach(
    { uname, aname }: AttachRequest,
    { signal }: RequestContext,
  ): Promise<TreeDir> {
    const attachment = new Attachment(
      this.#tree,
      this.#path,
      (signal) => this.#attach?.(uname, aname, signal),
      this.#closeTimeout,
    );
    const { far, fid, qid } = await attachment.find(signal);
    return new RemoteDir(far, qid, fid, undefined, attachment, this.rules);
  }
}

/** Attaches for a near user, if the option `attach` is set. */
type AttachFar = (
  signal: AbortSignal | undefined,
) => Awaitable<Client> | undefined;

/** A near attach, with its tree of the far server. */
class Attachment {
  readonly #tree: Client;
  readonly #path: readonly string[];
  readonly #attach: AttachFar;
  readonly #closeTimeout: number;
  /** The tree of this attach alone. */
  #own: Client | undefined;
  /** Ends a search for which no near client waits. */
  readonly #end = new AbortController();

  constructor(
    tree: Client,
    path: readonly string[],
    attach: AttachFar,
    closeTimeout: number,
  ) {
    this.#tree = tree;
    this.#path = path;
    this.#attach = attach;
    this.#closeTimeout = closeTimeout;
  }

  /** Finds the root in the present session. */
  async find(
    signal: AbortSignal = this.#end.signal,
  ): Promise<{ far: Far; fid: number; qid: Qid }> {
    const tree = await this.#attachFar(signal);
    const far = new Far((tree ?? this.#tree).pinned(), this.#closeTimeout);
    try {
      const { fid, qid } = await far.top(this.#path, signal);
      if ((qid.type & QTDIR) === 0 || signal.aborted) {
        far.drop(fid);
        throw new NinePError("not a directory");
      }
      discard(this.#own);
      this.#own = tree;
      return { far, fid, qid };
    } catch (error) {
      discard(tree);
      throw error;
    }
  }

  /**
   * Attaches for the near user. A client that comes after an abort is closed.
   */
  async #attachFar(signal: AbortSignal): Promise<Client | undefined> {
    try {
      const attached = Promise.resolve(this.#attach(signal));
      attached.then((tree) => signal.aborted && discard(tree), () => {});
      return await abortable(attached, signal);
    } catch (error) {
      throw nearError(error, signal);
    }
  }

  /** Closes the tree, if it is of this attach alone. */
  close(): void {
    this.#end.abort();
    discard(this.#own);
    this.#own = undefined;
  }
}

/** Closes a client, and does not wait. */
function discard(tree: Client | undefined): void {
  tree?.close().catch(() => {});
}
