// Tests the client of one runtime against the server of another: starts
// examples/memory_server.ts with the given command, uses it as a client, and
// stops it (P-17, P-19).
//
//     deno run -A tests/interop.ts bun
//     bun tests/interop.ts deno run --allow-net

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import process from "node:process";
import { connect, NinePError } from "../mod.ts";
import { firstLine, start } from "./child.ts";

const [command, ...args] = process.argv.slice(2);
const script = new URL("../examples/memory_server.ts", import.meta.url);
const server = start(command, [...args, script.pathname, "tcp://127.0.0.1:0"]);
const ready = await firstLine(server);
assertMatch(ready, /^listening on tcp:\/\/127\.0\.0\.1:[1-9][0-9]*$/);
const address = ready.slice("listening on ".length);

const client = await connect(address, { uname: "glenda" });
const other = await connect(address, { uname: "rob" });

assertEquals(await client.call("add", { argv: [17, 25] }), 42);
assertEquals(await other.call("add", { kwarg: { a: 1, b: 2 } }), 3);

const large = Uint8Array.from({ length: 8 << 20 }, (_, i) => i % 251);
await client.mkdir("dir");
await client.writeFile("dir/large", large);
assertEquals(await client.readFile("dir/large"), large);
await client.writeTextFile("dir/größe", "8 MiB\n");
const names: string[] = [];
for await (const { name } of client.readDir("dir")) names.push(name);
assertEquals(names.sort(), ["größe", "large"]);

// Two users make a hundred calls at once.
const sums = await Promise.all(
  Array.from(
    { length: 100 },
    (_, i) => (i % 2 ? client : other).call("add", { argv: [i, i] }),
  ),
);
assertEquals(sums, Array.from({ length: 100 }, (_, i) => 2 * i));

const error = await assertRejects(
  () => client.readFile("dir/none"),
  NinePError,
);
assertEquals(error.code, "ENOENT");
await client.remove("dir/large");
await client.remove("dir/größe");
await client.remove("dir");

await client.close();
server.kill("SIGTERM"); // A client is still connected.
assertEquals(await server.ended, 0, "the server's exit code");
await other.close();
console.log(`${command} served, ${process.argv0} worked with it`);
