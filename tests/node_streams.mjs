// Client and server on Node, over streams of node:net, as the README says:
//
//     node tests/node_streams.mjs FILE      (mod.ts, compiled to JavaScript)

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import process from "node:process";
import { Duplex } from "node:stream";
import { pathToFileURL } from "node:url";

const { connect, fromStreams, MemoryFs, NinePError, serve } = await import(
  pathToFileURL(process.argv[2])
);

const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
fs.register("add", (a, b) => a + b, { params: ["a", "b"] });
const served = [];
const server = net.createServer((socket) => {
  served.push(serve(fromStreams(Duplex.toWeb(socket)), fs));
});
await once(server.listen(0, "127.0.0.1"), "listening");

const socket = net.connect(server.address().port, "127.0.0.1");
const client = await connect(fromStreams(Duplex.toWeb(socket)));
assert.equal(await client.readTextFile("motd"), "hello\n");
assert.equal(await client.call("add", { argv: [17, 25] }), 42);
const large = Uint8Array.from({ length: 5_000_000 }, (_, i) => i % 251);
await client.writeFile("large", large);
assert.deepEqual(fs.readFile("large"), large);
assert.deepEqual(await client.readFile("large"), large);
await assert.rejects(
  client.readFile("none"),
  (error) => error instanceof NinePError && error.code === "ENOENT",
);
await client.close();
await Promise.all(served);
server.close();
console.log(`client and server on Node ${process.version}`);
