// The state of a fid on the server after a lost connection: the client takes no
// state as unchanged without proof.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  failure,
  Home,
  run,
  type Stage,
  stage,
  walked,
  welcome,
} from "./reconnecting.ts";
import { qid, type ScriptedServer, stat } from "./scripted.ts";
import { connect, type RemoteFile } from "../../client.ts";
import { NinePError, type Qid } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const utf8 = new TextDecoder();

/** Returns the text of one read. */
async function readSome(file: RemoteFile, most = 1000): Promise<string> {
  const buffer = new Uint8Array(most);
  return utf8.decode(buffer.subarray(0, await file.read(buffer) ?? 0));
}

async function assertStale(promise: Promise<unknown>): Promise<void> {
  const error = await failure(promise);
  assertInstanceOf(error, NinePError);
  assertEquals(error.code, "ESTALE", error.message);
}

/** A client of the same tree that keeps its connection. */
function visitor(fs: MemoryFs, uname = "bob") {
  const [near, far] = pair();
  void serve(far, fs);
  return connect(near, { uname });
}

/** Calls a function file by a write and a read on one fid each. */
async function callApart(
  client: Awaited<ReturnType<typeof visitor>>,
  args: unknown,
): Promise<string> {
  await client.writeTextFile("f", JSON.stringify(args));
  return await client.readTextFile("f");
}

// Function files.

for (const fill of ["", "a longer value than the arguments of alice"]) {
  test(`reconnect: written arguments are not answered with the value of another user (${fill.length})`, async () => {
    const fs = new MemoryFs({}, { mode: 0o777, uid: "none" });
    fs.register("f", ({ who }) => `for ${who}${fill}`);
    await using home = await Home.open(fs, { uname: "alice" });
    await using bob = await visitor(fs);
    await callApart(bob, { who: "x" });
    await using file = await home.client.open("f", { read: true, write: true });
    await file.writeAll(JSON.stringify({ who: "alice" }));
    const call = await home.noticed();
    assertEquals(await callApart(bob, { who: "BOB" }), `"for BOB${fill}"`);
    await bob.writeTextFile("f", JSON.stringify({ who: "BOB" }));
    home.answer(call);
    await file.seek(0);
    await assertStale(readSome(file));
    await assertStale(readSome(file)); // A second read fails as well.
    // Other fids read the whole value.
    assertEquals(await bob.readTextFile("f"), `"for BOB${fill}"`);
  });
}

test("reconnect: a value that was read in part does not go on with that of another user", async () => {
  const fs = new MemoryFs({}, { mode: 0o777, uid: "none" });
  fs.register("f", ({ who }) => `${who} has the longest value of them all`);
  await using home = await Home.open(fs, { uname: "alice" });
  await using bob = await visitor(fs);
  await callApart(bob, { who: "bob" });
  await using file = await home.client.open("f", { read: true, write: true });
  await file.writeAll(JSON.stringify({ who: "alice" }));
  await file.seek(0);
  assertEquals(await readSome(file, 6), '"alice');
  const call = await home.noticed();
  await callApart(bob, { who: "bob" });
  home.answer(call);
  await assertStale(readSome(file)); // The value was read in part.
  await file.seek(0);
  await assertStale(readSome(file));
  // The fid has new arguments of its own.
  await file.seek(0);
  await file.writeAll(JSON.stringify({ who: "carol" }));
  await file.seek(0);
  assertEquals(await readSome(file, 6), '"carol');
});

test("reconnect: the rest of a value that was read in part is an error, not its end", async () => {
  const fs = new MemoryFs({}, { mode: 0o777, uid: "none" });
  fs.register("f", ({ who }) => `for ${who}`);
  await using home = await Home.open(fs);
  await home.client.writeTextFile("f", JSON.stringify({ who: "all" }));
  await using file = await home.client.open("f");
  assertEquals(await readSome(file, 4), '"for');
  await home.swap();
  await assertStale(readSome(file));
});

// Plain files.

test("reconnect: a plain file is read on if it has the written bytes", async () => {
  const fs = new MemoryFs({ f: "0123456789" }, { mode: 0o777, uid: "none" });
  await using home = await Home.open(fs);
  await using file = await home.client.open("f", { read: true, write: true });
  await file.writeAll("abcdef");
  await home.swap();
  assertEquals(await readSome(file), "6789");
  await file.writeAll("!");
  await home.swap();
  await file.seek(0);
  assertEquals(await readSome(file), "abcdef6789!");
  assertEquals(await readSome(file), ""); // The end of the file.
});

test("reconnect: a plain file whose written bytes others have changed is lost", async () => {
  for (const change of ["ABCDEF", "abc"]) {
    const fs = new MemoryFs({ f: "012345" }, { mode: 0o777, uid: "none" });
    await using home = await Home.open(fs);
    await using file = await home.client.open("f", { read: true, write: true });
    await file.writeAll("abcdef");
    const call = await home.noticed();
    fs.writeFile("f", change);
    home.answer(call);
    await file.seek(0);
    await assertStale(readSome(file));
  }
});

test("reconnect: a plain file that is shorter than the part that was read is lost", async () => {
  const fs = new MemoryFs({ f: "0123456789" }, { uid: "none" });
  await using home = await Home.open(fs);
  await using file = await home.client.open("f");
  assertEquals(await readSome(file, 6), "012345");
  const call = await home.noticed();
  fs.writeFile("f", "012");
  home.answer(call);
  await assertStale(readSome(file));
  // A file that was read to its end and has grown goes on.
  fs.writeFile("f", "0123");
  await using whole = await home.client.open("f");
  assertEquals(await readSome(whole), "0123");
  const next = await home.noticed();
  fs.writeFile("f", "01234567");
  home.answer(next);
  assertEquals(await readSome(whole), "4567");
  assertEquals(await readSome(whole), "");
});

test("reconnect: a stream, which has no length, goes on and ends", async () => {
  let count = 0;
  const fs = new MemoryFs({}, { uid: "none" });
  fs.define("s", {
    read: () =>
      ++count > 3 ? new Uint8Array(0) : new TextEncoder().encode("tick"),
  });
  await using home = await Home.open(fs);
  await using file = await home.client.open("s");
  assertEquals(await readSome(file), "tick");
  await home.swap();
  assertEquals(await readSome(file), "tick");
  assertEquals(await readSome(file), "tick");
  assertEquals(await readSome(file), "");
});

// Servers that reuse qids after a restart.

/** An open file of a scripted server. */
async function opened(
  on: Stage,
  mode: { read?: boolean; write?: boolean },
  of: Qid,
): Promise<RemoteFile> {
  const opening = on.client.open("f", mode);
  await walkedTo(on.server, 0, of);
  await on.server.exchange("Topen", {}, { type: "Ropen", qid: of, iounit: 0 });
  return await opening;
}

async function walkedTo(
  server: ScriptedServer,
  from: number,
  of: Qid,
): Promise<void> {
  await server.exchange("Twalk", { fid: from, newfid: 1, wname: ["f"] }, {
    type: "Rwalk",
    wqid: [of],
  });
}

test("reconnect: an upload does not go on in a file that is shorter than the written part", async () => {
  for (const length of [0, 9, 10, 11]) {
    await using on = await stage();
    const of = { ...qid(1), vers: 5 };
    const file = await opened(on, { write: true }, of);
    const writing = file.writeAll(new Uint8Array(10));
    await on.server.exchange("Twrite", { offset: 0n }, {
      type: "Rwrite",
      count: 10,
    });
    await writing;
    on.server.close();
    const { server, root } = await welcome(on);
    await walked(server, root, 0, []);
    await walkedTo(server, root, of);
    await server.exchange("Topen", {}, { type: "Ropen", qid: of, iounit: 0 });
    const record = { ...stat("f", length), qid: of };
    await server.exchange("Tstat", { fid: 1 }, { type: "Rstat", stat: record });
    run(server);
    const more = file.writeAll(new Uint8Array(10));
    if (length < 10) {
      const error = await failure(more);
      assertInstanceOf(error, NinePError);
      assertEquals(error.code, "ESTALE");
      assert(error.message.includes("shorter than the part that was written"));
      assert(!server.log.some(({ type }) => type === "Twrite"));
    } else await more;
  }
});

test("reconnect: a file with a lower version than before is another one", async () => {
  for (
    const [before, after, isLost] of [
      [5, 5, false],
      [5, 6, false],
      [5, 4, true],
      [5, 0, true],
      [0xffffffff, 1, false], // Versions wrap.
      [1, 0xffffffff, true],
    ] as const
  ) {
    await using on = await stage();
    const file = await opened(on, {}, { ...qid(1), vers: before });
    on.server.close();
    const { server, root } = await welcome(on);
    await walked(server, root, 0, []);
    const now = { ...qid(1), vers: after };
    await walkedTo(server, root, now);
    run(
      server,
      ({ type }) =>
        type === "Topen" ? { type: "Ropen", qid: now, iounit: 0 } : undefined,
    );
    const reading = file.read(new Uint8Array(9));
    if (isLost) await assertStale(reading);
    else await reading;
  }
});

test("reconnect: an upload to a tree that was made anew fails", async () => {
  const tree = () => {
    const fs = new MemoryFs({}, { mode: 0o777, uid: "none" });
    fs.create("out", { mode: 0o666 });
    return fs;
  };
  const home = await Home.open(tree());
  const fs = tree();
  fs.writeFile("out", "z");
  fs.writeFile("out", "");
  const lines = async function* () {
    for (let i = 0; i < 20; i++) {
      if (i === 10) {
        const call = await home.noticed();
        const [near, far] = pair();
        void serve(far, fs);
        call.resolve(near);
      }
      yield `line ${i}\n`;
    }
  };
  const error = await assertRejects(
    () => home.client.writeFile("out", lines()),
    NinePError,
  );
  assertEquals(error.code, "ESTALE");
  assertEquals(fs.readTextFile("out"), "");
  await home.client.close();
});
