// An open file with a position, in the manner of Deno.FsFile.

import type { Qid } from "../../codec.ts";
import type { Connection } from "../../transport.ts";
import { bytesOf } from "../transfer/chunks.ts";
import { type FileStat, fileStat } from "../file_stat.ts";
import { ChunkReader, readableOf, writableOf } from "./file_streams.ts";
import { Handle } from "./handle.ts";
import { type CallerOptions, checkRange, type FileRef } from "../operation.ts";
import { linesOf, type LinesOptions } from "./lines.ts";
import type { OpenFid } from "../connection/client_session.ts";
import {
  monitored,
  type ProgressMonitor,
  type TransferOptions,
} from "../transfer/stall.ts";
import { leftOff } from "./stream.ts";
import { writeAll } from "../transfer/transfer.ts";
import { READ, SEEK, WRITE } from "./turns.ts";

/**
 * The place from which {@linkcode RemoteFile.seek} counts. The numbers are
 * those of `Deno.SeekMode`.
 */
export type Whence = "start" | "current" | "end" | 0 | 1 | 2;

/**
 * An open file of a server: a fid, and the position of the next read or write.
 *
 * `Client.open()` and `Client.create()` make such a file. The client stores the
 * position, because 9P has none. Operations that use the position (`read()`,
 * `write()`, `writeAll()`, `seek()`, chunks and streams) run one after the
 * other, in the order of the calls, so a caller need not await each of them.
 * There is one exception: if the file has no bytes after the position, a write
 * does not wait for reads, and a read does not wait for writes. A server may
 * use such a file for questions and answers, and a read then waits until the
 * server has data. `readAt()` and `writeAt()` take an offset, so several of
 * them can be in flight together.
 *
 * If the file was opened with `append`, each write goes to the end of the file,
 * wherever the position is, and moves the position to the end of the written
 * data.
 *
 * The file is an async iterable of its bytes from the position on; see
 * {@linkcode RemoteFile.chunks}.
 *
 * @example Write, go back, read
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({ motd: "hello\n" }, { uid: "none" }));
 * await using client = await connect(near);
 * await using file = await client.open("motd", { read: true, write: true });
 * await file.write("jelly");
 * await file.seek(1);
 * const buffer = new Uint8Array(100);
 * assertEquals(await file.read(buffer), 5);
 * assertEquals(new TextDecoder().decode(buffer.subarray(0, 5)), "elly\n");
 * assertEquals(await file.read(buffer), null);
 * ```
 */
export class RemoteFile implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  /** The fid. */
  readonly fid: number;
  /** Identity of the file when it was opened. */
  readonly qid: Qid;
  /**
   * Offset of the next read or write, in bytes. {@linkcode RemoteFile.seek}
   * sets it.
   */
  position = 0;
  readonly #handle: Handle;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array | string> | undefined;

  /** @ignore Files are made by `Client.open()` and `Client.create()`. */
  constructor(open: OpenFid, file: FileRef, appends = false) {
    this.fid = open.fid;
    this.qid = open.qid;
    this.#handle = new Handle(open, file, appends);
  }

  /** Connection to the server. */
  get connection(): Connection {
    return this.#handle.open.session.connection;
  }

  /**
   * Largest number of bytes that the server promises to transfer atomically; 0
   * if the server promises no number. A program may set a smaller value.
   */
  get iounit(): number {
    return this.#handle.open.iounit;
  }
  set iounit(iounit: number) {
    checkRange("read or write", "iounit", iounit, 0, 2 ** 32 - 1);
    this.#handle.open.iounit = iounit;
  }

  /**
   * Most bytes of one read or write, as iounit and the session's msize allow.
   */
  get limit(): number {
    return this.#handle.open.limit;
  }

  /**
   * Reads at the position, and moves the position. See `read(9P)`.
   *
   * @param into Buffer for the bytes. The client sends one request, so the
   *   buffer may not be filled.
   * @param options Signal.
   * @returns Number of bytes, or null at the end of the file.
   * @throws {TypeError} The file is closed.
   */
  async read(
    into: Uint8Array,
    options: CallerOptions = {},
  ): Promise<number | null> {
    const { turns } = this.#handle;
    const rest = turns.take(READ)
      ? options
      : await this.#handle.turn(READ, this, options);
    try {
      const start = this.position + this.#handle.writing;
      const count = await this.readAt(into, start, rest);
      if (count !== null) this.position += count;
      return count;
    } finally {
      turns.pass(READ);
    }
  }

  /**
   * Reads at an offset; the position stays. See `read(9P)`.
   *
   * @param into Buffer for the bytes. The client sends one request, so the
   *   buffer may not be filled.
   * @param offset Byte to start at, 0 to 2^53 - 1.
   * @param options Signal.
   * @returns Number of bytes, or null at the end of the file.
   * @throws {RangeError} The offset is out of its range.
   * @throws {TypeError} The file is closed.
   */
  async readAt(
    into: Uint8Array,
    offset: number,
    options: CallerOptions = {},
  ): Promise<number | null> {
    checkOffset(offset);
    if (into.length === 0) return 0;
    const { limit, session } = this.#handle.open;
    const part = into.length > limit ? into.subarray(0, limit) : into;
    const count = await this.#handle.operate(
      "read",
      options,
      (signal) => session.read(this.fid, offset, part, signal),
    );
    return count === 0 ? null : count;
  }

  /**
   * Reads the bytes from the position to the end, chunk by chunk. A `for await`
   * loop over the file does the same.
   *
   * The client reads ahead up to the length of the file, as far as `window` of
   * `connect()` allows. If the server gives no length, it may compute the file;
   * then the client does not read ahead, and passes on each reply at once. Each
   * chunk moves the position. The file stays open, even if the loop ends early.
   *
   * @param options Signal, and a timeout for each chunk. Use Infinity if the
   *   file may have no new data for a long time.
   * @returns The chunks, which belong to the caller.
   * @throws {TypeError} The file is closed.
   */
  chunks(
    options: CallerOptions = {},
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    return this.#chunks(options, false);
  }

  /**
   * @param areLent True when the caller needs a chunk only until it asks for
   *   the next one.
   */
  async *#chunks(
    options: CallerOptions,
    areLent: boolean,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    const source = new ChunkReader(this.#handle, this);
    try {
      while (true) {
        const chunk = await source.next(options);
        if (!chunk) break;
        yield chunk;
        if (areLent) source.recycle(chunk);
      }
    } finally {
      source.stop(leftOff());
    }
  }

  /**
   * Reads the bytes from the position to the end, as {@linkcode
   * RemoteFile.chunks} does.
   */
  [Symbol.asyncIterator](): AsyncGenerator<
    Uint8Array<ArrayBuffer>,
    void,
    void
  > {
    return this.chunks();
  }

  /**
   * Reads the lines from the position to the end, as UTF-8. Bytes that are not
   * valid UTF-8 become U+FFFD.
   *
   * A line ends with `\n` or `\r\n`, which is removed, or with the file. The
   * position moves with each chunk that is read, so it may be past the end of
   * the last line that was returned. The file stays open.
   *
   * @param options Signal; timeout for each chunk, Infinity if the file may
   *   have no new data for a long time; largest number of characters in a line.
   * @returns The lines.
   * @throws {RangeError} A line is too long.
   * @throws {TypeError} The file is closed.
   */
  async *lines(
    options: LinesOptions = {},
  ): AsyncGenerator<string, void, void> {
    yield* linesOf(
      this.#chunks(options, true),
      `read ${this.#handle.label}`,
      options,
    );
  }

  /**
   * Writes at the position, and moves the position. See `read(9P)`.
   *
   * @param data Bytes, or a text that becomes UTF-8. Data longer than one
   *   request are cut.
   * @param options Signal.
   * @returns Number of bytes that the server took.
   * @throws {TypeError} The file is closed.
   */
  async write(
    data: Uint8Array | string,
    options: CallerOptions = {},
  ): Promise<number> {
    const { turns, appends } = this.#handle;
    const rest = turns.take(WRITE)
      ? options
      : await this.#handle.turn(WRITE, this, options);
    try {
      if (appends) return await this.#append(data, rest, writeOnce);
      const bytes = bytesOf(data);
      this.#handle.writing = Math.min(bytes.length, this.limit);
      const count = await this.writeAt(bytes, this.position, rest);
      this.position += count;
      return count;
    } finally {
      this.#handle.writing = 0;
      turns.pass(WRITE);
    }
  }

  /**
   * Writes at an offset; the position stays. See `read(9P)`.
   *
   * If the file was opened with `append`, a server that knows OAPPEND ignores
   * the offset.
   *
   * @param data Bytes, or a text that becomes UTF-8. Data longer than one
   *   request are cut.
   * @param offset Byte to start at, 0 to 2^53 - 1.
   * @param options Signal.
   * @returns Number of bytes that the server took.
   * @throws {RangeError} The offset is out of its range.
   * @throws {TypeError} The file is closed.
   */
  writeAt(
    data: Uint8Array | string,
    offset: number,
    options: CallerOptions = {},
  ): Promise<number> {
    return this.#handle.operate("write", options, async (signal) => {
      checkOffset(offset);
      return await writeOnce(
        this.#handle.open,
        bytesOf(data),
        offset,
        signal,
      );
    });
  }

  /**
   * Writes at the end of the file, and moves the position to the end of the
   * written data.
   */
  async #append(
    data: Uint8Array | string,
    options: CallerOptions,
    write: typeof writeOnce,
  ): Promise<number> {
    const { open } = this.#handle;
    const bytes = bytesOf(data);
    const { count, position } = await this.#handle.append(
      options,
      (offset, signal) => write(open, bytes, offset, signal),
    );
    this.position = position;
    return count;
  }

  /**
   * Writes all data at the position, with as many requests as needed.
   *
   * @param data Bytes, or a text that becomes UTF-8.
   * @param options Signal, timeout, and `stall`.
   * @throws {TypeError} The file is closed.
   */
  writeAll(
    data: Uint8Array | string,
    options: TransferOptions = {},
  ): Promise<void> {
    return monitored(
      this.#handle.open.session,
      () => `write ${this.#handle.label}`,
      options,
      (own, monitor) => this.#writeAll(data, own, monitor),
    );
  }

  async #writeAll(
    data: Uint8Array | string,
    options: CallerOptions,
    monitor: ProgressMonitor | undefined,
  ): Promise<void> {
    const write: typeof writeOnce = async (open, bytes, offset, signal) => {
      const own = monitor ? withMonitor(open, monitor) : open;
      // The chunks are written one by one, because the file may be append-only,
      // or may ignore offsets.
      await writeAll(own, bytes, offset, 1, signal);
      return bytes.length;
    };
    const { turns, appends, open } = this.#handle;
    const rest = turns.take(WRITE)
      ? options
      : await this.#handle.turn(WRITE, this, options);
    try {
      monitor?.note();
      if (appends) {
        await this.#append(data, rest, write);
        return;
      }
      const bytes = bytesOf(data);
      const start = this.position;
      this.#handle.writing = bytes.length;
      const count = await this.#handle.operate(
        "write",
        rest,
        (signal) => write(open, bytes, start, signal),
      );
      this.position += count;
    } finally {
      this.#handle.writing = 0;
      turns.pass(WRITE);
    }
  }

  /**
   * Moves the position.
   *
   * @param offset Bytes from `whence`, may be negative.
   * @param whence Where to count from, the start by default. For `end` the
   *   client asks the server for the length.
   * @param options Signal.
   * @returns The new position.
   * @throws {TypeError} `whence` has a value that is not allowed.
   * @throws {RangeError} The new position is not in 0 to 2^53 - 1.
   */
  async seek(
    offset: number,
    whence: Whence = "start",
    options: CallerOptions = {},
  ): Promise<number> {
    const { turns } = this.#handle;
    const rest = turns.take(SEEK)
      ? options
      : await this.#handle.turn(SEEK, this, options);
    try {
      return this.position = checkOffset(
        await this.#base(whence, rest) + offset,
      );
    } finally {
      turns.pass(SEEK);
    }
  }

  /** Returns the position that a seek counts from. */
  async #base(whence: Whence, options: CallerOptions): Promise<number> {
    switch (whence) {
      case "start":
      case 0:
        return 0;
      case "current":
      case 1:
        return this.position;
      case "end":
      case 2:
        return (await this.stat(options)).length;
      default: // From callers without types.
        throw new TypeError(
          `Cannot seek in ${this.#handle.label}: whence is ${whence}`,
        );
    }
  }

  /**
   * Gets the attributes of the file. See
   * `stat(9P)`.
   *
   * @param options Signal.
   * @returns The attributes.
   */
  stat(options: CallerOptions = {}): Promise<FileStat> {
    const { session } = this.#handle.open;
    return this.#handle.operate(
      "stat",
      options,
      async (signal) => fileStat(await session.stat(this.fid, signal)),
    );
  }

  /**
   * Cuts the file, or extends it with zeros. The position stays. See `stat(9P)`.
   *
   * @param length New length in bytes, 0 by default.
   * @param options Signal.
   * @throws {RangeError} The length is not in 0 to 2^53 - 1.
   */
  async truncate(
    length: number = 0,
    options: CallerOptions = {},
  ): Promise<void> {
    const { session } = this.#handle.open;
    await this.#handle.operate("truncate", options, (signal) => {
      const changes = { length: BigInt(checkOffset(length)) };
      return session.wstat(this.fid, changes, signal);
    });
  }

  /**
   * A stream of the bytes from the position to the end. The file is closed when
   * the stream ends, fails or is cancelled. When the program reads, the client
   * reads ahead as {@linkcode RemoteFile.chunks} does. It is a byte stream, so
   * BYOB readers work.
   *
   * The stream has no timeout, because the next event may be hours away.
   * Cancelling does not wait for the server; {@linkcode RemoteFile.close} does.
   */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= readableOf(this.#handle, this);
  }

  /**
   * A stream that writes bytes and texts from the position on. The file is
   * closed when the stream is closed, fails or is aborted.
   *
   * At first, the client writes one chunk at a time. When the length of the
   * file shows that the server stores data at their offsets, as for a plain
   * file, the client writes several chunks at once, as far as `window` of
   * `connect()` allows. A failed write then rejects a later write, or the
   * close. Appends are always written one chunk at a time.
   *
   * The timeout of `connect()` holds for each chunk, and for closing. Aborting
   * does not wait for the server; {@linkcode RemoteFile.close} does. As with
   * all streams, the signal of a `pipeTo()` takes effect only when the write
   * before it has ended.
   */
  get writable(): WritableStream<Uint8Array | string> {
    return this.#writable ??= writableOf(this.#handle, this);
  }

  /**
   * Closes the file. Closing again does nothing, and has the same outcome.
   * After the end of the connection, closing succeeds and sends nothing.
   * Operations under way reject with a DOMException named `AbortError`, unless
   * their replies come first. See `clunk(9P)`.
   *
   * @param options Signal; an abort only ends the waiting.
   * @throws {NinePError} The server reports a failure. The file is closed
   *   nevertheless.
   */
  close(options: CallerOptions = {}): Promise<void> {
    return this.#handle.close(options);
  }

  /** Closes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Writes with one request, and returns the number of bytes that the server
 * took.
 */
function writeOnce(
  { session, fid, limit }: OpenFid,
  data: Uint8Array,
  offset: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  return session.write(fid, offset, data.subarray(0, limit), signal);
}

/**
 * Returns a view of an open fid that has a progress monitor, for one transfer.
 */
function withMonitor(open: OpenFid, monitor: ProgressMonitor): OpenFid {
  return Object.create(open, { monitor: { value: monitor } });
}

/**
 * Checks that an offset or a length is a whole number from 0 to 2^53 - 1, and
 * returns it.
 */
function checkOffset(offset: number): number {
  if (Number.isSafeInteger(offset) && offset >= 0) return offset;
  throw new RangeError(
    `Cannot use ${offset} as an offset: the range is 0 to 2^53 - 1`,
  );
}
