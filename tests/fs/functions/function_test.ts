// Function files: the three ways to call, arguments and values, attributes,
// permissions. Its state is in fs/functions/function_state_test.ts, errors and
// the ends of calls in fs/functions/function_errors_test.ts.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { ORDWR, OREAD, OTRUNC, OWRITE } from "../../../codec.ts";
import {
  type CallContext,
  type FileFunction,
  MemoryFs,
  rawDumper,
} from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import {
  bytes,
  type FunctionSetup,
  refusal,
  refused,
  register,
  ServedTree,
  type TreeClient,
} from "../tree_client.ts";
import { messageVectors, unhex } from "../../codec/vectors.ts";

const SUM = (a: number, b: number): number => a + b;

/** A tree with one function file f, and a plain file and a directory. */
function serving(fn: FileFunction, options: FunctionSetup = {}): ServedTree {
  const fs = new MemoryFs({ plain: "data", dir: {} });
  register(fs, "f", fn, options);
  return new ServedTree(fs);
}

/** A function that returns its arguments. */
function echo(...args: unknown[]): unknown {
  return args;
}

function isContext(value: unknown): value is CallContext {
  return typeof value === "object" && value !== null && "signal" in value;
}

/** Writes arguments through an own fid, and reads the value. */
async function writeRead(
  client: TreeClient,
  args: string | Uint8Array,
): Promise<string> {
  const fid = await client.open("f", ORDWR);
  await client.write(fid, args);
  const value = await client.text(fid);
  await client.clunk(fid);
  return value;
}

/** The value of a Tcall. */
async function value(
  client: TreeClient,
  text: string,
  data?: Uint8Array,
): Promise<unknown> {
  const reply = await client.call("f", text, data);
  assertEquals(reply.err, 0);
  return JSON.parse(reply.value);
}

/** The str of the error that a Tcall is answered with. */
async function callError(client: TreeClient, text: string): Promise<string> {
  const error = JSON.parse(await refusal(client.call("f", text)));
  assertEquals(Object.keys(error), ["class", "argv", "str"]);
  return `${error.class}: ${error.str}`;
}

// P-07, P-09.
test("function file: the example on one fid, byte for byte (S121)", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  const wname = ["f"];
  await client.ask({ type: "Twalk", fid: 0, newfid: 7, wname });
  await client.ask({ type: "Topen", fid: 7, mode: ORDWR });
  const exchanges: [request: string, reply: string][] = [
    [ // Twrite tag 1 fid 7 offset 0 count 18, Rwrite 18
      "29000000 76 0100 07000000 0000000000000000 12000000" +
      "7b2261223a2031372c202262223a2032357d",
      "0b000000 77 0100 12000000",
    ],
    [ // Tread tag 2 fid 7 offset 0 count 8168, Rread "42"
      "17000000 74 0200 07000000 0000000000000000 e81f0000",
      "0d000000 75 0200 02000000 3432",
    ],
    [ // Tread tag 3 fid 7 offset 2 count 8168, Rread ""
      "17000000 74 0300 07000000 0200000000000000 e81f0000",
      "0b000000 75 0300 00000000",
    ],
  ];
  for (const [at, [request, reply]] of exchanges.entries()) {
    client.sendBytes(unhex(request));
    await client.reply(at + 1);
    assertEquals(client.frames.at(-1), unhex(reply));
  }
});

test("function file: the example of two connections (P-12, S126)", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const one = await served.client();
  const fid = await one.open("f", OWRITE | OTRUNC);
  assertEquals(await one.write(fid, '{"a": 17, "b": 25}'), 18);
  await one.clunk(fid);
  one.close();
  const two = await served.client();
  const other = await two.open("f", OREAD);
  assertEquals(await two.text(other, 0, 8168), "42");
  assertEquals(await two.text(other, 2, 8168), "");
});

test("function file: through 9pfuse, > and cat with their truncations (P-13)", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  // open(O_WRONLY|O_TRUNC): a Twstat or a separate open truncates.
  const fid = await client.open("f", OWRITE | OTRUNC);
  await client.clunk(await client.open("f", OWRITE | OTRUNC));
  await client.wstat(fid, { length: 0n });
  await client.write(fid, '{"a": 17, "b": 25}\n');
  await client.wstat(await client.walk("f"), { length: 0n });
  await client.clunk(await client.open("f", OWRITE | OTRUNC));
  await client.clunk(fid);
  const reader = await client.open("f", OREAD);
  assertEquals(await client.text(reader, 0, 4096), "42");
  assertEquals(await client.text(reader, 2, 4096), "");
});

test("function file: a session of a pyroute2 client, frame by frame", async () => {
  const fs = new MemoryFs();
  fs.register("add", SUM, { params: ["a", "b"] });
  await using served = new ServedTree(fs);
  const client = served.raw();
  const vectors = messageVectors("call");
  const frame = (name: string) => {
    const vector = vectors.find((row) => row.name === `pyroute2 ${name}`);
    assert(vector, name);
    return vector;
  };
  const rows: [request: string, reply: string, qids?: boolean][] = [
    ["client: version", "server: version"],
    ["client: attach", "server: attach", true],
    ["client: walk", "server: walk", true],
    ["client: call", "server: call result"],
    ["client: write arguments", "server: write"],
    ["client: read result", "server: result read"],
  ];
  for (const [request, reply, qids] of rows) {
    client.sendBytes(frame(request).frame);
    const { type } = await client.reply(frame(request).message.tag);
    assertEquals(type, frame(reply).message.type);
    // The numbers of qids are every server's own.
    if (!qids) assertEquals(client.frames.at(-1), frame(reply).frame);
  }
});

test("write, then read: white space around the arguments does not matter", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  for (const text of ['{"a": 1, "b": 2}\n', ' \t\r\n{ "b":2,"a":1 }\r\n\n']) {
    assertEquals(await writeRead(client, text), "3");
  }
});

test("write, then read: an empty text means no arguments", async () => {
  await using served = serving(echo);
  const client = await served.client();
  for (const text of ["", "\n", " \r\n\t", "{}"]) {
    assertEquals(await writeRead(client, text), "[{}]");
  }
});

// P-08.
test("write, then read: arguments are an object, with its members as they are", async () => {
  await using served = serving(echo);
  const client = await served.client();
  const text = '{"s":"é日本😀\\n","n":null,"l":[1.5,true,{"k":[]}],"":-0}';
  assertEquals(
    JSON.parse(await writeRead(client, text)),
    [JSON.parse(text.replace("-0", "0"))],
  );
  assertEquals(await writeRead(client, '{"argv":[1]}'), '[{"argv":[1]}]');
});

test("write, then read: what is no object is an error", async () => {
  await using served = serving(echo);
  const client = await served.client();
  for (const text of ["[17, 25]", "17", '"text"', "null", "true"]) {
    assertEquals(
      await refusal(writeRead(client, text)),
      "arguments must be an object",
      text,
    );
  }
  assertEquals(served.reports, []);
});

test("write, then read: what is no JSON is an error that says so", async () => {
  await using served = serving(echo);
  const client = await served.client();
  for (const text of ["{", "hello", "{'a': 1}", '{"a": 1} x']) {
    const ename = await refusal(writeRead(client, text));
    assert(ename !== "i/o error" && /JSON/i.test(ename), ename);
  }
  await refusal(writeRead(client, new Uint8Array([0x7b, 0xff, 0x7d])));
  assertEquals(served.reports, []);
});

// P-10.
test("Tcall: positional and keyword arguments (S118)", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  const texts = [
    '{"argv": [17, 25], "kwarg": {}, "data_arg": "data"}',
    '{"argv": [17, 25]}',
    '{"kwarg": {"a": 17, "b": 25}}',
    '{"argv": [17], "kwarg": {"b": 25}}',
    ' {"kwarg": {"b": 25, "a": 17}, "other": [], "more": null}\n',
  ];
  for (const text of texts) assertEquals(await value(client, text), 42, text);
});

test("Tcall: members that are missing take their defaults (S125)", async () => {
  await using served = serving(echo);
  const client = await served.client();
  const rows: [text: string, value: unknown][] = [
    ["", [{}]],
    [" \n", [{}]],
    ["{}", [{}]],
    ['{"argv": []}', [{}]],
    ['{"argv": [1, null]}', [1, null]],
    ['{"argv": [1], "kwarg": {}}', [1]],
    ['{"argv": [1], "kwarg": {"k": 2}}', [1, { k: 2 }]],
    ['{"kwarg": {"k": 2}}', [{ k: 2 }]],
    ['{"a": 1}', [{}]],
  ];
  for (const [text, expected] of rows) {
    assertEquals(await value(client, text), expected, text);
  }
});

test("Tcall: a wrong type in a member is an error (S125)", async () => {
  let calls = 0;
  await using served = serving(() => ++calls);
  const client = await served.client();
  const texts = [
    '{"argv": {}}',
    '{"argv": "ab"}',
    '{"argv": null}',
    '{"kwarg": []}',
    '{"kwarg": null}',
    '{"kwarg": "x"}',
    '{"data_arg": 1}',
    '{"data_arg": null}',
    "[]",
    "null",
    "17",
  ];
  for (const text of texts) {
    assert((await callError(client, text)).startsWith("TypeError: "), text);
  }
  for (const text of ["{", "x", '{"argv": [1],}']) {
    assert((await callError(client, text)).startsWith("SyntaxError: "), text);
  }
  assertEquals(calls, 0);
  assertEquals(served.reports, []);
});

test("Tcall: a payload is a keyword argument, as bytes (P-31)", async () => {
  await using served = serving((kwarg: Record<string, unknown>) =>
    Object.entries(kwarg).map(([name, value]) =>
      value instanceof Uint8Array ? [name, "bytes", ...value] : [name, value]
    )
  );
  const client = await served.client();
  const data = new Uint8Array([0, 1, 255]);
  const rows: [text: string, data: Uint8Array, value: unknown][] = [
    ["", data, [["data", "bytes", 0, 1, 255]]],
    ['{"data_arg": "blob"}', data, [["blob", "bytes", 0, 1, 255]]],
    ['{"kwarg": {"data": 1}}', data, [["data", "bytes", 0, 1, 255]]],
    ['{"kwarg": {"data": 1}}', new Uint8Array(0), [["data", 1]]],
    ["", new Uint8Array(0), []],
    ['{"data_arg": "blob"}', new Uint8Array(0), []],
  ];
  for (const [text, payload, expected] of rows) {
    assertEquals(await value(client, text, payload), expected, text);
  }
});

test("Tcall: a function may keep its payload", async () => {
  const kept: Uint8Array[] = [];
  await using served = serving(({ data }: { data: Uint8Array }) => {
    kept.push(data);
  });
  const client = await served.client();
  await client.call("f", "", bytes("first"));
  await client.call("f", "", bytes("other"));
  assertEquals(kept, [bytes("first"), bytes("other")]);
});

test("Tcall: a payload may be for a parameter, of any size that fits", async () => {
  await using served = serving(
    (data: Uint8Array, n: number) => data.length * n,
    { params: ["blob", "n"] },
  );
  const client = await served.client();
  const text = '{"data_arg": "blob", "kwarg": {"n": 2}}';
  assertEquals(await value(client, text, new Uint8Array(60000)), 120000);
  const spare = await refusal(client.call("f", "", new Uint8Array(1)));
  assertEquals(JSON.parse(spare).class, "TypeError");
});

test("Tcall: members that reach a prototype are refused, at every depth (S125)", async () => {
  let calls = 0;
  await using served = serving(() => ++calls);
  const client = await served.client();
  for (const name of ["__proto__", "constructor", "prototype"]) {
    const texts = [
      `{"${name}": {"argv": [1]}}`,
      `{"kwarg": {"${name}": 1}}`,
      `{"kwarg": {"a": {"b": [{"${name}": {}}]}}}`,
      `{"argv": [{"${name}": 1}]}`,
      `{"argv": [[[{"a": {"${name}": 1}}]]]}`,
      `{"data_arg": "${name}"}`,
    ];
    for (const text of texts) {
      assert((await callError(client, text)).startsWith("TypeError: "), text);
    }
    const written = [`{"${name}": 1}`, `{"a": [{"b": {"${name}": 1}}]}`];
    for (const text of written) {
      assert((await refusal(writeRead(client, text))).includes(name), text);
    }
  }
  assertEquals(calls, 0);
  assertEquals(served.reports, []);
});

test("arguments: at most 64 levels", async () => {
  let calls = 0;
  await using served = serving(() => ++calls);
  const client = await served.client();
  // The object of the arguments is the first level.
  const nested = (levels: number) =>
    `{"a": ${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
  await writeRead(client, nested(64));
  await value(client, `{"kwarg": ${nested(64)}}`);
  assertEquals(calls, 2);
  await refusal(writeRead(client, nested(65)));
  await callError(client, `{"kwarg": ${nested(65)}}`);
  await callError(client, `{"argv": ${"[".repeat(65)}${"]".repeat(65)}}`);
  await refusal(writeRead(client, `{"a": ${"[".repeat(60000)}`));
  await refusal(writeRead(client, nested(30000)));
  assertEquals(calls, 2);
  assertEquals(served.reports, []);
});

test("arguments: at most 1 MiB are written", async () => {
  await using served = serving(({ s }: { s: string }) => s.length);
  const client = await served.client();
  const text = bytes(`{"s": "${"x".repeat(1048576 - 9)}"}`);
  assertEquals(text.length, 1048576);
  const fid = await client.open("f", ORDWR);
  for (let at = 0; at < text.length; at += 65000) {
    await client.write(fid, text.subarray(at, at + 65000), at);
  }
  await refused("file too big", client.write(fid, " ", text.length));
  assertEquals(await client.text(fid), String(1048576 - 9));
});

// P-32.
test("Tcall: on a plain file or a directory err is 255 (S119)", async () => {
  await using served = serving(SUM);
  const client = await served.client();
  for (const path of ["plain", "dir", "/"]) {
    assertEquals(await client.call(path, '{"argv": [1]}', bytes("x")), {
      err: 255,
      value: "",
    });
  }
});

test("Tcall: an unknown fid is an error", async () => {
  await using served = serving(SUM);
  const client = await served.client();
  const ename = await refusal(client.call(77, ""));
  assert(ename.includes("fid unknown or out of range"), ename);
});

test("Tcall: it neither uses nor changes the state of write and read", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  const sum = (a: number, b: number) =>
    client.call(fid, `{"argv":[${a},${b}]}`);
  assertEquals(await sum(1, 1), { err: 0, value: "2" });
  assertEquals(await client.text(fid), "");
  await client.write(fid, '{"a": 2,');
  assertEquals((await sum(3, 4)).value, "7");
  await client.write(fid, ' "b": 3}', 8);
  assertEquals(await client.text(fid), "5");
  assertEquals((await sum(5, 5)).value, "10");
  assertEquals(await client.text(fid), "5");
  assertEquals(await client.text(await client.open("f")), "");
  assertEquals((await client.stat("f")).length, 0n);
});

test("Tcall: many at a time on one fid keep their own values", async () => {
  await using served = serving(async ({ i }: { i: number }) => {
    for (let n = 0; n < 20 - i; n++) await null;
    return i;
  });
  const client = await served.client();
  const fid = await client.walk("f");
  const values = await Promise.all(
    Array.from(
      { length: 20 },
      async (_, i) => (await client.call(fid, `{"kwarg": {"i": ${i}}}`)).value,
    ),
  );
  assertEquals(values, Array.from({ length: 20 }, (_, i) => String(i)));
});

test("Tcall: a value that does not fit is an error, by read it comes", async () => {
  await using served = serving(({ n }: { n: number }) => new Uint8Array(n));
  const client = await served.client("glenda", { msize: 1000 });
  const most = 1000 - 15;
  const fits = await client.call("f", `{"kwarg": {"n": ${most}}}`);
  assertEquals(fits.value.length, most);
  assertEquals(
    await callError(client, `{"kwarg": {"n": ${most + 1}}}`),
    "OSError: i/o count too large",
  );
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"n": 2500}');
  const sizes: number[] = [];
  for (let offset = 0, size = -1; size !== 0; offset += size) {
    size = (await client.read(fid, offset, 8192)).length;
    sizes.push(size);
  }
  assertEquals(sizes, [989, 989, 522, 0]);
});

test("params: too many, unknown or double arguments are a TypeError", async () => {
  await using served = serving(SUM, { params: ["a", "b"] });
  const client = await served.client();
  const texts = [
    '{"argv": [1, 2, 3]}',
    '{"argv": [1, 2], "kwarg": {"a": 1}}',
    '{"kwarg": {"a": 1, "b": 2, "c": 3}}',
  ];
  for (const text of texts) {
    assert((await callError(client, text)).startsWith("TypeError: "), text);
  }
  assert((await refusal(writeRead(client, '{"c": 1}'))).includes("c"));
});

test("params: those that are missing are undefined, so defaults apply", async () => {
  const fn = (a: number, b = 10): number => a + b;
  await using served = serving(fn, { params: ["a", "b"] });
  const client = await served.client();
  assertEquals(await value(client, '{"argv": [1]}'), 11);
  assertEquals(await writeRead(client, '{"a": 2}'), "12");
});

test("context: user, peer and signal, before the arguments (P-16)", async () => {
  const seen: unknown[] = [];
  const note = (context: CallContext, ...args: unknown[]) => {
    assert(isContext(context));
    assert(context.signal instanceof AbortSignal && !context.signal.aborted);
    seen.push([context.uname, typeof context.peer, ...args]);
  };
  const fs = new MemoryFs();
  fs.register("f", note, { context: true });
  await using served = new ServedTree(fs);
  const client = await served.client("ken");
  await client.call("f", "");
  await client.call("f", '{"kwarg": {"a": 1}}');
  await writeRead(client, "{}");
  fs.remove("f");
  fs.register("f", note, { params: ["a", "b"], context: true });
  await writeRead(await served.client("rob"), '{"b": 1}');
  await client.call("f", '{"argv": [1, 2]}');
  assertEquals(seen, [
    ["ken", "string", {}],
    ["ken", "string", { a: 1 }],
    ["ken", "string", {}],
    ["rob", "string", undefined, 1],
    ["ken", "string", 1, 2],
  ]);
});

// A caller must not be able to forge the context.
test("context: nothing that a caller sends takes its place", async () => {
  const forged = '{"uname": "root", "signal": 1}';
  const whoami = ({ uname }: CallContext) => uname;
  const setups: FunctionSetup[] = [{}, { params: ["a", "b"] }, { params: [] }];
  for (const setup of setups) {
    await using served = serving(whoami, { ...setup, context: true });
    const mallory = await served.client("mallory");
    const texts = [
      `{"argv": [${forged}, ${forged}, ${forged}]}`,
      `{"argv": [${forged}, ${forged}]}`,
      `{"argv": [${forged}], "kwarg": ${forged}}`,
      `{"kwarg": ${forged}}`,
      `{"kwarg": {"a": ${forged}, "context": ${forged}}}`,
      "{}",
    ];
    for (const text of texts) {
      const told = await mallory.call("f", text).then(
        ({ value }) => value,
        (error) => JSON.parse(error.ename).class,
      );
      assert(told === '"mallory"' || told === "TypeError", `${text}: ${told}`);
    }
    const written = await writeRead(mallory, forged).catch((e) => e.ename);
    assert(written !== '"root"', written);
  }
});

test("context: a function gets none without the option", async () => {
  const setups: FunctionSetup[] = [{}, { params: ["a"] }];
  for (const setup of setups) {
    await using served = serving(
      (...args) => args.filter(isContext).length,
      setup,
    );
    const client = await served.client();
    for (const text of ["", '{"argv": [1]}', '{"kwarg": {"a": 1}}']) {
      assertEquals(await value(client, text), 0);
    }
    assertEquals(await writeRead(client, '{"a": 1}'), "0");
  }
});

test("arguments: keyword arguments for several parameters without names are a ValueError", async () => {
  const functions: [FileFunction, FunctionSetup][] = [
    [(a, b) => a + b, {}],
    [(kwarg, { uname }) => [kwarg, uname], {}],
    [(_: CallContext, a, b) => a + b, { context: true }],
  ];
  for (const [fn, setup] of functions) {
    await using served = serving(fn, setup);
    const client = await served.client();
    const texts = ['{"kwarg": {"a": 1, "b": 2}}', "", '{"argv": []}'];
    for (const text of texts) {
      const error = await callError(client, text);
      assertMatch(error, /^ValueError: .*"params".*"context: true"/);
    }
    assertMatch(
      await writeRead(client, '{"a": 1, "b": 2}').catch((e) => e.ename),
      /^the function has 2 parameters without names/,
    );
  }
});

test("values: nothing is null, what is async is awaited", async () => {
  const values: [FileFunction, string][] = [
    [() => {}, "null"],
    [() => undefined, "null"],
    [() => null, "null"],
    [async () => await {}, "{}"],
    [async () => {}, "null"],
    [() => ({ a: [1, "é"] }), '{"a":[1,"é"]}'],
    [() => "text", '"text"'],
    [() => 0, "0"],
    [() => false, "false"],
    [() => new Uint8Array([0x68, 0x69]), "hi"],
    [() => Promise.resolve(new Uint8Array(0)), ""],
    // As the query builders of databases are.
    [() => ({ then: (done: (value: number) => void) => done(42) }), "42"],
  ];
  for (const [fn, expected] of values) {
    await using served = serving(fn);
    const client = await served.client();
    assertEquals(await client.call("f", ""), { err: 0, value: expected });
    assertEquals(await writeRead(client, ""), expected);
  }
});

test("values: what JSON has no text for is an error, not err 255", async () => {
  const values: FileFunction[] = [
    () => () => 1,
    () => Symbol("s"),
    () => 1n,
    () => {
      const loop: Record<string, unknown> = {};
      return loop.loop = loop;
    },
  ];
  for (const fn of values) {
    await using served = serving(fn);
    const client = await served.client();
    assert((await callError(client, "")).startsWith("TypeError: "));
    assert((await refusal(writeRead(client, ""))) !== "i/o error");
    assertEquals(served.reports.length, 2);
  }
});

test("values: bytes that a function goes on to change are not the result", async () => {
  const scratch = new Uint8Array(4);
  await using served = serving(({ n }: { n: number }) => scratch.fill(n));
  const client = await served.client();
  const a = await client.open("f", ORDWR);
  const b = await client.open("f", ORDWR);
  await client.write(a, '{"n": 65}');
  assertEquals(await client.text(a), "AAAA");
  await client.write(b, '{"n": 66}');
  assertEquals(await client.text(b), "BBBB");
  assertEquals(await client.text(a), "AAAA");
  assertEquals(await client.text(a, 2), "AA");
});

test("loader: decodes what is written and the text of a Tcall (P-11)", async () => {
  const loader = (data: Uint8Array): unknown => {
    const text = new TextDecoder().decode(data);
    if (text.startsWith("call ")) return { argv: text.split(" ").slice(1) };
    return Object.fromEntries(new URLSearchParams(text));
  };
  await using served = serving(echo, { loader });
  const client = await served.client();
  assertEquals(await writeRead(client, "a=1&b=x"), '[{"a":"1","b":"x"}]');
  assertEquals(await value(client, "call 1 2"), ["1", "2"]);
  assertEquals(await writeRead(client, ""), "[{}]");
  assertEquals(await value(client, ""), [{}]);
});

test("loader: what it throws goes to the reader, what it makes is checked", async () => {
  const loader = (data: Uint8Array): unknown => {
    if (data[0] === 0x21) throw new RangeError("no exclamations");
    return data[0] === 0x3f ? "text" : JSON.parse('{"__proto__": 1}');
  };
  await using served = serving(echo, { loader });
  const client = await served.client();
  await refused("no exclamations", writeRead(client, "!"));
  assertEquals(await callError(client, "!"), "RangeError: no exclamations");
  await refusal(writeRead(client, "?"));
  await refusal(writeRead(client, "x"));
  // A loader throws a NinePError for an error that the caller should get.
  assertEquals(served.reports.map(String), [
    "RangeError: no exclamations",
    "RangeError: no exclamations",
  ]);
});

test("dumper: encodes the value, as text or bytes (P-11)", async () => {
  const dumper = (value: unknown): string | Uint8Array =>
    Array.isArray(value) ? new Uint8Array(value) : `<${String(value)}>`;
  const text = '{"argv": ["x"]}';
  await using served = serving((x: unknown) => x, { dumper });
  const client = await served.client();
  assertEquals((await client.call("f", text)).value, "<x>");
  assertEquals((await client.call("f", '{"argv": [[104]]}')).value, "h");
  assertEquals(await writeRead(client, "{}"), "<[object Object]>");
});

test("dumper: what is neither text nor bytes is an error that says so", async () => {
  for (const wrong of [undefined, null, 17, {}]) {
    const dumper = (): Uint8Array => wrong as unknown as Uint8Array; // As from JavaScript.
    await using served = serving(() => 1, { dumper });
    const client = await served.client();
    assert((await callError(client, "")).includes("dumper"));
    assert((await refusal(writeRead(client, ""))).includes("dumper"));
    assertEquals(served.reports.length, 2);
  }
});

test("rawDumper: bytes pass, the rest becomes text (P-37)", async () => {
  assertEquals(rawDumper("text"), "text");
  assertEquals(rawDumper(17), "17");
  assertEquals(rawDumper(bytes("b")), bytes("b"));
  await using served = serving((x: unknown) => x, {
    params: ["x"],
    dumper: rawDumper,
  });
  const client = await served.client();
  assertEquals(
    (await client.call("f", '{"argv": ["plain\\n"]}')).value,
    "plain\n",
  );
  const raw = await client.call("f", '{"data_arg": "x"}', bytes("{"));
  assertEquals(raw, { err: 0, value: "{" });
});
