// What function files bound: texts, values, calls at a time, what is kept; and
// in whose name a call is made.
import { assertEquals, assertThrows } from "@std/assert";
import { ORDWR, OREAD, Plan9Exit } from "../codec.ts";
import {
  type CallContext,
  type FileFunction,
  type FunctionOptions,
  MemoryFs,
  type MemoryFsOptions,
} from "../fs/mod.ts";
import { test } from "./harness.ts";
import {
  HeldFunction,
  refusal,
  refused,
  ServedTree,
  type TreeClient,
} from "./tree_client.ts";

const TOO_BIG = "file too big";
const TOO_MANY = "Too many open files";

function serving(
  fn: FileFunction,
  options: FunctionOptions = {},
  limits: MemoryFsOptions = {},
): ServedTree {
  const fs = new MemoryFs({}, limits);
  fs.register("f", fn, options);
  return new ServedTree(fs);
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
  fs.register("f", held.fn);
  fs.register("g", held.fn);
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
  await using served = serving(held.fn, {}, { maxCalls: 1 });
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
  await using served = serving(held.fn, {}, { maxCalls: 1 });
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
  await using served = serving(({ n }: { n: number }) => new Uint8Array(n));
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await refused(TOO_BIG, client.write(fid, "x", MiB));
  await refused("illegal offset", client.write(fid, "x", MiB - 1));
  const ask = (n: number) => client.write(fid, JSON.stringify({ n }));
  await ask(64 * MiB + 1);
  await refused(TOO_BIG, client.read(fid));
  await ask(64 * MiB);
  assertEquals((await client.read(fid, 0, 9)).length, 9);
  assertEquals((await client.read(fid, 64 * MiB - 1)).length, 1);
});

test("maxCalls: 256 by default", async () => {
  const held = new HeldFunction();
  await using served = serving(held.fn);
  const client = await served.client();
  const fid = await client.walk("f");
  const calls = Array.from({ length: 256 }, () => client.call(fid, ""));
  const last = await held.called(256);
  assertEquals(await callError(client, ""), TOO_MANY);
  last.resolve(1);
  await calls[255];
  calls.push(client.call(fid, ""));
  await held.called(257);
  for (const call of held.calls) call.resolve(1);
  await Promise.all(calls);
});

test("maxSize: texts and values that fids keep count, and are given back", async () => {
  await using served = serving(
    ({ n = 0 }) => "x".repeat(n),
    { dumper: String, shared: false },
    { maxSize: 30 },
  );
  const client = await served.client();
  const one = await client.open("f", ORDWR);
  const two = await client.open("f", ORDWR);
  await client.write(one, '{"n": 20}');
  assertEquals((await client.read(one)).length, 20);
  await client.write(two, '{"n": 20}');
  await refused("file system is full", client.read(two));
  await client.clunk(one);
  await client.write(two, '{"n": 20}');
  assertEquals((await client.read(two)).length, 20);
  await client.clunk(two);
  served.fs.create("plain", { data: new Uint8Array(30) });
});

test("maxSize: the record of the file counts until it is replaced, or the file removed", async () => {
  await using served = serving(
    ({ n = 0 }) => "x".repeat(n),
    { dumper: String },
    { maxSize: 30 },
  );
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"n": 20}');
  await client.read(fid);
  await client.clunk(fid);
  assertEquals((await client.stat("f")).length, 20n);
  const create = () => served.fs.create("plain", { data: new Uint8Array(30) });
  let full = false;
  try {
    create();
  } catch {
    full = true;
  }
  assertEquals(full, true);
  served.fs.remove("f");
  create();
});

test("context: a call for a read is in the name of who wrote the arguments", async () => {
  const who = ({ s }: { s: string }, { uname, fid }: CallContext) =>
    `${s} by ${uname} ${fid.uname} ${fid.node.name}`;
  await using served = serving(who, { dumper: String });
  const mallory = await served.client("mallory");
  const written = await mallory.open("f", ORDWR);
  await mallory.write(written, '{"s": "erase"}');
  const root = await served.client("root");
  const fid = await root.open("f", OREAD);
  assertEquals(await root.text(fid), "erase by mallory mallory f");
});

test("context: a call on read without arguments is in the name of the reader", async () => {
  const who = (_kwarg: unknown, { uname }: CallContext) => uname;
  await using served = serving(who, { callOnRead: true, dumper: String });
  for (const uname of ["ken", "rob"]) {
    const client = await served.client(uname);
    assertEquals(await client.text(await client.open("f", OREAD)), uname);
  }
  const ken = await served.client("ken");
  const fid = await ken.open("f", ORDWR);
  await ken.write(fid, "{}");
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
  const fid = await one.open("f", ORDWR);
  await one.write(fid, "{}");
  await refused("see you", one.read(fid));
  await one.ended;
  const other = await two.open("f", OREAD);
  await refused("see you", two.read(other));
  await refused("see you", two.read(other));
  await two.stat("f"); // Still there.
});

test("exit: nor does it end who only waited for the call", async () => {
  const held = new HeldFunction();
  await using served = serving(held.fn);
  const [caller, waiter] = [await served.client(), await served.client()];
  const fid = await caller.open("f", ORDWR);
  await caller.write(fid, "{}");
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
