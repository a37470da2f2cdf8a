// The client: a tree of a server, and the connection to it.

import { MSIZE_MIN, NOFID, ProtocolError } from "../codec.ts";
import { type Login, login, nameOf, openAuth } from "./connection/login.ts";
import {
  awaited,
  bounded,
  type CallerOptions,
  checkRange,
  operate,
} from "./operation.ts";
import { Paths } from "./trees/tree_paths.ts";
import type { RemoteFile } from "./file/remote_file.ts";
import { RemoteTree } from "./remote_tree.ts";
import type { Session } from "./connection/client_session.ts";

/** Options of {@linkcode Client.version}. */
export interface VersionOptions extends CallerOptions {
  /** Largest message in bytes to ask for, 256 to 2^32 - 1; what `connect()` asked for by default. */
  msize?: number | undefined;
}

/** What {@linkcode Client.version} has agreed on with the server. */
export interface VersionReply {
  /** Largest message in bytes. */
  msize: number;
  /** What is spoken: `9P2000`. */
  version: string;
}

/** Options of {@linkcode Client.auth}. */
export interface AuthOptions extends CallerOptions {
  /** User, `none` by default. */
  uname?: string | undefined;
  /** Tree of the server; the empty text, its main one, by default. */
  aname?: string | undefined;
}

/** Options of {@linkcode Client.attach}. */
export interface AttachOptions extends AuthOptions {
  /** Fid of a file from {@linkcode Client.auth} on which the user was authenticated. */
  afid?: number | undefined;
}

/** How a client was made. */
export interface Beginning {
  /** Largest message in bytes that was asked for. */
  readonly msize: number;
  readonly login: Login;
  /** Most times that a user is authenticated while connections are lost. */
  readonly attempts: number;
  /** Most milliseconds that closing waits for the server. */
  readonly closeTimeout: number;
}

/**
 * A connection to a server, and the tree that it was made for. That a value is
 * one, `instanceof Client` tells (`connection?` of the Scheme egg).
 *
 * @example Files
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({}, { mode: 0o777 }));
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
  readonly closed: Promise<Error | undefined>;
  readonly #beginning: Beginning;
  #closing: Promise<void> | undefined;

  /** @ignore Clients are made by connect(). */
  constructor(session: Session, root: number, beginning: Beginning) {
    super(new Paths(session, root, beginning.login.aname));
    this.#beginning = beginning;
    this.closed = session.ended.then(() => {
      if (this.#closing) return undefined;
      // Only connect() ends a connection with what is no Error: its caller's reason.
      return this.session.error as Error | undefined;
    });
  }

  /**
   * Starts the session anew on the same connection, with the user and the tree
   * that `connect()` was given (`start_session` of pyroute2). See `version(9P)`.
   *
   * To this the server gives up all that it knows of the client. Calls that
   * are under way reject with a DOMException named `AbortError`, and so do
   * those that are made before this has resolved. All fids are void: those of
   * open files and of trees from {@linkcode Client.attach}, whose methods
   * reject from then on, and those that the caller has as numbers, which must
   * not be used any more. The current directory is the root. The methods of a
   * {@linkcode RemoteTree.proxy} of the client go on.
   *
   * After an abort the client goes on as soon as the server has answered. When
   * the server refuses, the connection ends.
   *
   * @param options Msize, signal.
   * @returns What was agreed on.
   * @throws {NinePError} The server refused.
   * @throws {ProtocolError} The server's answer cannot be worked with.
   * @throws {RangeError} The msize is out of its range.
   *
   * @example
   * ```ts
   * import { assertEquals, assertRejects } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * const file = await client.open("motd");
   * assertEquals(await client.version({ msize: 8192 }), {
   *   msize: 8192,
   *   version: "9P2000",
   * });
   * await assertRejects(() => file.stat(), DOMException, "started anew");
   * assertEquals(await client.readTextFile("motd"), "hello\n");
   * ```
   */
  async version(options: VersionOptions = {}): Promise<VersionReply> {
    const { msize = this.#beginning.msize } = options;
    checkRange("start a session", "msize", msize, MSIZE_MIN, 0xffffffff);
    const { session } = this;
    const what = () => `start a session with "${session.peer}"`;
    return await bounded(session, what, options, async () => {
      if (session.error !== undefined) throw session.error;
      try {
        const next = await session.renew(msize);
        const root = await this.#login(next);
        this.paths = new Paths(next, root, this.#beginning.login.aname);
        return { msize: next.msize, version: next.version };
      } catch (error) {
        // Without a session the connection is good for nothing.
        session.fail(
          new ProtocolError(
            `Connection to "${session.peer}" failed: no other session could be started`,
            { cause: error },
          ),
        );
        throw error;
      }
    });
  }

  /** Gets the root; once more when the connection was lost meanwhile, for a dialogue cannot go on with another one. */
  async #login(session: Session): Promise<number> {
    const { login: who, attempts } = this.#beginning;
    for (let attempt = 1;; attempt++) {
      const { losses } = session;
      try {
        return await login(session, who);
      } catch (error) {
        const goesOn = session.error === undefined && attempt < attempts;
        if (session.losses === losses || !goesOn) throw error;
      }
    }
  }

  /**
   * Begins the authentication of a user. See `attach(9P)`.
   *
   * What is written to the file and read from it is between the user and the
   * server. When the server is satisfied, the file's fid goes to
   * {@linkcode Client.attach}, with the same user and tree. Closing the file
   * ends the authentication.
   *
   * @param options User, tree, signal.
   * @returns The file.
   * @throws {NinePError} The server asks for no authentication, or not of this user.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, type Handler, NinePError, pair } from "@ninep/ninep";
   * import { serve } from "@ninep/ninep";
   *
   * // This server has trees for guests, and for those who know a word.
   * const root = { qid: { type: 0x80, vers: 0, path: 0n } };
   * let word = "";
   * const handler: Handler = {
   *   auth: () => ({ qid: { type: 0x08, vers: 0, path: 1n } }),
   *   write: (_fid, { data }) => {
   *     word = new TextDecoder().decode(data);
   *   },
   *   attach: (_fid, { aname }) => {
   *     if (aname === "" || word === "friend") return root;
   *     throw new NinePError("permission denied");
   *   },
   *   walk: () => undefined,
   *   open: () => {},
   * };
   * const [near, far] = pair();
   * void serve(far, handler);
   * await using client = await connect(near);
   * const user = { uname: "glenda", aname: "garden" };
   * await using file = await client.auth(user);
   * await file.write(new TextEncoder().encode("friend"));
   * await using garden = await client.attach({ ...user, afid: file.fid });
   * assertEquals(garden.cwd, "/");
   * ```
   */
  auth(options: AuthOptions = {}): Promise<RemoteFile> {
    const { uname = "none", aname = "" } = options;
    const { session } = this;
    const who = { uname, aname };
    return operate(
      session,
      `authenticate ${nameOf(who)}`,
      session.peer,
      options,
      (signal) => openAuth(session, who, signal),
      (file) => session.drop(file.fid),
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
   * void serve(far, new MemoryFs({}, { uid: "glenda" }));
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
      `attach ${nameOf({ uname, aname })}`,
      session.peer,
      options,
      async (signal) => {
        const root = await session.attach(uname, aname, afid, signal);
        return new RemoteTree(new Paths(session, root, aname));
      },
      (tree) => session.drop(tree.root),
    );
  }

  /** Keeps the process alive while the client is open. This is the default. */
  ref(): void {
    this.session.environment.refs.ref();
  }

  /**
   * Lets the process end although the client is not closed. This holds for its
   * connection, the connections after a reconnect, its timers, and the calls
   * under way. An attempt to connect keeps the process alive while it is under
   * way. A connection that was given to `connect()` follows if it has `ref()`
   * and `unref()`.
   *
   * @example
   * ```ts ignore
   * import { connect } from "@ninep/ninep";
   *
   * const client = await connect("tcp://127.0.0.1:5640");
   * client.unref(); // The program ends when there is nothing else to do.
   * ```
   */
  unref(): void {
    this.session.environment.refs.unref();
  }

  /**
   * Ends the session (`client-disconnect` of the Scheme egg).
   *
   * Calls that are pending reject at once with a ProtocolError, and the server
   * gets a Tflush for each. Then all fids are clunked; the client waits for the
   * answers for `closeTimeout` of {@linkcode connect} at most. Then the
   * connection is closed. If a call is pending and the server cannot flush, the
   * connection is closed at once. Closing again does nothing.
   *
   * @param options Signal, timeout: they only end the waiting. A timeout of
   *   `connect()` does not hold here, `closeTimeout` is enough.
   *
   * @example
   * ```ts
   * import { assertEquals, assertRejects } from "@std/assert";
   * import { connect, MemoryFs, pair, ProtocolError, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * const client = await connect(near);
   * await client.close();
   * assertEquals(await client.closed, undefined);
   * await assertRejects(() => client.stat("motd"), ProtocolError);
   * ```
   */
  override close(options: CallerOptions = {}): Promise<void> {
    const { session } = this;
    const { closeTimeout } = this.#beginning;
    return awaited(
      { timeout: undefined, environment: session.environment },
      () => `close the connection to "${session.peer}"`,
      options,
      this.#closing ??= session.close(closeTimeout),
    );
  }
}
