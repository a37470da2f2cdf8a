// A RemoteFs whose far server dies: clear errors, no wait without an end, and
// with `reconnect` the same tree again.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Client, connect } from "../../../client.ts";
import { DMDIR, NinePError, ORDWR, OREAD } from "../../../codec.ts";
import { type CallContext, MemoryFs, RemoteFs } from "../../../fs/mod.ts";
import { type Servable, serve } from "../../../server.ts";
import { type Connection, pair } from "../../../transport.ts";
import { test } from "../../harness.ts";
import { again, Exchange } from "../../client/reconnecting.ts";
import { until } from "./remote_host.ts";
import { soon, T, WireClient } from "../../server/wire_client.ts";

const open = { mode: 0o777 };
const RESET = "Connection reset by peer";

interface Link extends AsyncDisposable {
  readonly between: Client;
  readonly tree: RemoteFs;
  readonly errors: unknown[];
  /** Ends the connection to the far server. */
  lose(): void;
  /** Takes the next connection of the client with a far tree. */
  restart(tree: Servable): Promise<void>;
  dial(): Promise<Client>;
  wire(): Promise<WireClient>;
}

/** A near server in front of a far one that can die. */
async function link(
  first: Servable,
  { reconnects = false, path = "/" } = {},
): Promise<Link> {
  const exchange = new Exchange();
  let far: Connection;
  const served: Promise<void>[] = [];
  const serveFar = (tree: Servable) => {
    const [here, there] = pair();
    far = there;
    served.push(serve(there, tree, { onError: () => {} }));
    return here;
  };
  const between = await connect(
    serveFar(first),
    reconnects ? again(exchange) : {},
  );
  const tree = new RemoteFs(between, { path });
  const errors: unknown[] = [];
  const clients: { close(): unknown }[] = [];
  const openNear = () => {
    const [near, end] = pair();
    const onError = (error: unknown) => errors.push(error);
    served.push(serve(end, tree, { onError }));
    return near;
  };
  return {
    between,
    tree,
    errors,
    lose: () => far.close(),
    async restart(tree) {
      const call = await exchange.call();
      call.resolve(serveFar(tree));
    },
    async dial() {
      const client = await connect(openNear());
      clients.push(client);
      return client;
    },
    async wire() {
      const client = new WireClient(openNear());
      clients.push(client);
      await client.start();
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client.close();
      await between.close();
      await soon(Promise.all(served));
      assertEquals(errors, [], "errors of the near server");
    },
  };
}

/** A tree whose file `event` never answers, with a signal for each read. */
function waiting(): { fs: MemoryFs; begun: () => number } {
  const fs = new MemoryFs({ motd: "hello\n", lib: { a: "", b: "" } }, open);
  fs.chmod("lib", 0o777);
  fs.chmod("motd", 0o666);
  let begun = 0;
  const never = ({ signal }: CallContext) => {
    begun++;
    return new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  };
  fs.register("event", never, { callOnRead: true, context: true });
  return { fs, begun: () => begun };
}

test("RemoteFs: the loss of the far server ends reads and calls that wait", async () => {
  const { fs, begun } = waiting();
  await using l = await link(fs);
  const near = await l.wire();
  await near.rpc(T.walk(1, 0, 1, "event"));
  await near.rpc(T.open(1, 1, ORDWR));
  near.send(T.read(2, 1), T.call(3, 1));
  await until(() => begun() === 2);
  l.lose();
  await near.expectSome(`Rerror 2 ${RESET}`, `Rerror 3 ${errorOf(RESET)}`);
  // The near session goes on, and says so for all that comes.
  await near.ask(T.stat(1, 0), `Rerror 1 ${RESET}`);
  await near.ask(T.walk(1, 0, 2, "motd"), `Rerror 1 ${RESET}`);
  await near.ask(T.walk(1, 0, 2), "Rwalk 1");
  await near.ask(T.open(1, 2), `Rerror 1 ${RESET}`);
  await near.ask(T.clunk(1, 2), "Rclunk 1");
  await near.ask(T.clunk(1, 1), `Rerror 1 ${RESET}`);
  const error = await assertRejects(() => l.dial(), NinePError);
  assertEquals([error.ename, error.code], [RESET, "ECONNRESET"]);
});

/** The JSON of an error of the system in the answer to a call. */
function errorOf(text: string): string {
  return JSON.stringify({ class: "OSError", argv: [104, text], str: text });
}

test("RemoteFs: the loss of the far server in a write and in a listing", async () => {
  const { fs } = waiting();
  await using l = await link(fs);
  const near = await l.wire();
  await near.rpc(T.walk(1, 0, 1, "motd"));
  await near.rpc(T.open(1, 1, ORDWR));
  await near.rpc(T.walk(1, 0, 2, "lib"));
  await near.rpc(T.open(1, 2, OREAD));
  l.lose();
  near.send(T.write(2, 1, "text"), T.read(3, 2));
  await near.expectSome(`Rerror 2 ${RESET}`, `Rerror 3 ${RESET}`);
  near.close();
});

test("RemoteFs: two near clients get the error of the loss, a third finds the file", async () => {
  const { fs, begun } = waiting();
  await using l = await link(fs);
  const [one, other] = [await l.dial(), await l.dial()];
  const reads = [one.readFile("event"), other.readFile("event")]
    .map((read) => assertRejects(() => read, NinePError, RESET));
  await until(() => begun() === 2);
  l.lose();
  await soon(Promise.all(reads));
  await assertRejects(() => one.stat("motd"), NinePError, RESET);
});

test("RemoteFs: with reconnect, paths and fids work again", async () => {
  const { fs } = waiting();
  await using l = await link(fs, { reconnects: true });
  const near = await l.dial();
  const file = await near.open("motd");
  const fid = await near.protocol.walk("lib");
  l.lose();
  await l.restart(fs);
  assertEquals(await near.readTextFile("motd"), "hello\n");
  assertEquals((await near.stat(fid)).name, "lib");
  const buffer = new Uint8Array(10);
  assertEquals(await file.read(buffer), 6);
  await file.close();
  await near.protocol.clunk(fid);
  l.lose();
  await l.restart(fs);
  assertEquals(await near.readDirNames("lib"), ["a", "b"]);
});

test("RemoteFs: with reconnect, a read that waits goes on with the next connection", async () => {
  const { fs, begun } = waiting();
  await using l = await link(fs, { reconnects: true });
  const near = await l.dial();
  const read = near.readTextFile("event");
  await until(() => begun() === 1);
  l.lose();
  const next = new MemoryFs({ motd: "again\n" }, open);
  await l.restart(fs);
  await until(() => begun() === 2);
  l.lose();
  // The file is another one there.
  next.register("event", () => "now");
  await l.restart(next);
  const error = await assertRejects(() => soon(read), NinePError);
  assertEquals(error.ename, "Stale file handle");
});

for (const path of ["/", "lib"]) {
  test(`RemoteFs: after a restart with other files, a root at ${path} is found, other fids are stale`, async () => {
    const make = (text: string) => {
      const fs = new MemoryFs({ lib: { motd: text }, motd: text }, open);
      fs.chmod("lib", 0o777);
      return fs;
    };
    const second = make("second");
    await using l = await link(make("first"), { reconnects: true, path });
    const near = await l.wire();
    await near.rpc(T.walk(1, 0, 1, "motd"));
    await near.rpc(T.walk(1, 1, 2));
    await near.rpc(T.open(1, 2));
    l.lose();
    await l.restart(second);
    await near.ask(T.stat(1, 1), "Rerror 1 Stale file handle");
    await near.ask(T.read(1, 2), "Rerror 1 Stale file handle");
    await near.ask(T.stat(1, 0), "Rstat 1 /");
    const walked = await near.rpc(T.walk(1, 0, 3, "motd"));
    assertEquals(walked.type, "Rwalk");
    await near.rpc(T.open(1, 3));
    await near.ask(T.read(1, 3), "Rread 1 second");
    await near.ask(T.clunk(1, 2), "Rclunk 1");
    await near.ask(T.clunk(1, 1), "Rclunk 1");
    await near.rpc(T.walk(1, 0, 4));
    await near.rpc(T.create(1, 4, "new", DMDIR + 0o755, OREAD));
    await near.ask(T.clunk(1, 4), "Rclunk 1");
    await near.ask(T.clunk(1, 3), "Rclunk 1");
  });
}

test("RemoteFs: a near flush ends a wait for the next connection", async () => {
  const { fs } = waiting();
  await using l = await link(fs, { reconnects: true });
  const near = await l.wire();
  l.lose();
  near.send(T.stat(2, 0), T.flush(3, 2));
  await near.expect("Rflush 3");
  near.send(T.walk(4, 0, 1, "motd"));
  near.send(T.flush(5, 4));
  await near.expect("Rflush 5");
  await l.restart(fs);
  await near.ask(T.stat(2, 0), "Rstat 2 /");
});

test("RemoteFs: fids of before Client.version() are not those of other files", async () => {
  const fs = new MemoryFs({ a: "of a", b: "of b" }, open);
  await using l = await link(fs);
  const near = await l.wire();
  await near.rpc(T.walk(1, 0, 1, "a"));
  await near.rpc(T.walk(1, 1, 2));
  await near.rpc(T.open(1, 2));
  await l.between.version();
  // The same numbers, for other files.
  const fids = [];
  for (let i = 0; i < 5; i++) fids.push(await l.between.protocol.walk("b"));
  await near.ask(T.stat(1, 1), "Rerror 1 Stale file handle");
  await near.ask(T.read(1, 2), "Rerror 1 Stale file handle");
  await near.ask(T.remove(1, 1), "Rerror 1 Stale file handle");
  const walked = await near.rpc(T.walk(1, 0, 3, "a"));
  assertEquals(walked.type, "Rwalk", "the root is found again");
  await near.ask(T.stat(1, 3), "Rstat 1 a");
  await near.rpc(T.clunk(1, 2));
  for (const fid of fids) {
    assertEquals((await l.between.stat(fid)).name, "b");
    await l.between.protocol.clunk(fid);
  }
  assertEquals(fs.readDir("/").length, 2);
});

test("RemoteFs: a client that is closed ends the tree, not the near server", async () => {
  const { fs } = waiting();
  await using l = await link(fs);
  const near = await l.wire();
  await near.rpc(T.walk(1, 0, 1, "motd"));
  await l.between.close();
  await near.ask(T.stat(1, 1), `Rerror 1 ${RESET}`);
  await near.ask(T.clunk(1, 1), "Rclunk 1");
  await near.quiet();
  assert(l.between.closed !== undefined);
});

test("RemoteFs: an attach that never ends ends with its near client", async () => {
  const { fs } = waiting();
  await using l = await link(fs);
  const late = Promise.withResolvers<Client>();
  const attaching = Promise.withResolvers<void>();
  const tree = new RemoteFs(l.between, {
    attach: () => {
      attaching.resolve();
      return late.promise;
    },
  });
  const [near, end] = pair();
  const served = serve(end, tree);
  const wire = new WireClient(near);
  wire.send(T.version(), T.attach(0, 0));
  await attaching.promise;
  wire.close();
  await soon(served);
  const own = await l.between.attach();
  late.resolve(own);
  // A tree that comes too late is closed.
  await soon(assertRejects(async () => {
    while (true) await own.stat("/");
  }, Error));
});
