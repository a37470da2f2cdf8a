// Tversion: the msize and the version, the end of an old session, and the
// length of replies. S17 to S26 of the conformance list.
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { NinePError, NOTAG, ORCLOSE } from "../../codec.ts";
import { test } from "../harness.ts";
import {
  Gate,
  later,
  nextTask,
  onWrite,
  serveToy,
  statOf,
  type Toy,
  ToyNode,
  untilAborted,
} from "./toy.ts";
import { bytes, soon, T } from "./wire_client.ts";

const MAX = 1024 * 1024 + 24;

for (
  const [asked, answered] of [
    ["9P2000", "9P2000"],
    ["9P2000.u", "9P2000"],
    ["9P2000.L", "9P2000"],
    ["9P2000.xyz", "9P2000"],
    ["9P2000.", "9P2000"],
    ["9P2000.u.more", "9P2000"],
    ["9P2001", "9P2000"],
    ["9P3000.L", "9P2000"],
    ["9P10000", "9P2000"],
    ["9P1999", "unknown"],
    ["9P1999.u", "unknown"],
    ["9P", "unknown"],
    ["9P.2000", "unknown"],
    ["9P2000u", "unknown"],
    ["9P2000 ", "unknown"],
    ["9p2000", "unknown"],
    ["x9P2000", "unknown"],
    ["foo", "unknown"],
    ["", "unknown"],
    [".", "unknown"],
  ]
) {
  // C-53.
  test(`serve() answers version "${asked}" with "${answered}"`, async () => {
    await using scene = await serveToy({}, { fresh: true });
    const { client } = scene;
    await client.ask(T.version(8192, asked), `Rversion 65535 8192 ${answered}`);
    await client.ask(
      T.attach(1, 0),
      answered === "unknown" ? "Rerror 1 protocol botch" : "Rattach 1 0",
    );
  });
}

// P-42.
test("serve() agrees on the smaller msize", async () => {
  await using scene = await serveToy({}, { fresh: true });
  const { client } = scene;
  for (const msize of [256, 257, 8192, MAX - 1, MAX]) {
    await client.ask(T.version(msize), `Rversion 65535 ${msize} 9P2000`);
  }
  for (const msize of [MAX + 1, 2 ** 31, 2 ** 32 - 1]) {
    await client.ask(T.version(msize), `Rversion 65535 ${MAX} 9P2000`);
  }
  await using small = await serveToy({}, { fresh: true, msize: 300 });
  await small.client.ask(T.version(8192), "Rversion 65535 300 9P2000");
  await small.client.ask(T.version(299), "Rversion 65535 299 9P2000");
});

test("serve() refuses an msize below 256, and has no session then", async () => {
  await using scene = await serveToy({}, { fresh: true });
  const { client } = scene;
  for (const msize of [0, 1, 24, 255]) {
    client.send(T.version(msize));
    assertEquals((await client.next()).type, "Rerror");
    await client.ask(T.attach(1, 0), "Rerror 1 protocol botch");
  }
  await client.start();
  // Also in the middle of a session, which ends with it.
  client.send(T.version(255));
  assertEquals((await client.next()).type, "Rerror");
  assertEquals(scene.takeLog(), ["clunk 0"]);
  await client.ask(T.stat(1, 0), "Rerror 1 protocol botch");
  await client.start();
});

test("serve() repeats the tag of a Tversion", async () => {
  await using scene = await serveToy({}, { fresh: true });
  for (const tag of [NOTAG, 0, 7]) {
    const version = T.version(8192, "9P2000", tag);
    await scene.client.ask(version, `Rversion ${tag} 8192 9P2000`);
  }
});

test("serve() ends a session at a version that it does not know", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  await client.ask(T.version(8192, "foo"), "Rversion 65535 8192 unknown");
  assertEquals(scene.takeLog(), ["clunk 0"]);
  await client.ask(T.stat(1, 0), "Rerror 1 protocol botch");
});

for (const async of [false, true]) {
  const how = async ? "later" : "at once";
  test(`serve() frees all fids at a Tversion: handler answers ${how}`, async () => {
    await using scene = await serveToy({}, { async });
    const { client } = scene;
    client.send(
      T.walk(1, 0, 1, "a"),
      T.walk(2, 0, 2, "d", "x"),
      T.open(3, 2, ORCLOSE),
    );
    await client.expectSome("Rwalk 1 1", "Rwalk 2 2,3", "Ropen 3 3");
    await client.ask(T.version(), "Rversion 65535 8192 9P2000");
    // Before the reply, with all that belongs to a clunk.
    assertEquals(
      scene.takeLog().sort(),
      ["clunk 0", "clunk 1", "clunk 2", "remove 2"],
    );
    for (const fid of [0, 1, 2]) {
      await client.ask(
        T.stat(1, fid),
        "Rerror 1 fid unknown or out of range",
      );
    }
    await client.ask(T.attach(1, 2), "Rattach 1 0");
    await client.ask(T.walk(1, 2, 0, "d", "x"), "Rwalk 1 2");
  });
}

test("serve() answers a Tversion when the fids are clunked, not before", async () => {
  const gate = new Gate();
  const log: string[] = [];
  await using scene = await serveToy({
    clunk: async () => {
      await gate.passed;
      log.push("clunked");
    },
  }, { wrap: (connection) => onWrite(connection, () => log.push("reply")) });
  log.length = 0;
  scene.client.send(T.version());
  await nextTask();
  gate.open();
  await scene.client.expect("Rversion 65535 8192 9P2000");
  assertEquals(log, ["clunked", "reply"]);
  await scene.client.ask(T.stat(1, 0), "Rerror 1 fid unknown or out of range");
});

test("serve() aborts what is outstanding at a Tversion; no late reply", async () => {
  const reading = new Gate();
  const signals: AbortSignal[] = [];
  await using scene = await serveToy({
    read: async (_fid, _request, { signal }) => {
      signals.push(signal);
      return await untilAborted(signal);
    },
    stat: async ({ node }) => {
      await reading.passed; // Ignores the signal.
      return statOf(node);
    },
    wstat: async () => await reading.passed,
  });
  const { client } = scene;
  client.send(
    T.walk(1, 0, 1, "a"),
    T.open(2, 1),
    T.walk(3, 0, 2, "a"),
    T.walk(3, 0, 3, "a"),
  );
  await client.expect("Rwalk 1 1", "Ropen 2 1", "Rwalk 3 1", "Rwalk 3 1");
  client.send(T.read(4, 1), T.stat(5, 2), T.clunk(6, 1), T.wstat(7, 3));
  await client.quiet();
  assert(!signals[0].aborted);
  client.send(T.version());
  // A handler that ignores the signal may delay the Rversion. Its answer is
  // dropped.
  reading.open();
  await client.expect("Rversion 65535 8192 9P2000");
  assert(signals[0].aborted);
  await client.ask(T.attach(4, 1), "Rattach 4 0");
  await client.quiet();
  assertEquals(
    scene.takeLog().filter((line) => line.startsWith("clunk")).sort(),
    ["clunk 0", "clunk 1", "clunk 2", "clunk 3"],
  );
});

test("serve() does not start requests that waited when their session ends", async () => {
  await using scene = await serveToy({
    read: () => new Promise(() => {}), // Ignores the signal.
  });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1), T.remove(4, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  client.send(T.version());
  await client.expect("Rversion 65535 8192 9P2000");
  assertEquals(
    scene.takeLog().filter((line) => line.startsWith("remove")),
    [],
  );
});

test("serve() forgets a walk and an attach that a Tversion overtakes", async () => {
  const gate = new Gate();
  await using scene = await serveToy((toy) => ({
    walk: async (node, name) => {
      await gate.passed;
      return node.members.get(name);
    },
    attach: async (_fid, { aname }) => {
      if (aname === "slow") await gate.passed;
      return toy.root;
    },
  }));
  const { client } = scene;
  client.send(
    T.walk(1, 0, 1, "a"),
    T.attach(2, 2, "u", "slow"),
    T.version(),
  );
  gate.open();
  await client.expect("Rversion 65535 8192 9P2000");
  await client.ask(T.attach(1, 0), "Rattach 1 0");
  for (const fid of [1, 2]) {
    await client.ask(T.stat(1, fid), "Rerror 1 fid unknown or out of range");
  }
});

test("serve() asks a handler's version() for the msize", async () => {
  const asked: [number, string][] = [];
  await using scene = await serveToy({
    version: (msize, version) => {
      asked.push([msize, version]);
      return 1000;
    },
  }, { fresh: true });
  const { client } = scene;
  await client.ask(T.version(8192), "Rversion 65535 1000 9P2000");
  await client.ask(T.version(500), "Rversion 65535 500 9P2000");
  assertEquals(asked, [[8192, "9P2000"], [500, "9P2000"]]);
});

for (const msize of [NaN, 0, 10, -1, 300.5]) {
  test(`serve() refuses a Tversion when version() gives ${msize}`, async () => {
    await using scene = await serveToy({ version: () => msize }, {
      fresh: true,
    });
    const { client } = scene;
    await client.ask(T.version(8192), "Rerror 65535 i/o error");
    await client.ask(T.attach(1, 0), "Rerror 1 protocol botch");
    assertEquals(scene.takeErrors().length, 1);
  });
}

test("serve() refuses a Tversion when version() throws", async () => {
  await using scene = await serveToy({
    version: () => {
      throw new NinePError("permission denied");
    },
  }, { fresh: true });
  const { client } = scene;
  await client.ask(T.version(8192), "Rerror 65535 permission denied");
  await client.ask(T.attach(1, 0), "Rerror 1 protocol botch");
});

test("serve() cuts reads to msize - 11", async () => {
  const content = new Uint8Array(10_000).fill(0x61);
  const counts: number[] = [];
  await using scene = await serveToy((toy) => {
    toy.a.content = content;
    return {
      read: ({ node }, { offset, count }) => {
        counts.push(count);
        return node.content.subarray(offset, offset + count);
      },
    };
  }, { clientMsize: 256 });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(2, 1), "Ropen 2 1");
  for (const count of [245, 246, 8192, 2 ** 32 - 1]) {
    await client.rpc(T.read(3, 1, 0, count));
    assertEquals(client.lastFrame.length, 256);
  }
  assertEquals(counts, [245, 245, 245, 245]);
  await client.ask(T.read(3, 1, 9_998, 8192), "Rread 3 aa");
});

test("serve() cuts error texts at 126 bytes, and at a character", async () => {
  const texts = ["e".repeat(300), "é".repeat(80), "x" + "😀".repeat(40)];
  await using scene = await serveToy({
    stat: () => {
      throw new NinePError(texts[0]);
    },
  }, { clientMsize: 256 });
  const { client } = scene;
  await client.ask(T.stat(1, 0), `Rerror 1 ${"e".repeat(126)}`);
  texts.shift();
  await client.ask(T.stat(1, 0), `Rerror 1 ${"é".repeat(63)}`);
  texts.shift();
  await client.ask(T.stat(1, 0), `Rerror 1 x${"😀".repeat(31)}`);
});

test("serve() cuts the message of JSON errors, so that they fit into msize", async () => {
  const message = '"é😀\\'.repeat(20_000);
  for (const clientMsize of [256, 8192, MAX]) {
    await using scene = await serveToy({
      call: () => {
        throw new NinePError(message);
      },
    }, { clientMsize });
    const { client } = scene;
    const reply = await client.rpc(T.call(1, 0));
    assert(reply.type === "Rerror");
    assertLessOrEqual(client.lastFrame.length, clientMsize);
    const { str } = JSON.parse(reply.ename);
    assert(str.length > 0 && message.startsWith(str));
  }
});

test("serve() refuses a stat that is larger than msize", async () => {
  await using scene = await serveToy((toy) => {
    new ToyNode("n".repeat(196), 9, "", toy.root); // 49 + 196 + 3 = 248
    new ToyNode("n".repeat(195), 10, "", toy.root);
    return {};
  }, { clientMsize: 256 });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "n".repeat(195)), "Rwalk 1 10");
  await client.ask(T.stat(2, 1), `Rstat 2 ${"n".repeat(195)}`);
  assertEquals(client.lastFrame.length, 256);
  await client.ask(T.walk(1, 0, 2, "n".repeat(196)), "Rwalk 1 9");
  assertEquals((await client.rpc(T.stat(2, 2))).type, "Rerror");
});

test("serve() refuses a stat record whose length 16 bits cannot say", async () => {
  // Records of 65,535 bytes, which is the most, and of one byte more.
  const names = [65_483, 65_484, 65_536, 70_000].map((n) => "n".repeat(n));
  await using scene = await serveToy({
    stat: ({ node }) => {
      const name = names.shift();
      return name === undefined ? statOf(node) : { ...statOf(node), name };
    },
  }, { clientMsize: MAX });
  const { client } = scene;
  assertEquals((await client.rpc(T.stat(1, 0))).type, "Rstat");
  while (names.length > 0) {
    assertEquals((await client.rpc(T.stat(1, 0))).type, "Rerror");
  }
  await client.ask(T.stat(1, 0), "Rstat 1 /");
  scene.takeErrors(); // The reference does not say whether this error of the handler is reported.
});

test("serve() answers 16 names with 16 qids at the least msize", async () => {
  await using scene = await serveToy({}, { clientMsize: 256 });
  const names = Array.from({ length: 16 }, (_, i) => i % 2 ? ".." : "d");
  const qids = names.map((name) => name === "d" ? 2 : 0).join();
  await scene.client.ask(T.walk(1, 0, 1, ...names), `Rwalk 1 ${qids}`);
});

test("serve() bounds iounit by msize", async () => {
  const iounits = [0, 100, 232, 233, 2 ** 32 - 1];
  await using scene = await serveToy({
    open: () => ({ iounit: iounits[0] }),
  }, { clientMsize: 256 });
  const { client } = scene;
  for (const expected of [0, 100, 232, 232, 232]) {
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    const reply = await client.rpc(T.open(2, 1));
    assert(reply.type === "Ropen");
    assertEquals(reply.iounit, expected);
    await client.ask(T.clunk(3, 1), "Rclunk 3");
    iounits.shift();
  }
});

test("serve() lists a directory at the least msize, each name once", async () => {
  for (const handler of [(h: Toy["handler"]) => h, later]) {
    await using scene = await serveToy((toy) => {
      for (let i = 0; i < 20; i++) new ToyNode(`name${i}`, 10 + i, "", toy.d);
      return handler(toy.handler);
    }, { clientMsize: 256 });
    const { client } = scene;
    client.send(T.walk(1, 0, 1, "d"), T.open(2, 1));
    await client.expect("Rwalk 1 2", "Ropen 2 2");
    let offset = 0;
    let text = "";
    while (true) {
      const reply = await client.rpc(T.read(3, 1, offset, 8192));
      assert(reply.type === "Rread");
      assertLessOrEqual(client.lastFrame.length, 256);
      if (reply.data.length === 0) break;
      offset += reply.data.length;
      text += new TextDecoder("latin1").decode(reply.data);
    }
    const names = [...text.matchAll(/name\d+/g)].map(([name]) => name);
    assertEquals(names, Array.from({ length: 20 }, (_, i) => `name${i}`));
  }
});

test("serve() closes the old session's fids once, however often Tversion comes", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  client.send(T.version(), T.version(), T.version());
  for (let i = 0; i < 3; i++) await client.expect("Rversion 65535 8192 9P2000");
  assertEquals(scene.takeLog(), ["clunk 0"]);
  client.close();
  await soon(scene.served);
  assertEquals(scene.takeLog(), ["disconnect"]);
});

test("serve() lets the data of an old session's write alone", async () => {
  const gate = new Gate();
  const seen: string[] = [];
  await using scene = await serveToy((toy) => ({
    write: async (_fid, { data }) => {
      await gate.passed;
      seen.push(new TextDecoder().decode(data));
    },
    attach: (_fid, { aname }) => {
      if (aname === "open") gate.open();
      return toy.root;
    },
  }));
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1, 1), T.write(3, 1, "first"));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  // Enough to write over the read buffer, if it were used again.
  client.send(
    ...Array.from(
      { length: 60 },
      (_, tag) => T.write(100 + tag, 0, bytes("-".repeat(200))),
    ),
  );
  for (let i = 0; i < 60; i++) await client.next();
  client.send(T.version());
  gate.open();
  await client.expect("Rversion 65535 8192 9P2000");
  await client.ask(T.attach(1, 0, "u", "open"), "Rattach 1 0");
  assertEquals(seen, ["first"]);
});
