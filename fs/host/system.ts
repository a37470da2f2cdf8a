// The functions of `node:fs` that a host directory uses. Deno, Bun and Node
// have them. They are loaded at run time, so that browsers can load mod.ts.

import { NinePError } from "../../codec.ts";

/** Attributes of a file of the host, with full resolution. See `stat(2)`. */
export interface HostStats {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

/** An open descriptor of the host. */
export interface Handle {
  readonly fd: number;
  stat(options: Big): Promise<HostStats>;
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ bytesWritten: number }>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  utimes(atime: number, mtime: number): Promise<void>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** A directory that is being read. */
export interface HostDirStream {
  read(): Promise<{ readonly name: string } | null>;
  close(): Promise<void>;
}

/** Size of a file system of the host. See `statfs(2)`. */
export interface HostCapacity {
  readonly bsize: bigint;
  readonly blocks: bigint;
  readonly bfree: bigint;
  readonly bavail: bigint;
  readonly files: bigint;
  readonly ffree: bigint;
}

interface Big {
  bigint: true;
}

/** The functions of `node:fs/promises` that are used. */
export interface HostFiles {
  open(path: string, flags: number, mode?: number): Promise<Handle>;
  opendir(path: string): Promise<HostDirStream>;
  lstat(path: string, options: Big): Promise<HostStats>;
  realpath(path: string): Promise<string>;
  readFile(path: string, encoding: "utf8"): Promise<string>;
  readlink(path: string): Promise<string>;
  symlink(target: string, path: string): Promise<void>;
  link(path: string, newPath: string): Promise<void>;
  rename(path: string, newPath: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mkdir(path: string, mode: number): Promise<void>;
  rmdir(path: string): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  chown(path: string, uid: number, gid: number): Promise<void>;
  lchown(path: string, uid: number, gid: number): Promise<void>;
  utimes(path: string, atime: number, mtime: number): Promise<void>;
  lutimes(path: string, atime: number, mtime: number): Promise<void>;
  statfs(path: string, options: Big): Promise<HostCapacity>;
}

/** Flags of `open(2)`; those that the host lacks are 0. */
export interface Flags {
  readonly RDONLY: number;
  readonly WRONLY: number;
  readonly RDWR: number;
  readonly APPEND: number;
  readonly CREAT: number;
  readonly EXCL: number;
  readonly DIRECTORY: number;
  /**
   * O_NOFOLLOW, O_NONBLOCK and O_NOCTTY: the open does not follow a link, does
   * not wait for the other end of a FIFO or device, and does not take a
   * controlling terminal.
   */
  readonly CAREFUL: number;
  /**
   * O_PATH: the descriptor refers to the file without opening it. Linux only.
   */
  readonly PATH: number;
}

/** The functions of Deno that are used under Deno. */
interface DenoFiles {
  readDir(path: string): AsyncIterable<{ readonly name: string }>;
}

/** The host's file functions. */
export interface System {
  readonly files: HostFiles;
  readonly flags: Flags;
  readonly platform: string;
}

/** O_PATH of Linux, which the runtimes do not export. */
const O_PATH = 0o10000000;

/**
 * Loads the file functions of the runtime.
 *
 * @throws {NinePError} When the runtime has no file functions, as in a browser.
 */
export function loadSystem(): System {
  // A cast is needed, because the types of Node are in a separate package.
  const { process, Deno: deno } = globalThis as unknown as {
    Deno?: DenoFiles;
    process?: {
      readonly platform: string;
      getBuiltinModule?(name: string): unknown;
    };
  };
  if (process?.getBuiltinModule === undefined) {
    throw new NinePError("Function not implemented", {
      message: "Cannot serve a host directory: this runtime has no node:fs",
    });
  }
  const { platform } = process;
  // Casts to the types of the used functions.
  const files = process.getBuiltinModule("node:fs/promises") as HostFiles;
  const { constants } = process.getBuiltinModule("node:fs") as {
    readonly constants: Partial<Record<string, number>>;
  };
  const flag = (name: string) => constants[`O_${name}`] ?? 0;
  return {
    files: deno === undefined ? files : withReadDir(files, deno),
    platform,
    flags: {
      RDONLY: flag("RDONLY"),
      WRONLY: flag("WRONLY"),
      RDWR: flag("RDWR"),
      APPEND: flag("APPEND"),
      CREAT: flag("CREAT"),
      EXCL: flag("EXCL"),
      DIRECTORY: flag("DIRECTORY"),
      CAREFUL: flag("NOFOLLOW") | flag("NONBLOCK") | flag("NOCTTY"),
      PATH: platform === "linux" ? O_PATH : 0,
    },
  };
}

/**
 * Replaces opendir() by Deno's own function. Under Deno 2.9, close() of a
 * directory from `node:fs` leaves the descriptor open.
 */
function withReadDir(files: HostFiles, deno: DenoFiles): HostFiles {
  const opendir = (path: string): Promise<HostDirStream> => {
    const names = deno.readDir(path)[Symbol.asyncIterator]();
    return Promise.resolve({
      read: () =>
        names.next().then(({ done, value }) => done === true ? null : value),
      close: async () => {
        await names.return?.();
      },
    });
  };
  return Object.assign(Object.create(files) as HostFiles, { opendir });
}

/** The code of an error of the host, such as `ENOENT`. */
export function codeOfError(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** The codes of the error numbers that Linux and macOS have in common. */
const CODES: ReadonlyMap<number, string> = new Map([
  [1, "EPERM"],
  [2, "ENOENT"],
  [5, "EIO"],
  [9, "EBADF"],
  [12, "ENOMEM"],
  [13, "EACCES"],
  [16, "EBUSY"],
  [17, "EEXIST"],
  [18, "EXDEV"],
  [20, "ENOTDIR"],
  [21, "EISDIR"],
  [22, "EINVAL"],
  [23, "ENFILE"],
  [24, "EMFILE"],
  [26, "ETXTBSY"],
  [27, "EFBIG"],
  [28, "ENOSPC"],
  [30, "EROFS"],
]);

/** Number of EDQUOT. */
const EDQUOT: Readonly<Record<string, number>> = { linux: 122, darwin: 69 };

/**
 * Returns an error of the host with its code. Errors of Deno's file handles
 * have no code, only a number in the message.
 */
export function hostError(error: unknown, platform: string): unknown {
  if (!(error instanceof Error) || codeOfError(error) !== undefined) {
    return error;
  }
  const match = /\(os error (\d+)\)$/.exec(error.message);
  if (match === null) return error;
  const number = Number(match[1]);
  const code = number === EDQUOT[platform] ? "EDQUOT" : CODES.get(number);
  if (code === undefined) return error;
  return Object.assign(new Error(error.message, { cause: error }), { code });
}

/** Option of stat() for attributes as bigints, with full resolution. */
export const BIG: Big = { bigint: true };
