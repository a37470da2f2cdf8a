// From paths to fids: files that are walked to, opened and made for as long
// as an operation needs them.

import { ORDWR, OREAD, OTRUNC, OWRITE, QTEXCL } from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import { type FileRef, hasCode, namesOf, operate } from "./operation.ts";
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
}

/** The files of one attach. */
export class Tree {
  readonly session: Session;
  /** Fid of the root. */
  readonly root: number;

  constructor(session: Session, root: number) {
    this.session = session;
    this.root = root;
  }

  /** Runs an operation on a fid: the given one, or one that lives as long as the operation. */
  withFid<T>(
    verb: string,
    file: FileRef,
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    return operate(verb, file, signal, async () => {
      if (typeof file === "number") return await work(file);
      return await this.#reach(namesOf(file), signal, async (fid) => {
        const result = await work(fid);
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
    signal: AbortSignal | undefined,
    work: (open: OpenFid) => Promise<T>,
  ): Promise<T> {
    return operate(verb, path, signal, async () => {
      const open = await this.open(path, how, signal);
      const { fid, mode, qid } = open;
      let result: T;
      try {
        result = await work(open);
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
    const names = namesOf(file);
    let isBeaten = false; // Another one made the file meanwhile.
    while (true) {
      try {
        if (!createNew) return await this.#reach(names, signal, open);
      } catch (error) {
        if (!create || isBeaten || !hasCode(error, "ENOENT")) throw error;
      }
      try {
        return await this.create(names, perm, mode & ~OTRUNC, signal);
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
    return await this.#reach(
      dir,
      signal,
      (fid) => this.session.create(fid, name, perm, mode, signal),
    );
  }

  /** Walks to a file; its fid is given back when the work on it fails. */
  async #reach<T>(
    names: readonly string[],
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    const fid = await this.session.walk(this.root, names, signal);
    try {
      return await work(fid);
    } catch (error) {
      this.session.drop(fid);
      throw error;
    }
  }
}

/** The mode of a Topen. */
function modeOf({ read, write = false, truncate = false }: How): number {
  if (truncate && !write) {
    throw new TypeError("Cannot open a file: truncate goes with write");
  }
  const access = !write ? OREAD : read ? ORDWR : OWRITE;
  return truncate ? access | OTRUNC : access;
}
