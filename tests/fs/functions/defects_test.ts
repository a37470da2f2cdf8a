// The defects of the first ancestor's function files and server, each of which
// must not come back. They are numbered as in its description; those of its
// client (8, 13, 16 in part) are in the tests of the client.
import { assert, assertEquals } from "@std/assert";
import {
  decodeDir,
  encode,
  NOFID,
  NOTAG,
  ORDWR,
  OREAD,
  OWRITE,
} from "../../../codec.ts";
import { MemoryFs } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import {
  HeldFunction,
  refusal,
  refused,
  register,
  ServedTree,
  type TreeClient,
} from "../tree_client.ts";
import { messageVectors } from "../../codec/vectors.ts";

function adder(): MemoryFs {
  const fs = new MemoryFs({ plain: "data" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  return fs;
}

/** The requests of a session that calls add, as one sequence of bytes. */
function session(): Uint8Array {
  return new Uint8Array(
    messageVectors("call")
      .filter(({ name }) =>
        /^pyroute2 client: (version|attach|walk|call$|write|read)/.test(name)
      )
      .flatMap(({ frame }) => [...frame]),
  );
}

/** Resolves when a client has that many replies. */
async function replies(client: TreeClient, tag: number): Promise<string[]> {
  await client.reply(tag);
  return client.replies.map((reply) => reply.type);
}

const ANSWERS = ["Rversion", "Rattach", "Rwalk", "Rcall", "Rwrite", "Rread"];

// P-44.
test("defect 1: requests that are split, or come together, are not lost", async () => {
  const stream = session();
  for (const size of [1, 5, 64, stream.length]) {
    await using served = new ServedTree(adder());
    const client = served.raw();
    const answered = replies(client, 260);
    for (let at = 0; at < stream.length; at += size) {
      client.sendBytes(stream.subarray(at, at + size));
    }
    assertEquals(await answered, ANSWERS);
    const tags = client.replies.map(({ tag }) => tag);
    assertEquals(tags, [NOTAG, 255, 256, 257, 259, 260]);
  }
});

test("defect 2: connections and servers of a process share no fids, no files", async () => {
  await using a = new ServedTree(adder());
  await using b = new ServedTree(adder());
  const [one, two] = [await a.client("one"), await a.client("two")];
  const three = await b.client("three");
  const wname = ["plain"];
  await one.ask({ type: "Twalk", fid: 0, newfid: 9, wname });
  await refused("fid unknown or out of range", two.stat(9));
  await three.ask({ type: "Twalk", fid: 0, newfid: 9, wname: ["add"] });
  assertEquals((await one.stat(9)).name, "plain");
  assertEquals((await three.stat(9)).name, "add");
  await two.create("/", "mine");
  await refused("file does not exist", three.walk("mine"));
  one.close();
  await three.stat(9);
});

test("defect 3: two clients do not mix their calls", async () => {
  await using served = new ServedTree(adder());
  const clients = [await served.client("one"), await served.client("two")];
  const fids = await Promise.all(
    clients.map((client) => client.open("add", ORDWR)),
  );
  for (const [i, client] of clients.entries()) {
    await client.write(fids[i], `{"a": ${i}, "b": 100}`);
  }
  for (const [i, client] of clients.entries()) {
    assertEquals(await client.text(fids[i]), String(100 + i));
  }
});

test("defect 4: lengths are bytes, not characters", async () => {
  const fs = new MemoryFs({ "größe 日本 😀": "日本" }, { uid: "björk" });
  fs.register("echo", ({ s }: { s: string }) => s, {
    dumper: String,
    uid: "björk",
  });
  await using served = new ServedTree(fs);
  const client = await served.client("日本");
  const { name, uid, length } = await client.stat("größe 日本 😀");
  assertEquals([name, uid, length], ["größe 日本 😀", "björk", 6n]);
  const entries = decodeDir(await client.read(await client.open("/")));
  assertEquals(entries.map(({ name }) => name), ["größe 日本 😀", "echo"]);
  const fid = await client.open("echo", ORDWR);
  await client.write(fid, '{"s": "日本 😀"}');
  assertEquals(await client.text(fid), "日本 😀");
  const shared = await client.open("echo", OWRITE);
  await client.write(shared, '{"s": "日本 😀"}');
  await client.text(await client.open("echo"));
  assertEquals((await client.stat("echo")).length, 11n);
  const call = await client.call("echo", '{"kwarg": {"s": "日本 😀"}}');
  assertEquals(call.value, "日本 😀");
});

test("defect 5: directory reads are whole records", async () => {
  await using served = new ServedTree(adder());
  const client = await served.client();
  const fid = await client.open("/");
  const whole = (await client.read(fid)).length;
  for (let count = 75; count < whole; count++) {
    assertEquals(decodeDir(await client.read(fid, 0, count)).length, 1);
  }
});

test("defect 6: iounit and counts keep to msize, msize has a bound", async () => {
  const fs = new MemoryFs({ big: new Uint8Array(9000) });
  fs.register("f", () => new Uint8Array(9000));
  await using served = new ServedTree(fs);
  const client = served.raw();
  const version = "9P2000";
  const { msize } = await client.ask(
    { type: "Tversion", msize: 0xffffffff, version },
    NOTAG,
  );
  assert(msize <= 1024 * 1024 + 24);
  await client.ask({ type: "Tversion", msize: 8192, version }, NOTAG);
  await client.attach(0, "glenda");
  for (const path of ["big", "f"]) {
    const fid = await client.walk(path);
    const { iounit } = await client.ask({ type: "Topen", fid, mode: OREAD });
    assert(iounit <= 8192 - 24);
    for (const count of [8192, 0xffffffff]) {
      if (path === "f") {
        await client.write(await client.open("f", OWRITE), "{}");
      }
      assertEquals((await client.read(fid, 0, count)).length, 8181);
    }
  }
});

test("defect 7: a clunk frees the fid", async () => {
  await using served = new ServedTree(adder());
  const client = await served.client();
  const fid = await client.open("add", ORDWR);
  await client.write(fid, '{"a": 1, "b": 2}');
  await client.clunk(fid);
  for (
    const answer of [client.stat(fid), client.clunk(fid), client.read(fid)]
  ) {
    await refused("fid unknown or out of range", answer);
  }
  // Nothing of the old fid is left to the new one.
  const wname = ["plain"];
  await client.ask({ type: "Twalk", fid: 0, newfid: fid, wname });
  await refused("bad use of fid", client.read(fid));
});

// P-35.
test("defect 8: a write goes to its offset", async () => {
  await using served = new ServedTree(adder());
  const client = await served.client();
  const fid = await client.create("/", "f", 0o666, ORDWR);
  await client.write(fid, "world", 6);
  await client.write(fid, "hello ");
  assertEquals(await client.text(fid), "hello world");
});

test("defect 9: arguments of several writes are not lost", async () => {
  const fs = new MemoryFs();
  fs.register("length", ({ s }: { s: string }) => s.length);
  await using served = new ServedTree(fs);
  const client = await served.client("glenda", { msize: 512 });
  const fid = await client.open("length", ORDWR);
  const text = `{"s": "${"x".repeat(5000)}"}`;
  for (let at = 0; at < text.length; at += 488) {
    await client.write(fid, text.slice(at, at + 488), at);
  }
  assertEquals(await client.text(fid), "5000");
});

test("defect 10: an error in a read is the function's, not the dumper's", async () => {
  const dumped: unknown[] = [];
  const dumper = (value: unknown): string => String(dumped.push(value));
  const fail = () => {
    throw new TypeError("the real error");
  };
  const fs = new MemoryFs();
  fs.register("f", fail, { dumper });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  await refused("the real error", client.read(fid));
  assertEquals(JSON.parse(await refusal(client.call("f", ""))), {
    class: "TypeError",
    argv: [],
    str: "the real error",
  });
  assertEquals(dumped, []);
});

test("defect 11: Tflush is answered, unknown types do not end the connection", async () => {
  const held = new HeldFunction();
  const fs = new MemoryFs();
  register(fs, "f", held);
  await using served = new ServedTree(fs);
  const client = await served.client();
  assertEquals(await client.flush(4711), ["Rflush"]);
  const fid = await client.walk("f");
  const data = new Uint8Array(0);
  const { tag } = client.start({ type: "Tcall", fid, text: "", data });
  const call = await held.called();
  assertEquals(await client.flush(tag), ["Rflush"]);
  assert(call.context.signal.aborted);
  for (const code of [0, 12, 70, 82, 106, 128, 255]) {
    const frame = encode({ type: "Tclunk", tag: 300 + code, fid });
    frame[4] = code;
    client.sendBytes(frame);
    assertEquals((await client.reply(300 + code)).type, "Rerror");
  }
  assertEquals((await client.stat(fid)).name, "f");
});

test("defect 12: a failing request does not make those behind it vanish", async () => {
  await using served = new ServedTree(adder());
  const client = await served.client();
  const frames = [
    encode({ type: "Tstat", tag: 1, fid: 77 }),
    encode({ type: "Twalk", tag: 2, fid: 0, newfid: 5, wname: ["no"] }),
    encode({ type: "Twalk", tag: 3, fid: 0, newfid: 5, wname: ["add"] }),
    encode({
      type: "Tcall",
      tag: 4,
      fid: 5,
      text: "{",
      data: new Uint8Array(0),
    }),
    encode({
      type: "Tcall",
      tag: 5,
      fid: 5,
      text: '{"argv": [1, 2]}',
      data: new Uint8Array(0),
    }),
    encode({ type: "Tstat", tag: 6, fid: 5 }),
  ];
  const from = client.replies.length;
  const last = client.reply(6);
  client.sendBytes(new Uint8Array(frames.flatMap((frame) => [...frame])));
  await last;
  assertEquals(
    client.replies.slice(from).map(({ type, tag }) => [tag, type]),
    [
      [1, "Rerror"],
      [2, "Rerror"],
      [3, "Rwalk"],
      [4, "Rerror"],
      [5, "Rcall"],
      [6, "Rstat"],
    ],
  );
});

test("defect 13: what is no call has a text error, what is no function err 255", async () => {
  await using served = new ServedTree(adder());
  const client = await served.client();
  await refused("file does not exist", client.walk("no"));
  assertEquals(await client.call("plain", ""), { err: 255, value: "" });
  const error = JSON.parse(await refusal(client.call("add", '{"argv": 1}')));
  assertEquals(error.class, "TypeError");
});

test("defect 14: a directory does not list a name twice", async () => {
  const fs = adder();
  await using served = new ServedTree(fs);
  const client = await served.client();
  await refused("file already exists", client.create("/", "plain"));
  await refused("file already exists", client.create("/", "add"));
  await client.create("/", "other");
  await refused("file already exists", client.wstat("other", { name: "add" }));
  const names = await client.list(await client.open("/"));
  assertEquals(names, ["plain", "add", "other"]);
});

// P-41.
test("defect 15: type and dev of a stat are 0, the qid has the number", async () => {
  await using served = new ServedTree(adder());
  const client = await served.client();
  const paths = new Set<bigint>();
  const entries = decodeDir(await client.read(await client.open("/")));
  for (const { type, dev, qid } of [await client.stat("/"), ...entries]) {
    assertEquals([type, dev], [0, 0]);
    paths.add(qid.path);
  }
  assertEquals(paths.size, 3);
});

test("defect 16: a session may start its walks anywhere", async () => {
  await using served = new ServedTree(new MemoryFs({ a: { b: { c: "" } } }));
  const client = await served.client();
  const b = await client.walk("a/b");
  assertEquals((await client.stat(await client.walk("c", b))).name, "c");
  await client.ask({ type: "Twalk", fid: b, newfid: b, wname: [".."] });
  assertEquals((await client.stat(b)).name, "a");
  const request = { type: "Tattach", afid: NOFID, uname: "u" } as const;
  await client.ask({ ...request, fid: 55, aname: "" });
});
