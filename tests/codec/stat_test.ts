// Stat records and directory data.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { concat, equals } from "@std/bytes";
import {
  decode,
  decodeDir,
  decodeDirNames,
  decodeStat,
  dontTouch,
  encode,
  encodeDir,
  encodeStat,
  ProtocolError,
  type Stat,
  STATFIXLEN,
} from "../../codec.ts";
import { test } from "../harness.ts";
import {
  hex,
  malformedReplies,
  messageVectors,
  Random,
  unhex,
} from "./vectors.ts";

/** A record of 49 bytes and its texts. */
function statOf(name: string, changes: Partial<Stat> = {}): Stat {
  return {
    type: 0,
    dev: 0,
    qid: { type: 0, vers: 1, path: 2n },
    mode: 0o644,
    atime: 3,
    mtime: 4,
    length: 5n,
    name,
    uid: "",
    gid: "",
    muid: "",
    ...changes,
  };
}

// C-80, C-81.
test("encodeDir() and decodeDir() agree with the directory vectors", () => {
  const vectors = messageVectors().filter((vector) => vector.entries);
  assertEquals(vectors.map(({ entries }) => entries?.length), [1, 3, 100]);
  for (const { name, message, entries = [] } of vectors) {
    assert(message.type === "Rread");
    assertEquals(decodeDir(message.data), entries, name);
    assertEquals(hex(encodeDir(entries)), hex(message.data), name);
    assertEquals(
      decodeDirNames(message.data, { dotfiles: true }),
      entries.map((stat) => stat.name),
      name,
    );
    assertEquals(hex(concat(entries.map(encodeStat))), hex(message.data), name);
  }
});

test("encodeStat() and decodeStat() agree with the Rstat vectors", () => {
  for (const { name, message, frame } of messageVectors()) {
    if (message.type !== "Rstat") continue;
    // size[4] Rstat tag[2] n[2], then the record
    assertEquals(hex(encodeStat(message.stat)), hex(frame.subarray(9)), name);
    assertEquals(decodeStat(frame.subarray(9)), message.stat, name);
  }
});

// C-90.
test("dontTouch() has every bit one and no texts", () => {
  const bytes = unhex(
    "2f00 ffff ffffffff ff ffffffff ffffffffffffffff ffffffff ffffffff ffffffff " +
      "ffffffffffffffff 0000 0000 0000 0000",
  );
  assertEquals(bytes.length, STATFIXLEN);
  assertEquals(hex(encodeStat(dontTouch())), hex(bytes));
  assertEquals(decodeStat(bytes), dontTouch());
});

test("dontTouch() takes changes, zero and empty ones too", () => {
  const changes: Stat = statOf("x", {
    qid: { type: 0, vers: 0, path: 0n },
    mode: 0,
    atime: 0,
    mtime: 0,
    length: 0n,
    uid: "u",
    gid: "g",
    muid: "m",
  });
  assertEquals(dontTouch(changes), changes);
  for (const [field, value] of Object.entries(changes)) {
    assertEquals(dontTouch({ [field]: value }), {
      ...dontTouch(),
      [field]: value,
    });
  }
});

// C-93.
test("encodeDir() keeps to its limit and to whole records", () => {
  const a = statOf("1234567");
  const b = statOf("12345678");
  assertEquals([a, b].map((stat) => encodeStat(stat).length), [56, 57]);
  const both = concat([encodeStat(a), encodeStat(b)]);
  const lengths: [limit: number, length: number][] = [
    [0, 0],
    [1, 0],
    [55, 0],
    [56, 56],
    [57, 56],
    [58, 56],
    [112, 56],
    [113, 113],
    [114, 113],
  ];
  for (const [limit, length] of lengths) {
    const data = encodeDir([a, b], limit);
    assertEquals(hex(data), hex(both.subarray(0, length)), `limit ${limit}`);
    assertEquals(decodeDir(data), [a, b].slice(0, Math.ceil(length / 57)));
  }
  // The other way round, the first record is the longer one.
  for (const [limit, length] of [[56, 0], [57, 57], [112, 57], [113, 113]]) {
    assertEquals(encodeDir([b, a], limit).length, length, `limit ${limit}`);
  }
  // Equal ones: two of 56, two of 57 bytes.
  for (const [limit, length] of [[111, 56], [112, 112], [113, 112]]) {
    assertEquals(encodeDir([a, a], limit).length, length, `limit ${limit}`);
  }
  for (const [limit, length] of [[113, 57], [114, 114], [115, 114]]) {
    assertEquals(encodeDir([b, b], limit).length, length, `limit ${limit}`);
  }
});

test("encodeDir() leaves out all behind a record that does not fit", () => {
  const stats = [statOf("a"), statOf("b".repeat(100)), statOf("c")];
  assertEquals(decodeDirNames(encodeDir(stats, 120)), ["a"]);
});

test("encodeDir() takes any iterable and no limit", () => {
  const random = new Random(11);
  const stats = Array.from({ length: 300 }, () => random.stat());
  const data = encodeDir(stats.values());
  assertEquals(decodeDir(data), stats);
  assert(equals(data, concat(stats.map(encodeStat))));
  assertEquals(encodeDir([]).length, 0);
  assertEquals(decodeDir(new Uint8Array(0)), []);
});

test("encodeDir() stops asking for records when one did not fit", () => {
  let asked = 0;
  function* endless(): Generator<Stat> {
    while (true) {
      asked++;
      yield statOf("1234567");
    }
  }
  assertEquals(encodeDir(endless(), 200).length, 168);
  assertEquals(asked, 4);
});

test("decodeDirNames() leaves out names with a leading dot", () => {
  const names = [".", "..", ".profile", "a.b", "", "motd", ".\u00e9", "x."];
  const data = encodeDir(names.map((name) => statOf(name)));
  const visible = ["a.b", "", "motd", "x."];
  assertEquals(decodeDirNames(data), visible);
  assertEquals(decodeDirNames(data, { dotfiles: false }), visible);
  assertEquals(decodeDirNames(data, { dotfiles: true }), names);
});

test("decodeDir() refuses data that end inside a record", () => {
  const data = encodeDir([statOf("one"), statOf("two", { uid: "glenda" })]);
  const borders = [0, 52, 110];
  assertEquals(data.length, borders[2]);
  for (let end = 0; end <= data.length; end++) {
    const cut = data.subarray(0, end);
    if (borders.includes(end)) {
      assertEquals(decodeDir(cut).length, borders.indexOf(end));
      continue;
    }
    assertThrows(
      () => decodeDir(cut),
      ProtocolError,
      "Cannot decode directory data: ",
    );
    assertThrows(() => decodeDirNames(cut), ProtocolError);
  }
});

test("decodeDir() refuses a record with more in it than its fields", () => {
  const record = encodeStat(statOf("one"));
  const inner = encodeStat(dontTouch());
  // The first record claims the bytes of the second as its own.
  const data = concat([record, inner]);
  assertEquals(decodeDir(data).length, 2);
  data[0] += inner.length;
  assertThrows(
    () => decodeDir(data),
    ProtocolError,
    "Cannot decode directory data: 49 bytes behind the last field",
  );
});

test("decodeDir() judges the malformed replies with directory data", () => {
  const rows = malformedReplies()
    .filter((row) => row.name.startsWith("directory"));
  assertEquals(rows.length, 3);
  for (const { name, frame } of rows) {
    const message = decode(frame);
    assert(message.type === "Rread");
    if (name === "directory entry with a slash in its name") {
      assertEquals(decodeDirNames(message.data).length, 1);
    } else {
      assertThrows(() => decodeDir(message.data), ProtocolError, "", name);
    }
  }
});

test("decodeStat() refuses every size but the right one", () => {
  const right = encodeStat(statOf("name", { uid: "u", gid: "g", muid: "m" }));
  const sizes = Array.from({ length: 200 }, (_, size) => size);
  for (const size of [...sizes, 0xfffe, 0xffff]) {
    if (size === right.length - 2) continue;
    for (const extra of [0, 1, 300]) {
      const bytes = concat([right, new Uint8Array(extra)]);
      bytes[0] = size;
      bytes[1] = size >> 8;
      assertThrows(
        () => decodeStat(bytes),
        ProtocolError,
        "Cannot decode a stat record: ",
      );
    }
  }
  for (let end = 0; end < right.length; end++) {
    assertThrows(() => decodeStat(right.subarray(0, end)), ProtocolError);
  }
  assertThrows(
    () => decodeStat(concat([right, right])),
    ProtocolError,
    "bytes behind the last field",
  );
});

test("decodeStat() of a record with one byte changed fails cleanly or is exact", () => {
  const random = new Random(12);
  for (let i = 0; i < 100; i++) {
    const bytes = encodeStat(random.stat());
    const at = random.below(bytes.length);
    bytes[at] = random.below(256);
    let stat: Stat;
    try {
      stat = decodeStat(bytes);
    } catch (error) {
      assert(error instanceof ProtocolError, String(error));
      continue;
    }
    assert(equals(encodeStat(stat), bytes), hex(bytes));
  }
});

test("encodeStat() refuses what does not fit into its field", () => {
  const bad: [changes: Record<string, unknown>, text: string][] = [
    [{ type: 65536 }, "is 65536, the range is 0 to 65535"],
    [{ type: -1 }, "is -1"],
    [{ dev: 2 ** 32 }, "is 4294967296, the range is 0 to 4294967295"],
    [{ mode: -1 }, "is -1"],
    [{ atime: 1.5 }, "is 1.5"],
    [{ mtime: NaN }, "is NaN"],
    [{ length: -1n }, "is -1"],
    [{ length: 2n ** 64n }, "the range is 0 to 18446744073709551615"],
    [{ qid: { type: 256, vers: 0, path: 0n } }, "is out of range"],
    [{ qid: { type: 0, vers: -1, path: 0n } }, "is out of range"],
    [{ qid: { type: 0, vers: 0, path: 2n ** 64n } }, "is out of range"],
    [{ name: "a\0" }, "has a NUL"],
    [{ uid: "\udfff" }, "has half of a surrogate pair"],
    [{ gid: "x".repeat(65536) }, "has 65536 bytes"],
  ];
  for (const [changes, text] of bad) {
    // The point of the test: JavaScript callers have no types.
    const stat = { ...statOf("x"), ...changes } as Stat;
    assertThrows(() => encodeStat(stat), RangeError, text);
    assertThrows(() => encodeDir([statOf("ok"), stat]), RangeError, text);
    assertThrows(
      () => encode({ type: "Rstat", tag: 1, stat }),
      RangeError,
      text,
    );
    assertThrows(
      () => encode({ type: "Twstat", tag: 1, fid: 0, stat }),
      RangeError,
      text,
    );
  }
});

test("a stat record has at most 65535 bytes", () => {
  const name = "x".repeat(65535 - STATFIXLEN);
  const stat = statOf(name);
  assertEquals(encodeStat(stat).length, 65535);
  const frame = encode({ type: "Rstat", tag: 1, stat });
  assertEquals(decode(frame), { type: "Rstat", tag: 1, stat });
  for (const long of [statOf(name + "x"), statOf(name, { muid: "\u00e9" })]) {
    const text = "bytes, the maximum is 65535";
    assertThrows(() => encodeStat(long), RangeError, text);
    assertThrows(() => encodeDir([long]), RangeError, text);
    assertThrows(
      () => encode({ type: "Rstat", tag: 1, stat: long }),
      RangeError,
      text,
    );
  }
});
