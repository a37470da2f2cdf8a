// Listeners that go on, whatever their connections do.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect as connectSocket, type Socket } from "node:net";
import { test } from "../harness.ts";
import { withFolder } from "../folder.ts";
import {
  connect,
  type Handler,
  listen,
  MemoryFs,
  type Server,
} from "../../mod.ts";
import type { Connection } from "../../transport.ts";
import { type Address, parseAddress } from "../../transport/address.ts";
import { DenoListener, type SystemListener } from "../../transport/deno.ts";

// Real sockets.

/** A plain socket to a server. */
function dialPlain({ addr }: Server): Socket {
  const address = parseAddress(addr);
  if (address.scheme === "unix") return connectSocket(address.path);
  assert(address.scheme === "tcp");
  return connectSocket(address.port, address.hostname);
}

/** Connects, and ends the connection by a reset: over a Unix socket, by a close. */
function reset(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const socket = dialPlain(server);
    socket.on("connect", () => {
      if (server.addr.startsWith("tcp:")) socket.resetAndDestroy();
      else socket.destroy();
    });
    socket.on("error", () => {}); // The connection may end at any time.
    socket.on("close", () => resolve());
  });
}

/** Connects, sends some bytes and stays. */
function stay(server: Server, bytes: Uint8Array): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = dialPlain(server);
    socket.on("error", reject);
    socket.on("connect", () => {
      if (bytes.length > 0) socket.write(bytes);
      resolve(socket);
    });
  });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on("close", () => resolve());
    socket.destroy();
  });
}

async function checkResets(address: string): Promise<void> {
  const server = await listen(address, new MemoryFs({ motd: "hello\n" }), {
    onError: () => {}, // Each reset is one.
  });
  let isListening = true;
  const end = () => isListening = false;
  server.finished.then(end, end);
  const client = await connect(server.addr);
  let isDone = false;
  const work = (async () => {
    let reads = 0;
    for (; !isDone; reads++) {
      assertEquals(await client.readTextFile("motd"), "hello\n");
    }
    return reads;
  })();
  const silent = await Promise.all(
    Array.from({ length: 100 }, () => stay(server, new Uint8Array(0))),
  );
  // The beginning of a frame of 19 bytes.
  const started = await Promise.all(
    Array.from({ length: 100 }, () => stay(server, Uint8Array.of(19, 0, 0))),
  );
  for (let i = 0; i < 20; i++) {
    await Promise.all(Array.from({ length: 100 }, () => reset(server)));
  }
  isDone = true;
  assert(await work > 0);
  assert(isListening, "the server has ended");
  const other = await connect(server.addr);
  assertEquals(await other.readTextFile("motd"), "hello\n");
  await other.close();
  await client.close();
  await Promise.all([...silent, ...started].map(closed));
  await server.close();
}

test("listen() over TCP outlives 2,000 resets, half frames and silence", async () => {
  await checkResets("tcp://127.0.0.1:0");
});

test("listen() over a Unix socket outlives 2,000 early ends, half frames and silence", async () => {
  await withFolder((folder) => checkResets(`unix://${folder}/s.sock`));
});

test("listen() outlives a disconnect() that throws, and reports it", async () => {
  const errors: [unknown, string | undefined][] = [];
  const reported = Promise.withResolvers<void>();
  const failure = new Error("disconnect failed");
  const root = { qid: { type: 0x80, vers: 0, path: 0n } };
  const throwing: Handler = {
    attach: () => root,
    walk: () => undefined,
    open: () => {},
    disconnect: () => {
      throw failure;
    },
  };
  const server = await listen("tcp://127.0.0.1:0", throwing, {
    onError: (error, { peer }) => {
      errors.push([error, peer]);
      reported.resolve();
    },
  });
  const first = await connect(server.addr);
  await first.close();
  await reported.promise;
  assertEquals(errors[0][0], failure);
  assertMatch(errors[0][1] ?? "", /^tcp:\/\/127\.0\.0\.1:/);
  const second = await connect(server.addr);
  assertEquals(await second.exists("motd"), false);
  await second.close();
  await server.close();
});

// Failures of accept(), which a system does not make on request.

const ADDRESS: Address = { scheme: "tcp", hostname: "127.0.0.1", port: 1 };

class Conn {
  readonly isBroken: boolean;
  isClosed = false;

  constructor(isBroken = false) {
    this.isBroken = isBroken;
  }
  read = () => Promise.resolve(null);
  write = (bytes: Uint8Array) => Promise.resolve(bytes.length);
  closeWrite = () => Promise.resolve();
  close = () => {
    this.isClosed = true;
  };
  ref = () => {};
  unref = () => {};
}

/** A system listener that gives the entries of a list, and then nothing. */
class Scripted implements SystemListener<Conn> {
  readonly #outcomes: (Conn | Error)[];
  readonly #end = Promise.withResolvers<Conn>();

  constructor(outcomes: (Conn | Error)[]) {
    this.#outcomes = outcomes;
  }
  accept(): Promise<Conn> {
    const outcome = this.#outcomes.shift();
    if (outcome === undefined) return this.#end.promise;
    return outcome instanceof Error
      ? Promise.reject(outcome)
      : Promise.resolve(outcome);
  }
  close(): void {
    this.#end.promise.catch(() => {}); // The promise may have no reader.
    this.#end.reject(new Error("closed"));
  }
  ref = () => {};
  unref = () => {};
}

function withCode(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function listenerOf(
  outcomes: (Conn | Error)[],
  onError: (error: Error) => void,
): DenoListener<Conn> {
  const peerOf = (conn: Conn) => {
    if (conn.isBroken) throw withCode("EINVAL");
    return ADDRESS;
  };
  return new DenoListener(new Scripted(outcomes), ADDRESS, peerOf, { onError });
}

/** Runs `use` with timers that fire at once, and returns their delays. */
async function delaysOf(use: () => Promise<void>): Promise<number[]> {
  const { setTimeout } = globalThis;
  const delays: number[] = [];
  const instead = (callback: () => void, delay = 0) => {
    delays.push(delay);
    return setTimeout(callback, 0);
  };
  globalThis.setTimeout = Object.assign(instead, setTimeout);
  try {
    await use();
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  return delays;
}

test("DenoListener: connections that died early cost no pause, and are not reported", async () => {
  const codes = ["ENOTCONN", "ECONNABORTED", "ECONNRESET", "EPROTO", "EPERM"];
  const good = new Conn();
  const broken = new Conn(true);
  const outcomes = [...codes.map(withCode), broken, good];
  const errors: Error[] = [];
  const listener = listenerOf(outcomes, (error) => errors.push(error));
  const delays = await delaysOf(async () => {
    for await (const connection of listener) {
      assertEquals(connection.peer, "tcp://127.0.0.1:1");
      connection.close();
      break;
    }
  });
  assertEquals([errors.length, delays.length], [0, 0]);
  assertEquals([broken.isClosed, good.isClosed], [true, true]);
});

test("DenoListener: any other error is reported, and costs a pause that grows", async () => {
  const many = Array.from({ length: 10 }, () => withCode("EMFILE"));
  const odd = new Error("something new\nwith a stack");
  const outcomes = [...many, new Conn(), odd, odd, new Conn()];
  const errors: Error[] = [];
  const listener = listenerOf(outcomes, (error) => errors.push(error));
  const taken: Connection[] = [];
  const delays = await delaysOf(async () => {
    for await (const connection of listener) {
      taken.push(connection);
      if (taken.length === 2) break;
    }
  });
  assertEquals(delays, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 5, 10]);
  assertEquals(errors.length, 12);
  assertEquals(
    errors[0].message,
    'Cannot accept on "tcp://127.0.0.1:1": too many open files',
  );
  assertEquals("code" in errors[0] && errors[0].code, "EMFILE");
  assertEquals(
    errors[10].message,
    'Cannot accept on "tcp://127.0.0.1:1": something new',
  );
  assertEquals(errors[10].cause, odd);
});

test("DenoListener: close() ends the pause at once", async () => {
  const reported = Promise.withResolvers<void>();
  const listener = listenerOf(
    Array.from({ length: 1000 }, () => withCode("EMFILE")),
    () => reported.resolve(),
  );
  const next = listener[Symbol.asyncIterator]().next();
  await reported.promise;
  await Promise.resolve(); // From here on there is a timer: a leak if it stayed.
  listener.close();
  assertEquals((await next).done, true);
});

test("DenoListener: onError may close the listener", async () => {
  const listener: DenoListener<Conn> = listenerOf(
    [withCode("EMFILE")],
    () => listener.close(),
  );
  const { done } = await listener[Symbol.asyncIterator]().next();
  assertEquals(done, true);
});
