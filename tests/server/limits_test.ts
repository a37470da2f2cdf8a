// The limits of one connection: requests under way, waiting bytes, data of
// handlers. S117 of the conformance list, semantics.md 11.
import { assert, assertEquals, assertLess } from "@std/assert";
import { concat } from "@std/bytes";
import { encode, NinePError, ORDWR, OWRITE } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { type Connection, pair } from "../../transport.ts";
import { test } from "../harness.ts";
import {
  Gate,
  NEVER,
  nextTask,
  onWrite,
  serveToy,
  statOf,
  type ToyScene,
  untilAborted,
} from "./toy.ts";
import { brief, bytes, soon, T, WireClient } from "./wire_client.ts";

/** Requests that wait at the same time. */
const WAITING = 65_000;
/** Bytes of a Tcall without text and data. */
const TCALL = 17;

async function openA({ client }: ToyScene, fid = 1): Promise<void> {
  await client.ask(T.walk(1, 0, fid, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, fid, ORDWR), "Ropen 1 1");
}

/** Reads of fid 1 that a test answers one by one, by their offsets. */
class Reads {
  readonly started: number[] = [];
  readonly gates: Map<number, Gate> = new Map();

  async read(
    { offset }: { offset: number },
    { signal }: { signal: AbortSignal },
  ): Promise<Uint8Array> {
    const gate = new Gate();
    this.started.push(offset);
    this.gates.set(offset, gate);
    await Promise.race([gate.passed, untilAborted(signal)]);
    return bytes(`${offset}`);
  }

  open(offset: number): void {
    this.gates.get(offset)?.open();
  }
}

test("serve() takes 65,000 requests that wait, and answers others beside them", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request, context) => reads.read(request, context),
  });
  const { client } = scene;
  await openA(scene);
  await openA(scene, 2);
  for (let i = 0; i < WAITING; i += 1000) {
    const batch = Array.from(
      { length: 1000 },
      (_, k) => T.read(i + k, 1, i + k),
    );
    client.send(...batch);
    await client.ask(T.stat(65_100, 0), "Rstat 65100 /");
  }
  assertEquals(reads.started.length, WAITING);
  await client.ask(T.write(65_100, 2, "x"), "Rwrite 65100 1");
  reads.open(7);
  await client.expect("Rread 7 7");
  await client.ask(T.flush(65_100, 64_999), "Rflush 65100");
  // One more flushes all others at once.
  for (let i = 0; i < WAITING; i++) {
    if (i !== 7 && i !== 64_999) client.send(T.flush(65_200, i));
  }
  for (let i = 2; i < WAITING; i++) await client.expect("Rflush 65200");
  await client.ask(T.clunk(1, 1), "Rclunk 1");
});

test("serve() takes 65,000 requests that wait for one fid; flushes of all of them take no time", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request, context) => reads.read(request, context),
  });
  const { client } = scene;
  await openA(scene);
  client.send(T.read(65_001, 1, 1), T.clunk(65_000, 1));
  const all = Array.from({ length: WAITING }, (_, i) => i);
  client.send(...all.map((tag) => T.stat(tag, 1)));
  await client.quiet(65_200);
  // From the last to the first, because the last request is farthest from the
  // head of the queue.
  client.send(...all.toReversed().map((tag) => T.flush(65_100, tag)));
  for (const _ of all) await client.expect("Rflush 65100");
  reads.open(1);
  await client.expect("Rread 65001 1", "Rclunk 65000");
});

test("serve() starts a new session for a Tversion behind 65,000 requests that wait", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request, context) => reads.read(request, context),
  });
  const { client } = scene;
  await openA(scene);
  for (let i = 0; i < WAITING; i += 1000) {
    client.send(
      ...Array.from({ length: 1000 }, (_, k) => T.read(i + k, 1, i + k)),
    );
  }
  await client.start();
  await client.ask(T.stat(1, 0), "Rstat 1 /");
});

test("serve() sees that a client went away that has many requests", async () => {
  const reads = new Reads();
  const scene = await serveToy({
    read: (_, request, context) => reads.read(request, context),
  });
  const { client } = scene;
  await openA(scene);
  for (let i = 0; i < 12; i++) {
    client.send(
      ...Array.from({ length: 100 }, (_, k) => T.read(100 * i + k, 1, k)),
    );
    await nextTask();
  }
  client.close();
  await soon(scene.served);
  assertEquals(scene.takeLog().filter((line) => line !== "flush"), [
    "clunk 0",
    "clunk 1",
    "disconnect",
  ]);
  assertEquals(scene.errors, []);
});

/** A connection whose client sends and never reads. */
class Greedy implements Connection {
  readonly peer = "greedy";
  reads = 0;
  bytesRead = 0;
  bytesWritten = 0;
  readonly #first: Uint8Array;
  readonly #again: Uint8Array;
  #closed = Promise.withResolvers<null>();

  constructor(first: Uint8Array, again: Uint8Array) {
    this.#first = first;
    this.#again = again;
  }

  get readable(): ReadableStream<Uint8Array> {
    throw new TypeError("The fast path is there");
  }

  get writable(): WritableStream<Uint8Array> {
    throw new TypeError("The fast path is there");
  }

  async read(): Promise<Uint8Array | null> {
    if (this.reads++ > 2000) return await this.#closed.promise;
    const chunk = this.reads === 1 ? this.#first : this.#again.slice();
    this.bytesRead += chunk.length;
    return await Promise.race([Promise.resolve(chunk), this.#closed.promise]);
  }

  /** The first write ends only with the close. */
  write(data: Uint8Array): Promise<void> {
    this.bytesWritten += data.length;
    return this.#closed.promise.then(() => {
      throw new Error("closed");
    });
  }

  close(): void {
    this.#closed.resolve(null);
  }
}

for (const async of [false, true]) {
  const how = async ? "later" : "at once";
  test(`serve() does not go on for a client that never reads: answers ${how}`, async () => {
    const content = new Uint8Array(100_000);
    let answered = 0;
    const greedy = new Greedy(
      concat([
        encode(T.version(2 ** 20)),
        encode(T.attach(0, 0)),
        encode(T.walk(1, 0, 1, "f")),
        encode(T.open(2, 1)),
      ]),
      concat(
        Array.from({ length: 50 }, (_, i) => encode(T.read(i, 1, 0, 100_000))),
      ),
    );
    const fs = new MemoryFs({ f: content });
    const { handler } = fs;
    const served = serve(greedy, {
      attach: handler.attach.bind(handler),
      walk: handler.walk.bind(handler),
      open: handler.open.bind(handler),
      read: (): Uint8Array | Promise<Uint8Array> => {
        answered++;
        return async ? Promise.resolve(content) : content;
      },
    }, { onError: () => {} });
    for (let i = 0; i < 20; i++) await nextTask();
    const { reads } = greedy;
    for (let i = 0; i < 20; i++) await nextTask();
    assertEquals(greedy.reads, reads);
    // 0.5 MiB may wait, and the requests of one chunk.
    assertLess(reads, 8);
    assertLess(answered * content.length, 2 ** 24);
    greedy.close();
    await soon(served);
  });
}

for (const size of [10, 5_000, 60_000]) {
  test(`serve() lets handlers keep data of ${size} bytes until they answer`, async () => {
    const gates: Gate[] = [];
    const seen: Uint8Array[] = [];
    await using scene = await serveToy({
      write: async (_fid, { data }) => {
        const gate = new Gate();
        gates.push(gate);
        await gate.passed;
        seen.push(data.slice());
      },
    }, { clientMsize: 2 ** 20, msize: 2 ** 20 });
    const { client } = scene;
    await openA(scene);
    const count = 40;
    const data = Array.from(
      { length: count },
      (_, i) => new Uint8Array(size).fill(i + 1),
    );
    // Some in one write, some alone, with other frames between.
    client.send(...data.slice(0, 20).map((bytes, i) => T.write(i, 1, bytes)));
    for (let i = 20; i < count; i++) {
      client.send(T.write(i, 1, data[i]), T.stat(1000 + i, 0));
      await client.expect(`Rstat ${1000 + i} /`);
    }
    const noise = new Uint8Array(size).fill(0xee);
    for (let i = 0; i < 20; i++) {
      client.send(T.write(2000, 0, noise));
      await client.expect("Rerror 2000 bad use of fid");
    }
    assertEquals(gates.length, count);
    for (const gate of gates.reverse()) gate.open();
    for (let i = 0; i < count; i++) {
      assertEquals((await client.next()).type, "Rwrite");
    }
    seen.sort((a, b) => a[0] - b[0]);
    assertEquals(seen.length, count);
    for (let i = 0; i < count; i++) assertEquals(seen[i], data[i]);
  });
}

test("serve() lets a handler keep the data of a write that waited for its fid", async () => {
  const gate = new Gate();
  const seen: string[] = [];
  await using scene = await serveToy(() => ({
    wstat: () => gate.passed,
    write: async (_fid, { data }) => {
      await nextTask();
      seen.push(new TextDecoder().decode(data));
    },
    call: async (_fid, { data }) => {
      await nextTask();
      seen.push(new TextDecoder().decode(data));
      return data;
    },
  }));
  const { client } = scene;
  await openA(scene);
  client.send(T.wstat(1, 1), T.write(2, 1, "first"), T.call(3, 1, "", "third"));
  client.send(T.write(4, 1, "second"));
  await client.quiet();
  for (let i = 0; i < 50; i++) {
    await client.ask(T.walk(9, 0, 9, "n".repeat(100)), NOT_FOUND);
  }
  gate.open();
  await client.expectSome(
    "Rwstat 1",
    "Rwrite 2 5",
    "Rcall 3 0 third",
    "Rwrite 4 6",
  );
  assertEquals(seen.sort(), ["first", "second", "third"]);
});

const NOT_FOUND = "Rerror 9 file does not exist";

test("serve() gives data that came in pieces whole", async () => {
  const fs = new MemoryFs({ f: "" }, { mode: 0o777 });
  (fs.find("f") ?? fs.root).mode = 0o666;
  const [near, far] = pair();
  const client = new WireClient(near);
  const served = serve(far, fs);
  await client.start(8192);
  client.send(T.walk(1, 0, 1, "f"), T.open(2, 1, OWRITE));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  const data = Uint8Array.from({ length: 8000 }, (_, i) => i * 7);
  const frame = encode(T.write(3, 1, data));
  for (const cut of [1, 3, 4, 6, 7, 22, 23, 24, 4000, 8022]) {
    client.raw(frame.slice(0, cut));
    client.raw(frame.slice(cut));
    await client.expect("Rwrite 3 8000");
    assertEquals(fs.readFile("f"), data);
    fs.writeFile("f", "");
  }
  client.close();
  await soon(served);
});

test("serve() serves one client while another one blocks and does not read", async () => {
  const reads = new Reads();
  const fs = new MemoryFs({ f: new Uint8Array(50_000) });
  const ends = [pair(), pair()];
  const served = ends.map(([, far]) => serve(far, fs));
  const [first, second] = ends.map(([near]) => new WireClient(near));
  for (const client of [first, second]) await client.start(2 ** 20);
  first.send(T.walk(1, 0, 1, "f"), T.open(2, 1));
  first.send(
    ...Array.from({ length: 1000 }, (_, i) => T.read(10 + i, 1, 0, 50_000)),
  );
  for (let i = 0; i < 20; i++) {
    await second.ask(T.walk(1, 0, 1, "f"), "Rwalk 1 1");
    await second.ask(T.clunk(1, 1), "Rclunk 1");
  }
  assertEquals(reads.started, []);
  // A client that reads late gets all replies.
  await first.expect("Rwalk 1 1", "Ropen 2 1");
  for (let i = 0; i < 1000; i++) {
    const reply = await first.next();
    assert(reply.type === "Rread" && reply.data.length === 50_000);
  }
  first.close();
  second.close();
  await soon(Promise.all(served));
});

test("serve() sends many late replies with few writes", async () => {
  const gate = new Gate();
  let writes = 0;
  await using scene = await serveToy({
    read: async ({ node }) => {
      await gate.passed;
      return node.content;
    },
  }, { wrap: (connection) => onWrite(connection, () => writes++) });
  const { client } = scene;
  await openA(scene);
  client.send(...Array.from({ length: 500 }, (_, i) => T.read(i, 1)));
  await client.quiet();
  writes = 0;
  gate.open();
  for (let i = 0; i < 500; i++) await client.expect(`Rread ${i} alpha`);
  assertEquals(writes, 1);
});

/** Waits until the server has nothing left to do. */
async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await nextTask();
}

test("maxRequestBytes: a write that waited its turn and is answered at once counts no more", async () => {
  for (const error of [false, true]) {
    const gate = new Gate();
    await using scene = await serveToy((toy) => ({
      stat: async ({ node }) => {
        await gate.passed;
        return statOf(node);
      },
      write: () => {
        if (error) throw new NinePError("i/o error");
        toy.log.push("write");
      },
    }), { maxRequests: 1, waitingAfter: NEVER, maxRequestBytes: 10 });
    const { client } = scene;
    await openA(scene);
    client.send(T.stat(2, 0), T.write(3, 1, "more than ten bytes"));
    gate.open();
    await client.expect(
      "Rstat 2 /",
      error ? "Rerror 3 i/o error" : "Rwrite 3 19",
    );
    await client.ask(T.clunk(4, 1), "Rclunk 4");
  }
});

test("maxRequestBytes: many that waited their turn are answered at once, in order", async () => {
  const gate = new Gate();
  await using scene = await serveToy({ wstat: () => gate.passed }, {
    maxRequests: 1,
    waitingAfter: NEVER,
    maxRequestBytes: 10,
  });
  const { client } = scene;
  await openA(scene);
  const count = 500;
  client.send(
    T.wstat(1, 0),
    ...Array.from({ length: count }, (_, i) => T.write(10 + i, 1, "four")),
  );
  gate.open();
  await client.expect(
    "Rwstat 1",
    ...Array.from({ length: count }, (_, i) => `Rwrite ${10 + i} 4`),
  );
});

test("maxRequestBytes: data of a flushed call count until its handler has ended", async () => {
  const gate = new Gate();
  let calls = 0;
  await using scene = await serveToy(() => ({
    call: async (_fid, { data }) => {
      calls++;
      await gate.passed; // Deaf to the signal.
      return data;
    },
  }), { waitingAfter: NEVER, maxRequestBytes: 17 * TCALL + 10 });
  const { client } = scene;
  // The first 16 keep views of read buffers, the others copies.
  for (let i = 0; i < 17; i++) {
    client.send(T.call(1, 0, "", "six by"), T.flush(2, 1));
    await client.expect("Rflush 2");
  }
  client.send(T.call(3, 0, "", "six by"), T.flush(4, 3), T.call(5, 0));
  await settled();
  assertEquals(calls, 18);
  gate.open();
  const replies: string[] = [];
  while (replies.at(-1) !== "Rcall 5 0") {
    replies.push(brief(await client.next()));
  }
  assertEquals(calls, 19);
  // All memory is free again.
  for (let i = 0; i < 20; i++) {
    await client.ask(T.call(6, 0, "", "six by"), "Rcall 6 0 six by");
  }
});

test("maxRequestBytes: data of calls of an old session count until their handlers have ended", async () => {
  const gate = new Gate();
  let calls = 0;
  await using scene = await serveToy(() => ({
    call: async (_fid, { data }) => {
      calls++;
      await gate.passed;
      return data;
    },
  }), { waitingAfter: NEVER, maxRequestBytes: 17 * TCALL + 10 });
  const { client } = scene;
  for (let i = 0; i < 17; i++) client.send(T.call(i, 0, "", "six by"));
  await client.quiet();
  await client.start();
  client.send(T.call(3, 0, "", "six by"), T.call(5, 0));
  await settled();
  assertEquals(calls, 18);
  gate.open();
  await client.expect("Rcall 3 0 six by", "Rcall 5 0");
  for (let i = 0; i < 20; i++) {
    await client.ask(T.call(6, 0, "", "six by"), "Rcall 6 0 six by");
  }
});

test("Tflushes that wait delay nothing, even if they repeat a tag", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    write: () => gate.passed, // Deaf to the signal.
  }, { maxRequests: 4 });
  const { client } = scene;
  await openA(scene);
  client.send(
    T.write(9, 1, "x"),
    ...Array.from({ length: 2000 }, () => T.flush(7, 9)),
    T.stat(1, 0),
  );
  await client.expect("Rstat 1 /");
  gate.open();
  await client.expect("Rwrite 9 1", ...Array<string>(2000).fill("Rflush 7"));
});

test("a client that sends more Tflushes than there are tags is closed", async () => {
  const gate = new Gate();
  await using scene = await serveToy({ write: () => gate.passed });
  const { client } = scene;
  await openA(scene);
  client.send(T.write(9, 1, "x"));
  const flushes = Array.from({ length: 8192 }, () => T.flush(7, 9));
  for (let i = 0; i < 8; i++) client.send(...flushes);
  await client.end();
  gate.open();
  assertEquals(scene.takeErrors(), [
    'Connection to "pair" failed: more Tflushes wait than there are tags',
  ]);
});
