// The limits of a server that can be set, each with its test; how it stops;
// and the trace of its messages.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { concat } from "@std/bytes";
import { encode, formatMessage, type Message, printable } from "../../codec.ts";
import {
  listen,
  serve,
  type SessionOptions,
  type TracedFrame,
  type TracedMessage,
} from "../../server.ts";
import { type Connection, dial, pair } from "../../transport.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { test } from "../harness.ts";
import { Gate, NEVER, nextTask, serveToy, Toy, untilAborted } from "./toy.ts";
import { soon, T, WireClient } from "./wire_client.ts";

test("maxFids: one more is refused, and a number that is free is not", async () => {
  await using scene = await serveToy({}, { maxFids: 3 });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.walk(1, 0, 2), "Rwalk 1");
  await client.ask(T.walk(1, 0, 3), "Rerror 1 Too many open files");
  await client.ask(T.attach(1, 3), "Rerror 1 Too many open files");
  await client.ask(T.clunk(1, 1), "Rclunk 1");
  await client.ask(T.walk(1, 0, 3), "Rwalk 1");
});

test("maxRequests: a further request is refused, and those under way go on", async () => {
  const gate = new Gate();
  let asked = 0;
  await using scene = await serveToy({
    read: async () => {
      asked++;
      await gate.passed;
      return new Uint8Array(0);
    },
  }, { maxRequests: 2 });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1), "Ropen 1 1");
  client.send(T.read(1, 1), T.read(2, 1));
  const refused = "Too many open files";
  await client.ask(T.read(3, 1), `Rerror 3 ${refused}`);
  await client.ask(T.stat(3, 1), `Rerror 3 ${refused}`);
  await client.ask(T.walk(3, 0, 2, "a"), `Rerror 3 ${refused}`);
  await client.ask(T.attach(3, 3), `Rerror 3 ${refused}`);
  // Requests that free something are not refused.
  await client.ask(T.clunk(3, 0), "Rclunk 3");
  await client.ask(T.flush(3, 2), "Rflush 3");
  client.send(T.clunk(4, 1)); // It waits for the read.
  await client.quiet();
  gate.open();
  await client.expect("Rread 1", "Rclunk 4");
  assertEquals(asked, 2);
  // The refused requests have left no fid behind.
  await client.ask(T.attach(3, 3), "Rattach 3 0");
  await client.ask(T.walk(3, 3, 2, "a"), "Rwalk 3 1");
});

test("maxRequests: requests that were given up count until their handler ends", async () => {
  const gates: Gate[] = [];
  await using scene = await serveToy({
    read: async () => {
      const gate = new Gate();
      gates.push(gate);
      await gate.passed; // Deaf to the signal.
      return new Uint8Array(0);
    },
  }, { maxRequests: 3 });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1), "Ropen 1 1");
  for (let i = 0; i < 3; i++) {
    client.send(T.read(2, 1));
    await client.ask(T.flush(3, 2), "Rflush 3");
  }
  for (let i = 0; i < 3; i++) {
    await client.ask(T.read(2, 1), "Rerror 2 Too many open files");
  }
  assertEquals(gates.length, 3);
  gates[0].open();
  await gates[0].passed;
  await client.ask(T.stat(4, 0), "Rstat 4 /");
  for (const gate of gates) gate.open();
});

test("maxName: a longer name is refused in create and rename", async () => {
  await using scene = await serveToy({}, { maxName: 4 });
  const { client } = scene;
  const refused = "Rerror 1 File name too long";
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.create(1, 1, "abcde"), refused);
  await client.ask(T.create(1, 1, "ééé"), refused); // Six bytes.
  await client.ask(T.wstat(1, 1, { name: "abcde" }), refused);
  await client.ask(T.wstat(1, 1, { name: "abcd" }), "Rwstat 1");
});

test("msize: a larger one is bounded", async () => {
  await using scene = await serveToy({}, { msize: 1000 });
  const { client } = scene;
  await client.ask(T.version(8192), "Rversion 65535 1000 9P2000");
});

test("versionTimeout: a connection that says nothing is closed", async () => {
  const [near, far] = pair();
  const served = serve(far, new Toy().handler, { versionTimeout: 1 });
  using client = new WireClient(near);
  await client.end();
  await soon(served);
});

test("versionTimeout: a session that has begun is not closed", async () => {
  await using scene = await serveToy({}, { versionTimeout: 1 });
  const { client } = scene;
  // The clock of a connection that came later has run out meanwhile.
  const [near, far] = pair();
  const other = serve(far, new Toy().handler, { versionTimeout: 5 });
  using silent = new WireClient(near);
  await silent.end();
  await soon(other);
  await client.ask(T.stat(1, 0), "Rstat 1 /");
});

test("idleTimeout: a session without requests is closed, its fids are released", async () => {
  await using scene = await serveToy({}, { idleTimeout: 1 });
  await scene.client.end();
  await soon(scene.served);
  assert(scene.takeLog().includes("clunk 0"));
});

test("idleTimeout: a request that blocks is no idleness", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    read: async () => {
      await gate.passed;
      return new Uint8Array(0);
    },
  }, { idleTimeout: 5 });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  const [near, far] = pair();
  const other = serve(far, new Toy().handler, { versionTimeout: 20 });
  using silent = new WireClient(near);
  await silent.end(); // Time has passed, four times the limit.
  await soon(other);
  gate.open();
  await client.expect("Rread 3");
});

test("idleTimeout: bytes that are no request yet are idleness", async () => {
  await using scene = await serveToy({}, { idleTimeout: 20 });
  const { client } = scene;
  const frame = encode({
    type: "Twrite",
    tag: 1,
    fid: 0,
    offset: 0n,
    data: new Uint8Array(8000),
  });
  let ended = false;
  const drip = (async () => {
    for (const byte of frame) {
      if (ended) return;
      client.raw(Uint8Array.of(byte));
      await nextTask();
    }
  })();
  await client.end();
  ended = true;
  await drip;
});

test("maxConnections: one more is closed, and there is room when one has gone", async () => {
  const tree = new MemoryFs({ motd: "hello\n" });
  await using server = await listen("tcp://127.0.0.1:0", tree, {
    maxConnections: 1,
  });
  using first = new WireClient(await dial(server.addr));
  await first.start();
  {
    using second = new WireClient(await dial(server.addr));
    await second.end();
  }
  await first.ask(T.stat(1, 0), "Rstat 1 /");
  first.close();
  // The server learns of the end in its own time.
  while (true) {
    using third = new WireClient(await dial(server.addr));
    const begun = third.start().then(() => true, () => false);
    if (await begun) break;
  }
});

test("limits that are none are refused", async () => {
  for (
    const options of [
      { msize: 255 },
      { maxFids: 0 },
      { maxRequests: 0 },
      { maxRequests: 65537 },
      { waitingAfter: 0 },
      { waitingAfter: 2 ** 31 },
      { maxHeldBytes: 0 },
      { maxName: 0 },
      { maxRequestBytes: 0 },
      { maxReplyBytes: 0 },
      { maxReplyBytes: Infinity },
      { versionTimeout: -1 },
      { idleTimeout: 0.5 },
      { closeTimeout: NaN },
    ] satisfies SessionOptions[]
  ) {
    const [near, far] = pair();
    await assertRejects(
      () => serve(far, new Toy().handler, options),
      RangeError,
      "the range is",
    );
    near.close();
  }
});

// P-03.
test("errors: a form that there is not is refused", async () => {
  const errors = "xml" as "json";
  const serving = listen("tcp://127.0.0.1:0", new MemoryFs(), { errors });
  await assertRejects(() => serving, TypeError, "errors xml");
});

test("close() lets a request that is under way finish, and takes no more", async () => {
  const gate = new Gate();
  const toy = new Toy();
  await using server = await listen("tcp://127.0.0.1:0", {
    ...toy.handler,
    write: async ({ node }, { data }) => {
      await gate.passed;
      node.content = data.slice();
    },
  });
  using client = new WireClient(await dial(server.addr));
  await client.start();
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, 1), "Ropen 1 1");
  client.send(T.write(2, 1, "kept"));
  await client.quiet();
  const closed = server.close();
  client.send(T.stat(3, 0));
  gate.open();
  await client.expect("Rwrite 2 4");
  await client.end();
  await soon(closed);
  const { content } = toy.root.members.get("a") ?? toy.root;
  assertEquals(new TextDecoder().decode(content), "kept");
  await assertRejects(() => dial(server.addr));
});

test("close() aborts what does not finish, and releases every fid", async () => {
  let aborted = false;
  const stop = new AbortController();
  await using scene = await serveToy({
    read: (_fid, _request, { signal }) => {
      signal.addEventListener("abort", () => aborted = true);
      return untilAborted(signal);
    },
  }, { closeTimeout: 1, signal: stop.signal });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  stop.abort();
  await client.end();
  await soon(scene.served);
  assert(aborted);
  const log = scene.takeLog();
  assertEquals(log.filter((line) => line.startsWith("clunk")).sort(), [
    "clunk 0",
    "clunk 1",
  ]);
  assertEquals(log.at(-1), "disconnect");
});

test("onMessage gets every message, in order, and formatMessage() shows it", async () => {
  const lines: string[] = [];
  const trace = (traced: TracedMessage | TracedFrame) => {
    const { direction, message, time, peer, error } = traced;
    assert(time > 1.7e12);
    assertEquals(peer, "pair");
    const text = message ? formatMessage(message) : error.message;
    lines.push(`${direction} ${text}`);
  };
  await using scene = await serveToy({}, { onMessage: trace });
  const { client } = scene;
  lines.length = 0;
  await client.ask(T.walk(3, 0, 1, "d", "x"), "Rwalk 3 2,3");
  await client.ask(T.stat(4, 9), "Rerror 4 fid unknown or out of range");
  await client.ask(T.flush(5, 4), "Rflush 5");
  assertEquals(lines, [
    "in Twalk tag 3 fid 0 newfid 1 wname [d x]",
    "out Rwalk tag 3 wqid [{type 128 vers 0 path 2} {type 0 vers 0 path 3}]",
    "in Tstat tag 4 fid 9",
    'out Rerror tag 4 ename "fid unknown or out of range"',
    "in Tflush tag 5 oldtag 4",
    "out Rflush tag 5",
  ]);
});

test("onMessage gets frames that do not decode", async () => {
  const told: unknown[] = [];
  await using scene = await serveToy({}, {
    onMessage: (traced) => {
      if (traced.message !== undefined) return;
      const { direction, error, frame } = traced;
      told.push([direction, error.message, frame.slice()]);
    },
  });
  const { client } = scene;
  const cut = new Uint8Array([9, 0, 0, 0, 116, 1, 0, 5, 0]); // A Tread, too short.
  const other = new Uint8Array([7, 0, 0, 0, 200, 2, 0]); // No type of the protocol.
  client.raw(concat([cut, encode(T.stat(3, 0)), other]));
  await client.expect(
    "Rerror 1 protocol botch",
    "Rstat 3 /",
    "Rerror 2 Operation not supported",
  );
  assertEquals(told, [
    ["in", 'Cannot decode Tread: "fid" needs 4 bytes, 2 are left', cut],
    ["in", "Cannot decode a message: type 200 is unknown in 9P2000", other],
  ]);
});

test("onMessage that throws costs nothing", async () => {
  await using scene = await serveToy({}, {
    onMessage: () => {
      throw new Error("no paper");
    },
  });
  await scene.client.ask(T.stat(1, 0), "Rstat 1 /");
  assert(scene.takeErrors().length > 0);
});

test("formatMessage() cuts data and escapes control characters", () => {
  const line = (message: Message) => formatMessage(message);
  assertEquals(
    line({ type: "Rerror", tag: 1, ename: "\x1b[2J\x9b1m\u2028" }),
    'Rerror tag 1 ename "\\u001b[2J\\u009b1m\\u2028"',
  );
  assertEquals(
    line({ type: "Rread", tag: 1, data: new Uint8Array([0, 255]) }),
    "Rread tag 1 data 2 00ff",
  );
  assertEquals(
    line({ type: "Rread", tag: 1, data: new Uint8Array(1000).fill(97) }),
    `Rread tag 1 data 1000 "${"a".repeat(64)}"…`,
  );
  assertEquals(
    line({ type: "Tcreate", tag: 1, fid: 2, name: "é", perm: 0o644, mode: 1 }),
    "Tcreate tag 1 fid 2 name é perm 0644 mode 01",
  );
  assertEquals(
    line({ type: "Tattach", tag: 1, fid: 0, afid: 5, uname: "", aname: "a b" }),
    'Tattach tag 1 fid 0 afid 5 uname "" aname "a b"',
  );
});

test("printable() escapes characters that drive a terminal or turn a line, and no others", () => {
  const cases = [
    ["", ""],
    ["plain, é, €, 日本, \u{1f600}", "plain, é, €, 日本, \u{1f600}"],
    ['"a" \\n', '"a" \\n'],
    ["\x1b[2J\x1b[31mevil", "\\u001b[2J\\u001b[31mevil"],
    ["a\nb\rc\td\0", "a\\nb\\rc\\td\\u0000"],
    ["\x7f\x9b1A\x85", "\\u007f\\u009b1A\\u0085"],
    ["\u2028\u2029", "\\u2028\\u2029"],
    ["a\u202etxt.exe\u2066\u200f", "a\\u202etxt.exe\\u2066\\u200f"],
    ["\ud800x\udc00", "\\ud800x\\udc00"],
  ] as const;
  for (const [text, shown] of cases) assertEquals(printable(text), shown);
  for (let code = 0; code < 0x20; code++) {
    const shown = printable(String.fromCharCode(code));
    assertMatch(shown, /^\\(u00[01][0-9a-f]|[bfnrt])$/);
  }
});

/** Calls a function with the number of bytes that a server takes in. */
function onRead(
  connection: Connection,
  tell: (count: number) => void,
): Connection {
  const { read } = connection; // A pair has the fast path.
  if (read === undefined) throw new TypeError("no fast path");
  connection.read = async (buffer) => {
    const chunk = await read.call(connection, buffer);
    tell(chunk?.length ?? 0);
    return chunk;
  };
  return connection;
}

/**
 * Returns the bytes that a server takes in, of 40 MB of writes that wait for
 * their fid.
 */
async function takenOfWaiting(options: SessionOptions): Promise<number> {
  const gate = new Gate();
  let taken = 0;
  await using scene = await serveToy({
    read: async () => {
      await gate.passed;
      return new Uint8Array(0);
    },
  }, {
    ...options,
    wrap: (connection) => onRead(connection, (count) => taken += count),
  });
  const { client } = scene;
  const msize = 1 << 20;
  await client.ask(T.version(msize), `Rversion 65535 ${msize} 9P2000`);
  await client.ask(T.attach(1, 0), "Rattach 1 0");
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, 2), "Ropen 1 1");
  // The clunk waits for the read, and the writes for the clunk.
  client.send(T.read(1, 1), T.clunk(2, 1));
  const large = new Uint8Array(1_000_000);
  for (let i = 0; i < 40; i++) client.send(T.write(10 + i, 1, large));
  for (let i = 0; i < 200; i++) await nextTask();
  const took = taken;
  gate.open();
  await client.expect("Rread 1", "Rclunk 2");
  for (let i = 0; i < 40; i++) {
    await client.expect(`Rerror ${10 + i} fid unknown or out of range`);
  }
  return took;
}

test("maxRequestBytes: requests that wait with data are bounded in bytes, too", async () => {
  const taken = await takenOfWaiting({
    waitingAfter: NEVER,
    maxRequestBytes: 4e6,
  });
  assert(taken > 4e6 && taken < 7e6, `${taken} of 4 MB`);
});

test("maxRequestBytes is 16 MiB by default", async () => {
  const taken = await takenOfWaiting({});
  assert(taken > 2 ** 24 && taken < 2 ** 24 + 3e6, `${taken} of 16 MiB`);
});

/** Bytes of messages without their data. */
const TWRITE = 23;
const TREAD = 23;
const TCLUNK = 11;
const TWSTAT = 62;

test("maxRequestBytes: up to it a Tflush is seen, beyond it when there is room again", async () => {
  for (const beyond of [false, true]) {
    const gate = new Gate();
    await using scene = await serveToy({
      write: () => gate.passed,
    }, {
      waitingAfter: NEVER,
      maxRequestBytes: TWRITE + TCLUNK + 3 * (TWRITE + 10),
    });
    const { client } = scene;
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, 1, 2), "Ropen 1 1");
    const data = new Uint8Array(10);
    // The clunk waits for the write, the others for the clunk.
    client.send(T.write(1, 1, data), T.clunk(2, 1));
    client.send(...[3, 4, 5].map((tag) => T.write(tag, 1, data)));
    if (beyond) client.send(T.write(6, 1, "x"));
    client.send(T.flush(7, 5), T.stat(8, 0));
    const flushed = ["Rflush 7", "Rstat 8 /"];
    if (!beyond) await client.expect(...flushed);
    else for (let i = 0; i < 20; i++) await nextTask();
    gate.open();
    await client.expect("Rwrite 1 10", "Rclunk 2");
    for (const tag of beyond ? [3, 4, 5, 6] : [3, 4]) {
      await client.expect(`Rerror ${tag} fid unknown or out of range`);
    }
    if (beyond) await client.expect(...flushed);
  }
});

test("maxRequestBytes: data that were copied for a handler that answered at once do not count", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    write: ({ fid }) => fid === 1 ? gate.passed : undefined,
  }, { waitingAfter: NEVER, maxRequestBytes: 16 * TWRITE + TWRITE + 10 });
  const { client } = scene;
  for (const fid of [1, 2]) {
    await client.ask(T.walk(1, 0, fid, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, fid, 2), "Ropen 1 1");
  }
  // As many as may keep the read buffers: data of further ones are copied.
  client.send(...Array.from({ length: 16 }, (_, i) => T.write(i, 1, "x")));
  for (let i = 0; i < 10; i++) {
    await client.ask(T.write(100, 2, "eight by"), "Rwrite 100 8");
  }
  gate.open();
  for (let i = 0; i < 16; i++) await client.expect(`Rwrite ${i} 1`);
});

test("maxRequestBytes: data that wait for their fid count once", async () => {
  const gates: Gate[] = [];
  const wait = () => {
    const gate = new Gate();
    gates.push(gate);
    return gate.passed;
  };
  await using scene = await serveToy({
    read: () => wait().then(() => new Uint8Array(0)),
    wstat: wait,
  }, {
    waitingAfter: NEVER,
    maxRequestBytes: TWSTAT + TREAD + TWRITE + 8 + 10,
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, 2), "Ropen 1 1");
  await client.ask(T.walk(1, 0, 2, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 2, 2), "Ropen 1 1");
  for (let round = 0; round < 5; round++) {
    client.send(T.wstat(1, 1), T.read(2, 2), T.write(3, 1, "eight by"));
    await client.quiet();
    gates.pop()?.open(); // The gate of the read; the write waits for the Twstat.
    await client.expect("Rread 2");
    await client.quiet();
    gates.pop()?.open();
    await client.expect("Rwstat 1", "Rwrite 3 8");
  }
});

test("maxRequestBytes: all of a message that waits counts, not only its data", async () => {
  let taken = 0;
  const gate = new Gate();
  await using scene = await serveToy({
    read: () => gate.passed.then(() => new Uint8Array(0)),
  }, {
    waitingAfter: NEVER,
    maxRequestBytes: 100_000,
    wrap: (connection) => onRead(connection, (count) => taken += count),
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1), "Ropen 1 1");
  // The walks wait for the clunk, which waits for the read.
  client.send(T.read(1, 1), T.clunk(2, 1));
  const name = "n".repeat(5000);
  for (let i = 0; i < 300; i++) client.send(T.walk(10 + i, 1, 1000 + i, name));
  for (let i = 0; i < 100; i++) await nextTask();
  // The reads ahead are bounded by 256 KiB.
  assert(taken < 500_000, `${taken} bytes were taken`);
  gate.open();
  await client.expect("Rread 1", "Rclunk 2");
  for (let i = 0; i < 300; i++) {
    await client.expect(`Rerror ${10 + i} fid unknown or out of range`);
  }
});

test("maxRequests: requests of an old session count until their handlers end", async () => {
  const gate = new Gate();
  let running = 0;
  await using scene = await serveToy({
    async write() {
      running++;
      await gate.passed; // Deaf to the signal.
      running--;
    },
  }, { maxRequests: 4, closeTimeout: 1 });
  const { client } = scene;
  const begin = [T.attach(1, 0), T.walk(2, 0, 1, "a"), T.open(3, 1, 2)];
  const begun = ["Rattach 1 0", "Rwalk 2 1", "Ropen 3 1"];
  const tags = [10, 11, 12, 13];
  const writes = tags.map((tag) => T.write(tag, 1, "x"));
  const version = () =>
    client.ask(T.version(8192), "Rversion 65535 8192 9P2000");
  await version();
  client.send(...begin, ...writes);
  await client.expect(...begun);
  for (let round = 0; round < 3; round++) {
    await version();
    await client.ask(T.attach(1, 0), "Rerror 1 Too many open files");
  }
  assertEquals(running, 4);
  gate.open();
  while (running > 0) await nextTask();
  client.send(...begin, ...writes);
  await client.expect(...begun);
  await client.expectSome(...tags.map((tag) => `Rwrite ${tag} 1`));
});

test("close() is not held up by a handler that never ends", async () => {
  const stop = new AbortController();
  await using scene = await serveToy({
    write: () => new Promise<void>(() => {}), // Deaf to the signal.
  }, { closeTimeout: 1, signal: stop.signal });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1, 1), T.write(3, 1, "x"));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  stop.abort();
  await soon(scene.served);
});

test("Tversion is not held up by a handler that never ends", async () => {
  const stop = new AbortController();
  await using scene = await serveToy({
    write: () => new Promise<void>(() => {}),
  }, { closeTimeout: 1, signal: stop.signal });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1, 1), T.write(3, 1, "x"));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  await client.ask(T.version(), "Rversion 65535 8192 9P2000");
  stop.abort(); // The end of the connection is held up, that of a server not.
});

test("onError that throws, and a disconnect that does, end nothing", async () => {
  let told = 0;
  const toy = new Toy();
  await using server = await listen("tcp://127.0.0.1:0", {
    ...toy.handler,
    stat: () => {
      throw new Error("no stat");
    },
    disconnect: () => {
      throw new Error("no goodbye");
    },
  }, {
    onError: () => {
      told++;
      throw new Error("no ear");
    },
  });
  for (let i = 0; i < 2; i++) {
    using client = new WireClient(await dial(server.addr));
    await client.start();
    await client.ask(T.stat(1, 0), "Rerror 1 i/o error");
  }
  await server.close();
  assertEquals(told, 4);
});

test("maxConnections that is none is refused", async () => {
  for (const maxConnections of [0, -1, NaN]) {
    await assertRejects(
      () => listen("tcp://127.0.0.1:0", new MemoryFs(), { maxConnections }),
      RangeError,
      "maxConnections",
    );
  }
});

test("maxRequests: as many as may be can wait for one another", async () => {
  const gate = new Gate();
  let first = true;
  await using scene = await serveToy((toy) => ({
    walk: (_node, name) => {
      const found = toy.root.members.get(name);
      if (!first) return found;
      first = false;
      return gate.passed.then(() => found);
    },
  }), { maxRequests: 20_000 });
  const { client } = scene;
  const walks = Array.from(
    { length: 19_999 },
    (_, i) => T.walk(i + 1, i, i + 1, ...(i === 0 ? ["d"] : [])),
  );
  client.send(...walks);
  await client.quiet();
  gate.open();
  await client.expect("Rwalk 1 2");
  for (let i = 2; i <= walks.length; i++) await client.expect(`Rwalk ${i}`);
});
