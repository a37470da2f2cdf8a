// Limits of function files: texts, values, calls at a time, stored data; and
// the user of a call.
import { assertEquals, assertThrows } from "@std/assert";
import { NinePError, ORDWR, OREAD, OWRITE, Plan9Exit } from "../../../codec.ts";
import {
  type CallContext,
  type FileFunction,
  MemoryFs,
  type MemoryFsOptions,
} from "../../../fs/mod.ts";
import { HeldRoom } from "../../../fs/memory/quota.ts";
import { CallRecord } from "../../../fs/functions/record.ts";
import { Budget, type ServeOptions } from "../../../server.ts";
import { test } from "../../harness.ts";
import {
  aborted,
  type FunctionSetup,
  HeldFunction,
  refusal,
  refused,
  register,
  ServedTree,
  type TreeClient,
} from "../tree_client.ts";

const TOO_BIG = "file too big";
const TOO_MANY = "Too many open files";
const NO_MEMORY = "Cannot allocate memory";

function serving(
  fn: FileFunction | HeldFunction,
  options: FunctionSetup = {},
  limits: MemoryFsOptions = {},
  serveOptions: ServeOptions = {},
): ServedTree {
  const fs = new MemoryFs({}, limits);
  register(fs, "f", fn, options);
  return new ServedTree(fs, serveOptions);
}

/** The str of the error that a Tcall is answered with. */
async function callError(client: TreeClient, text: string): Promise<string> {
  return JSON.parse(await refusal(client.call("f", text))).str;
}

const echo = ({ s = "" }: { s?: string }): string => s;

test("maxText: bounds what is written, in one piece and in several", async () => {
  await using served = serving(echo, { maxText: 10, dumper: String });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await refused(TOO_BIG, client.write(fid, '{"s": "ab"}'));
  assertEquals(await client.write(fid, '{"s":'), 5);
  await refused(TOO_BIG, client.write(fid, '"abc"}', 5));
  assertEquals(await client.write(fid, '"ab"}', 5), 5);
  assertEquals(await client.text(fid), "ab");
});

test("maxText: bounds the text of a Tcall, in bytes", async () => {
  await using served = serving(echo, { maxText: 24 });
  const client = await served.client();
  const fits = '{"kwarg": {"s": "1234"}}';
  assertEquals((await client.call("f", fits)).value, '"1234"');
  const long = '{"kwarg": {"s": "123ß"}}';
  assertEquals([fits.length, long.length], [24, 24]);
  assertEquals(await callError(client, long), TOO_BIG);
});

test("maxValue: bounds what a function gives, by call and by read", async () => {
  const fn = ({ n }: { n: number }) => "x".repeat(n);
  await using served = serving(fn, { maxValue: 10, dumper: String });
  const client = await served.client();
  assertEquals((await client.call("f", '{"kwarg":{"n":10}}')).value.length, 10);
  assertEquals(await callError(client, '{"kwarg":{"n":11}}'), TOO_BIG);
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"n": 11}');
  await refused(TOO_BIG, client.read(fid));
  await client.write(fid, '{"n": 10}');
  assertEquals((await client.read(fid)).length, 10);
});

test("maxCalls: calls at a time of one connection, over all files", async () => {
  const held = new HeldFunction();
  const fs = new MemoryFs({}, { maxCalls: 2 });
  register(fs, "f", held);
  register(fs, "g", held);
  await using served = new ServedTree(fs);
  const client = await served.client();
  const one = client.call("f", "");
  const two = client.call("g", "");
  await held.called(2);
  assertEquals(await callError(client, ""), TOO_MANY);
  const fid = await client.open("g", ORDWR);
  await client.write(fid, "{}");
  await refused(TOO_MANY, client.read(fid));

  const other = await served.client(); // Has a bound of its own.
  const three = other.call("f", "");
  (await held.called(3)).resolve(3);
  assertEquals((await three).value, "3");

  held.calls[0].resolve(1);
  assertEquals((await one).value, "1");
  const four = client.call("f", "");
  (await held.called(4)).resolve(4);
  assertEquals((await four).value, "4");
  held.calls[1].resolve(2);
  await two;
});

test("maxCalls: a function that goes on although its caller gave up counts", async () => {
  const held = new HeldFunction();
  await using served = serving(held, {}, { maxCalls: 1 });
  const client = await served.client();
  const fid = await client.walk("f");
  const data = new Uint8Array(0);
  const { tag } = client.start({ type: "Tcall", fid, text: "", data });
  const call = await held.called();
  assertEquals(await client.flush(tag), ["Rflush"]);
  assertEquals(await callError(client, ""), TOO_MANY);
  call.reject(new Error("late"));
  await Promise.resolve();
  const next = client.call("f", "");
  (await held.called(2)).resolve("done");
  assertEquals((await next).value, '"done"');
});

test("maxCalls: a refused read uses no arguments up, the next one calls", async () => {
  const held = new HeldFunction();
  await using served = serving(held, {}, { maxCalls: 1 });
  const client = await served.client();
  const running = client.call("f", "");
  const first = await held.called();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"a": 1}');
  await refused(TOO_MANY, client.read(fid));
  assertEquals(held.calls.length, 1);
  first.resolve(1);
  await running;
  const read = client.text(fid);
  const second = await held.called(2);
  assertEquals(second.args, [{ a: 1 }]);
  second.resolve(2);
  assertEquals(await read, "2");
});

test("maxText, maxValue: 1 MiB and 64 MiB by default", async () => {
  const MiB = 2 ** 20;
  const fn = ({ n }: { n: number }) => new Uint8Array(n);
  await using served = serving(fn, {}, {}, { maxHeldBytes: 65 * MiB });
  const client = await served.client("glenda", { msize: 2 * MiB });
  const fid = await client.open("f", ORDWR);
  await refused("illegal offset", client.write(fid, "x", MiB));
  await refused(TOO_BIG, client.write(fid, new Uint8Array(MiB + 1)));
  await client.write(fid, new Uint8Array(MiB));
  await refused(TOO_BIG, client.write(fid, "x", MiB));
  const ask = (n: number) => client.write(fid, JSON.stringify({ n }));
  await ask(64 * MiB + 1);
  await refused(TOO_BIG, client.read(fid));
  await ask(64 * MiB);
  assertEquals((await client.read(fid, 0, 9)).length, 9);
  assertEquals((await client.read(fid, 64 * MiB - 1)).length, 1);
});

test("maxCalls: 4096 by default, as many on each of two connections", async () => {
  const held = new HeldFunction();
  const options = { maxRequests: 5000 };
  await using served = serving(held, {}, {}, options);
  const small = { msize: 4096 };
  const clients = [
    await served.client("one", small),
    await served.client("two", small),
  ];
  let count = 0;
  for (const client of clients) {
    const fid = await client.walk("f");
    const calls = Array.from({ length: 4096 }, () => client.call(fid, ""));
    await held.called(count += 4096);
    assertEquals(await callError(client, ""), TOO_MANY);
    held.calls[count - 4096].resolve(1);
    await calls[0];
    calls.push(client.call(fid, ""));
    await held.called(++count);
    for (const call of held.calls) call.resolve(1);
    await Promise.all(calls);
  }
});

// Calls that ignore their signal outlive their clients.
test("maxTreeCalls: calls of all connections, also of those that have ended", async () => {
  const held = new HeldFunction();
  await using served = serving(held, {}, { maxCalls: 2, maxTreeCalls: 3 });
  for (let calls = 1; calls <= 3; calls++) {
    const client = await served.client();
    client.call("f", "").catch(() => {}); // The connection ends before the answer.
    const { context } = await held.called(calls);
    client.close();
    await aborted(context.signal);
  }
  const client = await served.client();
  assertEquals(await callError(client, ""), TOO_MANY);
  held.calls[0].resolve(1);
  const call = client.call("f", "");
  (await held.called(4)).resolve(4);
  assertEquals((await call).value, "4");
  for (const call of held.calls) call.resolve(1);
});

test("maxTreeCalls: 16 times maxCalls by default", async () => {
  const held = new HeldFunction();
  await using served = serving(held, {}, { maxCalls: 1 });
  const calls: Promise<unknown>[] = [];
  for (let at = 1; at <= 16; at++) {
    calls.push((await served.client()).call("f", ""));
    await held.called(at);
  }
  assertEquals(await callError(await served.client(), ""), TOO_MANY);
  for (const call of held.calls) call.resolve(1);
  await Promise.all(calls);
});

test("maxHeldBytes: texts and values that fids keep count for their connection, and are given back", async () => {
  const fn = ({ n = 0 }) => "x".repeat(n);
  const setup = { dumper: String, shared: false };
  // The arguments of a call take up to 40 times their text while it runs.
  const options = { maxHeldBytes: 3000 };
  await using served = serving(fn, setup, { maxSize: 0 }, options);
  const client = await served.client();
  const other = await served.client();
  const one = await client.open("f", ORDWR);
  const two = await client.open("f", ORDWR);
  await client.write(one, '{"n": 2000}');
  assertEquals((await client.read(one)).length, 2000);
  await client.write(two, '{"n": 2000}');
  await refused(NO_MEMORY, client.read(two));
  const own = await other.open("f", ORDWR);
  await other.write(own, '{"n": 2000}');
  assertEquals((await other.read(own)).length, 2000);
  await client.clunk(one);
  await client.write(two, '{"n": 2000}');
  assertEquals((await client.read(two)).length, 2000);
  await client.clunk(two);
  await refused(
    NO_MEMORY,
    client.write(await client.open("f", ORDWR), "x".repeat(3001)),
  );
  await client.write(await client.open("f", ORDWR), "x".repeat(3000));
});

test("maxHeldBytes: text that a fid wrote in pieces counts with its whole buffer", async () => {
  const options = { maxHeldBytes: 1000 };
  await using served = serving(echo, {}, {}, options);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  let length = 0;
  const add = async () =>
    length += await client.write(fid, "x".repeat(100), length);
  while (length < 800) await add();
  await refused(NO_MEMORY, add());
  await client.clunk(fid);
  await client.write(await client.open("f", ORDWR), "x".repeat(1000));
});

test("maxHeldBytes: a reader without room takes the value from no other one", async () => {
  for (const large of [1, 900]) {
    for (const isLate of [false, true]) {
      const fs = new MemoryFs();
      let calls = 0;
      const fn = ({ n = 0 }) => {
        calls++;
        return isLate ? Promise.resolve("x".repeat(n)) : "x".repeat(n);
      };
      fs.register("f", fn, { dumper: String });
      fs.define("big", { content: () => "x".repeat(large + 1000) });
      await using served = new ServedTree(fs, { maxHeldBytes: 2000 });
      const writer = await served.client();
      const poor = await served.client();
      const rich = await served.client();
      const written = await writer.open("f", OWRITE);
      await writer.write(written, '{"n": 1500}');
      await writer.clunk(written);
      // Too much for the value, or even for the arguments of the call.
      const big = await poor.open("big");
      const fid = await poor.open("f");
      const reads = [poor.read(fid), poor.read(fid)];
      for (const read of reads) await refused(NO_MEMORY, read);
      const other = await rich.open("f");
      assertEquals((await rich.read(other)).length, 1500);
      assertEquals(calls, 1);
      // With room, the value is there.
      await poor.clunk(big);
      assertEquals((await poor.read(fid)).length, 1500);
      assertEquals(calls, 1);
    }
  }
});

// If each fid cost time for all others, this would take minutes: a server did
// nothing else for 4 s when a client with 65,000 such fids went.
test("a record is held by any number of fids, and counted in each room once", () => {
  const memory = new Budget(Infinity);
  const rooms = Array.from({ length: 200_000 }, () => new HeldRoom(memory));
  // The record does not look at its caller.
  const caller = {} as ConstructorParameters<typeof CallRecord>[0];
  const record = new CallRecord(caller, new Uint8Array(10));
  for (const room of rooms) record.hold(room);
  record.hold(rooms[0]);
  assertEquals(memory.used, 2_000_000);
  record.succeed(new Uint8Array(3));
  assertEquals(memory.used, 600_000);
  record.drop(rooms[0]);
  assertEquals(memory.used, 600_000);
  for (const room of rooms.reverse()) record.drop(room);
  assertEquals(memory.used, 0);
});

// A small text can take large memory.
test("arguments: their nesting is refused before they are parsed", async () => {
  const MiB = 2 ** 20;
  await using served = serving(() => 1);
  const client = await served.client("glenda", { msize: MiB + 24 });
  const parse = JSON.parse;
  const parsed: string[] = [];
  JSON.parse = (text, reviver) => {
    parsed.push(text);
    return parse(text, reviver);
  };
  try {
    for (const [open, close] of [["[", "]"], ['{"a":', "1}"]]) {
      const half = Math.floor(MiB / 2 / open.length);
      const text = open.repeat(half) + close.repeat(half);
      const fid = await client.open("f", ORDWR);
      await client.write(fid, text.slice(0, MiB));
      await refused("arguments are nested deeper than 64", client.read(fid));
    }
    const fid = await client.open("f", ORDWR);
    const safe = `{"a":${"[".repeat(63)}"[[[[\\"[[["${"]".repeat(63)}}`;
    await client.write(fid, safe);
    assertEquals(await client.text(fid), "1");
    assertEquals(parsed, [safe]);
  } finally {
    JSON.parse = parse;
  }
});

test("maxHeldBytes: a call holds what its arguments take, until the function ends", async () => {
  const held = new HeldFunction();
  const options = { maxHeldBytes: 100_000 };
  await using served = serving(held, {}, {}, options);
  const client = await served.client();
  const list = (count: number) => `{"argv":[[${"{},".repeat(count)}{}]]}`;
  assertEquals(await callError(client, list(1000)), NO_MEMORY);
  // Each takes 18 KB: its text is 462 characters, it has 151 objects.
  const calls: Promise<unknown>[] = [];
  let count = 0;
  for (;;) {
    const call = client.call("f", list(150));
    const error = await Promise.race([
      held.called(count + 1).then(() => undefined),
      refusal(call).then((text) => JSON.parse(text).str),
    ]);
    if (error !== undefined) {
      assertEquals(error, NO_MEMORY);
      break;
    }
    calls.push(call);
    count++;
  }
  assertEquals(count, 5);
  // A text takes little memory. It does not count as if it were lists.
  const text = JSON.stringify({ argv: ["x".repeat(4000)] });
  const long = client.call("f", text);
  await held.called(count + 1);
  const other = await served.client(); // It has a limit of its own.
  const foreign = other.call("f", list(150));
  await held.called(count + 2);
  for (const call of held.calls) call.resolve(1);
  await Promise.all([...calls, long, foreign]);
  // All memory is given back.
  const next = client.call("f", list(750));
  (await held.called(count + 3)).resolve(1);
  await next;
});

test("maxHeldBytes: a call that no client waits for still holds its arguments", async () => {
  const held = new HeldFunction();
  await using served = serving(held, {}, {}, { maxHeldBytes: 10_000 });
  const client = await served.client();
  const fid = await client.walk("f");
  const data = new Uint8Array(9000);
  const { tag } = client.start({ type: "Tcall", fid, text: "", data });
  const call = await held.called();
  assertEquals(await client.flush(tag), ["Rflush"]);
  const again = () => client.call(fid, "", data);
  assertEquals(JSON.parse(await refusal(again())).str, NO_MEMORY);
  call.resolve(1);
  await client.stat(fid);
  const next = again();
  (await held.called(2)).resolve(2);
  await next;
});

test("maxHeldBytes: a loader's arguments count 40 times their text", async () => {
  const loader = () => ({});
  await using served = serving(() => 1, { loader }, {}, { maxHeldBytes: 4000 });
  const client = await served.client();
  assertEquals((await client.call("f", "x".repeat(100))).value, "1");
  assertEquals(await callError(client, "x".repeat(101)), NO_MEMORY);
});

test("maxSize: a refused write leaves nothing behind", async () => {
  const held = { maxHeldBytes: 100 };
  await using served = serving(echo, {}, { maxSize: 10 }, held);
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  await refused("file system is full", client.write(fid, "x".repeat(60)));
  await refused("illegal offset", client.write(fid, "x", 60));
  assertEquals(await client.text(await client.open("f")), "");
  await client.clunk(fid);
  await client.write(await client.open("f", ORDWR), "x".repeat(100));
});

test("maxSize: the record that a file shares counts until it is replaced, or the file removed", async () => {
  await using served = serving(
    ({ n = 0 }) => "x".repeat(n),
    { dumper: String },
    { maxSize: 30 },
  );
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  await client.write(fid, '{"n": 20}');
  const reader = await client.open("f");
  await client.read(reader);
  await client.clunk(fid);
  await client.clunk(reader);
  assertEquals((await client.stat("f")).length, 20n);
  const create = () => served.fs.create("plain", { data: new Uint8Array(30) });
  assertThrows(create, NinePError, "file system is full");
  served.fs.remove("f");
  create();
});

test("context: a call for a read is for the user that wrote the arguments", async () => {
  const who = ({ uname, fid }: CallContext, { s }: { s: string }) =>
    `${s} by ${uname} ${fid.uname} ${fid.node.path}`;
  await using served = serving(who, { dumper: String, context: true });
  const mallory = await served.client("mallory");
  const written = await mallory.open("f", OWRITE);
  await mallory.write(written, '{"s": "erase"}');
  const root = await served.client("root");
  const fid = await root.open("f", OREAD);
  assertEquals(await root.text(fid), "erase by mallory mallory /f");
});

test("context: a call on read without arguments is in the name of the reader", async () => {
  const who = ({ uname }: CallContext) => uname;
  await using served = serving(who, {
    callOnRead: true,
    dumper: String,
    context: true,
  });
  for (const uname of ["ken", "rob"]) {
    const client = await served.client(uname);
    assertEquals(await client.text(await client.open("f", OREAD)), uname);
  }
  const ken = await served.client("ken");
  await ken.write(await ken.open("f", OWRITE), "{}");
  const rob = await served.client("rob");
  assertEquals(await rob.text(await rob.open("f", OREAD)), "ken");
});

test("exit: of a shared record it ends only the connection whose read called", async () => {
  const bye = () => {
    throw new Plan9Exit("see you");
  };
  await using served = serving(bye);
  const one = await served.client();
  const two = await served.client();
  await one.write(await one.open("f", OWRITE), "{}");
  const fid = await one.open("f", OREAD);
  await refused("see you", one.read(fid));
  await one.ended;
  const other = await two.open("f", OREAD);
  await refused("see you", two.read(other));
  await refused("see you", two.read(other));
  await two.stat("f"); // Still there.
});

test("exit: it does not end a client that only waited for the call", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const [caller, waiter] = [await served.client(), await served.client()];
  await caller.write(await caller.open("f", OWRITE), "{}");
  const fid = await caller.open("f", OREAD);
  const called = caller.read(fid);
  called.catch(() => {});
  const call = await held.called();
  const other = await waiter.open("f", OREAD);
  const offset = 0n;
  const { reply } = waiter.start({
    type: "Tread",
    fid: other,
    offset,
    count: 99,
  });
  await waiter.stat("f"); // The read before it is waiting.
  call.reject(new Plan9Exit("see you"));
  await refused("see you", called);
  await caller.ended;
  const { type } = await reply;
  assertEquals(type, "Rerror");
  await waiter.stat("f");
});

test("register(): a limit that is none is refused, and no file made", () => {
  const fs = new MemoryFs();
  for (const name of ["maxText", "maxValue", "timeout"]) {
    const options = { [name]: -1 };
    assertThrows(() => fs.register("f", () => 1, options), RangeError, name);
  }
  assertEquals(fs.find("f"), undefined);
});
