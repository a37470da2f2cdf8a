// Reads and changes the attributes of files, by path or fid. See stat(9P).

import { rangeError } from "./error_brand.ts";
import { DMDIR, NinePError, type Stat } from "../codec.ts";
import type { ClientSession } from "./connection/client_session.ts";
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
import type { TreePaths } from "./trees/tree_paths.ts";

/** Gets the attributes of a file. */
export function statFile(
  paths: TreePaths,
  file: FileRef,
  options: CallerOptions,
): Promise<FileStat> {
  return paths.withFid(
    "stat",
    file,
    options,
    (fid, signal) => paths.session.stat(fid, signal).then(fileStat),
  );
}

/** Gets the attributes of a file; undefined when there is no such file. */
export function findFile(
  paths: TreePaths,
  file: FileRef,
  options: CallerOptions,
): Promise<FileStat | undefined> {
  return orMissing(statFile(paths, file, options), undefined);
}

/** Tells whether a path leads to a file or directory. */
export function fileExists(
  paths: TreePaths,
  path: string | readonly string[],
  options: CallerOptions,
): Promise<boolean> {
  const walk = paths.withFid(
    "look for",
    path,
    options,
    () => Promise.resolve(true),
  );
  return orMissing(walk, false);
}

/**
 * Changes attributes of a file. The changes are checked before a message is
 * sent.
 *
 * @param verb Name of the operation, for error messages.
 */
export async function changeFile(
  paths: TreePaths,
  verb: string,
  file: FileRef,
  changes: StatChanges,
  options: CallerOptions,
): Promise<void> {
  const { session } = paths;
  const wishes = wishesOf(verb, file, changes);
  // The current directory may be another one after the walk.
  const path = typeof file === "number" ? file : paths.absolute(file);
  await paths.withFid(verb, file, options, async (fid, signal) => {
    const all = await withKind(session, fid, wishes, signal);
    const wstat = () => session.wstat(fid, all, signal);
    if (wishes.name === undefined) return wstat();
    return paths.moving(path, wstat);
  });
}

/** Sets the times of a file. */
export function changeTimes(
  paths: TreePaths,
  file: FileRef,
  atime: number | Date | undefined,
  mtime: number | Date | undefined,
  options: CallerOptions,
): Promise<void> {
  const times = { atime: secondsOf(atime), mtime: secondsOf(mtime) };
  return changeFile(paths, "utime", file, times, options);
}

/** Sets the permissions of a file. */
export async function changePermissions(
  paths: TreePaths,
  file: FileRef,
  mode: number,
  options: CallerOptions,
): Promise<void> {
  if (!Number.isInteger(mode) || mode < 0 || mode > PERMISSIONS) {
    const what = `Cannot chmod ${labelOf(file)}`;
    throw rangeError(`${what}: mode is ${mode}, the range is 0 to 0o777`);
  }
  await paths.withFid(
    "chmod",
    file,
    options,
    (fid, signal) => setPermissions(paths.session, fid, mode, signal),
  );
}

/** Gives a file another name in the same directory. */
export async function renameFile(
  paths: TreePaths,
  oldPath: string | readonly string[],
  newPath: string | readonly string[],
  options: CallerOptions,
): Promise<void> {
  // The current directory may be another one after the walk.
  const path = paths.absolute(oldPath);
  const from = namesOf(path);
  const to = namesOf(paths.absolute(newPath));
  await paths.withFid("rename", oldPath, options, async (fid, signal) => {
    const name = to.pop();
    from.pop();
    if (name === undefined || from.join("/") !== to.join("/")) {
      throw new NinePError("Invalid cross-device link", {
        message: `${
          labelOf(newPath)
        } is in another directory, and 9P renames only within one directory`,
      });
    }
    await paths.moving(
      path,
      () => paths.session.wstat(fid, { name }, signal),
    );
  });
}

/** Sets the permissions of a file, and keeps its DM bits. */
export async function setPermissions(
  session: ClientSession,
  fid: number,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stat = await session.stat(fid, signal);
  const changes = { mode: ((stat.mode & ~PERMISSIONS) | mode) >>> 0 };
  await session.wstat(fid, changes, signal);
}

/**
 * Adds DMDIR to the mode of a directory. A caller that gives a mode such as
 * 0o755 does not want to change the directory into a plain file.
 */
async function withKind(
  session: ClientSession,
  fid: number,
  wishes: Partial<Stat>,
  signal: AbortSignal | undefined,
): Promise<Partial<Stat>> {
  const { mode } = wishes;
  if (mode === undefined || (mode & DMDIR) !== 0) return wishes;
  const { qid } = await session.stat(fid, signal);
  if (!isDirectory(qid)) return wishes;
  return { ...wishes, mode: (mode | DMDIR) >>> 0 };
}

/** Returns the answer, or `missing` when there is no such file. */
async function orMissing<T, M>(answer: Promise<T>, missing: M): Promise<T | M> {
  try {
    return await answer;
  } catch (error) {
    if (isMissing(error)) return missing;
    throw error;
  }
}

/** Returns a time in whole seconds since 1970-01-01 UTC, as in a Twstat. */
function secondsOf(time: number | Date | undefined): number | undefined {
  if (time === undefined) return undefined;
  return Math.floor(typeof time === "number" ? time : time.getTime() / 1000);
}
