// Directories, and whole trees below them.

import { DMDIR, OREAD, QTDIR } from "../codec/constants.ts";
import { NinePError, ProtocolError } from "../codec/errors.ts";
import { decodeDir, type Stat } from "../codec/stat.ts";
import { type FileStat, fileStat } from "./file_stat.ts";
import { Files } from "./files.ts";
import { type CallerOptions, labelOf, operate } from "./operation.ts";

/** Size of the reads of a directory: no record is larger. */
const DIR_CHUNK = 64 * 1024;

/** Options of {@linkcode RemoteTree.mkdir}. */
export interface MkdirOptions extends CallerOptions {
  /** Permissions, 0o777 by default. */
  mode?: number;
}

/**
 * One tree of a server, as one user sees it.
 *
 * Files are named by paths or, where they are `number`s, by fids. Any number
 * of calls may be under way at once. Failures are NinePErrors, with a `code`
 * such as `ENOENT`, when the server said no; and ProtocolErrors when it
 * misbehaved or the connection ended, which rejects all calls.
 */
export class RemoteTree extends Files {
  #closing: Promise<void> | undefined;

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
  ): AsyncGenerator<FileStat, void, void> {
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
        for (const member of members) yield fileStat(member);
      }
    } finally {
      this.session.drop(file.fid);
    }
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
    const { session } = this;
    const { mode = 0o777 } = options;
    return operate(session, "make directory", path, options, async (signal) => {
      const perm = (DMDIR | mode) >>> 0;
      const { fid } = await this.paths.create(path, perm, OREAD, signal);
      session.drop(fid);
    });
  }

  /** Path of the current directory, where paths without a leading slash start. */
  get cwd(): string {
    return this.paths.cwd;
  }

  /**
   * Makes a directory the current one.
   *
   * @param path Path.
   * @param options Signal.
   * @throws {NinePError} It is not there (`ENOENT`), or not a directory (`ENOTDIR`).
   */
  chdir(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<void> {
    return operate(
      this.session,
      "change to",
      path,
      options,
      (signal) => this.paths.chdir(path, signal),
    );
  }

  /**
   * Gives back the tree's fids; files that are open stay open. Closing again
   * does nothing. See `clunk(9P)`.
   */
  close(): Promise<void> {
    return this.#closing ??= this.paths.release();
  }

  /** Closes the tree. */
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
