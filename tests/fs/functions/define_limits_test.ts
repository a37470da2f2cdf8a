// Files that functions define: their limits, wrong values of hooks, and removed
// files.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ORDWR, OWRITE } from "../../../codec.ts";
import {
  type FileHooks,
  MemoryFs,
  type MemoryFsOptions,
} from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import {
  aborted,
  bytes,
  refusal,
  refused,
  ServedTree,
  textOf,
} from "../tree_client.ts";

/** The error of a Tcall of a file that was removed. */
const GONE = {
  class: "StaleFileError",
  argv: [116, "file has been removed"],
  str: "file has been removed",
};

/** A tree with one defined file f. */
function serving(hooks: FileHooks, options: MemoryFsOptions = {}): ServedTree {
  const fs = new MemoryFs({}, options);
  fs.define("f", hooks);
  return new ServedTree(fs);
}

test("written: data that are kept until the clunk count for the connection, and are given back", async () => {
  const fs = new MemoryFs({}, { maxSize: 0 });
  fs.define("f", { written: () => {} });
  await using served = new ServedTree(fs, { maxHeldBytes: 10 });
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  await client.write(fid, "12345678");
  const other = await client.open("f", OWRITE);
  await refused("Cannot allocate memory", client.write(other, "123"));
  const foreign = await served.client();
  await foreign.write(await foreign.open("f", OWRITE), "1234567890");
  await client.clunk(fid);
  await client.write(other, "12345678");
});

test("written: not called when a write of that open was refused", async () => {
  const got: string[] = [];
  await using served = serving({
    maxLength: 8,
    written: (data) => void got.push(textOf(data)),
  });
  const client = await served.client();
  const rows: [data: string, offset: number][][] = [
    [["123456789", 0]],
    [["ok", 0], ["9", 8]],
    [["9", 8], ["ok", 0]],
    [["", 0], ["x", 2 ** 53 - 2]],
  ];
  for (const writes of rows) {
    const fid = await client.open("f", OWRITE);
    const refusals = await Promise.all(
      writes.map(([data, offset]) =>
        client.write(fid, data, offset).then(() => "", (e) => e.ename)
      ),
    );
    assertEquals(refusals.filter((text) => text !== ""), ["file too big"]);
    await client.clunk(fid);
  }
  assertEquals(got, []);
  const fid = await client.open("f", OWRITE);
  await client.write(fid, "12345678");
  await client.clunk(fid);
  assertEquals(got, ["12345678"]);
});

test("written: not called when a write of that open was given up, or refused by the tree", async () => {
  const got: string[] = [];
  const gate = Promise.withResolvers<void>();
  const fs = new MemoryFs({}, { strict: true });
  const written = (data: Uint8Array) => void got.push(textOf(data));
  fs.define("f", { open: () => gate.promise, written, call: () => "" });
  fs.define("g", { written });
  await using served = new ServedTree(fs);
  const client = await served.client();
  // The first write opens the file implicitly; the second one waits for that.
  const fid = await client.walk("f");
  const writes = ["one", "two"].map((text, at) =>
    client.start({
      type: "Twrite",
      fid,
      offset: BigInt(3 * at),
      data: bytes(text),
    })
  );
  const flushed = client.flush(writes[1].tag);
  gate.resolve();
  await flushed;
  assertEquals((await writes[0].reply).type, "Rwrite");
  await client.clunk(fid);

  const other = await client.open("g", OWRITE);
  await client.write(other, "one");
  fs.remove("g");
  await refused("file has been removed", client.write(other, "two", 3));
  await client.clunk(other);
  await client.stat("/");
  assertEquals(got, []);
});

test("maxLength: 64 KiB by default, and a refused write takes no memory", async () => {
  const got: number[] = [];
  await using served = serving({
    written: (data) => void got.push(data.length),
  });
  const client = await served.client("glenda", { msize: 1 << 18 });
  const fid = await client.open("f", OWRITE);
  await client.write(fid, new Uint8Array(65536));
  await client.clunk(fid);
  const other = await client.open("f", OWRITE);
  await refused("file too big", client.write(other, new Uint8Array(65537)));
  await refused("file too big", client.write(other, "x", 2 ** 30 - 1));
  await client.clunk(other);
  assertEquals(got, [65536]);
  const fs = new MemoryFs();
  for (const maxLength of [-1, NaN]) {
    const define = () => fs.define("g", { written: () => {}, maxLength });
    assertThrows(define, RangeError, "maxLength");
  }
  // As from a program without types.
  const define = () => fs.define("g", { maxLength: "1" as unknown as number });
  assertThrows(define, RangeError, "maxLength");
});

test("hooks: a result that is neither bytes nor text is an error, and reported to the owner", async () => {
  const wrong: unknown[] = [undefined, null, 17, {}, [1], new ArrayBuffer(1)];
  for (const value of wrong) {
    for (const now of [true, false]) {
      // As from a program without types.
      const give = () => (now ? value : Promise.resolve(value)) as Uint8Array;
      const fs = new MemoryFs();
      fs.define("content", { content: give });
      fs.define("read", { read: give });
      fs.define("call", { call: give });
      await using served = new ServedTree(fs);
      const client = await served.client();
      await refused("i/o error", client.open("content"));
      await refused("i/o error", client.read(await client.open("read")));
      const call = await client.call("call", "").catch((e) => e.ename);
      assertEquals(JSON.parse(String(call)).str, "i/o error");
      const reports = served.reports.map((error) => {
        assert(error instanceof TypeError);
        return error.message.includes("not text or bytes") ||
          error.message.includes("bytes was answered with");
      });
      assertEquals(reports, [true, true, true]);
    }
  }
});

// An error of a hook always reaches the owner.
test("hooks: an error after the client gave up is reported to the owner, the abort itself is not", async () => {
  const calls: PromiseWithResolvers<Uint8Array>[] = [];
  let begun = Promise.withResolvers<AbortSignal>();
  const wait = (_request: unknown, { signal }: { signal: AbortSignal }) => {
    const call = Promise.withResolvers<Uint8Array>();
    calls.push(call);
    begun.resolve(signal);
    return call.promise;
  };
  await using served = serving({ read: wait, call: wait, mode: 0o666 });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  const data = new Uint8Array(0);
  const requests = [
    { type: "Tread", fid, offset: 0n, count: 9 },
    { type: "Tcall", fid, text: "", data },
  ] as const;
  for (const request of requests) {
    const bug = new Error(`a bug in ${request.type}`);
    const abort = new DOMException("The operation was aborted", "AbortError");
    const expected = [...served.reports, bug];
    for (const error of [abort, bug]) {
      begun = Promise.withResolvers();
      const { tag } = client.start(request);
      const signal = await begun.promise;
      const flushed = client.flush(tag);
      await aborted(signal);
      calls.at(-1)?.reject(error);
      await flushed;
    }
    await client.stat("/");
    assertEquals(served.reports, expected);
  }
});

test("call: text or bytes, now or later", async () => {
  const values: (string | Uint8Array)[] = ["é", bytes("é"), "", bytes("")];
  for (const value of values) {
    for (const give of [() => value, () => Promise.resolve(value)]) {
      await using served = serving({ call: give });
      const reply = await (await served.client()).call("f", "");
      assertEquals(reply, {
        err: 0,
        value: typeof value === "string" ? value : textOf(value),
      });
    }
  }
});

// Readers must not fill the quota of writers.
test("content: counts for the connection that opens, not for the tree", async () => {
  const fs = new MemoryFs({}, { maxSize: 100, mode: 0o777 });
  fs.define("page", { content: () => "x".repeat(50) });
  await using served = new ServedTree(fs, { maxHeldBytes: 120 });
  const reader = await served.client("reader");
  const first = await reader.open("page");
  await reader.open("page");
  await refused("Cannot allocate memory", reader.open("page"));
  const writer = await served.client("writer");
  assertEquals((await writer.text(await writer.open("page"))).length, 50);
  const fid = await writer.create("/", "w", 0o666, OWRITE);
  await writer.write(fid, "x".repeat(100));
  await reader.clunk(first);
  await reader.open("page");
});

test("call: refused for all fids when the file was removed", async () => {
  for (const strict of [false, true]) {
    await using served = serving({
      mode: 0o666,
      call: () => "value",
      read: () => bytes("read"),
      write: () => {},
    }, { strict });
    const client = await served.client();
    const fids = [await client.open("f", ORDWR), await client.walk("f")];
    for (const fid of fids) {
      assertEquals((await client.call(fid, "")).value, "value");
    }
    served.fs.remove("f");
    for (const fid of fids) {
      assertEquals(JSON.parse(await refusal(client.call(fid, ""))), GONE);
      await refused("file has been removed", client.read(fid));
      await refused("file has been removed", client.write(fid, "x"));
    }
  }
});

test("hooks: a removed file that is no function stays usable for fids that have it open", async () => {
  await using served = serving({
    mode: 0o666,
    read: () => bytes("read"),
    write: () => {},
  });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  served.fs.remove("f");
  assertEquals(await client.text(fid), "read");
  assertEquals(await client.write(fid, "x"), 1);
});

test("written: the data count until the hook has ended", async () => {
  const gate = Promise.withResolvers<void>();
  const fs = new MemoryFs();
  fs.define("f", { written: () => gate.promise });
  await using served = new ServedTree(fs, { maxHeldBytes: 100 });
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  await client.write(fid, "x".repeat(60));
  const clunked = client.clunk(fid);
  const other = await client.open("f", OWRITE);
  const more = "x".repeat(60);
  await refused("Cannot allocate memory", client.write(other, more));
  gate.resolve();
  await clunked;
  const last = await client.open("f", OWRITE);
  await client.write(last, more);
});
