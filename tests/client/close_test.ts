// The end of a client while calls are pending. No test here may end by
// `closeTimeout`, unless it says so: a client that waits for this time hangs.
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "../harness.ts";
import { again, Exchange, failure } from "./reconnecting.ts";
import { openFile, qid, start, walkTo } from "./scripted.ts";
import {
  type Client,
  connect,
  type ConnectOptions,
  type RemoteFile,
} from "../../client.ts";
import { ProtocolError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { withTestServer } from "../testing.ts";

const closeTimeout = 2 ** 31 - 1;
const never = () => new Promise<never>(() => {});

/** A tree whose files let readers and callers wait until they give up. */
function waitingFs(): {
  fs: MemoryFs;
  begun: (count: number) => Promise<void>;
} {
  const fs = new MemoryFs({ plain: "text" }, { mode: 0o777 });
  let count = 0;
  let wake = () => {};
  const wait = (_request: unknown, { signal }: { signal: AbortSignal }) => {
    count++;
    wake();
    return new Promise<never>((_, reject) => {
      signal.onabort = () => reject(signal.reason);
    });
  };
  fs.define("event", { read: wait });
  fs.define("next", { call: wait });
  const begun = async (most: number) => {
    while (count < most) await new Promise<void>((done) => wake = done);
  };
  return { fs, begun };
}

/** The kinds of pending calls. */
const calls: Record<string, (client: Client) => Promise<unknown>> = {
  "a call": (client) => client.call("next"),
  "a call of a fid": async (client) =>
    client.call(await client.protocol.fid("next")),
  "a method of a proxy": async (client) => {
    const api = await client.proxy<{ next(): void }>("/");
    return await api.next();
  },
  "a read": (client) => client.readFile("event"),
  "a read of an open file": async (client) => {
    const file = await client.open("event");
    return await file.read(new Uint8Array(9));
  },
  "the lines of a file": async (client) => {
    const file: RemoteFile = await client.open("event");
    for await (const _line of file.lines()) { /* There is none. */ }
  },
};

for (
  const [kind, options] of [
    ["a client", {}],
    ["a client that connects again", again(new Exchange())],
    ["a client that sends one request at a time", { maxInFlight: 1 }],
  ] as [string, ConnectOptions][]
) {
  for (const [name, call] of Object.entries(calls)) {
    test(`close() of ${kind} does not wait for ${name}`, async () => {
      const { fs, begun } = waitingFs();
      const [near, far] = pair();
      const served = serve(far, fs);
      const client = await connect(near, { closeTimeout, ...options });
      const errors = [failure(call(client)), failure(call(client))];
      await begun(options.maxInFlight ?? 2);
      await client.close();
      for (const error of await Promise.all(errors)) {
        assertInstanceOf(error, ProtocolError);
        assertEquals(error.message, 'Connection to "pair" is closed');
      }
      await served;
    });
  }
}

test("await using and withTestServer() do not wait for pending calls", async () => {
  const { fs, begun } = waitingFs();
  let pending: Promise<unknown> | undefined;
  await withTestServer(async ({ client }) => {
    pending = failure(client.call("next"));
    await begun(1);
  }, { fs, connect: { closeTimeout } });
  assertInstanceOf(await pending, ProtocolError);
});

test("close() of a tree does not wait for a call of its kept fids", async () => {
  const { fs, begun } = waitingFs();
  await withTestServer(async ({ client }) => {
    const tree = await client.attach();
    const api = await tree.proxy<{ next(): void }>("/");
    const pending = failure(api.next());
    await begun(1);
    await tree.close();
    const error = await pending;
    assertInstanceOf(error, DOMException);
    assertEquals(error.name, "AbortError");
    assertEquals(await client.readTextFile("plain"), "text");
  }, { fs, connect: { closeTimeout } });
});

test("close() flushes pending calls, then clunks, and ignores late data", async () => {
  await using scene = await start({ closeTimeout });
  const { client, server } = scene;
  const file = await openFile(scene);
  const buffer = new Uint8Array(4);
  const pending = failure(file.read(buffer));
  const walking = failure(client.protocol.walk("x"));
  const read = await server.expect("Tread");
  const walk = await server.expect("Twalk");
  const closing = client.close();
  // The callers get their errors before the server answers.
  assertInstanceOf(await pending, ProtocolError);
  assertInstanceOf(await walking, ProtocolError);
  const flushes = [
    await server.expect("Tflush"),
    await server.expect("Tflush"),
  ];
  assertEquals(flushes.map(({ oldtag }) => oldtag), [read.tag, walk.tag]);
  // Both requests were done before the Tflushes came.
  server.answer(read, { type: "Rread", data: new Uint8Array(4).fill(7) });
  server.answer(walk, { type: "Rwalk", wqid: [qid(9)] });
  for (const flush of flushes) server.answer(flush, { type: "Rflush" });
  for (const fid of [0, 1, 2]) {
    await server.exchange("Tclunk", { fid }, { type: "Rclunk" });
  }
  await closing;
  assertEquals([...buffer], [0, 0, 0, 0]);
  assertEquals(await server.next(), null);
});

test("close() withdraws requests that were not sent", async () => {
  await using scene = await start({ closeTimeout, maxInFlight: 1 });
  const { client, server } = scene;
  const sent = failure(client.stat(0));
  const waiting = failure(client.stat(0));
  const stat = await server.expect("Tstat");
  const closing = client.close();
  assertInstanceOf(await sent, ProtocolError);
  assertInstanceOf(await waiting, ProtocolError);
  await server.exchange("Tflush", { oldtag: stat.tag }, { type: "Rflush" });
  await server.exchange("Tclunk", { fid: 0 }, { type: "Rclunk" });
  await closing;
});

test("close() tells the callers before a server that never answers; closeTimeout ends it", async () => {
  const scene = await start({ closeTimeout: 1 });
  const { client, server } = scene;
  const file = await openFile(scene);
  const order: string[] = [];
  const pending = failure(file.read(new Uint8Array(4)))
    .then(() => order.push("read"));
  await server.expect("Tread");
  await client.close().then(() => order.push("close"));
  await pending;
  assertEquals(order, ["read", "close"]);
  assertEquals(await client.closed, undefined);
  server.close();
});

test("close() waits for a Tclunk that was sent before, and not for a Tremove", async () => {
  await using scene = await start({ closeTimeout });
  const { client, server } = scene;
  const file = await openFile(scene);
  const closed = file.close();
  const clunk = await server.expect("Tclunk", { fid: 1 });
  const removed = failure(client.remove("x"));
  await walkTo(scene, 2);
  const remove = await server.expect("Tremove");
  const closing = client.close();
  assertInstanceOf(await removed, ProtocolError);
  server.answer(clunk, { type: "Rclunk" });
  await closed;
  await server.exchange("Tflush", { oldtag: remove.tag }, { type: "Rflush" });
  for (const fid of [0, 2]) {
    await server.exchange("Tclunk", { fid }, { type: "Rclunk" });
  }
  await closing;
});

test("close() with a server that cannot flush ends the connection at once when a call is pending", async () => {
  const scene = await start({ closeTimeout, peer: "pyroute2", fidBase: 0 });
  const { client, server } = scene;
  const pending = failure(client.call("f"));
  await walkTo(scene);
  await server.expect("Tcall");
  await client.close();
  assertInstanceOf(await pending, ProtocolError);
  assertEquals(await server.next(), null, "neither Tflush nor Tclunk");
  server.close();
});

test("close() without a connection ends the calls that wait for one", async () => {
  const exchange = new Exchange();
  const [near, far] = pair();
  const serving = serve(far, new MemoryFs({ plain: "text" }));
  const client = await connect(near, { closeTimeout, ...again(exchange) });
  far.close();
  await serving.catch(() => {});
  const pending = failure(client.stat("plain"));
  const dialled = await exchange.call();
  await client.close();
  assertInstanceOf(await pending, ProtocolError);
  dialled.reject(new Error("too late"));
  assert(await client.closed === undefined);
});

test("close() does not wait for a function that ignores its signal", async () => {
  const fs = new MemoryFs();
  fs.register("deaf", never);
  const [near, far] = pair();
  const served = serve(far, fs);
  const client = await connect(near, { closeTimeout });
  const pending = failure(client.call("deaf"));
  await client.stat("/");
  await client.close();
  assertInstanceOf(await pending, ProtocolError);
  await served;
});
