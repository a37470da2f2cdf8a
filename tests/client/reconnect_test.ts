// A client that connects again: its requests, and how it connects, against
// memory trees and scripted servers, one for each connection.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  Exchange,
  failure,
  frail,
  greet,
  Home,
  MSIZE,
  restored,
  run,
  stage,
  walked,
  welcome,
} from "./reconnecting.ts";
import { qid, stat, takeFirst } from "./scripted.ts";
import { delayOf } from "../../client/connection/reconnect.ts";
import { type Client, connect } from "../../client.ts";
import {
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  ProtocolError,
  QTDIR,
  type Tmessage,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { listen, serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const text = new TextEncoder();

test("delayOf() is a random part of a time that doubles up to the maximum", () => {
  const delays = { minDelay: 100, maxDelay: 1000 };
  const most = [0, 1, 2, 3, 4, 5, 2000].map((failures) =>
    delayOf(failures, delays, () => 1)
  );
  assertEquals(most, [100, 200, 400, 800, 1000, 1000, 1000]);
  assertEquals(delayOf(3, delays, () => 0), 0);
  assertEquals(delayOf(3, delays, () => 0.25), 200);
  assertEquals(delayOf(5000, { minDelay: 0, maxDelay: 9 }, () => 1), 0);
  const delay = delayOf(3, delays);
  assert(delay >= 0 && delay <= 800);
});

test("connect() refuses reconnect without a way to dial, and numbers out of range", async () => {
  const [near, far] = pair();
  await assertRejects(
    () => connect(near, { reconnect: true }),
    TypeError,
    "reconnect needs a dial function",
  );
  const dial = () => Promise.resolve(near);
  for (
    const wrong of [
      { attempts: 0 },
      { attempts: 1.5 },
      { attempts: NaN },
      { attemptTimeout: 0 },
      { attemptTimeout: 2 ** 31 },
      { attemptTimeout: NaN },
      { steadyAfter: -1 },
      { steadyAfter: Infinity },
      { minDelay: -1 },
      { maxDelay: 2 ** 31 },
      { maxDelay: NaN },
    ]
  ) {
    await assertRejects(
      () => connect(near, { reconnect: { dial, ...wrong } }),
      RangeError,
      `reconnect.${Object.keys(wrong)[0]} is`,
    );
  }
  near.close();
  far.close();
});

test("reconnect: a client that is idle when the connection is lost goes on", async () => {
  await using home = await Home.open(
    new MemoryFs({ a: "alpha" }, { uid: "none" }),
  );
  for (let i = 0; i < 20; i++) {
    await home.swap();
    assertEquals(await home.client.readTextFile("a"), "alpha");
  }
});

test("reconnect: an address is dialled again", async () => {
  const fs = new MemoryFs({ a: "alpha" }, { uid: "none" });
  const first = await listen("tcp://127.0.0.1:0", fs);
  const { addr } = first;
  await using client = await connect(addr, { reconnect: { minDelay: 1 } });
  await using file = await client.open("a");
  await first.close();
  const content = client.readTextFile("a");
  await using _second = await listen(addr, fs);
  assertEquals(await content, "alpha");
  const buffer = new Uint8Array(9);
  assertEquals(await file.read(buffer), 5);
});

test("reconnect: 64 reads under way are repeated, and nothing is read twice", async () => {
  await using on = await stage();
  const { client, server } = on;
  const opening = client.open("f");
  await walked(server, 0, 1, ["f"]);
  await server.exchange("Topen", {}, { type: "Ropen", qid: qid(1), iounit: 0 });
  const { fid } = await opening;
  const reads = Array.from(
    { length: 64 },
    (_, i) => client.protocol.read(fid, { offset: i, count: 1 }),
  );
  const data = (offset: bigint) => Uint8Array.of(Number(offset));
  for (let i = 0; i < 64; i++) {
    const request = await server.expect("Tread");
    // The server answers every second request before the end.
    if (i % 2 === 1) continue;
    server.answer(request, { type: "Rread", data: data(request.offset) });
  }
  server.close();
  const next = await welcome(on);
  await walked(next.server, next.root, 0, []);
  await walked(next.server, next.root, 1, ["f"]);
  const open = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
  await next.server.exchange("Topen", { fid: 1, mode: OREAD }, open);
  await next.server.exchange("Tclunk", {}, { type: "Rclunk" });
  const offsets: bigint[] = [];
  for (let i = 0; i < 32; i++) {
    const request = await next.server.expect("Tread", { fid: 1 });
    offsets.push(request.offset);
    next.server.answer(request, { type: "Rread", data: data(request.offset) });
  }
  const odd = Array.from({ length: 32 }, (_, i) => BigInt(2 * i + 1));
  assertEquals(offsets, odd);
  const parts = await Promise.all(reads);
  assertEquals(
    parts.map(([byte]) => byte),
    Array.from({ length: 64 }, (_, i) => i),
  );
  run(next.server);
});

test("reconnect: readFile() goes on wherever the connection ends, as often as it does", async () => {
  const content = new Uint8Array(20_000).map((_, i) => i * 7);
  const fs = new MemoryFs({ f: content }, { uid: "none" });
  let dials = 0;
  const dial = () => {
    const [near, far] = pair();
    void serve(far, fs);
    // Enough for the attach and the walk, and a few requests more each time.
    return Promise.resolve(frail(near, 150 + 37 * dials++));
  };
  await using client = await connect(await dial(), {
    msize: 24 + 256,
    reconnect: { dial, minDelay: 0, attempts: 100 },
  });
  assertEquals(await client.readFile("f"), content);
  assert(dials > 5);
});

test("reconnect: writeFile() with writes under way rejects, and says why", async () => {
  await using on = await stage();
  const { client, server } = on;
  const writing = failure(client.writeFile("f", new Uint8Array(40_000)));
  await walked(server, 0, 1, ["f"]);
  await server.exchange("Topen", { mode: OTRUNC | 1 }, {
    type: "Ropen",
    qid: { ...qid(1), vers: 1 },
    iounit: 0,
  });
  await takeFirst(on);
  await server.expect("Twrite");
  await server.expect("Twrite");
  server.close();
  const error = await writing;
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Cannot repeat Twrite, which may have been done: Connection to "pair" lost: the peer closed it',
  );
  // The file was closed meanwhile, so the client does not walk to it.
  const next = await restored(on);
  run(next);
  await client.stat(0);
  assertEquals([...next.fids], [0]);
  assert(next.log.every(({ type }) => type !== "Twrite"));
});

test("reconnect: what changes something is not repeated", async () => {
  const requests: [string, (client: Client) => Promise<unknown>][] = [
    [
      "Tcreate",
      (client) =>
        client.protocol.rpc({
          type: "Tcreate",
          fid: 0,
          name: "a",
          perm: 0,
          mode: 0,
        }),
    ],
    ["Tremove", (client) => client.protocol.rpc({ type: "Tremove", fid: 5 })],
    [
      "Twstat",
      (client) =>
        client.protocol.rpc({ type: "Twstat", fid: 0, stat: stat("a") }),
    ],
    [
      "Tcall",
      (client) =>
        client.protocol.rpc({
          type: "Tcall",
          fid: 0,
          text: "",
          data: new Uint8Array(),
        }),
    ],
    [
      "Tauth",
      (client) => {
        const afid = client.protocol.allocFid();
        return client.protocol.rpc({
          type: "Tauth",
          afid,
          uname: "u",
          aname: "",
        });
      },
    ],
    [
      "Topen",
      (client) =>
        client.protocol.rpc({ type: "Topen", fid: 0, mode: OTRUNC | ORDWR }),
    ],
    [
      "Topen",
      (client) => client.protocol.rpc({ type: "Topen", fid: 0, mode: ORCLOSE }),
    ],
    [
      "Tstat",
      (client) => client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7 }),
    ],
  ];
  for (const [type, send] of requests) {
    await using on = await stage();
    const outcome = failure(send(on.client));
    assertEquals((await on.server.next())?.type, type);
    on.server.close();
    const error = await outcome;
    assertInstanceOf(error, ProtocolError);
    assertMatch(error.message, new RegExp(`^Cannot repeat ${type}, .*lost`));
    const next = await restored(on);
    run(next);
    await on.client.stat(0);
    assertEquals(next.log.at(-1)?.type, "Tstat");
  }
});

test("reconnect: what only asks is repeated", async () => {
  const requests: [Tmessage["type"], (client: Client) => Promise<unknown>][] = [
    ["Tstat", (client) => client.protocol.rpc({ type: "Tstat", fid: 0 })],
    [
      "Twalk",
      (client) => {
        const newfid = client.protocol.allocFid();
        return client.protocol.rpc({
          type: "Twalk",
          fid: 0,
          newfid,
          wname: [],
        });
      },
    ],
    [
      "Topen",
      (client) => client.protocol.rpc({ type: "Topen", fid: 0, mode: OREAD }),
    ],
    [
      "Tread",
      (client) =>
        client.protocol.rpc({ type: "Tread", fid: 0, offset: 0n, count: 9 }),
    ],
  ];
  for (const [type, send] of requests) {
    await using on = await stage();
    const outcome = send(on.client);
    await on.server.expect(type);
    on.server.close();
    const next = await restored(on);
    run(next);
    await outcome;
    assertEquals(next.log.at(-1)?.type, type);
  }
});

test("reconnect: an attach under way is repeated", async () => {
  await using on = await stage();
  const { client, server } = on;
  const attaching = client.attach({ uname: "ken", aname: "x" });
  await server.expect("Tattach", { fid: 1 });
  server.close();
  const next = await restored(on);
  const fields = { fid: 1, uname: "ken", aname: "x" };
  const reply = { type: "Rattach", qid: qid(0, QTDIR) } as const;
  await next.exchange("Tattach", fields, reply);
  run(next);
  await (await attaching).close();
});

test("reconnect: a clunk under way counts as done", async () => {
  await using on = await stage();
  const { client, server } = on;
  const walking = client.protocol.walk("a");
  await walked(server, 0, 1, ["a"]);
  const clunk = client.protocol.clunk(await walking);
  await server.expect("Tclunk", { fid: 1 });
  server.close();
  await clunk;
  run(await restored(on));
  assertEquals(client.protocol.allocFid(), 1);
  client.protocol.releaseFid(1);
});

test("reconnect: writes that come without a connection wait for one", async () => {
  await using home = await Home.open(new MemoryFs({ a: "" }, { uid: "none" }));
  const { client, fs } = home;
  const call = await home.noticed();
  const writing = client.writeTextFile("a", "hello");
  const making = client.mkdir("d");
  home.answer(call);
  await Promise.all([writing, making]);
  assertEquals(fs.readTextFile("a"), "hello");
});

test("reconnect: the connection is lost again at each step on the way back", async () => {
  await using on = await stage();
  const { client, server } = on;
  const opening = client.open("f");
  await walked(server, 0, 1, ["f"]);
  const open = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
  await server.exchange("Topen", {}, open);
  await opening;
  const reading = client.protocol.read(1);
  await server.expect("Tread");
  server.close();
  for (let steps = 0; steps < 6; steps++) {
    const next = await on.exchange.play();
    for (let i = 0; i < steps; i++) {
      const request = await next.next();
      if (request?.type === "Tversion") {
        const version = "9P2000";
        next.answer(request, { type: "Rversion", msize: MSIZE, version });
      } else if (request?.type === "Tattach") {
        next.answer(request, { type: "Rattach", qid: qid(0, QTDIR) });
      } else if (request?.type === "Twalk") {
        const wqid = request.wname.map(() => qid(1));
        next.answer(request, { type: "Rwalk", wqid });
      } else if (request?.type === "Topen") next.answer(request, open);
      else assertEquals(request?.type, "Tclunk");
    }
    next.close();
  }
  const next = await welcome(on);
  await walked(next.server, 2, 0, []);
  await walked(next.server, 2, 1, ["f"]);
  await next.server.exchange("Topen", {}, open);
  await next.server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
  const data = text.encode("at last");
  await next.server.exchange("Tread", { fid: 1 }, { type: "Rread", data });
  assertEquals(await reading, data);
  run(next.server);
});

test("reconnect: a server that refuses all trees is tried again, then given up", async () => {
  await using on = await stage({}, { attempts: 3 });
  const { client, server } = on;
  server.close();
  const waiting = [client.stat(0), client.writeTextFile("a", "")].map(failure);
  for (let i = 0; i < 3; i++) {
    const next = await on.exchange.play();
    await greet(next);
    next.refuse(await next.expect("Tattach"), "authentication failed");
    assertEquals(await next.next(), null);
  }
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertMatch(
    error.message,
    /^Cannot reconnect to "pair": .*authentication failed$/,
  );
  for (const outcome of waiting) assertStrictEquals(await outcome, error);
  assertStrictEquals(await failure(client.stat(0)), error);
});

test("reconnect: attempts end, and all that waits rejects with one error", async () => {
  await using on = await stage({}, { attempts: 2 });
  const { client, server } = on;
  const waiting = [
    client.stat(0),
    client.readFile("a"),
    client.protocol.rpc({ type: "Tclunk", fid: 7 }).then(() => client.stat(0)),
  ].map(failure);
  server.close();
  for (const detail of ["no", "not yet"]) {
    (await on.exchange.call()).reject(new Error(detail));
  }
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Cannot reconnect to "pair": not yet');
  assertEquals((error.cause as Error).message, "not yet"); // As thrown above.
  for (const outcome of waiting) assertStrictEquals(await outcome, error);
});

test("reconnect: the client gives up a server that it loses after each answer", async () => {
  // No connection of a test lasts as long as `steadyAfter`.
  const steadyAfter = 2 ** 31 - 1;
  await using on = await stage({}, { attempts: 3, steadyAfter });
  const { client } = on;
  let { server } = on;
  for (let i = 0; i < 3; i++) {
    server.close();
    server = await restored(on);
    const asking = client.stat(0);
    await server.exchange("Tstat", {}, { type: "Rstat", stat: stat("/") });
    await asking;
  }
  const asking = failure(client.stat(0));
  await server.expect("Tstat");
  server.close();
  assertInstanceOf(await asking, ProtocolError);
  assertMatch(String(await client.closed), /Cannot reconnect/);
});

test("reconnect: attemptTimeout ends each attempt with a silent server", async () => {
  const bounds = { attempts: 3, attemptTimeout: 1 };
  await using on = await stage({}, bounds);
  const { client, server, exchange } = on;
  server.close();
  const silent = [];
  for (let i = 0; i < 3; i++) silent.push(await exchange.play());
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Cannot reconnect to "pair": Cannot connect to "pair": no answer within 1 ms',
  );
  for (const server of silent) {
    // The client has sent a Tversion, unless the machine was too slow.
    while (await server.next() !== null) { /* The client closes it. */ }
    server.close();
  }
});

test("reconnect: a steady connection starts the count of attempts anew", async () => {
  await using on = await stage({}, { attempts: 2, steadyAfter: 0 });
  const { client } = on;
  let { server } = on;
  for (let i = 0; i < 5; i++) {
    server.close();
    server = await restored(on);
    const asking = client.stat(0);
    await server.exchange("Tstat", {}, { type: "Rstat", stat: stat("/") });
    await asking;
  }
  server.close();
  const asking = failure(client.stat(0));
  for (let i = 0; i < 2; i++) {
    (await on.exchange.call()).reject(new Error("no"));
  }
  assertInstanceOf(await asking, ProtocolError);
  assertMatch(String(await client.closed), /Cannot reconnect/);
});

test("reconnect: a malformed stream is a lost connection, too", async () => {
  await using on = await stage();
  const { client, server } = on;
  const asking = client.stat(0);
  await server.expect("Tstat");
  server.send(Uint8Array.of(1, 0, 0, 0, 0, 0, 0));
  const next = await restored(on);
  run(next);
  assertEquals((await asking).name, "a");
});

test("reconnect: close() while waiting for the next attempt ends it", async () => {
  const far = 2 ** 31 - 1;
  const data = new Uint8Array(0);
  const on = await stage({}, { minDelay: far, maxDelay: far });
  const { client, server } = on;
  const asking = failure(client.stat(0));
  await server.expect("Tstat");
  // This one is told of the loss.
  const told = failure(
    client.protocol.rpc({ type: "Tcall", fid: 0, text: "", data }),
  );
  await server.expect("Tcall");
  server.close();
  await told;
  const writing = failure(client.writeTextFile("a", ""));
  await client.close();
  const error = await asking;
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Connection to "pair" is closed');
  assertStrictEquals(await writing, error);
  assertEquals(await client.closed, undefined);
});

test("reconnect: close() while dialling ends it, and closes what comes late", async () => {
  let signal: AbortSignal | undefined;
  const exchange = new Exchange();
  const dial = (given: AbortSignal) => {
    signal = given;
    return exchange.dial();
  };
  const on = await stage({}, { dial });
  on.server.close();
  const call = await exchange.call();
  await on.client.close();
  assertEquals(signal?.aborted, true);
  const [near, far] = pair();
  call.resolve(near);
  assertEquals(await far.read!(new Uint8Array(9)), null); // pair() has it.
  far.close();
});

test("reconnect: close() while fids are made again ends it", async () => {
  const on = await stage();
  on.server.close();
  const { server } = await welcome(on);
  await server.expect("Twalk");
  await on.client.close();
  assertEquals(await on.client.closed, undefined);
  let request = await server.next();
  while (request !== null) request = await server.next();
});

test("reconnect: an abort without a connection rejects at once, and sends nothing", async () => {
  await using on = await stage();
  const { client, server } = on;
  server.close();
  const call = await on.exchange.call();
  const controller = new AbortController();
  const { signal } = controller;
  const outcomes = [
    client.stat(0, { signal }),
    client.protocol.walk("a", { signal }),
    client.writeTextFile("a", "", { signal }),
    client.protocol.rpc({ type: "Tread", fid: 0, offset: 0n, count: 1 }, {
      signal,
    }),
  ].map(failure);
  const reason = { my: "reason" };
  controller.abort(reason);
  for (const outcome of outcomes) assertStrictEquals(await outcome, reason);
  on.exchange.giveBack(call);
  const next = await restored(on);
  run(next);
  await client.stat(0);
  assertEquals(next.log.slice(4).map(({ type }) => type), ["Tstat"]);
  assertEquals(client.protocol.allocFid(), 1);
  client.protocol.releaseFid(1);
});

test("reconnect: a timeout holds without a connection", async () => {
  await using on = await stage();
  on.server.close();
  const call = await on.exchange.call();
  const error = await failure(on.client.stat(0, { timeout: 1 }));
  assertEquals((error as Error).name, "TimeoutError"); // A DOMException.
  call.reject(new Error("no"));
  run(await restored(on));
  await on.client.stat(0);
});

test("reconnect: a request that was aborted before the loss is not repeated", async () => {
  await using on = await stage();
  const { client, server } = on;
  const controller = new AbortController();
  const { signal } = controller;
  const walking = failure(client.protocol.walk("a", { signal }));
  await server.expect("Twalk", { newfid: 1 });
  controller.abort("enough");
  assertEquals(await walking, "enough");
  await server.expect("Tflush");
  server.close();
  const next = await restored(on);
  run(next);
  await client.stat(0);
  assertEquals(next.log.slice(4).map(({ type }) => type), ["Tstat"]);
  assertEquals([...next.fids], [0]);
  assertEquals(client.protocol.allocFid(), 1);
  client.protocol.releaseFid(1);
});

test("reconnect: a smaller msize cuts what is repeated and what comes", async () => {
  await using on = await stage();
  const { client, server } = on;
  const opening = client.open("f", { read: true, write: true });
  await walked(server, 0, 1, ["f"]);
  const open = {
    type: "Ropen",
    qid: { ...qid(1), vers: 1 },
    iounit: 0,
  } as const;
  await server.exchange("Topen", {}, open);
  const file = await opening;
  const buffer = new Uint8Array(5000);
  const reading = file.read(buffer);
  await server.expect("Tread", { count: 5000 });
  server.close();
  const call = await on.exchange.call();
  const writing = file.writeAt(new Uint8Array(6000), 0);
  on.exchange.giveBack(call);
  const next = await welcome(on, 1024);
  await walked(next.server, 2, 0, []);
  await walked(next.server, 2, 1, ["f"]);
  await next.server.exchange("Topen", { mode: ORDWR }, open);
  await next.server.exchange("Tclunk", {}, { type: "Rclunk" });
  await next.server.exchange("Tread", { count: 1000 }, {
    type: "Rread",
    data: new Uint8Array(1000).fill(1),
  });
  assertEquals(await reading, 1000);
  const write = await next.server.expect("Twrite");
  assertEquals(write.data.length, 1000);
  next.server.answer(write, { type: "Rwrite", count: 1000 });
  assertEquals(await writing, 1000);
  assertEquals(client.msize, 1024);
  run(next.server);
  await file.writeAll(new Uint8Array(2500));
  const lengths = next.server.log.filter(({ type }) => type === "Twrite")
    .map((request) => "data" in request && request.data.length);
  assertEquals(lengths, [1000, 1000, 1000, 500]);
});

test("reconnect: flush() of a request that ended with its connection", async () => {
  await using on = await stage();
  const { client, server } = on;
  const asking = failure(
    client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7 }),
  );
  await server.expect("Tstat", { tag: 7 });
  const flushing = client.protocol.flush(7);
  await server.expect("Tflush");
  server.close();
  assertInstanceOf(await asking, ProtocolError);
  await flushing;
  const call = await on.exchange.call();
  await client.protocol.flush(7);
  const error = await failure(
    client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7 }),
  );
  assertMatch(String(error), /Cannot send Tstat with a tag of its own/);
  on.exchange.giveBack(call);
  run(await restored(on));
  await client.stat(0);
});
