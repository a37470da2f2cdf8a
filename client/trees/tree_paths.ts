// Finds the fids of paths for the operations of a client. A path starts at the
// root of a tree or at its current directory.

import { NinePError, OREAD, QTEXCL } from "../../codec.ts";
import { type PathOpenOptions, PathRoot } from "./path_root.ts";
import { isDirectory } from "../file_stat.ts";
import { CachedFids } from "./cached_fids.ts";
import {
  type CallerOptions,
  type FileRef,
  labelOf,
  namesOf,
  operate,
} from "../operation.ts";
import { monitored, type TransferOptions } from "../transfer/stall.ts";
import type { OpenFid } from "../connection/client_session.ts";

/**
 * Returns the absolute form of a path: a text that starts with a slash and has
 * no empty elements and no elements `.` or `..`.
 *
 * `..` removes the element before it. A server finds the same file, unless that
 * element is missing, is no directory, or is a directory that several paths
 * lead to.
 *
 * @param path Path as a text or the list of its elements.
 * @param from Directory in which a path without a leading slash starts; the
 *   root by default.
 * @throws {TypeError} An element of a list has a slash.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { normalizePath } from "@ninep/ninep";
 *
 * assertEquals(normalizePath("lib//./news/../motd/"), "/lib/motd");
 * assertEquals(normalizePath(["..", "motd"], "/lib/news"), "/lib/motd");
 * assertEquals(normalizePath(""), "/");
 * ```
 */
export function normalizePath(
  path: string | readonly string[],
  from: string | readonly string[] = "/",
): string {
  const names: string[] = [];
  const start = isAbsolute(path) ? "" : from;
  for (const name of [...namesOf(start), ...namesOf(path)]) {
    if (name === "..") names.pop();
    else names.push(name);
  }
  return `/${names.join("/")}`;
}

function isAbsolute(path: string | readonly string[]): boolean {
  return typeof path === "string" && path.startsWith("/");
}

/**
 * Finds the files of one attached tree by their paths. It holds the current
 * directory and the cached fids of the tree.
 */
export class TreePaths extends PathRoot {
  /** Absolute path of the current directory. */
  cwd = "/";
  /** Fid of the current directory, unless it is the root. */
  #cwdFid: number | undefined;
  /** Cached fids of paths, for later calls. */
  readonly cachedFids: CachedFids = new CachedFids(this.session);
  #isReleased = false;

  /** Fid of the root. */
  get root(): number {
    return this.fid;
  }

  /**
   * Returns the fid where a path starts: the root, or the current directory.
   *
   * @throws {TypeError} The tree is closed.
   */
  protected override start(path: string | readonly string[]): number {
    this.#check();
    return isAbsolute(path) ? this.root : this.#cwdFid ?? this.root;
  }

  /**
   * Throws when the tree is closed, because the numbers of its fids may then
   * belong to other files.
   */
  #check(): void {
    if (!this.#isReleased) return;
    throw new TypeError(
      `Cannot use a tree of "${this.session.peer}": it is closed`,
    );
  }

  /** Returns the path from the root, without `..`. */
  absolute(path: string | readonly string[]): string {
    return normalizePath(path, this.cwd);
  }

  /** Makes a directory the current one. */
  async chdir(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const cwd = this.absolute(path);
    await this.reach(path, signal, async (fid) => {
      const { qid } = await this.session.stat(fid, signal);
      if (!isDirectory(qid)) throw new NinePError("not a directory");
      signal?.throwIfAborted(); // The reply may have come all the same.
      this.#check();
      if (this.#cwdFid !== undefined) this.session.drop(this.#cwdFid);
      this.#cwdFid = fid;
      this.cwd = cwd;
    });
  }

  /**
   * Returns the cached fid of a path. The client walks to the path for the
   * first call, and returns the same fid to later calls. The fid stays valid
   * until a caller clunks it or the tree is closed.
   */
  keep(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const walk = (signal: AbortSignal) => this.walk(path, signal);
    return this.cachedFids.give(this.absolute(path), walk, signal);
  }

  /**
   * Runs an operation on the cached fid of a path. The client walks to the path
   * for the first call, and uses the same fid for later calls.
   */
  withCachedFid<T>(
    path: string,
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    const walk = (signal: AbortSignal) => this.walk(path, signal);
    return this.cachedFids.use(this.absolute(path), walk, signal, work);
  }

  /**
   * Runs an operation that removes or renames a file. After the operation,
   * later calls do not use the cached fids of its path and of the paths below
   * this path.
   */
  async moving<T>(file: FileRef, work: () => Promise<T>): Promise<T> {
    const path = typeof file === "number"
      ? this.cachedFids.pathOf(file)
      : this.absolute(file);
    try {
      return await work();
    } finally {
      if (path !== undefined) this.cachedFids.forgetPath(path);
    }
  }

  /**
   * Runs an operation on a fid: the given fid, or a new fid of the path, which
   * is clunked after the operation.
   */
  withFid<T>(
    verb: string,
    file: FileRef,
    options: CallerOptions,
    work: (fid: number, signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    return operate(this.session, verb, file, options, (signal) => {
      if (typeof file !== "number") {
        return this.visit(file, signal, (fid) => work(fid, signal));
      }
      // The errors of a fid that is not cached need no check. Most fids are not
      // cached.
      if (!this.cachedFids.has(file)) return work(file, signal);
      return work(file, signal).catch((error) => {
        this.cachedFids.note(file, error);
        throw error;
      });
    });
  }

  /** Opens a file, runs a transfer on it, and closes it. */
  withOpen<T>(
    verb: string,
    path: string | readonly string[],
    openOptions: PathOpenOptions,
    options: TransferOptions,
    transfer: (open: OpenFid, signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    const { session } = this;
    return monitored(
      session,
      () => `${verb} ${labelOf(path)}`,
      options,
      (bounds, monitor) =>
        operate(session, verb, path, bounds, async (signal) => {
          const open = await this.open(path, openOptions, signal);
          open.monitor = monitor;
          return await this.#closing(open, () => transfer(open, signal));
        }),
    );
  }

  /** Runs a transfer on an open file, and closes the file. */
  async #closing<T>(
    { fid, mode, qid }: OpenFid,
    transfer: () => Promise<T>,
  ): Promise<T> {
    const { session } = this;
    let result: T;
    try {
      result = await transfer();
    } catch (error) {
      session.drop(fid);
      throw error;
    }
    // The reply to the Tclunk of a written file may be the error of an earlier
    // write. Other clients can open a file of exclusive use only after its
    // Rclunk. The client waits for the reply in these two cases only.
    const isAwaited = mode !== OREAD || (qid.type & QTEXCL) !== 0;
    if (isAwaited) await session.clunk(fid);
    else session.drop(fid);
    return result;
  }

  /**
   * Clunks the fids of the root and of the current directory, and the cached
   * fids.
   */
  async release(): Promise<void> {
    this.#isReleased = true;
    const { session } = this;
    const closed = new DOMException(
      `A tree of "${session.peer}" was closed`,
      "AbortError",
    );
    // A fid whose walk is under way is clunked when the walk has ended.
    const kept = this.cachedFids.release(closed);
    // A server may delay the Rclunk until the calls of the fid are answered.
    for (const fid of kept) session.flushFid(fid, () => closed);
    const fids = [this.root, ...kept];
    if (this.#cwdFid !== undefined) fids.push(this.#cwdFid);
    const clunks = fids.map((fid) => session.clunk(fid));
    for (const clunk of await Promise.allSettled(clunks)) {
      // After the end of the session the server has no fids, so this error is
      // ignored.
      if (clunk.status === "rejected" && clunk.reason !== session.error) {
        throw clunk.reason;
      }
    }
  }
}
