// Converts errors of the runtimes to errors of the protocol.

import { enameOf } from "./error_table.ts";
import { NinePError, ProtocolError } from "./errors.ts";

/** Codes that have another name, with the name that the table uses. */
const SAME_CODE: ReadonlyMap<string, string> = new Map([
  ["ABORT_ERR", "EINTR"],
  ["EDEADLOCK", "EDEADLK"],
  ["ENOTSUP", "EOPNOTSUPP"],
  ["EWOULDBLOCK", "EAGAIN"],
]);

/**
 * The codes for names of errors. The names are those of the classes of
 * `Deno.errors`, which may have no code, and those of DOMException. Names for
 * faults in a program or its data, such as `InvalidData` or `SyntaxError`, are
 * left out, because they are of no use to a client.
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
  // Names of DOMException, with the meanings of the File System standard.
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
 * Texts for codes whose first text in error_table.ts describes a condition of
 * the protocol, such as `fid unknown or out of range` for EBADF.
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
 * Converts an error of the system or the runtime to an error for the client.
 * Such an error is one of `Deno.errors`, an error with a `code` such as
 * `ENOENT`, or a DOMException. The result has the code and its text; it
 * contains nothing of the original message. Only data properties of the error
 * and of its class are read, so no getter of the error runs. The `cause` of the
 * error is ignored.
 *
 * @param error The thrown value.
 * @returns The error for the client, or undefined for a ProtocolError and for
 *   every error that is not in the tables.
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
  // The code of a ProtocolError concerns the owner of the connection, not the
  // client.
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
  // Bun's AbortError has its code and name on its prototype.
  const prototype: unknown = Object.getPrototypeOf(error);
  if (typeof prototype !== "object" || prototype === null) return undefined;
  const value: unknown = Object.getOwnPropertyDescriptor(prototype, key)?.value;
  return isText(value) ? value : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/**
 * Returns the name of a DOMException, which it reads with the getter of the
 * runtime.
 */
function domNameOf(error: object): string | undefined {
  const { prototype } = DOMException;
  if (!(error instanceof DOMException)) return undefined;
  const getter = Object.getOwnPropertyDescriptor(prototype, "name")?.get;
  const name: unknown = getter?.call(error);
  return isText(name) ? name : undefined;
}
