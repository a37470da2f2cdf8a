// An open file with a position, in the manner of Deno.FsFile.

import type { Qid } from "../../codec/messages.ts";
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

/** What {@linkcode RemoteFile.seek} counts from; by number as in `Deno.SeekMode`. */
export type Whence = "start" | "current" | "end" | 0 | 1 | 2;

/**
 * An open file of a server: a fid, and the position of the next read or write.
 *
 * Made by `Client.open()` and `Client.create()`. The client keeps the position.
 * Operations that use the position (`read()`, `write()`, `writeAll()`,
 * `seek()`, chunks and streams) run one after the other, in the order of the
 * calls, so a caller need not await each of them. There is one exception: if
 * the file has no bytes behind the position, a write does not wait for reads,
 * and a read does not wait for writes. Such a file may be a dialogue with the
 * server, in which a read waits for data. `readAt()` and `writeAt()` take an
 * offset, and are in flight together.
 *
 * If the file was opened with `append`, each write goes to the end of the file,
 * wherever the position is, and moves the position behind it.
 *
 * It is an async iterable of its bytes from the position on; see
 * {@linkcode RemoteFile.chunks}. Recognize one by `instanceof` (`handle?` of
 * the Scheme egg).
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
  /** The server's identity of the file, when it was opened. */
  readonly qid: Qid;
  /** Byte that the next read or write starts at; set by {@linkcode RemoteFile.seek}. */
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
   * Largest transfer in bytes that is atomic, as the server gave it, 0 when it
   * did not say; may be set for smaller requests.
   */
  get iounit(): number {
    return this.#handle.open.iounit;
  }
  set iounit(iounit: number) {
    checkRange("read or write", "iounit", iounit, 0, 2 ** 32 - 1);
    this.#handle.open.iounit = iounit;
  }

  /** Most bytes of one read or write: as many as iounit and the session's msize allow. */
  get limit(): number {
    return this.#handle.open.limit;
  }

  /**
   * Reads at the position, and moves it. See
   * `read(9P)`.
   *
   * @param into Where the bytes go; one request, so it may not be filled.
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
   * @param into Where the bytes go; one request, so it may not be filled.
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
   * The bytes from the position to the end, chunk by chunk; `for await` of the
   * file itself gives the same.
   *
   * As far as the length that the server names, chunks are read ahead, as many
   * as `window` of `connect()` allows. Where it names none, the file may be
   * made up, and each reply is given at once. The position moves with each
   * chunk. The file stays open, also when the loop is left.
   *
   * @param options Signal; the timeout is for each chunk: Infinity for a file
   *   that may be silent for long.
   * @returns The chunks, which are the caller's to keep.
   * @throws {TypeError} The file is closed.
   */
  chunks(
    options: CallerOptions = {},
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    return this.#chunks(options, false);
  }

  /** @param areLent The chunks are good until the next one is asked for. */
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

  /** The bytes from the position to the end, as {@linkcode RemoteFile.chunks} gives them. */
  [Symbol.asyncIterator](): AsyncGenerator<
    Uint8Array<ArrayBuffer>,
    void,
    void
  > {
    return this.chunks();
  }

  /**
   * The lines from the position to the end, as UTF-8; what is not UTF-8 is
   * replaced by U+FFFD.
   *
   * A line ends with `\n` or `\r\n`, which is taken off, or with the file.
   * The position moves as the bytes are read, which may be further than the
   * lines that were given. The file stays open.
   *
   * @param options Signal; timeout, which is for each chunk: Infinity for a file
   *   that may be silent for long; how long a line may be.
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
   * Writes at the position, and moves it. See
   * `read(9P)`.
   *
   * @param data Bytes, or a text, which becomes UTF-8: the first of them, in
   *   one request.
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
   * @param data Bytes, or a text, which becomes UTF-8: the first of them, in
   *   one request.
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

  /** Writes at the end of the file, and moves the position behind it. */
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
   * Writes all data at the position, with as many requests as it takes.
   *
   * @param data Bytes, or a text, which becomes UTF-8.
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
   * Moves the position (`set-file-position!`, `handle-position-set!` of the
   * Scheme egg).
   *
   * @param offset Bytes from `whence`, may be negative.
   * @param whence What to count from, the start by default; for `end` the
   *   server is asked for the length.
   * @param options Signal.
   * @returns The new position.
   * @throws {TypeError} There is no such whence.
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

  /** The position that a seek counts from. */
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
   * The bytes from the position to the end, which closes the file; so do
   * cancelling and failing. They are read ahead as by
   * {@linkcode RemoteFile.chunks}, once somebody reads. It is a byte stream,
   * for BYOB readers, too.
   *
   * It has no timeout, for the next event may be hours away. Cancelling waits
   * for nothing; {@linkcode RemoteFile.close} tells when the server is
   * done.
   */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= readableOf(this.#handle, this);
  }

  /**
   * A stream that writes bytes and texts from the position on. Closing it
   * closes the file, so do aborting and failing.
   *
   * The file is written one chunk at a time until the server shows that it
   * stores data at their offsets, as plain files do. From then on as much is in
   * flight as `window` of `connect()` allows, and a failure appears in a later
   * write, or at the close. Appends are always written one chunk at a time.
   *
   * The timeout of `connect()` holds for each chunk, and for closing. Aborting
   * waits for nothing; {@linkcode RemoteFile.close} tells when the server is
   * done. But the signal of a `pipeTo()` is heard only when the write before it
   * has ended, as with all streams.
   */
  get writable(): WritableStream<Uint8Array | string> {
    return this.#writable ??= writableOf(this.#handle, this);
  }

  /**
   * Closes the file. Closing again does
   * nothing, and gives the same outcome; when the connection has ended, there is
   * nothing to close any more. What is under way with the file is given up, and
   * rejects with a DOMException named `AbortError`, unless its reply comes
   * first. See `clunk(9P)`.
   *
   * @param options Signal; an abort only ends the waiting.
   * @throws {NinePError} The server reports a failure; the file is closed all the same.
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

/** Returns an open fid for one transfer whose progress is noted. */
function withMonitor(open: OpenFid, monitor: ProgressMonitor): OpenFid {
  return Object.create(open, { monitor: { value: monitor } });
}

/** Checks a number of the file API that becomes 8 bytes on the wire. */
function checkOffset(offset: number): number {
  if (Number.isSafeInteger(offset) && offset >= 0) return offset;
  throw new RangeError(
    `Cannot use ${offset} as an offset: the range is 0 to 2^53 - 1`,
  );
}
