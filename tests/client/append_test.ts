// Appends: in order within a client, and atomic between clients on a server
// that supports OAPPEND.
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import {
  defaultReply,
  qid,
  type Reply,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import { type Client, connect } from "../../client.ts";
import {
  NinePError,
  OAPPEND,
  ORDWR,
  OWRITE,
  type Tmessage,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const LINES = Array.from({ length: 100 }, (_, i) => `line ${i}\n`);
const ALL = LINES.join("");
const utf8 = new TextDecoder();

/** Connects a client to a tree. */
function reach(fs: MemoryFs, strict = false): Promise<Client> {
  const [near, far] = pair();
  void serve(far, fs, { strict });
  return connect(near);
}

/** A server of one file that ignores OAPPEND, or refuses it. */
class Foreign {
  content = new Uint8Array(0);
  readonly modes: number[] = [];
  readonly #refuses: boolean;

  constructor(refuses: boolean) {
    this.#refuses = refuses;
  }

  readonly handler = (request: Tmessage): Reply | undefined => {
    if (request.type === "Topen" || request.type === "Tcreate") {
      this.modes.push(request.mode);
      return this.#refuses && (request.mode & OAPPEND) !== 0
        ? { type: "Rerror", ename: "illegal mode" }
        : defaultReply(request);
    }
    if (request.type === "Tstat") {
      return { type: "Rstat", stat: stat("f", this.content.length) };
    }
    if (request.type !== "Twrite") return undefined;
    const at = Number(request.offset);
    const longer = new Uint8Array(
      Math.max(this.content.length, at + request.data.length),
    );
    longer.set(this.content);
    longer.set(request.data, at);
    this.content = longer;
    return { type: "Rwrite", count: request.data.length };
  };

  get text(): string {
    return utf8.decode(this.content);
  }
}

/**
 * The ways in which one client appends all lines, with all appends in flight at
 * once.
 */
const WAYS: Record<string, (client: Client) => Promise<unknown>> = {
  "writeTextFile()": (client) =>
    Promise.all(
      LINES.map((line) => client.writeTextFile("log", line, { append: true })),
    ),
  "writeFile() of chunks": (client) =>
    Promise.all([
      client.writeFile("log", LINES.slice(0, 50), { append: true }),
      client.writeFile("log", LINES.slice(50), { append: true }),
    ]),
  "write() of one file": async (client) => {
    await using file = await client.open("log", { append: true });
    await Promise.all(LINES.map((line) => file.write(line)));
    assertEquals(file.position, ALL.length);
  },
  "writeAll() of several files": async (client) => {
    const open = () => client.open("log", { append: true });
    const files = await Promise.all([open(), open(), open()]);
    await Promise.all(LINES.map((line, i) => files[i % 3]!.writeAll(line)));
    await Promise.all(files.map((file) => file.close()));
  },
  "writable of two files": async (client) => {
    const open = () => client.open("log", { append: true });
    const files = await Promise.all([open(), open()]);
    const writers = files.map((file) => file.writable.getWriter());
    await Promise.all(LINES.map((line, i) => writers[i % 2]!.write(line)));
    await Promise.all(writers.map((writer) => writer.close()));
  },
};

function sortedLines(text: string): string[] {
  return text.split(/(?<=\n)/).sort();
}

for (const [way, append] of Object.entries(WAYS)) {
  for (const strict of [false, true]) {
    const server = strict ? "strict" : "default";
    test(`append: ${way} loses nothing on our ${server} server`, async () => {
      const fs = new MemoryFs({ log: "" }, { uid: "none" });
      await using client = await reach(fs, strict);
      await append(client);
      assertEquals(sortedLines(fs.readTextFile("log")), LINES.toSorted());
    });
  }
  for (const refuses of [false, true]) {
    const does = refuses ? "refuses" : "ignores";
    test(`append: ${way} loses nothing on a server that ${does} OAPPEND`, async () => {
      await using scene = await start();
      const foreign = new Foreign(refuses);
      scene.run(foreign.handler);
      await append(scene.client);
      assertEquals(sortedLines(foreign.text), LINES.toSorted());
    });
  }
}

test("append: the writes of one file are in the order of the calls", async () => {
  const fs = new MemoryFs({ log: "" }, { uid: "none" });
  await using client = await reach(fs);
  await WAYS["write() of one file"]!(client);
  assertEquals(fs.readTextFile("log"), ALL);
});

test("append: clients that append at once on our server lose nothing", async () => {
  const fs = new MemoryFs({ log: "" }, { mode: 0o777, uid: "none" });
  fs.create("log2", { mode: 0o666 });
  const clients = await Promise.all(LINES.slice(0, 8).map(() => reach(fs)));
  const files = await Promise.all(
    clients.map((client) => client.open("log2", { append: true })),
  );
  await Promise.all(LINES.map((line, i) => files[i % 8]!.write(line)));
  await Promise.all(
    LINES.map((line, i) =>
      clients[i % 8]!.writeTextFile("log2", line, { append: true })
    ),
  );
  assertEquals(
    sortedLines(fs.readTextFile("log2")),
    [...LINES, ...LINES].sort(),
  );
  await Promise.all(clients.map((client) => client.close()));
});

test("append: a define()d file with `written` gets the data in their order", async () => {
  const fs = new MemoryFs({}, { uid: "none" });
  const got: string[] = [];
  fs.define("log", {
    written: (data) => void got.push(utf8.decode(data)),
  });
  await using client = await reach(fs);
  const file = await client.open("log", { append: true });
  await Promise.all(["one\n", "two\n"].map((text) => file.write(text)));
  await file.close();
  assertEquals(got, ["one\ntwo\n"]);
});

test("serve(): a fid that was opened with OAPPEND writes at the end, whatever the offset", async () => {
  const fs = new MemoryFs({ f: "abc" }, { uid: "none" });
  await using client = await reach(fs);
  for (const mode of [OWRITE | OAPPEND, ORDWR | OAPPEND]) {
    const fid = await client.protocol.walk("f");
    await client.protocol.rpc({ type: "Topen", fid, mode });
    for (const offset of [0n, 1n << 63n]) {
      const data = new Uint8Array([0x78]);
      await client.protocol.rpc({ type: "Twrite", fid, offset, data });
    }
    await client.protocol.clunk(fid);
  }
  assertEquals(fs.readTextFile("f"), "abcxxxx");
  const fid = await client.protocol.walk([]);
  const perm = 0o666;
  const mode = ORDWR | OAPPEND;
  await client.protocol.rpc({ type: "Tcreate", fid, name: "new", perm, mode });
  for (const text of ["a", "b"]) {
    const data = new TextEncoder().encode(text);
    await client.protocol.rpc({ type: "Twrite", fid, offset: 0n, data });
  }
  assertEquals(fs.readTextFile("new"), "ab");
});

test("serve(): an open directory takes no notice of OAPPEND; strict refuses the bit", async () => {
  await using client = await reach(new MemoryFs({}, { uid: "none" }));
  const fid = await client.protocol.walk([]);
  await client.protocol.rpc({ type: "Topen", fid, mode: OAPPEND });
  await using strict = await reach(
    new MemoryFs({ f: "" }, { uid: "none" }),
    true,
  );
  const file = await strict.protocol.walk("f");
  await assertRejects(
    () =>
      strict.protocol.rpc({ type: "Topen", fid: file, mode: OWRITE | OAPPEND }),
    NinePError,
    "illegal mode",
  );
});

test("append: the position is behind what was written, and reading follows it", async () => {
  const fs = new MemoryFs({ f: "abc" }, { uid: "none" });
  await using client = await reach(fs);
  await using file = await client.open("f", { read: true, append: true });
  assertEquals(file.position, 3);
  await file.seek(1);
  assertEquals([await file.write("de"), file.position], [2, 5]);
  await file.seek(0);
  await file.writeAll("fg");
  assertEquals([file.position, fs.readTextFile("f")], [7, "abcdefg"]);
  await file.seek(5);
  const buffer = new Uint8Array(9);
  assertEquals(await file.read(buffer), 2);
  assertEquals(utf8.decode(buffer.subarray(0, 2)), "fg");
});

test("append: where the file is cut meanwhile, the next write leaves no gap", async () => {
  await using scene = await start();
  const foreign = new Foreign(false);
  scene.run(foreign.handler);
  await using file = await scene.client.open("f", { append: true });
  await file.write("one\n");
  foreign.content = new Uint8Array(0); // Another client cuts the file.
  await file.write("two\n");
  assertEquals([foreign.text, file.position], ["two\n", 4]);
});

test("append: `create` asks for OAPPEND, and goes without it where it is refused", async () => {
  for (const refuses of [false, true]) {
    await using scene = await start();
    const foreign = new Foreign(refuses);
    scene.run((request) =>
      request.type === "Twalk" && request.wname.includes("log")
        ? { type: "Rerror", ename: "file does not exist" }
        : foreign.handler(request)
    );
    await scene.client.writeTextFile("log", "one\n", { append: true });
    assertEquals(foreign.text, "one\n");
    const mode = OWRITE | OAPPEND;
    assertEquals(foreign.modes, refuses ? [mode, OWRITE] : [mode]);
  }
});

test("append: a clear refusal is not tried again", async () => {
  for (const ename of ["permission denied", "file does not exist"]) {
    await using scene = await start();
    const foreign = new Foreign(false);
    scene.run((request) => {
      const reply = foreign.handler(request);
      return request.type === "Topen" ? { type: "Rerror", ename } : reply;
    });
    const open = () => scene.client.open("f", { append: true });
    await assertRejects(open, NinePError, `Cannot open "f": ${ename}`);
    assertEquals(foreign.modes, [OWRITE | OAPPEND]);
  }
});

test("append: flags with OAPPEND append, and need access to write", async () => {
  const fs = new MemoryFs({ f: "abc" }, { uid: "none" });
  await using client = await reach(fs);
  const flags = ORDWR | OAPPEND;
  await using file = await client.open("f", { flags });
  await file.seek(0);
  await file.write("d");
  assertEquals(fs.readTextFile("f"), "abcd");
  await assertRejects(
    () => client.open("f", { flags: OAPPEND }),
    TypeError,
    "Cannot open a file: flags is 128",
  );
});

test("append: an append that is aborted while it waits is not made, and delays no other", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const opening = client.open("f", { append: true });
  await walkTo(scene);
  await server.exchange("Topen", {}, { type: "Ropen", qid: qid(1), iounit: 0 });
  const foreign = new Foreign(false);
  const ask = async (type: "Tstat" | "Twrite") => {
    const request = await server.expect(type);
    server.answer(request, foreign.handler(request)!);
  };
  await ask("Tstat");
  const file = await opening;
  const first = file.write("one\n");
  await ask("Tstat");
  const held = await server.expect("Twrite");
  const gone = new Error("gone");
  const aborting = new AbortController();
  const { signal } = aborting;
  const waiting = [
    file.write("two\n", { signal }),
    file.writeAll("two\n", { signal }),
    file.seek(0, "current", { signal }),
  ].map((promise) => assertRejects(() => promise, Error, "gone"));
  const second = client.writeTextFile("f", "two\n", { append: true, signal });
  waiting.push(assertRejects(() => second, Error, "gone"));
  await walkTo(scene, 2);
  await server.exchange("Topen", {}, { type: "Ropen", qid: qid(1), iounit: 0 });
  const last = file.write("three\n");
  aborting.abort(gone);
  await Promise.all(waiting); // The first append is still in flight.
  server.answer(held, foreign.handler(held)!);
  scene.run(foreign.handler);
  await first;
  await last;
  assertEquals(foreign.text, "one\nthree\n");
  await file.close();
});

test("append: closing a file gives up its waiting appends, and sends nothing for them", async () => {
  const fs = new MemoryFs({ f: "" }, { uid: "none" });
  await using client = await reach(fs);
  const file = await client.open("f", { append: true });
  const other = await client.open("f", { append: true });
  const writes = [file.write("a"), file.write("b"), other.write("c")];
  const results = Promise.allSettled(writes);
  await file.close();
  const [, second, third] = await results;
  assertEquals([second?.status, third?.status], ["rejected", "fulfilled"]);
  assertEquals((second as PromiseRejectedResult).reason.name, "AbortError");
  await other.close();
  assertEquals(fs.readTextFile("f").includes("b"), false);
});

test("append: goes on after a loss of the connection, with OAPPEND", async () => {
  const fs = new MemoryFs({ f: "0" }, { uid: "none" });
  let cut = () => {};
  const dial = () => {
    const [near, far] = pair();
    cut = () => far.close();
    void serve(far, fs);
    return Promise.resolve(near);
  };
  const reconnect = { dial, minDelay: 0 };
  await using client = await connect(await dial(), { reconnect });
  await using other = await reach(fs);
  await using file = await client.open("f", { append: true });
  await file.write("1");
  cut();
  await client.stat("f");
  await other.writeTextFile("f", "2", { append: true });
  await file.writeAt("3", 0); // Without OAPPEND this write would go to offset 0.
  assertEquals(fs.readTextFile("f"), "0123");
});

test("peer pyroute2: OAPPEND is not sent", async () => {
  await using scene = await start({ peer: "pyroute2" });
  const foreign = new Foreign(false);
  scene.run((request) =>
    request.type === "Topen"
      ? { type: "Ropen", qid: qid(1), iounit: 0 }
      : foreign.handler(request)
  );
  await using _file = await scene.client.open("f", { append: true });
  const modes = scene.server.log.flatMap((request) =>
    request.type === "Topen" ? [request.mode] : []
  );
  assertEquals(modes, [OWRITE]);
});
