// Files of Unix sockets: whose they are, and how that of a dead server is
// replaced. By node:fs on every runtime, which is asked for at run time, so
// that browsers can load this module.

/** As much of node:fs as is used here. */
interface Files {
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

function files(): Files {
  // A cast, because the types of node are a package.
  const { process } = globalThis as unknown as {
    process: { getBuiltinModule(name: string): Files };
  };
  return process.getBuiltinModule("node:fs");
}

/** Milliseconds after which a lock was left behind by a process that died with it. */
const LOCK_MS = 10_000;

/** The file that a listener has made for its socket. */
export class SocketFile {
  readonly #path: string;
  readonly #own: FileStat | undefined;

  /** @param path Path of the file, which was made just now. */
  constructor(path: string) {
    this.#path = path;
    this.#own = statOf(path);
  }

  /**
   * Closes the listener. The runtimes then remove whatever is at the path, Deno
   * not before an accept() that waits has ended: also a file that another
   * listener has made there meanwhile.
   *
   * @returns Puts such a file back, which must be done after the removal.
   */
  keepForeign(close: () => void): () => void {
    const now = statOf(this.#path);
    const own = this.#own;
    // While a listener lives, no other file gets the number of its own.
    const isForeign = now !== undefined &&
      (now.ino !== own?.ino || now.dev !== own.dev);
    const aside = `${this.#path}.${crypto.randomUUID().slice(0, 8)}`;
    // Where a right is missing, the listener must be closed all the same.
    const isKept = isForeign && tryLink(this.#path, aside);
    close();
    return () => {
      if (!isKept) return;
      tryLink(aside, this.#path); // Unless there is a newer file.
      removeFile(aside);
    };
  }
}

/** Gives a file another name; false where that cannot be. */
function tryLink(path: string, newPath: string): boolean {
  try {
    files().linkSync(path, newPath);
    return true;
  } catch {
    return false;
  }
}

/** Whether there is a file at the path that is not a socket. */
export function isOtherFile(path: string): boolean {
  return statOf(path)?.isSocket() === false;
}

/** Removes a file, if it is there. */
export function removeFile(path: string): void {
  try {
    files().unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/**
 * Takes the right to replace the file of a dead server, for as long as `work`
 * runs. Of several processes that start at once only one has it: otherwise one
 * would remove the file that another one has just made.
 *
 * @returns What `work` gave, or undefined when another process has the right.
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
    if (hasName(error, "NotCapable")) return await work(); // Deno may have the right to the socket alone.
    if (hasCode(error, "EEXIST")) return undefined;
    throw error;
  }
  try {
    return await work();
  } finally {
    removeFile(lock);
  }
}

/** What is known of a file; undefined when there is none, or nothing can be known, such as without the right to it. */
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
