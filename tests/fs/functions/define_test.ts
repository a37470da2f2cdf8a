// Files that are what functions say: computed, appended to, written once, raw
// (P-38, C-92).
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  DMAPPEND,
  DMEXCL,
  NinePError,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
} from "../../../codec.ts";
import {
  type FileHooks,
  MemoryFs,
  type MemoryFsOptions,
  PathNode,
} from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { nextTask } from "../../server/toy.ts";
import { aborted, bytes, refused, ServedTree, textOf } from "../tree_client.ts";

/** A tree with one defined file f. */
function serving<State>(
  hooks: FileHooks<State>,
  options: MemoryFsOptions = {},
): ServedTree {
  const fs = new MemoryFs({}, { mode: 0o777, ...options });
  fs.define("f", hooks);
  return new ServedTree(fs);
}

// C-68, C-92.
test("content: made at each open, and the same for that open", async () => {
  let opens = 0;
  await using served = serving({ content: () => `open ${++opens}` });
  const client = await served.client();
  const one = await client.open("f");
  const two = await client.open("f");
  assertEquals(await client.text(one), "open 1");
  assertEquals(await client.text(two), "open 2");
  assertEquals(await client.text(one, 5), "1");
  assertEquals(await client.text(one, 0, 4), "open");
  assertEquals(await client.text(one, 6), "");
  assertEquals(opens, 2);
  const { length, mode, qid } = await client.stat(one);
  assertEquals([length, mode, qid.vers], [0n, 0o444, 0]);
});

test("content: bytes or text, now or later, for the user that opens", async () => {
  await using served = serving({
    content: (_request, { uname }) => Promise.resolve(bytes(`for ${uname}`)),
  });
  const client = await served.client("rob");
  assertEquals(await client.text(await client.open("f")), "for rob");
});

test("content: an error is that of the open, and nothing is left of it", async () => {
  let fails = true;
  const clunks: unknown[] = [];
  await using served = serving({
    mode: 0o666 + DMEXCL,
    open: () => "state",
    content: () => {
      if (fails) throw new NinePError("i/o error");
      return "fine";
    },
    clunk: (_context, state) => void clunks.push(state),
  });
  const client = await served.client();
  await refused("i/o error", client.open("f"));
  assertEquals(clunks, ["state"]);
  fails = false;
  assertEquals(await client.text(await client.open("f")), "fine");
});

test("content: not made for an open that only writes", async () => {
  let made = 0;
  await using served = serving({
    content: () => `${++made}`,
    write: () => {},
  });
  const client = await served.client();
  await client.clunk(await client.open("f", OWRITE));
  assertEquals(made, 0);
  assertEquals(await client.text(await client.open("f", ORDWR)), "1");
});

test("write: a callback for each write of an append-only file", async () => {
  const lines: string[] = [];
  await using served = serving({
    mode: DMAPPEND + 0o222,
    write: ({ data }, { uname }) =>
      void lines.push(`${uname}: ${textOf(data)}`),
  });
  const client = await served.client("rob");
  const fid = await client.open("f", OWRITE | OTRUNC);
  assertEquals(await client.write(fid, "one"), 3);
  assertEquals(await client.write(fid, "two", 3), 3);
  assertEquals(lines, ["rob: one", "rob: two"]);
  assertEquals((await client.stat("f")).muid, "rob");
  await refused("permission denied", client.open("f", OREAD));
});

test("write: the client gets its count and its errors", async () => {
  await using served = serving({
    write: ({ data }) => {
      if (data.length > 4) throw new NinePError("file too big");
      return 1;
    },
  });
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  assertEquals(await client.write(fid, "abc"), 1);
  await refused("file too big", client.write(fid, "abcde"));
});

test("written: once at the clunk, with all that the open wrote", async () => {
  const got: string[] = [];
  await using served = serving({
    written: (data, { uname }) => void got.push(`${uname}: ${textOf(data)}`),
  });
  const client = await served.client("rob");
  const [one, two] = [
    await client.open("f", OWRITE),
    await client.open("f", OWRITE | OTRUNC),
  ];
  await client.write(one, "hello ");
  await client.write(two, "other");
  await client.write(one, "world", 6);
  assertEquals(got, []);
  await client.clunk(one);
  assertEquals(got, ["rob: hello world"]);
  await client.clunk(two);
  assertEquals(got, ["rob: hello world", "rob: other"]);
});

test("written: not for opens that wrote nothing, but for a write of nothing", async () => {
  const got: string[] = [];
  await using served = serving({
    written: (data) => void got.push(textOf(data)),
  });
  const client = await served.client();
  await client.clunk(await client.open("f", OWRITE | OTRUNC));
  await client.wstat("f", { length: 0n });
  assertEquals(got, []);
  const fid = await client.open("f", OWRITE);
  await client.write(fid, "");
  await client.clunk(fid);
  assertEquals(got, [""]);
});

test("written: its error answers the clunk, and the fid is gone", async () => {
  const clunks: unknown[] = [];
  await using served = serving({
    open: () => 7,
    written: () => Promise.reject(new NinePError("illegal name")),
    clunk: (_context, state) => void clunks.push(state),
  });
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  await client.write(fid, "x");
  await refused("illegal name", client.clunk(fid));
  await refused("fid unknown or out of range", client.clunk(fid));
  assertEquals(clunks, [7]);
});

test("state: what open gives is that of each open, until its clunk", async () => {
  interface Cursor {
    user: string;
    reads: number;
  }
  const ended: Cursor[] = [];
  await using served = serving({
    open: (_request, { uname }): Cursor => ({ user: uname, reads: 0 }),
    read: (_request, _context, state) =>
      bytes(`${state.user} ${++state.reads}`),
    clunk: (_context, state) => void ended.push(state),
  });
  const rob = await served.client("rob");
  const ken = await served.client("ken");
  const [one, two] = [await rob.open("f"), await ken.open("f")];
  assertEquals(await rob.text(one), "rob 1");
  assertEquals(await rob.text(one), "rob 2");
  assertEquals(await ken.text(two), "ken 1");
  await rob.clunk(one);
  assertEquals(ended, [{ user: "rob", reads: 2 }]);
});

test("state: the end of a connection ends its opens", async () => {
  const ended: string[] = [];
  const served = serving({
    open: (_request, { uname }) => uname,
    read: () => bytes("x"),
    clunk: (_context, state) => void ended.push(state),
  });
  const client = await served.client("rob");
  await client.open("f");
  await client.open("f");
  await served[Symbol.asyncDispose]();
  assertEquals(ended, ["rob", "rob"]);
});

test("open: what it throws refuses, and exclusive use is not kept", async () => {
  let fails = true;
  let clunks = 0;
  await using served = serving({
    mode: DMEXCL + 0o666,
    open: async () => {
      await Promise.resolve();
      if (fails) throw new NinePError("permission denied");
    },
    clunk: () => void clunks++,
  });
  const client = await served.client();
  await refused("permission denied", client.open("f"));
  assertEquals(clunks, 0);
  fails = false;
  const fid = await client.open("f");
  await refused("exclusive use file already open", client.open("f"));
  await client.clunk(fid);
  await client.open("f");
});

test("open: permissions are checked before it is asked", async () => {
  let asked = 0;
  await using served = serving({ mode: 0o400, open: () => void asked++ });
  const client = await served.client();
  await refused("permission denied", client.open("f"));
  assertEquals(asked, 0);
});

test("read, write, call: raw requests with fid, file and connection (P-38)", async () => {
  const seen: unknown[] = [];
  const fs = new MemoryFs();
  const node = fs.define("f", {
    read: ({ offset, count }, { fid, uname, peer }) => {
      const isNode = fid.node instanceof PathNode && fid.node.file === node;
      seen.push(["read", uname, isNode, offset, count, peer]);
      return bytes("abc").subarray(offset, offset + count);
    },
    write: ({ offset, data }) => {
      seen.push(["write", offset, textOf(data)]);
    },
    call: ({ text, data }) => {
      seen.push(["call", text, textOf(data)]);
      return bytes("called");
    },
  });
  await using served = new ServedTree(fs);
  const client = await served.client("rob");
  const fid = await client.open("f", ORDWR);
  assertEquals(await client.text(fid, 1, 2), "bc");
  assertEquals(await client.write(fid, "xyz", 7), 3);
  const { err, value } = await client.call(fid, "text", bytes("data"));
  assertEquals([err, value], [0, "called"]);
  assertEquals(seen, [
    ["read", "rob", true, 1, 2, "pair"],
    ["write", 7, "xyz"],
    ["call", "text", "data"],
  ]);
});

test("read: a flush aborts its signal (P-38)", async () => {
  let asked: (signal: AbortSignal) => void = () => {};
  const signal = new Promise<AbortSignal>((resolve) => asked = resolve);
  await using served = serving({
    read: (_request, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        asked(signal);
      }),
  });
  const client = await served.client();
  const fid = await client.open("f");
  const offset = 0n;
  const { tag } = client.start({ type: "Tread", fid, offset, count: 10 });
  const given = await signal;
  assertEquals(await client.flush(tag), ["Rflush"]);
  await aborted(given);
});

test("call: without it the file is no function, with it no open is needed", async () => {
  await using served = serving({ content: () => "x" });
  const client = await served.client();
  assertEquals((await client.call("f", "{}")).err, 255);
  const states: unknown[] = [];
  served.fs.define("g", {
    open: () => "state",
    call: (_request, _context, state) => {
      states.push(state);
      return bytes("x");
    },
  });
  const fid = await client.walk("g");
  assertEquals((await client.call(fid, "")).value, "x");
  assertEquals((await client.call(fid, "")).value, "x");
  assertEquals(states, ["state", "state"]);
});

test("truncate: called for OTRUNC and Twstat; without it both have no effect", async () => {
  const cuts: [number, string][] = [];
  await using served = serving({
    write: () => {},
    truncate: (length, uname) => void cuts.push([length, uname]),
  });
  served.fs.define("g", { write: () => {} });
  const client = await served.client("rob");
  await client.open("f", OWRITE | OTRUNC);
  await client.wstat("f", { length: 5n });
  assertEquals(cuts, [[0, "rob"], [5, "rob"]]);
  await client.open("g", OWRITE | OTRUNC);
  await client.wstat("g", { length: 5n });
  assertEquals((await client.stat("g")).length, 0n);
});

test("truncate: what refuses a length refuses the whole Twstat", async () => {
  await using served = serving({
    uid: "rob",
    write: () => {},
    truncate: () => Promise.reject(new NinePError("file too big")),
  });
  const rob = await served.client("rob");
  await refused("file too big", rob.wstat("f", { length: 5n, name: "g" }));
  assert(served.fs.find("f") !== undefined);
  await refused("file too big", rob.open("f", OWRITE | OTRUNC));
});

/** A tree with files f and other, whose cuts wait to be let go. */
function cutting(): {
  served: ServedTree;
  cut: Promise<void>;
  end: (error?: Error) => void;
} {
  const begun = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const served = serving({
    write: () => {},
    truncate: () => {
      begun.resolve();
      return done.promise;
    },
  });
  served.fs.create("other", { uid: "glenda" });
  const end = (error?: Error) => error ? done.reject(error) : done.resolve();
  return { served, cut: begun.promise, end };
}

test("truncate: a name beside it is taken before the file is cut", async () => {
  const { served, cut, end } = cutting();
  await using _served = served;
  const client = await served.client();
  const changed = client.wstat("f", { length: 5n, name: "g" });
  await cut;
  const taken = "file already exists";
  await refused(taken, client.create("/", "g"));
  await refused(taken, client.wstat("other", { name: "g" }));
  assertThrows(() => served.fs.create("g"), NinePError, taken);
  assertThrows(() => served.fs.rename("other", "g"), NinePError, taken);
  await client.create("/", "h");
  end();
  await changed;
  const names = served.fs.readDir("/").map(({ name }) => name);
  assertEquals(names.sort(), ["g", "h", "other"]);
});

test("truncate: that fails lets go of the name beside it", async () => {
  const { served, cut, end } = cutting();
  await using _served = served;
  const client = await served.client();
  const changed = client.wstat("f", { length: 5n, name: "g" });
  await cut;
  end(new NinePError("file too big"));
  await refused("file too big", changed);
  assert(served.fs.find("f") !== undefined);
  await client.create("/", "g");
});

test("truncate: a file that was removed meanwhile gets no name back", async () => {
  const { served, cut, end } = cutting();
  await using _served = served;
  const client = await served.client();
  const changed = client.wstat("f", { length: 5n, name: "g" });
  await cut;
  served.fs.remove("g");
  end(new NinePError("file too big"));
  await refused("file too big", changed);
  assertEquals(served.fs.readDir("/").map(({ name }) => name), ["other"]);
});

test("remove: asked before a client removes, also at the clunk", async () => {
  let refuses = true;
  const asked: string[] = [];
  const fs = new MemoryFs({}, { mode: 0o777 });
  fs.define("f", {
    content: () => "x",
    remove: async ({ uname }) => {
      await Promise.resolve();
      asked.push(uname);
      if (refuses) throw new NinePError("permission denied");
    },
  });
  await using served = new ServedTree(fs);
  const client = await served.client("rob");
  await refused("permission denied", client.remove("f"));
  assert(fs.find("f") !== undefined);
  refuses = false;
  await client.clunk(await client.open("f", OREAD | ORCLOSE));
  assertEquals(fs.find("f"), undefined);
  assertEquals(asked, ["rob", "rob"]);
});

test("remove: a file that the program removed meanwhile is not removed twice", async () => {
  const fs = new MemoryFs({}, { mode: 0o777 });
  fs.define("f", {
    remove: async () => {
      await Promise.resolve();
      fs.remove("f");
      fs.create("f");
    },
  });
  await using served = new ServedTree(fs);
  const client = await served.client();
  await refused("file has been removed", client.remove("f"));
  assert(fs.find("f") !== undefined);
});

test("length: a number, or a function that is asked each time", async () => {
  let length = 1;
  await using served = serving({ length: 42, content: () => "x" });
  served.fs.define("g", { length: () => length, content: () => "x" });
  const client = await served.client();
  assertEquals((await client.stat("f")).length, 42n);
  assertEquals((await client.stat("g")).length, 1n);
  length = 2;
  assertEquals((await client.stat("g")).length, 2n);
});

test("length: one that is none is refused, by a name that tells it", async () => {
  const fs = new MemoryFs();
  for (const length of [-1, 1.5, NaN, Infinity, 2 ** 53, "7"]) {
    const hooks = { length } as FileHooks; // As from JavaScript.
    const error = assertThrows(() => fs.define("f", hooks), RangeError);
    assertEquals(
      error.message,
      `Cannot define "f": the length is ${length}, not a whole number from 0 on`,
    );
  }
  assertEquals(fs.find("f"), undefined);
  let length = 1;
  await using served = serving({ length: () => length, content: () => "x" });
  const client = await served.client();
  for (length of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    const message =
      `Cannot tell the length of "f": ${length} is not a whole number from 0 on`;
    assertThrows(() => served.fs.stat("f"), RangeError, message);
    await refused("i/o error", client.stat("f"));
    await refused("i/o error", client.read(await client.open("/")));
    for (const report of served.reports.splice(0)) {
      assertEquals(String(report), `RangeError: ${message}`);
    }
  }
  length = 3;
  assertEquals((await client.stat("f")).length, 3n);
  assertEquals(served.reports, []);
});

test("mode: by what the file can do, unless it is given", () => {
  const fs = new MemoryFs();
  const modes: [FileHooks, number][] = [
    [{}, 0],
    [{ content: () => "" }, 0o444],
    [{ read: () => bytes("") }, 0o444],
    [{ write: () => {} }, 0o222],
    [{ written: () => {} }, 0o222],
    [{ content: () => "", written: () => {} }, 0o666],
    [{ call: () => bytes("") }, 0o666],
    [{ mode: 0o600, content: () => "" }, 0o600],
  ];
  for (const [at, [hooks, mode]] of modes.entries()) {
    assertEquals(fs.define(`f${at}`, hooks).mode, mode);
  }
});

test("define(): refuses two functions for one thing, and places that cannot be", () => {
  const fs = new MemoryFs({ taken: "" });
  const content = () => "";
  const read = () => bytes("");
  assertThrows(() => fs.define("f", { content, read }), TypeError);
  const write = () => {};
  assertThrows(() => fs.define("f", { write, written: write }), TypeError);
  assertThrows(() => fs.define("taken", {}), NinePError);
  assertThrows(() => fs.define("no/f", {}), NinePError);
  assertEquals(fs.find("f"), undefined);
});

test("define(): what cannot be written or read says so", async () => {
  await using served = serving({ mode: 0o666 });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  assertEquals(await client.text(fid), "");
  await refused("Operation not supported", client.write(fid, "x"));
  assertThrows(() => served.fs.readFile("f"), NinePError);
});

test("define(): a write of nothing changes no time", async () => {
  const writes: number[] = [];
  const fs = new MemoryFs();
  fs.define("f", { write: ({ data }) => void writes.push(data.length) });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.open("f", OWRITE);
  fs.find("f")!.mtime = 1;
  await client.write(fid, "");
  assertEquals([writes, fs.stat("f").mtime], [[0], 1]);
});

test("define(): requests that come together on a fid open the file once, and are asked in order", async () => {
  const log: string[] = [];
  const fs = new MemoryFs();
  fs.define("f", {
    open: async () => {
      log.push("open");
      await nextTask();
      return log.length;
    },
    call: ({ text }, state) => {
      log.push(text);
      return bytes(`${state}`);
    },
    clunk: () => void log.push("clunk"),
  });
  await using served = new ServedTree(fs);
  const client = await served.client();
  const fid = await client.walk("f");
  const data = new Uint8Array(0);
  const calls = ["a", "b", "c"].map((text) =>
    client.start({ type: "Tcall", fid, text, data })
  );
  for (const { reply } of calls) await reply;
  await client.clunk(fid);
  assertEquals(log, ["open", "a", "b", "c", "clunk"]);
});

test("define(): an open that was given up while it began is ended, too", async () => {
  let begin: (state: string) => void = () => {};
  let asked: () => void = () => {};
  const asking = new Promise<void>((resolve) => asked = resolve);
  const ended: unknown[] = [];
  const fs = new MemoryFs();
  fs.define("f", {
    open: () => {
      asked();
      return new Promise<string>((resolve) => begin = resolve);
    },
    read: () => bytes("x"),
    clunk: (_context, state) => void ended.push(state),
  });
  const served = new ServedTree(fs, { implicitOpen: true });
  const client = await served.client();
  const fid = await client.walk("f");
  const offset = 0n;
  const { tag } = client.start({ type: "Tread", fid, offset, count: 10 });
  await asking;
  // The fid is not free before the open has ended.
  const flushed = client.flush(tag);
  begin("late");
  assertEquals(await flushed, ["Rflush"]);
  await client.clunk(fid);
  assertEquals(ended, ["late"]);
  await served[Symbol.asyncDispose]();
});
