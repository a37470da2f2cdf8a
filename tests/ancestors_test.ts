// The capabilities of the two ancestors, by the table of README.md, that no
// other test shows.
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { connect } from "../client.ts";
import * as codec from "../codec.ts";
import { MemoryFs } from "../fs/mod.ts";
import { listen as serveAt, serve } from "../server.ts";
import { dial, fromStreams, listen, pair } from "../transport.ts";
import { test } from "./harness.ts";

test("C-75 … C-79: constants have the numbers of the protocol", () => {
  const { DMDIR, DMAPPEND, DMEXCL, DMMOUNT, DMAUTH, DMTMP } = codec;
  const { QTFILE, QTDIR, QTAPPEND, QTEXCL, QTMOUNT, QTAUTH, QTTMP } = codec;
  const { DMUREAD, DMUWRITE, DMUEXEC, DMGREAD, DMGWRITE, DMGEXEC } = codec;
  const { DMOREAD, DMOWRITE, DMOEXEC, NOTAG, NOFID, IOHDRSZ } = codec;
  const { OREAD, OWRITE, ORDWR, OEXEC, OTRUNC, OCEXEC, ORCLOSE } = codec;
  assertEquals(
    [QTFILE, QTDIR, QTAPPEND, QTEXCL, QTMOUNT, QTAUTH, QTTMP],
    [0, 0x80, 0x40, 0x20, 0x10, 0x08, 0x04],
  );
  assertEquals(
    [DMDIR, DMAPPEND, DMEXCL, DMMOUNT, DMAUTH, DMTMP],
    [2 ** 31, 2 ** 30, 2 ** 29, 2 ** 28, 2 ** 27, 2 ** 26],
  );
  assertEquals([DMUREAD, DMUWRITE, DMUEXEC], [256, 128, 64]);
  assertEquals([DMGREAD, DMGWRITE, DMGEXEC], [32, 16, 8]);
  assertEquals([DMOREAD, DMOWRITE, DMOEXEC], [4, 2, 1]);
  assertEquals([OREAD, OWRITE, ORDWR, OEXEC], [0, 1, 2, 3]);
  assertEquals([OTRUNC, OCEXEC, ORCLOSE], [16, 32, 64]);
  assertEquals([NOTAG, NOFID, IOHDRSZ], [65535, 4294967295, 24]);
});

test("C-52: the caller may own the accept loop", async () => {
  const fs = new MemoryFs({ motd: "hello\n" });
  const listener = await listen("tcp://127.0.0.1:0");
  const ends: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const connection of listener) ends.push(serve(connection, fs));
  })();
  const address = listener.addr;
  await using one = await connect(await dial(address));
  await using two = await connect(await dial(address));
  listener.close();
  await accepting;
  // Who was accepted stays.
  assertEquals(await one.readTextFile("motd"), "hello\n");
  await one.close();
  assertEquals(await two.readTextFile("motd"), "hello\n");
  await two.close();
  assertEquals(await Promise.all(ends), [undefined, undefined]);
});

test("C-48: serve() of two streams is over when disconnect() is done", async () => {
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  const { handler } = new MemoryFs({ motd: "hello\n" });
  const steps: string[] = [];
  const disconnect = async () => {
    steps.push("disconnect");
    await new Promise((resolve) => setTimeout(resolve));
    steps.push("disconnected");
  };
  const watched = new Proxy(handler, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (name === "disconnect") return disconnect;
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
  const streams = { readable: there.readable, writable: back.writable };
  const served = serve(fromStreams(streams), watched)
    .then(() => steps.push("served"));
  const client = await connect(
    fromStreams({ readable: back.readable, writable: there.writable }),
  );
  assertEquals(await client.readTextFile("motd"), "hello\n");
  await client.close();
  await served;
  assertEquals(steps, ["disconnect", "disconnected", "served"]);
});

test("P-19: connect() to a host and port", async () => {
  const fs = new MemoryFs({ motd: "hello\n" });
  await using server = await serveAt("tcp://127.0.0.1:0", fs);
  const { port } = new URL(server.addr.replace("tcp:", "http:"));
  for (const start of ["tcp://127.0.0.1:", "tcp!127.0.0.1!", "127.0.0.1:"]) {
    await using client = await connect(start + port);
    assertEquals(await client.readTextFile("motd"), "hello\n");
  }
});

test("P-20, C-03: connect() over a pair of streams, as a user of a tree", async () => {
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  const who: unknown[] = [];
  const served = serve(
    fromStreams({ readable: there.readable, writable: back.writable }),
    {
      attach: ({ uname }, { aname }) => {
        who.push(uname, aname);
        return { qid: { type: codec.QTDIR, vers: 0, path: 0n } };
      },
      walk: () => undefined,
      open: () => {},
    },
  );
  const streams = { readable: back.readable, writable: there.writable };
  const options = { uname: "glenda", aname: "main" };
  const client = await connect(fromStreams(streams), options);
  assertEquals(who, ["glenda", "main"]);
  assertEquals(client.connection.readable, streams.readable);
  await client.close();
  await served;
});

test("C-01: a client has the file functions of its language", async () => {
  const [here, there] = pair();
  const served = serve(there, new MemoryFs({}, { mode: 0o777 }));
  const client = await connect(here);
  await client.mkdir("notes");
  await client.writeTextFile("notes/one", "1");
  await client.rename("notes/one", "notes/two");
  const names = await Array.fromAsync(client.readDir("notes"), (s) => s.name);
  assertEquals(names, ["two"]);
  assertEquals(await client.readTextFile("notes/two"), "1");
  await client.remove("notes/two");
  assertEquals(await client.exists("notes/two"), false);
  await client.close();
  await served;
});

test("C-20 … C-27: stat() gives all nine values", async () => {
  const [here, there] = pair();
  const fs = new MemoryFs({}, { mode: 0o777, uid: "sys", gid: "adm" });
  const served = serve(there, fs);
  const client = await connect(here, { uname: "glenda" });
  await client.writeTextFile("motd", "hello\n", { mode: 0o640 });
  await client.utime("motd", undefined, 1_000_000_000);
  const { qid, mode, atime, mtime, length, name, uid, gid, muid } = await client
    .stat("motd");
  assertEquals(qid.type, codec.QTFILE);
  assertEquals([typeof qid.vers, typeof qid.path], ["number", "bigint"]);
  assertEquals(mode, 0o640);
  assertEquals(Number.isInteger(atime) && atime > 0, true);
  assertEquals([mtime, length, name], [1_000_000_000, 6, "motd"]);
  assertEquals([uid, gid, muid], ["glenda", "adm", "glenda"]);
  await client.close();
  await served;
});

test("C-29, C-40 … C-42: create() gives a handle with fid, position and iounit", async () => {
  const [here, there] = pair();
  const served = serve(there, new MemoryFs({}, { mode: 0o777 }));
  const client = await connect(here);
  const { OWRITE, DMAPPEND } = codec;
  const perm = DMAPPEND + 0o600;
  const file = await client.create("log", { perm, mode: OWRITE });
  assertEquals([file.fid, file.position], [1, 0]);
  assertEquals(file.limit, file.iounit || client.msize - codec.IOHDRSZ);
  await file.write("one");
  assertEquals(file.position, 3);
  assertEquals((await file.stat()).mode, perm);
  // C-39, C-83: its connection; a setter of iounit.
  assertStrictEquals(file.connection, here);
  file.iounit = 2;
  assertEquals([file.iounit, file.limit], [2, 2]);
  assertEquals(await file.write("two"), 2);
  assertThrows(() => file.iounit = -1, RangeError);
  await file.close();
  await client.close();
  await served;
});
