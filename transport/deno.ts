// Sockets of Deno. Nothing here touches `Deno` before it is called.

import {
  cannot,
  closed,
  lost,
  missingCertificate,
  systemCodeOf,
  unsupported,
} from "./failure.ts";
import { nodeSockets } from "./node.ts";
import { RefGroup } from "./ref_group.ts";
import { MODE, SocketFile } from "./socket_file.ts";
import { type Streams, streamsOf } from "./streams.ts";
import {
  type Address,
  formatAddress,
  type TcpAddress,
  type UnixAddress,
} from "./address.ts";
import type {
  Connection,
  Listener,
  ListenerOptions,
  TlsListenerOptions,
} from "./connection.ts";
import type { Sockets } from "./sockets.ts";

// The parts of Deno's types that are used here, because plain tsc does not know
// these types.

interface NetAddr {
  readonly hostname: string;
  readonly port: number;
}

interface Conn {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  ref(): void;
  unref(): void;
}

interface TcpConn extends Conn {
  readonly remoteAddr: NetAddr;
  /** Only a connection without TLS has it. */
  setNoDelay?(): void;
  setKeepAlive?(): void;
}

/** The members of a Deno listener that a {@linkcode DenoListener} uses. */
export interface SystemListener<C extends Conn> {
  accept(): Promise<C>;
  close(): void;
  ref(): void;
  unref(): void;
}

interface UnixOptions {
  transport: "unix";
  path: string;
}

interface TcpOptions {
  hostname: string;
  port: number;
  signal?: AbortSignal;
}

interface Runtime {
  connect(options: UnixOptions): Promise<Conn>;
  connect(options: TcpOptions): Promise<TcpConn>;
  listen(options: UnixOptions): SystemListener<Conn>;
  listen(options: TcpOptions): TcpListener;
  listenTls(options: TcpOptions & DenoTls): TcpListener;
  chmodSync(path: string, mode: number): void;
}

type TcpListener = SystemListener<TcpConn> & { addr: NetAddr };

/** Options of Deno for TLS. */
interface DenoTls {
  cert?: string;
  key?: string;
  alpnProtocols?: string[];
}

/**
 * Returns Deno's namespace. A cast is needed, because plain tsc does not know
 * its types.
 */
function deno(): Runtime {
  return (globalThis as unknown as { Deno: Runtime }).Deno;
}

/** The sockets of Deno. */
export const denoSockets: Sockets = {
  async connect(address, options): Promise<Connection> {
    if (address.scheme === "unix") {
      const { path } = address;
      return new DenoConnection(
        await deno().connect({ transport: "unix", path }),
        address,
      );
    }
    // Deno's own TLS has no options of TCP, and no end of a handshake.
    if (address.scheme === "tls") return nodeSockets.connect(address, options);
    const { hostname, port } = address;
    const { signal } = options;
    const conn = await deno().connect({
      ...{ hostname, port },
      ...(signal ? { signal } : {}),
    });
    tune(conn);
    return new DenoConnection(conn, address);
  },

  listen(address, options): Listener {
    if (address.scheme === "unix") return listenUnix(address, options);
    const { scheme, hostname, port } = address;
    const listener = scheme === "tcp"
      ? deno().listen({ hostname, port })
      : listenTls(hostname, port, options.tls);
    const peerOf = (conn: TcpConn) => {
      tune(conn);
      return addressOf(scheme, conn.remoteAddr);
    };
    const addr = addressOf(scheme, listener.addr);
    return new DenoListener(listener, addr, peerOf, options);
  },
};

function listenUnix(address: UnixAddress, options: ListenerOptions): Listener {
  const { path } = address;
  const listener = deno().listen({ transport: "unix", path });
  try {
    // Deno sets no mode before it listens, but this runs before it accepts.
    deno().chmodSync(path, options.mode ?? MODE);
  } catch (error) {
    listener.close();
    throw error;
  }
  return new DenoListener(
    new UnixListener(listener, new SocketFile(path)),
    address,
    () => address,
    options,
  );
}

function listenTls(
  hostname: string,
  port: number,
  tls: TlsListenerOptions | undefined,
): TcpListener {
  if (tls === undefined) throw missingCertificate();
  const { cert, key, ca, alpn } = tls;
  if (ca !== undefined) {
    throw unsupported(
      "Deno asks clients for no certificates (option ca); Bun and Node do",
    );
  }
  return deno().listenTls({
    ...{ hostname, port, cert, key },
    ...(alpn === undefined ? {} : { alpnProtocols: [...alpn] }),
  });
}

/** Sends without delay, and notices a peer that has gone without a word. */
function tune(conn: TcpConn): void {
  try {
    conn.setNoDelay?.();
    conn.setKeepAlive?.();
  } catch {
    // The peer has gone. The first read gives the error.
  }
}

function addressOf(
  scheme: TcpAddress["scheme"],
  { hostname, port }: NetAddr,
): Address {
  return { scheme, hostname, port };
}

class DenoConnection implements Connection {
  readonly peer: string;
  readonly remote: Readonly<Address>;
  /** Number of bytes that the system has taken. */
  taken = 0;
  readonly #conn: Conn;
  #streams: Streams | undefined;
  #writeEnded = false;
  #closed = false;

  constructor(conn: Conn, remote: Address) {
    this.#conn = conn;
    this.remote = remote;
    this.peer = formatAddress(remote);
  }

  // The streams of `conn` are not used. These streams end in the same way on
  // every runtime, and are as fast.
  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  async read(buffer: Uint8Array): Promise<Uint8Array | null> {
    if (this.#closed) return null;
    try {
      const length = await this.#conn.read(buffer);
      if (length === null || this.#closed) return null;
      return length === buffer.length ? buffer : buffer.subarray(0, length);
    } catch (error) {
      if (this.#closed) return null;
      throw lost(this.peer, error);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#writeEnded) throw closed(this.peer);
    try {
      let taken = await this.#conn.write(bytes);
      this.taken += taken;
      while (taken < bytes.length) {
        const more = await this.#conn.write(bytes.subarray(taken));
        this.taken += more;
        taken += more;
      }
    } catch (error) {
      throw this.#closed ? closed(this.peer) : lost(this.peer, error);
    }
  }

  async closeWrite(): Promise<void> {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    try {
      await this.#conn.closeWrite();
    } catch {
      // The peer has gone, so there is nothing to end.
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeEnded = true;
    this.#conn.close();
  }

  ref(): void {
    if (!this.#closed) this.#conn.ref();
  }

  unref(): void {
    if (!this.#closed) this.#conn.unref();
  }
}

/** A listener of Deno that keeps the socket file of another listener. */
class UnixListener implements SystemListener<Conn> {
  readonly #listener: SystemListener<Conn>;
  readonly #file: SocketFile;
  #accepting = false;
  #putBack: (() => void) | undefined;

  constructor(listener: SystemListener<Conn>, file: SocketFile) {
    this.#listener = listener;
    this.#file = file;
  }

  accept(): Promise<Conn> {
    this.#accepting = true;
    const accepted = this.#listener.accept();
    const end = () => {
      this.#accepting = false;
      this.#putBack?.();
    };
    accepted.then(end, end);
    return accepted;
  }

  close(): void {
    const putBack = this.#file.putAside();
    this.#listener.close();
    // Deno removes the file when no accept() is under way any more.
    if (this.#accepting) this.#putBack = putBack;
    else putBack();
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }
}

// The pause in milliseconds between a failed accept() and the next one. It
// doubles with each failure up to the largest pause, and starts small again
// after a success.
const PAUSE_LEAST = 5;
const PAUSE_MOST = 1000;

/** A listener of Deno that no failure of accept() ends. */
export class DenoListener<C extends Conn> implements Listener {
  readonly addr: string;
  readonly #listener: SystemListener<C>;
  readonly #peerOf: (conn: C) => Address;
  readonly #onError: ListenerOptions["onError"];
  readonly #refs = new RefGroup();
  #pause = PAUSE_LEAST;
  #endPause: (() => void) | undefined;
  #closed = false;

  /**
   * @param listener Listener of Deno.
   * @param addr Address of the listener.
   * @param peerOf Prepares a connection, and returns the address of its peer.
   * @param options `onError` gets the errors of accept().
   */
  constructor(
    listener: SystemListener<C>,
    addr: Address,
    peerOf: (conn: C) => Address,
    options: ListenerOptions,
  ) {
    this.addr = formatAddress(addr);
    this.#listener = listener;
    this.#peerOf = peerOf;
    this.#onError = options.onError;
    this.#refs.add(listener);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection> {
    try {
      while (!this.#closed) {
        const conn = await this.#accept();
        const connection = conn && this.#take(conn);
        if (connection) yield connection;
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#refs.delete(this.#listener);
    this.#listener.close();
    this.#endPause?.();
  }

  ref(): void {
    this.#refs.ref();
  }

  unref(): void {
    this.#refs.unref();
  }

  /**
   * Waits for a connection. Returns undefined, after a pause, when accept() has
   * failed.
   */
  async #accept(): Promise<C | undefined> {
    try {
      const conn = await this.#listener.accept();
      this.#pause = PAUSE_LEAST;
      return conn;
    } catch (error) {
      // A connection that died early says nothing about the next one. Any other
      // error, such as a lack of files, may last for a while.
      if (this.#closed || isEarlyDeath(error)) return undefined;
      this.#onError?.(cannot("accept on", this.addr, error));
      await this.#wait();
      return undefined;
    }
  }

  /**
   * Makes a connection of an accepted socket. Returns undefined when the peer
   * is gone, or the listener is closed.
   */
  #take(conn: C): Connection | undefined {
    try {
      if (!this.#closed) {
        return new DenoConnection(conn, this.#peerOf(conn));
      }
    } catch {
      // The peer is gone.
    }
    conn.close();
    return undefined;
  }

  /** Waits before the next accept(); closing the listener ends the pause. */
  #wait(): Promise<void> {
    if (this.#closed) return Promise.resolve(); // Closed by `onError`.
    const pause = this.#pause;
    this.#pause = Math.min(pause * 2, PAUSE_MOST);
    return new Promise((resolve) => {
      const timer = this.#refs.after(pause, resolve);
      this.#endPause = () => {
        this.#refs.cancel(timer);
        resolve();
      };
    });
  }
}

/**
 * Recognizes that the connection ended before it was accepted, or that a
 * firewall has refused it (EPERM). Deno asks for the addresses of an accepted
 * socket, which fails with ENOTCONN if the peer has reset the connection.
 */
function isEarlyDeath(error: unknown): boolean {
  return /^(ECONNABORTED|ECONNRESET|ENOTCONN|EPERM|EPROTO|EINTR)$/.test(
    systemCodeOf(error) ?? "",
  );
}
