// From bytes to frames and messages, however the stream was cut; and the
// buffer that grows, in which client and server collect frames.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { concat, equals } from "@std/bytes";
import {
  encode,
  FrameSplitter,
  type Message,
  ProtocolError,
  readMessages,
  writeMessage,
} from "../../codec.ts";
import { dialect9P2000, getMessage, putMessage } from "../../codec/layout.ts";
import { Splitter } from "../../codec/frames.ts";
import { cutUtf8, utf8Length, Writer } from "../../codec/wire.ts";
import { test } from "../harness.ts";
import { hex, messageVectors, Random, unhex } from "./vectors.ts";

const VECTORS = messageVectors();
const STREAM = concat(VECTORS.map((vector) => vector.frame));
const MSIZE = 8192;

/** Pushes chunks and takes all frames; each is copied, as the chunk may go. */
function split(splitter: FrameSplitter, chunks: Uint8Array[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (const chunk of chunks) {
    const work = chunk.slice();
    splitter.push(work);
    for (let f = splitter.next(); f !== undefined; f = splitter.next()) {
      frames.push(f.slice());
    }
    // A frame that crosses chunks must not need the chunks before.
    work.fill(0xee);
  }
  return frames;
}

function assertFrames(actual: Uint8Array[], what: string): void {
  assertEquals(actual.length, VECTORS.length, what);
  VECTORS.forEach(({ name, frame }, i) => {
    assert(equals(actual[i], frame), `${what}: ${name}: ${hex(actual[i])}`);
  });
}

/** The bytes, cut into chunks by chance. */
function chop(bytes: Uint8Array, random: Random, most: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = random.below(most + 1);
    chunks.push(bytes.slice(at, at + length));
    at += length;
  }
  return chunks;
}

function streamOf(chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  const rest = [...chunks];
  return new ReadableStream({
    pull(controller) {
      const chunk = rest.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(chunk);
    },
  });
}

async function collect(messages: AsyncIterable<Message>): Promise<Message[]> {
  const all: Message[] = [];
  // `data` lives until the next message is asked for.
  for await (const message of messages) all.push(structuredClone(message));
  return all;
}

test("FrameSplitter gives all frames of one chunk, as views", () => {
  const splitter = new FrameSplitter(MSIZE);
  splitter.push(STREAM);
  for (const { name, frame } of VECTORS) {
    const given = splitter.next();
    assert(given !== undefined && equals(given, frame), name);
    assertStrictEquals(given.buffer, STREAM.buffer, name);
  }
  assertEquals(splitter.next(), undefined);
  assertEquals(splitter.pending, 0);
});

test("FrameSplitter puts frames together from single bytes", () => {
  const bytes = Array.from(STREAM, (byte) => new Uint8Array([byte]));
  assertFrames(split(new FrameSplitter(MSIZE), bytes), "single bytes");
});

test("FrameSplitter bears every split of the first frames", () => {
  const start = STREAM.slice(0, 400);
  const whole = split(new FrameSplitter(MSIZE), [start]);
  for (let cut = 0; cut <= start.length; cut++) {
    const splitter = new FrameSplitter(MSIZE);
    const frames = split(splitter, [start.slice(0, cut), start.slice(cut)]);
    assertEquals(frames.length, whole.length, `cut at ${cut}`);
    assert(frames.every((f, i) => equals(f, whole[i])), `cut at ${cut}`);
  }
});

test("FrameSplitter bears every pair of splits of two frames", () => {
  const [a, b] = [VECTORS[0].frame, VECTORS[7].frame];
  const both = concat([a, b]);
  for (let i = 0; i <= both.length; i++) {
    for (let j = i; j <= both.length; j++) {
      const frames = split(new FrameSplitter(MSIZE), [
        both.slice(0, i),
        both.slice(i, j),
        both.slice(j),
      ]);
      assertEquals(frames.map(hex), [hex(a), hex(b)], `cut at ${i}, ${j}`);
    }
  }
});

test("FrameSplitter bears chunks of any size", () => {
  const random = new Random(4);
  for (const most of [1, 2, 3, 5, 7, 8, 13, 64, 1000, 10_000]) {
    const chunks = chop(STREAM, random, most);
    assertFrames(split(new FrameSplitter(MSIZE), chunks), `chunks to ${most}`);
  }
});

test("FrameSplitter gives every message to a reader on the chunk", () => {
  const random = new Random(5);
  for (const most of [3, 30, 3000]) {
    const splitter = new Splitter(MSIZE);
    const messages: Message[] = [];
    for (const chunk of chop(STREAM, random, most)) {
      splitter.push(chunk);
      while (splitter.advance()) messages.push(getMessage(splitter.reader));
      splitter.spill();
    }
    assertEquals(messages, VECTORS.map((vector) => vector.message));
  }
});

test("Splitter goes on behind a frame that does not decode", () => {
  const good = VECTORS[0];
  // size[4] Twstat tag[2] fid[4] stat[n]: the record's size is one too much
  const bad = encode({
    type: "Twstat",
    tag: 1,
    fid: 0,
    stat: new Random(1).stat(),
  });
  bad[13]++;
  for (const most of [1, 10, 1000]) {
    const splitter = new Splitter(MSIZE);
    const seen: (Message | undefined)[] = [];
    const bytes = concat([good.frame, bad, good.frame, bad, good.frame]);
    for (const chunk of chop(bytes, new Random(2), most)) {
      splitter.push(chunk);
      while (splitter.advance()) {
        try {
          seen.push(getMessage(splitter.reader));
        } catch (error) {
          assertInstanceOf(error, ProtocolError);
          seen.push(undefined);
        }
      }
      splitter.spill();
    }
    const { message } = good;
    assertEquals(seen, [message, undefined, message, undefined, message]);
  }
});

test("FrameSplitter refuses a size below 7 or above msize at its fourth byte", () => {
  const sizes: [size: number, text: string][] = [
    [0, "a frame of size 0, the minimum is 7"],
    [1, "a frame of size 1, the minimum is 7"],
    [2, "a frame of size 2, the minimum is 7"],
    [3, "a frame of size 3, the minimum is 7"],
    [4, "a frame of size 4, the minimum is 7"],
    [5, "a frame of size 5, the minimum is 7"],
    [6, "a frame of size 6, the minimum is 7"],
    [MSIZE + 1, "a frame of size 8193, the maximum is 8192"],
    [2 ** 31, "a frame of size 2147483648, the maximum is 8192"],
    [2 ** 32 - 1, "a frame of size 4294967295, the maximum is 8192"],
  ];
  for (const [size, text] of sizes) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, size, true);
    for (const before of [new Uint8Array(0), VECTORS[0].frame]) {
      for (const cut of [0, 1, 2, 3, 4]) {
        const splitter = new FrameSplitter(MSIZE);
        const chunks = [before, bytes.slice(0, cut), bytes.slice(cut)];
        assertThrows(
          () => split(splitter, chunks),
          ProtocolError,
          `Cannot follow the stream: ${text}`,
        );
        // It stays refused.
        assertThrows(() => splitter.next(), ProtocolError, text);
      }
    }
  }
});

test("FrameSplitter takes frames of 7 and of exactly msize", () => {
  const small = unhex("07000000 6d 0100");
  const large = new Uint8Array(MSIZE).fill(0x55);
  new DataView(large.buffer).setUint32(0, MSIZE, true);
  const bytes = concat([small, large, small]);
  for (const most of [4096, 9000]) {
    const chunks = chop(bytes, new Random(3), most);
    const frames = split(new FrameSplitter(MSIZE), chunks);
    assertEquals(frames.map((frame) => frame.length), [7, MSIZE, 7]);
  }
});

test("FrameSplitter obeys an msize that is set in mid-stream", () => {
  const frame = new Uint8Array(300);
  new DataView(frame.buffer).setUint32(0, 300, true);
  const bytes = concat([frame, frame, frame]);
  const splitter = new FrameSplitter(MSIZE);
  splitter.push(bytes);
  assertEquals(splitter.next()?.length, 300);
  splitter.msize = 299;
  assertEquals(splitter.msize, 299);
  assertThrows(() => splitter.next(), ProtocolError, "the maximum is 299");
  splitter.msize = 300;
  assertEquals(splitter.next()?.length, 300);
  assertEquals(splitter.next()?.length, 300);
  assertEquals(splitter.next(), undefined);
  // Raised between the parts of a frame's size field.
  splitter.push(unhex("2d01"));
  assertEquals(splitter.next(), undefined);
  splitter.msize = 301;
  splitter.push(unhex("0000"));
  assertEquals(splitter.next(), undefined);
  assertEquals(splitter.pending, 4);
});

test("FrameSplitter counts what is pending and refuses a push too early", () => {
  const { frame } = VECTORS[0];
  const splitter = new FrameSplitter(MSIZE);
  assertEquals(splitter.pending, 0);
  splitter.push(concat([frame, frame.subarray(0, 3)]));
  assertEquals(splitter.pending, frame.length + 3);
  assertThrows(() => splitter.push(frame), TypeError, "Cannot push a chunk");
  assertEquals(splitter.next(), frame);
  assertEquals(splitter.pending, 3);
  assertEquals(splitter.next(), undefined);
  assertEquals(splitter.pending, 3);
  splitter.push(new Uint8Array(0));
  assertEquals(splitter.next(), undefined);
  splitter.push(frame.subarray(3));
  assertEquals(splitter.next(), frame);
  assertEquals(splitter.pending, 0);
});

// C-73.
test("readMessages() gives all messages, however the stream is cut", async () => {
  const random = new Random(6);
  for (const most of [1, 7, 100, 100_000]) {
    const stream = streamOf(chop(STREAM, random, most));
    assertEquals(
      await collect(readMessages(stream)),
      VECTORS.map((vector) => vector.message),
    );
    assertEquals(stream.locked, false);
  }
});

test("readMessages() of an empty stream gives nothing", async () => {
  assertEquals(await collect(readMessages(streamOf([]))), []);
  const empty = streamOf([new Uint8Array(0), new Uint8Array(0)]);
  assertEquals(await collect(readMessages(empty)), []);
});

test("readMessages() reports a stream that ends inside a frame", async () => {
  const { message, frame } = VECTORS[0];
  for (const chunked of [1, 1000]) {
    for (let end = 1; end < frame.length; end++) {
      const bytes = concat([frame, frame.subarray(0, end)]);
      const stream = streamOf(chop(bytes, new Random(7), chunked));
      const seen: Message[] = [];
      const error = await assertRejects(async () => {
        for await (const message of readMessages(stream)) seen.push(message);
      }, ProtocolError);
      assertEquals(
        error.message,
        `Cannot read a message: the stream ended ${end} bytes into it`,
      );
      assertEquals(seen, [message]);
      assertEquals(stream.locked, false);
    }
  }
});

test("readMessages() reports malformed frames and its limit", async () => {
  const { frame } = VECTORS[0]; // 19 bytes
  const fine = await collect(readMessages(streamOf([frame]), { msize: 19 }));
  assertEquals(fine.length, 1);
  const cases: [bytes: Uint8Array, msize: number | undefined, text: string][] =
    [
      [frame, 18, "a frame of size 19, the maximum is 18"],
      [unhex("07000000 6a 0100"), undefined, "type 106 is unknown"],
      [unhex("06000000 6d 01"), undefined, "the minimum is 7"],
      // One above the default of 1 MiB and 24.
      [unhex("19001000 6d 0100"), undefined, "the maximum is 1048600"],
    ];
  for (const [bytes, msize, text] of cases) {
    const stream = streamOf([bytes]);
    const options = msize === undefined ? {} : { msize };
    await assertRejects(
      () => collect(readMessages(stream, options)),
      ProtocolError,
      text,
    );
    assertEquals(stream.locked, false);
  }
});

test("readMessages() passes on the error of its stream", async () => {
  const cause = new Error("the stream died");
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.error(cause),
  });
  const error = await assertRejects(() => collect(readMessages(stream)));
  assertStrictEquals(error, cause);
  assertEquals(stream.locked, false);
});

test("readMessages() releases the stream when its loop is left", async () => {
  const [a, b] = VECTORS;
  const stream = streamOf([a.frame, b.frame]);
  for await (const message of readMessages(stream)) {
    assertEquals(message, a.message);
    break;
  }
  assertEquals(stream.locked, false);
  assertEquals(await collect(readMessages(stream)), [b.message]);
});

test("writeMessage() and readMessages() meet over a stream", async () => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const send = async () => {
    for (const { message } of VECTORS) await writeMessage(writable, message);
    assertEquals(writable.locked, false);
    await writable.close();
  };
  const [messages] = await Promise.all([
    collect(readMessages(readable)),
    send(),
  ]);
  assertEquals(messages, VECTORS.map((vector) => vector.message));
});

// C-72.
test("writeMessage() makes one write, and none of a bad message", async () => {
  const writes: Uint8Array[] = [];
  const writable = new WritableStream<Uint8Array>({
    write: (chunk) => void writes.push(chunk),
  });
  const { message, frame } = VECTORS[0];
  await assertRejects(
    () => writeMessage(writable, { type: "Tclunk", tag: 1, fid: -1 }),
    RangeError,
    'Cannot encode Tclunk: "fid" is -1',
  );
  await writeMessage(writable, message, { dialect: dialect9P2000 });
  assertEquals(writes, [frame]);
  assertEquals(writable.locked, false);
});

test("Writer grows at any byte of any message", () => {
  const small = VECTORS.filter(({ frame }) => frame.length < 150);
  for (const { name, message, frame } of small) {
    for (let room = 0; room <= frame.length; room++) {
      const writer = new Writer(new Uint8Array(room));
      putMessage(writer, message);
      const written = writer.bytes.subarray(0, writer.at);
      assert(equals(written, frame), `${name} from ${room} bytes`);
    }
  }
});

test("Writer collects messages one behind the other", () => {
  for (const room of [0, 1, 11, 64, 1000]) {
    const writer = new Writer(new Uint8Array(room));
    for (const { message } of VECTORS) putMessage(writer, message);
    assert(equals(writer.bytes.subarray(0, writer.at), STREAM));
  }
});

test("Writer drops a message that fails half-way and keeps the others", () => {
  const random = new Random(8);
  for (const room of [0, 30, 1000]) {
    const writer = new Writer(new Uint8Array(room));
    for (const { message } of VECTORS.slice(0, 40)) {
      const before = writer.at;
      const stat = { ...random.stat(), muid: "bad\0" };
      assertThrows(
        () => putMessage(writer, { type: "Rstat", tag: 1, stat }),
        RangeError,
        'Cannot encode Rstat: "stat" has a NUL',
      );
      assertEquals(writer.at, before);
      putMessage(writer, message);
    }
    const expected = concat(VECTORS.slice(0, 40).map(({ frame }) => frame));
    assert(equals(writer.bytes.subarray(0, writer.at), expected));
  }
});

test("utf8Length() and cutUtf8() agree with the encoder", () => {
  const random = new Random(10);
  const encoder = new TextEncoder();
  for (let i = 0; i < 300; i++) {
    const text = random.text(40);
    const bytes = encoder.encode(text);
    assertEquals(utf8Length(text), bytes.length);
    for (let limit = 0; limit <= bytes.length + 1; limit++) {
      const cut = cutUtf8(text, limit);
      assert(text.startsWith(cut));
      const length = encoder.encode(cut).length;
      // As long as can be: the next character does not fit any more.
      const next = String.fromCodePoint(text.codePointAt(cut.length) ?? 0);
      assert(cut.isWellFormed() && length <= limit);
      assert(cut === text || length + utf8Length(next) > limit);
    }
  }
  assertEquals(cutUtf8("abc", -1), "");
  assertEquals(cutUtf8("\u{1f600}", 3), "");
});
