// How the work on an open file ends: closed while it goes on, aborted on a
// server that hangs, failed in a stream. No fid and no tag is lost.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  failure,
  openFile,
  qid,
  type Scene,
  settled,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import { connect, type RemoteFile } from "../../client.ts";
import { NinePError, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

function assertClosed(error: unknown, name: string): void {
  assertInstanceOf(error, DOMException);
  assertEquals([error.name, error.message], [
    "AbortError",
    `The file "${name}" was closed`,
  ]);
}

/** Lets the server catch up on all that it was sent, and looks that nothing is left. */
function recover(scene: Scene, held: Tmessage[]): void {
  const { server } = scene;
  scene.run(() => undefined);
  // As a server that was slow: what it was to flush is answered, too.
  for (const request of held) {
    if (request.type === "Tread") {
      server.answer(request, { type: "Rread", data: new Uint8Array(1) });
    } else if (request.type === "Twrite") {
      server.answer(request, { type: "Rwrite", count: request.data.length });
    } else {
      server.answer(request, { type: "Rflush" });
    }
  }
}

async function consume(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of source);
}

const READERS: Record<
  string,
  (file: RemoteFile, signal: AbortSignal) => Promise<void>
> = {
  "chunks()": (file, signal) => consume(file.chunks({ signal })),
  "lines()": (file, signal) => consume(file.lines({ signal })),
  "readable.pipeTo()": (file, signal) =>
    file.readable.pipeTo(new WritableStream(), { signal }),
};

for (const [way, read] of Object.entries(READERS)) {
  test(`K13 RemoteFile, ${way}: an abort rejects at once, also when the server hangs`, async () => {
    await using scene = await start();
    const { server } = scene;
    const file = await openFile(scene);
    const controller = new AbortController();
    const failing = failure(read(file, controller.signal));
    const reading = await server.expect("Tread");
    controller.abort("enough");
    assertEquals(await failing, "enough");
    const flush = await server.expect("Tflush", { oldtag: reading.tag });
    recover(scene, [reading, flush]);
    await file.close();
    assertEquals([server.open.size, [...server.fids]], [0, [0]]);
  });
}

for (const way of ["chunks", "lines"] as const) {
  test(`RemoteFile.${way}(): its timeout rejects, also when the server hangs`, async () => {
    await using scene = await start();
    const { server } = scene;
    const file = await openFile(scene);
    const failing = failure(consume(file[way]({ timeout: 1 })));
    const reading = await server.expect("Tread");
    const error = await failing;
    assertInstanceOf(error, DOMException);
    assertEquals(error.message, 'Cannot read "f": no answer within 1 ms');
    const flush = await server.expect("Tflush", { oldtag: reading.tag });
    recover(scene, [reading, flush]);
    await file.close();
    assertEquals([server.open.size, [...server.fids]], [0, [0]]);
  });
}

test("RemoteFile.chunks(): an error in the window comes at once, also when the server hangs", async () => {
  await using scene = await start({ msize: 24 + 256 });
  const { server } = scene;
  const file = await openFile(scene);
  const chunks = file.chunks();
  const data = new Uint8Array(256);
  const first = chunks.next();
  await server.exchange("Tread", {}, { type: "Rread", data });
  await first;
  const second = failure(chunks.next());
  const length = stat("f", 1000);
  await server.exchange("Tstat", {}, { type: "Rstat", stat: length });
  const [bad, ...held] = [
    await server.expect("Tread"),
    await server.expect("Tread"),
    await server.expect("Tread"),
  ];
  server.refuse(bad, "i/o error");
  assertInstanceOf(await second, NinePError);
  recover(scene, held);
  await file.close();
  assertEquals([server.open.size, [...server.fids]], [0, [0]]);
});

test("RemoteFile.readable: cancel() does not wait for a server that hangs; close() does", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const reader = file.readable.getReader();
  const reading = reader.read();
  const read = await server.expect("Tread");
  await reader.cancel("enough");
  assertEquals((await reading).done, true);
  const flush = await server.expect("Tflush", { oldtag: read.tag });
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  recover(scene, [read, flush]);
  await file.close();
  assertEquals([server.open.size, [...server.fids]], [0, [0]]);
});

test("RemoteFile.writable: abort() does not wait for a server that hangs; close() does", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const writer = file.writable.getWriter();
  writer.closed.catch(() => {});
  const writing = failure(writer.write("x"));
  const write = await server.expect("Twrite");
  await writer.abort("enough");
  assertEquals(await writing, "enough");
  const flush = await server.expect("Tflush", { oldtag: write.tag });
  recover(scene, [write, flush]);
  await file.close();
  assertEquals([server.open.size, [...server.fids]], [0, [0]]);
});

test("RemoteFile.close(): signal and timeout only end the waiting; closing again has the same outcome", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = failure(file.close({ signal }));
  const clunk = await server.expect("Tclunk", { fid: 1 });
  controller.abort("enough");
  assertEquals(await aborted, "enough");
  const late = await failure(file.close({ timeout: 1 }));
  assertInstanceOf(late, DOMException);
  assertEquals(late.message, 'Cannot close "f": no answer within 1 ms');
  await assertRejects(() => file.stat(), TypeError, "the file is closed");
  const closing = [failure(file.close()), failure(file.close())];
  server.refuse(clunk, "file system is full");
  const [error, again] = await Promise.all(closing);
  assertInstanceOf(error, NinePError);
  assertEquals(error.message, 'Cannot close "f": file system is full');
  assertStrictEquals(again, error);
  assertStrictEquals(await failure(file.close()), error);
});

test("RemoteFile.close() with a signal that is aborted closes the file all the same", async () => {
  await using scene = await start();
  const file = await openFile(scene);
  const signal = AbortSignal.abort("enough");
  assertEquals(await failure(file.close({ signal })), "enough");
  await scene.server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
});

test("RemoteFile.close() ends what is under way with the file, and nothing else", async () => {
  await using scene = await start({ maxInFlight: 4 });
  const { client, server } = scene;
  const file = await openFile(scene);
  const into = new Uint8Array(1);
  const reading = failure(file.read(into));
  const writing = failure(file.writeAt("x", 7));
  const looking = failure(file.stat());
  const other = client.stat(0);
  const waiting = failure(file.readAt(into, 1)); // No room for it.
  const held = [
    await server.expect("Tread"),
    await server.expect("Twrite"),
    await server.expect("Tstat", { fid: 1 }),
  ];
  const root = await server.expect("Tstat", { fid: 0 });
  const closing = file.close();
  assertClosed(await waiting, "f");
  for (const { tag } of held) {
    const flush = await server.expect("Tflush", { oldtag: tag });
    server.answer(flush, { type: "Rflush" });
  }
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await closing;
  for (const ended of [reading, writing, looking]) {
    assertClosed(await ended, "f");
  }
  server.answer(root, { type: "Rstat", stat: stat("/") });
  assertEquals((await other).name, "/");
  assertEquals(server.open.size, 0);
});

test("RemoteFile.close(): a reply that comes before the Rflush counts", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const writing = file.write("abc");
  const write = await server.expect("Twrite");
  const closing = file.close();
  const flush = await server.expect("Tflush", { oldtag: write.tag });
  server.answer(write, { type: "Rwrite", count: 3 });
  server.answer(flush, { type: "Rflush" });
  assertEquals(await writing, 3);
  scene.run(() => undefined);
  await closing;
});

/** A client of a tree with a file whose reads have no end. */
async function withEvents(
  use: (client: Awaited<ReturnType<typeof connect>>) => Promise<void>,
): Promise<void> {
  const fs = new MemoryFs();
  fs.define("events", { read: () => new Promise(() => {}) });
  const [near, far] = pair();
  const served = serve(far, fs);
  {
    await using client = await connect(near);
    await use(client);
    assertEquals(client.protocol.allocFid(), 1, "a fid is left");
  }
  await served;
}

test("RemoteFile.close() of an event file ends the read that waits for an event", async () => {
  await withEvents(async (client) => {
    const file = await client.open("events");
    const reading = failure(file.read(new Uint8Array(9)));
    await file.close();
    assertClosed(await reading, "events");
    const another = await client.open("events");
    const lines = failure(consume(another.lines()));
    await another.close();
    assertClosed(await lines, "events");
    const third = await client.open("events");
    const chunk = failure(third.readable.getReader().read());
    await client.stat(0); // A stream asks a turn later.
    await third.close();
    assertClosed(await chunk, "events");
  });
});

for (const how of ["signal", "timeout"] as const) {
  test(`withFile(): its ${how} ends what the function waits for, and closes the file`, async () => {
    await withEvents(async (client) => {
      const controller = new AbortController();
      const options = how === "signal"
        ? { signal: controller.signal }
        : { timeout: 1 };
      const ended = Promise.withResolvers<unknown>();
      const outcome = await failure(client.withFile("events", async (file) => {
        const reading = failure(file.read(new Uint8Array(9)));
        if (how === "signal") controller.abort("enough");
        const error = await reading;
        await assertRejects(() => file.stat(), TypeError, "is closed");
        await file.close();
        ended.resolve(error);
      }, options));
      if (how === "signal") assertEquals(outcome, "enough");
      else {
        assertInstanceOf(outcome, DOMException);
        const message = 'Cannot use "events": no answer within 1 ms';
        assertEquals(outcome.message, message);
      }
      assertClosed(await ended.promise, "events");
    });
  });

  test(`withFid(): its ${how} ends the requests of the fid, which is clunked behind the function`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const options = how === "signal"
      ? { signal: controller.signal }
      : { timeout: 1 };
    const inner = Promise.withResolvers<unknown>();
    const outcome = failure(client.protocol.withFid("a", async (fid) => {
      inner.resolve(await failure(client.protocol.read(fid)));
    }, options));
    await walkTo(scene);
    const read = await server.expect("Tread", { fid: 1 });
    controller.abort("enough");
    const reason = await outcome;
    const flush = await server.expect("Tflush", { oldtag: read.tag });
    await settled(scene); // No Tclunk comes before this.
    server.answer(flush, { type: "Rflush" });
    assertStrictEquals(await inner.promise, reason);
    await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
    assertEquals(server.open.size, 0);
  });
}

test("withFile() aborted while the file is opened does not run the function", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const { signal } = controller;
  const using = failure(client.withFile("f", () => assert(false), { signal }));
  await walkTo(scene);
  const open = await server.expect("Topen");
  controller.abort("enough");
  assertEquals(await using, "enough");
  server.answer(open, { type: "Ropen", qid: qid(1), iounit: 0 });
  scene.run(() => undefined);
  await client.stat(0);
  await client.stat(0);
  assertEquals([...server.fids], [0]);
});

test("RemoteFile.writable: a chunk that is neither bytes nor text closes the file", async () => {
  await using scene = await start();
  const file = await openFile(scene);
  const writer = file.writable.getWriter();
  writer.closed.catch(() => {});
  // As a caller without types may do.
  const failing = failure(writer.write(42 as unknown as string));
  await scene.server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  const error = await failing;
  assertInstanceOf(error, TypeError);
  assertEquals(
    error.message,
    "Cannot write a chunk: it is neither bytes nor text but number",
  );
});

test("RemoteFile.readable: a BYOB reader of elements that the length is no multiple of: the file is closed", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const reader = file.readable.getReader({ mode: "byob" });
  reader.closed.catch(() => {});
  const reading = failure(
    (async () => {
      while (!(await reader.read(new Uint16Array(8))).done);
    })(),
  );
  for (const data of [new Uint8Array(3), new Uint8Array(0)]) {
    await server.exchange("Tread", {}, { type: "Rread", data });
  }
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  assertInstanceOf(await reading, TypeError);
});

test("RemoteFile.seek() takes the numbers of Deno.SeekMode, and refuses what it does not know", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Tstat"
      ? { type: "Rstat", stat: stat("f", 100) }
      : undefined
  );
  await using file = await scene.client.open("f");
  assertEquals(await file.seek(5, 0), 5);
  assertEquals(await file.seek(2, 1), 7);
  assertEquals(await file.seek(-1, 2), 99);
  for (const whence of ["bogus", 3, null]) {
    await assertRejects(
      // As a caller without types may do.
      () => file.seek(1, whence as "start"),
      TypeError,
      `Cannot seek in "f": whence is ${whence}`,
    );
  }
  assertEquals(file.position, 99);
});
