// From paths to fids: files that are walked to, opened and made for as long
// as an operation needs them, from the root of a tree or its current directory.

import {
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  QTDIR,
  QTEXCL,
} from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import {
  bounded,
  type CallerOptions,
  type FileRef,
  hasCode,
  namesOf,
  operate,
} from "./operation.ts";
import type { OpenFid, Session } from "./session.ts";

/** How to open a path. */
export interface How {
  read?: boolean | undefined;
  write?: boolean | undefined;
  truncate?: boolean | undefined;
  create?: boolean | undefined;
  createNew?: boolean | undefined;
  /** Permissions of a new file. */
  mode?: number | undefined;
  /** The mode of a Topen, instead of all of the above. */
  flags?: number | undefined;
}

/**
 * Gives a path from the root: a text that starts with a slash, and has neither
 * `.` nor `..` nor more slashes than it needs.
 *
 * `..` takes the element before it away, as the server's directories do unless
 * one of them is in two places.
 *
 * @param path Path as a text or the list of its elements.
 * @param from Directory where a path starts that is not a text with a leading
 *   slash; the root by default.
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

/** A fid that stays, or the walk to it. */
interface Kept {
  readonly fid: Promise<number>;
  readonly walk: AbortController;
  /** Who wait for it; without any the walk is given up. */
  callers: number;
}

/** The files of one attach. */
export class Paths {
  readonly session: Session;
  /** Fid of the root. */
  root: number;
  /** Absolute path of the current directory. */
  cwd = "/";
  /** Fid of the current directory, unless it is the root. */
  #here: number | undefined;
  /** Fids that stay, by their absolute paths. */
  readonly #kept = new Map<string, Kept>();
  /** The paths of those that are there. */
  readonly #paths = new Map<number, string>();
  #isReleased = false;

  constructor(session: Session, root: number) {
    this.session = session;
    this.root = root;
  }

  /**
   * Walks to a new fid.
   *
   * @throws {TypeError} The tree is closed.
   */
  walk(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
    ends: { from?: number | undefined; newfid?: number | undefined } = {},
  ): Promise<number> {
    const { from = this.#start(path), newfid } = ends;
    return this.session.walk(from, namesOf(path), signal, newfid);
  }

  #start(path: string | readonly string[]): number {
    this.#check();
    return isAbsolute(path) ? this.root : this.#here ?? this.root;
  }

  /** A tree that is closed has no fids: its numbers may be those of others. */
  #check(): void {
    if (!this.#isReleased) return;
    throw new TypeError(
      `Cannot use a tree of "${this.session.peer}": it is closed`,
    );
  }

  /** The path from the root, without `..`. */
  absolute(path: string | readonly string[]): string {
    return normalizePath(path, this.cwd);
  }

  /** Makes a directory the current one. */
  async chdir(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const cwd = this.absolute(path);
    await this.#reach(path, signal, async (fid) => {
      const { qid } = await this.session.stat(fid, signal);
      if (!(qid.type & QTDIR)) throw new NinePError("not a directory");
      signal?.throwIfAborted(); // The reply may have come all the same.
      this.#check();
      if (this.#here !== undefined) this.session.drop(this.#here);
      this.#here = fid;
      this.cwd = cwd;
    });
  }

  /** Gives a fid that is walked to once and stays until it is clunked. */
  async keep(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const key = this.absolute(path);
    const kept = this.#kept.get(key) ?? this.#keep(path, key);
    const onAbort = () => {
      if (--kept.callers > 0) return;
      this.#forget(key, kept);
      kept.walk.abort(signal?.reason);
    };
    kept.callers++;
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await kept.fid;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #keep(path: string | readonly string[], key: string): Kept {
    const walk = new AbortController();
    const fid = this.#stay(path, key, walk.signal);
    const kept: Kept = { fid, walk, callers: 0 };
    this.#kept.set(key, kept);
    fid.catch(() => this.#forget(key, kept));
    return kept;
  }

  async #stay(
    path: string | readonly string[],
    key: string,
    signal: AbortSignal,
  ): Promise<number> {
    const fid = await this.walk(path, signal);
    if (signal.aborted) {
      this.session.drop(fid);
      throw signal.reason;
    }
    this.#paths.set(fid, key);
    return fid;
  }

  /** A walk leads to no fid that stays. */
  #forget(key: string, kept: Kept): void {
    if (this.#kept.get(key) === kept) this.#kept.delete(key);
  }

  /** A fid is given back: it stays no longer. */
  forget(fid: number): void {
    const path = this.#paths.get(fid);
    if (path === undefined) return;
    this.#paths.delete(fid);
    this.#kept.delete(path);
  }

  /** Runs an operation on a fid: the given one, or one that lives as long as the operation. */
  withFid<T>(
    verb: string,
    file: FileRef,
    options: CallerOptions,
    work: (fid: number, signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    return operate(this.session, verb, file, options, async (signal) => {
      if (typeof file === "number") return await work(file, signal);
      return await this.#reach(file, signal, async (fid) => {
        const result = await work(fid, signal);
        this.session.drop(fid);
        return result;
      });
    });
  }

  /** Runs an operation on an open file that lives as long as the operation. */
  withOpen<T>(
    verb: string,
    path: string | readonly string[],
    how: How,
    options: CallerOptions,
    work: (open: OpenFid, signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    return operate(this.session, verb, path, options, async (signal) => {
      const open = await this.open(path, how, signal);
      const { fid, mode, qid } = open;
      let result: T;
      try {
        result = await work(open, signal);
      } catch (error) {
        this.session.drop(fid);
        throw error;
      }
      // Worth waiting for: failed writes are told, others may open it now.
      const isHeld = mode !== OREAD || (qid.type & QTEXCL) !== 0;
      if (isHeld) await this.session.clunk(fid);
      else this.session.drop(fid);
      return result;
    });
  }

  /** Opens a file, or makes it, whoever else makes or removes it meanwhile. */
  async open(
    file: FileRef,
    how: How,
    signal: AbortSignal | undefined,
  ): Promise<OpenFid> {
    const mode = modeOf(how);
    const { create = false, createNew = false, mode: perm = 0o666 } = how;
    const open = (fid: number) => this.session.open(fid, mode, signal);
    if (typeof file === "number") return await open(file);
    let isBeaten = false; // Another one made the file meanwhile.
    while (true) {
      try {
        if (!createNew) return await this.#reach(file, signal, open);
      } catch (error) {
        if (!create || isBeaten || !hasCode(error, "ENOENT")) throw error;
      }
      try {
        return await this.create(file, perm, mode & ~OTRUNC, signal);
      } catch (error) {
        if (createNew || isBeaten || !hasCode(error, "EEXIST")) throw error;
        isBeaten = true;
      }
    }
  }

  /** Makes a file, which must not be there, and opens it. */
  async create(
    path: string | readonly string[],
    perm: number,
    mode: number,
    signal: AbortSignal | undefined,
  ): Promise<OpenFid> {
    const dir = namesOf(path);
    const name = dir.pop();
    if (name === undefined) throw new NinePError("file already exists");
    const fid = await this.session.walk(this.#start(path), dir, signal);
    return await this.#orDrop(
      fid,
      () => this.session.create(fid, name, perm, mode, signal),
    );
  }

  /** Walks to a file; its fid is given back when the work on it fails. */
  async #reach<T>(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    const fid = await this.walk(path, signal);
    return await this.#orDrop(fid, () => work(fid));
  }

  async #orDrop<T>(fid: number, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.session.drop(fid);
      throw error;
    }
  }

  /** Gives back the root, the current directory and the fids that stay. */
  async release(): Promise<void> {
    this.#isReleased = true;
    const { session } = this;
    const fids = [this.root, ...this.#paths.keys()];
    if (this.#here !== undefined) fids.push(this.#here);
    const closed = new DOMException(
      `A tree of "${session.peer}" was closed`,
      "AbortError",
    );
    // What is still walked to is clunked when it is there.
    for (const { walk } of this.#kept.values()) walk.abort(closed);
    this.#kept.clear();
    this.#paths.clear();
    const clunks = Promise.allSettled(fids.map((fid) => session.clunk(fid)));
    const what = () => `close a tree of "${session.peer}"`;
    for (const clunk of await bounded(session, what, {}, () => clunks)) {
      // With the session gone, there is nothing to give back.
      if (clunk.status === "rejected" && clunk.reason !== session.error) {
        throw clunk.reason;
      }
    }
  }
}

/** The mode of a Topen. */
function modeOf(how: How): number {
  const { read, write = false, truncate = false, flags } = how;
  if (flags !== undefined) {
    if (read || write || truncate) {
      throw new TypeError(
        "Cannot open a file: flags goes without read, write, append and truncate",
      );
    }
    if ((flags & (3 | OTRUNC | ORCLOSE)) === flags) return flags;
    throw new TypeError(`Cannot open a file: flags is ${flags}`);
  }
  if (truncate && !write) {
    throw new TypeError("Cannot open a file: truncate goes with write");
  }
  const access = !write ? OREAD : read ? ORDWR : OWRITE;
  return truncate ? access | OTRUNC : access;
}
