// A file of the host itself, and not what its name leads to by now.

import { type Identity, isSame } from "./attributes.ts";
import { type Directories, goneError, isGone, pathOf } from "./directories.ts";
import { BIG, type Handle, type HostStats, type System } from "./system.ts";

/** The changes that a file allows. */
export interface Inode {
  stat(): Promise<HostStats>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  /** Sets the times, in seconds. */
  utimes(atime: number, mtime: number): Promise<void>;
}

/** The functions of the host that reach files. */
export interface Access {
  readonly system: System;
  readonly directories: Directories;
}

/** Opens a path, and closes it again if it is another file than expected. */
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
 * Opens a file, if its path leads to it: no link is followed, and a device or
 * FIFO that has come in its place is not opened.
 *
 * @param path Path by way of its directory.
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

/** Runs an operation on a file or directory, if its path leads to it. */
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
      // A descriptor that is not open for reading takes no changes.
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
