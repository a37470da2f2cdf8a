// Each node that a handler returns is released exactly once: nodes that a walk
// passes, clones, fids that move, lost connections.
import { assert, assertEquals } from "@std/assert";
import { ORCLOSE, ProtocolError, QTDIR } from "../../codec.ts";
import { type TreeDir, type TreeFile, treeOf } from "../../fs/mod.ts";
import { type FidNode, type Handler, serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { Gate, nextTask } from "./toy.ts";
import { soon, T, WireClient } from "./wire_client.ts";

/** Counts the nodes that were given and not released. */
class Ledger {
  readonly held: Map<object, number> = new Map();
  readonly names: string[] = [];
  given = 0;
  released = 0;

  give<Given extends object>(file: Given): Given {
    this.given++;
    this.held.set(file, (this.held.get(file) ?? 0) + 1);
    return file;
  }

  release(file: object, name: string): void {
    const left = this.held.get(file);
    assert(left !== undefined, `${name} is released once too often`);
    this.released++;
    this.names.push(name);
    if (left === 1) this.held.delete(file);
    else this.held.set(file, left - 1);
  }

  take(): string[] {
    return this.names.splice(0);
  }
}

interface Named extends FidNode {
  readonly name: string;
}

let paths = 0n;

function named(name: string): Named {
  const type = name.startsWith("f") ? 0 : QTDIR;
  return { name, qid: { type, vers: 0, path: paths++ } };
}

/** A handler with a directory of every name; names with `f` are files. */
function recording(ledger: Ledger, own: Partial<Handler<Named>> = {}) {
  const shared = named("shared");
  const handler: Handler<Named> = {
    attach: () => ledger.give(named("root")),
    walk: (_node, name) => {
      if (name === "none") return undefined;
      if (name === "shared") return ledger.give(shared);
      return ledger.give(named(name));
    },
    open: () => {},
    create: (_fid, { name }) => ({ node: ledger.give(named(name)) }),
    remove: () => {},
    release: (node) => ledger.release(node, node.name),
    ...own,
  };
  return handler;
}

interface Scene extends AsyncDisposable {
  readonly client: WireClient;
  readonly ledger: Ledger;
  readonly errors: unknown[];
}

async function scene(
  handlerOf: (ledger: Ledger) => Handler<never>,
): Promise<Scene> {
  const ledger = new Ledger();
  const [near, far] = pair();
  const errors: unknown[] = [];
  const client = new WireClient(near);
  // The type of the nodes is the business of the handler alone.
  const handler = handlerOf(ledger) as unknown as Handler;
  const served = serve(far, handler, {
    onError: (error) => errors.push(error),
  });
  await client.start(8192);
  return {
    client,
    ledger,
    errors,
    async [Symbol.asyncDispose]() {
      client.close();
      await soon(served);
      assertEquals(ledger.held.size, 0, "all is released in the end");
      assertEquals(ledger.given, ledger.released);
      // A reply may be on its way while the client closes the connection.
      assertEquals(errors.filter((e) => !(e instanceof ProtocolError)), []);
    },
  };
}

const flat = (own?: (ledger: Ledger) => Partial<Handler<Named>>) =>
  scene((ledger) =>
    recording(ledger, own?.(ledger)) as unknown as Handler<never>
  );

test("release: a walk gives back what it passes, at once", async () => {
  await using s = await flat();
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "a", "b", "c", "f"));
  assertEquals(ledger.take(), ["c", "b", "a"]);
  await client.rpc(T.clunk(1, 1));
  assertEquals(ledger.take(), ["f"]);
});

test("release: a walk that ends early keeps nothing", async () => {
  await using s = await flat();
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "a", "b", "none", "c"));
  assertEquals(ledger.take(), ["b", "a"]);
  await client.rpc(T.walk(1, 0, 1, "f", "a"));
  assertEquals(ledger.take(), ["f"]);
  await client.rpc(T.walk(1, 0, 1, "none"));
  assertEquals(ledger.take(), []);
});

test("release: a walk that fails in the middle keeps nothing", async () => {
  await using s = await flat((ledger) => ({
    walk: (_node, name) => {
      if (name === "bad") return Promise.reject(new Error("bad"));
      return Promise.resolve(ledger.give(named(name)));
    },
  }));
  const { client, ledger, errors } = s;
  await client.rpc(T.walk(1, 0, 1, "a", "b", "bad"));
  assertEquals(ledger.take(), ["b", "a"]);
  assertEquals(errors.splice(0).length, 1);
});

test("release: clones share a node, and the last one gives it back", async () => {
  await using s = await flat();
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "a"));
  await client.rpc(T.walk(1, 1, 2));
  await client.rpc(T.walk(1, 2, 3));
  await client.rpc(T.clunk(1, 1));
  await client.rpc(T.clunk(1, 3));
  assertEquals(ledger.take(), []);
  // A clone that moves also releases its node.
  await client.rpc(T.walk(1, 2, 2, "b"));
  assertEquals(ledger.take(), ["a"]);
  await client.rpc(T.clunk(1, 2));
  assertEquals(ledger.take(), ["b"]);
});

test("release: a node that is given twice is released twice", async () => {
  await using s = await flat();
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "shared"));
  await client.rpc(T.walk(1, 0, 2, "shared"));
  await client.rpc(T.clunk(1, 1));
  assertEquals(ledger.take(), ["shared"]);
  await client.rpc(T.clunk(1, 2));
  assertEquals(ledger.take(), ["shared"]);
});

test("release: a create lets the directory go, an open the file it replaces", async () => {
  await using s = await flat((ledger) => ({
    open: () => ({ node: ledger.give(named("f-opened")) }),
  }));
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "a"));
  await client.rpc(T.create(1, 1, "f"));
  assertEquals(ledger.take(), ["a"]);
  await client.rpc(T.walk(1, 0, 2, "f-clone"));
  await client.rpc(T.open(1, 2));
  assertEquals(ledger.take(), ["f-clone"]);
  await client.rpc(T.remove(1, 1));
  assertEquals(ledger.take(), ["f"]);
});

test("release: an answer that cannot be sent keeps nothing", async () => {
  await using s = await flat((ledger) => ({
    // A program without types may forget the qid.
    walk: () => ledger.give({ name: "no qid" } as Named),
    create: () => ({ node: ledger.give({ name: "no qid" } as Named) }),
  }));
  const { client, ledger, errors } = s;
  await client.rpc(T.walk(1, 0, 1, "a"));
  assertEquals(ledger.take(), ["no qid"]);
  await client.rpc(T.walk(1, 0, 1));
  await client.rpc(T.create(1, 1, "f"));
  assertEquals(ledger.take(), ["no qid"]);
  assertEquals(errors.splice(0).length, 2);
});

test("release: a walk that is flushed gives back what it finds later", async () => {
  const gate = new Gate();
  await using s = await flat((ledger) => ({
    walk: async (_node, name) => {
      if (name === "slow") await gate.passed;
      return ledger.give(named(name));
    },
  }));
  const { client, ledger } = s;
  client.send(T.walk(1, 0, 1, "a", "slow", "b"));
  await nextTask();
  await client.ask(T.flush(2, 1), "Rflush 2");
  assertEquals(ledger.take(), []); // The handler is still looking in it.
  gate.open();
  while (ledger.released < 2) await nextTask();
  assertEquals(ledger.take(), ["slow", "a"]);
});

test("release: a new session, and a lost connection, give all back", async () => {
  const gate = new Gate();
  await using s = await flat((ledger) => ({
    walk: async (_node, name) => {
      if (name === "slow") await gate.passed;
      return ledger.give(named(name));
    },
  }));
  const { client, ledger } = s;
  for (let fid = 1; fid < 20; fid++) {
    await client.rpc(T.walk(1, 0, fid, "a", "b"));
    await client.rpc(T.walk(1, fid, fid + 100));
  }
  ledger.take();
  await client.start(8192);
  assertEquals(ledger.held.size, 1); // The root of the new session.
  await client.rpc(T.walk(1, 0, 1, "a"));
  client.send(T.walk(2, 1, 2, "slow"));
  await nextTask();
  gate.open();
});

test("release: its errors reach the owner, and harm no other request", async () => {
  const failing = new Error("cannot release");
  let fails = true;
  await using s = await flat((ledger) => ({
    release: (node) => {
      ledger.release(node, node.name);
      if (!fails) return;
      if (node.name === "a") throw failing;
      return Promise.reject(failing);
    },
  }));
  const { client, errors } = s;
  await client.rpc(T.walk(1, 0, 1, "a", "b", "c"));
  await nextTask();
  assertEquals(errors.splice(0), [failing, failing]);
  fails = false;
});

/** A tree of directories that notes each release; it has one file, `f`. */
function dirOf(ledger: Ledger, name: string): TreeDir {
  const dir: TreeDir = {
    qid: { type: QTDIR, vers: 0, path: paths++ },
    stat: () => ({ qid: dir.qid, name, mode: 0x800001ff }),
    lookup: (name) => {
      if (name === "none") return undefined;
      return ledger.give(
        name.startsWith("f") ? fileOf(ledger, name) : dirOf(ledger, name),
      );
    },
    create: ({ name }) => ({ file: ledger.give(fileOf(ledger, name)) }),
    mkdir: ({ name }) => ledger.give(dirOf(ledger, name)),
    remove: () => {},
    rename: () => {},
    release: () => ledger.release(dir, name),
  };
  return dir;
}

function fileOf(ledger: Ledger, name: string): TreeFile {
  const file: TreeFile = {
    qid: { type: 0, vers: 0, path: paths++ },
    stat: () => ({ qid: file.qid, name, mode: 0o777 }),
    open: () => {
      if (!name.endsWith("clone")) return {};
      return { file: ledger.give(fileOf(ledger, "f-cloned")) };
    },
    release: () => ledger.release(file, name),
  };
  return file;
}

const tree = () =>
  scene((ledger) =>
    treeOf({ attach: () => ledger.give(dirOf(ledger, "root")) })
      .handler as unknown as Handler<never>
  );

test("release: a tree keeps the directories above a fid, and no others", async () => {
  await using s = await tree();
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "a", "b", "f"));
  await client.rpc(T.walk(1, 0, 2, "c", "none"));
  assertEquals(ledger.take(), ["c"]);
  await client.rpc(T.walk(1, 0, 2, "c", "..", "d"));
  assertEquals(ledger.take(), ["c"]);
  await client.rpc(T.clunk(1, 1));
  assertEquals(ledger.take(), ["f", "b", "a"]);
  await client.rpc(T.walk(1, 2, 3, "..", "..", "e"));
  await client.rpc(T.clunk(1, 2));
  assertEquals(ledger.take(), ["d"]);
});

test("release: create, mkdir, clone files, renames and removals of a tree", async () => {
  await using s = await tree();
  const { client, ledger } = s;
  await client.rpc(T.walk(1, 0, 1, "a"));
  await client.rpc(T.create(1, 1, "f", 0o666, 1 | ORCLOSE));
  await client.rpc(T.clunk(1, 1));
  assertEquals(ledger.take(), ["f", "a"]);
  await client.rpc(T.walk(1, 0, 1, "a"));
  await client.rpc(T.create(1, 1, "b", 0x800001ff, 0));
  await client.rpc(T.clunk(1, 1));
  assertEquals(ledger.take(), ["b", "a"]);
  await client.rpc(T.walk(1, 0, 1, "a", "f-clone"));
  await client.rpc(T.open(1, 1));
  assertEquals(ledger.take(), ["f-clone"]);
  await client.rpc(T.remove(1, 1));
  assertEquals(ledger.take(), ["f-cloned", "a"]);
});

test("release: a walk that is given up while access is checked releases nothing twice", async () => {
  let gate = new Gate();
  let isSlow = false;
  await using s = await scene((ledger) => {
    const slow = (name: string): TreeDir => {
      const dir = dirOf(ledger, name);
      return {
        ...dir,
        stat: async (context) => {
          if (isSlow) await gate.passed;
          return dir.stat(context);
        },
        lookup: (name) => ledger.give(slow(name)),
        release() {
          ledger.release(this, name);
        },
        checkParent: () => isSlow ? gate.passed : undefined,
      };
    };
    const attach = () => ledger.give(slow("root"));
    return treeOf({ attach }).handler as unknown as Handler<never>;
  });
  const { client, ledger } = s;
  for (const name of ["x", ".."]) {
    await client.rpc(T.walk(1, 0, 1, "a", "b"));
    gate = new Gate();
    isSlow = true;
    client.send(T.walk(2, 1, 2, name, "y"));
    await nextTask();
    await client.ask(T.flush(3, 2), "Rflush 3");
    await client.rpc(T.clunk(1, 1));
    isSlow = false;
    gate.open();
    while (ledger.held.size > 1) await nextTask();
  }
});
