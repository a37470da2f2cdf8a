// A client that floods the server must not delay other clients.

import { assert } from "@std/assert";
import { concat } from "@std/bytes";
import { encode, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { listen, serve } from "../../server.ts";
import { type Connection, dial } from "../../transport.ts";
import { test } from "../harness.ts";
import { Gate, nextTask, serveToy, statOf } from "./toy.ts";
import { soon, T, WireClient } from "./wire_client.ts";

/** A client that always has sent more bytes, and takes all replies at once. */
class Flood implements Connection {
  readonly peer = "flood";
  /** True while a read waits: all sent bytes are processed then. */
  idle = false;
  readonly #chunks: Iterator<Uint8Array>;
  readonly #closed = Promise.withResolvers<null>();
  #isClosed = false;

  constructor(chunks: Iterator<Uint8Array>) {
    this.#chunks = chunks;
  }

  get readable(): ReadableStream<Uint8Array> {
    throw new TypeError("The fast path is there");
  }

  get writable(): WritableStream<Uint8Array> {
    throw new TypeError("The fast path is there");
  }

  read(): Promise<Uint8Array | null> {
    if (this.#isClosed) return Promise.resolve(null);
    const { value, done } = this.#chunks.next();
    if (!done) return Promise.resolve(value);
    this.idle = true;
    return this.#closed.promise;
  }

  write(_bytes: Uint8Array): undefined {}

  close(): void {
    this.#isClosed = true;
    this.#closed.resolve(null);
  }
}

const hello = concat([
  encode(T.version(2 ** 20)),
  encode(T.attach(1, 0)),
  encode(T.walk(1, 0, 1, "add")),
]);

function repeated(message: Tmessage, count: number): Uint8Array {
  const frame = encode(message);
  const bytes = new Uint8Array(frame.length * count);
  for (let i = 0; i < count; i++) bytes.set(frame, i * frame.length);
  return bytes;
}

const json = `{"kwarg":{"a":[${"{},".repeat(21_000)}{}]}}`;

const kinds = [
  { name: "bad requests", message: T.stat(1, 9), size: 2 ** 24 },
  { name: "requests", message: T.stat(1, 0), size: 2 ** 24 },
  {
    name: "calls with 64 KiB of JSON",
    message: T.call(1, 1, json),
    size: 2 ** 26,
  },
];

/**
 * Checks that a client with a socket is answered ten times while the flood goes
 * on.
 */
async function assertServed(flood: Flood): Promise<void> {
  const fs = new MemoryFs();
  fs.register("add", ({ a }: { a: unknown[] }) => a.length);
  const stop = new AbortController();
  await using server = await listen("tcp://127.0.0.1:0", fs);
  using client = new WireClient(await dial(server.addr));
  await client.start();
  const served = serve(flood, fs, { signal: stop.signal });
  for (let i = 0; i < 10; i++) {
    await client.ask(T.stat(1, 0), "Rstat 1 /");
    assert(!flood.idle, "the flood was over before");
  }
  stop.abort();
  await soon(served);
}

for (const { name, message, size } of kinds) {
  const { length } = encode(message);

  test(`a client that always sends more ${name} delays no other client`, async () => {
    const part = repeated(message, Math.ceil(2 ** 18 / length));
    // The flood has an end, so that the test ends even if other clients have to
    // wait.
    const parts = Array.from({ length: 8 * size / 2 ** 18 }, () => part);
    await assertServed(new Flood([hello, ...parts].values()));
  });

  test(`a client whose ${name} come in one large chunk delays no other client`, async () => {
    const chunk = repeated(message, Math.ceil(size / length));
    await assertServed(new Flood([hello, chunk].values()));
  });
}

test("many requests that waited for one fid, and begin together, delay no other client", async () => {
  const gate = new Gate();
  const count = 2000;
  let begun = 0;
  await using scene = await serveToy((toy) => ({
    wstat: () => gate.passed,
    stat: () => {
      begun++;
      const until = performance.now() + 0.1;
      while (performance.now() < until);
      return statOf(toy.a);
    },
  }));
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.wstat(3000, 1));
  await client.expect("Rwalk 1 1");
  const tags = Array.from({ length: count }, (_, i) => i);
  client.send(...tags.map((tag) => T.stat(tag, 1)), T.clunk(3001, 1));
  await client.quiet();
  gate.open();
  await gate.passed;
  await nextTask();
  assert(begun > 0 && begun < count, `${begun} begun in one turn`);
  await client.expect(
    "Rwstat 3000",
    ...tags.map((tag) => `Rstat ${tag} a`),
    "Rclunk 3001",
  );
});
