// Fids that the client keeps, and the loss of their files: fid() and the
// methods
// of proxies.
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import { Home, run, stage, welcome } from "./reconnecting.ts";
import {
  qid,
  type Reply,
  type Scene,
  sent,
  settled,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import { type Client, connect } from "../../client.ts";
import { FunctionError, NinePError, QTDIR } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

interface Api {
  f(): Promise<number>;
}

const text = new TextEncoder();
const walked: Reply = { type: "Rwalk", wqid: [qid(1)] };

function rcall(value: number): Reply {
  return { type: "Rcall", err: 0, text: "", data: text.encode(`${value}`) };
}

/** Serves a tree for a while, and checks that closing the client clunks all. */
async function withTree(
  fs: MemoryFs,
  work: (client: Client) => Promise<void>,
): Promise<void> {
  const [near, far] = pair();
  const served = serve(far, fs);
  {
    await using client = await connect(near);
    await work(client);
  }
  await served;
}

/** Makes a proxy method whose file is already walked to: fid 1. */
async function method(scene: Scene): Promise<Api> {
  const api = await scene.client.proxy<Api>("f", { methods: ["f"] });
  const calling = api.f();
  await walkTo(scene);
  await scene.server.exchange("Tcall", { fid: 1 }, rcall(1));
  assertEquals(await calling, 1);
  return api;
}

// Paths that lead elsewhere.

test("fid() walks again behind rename(); the fid before it stays with its file", async () => {
  await withTree(
    new MemoryFs({ a: "old", ab: "" }, { uid: "none" }),
    async (client) => {
      const before = await client.protocol.fid("a");
      const other = await client.protocol.fid("ab");
      await client.rename("a", "b");
      await client.writeTextFile("a", "new one");
      const after = await client.protocol.fid("a");
      assertEquals((await client.stat(after)).length, 7);
      assertEquals((await client.stat(before)).name, "b");
      // It can be clunked without an effect on the other fid.
      await client.protocol.clunk(before);
      assertEquals(await client.protocol.fid("a"), after);
      assertEquals(await client.protocol.fid("ab"), other);
    },
  );
});

test("fid() walks again below a directory that rename() or wstat() moves", async () => {
  const renames: ((client: Client) => Promise<void>)[] = [
    (client) => client.rename("d", "e"),
    (client) => client.wstat("d", { name: "e" }),
    async (client) =>
      client.wstat(await client.protocol.fid("d"), { name: "e" }),
  ];
  for (const rename of renames) {
    const fs = new MemoryFs({ d: { x: { f: "old" } }, dx: { f: "" } }, {
      uid: "none",
    });
    await withTree(fs, async (client) => {
      await client.chdir("d");
      const before = await client.protocol.fid("x/f");
      const other = await client.protocol.fid("/dx/f");
      await client.chdir("/");
      await rename(client);
      await client.mkdir("d/x", { recursive: true });
      await client.writeTextFile("d/x/f", "new one");
      const after = await client.protocol.fid("d/x/f");
      assertEquals((await client.stat(after)).length, 7);
      assertEquals((await client.stat(before)).length, 3);
      assertEquals(await client.protocol.fid("dx/f"), other);
    });
  }
});

test("fid() walks again behind remove(), also below a directory", async () => {
  const removes: ((client: Client) => Promise<void>)[] = [
    (client) => client.remove("d", { recursive: true }),
    async (client) => {
      await client.remove("d/f");
      await client.remove("d");
    },
    async (client) => {
      const fid = await client.protocol.fid("d");
      await client.remove(fid, { recursive: true });
    },
  ];
  for (const remove of removes) {
    await withTree(
      new MemoryFs({ d: { f: "old" } }, { uid: "none" }),
      async (client) => {
        await client.protocol.fid("d/f");
        await remove(client);
        await client.mkdir("d");
        await client.writeTextFile("d/f", "new one");
        const { length } = await client.stat(await client.protocol.fid("d/f"));
        assertEquals(length, 7);
      },
    );
  }
});

test("fid() of a walk that rename() overtakes is not kept", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const keeping = client.protocol.fid("a");
  const walk = await server.expect("Twalk", { newfid: 1 });
  const renaming = client.rename("a", "b");
  await walkTo(scene, 2);
  await server.exchange("Twstat", { fid: 2 }, { type: "Rwstat" });
  await renaming;
  await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
  server.answer(walk, walked);
  assertEquals(await keeping, 1);
  const again = client.protocol.fid("a");
  await walkTo(scene, 2);
  assertEquals(await again, 2);
});

test("proxy(): a fid that no caller has is clunked when its path leads elsewhere", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const api = await method(scene);
  const renaming = client.rename("f", "g");
  await walkTo(scene, 2);
  await server.exchange("Twstat", { fid: 2 }, { type: "Rwstat" });
  const clunks = [await server.expect("Tclunk"), await server.expect("Tclunk")];
  for (const clunk of clunks) server.answer(clunk, { type: "Rclunk" });
  assertEquals(clunks.map(({ fid }) => fid).sort(), [1, 2]);
  await renaming;
  await settled(scene);
  const calling = api.f();
  await walkTo(scene);
  await server.exchange("Tcall", { fid: 1 }, rcall(2));
  assertEquals(await calling, 2);
});

test("proxy(): a fid whose path leads elsewhere is clunked behind the calls on it", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const api = await method(scene);
  const calling = api.f();
  const call = await server.expect("Tcall", { fid: 1 });
  const removing = client.remove("f");
  await walkTo(scene, 2);
  await server.exchange("Tremove", { fid: 2 }, { type: "Rremove" });
  await removing;
  await settled(scene); // No Tclunk is sent before this point.
  server.answer(call, rcall(3));
  assertEquals(await calling, 3);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
});

test("proxy(): a file that is removed and made again is called", async () => {
  const fs = new MemoryFs({ d: {} }, { uid: "none" });
  fs.register("d/f", () => 1);
  await withTree(fs, async (client) => {
    const api = await client.proxy<Api>("d");
    assertEquals(await api.f(), 1);
    await client.remove("d", { recursive: true });
    await assertRejects(() => api.f(), NinePError, "does not exist");
    await client.mkdir("d");
    fs.register("d/f", () => 2);
    assertEquals(await api.f(), 2);
  });
});

// Fids that the server no longer accepts.

test("proxy(): a Tcall of a removed file is not repeated, the next call walks again", async () => {
  await using scene = await start();
  const { server } = scene;
  const api = await method(scene);
  const failing = assertRejects(
    () => api.f(),
    NinePError,
    'Cannot call "f": file has been removed',
  );
  server.refuse(await server.expect("Tcall"), "file has been removed");
  await failing;
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await settled(scene);
  const calling = api.f();
  await walkTo(scene);
  await server.exchange("Tcall", { fid: 1 }, rcall(2));
  assertEquals(await calling, 2);
});

test("proxy(): what is refused before anything is called is repeated, once", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const api = await client.proxy<Api>("f", { methods: ["f"] });
  const first = api.f();
  await walkTo(scene);
  server.refuse(await server.expect("Tcall"), "file has been removed");
  await assertRejects(() => first, NinePError);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  const again = api.f();
  for (let i = 0; i < 2; i++) {
    server.refuse(await server.expect("Twalk"), "file has been removed");
  }
  await assertRejects(() => again, NinePError, "file has been removed");
  await settled(scene);
});

test("proxy(): what a function says of other files is not about its own", async () => {
  await using scene = await start();
  const { server } = scene;
  const api = await method(scene);
  const envelopes = [
    { class: "OSError", argv: [116, "Stale file handle"], str: "stale" },
    { class: "Error", argv: [], str: "file has been removed" },
  ];
  for (const envelope of envelopes) {
    const failing = assertRejects(() => api.f(), FunctionError);
    const call = await server.expect("Tcall", { fid: 1 });
    server.refuse(call, JSON.stringify(envelope));
    await failing;
  }
  await settled(scene); // No clunk and no further call is sent before this point.
  const calling = api.f();
  await server.exchange("Tcall", { fid: 1 }, rcall(2));
  assertEquals(await calling, 2);
});

/** The error by which a server refuses to call a function that was removed. */
const REMOVED = JSON.stringify({
  class: "StaleFileError",
  argv: [116, "file has been removed"],
  str: "file has been removed",
});
const UNKNOWN = JSON.stringify({
  class: "OSError",
  argv: [9, "fid unknown or out of range"],
  str: "fid unknown or out of range",
});

test("proxy(): the client walks once more for a removed function, and calls it once", async () => {
  await using scene = await start();
  const { server } = scene;
  const api = await method(scene);
  const calling = api.f();
  server.refuse(await server.expect("Tcall", { fid: 1 }), REMOVED);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await walkTo(scene, 2);
  await server.exchange("Tcall", { fid: 2 }, rcall(2));
  assertEquals(await calling, 2);
  const failing = assertRejects(() => api.f(), NinePError, "does not exist");
  server.refuse(await server.expect("Tcall", { fid: 2 }), REMOVED);
  await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
  server.refuse(await server.expect("Twalk"), "file does not exist");
  await failing;
});

test("proxy(): the client does not walk for ever for a function that is removed again and again", async () => {
  await using scene = await start();
  const { server } = scene;
  const api = await method(scene);
  const failing = assertRejects(
    () => api.f(),
    FunctionError,
    'Cannot call "f": file has been removed',
  );
  server.refuse(await server.expect("Tcall", { fid: 1 }), REMOVED);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await walkTo(scene, 2);
  server.refuse(await server.expect("Tcall", { fid: 2 }), REMOVED);
  await failing;
  await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
});

test("proxy(): a fid that the server does not have is walked to again, when a Tstat proves it", async () => {
  await using scene = await start();
  const { server } = scene;
  const api = await method(scene);
  const calling = api.f();
  server.refuse(await server.expect("Tcall", { fid: 1 }), UNKNOWN);
  const probe = await server.expect("Tstat", { fid: 1 });
  server.refuse(probe, "fid unknown or out of range");
  const clunk = await server.expect("Tclunk", { fid: 1 });
  server.refuse(clunk, "fid unknown or out of range");
  await walkTo(scene, 2);
  await server.exchange("Tcall", { fid: 2 }, rcall(2));
  assertEquals(await calling, 2);
  // A function throws the same text about a fid of its own: the client must not
  // call it again.
  const failing = assertRejects(() => api.f(), FunctionError, "fid unknown");
  server.refuse(await server.expect("Tcall", { fid: 2 }), UNKNOWN);
  await server.exchange("Tstat", { fid: 2 }, {
    type: "Rstat",
    stat: stat("f"),
  });
  await failing;
  await settled(scene);
});

test("fid() walks again when a call of the fid says that its function was removed", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const keeping = client.protocol.fid("f");
  await walkTo(scene);
  const fid = await keeping;
  const failing = assertRejects(() => client.call(fid), FunctionError);
  server.refuse(await server.expect("Tcall"), REMOVED);
  await failing;
  const again = client.protocol.fid("f");
  await walkTo(scene, 2);
  assertEquals(await again, 2);
});

test("fid() walks again when a call on the fid says that its file is gone", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const keeping = client.protocol.fid("f");
  await walkTo(scene);
  const fid = await keeping;
  const failing = assertRejects(() => client.stat(fid), NinePError);
  server.refuse(await server.expect("Tstat"), "file has been removed");
  await failing;
  const again = client.protocol.fid("f");
  await walkTo(scene, 2);
  assertEquals(await again, 2);
  // The number is the caller's until he gives it back.
  const clunking = client.protocol.clunk(fid);
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  await clunking;
  assertEquals(await client.protocol.fid("f"), 2);
  assertEquals(sent(scene), ["Twalk", "Tstat", "Twalk", "Tclunk"]);
});

test("proxy(): its methods live through a reconnect to other files", async () => {
  const fs = new MemoryFs({}, { uid: "none" });
  fs.register("f", () => 1);
  await using home = await Home.open(fs);
  const api = await home.client.proxy<Api>("/");
  assertEquals(await api.f(), 1);
  const call = await home.noticed();
  fs.remove("f");
  fs.register("f", () => 2);
  home.answer(call);
  assertEquals(await api.f(), 2);
  // The remaining fid has one of the numbers 1 and 2.
  const free = [
    home.client.protocol.allocFid(),
    home.client.protocol.allocFid(),
  ];
  assertEquals(free[1], 3, "one fid stays");
  for (const fid of free) home.client.protocol.releaseFid(fid);
});

test("proxy(): behind a reconnect one walk and one Tcall replace the fid that is lost", async () => {
  await using on = await stage();
  const api = await on.client.proxy<Api>("f", { methods: ["f"] });
  const first = api.f();
  await on.server.exchange("Twalk", { newfid: 1 }, walked);
  await on.server.exchange("Tcall", { fid: 1 }, rcall(1));
  assertEquals(await first, 1);
  on.server.close();
  const { server, root } = await welcome(on);
  await server.exchange("Twalk", { fid: root, newfid: 0 }, {
    type: "Rwalk",
    wqid: [],
  });
  const other: Reply = { type: "Rwalk", wqid: [qid(9)] };
  await server.exchange("Twalk", { fid: root, newfid: 1 }, other);
  for (let i = 0; i < 2; i++) {
    await server.exchange("Tclunk", {}, { type: "Rclunk" });
  }
  const calls = [api.f(), api.f()];
  await server.exchange("Twalk", { fid: 0, wname: ["f"] }, other);
  await server.exchange("Tcall", {}, rcall(2));
  await server.exchange("Tcall", {}, rcall(3));
  assertEquals(await Promise.all(calls), [2, 3]);
  run(server);
});

test("proxy(): its methods live through version()", async () => {
  const fs = new MemoryFs({ d: {} }, { uid: "none" });
  fs.register("d/f", () => 1);
  await withTree(fs, async (client) => {
    const api = await client.proxy<Api>("d");
    assertEquals(await api.f(), 1);
    await client.version();
    assertEquals(await api.f(), 1);
  });
});

test("proxy() of a tree that was attached is void behind version()", async () => {
  const fs = new MemoryFs({}, { uid: "none" });
  fs.register("f", () => 1);
  await withTree(fs, async (client) => {
    const tree = await client.attach();
    const api = await tree.proxy<Api>("/");
    await client.version();
    await assertRejects(() => api.f(), DOMException, "started anew");
  });
});

// The end of a tree.

test("close() of a tree clunks a fid whose path leads elsewhere, and the walk to one", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const attaching = client.attach();
  await server.exchange("Tattach", { fid: 1 }, {
    type: "Rattach",
    qid: qid(0, QTDIR),
  });
  const tree = await attaching;
  const keeping = tree.protocol.fid("a");
  await server.exchange("Twalk", { fid: 1, newfid: 2 }, walked);
  await keeping;
  const late = tree.protocol.fid("a/b");
  const walk = await server.expect("Twalk", { newfid: 3 });
  const renaming = tree.rename("a", "c");
  await server.exchange("Twalk", { fid: 1, newfid: 4 }, walked);
  await server.exchange("Twstat", { fid: 4 }, { type: "Rwstat" });
  await renaming;
  await server.exchange("Tclunk", { fid: 4 }, { type: "Rclunk" });
  const failing = assertRejects(() => late, DOMException, "was closed");
  const closing = tree.close();
  const flush = await server.expect("Tflush", { oldtag: walk.tag });
  server.answer(walk, { type: "Rwalk", wqid: [qid(1), qid(2)] });
  server.answer(flush, { type: "Rflush" });
  for (const fid of [1, 2, 3]) {
    await server.exchange("Tclunk", { fid }, { type: "Rclunk" });
  }
  await closing;
  await failing;
  assertEquals([...server.fids], [0]);
});
