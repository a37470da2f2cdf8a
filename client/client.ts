// The client: one tree of a server, and the connection to this server.

import { MSIZE_MIN, NOFID, ProtocolError } from "../codec.ts";
import type { Connection } from "../transport.ts";
import {
  changeFile,
  changePermissions,
  changeTimes,
  fileExists,
  findFile,
  renameFile,
  statFile,
} from "./attributes.ts";
import { callFile, type CallOptions } from "./call.ts";
import type { ClientSession } from "./connection/client_session.ts";
import { type Login, login, nameOf, openAuth } from "./connection/login.ts";
import {
  copyFiles,
  listMembers,
  listNames,
  makeDirectoryAt,
  type MkdirOptions,
  type ReadDirNamesOptions,
  removeFile,
  type RemoveOptions,
} from "./directories.ts";
import type { RemoteFile } from "./file/remote_file.ts";
import type { FileStat, StatChanges } from "./file_stat.ts";
import {
  createFile,
  type CreateOptions,
  openFile,
  type OpenOptions,
  type ReadFileOptions,
  readWholeFile,
  withOpenFile,
  type WriteFileOptions,
  writeWholeFile,
} from "./files.ts";
import {
  awaited,
  bounded,
  type CallerOptions,
  checkRange,
  type FileRef,
  labelOf,
  operate,
} from "./operation.ts";
import { Protocol } from "./protocol.ts";
import { proxyOf, type ProxyOptions, type RemoteApi } from "./proxy.ts";
import type { FileData } from "./transfer/chunks.ts";
import type { TransferOptions } from "./transfer/stall.ts";
import type { CopyProgress } from "./trees/copy.ts";
import { TreePaths } from "./trees/tree_paths.ts";
import {
  type TreeEntry,
  walkTree,
  type WalkTreeOptions,
} from "./trees/walk_tree.ts";

/** Options of {@linkcode Client.version}. */
export interface VersionOptions extends CallerOptions {
  /** Largest message in bytes to ask for, 256 to 2^32 - 1; by default the msize that `connect()` asked for. */
  msize?: number | undefined;
}

/**
 * The msize and the version on which {@linkcode Client.version} and the server
 * have agreed.
 */
export interface VersionReply {
  /** Largest message in bytes. */
  msize: number;
  /** Version of the protocol: `9P2000`. */
  version: string;
}

/** Options of {@linkcode Client.auth}. */
export interface AuthOptions extends CallerOptions {
  /** User, `none` by default. */
  uname?: string | undefined;
  /** Name of the server's tree; by default the empty name, that of its main tree. */
  aname?: string | undefined;
}

/** Options of {@linkcode Client.attach}. */
export interface AttachOptions extends AuthOptions {
  /** Fid of a file from {@linkcode Client.auth} on which the user was authenticated. */
  afid?: number | undefined;
}

/** Options of {@linkcode Client.copy}. */
export interface CopyOptions extends TransferOptions {
  /** Client of the tree to copy to; by default the same tree. */
  target?: Client | undefined;
  /**
   * Copy a directory with all files and directories below it; false by default.
   */
  recursive?: boolean | undefined;
  /**
   * Most members of one directory, 0 to 2^53 - 1, or Infinity; 1,000,000 by
   * default. If a directory has more members, the copy fails with a RangeError
   * after nearly `maxEntries` members were copied.
   */
  maxEntries?: number | undefined;
  /**
   * Function that the client calls after it has written a part of a file. If
   * the function throws, the copy fails.
   */
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** Options with which `connect()` has started the session of a client. */
export interface SessionStart {
  /** Largest message in bytes for which the client asked the server. */
  readonly msize: number;
  /** The user, and how the user is authenticated. */
  readonly login: Login;
  /**
   * Most attempts to authenticate the user, if the connection is lost during an
   * attempt.
   */
  readonly attempts: number;
  /** Most milliseconds that closing waits for the server. */
  readonly closeTimeout: number;
}

/**
 * One tree of a server, as one user sees it, and the connection to the server.
 *
 * `connect()` makes a client. {@linkcode Client.attach} makes further clients
 * on the same connection. A path or a fid names a file; a `number` is a fid.
 * Any number of calls may be in progress at once.
 *
 * A call rejects with a NinePError when the server refuses it, with a `code`
 * such as `ENOENT`. It rejects with a ProtocolError when the server breaks the
 * protocol or the connection ends.
 *
 * @example Files
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const [near, far] = pair();
 * void serve(far, new MemoryFs({}, { mode: 0o777 }));
 * await using client = await connect(near);
 * await client.mkdir("notes");
 * await client.writeTextFile("notes/today", "buy milk\n");
 * await client.rename("notes/today", "notes/yesterday");
 * const names = [];
 * for await (const stat of client.readDir("notes")) names.push(stat.name);
 * assertEquals(names, ["yesterday"]);
 * await client.remove("notes/yesterday");
 * ```
 *
 * @example Functions
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const fs = new MemoryFs({ math: {} });
 * fs.register("math/add", (a: number, b: number) => a + b);
 * const [near, far] = pair();
 * void serve(far, fs);
 * await using client = await connect(near);
 * assertEquals(await client.call("math/add", { argv: [17, 25] }), 42);
 * const math = await client.proxy<{ add(a: number, b: number): number }>(
 *   "math",
 * );
 * assertEquals(await math.add(17, 25), 42);
 * ```
 */
export class Client {
  /** The fids and messages of the protocol on this tree. */
  readonly protocol: Protocol;
  #paths: TreePaths;
  /** Undefined for a client from attach(). */
  readonly #start: SessionStart | undefined;
  #closing: Promise<void> | undefined;
  #closed: Promise<Error | undefined> | undefined;

  /** @ignore Clients are made by connect() and attach(). */
  constructor(paths: TreePaths, start?: SessionStart) {
    this.#paths = paths;
    this.#start = start;
    this.protocol = new Protocol(() => this.#paths);
    const { session } = paths;
    if (start === undefined) return;
    this.#closed = session.ended.then(() => {
      if (this.#closing) return undefined;
      // The error is an Error. Only a failed connect() ends a connection with
      // another value, the abort reason of its caller, and then there is no
      // client.
      return session.error as Error | undefined;
    });
  }

  get #session(): ClientSession {
    return this.#paths.session;
  }

  // The connection

  /**
   * The connection to the server, as it was dialled or given to `connect()`.
   * Only the client may read and write its bytes. Closing the connection ends
   * the client.
   */
  get connection(): Connection {
    return this.#session.connection;
  }

  /** Label of the server: `tcp://127.0.0.1:564`. */
  get peer(): string {
    return this.#session.peer;
  }

  /** Largest message of the session, in bytes; {@linkcode Client.version} changes it. */
  get msize(): number {
    return this.#session.msize;
  }

  /**
   * A promise that resolves when the connection has ended or this client was
   * closed. Its value is undefined after close(), and otherwise the error that
   * ended the connection. The promise never rejects.
   */
  get closed(): Promise<Error | undefined> {
    return this.#closed ??= new Promise((resolve) => {
      if (this.#closing) return resolve(undefined);
      const unwatch = this.#session.onEnd(
        this,
        (error) => resolve(error as Error | undefined), // As above.
      );
      this.#onClose = () => {
        unwatch();
        resolve(undefined);
      };
    });
  }
  #onClose: (() => void) | undefined;

  /**
   * Starts the session anew on the same connection, with the user and the tree
   * that `connect()` was given. See `version(9P)`.
   *
   * The server then forgets all that it knows of the client. Calls that are
   * under way reject with a DOMException named `AbortError`, and so do calls
   * that are made before the session has started. All fids become invalid. The
   * methods of open files and of clients from {@linkcode Client.attach} reject
   * from then on. The caller must not use fids any more that it holds as
   * numbers. The current directory is the root. The methods of a {@linkcode
   * Client.proxy} still work.
   *
   * After an abort of this call, the client can be used again as soon as the
   * server has answered. If the server refuses the new session, the connection
   * ends.
   *
   * @param options Msize, signal.
   * @returns The msize and the version of the new session.
   * @throws {NinePError} The server refused.
   * @throws {ProtocolError} The client cannot work with the server's answer.
   * @throws {RangeError} The msize is out of its range.
   * @throws {TypeError} This client is from {@linkcode Client.attach}.
   */
  async version(options: VersionOptions = {}): Promise<VersionReply> {
    const session = this.#session;
    const start = this.#start;
    if (start === undefined) {
      throw new TypeError(
        `Cannot start a session with "${session.peer}": this client is from attach()`,
      );
    }
    const { msize = start.msize } = options;
    checkRange("start a session", "msize", msize, MSIZE_MIN, 0xffffffff);
    const what = () => `start a session with "${session.peer}"`;
    return await bounded(session, what, options, async () => {
      if (session.error !== undefined) throw session.error;
      try {
        const next = await session.renew(msize);
        const root = await loginAgain(next, start);
        this.#paths = new TreePaths(next, root, start.login.aname);
        return { msize: next.msize, version: next.version };
      } catch (error) {
        // Without a session, the client cannot use the connection.
        session.fail(
          new ProtocolError(
            `Connection to "${session.peer}" failed: no other session could be started`,
            { cause: error },
          ),
        );
        throw error;
      }
    });
  }

  /**
   * Begins the authentication of a user. See `attach(9P)`.
   *
   * The program authenticates the user by reads and writes of the file. After
   * the server has accepted the user, the program passes the fid of the file to
   * {@linkcode Client.attach}, with the same user and tree. Closing the file
   * ends the authentication.
   *
   * @param options User, tree, signal.
   * @returns The file.
   * @throws {NinePError} The server needs no authentication, or refuses to
   *   authenticate this user.
   */
  auth(options: AuthOptions = {}): Promise<RemoteFile> {
    const { uname = "none", aname = "" } = options;
    const session = this.#session;
    const user = { uname, aname };
    return operate(
      session,
      `authenticate ${nameOf(user)}`,
      session.peer,
      options,
      (signal) => openAuth(session, user, signal),
      (file) => session.drop(file.fid),
    );
  }

  /**
   * Makes a client of another tree of the server, or of the same tree for
   * another user, on the same connection. See `attach(9P)`.
   *
   * @param options User, tree, afid, signal.
   * @returns The client, with a current directory of its own. Closing this
   *   client clunks its fids, and leaves the connection open.
   * @throws {NinePError} The server refused the user or the tree.
   *
   * @example Two users on one connection
   * ```ts
   * import { assertRejects } from "@std/assert";
   * import { connect, MemoryFs, NinePError, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { uid: "glenda" }));
   * await using client = await connect(near, { uname: "glenda" });
   * await client.writeTextFile("diary", "dear", { mode: 0o600 });
   * await using other = await client.attach({ uname: "ken" });
   * await assertRejects(() => other.readTextFile("diary"), NinePError);
   * ```
   */
  attach(options: AttachOptions = {}): Promise<Client> {
    const { uname = "none", aname = "", afid = NOFID } = options;
    const session = this.#session;
    return operate(
      session,
      `attach ${nameOf({ uname, aname })}`,
      session.peer,
      options,
      async (signal) => {
        const root = await session.attach(uname, aname, afid, signal);
        return new Client(new TreePaths(session, root, aname));
      },
      (client) => session.drop(client.protocol.root),
    );
  }

  /**
   * Returns a client of the same tree that works only in the current session.
   *
   * After {@linkcode Client.version}, the methods of this client reject, so
   * that a fid of the old session is never mistaken for a fid of the new
   * session. The caller must not close this client, because it shares its fids
   * with the client that made it.
   *
   * @returns The bound client.
   */
  pinned(): Client {
    return new Client(this.#paths);
  }

  /** Keeps the process alive while the client is open. This is the default. */
  ref(): void {
    this.#session.environment.refs.ref();
  }

  /**
   * Lets the process end although the client is not closed. After this call,
   * the connection, later connections of a reconnect, the timers and the
   * pending calls of the client do not keep the process alive. An attempt to
   * connect still keeps the process alive until the attempt ends. A connection
   * that was given to `connect()` must have `ref()` and `unref()`; otherwise
   * this call does not change it.
   */
  unref(): void {
    this.#session.environment.refs.unref();
  }

  /**
   * Ends the client. Closing again does nothing.
   *
   * Pending calls reject at once with a ProtocolError, and the client sends a
   * Tflush for each. Then it clunks all fids, waits for the answers for
   * `closeTimeout` of {@linkcode connect} at most, and closes the connection. If
   * a call is pending and the server cannot flush, the connection is closed at
   * once.
   *
   * Closing a client from {@linkcode Client.attach} only clunks the fids of its
   * root, of its current directory and of its cached paths. Open files stay
   * open. The methods of this client that take a path then reject with a
   * TypeError.
   *
   * @param options Signal and timeout, which only end the waiting. The timeout
   *   of `connect()` does not apply here.
   */
  close(options: CallerOptions = {}): Promise<void> {
    const session = this.#session;
    const start = this.#start;
    if (start === undefined) {
      const release = () => this.#paths.release();
      const closing = this.#closing ??= release().finally(this.#onClose);
      const what = () => `close a tree of "${session.peer}"`;
      return awaited(session, what, options, closing);
    }
    return awaited(
      { timeout: undefined, environment: session.environment },
      () => `close the connection to "${session.peer}"`,
      options,
      this.#closing ??= session.close(start.closeTimeout),
    );
  }

  /** Closes the client. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // Whole files

  /**
   * Reads a whole file.
   *
   * @param path Path.
   * @param options Limits on the length and the time, and a signal.
   * @returns The content.
   * @throws {RangeError} The file is longer than `maxLength`.
   */
  readFile(
    path: string | readonly string[],
    options: ReadFileOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    return readWholeFile(this.#paths, path, options);
  }

  /**
   * Reads a whole file as UTF-8. Bytes that are not valid UTF-8 become U+FFFD.
   *
   * @param path Path.
   * @param options As for {@linkcode Client.readFile}; `maxLength` counts bytes.
   * @returns The text.
   * @throws {RangeError} The file is longer than `maxLength`.
   */
  async readTextFile(
    path: string | readonly string[],
    options: ReadFileOptions = {},
  ): Promise<string> {
    const bytes = await this.readFile(path, options);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /**
   * Writes a file: replaces its content, appends to it, or makes the file.
   *
   * When the call fails, any part of the data may have been written. If the
   * data is a stream, the client then cancels and unlocks the stream. If the
   * data is an iterable, the client then calls `return()` of its iterator.
   *
   * @param path Path.
   * @param data New content. The caller must not change it before the promise
   *   settles. The client takes a chunk of a stream or iterable only when it
   *   can send the chunk, so the content may be larger than memory. The client
   *   does not join chunks: a message has data of one chunk only.
   * @param options Whether to append, whether to make the file, its permissions,
   *   limits on the time, signal.
   */
  writeFile(
    path: string | readonly string[],
    data: FileData,
    options: WriteFileOptions = {},
  ): Promise<void> {
    return writeWholeFile(this.#paths, path, data, options);
  }

  /**
   * Writes a text to a file as UTF-8, as {@linkcode Client.writeFile} does.
   *
   * @param path Path.
   * @param text New content, as a whole or in chunks.
   * @param options As for {@linkcode Client.writeFile}.
   */
  writeTextFile(
    path: string | readonly string[],
    text: FileData,
    options: WriteFileOptions = {},
  ): Promise<void> {
    return this.writeFile(path, text, options);
  }

  // Open files

  /**
   * Opens a file, or makes it. See `open(9P)`.
   *
   * @param file Path or fid. The open file takes over a fid. If the call fails,
   *   the caller must still clunk the fid.
   * @param options Access, and whether to make the file.
   * @returns The open file.
   * @throws {TypeError} The options contradict each other.
   *
   * @example A lock file, made only if it does not exist
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
   */
  open(file: FileRef, options: OpenOptions = {}): Promise<RemoteFile> {
    return openFile(this.#paths, file, options);
  }

  /**
   * Makes a file and opens it. It is an error if the file exists. See
   * `open(9P)`.
   *
   * @param path Path of the new file.
   * @param options Permissions and DM bits, mode to open the file with.
   * @returns The open file.
   */
  create(
    path: string | readonly string[],
    options: CreateOptions = {},
  ): Promise<RemoteFile> {
    return createFile(this.#paths, path, options);
  }

  /**
   * Opens a file, runs a function on it and closes it, also after an error. See
   * `open(9P)`.
   *
   * An abort closes the file, so that the operations of the function on it
   * reject. When the connection ends, the call rejects even if the function has
   * not returned.
   *
   * @param path Path.
   * @param use Function that works with the file.
   * @param options How to open the file. Signal and timeout hold for the whole
   *   call. By default only the single operations on the file have a timeout.
   * @returns The result of the function.
   * @throws {NinePError} The file could not be opened or closed. If it could
   *   not be closed, some data may be lost.
   */
  withFile<T>(
    path: string | readonly string[],
    use: (file: RemoteFile) => T | Promise<T>,
    options: OpenOptions = {},
  ): Promise<T> {
    return withOpenFile(this.#paths, path, use, options);
  }

  // Attributes

  /**
   * Gets the attributes of a file. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns The attributes.
   */
  stat(file: FileRef, options: CallerOptions = {}): Promise<FileStat> {
    return statFile(this.#paths, file, options);
  }

  /**
   * Tells whether a path leads to a file or directory. See `walk(9P)`.
   *
   * The file may be removed a moment later. It is safer to use the file at once
   * and to handle the error.
   *
   * @param path Path.
   * @param options Signal.
   * @returns False when a name is missing, or a name before the last one is no
   *   directory.
   * @throws {NinePError} The server refuses to tell, for example with
   *   `permission denied`.
   */
  exists(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<boolean> {
    return fileExists(this.#paths, path, options);
  }

  /**
   * Tells whether a file is a directory. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns False for a plain file, and where there is no file.
   * @throws {NinePError} The server does not tell.
   */
  async isDirectory(
    file: FileRef,
    options: CallerOptions = {},
  ): Promise<boolean> {
    const stat = await findFile(this.#paths, file, options);
    return stat?.isDirectory ?? false;
  }

  /**
   * Tells whether a file is a plain file. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns False for a directory, and where there is no file.
   * @throws {NinePError} The server does not tell.
   */
  async isFile(file: FileRef, options: CallerOptions = {}): Promise<boolean> {
    const stat = await findFile(this.#paths, file, options);
    return stat?.isFile ?? false;
  }

  /**
   * Changes attributes of a file. The server makes all changes, or none. See
   * `stat(9P)`.
   *
   * @param file Path or fid.
   * @param changes Attributes to set. Without any, the call does what
   *   {@linkcode Client.sync} does.
   * @param options Signal.
   * @throws {RangeError} An attribute is out of its range.
   * @throws {TypeError} An attribute cannot be changed.
   */
  wstat(
    file: FileRef,
    changes: StatChanges,
    options: CallerOptions = {},
  ): Promise<void> {
    return changeFile(this.#paths, "change", file, changes, options);
  }

  /**
   * Cuts a file, or extends it with zeros. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param length New length in bytes, 0 to 2^53 - 1; 0 by default.
   * @param options Signal.
   * @throws {RangeError} The length is out of its range.
   */
  truncate(
    file: FileRef,
    length: number = 0,
    options: CallerOptions = {},
  ): Promise<void> {
    return changeFile(this.#paths, "truncate", file, { length }, options);
  }

  /**
   * Sets the permissions of a file, and keeps its DM bits. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param mode Permissions, 0 to 0o777. {@linkcode Client.wstat} sets DM bits.
   * @param options Signal.
   * @throws {RangeError} The mode is out of its range.
   */
  chmod(
    file: FileRef,
    mode: number,
    options: CallerOptions = {},
  ): Promise<void> {
    return changePermissions(this.#paths, file, mode, options);
  }

  /**
   * Gives a file to another group. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param gid Name of the group. By the manual, the owner of the file may do
   *   this as a member of the new group, and the leader of both groups may.
   * @param options Signal.
   */
  chgrp(
    file: FileRef,
    gid: string,
    options: CallerOptions = {},
  ): Promise<void> {
    return changeFile(this.#paths, "chgrp", file, { gid }, options);
  }

  /**
   * Sets the times of a file. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param atime Time of the last read: seconds since 1970-01-01 UTC, 0 to 2^32
   *   - 2, or a date, whose parts of a second are dropped. Undefined leaves
   *   this time unchanged. Servers that follow the manual refuse to set this
   *   time.
   * @param mtime Time of the last change, likewise.
   * @param options Signal.
   * @throws {RangeError} A time is out of its range.
   */
  utime(
    file: FileRef,
    atime: number | Date | undefined,
    mtime: number | Date | undefined,
    options: CallerOptions = {},
  ): Promise<void> {
    return changeTimes(this.#paths, file, atime, mtime, options);
  }

  /**
   * Asks the server to write a file to stable storage, with a Twstat that
   * changes nothing. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   */
  sync(file: FileRef, options: CallerOptions = {}): Promise<void> {
    return changeFile(this.#paths, "sync", file, {}, options);
  }

  /**
   * Gives a file another name in the same directory. See `stat(9P)`.
   *
   * @param oldPath Path.
   * @param newPath New path. 9P2000 cannot move a file into another directory
   *   (code `EXDEV`) or replace another file (`EEXIST`).
   * @param options Signal.
   */
  rename(
    oldPath: string | readonly string[],
    newPath: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<void> {
    return renameFile(this.#paths, oldPath, newPath, options);
  }

  // Directories and trees

  /** Path of the current directory, from which paths without a leading slash start. */
  get cwd(): string {
    return this.#paths.cwd;
  }

  /**
   * Makes a directory the current one. If several calls run at once, the call
   * that finishes last sets the current directory. See `walk(9P)`.
   *
   * @param path Path.
   * @param options Signal.
   * @throws {NinePError} The directory does not exist (`ENOENT`), or is a file
   *   (`ENOTDIR`).
   */
  chdir(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<void> {
    return operate(
      this.#session,
      "change to",
      path,
      options,
      (signal) => this.#paths.chdir(path, signal),
    );
  }

  /**
   * Lists a directory. See `read(9P)`.
   *
   * The client reads ahead while the caller handles members. The client rejects
   * names that no file can have: empty names, `.`, `..`, and names with a
   * slash. Names may contain any other character.
   *
   * @param path Path.
   * @param options Signal, which ends the listing with its reason; timeout for
   *   each request.
   * @returns Attributes of the members, without `.` and `..`.
   */
  readDir(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): AsyncGenerator<FileStat, void, void> {
    return listMembers(this.#paths, path, options);
  }

  /**
   * Lists the names in a directory. See `read(9P)`.
   *
   * @param path Path.
   * @param options Whether to list names that start with a dot; largest number
   *   of members; signal.
   * @returns The names, in the server's order.
   * @throws {RangeError} The directory has more than `maxEntries` members.
   */
  readDirNames(
    path: string | readonly string[],
    options: ReadDirNamesOptions = {},
  ): Promise<string[]> {
    return listNames(this.#paths, path, options);
  }

  /**
   * Lists a directory and all directories below it, from the top down. A
   * directory comes before its members, which come in the server's order.
   *
   * The client reads the next directories ahead. Files that other clients
   * remove during the listing may be listed or not.
   *
   * @param path Path of the top, which comes first.
   * @param options How deep to go; signal, which ends the listing with its
   *   reason; timeout for each request.
   * @returns Paths and attributes.
   * @throws {NinePError} Also with the code `ELOOP`, for a directory that
   *   contains itself, and for a tree of more than 100,000 levels.
   * @throws {RangeError} `maxDepth` is negative.
   */
  walkTree(
    path: string | readonly string[],
    options: WalkTreeOptions = {},
  ): AsyncGenerator<TreeEntry, void, void> {
    return walkTree(this.#paths, path, options);
  }

  /**
   * Makes a directory. See `open(9P)`.
   *
   * @param path Path.
   * @param options Permissions; whether to make missing parent directories.
   * @throws {RangeError} The mode is not in 0 to 2^32 - 1.
   */
  mkdir(
    path: string | readonly string[],
    options: MkdirOptions = {},
  ): Promise<void> {
    return makeDirectoryAt(this.#paths, path, options);
  }

  /**
   * Removes a file, an empty directory, or a directory with all files and
   * directories below it. See `remove(9P)`.
   *
   * Other clients may remove or add members at the same time. The call fails
   * only if they add members again and again. The client empties a directory in
   * batches of a few thousand members. When the call fails, some members may be
   * gone.
   *
   * @param file Path or fid. A call with a fid ends the fid, even if the call
   *   fails.
   * @param options Whether to remove the members of a directory; signal.
   * @throws {NinePError} Also with the code `EPERM` for the root, and `ELOOP` for
   *   a directory that contains itself.
   * @throws {RangeError} A directory has more than `maxEntries` members.
   */
  remove(file: FileRef, options: RemoveOptions = {}): Promise<void> {
    return removeFile(this.#paths, file, options);
  }

  /**
   * Copies a file, or a directory with all files and directories below it,
   * within one server or to another server. See `read(9P)`.
   *
   * A file that exists is replaced, and keeps its permissions; new files get
   * the permissions of their source, as far as their directory allows. A target
   * directory that exists keeps its own members and gets the members of the
   * source. The client copies up to 8 files at a time, and each takes as much
   * memory as the `window` of `connect()`: 8 MiB in all by default. The client
   * reads a directory in batches of a few thousand members. When the call
   * fails, a part of the copy may exist.
   *
   * A file that becomes shorter while it is copied is copied up to its new end,
   * so that the copy has no bytes that its source did not have.
   *
   * @param from Path.
   * @param to Path of the copy itself, not of a directory to put it into.
   * @param options Client of the tree to copy to, whether to copy directories,
   *   signal.
   * @throws {NinePError} Also with the code `EISDIR` for a directory without
   *   `recursive`, `EINVAL` for a copy onto or into itself, and `ELOOP` for a
   *   directory that contains itself. The client tells files apart by their
   *   qids, trees by their names, and servers by their addresses. If two
   *   addresses lead to one server, a file that is copied onto itself keeps its
   *   content, and a directory that is copied onto or into itself is refused
   *   with `EINVAL`.
   * @throws {RangeError} A directory has more than `maxEntries` members.
   * @throws {TypeError} The target is no client.
   *
   * @example From one server to another
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }, { uid: "none" }));
   * await using client = await connect(near);
   * const [here, there] = pair();
   * void serve(there, new MemoryFs({}, { mode: 0o777 }));
   * await using target = await connect(here);
   *
   * await client.copy("lib", "backup", { target, recursive: true });
   * assertEquals(await target.readTextFile("backup/motd"), "hello\n");
   * ```
   */
  copy(
    from: string | readonly string[],
    to: string | readonly string[],
    options: CopyOptions = {},
  ): Promise<void> {
    const { target = this } = options;
    // Callers without types may give anything.
    if (!(target instanceof Client)) {
      const what = `Cannot copy ${labelOf(from)} to ${labelOf(to)}`;
      return Promise.reject(
        new TypeError(`${what}: target is ${target}, not a client`),
      );
    }
    return copyFiles(this.#paths, from, target.#paths, to, options);
  }

  // Functions

  /**
   * Calls a function file.
   *
   * The client sends a Tcall. If the server has no Tcall, or keyword arguments
   * take more than the 65535 bytes of its text, the client writes the arguments
   * to the file and reads the value. Such a call by write and read cannot tell
   * a plain file from a function file. On a server of this library, other users
   * cannot read the arguments or the value of such a call. Another server may
   * let other users read them; with `fallback: false` the client refuses to
   * make such a call. The errors of such a call contain `by write and read`.
   *
   * No function is called twice. The client concludes that the server has no
   * Tcall only from an error that says so (`unknown message`, `Operation not
   * supported`, `Function not implemented`, or a bad type of message). Any other
   * error may come from the function, and goes to the caller.
   *
   * A call with a path takes two round trips; a call with a fid from {@linkcode
   * Protocol.fid} takes one.
   *
   * @param file Path, or a fid that is not open.
   * @param options Arguments, and how to decode the value.
   * @returns The value; undefined when it has no bytes.
   * @throws {FunctionError} The function failed; `class`, `argv` and `str`
   *   describe its error.
   * @throws {Plan9Exit} The function ended the connection.
   * @throws {NinePError} The file is no function file, or the server refused.
   * @throws {ProtocolError} The value is not JSON, and there is no `loader`.
   * @throws {RangeError} Positional arguments are too long for a Tcall.
   * @throws {TypeError} JSON cannot express the arguments.
   */
  call<T = unknown>(
    file: FileRef,
    options: CallOptions<T> = {},
  ): Promise<T> {
    const { session } = this.#paths;
    return this.#paths.withFid(
      "call",
      file,
      options,
      (fid, signal) => callFile(session, fid, options, signal, labelOf(file)),
    );
  }

  /**
   * Makes an object whose methods call the function files of a directory, or
   * the functions behind one file. Each call sends one Tcall; the first call of
   * a file also walks to the file.
   *
   * The arguments of a method are the positional arguments of the call, so JSON
   * must be able to express them and the value. Each plain file that the
   * directory has now becomes a method; the server tells at the call whether it
   * is a function file. Files called `then` and `toJSON` are left out, because
   * the language gives these names a meaning. The client keeps the fids until
   * the client is closed. If a fid is lost, the next call walks to the file
   * again.
   *
   * @typeParam Api Interface with the methods.
   * @param path Path of the directory, or of the file when `methods` is given.
   * @param options Names of the methods behind a file; each name becomes the
   *   first argument of the calls of its method; signal and timeout, which hold
   *   for each call as well; see {@linkcode RemoteMethod.with}.
   * @returns The object. The client does not check that it has the methods of
   *   `Api`. The methods reject as {@linkcode Client.call} does.
   * @throws {NinePError} The path does not exist (`ENOENT`), or is no directory
   *   (`ENOTDIR`).
   * @throws {TypeError} A name of `methods` is `then` or `toJSON`.
   */
  proxy<Api>(
    path: string | readonly string[],
    options: ProxyOptions<Api> = {},
  ): Promise<RemoteApi<Api>> {
    return proxyOf<Api>(() => this.#paths, path, options);
  }
}

/**
 * Attaches to the tree of a session that was started anew. When the connection
 * is lost meanwhile, the authentication begins again on the next connection.
 */
async function loginAgain(
  session: ClientSession,
  { login: user, attempts }: SessionStart,
): Promise<number> {
  for (let attempt = 1;; attempt++) {
    const { losses } = session;
    try {
      return await login(session, user);
    } catch (error) {
      const goesOn = session.error === undefined && attempt < attempts;
      if (session.losses === losses || !goesOn) throw error;
    }
  }
}
