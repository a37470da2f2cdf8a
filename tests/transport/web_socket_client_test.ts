// P-04: the client of WebSockets over sockets, against a server whose bytes a
// test writes.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { readFile } from "node:fs/promises";
import { connect, listen, MemoryFs, ProtocolError } from "../../mod.ts";
import type { Connection } from "../../transport.ts";
import { dialWebSocket } from "../../transport/web_socket_client.ts";
import { putFrame } from "../../transport/web_socket_frames.ts";
import { isNode, test } from "../harness.ts";

/** The server's side of a connection. */
class Peer {
  readonly socket: Socket;
  #bytes = new Uint8Array(0);
  #wake = () => {};
  #ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Uint8Array) => {
      this.#bytes = Uint8Array.from([...this.#bytes, ...bytes]);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Waits for bytes of the client. */
  async take(length: number): Promise<Uint8Array> {
    while (this.#bytes.length < length) {
      assert(!this.#ended, "the client has gone");
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const bytes = this.#bytes.slice(0, length);
    this.#bytes = this.#bytes.slice(length);
    return bytes;
  }

  /** Reads the request of the client up to its empty line. */
  async request(): Promise<string> {
    let text = "";
    while (!text.endsWith("\r\n\r\n")) {
      text += String.fromCharCode(...await this.take(1));
    }
    return text;
  }

  /** Reads one frame of the client: its opcode, and its content unmasked. */
  async frame(): Promise<[number, Uint8Array]> {
    const [first, second] = await this.take(2);
    assertEquals(second & 0x80, 0x80, "the frame has no mask");
    let length = second & 0x7f;
    if (length >= 126) {
      const size = length === 126 ? 2 : 8;
      length = (await this.take(size)).reduce((sum, x) => sum * 256 + x, 0);
    }
    const mask = await this.take(4);
    const content = await this.take(length);
    return [first, content.map((byte, i) => byte ^ mask[i % 4])];
  }

  send(...bytes: (number | Uint8Array)[]): void {
    this.socket.write(
      Uint8Array.from(
        bytes.flatMap((each) => typeof each === "number" ? [each] : [...each]),
      ),
    );
  }

  /** Answers a request for an upgrade. */
  accept(request: string): void {
    const key = /^sec-websocket-key: (.*)$/im.exec(request)?.[1];
    const hash = createHash("sha1")
      .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    this.socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
        `Connection: Upgrade\r\nSec-WebSocket-Accept: ${hash}\r\n\r\n`,
    );
  }
}

/** Runs `use` with a server, and the port of it. */
async function withServer(
  serve: (peer: Peer) => void,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const peers = new Set<Peer>();
  const server = createServer((socket) => {
    const peer = new Peer(socket);
    peers.add(peer);
    serve(peer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  try {
    await use(address.port);
  } finally {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const { socket } of peers) {
      const ended = new Promise((resolve) =>
        socket.closed ? resolve(undefined) : socket.on("close", resolve)
      );
      socket.destroy();
      await ended;
    }
    await closed;
  }
}

function dialPort(port: number, signal?: AbortSignal): Promise<Connection> {
  return dialWebSocket(
    { scheme: "ws", hostname: "127.0.0.1", port, path: "/a?b=c" },
    "9p",
    { signal },
  );
}

/** Runs `use` with the two ends of an open WebSocket. */
async function withEnds(
  use: (near: Connection, peer: Peer) => Promise<void>,
): Promise<void> {
  const accepted = Promise.withResolvers<Peer>();
  await withServer(async (peer) => {
    peer.accept(await peer.request());
    accepted.resolve(peer);
  }, async (port) => {
    const near = await dialPort(port);
    const peer = await accepted.promise;
    await use(near, peer);
    near.close();
    peer.socket.destroy();
    await near.closed;
  });
}

async function read(connection: Connection): Promise<Uint8Array | null> {
  assert(connection.read);
  const bytes = await connection.read(new Uint8Array(64));
  return bytes && bytes.slice();
}

async function readAll(connection: Connection): Promise<number[]> {
  const all: number[] = [];
  for (;;) {
    const bytes = await read(connection);
    if (!bytes) return all;
    all.push(...bytes);
  }
}

test("the request for an upgrade", async () => {
  const request = Promise.withResolvers<string>();
  await withServer(async (peer) => {
    const text = await peer.request();
    request.resolve(text);
    peer.accept(text);
  }, async (port) => {
    const near = await dialPort(port);
    const [line, ...headers] = (await request.promise).split("\r\n");
    assertEquals(line, "GET /a?b=c HTTP/1.1");
    assert(headers.includes(`Host: 127.0.0.1:${port}`), `${headers}`);
    assert(headers.includes("Sec-WebSocket-Protocol: 9p"), `${headers}`);
    assert(!headers.some((each) => /^origin:/i.test(each)), `${headers}`);
    near.close();
  });
});

const ANSWERS: [answer: string, detail: string][] = [
  ["HTTP/1.1 200 OK\r\n\r\n", 'the server answered "200 OK"'],
  ["HTTP/1.1 403 Forbidden\r\n\r\n", 'the server answered "403 Forbidden"'],
  ["HTTP/1.1 101\r\nUpgrade: websocket\r\n\r\n", "is no upgrade"],
  ["x".repeat(40_000), "the server's answer is too long"],
  ["\r\n\r\n", 'the server answered ""'],
];
for (const [answer, detail] of ANSWERS) {
  test(`an answer that is no upgrade: ${answer.slice(0, 20).trim()}`, async () => {
    await withServer(async (peer) => {
      await peer.request();
      peer.socket.write(answer);
    }, async (port) => {
      await assertRejects(() => dialPort(port), Error, detail);
    });
  });
}

test("a server that closes without an answer", async () => {
  await withServer(
    (peer) => void peer.socket.end("HTTP/1.1 1"),
    async (port) => {
      await assertRejects(() => dialPort(port), Error);
    },
  );
});

test("the signal ends the wait for an answer, not the connection", async () => {
  const abort = new AbortController();
  await withServer(async (peer) => {
    await peer.request();
    abort.abort(new Error("enough"));
  }, async (port) => {
    await assertRejects(() => dialPort(port, abort.signal), Error, "enough");
  });
  const later = new AbortController();
  await withServer(async (peer) => {
    peer.accept(await peer.request());
  }, async (port) => {
    const near = await dialPort(port, later.signal);
    later.abort();
    await near.write?.(new Uint8Array(1));
    near.close();
  });
});

test("frames of any size have a mask, and are whole messages", async () => {
  await withEnds(async (near, peer) => {
    for (const size of [7, 125, 126, 127, 1000, 65_535, 65_536, 300_000]) {
      const message = Uint8Array.from({ length: size }, (_, i) => i % 251);
      new DataView(message.buffer).setUint32(0, size, true);
      // Two writes, and a view that is not aligned.
      const shifted = new Uint8Array(size + 1);
      shifted.set(message, 1);
      const sent = (async () => {
        await near.write?.(shifted.subarray(1, 6));
        await near.write?.(shifted.subarray(6));
      })();
      assertEquals(await peer.frame(), [0x82, message]);
      await sent;
    }
  });
});

test("putFrame() masks at every position", () => {
  for (let at = 0; at < 8; at++) {
    for (const size of [0, 1, 63, 64, 65, 200]) {
      const content = Uint8Array.from({ length: size }, (_, i) => i);
      const buffer = new Uint8Array(300);
      const end = putFrame(buffer, at, 2, content);
      const start = end - size;
      const mask = buffer.subarray(start - 4, start);
      const plain = buffer.slice(start, end).map((x, i) => x ^ mask[i % 4]);
      assertEquals(plain, content);
      assert(buffer.subarray(end).every((byte) => byte === 0));
    }
  }
});

test("bytes in any division, byte by byte, with pings between", async () => {
  await withEnds(async (near, peer) => {
    const all = [
      [0x82, 3, 1, 2, 3],
      [0x02, 1, 4], // The first part of a message,
      [0x89, 2, 77, 78], // a ping,
      [0x00, 0], // a part of no bytes,
      [0x8a, 0], // a pong that was not asked for,
      [0x80, 2, 5, 6], // and the last part.
      [0x82, 126, 0, 3, 7, 8, 9],
      [0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 10],
      [0x82, 0],
    ].flat();
    for (const byte of all) peer.send(byte);
    assertEquals(await readAll(near), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assertEquals(await peer.frame(), [0x8a, new Uint8Array([77, 78])]);
    // The other direction goes on.
    const message = new Uint8Array([7, 0, 0, 0, 1, 2, 3]);
    await near.write?.(message);
    assertEquals(await peer.frame(), [0x82, message]);
    await near.closeWrite?.();
    assertEquals(await peer.frame(), [0x88, new Uint8Array([3, 232])]);
  });
});

const BREACHES: [name: string, bytes: number[], code: number, text: string][] =
  [
    ["text", [0x81, 1, 65], 1003, "the peer sent text, 9P needs bytes"],
    ["a mask", [0x82, 0x81, 0, 0, 0, 0, 1], 1002, "malformed frame"],
    ["a reserved bit", [0xc2, 1, 1], 1002, "malformed frame"],
    ["a reserved opcode", [0x83, 1, 1], 1002, "malformed frame"],
    ["a continuation of nothing", [0x80, 1, 1], 1002, "malformed frame"],
    ["a message in a message", [2, 1, 1, 0x82, 1, 1], 1002, "malformed frame"],
    ["a long ping", [0x89, 126, 0, 126], 1002, "malformed frame"],
    ["a ping in parts", [0x09, 0], 1002, "malformed frame"],
    ["bytes after the end", [0x82, 0, 0x82, 1, 1], 1002, "after its end"],
  ];
for (const [name, bytes, code, text] of BREACHES) {
  test(`a breach of the rules: ${name}`, async () => {
    await withEnds(async (near, peer) => {
      peer.send(new Uint8Array(bytes));
      const error = await assertRejects(() => readAll(near), ProtocolError);
      assert(error.message.includes(text), error.message);
      assert(error.message.startsWith('Connection to "ws://127.0.0.1:'));
      const close = new Uint8Array([code >> 8, code & 0xff]);
      assertEquals(await peer.frame(), [0x88, close]);
      await assertRejects(async () => await near.write?.(new Uint8Array(9)));
    });
  });
}

test("a peer that closes in order is answered", async () => {
  await withEnds(async (near, peer) => {
    peer.send(0x82, 1, 5, 0x88, 2, 3, 232);
    assertEquals(await readAll(near), [5]);
    assertEquals(await peer.frame(), [0x88, new Uint8Array([3, 232])]);
    await near.closed;
    await assertRejects(
      async () => await near.write?.(new Uint8Array(9)),
      ProtocolError,
      "the peer closed it",
    );
  });
});

test("the code and the reason of a close are told", async () => {
  const reason = new TextEncoder().encode("out of tea");
  const closes: [Uint8Array, string][] = [
    [new Uint8Array([3, 241]), "message too big (WebSocket code 1009)"],
    [new Uint8Array([3, 243, ...reason]), "out of tea (WebSocket code 1011)"],
  ];
  for (const [content, text] of closes) {
    await withEnds(async (near, peer) => {
      peer.send(0x88, content.length, content);
      await assertRejects(() => readAll(near), ProtocolError, text);
    });
  }
});

test("a socket that ends in the middle of a frame", async () => {
  await withEnds(async (near, peer) => {
    peer.send(0x82, 100, 1, 2, 3);
    peer.socket.end();
    assertEquals(await read(near), new Uint8Array([1, 2, 3]));
    await assertRejects(
      () => read(near),
      ProtocolError,
      "the peer has gone without a close (WebSocket code 1006)",
    );
  });
});

test("close() ends although the peer answers nothing", async () => {
  await withEnds(async (near, peer) => {
    const reading = read(near);
    near.close();
    assertEquals(await peer.frame(), [0x88, new Uint8Array([3, 232])]);
    assertEquals(await reading, null);
    await near.closed;
  });
});

test("a peer that never reads: a write waits, and close() rejects it", async () => {
  await withEnds(async (near, peer) => {
    peer.socket.pause();
    const writing = near.write?.(new Uint8Array(64 * 1024 * 1024));
    assert(writing);
    near.close();
    await assertRejects(() => writing, ProtocolError, "connection is closed");
  });
});

if (!isNode) {
  test("wss: the authority is checked", async () => {
    const folder = new URL("../testdata/tls/", import.meta.url);
    const pem = (name: string) => readFile(new URL(name, folder), "utf8");
    await using server = await listen(
      "wss://127.0.0.1:0/9p",
      new MemoryFs({ motd: "hello\n" }),
      { tls: { cert: await pem("server.crt"), key: await pem("server.key") } },
    );
    const ca = await pem("ca.crt");
    await using client = await connect(server.addr, { tls: { ca } });
    assertEquals(await client.readTextFile("motd"), "hello\n");
    await assertRejects(() => connect(server.addr), ProtocolError);
  });
}
