// The state of a function file: call records of fids and of the file, and the
// attributes for clients.
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import {
  FunctionError,
  NinePError,
  OEXEC,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
} from "../../../codec.ts";
import { type FileFunction, MemoryFs } from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import {
  type FunctionSetup,
  HeldFunction,
  refusal,
  refused,
  register,
  ServedTree,
} from "../tree_client.ts";

const ILLEGAL_OFFSET = "illegal offset";
const REMOVED = "file has been removed";
/** The error of a Tcall of a file that was removed. */
const GONE = { class: "StaleFileError", argv: [116, REMOVED], str: REMOVED };
const SUM = (a: number, b: number): number => a + b;

/** A tree with one function file f, and a plain one. */
function serving(
  fn: FileFunction | HeldFunction,
  options: FunctionSetup = {},
): ServedTree {
  const fs = new MemoryFs({ plain: "data" });
  register(fs, "f", fn, options);
  return new ServedTree(fs);
}

/** A function that gives `TEXT#N`: its argument s, and which call it was. */
function counting(): FileFunction {
  let calls = 0;
  return ({ s = "" }: { s?: string }) => `${s}#${++calls}`;
}

const plain = { dumper: String };

test("state: a record is called once, reads at 0 give its value again (P-35)", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"s": "long value"}');
  assertEquals(await client.text(fid, 0, 4), "long");
  assertEquals(await client.text(fid, 4, 4), " val");
  assertEquals(await client.text(fid, 8), "ue#1");
  assertEquals(await client.text(fid, 12), "");
  assertEquals(await client.text(fid, 1000), "");
  assertEquals(await client.text(fid), "long value#1");
  await client.write(fid, '{"s": "x"}');
  assertEquals(await client.text(fid), "x#2");
});

test("state: no call at the write, nor at a read behind 0", async () => {
  let calls = 0;
  await using served = serving(() => ++calls);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  assertEquals(await client.text(fid, 1), "");
  assertEquals(calls, 0);
  assertEquals(await client.text(fid), "1");
});

test("state: nothing was written, nothing is read", async () => {
  let calls = 0;
  await using served = serving(() => ++calls);
  const client = await served.client();
  const fid = await client.open("f");
  assertEquals(await client.text(fid), "");
  assertEquals(await client.text(fid, 5), "");
  assertEquals(calls, 0);
});

test("state: a write at 0 replaces, one at the end appends", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"s": "old"}');
  assertEquals(await client.write(fid, '{"s": '), 6);
  assertEquals(await client.write(fid, '"new', 6), 4);
  assertEquals(await client.write(fid, "", 10), 0);
  assertEquals(await client.write(fid, '"}', 10), 2);
  assertEquals(await client.text(fid), "new#1");
});

test("state: a write at any other offset is refused, and harmless", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await refused(ILLEGAL_OFFSET, client.write(fid, "{}", 2));
  await client.write(fid, '{"s":');
  for (const offset of [1, 4, 6, 1000]) {
    await refused(ILLEGAL_OFFSET, client.write(fid, "x", offset));
  }
  await client.write(fid, '"x"}', 5);
  assertEquals(await client.text(fid), "x#1");
});

test("state: a text is closed by the clunk and a new write", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  await client.write(fid, "{} ");
  await refused(ILLEGAL_OFFSET, client.write(fid, " ", 2));
  await client.clunk(fid);
  const other = await client.open("f", ORDWR);
  await refused(ILLEGAL_OFFSET, client.write(other, " ", 3));
});

test("state: a text is closed while its call runs", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  const reading = client.text(fid);
  const call = await held.called();
  // A new text, at any offset, is for the next call. The current call goes on.
  await client.write(fid, '{"n": 2}', 2);
  call.resolve(1);
  assertEquals(await reading, "1");
  const next = client.text(fid);
  const second = await held.called(2);
  assertEquals(second.args, [{ n: 2 }]);
  second.resolve(2);
  assertEquals(await next, "2");
});

test("state: a call that read closes the text, with callOnRead, too", async () => {
  await using served = serving(counting(), { ...plain, callOnRead: true });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  assertEquals(await client.text(fid), "#1");
  await client.write(fid, '{"s": "new"}', 2);
  assertEquals(await client.text(fid), "new#2");
});

// Programs that write and read in turn on one fid do not seek back.
test("state: after a call, a write at any offset begins new arguments", async () => {
  const sum = ({ a, b }: { a: number; b: number }) => a + b;
  for (const callOnRead of [false, true]) {
    await using served = serving(sum, { callOnRead });
    const client = await served.client();
    for (const fid of [await client.open("f", ORDWR), await client.walk("f")]) {
      const first = '{"a":17,"b":25}';
      assertEquals(await client.write(fid, first), first.length);
      assertEquals(await client.text(fid), "42");
      await client.write(fid, '{"a":2,"b":3}', 2);
      assertEquals(await client.text(fid), "5");
      // The text comes in pieces, from the position of the fid on.
      await client.write(fid, '{"a":1', 17);
      await refused(ILLEGAL_OFFSET, client.write(fid, ',"b":1}', 7));
      await client.write(fid, ',"b":1}', 23);
      assertEquals(await client.text(fid), "2");
      await client.write(fid, "broken", 30);
      await refusal(client.text(fid));
      await client.write(fid, first, 36);
      assertEquals(await client.text(fid), "42");
    }
  }
});

test("state: each fid has its own arguments and results (S123)", async () => {
  await using served = serving(counting(), plain);
  const one = await served.client("one");
  const two = await served.client("two");
  const a = await one.open("f", ORDWR);
  const b = await two.open("f", ORDWR);
  await one.write(a, '{"s":');
  await two.write(b, '{"s": "b"}');
  await one.write(a, '"a"}', 5);
  assertEquals(await two.text(b), "b#1");
  assertEquals(await one.text(a), "a#2");
  assertEquals(await two.text(b), "b#1");
  await two.write(b, '{"s": "B"}');
  assertEquals(await one.text(a), "a#2");
  assertEquals(await one.text(a, 1), "#2");
  assertEquals(await two.text(b), "B#3");
});

test("state: two clients at once on one function file never mix (S123)", async () => {
  const fn = async ({ id, n }: { id: string; n: number }) => {
    for (let i = 0; i < n % 7; i++) await null;
    return `${id}:${n}`;
  };
  await using served = serving(fn, plain);
  const work = async (id: string) => {
    const client = await served.client(id);
    const fid = await client.open("f", ORDWR);
    for (let n = 0; n < 50; n++) {
      const text = `{"id": "${id}", "n": ${n}}`;
      await client.write(fid, text.slice(0, 9));
      await client.write(fid, text.slice(9), 9);
      const called = client.call(fid, `{"kwarg": {"id": "${id}", "n": -${n}}}`);
      assertEquals(await client.text(fid), `${id}:${n}`);
      assertEquals((await called).value, `${id}:${-n}`);
      assertEquals(await client.text(fid, 1), `${id}:${n}`.slice(1));
    }
  };
  await Promise.all(["one", "two", "six", "ten"].map(work));
});

test("state: 64 clients at once, each by two fids, get what is theirs (S123)", async () => {
  const echo = async ({ s }: { s: string }) => {
    await Promise.resolve();
    return s;
  };
  await using served = serving(echo, plain);
  const run = async (user: number) => {
    const client = await served.client(`user${user}`);
    const fids = [await client.open("f", ORDWR), await client.walk("f")];
    for (let round = 0; round < 20; round++) {
      const texts = await Promise.all(fids.map(async (fid, at) => {
        const own = `${user} ${at} ${round}`;
        const writing = client.write(fid, JSON.stringify({ s: own }));
        const reading = client.text(fid); // Not after the write was answered.
        await writing;
        return [await reading, own];
      }));
      for (const [text, own] of texts) assertEquals(text, own);
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, user) => run(user)));
});

test("state: a fid that did not write reads the last write by any (P-12)", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const writer = await client.open("f", OWRITE);
  const reader = await client.open("f", OREAD);
  await client.write(writer, '{"s": "first"}');
  assertEquals(await client.text(reader), "first#1");
  await client.write(writer, '{"s": "second"}');
  // A value that was read at 0 stays, also when new arguments are written.
  assertEquals(await client.text(reader, 2), "rst#1");
  assertEquals(await client.text(reader), "second#2");
  assertEquals(await client.text(await client.open("f")), "second#2");
  await client.write(writer, '{"s": "last"}');
  const other = await client.open("f", OWRITE);
  await client.write(other, '{"s": "other"}');
  await client.clunk(writer); // Another fid wrote later.
  assertEquals(await client.text(reader), "other#3");
});

test("state: the value that a fid wrote and read is its own, whatever calls of others are pending", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client("alice");
  const eve = await served.client("eve");
  await eve.write(await eve.open("f", OWRITE), '{"s": "pending"}');
  for (const fid of [await client.open("f", ORDWR), await client.walk("f")]) {
    await client.write(fid, '{"s": "secret"}');
    const { vers } = (await client.stat("f")).qid;
    assertMatch(await client.text(fid), /^secret#/);
    assertEquals((await client.stat("f")).length, 0n);
    assertGreater((await client.stat("f")).qid.vers, vers);
    await client.write(fid, '{"s": "unread"}');
    await client.clunk(fid);
  }
  assertEquals(await eve.text(await eve.open("f")), "pending#3");
  assertEquals((await eve.stat("f")).length, 9n);
});

test("state: at its clunk, a fid that may read shares its arguments if it never read (P-12)", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const reader = await client.open("f");
  const fids = [await client.open("f", ORDWR), await client.walk("f")];
  for (const [at, fid] of fids.entries()) {
    await client.write(fid, `{"s": "${at}"}`);
    assertEquals(await client.text(reader), at === 0 ? "" : "0#1");
    await client.clunk(fid);
    assertEquals(await client.text(reader), `${at}#${at + 1}`);
  }
  const last = await served.client();
  await last.write(await last.walk("f"), '{"s": "end"}');
  last.close();
  await last.ended;
  // The server releases the fids some turns after the end of the connection.
  let text = "";
  while (text !== "end#3") {
    text = await client.text(reader);
    assert(text === "1#2" || text === "end#3", text);
  }
});

test("state: what an open fid that may read wrote is not shared by the loss of its connection", async () => {
  const calls: unknown[] = [];
  await using served = serving((kwarg: unknown) => calls.push(kwarg), plain);
  const client = await served.client();
  const reader = await client.open("f");
  const last = await served.client();
  await last.write(await last.walk("f"), '{"s": "walked"}');
  await last.write(await last.open("f", ORDWR), '{"s": "open"}');
  last.close();
  await last.ended;
  // The server releases both fids in one turn, the open fid last.
  while (await client.text(reader) === "");
  await client.text(reader);
  assertEquals(calls, [{ s: "walked" }]);
});

test("state: the clunk of a fid that wrote before its open shares nothing older than its last write", async () => {
  await using served = serving(counting(), plain);
  const client = await served.client();
  const fid = await client.walk("f");
  await client.write(fid, '{"s": "old"}');
  await client.ask({ type: "Topen", fid, mode: OWRITE });
  await client.write(fid, '{"s": "new"}');
  const other = await client.open("f");
  assertEquals(await client.text(other), "new#1");
  await client.clunk(fid);
  assertEquals(await client.text(other), "new#1");
});

test("state: not shared, only the fid that wrote reads", async () => {
  await using served = serving(counting(), { ...plain, shared: false });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"s": "secret"}');
  assertEquals(await client.text(fid), "secret#1");
  const other = await client.open("f");
  assertEquals(await client.text(other), "");
  assertEquals((await client.stat("f")).length, 0n);
  await client.clunk(fid);
  assertEquals(await client.text(await client.open("f")), "");
});

test("state: two reads at 0 by any fids wait for one call", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const one = await served.client("one");
  const two = await served.client("two");
  await one.write(await one.open("f", OWRITE), "{}");
  const fid = await one.open("f");
  const other = await two.open("f");
  const reads = [one.text(fid), one.text(fid), two.text(other)];
  // An answer to a stat shows that the reads before it have arrived.
  await one.stat(fid);
  await two.stat(other);
  (await held.called()).resolve("v");
  assertEquals(await Promise.all(reads), ['"v"', '"v"', '"v"']);
  assertEquals(held.calls.length, 1);
});

test("state: a read behind 0 waits for the call that the read at 0 began", async () => {
  const held = new HeldFunction();
  await using served = serving(held, plain);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  // As a client does that reads ahead.
  const reads = [0, 4, 8].map((offset) => client.text(fid, offset, 4));
  (await held.called()).resolve("0123456");
  assertEquals(await Promise.all(reads), ["0123", "456", ""]);
});

test("callOnRead: each read at offset 0 calls (P-36, P-48, S122)", async () => {
  await using served = serving(counting(), { ...plain, callOnRead: true });
  const client = await served.client();
  const fid = await client.open("f", OREAD);
  for (let i = 1; i <= 5; i++) {
    assertEquals(await client.text(fid, 0, 1), "#");
    assertEquals(await client.text(fid, 1), String(i));
    assertEquals(await client.text(fid, 2), "");
  }
  assertEquals((await client.stat(fid)).qid.vers, 0);
});

test("callOnRead: arguments that were written are used at each read", async () => {
  await using served = serving(counting(), { ...plain, callOnRead: true });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"s": "a"}');
  assertEquals(await client.text(fid), "a#1");
  assertEquals(await client.text(fid), "a#2");
  assertEquals(await client.text(await client.open("f")), "#3");
  assertEquals(await client.text(fid, 2), "2");
  await client.write(await client.open("f", OWRITE), '{"s": "b"}');
  assertEquals(await client.text(await client.open("f")), "b#4");
  assertEquals(await client.text(await client.open("f")), "b#5");
});

test("callOnRead: a failing call is no end, the next read calls again", async () => {
  let calls = 0;
  const fn = (): number => {
    if (++calls === 1) throw new Error("not yet");
    return calls;
  };
  await using served = serving(fn, { callOnRead: true });
  const client = await served.client();
  const fid = await client.open("f");
  await refused("not yet", client.text(fid));
  assertEquals(await client.text(fid), "2");
});

test("state: a removed function is not called by any fid", async () => {
  for (const strict of [false, true]) {
    const fs = new MemoryFs({}, { strict });
    fs.register("f", () => "long value", plain);
    await using served = new ServedTree(fs);
    const client = await served.client();
    const fids = [
      await client.open("f", ORDWR),
      await client.open("f", ORDWR),
      await client.walk("f"),
      await client.walk("f"),
    ];
    for (const fid of fids.slice(1)) {
      await client.write(fid, "{}");
      assertEquals(await client.text(fid), "long value");
      assertEquals((await client.call(fid, "")).value, "long value");
    }
    const unread = await client.open("f", OWRITE);
    await client.write(unread, "{}");
    fs.remove("f");
    for (const fid of fids) {
      assertEquals(JSON.parse(await refusal(client.call(fid, ""))), GONE);
      await refused(REMOVED, client.write(fid, "{}"));
      await refused(REMOVED, client.read(fid));
    }
    // Reading on in a value is no call.
    const rest = await client.text(fids[1], 5).catch((error) => error.ename);
    assertEquals(rest, strict ? REMOVED : "value");
    await client.clunk(unread);
    fs.register("f", () => "new", plain);
    assertEquals((await client.call("f", "")).value, "new");
    assertEquals(await client.text(await client.open("f")), "");
    assertEquals(JSON.parse(await refusal(client.call(fids[1], ""))), GONE);
  }
});

test("state: a function with two names exists until both are removed", async () => {
  const fs = new MemoryFs();
  fs.register("f", () => 1);
  fs.link("f", "g");
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.walk("f");
  await client.call(fid, "");
  fs.remove("f");
  assertEquals((await client.call(fid, "")).value, "1");
  fs.remove("g");
  assertEquals(JSON.parse(await refusal(client.call(fid, ""))), GONE);
});

test("errors: no function can say that its own file was removed", async () => {
  const fn = ({ own }: { own: boolean }) => {
    throw own ? new FunctionError(GONE) : new NinePError(REMOVED);
  };
  await using served = serving(fn);
  served.fs.define("hook", {
    call: () => Promise.reject(new FunctionError(GONE)),
  });
  const client = await served.client();
  const errors = [
    await refusal(client.call("f", '{"kwarg": {"own": true}}')),
    await refusal(client.call("f", '{"kwarg": {"own": false}}')),
    await refusal(client.call("hook", "")),
  ];
  for (const error of errors) {
    const { class: name, str } = JSON.parse(error);
    assertEquals([name, str], ["FileNotFoundError", REMOVED]);
  }
});

test("state: a function that is removed while it runs still answers", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const client = await served.client();
  const called = client.call("f", "");
  const call = await held.called();
  await client.stat(0);
  served.fs.remove("f");
  call.resolve(42);
  assertEquals((await called).value, "42");
});
test("function file: what it looks like", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  const { mode, length, qid, type } = await client.stat("f");
  assertEquals([mode, length, qid.type, qid.vers, type], [0o666, 0n, 0, 0, 0]);
  const fid = await client.walk("f");
  const opened = await client.ask({ type: "Topen", fid, mode: ORDWR });
  assertEquals(opened.iounit, 0);
  let { vers } = opened.qid;
  const writer = await client.open("f", OWRITE);
  const reader = await client.open("f");
  for (const [a, length] of [[1, 1n], [1000, 4n], [10, 2n]]) {
    await client.write(writer, `{"a": ${a}, "b": 0}`);
    assertEquals((await client.stat("f")).length, 0n);
    await client.text(reader);
    const { qid, length: now } = await client.stat("f");
    assertEquals(now, length);
    assertGreater(qid.vers, vers);
    vers = qid.vers;
  }
});

test("function file: read to read, write to write, both to call", async () => {
  const fs = new MemoryFs();
  const rights: [mode: number, read: boolean, write: boolean][] = [
    [0o600, false, false],
    [0o604, true, false],
    [0o602, false, true],
    [0o606, true, true],
  ];
  for (const [mode] of rights) fs.register(`m${mode}`, () => 1, { mode });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const check = async (granted: boolean, answer: Promise<unknown>) => {
    if (granted) await answer;
    else assert((await refusal(answer)).includes("permission denied"));
  };
  for (const [mode, read, write] of rights) {
    const path = `m${mode}`;
    await check(read, client.open(path, OREAD));
    await check(write, client.open(path, OWRITE));
    await check(write, client.open(path, OWRITE | OTRUNC));
    await check(false, client.open(path, OEXEC));
    await check(read && write, client.open(path, ORDWR));
    // The same for fids that were only walked to.
    await check(read, client.walk(path).then((fid) => client.read(fid)));
    await check(write, client.walk(path).then((fid) => client.write(fid, "")));
    await check(read && write, client.call(path, ""));
  }
});

test("implicit open: only for function files", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client("none");
  const fid = await client.walk("f");
  await client.write(fid, '{"a": 1, "b": 2}');
  assertEquals(await client.text(fid, 0, 8192), "3");
  assertEquals(await client.call(fid, '{"argv": [2, 2]}'), {
    err: 0,
    value: "4",
  });
  // The fid may still be opened, and keeps its arguments.
  await client.ask({ type: "Topen", fid, mode: ORDWR | OTRUNC });
  assertEquals(await client.text(fid), "3");
  const plain = await client.walk("plain");
  await refused("bad use of fid", client.read(plain));
  await refused("bad use of fid", client.write(plain, "x"));
});

test("open: what a fid is not open for it cannot do", async () => {
  await using served = serving(SUM);
  const client = await served.client();
  await refused("bad use of fid", client.write(await client.open("f"), "{}"));
  await refused("bad use of fid", client.read(await client.open("f", OWRITE)));
});

test("wstat: a length or times are accepted, without effect", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client("glenda");
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"a": 1, "b": 41}');
  assertEquals(await client.text(fid), "42");
  const before = await client.stat(fid);
  await client.wstat(fid, { length: 0n });
  await client.wstat(fid, { length: 0n, mtime: 5 });
  await client.wstat(fid, { mtime: 5, atime: 6 });
  await client.wstat(fid, {});
  assertEquals({ ...await client.stat(fid), atime: 0 }, {
    ...before,
    atime: 0,
  });
  assertEquals(await client.text(fid), "42");
  await refused("not owner", client.wstat(fid, { mode: 0o600 }));
});

test("wstat: mode, name and group are those of any file", async () => {
  await using served = serving(SUM);
  const client = await served.client("sys");
  await client.wstat("f", { mode: 0o600, name: "g" });
  const { mode, name } = await client.stat("g");
  assertEquals([mode, name], [0o600, "g"]);
  await refused("permission denied", (await served.client("x")).open("g"));
  await client.remove("g");
  await refused("file does not exist", client.walk("g"));
});
