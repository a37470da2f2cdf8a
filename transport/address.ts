// Addresses of dial() and listen(), and the form in which this library prints
// them.

import { badAddress } from "./failure.ts";

/** A TCP address, or the address of a server that speaks TLS over TCP. */
export interface TcpAddress {
  /** The scheme. */
  scheme: "tcp" | "tls";
  /** Name or IP address, IPv6 without brackets; empty means loopback. */
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

/** URL of a WebSocket, or of an HTTP server that carries 9P in a POST. */
export interface WebAddress {
  /** The scheme; `wss` and `https` speak TLS. */
  scheme: "ws" | "wss" | "http" | "https";
  /** Name or IP address, IPv6 without brackets; empty means loopback. */
  hostname: string;
  /** Port, 0 to 65535; 0 lets the system choose one to listen on. */
  port: number;
  /** Path and query of the URL; `/` at least. */
  path: string;
}

/** The standard input and output of this process. */
export interface StdioAddress {
  /** The scheme. */
  scheme: "stdio";
}

/** An address, told apart by `scheme`. */
export type Address = TcpAddress | UnixAddress | WebAddress | StdioAddress;

/** Port of 9P by IANA, the service `9fs` of Plan 9. */
const PORT_9P = 564;

/** Reads the part of an address behind `scheme://` or `scheme!`. */
interface Syntax {
  url(rest: string): Address;
  plan9?(rest: string): Address;
}

const SYNTAX: { readonly [scheme: string]: Syntax } = {
  __proto__: null as never, // No `constructor://`.
  tcp: tcpSyntax("tcp"),
  tls: tcpSyntax("tls"),
  unix: { url: parsePath, plan9: parsePath },
  ws: webSyntax("ws", 80),
  wss: webSyntax("wss", 443),
  http: webSyntax("http", 80),
  https: webSyntax("https", 443),
  stdio: { url: parseStdio },
};

function tcpSyntax(scheme: TcpAddress["scheme"]): Syntax {
  return {
    url: (rest) => ({ scheme, ...parseHostPort(rest, PORT_9P) }),
    plan9: (rest) => ({ scheme, ...parseNetworkAddress(rest) }),
  };
}

function webSyntax(scheme: WebAddress["scheme"], port: number): Syntax {
  return {
    url(rest) {
      const end = rest.search(/[/?#]/);
      const path = end < 0 ? "" : rest.slice(end);
      if (/[#\s]/.test(path)) {
        throw new TypeError(`path is ${JSON.stringify(path)}`);
      }
      return {
        scheme,
        ...parseHostPort(end < 0 ? rest : rest.slice(0, end), port),
        path: path.startsWith("/") ? path : `/${path}`,
      };
    },
  };
}

/**
 * Reads an address.
 *
 * It may be `tcp://host:port` (port 564 when there is none), `tcp!host!port` as
 * in `dial(2)` of Plan 9 (the port may be `9fs`), `host:port`, `tls://host:port`,
 * `unix:///path`, `unix!/path`, `ws://host:port/path`, `wss:`, `http:` and
 * `https:` likewise, or `stdio:`. IPv6 addresses stand in brackets, except in
 * Plan 9's form. An empty host means loopback, `*` means all addresses of this
 * machine.
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
    const url = /^([a-z][a-z0-9+.-]*):\/\//i.exec(address) ??
      /^(stdio):/i.exec(address);
    if (url) return syntaxOf(url[1]).url(address.slice(url[0].length));
    const bang = address.indexOf("!");
    if (bang >= 0) {
      const scheme = address.slice(0, bang);
      const { plan9 } = syntaxOf(scheme);
      if (plan9 === undefined) {
        throw new TypeError(`write it as ${scheme}://…`);
      }
      return plan9(address.slice(bang + 1));
    }
    if (!address.includes(":")) {
      throw new TypeError(
        "expected tcp://host:port, tcp!host!port, host:port or unix:///path",
      );
    }
    return { scheme: "tcp", ...parseHostPort(address, PORT_9P) };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw badAddress(
      `Cannot use address ${JSON.stringify(address)}: ${error.message}`,
    );
  }
}

/**
 * Writes an address the way this library prints it, such as `tcp://host:port`
 * or `unix:///path`. {@linkcode parseAddress} reads it back.
 *
 * @param address The address.
 * @returns Its text.
 */
export function formatAddress(address: Readonly<Address>): string {
  const { scheme } = address;
  switch (scheme) {
    case "unix":
      return `unix://${address.path}`;
    case "stdio":
      return "stdio:";
    case "tcp":
    case "tls":
      return `${scheme}://${formatHost(address)}`;
    default:
      return `${scheme}://${formatHost(address)}${address.path}`;
  }
}

function formatHost({ hostname, port }: HostPort): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

function syntaxOf(name: string | undefined = ""): Syntax {
  const syntax = SYNTAX[name.toLowerCase()];
  if (syntax) return syntax;
  throw new TypeError(
    `unknown scheme "${name}", known are ${Object.keys(SYNTAX).join(", ")}`,
  );
}

type HostPort = Pick<TcpAddress, "hostname" | "port">;

/** Reads `host:port`, `host`, `[ipv6]:port`. */
function parseHostPort(text: string, defaultPort: number): HostPort {
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
  return hostPort(
    hostname,
    port === undefined ? defaultPort : parsePort(port),
  );
}

/** Reads `host!port` or `host`, as Plan 9 writes them behind `tcp!`. */
function parseNetworkAddress(text: string): HostPort {
  const [hostname = "", service = "9fs", ...more] = text.split("!");
  if (more.length > 0) throw new TypeError("there is a part behind the port");
  return hostPort(hostname, service === "9fs" ? PORT_9P : parsePort(service));
}

function hostPort(hostname: string, port: number): HostPort {
  if (hostname === "*") hostname = "0.0.0.0";
  if (!/^[^\s/@?#![\]*\\]*$/.test(hostname)) {
    throw new TypeError(`host is ${JSON.stringify(hostname)}`);
  }
  return { hostname, port };
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

function parseStdio(rest: string): StdioAddress {
  if (rest !== "") throw new TypeError("there is a part behind stdio:");
  return { scheme: "stdio" };
}
