// Opens and changes a file of the host only if its path still leads to this
// file.

import { type Identity, isSame } from "./attributes.ts";
import { type Directories, goneError, isGone, pathOf } from "./directories.ts";
import { BIG, type Handle, type HostStats, type System } from "./system.ts";

/** The attributes of one file, and functions that change them. */
export interface Inode {
  stat(): Promise<HostStats>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  /** Sets the times, in seconds. */
  utimes(atime: number, mtime: number): Promise<void>;
}

/**
 * The file functions and the directories that an operation on a file needs.
 */
export interface Access {
  readonly system: System;
  readonly directories: Directories;
}

/** Opens a path. Closes the file and throws if it is not the expected file. */
async function openSame(
  { files, flags }: System,
  path: string,
  identity: Identity,
  more: number,
): Promise<Handle> {
  let handle: Handle;
  try {
    handle = await files.open(path, more | flags.CAREFUL);
  } catch (error) {
    throw isGone(error) ? goneError() : error;
  }
  try {
    if (!isSame(identity, await handle.stat(BIG))) throw goneError();
  } catch (error) {
    await handle.close();
    throw error;
  }
  return handle;
}

/**
 * Opens a file, if its path still leads to it. No link is followed, and a
 * device or FIFO that another process has put in its place is not opened.
 *
 * @param path Path from {@linkcode Directories.at} and the name.
 * @param mode Flags for reading, writing and appending; nothing else.
 */
export async function openFile(
  { system, directories }: Access,
  path: string,
  identity: Identity,
  mode: number,
): Promise<Handle> {
  const { files, flags } = system;
  if (!directories.isHeld) return await openSame(system, path, identity, mode);
  const probe = await openSame(system, path, identity, flags.PATH);
  try {
    return await files.open(pathOf(probe), mode);
  } finally {
    await probe.close();
  }
}

/** Runs an operation on a file or directory, if the path still leads to it. */
export async function withInode<T>(
  { system, directories }: Access,
  path: string,
  identity: Identity,
  use: (inode: Inode) => Promise<T>,
): Promise<T> {
  const { files, flags } = system;
  const { isHeld } = directories;
  const mode = isHeld ? flags.PATH : flags.RDONLY;
  const handle = await openSame(system, path, identity, mode);
  const own = pathOf(handle);
  try {
    return await use({
      stat: () => handle.stat(BIG),
      // A descriptor with O_PATH does not allow changes, so the changes use its
      // path in `/proc/self/fd`.
      ...(isHeld
        ? {
          chmod: (mode) => files.chmod(own, mode),
          chown: (uid, gid) => files.chown(own, uid, gid),
          utimes: (atime, mtime) => files.utimes(own, atime, mtime),
        }
        : {
          chmod: (mode) => handle.chmod(mode),
          chown: (uid, gid) => handle.chown(uid, gid),
          utimes: (atime, mtime) => handle.utimes(atime, mtime),
        }),
    });
  } finally {
    await handle.close();
  }
}
