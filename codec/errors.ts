// The two errors of the protocol, and the texts that 9P servers use for them.

/**
 * The error texts of 9P servers with the code of each. The first text of a
 * code that is marked with `*` in the comment is what this library sends.
 * Linux compares whole texts, so nothing may be added to them.
 */
const CODES: ReadonlyArray<readonly [code: string, ...texts: string[]]> = [
  [
    "ENOENT",
    "file does not exist", // *
    "file has been removed",
    "file not found",
    "No such file or directory",
    "No such file",
    "No such path",
    "not found",
    "does not exist",
    "directory entry not found",
    "illegal path element",
    "directory entry is not allocated",
    "unknown specifier in attach",
    "bad attach specifier",
    "phase error",
  ],
  [
    "EEXIST",
    "file already exists", // *
    "file exists",
    "file or directory already exists",
  ],
  [
    "EACCES",
    "permission denied", // *
    "authentication failed",
    "authentication required",
    "authentication rejected",
  ],
  [
    "EPERM",
    "not owner", // *
    "not a member of proposed group",
    "wstat prohibited",
    "wstat can't convert between files and directories",
    "cannot remove root",
    "Operation not permitted",
    "only owner can change group in wstat",
    "no access to special file",
    "only support truncation to zero length",
  ],
  [
    "EINVAL",
    "Invalid argument", // *
    "unknown group",
    "unknown user",
    "illegal name",
    "illegal mode",
    "illegal offset",
    "bad offset",
  ],
  ["ENAMETOOLONG", "File name too long"], // *
  ["ESPIPE", "bad offset in directory read", "Illegal seek"], // *
  [
    "EPROTO",
    "protocol botch", // *
    "bogus wstat buffer",
    "bad directory in wstat",
    "duplicate tag",
    "9P protocol botch",
    "Protocol error",
  ],
  [
    "ENOTDIR",
    "not a directory", // *
    "walk in non-directory",
    "create in non-directory",
  ],
  ["EISDIR", "Is a directory", "file is a directory"], // *
  [
    "ENOTEMPTY",
    "directory is not empty", // *
    "Directory not empty",
    "has children",
  ],
  ["EFBIG", "file too big", "File too large"], // *
  [
    "EBADF",
    "fid unknown or out of range", // *
    "fid already in use",
    "bad use of fid",
    "unknown fid",
    "duplicate fid",
    "cannot clone open fid",
    "Bad file descriptor",
  ],
  ["ETXTBSY", "file already open for I/O", "Text file busy"], // *
  [
    "EAGAIN",
    "exclusive use file already open", // *
    "file is in use",
    "file in use",
    "Resource temporarily unavailable",
  ],
  [
    "EROFS",
    "read only file system", // *
    "Read-only file system",
    "file is read only",
  ],
  ["ENOSPC", "file system is full", "No space left on device"], // *
  ["EDQUOT", "Disk quota exceeded"], // *
  ["EMFILE", "Too many open files"], // *
  ["ENOMEM", "Cannot allocate memory"], // *
  ["EIO", "i/o error", "Input/output error", "i/o count too large"], // *
  [
    "EOPNOTSUPP",
    "Operation not supported", // *
    "authentication not required",
    "no authentication required",
    "create prohibited",
    "remove prohibited",
    "unknown message",
  ],
  ["ENOSYS", "Function not implemented"], // *
  ["ETIMEDOUT", "Connection timed out"], // *
  ["ECONNRESET", "Connection reset by peer"], // *
  ["ESTALE", "Stale file handle"], // *
  ["EINTR", "Interrupted system call", "interrupted"], // *
  ["EXDEV", "Invalid cross-device link"], // *
  ["ENODATA", "No data available"], // *
  ["EBUSY", "Device or resource busy"], // *
];

const codeOfText = new Map<string, string>();
for (const [code, ...texts] of CODES) {
  for (const text of texts) codeOfText.set(text.toLowerCase(), code);
}

/**
 * Finds the code of an error text: `ENOENT` for `file does not exist`.
 *
 * The case of the text, and a period at its end, do not matter. If the whole
 * text is not known, the part behind the last `: ` or `' ` is tried, because
 * some servers put the name of a file in front.
 *
 * @param ename Text of an Rerror.
 * @returns The code, or undefined for a text that no server is known to send.
 */
export function codeOf(ename: string): string | undefined {
  const text = ename.trim().toLowerCase().replace(/\s*\.$/, "");
  const code = codeOfText.get(text);
  if (code !== undefined) return code;
  // lib9p of Plan 9 names the field behind it.
  if (text.includes("wstat -- attempt to change ")) return "EPERM";
  const at = Math.max(text.lastIndexOf(": "), text.lastIndexOf("' "));
  return at < 0 ? undefined : codeOfText.get(text.slice(at + 2));
}

/**
 * The text that this library sends for a code: `file does not exist` for
 * `ENOENT`.
 *
 * @param code Name of an errno.
 * @returns The text, or undefined for a code that 9P servers do not use.
 */
export function enameOf(code: string): string | undefined {
  return CODES.find((row) => row[0] === code)?.[1];
}

/** Options of a {@linkcode NinePError}. */
export interface NinePErrorOptions {
  /** Code such as `ENOENT`; found by the text when it is not given. */
  code?: string | undefined;
  /** Message for people, when it says more than `ename`. */
  message?: string | undefined;
  /** Kind of the request that it answers, such as `Topen`. */
  request?: string | undefined;
  /** What led to the error. */
  cause?: unknown;
}

/**
 * The peer said no, or a handler says so: an Rerror. See `error(9P)`.
 *
 * @example Told apart by its code
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { NinePError } from "@ninep/ninep";
 *
 * const error = new NinePError("file does not exist");
 * assertEquals(error.code, "ENOENT");
 * ```
 */
export class NinePError extends Error {
  /** Text on the wire, exactly. */
  readonly ename: string;
  /** Code such as `ENOENT`; undefined for a text that is not known. */
  readonly code: string | undefined;
  /** Kind of the request that it answers, such as `Topen`; undefined where it answers none. */
  readonly request: string | undefined;

  /**
   * Makes an error for a text.
   *
   * @param ename Text on the wire, such as `permission denied`.
   * @param options Code, message and cause.
   */
  constructor(ename: string, options: NinePErrorOptions = {}) {
    super(
      options.message ?? ename,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "NinePError";
    this.ename = ename;
    this.code = options.code ?? codeOf(ename);
    this.request = options.request;
  }
}

/** Options of a {@linkcode ProtocolError}. */
export interface ProtocolErrorOptions {
  /** Code of the system's error, such as `ECONNREFUSED`. */
  code?: string | undefined;
  /** What led to the error. */
  cause?: unknown;
}

/** The peer broke the rules of the protocol, or the stream died. */
export class ProtocolError extends Error {
  /** Code of the system's error, such as `ECONNREFUSED`; undefined where there is none. */
  readonly code: string | undefined;

  /**
   * Makes an error.
   *
   * @param message What was attempted, a colon, the detail.
   * @param options Code and cause.
   */
  constructor(message: string, options: ProtocolErrorOptions = {}) {
    super(
      message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "ProtocolError";
    this.code = options.code;
  }
}
