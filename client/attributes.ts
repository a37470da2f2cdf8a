// What is known of a file without opening it, and how it is changed.

import { DMDIR, NinePError, type Stat } from "../codec.ts";
import {
  type FileStat,
  fileStat,
  isDirectory,
  PERMISSIONS,
  type StatChanges,
  wishesOf,
} from "./file_stat.ts";
import {
  type CallerOptions,
  type FileRef,
  isMissing,
  labelOf,
  namesOf,
} from "./operation.ts";
import { Requests } from "./protocol.ts";
import type { Session } from "./connection/client_session.ts";

/**
 * The attributes of files in one tree of a server: what
 * {@linkcode RemoteTree} and {@linkcode Client} have to look at them and to
 * change them.
 */
export class Attributes extends Requests {
  /**
   * Gets the attributes of a file (`file-stat` of the Scheme egg). See
   * `stat(9P)`.
   *
   * There each has a procedure of its own, too: `file-permissions`,
   * `file-access-time`, `file-modification-time`, `file-size`, `file-owner`,
   * `file-group`, `file-last-modified-by`: here they are `mode`, `atime`,
   * `mtime`, `length`, `uid`, `gid` and `muid` of one answer.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns The attributes.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }, { uid: "glenda" }));
   * await using client = await connect(near);
   * const { name, length, uid, isFile } = await client.stat("motd");
   * assertEquals([name, length, uid, isFile], ["motd", 6, "glenda", true]);
   * ```
   */
  stat(file: FileRef, options: CallerOptions = {}): Promise<FileStat> {
    return this.paths.withFid(
      "stat",
      file,
      options,
      (fid, signal) => this.session.stat(fid, signal).then(fileStat),
    );
  }

  /**
   * Tells whether there is a file or directory (`file-exists?` of the Scheme
   * egg). See `walk(9P)`.
   *
   * It may be gone a moment later: rather do what is to be done, and look at
   * the error.
   *
   * @param path Path.
   * @param options Signal.
   * @returns False when a name is missing, or one in the middle is no directory.
   * @throws {NinePError} The server does not tell: `permission denied`, for example.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * assertEquals(await client.exists("motd"), true);
   * assertEquals(await client.exists("motd/of/today"), false);
   * ```
   */
  exists(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<boolean> {
    const walk = this.paths.withFid(
      "look for",
      path,
      options,
      () => Promise.resolve(true),
    );
    return orMissing(walk, false);
  }

  /**
   * Tells whether there is a directory (`directory?` of the Scheme egg). See
   * `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns False for a plain file, and for none.
   * @throws {NinePError} The server does not tell.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
   * await using client = await connect(near);
   * assertEquals(await client.isDirectory("lib"), true);
   * assertEquals(await client.isDirectory("lib/motd"), false);
   * ```
   */
  async isDirectory(
    file: FileRef,
    options: CallerOptions = {},
  ): Promise<boolean> {
    const stat = await orMissing(this.stat(file, options), undefined);
    return stat?.isDirectory ?? false;
  }

  /**
   * Tells whether there is a file that is not a directory (`regular-file?` of
   * the Scheme egg). See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   * @returns False for a directory, and for none.
   * @throws {NinePError} The server does not tell.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }));
   * await using client = await connect(near);
   * assertEquals(await client.isFile("lib/motd"), true);
   * assertEquals(await client.isFile("lib/gone"), false);
   * ```
   */
  async isFile(file: FileRef, options: CallerOptions = {}): Promise<boolean> {
    const stat = await orMissing(this.stat(file, options), undefined);
    return stat?.isFile ?? false;
  }

  /**
   * Changes attributes of a file: all of them, or none. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param changes Attributes to set; none at all is {@linkcode Attributes.sync}.
   * @param options Signal.
   * @throws {RangeError} An attribute is out of its range.
   * @throws {TypeError} It is none that can be changed.
   *
   * @example A new name and new permissions at once
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.writeTextFile("draft", "dear");
   * await client.wstat("draft", { name: "letter", mode: 0o400 });
   * assertEquals((await client.stat("letter")).mode, 0o400);
   * ```
   */
  async wstat(
    file: FileRef,
    changes: StatChanges,
    options: CallerOptions = {},
  ): Promise<void> {
    await this.#change("change", file, changes, options);
  }

  /**
   * Cuts a file, or extends it with zeros. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param length New length in bytes, 0 to 2^53 - 1; 0 by default.
   * @param options Signal.
   * @throws {RangeError} The length is out of its range.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.writeTextFile("motd", "hello\n");
   * await client.truncate("motd", 4);
   * assertEquals(await client.readTextFile("motd"), "hell");
   * ```
   */
  async truncate(
    file: FileRef,
    length: number = 0,
    options: CallerOptions = {},
  ): Promise<void> {
    await this.#change("truncate", file, { length }, options);
  }

  /**
   * Sets the permissions of a file; its DM bits stay as they are. See
   * `stat(9P)`.
   *
   * @param file Path or fid.
   * @param mode Permissions, 0 to 0o777. For DM bits there is
   *   {@linkcode Attributes.wstat}.
   * @param options Signal.
   * @throws {RangeError} The mode is out of its range.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.mkdir("private");
   * await client.chmod("private", 0o700);
   * assertEquals((await client.stat("private")).mode & 0o777, 0o700);
   * ```
   */
  async chmod(
    file: FileRef,
    mode: number,
    options: CallerOptions = {},
  ): Promise<void> {
    if (!Number.isInteger(mode) || mode < 0 || mode > PERMISSIONS) {
      const what = `Cannot chmod ${labelOf(file)}`;
      throw new RangeError(`${what}: mode is ${mode}, the range is 0 to 0o777`);
    }
    await this.paths.withFid(
      "chmod",
      file,
      options,
      (fid, signal) => setPermissions(this.session, fid, mode, signal),
    );
  }

  /**
   * Gives a file to another group. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param gid Name of the group. The manual lets the owner do it who is a
   *   member of the new group, and the leader of both.
   * @param options Signal.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const users = { sys: { members: ["glenda"] } };
   * const fs = new MemoryFs({}, { mode: 0o777, users });
   * const [near, far] = pair();
   * void serve(far, fs);
   * await using client = await connect(near, { uname: "glenda" });
   * await client.writeTextFile("motd", "hello\n");
   * await client.chgrp("motd", "sys");
   * assertEquals((await client.stat("motd")).gid, "sys");
   * ```
   */
  async chgrp(
    file: FileRef,
    gid: string,
    options: CallerOptions = {},
  ): Promise<void> {
    await this.#change("chgrp", file, { gid }, options);
  }

  /**
   * Sets the times of a file. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param atime Time of the last read: seconds since 1970-01-01 UTC, 0 to
   *   2^32 - 2, or a date; parts of a second are dropped. Undefined leaves it
   *   alone: servers that keep to the manual refuse to set it.
   * @param mtime Time of the last change, likewise.
   * @param options Signal.
   * @throws {RangeError} A time is out of its range.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.writeTextFile("motd", "hello\n");
   * await client.utime("motd", undefined, new Date("2001-09-09T01:46:40Z"));
   * assertEquals((await client.stat("motd")).mtime, 1_000_000_000);
   * ```
   */
  async utime(
    file: FileRef,
    atime: number | Date | undefined,
    mtime: number | Date | undefined,
    options: CallerOptions = {},
  ): Promise<void> {
    const times = { atime: secondsOf(atime), mtime: secondsOf(mtime) };
    await this.#change("utime", file, times, options);
  }

  /**
   * Has the server bring a file to stable storage: a Twstat that changes
   * nothing. See `stat(9P)`.
   *
   * @param file Path or fid.
   * @param options Signal.
   *
   * @example
   * ```ts
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.writeTextFile("ledger", "42\n");
   * await client.sync("ledger");
   * ```
   */
  async sync(file: FileRef, options: CallerOptions = {}): Promise<void> {
    await this.#change("sync", file, {}, options);
  }

  /**
   * Gives a file another name in the same directory. See `stat(9P)`.
   *
   * @param oldPath Path.
   * @param newPath New path. 9P2000 cannot move a file into another directory
   *   (code `EXDEV`) or replace another one (`EEXIST`).
   * @param options Signal.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.writeTextFile("today", "buy milk\n");
   * await client.rename("today", "yesterday");
   * assertEquals(await client.exists("today"), false);
   * ```
   */
  async rename(
    oldPath: string | readonly string[],
    newPath: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<void> {
    // The current directory may be another one after the walk.
    const path = this.paths.absolute(oldPath);
    const from = namesOf(path);
    const to = namesOf(this.paths.absolute(newPath));
    await this.paths.withFid(
      "rename",
      oldPath,
      options,
      async (fid, signal) => {
        const name = to.pop();
        from.pop();
        if (name === undefined || from.join("/") !== to.join("/")) {
          throw new NinePError("Invalid cross-device link", {
            message: `${
              labelOf(newPath)
            } is not in its directory, and 9P renames only within one`,
          });
        }
        await this.paths.moving(
          path,
          () => this.session.wstat(fid, { name }, signal),
        );
      },
    );
  }

  /**
   * Adds DMDIR to the mode of a directory: a caller who gives a mode such as
   * 0o755 does not want to change the directory into a plain file.
   */
  async #withKind(
    fid: number,
    wishes: Partial<Stat>,
    signal: AbortSignal | undefined,
  ): Promise<Partial<Stat>> {
    const { mode } = wishes;
    if (mode === undefined || (mode & DMDIR) !== 0) return wishes;
    const { qid } = await this.session.stat(fid, signal);
    if (!isDirectory(qid)) return wishes;
    return { ...wishes, mode: (mode | DMDIR) >>> 0 };
  }

  /** Checks before anything is sent. */
  async #change(
    verb: string,
    file: FileRef,
    changes: StatChanges,
    options: CallerOptions,
  ): Promise<void> {
    const wishes = wishesOf(verb, file, changes);
    // The current directory may be another one after the walk.
    const path = typeof file === "number" ? file : this.paths.absolute(file);
    await this.paths.withFid(
      verb,
      file,
      options,
      async (fid, signal) => {
        const all = await this.#withKind(fid, wishes, signal);
        const wstat = () => this.session.wstat(fid, all, signal);
        if (wishes.name === undefined) return wstat();
        return this.paths.moving(path, wstat);
      },
    );
  }
}

/** Sets the permissions of a file, and keeps its DM bits. */
export async function setPermissions(
  session: Session,
  fid: number,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stat = await session.stat(fid, signal);
  const changes = { mode: ((stat.mode & ~PERMISSIONS) | mode) >>> 0 };
  await session.wstat(fid, changes, signal);
}

/** What is said of a file, or something else when there is none. */
async function orMissing<T, M>(answer: Promise<T>, missing: M): Promise<T | M> {
  try {
    return await answer;
  } catch (error) {
    if (isMissing(error)) return missing;
    throw error;
  }
}

/** The time of a Twstat. */
function secondsOf(time: number | Date | undefined): number | undefined {
  if (time === undefined) return undefined;
  return Math.floor(typeof time === "number" ? time : time.getTime() / 1000);
}
