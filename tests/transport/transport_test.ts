import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { concat, equals } from "@std/bytes";
import { dirname } from "node:path/posix";
import { isNode, test } from "../harness.ts";
import { ProtocolError } from "../../codec.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import {
  type Connection,
  dial,
  formatAddress,
  fromPort,
  fromStreams,
  fromWebSocket,
  listen,
  type Listener,
  pair,
  parseAddress,
} from "../../transport.ts";

type Ends = [near: Connection, far: Connection];

const LIMIT = 256 * 1024;
const text = new TextEncoder();

/** The next connection of a listener, which goes on listening. */
async function accept(listener: Listener): Promise<Connection> {
  const { value } = await listener[Symbol.asyncIterator]().next();
  assert(value, "the listener ended");
  return value;
}

async function connected(address: string): Promise<Ends> {
  const listener = await listen(address);
  const ends = await Promise.all([dial(listener.addr), accept(listener)]);
  listener.close();
  return ends;
}

/** Names of the sockets that the tests make. */
const SOCKET = "ninep_test.sock";
const OLD_SOCKET = "ninep_test_old.sock";

/** Runs `use` with a folder for sockets of these two names. */
async function withFolder(use: (folder: string) => Promise<void>) {
  const { mkdtemp, rm, rmdir } = await import("node:fs/promises");
  const isDeno = "Deno" in globalThis;
  const own = isDeno
    ? await Deno.makeTempDir({ prefix: "ninep_" })
    : await mkdtemp("/tmp/ninep_");
  // Deno allows sockets by their full path only: those in the temporary folder
  // can be known before the tests run.
  const folder = isDeno ? dirname(own) : own;
  try {
    await use(folder);
  } finally {
    await rm(`${folder}/${SOCKET}`, { force: true });
    await rm(`${folder}/${OLD_SOCKET}`, { force: true });
    await rmdir(own);
  }
}

type Kind = [name: string, make: () => Promise<Ends>];

/** Connections of every kind. */
const KINDS: Kind[] = [
  ["tcp", () => connected("tcp://127.0.0.1:0")],
  ["unix", async () => {
    let ends: Ends | undefined;
    await withFolder(async (folder) => {
      ends = await connected(`unix://${folder}/${SOCKET}`);
    });
    return ends!; // Set by the callback.
  }],
  ["pair", () => Promise.resolve(pair())],
  ["port", () => {
    const { port1, port2 } = new MessageChannel();
    return Promise.resolve([fromPort(port1), fromPort(port2)]);
  }],
  ["streams", () => Promise.resolve(streamPair())],
  ...(isNode
    ? [] // Node has no server of WebSockets.
    : [
      ["ws", () => connected("ws://127.0.0.1:0/9p")] satisfies Kind,
      ["WebSocket", webSockets] satisfies Kind,
    ]),
];

/** The client is the runtime's own class. */
async function webSockets(): Promise<Ends> {
  const listener = await listen("ws://127.0.0.1:0/9p");
  const socket = new WebSocket(listener.addr, "9p");
  const near = fromWebSocket(socket);
  const isOpen = new Promise((resolve) => socket.onopen = resolve);
  const far = await accept(listener);
  await isOpen; // A close before would be none for the server.
  listener.close();
  return [near, far];
}

function streamPair(): Ends {
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  return [
    fromStreams({ readable: back.readable, writable: there.writable }, "far"),
    fromStreams({ readable: there.readable, writable: back.writable }, "near"),
  ];
}

/** The ends that the present test has. */
let ends: Connection[] = [];

/** Makes the ends of a test, which kindTest() closes. */
async function open(make: () => Promise<Ends>): Promise<Ends> {
  const made = await make();
  ends.push(...made);
  return made;
}

async function channels(make: () => Promise<Ends>): Promise<Channel[]> {
  return (await open(make)).map(openChannel);
}

/** A test of one kind, which closes its ends and waits for their sockets. */
function kindTest(name: string, run: () => Promise<void>): void {
  test(name, async () => {
    ends = [];
    await run();
    for (const end of ends) end.close();
    await Promise.all(ends.map(({ closed }) => closed));
  });
}

async function readAll(channel: Channel): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const bytes = await channel.read(buffer);
    if (bytes === null) return concat(chunks);
    chunks.push(new Uint8Array(bytes));
    if (bytes.buffer !== buffer.buffer) channel.free?.(bytes);
  }
}

/** Seeded numbers from 0 to 1. */
function random(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

function randomBytes(length: number): Uint8Array {
  const next = random(length);
  return Uint8Array.from({ length }, () => next() * 256);
}

// Every kind of connection, through its channel.

for (const [kind, make] of KINDS) {
  // P-04, P-05, C-82.
  kindTest(
    `${kind}: 10 MB go there and back in writes of any size`,
    async () => {
      const [near, far] = await channels(make);
      const data = randomBytes(10_000_000);
      const send = async () => {
        const next = random(7);
        const scratch = new Uint8Array(128 * 1024);
        for (let at = 0; at < data.length;) {
          const size = 1 + next() ** 4 * scratch.length | 0;
          const part = data.subarray(at, at += size);
          // Reused at once, as a writer may.
          scratch.set(part);
          await near.write(scratch.subarray(0, part.length));
        }
        await near.closeWrite();
      };
      const echo = async () => {
        const buffer = new Uint8Array(64 * 1024);
        for (;;) {
          const bytes = await far.read(buffer);
          if (bytes === null) break;
          await far.write(bytes);
        }
        await far.closeWrite();
      };
      const [back] = await Promise.all([readAll(near), send(), echo()]);
      assert(equals(back, data), "bytes differ");
      near.close();
      far.close();
    },
  );

  kindTest(`${kind}: one direction ends, the other goes on`, async () => {
    const [near, far] = await channels(make);
    const [request] = await Promise.all([
      readAll(far),
      (async () => {
        await near.write(text.encode("question"));
        await near.closeWrite();
        await near.closeWrite();
      })(),
    ]);
    assertEquals(request, text.encode("question"));
    await assertRejects(
      async () => await near.write(text.encode("more")),
      ProtocolError,
      "connection is closed",
    );
    const reply = readAll(near);
    await far.write(text.encode("answer"));
    far.close();
    assertEquals(await reply, text.encode("answer"));
    near.close();
  });

  kindTest(`${kind}: close() ends a pending read, twice is fine`, async () => {
    const [near, far] = await channels(make);
    const reading = near.read(new Uint8Array(16));
    near.close();
    near.close();
    assertEquals(await reading, null);
    assertEquals(await near.read(new Uint8Array(16)), null);
    const error = await assertRejects(
      async () => await near.write(text.encode("late")),
      ProtocolError,
    );
    assertEquals(
      error.message,
      `Cannot write to "${near.peer}": connection is closed`,
    );
    await near.closeWrite();
    assertEquals(await far.read(new Uint8Array(16)), null);
    far.close();
  });

  kindTest(`${kind}: close() rejects a pending write`, async () => {
    const [near, far] = await channels(make);
    const writing = writeUntilItFails(near);
    // Two turns of the far end: it reads something, so near is at writing.
    await far.read(new Uint8Array(16));
    near.close();
    const error = await writing;
    assertEquals(
      error.message,
      `Cannot write to "${near.peer}": connection is closed`,
    );
    far.close();
  });

  kindTest(`${kind}: writing to a peer that has gone fails`, async () => {
    const [near, far] = await channels(make);
    far.close();
    const error = await writeUntilItFails(near);
    assertMatch(error.message, /^Connection to "[^"]+" lost: /);
    near.close();
    near.close();
  });
}

async function writeUntilItFails(channel: Channel): Promise<ProtocolError> {
  const bytes = new Uint8Array(LIMIT);
  try {
    for (;;) await channel.write(bytes);
  } catch (error) {
    assertInstanceOf(error, ProtocolError);
    return error;
  }
}

// The Web streams of every kind.

for (const [kind, make] of KINDS) {
  kindTest(`${kind}: streams carry 1 MB and end`, async () => {
    const [near, far] = await open(make);
    const data = randomBytes(1_000_000);
    const sent = new Response(data.slice()).body!.pipeTo(near.writable);
    const received = await new Response(far.readable).bytes();
    await sent;
    assert(equals(received, data), "bytes differ");
    await far.writable.close();
    assertEquals((await new Response(near.readable).bytes()).length, 0);
    near.close();
    far.close();
  });

  kindTest(`${kind}: close() ends the reader of a stream`, async () => {
    const [near, far] = await open(make);
    if (near.read) {
      const reader = near.readable.getReader();
      const reading = reader.read();
      near.close();
      assertEquals((await reading).done, true);
    }
    near.close();
    far.close();
  });

  kindTest(`${kind}: cancelling and aborting reach the peer`, async () => {
    const [near, far] = await open(make);
    const reader = far.readable.getReader();
    const reading = reader.read();
    await near.readable.cancel();
    await near.writable.abort().catch(() => {});
    // Sockets just end, TransformStreams pass the abort on.
    const { done } = await reading.catch(() => ({ done: true }));
    assert(done);
    near.close();
    far.close();
  });

  if (kind === "streams") continue;

  kindTest(`${kind}: the readable fills a BYOB reader's view`, async () => {
    const [near, far] = await open(make);
    await near.write?.(text.encode("0123456789"));
    await near.closeWrite?.();
    const reader = far.readable.getReader({ mode: "byob" });
    const parts: Uint8Array[] = [];
    for (let buffer = new ArrayBuffer(4);;) {
      const { value, done } = await reader.read(new Uint8Array(buffer));
      if (done) break;
      parts.push(value.slice());
      buffer = value.buffer;
    }
    assert(parts.every((part) => part.length <= 4));
    assertEquals(concat(parts), text.encode("0123456789"));
    near.close();
    far.close();
  });

  kindTest(
    `${kind}: streams that have ended close the connection`,
    async () => {
      const [near, far] = await open(make);
      for (const end of [near, far]) await end.writable.close();
      for (const end of [near, far]) {
        assertEquals((await end.readable.getReader().read()).done, true);
      }
      // Nothing is closed by hand here: the leak sanitizer looks.
      await assertRejects(
        async () => await near.write?.(new Uint8Array(1)),
        ProtocolError,
      );
    },
  );
}

test("writable rejects what is not bytes", async () => {
  const [near, far] = pair();
  const writer = (near.writable as WritableStream<unknown>).getWriter();
  await assertRejects(() => writer.write("text"), TypeError);
  near.close();
  far.close();
});

// Channels of streams.

test("openChannel() gives the fast path as it is", () => {
  const [near, far] = pair();
  assertStrictEquals<unknown>(openChannel(near), near);
  near.close();
  far.close();
});

test("openChannel() does with read and write alone", async () => {
  const [near, far] = pair();
  const channel = openChannel({
    ...streamPair()[0],
    peer: "wrapped",
    read: (buffer) => near.read!(buffer),
    write: (bytes) => near.write!(bytes),
    close: () => near.close(),
  });
  await far.write?.(text.encode("in"));
  assertEquals(await channel.read(new Uint8Array(8)), text.encode("in"));
  await channel.closeWrite();
  channel.close();
  assertEquals(await openChannel(far).read(new Uint8Array(8)), null);
  far.close();
});

test("openChannel() tells of a stream that fails", async () => {
  const broken = new Error("cable cut");
  const channel = openChannel(fromStreams({
    readable: new ReadableStream({ pull: () => Promise.reject(broken) }),
    writable: new WritableStream({ write: () => Promise.reject(broken) }),
  }, "modem"));
  const attempts = [
    () => channel.read(new Uint8Array(8)),
    async () => await channel.write(new Uint8Array(8)),
  ];
  for (const attempt of attempts) {
    const error = await assertRejects(attempt, ProtocolError);
    assertEquals(error.message, 'Connection to "modem" lost: cable cut');
    assertStrictEquals(error.cause, broken);
  }
  channel.close();
});

test("openChannel() rejects chunks that are not bytes, skips empty ones", async () => {
  const chunks: unknown[] = [new Uint8Array(0), text.encode("a"), "b"];
  const channel = openChannel(fromStreams({
    readable: ReadableStream.from(chunks) as ReadableStream<Uint8Array>,
    writable: new WritableStream(),
  }));
  const buffer = new Uint8Array(8);
  assertEquals(await channel.read(buffer), text.encode("a"));
  await assertRejects(
    () => channel.read(buffer),
    ProtocolError,
    'Connection to "streams" lost: the stream gave string, not bytes',
  );
  channel.close();
});

test("openChannel() copies: what is written may be reused", async () => {
  const [near, far] = streamPair().map(openChannel);
  const bytes = text.encode("first");
  const writing = near.write(bytes);
  const reading = far.read(new Uint8Array(8));
  bytes.fill(0);
  assertEquals(await reading, text.encode("first"));
  await writing;
  near.close();
  far.close();
});

test("openChannel() throws for a locked stream and leaves the other", () => {
  const [near] = streamPair();
  near.writable.getWriter();
  assertThrows(() => openChannel(near), TypeError);
  assert(!near.readable.locked);
});

// P-02.
test("fromStreams() closes its streams and what is under them", async () => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  let count = 0;
  const connection = fromStreams({
    readable: new ReadableStream({ cancel: () => void count++ }),
    writable,
    close: () => void count++,
  });
  assertEquals(connection.peer, "streams");
  connection.close();
  assertEquals((await readable.getReader().read()).done, true);
  assertEquals(count, 2);
});

// dial() and listen().

test("listen() on port 0 tells the real port", async () => {
  const listener = await listen("tcp!127.0.0.1!0");
  assertMatch(listener.addr, /^tcp:\/\/127\.0\.0\.1:[1-9][0-9]*$/);
  const [near, far] = await Promise.all([
    dial(listener.addr),
    accept(listener),
  ]);
  assertEquals(near.peer, listener.addr);
  assertMatch(far.peer, /^tcp:\/\/127\.0\.0\.1:[1-9][0-9]*$/);
  near.close();
  far.close();
  listener.close();
});

const LISTENED = {
  "tcp!*!0": "0.0.0.0",
  "tcp://0.0.0.0:0": "0.0.0.0",
  "tcp://*:0": "0.0.0.0",
  ":0": "127.0.0.1",
  "tcp://:0": "127.0.0.1",
};
for (const [address, hostname] of Object.entries(LISTENED)) {
  test(`listen("${address}") listens on ${hostname}, and dial() takes its addr`, async () => {
    const listener = await listen(address);
    assert(listener.addr.startsWith(`tcp://${hostname}:`), listener.addr);
    assert(!listener.addr.endsWith(":0"), listener.addr);
    const near = await dial(listener.addr);
    const far = await accept(listener);
    near.close();
    far.close();
    listener.close();
  });
}

test("a connection tells the address of its peer as a value", async () => {
  for (const hostname of ["127.0.0.1", "::1"]) {
    const [near, far] = await connected(`tcp!${hostname}!0`);
    assert(near.remote?.scheme === "tcp" && far.remote?.scheme === "tcp");
    assertEquals(near.remote.hostname, hostname);
    assertEquals(far.remote.hostname, hostname);
    assert(near.remote.port > 0 && far.remote.port > 0);
    for (const { peer, remote } of [near, far]) {
      assert(remote !== undefined);
      assertEquals(formatAddress(remote), peer);
      assertEquals<unknown>(parseAddress(peer), remote);
    }
    near.close();
    far.close();
  }
  const [near, far] = pair();
  const streams = fromStreams(new TransformStream());
  for (const end of [near, far, streams]) assertEquals(end.remote, undefined);
});

test("two clients of a listener have addresses of their own", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const dialed = await Promise.all([dial(listener.addr), dial(listener.addr)]);
  const clients = listener[Symbol.asyncIterator]();
  const first = (await clients.next()).value;
  const second = (await clients.next()).value;
  assert(first?.remote?.scheme === "tcp" && second?.remote?.scheme === "tcp");
  assert(first.remote.port !== second.remote.port);
  for (const end of [...dialed, first, second]) end.close();
  listener.close();
});

test("listener gives one connection after the other until close()", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const kept: Connection[] = [];
  const serving = (async () => {
    for await (const connection of listener) {
      kept.push(connection);
      if (kept.length === 3) listener.close();
    }
  })();
  const near = [];
  for (let i = 0; i < 3; i++) near.push(await dial(listener.addr));
  await serving;
  listener.close();
  // What was given out lives on.
  await kept[0].write?.(text.encode("still here"));
  const bytes = await near[0].read?.(new Uint8Array(16));
  assertEquals(bytes, text.encode("still here"));
  for (const connection of [...kept, ...near]) connection.close();
});

test("listener: close() ends a pending next()", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const next = listener[Symbol.asyncIterator]().next();
  listener.close();
  assertEquals((await next).done, true);
  assertEquals(
    (await listener[Symbol.asyncIterator]().next()).done,
    true,
  );
});

test("listener: leaving the loop closes it", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const dialling = dial(listener.addr);
  for await (const connection of listener) {
    connection.close();
    break;
  }
  (await dialling).close();
  await assertRejects(() => dial(listener.addr), ProtocolError);
});

test("dial() names the address that refused", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  listener.close();
  const error = await assertRejects(() => dial(listener.addr), ProtocolError);
  assertEquals(
    error.message,
    `Cannot connect to "${listener.addr}": connection refused`,
  );
  assertEquals(error.code, "ECONNREFUSED");
  assertInstanceOf(error.cause, Error);
});

test("dial() tells of an unknown host", async () => {
  const error = await assertRejects(
    () => dial("nowhere.invalid:1"),
    ProtocolError,
  );
  assertEquals(
    error.message,
    'Cannot connect to "tcp://nowhere.invalid:1": host not found',
  );
  assertEquals(error.code, "ENOTFOUND");
});

test("dial() rejects addresses that cannot be dialed", async () => {
  const bad = {
    "ftp://x": 'Cannot use address "ftp://x": unknown scheme "ftp", ' +
      "known are tcp, tls, unix, ws, wss, http, https, stdio",
    "x:0": 'Cannot connect to "x:0": port is 0',
  };
  for (const [address, message] of Object.entries(bad)) {
    const error = await assertRejects(() => dial(address), TypeError);
    assertEquals(error.message, message);
  }
});

test("listen() tells of a port in use", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const error = await assertRejects(() => listen(listener.addr), ProtocolError);
  assertEquals(
    error.message,
    `Cannot listen on "${listener.addr}": address already in use`,
  );
  assertEquals(error.code, "EADDRINUSE");
  listener.close();
});

test("dial() rejects with the reason of its signal", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const reason = new Error("enough");
  const early = await assertRejects(() =>
    dial(listener.addr, { signal: AbortSignal.abort(reason) })
  );
  assertStrictEquals(early, reason);
  const controller = new AbortController();
  const dialling = dial(listener.addr, { signal: controller.signal });
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => dialling), reason);
  listener.close();
});

test("dial() lets go of its signal", async () => {
  const listener = await listen("tcp://127.0.0.1:0");
  const controller = new AbortController();
  const { signal } = controller;
  const near = await dial(listener.addr, { signal });
  const far = await accept(listener);
  controller.abort();
  await near.write?.(text.encode("alive"));
  assertEquals(await far.read?.(new Uint8Array(8)), text.encode("alive"));
  near.close();
  far.close();
  listener.close();
});

// Unix sockets.

test("unix: the listener's file goes with it", async () => {
  await withFolder(async (folder) => {
    const { lstat } = await import("node:fs/promises");
    const addr = `unix://${folder}/${SOCKET}`;
    const listener = await listen(addr);
    assertEquals(listener.addr, addr);
    const [near, far] = await Promise.all([dial(addr), accept(listener)]);
    assertEquals([near.peer, far.peer], [addr, addr]);
    const remote = { scheme: "unix", path: `${folder}/${SOCKET}` };
    assertEquals<unknown>([near.remote, far.remote], [remote, remote]);
    listener.close();
    await assertRejects(() => lstat(`${folder}/${SOCKET}`));
    near.close();
    far.close();
    const error = await assertRejects(() => dial(addr), ProtocolError);
    assertEquals(
      error.message,
      `Cannot connect to "${addr}": no such file or directory`,
    );
    assertEquals(error.code, "ENOENT");
  });
});

test("unix: a socket in use is left alone", async () => {
  await withFolder(async (folder) => {
    const addr = `unix://${folder}/${SOCKET}`;
    const listener = await listen(addr);
    const error = await assertRejects(() => listen(addr), ProtocolError);
    assertEquals(
      error.message,
      `Cannot listen on "${addr}": address already in use`,
    );
    assertEquals(error.code, "EADDRINUSE");
    (await accept(listener)).close(); // The second one's try.
    const [near, far] = await Promise.all([dial(addr), accept(listener)]);
    for (const end of [near, far, listener]) end.close();
  });
});

test("unix: the socket file of a dead server is replaced", async () => {
  await withFolder(async (folder) => {
    const { rename } = await import("node:fs/promises");
    const dead = await listen(`unix://${folder}/${OLD_SOCKET}`);
    await rename(`${folder}/${OLD_SOCKET}`, `${folder}/${SOCKET}`);
    dead.close();
    const listener = await listen(`unix://${folder}/${SOCKET}`);
    const ends = await Promise.all([dial(listener.addr), accept(listener)]);
    for (const end of [...ends, listener]) end.close();
  });
});

test("unix: a file that is no socket is left alone", async () => {
  await withFolder(async (folder) => {
    const { readFile, writeFile } = await import("node:fs/promises");
    await writeFile(`${folder}/${SOCKET}`, "precious");
    const addr = `unix://${folder}/${SOCKET}`;
    const error = await assertRejects(() => listen(addr), ProtocolError);
    assertEquals(
      error.message,
      `Cannot listen on "${addr}": there is a file that is not a socket`,
    );
    assertEquals(await readFile(`${folder}/${SOCKET}`, "utf8"), "precious");
  });
});
