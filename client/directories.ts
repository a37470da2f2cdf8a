// Lists and makes directories, and removes and copies files and directories
// with everything below them.

import { NinePError } from "../codec.ts";
import type { TreePaths } from "./trees/tree_paths.ts";
import { PathRoot } from "./trees/path_root.ts";
import { type CopyProgress, copyTree } from "./trees/copy.ts";
import {
  gatherMembers,
  makeDirectories,
  makeDirectory,
  readMembers,
} from "./trees/directory.ts";
import { type FileStat, fileStat } from "./file_stat.ts";
import {
  type CallerOptions,
  checkMost,
  checkRange,
  type FileRef,
  labelOf,
  operate,
  pathOf,
} from "./operation.ts";
import { removeTree } from "./trees/remove_tree.ts";
import { monitored, type TransferOptions } from "./transfer/stall.ts";

/** Options of {@linkcode Client.readDirNames}. */
export interface ReadDirNamesOptions extends CallerOptions {
  /** Also give the names that start with a dot; false by default. */
  dotfiles?: boolean | undefined;
  /**
   * Most members, 0 to 2^53 - 1, or Infinity; 1,000,000 by default. If the
   * directory has more members, the call fails with a RangeError.
   */
  maxEntries?: number | undefined;
}

/** Options of {@linkcode Client.mkdir}. */
export interface MkdirOptions extends CallerOptions {
  /** Permissions and DM bits of the last directory, 0o777 by default. */
  mode?: number | undefined;
  /**
   * Make missing parent directories as well, with permissions 0o777, and accept
   * an existing directory; false by default.
   */
  recursive?: boolean | undefined;
}

/** Options of {@linkcode Client.remove}. */
export interface RemoveOptions extends CallerOptions {
  /**
   * Remove a directory with all files and directories below it; false by
   * default.
   */
  recursive?: boolean | undefined;
  /**
   * Most members of one directory, 0 to 2^53 - 1, or Infinity; 1,000,000 by
   * default. More members are a RangeError, after so many were removed.
   */
  maxEntries?: number | undefined;
}

/** Options of a copy, without the client of the target. */
export interface CopySettings extends TransferOptions {
  readonly recursive?: boolean | undefined;
  readonly maxEntries?: number | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** Lists a directory. */
export async function* listMembers(
  paths: TreePaths,
  path: string | readonly string[],
  options: CallerOptions,
): AsyncGenerator<FileStat, void, void> {
  const { signal } = options;
  const batches = readMembers(paths, path, "list", path, options);
  for await (const batch of batches) {
    for (const member of batch) {
      signal?.throwIfAborted();
      yield fileStat(member);
    }
  }
}

/** Lists the names in a directory. */
export function listNames(
  paths: TreePaths,
  path: string | readonly string[],
  options: ReadDirNamesOptions,
): Promise<string[]> {
  const { dotfiles = false, maxEntries } = options;
  return operate(paths.session, "list", path, options, (signal) => {
    checkMost(`list ${labelOf(path)}`, "maxEntries", maxEntries);
    const gathering = { ...options, signal, verb: "list", label: path };
    return gatherMembers(
      paths,
      path,
      gathering,
      ({ name }) => dotfiles || !name.startsWith(".") ? name : undefined,
    );
  });
}

/**
 * Makes a directory. With `recursive`, also makes its missing parent
 * directories.
 */
export function makeDirectoryAt(
  paths: TreePaths,
  path: string | readonly string[],
  options: MkdirOptions,
): Promise<void> {
  const { mode = 0o777, recursive = false } = options;
  const make = recursive ? makeDirectories : makeDirectory;
  return operate(paths.session, "make directory", path, options, (signal) => {
    const what = `make directory ${labelOf(path)}`;
    checkRange(what, "mode", mode, 0, 0xffffffff);
    return make(paths, path, mode, signal);
  });
}

/** Removes a file or a directory. */
export function removeFile(
  paths: TreePaths,
  file: FileRef,
  options: RemoveOptions,
): Promise<void> {
  const { session } = paths;
  const remove = async (signal: AbortSignal | undefined) => {
    const fid = await fidToRemove(paths, file, signal);
    paths.cachedFids.forget(fid);
    if (!options.recursive) return await session.remove(fid, signal);
    const root = new PathRoot(session, fid, paths.aname);
    const top = { base: root, path: [], label: pathOf(file) };
    try {
      await removeTree(top, { ...options, signal });
    } finally {
      session.drop(fid);
    }
  };
  const isGiven = typeof file === "number" && file !== paths.root;
  const check = () => {
    try {
      checkMost(`remove ${labelOf(file)}`, "maxEntries", options.maxEntries);
    } catch (error) {
      if (isGiven) session.drop(file); // A call always ends the given fid.
      throw error;
    }
  };
  // If the call is already aborted, the client sends no Tremove. A call of
  // remove() always ends the given fid, so the client clunks the fid.
  if (isGiven && options.signal?.aborted) {
    paths.cachedFids.forget(file);
    session.drop(file);
  }
  return operate(
    session,
    "remove",
    file,
    options,
    (signal) => {
      check();
      return paths.moving(file, () => remove(signal));
    },
  );
}

/** Returns the fid for a Tremove. */
async function fidToRemove(
  paths: TreePaths,
  file: FileRef,
  signal: AbortSignal | undefined,
): Promise<number> {
  const isRoot = typeof file === "number"
    ? file === paths.root
    : paths.absolute(file) === "/";
  if (isRoot) throw new NinePError("cannot remove root");
  return typeof file === "number" ? file : await paths.walk(file, signal);
}

/** Copies a file, or a directory with all files and directories below it. */
export function copyFiles(
  source: TreePaths,
  from: string | readonly string[],
  target: TreePaths,
  to: string | readonly string[],
  options: CopySettings,
): Promise<void> {
  const { recursive = false, onProgress, maxEntries } = options;
  const { session } = source;
  const ends = [
    { base: source, path: from, label: pathOf(from) },
    { base: target, path: to, label: pathOf(to) },
  ] as const;
  const verb = `copy ${labelOf(from)} to`;
  const what = `${verb} ${labelOf(to)}`;
  return monitored(
    session,
    () => what,
    options,
    (own, monitor) =>
      operate(session, verb, to, own, (signal) => {
        checkMost(what, "maxEntries", maxEntries);
        const { timeout } = own;
        const plan = { recursive, onProgress, maxEntries, monitor };
        return copyTree(...ends, { ...plan, signal, timeout });
      }),
  );
}
