// Files, streams and raw requests, against a scripted server.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  nextFid,
  openFile,
  qid,
  type Reply,
  sent,
  settled,
  start,
  stat,
  takeFirst,
  walkTo,
} from "./scripted.ts";
import { connect, type OpenOptions } from "../../client.ts";
import {
  DMDIR,
  NinePError,
  QTAPPEND,
  QTDIR,
  QTEXCL,
  type Tmessage,
} from "../../codec.ts";

const text = new TextEncoder();
const utf8 = new TextDecoder();

const opened = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
const made = { type: "Rcreate", qid: qid(1), iounit: 0 } as const;

/** Serves one file in memory under every path. */
function memory(content: Uint8Array): {
  content: Uint8Array;
  handler: (request: Tmessage) => Reply | undefined;
} {
  const file = {
    content,
    handler(request: Tmessage): Reply | undefined {
      switch (request.type) {
        case "Tstat":
          return { type: "Rstat", stat: stat("f", file.content.length) };
        case "Tread": {
          const at = Number(request.offset);
          const data = file.content.slice(at, at + request.count);
          return { type: "Rread", data };
        }
        case "Twrite": {
          const at = Number(request.offset);
          const end = at + request.data.length;
          if (end > file.content.length) {
            const longer = new Uint8Array(end);
            longer.set(file.content);
            file.content = longer;
          }
          file.content.set(request.data, at);
          return { type: "Rwrite", count: request.data.length };
        }
        case "Topen":
          if (request.mode & 0x10) file.content = new Uint8Array(0);
          return opened;
        default:
          return undefined;
      }
    },
  };
  return file;
}

// C-11, C-14.
test("open() asks for the mode that its options say", async () => {
  const cases: [OpenOptions, number][] = [
    [{}, 0],
    [{ read: true }, 0],
    [{ write: true }, 1],
    [{ write: true, truncate: true }, 0x11],
    [{ read: true, write: true }, 2],
    [{ append: true }, 0x81],
    [{ read: true, append: true }, 0x82],
    [{ read: true, write: true, truncate: true, create: true }, 0x12],
  ];
  for (const [options, mode] of cases) {
    await using scene = await start();
    scene.run(memory(new Uint8Array(9)).handler);
    await using file = await scene.client.open("f", options);
    assertEquals(
      scene.server.log.flatMap((t) => t.type === "Topen" ? [t.mode] : []),
      [mode],
    );
    assertEquals(file.position, options.append ? 9 : 0);
  }
});

test("open() of a fid opens that fid, and leaves it alone when it fails", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const walking = client.protocol.walk("a");
  await walkTo(scene);
  const fid = await walking;
  const failing = assertRejects(
    () => client.open(fid, { write: true }),
    NinePError,
    "Cannot open fid 1: permission denied",
  );
  server.refuse(await server.expect("Topen", { fid }), "permission denied");
  await failing;
  const opening = client.open(fid);
  await server.exchange("Topen", { fid }, opened);
  const file = await opening;
  assertEquals([file.fid, file.iounit, file.qid], [1, 0, qid(1)]);
  const closing = file.close();
  await server.exchange("Tclunk", { fid }, { type: "Rclunk" });
  await closing;
});

test("writeFile() opens with OTRUNC a file that is there, and waits for the clunk", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const writing = client.writeTextFile("a/b", "hello");
  await server.exchange("Twalk", { wname: ["a", "b"] }, {
    type: "Rwalk",
    wqid: [qid(1), qid(2)],
  });
  await server.exchange("Topen", { mode: 0x11 }, opened);
  const write = await server.expect("Twrite", { offset: 0n });
  assertEquals(utf8.decode(write.data), "hello");
  server.answer(write, { type: "Rwrite", count: 5 });
  const failing = assertRejects(
    () => writing,
    NinePError,
    'Cannot write "a/b": file system is full',
  );
  server.refuse(await server.expect("Tclunk"), "file system is full");
  await failing;
});

test("writeFile() makes a file that is not there", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const writing = client.writeFile("d/f", text.encode("x"), { mode: 0o600 });
  await server.exchange("Twalk", { wname: ["d", "f"] }, {
    type: "Rwalk",
    wqid: [qid(1, QTDIR)],
  });
  await server.exchange("Twalk", { wname: ["d"], newfid: 1 }, {
    type: "Rwalk",
    wqid: [qid(1, QTDIR)],
  });
  await server.exchange(
    "Tcreate",
    { fid: 1, name: "f", perm: 0o600, mode: 1 },
    made,
  );
  await server.exchange("Twrite", {}, { type: "Rwrite", count: 1 });
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await writing;
});

test("writeFile() to a file that appears between walk and create: once more walk and open", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const writing = client.writeFile("f", text.encode("x"));
  server.refuse(await server.expect("Twalk"), "file does not exist");
  await server.exchange("Twalk", { wname: [] }, { type: "Rwalk", wqid: [] });
  server.refuse(await server.expect("Tcreate"), "file already exists");
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  // The fid number may be in use until the Rclunk arrives.
  const walk = await server.expect("Twalk", { wname: ["f"] });
  server.answer(walk, { type: "Rwalk", wqid: [qid(1)] });
  await server.exchange("Topen", { fid: walk.newfid, mode: 0x11 }, opened);
  await server.exchange("Twrite", {}, { type: "Rwrite", count: 1 });
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await writing;
});

test("writeFile() gives up when the file comes and goes", async () => {
  await using scene = await start();
  scene.run((request) => {
    if (request.type === "Twalk" && request.wname.length > 0) {
      return { type: "Rerror", ename: "file does not exist" };
    }
    return request.type === "Tcreate"
      ? { type: "Rerror", ename: "file already exists" }
      : undefined;
  });
  await assertRejects(
    () => scene.client.writeTextFile("f", "x"),
    NinePError,
    'Cannot write "f": file does not exist',
  );
  assertEquals(
    sent(scene).filter((type) => type !== "Tclunk"),
    ["Twalk", "Twalk", "Tcreate", "Twalk"],
  );
});

test("writeFile() with create: false, and with createNew", async () => {
  await using scene = await start();
  scene.run((request) => {
    switch (request.type) {
      case "Twalk":
        return request.wname.length > 0
          ? { type: "Rerror", ename: "file does not exist" }
          : undefined;
      case "Tcreate":
        return { type: "Rerror", ename: "file already exists" };
      default:
        return undefined;
    }
  });
  const { client } = scene;
  const options = { create: false };
  const missing = await assertRejects(
    () => client.writeTextFile("f", "x", options),
    NinePError,
  );
  assertEquals([missing.code, sent(scene)], ["ENOENT", ["Twalk"]]);
  const there = await assertRejects(
    () => client.writeTextFile("f", "x", { createNew: true }),
    NinePError,
  );
  assertEquals(there.code, "EEXIST");
  const root = await assertRejects(() => client.create("/"), NinePError);
  assertEquals(root.message, 'Cannot create "/": file already exists');
});

test("writeFile() does not make a file when the walk fails otherwise", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const failing = assertRejects(() => client.writeTextFile("f", "x"));
  server.refuse(await server.expect("Twalk"), "permission denied");
  assertInstanceOf(await failing, NinePError);
});

test("writeFile() is cut by iounit, several writes in flight", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const data = Uint8Array.from({ length: 950 }, (_, i) => i);
  const writing = client.writeFile("f", data);
  await walkTo(scene);
  await server.exchange("Topen", {}, { ...opened, iounit: 100 });
  assertEquals((await takeFirst(scene)).data, data.subarray(0, 100));
  const writes = [];
  for (let i = 1; i < 9; i++) {
    const write = await server.expect("Twrite", { offset: BigInt(100 * i) });
    assertEquals(write.data, data.subarray(100 * i, 100 * i + 100));
    writes.push(write);
  }
  // The server answers in reverse order; the last reply is short.
  for (const write of writes.reverse()) {
    const count = write.offset === 700n ? 60 : 100;
    server.answer(write, { type: "Rwrite", count });
  }
  const rest = [];
  for (let i = 0; i < 2; i++) rest.push(await server.expect("Twrite"));
  assertEquals(
    rest.map(({ offset, data }) => [offset, data.length]).sort(),
    [[760n, 40], [900n, 50]],
  );
  for (const { data: { length: count }, ...write } of rest) {
    const request = { ...write, data: new Uint8Array(count) };
    server.answer(request, { type: "Rwrite", count });
  }
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await writing;
});

test("writeFile() with append, and to an append-only file, writes one by one", async () => {
  for (const isAppend of [true, false]) {
    await using scene = await start();
    const { client, server } = scene;
    const data = new Uint8Array(250);
    const writing = client.writeFile("f", data, { append: isAppend });
    await walkTo(scene);
    const type = isAppend ? 0 : QTAPPEND;
    await server.exchange("Topen", { mode: isAppend ? 0x81 : 0x11 }, {
      type: "Ropen",
      qid: qid(1, type),
      iounit: 100,
    });
    let at = 0;
    if (isAppend) {
      at = 1000;
      const reply = { type: "Rstat", stat: stat("f", at) } as const;
      await server.exchange("Tstat", {}, reply);
    }
    for (const length of [100, 100, 50]) {
      const write = await server.expect("Twrite", { offset: BigInt(at) });
      assertEquals([write.data.length, server.open.size], [length, 1]);
      server.answer(write, { type: "Rwrite", count: length });
      at += length;
    }
    await server.exchange("Tclunk", {}, { type: "Rclunk" });
    await writing;
  }
});

test("writeFile() stops at the first error, and clunks when nothing is in flight", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const writing = assertRejects(
    () => client.writeFile("f", new Uint8Array(5000)),
    NinePError,
    'Cannot write "f": file system is full',
  );
  await walkTo(scene);
  await server.exchange("Topen", {}, { ...opened, iounit: 100 });
  await takeFirst(scene);
  const writes = [];
  for (let i = 0; i < 8; i++) writes.push(await server.expect("Twrite"));
  server.refuse(writes[3]!, "file system is full");
  for (const write of writes) {
    if (write !== writes[3]) {
      server.answer(write, { type: "Rwrite", count: 100 });
    }
  }
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await writing;
});

test("readFile() of an exclusive-use file waits for the clunk", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const reading = client.readFile("f");
  await walkTo(scene);
  await server.exchange("Topen", {}, {
    type: "Ropen",
    qid: qid(1, QTEXCL),
    iounit: 0,
  });
  await server.exchange("Tread", {}, {
    type: "Rread",
    data: new Uint8Array(0),
  });
  let isDone = false;
  const done = reading.then(() => isDone = true);
  const clunk = await server.expect("Tclunk");
  assertEquals(isDone, false);
  server.answer(clunk, { type: "Rclunk" });
  await done;
});

test("readFile() of a file of every size around the borders", async () => {
  for (const length of [0, 1, 255, 256, 257, 511, 512, 513, 2048, 70_000]) {
    await using scene = await start({ msize: 24 + 256 });
    const content = Uint8Array.from({ length }, (_, i) => i * 31);
    scene.run(memory(content).handler);
    assertEquals(await scene.client.readFile("f"), content);
  }
});

// C-47, C-89.
test("readFile() fails with the server's error", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Tread"
      ? { type: "Rerror", ename: "i/o error" }
      : undefined
  );
  const error = await assertRejects(
    () => scene.client.readTextFile(["a", "b"]),
    NinePError,
    'Cannot read "a/b": i/o error',
  );
  assertEquals(error.code, "EIO");
});

// C-16, C-88.
test("mkdir(), rename(), wstat(), truncate() send what they should", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twstat" ? { type: "Rwstat" } : undefined
  );
  const { client, server } = scene;
  await client.mkdir("a/b", { mode: 0o750 });
  await client.rename("a/b", "/a/c");
  await client.wstat("a", { mode: 0o600 });
  await client.wstat(client.protocol.root, {});
  await using file = await client.open("a");
  await file.truncate(5);
  const create = server.log.find(({ type }) => type === "Tcreate");
  assert(create?.type === "Tcreate");
  assertEquals(create.perm, DMDIR + 0o750);
  assertEquals([create.name, create.mode], ["b", 0]);
  const changes = server.log.flatMap((t) => t.type === "Twstat" ? [t] : []);
  const none = 0xffffffff;
  assertEquals(
    changes.map(({ stat: { name, mode, length } }) => [name, mode, length]),
    [
      ["c", none, 2n ** 64n - 1n],
      ["", 0o600, 2n ** 64n - 1n],
      ["", none, 2n ** 64n - 1n],
      ["", none, 5n],
    ],
  );
  assertEquals(changes[2]?.fid, 0);
});

// C-88.
test("rename() into another directory is EXDEV", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  for (const to of ["b/x", "x", "/", "", "a/b/c"]) {
    const error = await assertRejects(
      () => scene.client.rename("a/x", to),
      NinePError,
      `Cannot rename "a/x": "${to}" is in another directory, and 9P renames only within one directory`,
    );
    assertEquals(error.code, "EXDEV");
    assertEquals(error.ename, "Invalid cross-device link");
  }
});

// C-43.
test("remove() of a fid gives its number back", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client } = scene;
  const fid = await client.protocol.walk("a");
  await client.remove(fid);
  assertEquals(client.protocol.allocFid(), fid);
  client.protocol.releaseFid(fid);
});

test("read() and write() of a fid", async () => {
  await using scene = await start();
  const file = memory(text.encode("hello"));
  scene.run(file.handler);
  const { client } = scene;
  await using open = await client.open("f", { read: true, write: true });
  assertEquals(await client.protocol.write(open.fid, "žž", { offset: 3 }), 4);
  const all = await client.protocol.read(open.fid);
  assertEquals(utf8.decode(all), "helžž");
  const part = await client.protocol.read(open.fid, { offset: 1n, count: 2 });
  assertEquals(utf8.decode(part), "el");
});

// C-31, C-32, C-34, C-35, C-41, C-89.
test("RemoteFile: read, write and seek keep the position", async () => {
  await using scene = await start();
  scene.run(memory(text.encode("hello")).handler);
  const { client } = scene;
  await using file = await client.open("f", { read: true, write: true });
  const buffer = new Uint8Array(3);
  assertEquals([await file.read(buffer), file.position], [3, 3]);
  assertEquals(await file.read(new Uint8Array(0)), 0);
  assertEquals([await file.read(buffer), file.position], [2, 5]);
  assertEquals([await file.read(buffer), file.position], [null, 5]);
  assertEquals(await file.readAt(buffer, 1), 3);
  assertEquals([utf8.decode(buffer), file.position], ["ell", 5]);
  await file.writeAt(text.encode("J"), 0);
  await file.write(text.encode("!"));
  assertEquals([file.position, (await file.stat()).length], [6, 6]);
  assertEquals(await client.readTextFile("f"), "Jello!");
  for (const offset of [-1, 0.5, NaN, 2 ** 53]) {
    await assertRejects(() => file.readAt(buffer, offset), RangeError);
    await assertRejects(() => file.writeAt(buffer, offset), RangeError);
    await assertRejects(() => file.truncate(offset), RangeError);
  }
});

// C-13, C-14.
test("RemoteFile: readable gives the rest and closes the file", async () => {
  await using scene = await start({ msize: 24 + 256 });
  const content = Uint8Array.from({ length: 1000 }, (_, i) => i);
  scene.run(memory(content).handler);
  const { client, server } = scene;
  const file = await client.open("f");
  await file.seek(10);
  assertStrictEquals(file.readable, file.readable);
  const bytes = new Uint8Array(await new Response(file.readable).arrayBuffer());
  assertEquals(bytes, content.subarray(10));
  await file.close();
  assertEquals([...server.fids], [0]);
});

test("RemoteFile: readable with a BYOB reader, and cancelled", async () => {
  await using scene = await start();
  scene.run(memory(text.encode("hello")).handler);
  const { client, server } = scene;
  const file = await client.open("f");
  const reader = file.readable.getReader({ mode: "byob" });
  const { value } = await reader.read(new Uint8Array(3));
  assertEquals(utf8.decode(value), "hel");
  await reader.cancel();
  await file.close();
  assertEquals([...server.fids], [0]);
});

// C-11.
test("RemoteFile: writable writes all and closes the file", async () => {
  await using scene = await start({ msize: 24 + 256 });
  const memo = memory(new Uint8Array(0));
  scene.run(memo.handler);
  const { client, server } = scene;
  const content = Uint8Array.from({ length: 1000 }, (_, i) => i);
  const file = await client.open("f", { write: true });
  const source = new Blob([content.subarray(0, 300), content.subarray(300)]);
  await source.stream().pipeTo(file.writable);
  assertEquals(memo.content, content);
  assertEquals([...server.fids], [0]);
});

test("RemoteFile: streams that fail close the file", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Tread" || request.type === "Twrite"
      ? { type: "Rerror", ename: "i/o error" }
      : undefined
  );
  const { client, server } = scene;
  const source = await client.open("f");
  await assertRejects(
    () => new Response(source.readable).text(),
    NinePError,
    'Cannot read "f": i/o error',
  );
  const target = await client.open("f", { write: true });
  const writer = target.writable.getWriter();
  const { closed } = writer;
  await assertRejects(
    () => writer.write(text.encode("x")),
    NinePError,
    'Cannot write "f": i/o error',
  );
  await assertRejects(() => closed, NinePError);
  await Promise.all([source.close(), target.close()]);
  assertEquals([...server.fids], [0]);
});

test("RemoteFile: close() after the connection has ended is quiet", async () => {
  for (const end of ["lost", "closed"]) {
    await using scene = await start();
    scene.mayLeak = true;
    const file = await openFile(scene);
    if (end === "lost") scene.server.close();
    else {
      scene.run(() => undefined);
      await scene.client.close();
    }
    await scene.client.closed;
    await file.close();
  }
});

test("abort of open() of a fid leaves the fid to its owner", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const walking = client.protocol.walk("a");
  await walkTo(scene);
  const fid = await walking;
  const controller = new AbortController();
  const opening = client.open(fid, { signal: controller.signal })
    .catch((error) => error);
  const open = await server.expect("Topen");
  controller.abort("enough");
  assertEquals(await opening, "enough");
  const flush = await server.expect("Tflush");
  server.answer(open, opened);
  server.answer(flush, { type: "Rflush" });
  await settled(scene); // No Tclunk is sent before this point.
  assertEquals(nextFid(scene), 2);
});

// C-45.
test("rpc() takes any request, and refuses what is the client's own", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const request = { type: "Tcall", fid: 0, text: "", data: text.encode("x") };
  const calling = client.protocol.rpc({ ...request, type: "Tcall" });
  await server.exchange("Tcall", { fid: 0 }, {
    type: "Rcall",
    err: 0,
    text: "t",
    data: text.encode("abc"),
  });
  assertEquals(await calling, {
    type: "Rcall",
    tag: 0,
    err: 0,
    text: "t",
    data: text.encode("abc"),
  });
  for (const type of ["Tversion", "Tflush"]) {
    // As a caller without types may do.
    const wrong = { type } as unknown as Parameters<
      typeof client.protocol.rpc
    >[0];
    await assertRejects(
      () => client.protocol.rpc(wrong),
      TypeError,
      "Cannot send",
    );
  }
});

test("rpc() refuses what cannot be encoded, and goes on", async () => {
  await using scene = await start();
  const { client } = scene;
  await assertRejects(
    () => client.protocol.rpc({ type: "Topen", fid: 0, mode: 256 }),
    RangeError,
  );
  await assertRejects(
    () => client.protocol.rpc({ type: "Tclunk", fid: -1 }),
    RangeError,
  );
  await assertRejects(() => client.stat("a\0b"), RangeError);
  await assertRejects(
    () =>
      client.protocol.rpc({
        type: "Twrite",
        fid: 0,
        offset: 0n,
        data: new Uint8Array(8192),
      }),
    RangeError,
    "the session's msize is 8192",
  );
  await settled(scene);
  assertEquals(nextFid(scene), 1);
});

test("connect() refuses options out of range before anything is sent", async () => {
  for (const msize of [255, 2 ** 32, 1000.5, NaN]) {
    await assertRejects(
      () => connect("tcp://127.0.0.1:1", { msize }),
      RangeError,
      "Cannot connect: msize is",
    );
  }
  for (const maxInFlight of [0, -1, 0xffff, NaN]) {
    await assertRejects(
      () => connect("tcp://127.0.0.1:1", { maxInFlight }),
      RangeError,
      "Cannot connect: maxInFlight is",
    );
  }
  await assertRejects(() => connect("carrier-pigeon://x"), TypeError);
});
