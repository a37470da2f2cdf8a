// The contract between serve() and a handler: answers at once or later,
// defaults, errors of both kinds, wrong answers, clunk, disconnect.
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  FunctionError,
  NinePError,
  ORCLOSE,
  ORDWR,
  OWRITE,
  Plan9Exit,
  ProtocolError,
  type Tmessage,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { type DirEntry, type Handler, serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import {
  Gate,
  nextTask,
  serveToy,
  statOf,
  Toy,
  type ToyHandler,
  ToyNode,
  type ToyScene,
  untilAborted,
} from "./toy.ts";
import { bytes, soon, T, WireClient } from "./wire_client.ts";

const IO_ERROR = "i/o error";

/** Each method, with a request for it and the good reply; fid 1 is `a`, 2 is it open, 3 the root. */
const METHODS: [keyof ToyHandler, Tmessage, string][] = [
  ["attach", T.attach(7, 9), "Rattach 7 0"],
  ["walk", T.walk(7, 0, 9, "d"), "Rwalk 7 2"],
  ["open", T.open(7, 1), "Ropen 7 1"],
  ["create", T.create(7, 3, "n"), "Rcreate 7 4"],
  ["read", T.read(7, 2), "Rread 7 alpha"],
  ["write", T.write(7, 2, "new"), "Rwrite 7 3"],
  ["stat", T.stat(7, 1), "Rstat 7 a"],
  ["wstat", T.wstat(7, 1), "Rwstat 7"],
  ["clunk", T.clunk(7, 1), "Rclunk 7"],
  ["remove", T.remove(7, 1), "Rremove 7"],
  ["call", T.call(7, 1), "Rcall 7 0 value"],
];

async function prepare({ client }: ToyScene): Promise<void> {
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.walk(1, 0, 2, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 2, ORDWR), "Ropen 1 1");
  await client.ask(T.walk(1, 0, 3), "Rwalk 1");
}

for (const async of [false, true]) {
  const how = async ? "later" : "at once";
  // C-50, C-54 … C-67.
  test(`Handler: each method may answer ${how}`, async () => {
    for (const [, request, reply] of METHODS) {
      await using scene = await serveToy(
        { call: () => bytes("value") },
        { async },
      );
      await prepare(scene);
      await scene.client.ask(request, reply);
    }
  });

  for (const [method, request] of METHODS) {
    // C-91.
    test(`Handler: ${method}() may throw, ${how}`, async () => {
      let error: unknown;
      let armed = false;
      const toy = new Toy();
      const plain: ToyHandler = { ...toy.handler, call: () => bytes("") };
      // The method as it is, until it throws.
      const method2 = (...args: unknown[]) => {
        if (armed) throw error;
        return Reflect.apply(plain[method]!, plain, args);
      };
      await using scene = await serveToy({ [method]: method2 }, { async });
      await prepare(scene);
      const { client } = scene;
      for (
        const [thrown, ename, told] of [
          [new NinePError("quota was used"), "quota was used", []],
          [new Error("secret detail"), IO_ERROR, ["secret detail"]],
          [new TypeError("secret type"), IO_ERROR, ["secret type"]],
          ["secret text", IO_ERROR, ["secret text"]],
          [undefined, IO_ERROR, ["undefined"]],
          [new ProtocolError("not meant for you"), IO_ERROR, [
            "not meant for you",
          ]],
        ] as const
      ) {
        error = thrown;
        armed = true;
        const reply = await client.rpc(request);
        armed = false;
        assert(reply.type === "Rerror", `${reply.type} for ${thrown}`);
        const text = method === "call"
          ? JSON.parse(reply.ename).str
          : reply.ename;
        assertEquals(text, ename);
        assertEquals(scene.takeErrors(), [...told]);
        // The connection goes on, also with the same numbers.
        await client.ask(T.stat(7, 0), "Rstat 7 /");
        if (request.type === "Tclunk" || request.type === "Tremove") {
          await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
        }
      }
    });
  }

  test(`Handler: texts that the wire cannot carry cost one request only, ${how}`, async () => {
    const texts = ["nul \0 in it", "half \ud800 a pair", "", "\ud83d"];
    for (const errors of ["text", "json"] as const) {
      for (const text of texts) {
        for (
          const error of [
            new NinePError(text),
            new FunctionError({ class: text, argv: [text], str: text }),
          ]
        ) {
          await using scene = await serveToy({
            stat: () => {
              throw error;
            },
            call: () => {
              throw error;
            },
          }, { async, errors });
          const { client } = scene;
          for (const request of [T.stat(1, 0), T.call(2, 0)]) {
            const reply = await client.rpc(request);
            assert(reply.type === "Rerror");
          }
          await client.ask(T.walk(3, 0, 1), "Rwalk 3");
          scene.takeErrors();
        }
      }
    }
  });
}

const CUT = ["x".repeat(100_000), "é".repeat(70_000)];

test("Handler: an error text of any length goes out cut", async () => {
  for (const errors of ["text", "json"] as const) {
    for (const text of CUT) {
      await using scene = await serveToy({
        stat: () => {
          throw new FunctionError({ class: "E", argv: [1, text], str: text });
        },
        call: () => {
          throw new NinePError(text);
        },
      }, { errors, clientMsize: 1024 * 1024 + 24 });
      const { client } = scene;
      for (const request of [T.stat(1, 0), T.call(2, 0)]) {
        assertEquals((await client.rpc(request)).type, "Rerror");
      }
    }
  }
});

test("Handler: an error that JSON cannot say costs one request only", async () => {
  await using scene = await serveToy({
    call: () => {
      throw new FunctionError({ class: "E", argv: [1n], str: "big" });
    },
  });
  const { client } = scene;
  assertEquals((await client.rpc(T.call(1, 0))).type, "Rerror");
  await client.ask(T.stat(2, 0), "Rstat 2 /");
  scene.takeErrors();
});

/** Only the required functions. */
function least(toy: Toy): ToyHandler {
  const { attach, walk, open } = toy.handler;
  return { attach, walk, open };
}

// C-49.
test("Handler: methods that are missing have their default answers", async () => {
  const [near, far] = pair();
  const client = new WireClient(near);
  const served = serve(far, least(new Toy()));
  await client.start();
  const no = "Operation not supported";
  await client.ask(
    T.auth(1, 5, "u", ""),
    "Rerror 1 authentication not required",
  );
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.stat(1, 1), `Rerror 1 ${no}`);
  await client.ask(T.wstat(1, 1), "Rwstat 1");
  await client.ask(T.wstat(1, 1, { mtime: 5 }), "Rerror 1 wstat prohibited");
  await client.ask(T.call(1, 1), "Rcall 1 255");
  await client.ask(T.open(1, 1, ORDWR | ORCLOSE), "Ropen 1 1");
  await client.ask(T.read(1, 1), "Rread 1");
  await client.ask(T.write(1, 1, "x"), `Rerror 1 ${no}`);
  await client.ask(T.clunk(1, 1), `Rerror 1 ${no}`); // ORCLOSE without remove.
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.create(1, 1, "n"), `Rerror 1 ${no}`);
  await client.ask(T.open(1, 1), "Ropen 1 0");
  await client.ask(T.read(1, 1), "Rread 1");
  await client.ask(T.remove(1, 1), `Rerror 1 ${no}`);
  await client.ask(T.stat(1, 1), "Rerror 1 fid unknown or out of range");
  await client.ask(T.clunk(1, 0), "Rclunk 1");
  client.close();
  await soon(served);
});

test("Handler: a directory without readdir() has no members", async () => {
  const { attach, walk, open, read } = new Toy().handler;
  const asked: bigint[] = [];
  await using scene = await serveToy();
  const [near, far] = pair();
  const client = new WireClient(near);
  const served = serve<ToyNode>(far, {
    attach,
    walk,
    open,
    read: (fid, request, context) => {
      asked.push(fid.node.qid.path);
      return read(fid, request, context);
    },
  });
  await client.start();
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.open(1, 1), "Ropen 1 0");
  await client.ask(T.read(1, 1), "Rread 1");
  assertEquals(asked, []);
  client.close();
  await soon(served);
  await scene.client.quiet();
});

const bad = <T>(value: unknown): T => value as T; // Programs without type checks can return invalid values.

for (
  const [what, overrides, request] of [
    ["a read of more than was asked for", {
      read: () => new Uint8Array(101),
    }, T.read(7, 2, 0, 100)],
    ["a read of nothing at all", { read: () => bad(undefined) }, T.read(7, 2)],
    ["a read of text", { read: () => bad("text") }, T.read(7, 2)],
    ["a count above the data", { write: () => 4 }, T.write(7, 2, "new")],
    ["a negative count", { write: () => -1 }, T.write(7, 2, "new")],
    ["a count that is no number", { write: () => NaN }, T.write(7, 2, "new")],
    ["half a count", { write: () => 1.5 }, T.write(7, 2, "new")],
    ["no stat", { stat: () => bad(undefined) }, T.stat(7, 1)],
    ["a stat with a wrong field", {
      stat: ({ node }) => ({ ...statOf(node), mode: -1 }),
    }, T.stat(7, 1)],
    ["a stat with half a character", {
      stat: ({ node }) => ({ ...statOf(node), name: "\ud800" }),
    }, T.stat(7, 1)],
    ["a node without a qid", { walk: () => bad({}) }, T.walk(7, 0, 9, "d")],
    ["a node with a bad qid", {
      walk: () => ({ ...new ToyNode("b", 9, ""), qid: BAD_QID }),
    }, T.walk(7, 0, 9, "d")],
    ["a root with a bad qid", {
      attach: (fid) =>
        fid.fid === 9
          ? { ...new ToyNode("b", 9, "dir"), qid: BAD_QID }
          : new ToyNode("/", 0, "dir"),
    }, T.attach(7, 9)],
    ["a new node with a bad qid", {
      create: () => ({ node: { ...new ToyNode("b", 9, ""), qid: BAD_QID } }),
    }, T.create(7, 3, "n")],
    ["nothing created", { create: () => bad(undefined) }, T.create(7, 3, "n")],
    ["a bad iounit", { open: () => ({ iounit: -5 }) }, T.open(7, 1)],
    ["no list", { readdir: () => bad(undefined) }, T.read(7, 4)],
    ["a list of nothing", { readdir: () => bad([undefined]) }, T.read(7, 4)],
    ["a list that throws", {
      readdir: () =>
        [1].map(() => {
          throw new Error("no luck");
        }),
    }, T.read(7, 4)],
    ["a value that is not bytes", { call: () => bad(42) }, T.call(7, 1)],
  ] satisfies [string, Partial<ToyHandler>, Tmessage][]
) {
  for (const async of [false, true]) {
    test(`Handler: ${what} is an i/o error, ${async ? "later" : "at once"}`, async () => {
      let armed = false;
      const toy = new Toy();
      const guarded = Object.fromEntries(
        Object.entries<unknown>(overrides).map(([name, method]) => [
          name,
          (...args: unknown[]) => {
            const normal = Reflect.get(toy.handler, name);
            const used = armed ? method : normal;
            return Reflect.apply(bad(used), toy.handler, args);
          },
        ]),
      );
      await using scene = await serveToy(guarded, { async });
      const { client } = scene;
      // The tree of the guarded methods is `toy`, whose nodes look the same.
      await prepare(scene);
      await client.ask(T.walk(1, 0, 4), "Rwalk 1");
      await client.ask(T.open(1, 4), "Ropen 1 0");
      armed = true;
      const reply = await client.rpc(request);
      armed = false;
      assert(reply.type === "Rerror", reply.type);
      assertMatch(reply.ename, /i\/o error/);
      assertEquals(scene.takeErrors().length, 1);
      await client.ask(T.stat(7, 0), "Rstat 7 /");
      // No fid was made, and its number is free.
      await client.ask(T.walk(7, 0, 9, "d"), "Rwalk 7 2");
    });
  }
}

const BAD_QID = { type: 256, vers: -1, path: -1n };

/** Counts the nodes that are bound to fids, and those that are released. */
test("Handler: clunk() is called once for each fid, however it ends", async () => {
  for (const async of [false, true]) {
    const clunks: string[] = [];
    await using scene = await serveToy({
      clunk: ({ fid, node }) => {
        clunks.push(`${fid} ${node.name}`);
        if (fid === 2) throw new NinePError("permission denied");
        if (fid === 12) throw new Error("oops");
      },
    }, { async });
    const { client } = scene;
    for (let fid = 1; fid <= 7; fid++) {
      await client.ask(T.walk(1, 0, fid, "d", "x"), "Rwalk 1 2,3");
    }
    await client.ask(T.clunk(1, 1), "Rclunk 1");
    await client.ask(T.clunk(1, 2), "Rerror 1 permission denied");
    await client.ask(T.remove(1, 3), "Rremove 1");
    await client.ask(T.walk(1, 0, 8), "Rwalk 1");
    await client.ask(T.remove(1, 8), "Rerror 1 cannot remove root");
    await client.ask(T.open(1, 4, ORCLOSE), "Ropen 1 3");
    await client.ask(T.clunk(1, 4), "Rclunk 1");
    // No clunk for fids that were not made.
    await client.ask(T.walk(1, 0, 9, "no"), "Rerror 1 file does not exist");
    await client.ask(T.walk(1, 0, 9, "d", "no"), "Rwalk 1 2");
    // A walk in place goes on with the fid.
    await client.ask(T.walk(1, 6, 6), "Rwalk 1");
    assertEquals(clunks.sort(), ["1 x", "2 x", "3 x", "4 x", "8 /"]);
    clunks.length = 0;
    await client.ask(T.version(), "Rversion 65535 8192 9P2000");
    await nextTask();
    assertEquals(clunks.sort(), ["0 /", "5 x", "6 x", "7 x"]);
    clunks.length = 0;
    client.send(T.attach(1, 0), T.walk(2, 0, 11, "a"), T.walk(3, 0, 12, "a"));
    await client.expectSome("Rattach 1 0", "Rwalk 2 1", "Rwalk 3 1");
    client.close();
    await soon(scene.served);
    assertEquals(clunks.sort(), ["0 /", "11 a", "12 a"]);
    assertEquals(scene.takeErrors(), ["oops"]);
  }
});

test("Handler: disconnect() comes last, and serve() waits for it", async () => {
  for (const async of [false, true]) {
    const log: string[] = [];
    const gate = new Gate();
    const scene = await serveToy({
      write: async (_fid, _request, { signal }) => {
        try {
          await untilAborted(signal);
        } finally {
          await nextTask();
          log.push("write");
        }
      },
      clunk: async ({ fid }) => {
        if (async) await nextTask();
        log.push(`clunk ${fid}`);
      },
      disconnect: async (connection) => {
        log.push(`disconnect ${connection.peer}`);
        await gate.passed;
        log.push("done");
      },
    });
    const { client } = scene;
    client.send(
      T.walk(1, 0, 1, "a"),
      T.open(2, 1, OWRITE),
      T.write(3, 1, "x"),
      T.clunk(4, 1),
    );
    await client.expect("Rwalk 1 1", "Ropen 2 1");
    client.close();
    const ended = scene.served.then(() => log.push("served"));
    await nextTask();
    await nextTask();
    await nextTask();
    gate.open();
    await soon(ended);
    assertEquals(
      log,
      [
        "clunk 0",
        "write",
        "clunk 1",
        "disconnect pair",
        "done",
        "served",
      ].sort((a, b) =>
        // Fids without requests are released at once. The others come in this
        // order.
        log.indexOf(a) - log.indexOf(b)
      ),
    );
    assert(log.indexOf("write") < log.indexOf("clunk 1"));
    assertEquals(log.slice(-3), ["disconnect pair", "done", "served"]);
    assertEquals(scene.takeErrors(), []);
  }
});

test("Handler: the end of the connection aborts what is under way", async () => {
  const signals: AbortSignal[] = [];
  const scene = await serveToy({
    read: (_fid, _request, { signal }) => {
      signals.push(signal);
      return untilAborted(signal);
    },
  });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1), T.read(4, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  await client.quiet();
  assertEquals(signals.map(({ aborted }) => aborted), [false, false]);
  client.close();
  await soon(scene.served);
  assertEquals(signals.map(({ aborted }) => aborted), [true, true]);
  assertEquals(scene.takeErrors(), []);
});

for (
  const [how, throwExit] of [
    ["at once", () => {
      throw new Plan9Exit("bye");
    }],
    ["later", async () => {
      await nextTask();
      throw new Plan9Exit("bye");
    }],
  ] as const
) {
  // P-15, P-34.
  test(`Handler: Plan9Exit ${how} is answered, then the connection ends`, async () => {
    const scene = await serveToy({ call: throwExit, stat: throwExit });
    const { client } = scene;
    // Later requests get no answer, and the reply still comes.
    client.send(T.call(1, 0));
    const reply = await client.next();
    assert(reply.type === "Rerror");
    assertEquals(JSON.parse(reply.ename).class, "Plan9Exit");
    await client.end();
    client.close();
    await soon(scene.served);
    assertEquals(scene.takeLog(), ["clunk 0", "disconnect"]);
    assertEquals(scene.takeErrors(), []);

    const other = await serveToy({ stat: throwExit });
    other.client.send(T.stat(1, 0), T.walk(2, 0, 1), T.walk(3, 0, 2));
    const replies: string[] = [];
    for (let i = 0; i < 3; i++) {
      const next = await other.client.next().catch(() => undefined);
      if (next === undefined) break;
      replies.push(`${next.type} ${next.tag}`);
    }
    assert(replies.includes("Rerror 1"), replies.join());
    other.client.close();
    await soon(other.served);
    assertEquals(other.takeErrors(), []);
  });
}

test("Handler: Plan9Exit ends its own connection only", async () => {
  const fs = new MemoryFs();
  fs.register("exit", () => {
    throw new Plan9Exit("bye");
  });
  const ends = [pair(), pair()];
  const served = ends.map(([, far]) => serve(far, fs));
  const [first, second] = ends.map(([near]) => new WireClient(near));
  await first.start();
  await second.start();
  await first.ask(T.walk(1, 0, 1, "exit"), "Rwalk 1 1");
  assertEquals((await first.rpc(T.call(1, 1))).type, "Rerror");
  await first.end();
  await second.ask(T.stat(1, 0), "Rstat 1 /");
  first.close();
  second.close();
  await soon(Promise.all(served));
});

// C-51.
test("Handler: a class with methods will do", async () => {
  class Counter implements Handler<ToyNode> {
    #opens = 0;
    readonly #toy = new Toy();
    attach(): ToyNode {
      return this.#toy.root;
    }
    walk(node: ToyNode, name: string): ToyNode | undefined {
      return this.#toy.handler && node.members.get(name);
    }
    open(): void {
      this.#opens++;
    }
    read(): Uint8Array {
      return bytes(`${this.#opens}`);
    }
    readdir(): DirEntry[] {
      return [{ stat: statOf(this.#toy.a) }];
    }
    clunk(): void {
      this.#opens--;
    }
  }
  const [near, far] = pair();
  const client = new WireClient(near);
  const served = serve(far, new Counter());
  await client.start();
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1), T.clunk(4, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1", "Rread 3 1", "Rclunk 4");
  client.send(T.walk(1, 0, 1), T.open(2, 1), T.read(3, 1));
  await client.expect("Rwalk 1", "Ropen 2 0");
  const reply = await client.next();
  assert(reply.type === "Rread" && reply.data.length > 49);
  client.close();
  await soon(served);
});

test("serve() lets an open file live that another fid has removed", async () => {
  const fs = new MemoryFs({ f: "content" }, { mode: 0o777 });
  const [near, far] = pair();
  const client = new WireClient(near);
  const served = serve(far, fs);
  await client.start();
  client.send(T.walk(1, 0, 1, "f"), T.open(2, 1), T.walk(3, 0, 2, "f"));
  await client.expect("Rwalk 1 1", "Ropen 2 1", "Rwalk 3 1");
  // Fid 2 never was open.
  await client.ask(T.remove(4, 2), "Rremove 4");
  await client.ask(T.read(5, 1), "Rread 5 content");
  client.close();
  await soon(served);
});

test("Handler: remove() and clunk() see the mode that the fid was opened with", async () => {
  const modes: [string, number, boolean][] = [];
  await using scene = await serveToy({
    remove: ({ mode, open }) => {
      modes.push(["remove", mode, open]);
    },
    clunk: ({ mode, open }) => {
      modes.push(["clunk", mode, open]);
    },
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.remove(1, 1), "Rremove 1");
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, OWRITE), "Ropen 1 1");
  await client.ask(T.remove(1, 1), "Rremove 1");
  assertEquals(modes, [
    ["remove", -1, false],
    ["clunk", -1, false],
    ["remove", OWRITE, true],
    ["clunk", OWRITE, true],
  ]);
  modes.length = 0;
});
