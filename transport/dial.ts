// dial() and listen(): they read addresses, choose the runtime's sockets, and
// make one error per failure.

import { ProtocolError } from "../codec.ts";
import { formatAddress, parseAddress, type UnixAddress } from "./address.ts";
import { bunSockets } from "./bun.ts";
import { denoSockets } from "./deno.ts";
import { badAddress, cannot, systemCodeOf } from "./failure.ts";
import { isOtherFile, removeFile, withLock } from "./socket_file.ts";
import type {
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
} from "./connection.ts";
import type { Sockets } from "./sockets.ts";

/** Milliseconds between the two checks whether a server is dead. */
const DEAD_MS = 20;

/** Names that listen on all addresses, with the one to dial instead. */
const ANY: ReadonlyMap<string, string> = new Map([
  ["0.0.0.0", "127.0.0.1"],
  ["::", "::1"],
]);

/**
 * Connects to an address. See `dial(2)` of Plan 9.
 *
 * TCP connections send without delay (TCP_NODELAY). `0.0.0.0` and `[::]`, as in
 * the `addr` of a listener on all addresses, mean this machine.
 *
 * @param address `tcp://host:port`, `tcp!host!port`, `host:port` or
 * `unix:///path`; see {@linkcode parseAddress}.
 * @param options A signal that aborts the attempt.
 * @returns The connection.
 * @throws {TypeError} When the address is not one, or has no host or port 0.
 * @throws {ProtocolError} When there is no connection; `code` has the reason:
 *   `ECONNREFUSED`, `ENOTFOUND`, `ENOENT` …, and `ENOTCAPABLE` when Deno lacks
 *   a permission such as `--allow-net`.
 */
export async function dial(
  address: string,
  options: DialOptions = {},
): Promise<Connection> {
  const { signal } = options;
  const target = parseAddress(address);
  const addr = formatAddress(target);
  if (target.scheme === "tcp") {
    if (target.hostname === "") {
      throw badAddress(`Cannot connect to "${address}": host is empty`);
    }
    if (target.port === 0) {
      throw badAddress(`Cannot connect to "${address}": port is 0`);
    }
    target.hostname = ANY.get(target.hostname) ?? target.hostname;
  }
  signal?.throwIfAborted();
  const attempt = socketsFor("connect to", addr).connect(target, signal);
  try {
    return await (signal ? unlessAborted(attempt, signal) : attempt);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw cannot("connect to", addr, error);
  }
}

/**
 * Listens on an address.
 *
 * The file of a Unix socket is removed on close, unless another listener has
 * made a new file at its path. The socket file of a dead process is replaced. A
 * socket file in use, and any other file, is not. If several processes start at
 * once over the socket of a dead process, one of them listens; for a moment
 * there is a lock file, whose name is the path followed by `.lock`.
 *
 * Only `close()` ends a listener; a failure to accept a connection does not.
 *
 * @param address As for {@linkcode dial}; an empty host or `*` listens on all
 * IPv4 addresses, `[::]` on all addresses, port 0 on a free port.
 * @param options `onError` gets the errors of accepting.
 * @returns The listener; its `addr` has the real port.
 * @throws {TypeError} When the address is not one.
 * @throws {ProtocolError} When the address cannot be used; `code` has the
 *   reason: `EADDRINUSE`, `EACCES`, `ENOTCAPABLE` …
 */
export async function listen(
  address: string,
  options: ListenerOptions = {},
): Promise<Listener> {
  const target = parseAddress(address);
  const addr = formatAddress(target);
  if (target.scheme === "tcp") target.hostname ||= "0.0.0.0";
  const sockets = socketsFor("listen on", addr);
  try {
    return sockets.listen(target, options);
  } catch (error) {
    const inUse = systemCodeOf(error) === "EADDRINUSE";
    if (!inUse || target.scheme !== "unix") {
      throw cannot("listen on", addr, error);
    }
    return await replace(sockets, target, options, error);
  }
}

/** Listens on an existing socket file, if no server uses the file. */
async function replace(
  sockets: Sockets,
  target: UnixAddress,
  options: ListenerOptions,
  inUse: unknown,
): Promise<Listener> {
  const addr = formatAddress(target);
  const { path } = target;
  try {
    if (isOtherFile(path)) {
      throw new ProtocolError(
        `Cannot listen on "${addr}": there is a file that is not a socket`,
        { cause: inUse, code: "EEXIST" },
      );
    }
    if (await isAlive(sockets, target)) throw inUse;
    const listener = await withLock(path, async () => {
      // Another process may have replaced the file before the lock was taken.
      // The check is made twice, because a new server has a file a moment
      // before it listens.
      if (await isAlive(sockets, target)) throw inUse;
      await new Promise((resolve) => setTimeout(resolve, DEAD_MS));
      if (await isAlive(sockets, target)) throw inUse;
      removeFile(path);
      return sockets.listen(target, options);
    });
    if (listener === undefined) throw inUse;
    return listener;
  } catch (error) {
    throw error instanceof ProtocolError
      ? error
      : cannot("listen on", addr, error);
  }
}

/** Tells whether a server uses a socket file, as far as that can be known. */
async function isAlive(
  sockets: Sockets,
  target: UnixAddress,
): Promise<boolean> {
  try {
    (await sockets.connect(target)).close();
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    return code !== "ECONNREFUSED" && code !== "ENOENT";
  }
}

/**
 * Settles as the attempt does, or rejects when the signal aborts; a connection
 * that comes later is closed.
 */
function unlessAborted(
  attempt: Promise<Connection>,
  signal: AbortSignal,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    attempt.then((connection) => {
      signal.removeEventListener("abort", abort);
      if (signal.aborted) connection.close();
      else resolve(connection);
    }, (error) => {
      signal.removeEventListener("abort", abort);
      reject(error);
    });
  });
}

/** Returns the sockets of this runtime. */
function socketsFor(attempt: string, addr: string): Sockets {
  if ("Deno" in globalThis) return denoSockets;
  if ("Bun" in globalThis) return bunSockets;
  throw new ProtocolError(
    `Cannot ${attempt} "${addr}": this runtime has no sockets, Deno and Bun have`,
  );
}
