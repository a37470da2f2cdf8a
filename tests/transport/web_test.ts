// P-04: listeners for WebSockets and POSTs, over real sockets.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect as connectSocket } from "node:net";
import {
  connect,
  listen,
  type ListenOptions,
  MemoryFs,
  NinePError,
  ProtocolError,
  type Server,
} from "../../mod.ts";
import { parseAddress, type WebAddress } from "../../transport.ts";
import { isNode, test } from "../harness.ts";

function tree(): MemoryFs {
  const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  return fs;
}

function serveTree(
  address: string,
  options: ListenOptions = {},
): Promise<Server> {
  return listen(address, tree(), options);
}

function addressOf({ addr }: Server): WebAddress {
  const address = parseAddress(addr);
  assert("path" in address && address.scheme !== "unix");
  return address;
}

/** Sends a request as text, and returns the first line of the answer. */
function statusOf(
  server: Server,
  request: string,
  headers: Record<string, string> = {},
): Promise<string> {
  const { hostname, port } = addressOf(server);
  const lines = [
    `${request} HTTP/1.1`,
    ...Object.entries({ Host: `${hostname}:${port}`, ...headers })
      .map(([name, value]) => `${name}: ${value}`),
  ];
  return new Promise((resolve, reject) => {
    const socket = connectSocket(port, hostname);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
      if (!text.includes("\r\n\r\n")) return;
      socket.destroy();
      resolve(text.split("\r\n\r\n")[0]);
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed after "${text}"`)));
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  });
}

const UPGRADE = {
  Upgrade: "websocket",
  Connection: "Upgrade",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

for (const scheme of isNode ? ["http"] : ["ws", "http"]) {
  test(`${scheme}: files, functions, and errors`, async () => {
    await using server = await serveTree(`${scheme}://127.0.0.1:0/9p`);
    await using client = await connect(server.addr);
    assertEquals(await client.readTextFile("motd"), "hello\n");
    assertEquals(await client.call("add", { argv: [17, 25] }), 42);
    await assertRejects(() => client.readFile("none"), NinePError);
    const data = Uint8Array.from({ length: 5_000_000 }, (_, i) => i % 251);
    await client.writeFile("data", data);
    assertEquals(await client.readFile("data"), data);
  });

  test(`${scheme}: 200 clients one after the other, and 50 at once`, async () => {
    await using server = await serveTree(`${scheme}://127.0.0.1:0/9p`);
    for (let i = 0; i < 200; i++) {
      await using client = await connect(server.addr);
      assertEquals(await client.readTextFile("motd"), "hello\n");
    }
    const clients = await Promise.all(
      Array.from({ length: 50 }, () => connect(server.addr)),
    );
    await Promise.all(clients.map((client) => client.stat("motd")));
    await Promise.all(clients.map((client) => client.close()));
  });

  test(`${scheme}: a server that closes ends its clients`, async () => {
    const server = await serveTree(`${scheme}://127.0.0.1:0/9p`);
    const client = await connect(server.addr);
    await server.close();
    await client.closed;
    await assertRejects(() => client.stat("motd"), ProtocolError);
    await client.close();
  });

  test(`${scheme}: there is no server`, async () => {
    const server = await serveTree(`${scheme}://127.0.0.1:0/9p`);
    const { addr } = server;
    await server.close();
    await assertRejects(() => connect(addr), ProtocolError, addr);
  });

  test(`${scheme}: another path`, async () => {
    await using server = await serveTree(`${scheme}://127.0.0.1:0/9p`);
    const other = server.addr.replace("/9p", "/other");
    await assertRejects(() => connect(other), ProtocolError, other);
  });

  test(`${scheme}: a page of another site is refused, unless it is listed`, async () => {
    await using server = await serveTree(`${scheme}://127.0.0.1:0/9p`, {
      origins: ["https://listed.example"],
    });
    const { hostname, port } = addressOf(server);
    const own = `http://${hostname}:${port}`;
    const [request, accepted, headers] = scheme === "ws"
      ? ["GET /9p", "101", UPGRADE]
      : ["POST /9p", "200", { "Content-Length": "0" }];
    const origins: Record<string, string> = {
      [own]: accepted,
      "https://listed.example": accepted,
      "https://other.example": "403",
      [`http://${hostname}:1`]: "403",
      "null": "403",
      "https://listed.example.other.example": "403",
    };
    for (const [Origin, expected] of Object.entries(origins)) {
      const status = await statusOf(server, request, { ...headers, Origin });
      assert(status.startsWith(`HTTP/1.1 ${expected}`), `${Origin}: ${status}`);
    }
    // A page whose name was given the address of this machine.
    const rebound = { Host: `evil.example:${port}` };
    const status = await statusOf(server, request, {
      ...headers,
      ...rebound,
      Origin: `http://evil.example:${port}`,
    });
    assert(status.startsWith("HTTP/1.1 403"), status);
    // A program has no origin.
    const program = await statusOf(server, request, headers);
    assert(program.startsWith(`HTTP/1.1 ${accepted}`), program);
  });
}

if (!isNode) {
  test("ws: the subprotocol 9p is answered when it is offered", async () => {
    await using server = await serveTree("ws://127.0.0.1:0/9p");
    const protocol = /^sec-websocket-protocol: *9p$/im;
    const none = await statusOf(server, "GET /9p", UPGRADE);
    assert(!protocol.test(none), none);
    const offers = { "Sec-WebSocket-Protocol": "chat, 9p" };
    const one = await statusOf(server, "GET /9p", { ...UPGRADE, ...offers });
    assert(protocol.test(one), one);
  });
}

for (const scheme of isNode ? ["http"] : ["ws", "http"]) {
  test(`${scheme}: a connection too many is closed`, async () => {
    await using server = await serveTree(`${scheme}://127.0.0.1:0/9p`, {
      maxConnections: 1,
    });
    await using client = await connect(server.addr);
    await assertRejects(() => connect(server.addr), ProtocolError);
    assertEquals(await client.readTextFile("motd"), "hello\n");
  });
}

test("a request that is neither an upgrade nor a POST", async () => {
  await using server = await serveTree("http://127.0.0.1:0/9p");
  const status = await statusOf(server, "GET /9p");
  assert(status.startsWith("HTTP/1.1 426"), status);
});

if (isNode) {
  test("ws: Node has no server, and the error says what to use", async () => {
    const error = await assertRejects(
      () => serveTree("ws://127.0.0.1:0/9p"),
      ProtocolError,
      "with the package ws",
    );
    assertEquals(error.code, "EPROTONOSUPPORT");
  });
}

test("wss and https need a certificate", async () => {
  for (const scheme of ["wss", "https"]) {
    await assertRejects(
      () => serveTree(`${scheme}://127.0.0.1:0/`),
      ProtocolError,
      "the option tls with cert and key is missing",
    );
  }
});

test("listen() takes several addresses, and closes all", async () => {
  const server = await listen(
    [
      isNode ? "tcp://127.0.0.1:0" : "ws://127.0.0.1:0/9p",
      "tcp://127.0.0.1:0",
      "http://127.0.0.1:0/9p",
    ],
    tree(),
  );
  assertEquals(server.addrs.length, 3);
  assertEquals(server.addr, server.addrs[0]);
  const clients = await Promise.all(server.addrs.map((addr) => connect(addr)));
  for (const [i, client] of clients.entries()) {
    await client.writeTextFile(`file${i}`, "x");
  }
  assertEquals((await clients[0].readDirNames("/")).length, 5);
  await Promise.all(clients.map((client) => client.close()));
  await server.close();
  for (const addr of server.addrs) {
    await assertRejects(() => connect(addr), ProtocolError);
  }
});

test("listen() closes the first listeners when a later address is in use", async () => {
  await using server = await serveTree("tcp://127.0.0.1:0");
  const free = await serveTree("tcp://127.0.0.1:0");
  const { addr } = free;
  await free.close();
  await assertRejects(() => listen([addr, server.addr], tree()), ProtocolError);
  await (await serveTree(addr)).close();
});
