// The methods that concern a whole session: version() and auth(), against a
// scripted server and a real one.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
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
  ScriptedServer,
  settled,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import { connect, type RemoteFile } from "../../client.ts";
import { greet, run, stage } from "./reconnecting.ts";
import {
  NinePError,
  NOFID,
  NOTAG,
  ProtocolError,
  QTAUTH,
  QTDIR,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { type FidNode, type Handler, serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const text = new TextEncoder();

const attached: Reply = { type: "Rattach", qid: qid(0, QTDIR) };
const statted: Reply = { type: "Rstat", stat: stat("a") };

function agreed(msize = 8192): Reply {
  return { type: "Rversion", msize, version: "9P2000" };
}

function assertAnew(error: unknown): void {
  assertInstanceOf(error, DOMException);
  assertEquals(
    [error.name, error.message],
    [
      "AbortError",
      'The session with "pair" was started anew: requests are given up, fids are void',
    ],
  );
}

/** Answers the Tversion and the Tattach of a new session. */
async function renew(
  { server }: Scene,
  msize = 8192,
): Promise<void> {
  await server.exchange("Tversion", { tag: NOTAG, msize }, agreed(msize));
  await server.exchange("Tattach", { fid: 0, afid: NOFID }, attached);
}

// version().

// P-22, P-23.
test("K1 version() starts a session with the same user and tree; nothing else is sent before the Rattach", async () => {
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const who = { uname: "glenda", aname: "main" };
  const connecting = connect(near, { ...who, msize: 8192 });
  await server.exchange("Tversion", {}, agreed());
  await server.exchange("Tattach", who, attached);
  const scene = { client: await connecting, server };
  const { client } = scene;
  const renewing = client.version({ msize: 4096 });
  const version = await server.expect("Tversion", {
    tag: NOTAG,
    msize: 4096,
    version: "9P2000",
  });
  const early = failure(client.stat(0));
  server.answer(version, agreed(2048));
  const attach = await server.expect("Tattach", { ...who, tag: 0, fid: 0 });
  const late = failure(client.readFile("a"));
  server.answer(attach, attached);
  assertEquals(await renewing, { msize: 2048, version: "9P2000" });
  assertAnew(await early);
  assertAnew(await late);
  assertEquals([client.msize, client.protocol.root, client.cwd], [
    2048,
    0,
    "/",
  ]);
  const again = client.version(); // With the msize of connect().
  await server.exchange("Tversion", { msize: 8192 }, agreed());
  await server.exchange("Tattach", who, attached);
  assertEquals((await again).msize, 8192);
  const closing = client.close();
  await server.run(() => undefined);
  await closing;
});

test("version() rejects what is under way, with one error", async () => {
  await using scene = await start({ maxInFlight: 2 });
  const { client, server } = scene;
  const pending = [
    failure(client.stat(0)),
    failure(client.protocol.rpc({ type: "Tstat", fid: 0 }, { tag: 7 })),
    failure(client.protocol.walk("waits")),
    failure(client.protocol.flush(5)), // Waits for no one.
  ];
  await server.expect("Tstat");
  await server.expect("Tstat", { tag: 7 });
  await server.expect("Tflush");
  const renewing = client.version();
  const [error, ...others] = await Promise.all(pending);
  assertAnew(error);
  for (const other of others) assertStrictEquals(other, error);
  await renew(scene);
  await renewing;
  const { request, reply } = await hold(scene);
  assertEquals(request.tag, 0);
  server.answer(request, statted);
  await reply;
  assertEquals(nextFid(scene), 1);
});

test("version() drops replies that come before the Rversion", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const error = failure(client.stat(0));
  const other = failure(client.protocol.read(0, { count: 8000 }));
  const one = await server.expect("Tstat");
  const two = await server.expect("Tread");
  const renewing = client.version({ msize: 256 });
  const version = await server.expect("Tversion", { msize: 256 });
  server.send(
    server.frame(one, { type: "Rerror", ename: "interrupted" }),
    // Longer than the new msize.
    server.frame(two, { type: "Rread", data: new Uint8Array(8000) }),
    server.frame(version, agreed(256)),
  );
  await server.exchange("Tattach", {}, attached);
  assertEquals((await renewing).msize, 256);
  assertAnew(await error);
  assertAnew(await other);
  await settled(scene);
});

test("version(): a reply to an old request behind the Rversion, or two of them, fail the connection", async () => {
  for (const order of ["behind", "twice"]) {
    await using scene = await start();
    scene.mayLeak = true;
    const { client, server } = scene;
    const error = failure(client.stat(0));
    const request = await server.expect("Tstat");
    const renewing = failure(client.version());
    const version = await server.expect("Tversion");
    const reply = server.frame(request, statted);
    const last = server.frame(version, agreed());
    server.send(...(order === "twice" ? [reply, reply] : [last, reply]));
    const reason = await client.closed;
    assertInstanceOf(reason, ProtocolError);
    assertEquals(
      reason.message,
      'Connection to "pair" failed: a reply has tag 0, which no request has',
    );
    assertStrictEquals(await renewing, reason);
    assertAnew(await error);
  }
});

test("version() with a Tflush under way: tag and request are free of each other", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const error = failure(
    client.protocol.walk("a", { signal: controller.signal }),
  );
  const walk = await server.expect("Twalk", { newfid: 1 });
  controller.abort("enough");
  assertEquals(await error, "enough");
  const flush = await server.expect("Tflush");
  const renewing = client.version();
  const version = await server.expect("Tversion");
  server.answer(walk, { type: "Rwalk", wqid: [qid(1)] });
  server.answer(flush, { type: "Rflush" });
  server.answer(version, agreed());
  await server.exchange("Tattach", { tag: 0 }, attached);
  await renewing;
  await settled(scene); // No Tclunk of fid 1 is sent before this point.
  assertEquals(nextFid(scene), 1);
});

test("version() makes fids void: a file that was open uses the number of no other one", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const file = await openFile(scene);
  const renewing = client.version();
  await renew(scene);
  await renewing;
  const other = await openFile(scene);
  assertEquals([file.fid, other.fid], [1, 1]);
  for (
    const call of [
      () => file.read(new Uint8Array(1)),
      () => file.write(new Uint8Array(1)),
      () => file.writeAll(new Uint8Array(1)),
      () => file.stat(),
      () => file.truncate(),
      () => file.seek(0, "end"),
      () => file.readable.getReader().read(),
    ]
  ) assertAnew(await failure(call()));
  await file.close(); // There is nothing to close.
  await settled(scene);
  const closing = other.close();
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await closing;
});

test("version() makes other trees, kept fids and the current directory void", async () => {
  const [near, far] = pair();
  const fs = new MemoryFs({ d: { f: "inner" }, f: "outer" }, { uid: "none" });
  const served = serve(far, fs);
  {
    await using client = await connect(near);
    const tree = await client.attach();
    await client.chdir("d");
    await tree.chdir("d");
    await client.protocol.fid("f");
    assertEquals(await client.readTextFile("f"), "inner");
    await client.version();
    assertEquals(client.cwd, "/");
    assertEquals(await client.readTextFile("f"), "outer");
    const kept = await client.protocol.fid("d/f");
    assertEquals((await client.stat(kept)).length, 5);
    assertAnew(await failure(tree.readFile("f")));
    assertAnew(await failure(tree.chdir("/")));
    await tree.close();
    assertEquals((await client.stat(kept)).name, "f");
  }
  await served;
});

test("version() in the middle of a transfer: what cleans up leaves the new session alone", async () => {
  await using scene = await start({ msize: 24 + 256 });
  const { client, server } = scene;
  const reading = failure(client.readFile("a"));
  await walkTo(scene);
  await server.exchange("Topen", {}, { type: "Ropen", qid: qid(1), iounit: 0 });
  await server.exchange("Tread", {}, {
    type: "Rread",
    data: new Uint8Array(256),
  });
  const making = failure(client.create("new"));
  const using = failure(client.protocol.withFid("b", () => hold(scene)));
  const renewing = client.version();
  assertAnew(await reading);
  assertAnew(await making);
  assertAnew(await using);
  for (
    let request = await server.next();
    request?.type !== "Tversion";
    request = await server.next()
  );
  server.answer(server.log.at(-1)!, agreed(280)); // As the loop has just seen.
  await server.exchange("Tattach", {}, attached);
  await renewing;
  await settled(scene); // No Tclunk is sent before this point.
  assertEquals([...server.fids], [0]);
  assertEquals(nextFid(scene), 1);
});

test("version() aborted: the client goes on when the server has answered", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const renewing = failure(client.version({ signal: controller.signal }));
  const version = await server.expect("Tversion");
  controller.abort("enough");
  assertEquals(await renewing, "enough");
  assertAnew(await failure(client.stat(0)));
  assertAnew(await failure(client.version()));
  server.answer(version, agreed());
  await server.exchange("Tattach", {}, attached);
  scene.run(() => undefined);
  // Nothing but a call that succeeds says when that has arrived.
  const isAnew = () => client.stat(0).then(() => true, () => false);
  while (!await isAnew()) await new Promise((done) => setTimeout(done));
});

/** Fails unless the connection has ended because of an error. */
async function assertFailed(
  { client, server }: Scene,
  cause: unknown,
): Promise<void> {
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertStrictEquals(error.cause, cause);
  assertStrictEquals(await failure(client.stat(0)), error);
  assertEquals(await server.next(), null);
}

test("version() that the server refuses, or answers badly, ends the connection", async () => {
  const bad: [Reply, string][] = [
    [{ type: "Rerror", ename: "no" }, "no"],
    [{ type: "Rversion", msize: 8192, version: "unknown" }, "does not speak"],
    [agreed(9000), "asked for an msize of 8192, got 9000"],
    [agreed(10), "asked for an msize of 8192, got 10"],
    [{ type: "Rflush" }, "Cannot take the reply to Tversion"],
  ];
  for (const [reply, message] of bad) {
    await using scene = await start();
    scene.mayLeak = true;
    const { client, server } = scene;
    const renewing = failure(client.version());
    server.answer(await server.expect("Tversion"), reply);
    const error = await renewing;
    assertInstanceOf(error, Error);
    assert(error.message.includes(message), error.message);
    await assertFailed(scene, error);
  }
});

test("version(): a Tattach that is refused ends the connection", async () => {
  await using scene = await start();
  scene.mayLeak = true;
  const { client, server } = scene;
  const renewing = failure(client.version());
  await server.exchange("Tversion", {}, agreed());
  server.refuse(await server.expect("Tattach"), "permission denied");
  const error = await renewing;
  assertInstanceOf(error, NinePError);
  assertEquals(error.code, "EACCES");
  await assertFailed(scene, error);
});

test("version() when the connection is lost, and after close()", async () => {
  for (const phase of ["Tversion", "Tattach"] as const) {
    await using scene = await start();
    scene.mayLeak = true;
    const { client, server } = scene;
    const renewing = failure(client.version());
    if (phase === "Tattach") await server.exchange("Tversion", {}, agreed());
    await server.expect(phase);
    server.close();
    const error = await client.closed;
    assertInstanceOf(error, ProtocolError);
    assertStrictEquals(await renewing, error);
    assertStrictEquals(await failure(client.version()), error);
  }
  const scene = await start();
  await scene[Symbol.asyncDispose]();
  const error = await failure(scene.client.version());
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Connection to "pair" is closed');
});

test("version() and close() at once: the connection ends", async () => {
  const { client, server } = await start();
  const renewing = failure(client.version());
  await client.close();
  assertEquals(await client.closed, undefined);
  assertInstanceOf(await renewing, ProtocolError);
  server.close();
});

test("version() of a client that reconnects: the next connection has the fids and the msize of the new session", async () => {
  const fs = new MemoryFs({ d: { f: "inner" } }, { uid: "none" });
  const served: Promise<unknown>[] = [];
  let far = pair()[1];
  const dialled = () => {
    const [near, other] = pair();
    far = other;
    served.push(serve(other, fs));
    return near;
  };
  {
    await using client = await connect(dialled(), {
      reconnect: { dial: () => Promise.resolve(dialled()), minDelay: 0 },
    });
    await using old = await client.open("d/f");
    await client.version({ msize: 4096 });
    await using file = await client.open("d/f");
    far.close();
    assertEquals((await file.stat()).name, "f");
    assertEquals(client.msize, 4096);
    assertAnew(await failure(old.stat()));
    assertEquals(served.length, 2);
  }
  await Promise.all(served);
});

test("version() of a client that reconnects: a connection lost meanwhile is made again", async () => {
  for (const phase of ["Tversion", "Tattach"] as const) {
    await using on = await stage();
    const { client } = on;
    const old = client.protocol.fid("a");
    await on.server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(1)] });
    await old;
    const renewing = client.version({ msize: 4096 });
    if (phase === "Tattach") await greet(on.server, 4096);
    await on.server.expect(phase);
    on.server.close();
    const server = await on.exchange.play();
    await greet(server, 4096);
    // That of the client itself comes again when it had no answer.
    if (phase === "Tversion") await greet(server, 4096);
    await server.exchange("Tattach", { fid: 0 }, attached);
    assertEquals(await renewing, { msize: 4096, version: "9P2000" });
    run(server);
    await client.stat(0);
    assertEquals([...server.fids], [0]);
  }
});

test("version() of a client that reconnects ends with it when there are no more attempts", async () => {
  const dial = () => Promise.reject(new Error("gone"));
  await using on = await stage({}, { attempts: 2, maxDelay: 0, dial });
  const renewing = failure(on.client.version());
  await on.server.expect("Tversion");
  on.server.close();
  const error = await renewing;
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Cannot reconnect to "pair": gone');
  assertStrictEquals(await on.client.closed, error);
});

test("version() refuses an msize out of range; the session goes on", async () => {
  await using scene = await start();
  for (const msize of [255, 2 ** 32, 1000.5, NaN]) {
    await assertRejects(
      () => scene.client.version({ msize }),
      RangeError,
      `Cannot start a session: msize is ${msize}`,
    );
  }
  const signal = AbortSignal.abort("no");
  assertEquals(await failure(scene.client.version({ signal })), "no");
  await settled(scene);
});

// auth() and connect({ auth }).

/** Asks each user for a password. */
function guarded(): { handler: Handler; clunked: string[] } {
  interface Dialogue extends FidNode {
    word: string;
  }
  const root: FidNode = { qid: qid(0, QTDIR) };
  const clunked: string[] = [];
  const handler: Handler = {
    auth: (_fid, { uname }) => {
      if (uname === "nobody") throw new NinePError("unknown user");
      const dialogue: Dialogue = { qid: qid(1, QTAUTH), word: "" };
      return dialogue;
    },
    read: () => text.encode("who goes there?"),
    write: ({ node }, { data }) => {
      (node as Dialogue).word += new TextDecoder().decode(data); // Of auth().
    },
    attach: (_fid, { afid }) => {
      if ((afid?.node as Dialogue | undefined)?.word === "a friend") {
        return root;
      }
      throw new NinePError("authentication failed");
    },
    walk: () => undefined,
    open: () => {},
    clunk: ({ node }) => {
      clunked.push(node === root ? "root" : "afid");
    },
  };
  return { handler, clunked };
}

async function answer(file: RemoteFile): Promise<void> {
  const buffer = new Uint8Array(100);
  const count = await file.read(buffer) ?? 0;
  const question = new TextDecoder().decode(buffer.subarray(0, count));
  assertEquals([question, file.position], ["who goes there?", 15]);
  await file.writeAll(text.encode("a "));
  await file.write(text.encode("friend"));
}

// P-22.
test("connect() with auth speaks with the server before the attach; the afid is clunked", async () => {
  const { handler, clunked } = guarded();
  const [near, far] = pair();
  const served = serve(far, handler);
  let file: RemoteFile | undefined;
  {
    await using client = await connect(near, {
      auth: (afile) => answer(file = afile),
    });
    assertEquals(client.protocol.root, 1); // The afid was 0.
    assertEquals(file?.qid, qid(1, QTAUTH));
    await assertRejects(() => file!.stat(), TypeError, "closed"); // Just set.
    await assertRejects(() => client.stat("a"), NinePError);
    assertEquals(clunked, ["afid"]);
    // Also when the session is started anew.
    await client.version();
    await assertRejects(() => client.stat("a"), NinePError);
    assertEquals(clunked, ["afid", "root", "afid"]);
  }
  await served;
});

test("connect() with auth that fails closes the connection", async () => {
  const { handler, clunked } = guarded();
  const mine = new Error("I do not know the word");
  const ways: [string, () => void, string][] = [
    ["glenda", () => {}, 'of "pair": authentication failed'],
    ["glenda", () => {
      throw mine;
    }, mine.message],
    [
      "nobody",
      () => assert(false),
      'Cannot authenticate user "nobody" to tree "" of "pair": unknown user',
    ],
  ];
  for (const [uname, auth, message] of ways) {
    const [near, far] = pair();
    const served = serve(far, handler);
    await assertRejects(() => connect(near, { uname, auth }), Error, message);
    await served;
  }
  assertEquals(clunked, ["afid", "afid"]);
});

test("connect() with auth on a server that asks for none says so", async () => {
  const [near, far] = pair();
  const served = serve(far, new MemoryFs({}, { uid: "none" }));
  await assertRejects(
    () => connect(near, { auth: () => {} }),
    NinePError,
    "authentication not required",
  );
  await served;
});

test("connect() without auth sends no Tauth, and NOFID", async () => {
  await using scene = await start();
  const [, attach] = scene.server.log;
  assert(attach?.type === "Tattach");
  assertEquals(attach.afid, NOFID);
});

test("connect(): a dialogue that never ends is left when the caller aborts, or the connection is lost", async () => {
  for (const end of ["abort", "lost"]) {
    const [near, far] = pair();
    const server = new ScriptedServer(far);
    const controller = new AbortController();
    const begun = Promise.withResolvers<void>();
    const connecting = failure(connect(near, {
      signal: controller.signal,
      auth: () => {
        begun.resolve();
        return new Promise(() => {});
      },
    }));
    const version = await server.expect("Tversion");
    server.answer(version, agreed(version.msize));
    const rauth: Reply = { type: "Rauth", aqid: qid(1, QTAUTH) };
    await server.exchange("Tauth", { afid: 0, uname: "none" }, rauth);
    await begun.promise;
    if (end === "abort") controller.abort("enough");
    else server.close();
    const error = await connecting;
    if (end === "abort") assertEquals(error, "enough");
    else assertInstanceOf(error, ProtocolError);
    server.close();
  }
});

test("auth() gives a file, whose fid attach() takes", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const who = { uname: "ken", aname: "t" };
  const asking = client.auth(who);
  const rauth: Reply = { type: "Rauth", aqid: qid(1, QTAUTH) };
  await server.exchange("Tauth", { afid: 1, ...who }, rauth);
  const file = await asking;
  assertEquals([file.fid, file.qid, file.iounit], [1, qid(1, QTAUTH), 0]);
  const writing = file.write(text.encode("x"));
  await server.exchange("Twrite", { fid: 1, offset: 0n }, {
    type: "Rwrite",
    count: 1,
  });
  assertEquals([await writing, file.position], [1, 1]);
  const attaching = client.attach({ ...who, afid: file.fid });
  await server.exchange("Tattach", { fid: 2, afid: 1, ...who }, attached);
  await attaching;
  const closing = [file.close(), file.close()];
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await Promise.all(closing);
});

test("K7 auth(): after an error the number is free; K13 after an abort a late Rauth is clunked", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const refused = failure(client.auth({ uname: "ken" }));
  server.refuse(await server.expect("Tauth", { afid: 1 }), "unknown user");
  const error = await refused;
  assertInstanceOf(error, NinePError);
  assertEquals(
    error.message,
    'Cannot authenticate user "ken" to tree "" of "pair": unknown user',
  );
  assertEquals(nextFid(scene), 1);
  const controller = new AbortController();
  const aborted = failure(client.auth({ signal: controller.signal }));
  const auth = await server.expect("Tauth", { afid: 1 });
  controller.abort("enough");
  assertEquals(await aborted, "enough");
  const flush = await server.expect("Tflush");
  server.answer(auth, { type: "Rauth", aqid: qid(1, QTAUTH) });
  server.answer(flush, { type: "Rflush" });
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await settled(scene);
  assertEquals(nextFid(scene), 1);
});
