// P-04: webHandler() behind the HTTP server of a program.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect as connectSocket } from "node:net";
import {
  connect,
  MemoryFs,
  NinePError,
  pair,
  ProtocolError,
  webHandler,
} from "../../mod.ts";
import type { WebHandler, WebHandlerOptions } from "../../server.ts";
import { isNode, test } from "../harness.ts";

/** The servers of the runtimes, because their types differ. */
interface Runtime {
  readonly Bun: {
    serve(options: object): {
      readonly port: number;
      stop(all: boolean): Promise<void>;
    };
  };
}

type Answer = (request: Request, context: unknown) => Response;

/** Runs `use` with the port of a server that has a handler among its routes. */
async function withServer(
  handler: WebHandler,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const answer: Answer = (request, context) =>
    new URL(request.url, "http://localhost").pathname === "/"
      ? new Response("the page")
      : handler.fetch(request, context);
  if ("Bun" in globalThis) {
    const { Bun: bun } = globalThis as unknown as Runtime;
    const { websocket } = handler;
    const init = { hostname: "127.0.0.1", port: 0, fetch: answer, websocket };
    const server = bun.serve(init);
    await use(server.port);
    await handler.close();
    await server.stop(true);
  } else {
    const init = { hostname: "127.0.0.1", port: 0, onListen() {} };
    const server = Deno.serve(init, answer);
    await use(server.addr.port);
    await handler.close();
    await server.shutdown();
  }
}

function tree(): MemoryFs {
  return new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
}

/** A test with a handler and its port. */
function handlerTest(
  name: string,
  options: WebHandlerOptions,
  use: (port: number, handler: WebHandler) => Promise<void>,
): void {
  // Node has no server of WebSockets.
  if (isNode) return;
  test(name, async () => {
    const handler = webHandler(tree(), options);
    await withServer(handler, (port) => use(port, handler));
  });
}

const UPGRADE = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/**
 * Sends a request and bytes behind it. Returns the head of the answer, and the
 * frames up to the close of the server, or the first `most` ones.
 */
function exchange(
  port: number,
  lines: string[],
  bytes?: Uint8Array,
  most = Infinity,
): Promise<{ head: string; rest: Uint8Array }> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(port, "127.0.0.1");
    let all = new Uint8Array(0);
    const parts = () => {
      const text = String.fromCharCode(...all);
      const at = text.indexOf("\r\n\r\n");
      return at < 0
        ? undefined
        : { head: text.slice(0, at), rest: all.slice(at + 4) };
    };
    let isAnswered = false;
    socket.on("data", (chunk: Uint8Array) => {
      all = Uint8Array.from([...all, ...chunk]);
      const rest = parts()?.rest;
      if (!rest) return;
      // Small frames: each has a header of two bytes.
      let at = 0;
      let count = 0;
      for (; rest[at] === 0x82; count++) at += 2 + rest[at + 1];
      if (rest[at] === 0x88 || count >= most) socket.end();
      if (isAnswered) return;
      isAnswered = true;
      if (bytes) socket.write(bytes);
      else socket.end();
    });
    socket.on("error", reject);
    socket.on("close", () => {
      const result = parts();
      if (result) resolve(result);
      else reject(new Error("closed without an answer"));
    });
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  });
}

async function statusOf(port: number, ...lines: string[]): Promise<string> {
  const [request, ...headers] = lines;
  const { head } = await exchange(port, [
    `${request} HTTP/1.1`,
    ...headers,
    "Connection: close",
  ]);
  return head.split(" ")[1];
}

handlerTest("a page and the tree on one port", {}, async (port) => {
  const page = await fetch(`http://127.0.0.1:${port}/`);
  assertEquals(await page.text(), "the page");
  await using client = await connect(`ws://127.0.0.1:${port}/9p`);
  assertEquals(await client.readTextFile("motd"), "hello\n");
  const data = Uint8Array.from({ length: 4 << 20 }, (_, i) => i % 251);
  await client.writeFile("data", data);
  assertEquals(await client.readFile("data"), data);
});

handlerTest("the class WebSocket as client", {}, async (port) => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/9p`, "9p");
  const ended = new Promise((resolve) => socket.onclose = resolve);
  const client = await connect(socket);
  assertEquals(socket.protocol, "9p");
  assertEquals(await client.readTextFile("motd"), "hello\n");
  const data = Uint8Array.from({ length: 4 << 20 }, (_, i) => i % 251);
  await client.writeFile("data", data);
  assertEquals(await client.readFile("data"), data);
  await client.close();
  await ended;
});

handlerTest(
  "the limits hold for all connections",
  { maxConnections: 2, maxMemory: 2_000_000 },
  async (port, handler) => {
    const address = `ws://127.0.0.1:${port}/9p`;
    const first = await connect(address);
    const [near, far] = pair();
    handler.accept(far); // The second one.
    const second = await connect(near);
    await assertRejects(() => connect(address), ProtocolError);
    await second.close();
    // Its end may come a moment later than the close.
    let third;
    while (!third) third = await connect(address).catch(() => undefined);
    // Clients share the memory: each alone may open many more files.
    const fids = async (client: typeof first) => {
      const files = [];
      try {
        for (let i = 0; i < 2000; i++) files.push(await client.open("motd"));
      } catch (error) {
        assert(error instanceof NinePError, `${error}`);
        assert(error.message.endsWith("Cannot allocate memory"), `${error}`);
      }
      return files.length;
    };
    const counts = [await fids(first), await fids(third)];
    assert(counts[0] < 1200 && counts[1] < 400, `${counts}`);
    await first.close();
    await third.close();
  },
);

handlerTest("close() ends the clients", {}, async (port, handler) => {
  const client = await connect(`ws://127.0.0.1:${port}/9p`);
  await handler.close();
  await client.closed;
  await assertRejects(() => client.stat("motd"), ProtocolError);
  await client.close();
});

const errors: unknown[] = [];
handlerTest(
  "requests that are no upgrade, and broken ones",
  { onError: (error) => void errors.push(error) },
  async (port) => {
    const host = "Host: localhost";
    const without = (name: string) =>
      UPGRADE.filter((line) => !line.startsWith(name));
    const get = (...lines: string[]) => statusOf(port, "GET /9p", ...lines);
    assertEquals(await get(host), "426");
    assertEquals(await statusOf(port, "PUT /9p", host), "426");
    assertEquals(await get(host, "Upgrade: h2c"), "426");
    const status = await get(host, ...without("Sec-WebSocket-Key"));
    assert(["400", "426"].includes(status), status);
    for (const origin of ["http://evil.example", "null", "://", "a b"]) {
      assertEquals(await get(host, ...UPGRADE, `Origin: ${origin}`), "403");
    }
    // The connection of a request of HTTP 1.0 has no Host.
    const { head } = await exchange(port, ["GET /9p HTTP/1.0"]);
    assertEquals(head.split(" ")[1], "426");
    assertEquals(errors, []);
  },
);

handlerTest(
  "a page of the same host, and a listed one",
  { origins: ["https://app.example"] },
  async (port) => {
    const get = async (...lines: string[]) => {
      const head = ["GET /9p HTTP/1.1", ...UPGRADE, ...lines];
      const close = new Uint8Array([0x88, 0x82, 0, 0, 0, 0, 3, 232]);
      const answer = await exchange(port, head, close);
      return answer.head.split(" ")[1];
    };
    const host = "Host: files.example";
    assertEquals(await get(host, "Origin: https://files.example"), "101");
    assertEquals(await get(host, "Origin: https://app.example"), "101");
    assertEquals(await get(host), "101");
  },
);

const failures: unknown[] = [];
handlerTest(
  "text, and bytes that are no 9P, end their connection only",
  { onError: (error) => void failures.push(error) },
  async (port) => {
    await using client = await connect(`ws://127.0.0.1:${port}/9p`);
    const head = ["GET /9p HTTP/1.1", "Host: localhost", ...UPGRADE];
    const frame = (opcode: number, ...content: number[]) =>
      new Uint8Array([opcode, 0x80 | content.length, 0, 0, 0, 0, ...content]);
    const text = await exchange(port, head, frame(0x81, 104, 105));
    assertEquals(text.rest[0], 0x88);
    const code = text.rest[2] << 8 | text.rest[3];
    assert([1003, 4003].includes(code), `${code}`);
    // A frame of 9P with the size 3.
    const broken = await exchange(port, head, frame(0x82, 3, 0, 0, 0, 1, 2, 3));
    assertEquals(broken.rest[0], 0x88);
    assert(failures.length > 0);
    assert(failures.every((each) => each instanceof ProtocolError));
    assertEquals(await client.readTextFile("motd"), "hello\n");
  },
);

handlerTest("messages in any division", {}, async (port) => {
  const version = [21, 0, 0, 0, 100, 255, 255, 0, 16, 0, 0, 8, 0];
  version.push(...new TextEncoder().encode("9P2000.x"));
  const frames = [
    // One message in three frames, of which one is empty.
    [0x02, 0x84, 0, 0, 0, 0, ...version.slice(0, 4)],
    [0x00, 0x80, 0, 0, 0, 0],
    [0x80, 0x80 | 17, 0, 0, 0, 0, ...version.slice(4)],
    // Two messages in one frame.
    [0x82, 0x80 | 42, 0, 0, 0, 0, ...version, ...version],
  ].flat();
  const head = ["GET /9p HTTP/1.1", "Host: localhost", ...UPGRADE];
  const { rest } = await exchange(port, head, new Uint8Array(frames), 3);
  let replies = 0;
  for (let at = 0; rest[at] === 0x82; at += 2 + rest[at + 1]) replies++;
  assertEquals(replies, 3);
});
