/**
 * Shows a client that connects again after a lost connection: the server stops
 * and starts again, and the client continues to read its open file. Server and
 * client are in this process.
 *
 *     deno run --allow-net=127.0.0.1 examples/reconnect.ts
 *     bun examples/reconnect.ts
 *
 * @module
 */

import { connect, listen, MemoryFs } from "../mod.ts";

const poem = "roses are red\nviolets are blue\n";
const fs = new MemoryFs({ poem }, { uid: "glenda" });
const decoder = new TextDecoder();

let server = await listen("tcp://127.0.0.1:0", fs);
const { addr } = server;
await using client = await connect(addr, {
  uname: "glenda",
  reconnect: { minDelay: 10 },
});
await using file = await client.open("poem");

/** Reads from the current position of the file. */
async function read(count: number): Promise<string> {
  const buffer = new Uint8Array(count);
  const got = await file.read(buffer);
  return decoder.decode(buffer.subarray(0, got ?? 0)).trim();
}

console.log(`before: ${await read(14)}`);

await server.close();
console.log("the server is gone");
const later = read(16); // It waits for the server.

server = await listen(addr, fs); // The same tree, at the same address.
console.log("the server is back");
console.log(`after: ${await later}`);

// The library repeats only calls that change nothing. If the connection is lost
// during a write, the write rejects, and the program must find out whether the
// server has done it.
await client.writeTextFile("poem", "sugar is sweet\n");
console.log(`now: ${(await client.readTextFile("poem")).trim()}`);

await client.close();
await server.close();
