// RemoteFile: chunks, lines and streams, against a scripted server.
import { assert, assertEquals, assertRejects } from "@std/assert";
import process from "node:process";
import { test } from "../harness.ts";
import {
  openFile,
  qid,
  type Reply,
  type Scene,
  settled,
  start,
  stat,
} from "./scripted.ts";
import { connect, type RemoteFile } from "../../client.ts";
import { NinePError, QTAPPEND, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const text = new TextEncoder();
const utf8 = new TextDecoder();

type Handler = (request: Tmessage) => Reply | undefined;
type Tread = Extract<Tmessage, { type: "Tread" }>;

/** Largest transfer of the scenes here. */
const LIMIT = 256;
const OPTIONS = { msize: 24 + LIMIT };

function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));
}

/** Serves a file, whose stat may name another length. */
function serving(content: Uint8Array, says = content.length): Handler {
  return (request) => {
    if (request.type === "Tstat") {
      return { type: "Rstat", stat: stat("f", says) };
    }
    return request.type === "Tread" ? part(content, request) : undefined;
  };
}

function part(content: Uint8Array, request: Tread, most = Infinity): Reply {
  const at = Number(request.offset);
  const count = Math.min(request.count, most);
  return { type: "Rread", data: content.slice(at, at + count) };
}

function countOf({ server }: Scene, type: Tmessage["type"]): number {
  return server.log.filter((request) => request.type === type).length;
}

async function gathered(file: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of file) parts.push(chunk);
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

/** All ways to read a file from its position to its end. */
const WAYS: Record<string, (file: RemoteFile) => Promise<Uint8Array>> = {
  "for await": (file) => gathered(file),
  "chunks()": (file) => gathered(file.chunks()),
  readable: (file) => gathered(streamed(file.readable)),
  "readable, BYOB": (file) => gathered(byob(file.readable, 100)),
  "readable, BYOB of 1 byte": (file) => gathered(byob(file.readable, 1)),
};

/** The chunks of a stream; not by its own iterator, which is young. */
async function* streamed(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  for (
    let result = await reader.read();
    !result.done;
    result = await reader.read()
  ) yield result.value;
}

async function* byob(
  stream: ReadableStream<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader({ mode: "byob" });
  while (true) {
    const { value, done } = await reader.read(new Uint8Array(size));
    if (done) break;
    yield value.slice();
  }
}

for (const [way, read] of Object.entries(WAYS)) {
  test(`K19 RemoteFile, ${way}: files of every size around the borders`, async () => {
    for (const length of [0, 1, 255, 256, 257, 511, 512, 2560, 5000]) {
      await using scene = await start(OPTIONS);
      const content = pattern(length);
      scene.run(serving(content));
      await using file = await scene.client.open("f");
      assertEquals(await read(file), content);
      assertEquals(file.position, length);
    }
  });

  test(`K19 RemoteFile, ${way}: short replies, in any order of sizes`, async () => {
    await using scene = await start(OPTIONS);
    const content = pattern(4000);
    let most = 0;
    scene.run((request) => {
      if (request.type !== "Tread" || request.offset < 256n) {
        return serving(content)(request);
      }
      most = most % 97 + 13;
      return part(content, request, most);
    });
    await using file = await scene.client.open("f");
    await file.seek(5);
    assertEquals(await read(file), content.subarray(5));
  });

  test(`K19 RemoteFile, ${way}: the server names another length`, async () => {
    for (const [says, has] of [[5000, 900], [900, 5000], [0, 3000]]) {
      await using scene = await start(OPTIONS);
      const content = pattern(has!);
      scene.run(serving(content, says));
      await using file = await scene.client.open("f");
      assertEquals(await read(file), content);
    }
  });
}

test("K19 RemoteFile.chunks() of a file that grows gives what was there, in order, once", async () => {
  await using scene = await start(OPTIONS);
  const content = pattern(3000);
  let length = 1000;
  scene.run((request) => {
    const reply = serving(content.subarray(0, length))(request);
    length = Math.min(length + 150, content.length);
    return reply;
  });
  await using file = await scene.client.open("f");
  assertEquals(await gathered(file.chunks()), content);
});

test("K19 RemoteFile.chunks(): a reply of nothing in the middle is the end", async () => {
  await using scene = await start(OPTIONS);
  const content = pattern(3000);
  scene.run((request) =>
    request.type === "Tread" && request.offset === 768n
      ? { type: "Rread", data: new Uint8Array(0) }
      : serving(content)(request)
  );
  await using file = await scene.client.open("f");
  assertEquals(await gathered(file.chunks()), content.subarray(0, 768));
});

test("RemoteFile.chunks() of a made-up file: one request at a time, data at once", async () => {
  await using scene = await start(OPTIONS);
  const { server } = scene;
  const file = await openFile(scene);
  const chunks = file.chunks();
  for (const event of ["one", "two", "three"]) {
    const next = chunks.next();
    const read = await server.expect("Tread", { count: LIMIT });
    assertEquals(server.open.size, 1);
    server.answer(read, { type: "Rread", data: text.encode(event) });
    assertEquals(utf8.decode((await next).value ?? undefined), event);
  }
  await chunks.return();
  assertEquals(file.position, 11);
  const closing = file.close();
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  await closing;
});

test("RemoteFile.chunks() is bounded by the window, and waits for its reader", async () => {
  await using scene = await start({ msize: 1 << 20, window: 4096 });
  const { server } = scene;
  const file = await openFile(scene);
  const content = pattern(200_000);
  const chunks = file.chunks();
  const first = chunks.next();
  const read = await server.expect("Tread", { count: 65536 });
  server.answer(read, part(content, read));
  await first;
  const second = chunks.next();
  const length = stat("f", content.length);
  await server.exchange("Tstat", {}, { type: "Rstat", stat: length });
  const reads = [];
  for (let i = 0; i < 8; i++) {
    const offset = BigInt(65536 + 512 * i);
    reads.push(await server.expect("Tread", { offset, count: 512 }));
  }
  for (const read of reads) server.answer(read, part(content, read));
  await second;
  await settled(scene); // No Tread comes before this: nobody asks for more.
  const third = chunks.next();
  await server.exchange("Tread", { offset: 65536n + 4096n }, {
    type: "Rread",
    data: new Uint8Array(512),
  });
  await third;
  await chunks.return();
  scene.run(() => undefined);
  await file.close();
});

test("RemoteFile.chunks(): an error in the window comes behind the data before it, and ends the others", async () => {
  await using scene = await start(OPTIONS);
  const { server } = scene;
  const file = await openFile(scene);
  const content = pattern(4000);
  const chunks = file.chunks();
  const first = chunks.next();
  const read = await server.expect("Tread");
  server.answer(read, part(content, read));
  await first;
  const second = chunks.next();
  const length = stat("f", content.length);
  await server.exchange("Tstat", {}, { type: "Rstat", stat: length });
  const reads: Tread[] = [];
  for (let i = 0; i < 8; i++) reads.push(await server.expect("Tread"));
  server.refuse(reads[1]!, "i/o error");
  server.answer(reads[0]!, part(content, reads[0]!));
  assertEquals((await second).value, content.subarray(256, 512));
  const failing = assertRejects(
    () => chunks.next(),
    NinePError,
    'Cannot read "f": i/o error',
  );
  // What nobody waits for any more is flushed, and the tags are free.
  for (let i = 0; i < 7;) {
    const request = await server.next();
    assert(request?.type === "Tflush" || request?.type === "Tread");
    if (request.type === "Tread") reads.push(request);
    else {
      server.answer(request, { type: "Rflush" });
      i++;
    }
  }
  await failing;
  assertEquals(server.open.size, 0);
  assertEquals((await chunks.next()).done, true);
  scene.run(() => undefined);
  await file.close();
});

for (const way of ["chunks()", "readable"]) {
  test(`RemoteFile: ${way} that is left in the middle flushes what was read ahead`, async () => {
    await using scene = await start(OPTIONS);
    const { server } = scene;
    const file = await openFile(scene);
    const content = pattern(4000);
    const reads: Tmessage[] = [];
    // The first two are answered, the others never.
    scene.run((request) => {
      if (request.type !== "Tread") return serving(content)(request);
      if (reads.push(request) > 2) return undefined;
      return part(content, request);
    });
    if (way === "readable") {
      const reader = file.readable.getReader();
      await reader.read();
      await reader.read();
      await reader.cancel("enough");
    } else {
      const chunks = file.chunks();
      await chunks.next();
      await chunks.next();
      await chunks.return();
    }
    await file.close();
    assertEquals(reads.length, 9);
    assertEquals(countOf(scene, "Tflush"), 7);
    assertEquals([...server.fids], [0]);
    assertEquals(server.open.size, 0);
  });
}

test("K13 RemoteFile.chunks(): an abort rejects at once with its reason, and flushes all", async () => {
  await using scene = await start(OPTIONS);
  const { server } = scene;
  const file = await openFile(scene);
  const content = pattern(4000);
  const reason = new Error("enough");
  const controller = new AbortController();
  const chunks = file.chunks({ signal: controller.signal });
  let count = 0;
  const all = Promise.withResolvers<void>();
  scene.run((request) => {
    if (request.type !== "Tread") return serving(content)(request);
    if (++count === 9) all.resolve();
    return count === 1 ? part(content, request) : undefined;
  });
  await chunks.next();
  const failing = assertRejects(() => chunks.next(), Error, "enough");
  await all.promise;
  controller.abort(reason);
  await failing;
  await file.close();
  assertEquals(countOf(scene, "Tflush"), 8);
  assertEquals(server.open.size, 0);
});

test("RemoteFile.readable: no request is sent before the first read", async () => {
  await using scene = await start(OPTIONS);
  const file = await openFile(scene);
  const { readable } = file;
  await settled(scene);
  scene.run(serving(pattern(1000)));
  await readable.cancel();
  await file.close();
  assertEquals(countOf(scene, "Tread"), 0);
  assertEquals([...scene.server.fids], [0]);
});

test("RemoteFile.readable of a directory's fid reads one by one", async () => {
  await using scene = await start(OPTIONS);
  const { server } = scene;
  const file = await openFile(scene, { qid: qid(1, 0x80) });
  const reader = file.readable.getReader();
  for (let i = 0; i < 3; i++) {
    const reading = reader.read();
    const offset = BigInt(256 * i);
    await server.exchange("Tread", { offset }, {
      type: "Rread",
      data: new Uint8Array(256),
    });
    await reading;
  }
  scene.run(() => undefined);
  await reader.cancel();
});

test("RemoteFile.readable holds no more than the window of a file of 256 MiB", async () => {
  const SIZE = 256 * 1024 * 1024;
  const fs = new MemoryFs({}, { uid: "none" });
  const zeros = new Uint8Array(1024 * 1024);
  fs.define("zeros", {
    length: () => SIZE,
    read: ({ offset, count }) =>
      zeros.subarray(0, Math.min(count, SIZE - offset)),
  });
  const [near, far] = pair();
  const served = serve(far, fs);
  const client = await connect(near);
  const { readable } = await client.open("zeros");
  let length = 0;
  let start = Infinity;
  let most = 0;
  for await (const chunk of streamed(readable)) {
    length += chunk.length;
    if (length % (16 * 1024 * 1024) > 0) continue;
    const { rss } = process.memoryUsage();
    start = Math.min(start, rss);
    most = Math.max(most, rss);
  }
  await client.close();
  await served;
  assertEquals(length, SIZE);
  assert(most - start < 64 * 1024 * 1024, `${most - start} bytes more`);
});

test("K22 RemoteFile.lines(): every way to cut a text, with both ends of lines", async () => {
  const content = text.encode("\ufeffžluť\r\n\r\n🐎\n\n\ra\rb\r\nlast");
  const lines = ["\ufeffžluť", "", "🐎", "", "\ra\rb", "last"];
  for (let most = 1; most <= content.length; most++) {
    await using scene = await start();
    scene.run((request) =>
      request.type === "Tread" ? part(content, request, most) : undefined
    );
    await using file = await scene.client.open("f");
    const got: string[] = [];
    for await (const line of file.lines()) got.push(line);
    assertEquals(got, lines);
  }
});

test("RemoteFile.lines(): no line, an empty one, a cut character at the end", async () => {
  const cases: [Uint8Array, string[]][] = [
    [text.encode(""), []],
    [text.encode("\n"), [""]],
    [text.encode("a\n"), ["a"]],
    [text.encode("a\r"), ["a\r"]],
    [new Uint8Array([0x61, 0xf0, 0x9f]), ["a\ufffd"]],
  ];
  for (const [content, lines] of cases) {
    await using scene = await start();
    scene.run(serving(content));
    await using file = await scene.client.open("f");
    const got: string[] = [];
    for await (const line of file.lines()) got.push(line);
    assertEquals(got, lines);
  }
});

test("RemoteFile.lines() refuses a line that is too long, and leaves the file open", async () => {
  for (const content of ["abcde\n", "abcde", "ok\nabcdefgh"]) {
    await using scene = await start({ msize: 24 + 256 });
    let most = 0;
    scene.run((request) =>
      request.type === "Tread"
        ? part(text.encode(content), request, most = most % 3 + 1)
        : undefined
    );
    await using file = await scene.client.open("f");
    await assertRejects(
      async () => {
        for await (const _ of file.lines({ maxLength: 4 }));
      },
      RangeError,
      'Cannot read "f": a line has more than 4 characters',
    );
    assertEquals(await file.readAt(new Uint8Array(1), 0), 1);
  }
  await using scene = await start();
  scene.run(serving(text.encode("abcd\r\nabcd")));
  await using file = await scene.client.open("f");
  for await (const line of file.lines({ maxLength: 4 })) {
    assertEquals(line, "abcd");
  }
});

test("RemoteFile.lines(): the limit does not depend on where a reply ends", async () => {
  const cases: [string, string[] | undefined][] = [
    ["1234\r\n5678\r\n", ["1234", "5678"]],
    ["\r\n1234\r\n", ["", "1234"]],
    ["123\r\r\n", ["123\r"]],
    ["12\u{1f40e}\r\n\u{1f40e}34", ["12\u{1f40e}", "\u{1f40e}34"]],
    ["1234\r\r\n", undefined],
    ["1234\r", undefined], // Nothing ends with that.
    ["1234\rx\n", undefined],
    ["123\u{1f40e}\r\n", undefined],
    ["1234\ud83d\r\n", undefined],
  ];
  for (const [content, lines] of cases) {
    const bytes = text.encode(content);
    for (let most = 1; most <= bytes.length; most++) {
      for (let first = 0; first < Math.min(most, bytes.length); first++) {
        await using scene = await start();
        let isFirst = first > 0;
        scene.run((request) => {
          if (request.type !== "Tread") return undefined;
          const reply = part(bytes, request, isFirst ? first : most);
          isFirst = false;
          return reply;
        });
        await using file = await scene.client.open("f");
        const got = await Array.fromAsync(file.lines({ maxLength: 4 }))
          .catch((error) => error instanceof RangeError ? undefined : error);
        assertEquals(got, lines, `${JSON.stringify(content)} by ${most}`);
      }
    }
  }
});

test("RemoteFile.lines(): an abort ends them, whatever is there of the chunk", async () => {
  for (const most of [1, 2, 3]) {
    await using scene = await start();
    scene.run(serving(text.encode("a\nb\nc\nd")));
    await using file = await scene.client.open("f");
    const controller = new AbortController();
    const { signal } = controller;
    const got: string[] = [];
    const reading = async () => {
      for await (const line of file.lines({ signal })) {
        if (got.push(line) === most) controller.abort(new Error("enough"));
      }
    };
    await assertRejects(reading, Error, "enough");
    assertEquals(got, ["a", "b", "c"].slice(0, most));
  }
});

test("RemoteFile takes texts: write(), writeAt(), writeAll(), writable", async () => {
  const fs = new MemoryFs({ f: "" }, { uid: "none" });
  const [near, far] = pair();
  void serve(far, fs);
  await using client = await connect(near);
  const file = await client.open("f", { read: true, write: true });
  assertEquals(await file.write("žluť"), 6);
  assertEquals(await file.writeAt("Z", 0), 1);
  await file.writeAll("🐎");
  assertEquals(file.position, 10);
  const writer = file.writable.getWriter();
  await writer.write("\n");
  await writer.write(text.encode("end"));
  await writer.close();
  assertEquals(fs.readFile("f").length, 14);
  // As a caller without types may do.
  const again = await client.open("f", { write: true });
  await assertRejects(() => again.write(7 as unknown as string), TypeError);
  await again.close();
});

/** Keeps what is written; tells how many writes were under way at once. */
class Disk {
  content = new Uint8Array(0);
  writes: Extract<Tmessage, { type: "Twrite" }>[] = [];

  handler: Handler = (request) => {
    if (request.type === "Tstat") {
      return { type: "Rstat", stat: stat("f", this.content.length) };
    }
    if (request.type !== "Twrite") return undefined;
    this.writes.push(request);
    const at = Number(request.offset);
    const end = at + request.data.length;
    if (end > this.content.length) {
      const longer = new Uint8Array(end);
      longer.set(this.content);
      this.content = longer;
    }
    this.content.set(request.data, at);
    return { type: "Rwrite", count: request.data.length };
  };
}

test("RemoteFile.writable of a plain file: several writes in flight, of bytes that may change", async () => {
  await using scene = await start({ msize: 1 << 20, window: 8192 });
  const { server } = scene;
  const file = await openFile(scene);
  const disk = new Disk();
  const writer = file.writable.getWriter();
  const first = writer.write(pattern(65536));
  for (let i = 0; i < 64; i++) {
    const write = await server.expect("Twrite", { offset: BigInt(1024 * i) });
    server.answer(write, disk.handler(write)!);
    assertEquals(server.open.size, 0);
  }
  await first;
  const chunk = new Uint8Array(1024);
  const writing = (async () => {
    for (let i = 0; i < 8; i++) {
      chunk.fill(i);
      await writer.write(chunk);
    }
  })();
  const look = await server.expect("Tstat");
  server.answer(look, disk.handler(look)!);
  await writing; // No write of them has been answered.
  chunk.fill(0xff);
  const writes: Extract<Tmessage, { type: "Twrite" }>[] = [];
  for (let i = 0; i < 8; i++) writes.push(await server.expect("Twrite"));
  const ninth = writer.write(chunk);
  await settled(scene); // The window is full: no Twrite comes before this.
  // Out of order, one of them short.
  for (const write of writes.reverse()) {
    const isShort = write.offset === 65536n + 1024n;
    const data = write.data.subarray(0, isShort ? 100 : undefined);
    disk.handler({ ...write, data });
    server.answer(write, { type: "Rwrite", count: data.length });
  }
  scene.run(disk.handler);
  await ninth;
  await writer.close();
  assertEquals(disk.content.length, 65536 + 9 * 1024);
  for (let i = 0; i < 8; i++) {
    const start = 65536 + 1024 * i;
    const part = disk.content.subarray(start, start + 1024);
    assert(part.every((byte) => byte === i), `chunk ${i}`);
  }
});

for (
  const [kind, type, says] of [
    ["an append-only file", QTAPPEND, undefined],
    ["a file that takes commands", 0, 0],
  ] as const
) {
  test(`RemoteFile.writable of ${kind} writes one by one`, async () => {
    await using scene = await start({ msize: 24 + 65536 });
    const { server } = scene;
    const file = await openFile(scene, { qid: qid(1, type) });
    const disk = new Disk();
    let most = 0;
    scene.run((request) => {
      most = Math.max(most, server.open.size);
      return request.type === "Tstat" && says !== undefined
        ? { type: "Rstat", stat: stat("f", says) }
        : disk.handler(request);
    });
    const writer = file.writable.getWriter();
    for (let i = 0; i < 12; i++) void writer.write(pattern(30_000));
    await writer.close();
    assertEquals([most, disk.content.length], [1, 360_000]);
  });
}

test("RemoteFile.writable: a later write or the close gives the first failure, nothing is left", async () => {
  for (const how of ["write", "close"]) {
    await using scene = await start({ msize: 24 + 65536 });
    const { server } = scene;
    const file = await openFile(scene);
    const disk = new Disk();
    let count = 0;
    const failed = Promise.withResolvers<void>();
    scene.run((request) => {
      if (request.type !== "Twrite" || ++count < 4) {
        return disk.handler(request);
      }
      failed.resolve();
      return { type: "Rerror", ename: `file system is full ${count}` };
    });
    const writer = file.writable.getWriter();
    const { closed } = writer;
    closed.catch(() => {});
    for (let i = 0; i < 4; i++) await writer.write(pattern(65536));
    await failed.promise;
    const failing = assertRejects(
      async () => {
        if (how === "close") return await writer.close();
        while (true) await writer.write(pattern(65536));
      },
      NinePError,
      'Cannot write "f": file system is full 4',
    );
    await failing;
    await assertRejects(() => closed, NinePError);
    await file.close();
    assertEquals([server.open.size, [...server.fids]], [0, [0]]);
  }
});

test("RemoteFile.writable: abort() flushes the writes in flight and closes the file", async () => {
  await using scene = await start({ msize: 24 + 65536 });
  const { server } = scene;
  const file = await openFile(scene);
  const writer = file.writable.getWriter();
  writer.closed.catch(() => {});
  const first = writer.write(pattern(65536));
  await server.exchange("Twrite", {}, { type: "Rwrite", count: 65536 });
  await first;
  const writing = (async () => {
    while (true) await writer.write(pattern(65536));
  })().catch((error) => error);
  const length = stat("f", 65536);
  await server.exchange("Tstat", {}, { type: "Rstat", stat: length });
  for (let i = 0; i < 8; i++) await server.expect("Twrite");
  scene.run(() => undefined);
  await writer.abort("enough");
  assertEquals(await writing, "enough");
  await file.close();
  assertEquals(countOf(scene, "Tflush"), 8);
  assertEquals([server.open.size, [...server.fids]], [0, [0]]);
});

test("RemoteFile.limit is what one request takes", async () => {
  for (const [iounit, limit] of [[0, 8168], [100, 100], [99999, 8168]]) {
    await using scene = await start();
    const file = await openFile(scene, { iounit: iounit! });
    assertEquals([file.iounit, file.limit], [iounit, limit]);
    scene.run(() => undefined);
    await file.close();
  }
});
