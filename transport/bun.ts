// Sockets of Bun, which cost less than those of node:net. Nothing here uses
// `Bun` before a function is called.

import { closed, lost, pending } from "./failure.ts";
import { ConnectionQueue } from "./connection_queue.ts";
import { Inbox } from "./inbox.ts";
import { type Streams, streamsOf } from "./streams.ts";
import { type Address, formatAddress } from "./address.ts";
import { SocketFile, withMode } from "./socket_file.ts";
import type { Connection, Listener } from "./connection.ts";
import { KEEP_ALIVE_MS, type SocketAddress, type Sockets } from "./sockets.ts";

/** Least bytes of a chunk whose memory is given back. */
const LARGE = 16 * 1024;

// The parts of Bun's types that are used here, because the library depends on
// no package.

interface Socket {
  /** Data of this module for the socket. */
  data: BunConnection;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  /** Bytes that the system took, -1 on a dead socket. */
  write(bytes: Uint8Array): number;
  /** Ends the direction to the peer. */
  shutdown(): void;
  /** Closes. */
  end(): void;
  pause(): void;
  resume(): void;
  ref(): void;
  unref(): void;
  setNoDelay(on: boolean): boolean;
  setKeepAlive(on: boolean, initialDelay: number): boolean;
}

interface Handlers {
  binaryType: "uint8array";
  open(socket: Socket): void;
  data(socket: Socket, chunk: Uint8Array): void;
  drain(socket: Socket): void;
  end(socket: Socket): void;
  close(socket: Socket, error?: Error): void;
  error(socket: Socket, error: Error): void;
}

interface SocketOptions {
  socket: Handlers;
  /** Keeps the socket open when the stream of the peer ends. */
  allowHalfOpen: true;
}

type Target = { hostname: string; port: number } | { unix: string };

interface Runtime {
  connect(options: SocketOptions & Target): Promise<Socket>;
  listen(options: SocketOptions & Target): ListeningSocket;
}

interface ListeningSocket {
  readonly hostname: string;
  readonly port: number;
  stop(closeConnections: boolean): void;
  ref(): void;
  unref(): void;
}

/**
 * Returns Bun's namespace. A cast is needed, because its types are a package.
 */
function bun(): Runtime {
  return (globalThis as unknown as { Bun: Runtime }).Bun;
}

/** The sockets of Bun. */
export const bunSockets: Sockets = {
  async connect(address): Promise<Connection> {
    const socket = await bun().connect({
      ...targetOf(address),
      allowHalfOpen: true,
      socket: handlers((socket) => {
        socket.data = new BunConnection(socket, address);
      }),
    });
    if (address.scheme === "tcp") tune(socket);
    return socket.data;
  },

  // Bun reports no failure to accept.
  listen(address, { mode }): Listener {
    const make = () => new BunListener(address);
    return address.scheme === "unix"
      ? withMode(address.path, mode, make)
      : make();
  },
};

function targetOf(address: SocketAddress): Target {
  if (address.scheme === "unix") return { unix: address.path };
  return { hostname: address.hostname, port: address.port };
}

/** Sends without delay, and notices a peer that has gone without a word. */
function tune(socket: Socket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
}

function handlers(open: (socket: Socket) => void): Handlers {
  return {
    binaryType: "uint8array",
    open,
    data: (socket, chunk) => socket.data.arrived(chunk),
    drain: (socket) => socket.data.drained(),
    end: (socket) => socket.data.ended(),
    close: (socket, error) => socket.data.died(error),
    error: (socket, error) => socket.data.died(error),
  };
}

class BunConnection implements Connection {
  readonly peer: string;
  readonly remote: Readonly<Address>;
  /** Bytes of delayed writes that the system has taken. */
  taken = 0;
  readonly #socket: Socket;
  readonly #inbox: Inbox;
  #streams: Streams | undefined;
  #paused = false;
  /** The bytes that a pending write still has to send. */
  #rest: Uint8Array | undefined;
  #writer: PromiseWithResolvers<void> | undefined;
  #writeEnded = false;
  #closed = false;
  #error: Error | undefined;

  constructor(socket: Socket, remote: Address) {
    this.#socket = socket;
    this.remote = remote;
    this.peer = formatAddress(remote);
    this.#inbox = new Inbox(this.peer);
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  read(buffer: Uint8Array): Promise<Uint8Array | null> {
    const bytes = this.#inbox.read(buffer);
    if (this.#paused && !this.#inbox.isFull) {
      this.#paused = false;
      this.#socket.resume();
    }
    return bytes;
  }

  // The collector would free the memory long after the system had to find
  // memory for further chunks. Bulk data would cost a third more.
  free(chunk: Uint8Array): void {
    const { length } = chunk;
    if (length < LARGE) return;
    const { buffer } = chunk;
    if (buffer.byteLength === length && buffer instanceof ArrayBuffer) {
      buffer.transfer(0);
    }
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#writer) return Promise.reject(pending(this.peer, "write to"));
    const taken = this.#error ? -1 : this.#socket.write(bytes);
    if (taken === bytes.length) return undefined;
    if (taken < 0) return Promise.reject(this.#error ?? lost(this.peer));
    this.#rest = bytes.subarray(taken);
    this.#writer = Promise.withResolvers();
    return this.#writer.promise;
  }

  closeWrite(): Promise<void> {
    if (!this.#writeEnded) {
      this.#writeEnded = true;
      this.#socket.shutdown();
    }
    return Promise.resolve();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeEnded = true;
    this.#inbox.close();
    this.#settleWrite(closed(this.peer));
    this.#socket.end();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  /**
   * A chunk came. This module owns its memory, because Bun makes new memory for
   * each chunk.
   */
  arrived(chunk: Uint8Array): void {
    this.#inbox.push(chunk);
    if (!this.#paused && this.#inbox.isFull) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  /** The system takes more bytes. Bun sometimes calls this without need. */
  drained(): void {
    if (!this.#rest) return;
    const taken = this.#socket.write(this.#rest);
    if (taken > 0) this.taken += taken;
    if (taken === this.#rest.length) this.#settleWrite();
    else if (taken > 0) this.#rest = this.#rest.subarray(taken);
  }

  /** The peer ended its direction. */
  ended(): void {
    this.#inbox.end();
  }

  /** The socket has ended, with an error unless it was closed in order. */
  died(cause: Error | undefined): void {
    if (this.#closed || this.#error) return;
    this.#error = lost(this.peer, cause);
    this.#inbox.end(cause && this.#error);
    this.#settleWrite(this.#error);
  }

  #settleWrite(error?: Error): void {
    const writer = this.#writer;
    this.#rest = this.#writer = undefined;
    if (error) writer?.reject(error);
    else writer?.resolve();
  }
}

/**
 * A listener that queues the connections that Bun accepts. With no file
 * descriptor left, Bun 1.4 tries again without a pause, and this code does not
 * notice.
 */
class BunListener implements Listener {
  readonly addr: string;
  readonly #listener: ListeningSocket;
  readonly #queue = new ConnectionQueue();
  #closed = false;
  /** The file of a Unix socket. */
  readonly #file: SocketFile | undefined;

  constructor(address: SocketAddress) {
    this.#listener = bun().listen({
      ...targetOf(address),
      allowHalfOpen: true,
      socket: handlers((socket) => this.#opened(socket, address)),
    });
    if (address.scheme === "unix") this.#file = new SocketFile(address.path);
    this.addr = formatAddress(
      address.scheme === "unix"
        ? address
        : { ...address, port: this.#listener.port },
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
    this.#listener.stop(false);
    putBack?.();
    this.#queue.close();
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }

  #opened(socket: Socket, address: SocketAddress): void {
    let remote: Address = address;
    if (address.scheme === "tcp") {
      tune(socket);
      // A peer that has gone has no address.
      const { remoteAddress: hostname = "", remotePort: port = 0 } = socket;
      remote = { scheme: "tcp", hostname, port };
    }
    const connection = new BunConnection(socket, remote);
    socket.data = connection;
    this.#queue.push(connection);
  }
}
