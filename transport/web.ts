// Addresses of the web: a client opens a WebSocket or sends a POST, and a
// listener is an HTTP server that takes both.

import { formatAddress, type WebAddress } from "./address.ts";
import { missingCertificate, unsupported } from "./failure.ts";
import { ConnectionQueue } from "./connection_queue.ts";
import { post } from "./post.ts";
import { hasNodeModules } from "./sockets.ts";
import { bunWebSocket, SUBPROTOCOL, WebAcceptor } from "./web_acceptor.ts";
import {
  fromWebSocket,
  SocketConnection,
  type WebSocketLike,
} from "./web_socket.ts";
import type {
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
  TlsListenerOptions,
  TlsOptions,
} from "./connection.ts";

/** The parts of the runtimes that are used here, because their types differ. */
interface Runtime {
  readonly process?: { readonly release?: { readonly name?: string } };
  /** A class of workerd. */
  readonly WebSocketPair?: unknown;
  readonly WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
  readonly Deno?: {
    createHttpClient(options: object): { close(): void };
    serve(options: object, handler: Fetch): {
      readonly addr: { readonly port: number };
      shutdown(): Promise<void>;
      ref(): void;
      unref(): void;
    };
  };
  readonly Bun?: {
    serve(options: object): {
      readonly port: number;
      stop(closeConnections: boolean): Promise<void>;
      ref(): void;
      unref(): void;
    };
  };
}

type Fetch = (request: Request, context: unknown) => Response;

// A cast is needed, because plain tsc does not know the runtimes.
const runtime = globalThis as unknown as Runtime;

/** Connects by a WebSocket, or by a POST. */
export async function dial(
  address: WebAddress,
  options: DialOptions,
): Promise<Connection> {
  const { signal, tls } = options;
  const url = formatAddress(address);
  const { scheme } = address;
  const isWebSocket = scheme === "ws" || scheme === "wss";
  if (isWebSocket && hasBetterClient()) {
    const { dialWebSocket } = await import("./web_socket_client.ts");
    return await dialWebSocket(address, SUBPROTOCOL, options);
  }
  const extensions = tls ? tlsExtensions(tls) : {};
  if (scheme === "http" || scheme === "https") {
    return { ...post(url, extensions), remote: address };
  }
  const { WebSocket } = runtime;
  if (WebSocket === undefined) {
    throw unsupported("this runtime has no WebSocket");
  }
  const socket = new WebSocket(url, [SUBPROTOCOL]);
  return await untilOpen(socket, address, signal);
}

/**
 * Tells whether the client of `web_socket_client.ts` can be used, which is better
 * than the class of the runtime: in Deno, Bun and Node.
 */
function hasBetterClient(): boolean {
  const { Deno: deno, Bun: bun, WebSocketPair: pair, process } = runtime;
  if (deno || bun) return true;
  return process?.release?.name === "node" && !pair;
}

/** Waits for a socket that connects; the signal ends only the wait. */
function untilOpen(
  socket: WebSocketLike,
  remote: WebAddress,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const abort = () => socket.close();
    signal?.addEventListener("abort", abort, { once: true });
    socket.addEventListener("open", () => {
      signal?.removeEventListener("abort", abort);
      resolve(fromWebSocket(socket, { peer: formatAddress(remote), remote }));
    });
    socket.addEventListener("error", ({ error, message }) => {
      signal?.removeEventListener("abort", abort);
      reject(error ?? new Error(message || "no WebSocket answers there"));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      reject(new Error(reason || `closed with the code ${code}`));
    });
  });
}

/** Returns what WebSocket and fetch() of this runtime take for certificates. */
function tlsExtensions({ ca, cert, key, alpn }: TlsOptions): object {
  const authorities = ca === undefined ? undefined : [ca].flat();
  if (alpn) throw unsupported("a WebSocket and HTTP choose ALPN themselves");
  if (runtime.Deno) {
    const identity = cert === undefined ? {} : { cert, key };
    const caCerts = authorities === undefined ? {} : { caCerts: authorities };
    const client = runtime.Deno.createHttpClient({ ...caCerts, ...identity });
    return { client };
  }
  if (runtime.Bun) return { tls: { ca: authorities, cert, key } };
  throw unsupported(
    "this runtime takes no certificates here; use tls: instead, or NODE_EXTRA_CA_CERTS",
  );
}

/** Listens with an HTTP server of this runtime. */
export async function listen(
  address: WebAddress,
  options: ListenerOptions,
): Promise<Listener> {
  const { scheme, hostname } = address;
  const isSecure = scheme === "wss" || scheme === "https";
  if (isSecure && options.tls === undefined) {
    throw missingCertificate();
  }
  const listener = new WebListener(
    hostname === "" ? { ...address, hostname: "127.0.0.1" } : address,
    options,
  );
  await listener.start(isSecure ? options.tls : undefined);
  return listener;
}

/** An HTTP server, and the connections that wait for the server of 9P. */
class WebListener implements Listener {
  addr = "";
  readonly #address: WebAddress;
  readonly #acceptor: WebAcceptor;
  #server: HttpServer | undefined;
  readonly #queue = new ConnectionQueue();
  /** Number of WebSockets that are open. */
  #open = 0;
  #closed = false;

  constructor(address: WebAddress, options: ListenerOptions) {
    this.#address = address;
    this.#acceptor = new WebAcceptor(
      (connection) => this.#accept(connection),
      { ...options, isLoopback: isLoopback(address.hostname) },
    );
  }

  /** Starts the HTTP server. */
  async start(tls: TlsListenerOptions | undefined): Promise<void> {
    const { hostname, port } = this.#address;
    const init = { hostname, port, tls, fetch: this.#fetch };
    const server = await startServer(init, this.#address);
    this.#server = server;
    this.addr = formatAddress({ ...this.#address, port: server.port });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection> {
    try {
      yield* this.#queue.take();
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.close();
    this.#stop();
  }

  /**
   * Stops the HTTP server when no WebSocket is open, because Deno closes all
   * WebSockets of a server that stops.
   */
  #stop(): void {
    if (this.#closed && this.#open === 0) this.#server?.stop();
  }

  ref(): void {
    this.#server?.ref();
  }

  unref(): void {
    this.#server?.unref();
  }

  readonly #fetch: Fetch = (request, context) => {
    if (this.#closed) {
      return new Response("The server has stopped.\n", { status: 503 });
    }
    // Bun gives a path alone for a request without the header Host.
    const { pathname } = new URL(request.url, "http://localhost");
    const [path] = this.#address.path.split("?");
    if (pathname === path) return this.#acceptor.fetch(request, context);
    return new Response("There is nothing here.\n", { status: 404 });
  };

  #accept(connection: Connection): void {
    if (connection instanceof SocketConnection) {
      this.#open++;
      void connection.closed.then(() => {
        this.#open--;
        this.#stop();
      });
    }
    this.#queue.push(connection);
  }
}

/** What an HTTP server is started with. */
interface ServerInit {
  readonly hostname: string;
  readonly port: number;
  readonly tls: TlsListenerOptions | undefined;
  readonly fetch: Fetch;
}

/** An HTTP server of any runtime. */
interface HttpServer {
  readonly port: number;
  /** Stops listening. Its connections go on. */
  stop(): void;
  ref(): void;
  unref(): void;
}

async function startServer(
  init: ServerInit,
  { scheme }: WebAddress,
): Promise<HttpServer> {
  const { hostname, port, tls, fetch } = init;
  if (tls?.ca || tls?.alpn) {
    throw unsupported("HTTP servers take no ca and no alpn; tls: does");
  }
  if (runtime.Deno) {
    const server = runtime.Deno.serve({
      hostname,
      port,
      ...tls,
      onListen() {},
    }, fetch);
    return {
      port: server.addr.port,
      stop: () => void server.shutdown(),
      ref: () => server.ref(),
      unref: () => server.unref(),
    };
  }
  if (runtime.Bun) {
    const server = runtime.Bun.serve({
      hostname,
      port,
      fetch,
      websocket: bunWebSocket,
      ...(tls ? { tls } : {}),
    });
    return {
      port: server.port,
      stop: () => void server.stop(false),
      ref: () => server.ref(),
      unref: () => server.unref(),
    };
  }
  if (scheme === "ws" || scheme === "wss") {
    throw unsupported(
      "this runtime has no server of WebSockets; Deno and Bun have; " +
        "with the package ws, call serve() with each of its sockets",
    );
  }
  if (!hasNodeModules()) {
    throw unsupported("this runtime has no HTTP server; use webHandler()");
  }
  const { serveByNode } = await import("./node_http.ts");
  const server = await serveByNode(init);
  return {
    port: server.address().port,
    stop: () => server.close(),
    ref: () => server.ref(),
    unref: () => server.unref(),
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" ||
    /^127(\.[0-9]+){3}$/.test(hostname);
}
