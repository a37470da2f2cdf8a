// Addresses of dial() and listen(), and the form in which this library prints
// them.

import { badAddress } from "./failure.ts";

/** A TCP address. */
export interface TcpAddress {
  /** The scheme. */
  scheme: "tcp";
  /** Name or IP address, IPv6 without brackets; empty means all addresses. */
  hostname: string;
  /** Port, 0 to 65535; 0 lets the system choose one to listen on. */
  port: number;
}

/** Address of a Unix socket. */
export interface UnixAddress {
  /** The scheme. */
  scheme: "unix";
  /** Path of the socket file. */
  path: string;
}

/** An address, told apart by `scheme`. */
export type Address = TcpAddress | UnixAddress;

/** Port of 9P by IANA, the service `9fs` of Plan 9. */
const PORT_9P = 564;

/** A scheme: reads the part behind `scheme://` or `scheme!`. */
interface Scheme {
  url(rest: string): Address;
  plan9(rest: string): Address;
}

const SCHEMES: { readonly [scheme: string]: Scheme } = {
  __proto__: null as never, // No `constructor://`.
  tcp: { url: parseHostPort, plan9: parseNetworkAddress },
  unix: { url: parsePath, plan9: parsePath },
};

/**
 * Reads an address.
 *
 * It may be `tcp://host:port` (port 564 when there is none), `tcp!host!port` as
 * in `dial(2)` of Plan 9 (the port may be `9fs`), `host:port`, `unix:///path`
 * or `unix!/path`. IPv6 addresses stand in brackets, except in Plan 9's form.
 * An empty host or `*` means all addresses of this machine.
 *
 * @param address The text.
 * @returns The address, told apart by `scheme`.
 * @throws {TypeError} For an unknown scheme, a bad host, port or path.
 *
 * @example Forms of one address
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseAddress } from "@ninep/ninep/transport";
 *
 * const address = { scheme: "tcp", hostname: "::1", port: 564 } as const;
 * assertEquals(parseAddress("tcp://[::1]:564"), address);
 * assertEquals(parseAddress("tcp!::1!9fs"), address);
 * ```
 */
export function parseAddress(address: string): Address {
  try {
    if (typeof address !== "string") throw new TypeError("it is no text"); // A caller without types.
    const url = /^([a-z][a-z0-9+.-]*):\/\//i.exec(address);
    if (url) return schemeOf(url[1]).url(address.slice(url[0].length));
    const bang = address.indexOf("!");
    if (bang >= 0) {
      return schemeOf(address.slice(0, bang)).plan9(address.slice(bang + 1));
    }
    if (!address.includes(":")) {
      throw new TypeError(
        "expected tcp://host:port, tcp!host!port, host:port or unix:///path",
      );
    }
    return parseHostPort(address);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw badAddress(
      `Cannot use address ${JSON.stringify(address)}: ${error.message}`,
    );
  }
}

/**
 * Writes an address the way this library prints it: `tcp://host:port` or
 * `unix:///path`. {@linkcode parseAddress} reads it back.
 *
 * @param address The address.
 * @returns Its text.
 */
export function formatAddress(address: Address): string {
  switch (address.scheme) {
    case "tcp": {
      const { hostname, port } = address;
      return `tcp://${
        hostname.includes(":") ? `[${hostname}]` : hostname
      }:${port}`;
    }
    case "unix":
      return `unix://${address.path}`;
    default:
      throw new TypeError(`Unknown address ${address satisfies never}`);
  }
}

function schemeOf(name: string | undefined = ""): Scheme {
  const scheme = SCHEMES[name.toLowerCase()];
  if (scheme) return scheme;
  throw new TypeError(
    `unknown scheme "${name}", known are ${Object.keys(SCHEMES).join(", ")}`,
  );
}

/** Reads `host:port`, `host`, `[ipv6]:port`. */
function parseHostPort(text: string): TcpAddress {
  const [, host = "", port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(text) ??
    [];
  const bracketed = host.endsWith("]");
  if (!bracketed && port?.includes(":")) {
    throw new TypeError("an IPv6 address needs brackets");
  }
  const hostname = bracketed ? host.slice(1, -1) : host;
  if (bracketed && !hostname.includes(":")) {
    throw new TypeError(`host is "${host}", brackets are for IPv6`);
  }
  return tcpAddress(hostname, port === undefined ? PORT_9P : parsePort(port));
}

/** Reads `host!port` or `host`, as Plan 9 writes them behind `tcp!`. */
function parseNetworkAddress(text: string): TcpAddress {
  const [hostname = "", service = "9fs", ...more] = text.split("!");
  if (more.length > 0) throw new TypeError("there is a part behind the port");
  return tcpAddress(
    hostname,
    service === "9fs" ? PORT_9P : parsePort(service),
  );
}

function tcpAddress(hostname: string, port: number): TcpAddress {
  if (hostname === "*") hostname = "";
  if (!/^[^\s/@?#![\]*\\]*$/.test(hostname)) {
    throw new TypeError(`host is ${JSON.stringify(hostname)}`);
  }
  return { scheme: "tcp", hostname, port };
}

function parsePort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : NaN;
  if (port >= 0 && port <= 65535) return port;
  throw new TypeError(
    `port is ${JSON.stringify(text)}, expected a number from 0 to 65535`,
  );
}

function parsePath(path: string): UnixAddress {
  if (path === "") throw new TypeError("path is empty");
  if (path.includes("\0")) throw new TypeError("path has a NUL");
  return { scheme: "unix", path };
}
