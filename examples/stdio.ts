/**
 * Connects two processes without a socket: a child serves a tree on its
 * standard input and output, and its parent is the client. Without an argument,
 * this program is the parent, and starts itself as the child.
 *
 *     deno run --allow-run --allow-env examples/stdio.ts
 *     bun examples/stdio.ts
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { Readable, Writable } from "node:stream";
import { connect, fromStreams, MemoryFs, serve } from "../mod.ts";

/** Makes a connection of the input and the output of a process. */
function over(input: Readable, output: Writable) {
  return fromStreams({
    readable: Readable.toWeb(input) as ReadableStream<Uint8Array>,
    writable: Writable.toWeb(output),
  });
}

async function serveParent() {
  const fs = new MemoryFs({ motd: "hello from the child\n" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  await serve(over(process.stdin, process.stdout), fs);
}

async function askChild() {
  const flags = "Deno" in globalThis ? ["run", "--quiet"] : [];
  const child = spawn(process.execPath, [...flags, process.argv[1], "child"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const client = await connect(over(child.stdout, child.stdin));
  console.log((await client.readTextFile("motd")).trim());
  await client.writeTextFile("note", "from the parent\n");
  console.log(`${(await client.stat("note")).length} bytes written`);
  console.log(`17 + 25 = ${await client.call("add", { argv: [17, 25] })}`);
  await client.close();
  console.log(`the child ended with ${await ended}`);
}

await (process.argv[2] === "child" ? serveParent() : askChild());
