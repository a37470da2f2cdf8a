// What a client owes its server and its caller, K1 to K24, against a scripted
// server that is awkward or hostile. K13, K17 and K18 are in
// client/mux_test.ts.
import {
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  greeted,
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
import { connect } from "../../client.ts";
import {
  decode,
  encodeDir,
  NinePError,
  NOTAG,
  ProtocolError,
  QTDIR,
  type Stat,
} from "../../codec.ts";
import { type Connection, pair } from "../../transport.ts";

const text = new TextEncoder();

// P-22, P-43, C-85.
test("K1 Tversion has NOTAG; nothing else is sent before Rversion", async () => {
  const [near, far] = pair();
  const events: string[] = [];
  const watched: Connection = {
    peer: "watched",
    readable: near.readable,
    writable: near.writable,
    close: () => near.close(),
    // pair() has the fast path.
    read: async (buffer) => {
      const bytes = await near.read!(buffer);
      if (bytes !== null) events.push(`read ${decode(bytes).type}`);
      return bytes;
    },
    write: (bytes) => {
      events.push(`write ${decode(bytes).type}`);
      return near.write!(bytes);
    },
  };
  const server = new ScriptedServer(far);
  const connecting = connect(watched, { uname: "glenda", aname: "main" });
  await server.exchange("Tversion", {
    tag: NOTAG,
    msize: 1024 * 1024 + 24,
    version: "9P2000",
  }, { type: "Rversion", msize: 4096, version: "9P2000" });
  const attach = {
    tag: 0,
    fid: 0,
    afid: 0xffffffff,
    uname: "glenda",
    aname: "main",
  };
  const reply = { type: "Rattach", qid: qid(0, QTDIR) } as const;
  await server.exchange("Tattach", attach, reply);
  const client = await connecting;
  assertEquals(events, [
    "write Tversion",
    "read Rversion",
    "write Tattach",
    "read Rattach",
  ]);
  assertEquals([client.msize, client.protocol.root, client.peer], [
    4096,
    0,
    "watched",
  ]);
  const closing = client.close();
  await server.run(() => undefined);
  await closing;
  server.close();
});

// C-06, C-85.
test("K2 Rversion with an msize above the one asked for, or below the minimum", async () => {
  for (const msize of [8193, 255, 0, 0xffffffff]) {
    const error = await greeted({ type: "Rversion", msize, version: "9P2000" });
    assertInstanceOf(error, ProtocolError);
    assertMatch(error.message, /asked for an msize of 8192, got/);
  }
});

test("K3 Rversion unknown says so", async () => {
  const reply = { type: "Rversion", msize: 8192, version: "unknown" } as const;
  const error = await greeted(reply);
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Cannot start a session with "pair": the server does not speak "9P2000"',
  );
});

test("K4 a dialect that was not asked for", async () => {
  for (const version of ["9P2000.L", "9P2000.u", "", "9P1999"]) {
    const error = await greeted({ type: "Rversion", msize: 8192, version });
    assertInstanceOf(error, ProtocolError);
    assertMatch(error.message, /asked for "9P2000", got "/);
  }
});

test("K5 paths of more than 16 elements take several walks", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const names = Array.from({ length: 40 }, (_, i) => `d${i}`);
  const walking = client.protocol.walk(`/./${names.join("//")}/`);
  for (const [fid, at, end] of [[0, 0, 16], [1, 16, 32], [1, 32, 40]]) {
    const wname = names.slice(at, end);
    const wqid = wname.map((_, i) => qid(i));
    await server.exchange("Twalk", { fid, newfid: 1, wname }, {
      type: "Rwalk",
      wqid,
    });
  }
  assertEquals(await walking, 1);
});

test("K5 names that msize does not hold together take several walks", async () => {
  await using scene = await start({ msize: 256 });
  const names = ["x".repeat(200), "y".repeat(30), "z".repeat(10)];
  const walking = scene.client.protocol.walk(names);
  for (const wname of [names.slice(0, 2), names.slice(2)]) {
    const wqid = wname.map((_, i) => qid(i));
    await scene.server.exchange("Twalk", { wname }, { type: "Rwalk", wqid });
  }
  await walking;
  await assertRejects(
    () => scene.client.protocol.walk("n".repeat(300)),
    RangeError,
    "Cannot send Twalk: it has 319 bytes, the session's msize is 256",
  );
  assertEquals(nextFid(scene), 2);
});

test("K6 an incomplete Rwalk is not found, and makes no fid", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const opening = client.open("a/b/c");
  await server.exchange("Twalk", { newfid: 1 }, {
    type: "Rwalk",
    wqid: [qid(1, QTDIR)],
  });
  const error = await assertRejects(() => opening, NinePError);
  assertEquals(
    error.message,
    'Cannot open "a/b/c": file does not exist at "b"',
  );
  assertEquals([error.ename, error.code], ["file does not exist", "ENOENT"]);
  assertEquals(nextFid(scene), 1);
  await settled(scene); // No Tclunk comes before this.
});

test("K6 an incomplete Rwalk of a later walk: the fid is clunked", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const names = Array.from({ length: 20 }, (_, i) => `d${i}`);
  for (const reply of ["incomplete", "Rerror"]) {
    const walking = assertRejects(
      () => client.protocol.walk(names),
      NinePError,
    );
    await walkTo(scene, 1, 16);
    const second = await server.expect("Twalk", { fid: 1, newfid: 1 });
    if (reply === "Rerror") server.refuse(second, "permission denied");
    else server.answer(second, { type: "Rwalk", wqid: [qid(17), qid(18)] });
    await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
    const error = await walking;
    assertMatch(error.message, /denied$|file does not exist at "d18"$/);
    await settled(scene);
    assertEquals(nextFid(scene), 1);
  }
});

test("K7 after an error to Twalk the number is free, and is not clunked", async () => {
  await using scene = await start();
  const { client, server } = scene;
  for (
    const call of [() => client.protocol.walk("a"), () => client.stat("a")]
  ) {
    const failing = assertRejects(call, NinePError, 'a": permission denied');
    server.refuse(await server.expect("Twalk"), "permission denied");
    assertEquals((await failing).code, "EACCES");
    assertEquals(nextFid(scene), 1);
  }
  const newfid = client.protocol.allocFid();
  const attaching = client.protocol.rpc({
    type: "Tattach",
    fid: newfid,
    afid: 0xffffffff,
    uname: "u",
    aname: "",
  });
  server.refuse(await server.expect("Tattach", { fid: 1 }));
  await assertRejects(() => attaching, NinePError);
  const authenticating = client.protocol.rpc({
    type: "Tauth",
    afid: client.protocol.allocFid(),
    uname: "u",
    aname: "",
  });
  server.refuse(await server.expect("Tauth", { afid: 1 }));
  await assertRejects(() => authenticating, NinePError);
  assertEquals(nextFid(scene), 1);
  await settled(scene);
});

test("K7 an error to Tattach rejects connect() and closes the connection", async () => {
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const connecting = assertRejects(
    () => connect(near, { msize: 8192 }),
    NinePError,
    "permission denied",
  );
  await server.exchange("Tversion", {}, {
    type: "Rversion",
    msize: 8192,
    version: "9P2000",
  });
  server.refuse(await server.expect("Tattach"), "permission denied");
  await connecting;
  assertEquals(await server.next(), null);
  server.close();
});

// C-42, C-87.
test("K8 reads and writes are cut to iounit and msize - 24", async () => {
  for (const [iounit, limit] of [[0, 8168], [100, 100], [9000, 8168]]) {
    await using scene = await start();
    const { client, server } = scene;
    const file = await openFile(scene, { iounit: iounit! });
    const reading = file.read(new Uint8Array(10000));
    await server.exchange("Tread", { count: limit! }, {
      type: "Rread",
      data: new Uint8Array(1),
    });
    assertEquals(await reading, 1);
    const writing = file.write(new Uint8Array(10000));
    const { data } = await server.exchange("Twrite", { offset: 1n }, {
      type: "Rwrite",
      count: limit!,
    });
    assertEquals([data.length, await writing], [limit, limit]);
    assertEquals(file.position, 1 + limit!);
    const raw = client.protocol.read(1, { count: 10000 });
    await server.exchange("Tread", { count: 8168 }, {
      type: "Rread",
      data: new Uint8Array(0),
    });
    assertEquals((await raw).length, 0);
  }
});

// C-87.
test("K9 an Rread longer than asked for", async () => {
  await using scene = await start();
  const file = await openFile(scene);
  const reading = assertRejects(
    () => file.read(new Uint8Array(4)),
    ProtocolError,
    "Cannot take the reply to Tread: Rread counts 5, the maximum is 4",
  );
  await scene.server.exchange("Tread", { count: 4 }, {
    type: "Rread",
    data: new Uint8Array(5),
  });
  await reading;
});

test("K10 an Rwrite count above what was sent", async () => {
  await using scene = await start();
  const file = await openFile(scene);
  const writing = assertRejects(
    () => file.write(new Uint8Array(4)),
    ProtocolError,
    "Cannot take the reply to Twrite: Rwrite counts 5, the maximum is 4",
  );
  await scene.server.exchange("Twrite", {}, { type: "Rwrite", count: 5 });
  await writing;
});

test("K10 a short Rwrite: the rest is sent; nothing at all is an error", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const writing = assertRejects(
    () => file.writeAll(text.encode("hello")),
    ProtocolError,
    "Cannot write: the server took none of 2 bytes",
  );
  for (const [data, count] of [["hello", 3], ["lo", 0]] as const) {
    const request = await server.expect("Twrite");
    assertEquals(new TextDecoder().decode(request.data), data);
    server.answer(request, { type: "Rwrite", count });
  }
  await writing;
});

// C-46, C-89.
test("K11 a reply of another type fails that request only", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const failing = assertRejects(
    () => client.stat(0),
    ProtocolError,
    "Cannot take the reply to Tstat: it is Rclunk",
  );
  await server.exchange("Tstat", {}, { type: "Rclunk" });
  await failing;
  await settled(scene);
});

test("K12 a reply with a tag that is not outstanding fails the connection", async () => {
  await using scene = await start();
  scene.mayLeak = true;
  const { client, server } = scene;
  const { reply, request } = await hold(scene);
  const other = { ...request, tag: 77 };
  server.answer(other, { type: "Rstat", stat: stat("a") });
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertEquals(
    error.message,
    'Connection to "pair" failed: a reply has tag 77, which no request has',
  );
  assertStrictEquals(await reply.catch((error) => error), error);
});

test("K14 a number is used again only after the reply to its Tclunk", async () => {
  await using scene = await start();
  const { client, server } = scene;
  for (const outcome of ["Rclunk", "Rerror"]) {
    const walking = client.protocol.walk("a");
    await walkTo(scene);
    const clunking = client.protocol.clunk(await walking).catch((error) =>
      error
    );
    const clunk = await server.expect("Tclunk", { fid: 1 });
    assertEquals(nextFid(scene), 2);
    if (outcome === "Rclunk") server.answer(clunk, { type: "Rclunk" });
    else server.refuse(clunk, "i/o error");
    assertEquals(await clunking instanceof NinePError, outcome === "Rerror");
    assertEquals(nextFid(scene), 1);
  }
});

// C-19.
test("K15 remove gives the fid back without a clunk, also after an error", async () => {
  await using scene = await start();
  const { client, server } = scene;
  for (const outcome of ["Rremove", "Rerror"]) {
    const removing = client.remove("a").catch((error) => error);
    await walkTo(scene);
    const remove = await server.expect("Tremove", { fid: 1 });
    assertEquals(nextFid(scene), 2);
    if (outcome === "Rremove") server.answer(remove, { type: "Rremove" });
    else server.refuse(remove, "directory is not empty");
    const error = await removing;
    if (outcome === "Rerror") {
      assertEquals(error.message, 'Cannot remove "a": directory is not empty');
    }
    assertEquals(nextFid(scene), 1);
    await settled(scene);
  }
});

// C-30.
test("K16 closing twice is harmless, and sends one Tclunk", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const file = await openFile(scene);
  const closing = [file.close(), file.close(), file[Symbol.asyncDispose]()];
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await Promise.all(closing);
  await file.close();
  await settled(scene);
  for (
    const call of [
      () => file.read(new Uint8Array(1)),
      () => file.write(new Uint8Array(1)),
      () => file.stat(),
    ]
  ) {
    await assertRejects(call, TypeError, '"f": the file is closed');
  }
  const ends = [client.close(), client.close()];
  scene.run(() => undefined);
  await Promise.all(ends);
  const clunks = server.log.filter(({ type }) => type === "Tclunk");
  assertEquals(clunks.length, 2); // The file's and the root's.
});

test("K19 reads in flight together give the data in order", async () => {
  const content = Uint8Array.from({ length: 3000 }, (_, i) => i * 7);
  await using scene = await start({ msize: 24 + 256 });
  const { client, server } = scene;
  const reading = client.readFile("a");
  await walkTo(scene);
  await server.exchange("Topen", { mode: 0 }, {
    type: "Ropen",
    qid: qid(1),
    iounit: 0,
  });
  const data = (offset: bigint, count: number): Reply => ({
    type: "Rread",
    data: content.slice(Number(offset), Number(offset) + count),
  });
  await server.exchange("Tread", { offset: 0n, count: 256 }, data(0n, 256));
  await server.exchange("Tstat", {}, { type: "Rstat", stat: stat("a", 3000) });
  const first = [];
  for (let i = 0; i < 8; i++) {
    first.push(
      await server.expect("Tread", { offset: BigInt(256 * (1 + i)) }),
    );
  }
  // Short replies, the last request first.
  for (const read of first.reverse()) {
    server.answer(read, data(read.offset, 99));
  }
  scene.run((request) =>
    request.type === "Tread"
      ? data(request.offset, Math.min(request.count, 50))
      : undefined
  );
  assertEquals(await reading, content);
});

test("K19 a file that is shorter or longer than it says", async () => {
  for (const [says, has] of [[5000, 900], [900, 5000], [0, 5000], [512, 512]]) {
    const content = Uint8Array.from({ length: has! }, (_, i) => i * 7);
    await using scene = await start({ msize: 24 + 256 });
    scene.run((request) => {
      if (request.type === "Tstat") {
        return { type: "Rstat", stat: stat("a", says) };
      }
      if (request.type !== "Tread") return undefined;
      const at = Number(request.offset);
      return { type: "Rread", data: content.slice(at, at + request.count) };
    });
    assertEquals(await scene.client.readFile("a"), content);
  }
});

test("K19 a stream that takes no notice of offsets is read one by one", async () => {
  const chunks = ["ab", "c", "defg", "", "x"].map((part) => text.encode(part));
  await using scene = await start();
  scene.run((request) =>
    request.type === "Tread"
      ? { type: "Rread", data: chunks.shift() ?? new Uint8Array(0) }
      : undefined
  );
  assertEquals(await scene.client.readTextFile("a"), "abcdefg");
});

/** Lists a directory whose reads give these data. */
async function list(scene: Scene, ...replies: Uint8Array[]): Promise<string[]> {
  scene.run((request) => {
    if (request.type === "Topen") {
      return { type: "Ropen", qid: qid(1, QTDIR), iounit: 0 };
    }
    return request.type === "Tread"
      ? { type: "Rread", data: replies.shift() ?? new Uint8Array(0) }
      : undefined;
  });
  const names = [];
  for await (const { name } of scene.client.readDir("a")) names.push(name);
  return names;
}

test("K20 a directory reply that ends inside a record", async () => {
  await using scene = await start();
  const data = encodeDir([stat("a"), stat("b")]);
  await assertRejects(
    () => list(scene, data.subarray(0, data.length - 1)),
    ProtocolError,
  );
});

test("readDir() gives whole records, at the right offsets", async () => {
  await using scene = await start();
  const first = encodeDir([stat("a"), stat("b")]);
  const second = encodeDir([stat("ç")]);
  assertEquals(await list(scene, first, second), ["a", "b", "ç"]);
  assertEquals(
    scene.server.log.flatMap((t) => t.type === "Tread" ? [t.offset] : []),
    [0, first.length, first.length + second.length].map(BigInt),
  );
});

test("readDir() clunks when its loop is left", async () => {
  await using scene = await start();
  const data = encodeDir([stat("a"), stat("b")]);
  scene.run((request) => {
    if (request.type === "Topen") {
      return { type: "Ropen", qid: qid(1, QTDIR), iounit: 0 };
    }
    return request.type === "Tread" ? { type: "Rread", data } : undefined;
  });
  for await (const { name } of scene.client.readDir("d")) {
    assertEquals(name, "a");
    break;
  }
  await scene.client.stat(0);
  assertEquals([...scene.server.fids], [0]);
});

test("readDir() of a file, readFile() of a directory", async () => {
  await using scene = await start();
  let type = 0;
  scene.run((request) =>
    request.type === "Topen"
      ? { type: "Ropen", qid: qid(1, type), iounit: 0 }
      : undefined
  );
  const { client } = scene;
  const notDir = await assertRejects(
    () => client.readDir("a").next(),
    NinePError,
    'Cannot list "a": not a directory',
  );
  assertEquals(notDir.code, "ENOTDIR");
  type = QTDIR;
  const isDir = await assertRejects(() => client.readFile("a"), NinePError);
  assertEquals(isDir.code, "EISDIR");
});

// C-33.
test("K21 seeking from the end uses Tstat", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const seeking = file.seek(-10, "end");
  await server.exchange("Tstat", { fid: 1 }, {
    type: "Rstat",
    stat: stat("f", 100),
  });
  assertEquals(await seeking, 90);
  assertEquals(await file.seek(5, "current"), 95);
  assertEquals(await file.seek(7), 7);
  await assertRejects(() => file.seek(-8, "current"), RangeError);
  await assertRejects(() => file.seek(2 ** 53), RangeError);
  await assertRejects(() => file.seek(0.5), RangeError);
  assertEquals(file.position, 7);
});

// C-02.
test("K22 text is decoded across the borders of replies", async () => {
  await using scene = await start();
  const content = text.encode("\ufeffžluťoučký 🐎");
  scene.run((request) => {
    if (request.type !== "Tread") return undefined;
    const at = Number(request.offset);
    return { type: "Rread", data: content.slice(at, at + 1) };
  });
  const got = await scene.client.readTextFile("a");
  assertEquals(got, "\ufeffžluťoučký 🐎");
});

test("K23 a directory's names that could lead astray", async () => {
  for (const name of ["", ".", "..", "a/b", "/"]) {
    await using scene = await start();
    await assertRejects(
      () => list(scene, encodeDir([stat("ok"), stat(name)])),
      ProtocolError,
      `Cannot list a directory: the server named a member "${name}"`,
    );
  }
});

test("K23 lengths that are too large are not believed", async () => {
  await using scene = await start();
  const hostile: Stat = { ...stat("a"), length: 2n ** 64n - 1n };
  scene.run((request) => {
    if (request.type === "Tstat") return { type: "Rstat", stat: hostile };
    if (request.type !== "Tread") return undefined;
    const left = Math.max(0, 100_000 - Number(request.offset));
    const data = new Uint8Array(Math.min(left, request.count));
    return { type: "Rread", data };
  });
  const { client } = scene;
  assertEquals((await client.readFile("a")).length, 100_000);
  await using file = await client.open("a");
  await assertRejects(() => file.seek(0, "end"), RangeError);
});

test("K23 a frame whose size cannot be ends the connection, and takes no memory", async () => {
  for (const size of [0, 6, 8193, 0xffffffff]) {
    await using scene = await start();
    scene.mayLeak = true;
    const { client, server } = scene;
    const { reply } = await hold(scene);
    const frame = new Uint8Array(7);
    new DataView(frame.buffer).setUint32(0, size, true);
    server.send(frame);
    const error = await client.closed;
    assertInstanceOf(error, ProtocolError);
    assertMatch(error.message, new RegExp(`${size}`));
    assertStrictEquals(await reply.catch((error) => error), error);
    assertEquals(await server.next(), null);
  }
});

test("K23 Rwalk with more qids than names: in doubt the fid is clunked", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const walking = assertRejects(() => client.protocol.walk("a"), ProtocolError);
  const walk = await server.expect("Twalk");
  server.answer(walk, { type: "Rwalk", wqid: [qid(1), qid(2)] });
  server.refuse(await server.expect("Tclunk", { fid: 1 }), "unknown fid");
  await walking;
  await settled(scene);
  assertEquals(nextFid(scene), 1);
});

// C-07.
test("K24 close() clunks open fids", async () => {
  const scene = await start();
  const { client, server } = scene;
  await openFile(scene);
  const walking = client.protocol.walk("a");
  await walkTo(scene, 2);
  await walking;
  await scene[Symbol.asyncDispose](); // Looks for fids that were left.
  assertEquals(
    server.log.flatMap((t) => t.type === "Tclunk" ? [t.fid] : []),
    [0, 1, 2],
  );
});

test("K24 close() of a silent server ends in bounded time", async () => {
  const { client, server } = await start({ closeTimeout: 0 });
  await client.close();
  assertEquals(await client.closed, undefined);
  server.close();
});

test("K24 close() of a server that takes no bytes ends in bounded time", async () => {
  const { client, server } = await start({ closeTimeout: 0 });
  const writing = client.protocol.rpc({
    type: "Twrite",
    fid: 0,
    offset: 0n,
    data: new Uint8Array(8000),
  });
  const full = Array.from({ length: 100 }, () =>
    client.protocol.rpc({
      type: "Twrite",
      fid: 0,
      offset: 0n,
      data: new Uint8Array(8000),
    }));
  const rejected = Promise.allSettled([writing, ...full]);
  await client.close();
  for (const { status } of await rejected) assertEquals(status, "rejected");
  server.close();
});

test("K24 close() after the connection was lost", async () => {
  const { client, server } = await start();
  server.close();
  await client.closed;
  await client.close();
});
