// Directories and whole trees: lists, walks, making and removing them.
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { test } from "../harness.ts";
import { qid, type Reply, start, stat } from "./scripted.ts";
import { type Client, connect, type TreeEntry } from "../../client.ts";
import {
  DMDIR,
  encodeDir,
  NinePError,
  ProtocolError,
  QTDIR,
  type Stat,
  type Tmessage,
} from "../../codec.ts";
import { type Content, MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

const openedDir = { type: "Ropen", qid: qid(1, QTDIR), iounit: 0 } as const;
const dir = (name: string) => stat(name, 0, DMDIR + 0o755);
const nothing = { type: "Rread", data: new Uint8Array(0) } as const;

/**
 * Runs a test with a client of a tree in memory. Fails when fids other than the
 * root are left.
 */
async function served(content: Content = {}): Promise<
  { client: Client; fs: MemoryFs } & AsyncDisposable
> {
  const fs = new MemoryFs(content, { mode: 0o777, uid: "none" });
  const [near, far] = pair();
  const serving = serve(far, fs);
  const client = await connect(near);
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

/** Serves a directory in parts, one for each read. */
function directory(
  ...parts: Stat[][]
): (request: Tmessage) => Reply | undefined {
  const data = parts.map((part) => encodeDir(part));
  const at: number[] = [];
  let end = 0;
  for (const { length } of data) {
    at.push(end);
    end += length;
  }
  return (request) => {
    switch (request.type) {
      case "Topen":
        return openedDir;
      case "Tread": {
        const found = data[at.indexOf(Number(request.offset))];
        return found ? { type: "Rread", data: found } : nothing;
      }
      default:
        return undefined;
    }
  };
}

async function pathsOf(entries: AsyncIterable<TreeEntry>): Promise<string[]> {
  const paths = [];
  for await (const { path } of entries) paths.push(path);
  return paths;
}

test("readDir() has the next read under way while its caller works, never two", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const parts = [[stat("a"), stat("b")], [stat("c")]];
  const sizes = parts.map((part) => encodeDir(part).length);
  const list = client.readDir("d");
  const first = list.next();
  await server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(1)] });
  await server.exchange("Topen", { mode: 0 }, openedDir);
  const read = await server.expect("Tread", { offset: 0n });
  server.answer(read, { type: "Rread", data: encodeDir(parts[0]!) });
  assertEquals((await first).value?.name, "a");
  const ahead = await server.expect("Tread", { offset: BigInt(sizes[0]!) });
  assertEquals((await list.next()).value?.name, "b");
  const third = list.next();
  assertEquals(server.open.size, 1); // The read-ahead.
  server.answer(ahead, { type: "Rread", data: encodeDir(parts[1]!) });
  assertEquals((await third).value?.name, "c");
  const end = BigInt(sizes[0]! + sizes[1]!);
  await server.exchange("Tread", { offset: end }, nothing);
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
  assertEquals(await list.next(), { done: true, value: undefined });
});

test("readDir() that is left flushes the read ahead, and clunks", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const list = client.readDir("d");
  const first = list.next();
  await server.exchange("Twalk", {}, { type: "Rwalk", wqid: [qid(1)] });
  await server.exchange("Topen", {}, openedDir);
  const data = encodeDir([stat("a"), stat("b")]);
  await server.exchange("Tread", {}, { type: "Rread", data });
  await first;
  const ahead = await server.expect("Tread");
  await list.return();
  await server.exchange("Tflush", { oldtag: ahead.tag }, { type: "Rflush" });
  await server.exchange("Tclunk", {}, { type: "Rclunk" });
});

test("readDir() gives what came before a read that failed", async () => {
  await using scene = await start();
  const parts = directory([stat("a"), stat("b")]);
  scene.run((request) =>
    request.type === "Tread" && request.offset > 0n
      ? { type: "Rerror", ename: "i/o error" }
      : parts(request)
  );
  const names: string[] = [];
  await assertRejects(
    async () => {
      for await (const { name } of scene.client.readDir("d")) names.push(name);
    },
    NinePError,
    'Cannot list "d": i/o error',
  );
  assertEquals(names, ["a", "b"]);
});

test("readDir() ends with the reason of its signal, also between members", async () => {
  await using scene = await start();
  scene.run(directory([stat("a"), stat("b")]));
  const controller = new AbortController();
  const { signal } = controller;
  const names: string[] = [];
  const reason = new Error("enough");
  const error = await assertRejects(async () => {
    for await (const { name } of scene.client.readDir("d", { signal })) {
      names.push(name);
      controller.abort(reason);
    }
  });
  assertStrictEquals(error, reason);
  assertEquals(names, ["a"]);
});

test("readDir() waits for a directory no longer than its timeout", async () => {
  await using scene = await start();
  scene.run((request) => request.type === "Topen" ? openedDir : undefined // Never answers a Tread.
  );
  const error = await assertRejects(
    () => scene.client.readDir("d", { timeout: 1 }).next(),
    DOMException,
  );
  assertEquals(error.name, "TimeoutError");
});

test("readDir() with a length beyond 2^53 - 1: only asking for it throws", async () => {
  await using scene = await start();
  const hostile = { ...stat("big"), length: 2n ** 64n - 1n };
  scene.run(directory([stat("a", 1), hostile, stat("c", 3)]));
  const all = await Array.fromAsync(scene.client.readDir("d"));
  assertEquals(all.map(({ name }) => name), ["a", "big", "c"]);
  assertEquals([all[0]?.length, all[2]?.length], [1, 3]);
  assertThrows(
    () => all[1]?.length,
    RangeError,
    'Cannot tell the length of "big": 18446744073709551615 is beyond 2^53 - 1',
  );
});

test("readDir() gives names of any other characters", async () => {
  const names = ["...", " ", "\n", "a\\b", "-rf", "*", "ç", "\u202e", "~"];
  await using scene = await start();
  scene.run(directory(names.map((name) => stat(name))));
  const options = { dotfiles: true };
  assertEquals(await scene.client.readDirNames("d", options), names);
});

// C-17, C-83.
test("readDirNames() leaves out dotfiles unless an option asks for them", async () => {
  await using scene = await served({ ".a": "", b: "", "c.d": "", "..e": "" });
  const { client } = scene;
  assertEquals(await client.readDirNames(""), ["b", "c.d"]);
  assertEquals(
    await client.readDirNames("", { dotfiles: true }),
    [".a", "b", "c.d", "..e"],
  );
  await assertRejects(
    () => client.readDirNames("b"),
    NinePError,
    'Cannot list "b": not a directory',
  );
});

test("walkTree() gives parents before children, in the server's order", async () => {
  await using scene = await served({
    a: { x: "", y: { deep: { er: "" } }, z: {} },
    b: "hello",
    c: { d: "" },
  });
  const { client } = scene;
  const below = ["a", "a/x", "a/y", "a/y/deep", "a/y/deep/er", "a/z"];
  const all = [...below, "b", "c", "c/d"];
  assertEquals(await pathsOf(client.walkTree("")), ["", ...all]);
  assertEquals(
    await pathsOf(client.walkTree("/")),
    ["/", ...all.map((path) => `/${path}`)],
  );
  assertEquals(await pathsOf(client.walkTree(["a"])), below);
  assertEquals(
    await pathsOf(client.walkTree("a/", { maxDepth: 1 })),
    ["a/", "a/x", "a/y", "a/z"],
  );
  assertEquals(await pathsOf(client.walkTree("a", { maxDepth: 0 })), ["a"]);
  assertEquals(await pathsOf(client.walkTree("b")), ["b"]);
  for await (const { path, stat } of client.walkTree("b")) {
    assertEquals([path, stat.length, stat.isFile], ["b", 5, true]);
  }
  for (const maxDepth of [-1, NaN]) {
    await assertRejects(
      () => client.walkTree("", { maxDepth }).next(),
      RangeError,
    );
  }
  await assertRejects(
    () => client.walkTree("no").next(),
    NinePError,
    'Cannot list "no": file does not exist',
  );
});

test("walkTree() stays in its tree when the current directory changes", async () => {
  await using scene = await served({
    a: { b: { c: "" } },
    z: { b: { d: "" } },
  });
  const { client } = scene;
  const paths = [];
  for await (const { path } of client.walkTree("a")) {
    paths.push(path);
    await client.chdir("/z");
  }
  assertEquals(paths, ["a", "a/b", "a/b/c"]);
  await client.chdir("/");
  await client.stat("/");
});

test("walkTree() of a wide and bushy tree, whatever msize", async () => {
  const content: Content = {};
  const expected: string[] = [""];
  for (let i = 0; i < 30; i++) {
    const members: Record<string, Content | string> = {};
    expected.push(`d${i}`);
    for (let j = 0; j < 30; j++) {
      members[`e${j}`] = j % 3 ? { f: "" } : "";
      expected.push(`d${i}/e${j}`);
      if (j % 3) expected.push(`d${i}/e${j}/f`);
    }
    Object.assign(content, { [`d${i}`]: members });
  }
  const fs = new MemoryFs(content, { uid: "none" });
  for (const msize of [256, 8192, 2 ** 20]) {
    const [near, far] = pair();
    const serving = serve(far, fs);
    {
      await using client = await connect(near, { msize });
      assertEquals(await pathsOf(client.walkTree("")), expected);
      await client.stat(client.protocol.root);
      assertEquals(client.protocol.allocFid(), 1);
    }
    await serving;
  }
});

test("walkTree() of a tree 500 levels deep, which remove() takes down", async () => {
  await using scene = await served();
  const { client } = scene;
  const names = Array.from({ length: 500 }, (_, i) => `${i % 10}`);
  await client.mkdir(names, { recursive: true });
  let depth = -1;
  for await (const { path } of client.walkTree("")) {
    depth++;
    assertEquals(path.length, Math.max(0, 2 * depth - 1));
  }
  assertEquals(depth, 500);
  await client.remove("0", { recursive: true });
  assertEquals(await client.readDirNames(""), []);
});

test("walkTree(), copy() and remove() of deep trees walk a few names for each directory", async () => {
  const levels = 400;
  let walked = 0;
  const [near, far] = pair();
  const serving = serve(far, new MemoryFs({}, { mode: 0o777, uid: "none" }), {
    onMessage: ({ message }) => {
      if (message?.type === "Twalk") walked += message.wname.length;
    },
  });
  {
    await using client = await connect(near);
    const names = Array.from({ length: levels }, () => "d");
    await client.mkdir(names, { recursive: true });
    await client.writeTextFile([...names, "f"], "deep");
    const recursive = true;
    const jobs = {
      walkTree: async () => {
        const paths = await pathsOf(client.walkTree("d"));
        assertEquals(paths.length, levels + 1);
        assertEquals(paths.at(-1), [...names, "f"].join("/"));
      },
      copy: async () => {
        await client.copy("d", "e", { recursive });
        const copy = ["e", ...names.slice(1), "f"];
        assertEquals(await client.readTextFile(copy), "deep");
      },
      remove: () => client.remove("d", { recursive }),
    };
    for (const [name, job] of Object.entries(jobs)) {
      walked = 0;
      await job();
      // From the top each would be 200 on average.
      assert(walked < 50 * levels, `${name} walked ${walked} names`);
    }
    assertEquals(await client.readDirNames(""), ["e"]);
    await client.stat(client.protocol.root);
    assertEquals(client.protocol.allocFid(), 1, "fids left");
  }
  await serving;
});

test("walkTree() goes on where a directory vanished or became a file", async () => {
  for (const ename of ["file does not exist", "not a directory"]) {
    await using scene = await start();
    const top = directory([dir("gone"), stat("f"), dir("gone too"), stat("g")]);
    scene.run((request) => {
      if (request.type === "Tstat") return { type: "Rstat", stat: dir("top") };
      return request.type === "Twalk" && request.wname[0]?.startsWith("gone")
        ? { type: "Rerror", ename }
        : top(request);
    });
    assertEquals(
      await pathsOf(scene.client.walkTree("t")),
      ["t", "t/gone", "t/f", "t/gone too", "t/g"],
    );
  }
});

test("walkTree() fails where a directory cannot be read", async () => {
  await using scene = await start();
  const top = directory([stat("a"), dir("secret"), stat("b")]);
  scene.run((request) => {
    if (request.type === "Tstat") return { type: "Rstat", stat: dir("top") };
    return request.type === "Twalk" && request.wname[0] === "secret"
      ? { type: "Rerror", ename: "permission denied" }
      : top(request);
  });
  const paths: string[] = [];
  await assertRejects(
    async () => {
      for await (const { path } of scene.client.walkTree("t")) paths.push(path);
    },
    NinePError,
    'Cannot list "t/secret": permission denied',
  );
  assertEquals(paths, ["t", "t/a", "t/secret"]);
});

test("walkTree() that is left or aborted leaves no fid", async () => {
  for (const end of ["break", "throw", "abort"]) {
    await using scene = await served({
      a: Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [`d${i}`, { f: "" }]),
      ),
    });
    const controller = new AbortController();
    const { signal } = controller;
    const walk = async () => {
      let count = 0;
      for await (const _ of scene.client.walkTree("a", { signal })) {
        if (++count < 10) continue;
        if (end === "break") return;
        if (end === "throw") throw "enough";
        controller.abort("enough");
      }
    };
    const error = await walk().then(() => "enough", (error) => error);
    assertEquals(error, "enough");
  }
});

test("walkTree() reads no more directories ahead than its bound", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const wide = Array.from({ length: 50 }, (_, i) => dir(`d${i}`));
  const held: Tmessage[] = [];
  scene.run((request) => {
    if (request.type === "Tstat") return { type: "Rstat", stat: dir("top") };
    if (request.type === "Twalk" && request.wname.length > 0) {
      if (request.wname[0] === "t") return undefined;
      held.push(request);
    }
    return directory(wide)(request);
  });
  const walk = client.walkTree("t");
  await walk.next();
  await walk.next();
  await client.stat(0); // All earlier requests are answered.
  assert(held.length >= 2 && held.length <= 1 + 2 * 8, `${held.length}`);
  await walk.return();
  await client.stat(0);
  assertEquals([...server.fids], [0]);
});

test("mkdir() with recursive makes what is missing, and takes what is there", async () => {
  await using scene = await served({ f: "", d: { g: "" } });
  const { client, fs } = scene;
  await client.mkdir("x/y//z/", { recursive: true, mode: 0o750 });
  await client.mkdir("/x/y/z", { recursive: true });
  await client.mkdir(["x", "y", "z"], { recursive: true });
  await client.mkdir("x/../x/w", { recursive: true });
  await client.mkdir("/", { recursive: true });
  await client.mkdir("", { recursive: true });
  assertEquals(fs.stat("x/y/z").mode & 0o777, 0o750);
  assertEquals(await client.readDirNames("x"), ["y", "w"]);
  const cases = [["f", "EEXIST"], ["d/g", "EEXIST"], ["f/a", "ENOTDIR"]];
  for (const [path, code] of cases) {
    const error = await assertRejects(
      () => client.mkdir(path!, { recursive: true }),
      NinePError,
      `Cannot make directory "${path}": `,
    );
    assertEquals(error.code, code);
  }
  const there = await assertRejects(() => client.mkdir("x"), NinePError);
  assertEquals(there.code, "EEXIST");
});

test("mkdir() with recursive gives its mode to the last directory alone", async () => {
  await using scene = await served({});
  const { client, fs } = scene;
  for (const mode of [0o555, 0o500, 0]) {
    const path = `a${mode}/b/c`;
    await client.mkdir(path, { recursive: true, mode });
    const modes = [`a${mode}`, `a${mode}/b`, path]
      .map((path) => fs.stat(path).mode & 0o777);
    assertEquals(modes, [0o777, 0o777, mode]);
  }
});

test("mkdir() with recursive below directories that no user may write to", async () => {
  const fs = new MemoryFs({}, { mode: 0o755, uid: "none" });
  fs.mkdir("usr", { mode: 0o755 });
  fs.mkdir("usr/glenda", { uid: "glenda" });
  const [near, far] = pair();
  const serving = serve(far, fs);
  {
    await using client = await connect(near, { uname: "glenda" });
    await client.mkdir("usr/glenda/lib/x", { recursive: true });
    const error = await assertRejects(
      () => client.mkdir("usr/ken/lib", { recursive: true }),
      NinePError,
    );
    assertEquals(error.code, "EACCES");
  }
  await serving;
});

test("mkdir() with recursive while others make the same", async () => {
  await using scene = await served();
  const { client } = scene;
  const options = { recursive: true };
  await Promise.all(
    Array.from({ length: 20 }, () => client.mkdir("a/b/c/d", options)),
  );
  assertEquals(await client.isDirectory("a/b/c/d"), true);
  await client.remove("a", options);
});

test("remove() with recursive takes the whole tree, and nothing else", async () => {
  const content: Record<string, Content> = {};
  for (let i = 0; i < 20; i++) {
    content[`d${i}`] = { e: { f: "x", g: {} }, h: "" };
  }
  await using scene = await served({ keep: { me: "" }, f: "" });
  const { client, fs } = scene;
  const make = async (path: string, content: Content) => {
    await client.mkdir(path);
    for (const [name, value] of Object.entries(content)) {
      const child = `${path}/${name}`;
      if (typeof value === "string") await client.writeTextFile(child, value);
      else if (!(value instanceof Uint8Array)) await make(child, value);
    }
  };
  await make("doomed", content);
  await client.remove("doomed", { recursive: true });
  await make("doomed", {});
  await client.remove("/doomed/", { recursive: true });
  await client.remove("f", { recursive: true });
  assertEquals(fs.readDir("/").map(({ name }) => name), ["keep"]);
  const fid = await client.protocol.walk("keep");
  await client.remove(fid, { recursive: true });
  assertEquals(fs.readDir("/"), []);
  const missing = await assertRejects(
    () => client.remove("doomed", { recursive: true }),
    NinePError,
    'Cannot remove "doomed": file does not exist',
  );
  assertEquals(missing.code, "ENOENT");
});

test("remove() refuses the root before anything is sent", async () => {
  await using scene = await start();
  scene.run(() => undefined);
  const { client, server } = scene;
  for (const path of ["", "/", ".", "a/..", "..", [], client.protocol.root]) {
    for (const recursive of [true, false]) {
      const error = await assertRejects(
        () => client.remove(path, { recursive }),
        NinePError,
        "cannot remove root",
      );
      assertEquals(error.code, "EPERM");
    }
  }
  assertEquals(server.log.length, 2); // Tversion, Tattach.
});

test("remove() with recursive refuses a fid of the root", async () => {
  await using scene = await served({ a: "" });
  const { client } = scene;
  const fid = await client.protocol.walk("");
  await assertRejects(
    () => client.remove(fid, { recursive: true }),
    NinePError,
    "cannot remove root",
  );
  assertEquals(await client.readDirNames(""), ["a"]);
});

/** Starts a server of one directory `d`, whose members a test changes. */
function directoryOf(members: Set<string>) {
  const removed: string[] = [];
  const names = new Map<number, string[]>([[0, []]]);
  const handler = (request: Tmessage): Reply | undefined => {
    switch (request.type) {
      case "Twalk": {
        const path = [...names.get(request.fid)!, ...request.wname];
        const member = path[1];
        if (member !== undefined && !members.has(member)) {
          return { type: "Rerror", ename: "file does not exist" };
        }
        names.set(request.newfid, path);
        return undefined;
      }
      case "Tstat":
        return { type: "Rstat", stat: dir("d") };
      case "Topen":
        return openedDir;
      case "Tread": {
        const data = encodeDir([...members].map((name) => stat(name)));
        return request.offset === 0n ? { type: "Rread", data } : nothing;
      }
      case "Tremove": {
        const path = names.get(request.fid)!;
        if (path.length === 1 && members.size > 0) {
          return { type: "Rerror", ename: "directory is not empty" };
        }
        removed.push(path.at(-1)!);
        members.delete(path.at(-1)!);
        return undefined;
      }
      default:
        return undefined;
    }
  };
  return { handler, removed };
}

test("remove() with recursive takes what comes while it is at work", async () => {
  const members = new Set(["a", "b"]);
  const late = ["c", "d", "e"];
  await using scene = await start();
  const { handler, removed } = directoryOf(members);
  scene.run((request) => {
    const reply = handler(request);
    if (request.type === "Tremove" && late.length > 0) {
      members.add(late.shift()!);
    }
    return reply;
  });
  await scene.client.remove("d", { recursive: true });
  assertEquals(removed.sort(), ["a", "b", "c", "d", "d", "e"]);
});

test("remove() with recursive gives up on a directory that keeps growing", async () => {
  const members = new Set(["a"]);
  await using scene = await start();
  const { handler } = directoryOf(members);
  let count = 0;
  scene.run((request) => {
    const reply = handler(request);
    if (request.type === "Tremove") members.add(`n${count++}`);
    return reply;
  });
  const error = await assertRejects(
    () => scene.client.remove("d", { recursive: true }),
    NinePError,
    'Cannot remove "d": directory is not empty',
  );
  assertEquals(error.code, "ENOTEMPTY");
});

test("remove() with recursive: what others remove meanwhile is fine", async () => {
  const members = new Set(["a", "b", "c"]);
  await using scene = await start();
  const { handler, removed } = directoryOf(members);
  scene.run((request) => {
    const reply = handler(request);
    if (request.type === "Tread") members.delete("b");
    return reply;
  });
  await scene.client.remove("d", { recursive: true });
  assertEquals(removed.sort(), ["a", "c", "d"]);
});

test("remove() with recursive tells which file it could not remove", async () => {
  await using scene = await start();
  const { handler } = directoryOf(new Set(["a", "b", "c"]));
  scene.run((request) =>
    request.type === "Tremove"
      ? { type: "Rerror", ename: "permission denied" }
      : handler(request)
  );
  const error = await assertRejects(
    () => scene.client.remove("d", { recursive: true }),
    NinePError,
  );
  assertMatch(error.message, /^Cannot remove "d\/[abc]": permission denied$/);
});

test("remove() with recursive is not led astray by names", async () => {
  for (const name of ["..", "a/../../b", "/", "."]) {
    await using scene = await start();
    scene.run((request) =>
      request.type === "Tstat"
        ? { type: "Rstat", stat: dir("d") }
        : directory([dir("ok"), dir(name)])(request)
    );
    await assertRejects(
      () => scene.client.remove("d", { recursive: true }),
      ProtocolError,
      `the server named a member "${name}"`,
    );
    const types = scene.server.log.map(({ type }) => type);
    assertEquals(types.includes("Tremove"), false);
  }
});

test("remove() with recursive rejects at once with the reason of its signal", async () => {
  await using scene = await start();
  const controller = new AbortController();
  const { signal } = controller;
  const { handler } = directoryOf(new Set(["a", "b"]));
  scene.run((request) => {
    if (request.type !== "Tremove") return handler(request);
    controller.abort("enough");
    return { type: "Rerror", ename: "directory is not empty" };
  });
  const removing = scene.client.remove("d", { recursive: true, signal });
  assertEquals(await removing.catch((error) => error), "enough");
  await scene.client.stat(0); // All operations have ended.
});
