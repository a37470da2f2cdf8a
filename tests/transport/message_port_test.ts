// P-05: ports and workers: what a connection over messages must survive.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Client,
  connect,
  fromPort,
  MemoryFs,
  ProtocolError,
  serve,
} from "../../mod.ts";
import { isNode, test } from "../harness.ts";
import type { Task } from "./worker.ts";

function tree(): MemoryFs {
  return new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
}

/** A worker of the web, or of `node:worker_threads` under Node. */
type AnyWorker = Pick<Worker, "postMessage" | "terminate">;

async function startWorker(): Promise<AnyWorker> {
  const url = new URL("./worker.ts", import.meta.url);
  if (!isNode) return new Worker(url, { type: "module" });
  const { Worker: NodeWorker } = await import("node:worker_threads");
  // A cast is needed, because its types differ in what can be transferred.
  return new NodeWorker(url) as unknown as AnyWorker;
}

/** Runs `use` with a worker that does a task. */
async function withWorker(
  task: Task,
  use: (worker: AnyWorker) => Promise<void>,
  transfer: Transferable[] = [],
): Promise<void> {
  const worker = await startWorker();
  worker.postMessage(task, transfer);
  try {
    await use(worker);
  } finally {
    worker.terminate();
  }
}

/** Rejects with the error of a call that never ends otherwise. */
async function lostCall(call: Promise<unknown>): Promise<ProtocolError> {
  return await assertRejects(() => call, ProtocolError);
}

async function exercise(client: Client): Promise<void> {
  assertEquals(await client.readTextFile("motd"), "hello\n");
  assertEquals(await client.call("add", { argv: [17, 25] }), 42);
  const large = Uint8Array.from({ length: 5_000_000 }, (_, i) => i % 251);
  await client.writeFile("large", large);
  assertEquals(await client.readFile("large"), large);
}

test("a worker serves one client after the other", async () => {
  await withWorker({ task: "serve", clients: 2 }, async (worker) => {
    for (let i = 0; i < 2; i++) {
      await using client = await connect(worker);
      await exercise(client);
    }
  });
});

test("worker and main thread serve each other, each over a port", async () => {
  const { port1, port2 } = new MessageChannel();
  const served = serve(port1, tree());
  await withWorker({ task: "both", port: port2 }, async (worker) => {
    await using client = await connect(worker);
    assertEquals(await client.call("greet"), "hello\n");
  }, [port2]);
  port1.close();
  await Promise.race([served, Promise.resolve()]);
});

test("terminate() of a worker ends pending calls and later ones", async () => {
  await withWorker({ task: "serve", clients: 1 }, async (worker) => {
    await using client = await connect(worker);
    const call = lostCall(client.call("wait"));
    await client.stat("motd"); // The call was sent before.
    worker.terminate();
    assertEquals(
      (await call).message,
      'Connection to "worker" lost: the worker was terminated',
    );
    await assertRejects(() => client.stat("motd"), ProtocolError);
  });
});

test("terminate() is the worker's own again when the client is closed", async () => {
  await withWorker({ task: "serve", clients: 1 }, async (worker) => {
    const { terminate } = worker;
    const client = await connect(worker);
    assert(worker.terminate !== terminate);
    await client.close();
    assertEquals(worker.terminate, terminate);
    assert(!Object.hasOwn(worker, "terminate"));
  });
});

test("an error of a worker ends pending calls", async () => {
  await withWorker({ task: "fail" }, async (worker) => {
    if ("addEventListener" in worker && worker instanceof EventTarget) {
      worker.addEventListener("error", (event) => event.preventDefault());
    }
    await using client = await connect(worker);
    const { message } = await lostCall(client.call("fail"));
    assertEquals(
      message,
      'Connection to "worker" lost: the worker failed: the worker breaks',
    );
  });
});

// Deno tells nothing of a worker that ends by itself.
if (!("Deno" in globalThis)) {
  test("the exit of a worker ends pending calls", async () => {
    await withWorker({ task: "exit" }, async (worker) => {
      await using client = await connect(worker);
      const { message } = await lostCall(client.call("exit"));
      const detail = isNode ? "the worker has exited" : "the peer closed it";
      assertEquals(message, `Connection to "worker" lost: ${detail}`);
    });
  });
}

test("a connection that nothing answers ends by its timeout", async () => {
  const { port1, port2 } = new MessageChannel();
  await assertRejects(
    () => connect(port1, { timeout: 50 }),
    DOMException,
    'Cannot connect to "port": no answer within 50 ms',
  );
  port2.close();
});

test("a port has one connection at a time", async () => {
  const { port1, port2 } = new MessageChannel();
  const near = fromPort(port1);
  assertThrows(() => fromPort(port1), TypeError, "another connection uses it");
  const far = fromPort(port2);
  near.close();
  assertEquals(await far.read?.(new Uint8Array(8)), null);
  far.close();
});

test("messages of the program itself are left alone", async () => {
  const { port1, port2 } = new MessageChannel();
  const served = serve(port2, tree());
  await using client = await connect(port1);
  for (const message of [1, "text", null, {}, [1], { open: 1 }]) {
    port1.postMessage(message);
    port2.postMessage(message);
  }
  assertEquals(await client.readTextFile("motd"), "hello\n");
  await client.close();
  await served;
});

/** A peer that sends what it likes. */
function hostile(): { port: MessagePort; connection: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  port2.start();
  return { port: port2, connection: port1 };
}

test("a peer that sends more than its window is cut off", async () => {
  const { port, connection } = hostile();
  const near = fromPort(connection);
  port.postMessage({ ninep: "open" });
  for (let i = 0; i < 64; i++) port.postMessage(new ArrayBuffer(64 * 1024));
  // The write ends when the connection does, so nothing is read meanwhile.
  await assertRejects(
    async () => {
      for (;;) await near.write?.(new Uint8Array(512 * 1024));
    },
    ProtocolError,
    "the peer sends more than the window of 1 MiB",
  );
  near.close();
  port.close();
});

for (const bytes of [-1, 1, NaN, Infinity, "5", undefined, 2 ** 60]) {
  test(`a peer that says it has taken ${bytes} bytes of none is cut off`, async () => {
    const { port, connection } = hostile();
    const near = fromPort(connection);
    port.postMessage({ ninep: "open" });
    port.postMessage({ ninep: "taken", bytes });
    await assertRejects(
      async () => void await near.read?.(new Uint8Array(8)),
      ProtocolError,
      "the peer has taken more than it got",
    );
    near.close();
    port.close();
  });
}

test("a reader that stops holds the writer, and close() ends both", async () => {
  const { port1, port2 } = new MessageChannel();
  const near = fromPort(port1);
  const far = fromPort(port2);
  const writing = near.write?.(new Uint8Array(8 * 1024 * 1024));
  assert(writing);
  const buffer = new Uint8Array(1024);
  assert(await far.read?.(buffer));
  far.close();
  await assertRejects(() => writing, ProtocolError, "the peer closed it");
  near.close();
});

test("data before the end arrive, in order, and then the end", async () => {
  const { port1, port2 } = new MessageChannel();
  const near = fromPort(port1);
  const far = fromPort(port2);
  for (let i = 0; i < 100; i++) await near.write?.(new Uint8Array([i]));
  near.close();
  const got: number[] = [];
  const buffer = new Uint8Array(16);
  for (;;) {
    const bytes = await far.read?.(buffer);
    if (!bytes) break;
    got.push(...bytes);
  }
  assertEquals(got, Array.from({ length: 100 }, (_, i) => i));
  far.close();
});

test("the sender's bytes may be reused at once", async () => {
  const { port1, port2 } = new MessageChannel();
  const near = fromPort(port1);
  const far = fromPort(port2);
  const bytes = new Uint8Array(100_000).fill(1);
  await near.write?.(bytes);
  bytes.fill(2);
  await near.write?.(bytes);
  assertEquals(bytes.length, 100_000, "the buffer was transferred");
  let ones = 0;
  for (let left = 200_000; left > 0;) {
    const chunk = await far.read?.(new Uint8Array(4096));
    assert(chunk);
    left -= chunk.length;
    ones += chunk.filter((byte) => byte === 1).length;
  }
  assertEquals(ones, 100_000);
  near.close();
  far.close();
});
