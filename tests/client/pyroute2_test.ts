// The client against the server of pyroute2: simulated by pyroute2_server.ts,
// and
// by recorded frames of a real server.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { type Client, connect, type ConnectOptions } from "../../client.ts";
import {
  decode,
  FunctionError,
  NinePError,
  Plan9Exit,
  ProtocolError,
  type Tmessage,
} from "../../codec.ts";
import { openChannel } from "../../transport/channel.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import {
  Pyroute2Server,
  PythonError,
  type PythonTree,
} from "./pyroute2_server.ts";
import { messageVectors } from "../codec/vectors.ts";

const utf8 = new TextEncoder();

/** A tree like that of pyroute2's own tests, and a directory of two replies. */
function tree(): PythonTree {
  const many = Array.from({ length: 200 }, (_, i) => [`file_${i}`, bytes("")]);
  return {
    data: bytes("initial"),
    big: new Uint8Array(20_000).fill(7),
    many: Object.fromEntries(many),
    mixed: { plain: bytes(""), "日本": bytes("") },
    deep: { er: { file: bytes("deep") } },
    add: ([x, y], { a = x, b = y }) => Number(a) + Number(b),
    size: (_argv, { blob }) => (blob as Uint8Array).length,
    fail: (_argv, { name = "ValueError", argv = [], str = "bad value" }) => {
      throw new PythonError(`${name}`, `${str}`, argv as unknown[]);
    },
  };
}

function bytes(text: string): Uint8Array {
  return utf8.encode(text);
}

/** A server, its clients, and a check of the errors of the server. */
class Stage {
  readonly server = new Pyroute2Server(tree());

  client(options: ConnectOptions = {}): Promise<Client> {
    return connect(this.server.dial(), { peer: "pyroute2", ...options });
  }

  /** The types of the requests after Tversion and Tattach. */
  get sent(): string[] {
    return this.server.log.slice(2).map(({ type }) => type);
  }

  [Symbol.dispose](): void {
    this.server.close();
    assertEquals(this.server.breaches, []);
  }
}

test("peer pyroute2: session, files, functions", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  assertEquals(client.msize, 8192);
  assertEquals(await client.readTextFile("data"), "initial");
  assertEquals(await client.readTextFile("/deep/./er//file"), "deep");
  assertEquals((await client.readFile("big")).length, 20_000);
  assertEquals((await client.stat("big")).length, 20_000);
  await client.writeTextFile("data", "new data");
  assertEquals(await client.readTextFile("data"), "new data");
  assertEquals(await client.call("add", { argv: [17, 25] }), 42);
  assertEquals(await client.call("add", { kwarg: { a: 1, b: 2 } }), 3);
  const blob = new Uint8Array(5);
  const options = { data: blob, dataArg: "blob" };
  assertEquals(await client.call("size", options), 5);
  await using file = await client.open("add", { read: true, write: true });
  await file.writeAll(bytes('{"a": 17, "b": 25}'));
  await file.seek(0);
  const buffer = new Uint8Array(8);
  assertEquals(await file.read(buffer), 2);
  assertEquals(buffer.subarray(0, 2), bytes("42"));
});

test("peer pyroute2: many calls at once go one by one, each a write of its own", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  const calls = Array.from(
    { length: 20 },
    (_, i) => client.call("add", { argv: [i, 1] }),
  );
  const failing = client.readFile("nothing").catch(({ code }) => code);
  const reads = client.readFile("big");
  assertEquals(await Promise.all(calls), calls.map((_, i) => i + 1));
  assertEquals(await failing, "ENOENT");
  assertEquals((await reads).length, 20_000);
});

test("peer pyroute2: no message is larger than 8192 bytes", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  await using file = await client.open("data", { write: true });
  await file.writeAll(new Uint8Array(30_000));
  const sizes = stage.server.log.flatMap((request) =>
    request.type === "Twrite" ? [request.data.length] : []
  );
  assertEquals(sizes, [8168, 8168, 8168, 5496]);
  // If the client wrote it in pieces, each piece would replace the previous
  // one.
  const fill = "x".repeat(10_000);
  await assertRejects(
    () => client.call("add", { kwarg: { fill } }),
    RangeError,
  );
  assertEquals(stage.sent.filter((type) => type === "Tcall"), []);
});

test("peer pyroute2: fids start at random, those of two connections do not meet", async () => {
  using stage = new Stage();
  await using one = await stage.client();
  await using two = await stage.client();
  assert(
    one.protocol.root !== two.protocol.root && one.protocol.root < 2 ** 31,
  );
  const fid = await one.protocol.walk("data");
  assertEquals(fid, one.protocol.root + 1);
  assertEquals(await two.call("add", { argv: [1, 2] }), 3);
  assertEquals((await one.stat(fid)).name, "data");
});

test("fidBase of connect() is the first fid, the next ones follow", async () => {
  using stage = new Stage();
  const fidBase = 0xfffffffc;
  await using client = await stage.client({ fidBase });
  assertEquals(client.protocol.root, fidBase);
  const fids = [client.protocol.allocFid(), client.protocol.allocFid()];
  assertEquals(fids, [fidBase + 1, fidBase + 2]);
  // NOFID, 0xffffffff, is no fid number.
  await assertRejects(
    () => client.protocol.walk("data"),
    RangeError,
    "all 3 are in use",
  );
  for (const fid of fids) client.protocol.releaseFid(fid);
  assertThrows(() => client.protocol.releaseFid(0), RangeError); // Not one of its own.
  assertEquals(client.protocol.allocFid(), fidBase + 1);
  client.protocol.releaseFid(fidBase + 1);
  for (const fidBase of [-1, 0.5, 0xffffffff]) {
    const error = await assertRejects(
      () => stage.client({ fidBase }),
      RangeError,
    );
    assertEquals(
      error.message,
      `Cannot connect: fidBase is ${fidBase}, the range is 0 to 4294967294`,
    );
  }
});

test("peer pyroute2: options of one's own come before its defaults", async () => {
  using stage = new Stage();
  const options = { msize: 4096, fidBase: 7 };
  await using client = await stage.client(options);
  assertEquals([client.msize, client.protocol.root], [4096, 7]);
});

test("peer pyroute2: an abort rejects at once, sends no Tflush, and its result is dropped", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  const { server } = stage;
  const held = Promise.withResolvers<Tmessage>();
  const free = Promise.withResolvers<void>();
  server.hold = (request) => {
    if (request.type !== "Tcall") return undefined;
    held.resolve(request);
    return free.promise;
  };
  const abort = new AbortController();
  const { signal } = abort;
  const call = client.call("add", { argv: [1, 2], signal });
  await held.promise;
  abort.abort(new Error("enough"));
  const error = await call.catch((error) => error);
  assertStrictEquals(error, signal.reason);
  // Later requests wait until this request has ended.
  const next = client.stat("data");
  assertEquals(stage.sent, ["Twalk", "Tcall"]);
  free.resolve();
  assertEquals((await next).name, "data");
  await client.close();
  const clunks = stage.server.log.filter(({ type }) => type === "Tclunk");
  assertEquals(clunks.length, 3, "both fids, and the root's");
});

test("peer pyroute2: after an abort a late Rread puts nothing into the buffer", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  await using file = await client.open("data");
  const held = Promise.withResolvers<void>();
  const free = Promise.withResolvers<void>();
  stage.server.hold = (request) => {
    if (request.type !== "Tread") return undefined;
    held.resolve();
    return free.promise;
  };
  const abort = new AbortController();
  const buffer = new Uint8Array(7);
  const read = file.read(buffer, { signal: abort.signal });
  await held.promise;
  abort.abort();
  await assertRejects(() => read, DOMException);
  free.resolve();
  await client.stat("data");
  assertEquals(buffer, new Uint8Array(7));
});

test("peer pyroute2: an aborted walk that succeeds late is clunked", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  const held = Promise.withResolvers<void>();
  const free = Promise.withResolvers<void>();
  stage.server.hold = (request) => {
    if (request.type !== "Twalk") return undefined;
    held.resolve();
    return free.promise;
  };
  const abort = new AbortController();
  const walk = client.protocol.walk("data", { signal: abort.signal });
  await held.promise;
  abort.abort();
  await assertRejects(() => walk, DOMException);
  free.resolve();
  await client.stat(client.protocol.root);
  await client.stat(client.protocol.root);
  assertEquals(stage.sent, ["Twalk", "Tstat", "Tclunk", "Tstat"]);
  await assertRejects(
    () => client.protocol.flush(0),
    NinePError,
    "not supported",
  );
});

test("peer pyroute2: closing does not wait for a call that never ends", async () => {
  using stage = new Stage();
  const client = await stage.client({ closeTimeout: 1 });
  const held = Promise.withResolvers<void>();
  stage.server.hold = (request) => {
    if (request.type !== "Tcall") return undefined;
    held.resolve();
    return new Promise(() => {});
  };
  const abort = new AbortController();
  const call = client.call("add", { signal: abort.signal });
  await held.promise;
  abort.abort();
  await assertRejects(() => call, DOMException);
  await client.close();
  assertEquals(await client.closed, undefined);
});

test("peer pyroute2: a directory's replies are joined before they are read", async () => {
  using stage = new Stage();
  // 200 records of about 60 bytes, cut wherever 1000 bytes end.
  await using client = await stage.client({ msize: 1024 });
  const names: string[] = [];
  for await (const { name } of client.readDir("many")) names.push(name);
  assertEquals(names, Array.from({ length: 200 }, (_, i) => `file_${i}`));
  const empty = await Array.fromAsync(client.readDir("deep/er"));
  assertEquals(empty.map(({ name }) => name), ["file"]);
});

test("peer pyroute2: names that are not ASCII arrive cut: an error, not a crash", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  await assertRejects(
    () => Array.fromAsync(client.readDir("mixed")),
    ProtocolError,
  );
  assertEquals(await client.readTextFile("data"), "initial");
});

test("peer pyroute2: features that it lacks", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  for (
    const work of [
      () => client.create("new"),
      () => client.mkdir("new"),
      () => client.remove("data"),
    ]
  ) {
    const error = await assertRejects(work, NinePError, "permission denied");
    assertEquals(error.code, "EACCES");
  }
  await client.wstat("data", { name: "other" });
  assertEquals((await client.stat("data")).name, "data");
});

test("peer pyroute2: its errors", async () => {
  using stage = new Stage();
  await using client = await stage.client();
  const missing = await assertRejects(() => client.open("nothing"), NinePError);
  assertEquals([missing.code, missing.ename.slice(0, 20)], [
    "ENOENT",
    '{"class":"KeyError",',
  ]);
  const notOne = await assertRejects(() => client.call("data"), FunctionError);
  assertEquals([notOne.class, notOne.code], ["TypeError", "EINVAL"]);
  const failing = await assertRejects(() => client.call("fail"), FunctionError);
  assertEquals([failing.class, failing.str], ["ValueError", "bad value"]);
  // A failing function in a read is shown as it comes.
  await using file = await client.open("fail", { read: true, write: true });
  await file.writeAll(bytes("{}"));
  const odd = await assertRejects(
    () => file.readAt(new Uint8Array(10), 0),
    FunctionError,
    "is not JSON serializable",
  );
  assertEquals(odd.class, "TypeError");
});

for (const losesExit of [false, true]) {
  const fate = losesExit ? "lost with the connection" : "given";
  test(`peer pyroute2: the exit error is ${fate}`, async () => {
    using stage = new Stage();
    stage.server.losesExit = losesExit;
    await using client = await stage.client();
    const kwarg = { name: "Plan9Exit", str: "bye" };
    await assertRejects(
      () => client.call("fail", { kwarg }),
      losesExit ? ProtocolError : Plan9Exit,
      losesExit ? "lost" : "bye",
    );
    assert(await client.closed instanceof ProtocolError);
    assertEquals(stage.sent.filter((type) => type === "Tcall").length, 1);
  });
}

test("peer pyroute2: the frames of a real server and a real client", async () => {
  const sent = new Map(
    messageVectors("call")
      .filter(({ name }) => name.startsWith("pyroute2 "))
      .map((vector) => [vector.name.slice(9), vector]),
  );
  const vector = (name: string) => {
    const found = sent.get(name);
    assert(found, `"${name}" is not there`);
    return found;
  };
  const [near, far] = pair();
  const channel = openChannel(far);
  const requests: Tmessage[] = [];
  /** Answers the next request with a captured frame, its tag put in. */
  const answer = async (name: string) => {
    const chunk = await channel.read(new Uint8Array(8192));
    assert(chunk !== null);
    requests.push(decode(chunk.slice()) as Tmessage); // The client sends only T-messages.
    const frame = vector(`server: ${name}`).frame.slice();
    frame.set(chunk.subarray(5, 7), 5);
    await channel.write(frame);
  };
  /** Compares the last request with the one that the real client sent. */
  const assertAlike = (name: string) => {
    const request = requests.at(-1);
    assertEquals(plain(request), plain(vector(`client: ${name}`).message));
  };
  const connecting = connect(near, {
    peer: "pyroute2",
    fidBase: 0,
    uname: "root",
  });
  await answer("version");
  assertAlike("version");
  await answer("attach");
  const client = await connecting;
  assertAlike("attach");
  const walking = client.protocol.fid("add");
  await answer("walk");
  const fid = await walking;
  assertAlike("walk");
  const calling = client.call(fid, { argv: [17, 25] });
  await answer("call result");
  assertEquals(await calling, 42);
  assertAlike("call");
  const naming = client.call(fid, { kwarg: { a: 1, b: 2 } });
  await answer("call result");
  assertEquals(await naming, 42);
  assertAlike("call with keywords");
  const writing = client.protocol.write(fid, '{"a": 17, "b": 25}');
  await answer("write");
  assertEquals(await writing, 18);
  assertAlike("write arguments");
  const reading = client.protocol.read(fid);
  await answer("result read");
  assertEquals(new TextDecoder().decode(await reading), "42");
  const errors = {
    ValueError: ["EINVAL", "bad value"],
    FileNotFoundError: ["ENOENT", "[Errno 2] No such file or directory"],
    TypeError: ["EINVAL", "object of type 'int' has no len()"],
    KeyError: ["ENOENT", "'file not found'"],
    Plan9Exit: [undefined, "server stopped upon client request"],
  };
  for (const [name, [code, str]] of Object.entries(errors)) {
    const failing = assertRejects(
      () => client.call(fid, { argv: [] }),
      name === "Plan9Exit" ? Plan9Exit : FunctionError,
    );
    await answer(`error of class ${name}`);
    const error = await failing;
    assertEquals([error.class, error.code, error.str], [name, code, str]);
  }
  channel.close();
  await client.close();
});

/** Returns a message without its tag, with its JSON parsed. */
function plain(message: Tmessage | object | undefined): object {
  const all = { ...message, tag: 0 };
  return "text" in all && typeof all.text === "string"
    ? { ...all, text: JSON.parse(all.text) }
    : all;
}
