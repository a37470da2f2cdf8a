// The life of fids: the requests that make and end them, and the order of the
// requests of one fid. semantics.md 2 to 4, 7.4 to 7.10.
import { assert, assertEquals } from "@std/assert";
import {
  DMDIR,
  NinePError,
  NOFID,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OTRUNC,
  OWRITE,
} from "../../codec.ts";
import { test } from "../harness.ts";
import { Gate, serveToy, type ToyScene } from "./toy.ts";
import { soon, T } from "./wire_client.ts";

const UNKNOWN = "fid unknown or out of range";
const IN_USE = "fid already in use";

/**
 * Runs a test with a handler that answers at once, and with a handler that
 * answers later.
 */
function both(name: string, fn: (scene: ToyScene) => Promise<void>): void {
  for (const async of [false, true]) {
    test(`${name}: handler answers ${async ? "later" : "at once"}`, async () => {
      await using scene = await serveToy({}, { async });
      await fn(scene);
    });
  }
}

both("serve() refuses fids that do not exist", async ({ client }) => {
  for (const fid of [1, 2 ** 31, NOFID]) {
    for (
      const request of [
        T.walk(1, fid, 5),
        T.walk(1, fid, fid),
        T.open(1, fid),
        T.create(1, fid, "n"),
        T.read(1, fid),
        T.write(1, fid, "x"),
        T.clunk(1, fid),
        T.remove(1, fid),
        T.stat(1, fid),
        T.wstat(1, fid),
      ]
    ) await client.ask(request, `Rerror 1 ${UNKNOWN}`);
    const reply = await client.rpc(T.call(1, fid));
    assert(reply.type === "Rerror");
    assertEquals(JSON.parse(reply.ename).str, UNKNOWN);
  }
});

both("serve() does not let NOFID be born", async ({ client }) => {
  for (const request of [T.walk(1, 0, NOFID), T.attach(1, NOFID)]) {
    assertEquals((await client.rpc(request)).type, "Rerror");
  }
  await client.ask(T.stat(1, NOFID), `Rerror 1 ${UNKNOWN}`);
});

both(
  "serve() refuses a fid that is in use, and leaves it alone",
  async ({ client }) => {
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.walk(1, 0, 1, "d"), `Rerror 1 ${IN_USE}`);
    await client.ask(T.walk(1, 0, 1), `Rerror 1 ${IN_USE}`);
    await client.ask(T.attach(1, 1), `Rerror 1 ${IN_USE}`);
    await client.ask(T.attach(1, 0), `Rerror 1 ${IN_USE}`);
    await client.ask(T.stat(1, 1), "Rstat 1 a");
    await client.ask(T.stat(1, 0), "Rstat 1 /");
  },
);

both(
  "serve() bears newfid when all names are found, and only then",
  async ({ client }) => {
    for (
      const [names, reply] of [
        [[], "Rwalk 1"],
        [["a"], "Rwalk 1 1"],
        [["d", "x"], "Rwalk 1 2,3"],
        [["d", "..", "a"], "Rwalk 1 2,0,1"],
        [["..", ".."], "Rwalk 1 0,0"],
      ] as const
    ) {
      await client.ask(T.walk(1, 0, 7, ...names), reply);
      await client.ask(T.clunk(1, 7), "Rclunk 1");
    }
    for (
      const [names, reply] of [
        [["no"], "Rerror 1 file does not exist"],
        [["no", "a"], "Rerror 1 file does not exist"],
        [["d", "no"], "Rwalk 1 2"],
        [["d", "x", "no"], "Rwalk 1 2,3"],
        [["a", ".."], "Rwalk 1 1"],
        [["d", "no", "x"], "Rwalk 1 2"],
        [[""], "Rerror 1 file does not exist"],
        [["."], "Rerror 1 file does not exist"],
        [["/"], "Rerror 1 file does not exist"],
        [["d/x"], "Rerror 1 file does not exist"],
        [["d", ""], "Rwalk 1 2"],
        [["d", "."], "Rwalk 1 2"],
      ] as const
    ) {
      await client.ask(T.walk(1, 0, 7, ...names), reply);
      await client.ask(T.clunk(1, 7), `Rerror 1 ${UNKNOWN}`);
      await client.ask(T.walk(1, 0, 0, ...names), reply);
      await client.ask(T.stat(1, 0), "Rstat 1 /");
    }
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.walk(1, 1, 7, "x"), "Rerror 1 not a directory");
    await client.ask(T.walk(1, 1, 7, ".."), "Rerror 1 not a directory");
    await client.ask(T.clunk(1, 7), `Rerror 1 ${UNKNOWN}`);
    await client.ask(T.walk(1, 1, 7), "Rwalk 1");
  },
);

both("serve() moves a fid that walks in place", async ({ client }) => {
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.walk(1, 1, 1, "d", "x"), "Rwalk 1 2,3");
  await client.ask(T.stat(1, 1), "Rstat 1 x");
  await client.ask(T.walk(1, 1, 1), "Rwalk 1");
  await client.ask(T.stat(1, 1), "Rstat 1 x");
});

both("serve() walks from an open fid to another only", async ({ client }) => {
  await client.ask(T.walk(1, 0, 1, "d"), "Rwalk 1 2");
  await client.ask(T.open(1, 1), "Ropen 1 2");
  await client.ask(T.walk(1, 1, 1, "x"), "Rerror 1 bad use of fid");
  await client.ask(T.walk(1, 1, 1), "Rerror 1 bad use of fid");
  await client.ask(T.walk(1, 1, 2, "x"), "Rwalk 1 3");
  await client.ask(T.walk(1, 1, 3), "Rwalk 1");
  await client.ask(T.read(1, 3), "Rerror 1 bad use of fid");
  await client.ask(T.open(1, 3), "Ropen 1 2");
});

test("serve() refuses a walk from an open fid when it is strict", async () => {
  await using scene = await serveToy({}, { strict: true });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "d"), "Rwalk 1 2");
  await client.ask(T.open(1, 1), "Ropen 1 2");
  await client.ask(T.walk(1, 1, 2, "x"), "Rerror 1 bad use of fid");
  await client.ask(T.stat(1, 2), `Rerror 1 ${UNKNOWN}`);
});

both("serve() opens a fid once", async ({ client }) => {
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, 0), "Ropen 1 1");
  await client.ask(T.open(1, 1, 1), "Rerror 1 file already open for I/O");
  await client.ask(T.create(1, 1, "n"), "Rerror 1 file already open for I/O");
  await client.ask(T.read(1, 1), "Rread 1 alpha");
  await client.ask(T.write(1, 1, "x"), "Rerror 1 bad use of fid");
});

both("serve() lets a fid do what its mode allows", async ({ client }) => {
  for (
    const [mode, reads, writes] of [
      [-1, false, false],
      [0, true, false],
      [OWRITE, false, true],
      [ORDWR, true, true],
      [OEXEC, true, false],
      [OTRUNC, true, false],
      [OWRITE | OTRUNC, false, true],
      [0x20, true, false],
      [0x80 | OWRITE, false, true],
    ] as const
  ) {
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    if (mode >= 0) await client.ask(T.open(1, 1, mode), "Ropen 1 1");
    const no = "Rerror 1 bad use of fid";
    await client.ask(T.read(1, 1, 99), reads ? "Rread 1" : no);
    await client.ask(T.write(1, 1, "alpha"), writes ? "Rwrite 1 5" : no);
    await client.ask(T.clunk(1, 1), "Rclunk 1");
  }
});

both("serve() refuses illegal modes", async ({ client }) => {
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  for (const mode of [4, 8, 0x0c, 0x07, 0xff]) {
    await client.ask(T.open(1, 1, mode), "Rerror 1 illegal mode");
    await client.ask(T.create(1, 0, "n", 0o644, mode), "Rerror 1 illegal mode");
  }
  await client.ask(T.open(1, 1), "Ropen 1 1");
});

test("serve() refuses the bits of other dialects when it is strict", async () => {
  await using scene = await serveToy({}, { strict: true });
  const { client } = scene;
  for (const mode of [0x20, 0x80]) {
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, 1, mode), "Rerror 1 illegal mode");
    await client.ask(T.clunk(1, 1), "Rclunk 1");
  }
});

both("serve() only reads directories", async ({ client }) => {
  await client.ask(T.walk(1, 0, 1, "d"), "Rwalk 1 2");
  for (const mode of [OWRITE, ORDWR, OTRUNC, ORCLOSE, OEXEC | OTRUNC]) {
    await client.ask(T.open(1, 1, mode), "Rerror 1 Is a directory");
  }
  await client.ask(T.open(1, 1, OEXEC), "Ropen 1 2");
  await client.ask(T.write(1, 1, "x"), "Rerror 1 bad use of fid");
  assertEquals((await client.rpc(T.read(1, 1))).type, "Rread");
});

both("serve() checks a create before the handler", async (scene) => {
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.create(1, 1, "n"), "Rerror 1 not a directory");
  for (const name of ["", ".", "..", "/", "n/", "/n", "n/m"]) {
    await client.ask(T.create(1, 0, name), "Rerror 1 illegal name");
  }
  const long = "é".repeat(127);
  await client.ask(T.create(1, 0, `${long}nn`), "Rerror 1 File name too long");
  for (const bit of [0x10000000, 0x08000000, 0x02000000, 0x00080000, 0o1000]) {
    await client.ask(T.create(1, 0, "n", bit | 0o644), "Rerror 1 illegal mode");
  }
  for (const mode of [OWRITE, ORDWR, OTRUNC, ORCLOSE]) {
    const create = T.create(1, 0, "n", DMDIR + 0o755, mode);
    await client.ask(create, "Rerror 1 Is a directory");
  }
  assertEquals(scene.takeLog(), []);
  await client.ask(T.walk(1, 0, 2), "Rwalk 1");
  await client.ask(T.create(1, 2, `${long}n`), "Rcreate 1 4");
  await client.ask(T.write(1, 2, "x"), "Rwrite 1 1");
  await client.ask(T.walk(1, 0, 3), "Rwalk 1");
  await client.ask(T.create(1, 3, "dir", DMDIR + 0o755, 0), "Rcreate 1 5");
  await client.ask(T.read(1, 3), "Rread 1");
});

both(
  "serve() leaves a fid as it was after an error of open and create",
  async ({ client }) => {
    await client.ask(T.create(1, 0, "a"), "Rerror 1 file already exists");
    await client.ask(T.stat(1, 0), "Rstat 1 /");
    await client.ask(T.read(1, 0), "Rerror 1 bad use of fid");
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, 1, 4), "Rerror 1 illegal mode");
    await client.ask(T.walk(1, 1, 1), "Rwalk 1");
    await client.ask(T.open(1, 1), "Ropen 1 1");
  },
);

both("serve() frees a number with the reply to its clunk", async (scene) => {
  const { client } = scene;
  for (let i = 0; i < 3; i++) {
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.clunk(1, 1), "Rclunk 1");
    await client.ask(T.clunk(1, 1), `Rerror 1 ${UNKNOWN}`);
    await client.ask(T.remove(1, 1), `Rerror 1 ${UNKNOWN}`);
  }
  assertEquals(scene.takeLog(), ["clunk 1", "clunk 1", "clunk 1"]);
});

both(
  "serve() removes, and frees the fid whether that works or not",
  async (scene) => {
    const { client } = scene;
    await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
    await client.ask(T.walk(1, 0, 2), "Rwalk 1");
    await client.ask(T.remove(1, 1), "Rremove 1");
    await client.ask(T.remove(1, 2), "Rerror 1 cannot remove root");
    for (const fid of [1, 2]) {
      await client.ask(T.stat(1, fid), `Rerror 1 ${UNKNOWN}`);
    }
    assertEquals(scene.takeLog(), ["remove 1", "clunk 1", "clunk 2"]);
  },
);

both("serve() removes at the clunk of an ORCLOSE fid", async (scene) => {
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 1, ORCLOSE), "Ropen 1 1");
  await client.ask(T.clunk(1, 1), "Rclunk 1");
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  await client.ask(T.create(1, 1, "n", 0o644, ORCLOSE | OWRITE), "Rcreate 1 4");
  await client.ask(T.remove(1, 1), "Rremove 1");
  assertEquals(
    scene.takeLog(),
    ["remove 1", "clunk 1", "create n", "remove 1", "clunk 1"],
  );
});

both(
  "serve() answers a pipeline on a fid that is not born yet",
  async ({ client }) => {
    client.send(
      T.walk(1, 0, 1, "a"),
      T.open(2, 1),
      T.read(3, 1),
      T.stat(4, 1),
      T.walk(5, 1, 2),
      T.clunk(6, 1),
      T.stat(7, 1),
      T.stat(8, 2),
    );
    const replies = [];
    for (let i = 0; i < 8; i++) replies.push(await client.next());
    assertEquals(
      replies.sort((a, b) => a.tag - b.tag).map(({ type }) => type),
      [
        "Rwalk",
        "Ropen",
        "Rread",
        "Rstat",
        "Rwalk",
        "Rclunk",
        "Rerror",
        "Rstat",
      ],
    );
  },
);

both(
  "serve() refuses what was meant for a fid whose walk failed",
  async ({ client }) => {
    for (const names of [["no"], ["d", "no"]]) {
      client.send(
        T.walk(1, 0, 1, ...names),
        T.open(2, 1),
        T.read(3, 1),
        T.walk(4, 1, 2),
        T.stat(5, 2),
        T.clunk(6, 1),
      );
      await client.expectSome(
        names.length > 1 ? "Rwalk 1 2" : "Rerror 1 file does not exist",
        ...[2, 3, 4, 5, 6].map((tag) => `Rerror ${tag} ${UNKNOWN}`),
      );
      // Both numbers are free.
      await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
      await client.ask(T.walk(1, 0, 2, "a"), "Rwalk 1 1");
      client.send(T.clunk(1, 1), T.clunk(2, 2));
      await client.expectSome("Rclunk 1", "Rclunk 2");
    }
  },
);

both(
  "serve() refuses what was meant for a fid whose attach failed",
  async (scene) => {
    const { client } = scene;
    client.send(T.attach(1, 5), T.walk(2, 5, 6, "a"), T.stat(3, 6));
    await client.expectSome("Rattach 1 0", "Rwalk 2 1", "Rstat 3 a");
    client.send(T.attach(1, 7, "u", "", 99), T.walk(2, 7, 8), T.clunk(3, 7));
    const replies = [];
    for (let i = 0; i < 3; i++) replies.push((await client.next()).type);
    assertEquals(replies, ["Rerror", "Rerror", "Rerror"]);
    await client.ask(T.attach(1, 7), "Rattach 1 0");
  },
);

test("serve() carries a pipeline of 1000 walks, each from the one before", async () => {
  const gate = new Gate();
  await using scene = await serveToy({
    walk: async (node, name) => {
      await gate.passed;
      return node.members.get(name);
    },
  });
  const { client } = scene;
  client.send(
    T.walk(0, 0, 1, "d"),
    ...Array.from({ length: 1000 }, (_, i) => T.walk(i + 1, i + 1, i + 2)),
  );
  gate.open();
  const types = new Set<string>();
  for (let i = 0; i < 1001; i++) types.add((await client.next()).type);
  assertEquals([...types], ["Rwalk"]);
  await client.ask(T.stat(1, 1001), "Rstat 1 d");
});

test("serve() has the effects of one fid's requests in order of arrival", async () => {
  const gate = new Gate();
  const log: string[] = [];
  await using scene = await serveToy((toy) => ({
    open: async () => {
      log.push("open");
      await gate.passed;
      log.push("opened");
    },
    read: ({ node }) => {
      log.push("read");
      return node.content;
    },
    write: ({ node }, { data }) => {
      log.push("write");
      node.content = data.slice();
    },
    clunk: () => {
      log.push("clunk");
    },
    stat: toy.handler.stat,
  }));
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  client.send(
    T.open(2, 1, ORDWR),
    T.read(3, 1),
    T.write(4, 1, "beta"),
    T.read(5, 1),
    T.clunk(6, 1),
    T.read(7, 1),
  );
  // The open is not answered, and other requests go on.
  await client.ask(T.stat(8, 0), "Rstat 8 /");
  await client.ask(T.walk(9, 0, 2, "d"), "Rwalk 9 2");
  assertEquals(log, ["open"]);
  gate.open();
  await client.expect(
    "Ropen 2 1",
    "Rread 3 alpha",
    "Rwrite 4 4",
    "Rread 5 beta",
    "Rclunk 6",
    `Rerror 7 ${UNKNOWN}`,
  );
  assertEquals(
    log,
    ["open", "opened", "read", "write", "read", "clunk"],
  );
});

test("serve() holds a clunk and a remove back until reads and writes are done", async () => {
  const gates = [new Gate(), new Gate(), new Gate()];
  await using scene = await serveToy({
    read: async ({ node }, { offset }) => {
      await gates[offset].passed;
      return node.content;
    },
    write: async () => {
      await gates[2].passed;
    },
  });
  const { client } = scene;
  for (
    const [end, request] of [["Rclunk", T.clunk], [
      "Rremove",
      T.remove,
    ]] as const
  ) {
    for (let i = 0; i < 3; i++) gates[i] = new Gate();
    client.send(
      T.walk(1, 0, 1, "a"),
      T.open(2, 1, ORDWR),
      T.read(3, 1, 0),
      T.read(4, 1, 1),
      T.write(5, 1, "x"),
      request(6, 1),
    );
    await client.expect("Rwalk 1 1", "Ropen 2 1");
    gates[1].open();
    await client.expect("Rread 4 alpha");
    gates[2].open();
    await client.expect("Rwrite 5 1");
    await client.quiet();
    assertEquals(scene.takeLog(), []);
    gates[0].open();
    await client.expect("Rread 3 alpha", `${end} 6`);
    scene.takeLog();
  }
});

// C-50.
test("serve() runs reads and writes of one fid side by side", async () => {
  const gates = [new Gate(), new Gate()];
  await using scene = await serveToy({
    read: async ({ node }, { offset }) => {
      await gates[offset].passed;
      return node.content;
    },
  });
  const { client } = scene;
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1, ORDWR));
  await client.expect("Rwalk 1 1", "Ropen 2 1");
  client.send(
    T.read(3, 1, 0),
    T.read(4, 1, 1),
    T.stat(5, 1),
    T.write(6, 1, "b"),
  );
  await client.expect("Rstat 5 a", "Rwrite 6 1");
  gates[1].open();
  await client.expect("Rread 4 b");
  gates[0].open();
  await client.expect("Rread 3 b");
});

test("serve() keeps a fid that the handler still works with apart from a new one of its number", async () => {
  const gate = new Gate();
  await using scene = await serveToy((toy) => ({
    clunk: async ({ fid, node }) => {
      if (fid !== 1 || node !== toy.a) return;
      await gate.passed;
      toy.log.push(`clunk ${node.name}`);
    },
  }));
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "a"), "Rwalk 1 1");
  client.send(T.clunk(2, 1));
  await client.quiet();
  await client.ask(T.stat(3, 1), `Rerror 3 ${UNKNOWN}`);
  // A client should wait for the Rclunk. A client that does not wait does no
  // harm.
  const walk = await client.rpc(T.walk(4, 0, 1, "d"));
  assert(walk.type === "Rwalk" || walk.type === "Rerror");
  gate.open();
  await client.expect("Rclunk 2");
  const stat = await client.rpc(T.stat(5, 1));
  assertEquals(stat.type, walk.type === "Rwalk" ? "Rstat" : "Rerror");
  assertEquals(scene.takeLog(), ["clunk a"]);
});

both("serve() gives each attach fids of its own", async ({ client }) => {
  await client.ask(T.attach(1, 10, "ann", "x"), "Rattach 1 0");
  await client.ask(T.attach(1, 20, "bob", ""), "Rattach 1 0");
  await client.ask(T.walk(1, 10, 11, "d"), "Rwalk 1 2");
  await client.ask(T.clunk(1, 10), "Rclunk 1");
  await client.ask(T.stat(1, 20), "Rstat 1 /");
  await client.ask(T.stat(1, 11), "Rstat 1 d");
});

test("serve() tells the handler the user of the attach, through walks", async () => {
  const users: string[] = [];
  await using scene = await serveToy({
    open: (fid) => {
      users.push(`${fid.uname} ${fid.aname}`);
    },
  });
  const { client } = scene;
  await client.ask(T.attach(1, 10, "ann", "x"), "Rattach 1 0");
  await client.ask(T.attach(1, 20, "bob", ""), "Rattach 1 0");
  await client.ask(T.walk(1, 10, 11, "d"), "Rwalk 1 2");
  await client.ask(T.walk(1, 11, 12, "x"), "Rwalk 1 3");
  await client.ask(T.walk(1, 20, 21, "a"), "Rwalk 1 1");
  await client.ask(T.open(1, 12), "Ropen 1 3");
  await client.ask(T.open(1, 21), "Ropen 1 1");
  assertEquals(users, ["ann x", "bob "]);
});

test("serve() forgets where a directory was read when the fid walks on", async () => {
  await using scene = await serveToy({}, { implicitOpen: true });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1), "Rwalk 1");
  const reply = await client.rpc(T.read(1, 1, 0, 60));
  assert(reply.type === "Rread" && reply.data.length > 0);
  await client.ask(T.walk(1, 1, 1, "d"), "Rwalk 1 2");
  await client.ask(
    T.read(1, 1, reply.data.length, 60),
    "Rerror 1 bad offset in directory read",
  );
});

test("serve() bounds the fids of a connection", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  const MAX = 65536;
  client.send(
    ...Array.from({ length: MAX - 1 }, (_, i) => T.walk(1, 0, i + 1)),
  );
  for (let i = 1; i < MAX; i++) {
    assertEquals((await client.next()).type, "Rwalk");
  }
  await client.ask(T.walk(1, 0, MAX), "Rerror 1 Too many open files");
  await client.ask(T.attach(1, MAX), "Rerror 1 Too many open files");
  await client.ask(T.stat(1, MAX), `Rerror 1 ${UNKNOWN}`);
  await client.ask(T.clunk(1, 7), "Rclunk 1");
  await client.ask(T.walk(1, 0, MAX), "Rwalk 1");
  client.close();
  await soon(scene.served);
  assertEquals(scene.takeLog().length, MAX + 2);
});

test("serve() passes on an error of a later name as the end of the walk", async () => {
  await using scene = await serveToy({
    walk: (node, name) => {
      if (name === "secret") throw new NinePError("permission denied");
      return node.members.get(name);
    },
  });
  const { client } = scene;
  await client.ask(T.walk(1, 0, 1, "secret"), "Rerror 1 permission denied");
  await client.ask(T.walk(1, 0, 1, "d", "secret"), "Rwalk 1 2");
  await client.ask(T.stat(1, 1), `Rerror 1 ${UNKNOWN}`);
});
