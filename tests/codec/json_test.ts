// codec/json.ts: values arrive without loss or are refused, and a text is
// measured before it is parsed.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { encodeCall, encodeKwarg } from "../../codec/call.ts";
import { BYTES_PER_BYTE, encodeJson, measureJson } from "../../codec/json.ts";
import { connect } from "../../client.ts";
import { FunctionError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";

class Point {
  x = 1;
}

class Hidden {
  #x = 1;
  get x(): number {
    return this.#x;
  }
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) {
    value = level % 2 === 0 ? [value] : { a: value };
  }
  return value;
}

test("encodeJson() encodes values that JSON carries, and they arrive unchanged", () => {
  const values: unknown[] = [
    null,
    true,
    "",
    "text \ud800 \0 \u2028",
    0,
    -1.5e300,
    5e-324,
    2 ** 53,
    [],
    {},
    [[], {}, [null, [false]]],
    { a: { b: [1, "2"] }, "": 0, "a b": [] },
    nested(1000),
  ];
  for (const value of values) {
    assertEquals(JSON.parse(encodeJson(value, "v")), value);
  }
  const bare = Object.assign(Object.create(null), { a: 1 });
  assertEquals(encodeJson(bare, "v"), '{"a":1}');
  // Members that are undefined are left out, as by JSON.stringify().
  assertEquals(
    encodeJson({ a: undefined, b: [{ c: undefined }] }, "v"),
    '{"b":[{}]}',
  );
  assertEquals(JSON.parse(encodeJson([-0], "v")), [0]);
  const twice = { a: 1 };
  assertEquals(encodeJson([twice, twice], "v"), '[{"a":1},{"a":1}]');
});

const REFUSED: [value: unknown, what: string][] = [
  [new Date(0), "a Date"],
  [new Map(), "a Map"],
  [new Set([1]), "a Set"],
  [new WeakMap(), "a WeakMap"],
  [new Error("x"), "an Error"],
  [/x/, "a RegExp"],
  [new Uint8Array(1), "a Uint8Array"],
  [new Float64Array(1), "a Float64Array"],
  [new ArrayBuffer(1), "an ArrayBuffer"],
  [new DataView(new ArrayBuffer(1)), "a DataView"],
  [new URL("http://a/"), "a URL"],
  [Promise.resolve(1), "a Promise"],
  [Object("text"), "a String"],
  [Object(1), "a Number"],
  [new Point(), "a Point"],
  [new Hidden(), "a Hidden"],
  [NaN, "NaN"],
  [Infinity, "Infinity"],
  [-Infinity, "-Infinity"],
  [1n, "a bigint"],
  [Symbol("s"), "a symbol"],
  [() => 1, "a function"],
  [undefined, "undefined"],
];

test("encodeJson() refuses values that JSON would change, and names the place", () => {
  for (const [value, what] of REFUSED) {
    const places: [value: unknown, path: string][] = [
      [value, "v"],
      [[0, value], "v[1]"],
      [{ when: [{ "a b": [value] }] }, 'v.when[0]["a b"][0]'],
    ];
    if (value !== undefined) places.push([{ é: { $1: value } }, "v.é.$1"]);
    for (const [whole, path] of places) {
      assertThrows(
        () => encodeJson(whole, "v"),
        TypeError,
        `${path} is ${what}; JSON carries`,
      );
    }
  }
  assertThrows(() => encodeJson([1, , 2], "v"), TypeError, "v[1] is undefined");
  const toJSON = { toJSON: () => "other" };
  assertThrows(
    () => encodeJson(toJSON, "v"),
    TypeError,
    "v.toJSON is a function",
  );
});

test("encodeJson() refuses a value that contains itself, and names the place", () => {
  const loop: Record<string, unknown> = {};
  loop.a = [loop];
  assertThrows(
    () => encodeJson(loop, "v"),
    TypeError,
    "v.a[0] contains itself",
  );
  const list: unknown[] = [];
  list.push(list);
  assertThrows(() => encodeJson(list, "v"), TypeError, "v[0] contains itself");
});

test("encodeCall() and encodeKwarg() name the argument", () => {
  const call = { argv: [{ when: new Date() }], kwarg: {}, dataArg: "data" };
  assertThrows(() => encodeCall(call), TypeError, "argv[0].when is a Date");
  const kwarg = { list: [undefined] };
  const named = { argv: [], kwarg, dataArg: "data" };
  assertThrows(
    () => encodeCall(named),
    TypeError,
    "kwarg.list[0] is undefined",
  );
  assertThrows(
    () => encodeKwarg(kwarg),
    TypeError,
    "kwarg.list[0] is undefined",
  );
  assertEquals(
    encodeCall({ argv: [1], kwarg: { a: undefined, b: 2 }, dataArg: 'x"' }),
    '{"argv":[1],"kwarg":{"b":2},"data_arg":"x\\""}',
  );
});

test("call() refuses arguments before it sends anything; a wrong value of a function is also reported to the owner", async () => {
  const fs = new MemoryFs();
  let calls = 0;
  const value: { now: unknown } = { now: 0 };
  fs.register("f", () => (calls++, value.now));
  fs.register("later", () => Promise.resolve(value.now));
  const reports: unknown[] = [];
  const [near, far] = pair();
  const served = serve(far, fs, { onError: (error) => reports.push(error) });
  const client = await connect(near);
  const failure = (work: Promise<unknown>) =>
    work.then(() => undefined, (error) => error);

  const sent = await failure(
    client.call("f", { argv: [{ when: new Date() }] }),
  );
  assert(sent instanceof TypeError, String(sent));
  assert(sent.message.startsWith('Cannot call "f": argv[0].when is a Date'));
  for (const text of ["", "x".repeat(70_000)]) {
    const kwarg = { text, list: [1, NaN] };
    const named = await failure(client.call("f", { kwarg }));
    assert(named instanceof TypeError, String(named));
    assert(named.message.startsWith('Cannot call "f": kwarg.list[1] is NaN'));
  }
  assertEquals([calls, reports.length], [0, 0]);

  let count = 0;
  for (const [wrong, what] of REFUSED) {
    if (wrong === undefined || wrong instanceof Promise) continue; // Null, and a promised value.
    const isBytes = wrong instanceof Uint8Array; // Bytes are allowed as the whole value.
    value.now = isBytes ? [wrong] : wrong;
    const place = isBytes ? "the value[0]" : "the value";
    for (const path of ["f", "later"]) {
      const error = await failure(client.call(path));
      assert(error instanceof FunctionError, String(error));
      assertEquals(error.class, "TypeError");
      assert(error.str.startsWith(`${place} is ${what}; `), error.str);
      assertEquals(reports.length, ++count);
      assert(reports.at(-1) instanceof TypeError);
    }
  }
  value.now = undefined;
  assertEquals(await client.call("f"), null);
  await client.close();
  await served;
});

test("measureJson() counts nesting outside of texts alone", () => {
  const rows: [text: string, depth: number][] = [
    ["", 0],
    ["1", 0],
    ["[]", 1],
    ["[[],[[]]]", 3],
    ['{"a":[{"b":{}}]}', 4],
    ['"[[["', 0],
    ['["\\"[[[", "[[", "\\\\"]', 1],
    ['["unfinished [[[', 1],
    ["]]]][[", 0], // Parsing ends at the first one.
    ['"\\', 0],
  ];
  for (const [text, depth] of rows) {
    assertEquals(measureJson(text).depth, depth, text);
  }
});

test("measureJson(): no text takes more than BYTES_PER_BYTE", () => {
  const units = [
    "{},",
    "[],",
    "[[]],",
    '{"":{}},',
    "0,",
    '"",',
    '{"a":0},',
    '"é",',
    "[0],",
    "x",
  ];
  for (const unit of units) {
    const text = unit.repeat(1000);
    const { bytes } = measureJson(text);
    assert(bytes <= text.length * BYTES_PER_BYTE, unit);
    assert(bytes >= text.length, unit);
  }
});
