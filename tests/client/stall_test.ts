// Transfers without progress, and replies to aborted requests. A test lets time
// pass explicitly.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Clock } from "../clock.ts";
import { test } from "../harness.ts";
import {
  assertTimeout,
  defaultReply,
  failure,
  openFile,
  qid,
  type Reply,
  type Scene,
  sent,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import type { Client, TransferOptions } from "../../client.ts";
import type { Tmessage } from "../../codec.ts";

const IOUNIT = 100;

async function opened(scene: Scene, newfid = 1): Promise<void> {
  await walkTo(scene, newfid);
  const reply = { type: "Ropen", qid: qid(1), iounit: IOUNIT } as const;
  await scene.server.exchange("Topen", {}, reply);
}

/**
 * Waits until the client has taken all sent replies. Requests that come
 * meanwhile get no answer.
 */
async function caughtUp({ client, server }: Scene): Promise<void> {
  const stating = client.stat(1000, { timeout: Infinity });
  let request = await server.next();
  while (request && !(request.type === "Tstat" && request.fid === 1000)) {
    request = await server.next();
  }
  assert(request);
  server.answer(request, { type: "Rstat", stat: stat("/") });
  await stating;
}

/** The delay of the only timer. */
function delayOf(clock: Clock): number {
  const delays = [...clock.timers.keys()];
  assertEquals(delays.length, 1);
  return delays[0]!;
}

test("stall: a transfer that moves goes on, whatever the timeout of connect()", async () => {
  using clock = new Clock();
  await using scene = await start({ timeout: 5 });
  const { client, server } = scene;
  const reading = client.readFile("f", { stall: 10 });
  await opened(scene);
  let read = await server.expect("Tread");
  for (let at = 10; at < 100; at += 10) {
    clock.pass(delayOf(clock) - 1);
    server.answer(read, { type: "Rread", data: new Uint8Array(10) });
    read = await server.expect("Tread", { offset: BigInt(at) });
    clock.expire(delayOf(clock)); // 1 ms after the reply.
  }
  server.answer(read, { type: "Rread", data: new Uint8Array(0) });
  assertEquals((await reading).length, 90);
  assertEquals(clock.timers.size, 0);
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
});

const bytes = new Uint8Array(300);

/** Transfers, and the type of the request that the server does not answer. */
const TRANSFERS: [
  string,
  (client: Client, options: TransferOptions) => Promise<unknown>,
  Tmessage["type"],
][] = [
  ["read", (client, options) => client.readFile("f", options), "Tread"],
  ["read", (client, options) => client.readTextFile("f", options), "Topen"],
  [
    "write",
    (client, options) => client.writeFile("f", bytes, options),
    "Twrite",
  ],
  [
    "write",
    (client, options) => client.writeFile("f", [bytes], options),
    "Twrite",
  ],
  [
    "write",
    (client, options) => client.writeTextFile("f", "x", options),
    "Tclunk",
  ],
  ["copy", (client, options) => client.copy("f", "g", options), "Tread"],
];

for (const [index, [what, transfer, type]] of TRANSFERS.entries()) {
  test(`stall: transfer ${index}, a ${what}, ends when its ${type} is not answered`, async () => {
    using clock = new Clock();
    await using scene = await start({ closeTimeout: 0 });
    scene.mayLeak = true;
    const silent = Promise.withResolvers<void>();
    const { server } = scene;
    const running = (async () => {
      while (true) {
        const request = await server.next();
        if (request === null) return;
        if (request.type === type) silent.resolve();
        else server.answer(request, answerTo(request));
      }
    })();
    const failing = failure(transfer(scene.client, { stall: 10 }));
    await silent.promise;
    clock.expire(10);
    const to = what === "copy" ? ' to "g"' : "";
    assertTimeout(
      await failing,
      `Cannot ${what} "f"${to}: no progress within 10 ms`,
    );
    assertEquals(clock.timers.size, 0);
    server.close();
    await running;
  });
}

function answerTo(request: Tmessage): Reply {
  if (request.type === "Tread") {
    return { type: "Rread", data: new Uint8Array(0) };
  }
  if (request.type === "Tstat") return { type: "Rstat", stat: stat("f", 300) };
  const reply = defaultReply(request);
  assert(reply, request.type);
  return reply;
}

test("stall: the time in which a source gives nothing does not count", async () => {
  using clock = new Clock();
  await using scene = await start();
  const asked = Promise.withResolvers<void>();
  const given = Promise.withResolvers<void>();
  async function* source() {
    yield "a";
    asked.resolve();
    await given.promise;
    yield "b";
  }
  const writing = scene.client.writeFile("f", source(), { stall: 10 });
  await opened(scene);
  const { server } = scene;
  const first = await server.expect("Twrite");
  server.answer(first, { type: "Rwrite", count: 1 });
  await asked.promise;
  for (let i = 0; i < 3; i++) clock.expire(10);
  clock.pass(1);
  given.resolve();
  await server.exchange("Tstat", { fid: 1 }, {
    type: "Rstat",
    stat: stat("f", 1),
  });
  const second = await server.expect("Twrite");
  clock.expire(10); // The limit counts from the last data of the source.
  const failing = failure(writing);
  clock.expire(delayOf(clock));
  assertTimeout(await failing, 'Cannot write "f": no progress within 10 ms');
  await server.exchange("Tflush", { oldtag: second.tag }, { type: "Rflush" });
});

test("stall: a timeout beside it holds for the whole transfer", async () => {
  using clock = new Clock();
  await using scene = await start();
  const { client, server } = scene;
  const reading = failure(client.readFile("f", { stall: 10, timeout: 15 }));
  await opened(scene);
  const first = await server.expect("Tread");
  clock.pass(9);
  server.answer(first, { type: "Rread", data: new Uint8Array(10) });
  await server.expect("Tread");
  clock.expire(15);
  assertTimeout(await reading, 'Cannot read "f": no answer within 15 ms');
  assertEquals(clock.timers.size, 0);
  scene.run(() => undefined);
});

test("stall: the caller's signal ends the transfer with its reason", async () => {
  using clock = new Clock();
  await using scene = await start();
  const controller = new AbortController();
  const { signal } = controller;
  const reading = failure(
    scene.client.readFile("f", { stall: 10, signal }),
  );
  await opened(scene);
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await reading, reason);
  assertEquals(clock.timers.size, 0);
  scene.run(() => undefined);
});

test("stall: writeAll() of an open file, also while it waits for its turn", async () => {
  using clock = new Clock();
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene, { iounit: IOUNIT });
  const writing = file.writeAll(bytes, { stall: 10 });
  let write = await server.expect("Twrite");
  for (const offset of [100n, 200n]) {
    clock.pass(delayOf(clock) - 1);
    server.answer(write, { type: "Rwrite", count: IOUNIT });
    write = await server.expect("Twrite", { offset });
    clock.expire(delayOf(clock));
  }
  server.answer(write, { type: "Rwrite", count: IOUNIT });
  await writing;
  assertEquals([file.position, clock.timers.size], [300, 0]);
  scene.run(() => undefined);
  await file.close();
});

test("stall must be above 0; nothing is sent otherwise", async () => {
  await using scene = await start();
  for (const stall of [0, -1, NaN, -Infinity, 2 ** 31]) {
    for (const [what, transfer] of TRANSFERS) {
      const error = await assertRejects(
        () => transfer(scene.client, { stall }),
        RangeError,
        `Cannot ${what} "f"`,
      );
      assert(error.message.includes(`stall is ${stall}, the range is `));
    }
  }
  assertEquals(sent(scene), []);
});

/**
 * Aborts a transfer with eight requests in flight, and returns their Tflushes.
 */
async function aborted(
  scene: Scene,
  type: "Tread" | "Twrite",
): Promise<{ requests: Tmessage[]; flushes: Tmessage[] }> {
  const { client, server } = scene;
  const controller = new AbortController();
  const { signal } = controller;
  const options = { signal, timeout: Infinity };
  const transfer = failure(
    type === "Tread"
      ? client.readFile("f", options)
      : client.writeFile("f", new Uint8Array(5000), options),
  );
  await opened(scene);
  const first = await server.expect(type);
  server.answer(first, replyTo(first));
  await server.exchange("Tstat", {}, { type: "Rstat", stat: stat("f", 5000) });
  const requests: Tmessage[] = [];
  for (let i = 0; i < 8; i++) requests.push(await server.expect(type));
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await transfer, reason);
  const flushes: Tmessage[] = [];
  for (let i = 0; i < 8; i++) flushes.push(await server.expect("Tflush"));
  return { requests, flushes };
}

/** Answers an aborted read or write. */
function replyTo(request: Tmessage): Reply {
  return request.type === "Twrite"
    ? { type: "Rwrite", count: request.data.length }
    : { type: "Rread", data: new Uint8Array(IOUNIT) };
}

for (const type of ["Tread", "Twrite"] as const) {
  test(`timeout: late replies to an aborted transfer do not count for the next call, each a ${type}`, async () => {
    using clock = new Clock();
    await using scene = await start({ timeout: 100 });
    const { client, server } = scene;
    const { requests, flushes } = await aborted(scene, type);
    const stating = client.stat(0);
    const look = await server.expect("Tstat", { fid: 0 });
    for (let i = 0; i < 8; i++) {
      clock.pass(delayOf(clock) - 1);
      // Some requests are answered before their Tflush arrives; then both have
      // an answer.
      const request = requests[i]!;
      if (i % 2 === 0) server.answer(request, replyTo(request));
      server.answer(flushes[i]!, { type: "Rflush" });
      await caughtUp(scene);
      clock.expire(delayOf(clock)); // 1 ms later.
      assertEquals(delayOf(clock), 99);
    }
    server.answer(look, { type: "Rstat", stat: stat("/") });
    assertEquals((await stating).name, "/");
    scene.run(() => undefined);
  });
}

test("timeout: a request that was aborted later, or a Tflush without an answer, does not extend the time of a call", async () => {
  using clock = new Clock();
  await using scene = await start({ timeout: 100, closeTimeout: 0 });
  scene.mayLeak = true;
  const { client, server } = scene;
  const early = failure(client.stat(0));
  await server.expect("Tstat");
  const { flushes } = await aborted(scene, "Tread");
  clock.pass(99);
  server.answer(flushes[0]!, { type: "Rflush" });
  await caughtUp(scene);
  clock.expire(100);
  assertTimeout(await early, "Cannot stat fid 0: no answer within 100 ms");
  const late = failure(client.stat(0));
  // Only replies to the aborted reads count.
  clock.pass(99);
  await caughtUp(scene);
  clock.expire(100);
  assertTimeout(await late, "Cannot stat fid 0: no answer within 100 ms");
  server.close();
});

test("timeout: after its answer, a server that refuses Tflush delays nothing", async () => {
  using clock = new Clock();
  await using scene = await start({ timeout: 100 });
  const { client, server } = scene;
  const { requests: reads, flushes } = await aborted(scene, "Tread");
  for (const flush of flushes) server.refuse(flush, "Operation not supported");
  for (const read of reads) {
    server.answer(read, { type: "Rread", data: new Uint8Array(1) });
  }
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await caughtUp(scene); // The Tclunk comes before.
  const stating = failure(client.stat(0));
  await server.expect("Tstat");
  clock.expire(100);
  assertTimeout(await stating, "Cannot stat fid 0: no answer within 100 ms");
  scene.run(() => undefined);
});
