// P-04: TLS. The certificates are made by tests/testdata/tls/make.sh.

import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { connect as connectSocket } from "node:net";
import { readFile } from "node:fs/promises";
import {
  type Certificate,
  type Connection,
  listen as listenAt,
  parseAddress,
  type TlsListenerOptions,
} from "../../transport.ts";
import { isPermanent } from "../../transport/failure.ts";
import { connect, listen, MemoryFs, ProtocolError } from "../../mod.ts";
import { test } from "../harness.ts";

const isDeno = "Deno" in globalThis;
const folder = new URL("../testdata/tls/", import.meta.url);
const pem = (name: string) => readFile(new URL(name, folder), "utf8");

async function identity(name: string): Promise<TlsListenerOptions> {
  return { cert: await pem(`${name}.crt`), key: await pem(`${name}.key`) };
}

async function serveTls(
  name = "server",
  more: Partial<TlsListenerOptions> = {},
) {
  const tls = { ...await identity(name), ...more };
  const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
  return await listen("tls://127.0.0.1:0", fs, { tls, onError: () => {} });
}

test("tls: a client that trusts the authority", async () => {
  await using server = await serveTls();
  assert(server.addr.startsWith("tls://127.0.0.1:"), server.addr);
  const ca = await pem("ca.crt");
  await using client = await connect(server.addr, { tls: { ca } });
  assertEquals(await client.readTextFile("motd"), "hello\n");
  const data = Uint8Array.from({ length: 5_000_000 }, (_, i) => i % 251);
  await client.writeFile("data", data);
  assertEquals(await client.readFile("data"), data);
});

const REFUSED: [string, string][] = [
  ["other", "a certificate of another name"],
  ["expired", "a certificate whose time is over"],
];
for (const [name, title] of REFUSED) {
  test(`tls: ${title} is refused`, async () => {
    await using server = await serveTls(name);
    const ca = await pem("ca.crt");
    const error = await assertRejects(
      () => connect(server.addr, { tls: { ca } }),
      ProtocolError,
      `Cannot connect to "${server.addr}"`,
    );
    assert(isPermanent(error), `${error.code}: ${error.message}`);
  });
}

test("tls: an authority that is not trusted is refused", async () => {
  await using server = await serveTls();
  const error = await assertRejects(
    () => connect(server.addr),
    ProtocolError,
    `Cannot connect to "${server.addr}"`,
  );
  assert(isPermanent(error), `${error.code}: ${error.message}`);
});

test("tls: a server without TLS", async () => {
  await using server = await listen("tcp://127.0.0.1:0", new MemoryFs(), {
    versionTimeout: 500, // The first bytes of TLS may look like a longer message.
    onError: () => {},
  });
  const address = server.addr.replace("tcp:", "tls:");
  await assertRejects(() => connect(address), ProtocolError, address);
});

test("tls: a client without TLS ends, and harms no other client", async () => {
  await using server = await serveTls();
  const plain = server.addr.replace("tls:", "tcp:");
  await assertRejects(() => connect(plain), ProtocolError);
  const ca = await pem("ca.crt");
  await using client = await connect(server.addr, { tls: { ca } });
  assertEquals(await client.readTextFile("motd"), "hello\n");
});

test("tls: clients that never finish the handshake harm no other client", async () => {
  await using server = await serveTls();
  const address = parseAddress(server.addr);
  assert(address.scheme === "tls");
  const silent = Array.from(
    { length: 50 },
    () => connectSocket(address.port, address.hostname),
  );
  const ca = await pem("ca.crt");
  await using client = await connect(server.addr, { tls: { ca } });
  assertEquals(await client.readTextFile("motd"), "hello\n");
  const ended = silent.map((socket) =>
    new Promise((resolve) => socket.once("close", resolve))
  );
  for (const socket of silent) socket.destroy();
  await Promise.all(ended);
});

test("tls: an abort ends the attempt", async () => {
  const silent = await listenAt("tcp://127.0.0.1:0");
  const reason = new Error("enough");
  const abort = new AbortController();
  const address = silent.addr.replace("tcp:", "tls:");
  const attempt = connect(address, { signal: abort.signal });
  const { value: far } = await silent[Symbol.asyncIterator]().next();
  abort.abort(reason);
  assertEquals(await attempt.catch((error) => error), reason);
  assert(far?.read);
  // The socket closes too: the hello of the client may come before the end.
  while (await far.read(new Uint8Array(1024)).catch(() => null));
  far.close();
  silent.close();
});

test("tls: the environment cannot end the check of certificates", async () => {
  await using server = await serveTls();
  const { env } = process;
  env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  try {
    const error = await assertRejects(
      () => connect(server.addr),
      ProtocolError,
    );
    assert(isPermanent(error), `${error.code}: ${error.message}`);
  } finally {
    delete env.NODE_TLS_REJECT_UNAUTHORIZED;
  }
});

test("tls: a certificate without its key, and a key alone, are refused", async () => {
  const { cert, key } = await identity("client");
  for (const tls of [{ cert }, { key }]) {
    const error = await assertRejects(
      () => connect("tls://127.0.0.1:1", { tls }),
      ProtocolError,
      "the option tls needs both cert and key, or neither",
    );
    assertEquals(error.code, "EINVAL");
  }
});

if (!isDeno) {
  test("tls: of too many clients in the handshake, the oldest ends", async () => {
    await using server = await serveTls();
    const address = parseAddress(server.addr);
    assert(address.scheme === "tls");
    const open = () => {
      const socket = connectSocket(address.port, address.hostname);
      socket.on("error", () => {}); // It may be reset.
      socket.resume();
      const closed = new Promise((resolve) => socket.once("close", resolve));
      const connected = new Promise((resolve) =>
        socket.once("connect", resolve)
      );
      return { socket, closed, connected };
    };
    const oldest = open();
    await oldest.connected;
    const silent = Array.from({ length: 512 }, open);
    await oldest.closed;
    const ca = await pem("ca.crt");
    await using client = await connect(server.addr, { tls: { ca } });
    assertEquals(await client.readTextFile("motd"), "hello\n");
    for (const { socket } of silent) socket.destroy();
    await Promise.all(silent.map(({ closed }) => closed));
  });
}

test("tls: a listener needs a certificate", async () => {
  await assertRejects(
    () => listen("tls://127.0.0.1:0", new MemoryFs()),
    ProtocolError,
    "the option tls with cert and key is missing",
  );
});

if (isDeno) {
  test("tls: Deno asks for no certificates of clients, and says so", async () => {
    const ca = await pem("ca.crt");
    const error = await assertRejects(
      () => serveTls("server", { ca }),
      ProtocolError,
      "Deno asks clients for no certificates",
    );
    assertEquals(error.code, "EPROTONOSUPPORT");
  });
} else {
  test("tls: an attach sees the certificate of its client", async () => {
    const ca = await pem("ca.crt");
    const seen: (Certificate | undefined)[] = [];
    const { handler } = new MemoryFs({ motd: "hello\n" });
    const server = await listen("tls://127.0.0.1:0", {
      ...handler,
      attach(fid, request, context) {
        seen.push(context.connection.certificate);
        return handler.attach(fid, request, context);
      },
    }, { tls: { ...await identity("server"), ca }, onError: () => {} });
    const tls = { ca, ...await identity("client") };
    await using client = await connect(server.addr, { tls });
    assertEquals(await client.readTextFile("motd"), "hello\n");
    assertEquals(seen.map((each) => each?.subject), ["CN=alice,O=Example"]);
    assertEquals(seen[0]?.issuer, "CN=Test Authority,O=Example");
    assert(/^[0-9a-f]{64}$/.test(seen[0]?.fingerprint ?? ""));
    await client.close();
    await server.close();
  });

  test("tls: a client without a certificate is refused where one is needed", async () => {
    const ca = await pem("ca.crt");
    await using server = await serveTls("server", { ca });
    await assertRejects(
      () => connect(server.addr, { tls: { ca } }),
      ProtocolError,
    );
    const foreign = { ca, ...await identity("server") };
    await using client = await connect(server.addr, { tls: foreign })
      .catch(() => undefined) ?? await connect(server.addr, {
        tls: { ca, ...await identity("client") },
      });
    assertEquals(await client.readTextFile("motd"), "hello\n");
  });
}

test("tls: a protocol that both sides name is chosen (ALPN)", async () => {
  await using server = await serveTls("server", { alpn: ["9p"] });
  const ca = await pem("ca.crt");
  await using client = await connect(server.addr, {
    tls: { ca, alpn: ["9p"] },
  });
  assertEquals(await client.readTextFile("motd"), "hello\n");
});

test("tls: the end of one side reaches the other", async () => {
  const listener = await listenAt("tls://127.0.0.1:0", {
    tls: await identity("server"),
  });
  const ca = await pem("ca.crt");
  const { dial } = await import("../../transport.ts");
  const [near, { value: far }] = await Promise.all([
    dial(listener.addr, { tls: { ca } }),
    listener[Symbol.asyncIterator]().next(),
  ]);
  assert(far);
  await near.write?.(new TextEncoder().encode("bye"));
  const end = async (connection: Connection) => {
    let text = "";
    for (;;) {
      const bytes = await connection.read?.(new Uint8Array(16));
      if (!bytes) return text;
      text += new TextDecoder().decode(bytes);
    }
  };
  const all = end(far);
  near.close();
  assertEquals(await all, "bye");
  far.close();
  listener.close();
});
