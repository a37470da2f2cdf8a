// Encoding and decoding of messages: golden bytes, malformed frames, chance.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { concat, equals } from "@std/bytes";
import {
  decode,
  type Dialect,
  dialect9P2000,
  encode,
  encodeInto,
  formatMessage,
  FrameSplitter,
  isRmessage,
  isTmessage,
  type Message,
  NOTAG,
  ProtocolError,
} from "../../codec.ts";
import { test } from "../harness.ts";
import {
  hex,
  malformed,
  malformedReplies,
  messageVectors,
  Random,
  unhex,
} from "./vectors.ts";

const VECTORS = messageVectors();

/** One vector of each type, the first. */
const TYPICAL = new Map(
  VECTORS.toReversed().map((vector) => [vector.message.type, vector]),
);

/**
 * Frames of malformed.json and malformed-replies.json that decode without an
 * error. A server or a client refuses them.
 */
const LEGAL_FRAMES = [
  "frame of exactly msize: a Twrite on a fid that is not open",
  "an Rversion from a client",
  "an Rerror from a client",
  "an Rwalk from a client",
  "an Rread from a client",
  "an Rclunk from a client",
  "Topenfd",
  "created name ''",
  "created name '.'",
  "created name '..'",
  "created name 'a/b'",
  "Tattach before Tversion",
  "Twalk before Tversion",
  "Tversion with msize 0",
  "Tversion with msize 10",
  "Rread longer than asked",
  "Rwrite count above what was sent",
  "Rwalk of two qids for one name",
  "Rwalk of no qid for one name",
  "reply of another type",
  "T-message from a server",
  "Rerror with invalid UTF-8",
  "reply with a tag that is not outstanding",
  "reply with NOTAG",
  "Rversion msize above the one asked for",
  "Rversion msize 0",
  "Rversion msize 32",
  "Rversion unknown",
  "Rversion of a dialect that was not asked for",
  "Rversion with an empty version",
  "Rerror in reply to Tversion",
  "directory data that ends inside an entry",
  "directory entry with size 0",
  "directory entry with a slash in its name",
];

/** Frames that cannot be followed: the splitter sees it. */
const LOST_FRAMES = [
  ...malformed().filter((row) => row.expect === "close"),
  ...malformedReplies().filter((row) => row.name.startsWith("size field")),
].map((row) => row.name);

function setSize(frame: Uint8Array): Uint8Array {
  if (frame.length >= 4) {
    new DataView(frame.buffer).setUint32(0, frame.length, true);
  }
  return frame;
}

/** The message, or undefined after a ProtocolError; any other error is a fault. */
function tryDecode(frame: Uint8Array, what: string): Message | undefined {
  try {
    return decode(frame);
  } catch (error) {
    assertInstanceOf(error, ProtocolError, `${what}: ${error}`);
    return undefined;
  }
}

/** A message with fields that its type does not allow. */
function spoil(message: Message, fields: Record<string, unknown>): Message {
  // The point of the tests that use it: JavaScript callers have no types.
  return { ...message, ...fields } as Message;
}

// C-69, C-70, C-93.
test("encode() gives the golden bytes of every vector", () => {
  for (const { name, message, frame } of VECTORS) {
    assertEquals(hex(encode(message)), hex(frame), name);
  }
});

test("decode() gives the message of every vector", () => {
  for (const { name, message, frame } of VECTORS) {
    assertEquals(decode(frame), message, name);
  }
});

test("the vectors have every message of the dialect", () => {
  const types = [...dialect9P2000.byType.keys()];
  assertEquals([...TYPICAL.keys()].sort(), types.sort());
  assertEquals(types.length, 31);
});

test("decode() and encode() agree on messages made by chance", () => {
  const random = new Random(9);
  for (const type of TYPICAL.keys()) {
    for (let i = 0; i < 100; i++) {
      const message = random.message(type);
      const frame = encode(message);
      assertEquals(decode(frame), message);
      assert(equals(encode(decode(frame)), frame), hex(frame));
    }
  }
});

test("decode() works on a view inside a larger buffer", () => {
  for (const { name, message, frame } of VECTORS) {
    const buffer = concat([unhex("ffffff"), frame, unhex("ffff")]);
    assertEquals(
      decode(buffer.subarray(3, 3 + frame.length)),
      message,
      name,
    );
  }
});

test("decode() of hot messages by hand is decode() by their rows, whatever the frame", () => {
  // Copies of rows have no way by hand.
  const byCode = dialect9P2000.byCode.map((row) => row && { ...row });
  const walked = { ...dialect9P2000, byCode };
  const frames = VECTORS.map((vector) => vector.frame);
  for (const { frame } of TYPICAL.values()) {
    for (let length = 7; length < frame.length + 3; length++) {
      const cut = new Uint8Array(length);
      cut.set(frame.subarray(0, length));
      new DataView(cut.buffer).setUint32(0, length, true);
      frames.push(cut);
    }
    for (let at = 7; at < frame.length; at++) {
      for (const byte of [0, 1, 0x80, 0xff]) {
        const changed = frame.slice();
        changed[at] = byte;
        frames.push(changed);
      }
    }
  }
  for (const frame of frames) {
    assertEquals(attempt(frame, dialect9P2000), attempt(frame, walked));
  }
});

/** The message that decode() returns, or the text of its error. */
function attempt(frame: Uint8Array, dialect: Dialect): Message | string {
  try {
    return decode(frame, dialect);
  } catch (error) {
    assertInstanceOf(error, ProtocolError);
    return error.message;
  }
}

test("decode() tells texts apart whose bytes are alike", () => {
  // Their hashes meet: what decode() remembers must not stand in for another.
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 2000; i++) {
      const wname = [`name${i}`, `${i}`, `N${i}`];
      const frame = encode({ type: "Twalk", tag: 1, fid: 1, newfid: 2, wname });
      const message = decode(frame);
      assert(message.type === "Twalk");
      assertEquals(message.wname, wname);
    }
  }
});

test("decode() gives data as a view into the frame", () => {
  const frame = encode({ type: "Rread", tag: 1, data: unhex("0102") });
  const message = decode(frame);
  assert(message.type === "Rread");
  assertStrictEquals(message.data.buffer, frame.buffer);
  assertEquals(message.data.byteOffset, frame.byteOffset + 11);
});

test("encodeInto() writes at an offset, and nowhere else", () => {
  for (const { name, message, frame } of VECTORS) {
    for (const offset of [0, 1, 7]) {
      const target = new Uint8Array(offset + frame.length + 3).fill(0xaa);
      const length = encodeInto(message, target, { offset });
      assertEquals(length, frame.length, name);
      const expected = new Uint8Array(target.length).fill(0xaa);
      expected.set(frame, offset);
      assert(equals(target, expected), name);
    }
  }
});

test("encodeInto() fills an exact buffer and refuses one byte less", () => {
  for (const { name, message, frame } of VECTORS) {
    const exact = new Uint8Array(frame.length);
    assertEquals(encodeInto(message, exact), frame.length, name);
    assert(equals(exact, frame), name);
    for (const offset of [1, frame.length, frame.length + 1]) {
      assertThrows(
        () => encodeInto(message, exact, { offset }),
        RangeError,
        `Cannot encode ${message.type}: `,
      );
    }
    assertThrows(
      () => encodeInto(message, new Uint8Array(frame.length - 1)),
      RangeError,
      "do not fit into a buffer",
    );
  }
});

test("encodeInto() can use a buffer again after an error", () => {
  const { message, frame } = TYPICAL.get("Twalk")!; // The vectors have it.
  const buffer = new Uint8Array(frame.length + 100);
  const bad = spoil(message, { wname: ["good", "bad\0"] });
  for (let i = 0; i < 2; i++) {
    assertThrows(() => encodeInto(bad, buffer), RangeError);
    assertEquals(encodeInto(message, buffer), frame.length);
    assert(equals(buffer.subarray(0, frame.length), frame));
  }
});

test("malformed frames are refused with a ProtocolError", () => {
  const seen = new Set<string>();
  for (const row of [...malformed(), ...malformedReplies()]) {
    seen.add(row.name);
    const splitter = new FrameSplitter(row.msize);
    splitter.push(row.frame);
    if (LOST_FRAMES.includes(row.name)) {
      assertThrows(() => splitter.next(), ProtocolError, "follow the stream");
      continue;
    }
    const frame = splitter.next();
    assert(frame !== undefined && equals(frame, row.frame), row.name);
    assertEquals(splitter.next(), undefined, row.name);
    assertEquals(splitter.pending, 0, row.name);
    const message = tryDecode(frame, row.name);
    assertEquals(
      message !== undefined,
      LEGAL_FRAMES.includes(row.name),
      row.name,
    );
  }
  for (const name of LEGAL_FRAMES) assert(seen.has(name), name);
});

test("the errors of decode() name the message and the field", () => {
  const frames = new Map(
    [...malformed(), ...malformedReplies()].map((row) => [row.name, row.frame]),
  );
  const texts: [name: string, text: string][] = [
    ["unknown type 0", "a message: type 0 is unknown in 9P2000"],
    ["type 106, Terror", "a message: type 106 is unknown in 9P2000"],
    ["short body: Tversion", 'Tversion: "msize" needs 4 bytes, 0 are left'],
    ["short body: Tauth without aname", 'Tauth: "aname" needs 2 bytes'],
    ["short body: Twalk without nwname", 'Twalk: "wname" needs 2 bytes'],
    ["short body: Topen without mode", 'Topen: "mode" needs 1 bytes'],
    ["short body: Tread", 'Tread: "count" needs 4 bytes, 0 are left'],
    ["Twrite count 2^32-1", 'Twrite: "data" needs 4294967295 bytes, 4 are'],
    ["Twrite count one below the data", "Twrite: 1 bytes behind the last"],
    ["Twalk nwname 17", "Twalk: nwname is 17, the maximum is 16"],
    ["Twalk nwname 65535", "Twalk: nwname is 65535, the maximum is 16"],
    ["Rwalk of 17 qids", "Rwalk: nwqid is 17, the maximum is 16"],
    ["Rwalk qid cut off", 'Rwalk: "wqid" needs 13 bytes'],
    ["trailing byte: Tclunk", "Tclunk: 1 bytes behind the last field"],
    ["a .u Tattach on a plain session", "Tattach: 4 bytes behind the last"],
    ["NUL in a walked name", 'Twalk: "wname" has a NUL'],
    ["NUL in a created name", 'Tcreate: "name" has a NUL'],
    ["overlong UTF-8 for a slash", 'Twalk: "wname" is not UTF-8'],
    ["UTF-8 surrogate", 'Twalk: "wname" is not UTF-8'],
    ["invalid UTF-8 in uname", 'Tattach: "uname" is not UTF-8'],
    ["Twstat outer size too small", 'Twstat: "n" is 48, the record has 49'],
    ["Twstat inner size 0", "Twstat: the size of a stat record is 0"],
    ["Twstat empty stat", 'Twstat: "stat" needs 2 bytes'],
    ["Rstat inner size wrong", "Rstat: the size of a stat record is 99"],
  ];
  for (const [name, text] of texts) {
    const frame = frames.get(name);
    assert(frame !== undefined, name);
    assertThrows(() => decode(frame), ProtocolError, `Cannot decode ${text}`);
  }
});

test("decode() refuses every strict prefix of a frame", () => {
  for (const { name, frame } of VECTORS) {
    for (let end = 0; end < frame.length; end++) {
      const cut = frame.slice(0, end);
      assertEquals(tryDecode(cut, name), undefined, `${name} cut at ${end}`);
      setSize(cut);
      assertEquals(tryDecode(cut, name), undefined, `${name} cut at ${end}`);
    }
  }
});

test("decode() refuses every frame with a byte too many", () => {
  for (const { name, frame } of VECTORS) {
    for (const byte of [0, 1, 0x41, 0xff]) {
      const long = concat([frame, new Uint8Array([byte])]);
      assertEquals(tryDecode(long, name), undefined, name);
      assertEquals(tryDecode(setSize(long), name), undefined, name);
    }
  }
});

test("decode() refuses a size field that is not the frame's", () => {
  for (const { name, frame } of VECTORS) {
    for (
      const size of [0, 6, 7, frame.length - 1, frame.length + 1, 2 ** 32 - 1]
    ) {
      if (size === frame.length) continue;
      const other = frame.slice();
      new DataView(other.buffer).setUint32(0, size, true);
      assertEquals(tryDecode(other, name), undefined, name);
    }
  }
});

test("decode() of a frame with one byte changed fails cleanly or is exact", () => {
  const random = new Random(2000);
  let passed = 0;
  let refused = 0;
  for (const { name, frame } of VECTORS) {
    const work = frame.slice();
    for (let at = 0; at < frame.length; at++) {
      // Of the long ones, all of the start and some of the rest.
      if (at > 400 && random.below(50) > 0) continue;
      for (
        const byte of [
          0,
          0xff,
          work[at] ^ 1,
          work[at] ^ 0x80,
          random.below(256),
        ]
      ) {
        work[at] = byte;
        const what = `${name}: byte ${at} is ${byte}`;
        const message = tryDecode(work, what);
        if (message === undefined) refused++;
        else {
          passed++;
          const again = encode(message);
          if (message.type === "Rerror" && message.ename.includes("\ufffd")) {
            assertEquals(decode(again), message, what); // Bad UTF-8 was replaced.
          } else {
            assert(equals(again, work), what);
          }
        }
        work[at] = frame[at];
      }
    }
  }
  assert(passed > 10_000 && refused > 10_000, `${passed}, ${refused}`);
});

test("decode() of bytes by chance fails cleanly", () => {
  const random = new Random(31);
  const codes = [...dialect9P2000.byType.values()].map((row) => row.code);
  for (let i = 0; i < 5000; i++) {
    const frame = setSize(concat([new Uint8Array(7), random.bytes(120)]));
    frame[4] = random.pick(codes);
    const message = tryDecode(frame, hex(frame));
    if (message !== undefined && message.type !== "Rerror") {
      assert(equals(encode(message), frame), hex(frame));
    }
  }
});

// P-45.
test("decode() knows the 31 numbers and no others", () => {
  for (let code = 0; code < 256; code++) {
    const frame = unhex("07000000000100");
    frame[4] = code;
    const known = dialect9P2000.byCode[code] !== undefined;
    const error = known
      ? undefined
      : `Cannot decode a message: type ${code} is unknown in 9P2000`;
    if (error) assertThrows(() => decode(frame), ProtocolError, error);
    else tryDecode(frame, `type ${code}`);
  }
});

test("decode() replaces bad UTF-8 in an error text only", () => {
  // size[4] Rerror tag[2] ename[s]
  const frame = unhex("0c000000 6b 0100 0300 61ff62");
  assertEquals(decode(frame), { type: "Rerror", tag: 1, ename: "a\ufffdb" });
  // size[4] Rversion tag[2] msize[4] version[s]
  assertThrows(
    () => decode(unhex("10000000 65 0100 00200000 0300 61ff62")),
    ProtocolError,
    'Cannot decode Rversion: "version" is not UTF-8',
  );
});

test("decode() refuses a NUL in an error text", () => {
  assertThrows(
    () => decode(unhex("0c000000 6b 0100 0300 610062")),
    ProtocolError,
    'Cannot decode Rerror: "ename" has a NUL',
  );
});

test("decode() refuses bad UTF-8 and NUL in short and long texts", () => {
  const spoiled: [bytes: string, text: string][] = [
    ["00", "has a NUL"],
    ["80", "is not UTF-8"],
    ["c0 80", "is not UTF-8"], // overlong NUL
    ["c1 bf", "is not UTF-8"], // overlong DEL
    ["e0 80 af", "is not UTF-8"], // overlong slash
    ["ed a0 80", "is not UTF-8"], // high surrogate
    ["ed bf bf", "is not UTF-8"], // low surrogate
    ["ed a0 bd ed b8 80", "is not UTF-8"], // pair of surrogates
    ["f0 80 80 af", "is not UTF-8"], // overlong slash
    ["f4 90 80 80", "is not UTF-8"], // above U+10FFFF
    ["f8 88 80 80 80", "is not UTF-8"], // five bytes
    ["fe ff", "is not UTF-8"],
    ["e2 82", "is not UTF-8"], // cut
  ];
  for (const ascii of [0, 1, 10, 36, 37, 38, 39, 40, 41, 100, 1000]) {
    for (const [bytes, text] of spoiled) {
      const name = concat([new Uint8Array(ascii).fill(0x61), unhex(bytes)]);
      const length = new Uint8Array([name.length, name.length >> 8]);
      // size[4] Tversion tag[2] msize[4] version[s]
      const frame = setSize(
        concat([unhex("00000000 64 ffff 00200000"), length, name]),
      );
      assertThrows(
        () => decode(frame),
        ProtocolError,
        `Cannot decode Tversion: "version" ${text}`,
      );
    }
  }
});

test("names go through unchanged, whatever their characters", () => {
  const names = [
    "\ufeffname", // a byte order mark is a part of the name
    "\ufeff",
    "\ufeff" + "long".repeat(20),
    "e\u0301", // decomposed
    "\u00e9", // composed
    "\u1e9b\u0323",
    "\u00df\u0130\u0131",
    "\u00e9\u65e5\u{1f600}", // 2, 3 and 4 bytes
    "\u{10ffff}\ufffd\uffff",
    "\x01\x7f",
    "..",
    "a/b",
    "",
    "x".repeat(39),
    "x".repeat(40),
    "x".repeat(41),
    "x".repeat(255),
  ];
  const message: Message = {
    type: "Twalk",
    tag: 1,
    fid: 0,
    newfid: 1,
    wname: [],
  };
  for (const name of names) {
    const decoded = decode(encode({ ...message, wname: [name, name] }));
    assert(decoded.type === "Twalk");
    assertStrictEquals(decoded.wname[0], name);
    assertStrictEquals(decoded.wname[1], name);
  }
  assertEquals(
    hex(encode({ ...message, wname: ["\ufeffe\u0301"] })),
    // size[4] Twalk tag[2] fid[4] newfid[4] nwname[2] wname[s]
    "19000000" + "6e" + "0100" + "00000000" + "01000000" + "0100" +
      "0600efbbbf65cc81",
  );
});

test("encode() takes a text of 65535 bytes and refuses one more", () => {
  const version = (text: string): Message => ({
    type: "Tversion",
    tag: NOTAG,
    msize: 8192,
    version: text,
  });
  for (const text of ["x".repeat(65535), "\u65e5".repeat(21845)]) {
    const message = version(text);
    const frame = encode(message);
    assertEquals(frame.length, 13 + 65535);
    assertEquals(decode(frame), message);
    assertEquals(
      encodeInto(message, new Uint8Array(frame.length)),
      frame.length,
    );
  }
  const long = [
    "x".repeat(65536),
    "\u65e5".repeat(21845) + "x",
    "\u00e9".repeat(32768),
    "\u{1f600}".repeat(16384),
  ];
  for (const text of long) {
    const error = 'Cannot encode Tversion: "version" has 65536 bytes';
    assertThrows(() => encode(version(text)), RangeError, error);
    assertThrows(
      () => encodeInto(version(text), new Uint8Array(70_000)),
      RangeError,
      error,
    );
  }
});

test("encode() refuses NUL and halves of surrogate pairs in every text", () => {
  const bad: [text: string, error: string][] = [
    ["\0", "has a NUL"],
    ["name\0", "has a NUL"],
    ["\u00e9\0", "has a NUL"],
    ["\ud800", "has half of a surrogate pair"],
    ["a\udc00b", "has half of a surrogate pair"],
    ["\ude00\ud83d", "has half of a surrogate pair"],
    ["x".repeat(60) + "\ud83d", "has half of a surrogate pair"],
  ];
  const buffer = new Uint8Array(8192);
  let fields = 0;
  for (const { message } of TYPICAL.values()) {
    for (const [field, value] of Object.entries(message)) {
      const isList = field === "wname";
      if (field === "type" || (typeof value !== "string" && !isList)) continue;
      fields++;
      for (const [text, error] of bad) {
        const spoiled = spoil(message, {
          [field]: isList ? ["ok", text] : text,
        });
        const full = `Cannot encode ${message.type}: "${field}" ${error}`;
        assertThrows(() => encode(spoiled), RangeError, full);
        assertThrows(() => encodeInto(spoiled, buffer), RangeError, full);
      }
    }
  }
  assertEquals(fields, 11);
});

test("encode() refuses numbers out of range in every field", () => {
  const most: Record<string, number> = {
    tag: 0xffff,
    oldtag: 0xffff,
    err: 0xffff,
    mode: 0xff,
  };
  const buffer = new Uint8Array(8192);
  const refuse = (message: Message, field: string, bad: unknown) => {
    const spoiled = spoil(message, { [field]: bad });
    const text = `Cannot encode ${message.type}: "${field}" is`;
    assertThrows(() => encode(spoiled), RangeError, text);
    assertThrows(() => encodeInto(spoiled, buffer), RangeError, text);
  };
  let fields = 0;
  for (const { message } of TYPICAL.values()) {
    for (const [field, value] of Object.entries(message)) {
      if (typeof value === "number") {
        const max = most[field] ?? 0xffffffff;
        for (
          const bad of [-1, max + 1, 0.5, NaN, Infinity, -Infinity, 2 ** 53]
        ) {
          refuse(message, field, bad);
        }
        assertEquals(decode(encode(spoil(message, { [field]: max }))), {
          ...message,
          [field]: max,
        });
      } else if (typeof value === "bigint") {
        for (const bad of [-1n, 2n ** 64n, 2n ** 70n]) {
          refuse(message, field, bad);
        }
      } else if (field === "qid" || field === "aqid") {
        refuse(message, field, { type: 256, vers: 0, path: 0n });
        refuse(message, field, { type: -1, vers: 0, path: 0n });
        refuse(message, field, { type: 0, vers: 2 ** 32, path: 0n });
        refuse(message, field, { type: 0, vers: 1.5, path: 0n });
        refuse(message, field, { type: 0, vers: 0, path: -1n });
        refuse(message, field, { type: 0, vers: 0, path: 2n ** 64n });
      } else continue;
      fields++;
    }
  }
  assertEquals(fields, 67);
});

test("encode() takes 16 names and qids and refuses 17", () => {
  const qid = { type: 0, vers: 0, path: 0n };
  for (const count of [0, 1, 16]) {
    const walk: Message = {
      type: "Twalk",
      tag: 1,
      fid: 0,
      newfid: 1,
      wname: Array<string>(count).fill("x"),
    };
    assertEquals(decode(encode(walk)), walk);
    const reply: Message = {
      type: "Rwalk",
      tag: 1,
      wqid: Array(count).fill(qid),
    };
    assertEquals(decode(encode(reply)), reply);
  }
  const wname = Array<string>(17).fill("x");
  assertThrows(
    () => encode({ type: "Twalk", tag: 1, fid: 0, newfid: 1, wname }),
    RangeError,
    "Cannot encode Twalk: nwname is 17, the maximum is 16",
  );
  assertThrows(
    () => encode({ type: "Rwalk", tag: 1, wqid: Array(17).fill(qid) }),
    RangeError,
    "Cannot encode Rwalk: nwqid is 17, the maximum is 16",
  );
});

test("encode() refuses a message that the dialect does not have", () => {
  for (const type of ["Terror", "Tlopen", "__proto__", "", undefined]) {
    const message = spoil({ type: "Rflush", tag: 1 }, { type });
    assertThrows(
      () => encode(message),
      TypeError,
      `Cannot encode a message of type "${type}" in 9P2000`,
    );
    assertThrows(() => encodeInto(message, new Uint8Array(99)), TypeError);
  }
});

// C-71.
test("isTmessage() and isRmessage() part all messages", () => {
  for (const { type, code } of dialect9P2000.byType.values()) {
    const message = spoil({ type: "Rflush", tag: 1 }, { type });
    assertEquals(isTmessage(message), code % 2 === 0, type);
    assertEquals(isRmessage(message), code % 2 === 1, type);
  }
});

test("a reply has the number of its request plus one", () => {
  for (const { type, code } of dialect9P2000.byType.values()) {
    if (type.startsWith("R")) continue;
    assertEquals(dialect9P2000.byCode[code + 1]?.type, `R${type.slice(1)}`);
  }
});

test("formatMessage() shows text whose cut would divide a character", () => {
  const data = new TextEncoder().encode("a".repeat(63) + "äöü".repeat(10));
  const shown = formatMessage({ type: "Rread", tag: 1, data });
  assert(shown.includes(`123 "${"a".repeat(63)}"…`), shown);
});
