// Between connections and Web streams, in both directions.

import type { Connection } from "./connection.ts";

/** Size of the buffers that a default reader's chunks come in. */
const CHUNK_SIZE = 64 * 1024;

/** The two streams of a connection. */
export interface Streams {
  /** Bytes from the peer. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Bytes to the peer. */
  readonly writable: WritableStream<Uint8Array>;
}

/** The streams for {@linkcode fromStreams}. */
export interface StreamPair extends Streams {
  /** Closes the source of the streams, if the streams do not. */
  close?(): void;
  /** Keeps the process alive, if the streams can. */
  ref?(): void;
  /** Lets the process end, if the streams can. */
  unref?(): void;
}

/** A connection with a fast path, from which streams can be made. */
export type FastConnection = Pick<
  Required<Connection>,
  "read" | "write" | "close" | "closeWrite"
>;

/**
 * Makes the streams of a connection from its fast path. When both have come to
 * their end, the connection is closed.
 */
export function streamsOf(connection: FastConnection): Streams {
  let open = 2;
  const ended = () => {
    if (--open === 0) connection.close();
  };
  return {
    readable: new ReadableStream(new ByteSource(connection, ended)),
    writable: new WritableStream({
      write(bytes: Uint8Array): Promise<void> | undefined {
        if (bytes instanceof Uint8Array) return connection.write(bytes);
        throw new TypeError("Cannot write: chunk is not an Uint8Array");
      },
      async close(): Promise<void> {
        await connection.closeWrite();
        ended();
      },
      abort: () => connection.close(),
    }),
  };
}

/** Reads from a connection only when the stream's reader asks. */
class ByteSource implements UnderlyingByteSource {
  readonly type = "bytes";
  readonly autoAllocateChunkSize: number = CHUNK_SIZE;
  readonly #connection: FastConnection;
  readonly #ended: () => void;
  /** Rest of a chunk that was larger than the reader's buffer. */
  #rest: Uint8Array | undefined;

  constructor(connection: FastConnection, ended: () => void) {
    this.#connection = connection;
    this.#ended = ended;
  }

  async pull(controller: ReadableByteStreamController): Promise<void> {
    // Each pull has a request, because of autoAllocateChunkSize.
    const request = controller.byobRequest!;
    const { buffer, byteOffset, byteLength } = request.view!;
    const view = new Uint8Array(buffer, byteOffset, byteLength);
    const bytes = this.#rest ?? await this.#connection.read(view);
    this.#rest = undefined;
    if (bytes === null) {
      controller.close();
      request.respond(0); // Gives a BYOB reader its buffer back.
      this.#ended();
      return;
    }
    const length = Math.min(bytes.length, byteLength);
    if (bytes.buffer !== buffer) view.set(bytes.subarray(0, length));
    if (length < bytes.length) this.#rest = bytes.subarray(length);
    request.respond(length);
  }

  cancel(): void {
    this.#connection.close();
  }
}

/**
 * Makes a connection of two byte streams: a subprocess's output and input, a
 * `WebSocketStream`, the ends of two `TransformStream`s.
 *
 * @param streams `readable` and `writable`, not locked. Their `close()`, where
 * there is one, is called when the connection closes.
 * @param peer Label of the peer for messages, `streams` by default.
 * @returns The connection; its streams are the ones given.
 *
 * @example A connection over two TransformStreams
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fromStreams } from "@ninep/ninep/transport";
 *
 * const there = new TransformStream<Uint8Array, Uint8Array>();
 * const back = new TransformStream<Uint8Array, Uint8Array>();
 * const near = fromStreams({ readable: back.readable, writable: there.writable });
 * const far = fromStreams({ readable: there.readable, writable: back.writable }, "near");
 * assertEquals([near.peer, far.peer], ["streams", "near"]);
 * ```
 */
export function fromStreams(
  streams: StreamPair,
  peer: string = "streams",
): Connection {
  const { readable, writable } = streams;
  return {
    readable,
    writable,
    peer,
    close(): void {
      // The reader of a locked stream ends it.
      if (!readable.locked) readable.cancel().catch(ignore);
      if (!writable.locked) writable.close().catch(ignore);
      try {
        streams.close?.();
      } catch {
        // Closed before: the streams themselves may have done it.
      }
    },
    ref: () => streams.ref?.(),
    unref: () => streams.unref?.(),
  };
}

function ignore(): void {}
