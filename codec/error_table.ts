// The error texts that 9P servers use, with their codes and numbers.

/**
 * A code, its number on Linux, and its texts. The first text is the one that
 * this library sends.
 */
type Row = readonly [code: string, errno: number, ...texts: string[]];

/**
 * The error texts of 9P servers with the code of each. Linux compares whole
 * texts, so the texts must be sent without additions.
 */
const CODES: ReadonlyArray<Row> = [
  [
    "ENOENT",
    2,
    "file does not exist",
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
    17,
    "file already exists",
    "file exists",
    "file or directory already exists",
  ],
  [
    "EACCES",
    13,
    "permission denied",
    "authentication failed",
    "authentication required",
    "authentication rejected",
  ],
  [
    "EPERM",
    1,
    "not owner",
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
    22,
    "Invalid argument",
    "unknown group",
    "unknown user",
    "illegal name",
    "illegal mode",
    "illegal offset",
    "bad offset",
  ],
  ["ENAMETOOLONG", 36, "File name too long"],
  ["ESPIPE", 29, "bad offset in directory read", "Illegal seek"],
  [
    "EPROTO",
    71,
    "protocol botch",
    "bogus wstat buffer",
    "bad directory in wstat",
    "duplicate tag",
    "9P protocol botch",
    "Protocol error",
  ],
  [
    "ENOTDIR",
    20,
    "not a directory",
    "walk in non-directory",
    "create in non-directory",
  ],
  ["EISDIR", 21, "Is a directory", "file is a directory"],
  [
    "ENOTEMPTY",
    39,
    "directory is not empty",
    "Directory not empty",
    "has children",
  ],
  ["EFBIG", 27, "file too big", "File too large"],
  [
    "EBADF",
    9,
    "fid unknown or out of range",
    "fid already in use",
    "bad use of fid",
    "unknown fid",
    "duplicate fid",
    "cannot clone open fid",
    "Bad file descriptor",
  ],
  ["ETXTBSY", 26, "file already open for I/O", "Text file busy"],
  [
    "EAGAIN",
    11,
    "exclusive use file already open",
    "file is in use",
    "file in use",
    "Resource temporarily unavailable",
  ],
  [
    "EROFS",
    30,
    "read only file system",
    "Read-only file system",
    "file is read only",
  ],
  ["ENOSPC", 28, "file system is full", "No space left on device"],
  ["EDQUOT", 122, "Disk quota exceeded"],
  ["EMFILE", 24, "Too many open files"],
  ["ENOMEM", 12, "Cannot allocate memory"],
  ["EIO", 5, "i/o error", "Input/output error", "i/o count too large"],
  [
    "EOPNOTSUPP",
    95,
    "Operation not supported",
    "authentication not required",
    "no authentication required",
    "create prohibited",
    "remove prohibited",
    "unknown message",
  ],
  ["ENOSYS", 38, "Function not implemented"],
  ["ETIMEDOUT", 110, "Connection timed out"],
  ["EINTR", 4, "Interrupted system call", "interrupted"],
  ["EXDEV", 18, "Invalid cross-device link"],
  ["ENODATA", 61, "No data available"],
  ["EBUSY", 16, "Device or resource busy"],
  // The texts of strerror(3), for the errors of a host.
  ["ENXIO", 6, "No such device or address"],
  ["E2BIG", 7, "Argument list too long"],
  ["EFAULT", 14, "Bad address"],
  ["ENOTBLK", 15, "Block device required"],
  ["ENODEV", 19, "No such device"],
  ["ENFILE", 23, "Too many open files in system"],
  ["EMLINK", 31, "Too many links"],
  ["EPIPE", 32, "Broken pipe"],
  ["EDOM", 33, "Numerical argument out of domain"],
  ["ERANGE", 34, "Numerical result out of range"],
  ["EDEADLK", 35, "Resource deadlock avoided"],
  ["ENOLCK", 37, "No locks available"],
  ["ELOOP", 40, "Too many levels of symbolic links"],
  ["ENOMSG", 42, "No message of desired type"],
  ["EIDRM", 43, "Identifier removed"],
  ["ENONET", 64, "Machine is not on the network"],
  ["ENOPKG", 65, "Package not installed"],
  ["EREMOTE", 66, "Object is remote"],
  ["ENOLINK", 67, "Link has been severed"],
  ["ECOMM", 70, "Communication error on send"],
  ["EBADMSG", 74, "Bad message"],
  ["EBADFD", 77, "File descriptor in bad state"],
  ["ESTRPIPE", 86, "Streams pipe error"],
  ["EUSERS", 87, "Too many users"],
  ["ENOTSOCK", 88, "Socket operation on non-socket"],
  ["EMSGSIZE", 90, "Message too long"],
  ["ENOPROTOOPT", 92, "Protocol not available"],
  ["EPROTONOSUPPORT", 93, "Protocol not supported"],
  ["ESOCKTNOSUPPORT", 94, "Socket type not supported"],
  ["EPFNOSUPPORT", 96, "Protocol family not supported"],
  ["ENETDOWN", 100, "Network is down"],
  ["ENETUNREACH", 101, "Network is unreachable"],
  ["ENETRESET", 102, "Network dropped connection on reset"],
  ["ECONNABORTED", 103, "Software caused connection abort"],
  ["ECONNRESET", 104, "Connection reset by peer"],
  ["ENOBUFS", 105, "No buffer space available"],
  ["EISCONN", 106, "Transport endpoint is already connected"],
  ["ENOTCONN", 107, "Transport endpoint is not connected"],
  ["ESHUTDOWN", 108, "Cannot send after transport endpoint shutdown"],
  ["ECONNREFUSED", 111, "Connection refused"],
  ["EHOSTDOWN", 112, "Host is down"],
  ["EHOSTUNREACH", 113, "No route to host"],
  ["EALREADY", 114, "Operation already in progress"],
  ["EINPROGRESS", 115, "Operation now in progress"],
  ["EISNAM", 120, "Is a named type file"],
  ["EREMOTEIO", 121, "Remote I/O error"],
  // The 9P client of Linux does not map the following texts to their numbers.
  ["ESTALE", 116, "Stale file handle"],
  ["ECANCELED", 125, "Operation canceled"],
  ["EOVERFLOW", 75, "Value too large for defined data type"],
  ["ENOTTY", 25, "Inappropriate ioctl for device"],
  ["ESRCH", 3, "No such process"],
  ["EADDRINUSE", 98, "Address already in use"],
  ["EADDRNOTAVAIL", 99, "Cannot assign requested address"],
  ["EAFNOSUPPORT", 97, "Address family not supported by protocol"],
];

const rows = new Map(CODES.map((row) => [row[0], row]));
const codeOfText = new Map<string, string>();
for (const [code, , ...texts] of CODES) {
  for (const text of texts) codeOfText.set(text.toLowerCase(), code);
}
const codeOfNumber = new Map(CODES.map(([code, errno]) => [errno, code]));

/**
 * Finds the code of an error text: `ENOENT` for `file does not exist`.
 *
 * Upper and lower case, and a period at the end, make no difference. If the
 * whole text is not in the table, the part after the last `: ` or `' ` is
 * looked up, because some servers put the name of a file before the text.
 *
 * @param ename Text of an Rerror.
 * @returns The code, or undefined for a text that is not in the table.
 */
export function codeOf(ename: string): string | undefined {
  const text = ename.trim().toLowerCase().replace(/\s*\.$/, "");
  const code = codeOfText.get(text);
  if (code !== undefined) return code;
  // lib9p of Plan 9 puts the name of the field after this text.
  if (text.includes("wstat -- attempt to change ")) return "EPERM";
  const at = Math.max(text.lastIndexOf(": "), text.lastIndexOf("' "));
  return at < 0 ? undefined : codeOfText.get(text.slice(at + 2));
}

/**
 * Returns the text that this library sends for a code: `file does not exist`
 * for `ENOENT`.
 *
 * @param code Name of an errno.
 * @returns The text, or undefined for a code that is not in the table.
 */
export function enameOf(code: string): string | undefined {
  return rows.get(code)?.[2];
}

/**
 * Finds the number of a code on Linux. Returns undefined for a code that is not
 * in the table.
 */
export function errnoOf(code: string): number | undefined {
  return rows.get(code)?.[1];
}

/**
 * Finds the code of an errno number of Linux. Returns undefined for a number
 * that is not in the table.
 */
export function codeOfErrno(errno: unknown): string | undefined {
  return typeof errno === "number" ? codeOfNumber.get(errno) : undefined;
}
