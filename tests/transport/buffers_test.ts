// The buffers of a connection: they grow with what goes through them, and are
// given back when it is over.
import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { encode, FrameSplitter } from "../../codec.ts";
import type { Channel } from "../../transport/channel.ts";
import { Intake } from "../../transport/intake.ts";
import { Outbox } from "../../transport/outbox.ts";
import { test } from "../harness.ts";
import { Random } from "../codec/vectors.ts";

const MSIZE = 1024 * 1024;
const SMALL = encode({ type: "Tclunk", tag: 1, fid: 7 });

/** A channel whose reads and writes are functions. */
function channel(made: Partial<Channel>): Channel {
  return {
    peer: "test",
    read: () => Promise.resolve(null),
    write: () => undefined,
    closeWrite: () => Promise.resolve(),
    close: () => {},
    ...made,
  };
}

test("Outbox gives large buffers back after bulk writes", () => {
  let held = 0;
  const outbox = new Outbox(
    channel({
      write: (bytes) => {
        held = bytes.buffer.byteLength;
        return undefined;
      },
    }),
    (error) => {
      throw error;
    },
  );
  const flush = (data: Uint8Array) => {
    outbox.send({ type: "Rread", tag: 1, data });
    outbox.flush();
    return held;
  };
  assert(flush(new Uint8Array(MSIZE)) >= MSIZE);
  assert(flush(new Uint8Array(MSIZE)) >= MSIZE);
  let last = 0;
  for (let i = 0; i < 8; i++) last = flush(new Uint8Array(10));
  assert(last <= 256 * 1024, `${last} bytes`);
  flush(new Uint8Array(200 * 1024));
  for (let i = 0; i < 8; i++) last = flush(new Uint8Array(10));
  assert(last >= 200 * 1024, `${last} bytes: who lists directories needs it`);
  for (let i = 0; i < 64; i++) last = flush(new Uint8Array(10));
  assert(last <= 64 * 1024, `${last} bytes`);
});

for (const size of [100, 65_536, 100_000, 131_072, MSIZE]) {
  test(`Outbox keeps frames of ${size} bytes behind a write in parts, in order, and counts them`, async () => {
    const total = 40 * MSIZE;
    const count = total / size;
    let held = 0;
    let most = 0;
    let next = 0;
    const splitter = new FrameSplitter(2 * MSIZE);
    const gate = Promise.withResolvers<void>();
    const outbox = new Outbox(
      channel({
        write: (bytes) =>
          gate.promise.then(() => {
            splitter.push(bytes.slice());
            while (true) {
              const frame = splitter.next();
              if (frame === undefined) break;
              assertEquals(frame.length, 11 + size);
              assertEquals(frame[11], next++ % 251);
            }
          }),
      }),
      (error) => {
        throw error;
      },
      undefined,
      (bytes) => most = Math.max(most, held += bytes),
    );
    for (let i = 0; i < count; i++) {
      const data = new Uint8Array(size).fill(i % 251);
      outbox.send({ type: "Rread", tag: 1, data });
      if (i === 0) outbox.flush();
    }
    const bytes = Math.ceil(count) * (11 + size);
    assertEquals(outbox.untaken, bytes);
    assert(most <= bytes * 1.4 + MSIZE, `${most} bytes for ${bytes}`);
    gate.resolve();
    await outbox.drained();
    assertEquals([held, next], [0, Math.ceil(count)]);
  });
}

test("Outbox.drop() frees all buffers, and later frames are dropped", async () => {
  let held = 0;
  const gate = Promise.withResolvers<void>();
  const outbox = new Outbox(
    channel({ write: () => gate.promise }),
    (error) => {
      throw error;
    },
    undefined,
    (bytes) => held += bytes,
  );
  const send = () => {
    const data = new Uint8Array(MSIZE);
    for (let i = 0; i < 5; i++) outbox.send({ type: "Rread", tag: 1, data });
    outbox.flush();
  };
  send();
  assert(held >= 4 * MSIZE); // The last frame waits for its write in the writer.
  outbox.drop();
  assertEquals([held, outbox.untaken], [0, 0]);
  send();
  gate.resolve();
  await outbox.drained();
  assertEquals([held, outbox.untaken], [0, 0]);
});

test("Intake gives a large buffer back after bulk reads, and loses no byte", async () => {
  const bulk = encode({
    type: "Twrite",
    tag: 1,
    fid: 7,
    offset: 0n,
    data: new Uint8Array(MSIZE).fill(7),
  });
  const stream = new Uint8Array(2 * bulk.length + 20 * SMALL.length);
  stream.set(bulk);
  stream.set(bulk, bulk.length);
  for (let i = 0; i < 20; i++) stream.set(SMALL, 2 * bulk.length + i * 11);
  let at = 0;
  let room = 0;
  const intake = new Intake(
    channel({
      read: (buffer) => {
        room = buffer.length;
        if (at === stream.length) return Promise.resolve(null);
        // Small messages come one by one.
        const most = at < 2 * bulk.length ? 2 * bulk.length - at : SMALL.length;
        const count = Math.min(most, buffer.length);
        buffer.set(stream.subarray(at, at + count));
        at += count;
        return Promise.resolve(buffer.subarray(0, count));
      },
    }),
    2 * MSIZE,
  );
  const frames: number[] = [];
  let largest = 0;
  for (let chunk; (chunk = await intake.read()) !== null;) {
    largest = Math.max(largest, room);
    intake.push(chunk);
    while (intake.splitter.advance()) {
      const { at, end, bytes } = intake.splitter.reader;
      frames.push(end - at);
      assertEquals(bytes[end - 1], end - at === 11 ? 0 : 7);
    }
  }
  assertEquals(frames, [bulk.length, bulk.length, ...Array(20).fill(11)]);
  assert(largest >= 256 * 1024);
  assert(room <= 64 * 1024, `${room} bytes`);
});

/** Frames of many sizes, whose bytes are all their number. */
function framesOf(sizes: readonly number[]): Uint8Array {
  return concat(
    sizes.map((size, i) =>
      encode({ type: "Rread", tag: i, data: new Uint8Array(size).fill(i) })
    ),
  );
}

for (const holds of [false, true]) {
  const what = holds ? "which are held" : "which it gives back";
  test(`Intake takes frames out of chunks of the channel's own, ${what}`, async () => {
    const sizes = [1, 300, 5, 0, 2000, 7, 40, 900, 3, 3, 3, 5000, 1, 64];
    sizes.push(9000, 100, ...sizes, 9000, 8000);
    const stream = framesOf(sizes);
    let border = 0;
    const borders = sizes.map((size) => border += 11 + size);
    const random = new Random(7);
    for (let round = 0; round < 120; round++) {
      const most = [2, 7, 50, 1024, 4000, stream.length][round % 6];
      let at = 0;
      let owed = 0;
      const intake = new Intake(
        channel({
          read: (buffer) => {
            if (at >= stream.length) return Promise.resolve(null);
            const step = 1 + random.below(most);
            // Many end with a frame, so that none is under way.
            const end = random.below(2) === 0
              ? at + step
              : borders.find((border) => border >= at + step) ?? stream.length;
            const chunk = stream.slice(at, end);
            at = end;
            // Small ones may be in the buffer, as those of Bun and of pairs.
            if (chunk.length > buffer.length || random.below(2) === 0) {
              owed++;
              return Promise.resolve(chunk);
            }
            buffer.set(chunk);
            return Promise.resolve(buffer.subarray(0, chunk.length));
          },
          free: (chunk) => {
            owed--;
            chunk.fill(255); // Somebody else's now.
          },
        }),
        MSIZE,
      );
      const held: Uint8Array[] = [];
      for (let chunk; (chunk = await intake.read()) !== null;) {
        intake.push(chunk);
        while (intake.splitter.advance()) {
          const { at, end, bytes } = intake.splitter.reader;
          const frame = bytes.subarray(at, end);
          const holdsThis = holds && random.below(2) === 0;
          held.push(holdsThis ? frame : frame.slice());
          if (holdsThis) intake.hold();
        }
      }
      assertEquals(concat(held), stream, `round ${round}`);
      if (!holds) assertEquals(owed, 0);
    }
  });
}
