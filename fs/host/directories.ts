// Paths to members of directories. A symbolic link cannot redirect such a path
// out of the tree. If the host has `/proc/self/fd`, the path begins with a
// descriptor of the directory. Otherwise the path is checked before and after
// its use.

import { NinePError } from "../../codec.ts";
import { type Identity, isSame } from "./attributes.ts";
import { BIG, codeOfError, type Handle, type System } from "./system.ts";

/** Maximum depth of a directory below the root. */
export const MAX_DEPTH = 512;

/**
 * Maximum of descriptors of directories that stay open for later operations.
 */
const KEPT_DESCRIPTORS_MAX = 64;

/**
 * Number of further checks of a path after an operation, if directories are not
 * held by descriptors. A directory that another process swaps for a link and
 * back passes about half of the checks.
 */
const CONFIRMATIONS = 3;

/** The place of a directory. */
export interface DirPlace {
  /** Which directory it is. */
  readonly identity: Identity;
  /** The directory that it is in; undefined for the root. */
  readonly parent: DirPlace | undefined;
  /** Its name there. */
  readonly name: string;
}

/**
 * Checks that run after an operation if directories are not held by
 * descriptors.
 */
export interface Checks<T> {
  /** Throws unless the path still leads to the result of the operation. */
  confirm?(path: string, result: T): Promise<unknown>;
  /** Undoes an operation after a check has failed. */
  discard?(result: T): Promise<void>;
}

/** The directories of a tree, as prefixes of paths. */
export interface Directories {
  /**
   * True when directories are held by descriptors, so that a swapped link
   * cannot redirect an operation.
   */
  readonly isHeld: boolean;
  /**
   * Runs an operation with a path of a directory: `path/name` is a member of
   * it, `path/.` the directory itself.
   *
   * @param use The operation. The path is valid until the operation ends.
   * @param checks Checks, if directories are not held.
   * @throws {NinePError} When the directory is not at its place any more.
   */
  at<T>(
    dir: DirPlace,
    use: (path: string) => Promise<T>,
    checks?: Checks<T>,
  ): Promise<T>;
  /** Closes the descriptor of a directory, if one is kept. */
  forget(dir: DirPlace): void;
  /** Closes everything. */
  close(): Promise<void>;
}

/** Returns the error for a fid whose file is not at its place any more. */
export function goneError(): NinePError {
  return new NinePError("file has been removed");
}

/** Returns a path that leads to the file of a descriptor. */
export function pathOf({ fd }: Handle): string {
  return `/proc/self/fd/${fd}`;
}

/**
 * Opens the directories of a tree: by descriptors if the host allows this,
 * otherwise by checked paths.
 *
 * @param path Path of the root; no part of it is a symbolic link.
 * @param identity Which directory it is.
 */
export async function openDirectories(
  system: System,
  path: string,
  identity: Identity,
): Promise<Directories> {
  const root = await openRoot(system, path, identity);
  return root === undefined
    ? new CheckedDirectories(system, path)
    : new HeldDirectories(system, root);
}

/**
 * Opens a descriptor of the root. Returns undefined if paths through
 * descriptors do not work here.
 */
async function openRoot(
  { files, flags }: System,
  path: string,
  identity: Identity,
): Promise<Handle | undefined> {
  if (flags.PATH === 0) return undefined;
  let root: Handle;
  try {
    root = await files.open(
      path,
      flags.PATH | flags.DIRECTORY | flags.CAREFUL,
    );
  } catch {
    return undefined; // Not known here.
  }
  try {
    // Deno shows /proc to programs with all permissions only.
    const [own, seen] = await Promise.all([
      root.stat(BIG),
      files.lstat(`${pathOf(root)}/.`, BIG),
    ]);
    if (isSame(identity, own) && isSame(identity, seen)) return root;
  } catch {
    // `/proc/self/fd` cannot be used.
  }
  await root.close();
  return undefined;
}

/** A directory that has a descriptor. */
interface Held {
  readonly dir: DirPlace | undefined;
  readonly ready: Promise<Handle>;
  uses: number;
  isKept: boolean;
}

/**
 * Directories by their descriptors. Changes of names and links by other
 * processes cannot redirect a path.
 */
class HeldDirectories implements Directories {
  readonly isHeld = true;
  readonly #system: System;
  readonly #root: Handle;
  #rootPath: string | undefined;
  /**
   * The open directories, in the order of their last use, the oldest first.
   */
  readonly #held: Map<DirPlace, Held> = new Map();
  readonly #closing: Set<Promise<void>> = new Set();

  constructor(system: System, root: Handle) {
    this.#system = system;
    this.#root = root;
  }

  async at<T>(
    dir: DirPlace,
    use: (path: string) => Promise<T>,
  ): Promise<T> {
    if (dir.parent === undefined) return await use(pathOf(this.#root));
    const held = await this.#acquire(dir);
    try {
      const path = pathOf(await held.ready);
      await this.#checkInside(path);
      return await use(path);
    } finally {
      this.#leave(held);
    }
  }

  /**
   * Throws if the directory was moved out of the tree. The check is needed
   * because the descriptor still leads to the directory.
   */
  async #checkInside(path: string): Promise<void> {
    const { files } = this.#system;
    const now = await files.readlink(path);
    if (this.#isInside(now)) return;
    // The whole tree may have been moved.
    this.#rootPath = await files.readlink(pathOf(this.#root));
    if (!this.#isInside(now)) throw goneError();
  }

  #isInside(path: string): boolean {
    const root = this.#rootPath;
    if (root === undefined) return false;
    return path.startsWith(root === "/" ? root : `${root}/`);
  }

  /**
   * Opens a directory and its parents, from the nearest open parent downwards.
   */
  async #acquire(dir: DirPlace): Promise<Held> {
    const way: DirPlace[] = [];
    let place = dir;
    while (!this.#held.has(place) && place.parent !== undefined) {
      way.push(place);
      place = place.parent;
    }
    let lease = this.#retain(place, undefined);
    for (;;) {
      let path: string;
      try {
        path = pathOf(await lease.ready);
      } catch (error) {
        this.#leave(lease);
        throw error;
      }
      const next = way.pop();
      if (next === undefined) return lease;
      const child = this.#retain(next, path);
      // The descriptor of the parent must stay open until the descriptor of the
      // child is open.
      await child.ready.catch(() => {});
      this.#leave(lease);
      lease = child;
    }
  }

  /** @param path Path of the parent; undefined for the root, and for a directory that is held. */
  #retain(dir: DirPlace, path: string | undefined): Held {
    let held = this.#held.get(dir);
    if (held === undefined) {
      if (path === undefined) {
        const ready = Promise.resolve(this.#root);
        return { dir: undefined, ready, uses: 1, isKept: true };
      }
      const ready = this.#open(`${path}/${dir.name}`, dir.identity);
      held = { dir, ready, uses: 0, isKept: true };
      const own = held;
      ready.catch(() => this.#drop(own));
    }
    // A new insertion keeps the map in the order of the last use.
    this.#held.delete(dir);
    this.#held.set(dir, held);
    held.uses++;
    return held;
  }

  async #open(path: string, identity: Identity): Promise<Handle> {
    const { files, flags } = this.#system;
    let handle: Handle;
    try {
      handle = await files.open(
        path,
        flags.PATH | flags.DIRECTORY | flags.CAREFUL,
      );
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

  #drop(held: Held): void {
    const { dir } = held;
    held.isKept = false;
    if (dir !== undefined && this.#held.get(dir) === held) {
      this.#held.delete(dir);
    }
  }

  #leave(held: Held): void {
    if (held.dir === undefined) return;
    held.uses--;
    if (held.uses === 0 && !held.isKept) this.#close(held);
    if (this.#held.size <= KEPT_DESCRIPTORS_MAX) return;
    for (const oldest of this.#held.values()) {
      if (oldest.uses > 0) continue;
      this.#drop(oldest);
      this.#close(oldest);
      if (this.#held.size <= KEPT_DESCRIPTORS_MAX) return;
    }
  }

  #close({ ready }: Held): void {
    // A directory that could not be opened has nothing to close.
    const closed = ready.then((handle) => handle.close()).catch(() => {})
      .finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }

  forget(dir: DirPlace): void {
    const held = this.#held.get(dir);
    if (held === undefined) return;
    this.#drop(held);
    if (held.uses === 0) this.#close(held);
  }

  async close(): Promise<void> {
    for (const dir of [...this.#held.keys()]) this.forget(dir);
    await Promise.all(this.#closing);
    await this.#root.close();
  }
}

/** Directories by their paths, for hosts without `/proc/self/fd`. */
class CheckedDirectories implements Directories {
  readonly isHeld = false;
  readonly #system: System;
  readonly #root: string;

  constructor(system: System, root: string) {
    this.#system = system;
    this.#root = root;
  }

  async at<T>(
    dir: DirPlace,
    use: (path: string) => Promise<T>,
    { confirm, discard }: Checks<T> = {},
  ): Promise<T> {
    const way = this.#wayTo(dir);
    const path = way[way.length - 1].path;
    await this.#check(way);
    const result = await use(path);
    try {
      await this.#check(way);
      if (confirm === undefined) return result;
      for (let i = 0; i < CONFIRMATIONS; i++) {
        await confirm(path, result);
        await this.#check(way);
      }
      return result;
    } catch (error) {
      await discard?.(result);
      throw error;
    }
  }

  /**
   * Returns the paths and identities of the root, of each parent and of the
   * directory itself, in this order.
   */
  #wayTo(dir: DirPlace): { path: string; identity: Identity }[] {
    const places = [dir];
    while (places[0].parent !== undefined) places.unshift(places[0].parent);
    let path = this.#root;
    return places.map(({ parent, name, identity }) => {
      if (parent !== undefined) path += `/${name}`;
      return { path, identity };
    });
  }

  async #check(
    way: readonly { path: string; identity: Identity }[],
  ): Promise<void> {
    const { files } = this.#system;
    await Promise.all(way.map(async ({ path, identity }) => {
      try {
        if (!isSame(identity, await files.lstat(path, BIG))) throw goneError();
      } catch (error) {
        throw isGone(error) ? goneError() : error;
      }
    }));
  }

  forget(): void {}

  async close(): Promise<void> {}
}

/**
 * Returns true when an error means that the file does not exist, or that its
 * name belongs to another kind of file.
 */
export function isGone(error: unknown): boolean {
  const code = codeOfError(error);
  // ENXIO: a socket, or a FIFO that no process reads, is in its place.
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP" ||
    code === "ENXIO";
}
