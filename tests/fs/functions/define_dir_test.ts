// Directories that functions define: lookups, listings, changes and releases
// (P-38, P-47).
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DMDIR, NinePError, OREAD, OWRITE } from "../../../codec.ts";
import {
  type Definition,
  type DirHooks,
  HookDir,
  MemoryFs,
  type MemoryFsOptions,
} from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { Gate, nextTask } from "../../server/toy.ts";
import { refused, ServedTree, textOf } from "../tree_client.ts";

/** A tree with one defined directory d. */
function serving(hooks: DirHooks, options: MemoryFsOptions = {}): ServedTree {
  const fs = new MemoryFs({}, options);
  fs.define("d", hooks);
  return new ServedTree(fs);
}

test("lookup: the same definition is the same file, for all clients and in listings", async () => {
  const file: Definition = { content: () => "x" };
  await using served = serving({
    lookup: (name) => name === "a" ? file : undefined,
    list: () => ["a"],
  });
  const one = await served.client();
  const two = await served.client("rob");
  const { qid } = await one.stat("d/a");
  assertEquals((await two.stat("d/a")).qid, qid);
  const dir = await one.stat("d");
  assert(dir.qid.path !== qid.path);
  assertEquals(dir.mode, DMDIR + 0o555);
  served.fs.create("plain");
  assert(served.fs.stat("plain").qid.path !== qid.path);
});

test("lookup: definitions by user are never mixed", async () => {
  await using served = serving({
    lookup: (_name, { uname }) => ({ content: () => `for ${uname}` }),
  });
  const one = await served.client("glenda");
  const two = await served.client("rob");
  const fids = [await one.open("d/inbox"), await two.open("d/inbox")];
  assertEquals(await one.text(fids[0]), "for glenda");
  assertEquals(await two.text(fids[1]), "for rob");
  const stats = [await one.stat(fids[0]), await two.stat(fids[1])];
  assert(stats[0].qid.path !== stats[1].qid.path);
});

test("members: files, functions and directories of any depth", async () => {
  await using served = serving({
    members: {
      add: {
        fn: (a: number, b: number) => a + b,
        params: ["a", "b"],
      },
      deep: { members: { deeper: { members: { f: { content: () => "f" } } } } },
    },
  });
  const client = await served.client();
  assertEquals(await client.call("d/add", '{"argv":[17,25]}'), {
    err: 0,
    value: "42",
  });
  assertEquals(await client.text(await client.open("d/deep/deeper/f")), "f");
  assertEquals(await client.list(await client.open("d")), ["add", "deep"]);
  await refused("incomplete walk", client.walk("d/toString"));
  assertEquals((await client.stat("d/add")).mode, 0o666);
});

test("list: an endless list is read as far as the client reads, in bounded memory", async () => {
  let taken = 0;
  const file: Definition = {};
  await using served = serving({
    lookup: () => file,
    *list() {
      while (true) yield `name-${++taken}`;
    },
  });
  const client = await served.client();
  const fid = await client.open("d");
  const first = await client.read(fid, 0, 8192);
  assert(first.length > 0 && taken < 300, `${taken} names`);
  const second = await client.read(fid, first.length, 8192);
  assert(second.length > 0 && taken < 600, `${taken} names`);
  await client.clunk(fid);
});

test("list: names that come for ever without a file end in an error", async () => {
  await using served = serving({
    lookup: () => undefined,
    *list() {
      for (let i = 0;; i++) yield `${i & 1}`;
    },
  });
  const client = await served.client();
  await refused("i/o error", client.list(await client.open("d")));
  assertEquals(served.reports.length, 1);
  await client.stat("d");
});

test("list: illegal names go to the owner, names that came before are left out", async () => {
  const file: Definition = {};
  const names: unknown = ["a", "a/b", "", "..", ".", "a", "\ud800", 5, "b"];
  await using served = serving({
    lookup: (name) => ["a", "b"].includes(name) ? file : undefined,
    list: () => names as string[], // As from JavaScript.
  });
  const client = await served.client();
  assertEquals(await client.list(await client.open("d")), ["a", "b"]);
  assertEquals(served.reports.length, 1);
  assert(String(served.reports[0]).includes('"a/b"'), `${served.reports}`);
});

test("list: what is no list is an error that says so", async () => {
  for (const names of ["abc", null, 5, {}]) {
    await using served = serving({ list: () => names as string[] }); // As from JavaScript.
    const client = await served.client();
    await refused("i/o error", client.list(await client.open("d")));
    assert(String(served.reports[0]).includes("list()"));
  }
});

test("list: the names of an async list come as they are there; a clunk ends it", async () => {
  const gate = new Gate();
  let ended = false;
  const file: Definition = {};
  await using served = serving({
    lookup: () => file,
    async *list() {
      try {
        yield "first";
        await gate.passed;
        yield "second";
        yield "third";
      } finally {
        ended = true;
      }
    },
  });
  const client = await served.client();
  const fid = await client.open("d");
  const { tag } = client.start({
    type: "Tread",
    fid,
    offset: 0n,
    count: 8192,
  });
  await client.flush(tag);
  gate.open();
  assertEquals(await client.list(fid), ["first", "second", "third"]);
  assert(ended);
});

test("list: an error of the list or of a lookup is that of the read", async () => {
  await using served = serving({
    lookup: () => {
      throw new NinePError("permission denied");
    },
    list: () => ["a"],
  });
  const client = await served.client();
  await refused("permission denied", client.list(await client.open("d")));
  const dir = await client.walk("d");
  await refused("permission denied", client.walk("a", dir));
});

test("lookup: one that never answers can be flushed, and gives nothing away", async () => {
  const gate = new Gate();
  const begun = new Gate();
  let released = 0;
  const file: Definition = { release: () => void released++ };
  await using served = serving({
    lookup: async (name) => {
      if (name === "quick") return file;
      begun.open();
      await gate.passed;
      return file;
    },
  });
  const client = await served.client();
  const tag = client.send({
    type: "Twalk",
    fid: 0,
    newfid: 77,
    wname: ["d", "slow"],
  });
  await begun.passed;
  const replies = await client.flush(tag);
  assertEquals(replies.at(-1), "Rflush");
  await client.clunk(await client.walk("d/quick"));
  assertEquals(released, 1);
  gate.open();
  await nextTask();
  await client.clunk(await client.walk("d/quick"));
  assertEquals(released, 2);
});

test("lookup: what defines nothing is an error of the owner", async () => {
  for (const wrong of [null, 5, "text", { content: 1 }, { members: 5 }]) {
    await using served = serving({ lookup: () => wrong as Definition }); // As from JavaScript.
    const client = await served.client();
    await refused("i/o error", client.walk("d/x"));
    assert(served.reports[0] instanceof TypeError, `${wrong}`);
  }
});

test("create, mkdir, remove, rename: only what the functions allow", async () => {
  await using served = serving({ mode: 0o777, lookup: () => undefined });
  const client = await served.client();
  await refused("Operation not supported", client.create("d", "f"));
  await refused("Operation not supported", client.create("d", "g", DMDIR));
  served.fs.define("d/fixed", { content: () => "x" });
  await refused("Operation not supported", client.remove("d/fixed"));
  await refused(
    "wstat prohibited",
    client.wstat("d/fixed", { name: "moved" }),
  );
});

/** A directory whose members clients make. */
function keeping(more: DirHooks = {}) {
  const kept = new Map<string, Definition>();
  const contents = new Map<string, string>();
  const hooks: DirHooks = {
    mode: 0o777,
    lookup: (name) => kept.get(name),
    list: () => kept.keys(),
    create: ({ name }) => {
      const file = {
        content: () => contents.get(name) ?? "",
        written: (data: Uint8Array) => void contents.set(name, textOf(data)),
      };
      kept.set(name, file);
      return file;
    },
    mkdir: ({ name }) => {
      const dir = keeping().hooks;
      kept.set(name, dir);
      return dir;
    },
    remove: (name) => void kept.delete(name),
    rename: (name, newName) => {
      const file = kept.get(name);
      kept.delete(name);
      if (file !== undefined) kept.set(newName, file);
    },
    ...more,
  };
  return { kept, hooks };
}

test("create, mkdir, remove, rename: by functions, with the rights of the user", async () => {
  const { kept, hooks } = keeping();
  await using served = serving(hooks);
  const client = await served.client("glenda");
  const file = await client.create("d", "f", 0o640, OWRITE);
  await client.write(file, "hello");
  await client.clunk(file);
  const { qid, mode, uid } = await client.stat("d/f");
  assertEquals([mode, uid], [0o640, "glenda"]);
  assertEquals(await client.text(await client.open("d/f")), "hello");
  await refused("file already exists", client.create("d", "f"));

  await client.wstat("d/f", { name: "g" });
  assertEquals((await client.stat("d/g")).qid, qid);
  await refused("incomplete walk", client.walk("d/f"));
  const dir = await client.create("d", "sub", DMDIR + 0o755);
  await client.clunk(dir);
  await client.clunk(await client.create("d/sub", "x", 0o666, OREAD));
  assertEquals(await client.list(await client.open("d")), ["g", "sub"]);
  await refused("file already exists", client.wstat("d/g", { name: "sub" }));

  const held = await client.walk("d/g");
  await client.remove("d/g");
  assertEquals([...kept.keys()], ["sub"]);
  await refused("file has been removed", client.remove(held));
  await client.clunk(await client.create("d", "g", 0o666, OREAD));
  assert((await client.stat("d/g")).qid.path !== qid.path);
  assertEquals(served.reports.filter((e) => !(e instanceof NinePError)), []);
});

test("create, mkdir, remove: an error of the function is that of the request, and changes nothing", async () => {
  const fails = () => {
    throw new NinePError("not today");
  };
  const { kept, hooks } = keeping({ create: fails, mkdir: fails });
  const stays: Definition = { content: () => "x" };
  kept.set("f", stays);
  await using served = serving({ ...hooks, remove: fails, rename: fails });
  const client = await served.client();
  for (let i = 0; i < 2; i++) {
    await refused("not today", client.create("d", "new"));
    await refused("not today", client.create("d", "new", DMDIR));
    await refused("not today", client.remove("d/f"));
    await refused("not today", client.wstat("d/f", { name: "g" }));
  }
  assertEquals(await client.text(await client.open("d/f")), "x");
});

test("create: a function that gives the wrong thing is an error of the owner", async () => {
  const wrong: unknown = { members: {} };
  const { hooks } = keeping({
    create: () => wrong as Record<string, never>, // As from JavaScript.
    mkdir: () => ({ content: () => "no directory" }) as DirHooks,
  });
  await using served = serving(hooks);
  const client = await served.client();
  await refused("i/o error", client.create("d", "f"));
  await refused("i/o error", client.create("d", "g", DMDIR));
  assertEquals(served.reports.length, 2);
});

test("create: of two clients that make one name, one is refused", async () => {
  const gate = new Gate();
  const begun = new Gate();
  let made = 0;
  const file: Definition = {};
  const { hooks } = keeping({
    lookup: () => made > 0 ? file : undefined,
    create: async () => {
      begun.open();
      await gate.passed;
      made++;
      return file;
    },
  });
  await using served = serving(hooks);
  const one = await served.client();
  const two = await served.client("rob");
  const first = one.create("d", "f");
  await begun.passed;
  await refused("file already exists", two.create("d", "f"));
  gate.open();
  await first;
  assertEquals(made, 1);
});

test("rename: nothing leaves a defined directory, or comes in", async () => {
  const { hooks } = keeping();
  await using served = serving(hooks);
  const { fs } = served;
  fs.create("outside");
  const dir = fs.find("d");
  const outside = fs.find("outside");
  assert(dir instanceof HookDir && outside !== undefined);
  const error = assertThrows(
    () =>
      fs.root.rename({
        name: "outside",
        file: outside,
        newDir: dir,
        newName: "inside",
        replace: false,
      }, { uname: "sys" } as never), // It looks at the user only.
    NinePError,
  );
  assertEquals(error.ename, "Invalid cross-device link");
});

test("release: counts all references, by walks, clones and listings", async () => {
  const released: string[] = [];
  const inner: DirHooks = {
    members: { f: { release: () => void released.push("f") } },
    release: () => void released.push("dir"),
  };
  await using served = serving({
    lookup: (name) => name === "x" ? inner : undefined,
    list: () => ["x"],
  });
  const client = await served.client();
  await client.list(await client.open("d"));
  assertEquals(released, []);
  const f = await client.walk("d/x/f");
  const again = await client.walk("", f);
  await client.clunk(f);
  assertEquals(released, []);
  await client.clunk(again);
  assertEquals(released, ["f", "dir"]);
  await refused("incomplete walk", client.walk("d/x/none"));
  assertEquals(released, ["f", "dir", "dir"]);
});

test("release: its errors reach the owner, and the directory is released all the same", async () => {
  const released: string[] = [];
  const inner: DirHooks = {
    members: {
      f: {
        release: () => {
          throw new Error("cannot let go");
        },
      },
    },
    release: () => void released.push("dir"),
  };
  await using served = serving({ members: { x: inner } });
  const client = await served.client();
  await client.clunk(await client.walk("d/x/f"));
  await nextTask();
  assertEquals(released, ["dir"]);
  assertEquals(served.reports.map(String), ["Error: cannot let go"]);
});

test("define: hooks of a directory are checked", () => {
  const fs = new MemoryFs();
  const define = (hooks: unknown) => fs.define("x", hooks as DirHooks); // As from JavaScript.
  assertThrows(() => define({ lookup: 5 }), TypeError, "lookup");
  assertThrows(() => define({ list: {} }), TypeError, "list");
  assertThrows(() => define({ members: 5 }), TypeError, "members");
  assertThrows(() => define({ members: {}, mode: -1 }), RangeError, "mode");
  assertThrows(() => define({ clone: () => "", content: () => "" }), TypeError);
  assertThrows(() => define({ members: {}, uid: 5 }), TypeError, "user");
  assertEquals(fs.find("x"), undefined);
});

test("remove: a client removes a defined directory only when it lists nothing", async () => {
  const names = ["a"];
  const fs = new MemoryFs({}, { mode: 0o777 });
  const file: Definition = {};
  fs.define("d", { lookup: () => file, list: () => names });
  fs.define("unlisted", { lookup: () => undefined });
  fs.define("fixed", { members: { a: file } });
  await using served = new ServedTree(fs);
  const client = await served.client();
  for (const path of ["d", "unlisted", "fixed"]) {
    await refused("directory is not empty", client.remove(path));
  }
  names.length = 0;
  await client.remove("d");
  assertEquals(fs.find("d"), undefined);
});

test("remove: a client removes a job that another one uses, which goes on and is released", async () => {
  const { kept, hooks } = keeping();
  let released = 0;
  kept.set("job", {
    members: { ctl: { content: () => "1" } },
    release: () => void released++,
  });
  await using served = serving(hooks);
  const one = await served.client();
  const two = await served.client("rob");
  const ctl = await two.open("d/job/ctl");
  await one.remove("d/job");
  assertEquals(await two.text(ctl), "1");
  await refused("incomplete walk", one.walk("d/job"));
  two.close();
  await served[Symbol.asyncDispose]();
  assertEquals(released, 1);
});

test("lookup: one definition under many names is a file for each, and none is kept", async () => {
  const shared: Definition = { content: () => "x" };
  await using served = serving({
    lookup: () => shared,
    list: () => ["a", "b", "c"],
  });
  const client = await served.client();
  const fids = await Promise.all(
    ["a", "b", "c"].map((n) => client.walk(`d/${n}`)),
  );
  const stats = await Promise.all(fids.map((fid) => client.stat(fid)));
  assertEquals(stats.map(({ name }) => name), ["a", "b", "c"]);
  assertEquals(new Set(stats.map(({ qid }) => qid.path)).size, 3);
  const again = await client.stat("d/b");
  assertEquals(again.qid, stats[1].qid);
  for (const fid of fids) await client.clunk(fid);
  assertEquals(await client.list(await client.open("d")), ["a", "b", "c"]);
});
