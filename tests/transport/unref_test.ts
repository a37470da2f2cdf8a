// Clients and servers that do not keep their process alive, in child processes
// that end by themselves or do not.

import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { type Ended, run } from "../child.ts";
import { withFolder } from "../folder.ts";
import { test } from "../harness.ts";
import { fromStreams, pair } from "../../transport.ts";
import { RefGroup } from "../../transport/ref_group.ts";

/**
 * The beginning of a child's script. The child ends with 9 if nothing else ends
 * it.
 */
const BEGIN = `
import process from "node:process";
const at = (path) => import(new URL(path, process.argv[2]).href);
const { connect, listen, MemoryFs } = await at("mod.ts");
const { dial } = await at("transport.ts");
setTimeout(() => process.exit(9), 60_000).unref();
/** Keeps the process alive until it is called. */
function hold() {
  const timer = setInterval(() => {}, 1000);
  return () => clearInterval(timer);
}
const fs = new MemoryFs({ motd: "hello\\n" });
fs.define("never", { read: () => new Promise(() => {}) });
// The timer of the option keeps nothing alive.
fs.register("later", () => new Promise((resolve) => setTimeout(resolve, 300, 5).unref()));
const server = await listen(process.argv[3], fs, { idleTimeout: 50_000 });
process.on("exit", () => console.log("end"));
`;

/** Runs a script in a process of its own, until the process ends by itself. */
async function runChild(script: string, address: string): Promise<Ended> {
  let ended: Ended | undefined;
  await withFolder(async (folder) => {
    const { writeFile } = await import("node:fs/promises");
    const file = `${folder}/child.mjs`;
    await writeFile(file, BEGIN + script);
    const root = new URL("../../", import.meta.url).href;
    const unix = `unix://${folder}/s`;
    const words = [file, root, address === "unix" ? unix : address];
    const args = "Deno" in globalThis
      ? ["run", "--quiet", "--no-prompt", "-A", ...words]
      : words;
    const { bytes, ...rest } = await run(process.execPath, args);
    ended = { ...rest, output: new TextDecoder().decode(bytes) };
  });
  return ended!; // Set by the callback.
}

const ADDRESSES = [
  ["TCP", "tcp://127.0.0.1:0"],
  ["Unix", "unix"],
  // Node has no server of WebSockets, and those of Deno keep the process alive.
  ...("Bun" in globalThis ? [["WebSocket", "ws://127.0.0.1:0/9p"]] : []),
];

for (const [kind, address] of ADDRESSES) {
  test(`unref() over ${kind}: server and client let the process end`, async () => {
    const { code, output, errors } = await runChild(
      `
      const client = await connect(server.addr);
      console.log(await client.readTextFile("motd"));
      client.unref();
      server.unref();
      `,
      address,
    );
    assertEquals([code, output], [0, "hello\n\nend\n"], errors);
  });
}

/**
 * Work that is under way when a client and its server are unref()ed, or that
 * begins then.
 */
const CASES: [name: string, script: string][] = [
  [
    "a call with a timeout",
    `
    const client = await connect(server.addr, { timeout: 50_000 });
    const file = await client.open("never");
    file.read(new Uint8Array(1));
    client.unref();
    server.unref();
    file.read(new Uint8Array(1), { timeout: 40_000 });
    `,
  ],
  [
    "a connection that says nothing, and one that comes later",
    `
    const first = await dial(server.addr);
    first.unref();
    const release = hold();
    const client = await connect(server.addr);
    server.unref();
    client.unref();
    const second = await dial(server.addr);
    second.unref();
    await client.readTextFile("motd"); // The server has accepted both.
    release();
    `,
  ],
  [
    "a reconnect, and what comes after it",
    `
    const reconnect = { minDelay: 0 };
    const client = await connect(server.addr, { reconnect });
    const release = hold();
    client.unref();
    server.unref();
    client.connection.close();
    console.assert(await client.readTextFile("motd") === "hello\\n");
    client.connection.close();
    console.assert(await client.readTextFile("motd") === "hello\\n");
    release();
    `,
  ],
  [
    "the delay before a reconnect",
    `
    const reconnect = { minDelay: 2 ** 31 - 1, maxDelay: 2 ** 31 - 1 };
    const options = { reconnect, timeout: 50_000 };
    const [client, other] = [
      await connect(server.addr, options),
      await connect(server.addr, options),
    ];
    client.connection.close();
    client.stat("motd").catch(() => {});
    const release = hold();
    other.unref(); // Before the loss.
    other.connection.close();
    other.stat("motd").catch(() => {});
    await new Promise((resolve) => setTimeout(resolve));
    client.unref(); // After it.
    server.unref();
    release();
    `,
  ],
  [
    "a call whose value would come later",
    `
    const client = await connect(server.addr);
    client.call("later").then((value) => console.log(value));
    client.unref();
    server.unref();
    `,
  ],
  [
    "close() that waits",
    `
    const client = await connect(server.addr, { closeTimeout: 50_000 });
    const file = await client.open("never");
    file.read(new Uint8Array(1)).catch(() => {});
    client.close();
    client.unref();
    server.unref();
    `,
  ],
  [
    "a server that closes",
    `
    const other = await listen("tcp://127.0.0.1:0", fs, { closeTimeout: 50_000 });
    const client = await connect(other.addr);
    const file = await client.open("never");
    file.read(new Uint8Array(1)).catch(() => {});
    await client.stat("motd");
    other.close();
    client.unref();
    other.unref();
    server.unref();
    `,
  ],
];

for (const [name, script] of CASES) {
  test(`unref(): ${name}`, async () => {
    const { code, output, errors } = await runChild(script, ADDRESSES[0][1]);
    assertEquals([code, output], [0, "end\n"], errors);
  });
}

test("ref() keeps the process alive again, for client and server", async () => {
  const { code, output, errors } = await runChild(
    `
    const client = await connect(server.addr);
    client.unref();
    client.ref();
    server.unref();
    // Without a timer and a server, the client alone keeps the process alive.
    client.call("later").then((value) => {
      console.log(value);
      client.unref();
      server.ref();
      setTimeout(async () => {
        const other = await connect(server.addr);
        console.log(await other.readTextFile("motd"));
        process.exit(3);
      }, 0).unref();
    });
    `,
    ADDRESSES[0][1],
  );
  assertEquals([code, output], [3, "5\nhello\n\nend\n"], errors);
});

// RefGroup itself.

class Member {
  isHeld = true;
  ref = () => {
    this.isHeld = true;
  };
  unref = () => {
    this.isHeld = false;
  };
}

test("RefGroup: members follow, also those that come later", () => {
  const refs = new RefGroup();
  const [first, gone, late] = [new Member(), new Member(), new Member()];
  refs.add(first);
  refs.add(gone);
  refs.add({}); // A member without methods.
  refs.delete(gone);
  refs.unref();
  refs.unref();
  refs.add(late);
  assertEquals([first, gone, late].map((m) => m.isHeld), [false, true, false]);
  refs.ref();
  assertEquals([first, gone, late].map((m) => m.isHeld), [true, true, true]);
});

test("RefGroup: a timer fires unless it is cancelled", async () => {
  const refs = new RefGroup();
  let isCalled = false;
  const cancelled = refs.after(0, () => isCalled = true);
  refs.cancel(cancelled);
  refs.cancel(cancelled);
  refs.cancel(undefined);
  await new Promise<void>((resolve) => refs.after(1, resolve));
  assert(!isCalled);
});

test("fromStreams() passes ref() and unref() on", () => {
  const [near, far] = pair();
  const { readable, writable } = near;
  const streams = Object.assign(new Member(), { readable, writable });
  const connection = fromStreams(streams);
  connection.unref?.();
  assertEquals(streams.isHeld, false);
  connection.ref?.();
  assertEquals(streams.isHeld, true);
  connection.close();
  far.close();
});
