// Files by their paths, in the words of Deno.

import { NinePError, OAPPEND, ORDWR } from "../codec.ts";
import { Attributes } from "./attributes.ts";
import { callFile, type CallOptions } from "./call.ts";
import {
  appendAll,
  bytesOf,
  chunksOf,
  type FileData,
  writeChunks,
} from "./transfer/chunks.ts";
import { isDirectory } from "./file_stat.ts";
import { lend } from "./with_resource.ts";
import {
  type CallerOptions,
  checkMost,
  type FileRef,
  labelOf,
  operate,
} from "./operation.ts";
import { RemoteFile } from "./file/remote_file.ts";
import type { OpenFid } from "./connection/client_session.ts";
import { monitored, type TransferOptions } from "./transfer/stall.ts";
import { LANES, MAX_LENGTH, readAll, writeAll } from "./transfer/transfer.ts";

/** Options of {@linkcode Files.open}. */
export interface OpenOptions extends CallerOptions {
  /** Open for reading; the default when nothing else is asked for. */
  read?: boolean | undefined;
  /** Open for writing. */
  write?: boolean | undefined;
  /**
   * Open for writing. Each write goes to the end of the file, and the position
   * starts there.
   *
   * The writes of one session are made in order, and none is lost. Between
   * clients, a write of up to {@linkcode RemoteFile.limit} bytes is atomic on a
   * server that knows OAPPEND, such as the server of this library; the client
   * sends this bit. On any other server the client writes at the end that it
   * has seen, so clients that append at the same time overwrite each other. A
   * file that was made with DMAPPEND is safe on every server, see {@linkcode
   * Files.create}.
   */
  append?: boolean | undefined;
  /** Cut the file to nothing; goes with `write`. */
  truncate?: boolean | undefined;
  /** Make the file if it is not there; goes with `write`, `append` or `flags`. */
  create?: boolean | undefined;
  /** Make the file; it is an error if it is there. Goes with `write`, `append` or `flags`, and a path. */
  createNew?: boolean | undefined;
  /** Permissions of a new file, 0o666 by default; the server takes away what the directory does not allow. */
  mode?: number | undefined;
  /**
   * Mode of the Topen, such as `ORDWR | OTRUNC`, or with OEXEC or ORCLOSE,
   * which have no option of their own. OAPPEND is the same as `append`, and goes
   * with OWRITE or ORDWR. Goes without `read`, `write`, `append`
   * and `truncate`.
   */
  flags?: number | undefined;
}

/** Options of {@linkcode Files.create}. */
export interface CreateOptions extends CallerOptions {
  /** Permissions and DM bits, 0o666 by default. */
  perm?: number | undefined;
  /** Mode to open the new file with, as in Topen; ORDWR by default. */
  mode?: number | undefined;
}

/** Options of {@linkcode Files.readFile}. */
export interface ReadFileOptions extends TransferOptions {
  /**
   * Most bytes of the file, 0 to 2^53 - 1, or Infinity; 1 GiB by default, so
   * that a file without an end does not take all memory. A longer file is a
   * RangeError, and the rest of it is not read. {@linkcode RemoteFile.chunks}
   * and {@linkcode RemoteFile.readable} read files of any length.
   */
  maxLength?: number | undefined;
}

/** Options of {@linkcode Files.writeFile}. */
export interface WriteFileOptions extends TransferOptions {
  /**
   * Write at the end of the file, instead of replacing its content. {@linkcode
   * OpenOptions.append} says what is safe between clients. Data that come chunk
   * by chunk are appended chunk by chunk, between the writes of other clients.
   */
  append?: boolean | undefined;
  /** Make the file if it is not there, true by default. */
  create?: boolean | undefined;
  /** Make the file; it is an error if it is there. */
  createNew?: boolean | undefined;
  /** Permissions of a new file, 0o666 by default. */
  mode?: number | undefined;
}

/** The files of one tree of a server: what {@linkcode RemoteTree} and {@linkcode Client} have for single files. */
export class Files extends Attributes {
  /**
   * Opens a file, or makes it. See `open(9P)`.
   *
   * What the Scheme egg calls `open-input-file`, `open-output-file` and
   * `file-open`.
   *
   * @param file Path, or a fid, which is the file's from then on; it stays the
   *   caller's to clunk if this fails.
   * @param options What for, and whether to make the file.
   * @returns The open file.
   * @throws {TypeError} The options contradict each other.
   *
   * @example Only if it is not there
   * ```ts
   * import { assertEquals, assertRejects } from "@std/assert";
   * import { connect, MemoryFs, NinePError, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lock: "" }, { uid: "none" }));
   * await using client = await connect(near);
   * const error = await assertRejects(
   *   () => client.open("lock", { write: true, createNew: true }),
   *   NinePError,
   *   'Cannot open "lock": file already exists',
   * );
   * assertEquals(error.code, "EEXIST");
   * ```
   *
   * @example With the mode of a Topen
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { ORCLOSE, ORDWR } from "@ninep/ninep/codec";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * const flags = ORDWR | ORCLOSE;
   * const scratch = await client.open("scratch", { flags, create: true });
   * await scratch.writeAll(new TextEncoder().encode("for a while"));
   * await scratch.close();
   * assertEquals(await client.exists("scratch"), false);
   * ```
   */
  open(file: FileRef, options: OpenOptions = {}): Promise<RemoteFile> {
    const { session } = this;
    const { append = false, write = append, flags = 0 } = options;
    const appends = append || (flags & OAPPEND) !== 0;
    const drop = ({ fid }: { fid: number }) => {
      if (typeof file !== "number") session.drop(fid);
    };
    return operate(session, "open", file, options, async (signal) => {
      const open = await this.paths.open(file, { ...options, write }, signal);
      const result = new RemoteFile(open, file, appends);
      try {
        if (appends) await result.seek(0, "end", { signal });
        return result;
      } catch (error) {
        drop(open);
        throw error;
      }
    }, drop);
  }

  /**
   * Makes a file and opens it (`file-create` of the Scheme egg); an error if it
   * is there. See `open(9P)`.
   *
   * @param path Path of the new file.
   * @param options Permissions and DM bits, mode to open it with.
   * @returns The open file.
   *
   * @example A log that others can only append to
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { DMAPPEND, OWRITE } from "@ninep/ninep/codec";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * const perm = DMAPPEND + 0o666;
   * const log = await client.create("log", { perm, mode: OWRITE });
   * await log.close();
   * await client.writeTextFile("log", "one\n");
   * await client.writeTextFile("log", "two\n");
   * assertEquals(await client.readTextFile("log"), "one\ntwo\n");
   * ```
   */
  create(
    path: string | readonly string[],
    options: CreateOptions = {},
  ): Promise<RemoteFile> {
    const { session } = this;
    const { perm = 0o666, mode = ORDWR } = options;
    return operate(
      session,
      "create",
      path,
      options,
      async (signal) =>
        new RemoteFile(
          await this.paths.create(path, perm, mode, signal),
          path,
          (mode & OAPPEND) !== 0,
        ),
      (file) => session.drop(file.fid),
    );
  }

  /**
   * Opens a file, runs a function on it and closes it, also after an error. See
   * `open(9P)`.
   *
   * What the Scheme egg calls `call-with-input-file`, `with-input-from-file`,
   * `call-with-output-file` and `with-output-to-file`.
   *
   * An abort closes the file: what the function waits for of it rejects. When
   * the connection ends, so does this, whatever the function waits for.
   *
   * @param path Path.
   * @param use What is done with the file.
   * @param options What to open it for. Signal and timeout hold for all of it;
   *   there is no timeout by default, but those of the calls.
   * @returns What the function gave.
   * @throws {NinePError} Also when closing the file fails: then something was
   *   not written.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * const length = await client.withFile("motd", async (file) => {
   *   const buffer = new Uint8Array(100);
   *   return await file.read(buffer);
   * });
   * assertEquals(length, 6);
   * ```
   */
  withFile<T>(
    path: string | readonly string[],
    use: (file: RemoteFile) => T | Promise<T>,
    options: OpenOptions = {},
  ): Promise<T> {
    return lend(path, options, {
      session: this.session,
      take: (bounds) => this.open(path, { ...options, ...bounds }),
      interrupt: (file) => void file.close().catch(() => {}),
      giveBack: (file) => file.close(),
    }, use);
  }

  /**
   * Reads a whole file.
   *
   * @param path Path.
   * @param options Limits on the length and the time, and a signal.
   * @returns Its content.
   * @throws {RangeError} The file is longer than `maxLength`.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ bytes: new Uint8Array([1, 2, 3]) }));
   * await using client = await connect(near);
   * assertEquals(await client.readFile("bytes"), new Uint8Array([1, 2, 3]));
   * ```
   */
  readFile(
    path: string | readonly string[],
    options: ReadFileOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    const { maxLength = MAX_LENGTH } = options;
    const what = () => `read ${labelOf(path)}`;
    return monitored(
      this.session,
      what,
      options,
      (own, monitor) =>
        this.paths.withOpen("read", path, {}, own, (open, signal) => {
          checkMost(what(), "maxLength", maxLength);
          if (isDirectory(open.qid)) throw new NinePError("Is a directory");
          open.monitor = monitor;
          return readAll(open, signal, { maxLength, what: what() });
        }),
    );
  }

  /**
   * Reads a whole file as UTF-8; what is not UTF-8 is replaced by U+FFFD.
   *
   * @param path Path.
   * @param options As of {@linkcode Files.readFile}; `maxLength` counts bytes.
   * @returns Its text.
   * @throws {RangeError} The file is longer than `maxLength`.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "žluťoučký 🐎\n" }));
   * await using client = await connect(near);
   * assertEquals(await client.readTextFile("motd"), "žluťoučký 🐎\n");
   * ```
   */
  async readTextFile(
    path: string | readonly string[],
    options: ReadFileOptions = {},
  ): Promise<string> {
    const bytes = await this.readFile(path, options);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /**
   * Writes a file: replaces its content, or makes it.
   *
   * When it fails, any part of the data may have been written; a stream is
   * cancelled and unlocked, an iterator is told to return.
   *
   * @param path Path.
   * @param data New content; it must not be changed before the promise settles.
   *   What comes chunk by chunk is asked for as the server takes it, so it may
   *   be longer than memory holds. Each chunk is sent by itself.
   * @param options Whether to append, whether to make the file.
   *
   * @example From a stream
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * const stream = new Blob(["hello ", "world"]).stream();
   * await client.writeFile("greeting", stream);
   * assertEquals(await client.readTextFile("greeting"), "hello world");
   * ```
   */
  async writeFile(
    path: string | readonly string[],
    data: FileData,
    options: WriteFileOptions = {},
  ): Promise<void> {
    const { append = false, create = true } = options;
    const how = {
      ...options,
      write: true,
      append,
      truncate: !append,
      create,
    };
    const write = (
      work: (open: OpenFid, signal: AbortSignal | undefined) => Promise<void>,
    ) =>
      monitored(
        this.session,
        () => `write ${labelOf(path)}`,
        options,
        (own, monitor) =>
          this.paths.withOpen("write", path, how, own, (open, signal) => {
            open.monitor = monitor;
            return work(open, signal);
          }),
      );
    if (typeof data === "string" || data instanceof Uint8Array) {
      const bytes = bytesOf(data);
      return await write(async (open, signal) => {
        if (append) await appendAll(open, bytes, 0, signal);
        else await writeAll(open, bytes, 0, LANES, signal);
      });
    }
    const source = chunksOf(data);
    try {
      await write((open, signal) =>
        writeChunks(open, source, append ? undefined : 0, signal)
      );
    } catch (error) {
      source.cancel(error);
      throw error;
    }
  }

  /**
   * Writes a text to a file as UTF-8, as {@linkcode Files.writeFile} does.
   *
   * @param path Path.
   * @param text New content, as a whole or chunk by chunk.
   * @param options Whether to append, whether to make the file.
   *
   * @example Lines, as they are made
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * function* lines() {
   *   for (let i = 1; i <= 3; i++) yield `line ${i}\n`;
   * }
   * await client.writeTextFile("poem", lines());
   * assertEquals(await client.readTextFile("poem"), "line 1\nline 2\nline 3\n");
   * ```
   */
  writeTextFile(
    path: string | readonly string[],
    text: FileData,
    options: WriteFileOptions = {},
  ): Promise<void> {
    return this.writeFile(path, text, options);
  }

  /**
   * Calls a function file.
   *
   * The client sends a Tcall. If the server has no Tcall, or the arguments take
   * more than the 65535 bytes of its text, and there are keyword arguments
   * alone, the client writes the arguments to the file and reads the value.
   * This way cannot tell a plain file from a function file. On our server it
   * leaves nothing that other users can read. A server of another kind may let
   * them read it, and `fallback: false` refuses this way. Its errors say `by
   * write and read`.
   *
   * Nothing is called twice. The client takes the server to have no Tcall only
   * if the error says so (`unknown message`, `Operation not supported`,
   * `Function not implemented`, or a bad type of message). Any other error may
   * be that of the function, and goes to the caller.
   *
   * A path takes two round trips, a fid from {@linkcode Requests.fid} one.
   *
   * @param file Path, or a fid that is not open.
   * @param options Arguments, and how to decode the value.
   * @returns The value; undefined when it has no bytes.
   * @throws {FunctionError} The function failed; `class`, `argv` and `str` tell how.
   * @throws {Plan9Exit} The function ended the connection.
   * @throws {NinePError} The file is not a function file, or the server says no.
   * @throws {ProtocolError} The value is not JSON, and there is no `loader`.
   * @throws {RangeError} The arguments are too long for a Tcall, and not only
   *   keyword arguments.
   * @throws {TypeError} JSON cannot say the arguments.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const fs = new MemoryFs();
   * fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
   * const [near, far] = pair();
   * void serve(far, fs);
   * await using client = await connect(near);
   * assertEquals(await client.call("add", { argv: [17, 25] }), 42);
   * assertEquals(await client.call("add", { kwarg: { a: 17, b: 25 } }), 42);
   * ```
   */
  call<T = unknown>(
    file: FileRef,
    options: CallOptions<T> = {},
  ): Promise<T> {
    return this.paths.withFid(
      "call",
      file,
      options,
      (fid, signal) =>
        callFile(this.session, fid, options, signal, labelOf(file)),
    );
  }
}
