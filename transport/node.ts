// Sockets of Node, by node:net and node:tls. Bun uses those of node:tls.

import { type Address, formatAddress } from "./address.ts";
import { ConnectionQueue } from "./connection_queue.ts";
import { cannot, checkIdentity, missingCertificate } from "./failure.ts";
import { type NodeReadable, type NodeWritable, Pipes } from "./pipes.ts";
import { SocketFile, withMode } from "./socket_file.ts";
import { KEEP_ALIVE_MS, type SocketAddress, type Sockets } from "./sockets.ts";
import type {
  Certificate,
  Connection,
  Listener,
  ListenerOptions,
  TlsListenerOptions,
  TlsOptions,
} from "./connection.ts";

// The parts of Node's types that are used here, because the library depends on
// no package.

interface Socket extends NodeReadable, NodeWritable {
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  once(event: string, listener: (error: Error) => void): void;
  off(event: string, listener: (error: Error) => void): void;
  setNoDelay(on: boolean): void;
  setKeepAlive(on: boolean, initialDelay: number): void;
  getPeerCertificate?(): PeerCertificate;
}

interface PeerCertificate {
  readonly subject?: Record<string, string | string[]>;
  readonly issuer?: Record<string, string | string[]>;
  readonly fingerprint256?: string;
}

type Target = { host: string; port: number } | { path: string };

interface TlsSettings {
  ca?: string[];
  cert?: string;
  key?: string;
  ALPNProtocols?: string[];
}

interface Server {
  address(): { port: number };
  listen(target: Target): void;
  close(): void;
  on(
    event: "connection" | "secureConnection",
    listener: (socket: Socket) => void,
  ): void;
  on(event: "error", listener: (error: Error) => void): void;
  once(event: "listening", listener: () => void): void;
  ref(): void;
  unref(): void;
}

interface Net {
  connect(options: Target & { allowHalfOpen: true }): Socket;
  createServer(options: { allowHalfOpen: true }): Server;
}

interface Tls {
  connect(
    options: Target & TlsSettings & {
      allowHalfOpen: true;
      rejectUnauthorized: true;
      servername?: string;
    },
  ): Socket;
  createServer(
    options: TlsSettings & {
      allowHalfOpen: true;
      requestCert: boolean;
      rejectUnauthorized: true;
      handshakeTimeout: number;
    },
  ): Server;
}

/** Milliseconds that a client has for the handshake of TLS. */
const HANDSHAKE_MS = 30_000;
/** Most clients in the handshake of TLS; one more ends the oldest of them. */
const HANDSHAKES = 512;

function builtin<Module>(name: string): Module {
  // A cast is needed, because the types of Node are a package.
  const { process } = globalThis as unknown as {
    process: { getBuiltinModule(name: string): Module };
  };
  return process.getBuiltinModule(name);
}

/** The sockets of Node. */
export const nodeSockets: Sockets = {
  connect(address, { signal, tls = {} }): Promise<Connection> {
    const target = { ...targetOf(address), allowHalfOpen: true } as const;
    const isTls = address.scheme === "tls";
    if (isTls) checkIdentity(tls);
    const socket = isTls
      ? builtin<Tls>("node:tls").connect({
        ...target,
        ...clientSettings(tls),
        ...serverName(address.hostname),
        // Without it, NODE_TLS_REJECT_UNAUTHORIZED=0 would end the check.
        rejectUnauthorized: true,
      })
      : builtin<Net>("node:net").connect(target);
    return new Promise((resolve, reject) => {
      const abort = () => socket.destroy();
      signal?.addEventListener("abort", abort, { once: true });
      if (signal?.aborted) abort(); // It aborted while this module was loaded.
      const end = () => signal?.removeEventListener("abort", abort);
      const fail = (error?: Error) => {
        end();
        reject(error ?? new Error("the peer closed it"));
      };
      socket.once("error", fail);
      socket.once("close", fail);
      socket.once(isTls ? "secureConnect" : "connect", () => {
        end();
        socket.off("error", fail);
        socket.off("close", fail);
        resolve(connectionOf(socket, address, isTls));
      });
    });
  },

  async listen(address, options): Promise<Listener> {
    const listener = new NodeListener(address, options);
    await listener.start();
    return listener;
  },
};

function targetOf(address: SocketAddress): Target {
  if (address.scheme === "unix") return { path: address.path };
  return { host: address.hostname, port: address.port };
}

function clientSettings({ ca, cert, key, alpn }: TlsOptions): TlsSettings {
  return {
    ...(ca === undefined ? {} : { ca: [ca].flat() }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
  };
}

/** Returns the name for SNI, which must not be an IP address. */
function serverName(hostname: string): { servername?: string } {
  const isIp = hostname.includes(":") || /^[0-9.]+$/.test(hostname);
  return isIp ? {} : { servername: hostname };
}

function connectionOf(
  socket: Socket,
  remote: Readonly<Address>,
  isTls: boolean,
): Connection {
  if (remote.scheme !== "unix") {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
  }
  const certificate = isTls ? certificateOf(socket) : undefined;
  return new Pipes({
    input: socket,
    output: socket,
    peer: formatAddress(remote),
    remote,
    certificate,
  });
}

function certificateOf(socket: Socket): Certificate | undefined {
  const { subject, issuer, fingerprint256 } = socket.getPeerCertificate?.() ??
    {};
  if (!subject || !issuer || fingerprint256 === undefined) return undefined;
  return {
    subject: formatName(subject),
    issuer: formatName(issuer),
    fingerprint: fingerprint256.replaceAll(":", "").toLowerCase(),
  };
}

/** Writes a distinguished name, such as `CN=alice,O=Example`. */
function formatName(name: Record<string, string | string[]>): string {
  return Object.entries(name).flatMap(([key, values]) =>
    [values].flat().map((value) =>
      `${key}=${value.replace(/[\\,+"<>;=]/g, "\\$&")}`
    )
  ).reverse().join(",");
}

/** A listener of node:net or node:tls. */
class NodeListener implements Listener {
  addr = "";
  readonly #address: SocketAddress;
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #queue = new ConnectionQueue();
  #file: SocketFile | undefined;
  #closed = false;

  constructor(address: SocketAddress, options: ListenerOptions) {
    this.#address = address;
    this.#options = options;
    this.#server = address.scheme === "tls"
      ? createTlsServer(options.tls)
      : builtin<Net>("node:net").createServer({ allowHalfOpen: true });
  }

  /** Begins to listen. */
  async start(): Promise<void> {
    const address = this.#address;
    const server = this.#server;
    const isTls = address.scheme === "tls";
    if (isTls) boundHandshakes(server);
    server.on(isTls ? "secureConnection" : "connection", (socket) => {
      this.#queue.push(connectionOf(socket, this.#peerOf(socket), isTls));
    });
    await new Promise<void>((resolve, reject) => {
      server.on("error", (error) => {
        reject(error);
        if (this.addr !== "" && !this.#closed) {
          this.#options.onError?.(cannot("accept on", this.addr, error));
        }
      });
      server.once("listening", resolve);
      // Node makes the file of a Unix socket before listen() returns.
      const listen = () => server.listen(targetOf(address));
      if (address.scheme === "unix") {
        withMode(address.path, this.#options.mode, listen);
      } else listen();
    });
    if (address.scheme === "unix") this.#file = new SocketFile(address.path);
    this.addr = formatAddress(
      address.scheme === "unix"
        ? address
        : { ...address, port: server.address().port },
    );
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
    const putBack = this.#file?.putAside();
    this.#server.close();
    putBack?.();
    this.#queue.close();
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }

  #peerOf({ remoteAddress = "", remotePort = 0 }: Socket): Readonly<Address> {
    const address = this.#address;
    if (address.scheme === "unix") return address;
    // A listener on all addresses sees IPv4 clients with this prefix.
    const hostname = remoteAddress.replace(/^::ffff:(?=[0-9.]+$)/, "");
    return { scheme: address.scheme, hostname, port: remotePort };
  }
}

function createTlsServer(tls: TlsListenerOptions | undefined): Server {
  if (tls === undefined) throw missingCertificate();
  return builtin<Tls>("node:tls").createServer({
    ...clientSettings(tls),
    allowHalfOpen: true,
    requestCert: tls.ca !== undefined,
    rejectUnauthorized: true,
    handshakeTimeout: HANDSHAKE_MS,
  });
}

/**
 * Bounds the clients that have not finished their handshake, which no limit of
 * the server counts. The oldest ends first, so that silent clients cannot keep
 * others away.
 */
function boundHandshakes(server: Server): void {
  const waiting = new Map<string, Socket>();
  // The socket with TLS is another object, with the same address.
  const keyOf = (socket: Socket) =>
    `${socket.remoteAddress} ${socket.remotePort}`;
  server.on("connection", (socket) => {
    const key = keyOf(socket);
    waiting.set(key, socket);
    socket.once("close", () => {
      if (waiting.get(key) === socket) waiting.delete(key);
    });
    if (waiting.size <= HANDSHAKES) return;
    const [[first, oldest]] = waiting;
    waiting.delete(first);
    oldest.destroy();
  });
  server.on("secureConnection", (socket) => waiting.delete(keyOf(socket)));
}
