// Operations leave nothing behind at either end of a lasting connection. If an
// operation kept one object, each round would cost more bytes than the limit.
import { assert } from "@std/assert";
import { type Client, connect } from "../../client.ts";
import { NinePError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { listen, serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { settledMemory } from "../live_memory.ts";

/** Rounds of a window, at whose end memory is looked at. */
const ROUNDS = 500;
/** Windows until code is compiled and buffers have their size. */
const WARM_UP = 8;
const WINDOWS = 4;
/** Bytes that a round may leave behind: less than an object and its place. */
const MOST = 48;

const encoder = new TextEncoder();

/** A tree with something of each kind. */
function makeTree(): MemoryFs {
  const fs = new MemoryFs({ dir: { a: "x", b: "y" } }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  fs.register(
    "never",
    ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
    { context: true },
  );
  fs.define("now", { content: () => "now\n" });
  return fs;
}

/** One of everything. */
async function everything(client: Client, signal: AbortSignal): Promise<void> {
  await client.writeTextFile("f", "some text", { signal });
  await client.readTextFile("f", { signal });
  await client.rename("f", "g", { signal });
  await client.stat("g", { signal });
  await client.truncate("g", 3, { signal });
  await client.remove("g", { signal });
  for await (const { name } of client.readDir("dir", { signal })) {
    await client.readTextFile(`dir/${name}`, { signal });
  }
  await client.readTextFile("now", { signal });
  await client.call("add", { argv: [1, 2], signal });
  await refused(client.stat("none", { signal }));
  await refused(client.call("add", { argv: [1, 2, 3], signal }));
  const file = await client.open("add", { read: true, write: true, signal });
  await file.writeAll(encoder.encode('{"a": 1, "b": 2}'), { signal });
  await file.seek(0, "start");
  await file.read(new Uint8Array(16), { signal });
  await file.close();
  await client.writeFile("f", ["a", "b"], { signal });
  await client.withFile("f", (file) => file.writeAll("c"), { write: true });
  const unfinished = await client.open("f", { write: true, signal });
  await unfinished.writable.getWriter().write("d");
  await unfinished.close();
  await client.remove("f", { signal });
  const abort = new AbortController();
  const call = client.call("never", { signal: abort.signal });
  queueMicrotask(() => abort.abort());
  await call.catch(() => {});
}

async function refused(call: Promise<unknown>): Promise<void> {
  const error = await call.catch((error) => error);
  assert(error instanceof NinePError, String(error));
}

/** Does it over and over, and fails when each time something is left. */
async function assertNoneLeft(round: () => Promise<unknown>): Promise<void> {
  const left: number[] = [];
  let last = 0;
  for (let window = 0; window < WARM_UP + WINDOWS; window++) {
    for (let i = 0; i < ROUNDS; i++) await round();
    const { live } = await settledMemory();
    if (window >= WARM_UP) left.push(Math.round((live - last) / ROUNDS));
    last = live;
  }
  left.sort((a, b) => a - b);
  const mean = left.reduce((sum, bytes) => sum + bytes) / WINDOWS;
  const text = `a round leaves ${left.join(", ")} bytes`;
  console.log(`leak: ${text}`);
  // Code that is compiled, or dropped, costs a window or two.
  assert(left[1] < MOST, text);
  // An array that holds one more each time grows by leaps.
  assert(mean < 2 * MOST, text);
}

test("leak: operations of every kind leave nothing behind", async () => {
  const [near, far] = pair();
  const served = serve(far, makeTree());
  const client = await connect(near);
  const { signal } = new AbortController(); // It outlives all of them.
  await assertNoneLeft(() => everything(client, signal));
  await client.close();
  await served;
});

test("leak: messages over TCP leave nothing behind", async () => {
  await using server = await listen("tcp://127.0.0.1:0", makeTree());
  const client = await connect(server.addr);
  const paths = Array.from({ length: 20 }, (_, i) => `dir/${"ab"[i % 2]}`);
  await assertNoneLeft(() =>
    Promise.all(paths.map((path) => client.stat(path)))
  );
  await client.close();
});

test("leak: connections leave nothing behind", async () => {
  await using server = await listen("tcp://127.0.0.1:0", makeTree());
  await assertNoneLeft(async () => {
    const client = await connect(server.addr);
    await client.readTextFile("now");
    await client.close();
  });
});

test("leak: requests that are given up while there is no connection leave nothing behind", async () => {
  const [near, far] = pair();
  const served = serve(far, makeTree());
  const dial = () => new Promise<never>(() => {});
  const reconnect = { dial, minDelay: 0, maxDelay: 0 };
  const client = await connect(near, { reconnect });
  far.close();
  await served;
  await assertNoneLeft(async () => {
    const abort = new AbortController();
    const stat = client.stat("f", { signal: abort.signal });
    abort.abort();
    await stat.catch(() => {});
  });
  await client.close();
});
