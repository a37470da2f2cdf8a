// Files by their paths, in the words of Deno.

import { ORDWR, QTAPPEND, QTDIR } from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import { type CallOptions, Calls } from "./call.ts";
import {
  type FileStat,
  fileStat,
  type StatChanges,
  wishesOf,
} from "./file_stat.ts";
import {
  type CallerOptions,
  type FileRef,
  namesOf,
  operate,
} from "./operation.ts";
import type { Paths } from "./paths.ts";
import { RemoteFile } from "./remote_file.ts";
import { Requests } from "./requests.ts";
import { readAll, writeAll } from "./transfer.ts";

const encoder = new TextEncoder();

/** Options of {@linkcode Files.open}. */
export interface OpenOptions extends CallerOptions {
  /** Open for reading; the default when nothing else is asked for. */
  read?: boolean;
  /** Open for writing. */
  write?: boolean;
  /** Open for writing, with the position at the end. */
  append?: boolean;
  /** Cut the file to nothing. */
  truncate?: boolean;
  /** Make the file if it is not there. */
  create?: boolean;
  /** Make the file; it is an error if it is there. */
  createNew?: boolean;
  /** Permissions of a new file, 0o666 by default; the server takes away what the directory does not allow. */
  mode?: number;
}

/** Options of {@linkcode Files.create}. */
export interface CreateOptions extends CallerOptions {
  /** Permissions and DM bits, 0o666 by default. */
  perm?: number;
  /** Mode to open the new file with, as in Topen; ORDWR by default. */
  mode?: number;
}

/** Options of {@linkcode Files.writeFile}. */
export interface WriteFileOptions extends CallerOptions {
  /** Write behind what is in the file, instead of replacing it. */
  append?: boolean;
  /** Make the file if it is not there, true by default. */
  create?: boolean;
  /** Make the file; it is an error if it is there. */
  createNew?: boolean;
  /** Permissions of a new file, 0o666 by default. */
  mode?: number;
}

/** The files of one tree of a server: what {@linkcode RemoteTree} and {@linkcode Client} have for single files. */
export class Files extends Requests {
  readonly #calls: Calls;

  /** @ignore Made by `connect()` and `Client.attach()`. */
  constructor(paths: Paths) {
    super(paths);
    this.#calls = new Calls(paths.session);
  }

  /**
   * Opens a file, or makes it. See `open(9P)`.
   *
   * @param file Path, or a fid, which is the file's from then on; it stays the
   *   caller's to clunk if this fails.
   * @param options What for, and whether to make the file.
   * @returns The open file.
   *
   * @example Only if it is not there
   * ```ts
   * import { assertEquals, assertRejects } from "@std/assert";
   * import { connect, MemoryFs, NinePError, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lock: "" }));
   * await using client = await connect(near);
   * const error = await assertRejects(
   *   () => client.open("lock", { write: true, createNew: true }),
   *   NinePError,
   *   'Cannot open "lock": file already exists',
   * );
   * assertEquals(error.code, "EEXIST");
   * ```
   */
  open(file: FileRef, options: OpenOptions = {}): Promise<RemoteFile> {
    const { session } = this;
    const { append = false, write = append } = options;
    const drop = ({ fid }: { fid: number }) => {
      if (typeof file !== "number") session.drop(fid);
    };
    return operate(session, "open", file, options, async (signal) => {
      const open = await this.paths.open(file, { ...options, write }, signal);
      const result = new RemoteFile(open, file);
      try {
        if (append) await result.seek(0, "end", { signal });
        return result;
      } catch (error) {
        drop(open);
        throw error;
      }
    }, drop);
  }

  /**
   * Makes a file and opens it; an error if it is there. See `open(9P)`.
   *
   * @param path Path of the new file.
   * @param options Permissions and DM bits, mode to open it with.
   * @returns The open file.
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
        new RemoteFile(await this.paths.create(path, perm, mode, signal), path),
      (file) => session.drop(file.fid),
    );
  }

  /**
   * Reads a whole file.
   *
   * @param path Path.
   * @param options Signal.
   * @returns Its content.
   */
  readFile(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    return this.paths.withOpen("read", path, {}, options, (open, signal) => {
      if (open.qid.type & QTDIR) throw new NinePError("Is a directory");
      return readAll(open, signal);
    });
  }

  /**
   * Reads a whole file as UTF-8; what is not UTF-8 is replaced by U+FFFD.
   *
   * @param path Path.
   * @param options Signal.
   * @returns Its text.
   */
  async readTextFile(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<string> {
    const bytes = await this.readFile(path, options);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /**
   * Writes a file: replaces its content, or makes it.
   *
   * When it fails, any part of the data may have been written.
   *
   * @param path Path.
   * @param data New content; it must not be changed before the promise settles.
   * @param options Whether to append, whether to make the file.
   */
  writeFile(
    path: string | readonly string[],
    data: Uint8Array,
    options: WriteFileOptions = {},
  ): Promise<void> {
    const { append = false, create = true } = options;
    const how = { ...options, write: true, truncate: !append, create };
    return this.paths.withOpen("write", path, how, options, async (
      open,
      signal,
    ) => {
      const { session, fid, qid } = open;
      const end = append ? (await session.stat(fid, signal)).length : 0;
      // At the end of a file writes must arrive in their order.
      const isTail = append || (qid.type & QTAPPEND) !== 0;
      const window = isTail ? 1 : undefined;
      await writeAll(open, data, Number(end), window, signal);
    });
  }

  /**
   * Writes a text to a file as UTF-8, as {@linkcode Client.writeFile} does.
   *
   * @param path Path.
   * @param text New content.
   * @param options Whether to append, whether to make the file.
   */
  writeTextFile(
    path: string | readonly string[],
    text: string,
    options: WriteFileOptions = {},
  ): Promise<void> {
    return this.writeFile(path, encoder.encode(text), options);
  }

  /**
   * Gets the attributes of a file. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns The attributes.
   */
  stat(file: FileRef, options: CallerOptions = {}): Promise<FileStat> {
    return this.paths.withFid(
      "stat",
      file,
      options,
      async (fid, signal) => fileStat(await this.session.stat(fid, signal)),
    );
  }

  /**
   * Changes attributes of a file: all of them, or none. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param changes Attributes to set; none at all asks the server to bring the
   *   file to stable storage.
   * @param options Signal.
   */
  wstat(
    file: FileRef,
    changes: StatChanges,
    options: CallerOptions = {},
  ): Promise<void> {
    return this.paths.withFid(
      "change",
      file,
      options,
      async (fid, signal) =>
        await this.session.wstat(fid, wishesOf(changes), signal),
    );
  }

  /**
   * Removes a file or an empty directory. See `remove(9P)`.
   *
   * @param file Path, or a fid, which is gone afterwards, also after an error.
   * @param options Signal.
   */
  remove(file: FileRef, options: CallerOptions = {}): Promise<void> {
    const { session } = this;
    return operate(session, "remove", file, options, async (signal) => {
      const fid = typeof file === "number"
        ? file
        : await this.paths.walk(file, signal);
      await session.remove(fid, signal);
    });
  }

  /**
   * Gives a file another name in the same directory. See `stat(9P)`.
   *
   * @param oldPath Path.
   * @param newPath New path. 9P2000 cannot move a file into another directory
   *   (code `EXDEV`) or replace another one (`EEXIST`).
   * @param options Signal.
   */
  rename(
    oldPath: string | readonly string[],
    newPath: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<void> {
    return this.paths.withFid(
      "rename",
      oldPath,
      options,
      async (fid, signal) => {
        const from = namesOf(this.paths.absolute(oldPath));
        const to = namesOf(this.paths.absolute(newPath));
        const name = to.pop();
        from.pop();
        if (name === undefined || from.join("/") !== to.join("/")) {
          throw new NinePError("Invalid cross-device link");
        }
        await this.session.wstat(fid, { name }, signal);
      },
    );
  }

  /**
   * Calls a function file.
   *
   * With a Tcall; on a server that has none, by writing the keyword arguments
   * to the file and reading the value, which a plain file cannot be told from.
   *
   * @param file Path or fid.
   * @param options Arguments, and how to decode the value.
   * @returns The value; undefined when it has no bytes.
   * @throws {FunctionError} The function failed.
   * @throws {NinePError} The file is not a function file, or the server says no.
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
      (fid, signal) => this.#calls.call(fid, { ...options, signal }),
    );
  }
}
