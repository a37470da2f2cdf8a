// Copies: files and trees, within one server and between two.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  qid,
  type Reply,
  type Scene,
  start,
  stat,
  takeFirst,
} from "./scripted.ts";
import { type Client, connect, type CopyProgress } from "../../client.ts";
import {
  NinePError,
  type Qid,
  QTAPPEND,
  QTDIR,
  type Tmessage,
} from "../../codec.ts";
import { type Content, MemoryFs } from "../../fs/mod.ts";
import { type Handler, listen, serve } from "../../server.ts";
import { pair } from "../../transport.ts";

interface Served extends AsyncDisposable {
  client: Client;
  fs: MemoryFs;
}

/**
 * Runs a test with a client of a tree in memory. Fails when fids other than the
 * root are left.
 */
async function served(content: Content = {}, msize = 8192): Promise<Served> {
  const fs = new MemoryFs(content, { mode: 0o777, uid: "none" });
  const [near, far] = pair();
  const serving = serve(far, fs);
  const client = await connect(near, { msize });
  return {
    client,
    fs,
    async [Symbol.asyncDispose]() {
      await client.stat(client.protocol.root); // Behind the clunks for which nobody waits.
      assertEquals(client.protocol.allocFid(), 1, "fids left");
      await client.close();
      await serving;
    },
  };
}

function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31) ^ (i >> 8));
}

test("copy() of files of every size around the borders", async () => {
  for (const length of [0, 1, 231, 232, 233, 464, 10_000, 300_000]) {
    for (const [one, two] of [[256, 256], [256, 5000], [5000, 256]]) {
      const content = bytes(length);
      await using from = await served({ f: content }, one);
      await using to = await served(
        { f: "something longer than one byte" },
        two,
      );
      await from.client.copy("f", "/f", { target: to.client });
      assertEquals(to.fs.readFile("f"), content);
      await from.client.copy("f", "g");
      assertEquals(from.fs.readFile("g"), content);
    }
  }
});

test("copy() gives a new file its source's permissions, and leaves others theirs", async () => {
  await using scene = await served();
  const { client } = scene;
  await client.writeTextFile("f", "x", { mode: 0o640 });
  await client.chmod("f", 0o440);
  await client.copy("f", "g");
  assertEquals((await client.stat("g")).mode, 0o440);
  await client.writeTextFile("h", "", { mode: 0o600 });
  await client.copy(["f"], ["h"]);
  assertEquals((await client.stat("h")).mode, 0o600);
});

test("copy() refuses a file onto itself, which keeps its content", async () => {
  await using scene = await served({ f: "hello", d: { g: "x" } });
  const { client, fs } = scene;
  fs.link("f", "d/same");
  await using other = await client.attach();
  for (const to of ["f", "/d/../f", "d/same"]) {
    for (const target of [client, other]) {
      const error = await assertRejects(
        () => client.copy("f", to, { target }),
        NinePError,
        `Cannot copy "f" to "${to}": Invalid argument`,
      );
      assertEquals(error.code, "EINVAL");
    }
  }
  assertEquals(fs.readTextFile("f"), "hello");
  await other.close();
});

test("copy() refuses a file onto itself through two connections to one address", async () => {
  const fs = new MemoryFs({ f: "precious" }, { mode: 0o777, uid: "none" });
  await using server = await listen("tcp://127.0.0.1:0", fs);
  await using client = await connect(server.addr);
  await using target = await connect(server.addr);
  const error = await assertRejects(
    () => client.copy("f", "f", { target }),
    NinePError,
  );
  assertEquals(error.code, "EINVAL");
  assertEquals(new TextDecoder().decode(fs.readFile("f")), "precious");
});

test("copy() of files with the same qid on two servers is none onto itself", async () => {
  await using from = await served({ f: "hello" });
  await using to = await served({ f: "" });
  const node = from.fs.find("f");
  assert(node !== undefined);
  node.qid.path = to.fs.stat("f").qid.path;
  await from.client.copy("f", "f", { target: to.client });
  assertEquals(to.fs.readTextFile("f"), "hello");
});

test("copy() between two trees of one server whose qids are alike", async () => {
  // Qids tell files apart within one tree only.
  for (const where of ["one connection", "one address"]) {
    const texts = new Map([["one", "from one"], ["two", ""]]);
    const handler: Handler<{ qid: Qid; aname: string }> = {
      attach: (_fid, { aname }) => ({ qid: qid(0, QTDIR), aname }),
      walk: ({ aname }, name) =>
        name === "f" ? { qid: qid(1), aname } : undefined,
      open: () => {},
      read: ({ node }, { offset, count }) => {
        const text = new TextEncoder().encode(texts.get(node.aname));
        return text.subarray(Number(offset), Number(offset) + count);
      },
      write: ({ node }, { data }) => {
        texts.set(node.aname, new TextDecoder().decode(data));
      },
      stat: ({ node }) => ({ ...stat("f", 8), qid: node.qid }),
    };
    await using server = await listen("tcp://127.0.0.1:0", handler);
    await using one = await connect(server.addr, { aname: "one" });
    await using two = where === "one connection"
      ? await one.attach({ aname: "two" })
      : await connect(server.addr, { aname: "two" });
    await one.copy("f", "f", { target: two });
    assertEquals(texts.get("two"), "from one", where);
    // Another user does not make it another tree.
    await using same = await one.attach({ aname: "one", uname: "glenda" });
    const error = await assertRejects(
      () => one.copy("f", "f", { target: same }),
      NinePError,
    );
    assertEquals(error.code, "EINVAL");
  }
});

test("copy() refuses a directory into itself, before anything is made", async () => {
  await using scene = await served({ d: { e: { f: "x" } } });
  const { client, fs } = scene;
  for (const to of ["d", "d/copy", "d/e/copy", "/d/../d/copy"]) {
    const error = await assertRejects(
      () => client.copy("d", to, { recursive: true }),
      NinePError,
      `Cannot copy "d" to "${to}": Invalid argument`,
    );
    assertEquals(error.code, "EINVAL");
  }
  await assertRejects(
    () => client.copy("/", "copy", { recursive: true }),
    NinePError,
    "Invalid argument",
  );
  assertEquals(fs.readDir("d").map(({ name }) => name), ["e"]);
  assertEquals(fs.readDir("d/e").map(({ name }) => name), ["f"]);
  await client.copy("d", "d2", { recursive: true }); // d2 is no member of d.
  assertEquals(fs.readTextFile("d2/e/f"), "x");
});

test("copy() into itself through another attach ends", async () => {
  await using scene = await served({ d: { e: { f: "x" } } });
  const { client } = scene;
  await using target = await client.attach();
  await assertRejects(
    () => client.copy("d", "d/copy", { recursive: true, target }),
    NinePError,
    "Invalid argument",
  );
  await target.close();
});

test("copy() of a directory without recursive, onto a file, of nothing", async () => {
  await using scene = await served({ d: { f: "x" }, g: "y" });
  const { client } = scene;
  const recursive = true;
  const cases = [
    [() => client.copy("d", "e"), "EISDIR"],
    [() => client.copy("no", "e"), "ENOENT"],
    [() => client.copy("g", "no/e"), "ENOENT"],
    [() => client.copy("g", "d"), "EISDIR"],
    [() => client.copy("d", "g", { recursive }), "EEXIST"],
    [() => client.copy("no", "e", { recursive }), "ENOENT"],
  ] as const;
  for (const [copy, code] of cases) {
    const error = await assertRejects(copy, NinePError);
    assertEquals([error.code, code], [code, code], error.message);
  }
  assertEquals(await client.readDirNames(""), ["d", "g"]);
});

test("copy() of a tree merges it into one that is there", async () => {
  await using from = await served({
    a: { f: "new", b: { g: "deep" }, empty: {} },
  });
  await using to = await served();
  await to.client.mkdir("x/b", { recursive: true });
  await to.client.writeTextFile("x/f", "old and longer");
  await to.client.writeTextFile("x/b/keep", "kept");
  const target = to.client;
  await from.client.copy("a", "x", { recursive: true, target });
  const paths = [];
  for await (const { path } of target.walkTree("x")) paths.push(path);
  assertEquals(
    paths.sort(),
    ["x", "x/b", "x/b/g", "x/b/keep", "x/empty", "x/f"],
  );
  assertEquals(to.fs.readTextFile("x/f"), "new");
  assertEquals(to.fs.readTextFile("x/b/g"), "deep");
});

test("copy() of a tree whose directories no user may write to", async () => {
  await using from = await served();
  await using to = await served();
  await from.client.mkdir("a/b", { recursive: true });
  await from.client.writeTextFile("a/b/f", "x");
  await from.client.chmod("a/b", 0o500);
  await from.client.chmod("a", 0o555);
  const options = { recursive: true, target: to.client };
  await from.client.copy("a", "a", options);
  assertEquals((await to.client.stat("a")).mode & 0o777, 0o555);
  assertEquals((await to.client.stat("a/b")).mode & 0o777, 0o500);
  assertEquals(await to.client.readTextFile("a/b/f"), "x");
});

test("copy() of a large tree, in either direction at once", async () => {
  const content: Record<string, Content> = {};
  for (let i = 0; i < 20; i++) {
    content[`d${i}`] = Object.fromEntries(
      Array.from({ length: 20 }, (_, j) => [`f${j}`, bytes(i * 50 + j)]),
    );
  }
  await using a = await served({ a: content });
  await using b = await served({ b: content });
  const recursive = true;
  await Promise.all([
    a.client.copy("a", "a", { recursive, target: b.client }),
    b.client.copy("b", "b", { recursive, target: a.client }),
    a.client.copy("a", "c", { recursive }),
  ]);
  for (const path of ["a", "b", "c"]) {
    const { fs } = path === "a" ? b : a;
    for (let i = 0; i < 20; i++) {
      for (let j = 0; j < 20; j++) {
        const file = `${path}/d${i}/f${j}`;
        assertEquals(fs.readFile(file), bytes(i * 50 + j), file);
      }
    }
  }
});

test("copy() tells how far it is", async () => {
  await using from = await served({ d: { f: bytes(50_000), e: "" } });
  await using to = await served();
  const told: CopyProgress[] = [];
  await from.client.copy("d", "d", {
    recursive: true,
    target: to.client,
    onProgress: (progress) => told.push(progress),
  });
  const file = told.filter(({ path }) => path === "d/f");
  assert(file.length > 1);
  assertEquals(file.map(({ total }) => total), file.map(() => 50_000));
  const counts = file.map(({ bytes }) => bytes);
  assertEquals(counts, counts.toSorted((a, b) => a - b));
  assertEquals(counts.at(-1), 50_000);
  assertEquals(
    told.filter(({ path }) => path === "d/e"),
    [{ path: "d/e", bytes: 0, total: 0 }],
  );
});

test("copy() fails with what onProgress throws", async () => {
  await using scene = await served({ f: bytes(50_000) });
  const mine = new Error("mine");
  const onProgress = () => {
    throw mine;
  };
  const copying = scene.client.copy("f", "g", { onProgress });
  assertStrictEquals(await copying.catch((error) => error), mine);
});

/** Starts a server of one file with the given behaviour. */
function oneFile(
  content: Uint8Array,
  own: (request: Tmessage) => Reply | undefined = () => undefined,
): (request: Tmessage) => Reply | undefined {
  return (request) => {
    const reply = own(request);
    if (reply) return reply;
    if (request.type === "Tstat") {
      return { type: "Rstat", stat: stat("f", content.length) };
    }
    if (request.type !== "Tread") return undefined;
    const at = Number(request.offset);
    return { type: "Rread", data: content.slice(at, at + request.count) };
  };
}

/** A server of one file that is written, and what it got. */
function sink(own: (request: Tmessage) => Reply | undefined = () => undefined) {
  const got: [offset: number, data: Uint8Array][] = [];
  const handler = (request: Tmessage): Reply | undefined => {
    const reply = own(request);
    if (reply) return reply;
    if (request.type === "Twrite") {
      got.push([Number(request.offset), request.data.slice()]);
    }
    return undefined;
  };
  const content = () => {
    const all = new Uint8Array(
      Math.max(0, ...got.map(([at, data]) => at + data.length)),
    );
    for (const [at, data] of got) all.set(data, at);
    return all;
  };
  return { got, handler, content };
}

/** Waits until the server has no fid but the root. */
async function settled({ client, server }: Scene): Promise<void> {
  await client.stat(0);
  await client.stat(0);
  assertEquals([...server.fids], [0]);
}

test("copy() has a window of reads and writes in flight", async () => {
  await using from = await start();
  await using to = await start();
  const size = 8192 - 24;
  const length = 11 * size;
  const copying = from.client.copy("f", "f", { target: to.client });
  const file = { type: "Rstat", stat: stat("f", length) } as const;
  await from.server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(1)] });
  await from.server.exchange("Tstat", {}, file);
  const opened = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
  await from.server.exchange("Topen", { mode: 0 }, opened);
  await to.server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(7)] });
  await to.server.exchange("Tstat", {}, { type: "Rstat", stat: stat("f") });
  await to.server.exchange("Topen", { mode: 0x11 }, opened);
  const read = async (index: number) => {
    const offset = BigInt(index * size);
    return await from.server.expect("Tread", { offset, count: size });
  };
  const data = (index: number) => new Uint8Array(size).fill(index);
  const first = await read(0);
  from.server.answer(first, { type: "Rread", data: data(0) });
  await takeFirst(to);
  const reads = new Map<number, Tmessage>();
  for (let i = 1; i < 9; i++) reads.set(i, await read(i));
  assertEquals(from.server.open.size, 8);
  // The last read first: the client writes each piece as soon as it arrives.
  const writes = [];
  for (const [i, request] of [...reads].reverse()) {
    from.server.answer(request, { type: "Rread", data: data(i) });
    const offset = BigInt(i * size);
    writes.push(await to.server.expect("Twrite", { offset, data: data(i) }));
  }
  assertEquals([from.server.open.size, to.server.open.size], [0, 8]);
  for (const [at, write] of writes.slice(0, 2).entries()) {
    to.server.answer(write, { type: "Rwrite", count: size });
    const next = await read(9 + at); // The window has room for another read.
    from.server.answer(next, { type: "Rread", data: data(9 + at) });
    writes.push(await to.server.expect("Twrite", { data: data(9 + at) }));
  }
  for (const write of writes.slice(2)) {
    to.server.answer(write, { type: "Rwrite", count: size });
  }
  const end = { type: "Rread", data: new Uint8Array(0) } as const;
  await from.server.exchange("Tread", { offset: BigInt(length) }, end);
  await to.server.exchange("Tclunk", {}, { type: "Rclunk" });
  from.run(() => undefined);
  await copying;
  await settled(from);
});

test("copy() to an append-only file writes in order, one at a time", async () => {
  await using from = await start();
  await using to = await start();
  const content = bytes(100_000);
  from.run(oneFile(content));
  let most = 0;
  const { handler, got } = sink((request) => {
    if (request.type === "Twrite") most = Math.max(most, to.server.open.size);
    return request.type === "Topen"
      ? { type: "Ropen", qid: qid(1, QTAPPEND), iounit: 0 }
      : undefined;
  });
  to.run(handler);
  await from.client.copy("f", "f", { target: to.client });
  assertEquals(most, 1);
  const all = new Uint8Array(got.flatMap(([, data]) => [...data]));
  assertEquals(all, content);
});

test("copy() of a file that names no length, or a wrong one, takes what there is", async () => {
  for (const length of [0n, 10n, 2n ** 64n - 1n]) {
    await using from = await start();
    await using to = await start();
    const content = bytes(50_000);
    from.run(
      oneFile(
        content,
        (request) =>
          request.type === "Tstat"
            ? { type: "Rstat", stat: { ...stat("f"), length } }
            : undefined,
      ),
    );
    const { handler, content: got } = sink();
    to.run(handler);
    await from.client.copy("f", "f", { target: to.client });
    assertEquals(got(), content);
  }
});

test("copy() of short reads and short writes is whole", async () => {
  await using from = await start();
  await using to = await start();
  const content = bytes(30_000);
  from.run(oneFile(content, (request) => {
    if (request.type !== "Tread") return undefined;
    const at = Number(request.offset);
    const count = Math.min(request.count, 1 + at % 700);
    return { type: "Rread", data: content.slice(at, at + count) };
  }));
  const written = new Uint8Array(content.length);
  to.run((request) => {
    if (request.type !== "Twrite") return undefined;
    const count = Math.min(request.data.length, 1000);
    written.set(request.data.subarray(0, count), Number(request.offset));
    return { type: "Rwrite", count };
  });
  await from.client.copy("f", "f", { target: to.client });
  assertEquals(written, content);
});

test("copy() that fails tells both ends, and leaves no fid at either", async () => {
  const failing = ["Topen", "Tcreate", "Tread", "Twrite", "Tclunk"];
  for (const type of failing) {
    await using from = await start();
    await using to = await start();
    let count = 0;
    const fail = (request: Tmessage): Reply | undefined =>
      request.type === type && (type !== "Twrite" || ++count === 3)
        ? { type: "Rerror", ename: "file system is full" }
        : undefined;
    from.run(oneFile(bytes(100_000), type === "Tread" ? fail : undefined));
    const missing = (request: Tmessage): Reply | undefined =>
      type === "Tcreate" && request.type === "Twalk" && request.wname.length
        ? { type: "Rerror", ename: "file does not exist" }
        : fail(request);
    to.run(sink(missing).handler);
    const error = await assertRejects(
      () => from.client.copy("f", "g", { target: to.client }),
      NinePError,
      'Cannot copy "f" to "g": file system is full',
    );
    assertEquals(error.code, "ENOSPC");
    await Promise.all([settled(from), settled(to)]);
  }
});

test("copy() that is aborted rejects at once, and leaves no fid at either end", async () => {
  for (const where of ["Tread", "Twrite"]) {
    await using from = await start();
    await using to = await start();
    const controller = new AbortController();
    const abort = (request: Tmessage): undefined => {
      if (request.type === where) controller.abort("enough");
    };
    from.run(oneFile(bytes(300_000), abort));
    to.run(sink(abort).handler);
    const copying = from.client.copy("f", "f", {
      target: to.client,
      signal: controller.signal,
    });
    assertEquals(await copying.catch((error) => error), "enough");
    // The copy goes on until both servers have answered.
    while (from.server.fids.size + to.server.fids.size > 2) {
      await Promise.all([from.client.stat(0), to.client.stat(0)]);
    }
  }
});

test("copy() fails when the target's connection is lost", async () => {
  await using from = await start();
  await using to = await start();
  to.mayLeak = true;
  from.run(oneFile(bytes(300_000)));
  to.run((request) => {
    if (request.type === "Twrite") to.server.close();
    return undefined;
  });
  const copying = from.client.copy("f", "f", { target: to.client });
  const error = await copying.catch((error) => error);
  assertStrictEquals(error, await to.client.closed);
  await settled(from);
});

const MiB = 1 << 20;

/**
 * A tree with a file of 8 MiB whose n-th read finds the end, as in a rotated
 * file. That read may be late.
 */
async function rotating(
  n: number,
  isLate: boolean,
): Promise<{ client: Client; fs: MemoryFs; content: Uint8Array }> {
  const fs = new MemoryFs({ d: {} }, { mode: 0o777, uid: "none" });
  const content = new Uint8Array(8 * MiB).fill(65);
  const late = Promise.withResolvers<void>();
  let reads = 0;
  fs.define("d/log", {
    length: () => content.length,
    read: async ({ offset, count }) => {
      if (++reads !== n) return content.subarray(offset, offset + count);
      if (isLate) await late.promise;
      return new Uint8Array(0);
    },
  });
  // The target stores the bytes, and records whether bytes came after the end.
  const target = { content: new Uint8Array(0) };
  fs.define("target", {
    length: () => target.content.length,
    read: ({ offset, count }) =>
      target.content.subarray(offset, offset + count),
    write: ({ data, offset }) => {
      const end = Math.max(target.content.length, offset + data.length);
      const longer = new Uint8Array(end);
      longer.set(target.content);
      longer.set(data, offset);
      target.content = longer;
      if (offset >= n * 128 * 1024) late.resolve();
      return data.length;
    },
    truncate: (length) => {
      if (length > 0 && n === REFUSED) throw new NinePError("wstat prohibited");
      target.content = target.content.slice(0, length);
    },
  });
  const [near, far] = pair();
  void serve(far, fs);
  return { client: await connect(near), fs, content };
}

/** The number of the read whose target cannot be cut. */
const REFUSED = 4;

test("copy() holds nothing that its source never had, whichever read finds the end", async () => {
  for (const n of [1, 2, 3, 5, 9, 10, 30]) {
    for (const isLate of [false, true]) {
      if (isLate && n < 3) continue; // No other read is in flight at the same time.
      const { client, content } = await rotating(n, isLate);
      const told: CopyProgress[] = [];
      const onProgress = (progress: CopyProgress) => told.push(progress);
      await client.copy("d/log", "target", { onProgress });
      const copy = await client.readFile("target");
      assertEquals(copy, content.subarray(0, copy.length), `read ${n}`);
      assert(copy.length < content.length);
      assertEquals(told.at(-1)?.bytes, copy.length);
      await client.close();
    }
  }
});

test("copy() of a tree holds nothing that its source never had", async () => {
  const { client, fs } = await rotating(6, false);
  await client.copy("d", "copy", { recursive: true });
  assertEquals(fs.readFile("copy/log").includes(0), false);
  await client.close();
});

test("copy() fails if the target cannot be cut to the length of its source", async () => {
  const { client } = await rotating(REFUSED, true);
  const error = await assertRejects(
    () => client.copy("d/log", "target"),
    NinePError,
    'Cannot copy "d/log" to "target": wstat prohibited: the source became shorter while it was read, and its copy cannot be cut to 393216 bytes',
  );
  assertEquals(error.code, "EPERM");
  await client.close();
});
