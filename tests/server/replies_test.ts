// maxReplyBytes: the replies that a server keeps for one client, taken or not.
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { NinePError } from "../../codec.ts";
import type { Connection } from "../../transport.ts";
import { test } from "../harness.ts";
import { Gate, NEVER, nextTask, openA, Reads, serveToy } from "./toy.ts";
import { Random } from "../codec/vectors.ts";
import { brief, bytes, soon, T } from "./wire_client.ts";

/** Counts the bytes that a connection has taken. */
class Meter {
  taken = 0;

  readonly wrap = (connection: Connection): Connection => {
    const write = connection.write?.bind(connection);
    assert(write, "a pair has the fast path");
    connection.write = (data) => {
      const { length } = data;
      const written = write(data);
      if (written === undefined) {
        this.taken += length;
        return undefined;
      }
      return written.then(() => {
        this.taken += length;
      });
    };
    return connection;
  };
}

test("maxReplyBytes bounds what late answers hold, and each of them comes", async () => {
  const count = 16 * 1024;
  const most = 64 * count;
  const total = 600;
  const gate = new Gate();
  const meter = new Meter();
  let asked = 0;
  await using scene = await serveToy({
    read: async (_fid, { offset }) => {
      asked++;
      assertLessOrEqual(asked * count - meter.taken, most);
      await gate.passed;
      return new Uint8Array(count).fill(offset % 251);
    },
  }, {
    wrap: meter.wrap,
    waitingAfter: NEVER,
    maxReplyBytes: most,
    msize: 2 ** 20,
    clientMsize: 2 ** 20,
  });
  const { client } = scene;
  await openA(scene, 3);
  client.send(
    ...Array.from(
      { length: total },
      (_, i) => T.read(i, 1 + i % 3, i, count),
    ),
  );
  await client.quiet(5000);
  assertEquals(asked, 64);
  // Answered, but not taken, they are owed all the same.
  gate.open();
  for (let i = 0; i < 20; i++) await nextTask();
  assertEquals(asked, 64);
  client.send(T.flush(6000, total - 1)); // One waits less, and no other begins.
  for (let i = 0; i < 20; i++) await nextTask();
  assertEquals(asked, 64);
  const tags = new Set<number>();
  for (let i = 0; i < total; i++) {
    const reply = await client.next();
    tags.add(reply.tag);
    if (reply.tag === 6000) continue;
    assert(reply.type === "Rread");
    assertEquals(reply.data.length, count);
    assert(reply.data.every((byte) => byte === reply.tag % 251));
  }
  assertEquals(tags.size, total);
  assertEquals(asked, total - 1);
});

test("maxReplyBytes gives back what an answer did not need", async () => {
  const gate = new Gate();
  let asked = 0;
  await using scene = await serveToy({
    read: async () => {
      asked++;
      await gate.passed;
      return bytes("x");
    },
  }, { waitingAfter: NEVER, maxReplyBytes: 8000 });
  const { client } = scene;
  await openA(scene);
  client.send(...Array.from({ length: 300 }, (_, i) => T.read(i, 1, 0, 4000)));
  await client.quiet(5000);
  assertEquals(asked, 2);
  gate.open();
  for (let i = 0; i < 20; i++) await nextTask();
  assertEquals(asked, 300); // The client has not read yet.
  for (let i = 0; i < 300; i++) await client.expect(`Rread ${i} x`);
});

test("maxReplyBytes is 256 MiB by default", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { clientMsize: 2 ** 20 + 24, msize: 2 ** 20 + 24 });
  const { client } = scene;
  await openA(scene);
  client.send(
    ...Array.from({ length: 300 }, (_, i) => T.read(i, 1, i, 2 ** 20)),
  );
  await client.quiet();
  assertEquals(reads.asked.length, 256);
});

test("maxReplyBytes: reads that wait hold up no other fid, and no Tflush", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { waitingAfter: NEVER, maxReplyBytes: 100 });
  const { client } = scene;
  await openA(scene, 4);
  client.send(T.read(10, 1, 10, 80), T.read(11, 2, 11, 80));
  client.send(T.read(12, 3, 12, 80), T.stat(13, 2), T.stat(14, 1));
  await client.expect("Rstat 14 a"); // The other stands behind a read that waits.
  assertEquals(reads.asked, [10]);
  await client.ask(T.walk(20, 0, 9, "d", "x"), "Rwalk 20 2,3");
  await client.ask(T.stat(20, 4), "Rstat 20 a");
  await client.ask(T.write(20, 4, "new"), "Rwrite 20 3");
  await client.ask(T.wstat(20, 4), "Rwstat 20");
  await client.ask(T.open(20, 9), "Ropen 20 3");
  await client.ask(T.clunk(20, 9), "Rclunk 20");
  await client.ask(T.remove(20, 4), "Rremove 20");
  await client.ask(T.attach(20, 9), "Rattach 20 0");
  // One that waits is flushed: what stood behind it goes on, and it never begins.
  client.send(T.flush(21, 11));
  await client.expectSome("Rflush 21", "Rstat 13 a");
  await client.ask(T.clunk(20, 2), "Rclunk 20");
  assertEquals(reads.asked, [10]);
  // One that is under way is flushed: the next has its room.
  await client.ask(T.flush(21, 10), "Rflush 21");
  assertEquals(reads.asked, [10, 12]);
  reads.answer(12);
  await client.expect("Rread 12 12");
  assertEquals(scene.takeLog().filter((line) => line === "clunk 2").length, 1);
});

test("maxReplyBytes: reads that wait begin in their order", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { waitingAfter: NEVER, maxReplyBytes: 100 });
  const { client } = scene;
  await openA(scene, 4);
  client.send(
    T.read(1, 1, 1, 40),
    T.read(2, 1, 2, 40),
    T.read(3, 2, 3, 90), // Does not fit. Later requests must not overtake it.
    T.read(4, 3, 4, 10),
    T.read(5, 2, 5, 10),
    T.read(6, 4, 6, 0), // Needs no room.
  );
  await client.quiet();
  assertEquals(reads.asked, [1, 2, 6]);
  reads.answer(2);
  await client.expect("Rread 2 2");
  await client.quiet();
  assertEquals(reads.asked, [1, 6]);
  reads.answer(1);
  await client.expect("Rread 1 1");
  await client.quiet();
  assertEquals(reads.asked, [6, 3, 5]);
  reads.answer(3);
  await client.expect("Rread 3 3");
  await client.quiet();
  assertEquals(reads.asked, [6, 5, 4]);
  for (const offset of [4, 5]) reads.answer(offset);
  await client.expectSome("Rread 4 4", "Rread 5 5");
});

for (const async of [false, true]) {
  const how = async ? "later" : "at once";
  test(`maxReplyBytes: one alone may be larger than all of it: answers ${how}`, async () => {
    await using scene = await serveToy({}, {
      async,
      waitingAfter: NEVER,
      maxReplyBytes: 1,
    });
    const { client } = scene;
    await openA(scene, 3);
    client.send(
      ...Array.from({ length: 90 }, (_, i) => T.read(i, 1 + i % 3)),
    );
    for (let i = 0; i < 90; i++) await client.expect(`Rread ${i} alpha`);
    client.send(...Array.from({ length: 9 }, (_, i) => T.call(i, 1)));
    for (let i = 0; i < 9; i++) {
      const reply = await client.next();
      assertEquals([reply.type, reply.tag], ["Rcall", i]);
    }
  });
}

test("maxReplyBytes: what needs no room does not wait behind one that is larger than all of it", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { waitingAfter: NEVER, maxReplyBytes: 10 });
  const { client } = scene;
  await openA(scene, 2);
  client.send(T.read(1, 1, 1, 80), T.stat(2, 2), T.write(3, 1, "x"));
  await client.expect("Rstat 2 a", "Rwrite 3 1");
  client.send(T.read(4, 2, 4, 0));
  await client.quiet();
  assertEquals(reads.asked, [1, 4]);
  reads.answer(1);
  await client.expect("Rread 1 1");
});

test("maxReplyBytes: a call counts as much as a message has room for", async () => {
  const gate = new Gate();
  let asked = 0;
  await using scene = await serveToy({
    call: async () => {
      asked++;
      await gate.passed;
      return bytes("value");
    },
  }, { waitingAfter: NEVER, maxReplyBytes: 2 * 8192 });
  const { client } = scene;
  await openA(scene, 3);
  client.send(T.call(1, 1), T.call(2, 2), T.call(3, 3));
  await client.quiet();
  assertEquals(asked, 2);
  gate.open();
  const values = [1, 2, 3].map((tag) => `Rcall ${tag} 0 value`);
  await client.expectSome(...values);
});

test("maxReplyBytes: a Tversion gives back all room", async () => {
  const reads = new Reads();
  await using scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { waitingAfter: NEVER, maxReplyBytes: 100 });
  const { client } = scene;
  for (let round = 0; round < 3; round++) {
    await openA(scene, 2);
    client.send(
      T.read(1, 1, 3 * round, 80),
      T.read(2, 2, 3 * round + 1, 80),
      T.read(3, 2, 3 * round + 2, 80),
    );
    await client.quiet();
    assertEquals(reads.asked.at(-1), 3 * round);
    assertEquals(reads.asked.length, round + 1);
    await client.start();
  }
  // Answers of the handlers now have no receiver.
  for (const offset of [...reads.asked]) reads.answer(offset);
  await client.ask(T.stat(1, 0), "Rstat 1 /");
});

test("maxReplyBytes: reads that wait are forgotten with their connection", async () => {
  const reads = new Reads();
  const scene = await serveToy({
    read: (_, request) => reads.read(request),
  }, { waitingAfter: NEVER, maxReplyBytes: 100 });
  const { client } = scene;
  await openA(scene, 3);
  client.send(
    ...Array.from({ length: 60 }, (_, i) => T.read(i, 1 + i % 3, i, 80)),
  );
  await client.quiet(5000);
  client.close();
  await soon(scene.served);
  assertEquals(reads.asked, [0]);
  assertEquals(scene.takeLog().filter((line) => line !== "flush"), [
    "clunk 0",
    "clunk 1",
    "clunk 2",
    "clunk 3",
    "disconnect",
  ]);
  assertEquals(scene.errors, []);
});

for (let seed = 1; seed <= 5; seed++) {
  test(`maxReplyBytes: reads of all kinds are answered, seed ${seed}`, async () => {
    const random = new Random(seed);
    const most = 2000;
    const gates: Gate[] = [];
    let late = 0;
    await using scene = await serveToy({
      read: (_fid, { count }) => {
        const data = new Uint8Array(random.below(count + 1));
        if (random.below(3) === 0) return data;
        late += count;
        // One alone may be larger; what asks for nothing may come to it.
        if (count > 0) assertLessOrEqual(late, Math.max(most, count));
        const gate = new Gate();
        gates.push(gate);
        return gate.passed.then(() => {
          late -= count;
          if (random.below(5) === 0) throw new NinePError("no");
          return data;
        });
      },
    }, { waitingAfter: NEVER, maxReplyBytes: most, maxRequests: 40 });
    const { client } = scene;
    await openA(scene, 5);
    const open = new Set<number>();
    let sent = 0;
    const total = 200;
    while (sent < total || open.size > 0) {
      while (sent < total && open.size < 60) {
        const tag = sent++;
        const fid = 1 + random.below(5);
        open.add(tag);
        client.send(
          random.below(6) === 0
            ? T.stat(tag, fid)
            : T.read(tag, fid, 0, random.below(random.pick([100, 3000]))),
        );
      }
      // All that may begin has begun; without these it could not go on.
      await nextTask();
      while (gates.length > 0) {
        gates.splice(random.below(gates.length), 1)[0].open();
      }
      const reply = await client.next();
      assert(open.delete(reply.tag), `${brief(reply)}: not asked for`);
    }
    assertEquals(late, 0);
  });
}
