// Moves a name of the host to another directory or name, without losing a file.

import { NinePError } from "../../codec.ts";
import { type Identity, identityOf, isSame } from "./attributes.ts";
import { goneError, isGone } from "./directories.ts";
import type { Host } from "./host.ts";
import type { HostFile, HostParent } from "./host_file.ts";
import { BIG, codeOfError, type HostFiles, type HostStats } from "./system.ts";

/** A directory that names are moved in. */
export interface MoveDir extends HostParent {
  readonly host: Host;
  /** Adds a member. A member that had this name before counts as removed. */
  add(file: HostFile): void;
}

/** A move. */
export interface Move {
  readonly name: string;
  readonly file: HostFile;
  readonly newName: string;
  readonly replace: boolean;
}

/** Throws unless a path leads to a file. */
export async function checkSame(
  { identity }: { readonly identity: Identity },
  path: string,
  files: HostFiles,
): Promise<void> {
  const stats = await lookAt(path, files);
  if (stats === undefined || !isSame(identity, stats)) throw goneError();
}

async function lookAt(
  path: string,
  files: HostFiles,
): Promise<HostStats | undefined> {
  try {
    return await files.lstat(path, BIG);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/**
 * Gives a file another name, which must be free. Removes the new name again if
 * it belongs to another file.
 */
export async function linkSame(
  file: { readonly identity: Identity },
  from: string,
  to: string,
  files: HostFiles,
): Promise<void> {
  await checkSame(file, from, files);
  await files.link(from, to);
  try {
    await checkSame(file, to, files);
  } catch (error) {
    await files.unlink(to).catch(() => {});
    throw error;
  }
}

/** Moves a name. No other operation may be in progress. */
export async function moveName(
  dir: MoveDir,
  newDir: MoveDir,
  { name, file, newName, replace }: Move,
): Promise<void> {
  const { host } = dir;
  const { files } = host.system;
  if (dir === newDir && name === newName) return;
  await host.directories.at(
    dir,
    (fromDir) =>
      host.directories.at(newDir, async (toDir) => {
        const from = `${fromDir}/${name}`;
        const to = `${toDir}/${newName}`;
        await checkSame(file, from, files);
        if (replace) await replaceName(file, from, to, files);
        else if (file.identity.kind === "directory") {
          await moveDirectory(from, to, files);
        } else await moveFile(file, from, to, files);
      }),
  );
  host.changed(dir.identity);
  host.changed(newDir.identity);
  const oldDir = file.parent;
  oldDir?.forget(file);
  newDir.retain();
  file.parent = newDir;
  file.name = newName;
  newDir.add(file);
  await oldDir?.release();
}

async function replaceName(
  file: { readonly identity: Identity },
  from: string,
  to: string,
  files: HostFiles,
): Promise<void> {
  const there = await lookAt(to, files);
  await files.rename(from, to);
  // If both names belong to the same file, rename(2) keeps both names.
  const isBoth = there !== undefined && isSame(file.identity, there) &&
    file.identity.kind !== "directory";
  if (!isBoth) return;
  try {
    await checkSame(file, from, files);
  } catch {
    return;
  }
  await files.unlink(from);
}

/**
 * Moves a file without replacing another file: links the new name, which must
 * be free, and then removes the old name.
 */
async function moveFile(
  file: { readonly identity: Identity },
  from: string,
  to: string,
  files: HostFiles,
): Promise<void> {
  try {
    await linkSame(file, from, to, files);
  } catch (error) {
    // Some file systems have no hard links, and Linux may forbid hard links to
    // files of other users. Then the file is renamed, and a file that takes the
    // new name at the last moment is replaced.
    const code = codeOfError(error);
    const isRefused = code === "EPERM" || code === "ENOTSUP" ||
      code === "EOPNOTSUPP" || code === "ENOSYS" || code === "EMLINK";
    if (!isRefused) throw error;
    if (await lookAt(to, files) !== undefined) {
      throw new NinePError("file already exists");
    }
    await files.rename(from, to);
    return;
  }
  try {
    await checkSame(file, from, files);
    await files.unlink(from);
  } catch (error) {
    await files.unlink(to).catch(() => {});
    throw error;
  }
}

/**
 * Moves a directory without replacing another one. A new empty directory takes
 * the name first, because rename(2) replaces only an empty directory.
 */
async function moveDirectory(
  from: string,
  to: string,
  files: HostFiles,
): Promise<void> {
  await files.mkdir(to, 0o700);
  const made = await files.lstat(to, BIG);
  try {
    await files.rename(from, to);
  } catch (error) {
    const now = await lookAt(to, files);
    if (now !== undefined && isSame(identityOf(made), now)) {
      await files.rmdir(to).catch(() => {});
    }
    throw codeOfError(error) === "ENOTEMPTY" || codeOfError(error) === "EEXIST"
      ? new NinePError("file already exists", { cause: error })
      : error;
  }
}
