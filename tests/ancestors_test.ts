// What the two ancestors could do, as README.md's table has it, where no other
// test says it in as many words.
import { assertEquals } from "@std/assert";
import { connect } from "../client.ts";
import * as codec from "../codec.ts";
import { MemoryFs } from "../fs/mod.ts";
import { serve } from "../server.ts";
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

test("P-46, P-48: a fixture of two lines, and their three tests over it", async () => {
  const fs = new MemoryFs({ test: "initial" }, { mode: 0o777, uid: "glenda" });
  let calls = 0;
  fs.register("time", () => ++calls, { callOnRead: true });
  const [here, there] = pair();
  const served = serve(there, fs);

  const client = await connect(here, { uname: "glenda" });
  assertEquals(await client.readTextFile("test"), "initial");
  const times: string[] = [];
  for (let i = 0; i < 5; i++) times.push(await client.readTextFile("time"));
  assertEquals(new Set(times).size, 5);
  await client.writeTextFile("test", "new data");
  assertEquals(await client.readTextFile("test"), "new data");
  await client.close();
  await served;
});
