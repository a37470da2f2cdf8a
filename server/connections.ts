// The connections of one server: each is served with the same handler, and all
// share limits and memory.

import type { Connection } from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import { Budget } from "./budget.ts";
import type { ErrorContext } from "./error_log.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";
import { type SessionOptions, settingsOf } from "./options.ts";
import { type ServeOptions, serveWith } from "./serve.ts";

/** Options of a server with several connections. */
export interface ConnectionsOptions extends Omit<SessionOptions, "memory"> {
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

/** The connections of one server. */
export class ServedConnections<N extends FidNode> {
  /** Decides whether the server keeps the process alive. */
  readonly refs: RefGroup = new RefGroup();
  /** Gets the errors of all connections. */
  readonly onError: (error: unknown, context: ErrorContext) => void;
  /** Ends the default log of errors. */
  readonly endLog: () => void;
  readonly #handler: Handler<N> | Servable<N>;
  readonly #options: ServeOptions;
  readonly #maxConnections: number;
  readonly #stop = new AbortController();
  readonly #sessions = new Set<Promise<void>>();

  /**
   * @param handler What to serve.
   * @param options Limits and choices.
   * @throws {RangeError} A limit is out of its range.
   */
  constructor(handler: Handler<N> | Servable<N>, options: ConnectionsOptions) {
    const { onError, endLog } = settingsOf(options);
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
    this.#handler = handler;
    this.#maxConnections = maxConnections;
    // All connections share one `onError`, because the default log counts
    // errors of all connections.
    this.onError = onError;
    this.endLog = endLog;
    this.#options = {
      ...options,
      onError,
      signal: this.#stop.signal,
      memory: new Budget(maxMemory),
    };
  }

  /** True when a further connection would be closed at once. */
  get isFull(): boolean {
    return this.#sessions.size >= this.#maxConnections;
  }

  /** Serves a connection, or closes it if there are too many. */
  serve(connection: Connection): void {
    if (this.isFull) {
      connection.close();
      return;
    }
    const end = () => void this.#sessions.delete(session);
    const session: Promise<void> = serveWith(
      connection,
      this.#handler,
      this.#options,
      this.refs,
    ).then(end, (error) => {
      end();
      this.onError(error, { peer: connection.peer });
    });
    this.#sessions.add(session);
  }

  /** Ends all connections, as `Server.close()` says. */
  stop(): void {
    this.#stop.abort();
  }

  /** Waits until the present connections have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#sessions);
  }
}
