// Error reports to the owner of a server, and their limit per second.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NinePError, ORCLOSE, OREAD, ProtocolError } from "../codec.ts";
import { type Client, connect } from "../client.ts";
import { MemoryFs } from "../fs/mod.ts";
import { type ErrorContext, listen, serve } from "../server.ts";
import { ErrorLog } from "../server/error_log.ts";
import { dial, pair } from "../transport.ts";
import { test } from "./harness.ts";
import { nextTask, Toy, type ToyHandler } from "./toy.ts";
import { soon, T, WireClient } from "./wire_client.ts";

/** Collects the output of the console until the collector is disposed. */
class Console implements Disposable {
  readonly lines: string[] = [];
  /** The second argument of each line. */
  readonly shown: unknown[] = [];
  readonly #error = console.error;
  #onLine: (() => void) | undefined;

  constructor() {
    console.error = (...args: unknown[]) => {
      this.lines.push(String(args[0]));
      this.shown.push(args[1]);
      this.#onLine?.();
    };
  }

  /** Waits for a line. */
  async until(pattern: RegExp): Promise<void> {
    while (!this.lines.some((line) => pattern.test(line))) {
      await soon(new Promise<void>((resolve) => this.#onLine = resolve));
    }
  }

  [Symbol.dispose](): void {
    console.error = this.#error;
  }
}

test("onError is not called for files that cannot be removed at the end of a connection", async () => {
  const errors: unknown[] = [];
  const fs = new MemoryFs({ f: "" }, { mode: 0o777 });
  const [near, far] = pair();
  const served = serve(far, fs, { onError: (error) => errors.push(error) });
  const client = new WireClient(near);
  await client.start();
  for (let fid = 1; fid <= 100; fid++) {
    assertEquals((await client.rpc(T.walk(1, 0, fid, "f"))).type, "Rwalk");
    const open = T.open(1, fid, OREAD | ORCLOSE);
    assertEquals((await client.rpc(open)).type, "Ropen");
  }
  client.close();
  await soon(served);
  assertEquals(errors, []);
  assertEquals(fs.find("f"), undefined);
});

test("serve() and listen() leave no timer of the log, and tell what was left out", async () => {
  const fs = new MemoryFs();
  fs.register("boom", () => fail("boom"));
  const fifteen = async (client: Client) => {
    for (let i = 0; i < 15; i++) await client.call("boom").catch(() => {});
    await client.close();
  };
  for (const kind of ["serve", "listen"]) {
    using log = new Console();
    if (kind === "serve") {
      const [near, far] = pair();
      const served = serve(far, fs);
      await fifteen(await connect(near));
      await soon(served);
    } else {
      const server = await listen("tcp://127.0.0.1:0", fs);
      await fifteen(await connect(server.addr));
      await soon(server.close());
    }
    assertEquals(log.lines.length, 11);
    assertEquals(log.lines[10], "9P server: 5 further errors left out");
  }
});

test("a failure to accept is logged without its stack, because Deno needs a file to show a stack", () => {
  using log = new Console();
  const message = 'Cannot accept on "tcp://127.0.0.1:1": too many open files';
  const error = new ProtocolError(message, { code: "EMFILE" });
  new ErrorLog().report(error, {});
  assertEquals(log.lines, ["9P server: error\n"]);
  assertEquals(log.shown, [message]);
});

/** Returns what onError gets for a handler while one client works with it. */
async function contextsOf(
  overrides: Partial<ToyHandler>,
  work: (client: WireClient) => Promise<void>,
): Promise<[message: string, context: ErrorContext][]> {
  const told: [string, ErrorContext][] = [];
  const toy = new Toy();
  const [near, far] = pair();
  const handler = { ...toy.handler, ...overrides };
  const served = serve(far, handler, {
    onError: (error, context) => {
      assert(error instanceof Error);
      told.push([error.message, context]);
    },
  });
  const client = new WireClient(near);
  await client.start();
  await work(client);
  client.close();
  await soon(served);
  return told;
}

function fail(message: string): never {
  throw new Error(message);
}

test("onError gets the request, the user, the path and the peer", async () => {
  const root = new Toy().root;
  Object.assign(root, { path: "/" });
  const at = { peer: "pair", uname: "u", path: "/" };
  const told = await contextsOf({
    attach: () => root,
    walk: () => fail("walk"),
    open: () => fail("open"),
    stat: async () => {
      await nextTask();
      fail("stat");
    },
    read: () => "no bytes" as unknown as Uint8Array,
    flush: () => fail("flush"),
    clunk: () => fail("clunk"),
  }, async (client) => {
    await client.ask(T.walk(1, 0, 1, "x"), "Rerror 1 i/o error");
    await client.ask(T.open(1, 0), "Rerror 1 i/o error");
    client.send(T.stat(1, 0), T.flush(2, 1));
    await client.expect("Rflush 2");
    await client.ask(T.stat(1, 0), "Rerror 1 i/o error");
  });
  assertEquals(told, [
    ["walk", { ...at, request: "Twalk" }],
    ["open", { ...at, request: "Topen" }],
    ["flush", { ...at, request: "Tstat" }],
    ["stat", { ...at, request: "Tstat" }], // This is the error of the flushed request, which no client gets.
    ["stat", { ...at, request: "Tstat" }],
    ["clunk", { ...at, request: "Tclunk" }],
  ]);
});

test("onError gets the user of an attach that fails, and no path", async () => {
  let isFirst = true;
  const toy = new Toy();
  const told = await contextsOf({
    attach: () => isFirst ? (isFirst = false, toy.root) : fail("attach"),
  }, async (client) => {
    await client.ask(T.attach(1, 5, "glenda"), "Rerror 1 i/o error");
  });
  assertEquals(told, [
    ["attach", { peer: "pair", uname: "glenda", request: "Tattach" }],
  ]);
});

test("onError gets the request if a handler's version() returns an impossible value", async () => {
  const told = await contextsOf(
    { version: (msize) => msize === 5000 ? 1 : msize },
    async (client) => {
      await client.ask(T.version(5000), "Rerror 65535 i/o error");
    },
  );
  assertEquals(told.map(([, context]) => context), [
    { peer: "pair", request: "Tversion" },
  ]);
});

test("onError gets the error of a clunk at the end of a connection, with path and user", async () => {
  const toy = new Toy();
  Object.assign(toy.root, { path: "/" });
  const told = await contextsOf(
    { attach: () => toy.root, clunk: () => Promise.reject(new Error("late")) },
    () => Promise.resolve(),
  );
  assertEquals(told, [
    ["late", { peer: "pair", request: "Tclunk", uname: "u", path: "/" }],
  ]);
  assertEquals(
    await contextsOf(
      { clunk: () => Promise.reject(new NinePError("not owner")) },
      () => Promise.resolve(),
    ),
    [],
  );
});

test("without onError ten errors a second are logged for all clients, then the number of the others", async () => {
  using log = new Console();
  const toy = new Toy();
  Object.assign(toy.root, { path: "/a\n\x1b[2J" });
  await using server = await listen("tcp://127.0.0.1:0", {
    ...toy.handler,
    stat: () => fail("no stat"),
  });
  for (let i = 0; i < 3; i++) {
    using client = new WireClient(await dial(server.addr));
    await client.start();
    client.send(...Array.from({ length: 100 }, (_, i) => T.stat(i, 0)));
    for (let i = 0; i < 100; i++) await client.expect(`Rerror ${i} i/o error`);
  }
  await log.until(/left out/);
  assertEquals(log.lines.length, 11);
  assertMatch(
    log.lines[0],
    /^9P server: Tstat of "\/a\\n\\u001b\[2J" by "u" from tcp:\/\/127\.0\.0\.1:\d+\n$/,
  );
  assertEquals(log.lines[10], "9P server: 290 further errors left out");
  // The next second has a new limit.
  using client = new WireClient(await dial(server.addr));
  await client.start();
  await client.ask(T.stat(1, 0), "Rerror 1 i/o error");
  assertEquals(log.lines.length, 12);
});

test("without onError the end of a connection is not logged", async () => {
  using log = new Console();
  const [near, far] = pair();
  const served = serve(far, new Toy().handler);
  const client = new WireClient(near);
  await client.start();
  client.raw("03000000");
  await client.end();
  await soon(served);
  assertEquals(log.lines, []);
});
