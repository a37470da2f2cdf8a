// An open file with a position, in the manner of Deno.FsFile.

import type { Qid } from "../codec/messages.ts";
import { type FileStat, fileStat } from "./file_stat.ts";
import {
  type CallerOptions,
  type FileRef,
  labelOf,
  operate,
} from "./operation.ts";
import type { OpenFid } from "./session.ts";
import { writeAll } from "./transfer.ts";

/** Size of the chunks of {@linkcode RemoteFile.readable}. */
const CHUNK = 64 * 1024;

/** What {@linkcode RemoteFile.seek} counts from. */
export type Whence = "start" | "current" | "end";

/**
 * An open file of a server: a fid, and the position of the next read or write.
 *
 * Made by `Client.open()` and `Client.create()`. The position is kept here, so
 * reads and writes at it are to be awaited one by one; `readAt()` and
 * `writeAt()` take their own and may be in flight together.
 *
 * @example Write, go back, read
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({ motd: "hello\n" }));
 * await using client = await connect(near);
 * await using file = await client.open("motd", { read: true, write: true });
 * await file.write(new TextEncoder().encode("jelly"));
 * await file.seek(1);
 * const buffer = new Uint8Array(100);
 * assertEquals(await file.read(buffer), 5);
 * assertEquals(new TextDecoder().decode(buffer.subarray(0, 5)), "elly\n");
 * assertEquals(await file.read(buffer), null);
 * ```
 */
export class RemoteFile {
  /** The fid. */
  readonly fid: number;
  /** The server's identity of the file, when it was opened. */
  readonly qid: Qid;
  /** Largest transfer in bytes that is atomic, as the server gave it; 0 when it did not say. */
  readonly iounit: number;
  /** Byte that the next read or write starts at; set by {@linkcode RemoteFile.seek}. */
  position = 0;
  readonly #open: OpenFid;
  /** As the caller named it. */
  readonly #file: FileRef;
  #closing: Promise<void> | undefined;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array> | undefined;

  /** @ignore Files are made by `Client.open()` and `Client.create()`. */
  constructor(open: OpenFid, file: FileRef) {
    this.fid = open.fid;
    this.qid = open.qid;
    this.iounit = open.iounit;
    this.#open = open;
    this.#file = file;
  }

  /**
   * Reads at the position, and moves it. See `read(9P)`.
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
    const count = await this.readAt(into, this.position, options);
    if (count !== null) this.position += count;
    return count;
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
    const { limit, session } = this.#open;
    const part = into.length > limit ? into.subarray(0, limit) : into;
    const count = await this.#operate(
      "read",
      options,
      (signal) => session.read(this.fid, offset, part, signal),
    );
    return count === 0 ? null : count;
  }

  /**
   * Writes at the position, and moves it. See `read(9P)`.
   *
   * @param data Bytes to write, the first of them in one request.
   * @param options Signal.
   * @returns Number of bytes that the server took.
   * @throws {TypeError} The file is closed.
   */
  async write(
    data: Uint8Array,
    options: CallerOptions = {},
  ): Promise<number> {
    const count = await this.writeAt(data, this.position, options);
    this.position += count;
    return count;
  }

  /**
   * Writes at an offset; the position stays. See `read(9P)`.
   *
   * @param data Bytes to write, the first of them in one request.
   * @param offset Byte to start at, 0 to 2^53 - 1.
   * @param options Signal.
   * @returns Number of bytes that the server took.
   * @throws {RangeError} The offset is out of its range.
   * @throws {TypeError} The file is closed.
   */
  writeAt(
    data: Uint8Array,
    offset: number,
    options: CallerOptions = {},
  ): Promise<number> {
    return this.#operate("write", options, async (signal) => {
      checkOffset(offset);
      const { limit, session } = this.#open;
      const part = data.subarray(0, limit);
      return await session.write(this.fid, offset, part, signal);
    });
  }

  /**
   * Writes all data at the position, with as many requests as it takes.
   *
   * @param data Bytes to write.
   * @param options Signal.
   * @throws {TypeError} The file is closed.
   */
  async writeAll(
    data: Uint8Array,
    options: CallerOptions = {},
  ): Promise<void> {
    await this.#operate(
      "write",
      options,
      // One by one: the file may be append-only, or take no notice of offsets.
      (signal) => writeAll(this.#open, data, this.position, 1, signal),
    );
    this.position += data.length;
  }

  /**
   * Moves the position.
   *
   * @param offset Bytes from `whence`, may be negative.
   * @param whence What to count from, the start by default; for `end` the
   *   server is asked for the length.
   * @param options Signal.
   * @returns The new position.
   * @throws {RangeError} The new position is not in 0 to 2^53 - 1.
   */
  async seek(
    offset: number,
    whence: Whence = "start",
    options: CallerOptions = {},
  ): Promise<number> {
    let base = 0;
    if (whence === "current") base = this.position;
    else if (whence === "end") base = (await this.stat(options)).length;
    return this.position = checkOffset(base + offset);
  }

  /**
   * Gets the attributes of the file. See `stat(9P)`.
   *
   * @param options Signal.
   * @returns The attributes.
   */
  stat(options: CallerOptions = {}): Promise<FileStat> {
    const { session } = this.#open;
    return this.#operate(
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
    const { session } = this.#open;
    await this.#operate("truncate", options, (signal) => {
      const changes = { length: BigInt(checkOffset(length)) };
      return session.wstat(this.fid, changes, signal);
    });
  }

  /**
   * The bytes from the position to the end, which closes the file; so do
   * cancelling and failing. It is a byte stream, for BYOB readers, too.
   */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: Math.min(CHUNK, this.#open.limit),
      pull: async (controller) => {
        // There with every pull, because of autoAllocateChunkSize.
        const request = controller.byobRequest!;
        const { buffer, byteOffset, byteLength } = request.view!;
        const view = new Uint8Array(buffer, byteOffset, byteLength);
        const count = await this.#orClose(this.read(view));
        if (count === null) {
          controller.close();
          await this.close();
        }
        request.respond(count ?? 0);
      },
      cancel: () => this.close(),
    });
  }

  /** A stream that writes from the position on; closing it closes the file, so do aborting and failing. */
  get writable(): WritableStream<Uint8Array> {
    return this.#writable ??= new WritableStream({
      write: (data) => this.#orClose(this.writeAll(data)),
      close: () => this.close(),
      abort: () => this.close(),
    });
  }

  /**
   * Closes the file. Closing again does nothing, and gives the same outcome;
   * when the connection has ended, there is nothing to close any more. See
   * `clunk(9P)`.
   *
   * @throws {NinePError} The server reports a failure; the file is closed all the same.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    const { session } = this.#open;
    try {
      await session.clunk(this.fid);
    } catch (error) {
      if (error !== session.error) throw error;
    }
  }

  /** Closes the file when what a stream asked of it fails: nobody else would. */
  async #orClose<T>(outcome: Promise<T>): Promise<T> {
    try {
      return await outcome;
    } catch (error) {
      this.close().catch(() => {});
      throw error;
    }
  }

  /** Closes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #operate<T>(
    verb: string,
    options: CallerOptions,
    work: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    if (!this.#closing) {
      return operate(this.#open.session, verb, this.#file, options, work);
    }
    return Promise.reject(
      new TypeError(
        `Cannot ${verb} ${labelOf(this.#file)}: the file is closed`,
      ),
    );
  }
}

/** Checks a number of the file API that becomes 8 bytes on the wire. */
function checkOffset(offset: number): number {
  if (Number.isSafeInteger(offset) && offset >= 0) return offset;
  throw new RangeError(
    `Cannot use ${offset} as an offset: the range is 0 to 2^53 - 1`,
  );
}
