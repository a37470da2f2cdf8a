// TCP, TLS and Unix sockets: the sockets of this runtime, and the file of a Unix
// socket.

import { ProtocolError } from "../codec.ts";
import { formatAddress, type UnixAddress } from "./address.ts";
import { systemCodeOf, unsupported } from "./failure.ts";
import { isOtherFile, removeFile, withLock } from "./socket_file.ts";
import type {
  Connection,
  DialOptions,
  Listener,
  ListenerOptions,
} from "./connection.ts";
import { hasNodeModules, type SocketAddress, type Sockets } from "./sockets.ts";

/** Milliseconds between the two checks whether a server is dead. */
const DEAD_MS = 20;

/** Names of all addresses of a machine, with the one to dial instead. */
const ANY: ReadonlyMap<string, string> = new Map([
  ["", "127.0.0.1"],
  ["0.0.0.0", "127.0.0.1"],
  ["::", "::1"],
]);

/** Connects to a socket. */
export async function dial(
  address: SocketAddress,
  options: DialOptions,
): Promise<Connection> {
  const sockets = await socketsFor(address);
  if (address.scheme === "unix") return await sockets.connect(address, options);
  const { hostname } = address;
  return await sockets.connect(
    { ...address, hostname: ANY.get(hostname) ?? hostname },
    options,
  );
}

/** Listens on a socket. Replaces the socket file of a dead server. */
export async function listen(
  address: SocketAddress,
  options: ListenerOptions,
): Promise<Listener> {
  const sockets = await socketsFor(address);
  if (address.scheme !== "unix") {
    const hostname = address.hostname || "127.0.0.1";
    return await sockets.listen({ ...address, hostname }, options);
  }
  try {
    return await sockets.listen(address, options);
  } catch (error) {
    if (systemCodeOf(error) !== "EADDRINUSE") throw error;
    return await replace(sockets, address, options, error);
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
  if (isOtherFile(path)) {
    throw new ProtocolError(
      `Cannot listen on "${addr}": there is a file that is not a socket`,
      { cause: inUse, code: "EEXIST" },
    );
  }
  if (await isAlive(sockets, target)) throw inUse;
  const listener = await withLock(path, async () => {
    // Another process may have replaced the file before the lock was taken. The
    // check is made twice, because a new server has a file a moment before it
    // listens.
    if (await isAlive(sockets, target)) throw inUse;
    await new Promise((resolve) => setTimeout(resolve, DEAD_MS));
    if (await isAlive(sockets, target)) throw inUse;
    removeFile(path);
    return await sockets.listen(target, options);
  });
  if (listener === undefined) throw inUse;
  return listener;
}

/** Tells whether a server uses a socket file, as far as that can be known. */
async function isAlive(
  sockets: Sockets,
  target: UnixAddress,
): Promise<boolean> {
  try {
    (await sockets.connect(target, {})).close();
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    return code !== "ECONNREFUSED" && code !== "ENOENT";
  }
}

/** Loads the sockets of this runtime. */
async function socketsFor({ scheme }: SocketAddress): Promise<Sockets> {
  if ("Deno" in globalThis) return (await import("./deno.ts")).denoSockets;
  // Bun's own sockets check no certificate before the first message.
  if ("Bun" in globalThis && scheme !== "tls") {
    return (await import("./bun.ts")).bunSockets;
  }
  if (hasNodeModules()) return (await import("./node.ts")).nodeSockets;
  throw unsupported(
    "this runtime has no sockets; use ws: or wss:, or connect with streams",
  );
}
