// Writing chunk by chunk, files in scopes, and modes of a Topen.
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import { qid, type Scene, sent, start, takeFirst, walkTo } from "./scripted.ts";
import type { FileData, OpenOptions } from "../../client.ts";
import {
  NinePError,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OTRUNC,
  QTAPPEND,
  type Tmessage,
} from "../../codec.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const opened = { type: "Ropen", qid: qid(1), iounit: 0 } as const;

/** What a server was asked to write, in the order of offsets. */
function written({ server }: Scene): string {
  const writes = server.log.flatMap((t) => t.type === "Twrite" ? [t] : []);
  writes.sort((a, b) => Number(a.offset - b.offset));
  return writes.map(({ data }) => decoder.decode(data)).join("");
}

/** A stream that records how it ended. */
function streamOf(...chunks: string[]) {
  const state = { pulls: 0, reason: undefined as unknown };
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      state.pulls++;
      const chunk = chunks.shift();
      if (chunk !== undefined) controller.enqueue(encoder.encode(chunk));
      else controller.close();
    },
    cancel(reason) {
      state.reason = reason;
    },
  }, { highWaterMark: 0 });
  return { stream, state };
}

/**
 * Settles when a promise is seen to have settled, or not, after all that is in
 * flight.
 */
async function isSettled(
  { client }: Scene,
  promise: Promise<unknown>,
): Promise<boolean> {
  let isDone = false;
  promise.then(() => isDone = true, () => isDone = true);
  await client.stat(0);
  return isDone;
}

test("writeFile() takes bytes, texts, streams and iterables of them", async () => {
  const parts = ["žlu", "", "ťou", "čký"];
  async function* generate() {
    for (const part of parts) yield await Promise.resolve(part);
  }
  const sources: FileData[] = [
    parts.join(""),
    encoder.encode(parts.join("")),
    streamOf(...parts).stream,
    ReadableStream.from(parts),
    parts,
    parts.map((part) => encoder.encode(part)),
    [encoder.encode("žlu"), "ťoučký"],
    new Set(parts),
    generate(),
  ];
  for (const source of sources) {
    await using scene = await start();
    scene.run(() => undefined);
    await scene.client.writeTextFile("f", source);
    assertEquals(written(scene), "žluťoučký");
  }
});

test("writeFile() cuts chunks, and continues behind what was there", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Topen" ? { ...opened, iounit: 3 } : undefined
  );
  const { client, server } = scene;
  await client.writeFile("f", ["abcdefgh", "", "i", "jkl"]);
  assertEquals(
    server.log.flatMap((t) =>
      t.type === "Twrite"
        ? [[Number(t.offset), decoder.decode(t.data)] as const]
        : []
    ),
    [[0, "abc"], [3, "def"], [6, "gh"], [8, "i"], [9, "jkl"]],
  );
});

test("writeFile() of a stream asks for a chunk when there is room for it", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const chunks = Array.from({ length: 20 }, (_, i) => `${i},`);
  const { stream, state } = streamOf(...chunks);
  const writing = client.writeFile("f", stream);
  await walkTo(scene);
  await server.exchange("Topen", {}, opened);
  await takeFirst(scene);
  const writes: Tmessage[] = [];
  for (let i = 0; i < 8; i++) writes.push(await server.expect("Twrite"));
  assertEquals([server.open.size, state.pulls], [8, 9]);
  const [first, ...others] = writes;
  server.answer(first!, { type: "Rwrite", count: 2 });
  others.push(await server.expect("Twrite"));
  assertEquals([server.open.size, state.pulls], [8, 10]);
  for (const write of others) {
    server.answer(write, { type: "Rwrite", count: 2 });
  }
  scene.run(() => undefined);
  await writing;
  assertEquals(written(scene).length, chunks.join("").length);
});

test("writeFile() of chunks goes one by one where the order of arrival matters", async () => {
  for (const append of [true, false]) {
    await using scene = await start();
    let most = 0;
    scene.run((request) => {
      if (request.type === "Twrite") {
        most = Math.max(most, scene.server.open.size);
      }
      const type = append ? 0 : QTAPPEND;
      return request.type === "Topen"
        ? { ...opened, qid: qid(1, type), iounit: 2 }
        : undefined;
    });
    await scene.client.writeFile("f", ["abcde", "fg", "h"], { append });
    assertEquals([written(scene), most], ["abcdefgh", 1]);
  }
});

test("writeFile() cancels a stream when it cannot open the file", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Topen"
      ? { type: "Rerror", ename: "permission denied" }
      : undefined
  );
  const { stream, state } = streamOf("a");
  const writing = scene.client.writeFile("f", stream);
  const error = await writing.catch((error) => error);
  assertInstanceOf(error, NinePError);
  assertStrictEquals(state.reason, error);
  assertEquals(state.pulls, 0);
});

test("writeFile() cancels a stream when a write fails, also one that gives nothing more", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twrite"
      ? { type: "Rerror", ename: "file system is full" }
      : undefined
  );
  let reason: unknown;
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(encoder.encode("a")),
    cancel: (why) => void (reason = why),
  });
  const writing = scene.client.writeFile("f", stream);
  const error = await writing.catch((error) => error);
  assertEquals(error.message, 'Cannot write "f": file system is full');
  assertStrictEquals(reason, error);
});

test("writeFile() tells an iterator that a write failed, even if it hangs", async () => {
  for (const hangs of [true, false]) {
    await using scene = await start();
    scene.run((request) =>
      request.type === "Twrite"
        ? { type: "Rerror", ename: "file system is full" }
        : undefined
    );
    let isTold = false;
    let count = 0;
    const source: AsyncIterable<string> = {
      [Symbol.asyncIterator]: () => ({
        next: () =>
          hangs && count++ > 0
            ? new Promise(() => {})
            : Promise.resolve({ done: false, value: "a" }),
        return: () => {
          isTold = true;
          return Promise.reject(new Error("not told to anybody"));
        },
      }),
    };
    await assertRejects(
      () => scene.client.writeFile("f", source),
      NinePError,
      "file system is full",
    );
    assertEquals(isTold, true);
  }
});

test("writeFile() that is aborted while its source hangs cancels it, and clunks", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const controller = new AbortController();
  const { signal } = controller;
  let reason: unknown;
  const hanging = Promise.withResolvers<void>();
  const stream = new ReadableStream<Uint8Array>({
    pull: () => hanging.resolve(),
    cancel: (why) => void (reason = why),
  }, { highWaterMark: 0 });
  const writing = scene.client.writeFile("f", stream, { signal })
    .catch((error) => error);
  await hanging.promise;
  controller.abort("enough");
  assertEquals([await writing, reason], ["enough", "enough"]);
  await scene.client.stat(0);
  assertEquals([...scene.server.fids], [0]);
});

test("writeFile() fails with what its source throws", async () => {
  const mine = new Error("mine");
  function* broken() {
    yield "a";
    throw mine;
  }
  const sources: FileData[] = [
    broken(),
    new ReadableStream({ start: (controller) => controller.error(mine) }),
  ];
  for (const source of sources) {
    await using scene = await start();
    scene.run(() => undefined);
    const writing = scene.client.writeFile("f", source);
    assertStrictEquals(await writing.catch((error) => error), mine);
    await scene.client.stat(0);
    assertEquals([...scene.server.fids], [0]);
  }
});

test("writeFile() refuses a stream in use, and chunks that are none", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client } = scene;
  const { stream } = streamOf("a");
  const reader = stream.getReader();
  await assertRejects(() => client.writeFile("f", stream), TypeError);
  assertEquals(sent(scene), []);
  await reader.cancel();
  let isTold = false;
  function* numbers() {
    try {
      yield 1;
    } finally {
      isTold = true;
    }
  }
  // A JavaScript caller may pass this.
  const wrong = numbers() as Iterable<unknown> as Iterable<string>;
  await assertRejects(
    () => client.writeFile("f", wrong),
    TypeError,
    "Cannot write a chunk: it is neither bytes nor text but number",
  );
  assertEquals(isTold, true);
});

test("writeFile() refuses data that are none, and says what is taken", async () => {
  await using scene = await start();
  for (const data of [42, null, undefined, {}, new ArrayBuffer(3)]) {
    await assertRejects(
      // A JavaScript caller may pass this.
      () => scene.client.writeFile("f", data as unknown as string),
      TypeError,
      "not a Uint8Array, a string, or a ReadableStream or iterable of them",
    );
  }
  assertEquals(sent(scene), []);
});

test("writeFile() of what gives no chunks leaves the file as it is", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  let returns = 0;
  const own = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: 1 }),
      return: () => ({ done: true, value: returns++ }),
    }),
  };
  const throws = {
    [Symbol.iterator]() {
      throw new TypeError("mine");
    },
  };
  const cases: [data: unknown, message: string][] = [
    [new Uint16Array(2), "the data are Uint16Array, not a Uint8Array"],
    [new DataView(new ArrayBuffer(2)), "the data are DataView, not"],
    [[1, 2], "it is neither bytes nor text but number"],
    [[Promise.resolve("x")], "it is neither bytes nor text but Promise"],
    [own, "it is neither bytes nor text but number"],
    [throws, "mine"],
  ];
  for (const [data, message] of cases) {
    await assertRejects(
      // A JavaScript caller may pass this.
      () => scene.client.writeFile("f", data as string),
      TypeError,
      message,
    );
  }
  assertEquals([sent(scene), returns], [[], 1]);
});

test("writeFile() of an empty iterable empties the file", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  await scene.client.writeFile("f", []);
  assertEquals(sent(scene), ["Twalk", "Topen", "Tclunk"]);
});

test("writeFile(): the return() of a source that throws does not hide why it failed", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twrite"
      ? { type: "Rerror", ename: "i/o error" }
      : undefined
  );
  const source = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: "x" }),
      return: () => {
        throw new Error("return");
      },
    }),
  };
  await assertRejects(
    () => scene.client.writeFile("f", source as unknown as Iterable<string>),
    NinePError,
    'Cannot write "f": i/o error',
  );
});

test("writeFile() that fails cancels its stream and unlocks it", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Twrite"
      ? { type: "Rerror", ename: "i/o error" }
      : undefined
  );
  let reason: unknown;
  const stream = new ReadableStream<string>({
    pull: (controller) => controller.enqueue("x"),
    cancel: (why) => void (reason = why),
  });
  const error = await scene.client.writeFile("f", stream).catch((e) => e);
  assertInstanceOf(error, NinePError);
  assertStrictEquals(reason, error);
  assertEquals(stream.locked, false);
});

test("open() of a fid with createNew is refused; the fid stays", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client } = scene;
  await client.protocol.withFid("f", (fid) =>
    assertRejects(
      () => client.open(fid, { write: true, createNew: true }),
      TypeError,
      `Cannot open fid ${fid}: createNew goes with a path`,
    ));
  assertEquals(sent(scene), ["Twalk", "Tclunk"]);
});

// C-28.
test("open() with flags sends them as they are", async () => {
  for (const flags of [0, ORDWR, OEXEC, ORDWR | OTRUNC, 1 | ORCLOSE]) {
    await using scene = await start();
    scene.run(() => undefined);
    await using _file = await scene.client.open("f", { flags });
    const modes = scene.server.log.flatMap((t) =>
      t.type === "Topen" ? [t.mode] : []
    );
    assertEquals(modes, [flags]);
  }
});

test("open() refuses flags that are none, and flags beside other options", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client } = scene;
  const flags = ORDWR;
  const cases: OpenOptions[] = [
    { flags, read: true },
    { flags, write: true },
    { flags, append: true },
    { flags, write: true, truncate: true },
    { truncate: true },
    { create: true },
    { read: true, create: true },
    { createNew: true },
    ...[-1, 4, 8, 0x20, 0x80, 256, 0.5, NaN].map((flags) => ({ flags })),
  ];
  for (const options of cases) {
    await assertRejects(
      () => client.open("f", options),
      TypeError,
      "Cannot open a file: ",
    );
  }
  assertEquals(sent(scene), []);
});

// C-09, C-10, C-12, C-13.
test("withFile() waits for the clunk, and gives what its function gave", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const using = client.withFile("f", ({ fid }) => fid, { write: true });
  await walkTo(scene);
  await server.exchange("Topen", { mode: 1 }, opened);
  const clunk = await server.expect("Tclunk", { fid: 1 });
  scene.run(() => undefined);
  assertEquals(await isSettled(scene, using), false);
  server.answer(clunk, { type: "Rclunk" });
  assertEquals(await using, 1);
});

test("withFile() closes the file after an error, which it tells", async () => {
  for (const isAsync of [true, false]) {
    await using scene = await start();
    scene.run((request) =>
      request.type === "Tclunk" && request.fid === 1
        ? { type: "Rerror", ename: "i/o error" }
        : undefined
    );
    const mine = new Error("mine");
    const using = scene.client.withFile("f", () => {
      if (isAsync) return Promise.reject(mine);
      throw mine;
    });
    assertStrictEquals(await using.catch((error) => error), mine);
    assertEquals([...scene.server.fids], [0]);
  }
});

test("withFile() tells that closing failed, and not what was closed already", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Tclunk" && request.fid === 1
      ? { type: "Rerror", ename: "file system is full" }
      : undefined
  );
  const { client } = scene;
  await assertRejects(
    () => client.withFile("f", () => {}, { write: true }),
    NinePError,
    "file system is full",
  );
  scene.server.fids.delete(1);
  const count = (types: string[]) => types.filter((t) => t === "Tclunk").length;
  const before = count(sent(scene));
  const closed = client.withFile("f", async (file) => {
    await file.close().catch(() => {});
  });
  await closed.catch(() => {}); // A second close has the same outcome.
  assertEquals(count(sent(scene)) - before, 1);
});

test("withFile() rejects at once with the reason of its signal, then closes the file", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client } = scene;
  const controller = new AbortController();
  const { signal } = controller;
  const work = Promise.withResolvers<void>();
  const isOpen = Promise.withResolvers<void>();
  const using = client.withFile("f", () => {
    isOpen.resolve();
    return work.promise;
  }, { signal });
  await isOpen.promise;
  controller.abort("enough");
  assertEquals(await using.catch((error) => error), "enough");
  work.resolve();
  await client.stat(0);
  await client.stat(0);
  assertEquals([...scene.server.fids], [0]);
});
