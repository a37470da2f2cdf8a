// codec/call.ts: the JSON of calls and of the errors of functions.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertThrows,
} from "@std/assert";
import {
  checkCall,
  checkSafe,
  encodeCall,
  encodeEnvelope,
  envelopeOf,
  FunctionError,
  parseEnvelope,
  Plan9Exit,
} from "../../codec/call.ts";
import { NinePError } from "../../codec.ts";
import { test } from "../harness.ts";
import { messageVectors } from "./vectors.ts";

const utf8 = new TextEncoder();

function parsed(ename: string): FunctionError {
  const error = parseEnvelope(ename);
  assertInstanceOf(error, FunctionError);
  return error;
}

/** The error of an envelope with a class, and errno if there is one. */
function ofClass(name: string, argv: unknown[] = []): FunctionError {
  return parsed(JSON.stringify({ class: name, argv, str: "text" }));
}

test("parseEnvelope() and encodeEnvelope() agree with the vectors", () => {
  let envelopes = 0;
  for (const { message } of messageVectors("call")) {
    if (message.type !== "Rerror") continue;
    const error = parsed(message.ename);
    const { class: name, argv, str } = error;
    assertEquals({ class: name, argv, str }, JSON.parse(message.ename));
    assertEquals(error.ename, message.ename);
    const again = encodeEnvelope(envelopeOf(error), 65535);
    assertEquals(JSON.parse(again), JSON.parse(message.ename));
    assertEquals(Object.keys(JSON.parse(again)), ["class", "argv", "str"]);
    envelopes++;
  }
  assertEquals(envelopes, 8);
});

// P-31.
test("checkCall() takes the texts of all vectors", () => {
  let calls = 0;
  for (const { name, message } of messageVectors("call")) {
    if (message.type !== "Tcall") continue;
    const raw = JSON.parse(message.text || "{}");
    const { argv = [], kwarg = {}, data_arg: dataArg = "data" } = raw;
    const call = checkCall(raw);
    assertEquals({ ...call }, { argv, kwarg, dataArg }, name);
    assertEquals(JSON.parse(encodeCall(call)), {
      argv,
      kwarg,
      data_arg: dataArg,
    });
    calls++;
  }
  assert(calls >= 10);
});

test("encodeCall() names all three members", () => {
  assertEquals(
    encodeCall({ argv: [17, 25], kwarg: {}, dataArg: "data" }),
    '{"argv":[17,25],"kwarg":{},"data_arg":"data"}',
  );
});

test("parseEnvelope() takes what has a text class or str", () => {
  const rows: [ename: string, name: string, argv: unknown[], str: string][] = [
    ['{"class": "KeyError"}', "KeyError", [], ""],
    ['{"str": "message"}', "Error", [], "message"],
    ['{"class": 1, "str": "message"}', "Error", [], "message"],
    ['{"class": "E", "argv": {}, "str": null}', "E", [], ""],
    ['{"class": "E", "argv": [1, "x", null]}', "E", [1, "x", null], ""],
    ['{"class":"E","str":"s","more":{"a":1}}', "E", [], "s"],
  ];
  for (const [ename, name, argv, str] of rows) {
    const error = parsed(ename);
    assertEquals([error.class, error.argv, error.str], [name, argv, str]);
    assertEquals(error.ename, ename);
    assert(error.message !== "");
  }
});

test("parseEnvelope() leaves all else to be a text", () => {
  const texts = [
    "",
    "file does not exist",
    "{",
    "{}",
    "{not json}",
    '{"argv": []}',
    '{"class": 1, "str": 2}',
    '[{"class": "E"}]',
    '"class"',
    ' {"class": "E", "str": "s"}',
    '{"class": "E", "str": "cut off',
    "{".repeat(60000),
  ];
  for (const text of texts) assertEquals(parseEnvelope(text), undefined, text);
});

test("parseEnvelope() makes no objects of classes that a server names", () => {
  for (const name of ["Function", "__proto__", "constructor", "toString"]) {
    const error = ofClass(name);
    assertEquals(error.class, name);
    assertEquals(Object.getPrototypeOf(error), FunctionError.prototype);
    assertEquals(error.code, undefined);
  }
  const error = parsed('{"class": "E", "__proto__": {"code": "EVIL"}}');
  assertEquals(error.code, undefined);
  assertEquals(Object.getPrototypeOf(error), FunctionError.prototype);
});

test("parseEnvelope() gives the exit error its own class", () => {
  const error = ofClass("Plan9Exit");
  assertInstanceOf(error, Plan9Exit);
  assertEquals([error.name, error.str], ["Plan9Exit", "text"]);
});

test("FunctionError has the code that its class means", () => {
  const codes: Record<string, string> = {
    ValueError: "EINVAL",
    SyntaxError: "EINVAL",
    UnicodeDecodeError: "EINVAL",
    JSONDecodeError: "EINVAL",
    KeyError: "ENOENT",
    FileNotFoundError: "ENOENT",
    PermissionError: "EACCES",
    FileExistsError: "EEXIST",
    IsADirectoryError: "EISDIR",
    NotADirectoryError: "ENOTDIR",
    TimeoutError: "ETIMEDOUT",
    InterruptedError: "EINTR",
    NotImplementedError: "ENOSYS",
  };
  for (const [name, code] of Object.entries(codes)) {
    assertEquals(ofClass(name).code, code, name);
  }
});

test("FunctionError has the code of its errno", () => {
  const rows: [string, unknown[], string | undefined][] = [
    ["OSError", [28, "No space left on device"], "ENOSPC"],
    ["OSError", [2, "x"], "ENOENT"],
    ["NetlinkError", [17, "File exists"], "EEXIST"],
    ["OSError", [], undefined],
    ["OSError", ["28", "x"], undefined],
    ["OSError", [100000, "x"], undefined],
    ["Custom", [], undefined],
  ];
  for (const [name, argv, code] of rows) {
    assertEquals(ofClass(name, argv).code, code);
  }
});

test("FunctionError is a NinePError that can be read", () => {
  const error = ofClass("ValueError");
  assertInstanceOf(error, NinePError);
  assertEquals([error.name, error.message], ["FunctionError", "text"]);
  const cause = new Error("why");
  const own = new FunctionError({ class: "E", argv: [], str: "s" }, { cause });
  assertEquals([own.ename, own.cause], ["s", cause]);
});

// P-33.
test("envelopeOf() names errors by class, with errno where there is a code", () => {
  class Custom extends Error {}
  class Named extends Error {
    override name = "Chosen";
  }
  const hostError = Object.assign(new Error("EACCES: denied"), {
    code: "EACCES",
  });
  const rows: [error: unknown, name: string, argv: unknown[], str: string][] = [
    [new Error("m"), "Error", [], "m"],
    [new SyntaxError("m"), "SyntaxError", [], "m"],
    [new Custom("m"), "Custom", [], "m"],
    [new Named("m"), "Chosen", [], "m"],
    [new DOMException("m", "AbortError"), "AbortError", [], "m"],
    ["text", "Error", [], "text"],
    [undefined, "Error", [], "undefined"],
    [17, "Error", [], "17"],
    [Object.create(null), "Error", [], "unknown error"],
    [
      new NinePError("permission denied"),
      "PermissionError",
      [13, "permission denied"],
      "permission denied",
    ],
    [
      new NinePError("file already exists"),
      "FileExistsError",
      [17, "file already exists"],
      "file already exists",
    ],
    [new NinePError("Is a directory"), "IsADirectoryError", [
      21,
      "Is a directory",
    ], "Is a directory"],
    [
      new NinePError("not a directory"),
      "NotADirectoryError",
      [20, "not a directory"],
      "not a directory",
    ],
    [
      new NinePError("Connection timed out"),
      "TimeoutError",
      [110, "Connection timed out"],
      "Connection timed out",
    ],
    [
      new NinePError("Interrupted system call"),
      "InterruptedError",
      [4, "Interrupted system call"],
      "Interrupted system call",
    ],
    [new NinePError("i/o error"), "OSError", [5, "i/o error"], "i/o error"],
    [new NinePError("what is this"), "OSError", [], "what is this"],
    [hostError, "PermissionError", [13, "EACCES: denied"], "EACCES: denied"],
    [
      Object.assign(new TypeError("m"), { code: "ERR_INVALID_ARG_TYPE" }),
      "TypeError",
      [],
      "m",
    ],
    [new Plan9Exit("bye"), "Plan9Exit", [], "bye"],
    [ofClass("KeyError", ["k"]), "KeyError", ["k"], "text"],
  ];
  for (const [error, name, argv, str] of rows) {
    assertEquals(envelopeOf(error), { class: name, argv, str });
  }
});

test("encodeEnvelope() cuts str, and never breaks the JSON", () => {
  const texts = [
    "x",
    "é",
    "日",
    "😀",
    "\n",
    '"',
    "\\",
    "\u0001",
    "\ud800",
    "a😀\n",
  ];
  for (const character of texts) {
    for (const length of [0, 1, 2, 3, 50, 400]) {
      const str = character.repeat(length);
      const whole = { class: "ValueError", argv: [], str };
      for (let limit = 60; limit < 130; limit++) {
        const text = encodeEnvelope(whole, limit);
        const size = utf8.encode(text).length;
        assert(size <= limit, `${size} bytes, the limit is ${limit}`);
        const { str: cut, ...rest } = JSON.parse(text);
        assertEquals(rest, { class: "ValueError", argv: [] });
        assert(str.startsWith(cut));
        const fits = utf8.encode(JSON.stringify(whole)).length <= limit;
        if (fits) assertEquals(cut, str);
        else assert(size > limit - 13, `${size} of ${limit} bytes are used`);
      }
    }
  }
});

test("encodeEnvelope() cuts the text of a system error last in its number", () => {
  const str = "x".repeat(500);
  const text = encodeEnvelope({ class: "OSError", argv: [28, str], str }, 247);
  const envelope = JSON.parse(text);
  assertEquals(envelope.argv, [28]);
  assert(envelope.str.length > 100);
  assert(text.length <= 247);
});

test("encodeEnvelope() keeps to the limit whatever is long", () => {
  const long = "x".repeat(1000);
  const envelopes = [
    { class: long, argv: [], str: "s" },
    { class: "E", argv: [long, long], str: "s" },
    { class: "é".repeat(500), argv: [{ deep: [long] }], str: long },
  ];
  for (const envelope of envelopes) {
    const text = encodeEnvelope(envelope, 247);
    assert(utf8.encode(text).length <= 247);
    const { class: name, argv, str } = JSON.parse(text);
    assert(name.length > 0 && Array.isArray(argv) && typeof str === "string");
  }
});

test("encodeEnvelope() keeps to what a text can hold, whatever the limit", () => {
  const str = "é".repeat(100_000);
  const text = encodeEnvelope({ class: "E", argv: [], str }, 1 << 20);
  assert(utf8.encode(text).length <= 65535);
  assert(JSON.parse(text).str.length > 30_000);
});

test("encodeEnvelope() has an answer for what JSON has no text for", () => {
  const loop: unknown[] = [];
  loop.push(loop);
  for (const argv of [[1n], loop, [undefined], [() => 1]]) {
    const text = encodeEnvelope({ class: "E", argv, str: "s" }, 247);
    const { class: name, str } = JSON.parse(text);
    assertEquals([name, str], ["E", "s"]);
  }
});

test("checkCall() refuses wrong types, and names them", () => {
  const rows: [value: unknown, message: string][] = [
    [null, "object"],
    [[], "object"],
    ["x", "object"],
    [new Uint8Array(1), "object"],
    [{ argv: {} }, "argv"],
    [{ argv: null }, "argv"],
    [{ kwarg: [] }, "kwarg"],
    [{ kwarg: 1 }, "kwarg"],
    [{ data_arg: [] }, "data_arg"],
    [{ data_arg: "prototype" }, "prototype"],
  ];
  for (const [value, message] of rows) {
    assertThrows(() => checkCall(value), TypeError, message);
  }
});

test("checkCall() ignores further members, but not those of a prototype", () => {
  const call = checkCall({ argv: [1], other: [], fname: "x" });
  assertEquals({ ...call }, { argv: [1], kwarg: {}, dataArg: "data" });
  for (const name of ["__proto__", "constructor", "prototype"]) {
    const value: unknown = JSON.parse(`{"${name}": {"argv": [1]}}`);
    assertThrows(() => checkCall(value), TypeError, name);
  }
});

test("checkSafe() looks at every depth, and no deeper than 64", () => {
  const nested = (levels: number): unknown =>
    JSON.parse("[".repeat(levels) + "]".repeat(levels));
  checkSafe(nested(64));
  checkSafe(1);
  checkSafe(null);
  checkSafe(new Uint8Array(1000));
  assertThrows(() => checkSafe(nested(65)), RangeError, "64");
  assertThrows(() => checkSafe(nested(30000)), RangeError, "64");
  const evil: unknown = JSON.parse('[[{"a": [{"__proto__": 1}]}]]');
  assertThrows(() => checkSafe(evil), TypeError, "__proto__");
});
