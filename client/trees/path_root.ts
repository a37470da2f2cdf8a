// Walks to files below a directory, opens and makes them.

import {
  NinePError,
  OAPPEND,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
} from "../../codec.ts";
import {
  checkRange,
  type FileRef,
  hasCode,
  labelOf,
  namesOf,
} from "../operation.ts";
import type { ClientSession, OpenFid } from "../connection/client_session.ts";
import { openToAppend } from "../transfer/append.ts";

/** Options for opening a path. */
export interface PathOpenOptions {
  read?: boolean | undefined;
  write?: boolean | undefined;
  truncate?: boolean | undefined;
  /** Needs `write`. */
  append?: boolean | undefined;
  create?: boolean | undefined;
  createNew?: boolean | undefined;
  /** Permissions of a new file. */
  mode?: number | undefined;
  /**
   * The mode of a Topen, instead of `read`, `write`, `truncate` and `append`.
   */
  flags?: number | undefined;
}

/** A directory from which paths start. */
export class PathRoot {
  readonly session: ClientSession;
  readonly fid: number;
  /**
   * Name of the tree, as in the Tattach. A qid identifies a file within one
   * tree only.
   */
  readonly aname: string;

  constructor(session: ClientSession, fid: number, aname: string) {
    this.session = session;
    this.fid = fid;
    this.aname = aname;
  }

  /** Returns the fid where a path starts. */
  protected start(_path: string | readonly string[]): number {
    return this.fid;
  }

  /** Walks to a file and returns its new fid. */
  walk(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
    ends: { from?: number | undefined; newfid?: number | undefined } = {},
  ): Promise<number> {
    const { from = this.start(path), newfid } = ends;
    return this.session.walk(from, namesOf(path), signal, newfid);
  }

  /**
   * Opens a file. With `create` or `createNew`, makes a missing file. If
   * another client makes the file just before this client does, this client
   * tries once more to open the file.
   */
  async open(
    file: FileRef,
    options: PathOpenOptions,
    signal: AbortSignal | undefined,
  ): Promise<OpenFid> {
    const mode = modeOf(options);
    const { create = false, createNew = false, mode: perm = 0o666 } = options;
    checkRange(`open ${labelOf(file)}`, "mode", perm, 0, 0xffffffff);
    const open = (fid: number) =>
      this.#opened(mode, (mode) => this.session.open(fid, mode, signal));
    if (typeof file === "number") {
      if (!createNew) return await open(file);
      throw new TypeError(
        `Cannot open fid ${file}: createNew goes with a path`,
      );
    }
    let isBeaten = false; // Another one made the file meanwhile.
    while (true) {
      try {
        if (!createNew) return await this.reach(file, signal, open);
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

  /** Makes a file, which must not exist, and opens it. */
  async create(
    path: string | readonly string[],
    perm: number,
    mode: number,
    signal: AbortSignal | undefined,
  ): Promise<OpenFid> {
    checkRange(`create ${labelOf(path)}`, "perm", perm, 0, 0xffffffff);
    const dir = namesOf(path);
    const name = dir.pop();
    if (name === undefined) throw new NinePError("file already exists");
    const fid = await this.session.walk(this.start(path), dir, signal);
    return await this.#orDrop(
      fid,
      () =>
        this.#opened(
          mode,
          (mode) => this.session.create(fid, name, perm, mode, signal),
        ),
    );
  }

  #opened(
    mode: number,
    open: (mode: number) => Promise<OpenFid>,
  ): Promise<OpenFid> {
    return (mode & OAPPEND) === 0
      ? open(mode)
      : openToAppend(this.session, mode, open);
  }

  /** Walks to a file, runs work on its fid, and clunks the fid. */
  async visit<T>(
    path: string | readonly string[],
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    const fid = await this.walk(path, signal);
    try {
      return await work(fid);
    } finally {
      this.session.drop(fid);
    }
  }

  /**
   * Walks to a file and runs work on its new fid. The fid is clunked only if
   * the work fails.
   */
  async reach<T>(
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
}

/** Returns the mode of the Topen. */
function modeOf(options: PathOpenOptions): number {
  const { read, write = false, truncate = false, append, flags } = options;
  if (flags !== undefined) {
    if (read || write || truncate || append) {
      throw new TypeError(
        "Cannot open a file: flags goes without read, write, append and truncate",
      );
    }
    const access = flags & 3;
    const isWritable = access === OWRITE || access === ORDWR;
    const known = 3 | OTRUNC | ORCLOSE | (isWritable ? OAPPEND : 0);
    if ((flags & known) === flags) return flags;
    throw new TypeError(`Cannot open a file: flags is ${flags}`);
  }
  if (truncate && !write) {
    throw new TypeError("Cannot open a file: truncate goes with write");
  }
  if ((options.create || options.createNew) && !write) {
    throw new TypeError(
      "Cannot open a file: create and createNew go with write or append",
    );
  }
  const access = !write ? OREAD : read ? ORDWR : OWRITE;
  return access | (truncate ? OTRUNC : 0) | (append ? OAPPEND : 0);
}
