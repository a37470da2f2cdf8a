// The content of a file: blocks that look like one piece, and no more memory
// than that content needs.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { NinePError } from "../../../codec.ts";
import { FileData } from "../../../fs/memory/data.ts";
import { BLOCK, Quota } from "../../../fs/memory/quota.ts";
import { test } from "../../harness.ts";

const NONE = {
  maxFileSize: Infinity,
  maxSize: Infinity,
  maxFiles: Infinity,
};

/** Most bytes that may be held for so many. */
function most(length: number): number {
  return length === 0 ? 0 : Math.max(2 * length, 64);
}

/** Bytes that differ from those of other blocks and other seeds. */
function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + seed) % 251 + 1;
  return bytes;
}

/** Whole numbers below a bound, the same in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

test("FileData: holds at most twice its length, and a few bytes", () => {
  const data = new FileData(new Quota(NONE));
  assertEquals(data.capacity, 0);
  for (let length = 0; length < 3 * BLOCK;) {
    const piece = new Uint8Array(1 + (length >> 2));
    data.write(piece, length);
    length += piece.length;
    assert(data.capacity <= most(length), `${data.capacity} for ${length}`);
  }
  for (let { length } = data; length > 0; length = length * 3 >> 2) {
    data.resize(length);
    assert(data.capacity <= most(length), `${data.capacity} for ${length}`);
  }
  data.write(new Uint8Array(2 * BLOCK), 0);
  data.resize(1);
  assert(data.capacity <= 64, `${data.capacity} for 1`);
  data.resize(0);
  assertEquals(data.capacity, 0);
});

test("FileData: a length that goes to and fro is not copied each time", () => {
  const made = BLOCK / 2;
  for (const length of [made, made / 2, made / 3 | 0]) {
    for (const step of [-1, 0, 1]) { // Downwards, on the spot, upwards.
      const data = new FileData(new Quota(NONE));
      data.write(new Uint8Array(made), 0);
      data.write(new Uint8Array(1), made);
      let copies = 0;
      for (let i = 0, { capacity } = data; i < 100; i++) {
        const at = length + i * step;
        data.resize(at - 1);
        data.write(new Uint8Array(2), at - 1);
        if (data.capacity !== capacity) copies++;
        capacity = data.capacity;
      }
      assert(copies <= 2, `${copies} copies at ${length}, by ${step}`);
    }
  }
});

test("FileData: is like one array, whatever is written, cut and extended", () => {
  for (const size of [100, 3 * BLOCK]) {
    const quota = new Quota(NONE);
    const data = new FileData(quota);
    const model = new Uint8Array(size);
    const below = numbers(size);
    let length = 0;
    for (let round = 0; round < 60; round++) {
      const at = below(size);
      quota.giveBlock(new Uint8Array(BLOCK).fill(255)); // Used by another file.
      if (below(3) === 0) {
        data.resize(at);
        if (at < length) model.fill(0, at, length);
        length = at;
      } else {
        const piece = pattern(below(size - at) + 1, round);
        data.write(piece, at);
        model.set(piece, at);
        length = Math.max(length, at + piece.length);
      }
      assertEquals(data.length, length);
      const from = below(size);
      const count = below(size);
      const read = data.slice(from, count);
      const expected = model.subarray(0, length).subarray(from, from + count);
      assertEquals(read.length, expected.length, `round ${round}`);
      assert(same(read, expected), `round ${round}: ${from}, ${count}`);
      assert(same(data.copy(), model.subarray(0, length)), `round ${round}`);
      assert(data.capacity <= most(length), `${data.capacity} for ${length}`);
    }
  }
});

/** Tells whether bytes are the same; assertEquals() takes its time over millions. */
function same(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}

test("FileData: a read within a block is a view, one across blocks is whole", () => {
  const data = new FileData(new Quota(NONE));
  const bytes = pattern(2 * BLOCK + 10, 1);
  for (let at = 0; at < bytes.length; at += 65536) {
    data.write(bytes.subarray(at, at + 65536), at);
  }
  for (const start of [0, BLOCK, BLOCK + 7]) {
    const view = data.slice(start, 1000);
    assertEquals(view, bytes.subarray(start, start + 1000));
    assertEquals(view.buffer, data.slice(start + 1, 10).buffer);
  }
  const across = data.slice(BLOCK - 5, BLOCK + 10);
  assertEquals(across.length, BLOCK + 10);
  assert(same(across, bytes.subarray(BLOCK - 5, 2 * BLOCK + 5)));
  assertEquals(data.slice(2 * BLOCK, 100), bytes.subarray(2 * BLOCK));
  assertEquals(data.slice(bytes.length, 100).length, 0);
  assertEquals(data.slice(2 ** 53 - 1, 100).length, 0);
});

test("FileData: replace() puts another content in the place of all", () => {
  const data = new FileData(new Quota({ ...NONE, maxSize: 3 * BLOCK }));
  for (const length of [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 1, 5]) {
    const bytes = pattern(length, length);
    data.replace(bytes);
    assert(same(data.copy(), bytes), `${length} bytes`);
    assert(data.capacity <= most(length));
  }
});

test("FileData: gaps are zeros that cost nothing", () => {
  const data = new FileData(new Quota(NONE));
  data.resize(2 ** 50);
  assertEquals([data.length, data.capacity], [2 ** 50, 0]);
  assertEquals(data.slice(2 ** 49, 3), new Uint8Array(3));
  data.write(pattern(3, 1), 2 ** 52);
  assertEquals([data.length, data.capacity], [2 ** 52 + 3, BLOCK]);
  assertEquals(data.slice(2 ** 52 - 1, 10), new Uint8Array([0, 2, 33, 64]));
  data.resize(2 ** 52);
  assertEquals(data.capacity, 0);
  data.resize(2 ** 52 + 2);
  assertEquals(data.slice(2 ** 52, 10), new Uint8Array(2));
});

test("FileData: gaps count, and what the quota refuses changes nothing", () => {
  const data = new FileData(new Quota({ ...NONE, maxSize: 3 * BLOCK }));
  data.write(pattern(2, 1), 0);
  const one = new Uint8Array(1);
  for (const offset of [3 * BLOCK, 2 ** 40, 2 ** 53 - 2]) {
    assertThrows(() => data.write(one, offset), NinePError, "full");
  }
  assertThrows(() => data.resize(3 * BLOCK + 1), NinePError, "full");
  assertThrows(() => data.replace(new Uint8Array(3 * BLOCK + 1)), NinePError);
  assertEquals(data.copy(), pattern(2, 1));
  assertEquals(data.capacity, 64);
});

test("FileData: blocks without a view are used again, up to 64", () => {
  const quota = new Quota(NONE);
  const data = new FileData(quota);
  const drain = () => {
    let count = 0;
    while (quota.takeBlock() !== undefined) count++;
    return count;
  };
  data.write(pattern(4 * BLOCK, 1), 0);
  data.slice(2 * BLOCK, 1);
  data.resize(0);
  assertEquals(drain(), 2); // Not the first, nor the one that was read.
  data.write(new Uint8Array(70 * BLOCK), 0);
  data.resize(0);
  assertEquals(drain(), 64);
});

test("FileData: a gap in blocks that were used before is zeros", () => {
  const quota = new Quota(NONE);
  const give = () => quota.giveBlock(new Uint8Array(BLOCK).fill(255));
  const data = new FileData(quota);
  for (let i = 0; i < 4; i++) give();
  data.write(pattern(1, 1), 2 * BLOCK + 5); // Begins behind a gap in the block.
  data.write(pattern(1, 1), BLOCK + 5); // Into a hole, below the length.
  data.write(pattern(1, 1), 2 * BLOCK + 9); // Behind a gap in the same block.
  data.resize(2 * BLOCK + 6);
  data.resize(3 * BLOCK);
  const model = new Uint8Array(3 * BLOCK);
  for (const at of [BLOCK + 5, 2 * BLOCK + 5]) model.set(pattern(1, 1), at);
  assert(same(data.copy(), model));
});

test("FileData: a view that is read late shows no other file", () => {
  const quota = new Quota(NONE);
  const first = new FileData(quota);
  first.write(pattern(3 * BLOCK, 1), 0);
  const view = first.slice(BLOCK, BLOCK);
  const copy = view.slice();
  first.resize(0);
  const second = new FileData(quota);
  second.write(pattern(3 * BLOCK, 2), 0);
  assertEquals(view, copy);
});
