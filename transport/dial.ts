// dial() and listen(): they read addresses, load the module of the scheme, and
// make one error per failure.

import { ProtocolError } from "../codec.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { badAddress, cannot } from "./failure.ts";
import type {
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
} from "./connection.ts";
import { TRANSPORTS } from "./schemes.ts";

/**
 * Connects to an address. See `dial(2)` of Plan 9.
 *
 * TCP connections send without delay (TCP_NODELAY). An empty host means
 * this machine, and so do `*`, `0.0.0.0` and `[::]`, as in the `addr` of a
 * listener on all addresses.
 *
 * @param address `tcp://host:port`, `tcp!host!port`, `host:port`,
 * `unix:///path`, `tls:`, `ws:`, `wss:`, `http:`, `https:` or `stdio:`; see
 * {@linkcode parseAddress}.
 * @param options A signal that aborts the attempt, and certificates.
 * @returns The connection.
 * @throws {TypeError} When the address is not one, or has port 0.
 * @throws {ProtocolError} When the connection cannot be made; `code` has the
 *   reason: `ECONNREFUSED`, `ENOTFOUND`, `ENOENT` …, and `ENOTCAPABLE` when
 *   Deno lacks a permission such as `--allow-net`.
 */
export async function dial(
  address: string,
  options: DialOptions = {},
): Promise<Connection> {
  const { signal } = options;
  const target = parseAddress(address);
  const addr = formatAddress(target);
  if ("port" in target && target.port === 0) {
    throw badAddress(`Cannot connect to "${address}": port is 0`);
  }
  signal?.throwIfAborted();
  const attempt = TRANSPORTS[target.scheme]()
    .then((transport) => transport.dial(target, options));
  try {
    return await (signal ? unlessAborted(attempt, signal) : attempt);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (error instanceof ProtocolError) throw error;
    throw cannot("connect to", addr, error);
  }
}

/**
 * Listens on an address.
 *
 * The file of a Unix socket is removed on close, unless another listener has
 * made a new file at its path. The socket file of a dead process is replaced. A
 * socket file in use is not replaced, and neither is any other kind of file. If
 * several processes try to replace the same socket file at once, one of them
 * listens. During the replacement there is a lock file, whose name is the path
 * followed by `.lock`.
 *
 * Only `close()` ends a listener; a failure to accept a connection does not.
 *
 * @param address As for {@linkcode dial}; an empty host listens on loopback,
 * `*` on all IPv4 addresses, `[::]` on all addresses, port 0 on a free port.
 * @param options `onError` gets the errors of accepting; the mode of a Unix
 * socket; certificates.
 * @returns The listener; its `addr` has the real port.
 * @throws {TypeError} When the address is invalid.
 * @throws {ProtocolError} When the address cannot be used; `code` has the
 *   reason: `EADDRINUSE`, `EACCES`, `ENOTCAPABLE` …
 */
export async function listen(
  address: string,
  options: ListenerOptions = {},
): Promise<Listener> {
  const target = parseAddress(address);
  try {
    const transport = await TRANSPORTS[target.scheme]();
    return await transport.listen(target, options);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw cannot("listen on", formatAddress(target), error);
  }
}

/**
 * Settles like `attempt`, or rejects when the signal aborts. A connection that
 * is made after the abort is closed.
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
