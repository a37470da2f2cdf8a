// The fids of a client that reconnects.
import { assert, assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import {
  again,
  assertStale,
  Exchange,
  failure,
  greet,
  Home,
  MSIZE,
  restored,
  run,
  stage,
  walked,
  welcome,
} from "./reconnecting.ts";
import { qid, type Reply, type ScriptedServer } from "./scripted.ts";
import { connect, type ConnectOptions } from "../../client.ts";
import {
  DMEXCL,
  type NinePError,
  NOFID,
  ORCLOSE,
  ORDWR,
  QTAUTH,
  QTDIR,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";

const text = new TextEncoder();

test("reconnect: open files, kept fids and the current directory go on", async () => {
  const fs = new MemoryFs({ d: { e: { f: "0123456789" } }, g: "" }, {
    uid: "none",
  });
  await using home = await Home.open(fs);
  const { client } = home;
  await client.chdir("d");
  const kept = await client.protocol.fid("e");
  const reader = await client.open("e/f");
  const writer = await client.open("/g", { write: true });
  const buffer = new Uint8Array(4);
  assertEquals(await reader.read(buffer), 4);
  await writer.write(text.encode("one "));
  await home.swap();
  assertEquals(await reader.read(buffer), 4);
  assertEquals(new TextDecoder().decode(buffer), "4567");
  await writer.write(text.encode("two"));
  assertEquals(await client.readTextFile("/g"), "one two");
  assertEquals(await client.protocol.fid("e"), kept);
  assertEquals((await client.stat(kept)).name, "e");
  assertEquals((await client.stat("e")).name, "e");
  assertEquals(client.cwd, "/d");
  await reader.close();
  await writer.close();
});

test("reconnect: two trees go on, each for its user", async () => {
  const fs = new MemoryFs({}, { uid: "glenda" });
  await using home = await Home.open(fs, { uname: "glenda" });
  const { client } = home;
  await client.writeTextFile("diary", "dear", { mode: 0o600 });
  const other = await client.attach({ uname: "ken" });
  await home.swap();
  assertEquals(await client.readTextFile("diary"), "dear");
  const error = await failure(other.readTextFile("diary"));
  assertEquals((error as NinePError).code, "EACCES"); // Checked by the code.
  await other.close();
});

test("reconnect: a tree whose root was closed leaves its files", async () => {
  await using home = await Home.open(
    new MemoryFs({ a: "alpha" }, { uid: "none" }),
  );
  const other = await home.client.attach({ uname: "ken" });
  const file = await other.open("a");
  await other.close();
  await home.swap();
  const buffer = new Uint8Array(9);
  assertEquals(await file.read(buffer), 5);
  await file.close();
});

test("reconnect: the fids are the same, walked to by their paths without ..", async () => {
  await using on = await stage();
  const { client, server } = on;
  const walking = client.protocol.walk("a/b/../c");
  await walked(server, 0, 1, ["a", "b", "..", "c"]);
  await walking;
  const copying = client.protocol.walk([], { from: 1 });
  await walked(server, 1, 2, []);
  await copying;
  server.close();
  const next = await welcome(on);
  assertEquals(next.root, 3);
  await walked(next.server, 3, 0, []);
  const reply: Reply = { type: "Rwalk", wqid: [qid(1), qid(4)] };
  const wname = ["a", "c"];
  await next.server.exchange("Twalk", { fid: 3, newfid: 1, wname }, reply);
  await next.server.exchange("Twalk", { fid: 3, newfid: 2, wname }, reply);
  await next.server.exchange("Tclunk", { fid: 3 }, { type: "Rclunk" });
  run(next.server);
  await client.stat(2);
  assertEquals([...next.server.fids], [0, 1, 2]);
});

test("reconnect: a path of more than 16 elements takes several walks", async () => {
  const path = Array.from({ length: 40 }, (_, i) => `d${i}`);
  const fs = new MemoryFs({}, { uid: "none" });
  await using home = await Home.open(fs);
  const { client } = home;
  for (let i = 1; i <= path.length; i++) await client.mkdir(path.slice(0, i));
  const file = await client.create([...path, "f"]);
  await file.write(text.encode("deep"));
  await home.swap();
  const buffer = new Uint8Array(9);
  assertEquals(await file.readAt(buffer, 0), 4);
  await file.close();
});

test("reconnect: a path that has become a dead end in the middle leaves no fid", async () => {
  await using on = await stage();
  const { client, server } = on;
  const path = Array.from({ length: 20 }, (_, i) => `d${i}`);
  const walking = client.protocol.walk(path);
  await walked(server, 0, 1, path.slice(0, 16));
  await walked(server, 1, 1, path.slice(16));
  await walking;
  server.close();
  const next = await welcome(on);
  await walked(next.server, 2, 0, []);
  await walked(next.server, 2, 1, path.slice(0, 16));
  const short: Reply = { type: "Rwalk", wqid: [qid(1)] };
  await next.server.exchange("Twalk", { fid: 1, newfid: 1 }, short);
  run(next.server);
  assertStale(await failure(client.stat(1)), /does not exist at "d17"/);
  assertEquals([...next.server.fids], [0]);
});

test("reconnect: a clunk without a connection is done at once; nothing is made again for it", async () => {
  await using on = await stage();
  const { client, server } = on;
  const walking = client.protocol.walk("a");
  await walked(server, 0, 1, ["a"]);
  await walking;
  server.close();
  const call = await on.exchange.call();
  await client.protocol.clunk(1);
  on.exchange.giveBack(call);
  run(await restored(on));
  await client.stat(0);
});

test("reconnect: a clunk while fids are made again leaves none", async () => {
  await using on = await stage();
  const { client, server } = on;
  const walking = client.protocol.walk("a");
  await walked(server, 0, 1, ["a"]);
  await walking;
  server.close();
  const next = await welcome(on);
  await walked(next.server, 2, 0, []);
  await client.protocol.clunk(1);
  // The number is taken again at once, but what is asked with it waits.
  const other = client.protocol.walk("b");
  await walked(next.server, 2, 1, ["a"]);
  const clunked = new Set<number>();
  for (let i = 0; i < 2; i++) {
    const { fid } = await next.server.exchange("Tclunk", {}, {
      type: "Rclunk",
    });
    clunked.add(fid);
  }
  assertEquals(clunked, new Set([1, 2]));
  await walked(next.server, 0, 1, ["b"]);
  assertEquals(await other, 1);
  run(next.server);
});

test("reconnect: a file that was replaced or removed is lost, others go on", async () => {
  const fs = new MemoryFs({ a: "alpha", b: "beta", c: "gamma" }, {
    uid: "none",
  });
  await using home = await Home.open(fs);
  const { client } = home;
  const [a, b, c] = await Promise.all(
    ["a", "b", "c"].map((name) => client.open(name)),
  );
  const call = await home.noticed();
  fs.remove("a");
  fs.remove("b");
  fs.writeFile("b", "another");
  home.answer(call);
  const buffer = new Uint8Array(9);
  const stale = /^Cannot read "a": "\/a" was lost with the connection: /;
  assertStale(await failure(a!.read(buffer)), stale);
  assertStale(await failure(b!.read(buffer)), /not the same file any more$/);
  assertStale(await failure(b!.stat()), /^Cannot stat "b"/);
  assertStale(await failure(b!.write(buffer)), /^Cannot write "b"/);
  assertEquals(await c!.read(buffer), 5);
  assertEquals(await client.readTextFile("b"), "another");
  // Closing causes no error, and frees the fid numbers.
  await Promise.all([a!.close(), b!.close(), c!.close()]);
  assertEquals(client.protocol.allocFid(), a!.fid);
  client.protocol.releaseFid(a!.fid);
});

test("reconnect: what is lost stays lost after another loss", async () => {
  const fs = new MemoryFs({ a: "alpha" }, { uid: "none" });
  await using home = await Home.open(fs);
  const file = await home.client.open("a");
  const call = await home.noticed();
  fs.rename("a", "b");
  home.answer(call);
  assertStale(await failure(file.stat()), /does not exist/);
  fs.rename("b", "a");
  await home.swap();
  assertStale(await failure(file.stat()), /does not exist/);
  await file.close();
});

test("reconnect: a fid whose open or qid fails is clunked on the server", async () => {
  for (const how of ["refused", "other path", "other type", "other on open"]) {
    await using on = await stage();
    const { client, server } = on;
    const opening = client.open("f");
    await walked(server, 0, 1, ["f"]);
    const open = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
    await server.exchange("Topen", {}, open);
    await opening;
    server.close();
    const next = await welcome(on);
    await walked(next.server, 2, 0, []);
    const path = how === "other path" ? 8 : 1;
    const type = how === "other type" ? QTDIR : 0;
    const walk = await next.server.expect("Twalk", { newfid: 1 });
    next.server.answer(walk, { type: "Rwalk", wqid: [qid(path, type)] });
    if (how === "refused" || how === "other on open") {
      const request = await next.server.expect("Topen");
      if (how === "refused") next.server.refuse(request, "permission denied");
      else next.server.answer(request, { ...open, qid: qid(9) });
    }
    run(next.server);
    const message = how === "refused" ? /permission denied$/ : /not the same/;
    assertStale(await failure(client.stat(1)), message);
    assertEquals([...next.server.fids], [0], how);
    await client.protocol.clunk(1);
  }
});

test("reconnect: a tree that is refused is lost, the other goes on", async () => {
  await using on = await stage();
  const { client, server } = on;
  const attaching = client.attach({ uname: "ken" });
  const attach = { type: "Rattach", qid: qid(0, QTDIR) } as const;
  await server.exchange("Tattach", { fid: 1 }, attach);
  const tree = await attaching;
  server.close();
  const next = await on.exchange.play();
  await greet(next);
  await next.exchange("Tattach", { uname: "none" }, attach);
  next.refuse(await next.expect("Tattach", { uname: "ken" }), "unknown user");
  await walked(next, 2, 0, []);
  run(next);
  await client.stat(0);
  assertStale(
    await failure(tree.stat("a")),
    /lost with .*: unknown user$|unknown user/,
  );
  await tree.close();
  assertEquals([...next.fids], [0]);
});

test("reconnect: an exclusive file, and one to be removed, are lost", async () => {
  const fs = new MemoryFs({}, { uid: "none" });
  await using home = await Home.open(fs);
  const { client } = home;
  const lock = await client.create("lock", { perm: (DMEXCL | 0o666) >>> 0 });
  const gone = await client.create("gone", { mode: ORCLOSE | ORDWR });
  await home.swap();
  const stale = failure(gone.stat());
  assertStale(await failure(lock.stat()), /others may have had it meanwhile$/);
  assertStale(await stale, /removed when it is closed$/);
  await Promise.all([lock.close(), gone.close()]);
});

test("reconnect: what was written to a file without a version is lost with it", async () => {
  await using on = await stage();
  const { client, server } = on;
  const opening = client.open("f", { read: true, write: true });
  await walked(server, 0, 1, ["f"]);
  const open = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
  await server.exchange("Topen", {}, open);
  const file = await opening;
  const writing = file.write(text.encode("arguments"));
  await server.exchange("Twrite", {}, { type: "Rwrite", count: 9 });
  await writing;
  server.close();
  const next = await welcome(on);
  await walked(next.server, 2, 0, []);
  await walked(next.server, 2, 1, ["f"]);
  run(next.server);
  const error = await failure(file.read(new Uint8Array(9)));
  assertStale(error, /what was written to it may be gone$/);
  assertEquals([...next.server.fids], [0]);
  assert(next.server.log.every(({ type }) => type !== "Topen"));
});

test("reconnect: a directory is read on only from its beginning", async () => {
  const names = Array.from({ length: 200 }, (_, i) => `file${i}`);
  const fs = new MemoryFs(Object.fromEntries(names.map((name) => [name, ""])), {
    uid: "none",
  });
  await using home = await Home.open(fs, { msize: 1024 });
  const { client } = home;
  const dir = await client.open("/");
  const buffer = new Uint8Array(1000);
  assert(await dir.read(buffer));
  await home.swap();
  assertStale(
    await failure(dir.read(buffer)),
    /read again from its beginning$/,
  );
  await dir.seek(0);
  assert(await dir.read(buffer));
  assert(await dir.read(buffer));
  await dir.close();
});

test("reconnect: a file that was renamed is found by its new name", async () => {
  const fs = new MemoryFs({ d: { a: "alpha" } }, { uid: "none" });
  await using home = await Home.open(fs);
  const { client } = home;
  const file = await client.open("d/a");
  await client.rename("d/a", "d/b");
  await client.rename("d", "e");
  await home.swap();
  const buffer = new Uint8Array(9);
  assertEquals(await file.read(buffer), 5);
  await file.close();
});

test("reconnect: a file that was made is opened, not made again", async () => {
  const fs = new MemoryFs({}, { uid: "none" });
  await using home = await Home.open(fs);
  const file = await home.client.open("a", {
    read: true,
    write: true,
    createNew: true,
  });
  await file.write(text.encode("one "));
  await home.swap();
  await file.write(text.encode("two"));
  assertEquals(fs.readTextFile("a"), "one two");
  await file.close();
});

test("reconnect: an afid and a tree that was attached with it are lost", async () => {
  await using on = await stage();
  const { client, server } = on;
  const authenticating = client.auth({ uname: "ken" });
  const aqid = qid(3, QTAUTH);
  await server.exchange("Tauth", { afid: 1 }, { type: "Rauth", aqid });
  const file = await authenticating;
  const attaching = client.attach({ uname: "ken", afid: file.fid });
  const attach = { type: "Rattach", qid: qid(0, QTDIR) } as const;
  await server.exchange("Tattach", { fid: 2, afid: 1 }, attach);
  const tree = await attaching;
  server.close();
  const next = await restored(on);
  run(next);
  await client.stat(0);
  assertStale(await failure(file.read(new Uint8Array(1))), /authenticated/);
  assertStale(await failure(tree.stat("a")), /authenticated/);
  await Promise.all([file.close(), tree.close()]);
});

test("reconnect: the user of connect() is authenticated again", async () => {
  const exchange = new Exchange();
  const servers: ScriptedServer[] = [];
  const welcome = async () => {
    const server = await exchange.play();
    servers.push(server);
    run(server, (request) => {
      switch (request.type) {
        case "Tversion":
          return { type: "Rversion", msize: MSIZE, version: "9P2000" };
        case "Tauth":
          return { type: "Rauth", aqid: qid(3, QTAUTH) };
        case "Tattach":
          assert(request.afid !== NOFID);
          return { type: "Rattach", qid: qid(0, QTDIR) };
        default:
          return undefined;
      }
    });
  };
  let dialogues = 0;
  const auth: ConnectOptions["auth"] = async (file) => {
    dialogues++;
    await file.write(text.encode("word"));
  };
  const [near] = await Promise.all([exchange.dial(), welcome()]);
  await using client = await connect(near, { ...again(exchange), auth });
  for (let i = 0; i < 3; i++) {
    servers.at(-1)?.close();
    await welcome();
    await client.stat(0);
    assertEquals([...servers.at(-1)?.fids ?? []], [client.protocol.root]);
  }
  assertEquals(dialogues, 4);
});

test("reconnect: a root is what the server attaches to; what is open must be the same file", async () => {
  await using on = await stage();
  const { client, server } = on;
  const opening = client.open("/");
  await walked(server, 0, 1, []);
  const open = { type: "Ropen", qid: qid(0, QTDIR), iounit: 0 } as const;
  await server.exchange("Topen", {}, open);
  const dir = await opening;
  const walking = client.protocol.walk("a");
  await walked(server, 0, 2, ["a"]);
  const below = await walking;
  server.close();
  const next = await on.exchange.play();
  await greet(next);
  const attach: Reply = { type: "Rattach", qid: qid(100, QTDIR) };
  await next.exchange("Tattach", { fid: 3 }, attach);
  await walked(next, 3, 0, []);
  await walked(next, 3, 1, []);
  await next.exchange("Twalk", { fid: 3, newfid: 2 }, {
    type: "Rwalk",
    wqid: [qid(101)],
  });
  run(next);
  await client.stat("/");
  await client.stat("a");
  assertStale(await failure(dir.read(new Uint8Array(99))), /same file/);
  assertStale(await failure(client.stat(below)), /"\/a" .* same file/);
  assertEquals([...next.fids], [0]);
});

test("reconnect: client.version() leaves nothing to be made again", async () => {
  const fs = new MemoryFs({ a: "alpha" }, { uid: "none" });
  await using home = await Home.open(fs);
  const { client } = home;
  await client.open("a");
  await client.version({ msize: 4096 });
  await home.swap();
  assertEquals(await client.readTextFile("a"), "alpha");
  assertEquals(client.msize, 4096);
});
