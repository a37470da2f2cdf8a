// listen(): accepts connections and serves each with the same handler.

import type { ProtocolError } from "../codec.ts";
import {
  type Connection,
  listen as listenAt,
  type Listener,
  type ListenerOptions,
} from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import { Budget } from "./budget.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";
import type { ErrorContext } from "./error_log.ts";
import { settingsOf } from "./options.ts";
import { type ServeOptions, serveWith } from "./serve.ts";

/** Options of {@linkcode listen}. */
export interface ListenOptions
  extends Omit<ServeOptions, "memory">, Omit<ListenerOptions, "onError"> {
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
  /**
   * Address that clients connect to, with the port that was chosen for port 0:
   * the first one, if there are several.
   */
  readonly addr: string;
  /** The addresses of all listeners, in the order of `listen()`. */
  readonly addrs: readonly string[];
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
 * Serves a tree, or a handler, at one or several addresses.
 *
 * The error of one connection never ends the server. An error that prevents the
 * server from accepting connections, such as `EMFILE`, goes to `onError`, as a
 * ProtocolError without a peer. The server then tries again after a short
 * pause.
 *
 * @param addresses An address such as `tcp://host:port` or `unix:///path` (see
 *   `parseAddress`), a {@linkcode Listener}, or an array of addresses and
 *   listeners. Port 0 takes a free one, see `addr` of the result. The server
 *   closes the listeners in the end.
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
  addresses: string | Listener | readonly (string | Listener)[],
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
  const list = Array.isArray(addresses) ? addresses : [addresses];
  if (list.length === 0) {
    throw new TypeError("Cannot serve: there is no address");
  }
  const { mode, tls } = options;
  const onListenerError = (error: ProtocolError) => settings.onError(error, {});
  const listeners: Listener[] = [];
  try {
    for (const each of list) {
      listeners.push(
        typeof each === "string"
          ? await listenAt(each, { onError: onListenerError, mode, tls })
          : each,
      );
    }
    signal?.throwIfAborted();
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
  // All connections share one `onError`, because the default log counts errors
  // of all connections.
  const { onError, endLog } = settings;
  const own = { ...options, onError };
  return new ListeningServer(listeners, handler, own, endLog);
}

class ListeningServer<N extends FidNode> implements Server {
  readonly addrs: readonly string[];
  readonly finished: Promise<void>;
  readonly #listeners: readonly Listener[];
  readonly #handler: Handler<N> | Servable<N>;
  readonly #options: ListenOptions & ServeOptions;
  readonly #onError: (error: unknown, context: ErrorContext) => void;
  readonly #stop = new AbortController();
  readonly #refs = new RefGroup();
  readonly #sessions = new Set<Promise<void>>();

  constructor(
    listeners: readonly Listener[],
    handler: Handler<N> | Servable<N>,
    options: ListenOptions,
    endLog: () => void,
  ) {
    this.#listeners = listeners;
    for (const listener of listeners) this.#refs.add(listener);
    this.#handler = handler;
    const { onError } = settingsOf(options);
    this.#options = {
      ...options,
      signal: this.#stop.signal,
      memory: new Budget(options.maxMemory ?? MEMORY_MAX),
    };
    this.#onError = onError;
    this.addrs = listeners.map((listener) => listener.addr);
    const { signal } = options;
    const stop = () => this.#end();
    signal?.addEventListener("abort", stop);
    this.finished = this.#run().finally(() => {
      signal?.removeEventListener("abort", stop);
      endLog();
    });
  }

  get addr(): string {
    return this.addrs[0];
  }

  /** Serves until all listeners and their connections have ended. */
  async #run(): Promise<void> {
    try {
      await Promise.all(this.#listeners.map((each) => this.#accept(each)));
      await Promise.all(this.#sessions);
    } finally {
      this.#end();
      await Promise.all(this.#sessions);
    }
  }

  async #accept(listener: Listener): Promise<void> {
    const { maxConnections = Infinity } = this.#options;
    for await (const connection of listener) {
      if (this.#sessions.size < maxConnections) this.#serve(connection);
      else connection.close();
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
    for (const listener of this.#listeners) {
      listener.close();
      this.#refs.delete(listener);
    }
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
