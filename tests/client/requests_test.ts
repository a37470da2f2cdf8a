// The requests of the protocol as the client offers them: rpc() with a tag,
// flush(), walk(), fid() and withFid(), against a scripted server.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  failure,
  hold,
  nextFid,
  openFile,
  qid,
  type Reply,
  type Scene,
  sent,
  settled,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import {
  NinePError,
  NOFID,
  ProtocolError,
  QTDIR,
  type Tmessage,
} from "../../codec.ts";

const statted: Reply = { type: "Rstat", stat: stat("a") };
const walked: Reply = { type: "Rwalk", wqid: [qid(1)] };

/** Sends a Tstat with a tag, and takes it at the server. */
async function tagged(
  { client, server }: Scene,
  tag: number,
): Promise<{ reply: Promise<unknown>; request: Tmessage }> {
  const reply = client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag });
  reply.catch(() => {}); // The test may look at it later.
  return { reply, request: await server.expect("Tstat", { tag }) };
}

// Tags.

test("rpc() with a tag in use, or none at all, sends nothing", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { request, reply } = await hold(scene);
  const other = await tagged(scene, 65534);
  for (const tag of [0, 65534, 65535, -1, 0.5, NaN, 2 ** 32]) {
    await assertRejects(
      () => client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag }),
      RangeError,
      `Cannot take ${tag} as a tag`,
    );
  }
  // A number for a new fid is given back.
  const newfid = client.protocol.allocFid();
  await assertRejects(
    () =>
      client.protocol.rpc({ type: "Twalk", fid: 0, newfid, wname: [] }, {
        tag: 0,
      }),
    RangeError,
  );
  assertEquals(nextFid(scene), newfid);
  server.answer(request, statted);
  server.answer(other.request, statted);
  await Promise.all([reply, other.reply]);
  assertEquals(sent(scene), ["Tstat", "Tstat"]);
  const again = await tagged(scene, 65534);
  server.answer(again.request, statted);
  await again.reply;
});

test("rpc(): the lowest free tag steps over one that a caller chose", async () => {
  await using scene = await start();
  const chosen = await tagged(scene, 1);
  const first = await hold(scene);
  const second = await hold(scene);
  assertEquals([first.request.tag, second.request.tag], [0, 2]);
  for (const { request, reply } of [second, chosen, first]) {
    scene.server.answer(request, statted);
    await reply;
  }
  await settled(scene);
});

test("rpc() with a tag counts once against maxInFlight", async () => {
  await using scene = await start({ maxInFlight: 1 });
  const { client, server } = scene;
  const first = await tagged(scene, 7);
  // These wait; one of them has a tag already.
  const second = client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 9 });
  const third = client.protocol.rpc({ type: "Tclunk", fid: 77 });
  await assertRejects(
    () => client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 9 }),
    RangeError,
    "in use",
  );
  server.answer(first.request, statted);
  await first.reply;
  await server.exchange("Tstat", { tag: 9 }, statted);
  await second;
  server.refuse(await server.expect("Tclunk", { tag: 0 }));
  await assertRejects(() => third, NinePError);
});

test("rpc() with a tag aborted while it waits gives the tag back", async () => {
  await using scene = await start({ maxInFlight: 1 });
  const { client, server } = scene;
  const first = await hold(scene);
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = failure(
    client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 9, signal }),
  );
  controller.abort("enough");
  assertEquals(await waiting, "enough");
  server.answer(first.request, statted);
  await first.reply;
  const again = await tagged(scene, 9);
  server.answer(again.request, statted);
  await again.reply;
  assertEquals(sent(scene), ["Tstat", "Tstat"]);
});

// flush().

function assertFlushed(error: unknown, tag: number): void {
  assertInstanceOf(error, DOMException);
  assertEquals(
    [error.name, error.message],
    ["AbortError", `The request with tag ${tag} was flushed`],
  );
}

test("flush(): the reply that comes before the Rflush counts", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { request, reply } = await tagged(scene, 7);
  const flushing = client.protocol.flush(7);
  const flush = await server.expect("Tflush", { oldtag: 7 });
  server.answer(request, statted);
  server.answer(flush, { type: "Rflush" });
  await flushing;
  assertEquals(await reply, { ...statted, tag: 7 });
});

test("flush(): without a reply the request rejects with an AbortError", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { reply } = await tagged(scene, 7);
  const flushing = client.protocol.flush(7);
  await server.exchange("Tflush", { oldtag: 7 }, { type: "Rflush" });
  await flushing;
  assertFlushed(await failure(reply), 7);
  // With a fid: it was not made, so that its number is free.
  const newfid = client.protocol.allocFid();
  const walking = failure(
    client.protocol.rpc({ type: "Twalk", fid: 0, newfid, wname: ["a"] }, {
      tag: 8,
    }),
  );
  await server.expect("Twalk", { newfid });
  const again = client.protocol.flush(8);
  await server.exchange("Tflush", { oldtag: 8 }, { type: "Rflush" });
  await again;
  assertFlushed(await walking, 8);
  assertEquals(nextFid(scene), newfid);
});

test("flush(): the tag is taken until the Rflush", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { request, reply } = await tagged(scene, 7);
  const flushing = client.protocol.flush(7);
  const flush = await server.expect("Tflush", { oldtag: 7 });
  server.answer(request, statted);
  await reply;
  await assertRejects(
    () => client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7 }),
    RangeError,
    "Cannot take 7 as a tag: it is in use",
  );
  server.answer(flush, { type: "Rflush" });
  await flushing;
  const again = await tagged(scene, 7);
  server.answer(again.request, statted);
  await again.reply;
});

test("flush() twice sends one Tflush", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { reply } = await tagged(scene, 7);
  const flushing = [client.protocol.flush(7), client.protocol.flush(7)];
  const flush = await server.expect("Tflush", { oldtag: 7 });
  flushing.push(client.protocol.flush(7));
  server.answer(flush, { type: "Rflush" });
  await Promise.all(flushing);
  assertFlushed(await failure(reply), 7);
  await settled(scene);
  assertEquals(sent(scene), ["Tstat", "Tflush", "Tstat"]);
});

test("flush() and an abort of the same request send one Tflush", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const { signal } = controller;
  const reply = failure(
    client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7, signal }),
  );
  await server.expect("Tstat", { tag: 7 });
  controller.abort("enough");
  assertEquals(await reply, "enough");
  const flushing = client.protocol.flush(7);
  await server.exchange("Tflush", { oldtag: 7 }, { type: "Rflush" });
  await flushing;
  await settled(scene);
  assertEquals(sent(scene), ["Tstat", "Tflush", "Tstat"]);
});

test("flush() of a tag that no request has is answered all the same", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const flushing = client.protocol.flush(7);
  await server.exchange("Tflush", { oldtag: 7 }, { type: "Rflush" });
  await flushing;
  for (const tag of [-1, 65536, 0.5, NaN]) {
    await assertRejects(() => client.protocol.flush(tag), RangeError);
  }
  await settled(scene);
});

test("flush() of a request that waits for its turn sends nothing", async () => {
  await using scene = await start({ maxInFlight: 1 });
  const { client, server } = scene;
  const first = await hold(scene);
  const waiting = failure(
    client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7 }),
  );
  await client.protocol.flush(7);
  assertFlushed(await waiting, 7);
  server.answer(first.request, statted);
  await first.reply;
  const again = await tagged(scene, 7);
  server.answer(again.request, statted);
  await again.reply;
  assertEquals(sent(scene), ["Tstat", "Tstat"]);
});

test("flush() that the server refuses: the request goes on", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const { request, reply } = await tagged(scene, 7);
  for (let i = 0; i < 2; i++) {
    const flushing = assertRejects(() => client.protocol.flush(7), NinePError);
    const flush = await server.expect("Tflush", { oldtag: 7 });
    server.refuse(flush, "unknown message");
    await flushing;
  }
  server.answer(request, statted);
  assertEquals(await reply, { ...statted, tag: 7 });
});

test("flush() when the connection is lost, when it is lost already, and aborted", async () => {
  await using scene = await start();
  scene.mayLeak = true;
  const { client, server } = scene;
  const { reply } = await tagged(scene, 7);
  const controller = new AbortController();
  const aborted = failure(
    client.protocol.flush(7, { signal: controller.signal }),
  );
  const flushing = failure(client.protocol.flush(7));
  await server.expect("Tflush");
  controller.abort("enough");
  assertEquals(await aborted, "enough");
  server.close();
  const error = await flushing;
  assertInstanceOf(error, ProtocolError);
  assertStrictEquals(await failure(reply), error);
  assertStrictEquals(await failure(client.protocol.flush(7)), error);
});

test("flush(), clunk(), remove() of a fid and close() do their work also with a signal that is aborted", async () => {
  await using scene = await start();
  const { client, server } = scene;
  scene.run(({ type }) => {
    return type === "Tattach"
      ? { type: "Rattach", qid: qid(0, QTDIR) }
      : undefined;
  });
  const tree = await client.attach();
  await tree.protocol.fid("kept");
  const fids: number[] = [];
  for (const path of ["a", "b", "c"]) {
    fids.push(await client.protocol.walk(path));
  }
  const [a = -1, b = -1, c = -1] = fids;
  const signal = AbortSignal.abort("no");
  const calls = [
    client.protocol.flush(7, { signal }),
    client.protocol.clunk(a, { signal }),
    client.remove(b, { signal }),
    client.remove(c, { signal, recursive: true }),
    client.remove(client.protocol.root, { signal }),
    tree.close({ signal }),
  ];
  for (const call of calls) assertEquals(await failure(call), "no");
  await client.stat(client.protocol.root);
  assertEquals([...server.fids], [client.protocol.root]);
  assertEquals(nextFid(scene), 1);
  const types = sent(scene);
  assertEquals(types.filter((type) => type === "Tflush").length, 1);
  assertEquals(types.includes("Tremove"), false);
  await assertRejects(() => tree.stat("a"), TypeError, "it is closed");
  assertEquals(await failure(client.close({ signal })), "no");
  assertEquals(await client.closed, undefined);
  assertEquals([...server.fids], []);
});

// walk().

// P-25, C-36, C-38, C-44.
test("walk() from a fid, to a number of one's own", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const walking = client.protocol.walk("d");
  await walkTo(scene);
  const from = await walking;
  client.protocol.allocFid(); // 2
  const newfid = client.protocol.allocFid();
  // The path starts at the fid, whatever it looks like.
  const moving = client.protocol.walk("/a/..", { from, newfid });
  await server.exchange("Twalk", { fid: 1, newfid: 3, wname: ["a", ".."] }, {
    type: "Rwalk",
    wqid: [qid(2), qid(3)],
  });
  assertEquals(await moving, 3);
  await assertRejects(
    () => client.protocol.walk("a", { from, newfid: from }),
    TypeError,
    'Cannot walk to "a": from and newfid are both 1',
  );
  client.protocol.releaseFid(2);
  await settled(scene);
});

test("K7 walk() that fails gives back a number of the caller's like any other", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const failures: ((walk: Tmessage) => void)[] = [
    (walk) => server.refuse(walk),
    (walk) => server.answer(walk, { type: "Rwalk", wqid: [] }),
  ];
  for (const fail of failures) {
    const newfid = client.protocol.allocFid();
    const walking = failure(client.protocol.walk("a", { newfid }));
    fail(await server.expect("Twalk", { newfid: 1 }));
    assertInstanceOf(await walking, NinePError);
    assertEquals(nextFid(scene), 1);
  }
  await assertRejects(
    () =>
      client.protocol.walk("n".repeat(9000), {
        newfid: client.protocol.allocFid(),
      }),
    RangeError,
  );
  assertEquals(nextFid(scene), 1);
  await settled(scene);
});

// Fid numbers of the caller.

test("walk() and rpc() refuse a number that is in use or not taken, before anything is sent", async () => {
  await using scene = await start();
  const { client } = scene;
  const file = await openFile(scene); // 1
  const before = sent(scene).length;
  const bad: [number, string][] = [
    [0, "it is in use"],
    [file.fid, "it is in use"],
    [2, "it is not from allocFid()"],
    [400_000_000, "it is not from allocFid()"],
    [-1, "it is not from allocFid()"],
    [NaN, "it is not from allocFid()"],
  ];
  for (const [fid, detail] of bad) {
    const calls = [
      () => client.protocol.walk("lib", { newfid: fid }),
      () =>
        client.protocol.rpc({
          type: "Twalk",
          fid: 0,
          newfid: fid,
          wname: ["a"],
        }),
      () =>
        client.protocol.rpc({
          type: "Tauth",
          afid: fid,
          uname: "u",
          aname: "",
        }),
      () =>
        client.protocol.rpc({
          type: "Tattach",
          fid,
          afid: NOFID,
          uname: "u",
          aname: "",
        }),
    ];
    for (const call of calls) {
      // A Twalk to its own fid makes no new fid.
      if (fid === 0 && call === calls[1]) continue;
      const message = `Cannot take ${fid} as a fid: ${detail}`;
      await assertRejects(call, RangeError, message);
    }
  }
  assertEquals(sent(scene).length, before);
  assertEquals(nextFid(scene), 2, "no number is given back");
  const closing = file.close();
  await scene.server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await closing;
});

test("walk() and rpc() use a number of allocFid() once", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const newfid = client.protocol.allocFid();
  const walking = client.protocol.walk("a", { newfid });
  const twice = assertRejects(
    () => client.protocol.walk("b", { newfid }),
    RangeError,
    "in use",
  );
  await walkTo(scene);
  await Promise.all([walking, twice]);
  const again = () =>
    client.protocol.rpc({ type: "Twalk", fid: 0, newfid, wname: ["c"] });
  await assertRejects(again, RangeError, "in use");
  const clunking = client.protocol.clunk(newfid);
  await server.exchange("Tclunk", { fid: newfid }, { type: "Rclunk" });
  await clunking;
  await assertRejects(again, RangeError, "not from allocFid()");
  client.protocol.releaseFid(client.protocol.allocFid());
  await assertRejects(again, RangeError, "not from allocFid()");
  assertEquals(sent(scene), ["Twalk", "Tclunk"]);
});

test("rpc(): an incomplete Rwalk leaves the number to the caller", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const newfid = client.protocol.allocFid();
  const walk = () =>
    client.protocol.rpc({ type: "Twalk", fid: 0, newfid, wname: ["a", "b"] });
  for (const wqid of [[qid(1)], [qid(1), qid(2)]]) {
    const walking = walk();
    await server.exchange("Twalk", { newfid }, { type: "Rwalk", wqid });
    assertEquals((await walking).wqid.length, wqid.length);
  }
  await assertRejects(walk, RangeError, "in use");
});

test("allocFid() says that it is fids there are no more of", async () => {
  await using scene = await start({ fidBase: 2 ** 32 - 3 });
  const { client } = scene;
  assertEquals(client.protocol.root, 2 ** 32 - 3);
  const last = client.protocol.allocFid();
  const message = "Cannot take a fid: all 2 are in use";
  assertThrows(() => client.protocol.allocFid(), RangeError, message);
  client.protocol.releaseFid(last);
});

// fid().

// P-26.
test("fid() walks once for a path, however it is written", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const keeping = [
    client.protocol.fid("a"),
    client.protocol.fid("/a"),
    client.protocol.fid(["", "a", "."]),
    client.protocol.fid("b/../a"),
  ];
  await walkTo(scene);
  assertEquals(await Promise.all(keeping), [1, 1, 1, 1]);
  assertEquals(await client.protocol.fid("a/"), 1);
  assertEquals(sent(scene), ["Twalk"]);
  // A clunk forgets it, whether anybody waits for it or not.
  const signal = AbortSignal.abort("no");
  assertEquals(await failure(client.protocol.clunk(1, { signal })), "no");
  const again = client.protocol.fid("a");
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await walkTo(scene, 2);
  assertEquals(await again, 2);
});

test("fid(): a walk that failed is not remembered", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const failing = [
    failure(client.protocol.fid("a")),
    failure(client.protocol.fid("a")),
  ];
  server.refuse(await server.expect("Twalk"), "file does not exist");
  for (const error of await Promise.all(failing)) {
    assertInstanceOf(error, NinePError);
    assertEquals(error.message, 'Cannot walk to "a": file does not exist');
  }
  const again = client.protocol.fid("a");
  await walkTo(scene);
  assertEquals(await again, 1);
});

test("fid(): an abort fails no other call that waits for the same walk", async () => {
  await using scene = await start();
  const { client } = scene;
  const one = new AbortController();
  const two = new AbortController();
  const aborted = failure(client.protocol.fid("a", { signal: one.signal }));
  const kept = client.protocol.fid("a", { signal: two.signal });
  await new Promise((resolve) => setTimeout(resolve));
  one.abort("enough");
  assertEquals(await aborted, "enough");
  await walkTo(scene);
  assertEquals(await kept, 1);
  two.abort("too late");
  one.abort();
  assertEquals(await client.protocol.fid("a"), 1);
  await settled(scene);
  assertEquals(sent(scene), ["Twalk", "Tstat"]);
});

for (const late of [true, false]) {
  test(`K13 fid() aborted by all waiting calls, ${late ? "a late Rwalk" : "no reply"}: nothing is kept`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const { signal } = controller;
    const other = new AbortController();
    const aborted = [
      failure(client.protocol.fid("a", { signal })),
      failure(client.protocol.fid("a", { signal: other.signal })),
    ];
    const walk = await server.expect("Twalk", { newfid: 1 });
    other.abort("one");
    controller.abort("two");
    assertEquals(await Promise.all(aborted), ["two", "one"]);
    const flush = await server.expect("Tflush", { oldtag: walk.tag });
    // Who comes now has a walk of his own.
    const kept = client.protocol.fid("a");
    await walkTo(scene, 2);
    if (late) server.answer(walk, walked);
    server.answer(flush, { type: "Rflush" });
    if (late) await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
    assertEquals(await kept, 2);
    await settled(scene);
    assertEquals(nextFid(scene), 1);
    assertEquals(await client.protocol.fid("a"), 2);
  });
}

test("fid(): a removed file is not kept", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const keeping = client.protocol.fid("a");
  await walkTo(scene);
  const removing = client.remove(await keeping);
  await server.exchange("Tremove", { fid: 1 }, { type: "Rremove" });
  await removing;
  const again = client.protocol.fid("a");
  await walkTo(scene);
  assertEquals(await again, 1);
});

// withFid().

// C-37.
test("withFid() clunks after the function, whatever comes of it", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const using = client.protocol.withFid("a", (fid) => fid + 10);
  await walkTo(scene);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  assertEquals(await using, 11);
  const mine = new Error("mine");
  const failing = failure(
    client.protocol.withFid("a", () => Promise.reject(mine)),
  );
  await walkTo(scene);
  // The error of the server comes second, and is dropped.
  server.refuse(await server.expect("Tclunk", { fid: 1 }), "i/o error");
  assertStrictEquals(await failing, mine);
  await settled(scene);
  const clunking = failure(client.protocol.withFid("a", () => {}));
  await walkTo(scene);
  server.refuse(await server.expect("Tclunk", { fid: 1 }), "i/o error");
  const error = await clunking;
  assertInstanceOf(error, NinePError);
  assertEquals(error.message, 'Cannot clunk "a": i/o error');
  const missing = failure(client.protocol.withFid("a", () => assert(false)));
  server.refuse(await server.expect("Twalk", { newfid: 1 }));
  assertInstanceOf(await missing, NinePError);
  await settled(scene);
});

test("withFid() aborted while the function runs rejects at once; the fid is clunked after it", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const using = failure(client.protocol.withFid("a", () => {
    begun.resolve();
    return promise;
  }, { signal: controller.signal }));
  await walkTo(scene);
  await begun.promise;
  controller.abort("enough");
  assertEquals(await using, "enough");
  await settled(scene); // No Tclunk is sent before this point.
  resolve();
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
});

test("write() refuses what is neither bytes nor text", async () => {
  await using scene = await start();
  // A JavaScript caller may pass this.
  for (const data of [42, null, new ArrayBuffer(1)] as never[]) {
    await assertRejects(() => scene.client.protocol.write(0, data), TypeError);
  }
  assertEquals(sent(scene), []);
});

test("read() and write() take offsets as numbers and bigints, and refuse others", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const file = await openFile(scene);
  for (const offset of [5, 5n, 2n ** 64n - 1n]) {
    const reading = client.protocol.read(file.fid, { offset, count: 3 });
    await server.exchange("Tread", { offset: BigInt(offset), count: 3 }, {
      type: "Rread",
      data: new Uint8Array(2),
    });
    assertEquals((await reading).length, 2);
  }
  for (const offset of [-1, 0.5, NaN, 2 ** 53, -1n, 2n ** 64n]) {
    const wrong =
      /^Cannot (read fid 1|encode Tread): .*offset.* is .* the range is 0 to/;
    const reading = await failure(client.protocol.read(1, { offset }));
    assertInstanceOf(reading, RangeError);
    assertMatch(reading.message, wrong);
    await assertRejects(
      () => client.protocol.write(1, "x", { offset }),
      RangeError,
    );
  }
});

test("read() and write() say what was attempted, and with which fid", async () => {
  await using scene = await start();
  const { client } = scene;
  scene.run(() => ({ type: "Rerror", ename: "fid unknown or out of range" }));
  for (const verb of ["read", "write"] as const) {
    const error = await assertRejects(
      () =>
        verb === "read"
          ? client.protocol.read(99)
          : client.protocol.write(99, "x"),
      NinePError,
    );
    assertEquals(
      error.message,
      `Cannot ${verb} fid 99: fid unknown or out of range`,
    );
    assertEquals(error.code, "EBADF");
  }
  await assertRejects(
    () => client.protocol.read(99, { count: -1 }),
    RangeError,
    "Cannot read fid 99: ",
  );
});

test("Requests: a request that is aborted before it is sent gives its number back", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client } = scene;
  const signal = AbortSignal.abort(new Error("too late"));
  for (let i = 0; i < 3; i++) {
    const newfid = client.protocol.allocFid();
    assertEquals(newfid, 1);
    const wname: string[] = [];
    const request = { type: "Twalk", fid: 0, newfid, wname } as const;
    await assertRejects(
      () => client.protocol.rpc(request, { signal }),
      Error,
      "late",
    );
    const again = client.protocol.allocFid();
    assertEquals(again, 1);
    await assertRejects(
      () => client.protocol.walk("a", { newfid: again, signal }),
      Error,
      "late",
    );
  }
  await assertRejects(
    () => client.protocol.walk("a", { newfid: 1, signal }),
    RangeError,
  );
});
