// connect() and disconnect() of a handler: which connections are served, and
// when disconnect() is called.

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { NinePError } from "../codec.ts";
import {
  type ErrorContext,
  type Handler,
  listen,
  type Node,
  serve,
  type ServeOptions,
} from "../server.ts";
import { type Connection, dial, pair } from "../transport.ts";
import { test } from "./harness.ts";
import { soon, T, WireClient } from "./wire_client.ts";

const root: Node = { qid: { type: 0x80, vers: 0, path: 0n } };

/** A handler of one empty directory, with hooks of its own. */
function handlerWith(hooks: Partial<Handler>): Handler {
  return {
    attach: () => root,
    walk: () => undefined,
    open: () => {},
    ...hooks,
  };
}

/** A client and a server with hooks. */
class Scene implements AsyncDisposable {
  readonly told: [unknown, ErrorContext][] = [];
  /** The end of the server. */
  readonly far: Connection;
  readonly client: WireClient;
  /** Ends the server. */
  readonly stop = new AbortController();
  readonly served: Promise<void>;

  constructor(hooks: Partial<Handler>, options: ServeOptions = {}) {
    const [near, far] = pair();
    this.far = far;
    this.client = new WireClient(near);
    this.served = serve(far, handlerWith(hooks), {
      onError: (error, context) => this.told.push([error, context]),
      signal: this.stop.signal,
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await soon(this.served);
  }
}

test("connect() is called before the first request, disconnect() after the last clunk", async () => {
  const log: string[] = [];
  const connections = new Set<Connection>();
  const scene = new Scene({
    connect: (connection) => {
      log.push("connect");
      connections.add(connection);
    },
    attach: (_fid, _request, { connection }) => {
      log.push("attach");
      connections.add(connection);
      return root;
    },
    clunk: async () => {
      await Promise.resolve();
      log.push("clunk");
    },
    disconnect: async (connection) => {
      connections.add(connection);
      log.push("disconnect");
      await Promise.resolve();
      log.push("disconnected");
    },
  });
  await scene.client.start();
  scene.client.close();
  await soon(scene.served);
  assertEquals(log, [
    "connect",
    "attach",
    "clunk",
    "disconnect",
    "disconnected",
  ]);
  assertEquals([...connections], [scene.far]);
  assertEquals(scene.told, []);
});

test("connect() that takes its time holds up the first request, not the bytes", async () => {
  const gate = Promise.withResolvers<void>();
  let attached = false;
  await using scene = new Scene({
    connect: () => gate.promise,
    attach: () => {
      attached = true;
      return root;
    },
  });
  const { client } = scene;
  client.send(T.version());
  client.send(T.attach(0, 0, "u"));
  await Promise.resolve();
  assert(!attached);
  gate.resolve();
  await client.expect("Rversion 65535 8192 9P2000");
  assertEquals((await client.next()).type, "Rattach");
});

for (const isLate of [false, true]) {
  const kind = isLate ? "rejects" : "throws";
  test(`connect() that ${kind} closes the connection; only a NinePError is not reported`, async () => {
    const errors: [error: unknown, isTold: boolean, expected?: true][] = [
      [new NinePError("permission denied"), false],
      [new Error("no database"), true],
      [Object.assign(new Error("x"), { code: "EACCES" }), true, true],
      [undefined, true],
    ];
    for (const [error, isTold, expected] of errors) {
      let ended = false;
      const scene = new Scene({
        connect: () => {
          if (isLate) return Promise.reject(error);
          throw error;
        },
        attach: () => {
          throw new Error("the connection was refused");
        },
        disconnect: () => {
          ended = true;
        },
      });
      scene.client.send(T.version());
      await scene.client.end();
      await soon(scene.served);
      assertEquals(scene.told.map(([told]) => told), isTold ? [error] : []);
      if (isTold) {
        const context = { peer: "pair", ...(expected && { expected }) };
        assertEquals(scene.told[0]?.[1], context);
      }
      assert(!ended, "disconnect() is for accepted connections");
    }
  });
}

test("connect() that never ends is given up after versionTimeout", async () => {
  let ended = false;
  const never = new Promise<void>(() => {});
  const scene = new Scene(
    { connect: () => never, disconnect: () => void (ended = true) },
    { versionTimeout: 20 },
  );
  scene.client.send(T.version());
  await scene.client.end();
  await soon(scene.served);
  assert(!ended);
});

test("connect() that never ends is given up when the client goes, or the server stops", async () => {
  for (const how of ["client", "server"]) {
    const never = new Promise<void>(() => {});
    const scene = new Scene({ connect: () => never }, { versionTimeout: 0 });
    scene.client.send(T.version());
    if (how === "client") scene.client.close();
    else scene.stop.abort();
    await soon(scene.served);
    assertEquals(scene.told, []);
    scene.client.close();
  }
});

test("connect() that accepts a connection too late is followed by disconnect(), once", async () => {
  const gate = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<Connection>();
  const late = new Error("late");
  const scene = new Scene({
    connect: () => gate.promise,
    attach: () => {
      throw new Error("the connection has ended");
    },
    disconnect: (connection) => {
      ended.resolve(connection);
      throw late;
    },
  });
  scene.client.close();
  await soon(scene.served);
  gate.resolve();
  assertStrictEquals(await soon(ended.promise), scene.far);
  await Promise.resolve();
  assertEquals(scene.told.map(([error]) => error), [late]);
});

test("connect() that refuses a connection too late is reported", async () => {
  const gate = Promise.withResolvers<void>();
  const told = Promise.withResolvers<unknown>();
  const late = new Error("late");
  const scene = new Scene(
    { connect: () => gate.promise },
    { onError: (error) => told.resolve(error) },
  );
  scene.client.close();
  await soon(scene.served);
  gate.reject(late);
  assertStrictEquals(await soon(told.promise), late);
});

test("a server that has stopped already asks no connect(), and no disconnect()", async () => {
  const log: string[] = [];
  const [, far] = pair();
  await soon(
    serve(
      far,
      handlerWith({
        connect: () => void log.push("connect"),
        disconnect: () => void log.push("disconnect"),
      }),
      { signal: AbortSignal.abort() },
    ),
  );
  assertEquals(log, []);
});

test("disconnect() that fails is reported, whatever its error", async () => {
  for (const error of [new Error("x"), new NinePError("permission denied")]) {
    for (const isLate of [false, true]) {
      const scene = new Scene({
        disconnect: () => {
          if (isLate) return Promise.reject(error);
          throw error;
        },
      });
      await scene.client.start();
      scene.client.close();
      await soon(scene.served);
      assertEquals(scene.told, [[error, { peer: "pair" }]]);
    }
  }
});

test("disconnect() that never ends does not hold up a server that stops", async () => {
  const called = Promise.withResolvers<void>();
  const scene = new Scene({
    disconnect: () => {
      called.resolve();
      return new Promise<void>(() => {});
    },
  }, { closeTimeout: 1 });
  await scene.client.start();
  scene.client.close();
  await soon(called.promise);
  scene.stop.abort();
  await soon(scene.served);
});

test("disconnect() is called, and awaited, although a request never ends", async () => {
  const gate = Promise.withResolvers<void>();
  const called = Promise.withResolvers<void>();
  const log: string[] = [];
  const scene = new Scene({
    stat: () => new Promise(() => {}),
    disconnect: async () => {
      called.resolve();
      await gate.promise;
      log.push("disconnected");
    },
  }, { closeTimeout: 5000 });
  await scene.client.start();
  scene.client.send(T.stat(1, 0));
  await scene.client.quiet();
  scene.client.close();
  await soon(called.promise);
  scene.stop.abort();
  void scene.served.then(() => log.push("served"));
  gate.resolve();
  await soon(scene.served);
  await Promise.resolve();
  assertEquals(log, ["disconnected", "served"]);
});

test("a connect() that waits holds up no other connection of a listener", async () => {
  const gate = Promise.withResolvers<void>();
  const remotes: unknown[] = [];
  const arrived = Promise.withResolvers<void>();
  const gone: unknown[] = [];
  let first = true;
  const server = await listen(
    "tcp://127.0.0.1:0",
    handlerWith({
      connect: ({ remote }) => {
        remotes.push(remote);
        arrived.resolve();
        if (!first) return;
        first = false;
        return gate.promise;
      },
      disconnect: ({ remote }) => void gone.push(remote),
    }),
  );
  const held = new WireClient(await dial(server.addr));
  held.send(T.version());
  await soon(arrived.promise);
  const other = new WireClient(await dial(server.addr));
  await other.start();
  for (const remote of remotes) {
    assert(typeof remote === "object" && remote !== null);
    assert("hostname" in remote && remote.hostname === "127.0.0.1");
  }
  gate.resolve();
  await held.expect("Rversion 65535 8192 9P2000");
  held.close();
  other.close();
  await soon(server.close());
  assertEquals(gone.length, 2);
  assertEquals(new Set(gone), new Set(remotes));
});

test("a listener refuses connections by their address, and goes on", async () => {
  const refused: string[] = [];
  let open = false;
  const server = await listen(
    "tcp://127.0.0.1:0",
    handlerWith({
      connect: ({ remote, peer }) => {
        if (open && remote?.scheme === "tcp") return;
        refused.push(peer);
        throw new NinePError("permission denied");
      },
    }),
  );
  for (let i = 0; i < 3; i++) {
    using client = new WireClient(await dial(server.addr));
    client.send(T.version());
    await client.end();
  }
  assertEquals(refused.length, 3);
  open = true;
  using client = new WireClient(await dial(server.addr));
  await client.start();
  client.close();
  await soon(server.close());
});
