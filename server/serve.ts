// serve(): one connection, served with a handler.

import type { Target } from "../transport.ts";
import { RefGroup } from "../transport/ref_group.ts";
import { connectionOf } from "../transport/target.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";
import type { SessionOptions } from "./options.ts";
import { ServedConnection } from "./session/served_connection.ts";
import { HandlerResponder } from "./session/handler_responder.ts";

/**
 * Serves one connection with a handler until the connection ends.
 *
 * @param target Connection to a client; it is closed in the end.
 * @param handler What to serve: a handler object, or a tree such as a MemoryFs.
 * @param options Limits and choices of the session.
 * @returns A promise that resolves when the connection has ended, all fids are
 *   released and the handler's disconnect() is done. When the client breaks the
 *   protocol or disappears, the promise does not reject; the error goes to
 *   `onError`.
 * @throws {RangeError} A limit is out of its range.
 * @throws {TypeError} The target is no connection.
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
export function serve<N extends FidNode>(
  target: Target,
  handler: Handler<N> | Servable<N>,
  options: ServeOptions = {},
): Promise<void> {
  return serveWith(target, handler, options, new RefGroup());
}

/**
 * Serves a connection as {@linkcode serve} does. `refs` decides whether the
 * connection keeps the process alive.
 */
export async function serveWith<N extends FidNode>(
  target: Target,
  handler: Handler<N> | Servable<N>,
  options: ServeOptions,
  refs: RefGroup,
): Promise<void> {
  const connection = connectionOf("serve", target);
  const { signal } = options;
  const resolved = "handler" in handler ? handler.handler : handler;
  const responder = new HandlerResponder(resolved);
  const served = new ServedConnection({ connection, options, responder, refs });
  refs.add(connection);
  const stop = () => served.stop(true);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  try {
    await served.run();
  } finally {
    signal?.removeEventListener("abort", stop);
    refs.delete(connection);
    served.settings.endLog();
  }
}

/** Options of {@linkcode serve}. */
export interface ServeOptions extends SessionOptions {
  /** Ends the connection when the signal is aborted. */
  signal?: AbortSignal | undefined;
}
