// Errors of sockets, with messages of one line and one class on every runtime.

import { NinePError, ProtocolError } from "../codec.ts";

/** Texts for the codes of a system's errors. */
const TEXTS: ReadonlyMap<string, string> = new Map([
  ["EACCES", "permission denied"],
  ["EADDRINUSE", "address already in use"],
  ["EADDRNOTAVAIL", "no such address on this machine"],
  ["ECONNABORTED", "connection aborted"],
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset by the peer"],
  ["EHOSTUNREACH", "no route to the host"],
  ["EMFILE", "too many open files"],
  ["ENETUNREACH", "network is unreachable"],
  ["ENFILE", "too many open files"],
  ["ENOENT", "no such file or directory"],
  ["ENOTFOUND", "host not found"],
  ["EPIPE", "the peer closed it"],
  ["ETIMEDOUT", "timed out"],
]);

/**
 * Makes the error of a dial() or listen(). `attempt` is `connect to` or `listen
 * on`.
 */
export function cannot(
  attempt: string,
  addr: string,
  cause: unknown,
): ProtocolError {
  return new ProtocolError(`Cannot ${attempt} "${addr}": ${detailOf(cause)}`, {
    cause,
    code: systemCodeOf(cause),
  });
}

/**
 * Makes the cause for {@linkcode cannot} if this runtime lacks something.
 *
 * @param detail What is missing, and what to use instead.
 */
export function unsupported(detail: string): Error {
  return Object.assign(new Error(detail), { code: "EPROTONOSUPPORT" });
}

/** Makes the error of a listener with TLS that has no certificate. */
export function missingCertificate(): TypeError {
  return badAddress("the option tls with cert and key is missing");
}

/** Refuses a certificate of a client without its key, and a key alone. */
export function checkIdentity(
  { cert, key }: { cert?: string | undefined; key?: string | undefined },
): void {
  if ((cert === undefined) !== (key === undefined)) {
    throw badAddress("the option tls needs both cert and key, or neither");
  }
}

/** Makes the error of a lost connection. */
export function lost(peer: string, cause?: unknown): ProtocolError {
  // A stream may pass on an error of this library, which needs no further text.
  if (cause instanceof ProtocolError) return cause;
  const detail = cause === undefined ? "the peer closed it" : detailOf(cause);
  return new ProtocolError(`Connection to "${peer}" lost: ${detail}`, {
    cause,
    code: cause === undefined ? "EPIPE" : systemCodeOf(cause),
  });
}

/** Makes the error of a write after, or during, a close. */
export function closed(peer: string): ProtocolError {
  return new ProtocolError(`Cannot write to "${peer}": connection is closed`);
}

/** Makes the error of a second read or write while one is pending. */
export function pending(peer: string, operation: string): TypeError {
  return new TypeError(`Cannot ${operation} "${peer}": a call is pending`);
}

/** Makes the error for an address that can never be used. */
export function badAddress(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: "EINVAL" });
}

/** Codes of errors that every further attempt to connect would give. */
const PERMANENT: ReadonlySet<string> = new Set([
  "EAFNOSUPPORT",
  "EINVAL",
  "ELOOP",
  "ENAMETOOLONG",
  "ENOTCAPABLE",
  "ENOTDIR",
  "ENOTSOCK",
  "EPROTO",
  "EPROTONOSUPPORT",
  "EPROTOTYPE",
]);

/** Codes of Node and Bun for a refused certificate, or a refused way of TLS. */
const TLS_REFUSAL =
  /^(CERT_|DEPTH_ZERO_|ERR_OSSL_|ERR_SSL_|ERR_TLS_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|SELF_SIGNED_|UNABLE_TO_)/;

/**
 * Recognizes an error that another attempt to connect would give again: a bad
 * address, a missing permission of Deno, a refused certificate. Errors that the
 * system or the network may remove are not among them, such as an unknown host,
 * or the permissions of a socket file.
 */
export function isPermanent(error: unknown): boolean {
  if (error instanceof NinePError) return false; // The server has answered.
  const code = systemCodeOf(error);
  return code !== undefined && (PERMANENT.has(code) || TLS_REFUSAL.test(code));
}

/** Returns the code of a system's error, such as `ECONNREFUSED`. */
export function systemCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  if (isNotCapable(error)) return "ENOTCAPABLE";
  // This is how Deno reports a refused certificate, or a peer without TLS.
  if (error.name === "InvalidData") return "EPROTO";
  // Deno gives no code to a name that does not resolve.
  return /failed to lookup address/.test(error.message)
    ? "ENOTFOUND"
    : undefined;
}

/** Recognizes a missing permission of Deno, such as `--allow-net`. */
function isNotCapable(error: Error): boolean {
  return error.name === "NotCapable";
}

function detailOf(error: unknown): string {
  const text = TEXTS.get(systemCodeOf(error) ?? "");
  if (text !== undefined) return text;
  // Node joins the errors of all addresses of a host, and gives no message.
  if (error instanceof AggregateError && error.message === "") {
    return detailOf(error.errors[0]);
  }
  const message = error instanceof Error ? error.message : String(error);
  const [line = ""] = message.split("\n");
  return line.replace(/ \(os error \d+\)$/, "");
}
