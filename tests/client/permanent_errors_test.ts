// Errors that another attempt would give again. They have a code, and end a
// reconnect at once.

import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import process from "node:process";
import { run } from "../child.ts";
import { test } from "../harness.ts";
import {
  connect,
  MemoryFs,
  NinePError,
  pair,
  ProtocolError,
} from "../../mod.ts";
import { serve } from "../../mod.ts";
import { type Connection, dial } from "../../transport.ts";
import { cannot, lost } from "../../transport/failure.ts";

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}

function withCode(code: string): Error {
  return Object.assign(new Error(`it was ${code}`), { code });
}

/**
 * Loses the connection of a client. Returns the error of a call, and the number
 * of attempts to connect again.
 */
async function reconnected(
  redial: () => Promise<Connection>,
): Promise<{ error: unknown; attempts: number }> {
  const [near, far] = pair();
  const served = serve(far, new MemoryFs());
  let attempts = 0;
  const client = await connect(near, {
    reconnect: {
      attempts: 5,
      minDelay: 0,
      dial: () => {
        attempts++;
        return redial();
      },
    },
  });
  far.close();
  await served;
  const error = await client.stat("/").then(() => undefined, (error) => error);
  await client.close();
  return { error, attempts };
}

const denied = named(
  "NotCapable",
  'Requires net access to "127.0.0.1:1", run again with the --allow-net flag',
);
const refused = named("InvalidData", "invalid peer certificate: UnknownIssuer");

const PERMANENT: [string, Error, string][] = [
  ["a right that Deno was not given", denied, "ENOTCAPABLE"],
  ["the same from dial()", cannot("connect to", "x", denied), "ENOTCAPABLE"],
  ["a certificate that Deno refuses", refused, "EPROTO"],
  ["the same at the first read", lost("x", refused), "EPROTO"],
  [
    "a certificate of another name",
    withCode("ERR_TLS_CERT_ALTNAME_INVALID"),
    "",
  ],
  ["a certificate of nobody", withCode("DEPTH_ZERO_SELF_SIGNED_CERT"), ""],
  ["an old certificate", withCode("CERT_HAS_EXPIRED"), ""],
  ["an address of an unknown family", withCode("EAFNOSUPPORT"), ""],
  ["a path through a file", withCode("ENOTDIR"), ""],
];

for (const [name, cause, code] of PERMANENT) {
  test(`reconnect gives up at once for ${name}`, async () => {
    const { error, attempts } = await reconnected(() => Promise.reject(cause));
    assertEquals(attempts, 1);
    assertInstanceOf(error, ProtocolError);
    const own = "code" in cause ? cause.code : undefined;
    assertEquals(error.code, code === "" ? own : code);
    assertEquals(error.cause, cause);
  });
}

for (const address of ["nonsense", "ftp://x", "tcp://x/y", "x:0"]) {
  test(`reconnect gives up at once for the address ${address}`, async () => {
    const { error, attempts } = await reconnected(() => dial(address));
    assertEquals(attempts, 1);
    assertInstanceOf(error, ProtocolError);
    assertEquals(error.code, "EINVAL");
    assertInstanceOf(error.cause, TypeError);
  });
}

test("reconnect gives up at once when dial gives no connection", async () => {
  const nothing = undefined as unknown as Connection; // A caller without types may pass this.
  const { error, attempts } = await reconnected(() => Promise.resolve(nothing));
  assertEquals(attempts, 1);
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Cannot reconnect to "pair": Cannot connect to undefined: it is neither an address nor a connection',
  );
});

const TRANSIENT: [string, Error][] = [
  ...["ECONNREFUSED", "ENOTFOUND", "ENOENT", "EACCES", "ETIMEDOUT"]
    .map((code): [string, Error] => [code, withCode(code)]),
  ["an error without a code", new Error("who knows")],
  ["the server's own no", new NinePError("Invalid argument")],
];

for (const [name, cause] of TRANSIENT) {
  test(`reconnect tries again after ${name}`, async () => {
    const { error, attempts } = await reconnected(() => Promise.reject(cause));
    assertEquals(attempts, 5);
    assertInstanceOf(error, ProtocolError);
    assertEquals(error.cause, cause);
  });
}

test("connect() and listen() without --allow-net say so, with a code", async () => {
  if (!("Deno" in globalThis)) return; // Bun has no permissions.
  const url = new URL("../../mod.ts", import.meta.url).href;
  const script = `
    import { connect, listen, MemoryFs } from ${JSON.stringify(url)};
    const tell = ({ name, code, message, cause }) =>
      console.log([name, code, cause.name, message].join("|"));
    await connect("tcp://127.0.0.1:1", { reconnect: true }).catch(tell);
    await listen("tcp://127.0.0.1:1", new MemoryFs()).catch(tell);
  `;
  const args = ["run", "--quiet", "--no-prompt", "--ext=ts"];
  const { bytes } = await run(
    process.execPath,
    [...args, `data:application/typescript,${encodeURIComponent(script)}`],
  );
  const lines = new TextDecoder().decode(bytes).trim().split("\n");
  const right = 'Requires net access to "127.0.0.1:1", ' +
    "run again with the --allow-net flag";
  const begin = "ProtocolError|ENOTCAPABLE|NotCapable|Cannot";
  assertEquals(lines, [
    `${begin} connect to "tcp://127.0.0.1:1": ${right}`,
    `${begin} listen on "tcp://127.0.0.1:1": ${right}`,
  ]);
});

test("dial() gives the errors of addresses a code", async () => {
  const error = await assertRejects(() => dial("nonsense"), TypeError);
  assertEquals("code" in error && error.code, "EINVAL");
});
