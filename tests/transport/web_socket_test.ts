// P-04: connections over WebSockets, against a socket that a test moves.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, MemoryFs, ProtocolError, serve } from "../../mod.ts";
import {
  type Connection,
  fromWebSocket,
  type WebSocketEvent,
  type WebSocketLike,
} from "../../transport.ts";
import { test } from "../harness.ts";

/** A WebSocket that keeps what it is given. */
class FakeSocket implements WebSocketLike {
  binaryType = "blob";
  bufferedAmount = 0;
  readyState = 1;
  readonly sent: Uint8Array[] = [];
  readonly closes: (number | undefined)[] = [];
  paused = false;
  readonly #listeners = new Map<string, (event: WebSocketEvent) => void>();

  send(data: Uint8Array<ArrayBuffer>): void {
    // As the standard says, the socket has the bytes when send() returns.
    this.sent.push(data.slice());
  }

  close(code?: number): void {
    // As in browsers, Deno and Node.
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code < 5000)) {
      throw new DOMException("code", "InvalidAccessError");
    }
    if (this.readyState === 3) return;
    this.closes.push(code);
    this.readyState = 3;
    queueMicrotask(() => this.emit("close", { code: code ?? 1005 }));
  }

  addEventListener(
    type: string,
    listener: (event: WebSocketEvent) => void,
  ): void {
    this.#listeners.set(type, listener);
  }

  emit(type: string, event: WebSocketEvent = {}): void {
    this.#listeners.get(type)?.(event);
  }

  receive(...data: unknown[]): void {
    for (const each of data) this.emit("message", { data: each });
  }
}

/** Frames of 9P: Tclunk, and a Twrite of `count` bytes. */
function clunk(tag: number): Uint8Array {
  const bytes = new Uint8Array(11);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 11, true);
  bytes[4] = 120;
  view.setUint16(5, tag, true);
  return bytes;
}

function sized(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  new DataView(bytes.buffer).setUint32(0, size, true);
  return bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

async function readAll(connection: Connection): Promise<number[]> {
  const all: number[] = [];
  for (;;) {
    const bytes = await connection.read?.(new Uint8Array(16));
    if (!bytes) return all;
    all.push(...bytes);
  }
}

test("binaryType is set before the first message", () => {
  const socket = new FakeSocket();
  fromWebSocket(socket);
  assertEquals(socket.binaryType, "arraybuffer");
});

test("each 9P message goes out as one binary message", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  await connection.write?.(joined(clunk(1), sized(5000), clunk(2)));
  assertEquals(socket.sent.map(({ length }) => length), [11, 5000, 11]);
  // A write may end within a message.
  await connection.write?.(clunk(3).subarray(0, 6));
  await connection.write?.(joined(clunk(3).subarray(6), clunk(4)));
  assertEquals(
    socket.sent.slice(3).map(({ length }) => length),
    [11, 11],
  );
  assertEquals(joined(...socket.sent.slice(3)), joined(clunk(3), clunk(4)));
});

test("a message that was written byte by byte goes out whole", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket, { maxMessage: 1000 });
  const data = joined(clunk(1), sized(200), sized(5000), clunk(2));
  for (const byte of data) await connection.write?.(new Uint8Array([byte]));
  assertEquals(joined(...socket.sent), data);
  assertEquals(socket.sent.slice(0, 2), [clunk(1), sized(200)]);
  assertEquals(socket.sent.at(-1), clunk(2));
});

test("the first part of a message goes out before the end", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  await connection.write?.(clunk(1).subarray(0, 9));
  assertEquals(socket.sent, []);
  await connection.closeWrite?.();
  assertEquals(socket.sent, [clunk(1).subarray(0, 9), new Uint8Array(0)]);
  await Promise.resolve(connection.write?.(clunk(1))).catch(() => {});
  assertEquals(socket.sent.length, 2);
});

test("bytes that are no 9P go out as they are, in parts", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket, { maxMessage: 1000 });
  const data = new Uint8Array(2500).fill(0);
  await connection.write?.(data);
  assertEquals(socket.sent.map(({ length }) => length), [1000, 1000, 500]);
});

test("a socket of the package ws, which keeps views, gets copies", async () => {
  const sent: Uint8Array[] = [];
  const socket = Object.assign(new FakeSocket(), {
    on() {},
    send: (data: Uint8Array) => void sent.push(data),
  });
  const connection = fromWebSocket(socket);
  const bytes = clunk(1);
  await connection.write?.(bytes);
  bytes.fill(0xff);
  assertEquals(sent, [clunk(1)]);
});

test("bytes come in any division, and in any form", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  const numbers = (...values: number[]) => new Uint8Array(values);
  socket.receive(
    numbers(1, 2).buffer,
    numbers(0, 3, 0).subarray(1, 2),
    new Blob([numbers(4, 5)]),
    numbers(6).buffer, // Not before the Blob's bytes.
    [numbers(7), numbers(8)],
    new Blob([numbers(9)]),
  );
  socket.emit("close", { code: 1000 });
  assertEquals(await readAll(connection), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a text message ends the connection", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.receive("hello");
  await assertRejects(
    async () => void await connection.read?.(new Uint8Array(8)),
    ProtocolError,
    'Connection to "websocket" lost: the peer sent text, 9P needs bytes',
  );
  // Browsers refuse 1003.
  assertEquals(socket.closes, [4003]);
  await connection.closed;
});

test("an empty message ends one direction", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.receive(new Uint8Array([1]).buffer, new ArrayBuffer(0));
  assertEquals(await readAll(connection), [1]);
  await connection.write?.(clunk(1));
  assertEquals(socket.closes, []);
  await connection.closeWrite?.();
  assertEquals(socket.closes, [1000]);
});

test("closeWrite() sends an empty message, and reading goes on", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  await connection.closeWrite?.();
  assertEquals(socket.sent.map(({ length }) => length), [0]);
  await assertRejects(async () => await connection.write?.(clunk(1)));
  socket.receive(new Uint8Array([1, 2]).buffer, new ArrayBuffer(0));
  assertEquals(await readAll(connection), [1, 2]);
  assertEquals(socket.closes, [1000]);
});

const ENDS: [WebSocketEvent, string | null][] = [
  [{ code: 1000 }, null],
  [{ code: 1001 }, null],
  [{ code: 1005 }, null],
  [{ code: 1006 }, "the peer has gone without a close (WebSocket code 1006)"],
  [{ code: 1009 }, "message too big (WebSocket code 1009)"],
  [{ code: 1011, reason: "out of tea" }, "out of tea (WebSocket code 1011)"],
  [{ code: 4000 }, "closed (WebSocket code 4000)"],
];
for (const [event, detail] of ENDS) {
  test(`the end with code ${event.code}: read, then write`, async () => {
    const socket = new FakeSocket();
    const connection = fromWebSocket(socket, { peer: "ws://far" });
    socket.receive(new Uint8Array([7]).buffer);
    const buffer = new Uint8Array(8);
    assertEquals(await connection.read?.(buffer), new Uint8Array([7]));
    const read = Promise.resolve(connection.read?.(buffer));
    const ended = detail === null
      ? read.then((bytes) => assertEquals(bytes, null))
      : assertRejects(
        () => read,
        ProtocolError,
        `Connection to "ws://far" lost: ${detail}`,
      );
    socket.emit("close", event);
    await ended;
    await assertRejects(
      async () => await connection.write?.(clunk(1)),
      ProtocolError,
    );
    await connection.closed;
  });
}

test("an error tells less than the code of the close that follows", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  const read = connection.read?.(new Uint8Array(8));
  socket.emit("error"); // As in browsers.
  socket.emit("close", { code: 1009 });
  await assertRejects(
    async () => void await read,
    ProtocolError,
    "message too big (WebSocket code 1009)",
  );
});

test("an error without a text and without a close", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.emit("error");
  await assertRejects(
    async () => void await connection.read?.(new Uint8Array(8)),
    ProtocolError,
    "the WebSocket failed",
  );
  assertEquals(socket.closes, [1000]);
  await connection.closed;
});

test("a socket that has closed without an event", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.bufferedAmount = 2 * 1024 * 1024;
  const write = connection.write?.(clunk(1));
  socket.readyState = 3;
  await assertRejects(
    async () => await write,
    ProtocolError,
    "the peer has gone without a close",
  );
  await connection.closed;
});

test("bytes after the end are a breach", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.receive(new ArrayBuffer(0), new ArrayBuffer(1));
  assertEquals(await connection.read?.(new Uint8Array(8)), null);
  await assertRejects(
    async () => await connection.write?.(clunk(1)),
    ProtocolError,
    "the peer sent bytes after its end",
  );
  await connection.closed;
});

test("closeWrite() of a socket that connects, and of one that has closed", async () => {
  const socket = new FakeSocket();
  socket.readyState = 0;
  const connection = fromWebSocket(socket);
  await connection.closeWrite?.();
  assertEquals(socket.sent, []);
  socket.emit("open");
  assertEquals(socket.sent, [new Uint8Array(0)]);
  const broken = new FakeSocket();
  broken.send = () => {
    throw new Error("closed");
  };
  const other = fromWebSocket(broken);
  await other.closeWrite?.();
  for (const each of [connection, other]) {
    each.close();
    await each.closed;
  }
});

test("an error without a close ends the connection", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  const read = connection.read?.(new Uint8Array(8));
  socket.emit("error", { message: "no route" });
  await assertRejects(
    async () => void await read,
    ProtocolError,
    'Connection to "websocket" lost: no route',
  );
  await connection.closed;
});

test("a write waits while much waits in the socket", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.bufferedAmount = 2 * 1024 * 1024;
  const write = connection.write?.(clunk(1));
  assert(write, "the write did not wait");
  assertEquals(socket.sent, []);
  await assertRejects(
    async () => await connection.write?.(clunk(2)),
    TypeError,
    "a call is pending",
  );
  socket.bufferedAmount = 0;
  await write;
  assertEquals(socket.sent, [clunk(1)]);
});

test("close() rejects a write that waits", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  socket.bufferedAmount = 2 * 1024 * 1024;
  const write = connection.write?.(clunk(1));
  connection.close();
  await assertRejects(async () => await write, ProtocolError, "is closed");
  await connection.closed;
});

test("close() ends also if the peer never answers", async () => {
  const socket = new FakeSocket();
  socket.close = () => {};
  const connection = fromWebSocket(socket);
  connection.close();
  assertEquals(await connection.read?.(new Uint8Array(8)), null);
  await connection.closed;
});

test("a socket that connects: a write waits until it is open", async () => {
  const socket = new FakeSocket();
  socket.readyState = 0;
  const connection = fromWebSocket(socket);
  const write = connection.write?.(clunk(1));
  assert(write);
  assertEquals(socket.sent, []);
  socket.emit("open");
  await write;
  assertEquals(socket.sent, [clunk(1)]);
});

test("a socket that is closed while it connects", async () => {
  const socket = new FakeSocket();
  socket.readyState = 0;
  socket.close = (code) => void socket.closes.push(code);
  const connection = fromWebSocket(socket);
  const write = connection.write?.(clunk(1));
  connection.close();
  await assertRejects(async () => await write, ProtocolError, "is closed");
  socket.emit("open"); // Deno's server forgets the first close.
  assertEquals(socket.closes, [1000, 1000]);
  assertEquals(socket.sent, []);
  socket.emit("close", { code: 1000 });
  await connection.closed;
});

test("a socket that is closed is refused", () => {
  const socket = new FakeSocket();
  socket.readyState = 3;
  assertThrows(() => fromWebSocket(socket), ProtocolError, "lost");
});

test("a peer that sends without an end is cut off, if nothing reads", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  for (let i = 0; i < 65; i++) socket.receive(new ArrayBuffer(1024 * 1024));
  await assertRejects(
    async () => await connection.write?.(clunk(1)),
    ProtocolError,
    "more than 64 MiB wait to be read",
  );
  assertEquals(socket.closes, [4008]);
  await connection.closed;
});

test("many messages of one byte are bounded by the memory that they cost", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  const byte = new ArrayBuffer(1);
  let count = 0;
  while (socket.closes.length === 0) {
    socket.receive(byte);
    assert(++count < 300_000, "they are not bounded");
  }
  await connection.closed;
});

test("Blobs that wait for their bytes are bounded", async () => {
  const socket = new FakeSocket();
  const connection = fromWebSocket(socket);
  const blob = new Blob([new Uint8Array(1024 * 1024)]);
  for (let i = 0; i < 64; i++) socket.receive(blob);
  assertEquals(socket.closes, [4008]);
  await connection.closed;
});

test("a socket of the package ws is paused", async () => {
  const paused: boolean[] = [];
  const socket = Object.assign(new FakeSocket(), {
    pause: () => void paused.push(true),
    resume: () => void paused.push(false),
  });
  const connection = fromWebSocket(socket);
  for (let i = 0; i < 8; i++) socket.receive(new ArrayBuffer(64 * 1024));
  assertEquals(paused, [true]);
  const buffer = new Uint8Array(64 * 1024);
  while (paused.length < 2) await connection.read?.(buffer);
  assertEquals(paused, [true, false]);
});

test("client and server keep msize below the largest message", async () => {
  const near = new FakeSocket();
  const far = new FakeSocket();
  near.send = (data) => far.receive(data.slice().buffer);
  far.send = (data) => near.receive(data.slice().buffer);
  const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
  const served = serve(fromWebSocket(far, { maxMessage: 2000 }), fs);
  const client = await connect(fromWebSocket(near), { msize: 1 << 24 });
  assertEquals(client.msize, 2000);
  await client.writeFile("data", new Uint8Array(10_000).fill(1));
  assertEquals((await client.readFile("data")).length, 10_000);
  await client.close();
  far.emit("close", { code: 1000 });
  await served;
});
