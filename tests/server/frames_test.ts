// Incoming bytes: frames cut and joined in every way, and frames that are no
// messages. S1 to S17 of the conformance list.
import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { encode, OREAD, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { NEVER, onWrite, serveToy, untilAborted } from "./toy.ts";
import { malformed, Random } from "../codec/vectors.ts";
import { soon, T, WireClient } from "./wire_client.ts";

/** A tree that any user may write to, and connections to it. */
class Served implements AsyncDisposable {
  readonly fs = new MemoryFs({ a: "alpha" }, { mode: 0o777 });
  readonly errors: unknown[] = [];
  readonly #clients: WireClient[] = [];
  readonly #served: Promise<void>[] = [];

  connect(): WireClient {
    const [near, far] = pair();
    const onError = (error: unknown) => this.errors.push(error);
    this.#served.push(serve(far, this.fs, { onError }));
    const client = new WireClient(near);
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await soon(Promise.all(this.#served));
  }
}

for (const { name, msize, frame, expect, fresh } of malformed()) {
  // C-74.
  test(`serve() survives: ${name}`, async () => {
    await using served = new Served();
    const other = served.connect();
    await other.start();
    const client = served.connect();
    if (!fresh) await client.start(msize);
    const before = fresh ? undefined : await client.rpc(T.stat(2, 0));
    const otherBefore = await other.rpc(T.stat(2, 0));

    client.raw(frame);
    if (expect === "close") {
      await client.end();
    } else {
      // The server sends an error, or ends the connection.
      const reply = await client.next().catch((error) => {
        if (expect === "either") return undefined;
        throw error;
      });
      if (reply !== undefined) {
        assertEquals(reply.type, "Rerror");
        assertEquals(reply.tag, frame[5] | frame[6] << 8);
        if (before) assertEquals(await client.rpc(T.stat(2, 0)), before);
      }
    }

    assertEquals(served.fs.readDir("").map(({ name }) => name), ["a"]);
    assertEquals(await other.rpc(T.stat(2, 0)), otherBefore);
  });
}

/** A short session, and its replies. */
const REQUESTS: Tmessage[] = [
  T.version(8192),
  T.attach(1, 0),
  T.walk(2, 0, 1, "a"),
  T.open(3, 1),
  T.read(4, 1),
  T.clunk(5, 1),
  T.stat(6, 0),
];
const REPLIES = [
  "Rversion 65535 8192 9P2000",
  "Rattach 1 0",
  "Rwalk 2 1",
  "Ropen 3 1",
  "Rread 4 alpha",
  "Rclunk 5",
  "Rstat 6 /",
];

test("serve() takes a message one byte at a time", async () => {
  await using scene = await serveToy({}, { fresh: true });
  for (const byte of concat(REQUESTS.map((request) => encode(request)))) {
    scene.client.raw(Uint8Array.of(byte));
  }
  await scene.client.expect(...REPLIES);
});

test("serve() answers many messages of one write, in order", async () => {
  await using scene = await serveToy({}, { fresh: true });
  scene.client.send(...REQUESTS);
  await scene.client.expect(...REPLIES);
  const many = Array.from({ length: 500 }, (_, tag) => T.stat(tag, 0));
  scene.client.send(...many);
  await scene.client.expect(...many.map(({ tag }) => `Rstat ${tag} /`));
});

test("serve() takes two messages split at every point", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  const stream = concat([
    encode(T.walk(1, 0, 7, "d", "x")),
    encode(T.clunk(2, 7)),
  ]);
  for (let at = 0; at <= stream.length; at++) {
    client.raw(stream.slice(0, at));
    // Complete frames are answered before the rest arrives.
    if (at >= 25) await client.expect("Rwalk 1 2,3");
    if (at === stream.length) await client.expect("Rclunk 2");
    client.raw(stream.slice(at));
    if (at < 25) await client.expect("Rwalk 1 2,3");
    if (at < stream.length) await client.expect("Rclunk 2");
  }
});

for (const async of [false, true]) {
  const how = async ? "later" : "at once";
  test(`serve() sends replies that are made together with one write, ${how}`, async () => {
    let writes = 0;
    await using scene = await serveToy({}, {
      async,
      wrap: (connection) => onWrite(connection, () => writes++),
    });
    const { client } = scene;
    writes = 0;
    const many = Array.from({ length: 32 }, (_, tag) => T.stat(tag, 0));
    client.send(...many);
    await client.expect(...many.map(({ tag }) => `Rstat ${tag} /`));
    assertEquals(writes, 1);
  });
}

test("serve() clunks the fids of a connection that is cut inside a message", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  client.raw(encode(T.remove(2, 1)).slice(0, 9));
  await client.closeWrite();
  await client.end();
  await soon(scene.served);
  assertEquals(scene.takeLog(), ["clunk 0", "clunk 1", "disconnect"]);
  scene.takeErrors(); // The reference does not say whether a cut is reported.
});

// P-33: clients that expect JSON parse every error.
for (const errors of ["text", "json"] as const) {
  test(`serve() refuses what no handler is asked for in the form of all errors: ${errors}`, async () => {
    await using scene = await serveToy({}, { errors, fresh: true });
    const { client } = scene;
    const json = (errno: number, str: string) =>
      JSON.stringify({ class: "OSError", argv: [errno, str], str });
    const told = (errno: number, text: string) =>
      errors === "json" ? json(errno, text) : text;
    const botch = "protocol botch";
    await client.ask(T.stat(1, 0), `Rerror 1 ${told(71, botch)}`);
    await client.ask(
      T.version(9),
      `Rerror 65535 ${told(22, "Invalid argument")}`,
    );
    await client.start();
    client.raw("07000000 c8 0500"); // Of type 200.
    await client.expect(`Rerror 5 ${told(95, "Operation not supported")}`);
    client.raw("07000000 74 0600"); // A Tread that is too short.
    await client.expect(`Rerror 6 ${told(71, botch)}`);
    client.raw("07000000 50 0700"); // A Tcall: its errors are always JSON.
    await client.expect(`Rerror 7 ${json(71, botch)}`);
  });
}

test("serve() sends what is answered when a client ends its direction while it waits", async () => {
  const quick = (tag: number) => T.read(tag, 1, 1, 60_000);
  await using scene = await serveToy({
    read: (_fid, { offset, count }, { signal }) =>
      offset > 0
        ? new Uint8Array(count)
        : untilAborted(signal).then(() => new Uint8Array(0)),
  }, {
    msize: 65536,
    clientMsize: 65536,
    maxRequestBytes: 10,
    waitingAfter: NEVER,
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, OREAD), "Ropen 1 1");
  // The client takes none of these replies, so later replies wait.
  for (let tag = 0; tag < 8; tag++) client.send(quick(tag));
  client.send(T.read(100, 1, 0)); // After this request the session waits for memory.
  await client.closeWrite();
  for (let tag = 0; tag < 8; tag++) {
    assertEquals((await client.next()).tag, tag);
  }
  await client.end();
});

test("serve() ends the connection before the body of a frame that is too large", async () => {
  await using scene = await serveToy({}, { msize: 4096 });
  const { client } = scene;
  // Only the size field. The limit is the msize of the Rversion.
  client.raw("01100000");
  await client.end();
  assertEquals(scene.takeErrors(), [
    "Cannot follow the stream: a frame of size 4097, the maximum is 4096",
  ]);
});

test("serve() reports to its owner what a client speaks instead of 9P", async () => {
  const foreign: [start: string, what: string][] = [
    ["GET / HTTP/1.1\r\n", "the peer is an HTTP client"],
    ["\x16\x03\x01\x02\x00\x01", "the peer speaks TLS, or expects it"],
  ];
  for (const [start, what] of foreign) {
    await using scene = await serveToy({}, { msize: 4096 });
    const { client } = scene;
    client.raw(Uint8Array.from(start, (unit) => unit.charCodeAt(0)));
    await client.end();
    const [message, ...others] = scene.takeErrors();
    assertEquals(others, []);
    assert(message.endsWith(what), message);
  }
});

test("serve() answers what came before a frame that ends the connection", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  client.raw(concat([encode(T.stat(1, 0)), Uint8Array.of(3, 0, 0, 0, 0)]));
  await client.expect("Rstat 1 /");
  await client.end();
  assertEquals(scene.takeErrors().length, 1);
});

test("serve() takes a frame of exactly msize", async () => {
  await using scene = await serveToy({}, { clientMsize: 4096 });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, 2), "Ropen 1 1");
  const data = new Uint8Array(4096 - 23).fill(0x78);
  await client.ask(T.write(2, 1, data), "Rwrite 2 4073");
  assertEquals(scene.toy.a.content, data);
});

test("serve() answers or ends, whatever comes: 2000 random and damaged frames", async () => {
  const random = new Random(20000);
  const types = [
    ...["Tauth", "Tattach", "Tflush", "Twalk", "Topen", "Tcreate", "Tread"],
    ...["Twrite", "Tclunk", "Tremove", "Tstat", "Twstat", "Tcall", "Topenfd"],
  ] as const;
  await using served = new Served();
  const other = served.connect();
  await other.start();
  let client: WireClient | undefined;
  for (let i = 0; i < 2000; i++) {
    if (client === undefined) {
      client = served.connect();
      await client.start();
    }
    const message = random.message(random.pick(types));
    message.tag = i;
    const small = random.below(4);
    if ("fid" in message) message.fid = small;
    if ("newfid" in message) message.newfid = random.below(4);
    let frame: Uint8Array = encode(message);
    const kind = random.below(4);
    if (kind === 0) {
      frame[7 + random.below(frame.length - 7)] ^= 1 << random.below(8);
    } else if (kind === 1) {
      frame = frame.slice(0, 7 + random.below(frame.length - 6));
      frame[0] = frame.length;
      frame[1] = frame.length >> 8;
    } else if (kind === 2) {
      frame[4] = random.below(256);
      if (frame[4] === 100) frame[4] = 99; // No new session.
    }
    client.raw(frame);
    const reply = await client.next().catch(() => undefined);
    if (reply === undefined) {
      client = undefined;
      continue;
    }
    assertEquals(reply.tag, i);
    assert(
      reply.type === "Rerror" || kind === 2 ||
        reply.type === message.type.replace("T", "R"),
      `${message.type} was answered with ${reply.type}`,
    );
  }
  await other.ask(T.stat(1, 0), "Rstat 1 /");
  // None of these errors is a defect of the server.
  assertEquals(served.errors, []);
});

// C-91.
test("serve() refuses requests before a session, without effect", async () => {
  await using scene = await serveToy({}, { fresh: true });
  const { client } = scene;
  for (
    const request of [
      T.auth(3, 0),
      T.attach(3, 0),
      T.walk(3, 0, 1),
      T.stat(3, 0),
      T.flush(3, 1),
      T.clunk(3, 0),
    ]
  ) {
    await client.ask(request, "Rerror 3 protocol botch");
  }
  await client.start();
  assertEquals(scene.takeLog(), []);
});
