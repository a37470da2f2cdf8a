/**
 * The server: listen() and serve() for a handler or a tree of files, and
 * Session, a connection as a loop over its requests.
 *
 * @example Two ends in one process
 * ```ts
 * import { connect } from "@ninep/ninep/client";
 * import { MemoryFs } from "@ninep/ninep/fs";
 * import { serve } from "@ninep/ninep/server";
 * import { pair } from "@ninep/ninep/transport";
 *
 * const [here, there] = pair();
 * const served = serve(there, new MemoryFs({ motd: "hello\n" }));
 * const client = await connect(here);
 * console.log(await client.readTextFile("motd"));
 * await client.close();
 * await served;
 * ```
 *
 * @module
 */

export { Budget } from "./server/budget.ts";
export type { AttributeChanges, Attributes } from "./server/attributes.ts";
export type { Fid, FidNode } from "./server/fid.ts";
export type * from "./server/handler.ts";
export { listen, type ListenOptions, type Server } from "./server/listen.ts";
export type { ConnectionsOptions } from "./server/connections.ts";
export type { ErrorContext } from "./server/error_log.ts";
export type {
  SessionOptions,
  TraceContext,
  TracedFrame,
  TracedMessage,
} from "./server/options.ts";
export { serve, type ServeOptions } from "./server/serve.ts";
export { Session, type SessionLoopOptions } from "./server/session.ts";
export {
  type WebHandler,
  webHandler,
  type WebHandlerOptions,
} from "./server/web_handler.ts";
export type {
  BunWebSocket,
  BunWebSocketHandlers,
} from "./transport/web_acceptor.ts";
export {
  type BatchHandler,
  batchHandler,
  type BatchOptions,
} from "./server/batch.ts";
