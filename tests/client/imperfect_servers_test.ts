// Servers that break the manual, and peers that do not speak 9P. The client
// works with them as far as possible, and names the fault.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { test } from "../harness.ts";
import { defaultReply, greeted, type Reply, start, stat } from "./scripted.ts";
import { Pyroute2Server } from "./pyroute2_server.ts";
import { type Client, connect } from "../../client.ts";
import {
  decode,
  encode,
  FrameSplitter,
  isTmessage,
  type Message,
  NinePError,
  NOTAG,
  ProtocolError,
  type Tmessage,
} from "../../codec.ts";
import { openChannel } from "../../transport/channel.ts";
import { type Connection, pair } from "../../transport.ts";

const text = new TextEncoder();

// A server that keeps the new fid of an incomplete walk, as 9ps and styx do.

const IN_USE = [
  "fid already in use",
  "duplicate fid",
  "Fid in use.",
  "newfid 5 is busy", // No list has this text.
  "fid exists",
];

/**
 * A client of a server that answers by `answer`, over a connection in memory.
 */
async function connectTo(
  answer: (request: Tmessage) => Reply | undefined,
): Promise<Client> {
  const [near, far] = pair();
  const channel = openChannel(far);
  void (async () => {
    const splitter = new FrameSplitter(8192);
    const buffer = new Uint8Array(8192);
    while (true) {
      const chunk = await channel.read(buffer);
      if (chunk === null) break;
      splitter.push(chunk);
      for (let frame; (frame = splitter.next()) !== undefined;) {
        const request = decode(frame.slice());
        assert(isTmessage(request));
        const reply = answer(request) ?? greet(request) ??
          defaultReply(request);
        const message = { ...reply, tag: request.tag } as Message; // The reply gets the tag of the request.
        await channel.write(encode(message));
      }
    }
    channel.close();
  })();
  return await connect(near, { msize: 8192 });
}

function greet({ type }: Tmessage): Reply | undefined {
  if (type === "Tversion") {
    return { type: "Rversion", msize: 8192, version: "9P2000" };
  }
  return type === "Tattach"
    ? { type: "Rattach", qid: stat("/").qid }
    : undefined;
}

/** Keeps fids as such a server does. Only the file `a` exists. */
class Keeper {
  readonly #ename: string;
  readonly fids = new Set([0]);
  /** The highest number of a fid. */
  most = 0;

  constructor(ename: string) {
    this.#ename = ename;
  }

  answer(request: Tmessage): Reply | undefined {
    const { fids } = this;
    if (request.type === "Tclunk") {
      if (fids.delete(request.fid)) return { type: "Rclunk" };
      return { type: "Rerror", ename: "unknown fid" };
    }
    if (request.type === "Tattach") fids.add(request.fid);
    if (request.type !== "Twalk") return undefined;
    const { fid, newfid, wname } = request;
    this.most = Math.max(this.most, newfid);
    if (newfid !== fid && fids.has(newfid)) {
      return { type: "Rerror", ename: this.#ename };
    }
    if (wname[0] === "z") return { type: "Rerror", ename: "no such file" };
    fids.add(newfid);
    const there = wname.filter((name) => name === "a");
    return { type: "Rwalk", wqid: there.map(() => stat("a").qid) };
  }
}

for (const ename of IN_USE) {
  test(`a server that keeps fids of incomplete walks, and says "${ename}"`, async () => {
    const keeper = new Keeper(ename);
    const client = await connectTo((request) => keeper.answer(request));
    for (let i = 0; i < 20; i++) {
      assertEquals(await client.exists("a/b"), false);
      assertEquals(await client.exists("z"), false);
      assertEquals((await client.stat("a")).name, "a");
    }
    assert(keeper.most < 8, `fids up to ${keeper.most}`);
    await client.close();
  });

  test(`a server that keeps 100 fids at once, and says "${ename}"`, async () => {
    const keeper = new Keeper(ename);
    const client = await connectTo((request) => keeper.answer(request));
    const many = Array.from({ length: 100 }, () => "a/b");
    for (let i = 0; i < 3; i++) {
      await Promise.all(many.map((path) => client.exists(path)));
      await Promise.all(many.map(() => client.stat("a")));
    }
    const tree = await client.attach();
    await tree.close();
    await client.stat("/");
    assert(keeper.fids.size < 4, `${keeper.fids.size} fids are left`);
    assert(keeper.most < 300, `fids up to ${keeper.most}`);
    await client.close();
  });
}

test("a number that the server keeps for ever costs only messages", async () => {
  const client = await connectTo((request): Reply | undefined => {
    if (request.type === "Tclunk") {
      return { type: "Rerror", ename: "i/o error" };
    }
    return request.type === "Twalk" && request.newfid < 4
      ? { type: "Rerror", ename: "fid already in use" }
      : undefined;
  });
  for (let i = 0; i < 5; i++) assertEquals((await client.stat("a")).name, "a");
  await client.close();
});

test("a server that refuses every number as in use makes the call fail", async () => {
  const ename = "fid already in use";
  let walks = 0;
  const client = await connectTo((request): Reply | undefined => {
    if (request.type !== "Twalk") return undefined;
    walks++;
    return { type: "Rerror", ename };
  });
  const error = await assertRejects(() => client.stat("a"), NinePError);
  assertEquals([error.ename, error.code, walks], [ename, "EBADF", 8]);
  await client.close();
});

test("a server that keeps no fids of incomplete walks gets the walk alone", async () => {
  await using scene = await start();
  scene.run((request): Reply | undefined =>
    request.type === "Twalk"
      ? { type: "Rwalk", wqid: request.wname.slice(1).map(() => stat("a").qid) }
      : undefined
  );
  const { client, server } = scene;
  const before = server.log.length;
  assertEquals(await client.exists("a/b"), false);
  assertEquals(await client.exists("a/c"), false);
  assertEquals(
    server.log.slice(before).map(({ type }) => type),
    ["Twalk", "Twalk"],
  );
});

// Peers that speak another protocol.

test("the error for a server of 9P2000.L says so, with its address", async () => {
  // size[4] Rlerror tag[2] ecode[4]
  const rlerror = Uint8Array.of(11, 0, 0, 0, 7, 255, 255, 22, 0, 0, 0);
  const error = await greeted(rlerror);
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Cannot send Tversion to "pair": the server does not speak 9P2000, it answered Rlerror 22, a message of 9P2000.L',
  );
});

test("a server that answers Tversion with an error is named", async () => {
  const error = await greeted({ type: "Rerror", ename: "unknown version" });
  assertInstanceOf(error, NinePError);
  assertEquals(error.ename, "unknown version");
  assertEquals(
    error.message,
    'Cannot start a session with "pair": unknown version',
  );
});

test("the error for an Rlerror to a later request says so", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const asking = assertRejects(() =>
    client.protocol.rpc({ type: "Tstat", fid: 0 })
  );
  const { tag } = await server.expect("Tstat");
  server.open.delete(tag);
  server.send(Uint8Array.of(11, 0, 0, 0, 7, tag, 0, 2, 0, 0, 0));
  const error = await asking;
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Cannot send Tstat to "pair": the server does not speak 9P2000, it answered Rlerror 2, a message of 9P2000.L',
  );
});

const TEXT = "that is text, not 9P: a program that speaks 9P on its standard " +
  "output must print its messages, such as those of console.log(), to its " +
  "standard error";
const TLS = "it begins like TLS: the peer speaks TLS, or expects it";

const FOREIGN: [name: string, bytes: Uint8Array, what: string][] = [
  [
    "console.log() of a server on its standard output",
    text.encode("listening\n"),
    `it begins with "listening\\n": ${TEXT}`,
  ],
  [
    "a short line before the Rversion",
    Uint8Array.from([
      ...text.encode("ok\n"),
      ...encode({
        type: "Rversion",
        tag: NOTAG,
        msize: 8192,
        version: "9P2000",
      }),
    ]),
    `it begins with "ok\\n\\u0013\\u0000\\u0000\\u0000e\uFFFD\uFFFD\\u0000 \\u0000\\u0000\\u0006\\u00009P2000": ${TEXT}`,
  ],
  [
    "control sequences",
    text.encode("\x1b[2J\x9b31m🚀\n"),
    `it begins with "\\u001b[2J\\u009b31m🚀\\n": ${TEXT}`,
  ],
  [
    "a long text",
    text.encode("x".repeat(1000)),
    `it begins with "${"x".repeat(64)}…": ${TEXT}`,
  ],
  [
    "an HTTP server",
    text.encode("HTTP/1.1 400 Bad Request\r\n"),
    'it begins with "HTTP/1.1 400 Bad Request\\r\\n": the peer is an HTTP server',
  ],
  [
    "an HTTP client",
    text.encode("GET / HTTP/1.1\r\n"),
    'it begins with "GET / HTTP/1.1\\r\\n": the peer is an HTTP client',
  ],
  [
    "an SSH server",
    text.encode("SSH-2.0-x\r\n"),
    'it begins with "SSH-2.0-x\\r\\n": the peer speaks SSH',
  ],
  ["an alert of TLS", Uint8Array.of(21, 3, 3, 0, 2, 2, 70), TLS],
  ["a greeting of TLS", Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1), TLS],
];

for (const [name, bytes, what] of FOREIGN) {
  test(`foreign bytes: ${name}`, async () => {
    const error = await greeted(bytes, 2 ** 32 - 1);
    assertInstanceOf(error, ProtocolError);
    const { message } = error;
    const begin = 'Cannot start a session with "pair": Cannot follow the ' +
      "stream: a frame of size ";
    assert(message.startsWith(begin), message);
    assert(message.endsWith(`, the maximum is 8192; ${what}`), message);
  });
}

test("foreign bytes: a FrameSplitter shows them, however they are cut", () => {
  for (const [name, bytes] of FOREIGN) {
    for (let size = 1; size <= bytes.length; size++) {
      const splitter = new FrameSplitter(8192);
      const feed = () => {
        for (let at = 0; at < bytes.length; at += size) {
          splitter.push(bytes.subarray(at, at + size));
          splitter.next();
        }
      };
      let message = "";
      try {
        feed();
      } catch (error) {
        assertInstanceOf(error, ProtocolError);
        message = error.message;
      }
      assert(message.includes("; it begins "), `${name}: ${message}`);
    }
  }
});

test("foreign bytes: the error shows none for what may be a frame that is too large", () => {
  for (
    const size of [0, 6, 8193, 0x4142, 0x10_0000, 0x8000_0000, 0xffff_ffff]
  ) {
    const frame = new Uint8Array(100);
    new DataView(frame.buffer).setUint32(0, size, true);
    const splitter = new FrameSplitter(8192);
    splitter.push(frame);
    let message = "";
    try {
      splitter.next();
    } catch (error) {
      message = String(error);
    }
    assert(/a frame of size \d+, the m(in|ax)imum is \d+$/.test(message));
  }
});

// pyroute2.

test("peer pyroute2: a value may be longer than msize, a request may not", async () => {
  const long = "x".repeat(1_000_000);
  const server = new Pyroute2Server({ long: () => long, short: () => 1 });
  const client = await connect(server.dial(), { peer: "pyroute2" });
  assertEquals(client.msize, 8192);
  assertEquals(await client.call("long"), long);
  assertEquals(await client.call("short"), 1);
  await assertRejects(
    () => client.call("short", { argv: ["y".repeat(9000)] }),
    RangeError,
    "msize is 8192",
  );
  await client.close();
  assertEquals(server.breaches, []);
  server.close();
});

test("peer pyroute2: a reply of more than 64 MiB ends the connection before it is read", async () => {
  const [near, far] = pair();
  const serving = greetAsPyroute2(far);
  const client = await connect(near, { peer: "pyroute2" });
  const channel = await serving;
  const asking = assertRejects(() => client.stat("/"), ProtocolError);
  const size = 64 * 1024 * 1024 + 1;
  const header = new Uint8Array(7);
  new DataView(header.buffer).setUint32(0, size, true);
  await channel.write(header);
  const { message } = await asking;
  assert(message.endsWith(`the maximum is ${size - 1}`), message);
  channel.close();
  await client.close();
});

/** Answers the first two requests. */
async function greetAsPyroute2(connection: Connection) {
  const channel = openChannel(connection);
  const buffer = new Uint8Array(8192);
  await channel.read(buffer);
  await channel.write(
    encode({ type: "Rversion", tag: NOTAG, msize: 8192, version: "9P2000" }),
  );
  const [, , , , , ...rest] = await channel.read(buffer) ?? [];
  await channel.write(
    encode({ type: "Rattach", tag: rest[0], qid: stat("/").qid }),
  );
  return channel;
}
