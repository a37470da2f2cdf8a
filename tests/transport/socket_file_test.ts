// The files of Unix sockets: their owners, and what a dead server has left.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import process from "node:process";
import { firstLine, start } from "../child.ts";
import { withFolder } from "../folder.ts";
import { test } from "../harness.ts";
import { ProtocolError } from "../../codec.ts";
import { connect, listen as serveAt, MemoryFs } from "../../mod.ts";
import { dial, listen, type Listener } from "../../transport.ts";

/** Leaves a socket file without a listener. */
async function leaveDead(path: string): Promise<void> {
  const { rename } = await import("node:fs/promises");
  const dead = await listen(`unix://${path}.old`);
  await rename(`${path}.old`, path);
  dead.close();
}

async function namesIn(folder: string): Promise<string[]> {
  const { readdir } = await import("node:fs/promises");
  return (await readdir(folder)).sort();
}

/** Checks that a client reaches this listener. */
async function assertReaches(address: string, listener: Listener) {
  const [near, { value: far }] = await Promise.all([
    dial(address),
    listener[Symbol.asyncIterator]().next(),
  ]);
  near.close();
  far.close();
}

test("unix: close() keeps the socket that another listener has made", async () => {
  await withFolder(async (folder) => {
    const { rm } = await import("node:fs/promises");
    const address = `unix://${folder}/s`;
    const first = await listen(address);
    await rm(`${folder}/s`);
    const second = await listen(address);
    first.close();
    await assertReaches(address, second);
    assertEquals(await namesIn(folder), ["s"]);
    second.close();
    assertEquals(await namesIn(folder), []);
  });
});

test("unix: a server that is closed keeps the socket that another one has made", async () => {
  await withFolder(async (folder) => {
    const { rm } = await import("node:fs/promises");
    const address = `unix://${folder}/s`;
    const first = await serveAt(address, new MemoryFs());
    await rm(`${folder}/s`);
    const second = await serveAt(address, new MemoryFs({ second: "" }));
    await first.close();
    assertEquals(await namesIn(folder), ["s"]);
    await using client = await connect(address);
    assert(await client.exists("second"));
    await second.close();
    assertEquals(await namesIn(folder), []);
  });
});

test("unix: close() keeps the socket of another listener while it waits for a connection", async () => {
  await withFolder(async (folder) => {
    const { rm } = await import("node:fs/promises");
    const address = `unix://${folder}/s`;
    const first = await listen(address);
    const waiting = first[Symbol.asyncIterator]().next();
    await rm(`${folder}/s`);
    const second = await listen(address);
    first.close();
    assertEquals((await waiting).done, true);
    await assertReaches(address, second);
    assertEquals(await namesIn(folder), ["s"]);
    second.close();
  });
});

test("unix: close() keeps a file of another kind", async () => {
  await withFolder(async (folder) => {
    const { readFile, rm, writeFile } = await import("node:fs/promises");
    const listener = await listen(`unix://${folder}/s`);
    await rm(`${folder}/s`);
    await writeFile(`${folder}/s`, "precious");
    listener.close();
    assertEquals(await readFile(`${folder}/s`, "utf8"), "precious");
    assertEquals(await namesIn(folder), ["s"]);
  });
});

test("unix: close() works after the file was removed", async () => {
  await withFolder(async (folder) => {
    const { rm } = await import("node:fs/promises");
    const listener = await listen(`unix://${folder}/s`);
    await rm(`${folder}/s`);
    listener.close();
    assertEquals(await namesIn(folder), []);
  });
});

test("unix: of several listeners at once over a dead socket one listens", async () => {
  await withFolder(async (folder) => {
    const address = `unix://${folder}/s`;
    for (let round = 0; round < 10; round++) {
      await leaveDead(`${folder}/s`);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, () => listen(address)),
      );
      const listeners = [];
      for (const outcome of outcomes) {
        if (outcome.status === "fulfilled") listeners.push(outcome.value);
        else assertInUse(outcome.reason, address);
      }
      assertEquals(listeners.length, 1);
      assertEquals(await namesIn(folder), ["s"]);
      listeners[0].close();
    }
  });
});

function assertInUse(error: unknown, address: string): void {
  assertInstanceOf(error, ProtocolError);
  assertEquals(error.code, "EADDRINUSE");
  assertEquals(
    error.message,
    `Cannot listen on "${address}": address already in use`,
  );
}

/** A script that listens, prints the result, and stays. */
const SERVER = `
const [url, address] = process.argv.slice(2);
const { listen } = await import(url);
await listen(address).then(() => console.log("listens"), (error) => console.log(error.code));
setInterval(() => {}, 1000);
`;

test("unix: of four processes at once over a dead socket one listens", async () => {
  await withFolder(async (folder) => {
    const { writeFile } = await import("node:fs/promises");
    const script = `${folder}/server.mjs`;
    await writeFile(script, `import process from "node:process";${SERVER}`);
    const url = new URL("../../transport.ts", import.meta.url).href;
    for (let round = 0; round < 3; round++) {
      const path = `${folder}/${round}`;
      await leaveDead(path);
      const words = [script, url, `unix://${path}`];
      const args = "Deno" in globalThis ? ["run", "-A", ...words] : words;
      const children = Array.from(
        { length: 4 },
        () => start(process.execPath, args),
      );
      const lines = await Promise.all(children.map(firstLine));
      (await dial(`unix://${path}`)).close();
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(children.map(({ ended }) => ended));
      const inUse = "EADDRINUSE";
      assertEquals(lines.sort(), [inUse, inUse, inUse, "listens"]);
    }
  });
});

test("unix: a lock that a dead process left is removed in time", async () => {
  await withFolder(async (folder) => {
    const { utimes, writeFile } = await import("node:fs/promises");
    const address = `unix://${folder}/s`;
    await leaveDead(`${folder}/s`);
    await writeFile(`${folder}/s.lock`, "");
    assertInUse(await assertRejects(() => listen(address)), address);
    const before = Date.now() / 1000 - 11;
    await utimes(`${folder}/s.lock`, before, before);
    const listener = await listen(address);
    await assertReaches(address, listener);
    assertEquals(await namesIn(folder), ["s"]);
    listener.close();
  });
});

test("unix: an attempt to listen at a server's socket does not disturb the server", async () => {
  await withFolder(async (folder) => {
    const address = `unix://${folder}/s`;
    const listener = await listen(address);
    assertInUse(await assertRejects(() => listen(address)), address);
    assertEquals(await namesIn(folder), ["s"]);
    const { value } = await listener[Symbol.asyncIterator]().next();
    assert(value, "the attempt has connected");
    value.close();
    listener.close();
  });
});
