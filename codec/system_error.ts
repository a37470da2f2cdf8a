// The errors of the runtimes, as errors of the protocol.

import { enameOf } from "./error_table.ts";
import { NinePError, ProtocolError } from "./errors.ts";

/** Other spellings of codes. */
const SAME_CODE: ReadonlyMap<string, string> = new Map([
  ["ABORT_ERR", "EINTR"],
  ["EDEADLOCK", "EDEADLK"],
  ["ENOTSUP", "EOPNOTSUPP"],
  ["EWOULDBLOCK", "EAGAIN"],
]);

/**
 * The code for the name of an error: of the classes of `Deno.errors`, which may
 * have no code, and of a DOMException. Names that blame a program or its data,
 * such as `InvalidData` or `SyntaxError`, have no code: they tell a client
 * nothing.
 */
const CODE_OF_NAME: ReadonlyMap<string, string> = new Map([
  ["AddrInUse", "EADDRINUSE"],
  ["AddrNotAvailable", "EADDRNOTAVAIL"],
  ["AlreadyExists", "EEXIST"],
  ["BadResource", "EBADF"],
  ["BrokenPipe", "EPIPE"],
  ["Busy", "EBUSY"],
  ["ConnectionAborted", "ECONNABORTED"],
  ["ConnectionRefused", "ECONNREFUSED"],
  ["ConnectionReset", "ECONNRESET"],
  ["FilesystemLoop", "ELOOP"],
  ["Interrupted", "EINTR"],
  ["IsADirectory", "EISDIR"],
  ["NetworkUnreachable", "ENETUNREACH"],
  ["NotADirectory", "ENOTDIR"],
  ["NotCapable", "EACCES"],
  ["NotConnected", "ENOTCONN"],
  ["NotFound", "ENOENT"],
  ["NotSupported", "EOPNOTSUPP"],
  ["PermissionDenied", "EACCES"],
  ["TimedOut", "ETIMEDOUT"],
  ["WouldBlock", "EAGAIN"],
  // DOMException. The meanings are those of the File System standard.
  ["AbortError", "EINTR"],
  ["InvalidModificationError", "ENOTEMPTY"],
  ["NoModificationAllowedError", "EBUSY"],
  ["NotAllowedError", "EACCES"],
  ["NotFoundError", "ENOENT"],
  ["NotSupportedError", "EOPNOTSUPP"],
  ["QuotaExceededError", "EDQUOT"],
  ["ReadOnlyError", "EROFS"],
  ["SecurityError", "EACCES"],
  ["TimeoutError", "ETIMEDOUT"],
  ["TypeMismatchError", "EINVAL"],
]);

/**
 * The texts for those codes whose usual text names a condition of the protocol,
 * such as `fid unknown or out of range` for EBADF.
 */
const SYSTEM_TEXTS: ReadonlyMap<string, string> = new Map([
  ["EAGAIN", "Resource temporarily unavailable"],
  ["EBADF", "Bad file descriptor"],
  ["EPERM", "Operation not permitted"],
  ["EPROTO", "Protocol error"],
  ["ESPIPE", "Illegal seek"],
  ["ETXTBSY", "Text file busy"],
]);

/**
 * Makes the error for a client of an error of the system or the runtime: of
 * `Deno.errors`, of an error with a `code` such as `ENOENT`, of a DOMException.
 * It has the code and its text, and nothing of the message. Only data
 * properties of the error and of its class count: no code of the error runs,
 * and its `cause` is not looked at.
 *
 * @param error What was thrown.
 * @returns The error for the client, or undefined for an error that is not in
 *   the tables, a ProtocolError among them.
 */
export function systemError(error: unknown): NinePError | undefined {
  try {
    const code = codeIn(error);
    const ename = code && (SYSTEM_TEXTS.get(code) ?? enameOf(code));
    if (!ename) return undefined;
    return new NinePError(ename, { code, cause: error });
  } catch {
    return undefined; // A Proxy may throw at anything.
  }
}

/** Finds the code of an error by its `code`, or by its name. */
function codeIn(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  // The code of a ProtocolError is for the owner of the connection.
  if (error instanceof ProtocolError) return undefined;
  const code = textIn(error, "code");
  if (code !== undefined) {
    const same = SAME_CODE.get(code) ?? code;
    if (enameOf(same) !== undefined) return same;
  }
  const name = textIn(error, "name") ?? domNameOf(error);
  return name === undefined ? undefined : CODE_OF_NAME.get(name);
}

/** Returns a text that an error, or its class, has as a data property. */
function textIn(error: object, key: "code" | "name"): string | undefined {
  const own = Object.getOwnPropertyDescriptor(error, key);
  if (own !== undefined) return isText(own.value) ? own.value : undefined;
  // Bun's AbortError has its code and name there.
  const prototype: unknown = Object.getPrototypeOf(error);
  if (typeof prototype !== "object" || prototype === null) return undefined;
  const value: unknown = Object.getOwnPropertyDescriptor(prototype, key)?.value;
  return isText(value) ? value : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** Returns the name of a DOMException, by the getter of the runtime. */
function domNameOf(error: object): string | undefined {
  const { prototype } = DOMException;
  if (!(error instanceof DOMException)) return undefined;
  const getter = Object.getOwnPropertyDescriptor(prototype, "name")?.get;
  const name: unknown = getter?.call(error);
  return isText(name) ? name : undefined;
}
