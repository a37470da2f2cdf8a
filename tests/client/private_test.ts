// Calls on our own server: their privacy from other users, and functions that
// are
// removed.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import { failure } from "./reconnecting.ts";
import { type Client, connect, type ConnectOptions } from "../../client.ts";
import { NinePError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { type Connection, pair } from "../../transport.ts";

/** A keyword argument that is too long for a Tcall. */
const photo = "x".repeat(66_000);

/** A tree with a function that returns secrets and counts its calls. */
function vault() {
  const calls: string[] = [];
  const fs = new MemoryFs({}, { mode: 0o777 });
  fs.register("login", ({ user = "nobody" }: { user?: string }) => {
    calls.push(user);
    return `secret of ${user}`;
  });
  const dial = (): Connection => {
    const [near, far] = pair();
    void serve(far, fs);
    return near;
  };
  const as = (uname: string, options: ConnectOptions = {}): Promise<Client> =>
    connect(dial(), { uname, ...options });
  return { calls, dial, as };
}

/**
 * A connection that ends when a frame of a type is to be sent for the n-th
 * time.
 */
function ending(connection: Connection, type: number, nth: number): Connection {
  let count = 0;
  let rest = new Uint8Array(0);
  const { readable, writable, peer } = connection;
  const writer = writable.getWriter();
  const passed = new WritableStream<Uint8Array>({
    async write(chunk) {
      // Each write has whole frames, which begin with a size and a type.
      const bytes = new Uint8Array(rest.length + chunk.length);
      bytes.set(rest);
      bytes.set(chunk, rest.length);
      let at = 0;
      const view = new DataView(bytes.buffer);
      while (at + 4 <= bytes.length) {
        const size = view.getUint32(at, true);
        if (at + size > bytes.length) break;
        if (bytes[at + 4] === type && count++ === nth) {
          connection.close();
          throw new Error("cut");
        }
        await writer.write(bytes.slice(at, at + size));
        at += size;
      }
      rest = bytes.slice(at);
    },
  });
  return {
    readable,
    writable: passed,
    peer,
    close: () => connection.close(),
  };
}

for (const before of ["a call before", "no call before"]) {
  test(`call() with long arguments leaves nothing that others can read (${before})`, async () => {
    const { calls, as } = vault();
    await using alice = await as("alice");
    await using eve = await as("eve");
    await using shell = await as("shell");
    // Another user has written arguments and not read yet: these arguments stay
    // separate.
    await shell.writeTextFile("login", '{"user":"shell"}');
    if (before === "a call before") {
      await alice.call("login", { kwarg: { user: "alice" } });
    }
    const kwarg = { user: "alice", photo };
    assertEquals(await alice.call("login", { kwarg }), "secret of alice");
    assertEquals((await eve.stat("login")).length, 0);
    assertEquals(await shell.readTextFile("login"), '"secret of shell"');
    assertEquals(await eve.readTextFile("login"), '"secret of shell"');
    assertEquals(calls.filter((user) => user === "shell").length, 1);
  });

  test(`call() with long arguments leaves nothing when it is aborted at any time (${before})`, async () => {
    for (let turns = 0; turns < 60; turns++) {
      const { calls, as } = vault();
      await using alice = await as("alice", { msize: 8192 });
      await using eve = await as("eve");
      if (before === "a call before") {
        await alice.call("login", { kwarg: { user: "alice" } });
      }
      calls.length = 0;
      const abort = new AbortController();
      const calling = alice.call("login", {
        kwarg: { user: "alice", photo },
        signal: abort.signal,
      }).catch((error) => error);
      for (let i = 0; i < 4 * turns; i++) await Promise.resolve();
      if (turns % 2) await eve.stat("/"); // Lets some replies arrive.
      abort.abort();
      const outcome = await calling;
      assert(outcome === "secret of alice" || outcome === abort.signal.reason);
      await alice.stat("/"); // This request comes after the clunk.
      const called = calls.length;
      assertEquals(await eve.readTextFile("login"), "");
      assertEquals(
        calls.length,
        called,
        "no other call gets alice's arguments",
      );
    }
  });
}

// Twrite is 118, Tread 116; pieces of 8 KiB. A server that is known to have
// Tcall gets a Tread before the writes, and one after them, which calls.
for (
  const [before, reads] of [["a call before", 2], [
    "no call before",
    1,
  ]] as const
) {
  for (
    const [type, name, most] of [
      [118, "Twrite", 9],
      [116, "Tread", reads],
    ] as const
  ) {
    for (let nth = 0; nth < most; nth++) {
      test(`call() with long arguments leaves nothing when the connection ends at ${name} ${nth} (${before})`, async () => {
        const { calls, dial, as } = vault();
        await using shell = await as("shell");
        const alice = await connect(ending(dial(), type, nth), {
          uname: "alice",
          msize: 8192,
          closeTimeout: 0,
        });
        if (before === "a call before") {
          await alice.call("login", { kwarg: { user: "alice" } });
        }
        calls.length = 0;
        const kwarg = { user: "alice", photo };
        await failure(alice.call("login", { kwarg }));
        await alice.close();
        assertEquals(await shell.readTextFile("login"), "");
        assertEquals(calls, []);
      });
    }
  }
}

for (const strict of [false, true]) {
  test(`proxy(): a removed function is not called, and a new one at its path is (strict: ${strict})`, async () => {
    const fs = new MemoryFs({}, { strict });
    let calls = 0;
    fs.register("price", () => {
      calls++;
      return "old";
    });
    const [near, far] = pair();
    void serve(far, fs);
    await using client = await connect(near);
    const api = await client.proxy<{ price(): string }>("/");
    assertEquals(await api.price(), "old");
    const fid = await client.protocol.fid("price");
    assertEquals(await client.call(fid), "old");
    fs.remove("price");
    await assertRejects(() => api.price(), NinePError, "does not exist");
    await assertRejects(() => client.call(fid), NinePError, "removed");
    fs.register("price", () => {
      calls++;
      return "new";
    });
    assertEquals(await client.call("price"), "new");
    assertEquals(await Promise.all([api.price(), api.price()]), ["new", "new"]);
    assertEquals(await client.call(await client.protocol.fid("price")), "new");
    assertEquals(calls, 6);
  });
}
