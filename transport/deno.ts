// Sockets of Deno. Nothing here touches `Deno` before it is called.

import { cannot, closed, codeOf, lost } from "./failure.ts";
import { ProcessHold } from "./process_hold.ts";
import { SocketFile } from "./socket_file.ts";
import { type Streams, streamsOf } from "./streams.ts";
import { type Address, formatAddress } from "./address.ts";
import type { Connection, Listener, ListenerOptions } from "./connection.ts";
import type { Sockets } from "./sockets.ts";

// As much of Deno's types as is used here: plain tsc does not know them.

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
  setNoDelay(): void;
}

/** What a {@linkcode DenoListener} needs of a listener of Deno. */
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
  listen(options: TcpOptions): SystemListener<TcpConn> & { addr: NetAddr };
}

/** Deno's namespace: a cast, because its types are not there for plain tsc. */
function deno(): Runtime {
  return (globalThis as unknown as { Deno: Runtime }).Deno;
}

/** The sockets of Deno. */
export const denoSockets: Sockets = {
  async connect(address, signal): Promise<Connection> {
    const peer = formatAddress(address);
    if (address.scheme === "unix") {
      const { path } = address;
      return new DenoConnection(
        await deno().connect({ transport: "unix", path }),
        peer,
      );
    }
    const { hostname, port } = address;
    const conn = await deno().connect(
      signal ? { hostname, port, signal } : { hostname, port },
    );
    noDelay(conn);
    return new DenoConnection(conn, peer);
  },

  listen(address, options): Listener {
    if (address.scheme === "unix") {
      const { path } = address;
      const listener = deno().listen({ transport: "unix", path });
      const file = new SocketFile(path);
      let isAccepting = false;
      let putBack: (() => void) | undefined;
      return new DenoListener(
        {
          accept: async () => {
            isAccepting = true;
            try {
              return await listener.accept();
            } finally {
              isAccepting = false;
              putBack?.();
            }
          },
          close() {
            putBack = file.keepForeign(() => listener.close());
            if (!isAccepting) putBack();
          },
          ref: () => listener.ref(),
          unref: () => listener.unref(),
        },
        address,
        () => address,
        options,
      );
    }
    const { hostname, port } = address;
    const listener = deno().listen({ hostname, port });
    const peerOf = (conn: TcpConn) => {
      noDelay(conn);
      return tcp(conn.remoteAddr);
    };
    return new DenoListener(listener, tcp(listener.addr), peerOf, options);
  },
};

function noDelay(conn: TcpConn): void {
  try {
    conn.setNoDelay();
  } catch {
    // The peer has gone already: the first read tells.
  }
}

function tcp({ hostname, port }: NetAddr): Address {
  return { scheme: "tcp", hostname, port };
}

class DenoConnection implements Connection {
  readonly peer: string;
  /** Bytes that the system has taken. */
  taken = 0;
  readonly #conn: Conn;
  #streams: Streams | undefined;
  #writeEnded = false;
  #closed = false;

  constructor(conn: Conn, peer: string) {
    this.#conn = conn;
    this.peer = peer;
  }

  // Not the streams of `conn`: these here end alike on every runtime, and are
  // no slower.
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
      // The peer has gone: there is nothing left to end.
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

// The pause before the next accept() when one has failed, in milliseconds: it
// doubles with each failure, up to the most, and begins anew after a success.
const PAUSE_LEAST = 5;
const PAUSE_MOST = 1000;

/** A listener over one of Deno's, which no failure of accept() ends. */
export class DenoListener<C extends Conn> implements Listener {
  readonly addr: string;
  readonly #listener: SystemListener<C>;
  readonly #peerOf: (conn: C) => Address;
  readonly #onError: ListenerOptions["onError"];
  readonly #hold = new ProcessHold();
  #pause = PAUSE_LEAST;
  #endPause: (() => void) | undefined;
  #closed = false;

  /**
   * @param listener Where connections come from.
   * @param addr Its address.
   * @param peerOf Prepares a connection, and gives the address of its peer.
   * @param options Where errors of accept() are reported.
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
    this.#hold.add(listener);
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
    this.#hold.delete(this.#listener);
    this.#listener.close();
    this.#endPause?.();
  }

  ref(): void {
    this.#hold.ref();
  }

  unref(): void {
    this.#hold.unref();
  }

  /** Waits for a connection; undefined when accept() has failed, after a pause. */
  async #accept(): Promise<C | undefined> {
    try {
      const conn = await this.#listener.accept();
      this.#pause = PAUSE_LEAST;
      return conn;
    } catch (error) {
      // A connection that died early says nothing about the next one. Any
      // other error may be there for a while, such as a lack of files.
      if (this.#closed || isEarlyDeath(error)) return undefined;
      this.#onError?.(cannot("accept on", this.addr, error));
      await this.#wait();
      return undefined;
    }
  }

  /** Makes a connection of what was accepted; undefined when it is dead, or came too late. */
  #take(conn: C): Connection | undefined {
    try {
      if (!this.#closed) {
        return new DenoConnection(conn, formatAddress(this.#peerOf(conn)));
      }
    } catch {
      // The peer has gone already.
    }
    conn.close();
    return undefined;
  }

  /** Waits before the next accept(); closing the listener ends the pause. */
  #wait(): Promise<void> {
    if (this.#closed) return Promise.resolve(); // By `onError`.
    const pause = this.#pause;
    this.#pause = Math.min(pause * 2, PAUSE_MOST);
    return new Promise((resolve) => {
      const timer = this.#hold.after(pause, resolve);
      this.#endPause = () => {
        this.#hold.cancel(timer);
        resolve();
      };
    });
  }
}

/**
 * Recognizes that the connection ended before it was accepted, or that a
 * firewall has refused it (EPERM). ENOTCONN: Deno asks for the addresses of
 * what it has accepted, and the peer has reset the connection by then.
 */
function isEarlyDeath(error: unknown): boolean {
  return /^(ECONNABORTED|ECONNRESET|ENOTCONN|EPERM|EPROTO|EINTR)$/.test(
    codeOf(error) ?? "",
  );
}
