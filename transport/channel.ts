// The interface through which the client and the server use a connection.

import { closed, lost, pending } from "./failure.ts";
import type { Connection } from "./connection.ts";

/**
 * A connection as the client and the server use it. The channel is the
 * connection itself when it has `read`, `write` and `closeWrite`; otherwise
 * {@linkcode openChannel} makes one. The members have the same meaning as in
 * {@linkcode Connection}.
 */
export interface Channel {
  /** Label of the peer. */
  readonly peer: string;
  /** Number of bytes that the system, or the peer, has taken so far. */
  readonly taken?: number;
  /**
   * Reads the next bytes into `buffer`, or returns a chunk of the channel.
   * Returns null at the end.
   */
  read(buffer: Uint8Array): Promise<Uint8Array | null>;
  /** Takes back a chunk that read() has returned. */
  free?(chunk: Uint8Array): void;
  /**
   * Writes all of `bytes`. Returns undefined when they were written at once.
   */
  write(bytes: Uint8Array): Promise<void> | undefined;
  /** Ends the direction to the peer where the connection can; never rejects. */
  closeWrite(): Promise<void>;
  /** Closes the connection: idempotent, never throws. */
  close(): void;
}

/**
 * Opens the channel of a connection. The channel uses `read` and `write` of the
 * connection if it has them. Otherwise the channel uses the two streams of the
 * connection, and locks them.
 *
 * @param connection The connection, which the channel takes over.
 * @throws {TypeError} When a stream of the connection is already locked.
 */
export function openChannel(connection: Connection): Channel {
  if (isChannel(connection)) return connection;
  const { read, write } = connection;
  if (!read || !write) return new StreamChannel(connection);
  return {
    peer: connection.peer,
    get taken() {
      return connection.taken ?? 0;
    },
    read: (buffer) => read.call(connection, buffer),
    free: (chunk) => connection.free?.(chunk),
    write: (bytes) => write.call(connection, bytes),
    closeWrite: () => Promise.resolve(),
    close: () => connection.close(),
  };
}

function isChannel(connection: Connection): connection is Connection & Channel {
  return connection.read !== undefined && connection.write !== undefined &&
    connection.closeWrite !== undefined;
}

/** A channel over the streams of a connection. */
class StreamChannel implements Channel {
  readonly peer: string;
  readonly #connection: Connection;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** Rejects the pending write. */
  #rejectWrite: ((reason: unknown) => void) | undefined;
  #writeEnded = false;
  #closed = false;

  constructor(connection: Connection) {
    this.peer = connection.peer;
    this.#connection = connection;
    this.#reader = connection.readable.getReader();
    try {
      this.#writer = connection.writable.getWriter();
    } catch (error) {
      this.#reader.releaseLock();
      throw error;
    }
    // This promise may reject while no write is pending. The next write reports
    // the error.
    this.#writer.closed.catch(() => {});
  }

  async read(_buffer: Uint8Array): Promise<Uint8Array | null> {
    try {
      while (!this.#closed) {
        const { value, done } = await this.#reader.read();
        if (done || this.#closed) return null;
        // At run time the stream may return any value, in spite of its type.
        if (!(value instanceof Uint8Array)) {
          throw new TypeError(`the stream gave ${typeof value}, not bytes`);
        }
        if (value.length > 0) return plain(value);
      }
    } catch (error) {
      if (!this.#closed) throw lost(this.peer, error);
    }
    return null;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#rejectWrite) {
      return Promise.reject(pending(this.peer, "write to"));
    }
    return new Promise((resolve, reject) => {
      this.#rejectWrite = reject;
      // The bytes are copied, because a stream may use the chunk after the
      // write.
      this.#writer.write(new Uint8Array(bytes)).then(
        () => {
          this.#rejectWrite = undefined;
          resolve();
        },
        (error) => {
          this.#rejectWrite = undefined;
          reject(lost(this.peer, error));
        },
      );
    });
  }

  async closeWrite(): Promise<void> {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    await this.#writer.close().catch(() => {});
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reader.cancel().catch(() => {});
    this.#reader.releaseLock();
    if (this.#rejectWrite) {
      const error = closed(this.peer);
      this.#rejectWrite(error);
      this.#writer.abort(error).catch(() => {});
    } else if (!this.#writeEnded) {
      this.#writer.close().catch(() => {});
    }
    this.#writeEnded = true;
    this.#writer.releaseLock();
    this.#connection.close();
  }
}

/**
 * Returns a plain view of a Buffer, because slice() of a Buffer makes no copy.
 */
function plain(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array
    ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
