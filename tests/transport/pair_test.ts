// Two ends in memory: what is theirs alone. What they have in common with other
// connections is in transport/transport_test.ts.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { ProtocolError } from "../../codec.ts";
import { openChannel } from "../../transport/channel.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";

const LIMIT = 256 * 1024;
const text = new TextEncoder();

test("pair: a write is pending while more than 256 KiB wait", async () => {
  const [near, far] = pair().map(openChannel);
  assertStrictEquals(near.write(new Uint8Array(LIMIT)), undefined);
  const writing = near.write(new Uint8Array(1));
  assertInstanceOf(writing, Promise);
  await assertRejects(
    async () => await near.write(new Uint8Array(1)),
    TypeError,
    'Cannot write to "pair": a call is pending',
  );
  let size = 0;
  while (size <= LIMIT) {
    const bytes = await far.read(new Uint8Array(1024));
    assert(bytes);
    size += bytes.length;
  }
  await writing;
  assertEquals(size, LIMIT + 1);
  assertStrictEquals(near.write(new Uint8Array(1)), undefined);
  near.close();
  far.close();
});

test("pair: a chunk that is given back is written to again, and no other", async () => {
  const [near, far] = pair().map(openChannel);
  const small = new Uint8Array(1);
  const next = async () => {
    const chunk = await far.read(small);
    assert(chunk);
    return chunk;
  };
  for (const fill of [1, 2]) near.write(new Uint8Array(5000).fill(fill));
  const kept = await next();
  const given = await next();
  far.free?.(given);
  near.write(new Uint8Array(4000).fill(3));
  near.write(new Uint8Array(4000).fill(4));
  const third = await next();
  assertStrictEquals(third.buffer, given.buffer);
  assertEquals([third, await next()], [
    new Uint8Array(4000).fill(3),
    new Uint8Array(4000).fill(4),
  ]);
  assertEquals(kept, new Uint8Array(5000).fill(1));
  near.close();
  far.close();
});

test("pair: two ends that are always busy let timers run", async () => {
  const [near, far] = pair().map(openChannel);
  const buffer = new Uint8Array(8);
  let isRun = false;
  setTimeout(() => isRun = true);
  let rounds = 0;
  for (; !isRun && rounds < 1e7; rounds++) {
    near.write(buffer);
    await far.read(buffer);
  }
  assert(isRun, `no timer ran in ${rounds} rounds`);
  near.close();
  far.close();
});

test("pair: a second read is refused, also while the first waits for its turn", async () => {
  const [near, far] = pair().map(openChannel);
  const buffer = new Uint8Array(8);
  // No turn of the event loop passes here: every 16th read looks at the clock,
  // the first time to begin, the second time to find that it was too long.
  for (let i = 0; i < 31; i++) {
    near.write(Uint8Array.of(i));
    await far.read(buffer);
    const start = performance.now();
    while (i === 15 && performance.now() - start < 10);
  }
  near.write(Uint8Array.of(100));
  const first = far.read(buffer);
  await assertRejects(
    () => far.read(buffer),
    TypeError,
    'Cannot read from "pair": a call is pending',
  );
  assertEquals(await first, Uint8Array.of(100));
  near.close();
  far.close();
});

test("pair: small writes are read together", async () => {
  const [near, far] = pair().map(openChannel);
  for (const word of ["one ", "two ", "three"]) near.write(text.encode(word));
  const buffer = new Uint8Array(9);
  assertEquals(await far.read(buffer), text.encode("one two "));
  assertEquals(await far.read(buffer), text.encode("three"));
  near.close();
  far.close();
});

test("pair: a reader that waits gets its own buffer", async () => {
  const [near, far] = pair().map(openChannel);
  const buffer = new Uint8Array(8);
  const reading = far.read(buffer);
  await assertRejects(
    () => far.read(buffer),
    TypeError,
    'Cannot read from "pair": a call is pending',
  );
  near.write(text.encode("hello"));
  const bytes = await reading;
  assertEquals(bytes, text.encode("hello"));
  assertStrictEquals(bytes?.buffer, buffer.buffer);
  near.close();
  far.close();
});

test("pair: what was written before close() can still be read", async () => {
  const [near, far] = pair().map(openChannel);
  near.write(text.encode("last words"));
  near.close();
  const buffer = new Uint8Array(16);
  assertEquals(await far.read(buffer), text.encode("last words"));
  assertEquals(await far.read(buffer), null);
  await assertRejects(
    async () => await far.write(text.encode("hello?")),
    ProtocolError,
    'Connection to "pair" lost: the peer closed it',
  );
  far.close();
});

test("pair: writable holds its writer back", async () => {
  const [near, far] = pair();
  const writer = near.writable.getWriter();
  let isWritten = false;
  const writing = writer.write(new Uint8Array(LIMIT + 1)).then(() => {
    isWritten = true;
  });
  await new Promise((resolve) => setTimeout(resolve));
  assert(!isWritten);
  const reader = far.readable.getReader();
  for (let size = 0; size <= LIMIT;) {
    size += (await reader.read()).value!.length;
  }
  await writing;
  near.close();
  far.close();
});
