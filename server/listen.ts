// listen(): accepts connections and serves each with the same handler.

import type { ProtocolError } from "../codec.ts";
import {
  listen as listenAt,
  type Listener,
  type ListenerOptions,
} from "../transport.ts";
import { type ConnectionsOptions, ServedConnections } from "./connections.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";

/** Options of {@linkcode listen}. */
export interface ListenOptions
  extends ConnectionsOptions, Omit<ListenerOptions, "onError"> {
  /** Stops the server when the signal is aborted. */
  signal?: AbortSignal | undefined;
}

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
  // Checks the options before the first client connects.
  const connections = new ServedConnections(handler, options);
  const list = Array.isArray(addresses) ? addresses : [addresses];
  if (list.length === 0) {
    throw new TypeError("Cannot serve: there is no address");
  }
  const { mode, tls, origins, maxMessage } = options;
  const settings = { mode, tls, origins, maxMessage };
  const onError = (error: ProtocolError) => connections.onError(error, {});
  const listeners: Listener[] = [];
  try {
    for (const each of list) {
      listeners.push(
        typeof each === "string"
          ? await listenAt(each, { ...settings, onError })
          : each,
      );
    }
    signal?.throwIfAborted();
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
  return new ListeningServer(listeners, connections, signal);
}

class ListeningServer<N extends FidNode> implements Server {
  readonly addrs: readonly string[];
  readonly finished: Promise<void>;
  readonly #listeners: readonly Listener[];
  readonly #connections: ServedConnections<N>;

  constructor(
    listeners: readonly Listener[],
    connections: ServedConnections<N>,
    signal: AbortSignal | undefined,
  ) {
    this.#listeners = listeners;
    this.#connections = connections;
    for (const listener of listeners) connections.refs.add(listener);
    this.addrs = listeners.map((listener) => listener.addr);
    const stop = () => this.#end();
    signal?.addEventListener("abort", stop);
    this.finished = this.#run().finally(() => {
      signal?.removeEventListener("abort", stop);
      connections.endLog();
    });
  }

  get addr(): string {
    return this.addrs[0];
  }

  /** Serves until all listeners and their connections have ended. */
  async #run(): Promise<void> {
    try {
      await Promise.all(this.#listeners.map((each) => this.#accept(each)));
      await this.#connections.ended();
    } finally {
      this.#end();
      await this.#connections.ended();
    }
  }

  async #accept(listener: Listener): Promise<void> {
    for await (const connection of listener) {
      this.#connections.serve(connection);
    }
  }

  #end(): void {
    for (const listener of this.#listeners) {
      listener.close();
      this.#connections.refs.delete(listener);
    }
    this.#connections.stop();
  }

  ref(): void {
    this.#connections.refs.ref();
  }

  unref(): void {
    this.#connections.refs.unref();
  }

  async close(): Promise<void> {
    this.#end();
    await this.finished;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
