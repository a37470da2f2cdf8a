// Sockets of Deno. Nothing here touches `Deno` before it is called.

import { cannot, closed, codeOf, lost } from "./failure.ts";
import { type Streams, streamsOf } from "./streams.ts";
import { type Address, formatAddress } from "./address.ts";
import type { Connection, Listener } from "./connection.ts";
import type { Sockets } from "./sockets.ts";

/** Pause before the next accept when the system is short of something, in ms. */
const ACCEPT_PAUSE = 50;

/** The sockets of Deno. */
export const denoSockets: Sockets = {
  async connect(address, signal): Promise<Connection> {
    const peer = formatAddress(address);
    if (address.scheme === "unix") {
      const { path } = address;
      return new DenoConnection(
        await Deno.connect({ transport: "unix", path }),
        peer,
      );
    }
    const { hostname, port } = address;
    const conn = await Deno.connect(
      signal ? { hostname, port, signal } : { hostname, port },
    );
    noDelay(conn);
    return new DenoConnection(conn, peer);
  },

  listen(address): Listener {
    if (address.scheme === "unix") {
      const { path } = address;
      const listener = Deno.listen({ transport: "unix", path });
      return new DenoListener(listener, address, () => address);
    }
    const { hostname, port } = address;
    const listener = Deno.listen({ hostname, port });
    const addr = tcp(listener.addr);
    return new DenoListener(listener, addr, (conn) => {
      noDelay(conn);
      return tcp(conn.remoteAddr);
    });
  },

  isSocket: (path) => Deno.lstatSync(path).isSocket === true,
  remove: (path) => Deno.removeSync(path),
};

function noDelay(conn: Deno.TcpConn): void {
  try {
    conn.setNoDelay();
  } catch {
    // The peer has gone already: the first read tells.
  }
}

function tcp({ hostname, port }: Deno.NetAddr): Address {
  return { scheme: "tcp", hostname, port };
}

class DenoConnection implements Connection {
  readonly peer: string;
  /** Bytes that the system has taken. */
  taken = 0;
  readonly #conn: Deno.Conn;
  #streams: Streams | undefined;
  #writeEnded = false;
  #closed = false;

  constructor(conn: Deno.Conn, peer: string) {
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
}

class DenoListener<C extends Deno.Conn> implements Listener {
  readonly addr: string;
  readonly #listener: Deno.Listener<C>;
  readonly #peerOf: (conn: C) => Address;
  #endPause: (() => void) | undefined;
  #closed = false;

  constructor(
    listener: Deno.Listener<C>,
    addr: Address,
    peerOf: (conn: C) => Address,
  ) {
    this.addr = formatAddress(addr);
    this.#listener = listener;
    this.#peerOf = peerOf;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection> {
    try {
      while (!this.#closed) {
        const connection = await this.#accept();
        if (connection) yield connection;
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    this.#endPause?.();
  }

  /** Waits for a connection; undefined for one that failed or came too late. */
  async #accept(): Promise<Connection | undefined> {
    let conn: C | undefined;
    try {
      conn = await this.#listener.accept();
      if (!this.#closed) {
        return new DenoConnection(conn, formatAddress(this.#peerOf(conn)));
      }
    } catch (error) {
      // A connection that died early says nothing about the next one; a lack
      // of files or memory stays for a while.
      if (!this.#closed && isShortage(error)) await this.#pause();
      else if (!this.#closed && !conn && !isEarlyDeath(error)) {
        throw cannot("accept on", this.addr, error);
      }
    }
    conn?.close();
    return undefined;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ACCEPT_PAUSE);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function isShortage(error: unknown): boolean {
  return /^(EMFILE|ENFILE|ENOBUFS|ENOMEM)$/.test(codeOf(error) ?? "");
}

function isEarlyDeath(error: unknown): boolean {
  return /^(ECONNABORTED|ECONNRESET|EPROTO|EINTR|EPERM)$/.test(
    codeOf(error) ?? "",
  );
}
