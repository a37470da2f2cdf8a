// One abort signal for many calls of a client.
import { assertEquals, assertStrictEquals } from "@std/assert";
import { test } from "../harness.ts";
import { Exchange, failure } from "./reconnecting.ts";
import { start } from "./scripted.ts";
import { connect, type ConnectOptions } from "../../client.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { Gate } from "../server/toy.ts";
import { soon } from "../server/wire_client.ts";

const reason = new Error("the caller gave up");

/** A signal that counts its listeners. */
function countedSignal(): {
  controller: AbortController;
  signal: AbortSignal;
  listeners: Set<unknown>;
  most: () => number;
} {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = new Set<unknown>();
  let most = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (
    ...args: Parameters<AbortSignal["addEventListener"]>
  ) => {
    listeners.add(args[1]);
    most = Math.max(most, listeners.size);
    add(...args);
  };
  signal.removeEventListener = (
    ...args: Parameters<AbortSignal["removeEventListener"]>
  ) => {
    listeners.delete(args[1]);
    remove(...args);
  };
  return { controller, signal, listeners, most: () => most };
}

/** A client of a tree with one file. */
function clientOf(options: ConnectOptions) {
  const [near, far] = pair();
  void serve(far, new MemoryFs({ f: "hello" }, { mode: 0o777 }));
  return connect(near, options);
}

for (
  const [name, options] of [
    ["a client", {}],
    ["a client that connects again", {
      reconnect: { dial: new Exchange().dial },
    }],
  ] as const
) {
  test(`one signal for many calls has one listener of ${name}`, async () => {
    await using client = await clientOf(options);
    const { signal, listeners, most } = countedSignal();
    const texts = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        client.readTextFile("f", {
          signal,
          timeout: i % 2 ? 600_000 : undefined,
        })),
    );
    assertEquals(texts, new Array(300).fill("hello"));
    await client.writeFile("g", new Uint8Array(300_000), { signal });
    await using file = await client.open("g", { signal });
    await file.read(new Uint8Array(10), { signal });
    await client.protocol.withFid("f", (fid) => client.stat(fid, { signal }), {
      signal,
    });
    assertEquals([most(), listeners.size], [1, 0]);
  });
}

test("two clients with one signal have a listener each", async () => {
  await using one = await clientOf({});
  await using other = await clientOf({});
  const { signal, listeners, most } = countedSignal();
  await Promise.all([one, other].flatMap((client) => [
    client.stat("f", { signal }),
    client.readTextFile("f", { signal }),
  ]));
  assertEquals([most(), listeners.size], [2, 0]);
});

test("an abort reaches every call with its signal, and no other", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { controller, signal, listeners } = countedSignal();
  const stats = Array.from(
    { length: 20 },
    () => failure(client.stat(0, { signal })),
  );
  const other = client.stat(0);
  const asked = [];
  for (let i = 0; i < 21; i++) asked.push(await server.expect("Tstat"));
  controller.abort(reason);
  for (const error of await Promise.all(stats)) {
    assertStrictEquals(error, reason);
  }
  const flushed = [];
  for (let i = 0; i < 20; i++) {
    const flush = await server.exchange("Tflush", {}, { type: "Rflush" });
    flushed.push(flush.oldtag);
  }
  assertEquals(flushed, asked.slice(0, 20).map(({ tag }) => tag));
  server.refuse(asked[20]);
  assertEquals(String(await failure(other)).includes("no"), true);
  assertEquals(listeners.size <= 1, true); // The one that has been called.
});

test("an abort gives up a request once, and never another one that has its tag", async () => {
  const gate = new Gate();
  const fs = new MemoryFs({ f: "hello" }, { mode: 0o777 });
  fs.define("event", {
    read: async () => {
      await gate.passed;
      return new Uint8Array(1);
    },
  });
  const [near, far] = pair();
  const flushed: unknown[] = [];
  void serve(far, fs, {
    onMessage: ({ message }) => {
      if (message?.type === "Tflush") flushed.push(message.oldtag);
    },
  });
  await using client = await connect(near, { maxInFlight: 2 });
  await using event = await client.open("event");
  const { controller, signal } = countedSignal();
  let others: Promise<unknown> | undefined;
  const lent = client.withFile("f", async (file) => {
    const read = () => event.readAt(new Uint8Array(1), 0);
    others = Promise.all([read(), read()]);
    // This request waits, because two are in flight. The abort reaches it
    // twice: by its own signal, and by the signal of withFile(), which ends all
    // reads of the file.
    const own = file.read(new Uint8Array(1), { signal });
    queueMicrotask(() => controller.abort(reason));
    await own;
  }, { signal });
  assertStrictEquals(await failure(lent), reason);
  gate.open();
  assertEquals(await soon(Promise.resolve(others)), [1, 1]);
  await client.stat("f"); // The stat comes after all messages of the abort.
  assertEquals(flushed, []);
});
