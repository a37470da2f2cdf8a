// The defaults of a server, and bounds that are refused: semantics.md 11.
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { concat } from "@std/bytes";
import { encode, NOTAG, ORDWR } from "../../codec.ts";
import { serve } from "../../server.ts";
import { type Connection, pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { Gate, NEVER, nextTask, serveToy, Toy } from "./toy.ts";
import { soon, T, WireClient } from "./wire_client.ts";

/** A clock that a test controls. pass() runs the timers of some delays. */
class Clock implements Disposable {
  readonly #real = globalThis.setTimeout;
  readonly #delay: number;
  readonly #callbacks: (() => void)[] = [];

  /** @param delay Milliseconds of the timers that the clock controls. */
  constructor(delay: number) {
    this.#delay = delay;
    const set = (callback: () => void, delay?: number) => {
      if (delay !== this.#delay) return this.#real(callback, delay);
      this.#callbacks.push(callback);
      return 0;
    };
    // The object has the members that a server uses.
    globalThis.setTimeout = set as unknown as typeof setTimeout;
  }

  /** Runs all timers, and returns their number. */
  pass(): number {
    const callbacks = this.#callbacks.splice(0);
    for (const callback of callbacks) callback();
    return callbacks.length;
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#real;
  }
}

/** A connection whose client is a script: the chunks that it sends, then nothing. */
class Script implements Connection {
  readonly peer = "script";
  /** Number of chunks that the server has read. */
  reads = 0;
  /** The written buffers, as they were passed. */
  readonly written: Uint8Array[] = [];
  readonly #chunks: Iterator<Uint8Array | Promise<Uint8Array>>;
  readonly #closed = Promise.withResolvers<null>();

  constructor(chunks: Iterable<Uint8Array | Promise<Uint8Array>>) {
    this.#chunks = chunks[Symbol.iterator]();
  }

  get readable(): ReadableStream<Uint8Array> {
    throw new TypeError("The fast path is there");
  }

  get writable(): WritableStream<Uint8Array> {
    throw new TypeError("The fast path is there");
  }

  async read(): Promise<Uint8Array | null> {
    const { done, value } = this.#chunks.next();
    if (done) return this.#closed.promise;
    this.reads++;
    return await value;
  }

  write(data: Uint8Array): undefined {
    this.written.push(data);
  }

  close(): void {
    this.#closed.resolve(null);
  }
}

/**
 * Frames of a Tversion and a Tattach, and of the walk and open of fid 1 at `a`.
 */
const BEGINNING = concat([
  T.version(2 ** 20),
  T.attach(1, 0),
  T.walk(1, 0, 1, "a"),
  T.open(1, 1, ORDWR),
].map((message) => encode(message)));

test("maxFids is 65536 by default", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  const batch = 1024;
  for (let fid = 1; fid < 65536; fid += batch) {
    const count = Math.min(batch, 65536 - fid);
    client.send(
      ...Array.from({ length: count }, (_, i) => T.walk(i, 0, fid + i)),
    );
    for (let i = 0; i < count; i++) await client.expect(`Rwalk ${i}`);
  }
  await client.ask(T.walk(1, 0, 65536), "Rerror 1 Too many open files");
  await client.ask(T.clunk(1, 65535), "Rclunk 1");
  await client.ask(T.walk(1, 0, 65536), "Rwalk 1");
});

test("versionTimeout is 30 s by default", async () => {
  using clock = new Clock(30_000);
  const [near, far] = pair();
  const served = serve(far, new Toy().handler);
  using client = new WireClient(near);
  assertEquals(clock.pass(), 1);
  await client.end();
  await soon(served);
});

test("versionTimeout holds for the time after a Tversion that ends the session and starts none", async () => {
  const unknown = T.version(8192, "8P");
  await using scene = await serveToy();
  const { client } = scene;
  using clock = new Clock(30_000);
  await client.ask(unknown, `Rversion ${NOTAG} 8192 unknown`);
  await client.ask(unknown, `Rversion ${NOTAG} 8192 unknown`); // The timeout is not extended.
  assertEquals(clock.pass(), 1);
  await client.end();
  await soon(scene.served);
});

test("closeTimeout is 1 s by default", async () => {
  using clock = new Clock(1000);
  const stop = new AbortController();
  await using scene = await serveToy({
    write: () => new Promise<void>(() => {}), // Ignores the signal.
  }, { signal: stop.signal });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1, 1), T.write(3, 1, "x"));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  let ended = false;
  scene.served.then(() => ended = true);
  stop.abort();
  for (let i = 0; i < 10; i++) await nextTask();
  assertEquals(ended, false);
  assertEquals(clock.pass(), 1); // The write is aborted…
  await client.end();
  assertEquals(ended, false);
  assert(clock.pass() > 0); // …and the server does not wait for it any more.
  await soon(scene.served);
});

test("serve() gives a client 1 s for the last replies", async () => {
  using clock = new Clock(1000);
  const stop = new AbortController();
  const content = new Uint8Array(8000);
  await using scene = await serveToy({ read: () => content }, {
    signal: stop.signal,
    closeTimeout: 5,
  });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  client.send(...Array.from({ length: 200 }, (_, i) => T.read(i, 1, 0, 8000)));
  for (let i = 0; i < 10; i++) await nextTask();
  stop.abort();
  let ended = false;
  scene.served.then(() => ended = true);
  for (let i = 0; i < 10; i++) await nextTask();
  assertEquals(ended, false);
  assertEquals(clock.pass(), 1);
  await soon(scene.served);
});

test("serve() lets 16 writes keep its read buffers; data of further ones are copies", async () => {
  const gate = new Gate();
  const kept: Uint8Array[] = [];
  await using scene = await serveToy({
    write: (_fid, { data }) => {
      kept.push(data);
      return gate.passed;
    },
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, ORDWR), "Ropen 1 1");
  for (let i = 0; i < 20; i++) {
    client.send(T.write(i, 1, `data ${i}`));
    await client.quiet();
  }
  const isCopy = kept.map(({ buffer, length }) => buffer.byteLength === length);
  assertEquals(isCopy, [
    ...Array<boolean>(16).fill(false),
    ...Array<boolean>(4).fill(true),
  ]);
  const texts = kept.map((data) => new TextDecoder().decode(data));
  assertEquals(texts, kept.map((_, i) => `data ${i}`));
  gate.open();
  for (let i = 0; i < 20; i++) {
    assertEquals((await client.next()).type, "Rwrite");
  }
});

for (const [size, most] of [[1, 32], [8192, 33]]) {
  test(`serve() reads no more than ${most} chunks of ${size} bytes ahead`, async () => {
    const gate = new Gate();
    const { handler } = new Toy();
    const stat = encode(T.stat(9, 0));
    const script = new Script((function* () {
      yield BEGINNING;
      // The requests exceed the limit, and the session waits for them.
      yield encode(T.read(1, 1));
      const further = concat(Array(size * 50).fill(stat));
      for (let at = 0; at < further.length; at += size) {
        yield further.subarray(at, at + size);
      }
    })());
    const served = serve(script, {
      ...handler,
      read: () => gate.passed.then(() => new Uint8Array(0)),
    }, { maxRequestBytes: 10, waitingAfter: NEVER, onError: () => {} });
    for (let i = 0; i < 30; i++) await nextTask();
    assertLessOrEqual(script.reads, 2 + most);
    assert(script.reads > 2 + most - 2);
    script.close();
    gate.open();
    await soon(served);
  });
}

for (const [count, isKept] of [[1, true], [3, false]] as const) {
  test(`serve() ${isKept ? "writes" : "does not write"} from a buffer of ${count} MB again`, async () => {
    const { handler } = new Toy();
    const gate = new Gate();
    const reads = Array.from({ length: count }, (_, i) => T.read(i, 1, 0, 1e6));
    const stat = encode(T.stat(9, 0));
    const script = new Script([
      BEGINNING,
      concat(reads.map((message) => encode(message))),
      gate.passed.then(nextTask).then(() => stat), // After the answers.
      stat,
      stat,
    ]);
    const served = serve(script, {
      ...handler,
      read: () => gate.passed.then(() => new Uint8Array(1e6)),
    });
    gate.open();
    for (let i = 0; i < 5; i++) await nextTask();
    const [large, ...after] = script.written.slice(1);
    assert(large.length > count * 1e6);
    assertEquals(after.length, 3);
    assertEquals(after.some(({ buffer }) => buffer === large.buffer), isKept);
    script.close();
    await soon(served);
  });
}
