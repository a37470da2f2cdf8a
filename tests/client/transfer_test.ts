// Whole files in a window of requests, against a scripted server.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import {
  qid,
  type Reply,
  type Scene,
  start,
  stat,
  takeFirst,
  walkTo,
} from "./scripted.ts";
import { type Client, connect } from "../../client.ts";
import { NinePError, ProtocolError, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

type Tread = Extract<Tmessage, { type: "Tread" }>;
type Twrite = Extract<Tmessage, { type: "Twrite" }>;

const IOUNIT = 100;

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));
}

function part(content: Uint8Array, request: Tread, most = Infinity): Reply {
  const at = Number(request.offset);
  const count = Math.min(request.count, most);
  return { type: "Rread", data: content.slice(at, at + count) };
}

async function opened(scene: Scene): Promise<void> {
  await walkTo(scene);
  const reply = { type: "Ropen", qid: qid(1), iounit: IOUNIT } as const;
  await scene.server.exchange("Topen", {}, reply);
}

/**
 * Answers the first read and the stat of a readFile(). Returns the reads of its
 * window.
 */
async function readsOf(scene: Scene, content: Uint8Array): Promise<Tread[]> {
  const { server } = scene;
  await opened(scene);
  const first = await server.expect("Tread", { offset: 0n, count: IOUNIT });
  server.answer(first, part(content, first));
  const reply = { type: "Rstat", stat: stat("f", content.length) } as const;
  await server.exchange("Tstat", {}, reply);
  const reads: Tread[] = [];
  for (let i = 1; i <= 8; i++) {
    const offset = BigInt(IOUNIT * i);
    reads.push(await server.expect("Tread", { offset, count: IOUNIT }));
  }
  return reads;
}

test("K19 readFile(): a reply of nothing in the middle of the window is the end", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const content = pattern(5000);
  const reading = client.readFile("f");
  const reads = await readsOf(scene, content);
  // The end is reported before and after data of higher offsets.
  for (const i of [7, 4, 0, 1, 2, 3, 5, 6]) {
    const most = i === 4 ? 0 : Infinity;
    server.answer(reads[i]!, part(content, reads[i]!, most));
  }
  // These reads were sent before the end was known.
  scene.run((request) =>
    request.type === "Tread" ? part(content, request) : undefined
  );
  assertEquals(await reading, content.subarray(0, 5 * IOUNIT));
});

test("K19 readFile() of a file that grows while it is read", async () => {
  const content = pattern(8000);
  await using scene = await start();
  let length = 1500;
  scene.run((request) => {
    length = Math.min(length + 40, content.length);
    const now = content.subarray(0, length);
    switch (request.type) {
      case "Topen":
        return { type: "Ropen", qid: qid(1), iounit: IOUNIT };
      case "Tstat":
        return { type: "Rstat", stat: stat("f", length) };
      case "Tread":
        return part(now, request);
      default:
        return undefined;
    }
  });
  const got = await scene.client.readFile("f");
  assertEquals(got, content.subarray(0, got.length));
  assert(got.length >= 1500);
});

test("K9 readFile(): an Rread that is too long fails it, once nothing is in flight", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const content = pattern(5000);
  const failing = assertRejects(
    () => client.readFile("f"),
    ProtocolError,
    "Rread counts 101, the maximum is 100",
  );
  const reads = await readsOf(scene, content);
  server.answer(reads[2]!, { type: "Rread", data: new Uint8Array(101) });
  for (const read of reads) {
    if (read !== reads[2]) server.answer(read, part(content, read));
  }
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await failing;
});

test("readFile(): the first error of the window wins, the others are awaited", async () => {
  await using scene = await start();
  const { client, server } = scene;
  let isOver = false;
  const failing = assertRejects(
    () => client.readFile("f").finally(() => isOver = true),
    NinePError,
    'Cannot read "f": second',
  );
  const reads = await readsOf(scene, pattern(5000));
  for (const i of [5, 1, 7]) {
    server.refuse(reads[i]!, i === 5 ? "second" : "another");
  }
  for (const i of [0, 2, 3, 4]) {
    server.answer(reads[i]!, part(pattern(5000), reads[i]!));
  }
  // One is left: nothing is sent, nothing told.
  const stats = client.stat(0);
  const request = await server.expect("Tstat", { fid: 0 });
  server.answer(request, { type: "Rstat", stat: stat("/") });
  await stats;
  assertEquals(isOver, false);
  server.answer(reads[6]!, part(pattern(5000), reads[6]!));
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await failing;
});

test("readFile() of what the server says is longer than is trusted at once", async () => {
  await using scene = await start({ msize: 2 ** 20, window: 2 ** 22 });
  // The size is far below the stated length, and far above a window.
  const length = 70 * 2 ** 20 + 17;
  const zeros = new Uint8Array(2 ** 20);
  scene.run((request) => {
    if (request.type === "Tstat") {
      return { type: "Rstat", stat: stat("f", 2 ** 40) };
    }
    if (request.type !== "Tread") return undefined;
    const left = Math.max(0, length - Number(request.offset));
    const data = zeros.subarray(0, Math.min(request.count, left));
    return { type: "Rread", data };
  });
  assertEquals((await scene.client.readFile("f")).length, length);
});

test("writeFile(): the first error of the window wins, the others are awaited", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const failing = assertRejects(
    () => client.writeFile("f", pattern(5000)),
    NinePError,
    'Cannot write "f": second',
  );
  await opened(scene);
  await takeFirst(scene);
  const writes: Twrite[] = [];
  for (let i = 0; i < 8; i++) writes.push(await server.expect("Twrite"));
  for (const i of [6, 0, 3]) {
    server.refuse(writes[i]!, i === 6 ? "second" : "another");
  }
  for (const i of [1, 2, 4, 5, 7]) {
    server.answer(writes[i]!, { type: "Rwrite", count: IOUNIT });
  }
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await failing;
});

test("K13 abort of writeFile() flushes all its writes, then clunks", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const { signal } = controller;
  const writing = client.writeFile("f", pattern(5000), { signal })
    .catch((error) => error);
  await opened(scene);
  await takeFirst(scene);
  const tags = new Set<number>();
  for (let i = 0; i < 8; i++) tags.add((await server.expect("Twrite")).tag);
  controller.abort("enough");
  assertEquals(await writing, "enough");
  for (let i = 0; i < 8; i++) {
    const flush = await server.expect("Tflush");
    assert(tags.delete(flush.oldtag));
    server.answer(flush, { type: "Rflush" });
  }
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  assertEquals(server.open.size, 0);
});

test("window bounds the bytes of a transfer that are in flight", async () => {
  for (
    const [window, size] of [[4096, 512], [80_000, 10_000], [2 ** 20, 131072]]
  ) {
    await using scene = await start({ msize: 2 ** 20, window });
    const { client, server } = scene;
    const length = 10 * size!;
    const writing = client.writeFile("f", new Uint8Array(length));
    await walkTo(scene);
    const reply = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
    await server.exchange("Topen", {}, reply);
    await takeFirst(scene);
    const writes: Twrite[] = [];
    for (let i = 0; i < 8; i++) writes.push(await server.expect("Twrite"));
    const stats = client.stat(0); // No ninth Twrite comes before the Tstat.
    const request = await server.expect("Tstat");
    server.answer(request, { type: "Rstat", stat: stat("/") });
    await stats;
    for (const write of writes) {
      assertEquals(write.data.length, size);
      server.answer(write, { type: "Rwrite", count: write.data.length });
    }
    scene.run(() => undefined);
    await writing;
  }
});

/** Every way to write much to the file "f". */
const WRITERS: Record<
  string,
  (client: Client, data: Uint8Array) => Promise<void>
> = {
  "writeFile()": (client, data) => client.writeFile("f", data),
  "writeFile() of a stream": (client, data) =>
    client.writeFile("f", new Blob([data.slice()]).stream()),
  "writeFile() of chunks": (client, data) =>
    client.writeFile("f", pieces(data, 150)),
  "writeAll()": (client, data) =>
    client.withFile("f", (file) => file.writeAll(data), { write: true }),
  writable: async (client, data) => {
    const file = await client.open("f", { write: true });
    await ReadableStream.from(pieces(data, 150)).pipeTo(file.writable);
  },
  "copy()": async (target, data) => {
    const [near, far] = pair();
    const serving = serve(far, new MemoryFs({ source: data }));
    const client = await connect(near);
    await client.copy("source", "f", { target });
    await client.close();
    await serving;
  },
};

function* pieces(data: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) {
    yield data.subarray(at, at + size);
  }
}

for (const [way, write] of Object.entries(WRITERS)) {
  test(`${way}: a file that takes no notice of offsets, and less than it is given, gets all in order`, async () => {
    await using scene = await start({ window: 4096 });
    const got: number[] = [];
    scene.run((request) => {
      if (request.type === "Topen") {
        return { type: "Ropen", qid: qid(1), iounit: IOUNIT };
      }
      if (request.type !== "Twrite") return undefined;
      const count = Math.min(request.data.length, 60);
      got.push(...request.data.subarray(0, count));
      return { type: "Rwrite", count };
    });
    const data = pattern(150_000);
    await write(scene.client, data);
    assertEquals(new Uint8Array(got), data);
  });
}

test("writeFile() goes one by one where the server has no stat, or names no length", async () => {
  const replies: Reply[] = [
    { type: "Rerror", ename: "no stat" },
    { type: "Rstat", stat: stat("f", IOUNIT - 1) },
  ];
  for (const reply of replies) {
    await using scene = await start();
    const { client, server } = scene;
    const writing = client.writeFile("f", pattern(3 * IOUNIT));
    await opened(scene);
    for (let i = 0; i < 3; i++) {
      const write = await server.expect("Twrite");
      const stats = client.stat(0); // No other request comes before the Tstat.
      const request = await server.expect("Tstat", { fid: 0 });
      server.answer(request, { type: "Rstat", stat: stat("/") });
      await stats;
      server.answer(write, { type: "Rwrite", count: IOUNIT });
      if (i === 0) await server.exchange("Tstat", { fid: 1 }, reply);
    }
    await server.exchange("Tclunk", {}, { type: "Rclunk" });
    await writing;
  }
});

test("window out of its range is refused before anything is sent", async () => {
  for (const window of [4095, 2 ** 30 + 1, 5000.5, NaN]) {
    await assertRejects(
      () => connect("tcp://127.0.0.1:1", { window }),
      RangeError,
      "Cannot connect: window is",
    );
  }
});
