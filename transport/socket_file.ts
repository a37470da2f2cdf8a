// The files of Unix sockets: which listener owns a file, and how the file of a
// dead server is replaced. All runtimes have node:fs. It is loaded at run time,
// so that browsers can load this module.

/** The functions of node:fs that are used here. */
interface Files {
  chmodSync(path: string, mode: number): void;
  lstatSync(path: string): FileStat;
  linkSync(path: string, newPath: string): void;
  unlinkSync(path: string): void;
  openSync(path: string, flags: "wx"): number;
  closeSync(file: number): void;
}

interface FileStat {
  readonly dev: number;
  readonly ino: number;
  readonly mtimeMs: number;
  isSocket(): boolean;
}

interface NodeProcess {
  umask(mask: number): number;
  getBuiltinModule(name: string): Files;
}

function nodeProcess(): NodeProcess {
  // A cast is needed, because the types of Node are a package.
  return (globalThis as unknown as { process: NodeProcess }).process;
}

function files(): Files {
  return nodeProcess().getBuiltinModule("node:fs");
}

/**
 * Age in milliseconds of a lock file from which on its process must have died.
 */
const LOCK_MS = 10_000;

/** The file that a listener has made for its socket. */
export class SocketFile {
  readonly #path: string;
  readonly #own: FileStat | undefined;

  /** @param path Path of the file, which the listener has just made. */
  constructor(path: string) {
    this.#path = path;
    this.#own = statOf(path);
  }

  /**
   * Keeps a file that another listener has made at the path meanwhile: on close,
   * a runtime removes any file at the path.
   *
   * @returns Puts that file back; to be called when the runtime has removed it.
   */
  putAside(): () => void {
    const now = statOf(this.#path);
    const own = this.#own;
    // While a listener is open, no other file gets the inode of its file.
    const isForeign = now !== undefined &&
      (now.ino !== own?.ino || now.dev !== own.dev);
    if (!isForeign) return () => {};
    const aside = `${this.#path}.${crypto.randomUUID().slice(0, 8)}`;
    const { linkSync } = files();
    try {
      linkSync(this.#path, aside);
    } catch {
      return () => {}; // A permission is missing. The listener must be closed all the same.
    }
    return () => {
      try {
        linkSync(aside, this.#path);
      } catch {
        // The file was not removed, or another listener has made a newer file.
      }
      removeFile(aside);
    };
  }
}

/** Mode of the file of a socket by default: only the owner may connect. */
export const MODE: number = 0o600;

/**
 * Makes the file of a socket with a mode, for Bun and Node: until `make` has
 * returned, all files of the process are made with this mode at most. A worker
 * cannot do this, and sets the mode directly afterwards.
 *
 * @param path Path of the file.
 * @param mode Mode of the file.
 * @param make Makes the file before it returns.
 */
export function withMode<T>(
  path: string,
  mode: number = MODE,
  make: () => T,
): T {
  const { umask } = nodeProcess();
  let before: number;
  try {
    before = umask(0o777 & ~mode);
  } catch (error) {
    if (!hasCode(error, "ERR_WORKER_UNSUPPORTED_OPERATION")) throw error;
    const made = make();
    if (statOf(path)?.isSocket()) files().chmodSync(path, mode);
    return made;
  }
  try {
    return make();
  } finally {
    umask(before);
  }
}

/** Tells whether the path has a file that is not a socket. */
export function isOtherFile(path: string): boolean {
  return statOf(path)?.isSocket() === false;
}

/** Removes a file if it exists. */
export function removeFile(path: string): void {
  try {
    files().unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/**
 * Runs `work` while this process alone may replace the file of a dead server.
 * Without the lock, one of several processes that start at once could remove
 * the file that another process has just made.
 *
 * @returns The result of `work`, or undefined when another process has the
 *   lock.
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const lock = `${path}.lock`;
  const { closeSync, openSync } = files();
  const age = Date.now() - (statOf(lock)?.mtimeMs ?? Infinity);
  if (age > LOCK_MS) removeFile(lock);
  try {
    closeSync(openSync(lock, "wx"));
  } catch (error) {
    if (hasName(error, "NotCapable")) return await work(); // The permission may be for the socket alone.
    if (hasCode(error, "EEXIST")) return undefined;
    throw error;
  }
  try {
    return await work();
  } finally {
    removeFile(lock);
  }
}

/**
 * Returns the stat of a file; undefined when the file does not exist, or a
 * permission is missing.
 */
function statOf(path: string): FileStat | undefined {
  try {
    return files().lstatSync(path);
  } catch {
    return undefined;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function hasName(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name;
}
