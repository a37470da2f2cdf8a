/**
 * Byte streams that 9P runs over: sockets of Deno and Bun, pairs in memory, and
 * any two Web streams.
 *
 * A {@linkcode Connection} is the one contract: {@linkcode dial} and
 * {@linkcode listen} make them of addresses such as `tcp://127.0.0.1:564`,
 * {@linkcode pair} makes two that are connected, {@linkcode fromStreams} one of
 * streams that are there already.
 *
 * @example Two ends in memory
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { pair } from "@ninep/ninep/transport";
 *
 * const [near, far] = pair();
 * const writer = near.writable.getWriter();
 * await writer.write(new TextEncoder().encode("hello"));
 * await writer.close();
 * assertEquals(await new Response(far.readable).text(), "hello");
 * near.close();
 * far.close();
 * ```
 *
 * @module
 */

export {
  type Address,
  formatAddress,
  parseAddress,
  type StdioAddress,
  type TcpAddress,
  type UnixAddress,
  type WebAddress,
} from "./transport/address.ts";
export type {
  Certificate,
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
  TlsListenerOptions,
  TlsOptions,
} from "./transport/connection.ts";
export { fromPort, type MessageTarget } from "./transport/message_port.ts";
export type { ChildOptions } from "./transport/child.ts";
export {
  namespaceAddress,
  type NamespaceEnvironment,
} from "./transport/namespace.ts";
export { pair } from "./transport/pair.ts";
export { dial, listen } from "./transport/dial.ts";
export type { Target } from "./transport/target.ts";
export {
  fromStreams,
  type StreamPair,
  type Streams,
} from "./transport/streams.ts";
export {
  fromWebSocket,
  type WebSocketEvent,
  type WebSocketLike,
  type WebSocketOptions,
} from "./transport/web_socket.ts";
