// webHandler(): a tree for the HTTP server of any runtime, or of a router.

import type { ListenerOptions, Target } from "../transport.ts";
import { connectionOf } from "../transport/target.ts";
import {
  bunWebSocket,
  type BunWebSocketHandlers,
  WebAcceptor,
} from "../transport/web_acceptor.ts";
import { type ConnectionsOptions, ServedConnections } from "./connections.ts";
import type { FidNode } from "./fid.ts";
import type { Handler, Servable } from "./handler.ts";

/** Options of {@linkcode webHandler}. */
export interface WebHandlerOptions
  extends ConnectionsOptions, Pick<ListenerOptions, "origins" | "maxMessage"> {}

/** A handler of HTTP requests that serves a tree. */
export interface WebHandler extends AsyncDisposable {
  /**
   * Answers a request: an upgrade to a WebSocket, or a POST whose body has
   * requests of 9P. Any other request gets an error.
   *
   * @param request The request.
   * @param context Second argument that the runtime gives to its fetch handler:
   *   the server of Bun, the facts of `Deno.serve`.
   * @returns The response; under Bun undefined for an upgraded request.
   */
  readonly fetch: (request: Request, context?: unknown) => Response;
  /** Handlers for `Bun.serve({ websocket })`. */
  readonly websocket: BunWebSocketHandlers;
  /**
   * Serves a connection under the limits of this handler: a socket of the
   * package `ws`, or what a router has upgraded.
   *
   * @param target Connection or WebSocket.
   */
  readonly accept: (target: Target) => void;
  /** Ends all connections, and waits for their requests up to `closeTimeout`. */
  readonly close: () => Promise<void>;
}

/**
 * Makes a handler of HTTP requests that serves a tree, for `Deno.serve`,
 * `Bun.serve`, workerd's `export default`, and routers of the same form.
 *
 * A page may connect if it comes from the same host, or if its origin is among
 * `origins`.
 *
 * @param handler What to serve: a handler object, or a tree such as a MemoryFs.
 * @param options Limits and choices of all connections, and origins.
 * @returns The handler; its functions need no `this`.
 * @throws {RangeError} A limit is out of its range.
 *
 * @example One module for Deno, Bun and workerd
 * ```ts ignore
 * import { MemoryFs, webHandler } from "@ninep/ninep";
 *
 * export default webHandler(new MemoryFs({ motd: "hello\n" }));
 * ```
 */
export function webHandler<N extends FidNode>(
  handler: Handler<N> | Servable<N>,
  options: WebHandlerOptions = {},
): WebHandler {
  const connections = new ServedConnections(handler, options);
  const acceptor = new WebAcceptor(
    (connection) => connections.serve(connection),
    options,
  );
  const close = async () => {
    connections.stop();
    await connections.ended();
    connections.endLog();
  };
  return {
    fetch: (request, context) =>
      connections.isFull
        ? new Response("There are too many connections.\n", { status: 503 })
        : acceptor.fetch(request, context),
    websocket: bunWebSocket,
    accept: (target) => connections.serve(connectionOf("serve", target)),
    close,
    [Symbol.asyncDispose]: close,
  };
}
