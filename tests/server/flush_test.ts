// Tags and Tflush: S106 to S113 of the conformance list, semantics.md 2, 7.3.
import { assert, assertEquals } from "@std/assert";
import { NinePError, NOTAG, ORDWR } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import {
  Gate,
  nextTask,
  onWrite,
  serveToy,
  statOf,
  type ToyHandler,
  type ToyScene,
  untilAborted,
} from "./toy.ts";
import { bytes, soon, T, WireClient } from "./wire_client.ts";

/** Kinds of blocked handlers. */
type Manner = "honours" | "ignores";

/** A handler all of whose methods wait for a gate, for users other than u or by the fid. */
class Blocked {
  gate = new Gate();
  readonly signals: AbortSignal[] = [];
  readonly ended: string[] = [];
  readonly #manner: Manner;

  constructor(manner: Manner) {
    this.#manner = manner;
  }

  async wait(what: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#manner === "honours") {
      assert(signal);
      this.signals.push(signal);
      await Promise.race([this.gate.passed, untilAborted(signal)]);
    } else {
      await this.gate.passed;
    }
    this.ended.push(what);
  }

  get handler(): Partial<ToyHandler> {
    return {
      read: async ({ node }, _request, context) => {
        await this.wait("read", this.#signal(context));
        return node.content;
      },
      write: async ({ node }, { data }, context) => {
        await this.wait("write", this.#signal(context));
        node.content = data.slice();
      },
      wstat: (_fid, _request, context) =>
        this.wait("wstat", this.#signal(context)),
    };
  }

  /** Only a handler that honours the signal reads it. */
  #signal(context: { signal: AbortSignal }): AbortSignal | undefined {
    return this.#manner === "honours" ? context.signal : undefined;
  }
}

/** Fid 1 is `a`, open for reading and writing. */
async function openA({ client }: ToyScene, fid = 1): Promise<void> {
  await client.ask(T.walk(1, 0, fid, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, fid, ORDWR), "Ropen 1 1");
}

test("serve() answers a Tflush of a tag that is not outstanding", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  for (const oldtag of [0, 1, 77, NOTAG]) {
    await client.ask(T.flush(1, oldtag), "Rflush 1");
  }
  await client.ask(T.stat(5, 0), "Rstat 5 /");
  await client.ask(T.flush(6, 5), "Rflush 6");
  assertEquals(scene.takeLog(), []);
});

test("serve() answers a Tflush of its own tag", async () => {
  await using scene = await serveToy();
  await scene.client.ask(T.flush(1, 1), "Rflush 1");
});

test("serve() answers a Tflush after the reply that it came too late for", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  client.send(T.stat(1, 0), T.flush(2, 1), T.walk(1, 0, 1), T.flush(3, 1));
  await client.expect("Rstat 1 /", "Rflush 2", "Rwalk 1", "Rflush 3");
});

// C-58.
test("serve() answers only the Tflush when the handler honours the signal", async () => {
  const blocked = new Blocked("honours");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  for (
    const request of [T.read(7, 1), T.write(7, 1, "new"), T.wstat(7, 1)]
  ) {
    client.send(request);
    await client.quiet();
    await client.ask(T.flush(8, 7), "Rflush 8");
    assert(blocked.signals.pop()?.aborted);
    assertEquals(scene.takeLog(), ["flush"]);
    // The tag and the fid are free at once.
    await client.ask(T.stat(7, 1), "Rstat 7 a");
  }
  assertEquals(blocked.ended, []);
  assertEquals(scene.toy.a.content, bytes("alpha"));
});

test("serve() abandons a flushed read whose handler ignores the signal", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(T.read(7, 1));
  await client.quiet();
  await client.ask(T.flush(8, 7), "Rflush 8");
  client.send(T.stat(7, 1)); // The tag is free.
  await client.expect("Rstat 7 a");
  blocked.gate.open();
  await nextTask();
  assertEquals(blocked.ended, ["read"]);
  await client.quiet(7);
});

test("serve() waits for a flushed write whose handler ignores the signal", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(T.write(7, 1, "new"), T.flush(8, 7), T.flush(9, 7));
  await client.quiet();
  blocked.gate.open();
  await client.expect("Rwrite 7 3", "Rflush 8", "Rflush 9");
  assertEquals(scene.toy.a.content, bytes("new"));
  await client.quiet(7);
});

test("serve() answers the flush only of a write that fails after it", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    write: () => gate.passed,
  });
  const { client } = scene;
  await openA(scene);
  client.send(T.write(7, 1, "new"), T.flush(8, 7));
  await client.quiet();
  gate.shut(new NinePError("file system is full"));
  await client.expect("Rflush 8");
  await client.quiet(7);
});

test("serve() sends a reply that the handler gives in spite of the signal before the Rflush", async () => {
  await using scene = await serveToy({
    read: (_fid, _request, { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(bytes("late")));
      }),
  });
  const { client } = scene;
  await openA(scene);
  client.send(T.read(7, 1), T.flush(8, 7));
  await client.expect("Rread 7 late", "Rflush 8");
});

test("serve() answers several flushes of one request in order", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(T.wstat(7, 1), ...[30, 10, 20, 40].map((tag) => T.flush(tag, 7)));
  await client.quiet();
  // A flush of a flush may wait or not. Both are answered.
  client.send(T.flush(50, 30));
  await nextTask();
  blocked.gate.open();
  const replies: string[] = [];
  for (let i = 0; i < 6; i++) {
    const { type, tag } = await client.next();
    replies.push(`${type} ${tag}`);
  }
  const rest = replies.filter((reply) => reply !== "Rflush 50");
  assertEquals(
    rest,
    ["Rwstat 7", "Rflush 30", "Rflush 10", "Rflush 20", "Rflush 40"],
  );
  // The handler is called once.
  assertEquals(scene.takeLog(), ["flush"]);
});

for (const manner of ["honours", "ignores"] as const) {
  test(`serve() takes a request out of its fid's queue that is flushed: the first ${manner} signals`, async () => {
    const blocked = new Blocked(manner);
    await using scene = await serveToy(blocked.handler);
    const { client } = scene;
    await openA(scene);
    client.send(
      T.wstat(1, 1), // Uses the fid exclusively.
      T.read(2, 1),
      T.write(3, 1, "no"),
      T.remove(4, 1),
      T.stat(5, 1),
    );
    await client.quiet();
    // The request has not begun, so only the Rflush comes, at once.
    await client.ask(T.flush(10, 4), "Rflush 10");
    await client.ask(T.flush(11, 3), "Rflush 11");
    await client.ask(T.flush(12, 2), "Rflush 12");
    await client.ask(T.flush(13, 5), "Rflush 13");
    blocked.gate.open();
    await client.expect("Rwstat 1");
    await client.ask(T.stat(5, 1), "Rstat 5 a");
    assertEquals(blocked.ended, ["wstat"]);
    assertEquals(scene.takeLog().filter((line) => line !== "flush"), []);
  });
}

test("serve() does a Twstat while a read of its fid blocks", async () => {
  const reading = new Gate();
  const changing = new Gate();
  const seen: string[] = [];
  await using scene = await serveToy({
    read: async ({ node }) => {
      seen.push("read");
      await reading.passed;
      return node.content;
    },
    wstat: async () => {
      seen.push("wstat");
      await changing.passed;
    },
  });
  const { client } = scene;
  await openA(scene);
  client.send(T.read(1, 1), T.read(2, 1), T.wstat(3, 1, { mtime: 5 }));
  client.send(T.stat(4, 1), T.read(5, 1), T.clunk(6, 1));
  await client.quiet();
  // Later requests see its effect.
  assertEquals(seen, ["read", "read", "wstat"]);
  changing.open();
  await client.expect("Rwstat 3", "Rstat 4 a");
  await client.quiet();
  assertEquals(seen, ["read", "read", "wstat", "read"]);
  // The clunk changes the fid: it waits for all reads.
  reading.open();
  await client.expect(
    "Rread 1 alpha",
    "Rread 2 alpha",
    "Rread 5 alpha",
    "Rclunk 6",
  );
});

test("serve() does a Twstat after the writes that came before it", async () => {
  const reading = new Gate();
  const writing = new Gate();
  await using scene = await serveToy({
    read: async ({ node }) => {
      await reading.passed;
      return node.content;
    },
    write: () => writing.passed,
  });
  const { client } = scene;
  await openA(scene);
  client.send(T.read(1, 1), T.write(2, 1, "x"), T.wstat(3, 1, { length: 0n }));
  await client.quiet();
  writing.open();
  await client.expect("Rwrite 2 1", "Rwstat 3");
  reading.open();
  await client.expect("Rread 1 alpha");
});

test("serve() lets those behind go on when the first of a queue is flushed", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  // The clunk waits for the write, the stat for the clunk.
  client.send(T.write(1, 1, "new"), T.clunk(2, 1), T.stat(3, 1));
  await client.quiet();
  client.send(T.flush(4, 2));
  await client.expectSome("Rflush 4", "Rstat 3 a");
  blocked.gate.open();
  await client.expect("Rwrite 1 3");
  await client.ask(T.stat(5, 1), "Rstat 5 a");
});

test("serve() starts what waited when the read before it is flushed", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(T.read(1, 1), T.clunk(2, 1), T.flush(3, 1));
  await client.expectSome("Rflush 3", "Rclunk 2");
  assertEquals(scene.takeLog(), ["flush", "clunk 1"]);
  blocked.gate.open();
});

for (
  const [name, request, reply, fid] of [
    ["Twalk", T.walk(7, 0, 5, "d"), "Rwalk 7 2", 5],
    ["Tattach", T.attach(7, 5), "Rattach 7 0", 5],
    ["Tcreate", T.create(7, 1, "n"), "Rcreate 7 4", 1],
  ] as const
) {
  for (const manner of ["honours", "ignores", "fails"] as const) {
    test(`serve() leaves no trace of a flushed ${name}, or answers it: the handler ${manner}`, async () => {
      const gate = new Gate();
      let armed = false;
      const wait = async (signal: AbortSignal) => {
        if (!armed) return;
        if (manner === "honours") await untilAborted(signal);
        await gate.passed;
        if (manner === "fails") throw new NinePError("permission denied");
      };
      await using scene = await serveToy((toy) => ({
        attach: async (fid, request, context) => {
          await wait(manner === "honours" ? context.signal : neverAborted);
          return toy.handler.attach(fid, request, context);
        },
        walk: async (node, name, context) => {
          await wait(manner === "honours" ? context.signal : neverAborted);
          return toy.handler.walk(node, name, context);
        },
        create: async (fid, request, context) => {
          await wait(manner === "honours" ? context.signal : neverAborted);
          return toy.handler.create(fid, request, context);
        },
      }));
      const { client } = scene;
      await client.ask(T.walk(1, 0, 1), "Rwalk 1");
      armed = true;
      client.send(request, T.stat(8, fid), T.flush(9, 7));
      await nextTask();
      gate.open();
      armed = false;
      const replies: string[] = [];
      for (let i = 0; i < 2; i++) {
        const { type, tag } = await client.next();
        replies.push(`${type} ${tag}`);
      }
      const [type] = reply.split(" ");
      const happened = replies.includes(`${type} 7`);
      if (happened) {
        const { type, tag } = await client.next();
        replies.push(`${type} ${tag}`);
        // Answered before the Rflush.
        const at = replies.indexOf(reply.split(" ").slice(0, 2).join(" "));
        assert(at < replies.indexOf("Rflush 9"));
      }
      assert(replies.includes("Rflush 9"), replies.join());
      if (manner !== "ignores") assert(!happened, replies.join());
      await client.quiet();
      // The number is as the replies say.
      const stat = await client.rpc(T.stat(7, fid));
      if (name !== "Tcreate") {
        assertEquals(stat.type, happened ? "Rstat" : "Rerror");
      } else {
        assert(stat.type === "Rstat");
        assertEquals(stat.stat.name, happened ? "n" : "/");
        assertEquals(scene.toy.root.members.has("n"), happened);
      }
    });
  }
}

const neverAborted = new AbortController().signal;

test("serve() leaves no trace of a listing that was flushed", async () => {
  const gates: Gate[] = [];
  await using scene = await serveToy({
    readdir: async ({ node }) => {
      const gate = new Gate();
      gates.push(gate);
      await gate.passed;
      return [...node.members.values()].map((member) => ({
        stat: statOf(member),
      }));
    },
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.open(1, 1), "Ropen 1 0");
  client.send(T.read(2, 1, 0, 60));
  await client.quiet();
  await client.ask(T.flush(3, 2), "Rflush 3");
  client.send(T.read(4, 1, 0, 60));
  await client.quiet();
  gates[1].open();
  const reply = await client.next();
  assert(reply.type === "Rread" && reply.data.length > 0);
  // The result of the flushed request does not matter.
  gates[0].open();
  await nextTask();
  const offset = reply.data.length;
  const second = await client.rpc(T.read(5, 1, offset, 60));
  assert(second.type === "Rread", "the listing goes on");
  assert(second.data.length > 0);
  const third = await client.rpc(T.read(6, 1, offset + second.data.length));
  assert(third.type === "Rread");
  assertEquals(third.data.length, 0);
});

test("serve() refuses a tag that is outstanding, and goes on with the first", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(
    T.read(7, 1),
    T.stat(7, 0),
    T.walk(7, 0, 9),
    T.write(8, 1, "x"),
    T.clunk(8, 0),
  );
  await client.expect(
    "Rerror 7 duplicate tag",
    "Rerror 7 duplicate tag",
    "Rerror 8 duplicate tag",
  );
  await client.ask(T.stat(9, 9), "Rerror 9 fid unknown or out of range");
  await client.ask(T.stat(9, 0), "Rstat 9 /");
  blocked.gate.open();
  await client.expectSome("Rread 7 alpha", "Rwrite 8 1");
  await client.ask(T.stat(7, 0), "Rstat 7 /");
});

test("serve() takes a request that waits in a queue for outstanding", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(T.wstat(1, 1), T.read(2, 1), T.stat(2, 0));
  await client.expect("Rerror 2 duplicate tag");
  blocked.gate.open();
  await client.expect("Rwstat 1", "Rread 2 alpha");
});

test("serve() takes NOTAG as any other tag", async () => {
  const blocked = new Blocked("ignores");
  await using scene = await serveToy(blocked.handler);
  const { client } = scene;
  await openA(scene);
  client.send(T.read(NOTAG, 1), T.stat(NOTAG, 0));
  await client.expect("Rerror 65535 duplicate tag");
  blocked.gate.open();
  await client.expect("Rread 65535 alpha");
  await client.ask(T.stat(NOTAG, 0), "Rstat 65535 /");
});

test("serve() frees a tag before the reply can be seen", async () => {
  const [near, far] = pair();
  const client = new WireClient(near);
  // Sends the next request inside the write of the reply.
  let again = 0;
  const served = serve(
    onWrite(far, () => {
      if (again-- > 0) client.send(T.stat(1, 0));
    }),
    new MemoryFs(),
  );
  await client.start();
  again = 50;
  client.send(T.stat(1, 0));
  for (let i = 0; i < 51; i++) await client.expect("Rstat 1 /");
  client.close();
  await soon(served);
});

test("serve() sends no reply twice when flushes and answers meet", async () => {
  const gates = Array.from({ length: 64 }, () => new Gate());
  await using scene = await serveToy({
    read: async (_fid, { offset }, { signal }) => {
      if (offset % 2) void signal;
      await gates[offset].passed;
      return bytes(`${offset}`);
    },
  });
  const { client } = scene;
  await openA(scene);
  client.send(...gates.map((_, i) => T.read(i, 1, i)));
  await client.quiet();
  client.send(...gates.map((_, i) => T.flush(100 + i, i)));
  for (const gate of gates) gate.open();
  const replies: string[] = [];
  while (replies.filter((reply) => reply.startsWith("Rflush")).length < 64) {
    const { type, tag } = await client.next();
    replies.push(`${type} ${tag}`);
  }
  await client.quiet();
  assertEquals(new Set(replies).size, replies.length);
  for (let i = 0; i < 64; i++) {
    const read = replies.indexOf(`Rread ${i}`);
    assert(read < replies.indexOf(`Rflush ${100 + i}`), `late reply to ${i}`);
  }
});

test("serve() goes on when a handler's flush() throws", async () => {
  const blocked = new Blocked("honours");
  await using scene = await serveToy({
    ...blocked.handler,
    flush: () => {
      throw new Error("no luck");
    },
  });
  const { client } = scene;
  await openA(scene);
  client.send(T.read(7, 1));
  await client.quiet();
  await client.ask(T.flush(8, 7), "Rflush 8");
  assertEquals(scene.takeErrors(), ["no luck"]);
  client.send(T.read(7, 1));
  await client.quiet();
  client.close();
  await soon(scene.served);
  assertEquals(scene.takeErrors(), ["no luck"]);
  assertEquals(scene.takeLog().sort(), ["clunk 0", "clunk 1", "disconnect"]);
});

test("a walk that is given up between two names asks for no further one", async () => {
  const gate = new Gate();
  const asked: string[] = [];
  await using scene = await serveToy((toy) => ({
    walk: async (node, name) => {
      asked.push(name);
      await gate.passed;
      return node.members.get(name) ?? toy.root.members.get(name);
    },
  }));
  const { client } = scene;
  client.send(T.walk(1, 0, 5, "d", "x"));
  await client.ask(T.flush(2, 1), "Rflush 2");
  await client.ask(T.clunk(3, 0), "Rclunk 3");
  gate.open();
  await client.quiet();
  assertEquals(asked, ["d"]);
});

test("a read that is given up while its file is opened asks for no data", async () => {
  const gate = new Gate();
  let reads = 0;
  await using scene = await serveToy({
    open: () => gate.passed,
    read: () => {
      reads++;
      return new Uint8Array(0);
    },
  }, { implicitOpen: true });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  client.send(T.read(1, 1), T.flush(2, 1), T.clunk(3, 1));
  await client.quiet(); // The fid is not free until the open is done.
  gate.open();
  await client.expect("Rflush 2", "Rclunk 3");
  assertEquals(reads, 0);
});

test("a remove that fails after its flush is answered: the fid is gone", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    remove: async () => {
      await gate.passed;
      throw new NinePError("permission denied");
    },
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  client.send(T.remove(7, 1), T.flush(8, 7));
  await client.quiet();
  gate.open();
  await client.expect("Rerror 7 permission denied", "Rflush 8");
  await client.ask(T.stat(9, 1), "Rerror 9 fid unknown or out of range");
});

test("the tag of a Tflush that waits is outstanding", async () => {
  const gate = new Gate();
  await using scene = await serveToy({ wstat: () => gate.passed });
  const { client } = scene;
  client.send(T.wstat(7, 0), T.flush(8, 7));
  await client.ask(T.stat(8, 0), "Rerror 8 duplicate tag");
  gate.open();
  await client.expect("Rwstat 7", "Rflush 8");
});
