// listen(): accepts connections and serves each with the same handler.

import {
  type Connection,
  listen as listenAt,
  type Listener,
} from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import { Budget } from "./budget.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";
import type { ErrorContext } from "./error_log.ts";
import { settingsOf } from "./options.ts";
import { type ServeOptions, serveWith } from "./serve.ts";

/** Options of {@linkcode listen}. */
export interface ListenOptions extends Omit<ServeOptions, "memory"> {
  /**
   * Maximum of connections at a time, no limit by default. The server closes a
   * further connection at once.
   */
  maxConnections?: number;
  /**
   * Maximum of bytes that the server holds for all connections, 512 MiB by
   * default: waiting requests, replies that clients have not taken, 2 KiB for
   * each fid, and the contents, arguments and values that files hold. Above the
   * limit requests fail with `Cannot allocate memory`. Each connection may
   * still have 256 fids, requests of one message's size (`msize`), one reply,
   * and as much again that files hold for it.
   */
  maxMemory?: number;
}

/** Default of `maxMemory`. */
const MEMORY_MAX = 512 * 1024 * 1024;

/** A server that listens. */
export interface Server extends AsyncDisposable {
  /** Address that clients connect to, with the port that was chosen for port 0. */
  readonly addr: string;
  /** Resolves when the server has stopped and all connections have ended. */
  readonly finished: Promise<void>;
  /**
   * Stops listening, waits for the requests in progress up to `closeTimeout`,
   * aborts the rest, releases all fids and ends all connections. Further calls
   * do nothing. A function or handler of the server must not await this,
   * because the server waits for the request of that function.
   *
   * @returns The same as `finished`.
   */
  close(): Promise<void>;
  /** Keeps the process alive while the server listens; this is the default. */
  ref(): void;
  /**
   * Allows the process to end while the server listens and has connections. The
   * server works as long as something else keeps the process alive.
   */
  unref(): void;
}

/**
 * Serves a tree, or a handler, at an address.
 *
 * The error of one connection never ends the server. An error that prevents the
 * server from accepting connections, such as `EMFILE`, goes to `onError`, as a
 * ProtocolError without a peer. The server then tries again after a short
 * pause.
 *
 * @param address `tcp://host:port`, `tcp!host!port`, `host:port` or
 *   `unix:///path`; port 0 takes a free one, see `addr` of the result.
 * @param handler What to serve: a handler object, or a tree such as a MemoryFs.
 * @param options Limits and choices of each session, and a signal.
 * @returns A promise of the server, which then listens.
 * @throws {TypeError} The address is not valid.
 * @throws {RangeError} A limit is out of its range.
 * @throws {ProtocolError} The address cannot be listened on.
 *
 * @example A tree of files and functions
 * ```ts ignore
 * import { listen, MemoryFs } from "@ninep/ninep";
 *
 * const fs = new MemoryFs({ motd: "hello\n" });
 * fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
 * await using server = await listen("tcp://127.0.0.1:5640", fs);
 * console.log(`listening on ${server.addr}`);
 * await server.finished;
 * ```
 */
export async function listen<N extends FidNode>(
  address: string,
  handler: Handler<N> | Servable<N>,
  options: ListenOptions = {},
): Promise<Server> {
  const { signal } = options;
  signal?.throwIfAborted();
  const settings = settingsOf(options); // Checks the options before the first client connects.
  const { maxConnections = Infinity, maxMemory = MEMORY_MAX } = options;
  if (!(maxMemory >= 1)) {
    throw new RangeError(
      `Cannot serve with maxMemory ${maxMemory}: the minimum is 1`,
    );
  }
  if (!(maxConnections >= 1)) {
    throw new RangeError(
      `Cannot serve with maxConnections ${maxConnections}: the minimum is 1`,
    );
  }
  const listener = await listenAt(address, {
    onError: (error) => settings.onError(error, {}),
  });
  if (signal?.aborted) {
    listener.close();
    throw signal.reason;
  }
  // All connections share one `onError`, because the default log counts errors
  // of all connections.
  const { onError, endLog } = settings;
  const own = { ...options, onError };
  return new ListeningServer(listener, handler, own, endLog);
}

class ListeningServer<N extends FidNode> implements Server {
  readonly addr: string;
  readonly finished: Promise<void>;
  readonly #listener: Listener;
  readonly #handler: Handler<N> | Servable<N>;
  readonly #options: ListenOptions & ServeOptions;
  readonly #onError: (error: unknown, context: ErrorContext) => void;
  readonly #stop = new AbortController();
  readonly #refs = new RefGroup();
  readonly #sessions = new Set<Promise<void>>();

  constructor(
    listener: Listener,
    handler: Handler<N> | Servable<N>,
    options: ListenOptions,
    endLog: () => void,
  ) {
    this.#listener = listener;
    this.#refs.add(listener);
    this.#handler = handler;
    const { onError } = settingsOf(options);
    this.#options = {
      ...options,
      signal: this.#stop.signal,
      memory: new Budget(options.maxMemory ?? MEMORY_MAX),
    };
    this.#onError = onError;
    this.addr = listener.addr;
    const { signal } = options;
    const stop = () => this.#end();
    signal?.addEventListener("abort", stop);
    this.finished = this.#accept().finally(() => {
      signal?.removeEventListener("abort", stop);
      endLog();
    });
  }

  async #accept(): Promise<void> {
    try {
      const { maxConnections = Infinity } = this.#options;
      for await (const connection of this.#listener) {
        if (this.#sessions.size < maxConnections) this.#serve(connection);
        else connection.close();
      }
    } finally {
      this.#end();
      await Promise.all(this.#sessions);
    }
  }

  #serve(connection: Connection): void {
    const end = () => void this.#sessions.delete(session);
    const session: Promise<void> = serveWith(
      connection,
      this.#handler,
      this.#options,
      this.#refs,
    ).then(end, (error) => {
      end();
      this.#onError(error, { peer: connection.peer });
    });
    this.#sessions.add(session);
  }

  #end(): void {
    this.#listener.close();
    this.#refs.delete(this.#listener);
    this.#stop.abort();
  }

  ref(): void {
    this.#refs.ref();
  }

  unref(): void {
    this.#refs.unref();
  }

  async close(): Promise<void> {
    this.#end();
    await this.finished;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
