// The position of an open file: operations that use it run in the order of the
// calls.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import { openFile, start, stat } from "./scripted.ts";
import { connect, type RemoteFile } from "../../client.ts";
import { NinePError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const utf8 = new TextDecoder();

/** Runs a test on an open file of a served tree. */
async function onFile(
  content: string | Uint8Array,
  use: (file: RemoteFile, fs: MemoryFs) => Promise<void>,
): Promise<void> {
  const fs = new MemoryFs({ f: content }, { uid: "none" });
  const [near, far] = pair();
  void serve(far, fs);
  await using client = await connect(near);
  await using file = await client.open("f", { read: true, write: true });
  await use(file, fs);
}

async function textOf(
  file: RemoteFile,
  length: number,
): Promise<string | null> {
  const buffer = new Uint8Array(length);
  const count = await file.read(buffer);
  return count === null ? null : utf8.decode(buffer.subarray(0, count));
}

test("RemoteFile: writes and reads at once follow one another", async () => {
  await onFile("", async (file, fs) => {
    const lines = ["one\n", "two\n", "three\n"];
    await Promise.all(lines.map((line) => file.writeAll(line)));
    assertEquals([fs.readTextFile("f"), file.position], [lines.join(""), 14]);
    await file.seek(0);
    await Promise.all(lines.map((line) => file.write(line)));
    assertEquals([fs.readTextFile("f"), file.position], [lines.join(""), 14]);
  });
  await onFile("0123456789", async (file) => {
    const texts = await Promise.all([textOf(file, 4), textOf(file, 4)]);
    assertEquals([texts, file.position], [["0123", "4567"], 8]);
    const more = await Promise.all([textOf(file, 4), textOf(file, 4)]);
    assertEquals([more, file.position], [["89", null], 10]);
  });
});

test("RemoteFile: a seek has its place between reads and writes", async () => {
  await onFile("0123456789", async (file, fs) => {
    const results = await Promise.all([
      textOf(file, 2),
      file.seek(1, "current"),
      textOf(file, 2),
      file.seek(-1, "end"),
      textOf(file, 2),
      file.seek(5),
      file.write("x"),
      file.seek(-2, "current"),
      file.writeAll("yz"),
      textOf(file, 2),
    ]);
    assertEquals(
      results,
      ["01", 3, "34", 9, "9", 5, 1, 4, undefined, "67"],
    );
    assertEquals([fs.readTextFile("f"), file.position], ["0123yz6789", 8]);
  });
});

test("RemoteFile: a failed operation delays no other, and does not move the position", async () => {
  await onFile("0123456789", async (file) => {
    const [first, bad, odd, last] = await Promise.allSettled([
      textOf(file, 2),
      file.seek(-9, "current"),
      // A JavaScript caller may pass this.
      file.seek(0, "middle" as "end"),
      textOf(file, 2),
    ]);
    assertEquals(first, { status: "fulfilled", value: "01" });
    assertEquals([bad?.status, odd?.status], ["rejected", "rejected"]);
    assertEquals(last, { status: "fulfilled", value: "23" });
  });
});

test("RemoteFile: an error of the server delays no other operation", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const reads = [textOf(file, 2), textOf(file, 2)];
  const outcome = assertRejects(() => reads[0]!, NinePError, "i/o error");
  server.refuse(await server.expect("Tread", { offset: 0n }), "i/o error");
  await outcome;
  const data = new TextEncoder().encode("01");
  await server.exchange("Tread", { offset: 0n }, { type: "Rread", data });
  assertEquals(await reads[1], "01");
  scene.run(() => undefined);
  await file.close();
});

test("RemoteFile: an abort rejects at once, whether a read waits for the server or for its turn", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const one = new AbortController();
  const two = new AbortController();
  const buffer = new Uint8Array(2);
  const first = file.read(buffer, { signal: one.signal });
  const second = file.read(buffer, { signal: two.signal });
  const third = textOf(file, 2);
  const held = await server.expect("Tread", { offset: 0n });
  two.abort(new Error("two"));
  await assertRejects(() => second, Error, "two");
  one.abort(new Error("one"));
  await assertRejects(() => first, Error, "one");
  // The third read goes out although the server has not answered the first one.
  const flush = await server.expect("Tflush", { oldtag: held.tag });
  const data = new TextEncoder().encode("01");
  await server.exchange("Tread", { offset: 0n }, { type: "Rread", data });
  assertEquals([await third, file.position], ["01", 2]);
  server.answer(flush, { type: "Rflush" });
  scene.run(() => undefined);
  await file.close();
});

test("RemoteFile: a timeout counts the wait for the turn", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const first = assertRejects(
    () => file.read(new Uint8Array(2)),
    DOMException,
    "was closed",
  );
  await server.expect("Tread");
  await assertRejects(
    () => file.read(new Uint8Array(2), { timeout: 1 }),
    DOMException,
    'Cannot read "f": no answer within 1 ms',
  );
  scene.run(() => undefined);
  await file.close();
  await first;
});

test("RemoteFile.close() gives up reads that wait for their turn", async () => {
  await using scene = await start();
  const { server } = scene;
  const file = await openFile(scene);
  const reads = Promise.allSettled(
    [1, 2, 3].map(() => file.read(new Uint8Array(2))),
  );
  await server.expect("Tread");
  scene.run(() => undefined);
  await file.close();
  for (const read of await reads) {
    assert(read.status === "rejected");
    assertEquals(read.reason.name, "AbortError");
  }
  assertEquals(
    server.log.filter(({ type }) => type === "Tread").length,
    1,
  );
});

test("RemoteFile: chunks come after earlier calls, and after a seek between them", async () => {
  const content = Uint8Array.from({ length: 400_000 }, (_, i) => i % 251);
  await onFile(content, async (file) => {
    const head = new Uint8Array(100);
    const reading = file.read(head);
    const chunks = file.chunks();
    const first = await chunks.next();
    assertEquals([await reading, first.value?.[0]], [100, 100]);
    const second = await chunks.next(); // From here on it reads ahead.
    assert(second.value !== undefined);
    const at = file.position;
    assertEquals(await file.read(head), 100);
    assertEquals(head[0], at % 251);
    const third = await chunks.next();
    assertEquals(third.value?.[0], (at + 100) % 251);
    assertEquals(file.position, at + 100 + (third.value?.length ?? 0));
    await file.seek(-3, "end");
    const last = await chunks.next();
    assertEquals(last.value, content.slice(-3));
    assertEquals((await chunks.next()).done, true);
    assertEquals(file.position, content.length);
  });
});

test("RemoteFile.writable: a seek between chunks moves the next chunks", async () => {
  await onFile("", async (file, fs) => {
    const writer = file.writable.getWriter();
    const block = new Uint8Array(100_000).fill(1);
    await writer.write(block); // From here on writes are in flight together.
    await writer.write(block);
    await file.seek(5);
    await writer.write("abc");
    await file.write("d");
    await writer.write("e");
    await writer.close();
    const { length } = fs.readFile("f");
    assertEquals(length, 200_000);
    assertEquals(
      utf8.decode(fs.readFile("f").subarray(4, 11)),
      "\x01abcde\x01",
    );
  });
});

test("RemoteFile: a read under way delays a write at the position, and no stat", async () => {
  await using scene = await start();
  const file = await openFile(scene);
  scene.run((request) =>
    request.type === "Tstat" ? { type: "Rstat", stat: stat("f", 9) } : undefined
  );
  const read = assertRejects(() => file.read(new Uint8Array(2)));
  const written = file.write("ab").catch(() => {});
  const tail = file.stat();
  await tail;
  const types = scene.server.log.slice(4).map(({ type }) => type);
  // One Tstat asks whether the file has bytes after the position.
  assertEquals(types, ["Tread", "Tstat", "Tstat"]);
  await file.close();
  await read;
  await written;
});

/**
 * A tree with a dialogue file. A read waits for a written message; a
 * write waits for a read once `most` messages wait.
 */
function dialogue(most = Infinity): MemoryFs {
  const fs = new MemoryFs({}, { uid: "none" });
  const messages: Uint8Array[] = [];
  let wakeReader = () => {};
  let wakeWriter = () => {};
  const wait = (set: (wake: () => void) => void, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      set(resolve);
      signal.onabort = () => reject(signal.reason);
    });
  fs.define("talk", {
    read: async (_request, { signal }) => {
      while (messages.length === 0) {
        await wait((wake) => wakeReader = wake, signal);
      }
      wakeWriter();
      return messages.shift()!;
    },
    write: async ({ data }, { signal }) => {
      while (messages.length >= most) {
        await wait((wake) => wakeWriter = wake, signal);
      }
      messages.push(data.slice());
      wakeReader();
      return data.length;
    },
  });
  return fs;
}

async function onDialogue(
  fs: MemoryFs,
  use: (file: RemoteFile) => Promise<void>,
): Promise<void> {
  const [near, far] = pair();
  void serve(far, fs);
  await using client = await connect(near);
  await using file = await client.open("talk", { read: true, write: true });
  await use(file);
}

test("RemoteFile: in a dialogue a write does not wait for a read that waits for it", async () => {
  await onDialogue(dialogue(), async (file) => {
    const reads = [textOf(file, 9), textOf(file, 9), textOf(file, 9)];
    const counts = await Promise.all([file.write("one"), file.write("two")]);
    await file.writeAll("three");
    assertEquals(counts, [3, 3]);
    assertEquals(await Promise.all(reads), ["one", "two", "three"]);
    assertEquals(file.position, 22);
  });
});

test("RemoteFile: in a dialogue chunks and streams go both ways at once", async () => {
  await onDialogue(dialogue(), async (file) => {
    const chunks = file.chunks();
    for (const text of ["one", "two", "three"]) {
      const next = chunks.next();
      await file.write(text);
      assertEquals(utf8.decode((await next).value!), text);
    }
    await chunks.return();
  });
  await onDialogue(dialogue(), async (file) => {
    const reader = file.readable.getReader();
    const writer = file.writable.getWriter();
    for (const text of ["one", "two", "three"]) {
      const read = reader.read();
      await writer.write(text);
      assertEquals(utf8.decode((await read).value), text);
    }
    await reader.cancel();
  });
});

test("RemoteFile: in a dialogue a read does not wait for a write that waits for it", async () => {
  await onDialogue(dialogue(1), async (file) => {
    const writes = ["one", "two", "three"].map((text) => file.write(text));
    for (const text of ["one", "two", "three"]) {
      assertEquals(await textOf(file, 9), text);
    }
    assertEquals(await Promise.all(writes), [3, 3, 5]);
  });
});

test("RemoteFile: a read at the end of a plain file, and a write beside it", async () => {
  await onFile("ab", async (file, fs) => {
    await file.seek(2);
    const results = await Promise.all([
      textOf(file, 9),
      file.write("cd"),
      textOf(file, 9),
      file.writeAll("ef"),
      textOf(file, 9),
      file.seek(0),
      textOf(file, 9),
    ]);
    assertEquals(results, [null, 2, null, undefined, null, 0, "abcdef"]);
    assertEquals([fs.readTextFile("f"), file.position], ["abcdef", 6]);
  });
});
