// P-04: a session in one call, of a function or of a POST.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  batchHandler,
  connectBatch,
  FunctionError,
  listen,
  MemoryFs,
  NinePError,
  ProtocolError,
} from "../../mod.ts";
import { encode } from "../../codec.ts";
import { test } from "../harness.ts";

function tree(): MemoryFs {
  const fs = new MemoryFs({ motd: "hello\n", dir: { file: "in it" } }, {
    mode: 0o777,
  });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  fs.register("later", async () => {
    await new Promise((resolve) => setTimeout(resolve));
    return "late";
  });
  fs.register("fail", () => {
    throw new RangeError("too far");
  });
  fs.register("never", () => new Promise(() => {}));
  return fs;
}

/** A client of a function, which counts the batches. */
function counted(fs = tree(), options = {}) {
  const handle = batchHandler(fs, { onError: () => {}, ...options });
  const counter = { batches: 0 };
  const client = connectBatch((requests) => {
    counter.batches++;
    return handle(requests);
  });
  return { client, counter };
}

test("batch: the calls of one turn are one batch", async () => {
  const { client, counter } = counted();
  const results = await Promise.all([
    client.readTextFile("motd"),
    client.call("add", { argv: [17, 25] }),
    client.call("later"),
    client.stat("dir/file").then(({ length }) => length),
    client.readDir("/").then((all) => all.length),
    ...Array.from(
      { length: 100 },
      (_, i) => client.call("add", { argv: [i, 1] }),
    ),
  ]);
  assertEquals(results.slice(0, 5), ["hello\n", 42, "late", 5, 6]);
  assertEquals(results.at(-1), 100);
  assertEquals(counter.batches, 1);
});

test("batch: files are made, written, read and removed", async () => {
  const { client, counter } = counted();
  await client.mkdir("new");
  await client.writeFile("new/file", "text");
  assertEquals(await client.readTextFile("new/file"), "text");
  const data = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
  await client.writeFile("new/file", data);
  assertEquals(await client.readFile("new/file"), data);
  const deep = Array.from({ length: 20 }, (_, i) => `d${i}`);
  for (let i = 1; i <= deep.length; i++) await client.mkdir(deep.slice(0, i));
  await client.writeFile([...deep, "x"], "deep");
  assertEquals(await client.readTextFile([...deep, "x"]), "deep");
  await client.remove("new/file");
  await client.remove("new");
  await assertRejects(() => client.stat("new"), NinePError);
  assert(counter.batches > 0);
});

test("batch: an error fails its own call, and says what was tried", async () => {
  const { client, counter } = counted();
  const [none, fail, motd] = await Promise.allSettled([
    client.readFile("none"),
    client.call("fail"),
    client.readTextFile("motd"),
  ]);
  assert(none.status === "rejected" && none.reason instanceof NinePError);
  assertEquals(none.reason.code, "ENOENT");
  assertEquals(
    none.reason.message,
    'Cannot read "none": file does not exist',
  );
  assert(fail.status === "rejected" && fail.reason instanceof FunctionError);
  assertEquals(fail.reason.class, "RangeError");
  assertEquals(motd, { status: "fulfilled", value: "hello\n" });
  assertEquals(counter.batches, 1);
});

test("batch: a call that never ends is bounded by the timeout", async () => {
  const { client } = counted(tree(), { timeout: 50 });
  const [never, motd] = await Promise.allSettled([
    client.call("never"),
    client.readTextFile("motd"),
  ]);
  assert(never.status === "rejected");
  assert(never.reason instanceof ProtocolError, `${never.reason}`);
  assertEquals(motd.status, "fulfilled");
});

test("batch: replies beyond the limit are refused", async () => {
  const fs = tree();
  fs.writeFile("large", new Uint8Array(1_000_000), { mode: 0o666 });
  const { client } = counted(fs, { maxReplies: 100_000 });
  await assertRejects(
    () => client.readFile("large"),
    ProtocolError,
    "its replies have more than 100000 bytes",
  );
  assertEquals(await client.readTextFile("motd"), "hello\n");
});

test("batch: bytes that are no requests", async () => {
  const handle = batchHandler(tree(), { onError: () => {} });
  assertEquals((await handle(new Uint8Array(0))).length, 0);
  assertEquals(
    (await handle(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"))).length,
    0,
  );
  // A frame that is cut gets no reply, the frames before it do.
  const frame = encode({
    type: "Tversion",
    tag: 0xffff,
    msize: 8192,
    version: "9P2000",
  });
  const bytes = new Uint8Array([...frame, ...frame.subarray(0, 5)]);
  assert((await handle(bytes)).length > 0);
});

test("batch: a server that answers nonsense", async () => {
  const client = connectBatch(() => Promise.resolve(new Uint8Array([1, 2, 3])));
  await assertRejects(() => client.stat("motd"), ProtocolError);
  const failing = connectBatch(() => Promise.reject(new Error("no way")));
  await assertRejects(() => failing.stat("motd"), Error, "no way");
});

test("batch: by POST to a listener, as another user", async () => {
  const fs = tree();
  fs.register("whoami", ({ uname }) => uname, { context: true });
  await using server = await listen("http://127.0.0.1:0/9p", fs);
  const client = connectBatch(server.addr, { uname: "glenda" });
  assertEquals(
    await Promise.all([
      client.call("whoami"),
      client.readTextFile("motd"),
      client.call("later"),
    ]),
    ["glenda", "hello\n", "late"],
  );
  const wrong = connectBatch(server.addr.replace("/9p", "/other"));
  await assertRejects(() => wrong.stat("/"), ProtocolError, "answered 404");
});
