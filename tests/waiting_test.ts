// Requests that wait for an event. They use no limit that is meant for requests
// that work, and a later Tflush or Tversion is always read.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Client, connect } from "../client.ts";
import { NinePError } from "../codec.ts";
import { type CallContext, MemoryFs } from "../fs/mod.ts";
import { serve, type SessionOptions } from "../server.ts";
import { pair } from "../transport.ts";
import { test } from "./harness.ts";
import {
  BlockedConnection,
  Gate,
  NEVER,
  nextTask,
  openA,
  Reads,
  serveToy,
  untilAborted,
} from "./toy.ts";
import { bytes, soon, T } from "./wire_client.ts";

/** A client of a tree in this process, and the end of the server. */
async function serveTree(
  fs: MemoryFs,
  options: { msize?: number; maxInFlight?: number } = {},
  limits: SessionOptions = {},
): Promise<{ client: Client } & AsyncDisposable> {
  const [near, far] = pair();
  const served = serve(far, fs, limits);
  const client = await connect(near, { closeTimeout: 100, ...options });
  return {
    client,
    async [Symbol.asyncDispose]() {
      await client.close();
      await soon(served);
    },
  };
}

/**
 * A tree with a plain file, a file whose reads wait, and a function that waits.
 */
function makeTree(maxCalls: number): MemoryFs {
  const fs = new MemoryFs({ motd: "hello\n" }, { maxCalls });
  fs.define("event", { read: (_request, { signal }) => untilAborted(signal) });
  fs.register(
    "next",
    ({ signal }: CallContext) => untilAborted(signal),
    { context: true },
  );
  return fs;
}

for (const count of [1100, 20_000]) {
  test(`${count} reads that wait hold up no other request`, async () => {
    await using scene = await serveTree(makeTree(1));
    const { client } = scene;
    const file = await client.open("event");
    const abort = new AbortController();
    const options = { signal: abort.signal };
    const reads = Array.from(
      { length: count },
      () => file.readAt(new Uint8Array(100), 0, count < 2000 ? options : {}),
    );
    const ended = Promise.allSettled(reads);
    assertEquals((await soon(client.stat("motd"))).length, 6);
    assertEquals(await soon(client.readTextFile("motd")), "hello\n");
    abort.abort();
    if (count < 2000) await soon(ended);
    assertEquals((await soon(client.stat("motd"))).length, 6);
    await file.close();
    await soon(ended);
  });
}

for (const msize of [1024 * 1024 + 24, 65536, 8192]) {
  test(`calls that wait hold up no read, and are refused at their limit, msize ${msize}`, async () => {
    const maxCalls = 600;
    await using scene = await serveTree(makeTree(maxCalls), { msize });
    const { client } = scene;
    const fid = await client.fid("next");
    const abort = new AbortController();
    const calls = Array.from(
      { length: maxCalls },
      () => client.call(fid, { signal: abort.signal }),
    );
    const ended = Promise.allSettled(calls);
    assertEquals(await soon(client.readTextFile("motd")), "hello\n");
    await assertRejects(
      () => soon(client.call(fid)),
      NinePError,
      "Too many open files",
    );
    assertEquals(await soon(client.readTextFile("motd")), "hello\n");
    abort.abort();
    await soon(ended);
  });
}

test("a request that the client itself holds back is withdrawn by an abort", async () => {
  await using scene = await serveTree(makeTree(100), { maxInFlight: 2 });
  const { client } = scene;
  const file = await client.open("event");
  const first = new AbortController();
  const others = new AbortController();
  const read = ({ signal }: AbortController) =>
    file.readAt(new Uint8Array(1), 0, { signal });
  const sent = [read(first), read(first)];
  const held = Array.from({ length: 50 }, () => read(others));
  const ended = Promise.allSettled(held);
  const reason = new Error("given up");
  others.abort(reason);
  for (const result of await soon(ended)) {
    assert(result.status === "rejected" && result.reason === reason);
  }
  first.abort();
  await soon(Promise.allSettled(sent));
  assertEquals(await soon(client.readTextFile("motd")), "hello\n");
});

test("close() rejects requests that the client itself holds back", async () => {
  await using scene = await serveTree(makeTree(100), { maxInFlight: 1 });
  const { client } = scene;
  const fid = await client.fid("next");
  const calls = Array.from({ length: 50 }, () => client.call(fid));
  const ended = Promise.allSettled(calls);
  await client.close();
  const results = await soon(ended);
  assert(results.every(({ status }) => status === "rejected"));
});

test("a function that calls back over its own connection goes as deep as maxCalls, then gets an error", async () => {
  const maxCalls = 700;
  const fs = new MemoryFs({}, { maxCalls });
  const [near, far] = pair();
  const served = serve(far, fs);
  const client = await connect(near);
  let deepest = 0;
  fs.register("down", async ({ depth }: { depth: number }) => {
    deepest = Math.max(deepest, depth);
    return await client.call<number>("down", { kwarg: { depth: depth + 1 } });
  });
  await assertRejects(
    () => soon(client.call("down", { kwarg: { depth: 1 } })),
    NinePError,
    "Too many open files",
  );
  assertEquals(deepest, maxCalls);
  await client.close();
  await soon(served);
});

/** Answers a read with one letter for each byte. */
const letters = (offset: number, count: number) =>
  new Uint8Array(count).fill(97 + offset);

/** The answer to a read of 80 bytes. */
const answerOf = (offset: number) =>
  `Rread ${offset} ${String.fromCharCode(97 + offset).repeat(80)}`;

test("waitingAfter: no room is kept for the answer of a read that waits", async () => {
  const reads = new Reads(letters);
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { maxReplyBytes: 100, waitingAfter: 1 });
  const { client } = scene;
  await openA(scene, 4);
  client.send(T.read(1, 1, 1, 80), T.read(2, 2, 2, 80), T.read(3, 3, 3, 80));
  while (reads.asked.length < 3) await nextTask();
  assertEquals(reads.asked, [1, 2, 3]);
  for (const offset of [2, 1, 3]) {
    reads.answer(offset);
    await client.expect(answerOf(offset));
  }
});

test("waitingAfter: while requests are answered, others wait for their room", async () => {
  const reads = new Reads(letters);
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { maxReplyBytes: 100, waitingAfter: NEVER });
  const { client } = scene;
  await openA(scene, 3);
  client.send(T.read(1, 1, 1, 80), T.read(2, 2, 2, 80));
  await client.quiet();
  assertEquals(reads.asked, [1]);
  reads.answer(1);
  await client.expect(answerOf(1));
  await client.quiet();
  assertEquals(reads.asked, [2]);
  reads.answer(2);
  await client.expect(answerOf(2));
});

test("a late answer without room is an error while the client takes no replies", async () => {
  const reads = new Reads(letters);
  const blocked = new BlockedConnection();
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { maxReplyBytes: 100, waitingAfter: 1, wrap: blocked.wrap });
  const { client } = scene;
  await openA(scene, 3);
  client.send(T.read(1, 1, 1, 80), T.read(2, 2, 2, 80), T.read(3, 3, 3, 80));
  while (reads.asked.length < 3) await nextTask();
  blocked.block();
  reads.answer(1);
  await nextTask();
  reads.answer(2);
  await nextTask();
  blocked.unblock();
  await client.expect(answerOf(1), "Rerror 2 Cannot allocate memory");
  reads.answer(3);
  await client.expect(answerOf(3));
});

test("maxRequestBytes: while no request is answered, long ones are refused and all others read", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    write: ({ fid }) => fid === 1 ? gate.passed : undefined,
  }, { maxRequestBytes: 20, waitingAfter: 1 });
  const { client } = scene;
  await openA(scene, 2);
  const long = bytes("x".repeat(600));
  const refused = "Cannot allocate memory";
  client.send(T.write(1, 1, long), T.write(2, 1, long));
  await client.expect(`Rerror 2 ${refused}`);
  await client.ask(T.write(2, 2, long), `Rerror 2 ${refused}`);
  await client.ask(T.write(2, 2, "short"), "Rwrite 2 5");
  await client.ask(T.stat(2, 1), "Rstat 2 a");
  client.send(T.write(3, 1, "short"), T.flush(4, 3), T.clunk(5, 2));
  await client.expect("Rclunk 5");
  gate.open();
  await client.expectSome("Rwrite 1 600", "Rwrite 3 5", "Rflush 4");
  // There is memory again.
  await client.ask(T.write(2, 1, long), "Rwrite 2 600");
});

test("maxRequestBytes: a Tversion is read though nothing is answered", async () => {
  await using scene = await serveToy({
    write: (_fid, _request, { signal }) => untilAborted(signal),
  }, { maxRequestBytes: 20, waitingAfter: 1 });
  const { client } = scene;
  await openA(scene);
  client.send(T.write(1, 1, "more than twenty bytes"), T.write(2, 1, "x"));
  await client.start();
  await client.ask(T.stat(1, 0), "Rstat 1 /");
});
