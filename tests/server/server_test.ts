// listen() and serve(): addresses, ends, signals, several clients.
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { ORCLOSE, ORDWR, Plan9Exit, ProtocolError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { listen, serve, type Server } from "../../server.ts";
import { type Connection, dial, pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { nextTask, serveToy, Toy, untilAborted } from "./toy.ts";
import { bytes, soon, T, WireClient } from "./wire_client.ts";

const LOOPBACK = "tcp://127.0.0.1:0";

function tree(): MemoryFs {
  return new MemoryFs({ motd: "hello" }, { mode: 0o777 });
}

async function connect(server: Server): Promise<WireClient> {
  return new WireClient(await dial(server.addr));
}

test("listen() takes port 0, and says which one it is", async () => {
  await using server = await listen(LOOPBACK, tree());
  assertMatch(server.addr, /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
  using client = await connect(server);
  await client.start();
  client.send(T.walk(1, 0, 1, "motd"), T.open(2, 1), T.read(3, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1", "Rread 3 hello");
});

// P-01.
test("listen() takes the ways to write an address", async () => {
  for (const address of ["tcp!127.0.0.1!0", "127.0.0.1:0", LOOPBACK]) {
    await using server = await listen(address, tree());
    using client = await connect(server);
    await client.start();
  }
});

test("listen() says what is wrong with an address", async () => {
  await assertRejects(() => listen("gopher://x", tree()), TypeError, "gopher");
  await using server = await listen(LOOPBACK, tree());
  const error = await assertRejects(
    () => listen(server.addr, tree()),
    ProtocolError,
    `Cannot listen on "${server.addr}": address already in use`,
  );
  assertEquals(error.code, "EADDRINUSE");
});

test("listen() refuses an msize that is out of range", async () => {
  for (const msize of [0, 255, NaN, 2 ** 32]) {
    const listening = listen(LOOPBACK, tree(), { msize });
    await assertRejects(
      () => listening.then((server) => server.close()),
      RangeError,
    );
  }
});

test("listen() serves two clients, each with fids and tags of its own", async () => {
  await using server = await listen(LOOPBACK, tree());
  using first = await connect(server);
  using second = await connect(server);
  await first.start(8192, "ann");
  await second.ask(T.stat(1, 0), "Rerror 1 protocol botch");
  await second.start(4096, "bob");
  await first.ask(T.walk(1, 0, 1, "motd"), "Rwalk 1 1");
  await second.ask(T.stat(1, 1), "Rerror 1 fid unknown or out of range");
  await second.ask(T.walk(1, 0, 1), "Rwalk 1");
  await first.ask(T.stat(1, 1), "Rstat 1 motd");
  await second.ask(T.stat(1, 1), "Rstat 1 /");
  first.send(T.walk(2, 0, 2), T.create(3, 2, "made", 0o666, ORDWR));
  await first.expect("Rwalk 2", "Rcreate 3 2");
  await second.ask(T.walk(2, 0, 2, "made"), "Rwalk 2 2");
  await second.ask(T.version(), "Rversion 65535 8192 9P2000");
  await first.ask(T.write(4, 2, "still here"), "Rwrite 4 10");
});

test("listen() does not let one client's tags touch another's", async () => {
  const toy = new Toy();
  const signals: AbortSignal[] = [];
  await using server = await listen(LOOPBACK, {
    ...toy.handler,
    read: (_fid, _request, { signal }) => {
      signals.push(signal);
      return untilAborted(signal);
    },
  });
  using first = await connect(server);
  using second = await connect(server);
  for (const client of [first, second]) await client.start();
  first.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1));
  await first.expect("Rwalk 1 1", "Ropen 2 1");
  await first.quiet();
  await second.ask(T.flush(4, 3), "Rflush 4");
  await second.ask(T.stat(3, 0), "Rstat 3 /");
  assertEquals(signals.map(({ aborted }) => aborted), [false]);
  await first.ask(T.flush(4, 3), "Rflush 4");
});

test("Server: close() ends all connections, and is done when they are", async () => {
  const toy = new Toy();
  const server = await listen(LOOPBACK, {
    ...toy.handler,
    read: (_fid, _request, { signal }) => untilAborted(signal),
    disconnect: async () => {
      await nextTask();
      toy.log.push("disconnect");
    },
  });
  using first = await connect(server);
  using second = await connect(server);
  for (const client of [first, second]) await client.start();
  first.send(
    T.walk(1, 0, 1, "a"),
    T.open(2, 1, ORDWR | ORCLOSE),
    T.read(3, 1),
  );
  await first.expect("Rwalk 1 1", "Ropen 2 1");
  await first.quiet();
  await soon(server.close());
  assertEquals(toy.log.toSorted(), [
    "clunk 0",
    "clunk 0",
    "clunk 1",
    "disconnect",
    "disconnect",
    "flush",
    "remove 1",
  ]);
  await first.end();
  await second.end();
  await soon(server.finished);
});

test("Server: close() may be called twice, at once and later", async () => {
  const server = await listen(LOOPBACK, tree());
  using client = await connect(server);
  await client.start();
  await soon(Promise.all([server.close(), server.close()]));
  await soon(server.close());
  await soon(server.finished);
  await client.end();
  // The port is free.
  await assertRejects(() => dial(server.addr), ProtocolError);
  await using again = await listen(server.addr, tree());
  assertEquals(again.addr, server.addr);
});

// P-03, P-14.
test("Server: a signal stops it", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const server = await listen(LOOPBACK, tree(), { signal });
  using client = await connect(server);
  await client.start();
  controller.abort();
  await soon(server.finished);
  await client.end();
});

test("listen() rejects with the reason of a signal that is aborted already", async () => {
  const reason = new Error("changed my mind");
  const signal = AbortSignal.abort(reason);
  const error = await assertRejects(() => listen(LOOPBACK, tree(), { signal }));
  assertStrictEquals(error, reason);
});

test("listen() heeds a signal that is aborted while it begins", async () => {
  const controller = new AbortController();
  const listening = listen(LOOPBACK, tree(), { signal: controller.signal });
  controller.abort();
  // Either way nothing goes on listening.
  await listening.then((server) => soon(server.finished), () => {});
});

// P-14.
test("Server: finished waits while it listens", async () => {
  const server = await listen(LOOPBACK, tree());
  let finished = false;
  server.finished.then(() => finished = true);
  await nextTask();
  assert(!finished);
  await soon(server.close());
  assert(finished);
});

test("Server goes on when a client breaks the rules, or vanishes", async () => {
  const errors: unknown[] = [];
  await using server = await listen(LOOPBACK, tree(), {
    onError: (error) => errors.push(error),
  });
  using good = await connect(server);
  await good.start();
  using bad = await connect(server);
  bad.raw("0300000000");
  await bad.end();
  assert(errors[0] instanceof ProtocolError);
  using gone = await connect(server);
  await gone.start();
  gone.send(T.walk(1, 0, 1), T.create(2, 1, "scratch", 0o666, ORCLOSE));
  await gone.expect("Rwalk 1", "Rcreate 2 2");
  await good.ask(T.walk(1, 0, 1, "scratch"), "Rwalk 1 2");
  gone.close();
  // ORCLOSE has its effect, soon.
  for (let i = 0;; i++) {
    const reply = await good.rpc(T.walk(2, 0, 2, "scratch"));
    if (reply.type === "Rerror") break;
    assert(i < 1000);
    await good.ask(T.clunk(2, 2), "Rclunk 2");
  }
});

// P-02.
test("serve() resolves when the client closes", async () => {
  const [near, far] = pair();
  const served = serve(far, tree());
  const client = new WireClient(near);
  await client.start();
  client.close();
  await soon(served);
});

test("serve() answers what a client sent before it closed its direction", async () => {
  await using scene = await serveToy();
  const { client } = scene;
  client.send(T.stat(1, 0), T.walk(2, 0, 1, "d"));
  await client.closeWrite();
  await client.expect("Rstat 1 /", "Rwalk 2 2");
  await client.end();
});

test("serve() stops at its signal, now or before", async () => {
  for (const early of [true, false]) {
    const controller = new AbortController();
    const [near, far] = pair();
    using client = new WireClient(near);
    if (early) controller.abort();
    const served = serve(far, tree(), { signal: controller.signal });
    if (!early) {
      await client.start();
      controller.abort();
    }
    await client.end();
    await soon(served);
  }
});

test("serve() rejects with a RangeError for an msize out of range", async () => {
  const [near, far] = pair();
  await assertRejects(() => serve(far, tree(), { msize: 100 }), RangeError);
  near.close();
  far.close();
});

test("serve() takes a handler as well as a tree", async () => {
  for (const served of [tree(), tree().handler]) {
    const [near, far] = pair();
    using client = new WireClient(near);
    const done = serve(far, served);
    await client.start();
    await client.ask(T.walk(1, 0, 1, "motd"), "Rwalk 1 1");
    client.close();
    await soon(done);
  }
});

// P-02, C-48.
test("serve() works over plain streams, without the fast path", async () => {
  const [near, far] = pair();
  const streams: Connection = {
    peer: "streams",
    readable: far.readable,
    writable: far.writable,
    close: () => far.close(),
  };
  const peers: string[] = [];
  const served = serve(streams, {
    ...new Toy().handler,
    disconnect: ({ peer }) => {
      peers.push(peer);
    },
  });
  using client = new WireClient(near);
  await client.start();
  client.send(T.walk(1, 0, 1, "a"), T.open(2, 1), T.read(3, 1));
  await client.expect("Rwalk 1 1", "Ropen 2 1", "Rread 3 alpha");
  client.close();
  await soon(served);
  assertEquals(peers, ["streams"]);
});

test("serve() tells of a connection that dies", async () => {
  const errors: unknown[] = [];
  const [near, far] = pair();
  const dying: Connection = {
    peer: "dying",
    readable: far.readable,
    writable: far.writable,
    read: () => Promise.reject(new ProtocolError("the line is dead")),
    write: () => undefined,
    close: () => far.close(),
  };
  await soon(serve(dying, tree(), { onError: (error) => errors.push(error) }));
  assertEquals(errors.map(String), ["ProtocolError: the line is dead"]);
  near.close();
});

test("serve() ends when a write fails", async () => {
  const [near, far] = pair();
  using client = new WireClient(near);
  const errors: unknown[] = [];
  let broken = false;
  const served = serve(
    {
      peer: "half",
      readable: far.readable,
      writable: far.writable,
      read: (buffer) => far.read!(buffer), // A pair has the fast path.
      write: (data) =>
        broken
          ? Promise.reject(new ProtocolError("broken pipe"))
          : far.write!(data),
      close: () => far.close(),
    },
    tree(),
    { onError: (error) => errors.push(error) },
  );
  await client.start();
  broken = true;
  client.send(T.stat(1, 0));
  await client.end();
  await soon(served);
  assertEquals(errors.map(String), ["ProtocolError: broken pipe"]);
});

test("serve() carries a large file over TCP in one piece", async () => {
  const fs = tree();
  const data = Uint8Array.from({ length: 3_000_000 }, (_, i) => i * 31 >> 3);
  fs.writeFile("big", data, { mode: 0o666 });
  await using server = await listen(LOOPBACK, fs);
  using client = await connect(server);
  await client.start(2 ** 20);
  client.send(T.walk(1, 0, 1, "big"), T.open(2, 1, ORDWR));
  await client.expect("Rwalk 1 2", "Ropen 2 2");
  const piece = 1_000_000;
  client.send(
    ...[0, 1, 2, 3].map((i) => T.read(10 + i, 1, i * piece, piece)),
  );
  for (let i = 0; i < 3; i++) {
    const reply = await client.next();
    assert(reply.type === "Rread");
    assertEquals(reply.data, data.slice(i * piece, (i + 1) * piece));
  }
  await client.expect("Rread 13");
  await client.ask(T.write(20, 1, bytes("end"), 3_000_000), "Rwrite 20 3");
});

test("serve() sends the reply of an exit over TCP before it ends the connection", async () => {
  const fs = tree();
  fs.register("now", () => {
    throw new Plan9Exit("bye");
  });
  fs.register("later", async () => {
    await nextTask();
    throw new Plan9Exit("bye");
  });
  await using server = await listen(LOOPBACK, fs);
  for (const name of ["now", "later"]) {
    using client = await connect(server);
    await client.start();
    client.send(T.walk(1, 0, 1, name), T.call(2, 1));
    assertEquals((await client.next()).type, "Rwalk");
    const reply = await client.next();
    assert(reply.type === "Rerror");
    assertEquals(JSON.parse(reply.ename).class, "Plan9Exit");
    await client.end();
  }
});
