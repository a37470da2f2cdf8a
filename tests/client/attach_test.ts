// Trees of a server, and the paths in them: attach(), the current directory
// and closing, against a scripted server and a real one.
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
  nextFid,
  qid,
  type Reply,
  settled,
  start,
  stat,
} from "./scripted.ts";
import { Client, connect, normalizePath } from "../../client.ts";
import { NinePError, NOFID, ProtocolError, QTDIR } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const attached: Reply = { type: "Rattach", qid: qid(0, QTDIR) };
const walked: Reply = { type: "Rwalk", wqid: [qid(1, QTDIR)] };
const dir: Reply = {
  type: "Rstat",
  stat: { ...stat("d"), qid: qid(1, QTDIR) },
};

// attach().

// P-24, P-43.
test("attach(): several users and trees, each with a current directory", async () => {
  const [near, far] = pair();
  const fs = new MemoryFs({ a: { f: "in a" }, b: { f: "in b" } }, {
    uid: "glenda",
  });
  const served = serve(far, fs);
  {
    await using client = await connect(near, { uname: "glenda" });
    await using ken = await client.attach({ uname: "ken" });
    const other = await client.attach({ uname: "glenda" });
    await Promise.all([client.chdir("a"), ken.chdir("b")]);
    assertEquals([client.cwd, ken.cwd, other.cwd], ["/a", "/b", "/"]);
    assertEquals(await client.readTextFile("f"), "in a");
    assertEquals(await ken.readTextFile("f"), "in b");
    assertEquals(await other.readTextFile("a/f"), "in a");
    await assertRejects(() => other.readTextFile("f"), NinePError);
    await other.writeTextFile("mine", "x", { mode: 0o600 });
    await assertRejects(() => ken.readTextFile("/mine"), NinePError, "denied");
    const file = await other.open("mine");
    await Promise.all([other.close(), other.close()]);
    assertEquals((await file.stat()).name, "mine"); // Open files stay open.
    for (
      const call of [
        () => other.readFile("mine"),
        () => other.protocol.fid("mine"),
        () => other.chdir("a"),
        () => other.create("new"),
        () => other.stat("/"),
      ]
    ) await assertRejects(call, TypeError, 'a tree of "pair": it is closed');
    await file.close();
    assertEquals(await client.readTextFile("/mine"), "x");
  }
  await served;
});

// P-43.
test("attach(): close() of a tree clunks its root, current directory and kept fids, once", async () => {
  await using scene = await start();
  const { client, server } = scene;
  scene.run((request) => {
    if (request.type === "Tattach") return attached;
    return request.type === "Tstat" ? dir : undefined;
  });
  const tree = await client.attach({ uname: "ken", aname: "t" });
  const file = await tree.open("f");
  await tree.chdir("d");
  await tree.chdir("e");
  const kept = [await tree.protocol.fid("f"), await tree.protocol.fid("/g")];
  assertEquals(tree.protocol.root, 1);
  const before = server.log.length;
  await Promise.all([tree.close(), tree[Symbol.asyncDispose]()]);
  await tree.close();
  const clunks = server.log.slice(before).map((request) => {
    assert(request.type === "Tclunk");
    return request.fid;
  });
  assertEquals(clunks.length, 4);
  assert([tree.protocol.root, ...kept].every((fid) => clunks.includes(fid)));
  assertEquals([...server.fids].sort(), [0, file.fid]);
});

test("attach(): close() of a tree does not wait for walks that the server does not answer", async () => {
  const { client, server } = await start({ closeTimeout: 0 });
  const attaching = client.attach();
  await server.exchange("Tattach", { fid: 1 }, attached);
  const tree = await attaching;
  const keeping = failure(tree.protocol.fid("slow"));
  const changing = failure(tree.chdir("d"));
  const walk = await server.expect("Twalk", { newfid: 2 });
  await server.expect("Twalk", { newfid: 3 });
  const closing = tree.close();
  await server.expect("Tflush", { oldtag: walk.tag });
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await closing;
  await client.close();
  server.close();
  assertInstanceOf(await keeping, ProtocolError);
  assertInstanceOf(await changing, ProtocolError);
});

test("attach(): what is reached after close() of the tree is clunked", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const attaching = client.attach();
  await server.exchange("Tattach", { fid: 1 }, attached);
  const tree = await attaching;
  const keeping = failure(tree.protocol.fid("slow"));
  const changing = failure(tree.chdir("d"));
  const walk = await server.expect("Twalk", { newfid: 2 });
  const other = await server.expect("Twalk", { newfid: 3 });
  const closing = tree.close();
  const flush = await server.expect("Tflush", { oldtag: walk.tag });
  const clunk = await server.expect("Tclunk", { fid: 1 });
  server.answer(walk, walked);
  server.answer(flush, { type: "Rflush" });
  await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
  const error = await keeping;
  assertInstanceOf(error, DOMException);
  assertEquals(error.message, 'A tree of "pair" was closed');
  server.answer(other, walked);
  await server.exchange("Tstat", { fid: 3 }, dir);
  await server.exchange("Tclunk", { fid: 3 }, { type: "Rclunk" });
  assertInstanceOf(await changing, TypeError);
  server.answer(clunk, { type: "Rclunk" });
  await closing;
});

test("close() of a tree: an abort and a timeout only end the waiting", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const attaching = client.attach();
  await server.exchange("Tattach", {}, attached);
  const tree = await attaching;
  const aborted = AbortSignal.abort("no");
  assertEquals(await failure(tree.close({ signal: aborted })), "no");
  const controller = new AbortController();
  const closing = failure(tree.close({ signal: controller.signal }));
  const late = failure(tree.close({ timeout: 1 }));
  const clunk = await server.expect("Tclunk", { fid: 1 });
  controller.abort("enough");
  assertEquals(await closing, "enough");
  const error = await late;
  assertInstanceOf(error, DOMException);
  assertEquals(error.name, "TimeoutError");
  const done = tree.close();
  server.answer(clunk, { type: "Rclunk" });
  await done;
});

test("close() of the client: an abort only ends the waiting, the timeout of connect() does not", async () => {
  const { client, server } = await start({ timeout: 1, closeTimeout: 50 });
  const controller = new AbortController();
  const closing = failure(client.close({ signal: controller.signal }));
  await server.expect("Tclunk");
  controller.abort("enough");
  assertEquals(await closing, "enough");
  await client.close();
  assertEquals(await client.closed, undefined);
  server.close();
});

test("closed gives an error, whatever the connection threw", async () => {
  const [near, far] = pair();
  const served = serve(far, new MemoryFs({}, { uid: "none" }));
  const client = await connect({
    peer: "odd",
    readable: near.readable,
    writable: near.writable,
    close: () => near.close(),
    // pair() has the fast path.
    read: async (buffer) => {
      const chunk = await near.read!(buffer);
      if (chunk === null) throw "text";
      return chunk;
    },
    write: (data) => near.write!(data),
  });
  far.close();
  const error: Error | undefined = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.message, 'Connection to "odd" lost: text');
  assertStrictEquals(error.cause, "text");
  await served;
});

test("K7 attach(): after an error the number is free", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const refused = failure(client.attach({ uname: "ken", aname: "t" }));
  server.refuse(await server.expect("Tattach", { fid: 1, afid: NOFID }));
  const error = await refused;
  assertInstanceOf(error, NinePError);
  assertEquals(
    error.message,
    'Cannot attach user "ken" to tree "t" of "pair": no',
  );
  await settled(scene);
  assertEquals(nextFid(scene), 1);
});

test("K13 attach() aborted: a late Rattach is clunked", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const controller = new AbortController();
  const aborted = failure(client.attach({ signal: controller.signal }));
  const attach = await server.expect("Tattach", { fid: 1 });
  controller.abort("enough");
  assertEquals(await aborted, "enough");
  const flush = await server.expect("Tflush", { oldtag: attach.tag });
  server.answer(attach, attached);
  const clunk = await server.expect("Tclunk", { fid: 1 });
  server.answer(flush, { type: "Rflush" });
  assertEquals(nextFid(scene), 2);
  server.answer(clunk, { type: "Rclunk" });
  await settled(scene);
  assertEquals(nextFid(scene), 1);
});

test("close() of the client ends all its trees; attach() rejects then", async () => {
  const scene = await start();
  const { client, server } = scene;
  scene.run((request) => {
    if (request.type === "Tattach") return attached;
    return request.type === "Tstat" ? dir : undefined;
  });
  const tree = await client.attach();
  const file = await tree.open("f");
  await tree.chdir("d");
  await tree.protocol.fid("g");
  await client.chdir("d");
  await scene[Symbol.asyncDispose](); // Fails when fids are left.
  assertEquals(server.fids.size, 0);
  for (
    const call of [
      () => client.attach(),
      () => client.auth(),
      () => tree.stat("f"),
      () => tree.stat(0),
      () => file.stat(),
      () => client.protocol.fid("f"),
    ]
  ) {
    await assertRejects(call, ProtocolError, 'Connection to "pair" is closed');
  }
  await tree.close();
  await file.close();
});

// C-04, C-05, C-08.
test("Client: recognized by instanceof; its connection is the one it was made of", async () => {
  const [near, far] = pair();
  const served = serve(far, new MemoryFs({}, { uid: "none" }));
  {
    await using client = await connect(near);
    await using tree = await client.attach();
    assert(client instanceof Client);
    assert(tree instanceof Client);
    assertStrictEquals(client.connection, near);
    assertStrictEquals(tree.connection, near);
  }
  await served;
});

// The current directory.

// P-25, P-43, C-84.
test("chdir(): relative and absolute paths, lists and ..", async () => {
  const [near, far] = pair();
  const fs = new MemoryFs({ a: { b: { f: "deep" }, f: "a" }, f: "root" }, {
    uid: "none",
  });
  const served = serve(far, fs);
  {
    await using client = await connect(near);
    const steps: [string | string[], string, string][] = [
      ["a", "/a", "a"],
      ["b/", "/a/b", "deep"],
      ["..", "/a", "a"],
      [["..", "a", ".", "b"], "/a/b", "deep"],
      ["../../a//b/../b", "/a/b", "deep"],
      ["/a", "/a", "a"],
      [["", "b"], "/a/b", "deep"], // A list has no root.
      ["../../../../..", "/", "root"],
      ["a/b", "/a/b", "deep"],
      [".", "/a/b", "deep"],
      ["", "/a/b", "deep"],
      ["/", "/", "root"],
    ];
    for (const [path, cwd, content] of steps) {
      await client.chdir(path);
      assertEquals([client.cwd, await client.readTextFile("f")], [
        cwd,
        content,
      ]);
    }
  }
  await served;
});

test("chdir(): files are made, opened and renamed from there", async () => {
  const [near, far] = pair();
  const fs = new MemoryFs({ a: {} }, { uid: "none" });
  const served = serve(far, fs);
  {
    await using client = await connect(near);
    await client.chdir("a");
    await client.writeTextFile("one", "1");
    await client.mkdir("sub");
    await using file = await client.create("sub/two");
    await file.write(new TextEncoder().encode("2"));
    await client.rename("one", "three");
    await client.rename("/a/three", "four");
    await client.rename("four", "../a/five");
    const moving = () => client.rename("five", "../five");
    assertEquals((await assertRejects(moving, NinePError)).code, "EXDEV");
    assertEquals(await client.readTextFile("/a/five"), "1");
    assertEquals(await client.readTextFile(["sub", "two"]), "2");
    await client.remove("five");
    const names = [];
    for await (const { name } of client.readDir("")) names.push(name);
    assertEquals(names, ["sub"]);
  }
  await served;
});

test("chdir() that fails changes nothing", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const first = client.chdir("d");
  await server.exchange("Twalk", { fid: 0, newfid: 1 }, walked);
  await server.exchange("Tstat", { fid: 1 }, dir);
  await first;
  for (const failing of ["Twalk", "Tstat", "file"] as const) {
    const changing = failure(client.chdir("e"));
    const walk = await server.expect("Twalk", { fid: 1, newfid: 2 });
    if (failing === "Twalk") server.refuse(walk, "permission denied");
    else {
      server.answer(walk, walked);
      const request = await server.expect("Tstat", { fid: 2 });
      if (failing === "Tstat") server.refuse(request, "i/o error");
      else server.answer(request, { type: "Rstat", stat: stat("e") });
      await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
    }
    const error = await changing;
    assertInstanceOf(error, NinePError);
    assert(error.message.startsWith('Cannot change to "e": '), error.message);
    if (failing === "file") assertEquals(error.code, "ENOTDIR");
    assertEquals(client.cwd, "/d");
    await settled(scene);
  }
  const walking = client.protocol.walk("f");
  await server.exchange("Twalk", { fid: 1, newfid: 2 }, walked);
  await walking;
});

test("chdir() twice at once: the last that is done counts, each fid is clunked once", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const changing = [client.chdir("d"), client.chdir("e")];
  const walks = [
    await server.expect("Twalk", { fid: 0, newfid: 1 }),
    await server.expect("Twalk", { fid: 0, newfid: 2 }),
  ];
  for (const walk of walks.reverse()) server.answer(walk, walked);
  await server.exchange("Tstat", { fid: 2 }, dir);
  await server.exchange("Tstat", { fid: 1 }, dir);
  await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
  await Promise.all(changing);
  assertEquals(client.cwd, "/d");
  const again = client.chdir("..");
  await server.exchange("Twalk", { fid: 1, newfid: 2 }, walked);
  await server.exchange("Tstat", { fid: 2 }, dir);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await again;
  assertEquals(client.cwd, "/");
  await settled(scene);
});

for (
  const [phase, late] of [
    ["Twalk", true],
    ["Twalk", false],
    ["Tstat", true],
    ["Tstat", false],
  ] as const
) {
  test(`K13 chdir() aborted in its ${phase}, ${late ? "a late reply" : "no reply"}: nothing changes`, async () => {
    await using scene = await start();
    const { client, server } = scene;
    const controller = new AbortController();
    const changing = failure(client.chdir("d", { signal: controller.signal }));
    let request = await server.expect("Twalk", { newfid: 1 });
    if (phase === "Tstat") {
      server.answer(request, walked);
      request = await server.expect("Tstat", { fid: 1 }) as never;
    }
    controller.abort("enough");
    assertEquals(await changing, "enough");
    const flush = await server.expect("Tflush", { oldtag: request.tag });
    if (late) server.answer(request, phase === "Twalk" ? walked : dir);
    server.answer(flush, { type: "Rflush" });
    if (phase === "Tstat" || late) {
      await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
    }
    await settled(scene);
    assertEquals([client.cwd, nextFid(scene)], ["/", 1]);
    const walking = client.protocol.walk("f");
    await server.exchange("Twalk", { fid: 0, newfid: 1 }, walked);
    await walking;
  });
}

// C-83.
test("normalizePath() gives paths from the root", () => {
  const paths: [string | string[], string][] = [
    ["", "/"],
    ["/", "/"],
    ["///", "/"],
    ["a", "/a"],
    ["a/", "/a"],
    ["/a//b/./c/..", "/a/b"],
    ["..", "/"],
    ["../../a", "/a"],
    ["a/../../b", "/b"],
    [[], "/"],
    [["a", "", ".", "b"], "/a/b"],
    [["..", "a", "..", "b"], "/b"],
    ["...", "/..."],
    [".a/..b/c..", "/.a/..b/c.."],
    ["ç/🐎", "/ç/🐎"],
  ];
  for (const [path, normal] of paths) assertEquals(normalizePath(path), normal);
  assertEquals(normalizePath("a/../b", "/c/d"), "/c/d/b");
  assertEquals(normalizePath("../b", ["c", "d"]), "/c/b");
  assertEquals(normalizePath("/b", "/c/d"), "/b");
  assertEquals(normalizePath(["b"], "c/../d"), "/d/b");
});
