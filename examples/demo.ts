/**
 * The main job end to end: serves a tree of files and functions on a loopback
 * port, connects a client, lists, reads, writes, and calls a function in both
 * ways.
 *
 *     deno run --allow-net=127.0.0.1 examples/demo.ts
 *     bun examples/demo.ts
 *
 * @module
 */

import { connect, listen, MemoryFs } from "../mod.ts";

// The server: two files, a directory, and a function bound to a file. The files
// are glenda's; all others may read them.
const fs = new MemoryFs({
  "motd": "hello from a 9P server\n",
  "notes": { "todo": "read the manual\n" },
}, { uid: "glenda" });
fs.register("test_func", (a: number, b: number) => a + b, {
  params: ["a", "b"],
});
await using server = await listen("tcp://127.0.0.1:0", fs);
console.log(`A server listens on ${server.addr}`);

// The client: the following calls go over the wire.
await using client = await connect(server.addr, { uname: "glenda" });
console.log(`A client is connected, with messages of ${client.msize} bytes`);

console.log("\nThe tree:");
for await (const { name, length, mode } of client.readDir("/")) {
  const permissions = (mode & 0o777).toString(8).padStart(4, "0");
  console.log(`  ${permissions} ${String(length).padStart(3)} bytes  ${name}`);
}

console.log("\nA file, read, written and read again:");
console.log(`  motd: ${await client.readTextFile("motd")}`.trimEnd());
await client.writeTextFile("notes/todo", "write an example\n");
console.log(`  todo: ${await client.readTextFile("notes/todo")}`.trimEnd());

console.log("\nA function, called by writing its arguments and reading:");
await using file = await client.open("test_func", { read: true, write: true });
await file.write(new TextEncoder().encode('{"a": 17, "b": 25}'));
const answer = new Uint8Array(16);
const length = await file.readAt(answer, 0);
console.log(
  `  {"a": 17, "b": 25} -> ${
    new TextDecoder().decode(answer.subarray(0, length ?? 0))
  }`,
);

console.log("\nThe same function, called in one round trip:");
const sum = await client.call("test_func", { argv: [17, 25] });
console.log(`  test_func(17, 25) -> ${sum}`);

console.log("\nBoth ends close.");
