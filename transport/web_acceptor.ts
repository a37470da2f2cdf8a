// The server's side of the web: a request of HTTP becomes a connection, by an
// upgrade to a WebSocket or by the bodies of a POST.

import { formatAddress, type WebAddress } from "./address.ts";
import { acceptPost } from "./post.ts";
import {
  fromWebSocket,
  SocketConnection,
  UNREAD_MAX,
  type WebSocketLike,
} from "./web_socket.ts";
import type { Connection, ListenerOptions } from "./connection.ts";

/** `readyState` of a WebSocket that has ended. */
const CLOSED = 3;

/** The subprotocol of 9P. */
export const SUBPROTOCOL = "9p";

/** Options for requests of the web. */
export type WebOptions = Pick<ListenerOptions, "origins" | "maxMessage">;

/** Options of a {@linkcode WebAcceptor}. */
interface AcceptorOptions extends WebOptions {
  /**
   * True when only programs of this machine can connect. A page of another site
   * can give its own name the address of this machine, and then has the origin
   * of this server; so the name is checked as well.
   */
  readonly isLoopback?: boolean;
}

/** The parts of the runtimes that are used here, because their types differ. */
interface Runtime {
  readonly Bun?: unknown;
  readonly Deno?: {
    upgradeWebSocket(
      request: Request,
      options: { protocol?: string },
    ): { socket: WebSocketLike; response: Response };
  };
  /** A class of workerd. */
  readonly WebSocketPair?: new () => {
    0: WebSocketLike;
    1: WebSocketLike & { accept(): void };
  };
}

/**
 * The second argument of fetch(): Bun's server, or facts of Deno. Other runtimes
 * give objects of the user there, which may have members of these names.
 */
interface Context {
  upgrade?(request: Request, options: object): boolean;
  timeout?(request: Request, seconds: number): void;
  requestIP?(request: Request): { address: string; port: number } | null;
  remoteAddr?: { hostname: string; port: number };
}

// A cast is needed, because plain tsc does not know the runtimes.
const runtime = globalThis as unknown as Runtime;

/** A WebSocket of Bun's server. */
export interface BunWebSocket {
  /** The connection over the socket, and the function that takes it. */
  data: unknown;
  /** State: 1 while it is open, 3 closed. */
  readonly readyState: number;
  /** Sends a message. */
  send(bytes: Uint8Array): number;
  /** Closes. */
  close(code: number, reason: string): void;
  /** Closes without a handshake. */
  terminate(): void;
  /** Bytes that wait to be sent. */
  getBufferedAmount(): number;
}

/** The data of a WebSocket of Bun's server. */
interface BunData {
  readonly ninep: WebAcceptor;
  readonly peer: WebAddress;
  connection?: SocketConnection;
}

/** The handlers for WebSockets that `Bun.serve` takes as `websocket`. */
export interface BunWebSocketHandlers {
  /** Largest message in bytes that a client may send. */
  readonly maxPayloadLength: number;
  /** Most bytes that wait to be sent; the connection keeps below it. */
  readonly backpressureLimit: number;
  /** A socket is open. */
  open(socket: BunWebSocket): void;
  /** A message came. */
  message(socket: BunWebSocket, data: string | Uint8Array): void;
  /** The socket takes more bytes. */
  drain(socket: BunWebSocket): void;
  /** The socket is closed. */
  close(socket: BunWebSocket, code: number, reason: string): void;
}

function dataOf(socket: BunWebSocket): BunData {
  // upgrade() sets it.
  return socket.data as BunData;
}

/** Bun's handlers. A socket knows the acceptor that upgraded its request. */
export const bunWebSocket: BunWebSocketHandlers = {
  maxPayloadLength: UNREAD_MAX,
  backpressureLimit: 2 ** 30,
  open: (socket) => dataOf(socket).ninep.opened(socket),
  message: (socket, data) => dataOf(socket).connection?.received(data),
  drain: (socket) => dataOf(socket).connection?.drained(),
  close: (socket, code, reason) =>
    dataOf(socket).connection?.ended(code, reason),
};

/** Makes connections of requests. */
export class WebAcceptor {
  readonly #accept: (connection: Connection) => void;
  readonly #options: AcceptorOptions;

  /**
   * @param accept Called with each connection.
   * @param options Origins, largest message.
   */
  constructor(
    accept: (connection: Connection) => void,
    options: AcceptorOptions,
  ) {
    this.#accept = accept;
    this.#options = options;
  }

  /**
   * Answers a request: an upgrade, a POST, or any other with an error.
   *
   * @param request The request.
   * @param context Second argument of the runtime's fetch handler.
   */
  fetch(request: Request, context: unknown): Response {
    const { headers, method } = request;
    const isUpgrade = headers.get("upgrade")?.toLowerCase() === "websocket";
    if (!isUpgrade && method !== "POST") {
      return refusal(
        426,
        "This is a 9P server: connect with a WebSocket, or POST.",
        {
          upgrade: "websocket",
          allow: "GET, POST",
        },
      );
    }
    if (!isAllowed(request, this.#options)) {
      return refusal(403, "Pages of this origin may not connect.");
    }
    const isKnown = runtime.Bun !== undefined || runtime.Deno !== undefined;
    const facts = isKnown && typeof context === "object" && context !== null
      ? context as Context
      : {};
    const peer = peerOf(request, facts);
    if (isUpgrade) {
      try {
        return this.#upgrade(request, facts, peer);
      } catch {
        // The upgrade has a part that the runtime refuses.
        return refusal(400, "The request is no upgrade to a WebSocket.");
      }
    }
    facts.timeout?.(request, 0); // A session may be idle.
    const { connection, response } = acceptPost(request, formatAddress(peer));
    this.#accept({ ...connection, remote: peer });
    return response;
  }

  /** A socket of Bun is open. */
  opened(socket: BunWebSocket): void {
    const data = dataOf(socket);
    const { peer } = data;
    const connection = new SocketConnection(
      {
        get buffered() {
          return socket.getBufferedAmount();
        },
        get isClosed() {
          return socket.readyState === CLOSED;
        },
        send(bytes) {
          // 0 means that Bun has dropped the message.
          if (socket.send(bytes) === 0 && bytes.length > 0) {
            throw new Error("the WebSocket takes no more");
          }
        },
        close: (code, reason) => socket.close(code, reason),
        terminate: () => socket.terminate(),
      },
      formatAddress(peer),
      this.#options.maxMessage,
      true,
      peer,
    );
    data.connection = connection;
    this.#accept(connection);
  }

  #upgrade(request: Request, context: Context, peer: WebAddress): Response {
    const offered = request.headers.get("sec-websocket-protocol") ?? "";
    const isOffered = offered.split(",")
      .some((protocol) => protocol.trim() === SUBPROTOCOL);
    const { Deno: deno, WebSocketPair } = runtime;
    const headers: Record<string, string> = isOffered
      ? { "sec-websocket-protocol": SUBPROTOCOL }
      : {};
    if (context.upgrade) {
      const data: BunData = { ninep: this, peer };
      const isDone = context.upgrade(request, { headers, data });
      // Bun answers an upgraded request itself, and wants undefined.
      if (isDone) return undefined as unknown as Response;
    } else if (deno?.upgradeWebSocket) {
      const { socket, response } = deno.upgradeWebSocket(
        request,
        isOffered ? { protocol: SUBPROTOCOL } : {},
      );
      this.#acceptSocket(socket, peer);
      return response;
    } else if (WebSocketPair) {
      const { 0: webSocket, 1: socket } = new WebSocketPair();
      socket.accept();
      this.#acceptSocket(socket, peer);
      const init = { status: 101, headers, webSocket };
      return new Response(null, init);
    }
    return refusal(426, "The request cannot be upgraded to a WebSocket.");
  }

  #acceptSocket(socket: WebSocketLike, remote: WebAddress): void {
    const { maxMessage } = this.#options;
    const options = { peer: formatAddress(remote), remote, maxMessage };
    this.#accept(fromWebSocket(socket, options));
  }
}

function refusal(
  status: number,
  text: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(`${text}\n`, { status, headers });
}

/**
 * Tells whether a page may connect. Browsers let any page open a WebSocket to
 * any server, and tell the server the origin of the page.
 */
function isAllowed(
  request: Request,
  { origins = [], isLoopback = false }: AcceptorOptions,
): boolean {
  const { headers } = request;
  const origin = headers.get("origin");
  if (origin === null || origins.includes("*") || origins.includes(origin)) {
    return true;
  }
  if (!URL.canParse(origin)) return false;
  const { host, hostname } = new URL(origin);
  if (isLoopback && !/^(localhost|127\.[0-9.]+|\[::1\])$/.test(hostname)) {
    return false;
  }
  return host === (headers.get("host") ?? urlOf(request).host);
}

/** Returns the URL, which Bun gives without a host if the client named none. */
function urlOf({ url }: Request): URL {
  return new URL(url, "http://localhost");
}

/** Returns the address of the client. */
function peerOf(request: Request, context: Context): WebAddress {
  const { protocol, pathname, search } = urlOf(request);
  const isUpgrade = request.headers.has("upgrade");
  const isSecure = protocol === "https:" || protocol === "wss:";
  const ip = context.requestIP?.(request);
  const remote = context.remoteAddr;
  return {
    scheme: isUpgrade ? isSecure ? "wss" : "ws" : isSecure ? "https" : "http",
    hostname: ip?.address ?? remote?.hostname ??
      request.headers.get("cf-connecting-ip") ?? "",
    port: ip?.port ?? remote?.port ?? 0,
    path: pathname + search,
  };
}
