// Tags, replies in any order and split anywhere, aborts, and the end of the
// connection, against a scripted server.
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  failure,
  hold,
  openFile,
  qid,
  type Scene,
  ScriptedServer,
  start,
  stat,
} from "./scripted.ts";
import { type Client, connect } from "../../client.ts";
import { NinePError, ProtocolError, type Tmessage } from "../../codec.ts";
import { type Connection, pair } from "../../transport.ts";

/** Sends `count` Tstats of the root, and takes them at the server. */
async function manyStats(
  { client, server }: Scene,
  count: number,
): Promise<{ replies: Promise<string>[]; requests: Tmessage[] }> {
  const replies = Array.from(
    { length: count },
    async () => (await client.stat(0)).name,
  );
  const requests = [];
  for (let i = 0; i < count; i++) requests.push(await server.expect("Tstat"));
  return { replies, requests };
}

// C-86.
test("mux: the lowest free tag comes first, from 0", async () => {
  await using scene = await start();
  const { server } = scene;
  const { replies, requests } = await manyStats(scene, 4);
  assertEquals(requests.map(({ tag }) => tag), [0, 1, 2, 3]);
  for (const tag of [3, 1]) {
    server.answer(requests[tag]!, { type: "Rstat", stat: stat(`${tag}`) });
    assertEquals(await replies[tag], `${tag}`);
  }
  const again = await manyStats(scene, 3);
  assertEquals(again.requests.map(({ tag }) => tag), [1, 3, 4]);
  for (const request of [requests[0]!, requests[2]!, ...again.requests]) {
    server.answer(request, { type: "Rstat", stat: stat("x") });
  }
  await Promise.all([...replies, ...again.replies]);
});

// C-74.
test("mux: replies in reverse order, all in one chunk, reach their requests", async () => {
  await using scene = await start();
  const { server } = scene;
  const { replies, requests } = await manyStats(scene, 32);
  const frames = requests.map((request) =>
    server.frame(request, { type: "Rstat", stat: stat(`${request.tag}`) })
  );
  server.send(...frames.reverse());
  assertEquals(await Promise.all(replies), requests.map(({ tag }) => `${tag}`));
});

test("mux: replies split at every byte", async () => {
  await using scene = await start();
  const { server } = scene;
  const length = server.frame(
    { type: "Tstat", tag: 0, fid: 0 },
    { type: "Rstat", stat: stat("ab") },
  ).length;
  for (let at = 1; at < 2 * length; at++) {
    const { replies, requests } = await manyStats(scene, 2);
    const [a, b] = requests.map((request) =>
      server.frame(request, { type: "Rstat", stat: stat(`${request.tag}x`) })
    );
    const bytes = new Uint8Array([...a!, ...b!]);
    server.send(bytes.subarray(0, at));
    server.send(bytes.subarray(at));
    assertEquals(await Promise.all(replies), ["0x", "1x"]);
  }
});

test("mux: replies byte by byte", async () => {
  await using scene = await start();
  const { server } = scene;
  const { replies, requests } = await manyStats(scene, 2);
  for (const request of requests) {
    const reply = { type: "Rstat", stat: stat(`${request.tag}`) } as const;
    for (const byte of server.frame(request, reply)) {
      server.send(new Uint8Array([byte]));
    }
  }
  assertEquals(await Promise.all(replies), ["0", "1"]);
});

test("mux: requests of one turn go out with one write", async () => {
  const [near, far] = pair();
  let writes = 0;
  const counting: Connection = {
    peer: near.peer,
    get readable() {
      return near.readable;
    },
    get writable() {
      return near.writable;
    },
    close: () => near.close(),
    read: (buffer) => near.read!(buffer), // pair() has the fast path.
    write: (bytes) => {
      writes++;
      return near.write!(bytes); // As above.
    },
  };
  const server = new ScriptedServer(far);
  const running = server.run((request) => {
    switch (request.type) {
      case "Tversion":
        return { type: "Rversion", msize: 8192, version: "9P2000" };
      case "Tattach":
        return { type: "Rattach", qid: qid(0, 0x80) };
      default:
        return undefined;
    }
  });
  const client = await connect(counting, { msize: 8192 });
  writes = 0;
  await Promise.all(Array.from({ length: 100 }, () => client.stat(0)));
  assertEquals(writes, 1);
  await client.close();
  await running;
  server.close();
});

test("mux: maxInFlight holds requests back, in order", async () => {
  await using scene = await start({ maxInFlight: 2 });
  const { client, server } = scene;
  const replies = [1, 2, 3, 4, 5].map((fid) =>
    client.protocol.rpc({ type: "Tread", fid, offset: 0n, count: 1 })
  );
  const first = await server.expect("Tread", { fid: 1, tag: 0 });
  const second = await server.expect("Tread", { fid: 2, tag: 1 });
  const reply = { type: "Rread", data: new Uint8Array(1) } as const;
  server.answer(second, reply);
  const third = await server.expect("Tread", { fid: 3, tag: 1 });
  server.send(server.frame(first, reply), server.frame(third, reply));
  server.answer(await server.expect("Tread", { fid: 4, tag: 0 }), reply);
  server.answer(await server.expect("Tread", { fid: 5, tag: 1 }), reply);
  await Promise.all(replies);
});

test("K18 tags never are NOTAG, and are waited for when all are in use", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const count = 0xffff + 10;
  const replies: Promise<unknown>[] = [];
  for (let i = 0; i < count; i++) {
    replies.push(client.protocol.rpc({ type: "Tstat", fid: 0 }));
  }
  // One tag is reserved for a Tflush.
  for (let tag = 0; tag < 0xfffe; tag++) await server.expect("Tstat", { tag });
  const controller = new AbortController();
  const aborted = failure(
    client.protocol.rpc({ type: "Tstat", fid: 0 }, {
      signal: controller.signal,
    }),
  );
  controller.abort("enough"); // The call waits for a tag, so nothing is sent.
  assertEquals(await aborted, "enough");
  const requests = [...server.open.values()];
  const reply = { type: "Rstat", stat: stat("a") } as const;
  server.answer(requests[5]!, reply);
  server.answer(await server.expect("Tstat", { tag: 5 }), reply);
  for (const request of requests) {
    if (request.tag !== 5) server.answer(request, reply);
  }
  scene.run(() => undefined);
  await Promise.all(replies);
});

test("mux: a Tflush has a tag when all others are in use", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const { signal } = controller;
  const replies = Array.from(
    { length: 0xfffe },
    (_, i) =>
      failure(
        client.protocol.rpc({ type: "Tstat", fid: 0 }, i < 3 ? { signal } : {}),
      ),
  );
  for (let tag = 0; tag < 0xfffe; tag++) await server.expect("Tstat");
  controller.abort("enough");
  assertEquals(await Promise.all(replies.slice(0, 3)), Array(3).fill("enough"));
  const oldtags = [];
  for (let i = 0; i < 3; i++) {
    const flush = await server.expect("Tflush");
    oldtags.push(flush.oldtag);
    server.answer(flush, { type: "Rflush" });
  }
  assertEquals(oldtags, [0, 1, 2]);
  server.close();
  await Promise.all(replies);
  scene.mayLeak = true;
});

test("K17 the loss of the connection rejects everything pending, with one error", async () => {
  await using scene = await start({ maxInFlight: 3 });
  const { client, server } = scene;
  const signal = new AbortController().signal;
  const errors = [
    client.stat(0),
    client.protocol.rpc({ type: "Tstat", fid: 0 }, { signal }),
    client.readFile("a", { signal }),
    client.call("f"), // This call waits for a tag.
  ].map(failure);
  await server.expect("Tstat");
  server.close();
  const [error, ...others] = await Promise.all(errors);
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Connection to "pair" lost: the peer closed it');
  for (const other of others) assertStrictEquals(other, error);
  assertStrictEquals(await client.closed, error);
  assertStrictEquals(await failure(client.stat("a")), error);
  scene.mayLeak = true;
});

// C-89.
test("mux: a connection lost inside a frame", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const error = failure(client.stat(0));
  server.send(
    server.frame(await server.expect("Tstat"), {
      type: "Rstat",
      stat: stat("a"),
    }).subarray(0, 20),
  );
  server.close();
  assertInstanceOf(await error, ProtocolError);
  scene.mayLeak = true;
});

test("mux: a failing write ends the connection", async () => {
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const failing = { isOn: false };
  const connection: Connection = {
    peer: "failing",
    readable: near.readable,
    writable: new WritableStream(),
    close: () => near.close(),
    read: (buffer) => near.read!(buffer), // pair() has the fast path.
    write: (bytes) =>
      failing.isOn
        ? Promise.reject(new Error("cable cut"))
        : near.write!(bytes), // As above.
  };
  const connecting = connect(connection);
  const version = await server.expect("Tversion");
  const { msize } = version;
  server.answer(version, { type: "Rversion", msize, version: "9P2000" });
  await server.exchange("Tattach", {}, { type: "Rattach", qid: qid(0, 0x80) });
  const client = await connecting;
  failing.isOn = true;
  await assertRejects(
    () => client.stat(0),
    ProtocolError,
    'Connection to "failing" lost: cable cut',
  );
  await client.close();
  server.close();
});

// Abort, in each phase.

/** Reasons of aborts, which reach the caller unchanged. */
const reason = { my: "reason" };

async function abortedStat(
  { client, server }: Scene,
): Promise<{ request: Tmessage; flush: Tmessage }> {
  const controller = new AbortController();
  const error = failure(client.stat(0, { signal: controller.signal }));
  const request = await server.expect("Tstat", { tag: 0 });
  controller.abort(reason);
  assertStrictEquals(await error, reason);
  return { request, flush: await server.expect("Tflush", { oldtag: 0 }) };
}

/**
 * Returns the tag of the next request, after the client has processed all
 * replies.
 */
async function nextTag(scene: Scene): Promise<number> {
  await statTag(scene);
  return await statTag(scene);
}

async function statTag(scene: Scene): Promise<number> {
  const { request, reply } = await hold(scene);
  scene.server.answer(request, { type: "Rstat", stat: stat("a") });
  await reply;
  return request.tag;
}

test("abort before the call sends nothing", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const signal = AbortSignal.abort(reason);
  for (
    const call of [
      () => client.stat(0, { signal }),
      () => client.stat("a", { signal }),
      () => client.protocol.rpc({ type: "Tstat", fid: 0 }, { signal }),
      () => client.readFile("a", { signal }),
      () => client.writeFile("a", new Uint8Array(1), { signal }),
      () => client.readDir("a", { signal }).next(),
      () => client.mkdir("a", { signal }),
      () => client.remove("a", { signal }),
      () => client.rename("a", "b", { signal }),
      () => client.open("a", { signal }),
      () => client.create("a", { signal }),
      () => client.call("a", { signal }),
      () => client.protocol.walk("a", { signal }),
    ]
  ) {
    assertStrictEquals(await failure(call()), reason);
  }
  assertEquals(await nextTag(scene), 0);
  assertEquals(server.log.length, 4); // Tversion, Tattach, two of nextTag().
});

test("abort of a request that waits for a tag sends nothing", async () => {
  await using scene = await start({ maxInFlight: 1 });
  const { client, server } = scene;
  const first = await hold(scene);
  const controller = new AbortController();
  const second = failure(client.stat(0, { signal: controller.signal }));
  controller.abort(reason);
  assertStrictEquals(await second, reason);
  server.answer(first.request, { type: "Rstat", stat: stat("a") });
  await first.reply;
  assertEquals(await nextTag(scene), 0);
});

test("K13 abort sends Tflush; the tag is taken until the Rflush", async () => {
  await using scene = await start();
  const { server } = scene;
  const { flush } = await abortedStat(scene);
  assertEquals([flush.tag, await nextTag(scene)], [1, 2]);
  server.answer(flush, { type: "Rflush" });
  assertEquals(await nextTag(scene), 0);
});

test("K13 abort, a late reply: the tag is taken until the Rflush all the same", async () => {
  await using scene = await start();
  const { server } = scene;
  const { request, flush } = await abortedStat(scene);
  server.answer(request, { type: "Rstat", stat: stat("late") });
  assertEquals(await nextTag(scene), 2);
  server.answer(flush, { type: "Rflush" });
  assertEquals(await nextTag(scene), 0);
});

test("K13 abort, a late Rerror before the Rflush", async () => {
  await using scene = await start();
  const { server } = scene;
  const { request, flush } = await abortedStat(scene);
  server.send(
    server.frame(request, { type: "Rerror", ename: "interrupted" }),
    server.frame(flush, { type: "Rflush" }),
  );
  assertEquals(await nextTag(scene), 0);
});

test("abort, an Rerror to the Tflush: the request's own reply frees the tag", async () => {
  await using scene = await start();
  const { server } = scene;
  const { request, flush } = await abortedStat(scene);
  server.refuse(flush, "unknown message");
  assertEquals(await nextTag(scene), 1);
  server.answer(request, { type: "Rstat", stat: stat("late") });
  assertEquals(await nextTag(scene), 0);
});

test("abort, a late reply and then an Rerror to the Tflush", async () => {
  await using scene = await start();
  const { server } = scene;
  const { request, flush } = await abortedStat(scene);
  server.answer(request, { type: "Rstat", stat: stat("late") });
  server.refuse(flush);
  assertEquals(await nextTag(scene), 0);
});

test("abort, no answer until the connection ends", async () => {
  await using scene = await start();
  await abortedStat(scene);
  scene.server.close();
  assertInstanceOf(await scene.client.closed, ProtocolError);
  scene.mayLeak = true;
});

test("abort, two replies to one tag: the connection fails", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { request } = await abortedStat(scene);
  const reply = { type: "Rstat", stat: stat("late") } as const;
  server.send(server.frame(request, reply), server.frame(request, reply));
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Connection to "pair" failed: a reply has tag 0, which no request has',
  );
  scene.mayLeak = true;
});

test("abort after the reply does nothing", async () => {
  await using scene = await start();
  const controller = new AbortController();
  const name = scene.client.stat(0, { signal: controller.signal });
  await scene.server.exchange("Tstat", {}, { type: "Rstat", stat: stat("a") });
  await name;
  controller.abort();
  assertEquals(await nextTag(scene), 0);
});

test("abort leaves no listener on the signal when a call has settled", async () => {
  await using scene = await start();
  let listeners = 0;
  const { signal } = new AbortController();
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (
    ...args: Parameters<AbortSignal["addEventListener"]>
  ) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (
    ...args: Parameters<AbortSignal["addEventListener"]>
  ) => {
    listeners--;
    remove(...args);
  };
  scene.run((request) =>
    request.type === "Tread"
      ? { type: "Rread", data: new Uint8Array(0) }
      : undefined
  );
  await scene.client.readFile("a", { signal });
  await scene.client.stat("a", { signal });
  assertEquals(listeners, 0);
});

test("abort of a read puts nothing into the buffer any more", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const controller = new AbortController();
  const buffer = new Uint8Array(4);
  const error = failure(file.read(buffer, { signal: controller.signal }));
  const request = await server.expect("Tread");
  controller.abort(reason);
  assertStrictEquals(await error, reason);
  const flush = await server.expect("Tflush");
  server.answer(request, { type: "Rread", data: new Uint8Array(4).fill(7) });
  server.answer(flush, { type: "Rflush" });
  await nextTag(scene);
  assertEquals([...buffer, file.position], [0, 0, 0, 0, 0]);
});

/** Calls that make a fid, and the request of each that makes the fid. */
const bearing: [
  string,
  (client: Client, signal: AbortSignal) => Promise<unknown>,
][] = [
  ["walk", (client, signal) => client.protocol.walk("a", { signal })],
  ["stat", (client, signal) => client.stat("a", { signal })],
  ["open", (client, signal) => client.open("a", { signal })],
  ["readFile", (client, signal) => client.readFile("a", { signal })],
  ["remove", (client, signal) => client.remove("a", { signal })],
  ["call", (client, signal) => client.call("a", { signal })],
  ["rpc", (client, signal) =>
    client.protocol.rpc({
      type: "Twalk",
      fid: 0,
      newfid: client.protocol.allocFid(),
      wname: ["a"],
    }, { signal })],
];

for (const [name, call] of bearing) {
  test(`K13 abort of ${name}: a late Rwalk is clunked, the number is free after that`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const error = failure(call(client, controller.signal));
    const walk = await server.expect("Twalk", { newfid: 1 });
    controller.abort(reason);
    assertStrictEquals(await error, reason);
    const flush = await server.expect("Tflush", { oldtag: walk.tag });
    assertEquals(client.protocol.allocFid(), 2);
    server.answer(walk, { type: "Rwalk", wqid: [qid(1)] });
    const clunk = await server.expect("Tclunk", { fid: 1 });
    server.answer(flush, { type: "Rflush" });
    assertEquals(client.protocol.allocFid(), 3);
    server.answer(clunk, { type: "Rclunk" });
    await nextTag(scene);
    assertEquals(client.protocol.allocFid(), 1);
    for (const fid of [1, 2, 3]) client.protocol.releaseFid(fid);
  });

  test(`K13 abort of ${name}: without a reply the number is free at once, and not clunked`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const error = failure(call(client, controller.signal));
    await server.expect("Twalk", { newfid: 1 });
    controller.abort(reason);
    assertStrictEquals(await error, reason);
    const flush = await server.expect("Tflush");
    server.answer(flush, { type: "Rflush" });
    await nextTag(scene);
    assertEquals(client.protocol.allocFid(), 1);
    client.protocol.releaseFid(1);
  });

  test(`K13 abort of ${name}: a late Rerror makes the number free, without a clunk`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const error = failure(call(client, controller.signal));
    const walk = await server.expect("Twalk", { newfid: 1 });
    controller.abort(reason);
    assertStrictEquals(await error, reason);
    const flush = await server.expect("Tflush");
    server.refuse(walk);
    server.answer(flush, { type: "Rflush" });
    await nextTag(scene);
    assertEquals(client.protocol.allocFid(), 1);
    client.protocol.releaseFid(1);
  });
}

for (const late of ["Rcreate", "Rflush only", "Rerror"]) {
  test(`K13 abort of create, ${late}: the directory's fid is clunked`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const { signal } = controller;
    const error = failure(client.create("a", { signal }));
    await server.exchange("Twalk", {}, { type: "Rwalk", wqid: [] });
    const create = await server.expect("Tcreate", { fid: 1 });
    controller.abort(reason);
    assertStrictEquals(await error, reason);
    const flush = await server.expect("Tflush");
    if (late === "Rcreate") {
      server.answer(create, { type: "Rcreate", qid: qid(1), iounit: 0 });
    } else if (late === "Rerror") server.refuse(create);
    server.answer(flush, { type: "Rflush" });
    await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  });

  test(`K13 abort of remove, ${late}: the fid is clunked where it is left`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const { signal } = controller;
    const error = failure(client.remove("a", { signal }));
    await server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(1)] });
    const remove = await server.expect("Tremove", { fid: 1 });
    controller.abort(reason);
    assertStrictEquals(await error, reason);
    const flush = await server.expect("Tflush");
    if (late === "Rcreate") server.answer(remove, { type: "Rremove" });
    else if (late === "Rerror") server.refuse(remove);
    server.answer(flush, { type: "Rflush" });
    if (late === "Rflush only") {
      await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
    }
    await nextTag(scene);
    assertEquals(client.protocol.allocFid(), 1);
    client.protocol.releaseFid(1);
  });
}

test("abort of readFile with reads in flight flushes them all, then clunks", async () => {
  await using scene = await start({ msize: 24 + 1000 });
  const { client, server } = scene;
  const controller = new AbortController();
  const error = failure(client.readFile("a", { signal: controller.signal }));
  await server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(1)] });
  await server.exchange("Topen", {}, { type: "Ropen", qid: qid(1), iounit: 0 });
  await server.exchange("Tread", { count: 1000 }, {
    type: "Rread",
    data: new Uint8Array(1000),
  });
  await server.exchange("Tstat", {}, {
    type: "Rstat",
    stat: stat("a", 4000),
  });
  for (let i = 1; i < 4; i++) {
    await server.expect("Tread", { offset: BigInt(1000 * i) });
  }
  controller.abort(reason);
  assertStrictEquals(await error, reason);
  const flushes = [];
  for (let i = 0; i < 3; i++) flushes.push(await server.expect("Tflush"));
  for (const flush of flushes) server.answer(flush, { type: "Rflush" });
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
});

test("abort of connect closes the connection", async () => {
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const controller = new AbortController();
  const error = failure(connect(near, { signal: controller.signal }));
  const version = await server.expect("Tversion");
  server.answer(version, {
    type: "Rversion",
    msize: version.msize,
    version: "9P2000",
  });
  await server.expect("Tattach");
  controller.abort(reason);
  assertStrictEquals(await error, reason);
  assertEquals(await server.next(), null);
  server.close();
});

test("abort before connect() closes a connection that was given", async () => {
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const signal = AbortSignal.abort(reason);
  assertStrictEquals(await failure(connect(near, { signal })), reason);
  assertEquals(await server.next(), null);
  server.close();
});

test("close() rejects what is pending and what comes later", async () => {
  await using scene = await start();
  const { client } = scene;
  const { reply } = await hold(scene);
  const closing = client.close();
  const error = await failure(client.stat(0));
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Connection to "pair" is closed');
  scene.run(() => undefined);
  await closing;
  assertStrictEquals(await failure(reply), error);
  assertEquals(await client.closed, undefined);
});

test("NinePError of a lost race is not taken for an abort reason", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const mine = new NinePError("file does not exist");
  const error = failure(
    client.writeFile("a", new Uint8Array(1), { signal: controller.signal }),
  );
  await server.expect("Twalk");
  controller.abort(mine);
  assertStrictEquals(await error, mine);
  const flush = await server.expect("Tflush");
  server.answer(flush, { type: "Rflush" });
  assertEquals(await nextTag(scene), 0); // Nothing is created.
});
