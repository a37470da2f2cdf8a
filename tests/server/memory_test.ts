// The memory limit of all clients of a server, and the end of clients that take
// no replies.

import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
} from "@std/assert";
import { connect } from "../../client.ts";
import { ORDWR } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { Budget, listen, serve, type SessionOptions } from "../../server.ts";
import process from "node:process";
import { type Connection, dial, pair } from "../../transport.ts";
import { firstLine, start } from "../child.ts";
import { test } from "../harness.ts";
import {
  BlockedConnection,
  Gate,
  NEVER,
  nextTask,
  Toy,
  type ToyHandler,
  untilAborted,
} from "./toy.ts";
import { soon, T, WireClient } from "./wire_client.ts";

const MSIZE = 65536;
/** Data of a reply that is as long as a message may be. */
const COUNT = MSIZE - 11;

/** A server with several clients that share one budget. */
class Scene implements AsyncDisposable {
  readonly memory: Budget;
  readonly toy = new Toy();
  readonly #handler: ToyHandler;
  readonly #options: SessionOptions;
  readonly #served: Promise<void>[] = [];
  readonly #clients: WireClient[] = [];

  constructor(
    limit: number,
    overrides: Partial<ToyHandler> = {},
    options: SessionOptions = {},
  ) {
    this.memory = new Budget(limit);
    this.#handler = { ...this.toy.handler, ...overrides };
    this.#options = { msize: MSIZE, ...options, memory: this.memory };
  }

  /** A client with `a` open as fid 1. */
  async client(
    wrap: (connection: Connection) => Connection = (far) => far,
  ): Promise<WireClient> {
    const [near, far] = pair();
    this.#served.push(serve(wrap(far), this.#handler, this.#options));
    const client = new WireClient(near);
    this.#clients.push(client);
    await client.start(MSIZE);
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, 1, ORDWR), "Ropen 1 1");
    return client;
  }

  /** Checks that nothing is counted any more after all clients have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await soon(Promise.all(this.#served));
    for (let i = 0; i < 10; i++) await nextTask();
    assertEquals(this.memory.used, 0);
  }
}

const MiB = 2 ** 20;

test("memory: replies that several clients do not take are counted for all of them", async () => {
  const limit = 8 * MiB;
  await using scene = new Scene(limit, {
    read: async (_, { count }) => {
      await null;
      return new Uint8Array(count);
    },
  }, { waitingAfter: NEVER });
  const hoarders: BlockedConnection[] = [];
  for (let i = 0; i < 4; i++) {
    const unread = new BlockedConnection();
    hoarders.push(unread);
    const client = await scene.client(unread.wrap);
    unread.block();
    client.send(
      ...Array.from({ length: 100 }, (_, k) => T.read(k, 1, 0, COUNT)),
    );
  }
  for (let i = 0; i < 50; i++) await nextTask();
  assert(scene.memory.isFull);
  // Each connection gets one more buffer.
  assertLess(scene.memory.used, limit + 4 * 2 * MiB);
  // Other clients still get replies, one by one.
  const other = await scene.client();
  for (let i = 0; i < 20; i++) {
    await other.ask(T.stat(1, 1), "Rstat 1 a");
    other.send(T.read(2, 1, 0, COUNT));
    const reply = await other.next();
    assert(reply.type === "Rread" && reply.data.length === COUNT);
    await other.ask(T.write(3, 1, new Uint8Array(50_000)), "Rwrite 3 50000");
  }
  for (const unread of hoarders) unread.unblock();
});

/**
 * Answers 100 reads of a client that takes no replies yet, and counts the
 * answers that are no errors.
 */
async function countAnswered(
  waitingAfter: number,
): Promise<{ asked: number; answered: number }> {
  const gate = new Gate();
  let asked = 0;
  await using scene = new Scene(2 * MiB, {
    read: async (_, { count }) => {
      asked++;
      await gate.passed;
      return new Uint8Array(count);
    },
  }, { waitingAfter });
  const unread = new BlockedConnection();
  const client = await scene.client(unread.wrap);
  client.send(
    ...Array.from({ length: 100 }, (_, k) => T.read(k, 1, 0, COUNT)),
  );
  await client.quiet();
  if (waitingAfter < NEVER) { while (asked < 100) await nextTask(); }
  const first = asked;
  unread.block();
  gate.open();
  for (let i = 0; i < 50; i++) await nextTask();
  assertLess(scene.memory.used, 5 * MiB); // A buffer may be twice as large as its content.
  unread.unblock();
  let answered = 0;
  for (let k = 0; k < 100; k++) {
    const reply = await client.next();
    if (reply.type === "Rread") answered++;
    else assert(reply.type === "Rerror");
  }
  // The client that takes its replies gets the next.
  client.send(T.read(1, 1, 0, COUNT));
  assertEquals((await client.next()).type, "Rread");
  return { asked: first, answered };
}

test("memory: reads begin when there is room for their answers, and each is answered", async () => {
  const { asked, answered } = await countAnswered(NEVER);
  assertGreater(asked, 20);
  assertLess(asked, 33);
  assertEquals(answered, 100);
});

test("memory: an answer of a read that has waited is an error without room", async () => {
  const { asked, answered } = await countAnswered(1);
  assertEquals(asked, 100);
  assertGreater(answered, 20);
  assertLess(answered, 60);
});

test("memory: requests that wait are counted for all clients; each may have one message's size", async () => {
  const gate = new Gate();
  await using scene = new Scene(MiB, { write: () => gate.passed });
  const data = new Uint8Array(50_000);
  const greedy = await scene.client();
  for (let k = 0; k < 100; k++) greedy.send(T.write(k, 1, data));
  greedy.send(T.flush(200, 199));
  let refused = 0;
  while (true) {
    const reply = await greedy.next();
    if (reply.type === "Rflush") break;
    assert(reply.type === "Rerror");
    assertEquals(reply.ename, "Cannot allocate memory");
    refused++;
  }
  assertGreater(refused, 50);
  assert(scene.memory.isFull);
  assertLess(scene.memory.used, MiB + 2 * MSIZE);
  // This client may also have nothing more than small requests.
  await greedy.ask(T.stat(200, 0), "Rerror 200 Cannot allocate memory");
  await greedy.ask(T.flush(200, 300), "Rflush 200");
  const other = await scene.client();
  await other.ask(T.stat(1, 0), "Rstat 1 /");
  other.send(T.write(1, 1, data));
  await other.ask(T.stat(2, 0), "Rstat 2 /");
  other.send(T.write(3, 1, data));
  await other.ask(T.write(4, 1, data), "Rerror 4 Cannot allocate memory");
  gate.open();
  await other.expectSome("Rwrite 1 50000", "Rwrite 3 50000");
});

test("memory: what files hold for a connection is a part of that of the server", async () => {
  const taken: boolean[] = [];
  await using scene = new Scene(1_000_000, {
    open: (_fid, _request, { memory }) => {
      taken.push(memory.take(400_000));
      memory.give(taken.at(-1) ? 400_000 : 0);
    },
  }, { maxHeldBytes: 500_000 });
  await scene.client();
  scene.memory.charge(700_000);
  await scene.client();
  scene.memory.give(700_000);
  assertEquals(taken, [true, false]);
});

test("memory: a connection may always hold one message's size, whatever others hold", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  fs.define("page", { content: () => "x".repeat(MSIZE / 4) });
  fs.register("size", ({ text = "" }) => text.length);
  const memory = new Budget(MiB);
  const options = { memory, maxHeldBytes: MiB / 4, msize: MSIZE };
  const served: Promise<void>[] = [];
  const connected = () => {
    const [near, far] = pair();
    served.push(serve(far, fs, options));
    return connect(near);
  };
  const greedy = await Promise.all(Array.from({ length: 20 }, connected));
  for (const client of greedy) {
    await Promise.allSettled(
      Array.from({ length: 20 }, () => client.open("page")),
    );
  }
  assert(memory.isFull);
  // Four connections have all that they may have, the others have one message's
  // size; and all have their fids.
  assertLess(memory.used, MiB + 18 * MSIZE);
  const other = await connected();
  const text = "x".repeat(MSIZE / 4);
  assertEquals(await other.call("size", { kwarg: { text } }), text.length);
  assertEquals((await other.readTextFile("page")).length, MSIZE / 4);
  for (const client of [...greedy, other]) await client.close();
  await soon(Promise.all(served));
  assertEquals(memory.used, 0);
});

for (const late of [false, true]) {
  test(`stallTimeout: a client that takes nothing is closed: answers ${late ? "later" : "at once"}`, async () => {
    let aborted = 0;
    await using scene = new Scene(64 * MiB, {
      read: ({ fid }, { count }, { signal }) => {
        if (fid === 2) {
          return untilAborted(signal).finally(() => aborted++);
        }
        const data = new Uint8Array(count);
        return late ? Promise.resolve(data) : data;
      },
    }, { stallTimeout: 20, idleTimeout: 10 });
    const unread = new BlockedConnection();
    const client = await scene.client(unread.wrap);
    await client.ask(T.walk(1, 0, 2, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, 2), "Ropen 1 1");
    client.send(T.read(1000, 2)); // It waits for an event.
    await client.quiet();
    unread.block();
    for (let k = 0; k < 100; k++) client.send(T.read(k, 1, 0, COUNT));
    await client.end();
    while (aborted === 0) await nextTask();
  });
}

test("stallTimeout: a client that takes its replies slowly, or has none, goes on", async () => {
  await using scene = new Scene(64 * MiB, {
    read: (_fid, _request, { signal }) => untilAborted(signal),
  }, { stallTimeout: 20 });
  const slow = new BlockedConnection();
  const client = await scene.client(slow.wrap);
  client.send(T.read(1, 1)); // It waits for an event, and so does the client.
  await client.quiet();
  slow.block();
  client.send(T.stat(2, 0));
  const until = performance.now() + 100; // Five times the limit.
  while (performance.now() < until) {
    slow.taken += 5;
    await nextTask();
  }
  slow.unblock();
  await client.expect("Rstat 2 /");
  await client.ask(T.flush(3, 1), "Rflush 3");
});

test("stallTimeout: a client that takes its replies byte by byte is closed", async () => {
  await using scene = new Scene(64 * MiB, {}, { stallTimeout: 20 });
  const slow = new BlockedConnection();
  const client = await scene.client(slow.wrap);
  slow.block();
  client.send(...Array.from({ length: 5000 }, (_, i) => T.stat(i, 0)));
  let isOver = false;
  const ended = client.end().finally(() => isOver = true);
  while (!isOver) {
    slow.taken++;
    await nextTask();
  }
  await ended;
  slow.unblock();
});

test("listen() has one budget for all connections, and refuses an impossible maxMemory", async () => {
  for (const maxMemory of [0, -1, NaN]) {
    await assertRejects(
      () => listen("tcp://127.0.0.1:0", new MemoryFs(), { maxMemory }),
      RangeError,
      "maxMemory",
    );
  }
  const toy = new Toy();
  const maxMemory = 100_000;
  const budgets: Budget[] = [];
  await using server = await listen("tcp://127.0.0.1:0", {
    ...toy.handler,
    attach: (_fid, _request, { memory }) => {
      budgets.push(memory);
      return toy.root;
    },
  }, { maxMemory, msize: 256 });
  await using _first = await connect(server.addr);
  await using _second = await connect(server.addr);
  const [first, second] = budgets;
  assert(first.take(60_000));
  assertEquals(second.take(60_000), false);
  first.give(60_000);
  assert(second.take(60_000));
  second.give(60_000);
});

test("memory: fids count for all connections; each connection may always have some", async () => {
  const limit = MiB;
  await using scene = new Scene(limit);
  const refused = "Cannot allocate memory";
  const fill = async (client: WireClient): Promise<number> => {
    for (let fid = 10;; fid++) {
      client.send(T.walk(1, 0, fid));
      const reply = await client.next();
      if (reply.type === "Rwalk") continue;
      assert(reply.type === "Rerror");
      assertEquals(reply.ename, refused);
      return fid - 10;
    }
  };
  const greedy = await scene.client();
  const taken = await fill(greedy);
  assertGreater(taken, 300);
  assertLess(taken, 1000);
  const other = await scene.client();
  assertEquals(await fill(other), 254); // And the two that it has.
  // Memory that one connection gives back is free for another.
  for (let fid = 10; fid < 10 + taken; fid++) {
    await greedy.ask(T.clunk(1, fid), "Rclunk 1");
  }
  assertLess(scene.memory.used, limit);
  await other.ask(T.walk(1, 0, 1000), "Rwalk 1");
});

/** Milliseconds for which the memory of the server is watched. */
const WATCHED_MS = 3000;

test("listen() holds little more than maxMemory with all limits reached at once", async () => {
  const maxMemory = 256 * MiB;
  const script = new URL("memory_server.ts", import.meta.url).pathname;
  const args = "Deno" in globalThis
    ? ["run", "--quiet", "--allow-net", "--allow-sys", script]
    : [script];
  const child = start(process.execPath, [...args, `${maxMemory}`]);
  try {
    const address = await firstLine(child);
    await using control = await connect(address);
    const rss = await control.open("rss");
    const look = async () => {
      const digits = new Uint8Array(20);
      const length = await soon(rss.readAt(digits, 0)) ?? 0;
      return Number(new TextDecoder().decode(digits.subarray(0, length)));
    };
    const before = await look();
    using _hoarders = await hoard(address);
    let most = 0;
    const until = performance.now() + WATCHED_MS;
    while (performance.now() < until) most = Math.max(most, await look());
    const mib = (bytes: number) => Math.round(bytes / MiB);
    const text = `${mib(most)} MiB, ${mib(before)} without the hoarders`;
    console.log(`memory: ${text}`);
    assertGreater(most, before + maxMemory / 2, text);
    // Twice the limit, for the runtime collects late, and 4 MiB a connection.
    assertLess(most, before + 2 * maxMemory + HOARDERS * 4 * MiB, text);
  } finally {
    child.kill("SIGKILL");
    await child.ended;
  }
});

/** Clients of each of three kinds. */
const HOARDERS = 12;

/**
 * Starts clients that take no replies, send data that wait, and make files hold
 * memory: each more than its limit.
 */
async function hoard(address: string): Promise<Disposable> {
  const msize = MiB + 24;
  const all = new DisposableStack();
  const paths = ["late", "waiting", "held"];
  for (let i = 0; i < HOARDERS; i++) {
    const connection = await dial(address);
    all.defer(() => connection.close());
    const client = new WireClient(connection);
    await client.start(msize);
    const name = paths[i % paths.length];
    client.send(T.walk(1, 0, 1, name), T.open(2, 1, ORDWR));
    await client.next();
    await client.next();
    const data = new Uint8Array(MiB).fill(1);
    for (let k = 0; k < (name === "waiting" ? 40 : 300); k++) {
      if (name === "late") {
        client.send(T.read(10 + k, 1, 0, MiB));
      } else if (name === "waiting") {
        client.send(T.write(10 + k, 1, data));
      } else {
        client.send(T.walk(3, 0, 10 + k, name), T.open(4, 10 + k));
      }
    }
  }
  return all;
}
