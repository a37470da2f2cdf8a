// The client: files by their paths, in the words of Deno, and every request
// of the protocol below them.

import { DMDIR, ORDWR, OREAD, QTAPPEND, QTDIR } from "../codec/constants.ts";
import { NinePError, ProtocolError } from "../codec/errors.ts";
import type { ReplyTo, Tflush, Tmessage, Tversion } from "../codec/messages.ts";
import { decodeDir, type Stat } from "../codec/stat.ts";
import { type CallOptions, Calls } from "./call.ts";
import {
  abortable,
  type CallerOptions,
  type FileRef,
  labelOf,
  namesOf,
  operate,
} from "./operation.ts";
import { RemoteFile } from "./remote_file.ts";
import { type Bearing, newFidOf, type Session } from "./session.ts";
import { readAll, writeAll } from "./transfer.ts";
import type { Tree } from "./tree.ts";

/** Size of the reads of a directory: no record is larger. */
const DIR_CHUNK = 64 * 1024;

const encoder = new TextEncoder();

/** Options of {@linkcode Client.walk}. */
export interface WalkOptions extends CallerOptions {
  /** Fid to start from; the root of the tree by default. */
  from?: number;
}

/** Options of {@linkcode Client.read}. */
export interface ReadOptions extends CallerOptions {
  /** Byte to start at, 0 by default. */
  offset?: number | bigint;
  /** Most bytes to read; as many as a message takes by default. */
  count?: number;
}

/** Options of {@linkcode Client.write}. */
export interface WriteOptions extends CallerOptions {
  /** Byte to start at, 0 by default. */
  offset?: number | bigint;
}

/** Options of {@linkcode Client.open}. */
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

/** Options of {@linkcode Client.create}. */
export interface CreateOptions extends CallerOptions {
  /** Permissions and DM bits, 0o666 by default. */
  perm?: number;
  /** Mode to open the new file with, as in Topen; ORDWR by default. */
  mode?: number;
}

/** Options of {@linkcode Client.writeFile}. */
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

/** Options of {@linkcode Client.mkdir}. */
export interface MkdirOptions extends CallerOptions {
  /** Permissions, 0o777 by default. */
  mode?: number;
}

/** A request that can be sent with {@linkcode Client.rpc}; the client sets its tag. */
export type RpcRequest = Untagged<Exclude<Tmessage, Tversion | Tflush>>;

/** A message without its tag. */
export type Untagged<M extends Tmessage> = M extends unknown ? Omit<M, "tag">
  : never;

/** The reply to a {@linkcode RpcRequest}: Rwalk to Twalk. */
export type RpcReply<R extends RpcRequest> = ReplyTo<
  Extract<Tmessage, { type: R["type"] }>
>;

/**
 * A client of one tree of a server.
 *
 * Files are named by paths or, where they are `number`s, by fids. Any number
 * of calls may be under way at once. Failures are NinePErrors, with a `code`
 * such as `ENOENT`, when the server said no; and ProtocolErrors when it
 * misbehaved or the connection ended, which rejects all calls.
 *
 * @example Files
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs());
 * await using client = await connect(near);
 * await client.mkdir("notes");
 * await client.writeTextFile("notes/today", "buy milk\n");
 * await client.rename("notes/today", "notes/yesterday");
 * const names = [];
 * for await (const stat of client.readDir("notes")) names.push(stat.name);
 * assertEquals(names, ["yesterday"]);
 * await client.remove("notes/yesterday");
 * ```
 */
export class Client {
  /** Resolves when the connection has ended: with undefined after close(), with the reason otherwise. Never rejects. */
  readonly closed: Promise<unknown>;
  readonly #tree: Tree;
  readonly #session: Session;
  readonly #calls: Calls;
  readonly #closeTimeout: number;
  #closing: Promise<void> | undefined;

  /** @ignore Clients are made by connect(). */
  constructor(tree: Tree, closeTimeout: number = 3000) {
    const { session } = tree;
    this.#tree = tree;
    this.#session = session;
    this.#calls = new Calls(session);
    this.#closeTimeout = closeTimeout;
    const { mux } = session;
    this.closed = mux.ended.then(() => this.#closing ? undefined : mux.error);
  }

  /** Label of the server: `tcp://127.0.0.1:564`. */
  get peer(): string {
    return this.#session.mux.peer;
  }

  /** Largest message of the session, in bytes. */
  get msize(): number {
    return this.#session.mux.msize;
  }

  /** Fid of the root of the tree. */
  get root(): number {
    return this.#tree.root;
  }

  /**
   * Sends any request and gives its reply.
   *
   * Numbers for new fids come from {@linkcode Client.allocFid}. When a request
   * that makes a fid (Tattach, Tauth, Twalk) rejects, its number is given back
   * by the client, after a late reply to an aborted one was clunked.
   *
   * @param request Message without its tag.
   * @param options Signal.
   * @returns The reply; its data are the caller's.
   * @throws {RangeError} The request cannot be encoded, or not in msize bytes.
   *
   * @example A walk of two elements
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
   * await using client = await connect(near);
   * const newfid = client.allocFid();
   * const reply = await client.rpc({
   *   type: "Twalk",
   *   fid: client.root,
   *   newfid,
   *   wname: ["lib", "motd"],
   * });
   * assertEquals(reply.wqid.length, 2);
   * await client.clunk(newfid);
   * ```
   */
  rpc<R extends RpcRequest>(
    request: R,
    options: CallerOptions = {},
  ): Promise<RpcReply<R>> {
    const { signal } = options;
    // A RpcRequest with a tag is a Tmessage; rpc() gives what belongs to its type.
    const message = { ...request, tag: 0 } as unknown as Tmessage;
    if (message.type === "Tversion" || message.type === "Tflush") {
      return Promise.reject(
        new TypeError(`Cannot send ${message.type}: the client does it itself`),
      );
    }
    const session = this.#session;
    const fid = newFidOf(message);
    const reply = fid === undefined
      ? abortable(signal, () => session.mux.rpc(message, signal))
      : abortable(
        signal,
        () => session.bear(message as Bearing, signal), // It makes a fid.
        () => session.drop(fid),
      );
    return reply as Promise<RpcReply<R>>;
  }

  /** Takes the lowest free number for a fid that is made with {@linkcode Client.rpc}. */
  allocFid(): number {
    return this.#session.fids.take();
  }

  /**
   * Gives a number back without a Tclunk, when the server does not have it.
   *
   * @param fid Number from {@linkcode Client.allocFid}.
   */
  releaseFid(fid: number): void {
    this.#session.fids.give(fid);
  }

  /**
   * Walks to a file without opening it. See `walk(9P)`.
   *
   * @param path Path; an empty one gives another fid of the same file.
   * @param options Fid to start from, signal.
   * @returns A new fid, to be given back with {@linkcode Client.clunk}.
   */
  walk(
    path: string | readonly string[],
    options: WalkOptions = {},
  ): Promise<number> {
    const { from = this.root, signal } = options;
    return operate(
      "walk to",
      path,
      signal,
      () => this.#session.walk(from, namesOf(path), signal),
      (fid) => this.#session.drop(fid),
    );
  }

  /**
   * Gives a fid back. See `clunk(9P)`.
   *
   * @param fid Fid; gone afterwards, also after an error.
   */
  clunk(fid: number): Promise<void> {
    return this.#session.clunk(fid);
  }

  /**
   * Reads from an open fid with one request. See `read(9P)`.
   *
   * @param fid Fid that is open for reading.
   * @param options Offset, count, signal.
   * @returns The bytes; none at the end.
   */
  async read(fid: number, options: ReadOptions = {}): Promise<Uint8Array> {
    const most = this.#session.limit;
    const { offset = 0, count = most, signal } = options;
    const { data } = await this.rpc({
      type: "Tread",
      fid,
      offset: BigInt(offset),
      count: Math.min(count, most),
    }, { signal });
    return data;
  }

  /**
   * Writes to an open fid with one request. See `read(9P)`.
   *
   * @param fid Fid that is open for writing.
   * @param data Bytes, or a text to be sent as UTF-8; what a message does not
   *   take is left out.
   * @param options Offset, signal.
   * @returns Number of bytes that the server took.
   */
  async write(
    fid: number,
    data: Uint8Array | string,
    options: WriteOptions = {},
  ): Promise<number> {
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    const { offset = 0, signal } = options;
    const { count } = await this.rpc({
      type: "Twrite",
      fid,
      offset: BigInt(offset),
      data: bytes.subarray(0, this.#session.limit),
    }, { signal });
    return count;
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
    const { append = false, write = append, signal } = options;
    const drop = ({ fid }: { fid: number }) => {
      if (typeof file !== "number") this.#session.drop(fid);
    };
    return operate("open", file, signal, async () => {
      const open = await this.#tree.open(file, { ...options, write }, signal);
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
    const { perm = 0o666, mode = ORDWR, signal } = options;
    return operate(
      "create",
      path,
      signal,
      async () =>
        new RemoteFile(await this.#tree.create(path, perm, mode, signal), path),
      (file) => this.#session.drop(file.fid),
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
    const { signal } = options;
    return this.#tree.withOpen("read", path, {}, signal, async (open) => {
      if (open.qid.type & QTDIR) throw new NinePError("Is a directory");
      return await readAll(open, signal);
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
    const { append = false, create = true, signal } = options;
    const how = { ...options, write: true, truncate: !append, create };
    return this.#tree.withOpen("write", path, how, signal, async (open) => {
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
   * Lists a directory. See `read(9P)`.
   *
   * A server that gives a name that cannot be one (empty, `.`, `..`, with a
   * slash) is refused, but names may still have any other character.
   *
   * @param path Path.
   * @param options Signal.
   * @returns Attributes of the members, without `.` and `..`.
   */
  async *readDir(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): AsyncGenerator<Stat, void, void> {
    const file = await this.open(path, options);
    try {
      if (!(file.qid.type & QTDIR)) {
        throw new NinePError("not a directory", {
          message: `Cannot list ${labelOf(path)}: not a directory`,
        });
      }
      const buffer = new Uint8Array(DIR_CHUNK);
      while (true) {
        const count = await file.read(buffer, options);
        if (count === null) return;
        const members = decodeDir(buffer.subarray(0, count));
        members.forEach(checkName);
        yield* members;
      }
    } finally {
      this.#session.drop(file.fid);
    }
  }

  /**
   * Gets the attributes of a file. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns The attributes.
   */
  stat(file: FileRef, options: CallerOptions = {}): Promise<Stat> {
    const { signal } = options;
    return this.#tree.withFid(
      "stat",
      file,
      signal,
      (fid) => this.#session.stat(fid, signal),
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
  async wstat(
    file: FileRef,
    changes: Partial<Stat>,
    options: CallerOptions = {},
  ): Promise<void> {
    const { signal } = options;
    await this.#tree.withFid(
      "change",
      file,
      signal,
      (fid) => this.#session.wstat(fid, changes, signal),
    );
  }

  /**
   * Makes a directory. See `open(9P)`.
   *
   * @param path Path.
   * @param options Permissions.
   */
  mkdir(
    path: string | readonly string[],
    options: MkdirOptions = {},
  ): Promise<void> {
    const { mode = 0o777, signal } = options;
    return operate("make directory", path, signal, async () => {
      const perm = (DMDIR | mode) >>> 0;
      const { fid } = await this.#tree.create(path, perm, OREAD, signal);
      this.#session.drop(fid);
    });
  }

  /**
   * Removes a file or an empty directory. See `remove(9P)`.
   *
   * @param file Path, or a fid, which is gone afterwards, also after an error.
   * @param options Signal.
   */
  remove(file: FileRef, options: CallerOptions = {}): Promise<void> {
    const { signal } = options;
    const session = this.#session;
    return operate("remove", file, signal, async () => {
      const fid = typeof file === "number"
        ? file
        : await session.walk(this.root, namesOf(file), signal);
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
    const { signal } = options;
    return this.#tree.withFid("rename", oldPath, signal, async (fid) => {
      const from = namesOf(oldPath);
      const to = namesOf(newPath);
      const name = to.pop();
      from.pop();
      if (name === undefined || from.join("/") !== to.join("/")) {
        throw new NinePError("Invalid cross-device link");
      }
      await this.#session.wstat(fid, { name }, signal);
    });
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
    return this.#tree.withFid(
      "call",
      file,
      options.signal,
      (fid) => this.#calls.call(fid, options),
    );
  }

  /**
   * Clunks all fids, as far as the server answers within the time that
   * `closeTimeout` of {@linkcode connect} allows, and closes the connection.
   * Calls that are still pending reject. Closing again does nothing.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#session.close(this.#closeTimeout);
  }

  /** Closes the client. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Refuses names of members that could lead a caller astray. */
function checkName({ name }: Stat): void {
  if (name === "" || name === "." || name === ".." || name.includes("/")) {
    throw new ProtocolError(
      `Cannot list a directory: the server named a member "${name}"`,
    );
  }
}
