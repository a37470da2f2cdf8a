// Timeouts of the connection and of a call, against a server that stops
// replying
// in each phase of each kind of call. The sanitizers look for timers that
// outlive their calls.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Clock } from "../clock.ts";
import { test } from "../harness.ts";
import {
  assertTimeout,
  defaultReply,
  failure,
  nextFid,
  openFile,
  qid,
  type Reply,
  type Scene,
  ScriptedServer,
  start,
  stat,
} from "./scripted.ts";
import { type CallerOptions, type Client, connect } from "../../client.ts";
import { QTAUTH, QTDIR, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

type Call = (client: Client, options: CallerOptions) => Promise<unknown>;

const bytes = new Uint8Array(3);

/**
 * The kinds of calls: their subjects, and the requests that they may wait for.
 */
const calls: [string, Call, string, Tmessage["type"][]][] = [
  [
    "rpc",
    (client, options) =>
      client.protocol.rpc({ type: "Tstat", fid: 0 }, options),
    'send Tstat to "pair"',
    ["Tstat"],
  ],
  [
    "walk",
    (client, options) => client.protocol.walk("a", options),
    'walk to "a"',
    [
      "Twalk",
    ],
  ],
  [
    "fid",
    (client, options) => client.protocol.fid("a", options),
    'walk to "a"',
    [
      "Twalk",
    ],
  ],
  [
    "withFid",
    (client, options) => client.protocol.withFid("a", () => {}, options),
    'use "a"',
    ["Twalk"],
  ],
  [
    "read",
    (client, options) => client.protocol.read(0, options),
    'send Tread to "pair"',
    ["Tread"],
  ],
  [
    "write",
    (client, options) => client.protocol.write(0, "x", options),
    'send Twrite to "pair"',
    ["Twrite"],
  ],
  [
    "attach",
    (client, options) => client.attach(options),
    'attach user "none" to tree "" of "pair"',
    ["Tattach"],
  ],
  [
    "auth",
    (client, options) => client.auth(options),
    'authenticate user "none" to tree "" of "pair"',
    ["Tauth"],
  ],
  ["chdir", (client, options) => client.chdir("a", options), 'change to "a"', [
    "Twalk",
    "Tstat",
  ]],
  ["open", (client, options) => client.open("a", options), 'open "a"', [
    "Twalk",
    "Topen",
  ]],
  ["create", (client, options) => client.create("a", options), 'create "a"', [
    "Twalk",
    "Tcreate",
  ]],
  ["readFile", (client, options) => client.readFile("a", options), 'read "a"', [
    "Twalk",
    "Topen",
    "Tread",
  ]],
  [
    "writeFile",
    (client, options) => client.writeFile("a", bytes, options),
    'write "a"',
    ["Twalk", "Topen", "Twrite"],
  ],
  ["stat", (client, options) => client.stat("a", options), 'stat "a"', [
    "Twalk",
    "Tstat",
  ]],
  [
    "mkdir",
    (client, options) => client.mkdir("a", options),
    'make directory "a"',
    ["Twalk", "Tcreate"],
  ],
  ["remove", (client, options) => client.remove("a", options), 'remove "a"', [
    "Twalk",
    "Tremove",
  ]],
  ["call", (client, options) => client.call("a", options), 'call "a"', [
    "Twalk",
    "Tcall",
  ]],
];

/** The replies of the server. */
function replyTo(request: Tmessage): Reply {
  switch (request.type) {
    case "Tread":
      return { type: "Rread", data: new Uint8Array(0) };
    case "Tstat":
      return { type: "Rstat", stat: { ...stat("a"), qid: qid(1, QTDIR) } };
    case "Tattach":
      return { type: "Rattach", qid: qid(0, QTDIR) };
    case "Tauth":
      return { type: "Rauth", aqid: qid(1, QTAUTH) };
    case "Tcall":
      return { type: "Rcall", err: 0, text: "", data: new Uint8Array(0) };
    default: {
      const reply = defaultReply(request);
      assert(reply, request.type);
      return reply;
    }
  }
}

/**
 * Answers all requests except the first of a type, and returns that one. With
 * `late`, the server answers it when its Tflush arrives.
 */
function answerAllBut(
  { server }: Scene,
  silent: Tmessage["type"],
  late: boolean,
): { held: Promise<Tmessage>; flushed: number[]; done: Promise<void> } {
  const { promise: held, resolve } = Promise.withResolvers<Tmessage>();
  let first: Tmessage | undefined;
  const flushed: number[] = [];
  const run = async () => {
    for (
      let request = await server.next();
      request !== null;
      request = await server.next()
    ) {
      if (!first && request.type === silent) {
        resolve(first = request);
        continue;
      }
      if (request.type === "Tflush") {
        flushed.push(request.oldtag);
        if (late && first) server.answer(first, replyTo(first));
      }
      server.answer(request, replyTo(request));
    }
  };
  return { held, flushed, done: run() };
}

for (const [name, call, what, phases] of calls) {
  for (const silent of phases) {
    test(`timeout of ${name}() in its ${silent}: a Tflush goes out, neither tag nor fid is lost`, async () => {
      for (const late of [true, false]) {
        using clock = new Clock();
        const scene = await start();
        const { client, server } = scene;
        const { held, flushed, done } = answerAllBut(scene, silent, late);
        const failing = failure(call(client, { timeout: 12345 }));
        const { tag } = await held;
        clock.expire(12345);
        const message = `Cannot ${what}: no answer within 12345 ms`;
        assertTimeout(await failing, message);
        // The Rflush is there after one of them, what is clunked then after
        // two.
        for (let i = 0; i < 4; i++) await client.stat(0);
        assertEquals(flushed, [tag]);
        assertEquals([nextFid(scene), server.open.size], [1, 0]);
        assertEquals([...server.fids], [0]);
        assertEquals(clock.timers.size, 0);
        await client.close();
        await done;
        server.close();
      }
    });
  }
}

test("timeout of all calls is that of connect(); a call's own one counts instead", async () => {
  using clock = new Clock();
  const scene = await start({ timeout: 100 });
  const { client, server } = scene;
  assertEquals(clock.timers.size, 0); // The timer of connect() has ended.
  const { held, done } = answerAllBut(scene, "Tstat", false);
  const failing = failure(client.stat("a"));
  await held;
  const other = client.protocol.walk("b", { timeout: 200 });
  assertEquals([...clock.timers.keys()], [100, 200]);
  await other;
  assertEquals([...clock.timers.keys()], [100]);
  clock.expire(100);
  assertTimeout(await failing, 'Cannot stat "a": no answer within 100 ms');
  const endless = client.stat("a", { timeout: Infinity });
  assertEquals(clock.timers.size, 0);
  await endless;
  await client.close();
  await done;
  server.close();
});

test("timeout of a file's own calls, of version() and flush()", async () => {
  using clock = new Clock();
  const scene = await start();
  const { client, server } = scene;
  const file = await openFile(scene);
  const reading = failure(file.read(new Uint8Array(1), { timeout: 5 }));
  const read = await server.expect("Tread");
  clock.expire(5);
  assertTimeout(await reading, 'Cannot read "f": no answer within 5 ms');
  const flush = await server.expect("Tflush", { oldtag: read.tag });
  const flushing = failure(client.protocol.flush(77, { timeout: 6 }));
  const other = await server.expect("Tflush", { oldtag: 77 });
  clock.expire(6);
  const message = 'Cannot flush tag 77 of "pair": no answer within 6 ms';
  assertTimeout(await flushing, message);
  server.answer(flush, { type: "Rflush" });
  server.answer(other, { type: "Rflush" });
  const renewing = failure(client.version({ timeout: 7 }));
  await server.expect("Tversion");
  clock.expire(7);
  assertTimeout(
    await renewing,
    'Cannot start a session with "pair": no answer within 7 ms',
  );
  server.close();
  await client.closed;
  await client.close();
  assertEquals(clock.timers.size, 0);
});

test("timeout of connect() holds for a file's chunks(), writes and close(), not for what readable waits for", async () => {
  using clock = new Clock();
  const scene = await start({ timeout: 100 });
  const { client, server } = scene;
  const file = await openFile(scene);
  const reading = file.readable.getReader().read();
  const read = await server.expect("Tread");
  assertEquals(clock.timers.size, 0); // The next event may be hours away.
  server.answer(read, { type: "Rread", data: new Uint8Array(1) });
  await reading;
  const chunk = failure(file.chunks().next());
  const second = await server.expect("Tread");
  clock.expire(100);
  assertTimeout(await chunk, 'Cannot read "f": no answer within 100 ms');
  const flush = await server.expect("Tflush", { oldtag: second.tag });
  server.answer(flush, { type: "Rflush" });
  const writer = file.writable.getWriter();
  writer.closed.catch(() => {});
  const writing = failure(writer.write("x"));
  const write = await server.expect("Twrite");
  clock.expire(100);
  assertTimeout(await writing, 'Cannot write "f": no answer within 100 ms');
  const closing = failure(file.close());
  await server.expect("Tflush", { oldtag: write.tag });
  await server.expect("Tclunk");
  clock.expire(100);
  assertTimeout(await closing, 'Cannot close "f": no answer within 100 ms');
  server.close();
  await client.closed;
  await client.close();
  assertEquals(clock.timers.size, 0);
});

test("timeout of connect() is not for what withFile() and withFid() run", async () => {
  using clock = new Clock();
  const scene = await start({ timeout: 100 });
  const { client } = scene;
  scene.run(() => undefined);
  const timers = () => clock.timers.size;
  assertEquals(await client.withFile("f", timers), 0);
  assertEquals(await client.protocol.withFid("f", timers), 0);
  assertEquals(await client.withFile("f", timers, { timeout: 7 }), 1);
  assertEquals(await client.protocol.withFid("f", timers, { timeout: 7 }), 1);
  assertEquals(clock.timers.size, 0);
  await client.close();
  scene.server.close();
});

test("timeout and signal of one call: what comes first counts", async () => {
  using clock = new Clock();
  const scene = await start();
  const { client } = scene;
  const { held, flushed, done } = answerAllBut(scene, "Tstat", false);
  const controller = new AbortController();
  const { signal } = controller;
  const failing = failure(client.stat(0, { signal, timeout: 5 }));
  await held;
  controller.abort("enough");
  assertEquals(await failing, "enough");
  assertEquals(clock.timers.size, 0);
  await client.stat(0);
  assertEquals(flushed.length, 1);
  const aborted = client.stat(0, { signal, timeout: 5 });
  assertEquals(await failure(aborted), "enough");
  assertEquals(clock.timers.size, 0);
  await client.close();
  await done;
  scene.server.close();
});

test("timeout of connect(), with a server that is silent in each phase, closes the connection", async () => {
  for (const phase of ["Tversion", "Tauth", "Tattach"] as const) {
    using clock = new Clock();
    const [near, far] = pair();
    const server = new ScriptedServer(far);
    const auth = phase === "Tauth" ? () => {} : undefined;
    const failing = failure(connect(near, { timeout: 5, auth }));
    if (phase !== "Tversion") {
      const version = await server.expect("Tversion");
      const { msize } = version;
      server.answer(version, { type: "Rversion", msize, version: "9P2000" });
    }
    await server.expect(phase);
    clock.expire(5);
    const message = 'Cannot connect to "pair": no answer within 5 ms';
    assertTimeout(await failing, message);
    assertEquals(await server.next(), null);
    server.close();
  }
});

// P-21.
test("timeout of 1 ms against a server that never answers, with the clock of the runtime", async () => {
  const [near, far] = pair();
  assertTimeout(
    await failure(connect(near, { timeout: 1 })),
    'Cannot connect to "pair": no answer within 1 ms',
  );
  far.close();
  const { client, server } = await start({ closeTimeout: 0 });
  assertTimeout(
    await failure(client.stat(0, { timeout: 0.5 })),
    "Cannot stat fid 0: no answer within 0.5 ms",
  );
  await client.close();
  server.close();
});

test("timeout must be above 0; nothing is sent otherwise", async () => {
  const bad = [0, -1, NaN, -Infinity, 2 ** 31];
  for (const timeout of bad) {
    await assertRejects(
      () => connect("tcp://127.0.0.1:1", { timeout }),
      RangeError,
      `Cannot connect to "tcp://127.0.0.1:1": timeout is ${timeout}, the range is above 0 to 2^31 - 1, or Infinity`,
    );
  }
  const [near, far] = pair();
  const served = serve(far, new MemoryFs());
  {
    await using client = await connect(near, { timeout: Infinity });
    for (const timeout of bad) {
      for (const [, call, what] of calls) {
        await assertRejects(
          () => call(client, { timeout }),
          RangeError,
          `Cannot ${what}: timeout is ${timeout}`,
        );
      }
    }
    assertEquals((await client.stat("/", { timeout: 2 ** 31 - 1 })).name, "/");
    assertEquals(client.protocol.allocFid() <= 2, true);
  }
  await served;
});

test("closeTimeout is checked", async () => {
  for (const closeTimeout of [-1, NaN, Infinity, 2 ** 31, 0.5]) {
    await assertRejects(
      () => connect("tcp://127.0.0.1:1", { closeTimeout }),
      RangeError,
      "Cannot connect: closeTimeout is",
    );
  }
});
