import { assertEquals, assertThrows } from "@std/assert";
import { test } from "../harness.ts";
import {
  type Address,
  formatAddress,
  parseAddress,
  type WebAddress,
} from "../../transport.ts";

test("parseAddress() reads every form", () => {
  const tcp = (hostname: string, port: number) =>
    ({ scheme: "tcp", hostname, port }) as const;
  const web = (
    scheme: WebAddress["scheme"],
    hostname: string,
    port: number,
    path: string,
  ) => ({ scheme, hostname, port, path });
  const unix = (path: string) => ({ scheme: "unix", path }) as const;
  const forms: Record<string, Address> = {
    "tcp://127.0.0.1:5640": tcp("127.0.0.1", 5640),
    "TCP://example.org:0": tcp("example.org", 0),
    "tcp://example.org": tcp("example.org", 564),
    "tcp://:65535": tcp("", 65535),
    "tcp://*:564": tcp("0.0.0.0", 564),
    "tcp://[::1]:5640": tcp("::1", 5640),
    "tcp://[fe80::1%eth0]": tcp("fe80::1%eth0", 564),
    "localhost:5640": tcp("localhost", 5640),
    "[::]:5640": tcp("::", 5640),
    ":5640": tcp("", 5640),
    "tcp!example.org!5640": tcp("example.org", 5640),
    "tcp!example.org!9fs": tcp("example.org", 564),
    "tcp!example.org": tcp("example.org", 564),
    "tcp!*!564": tcp("0.0.0.0", 564),
    "tcp!::1!564": tcp("::1", 564),
    "unix:///run/a b%20!:9p": unix("/run/a b%20!:9p"),
    "unix://run/9p": unix("run/9p"),
    "unix!/tmp/ns/acme": unix("/tmp/ns/acme"),
    "tls://example.org": { ...tcp("example.org", 564), scheme: "tls" },
    "tls!example.org!5641": { ...tcp("example.org", 5641), scheme: "tls" },
    "ws://example.org": web("ws", "example.org", 80, "/"),
    "WSS://[::1]:8443/a/b?c=/d": web("wss", "::1", 8443, "/a/b?c=/d"),
    "http://*:0?q": web("http", "0.0.0.0", 0, "/?q"),
    "https://example.org/9p": web("https", "example.org", 443, "/9p"),
    "stdio:": { scheme: "stdio" },
  };
  for (const [form, address] of Object.entries(forms)) {
    assertEquals(parseAddress(form), address, form);
    assertEquals(parseAddress(formatAddress(address)), address, form);
  }
});

test("parseAddress() rejects what is not an address", () => {
  const bad = {
    "ftp://x":
      'unknown scheme "ftp", known are tcp, tls, unix, ws, wss, http, https, stdio',
    "constructor://x":
      'unknown scheme "constructor", known are tcp, tls, unix, ws, wss, http, https, stdio',
    "il!x!1":
      'unknown scheme "il", known are tcp, tls, unix, ws, wss, http, https, stdio',
    "": "expected tcp://host:port, tcp!host!port, host:port or unix:///path",
    "localhost":
      "expected tcp://host:port, tcp!host!port, host:port or unix:///path",
    "tcp://x:65536": 'port is "65536", expected a number from 0 to 65535',
    "tcp://x:-1": 'port is "-1", expected a number from 0 to 65535',
    "tcp://x:": 'port is "", expected a number from 0 to 65535',
    "tcp://x:5640/": 'port is "5640/", expected a number from 0 to 65535',
    "x:0x10": 'port is "0x10", expected a number from 0 to 65535',
    "tcp!x!": 'port is "", expected a number from 0 to 65535',
    "tcp!x!1!2": "there is a part behind the port",
    "::1:5640": "an IPv6 address needs brackets",
    "tcp://[::1:5640": "an IPv6 address needs brackets",
    "tcp://[x]:1": 'host is "[x]", brackets are for IPv6',
    "tcp://me@x:1": 'host is "me@x"',
    "tcp://a b:1": 'host is "a b"',
    "tcp://x/y": 'host is "x/y"',
    "unix://": "path is empty",
    "ws://x/#a": 'path is "/#a"',
    "ws://x/a b": 'path is "/a b"',
    "ws://me@x/": 'host is "me@x"',
    "ws://x:80:81/": "an IPv6 address needs brackets",
    "ws!x!80": "write it as ws://…",
    "stdio:x": "there is a part behind stdio:",
    "unix:///a\0b": "path has a NUL",
  };
  for (const [address, detail] of Object.entries(bad)) {
    const error = assertThrows(() => parseAddress(address), TypeError);
    assertEquals(
      error.message,
      `Cannot use address ${JSON.stringify(address)}: ${detail}`,
    );
  }
});

test("parseAddress() says of what is no text that it is none", () => {
  // As from a program without types.
  for (const wrong of [5, null, undefined, {}, ["tcp", "host"]] as unknown[]) {
    assertThrows(
      () => parseAddress(wrong as string),
      TypeError,
      "it is no text",
    );
  }
});
