// The client: a tree of a server, and the connection to it.

import { NOFID } from "../codec/constants.ts";
import { type CallerOptions, operate } from "./operation.ts";
import { Paths } from "./paths.ts";
import { RemoteTree } from "./remote_tree.ts";

/** Options of {@linkcode Client.attach}. */
export interface AttachOptions extends CallerOptions {
  /** User, `none` by default. */
  uname?: string | undefined;
  /** Tree of the server; the empty text, its main one, by default. */
  aname?: string | undefined;
  /** Fid of a file from {@linkcode Client.auth} on which the user was authenticated. */
  afid?: number | undefined;
}

/**
 * A connection to a server, and the tree that it was made for.
 *
 * @example Files
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs());
 * await using client = await connect(near);
 * await client.mkdir("notes");
 * await client.writeTextFile("notes/today", "buy milk\n");
 * await client.rename("notes/today", "notes/yesterday");
 * const names = [];
 * for await (const stat of client.readDir("notes")) names.push(stat.name);
 * assertEquals(names, ["yesterday"]);
 * await client.remove("notes/yesterday");
 * ```
 */
export class Client extends RemoteTree {
  /** Resolves when the connection has ended: with undefined after close(), with the reason otherwise. Never rejects. */
  readonly closed: Promise<unknown>;
  readonly #closeTimeout: number;
  #closing: Promise<void> | undefined;

  /** @ignore Clients are made by connect(). */
  constructor(paths: Paths, closeTimeout: number = 3000) {
    super(paths);
    this.#closeTimeout = closeTimeout;
    const { session } = this;
    this.closed = session.ended.then(() =>
      this.#closing ? undefined : session.error
    );
  }

  /**
   * Gets another tree of the server, or the same for another user. See
   * `attach(9P)`.
   *
   * @param options User, tree, afid, signal.
   * @returns The tree, with a current directory of its own.
   * @throws {NinePError} The server refused the user or the tree.
   *
   * @example Two users on one connection
   * ```ts
   * import { assertRejects } from "@std/assert";
   * import { connect, MemoryFs, NinePError, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs());
   * await using client = await connect(near, { uname: "glenda" });
   * await client.writeTextFile("diary", "dear", { mode: 0o600 });
   * await using other = await client.attach({ uname: "ken" });
   * await assertRejects(() => other.readTextFile("diary"), NinePError);
   * ```
   */
  attach(options: AttachOptions = {}): Promise<RemoteTree> {
    const { uname = "none", aname = "", afid = NOFID } = options;
    const { session } = this;
    return operate(
      session,
      `attach user "${uname}" to tree "${aname}" of`,
      this.peer,
      options,
      async (signal) => {
        const root = await session.attach(uname, aname, afid, signal);
        return new RemoteTree(new Paths(session, root));
      },
      (tree) => session.drop(tree.root),
    );
  }

  /**
   * Clunks all fids, as far as the server answers within the time that
   * `closeTimeout` of {@linkcode connect} allows, and closes the connection.
   * Calls that are still pending reject. Closing again does nothing.
   */
  override close(): Promise<void> {
    return this.#closing ??= this.session.close(this.#closeTimeout);
  }
}
