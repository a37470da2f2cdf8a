/**
 * Starts a child that serves a tree on its standard input and output, and works
 * with this tree. Without an argument, this program is the parent, and starts
 * itself as the child.
 *
 *     deno run --allow-run examples/spawn.ts
 *     bun examples/spawn.ts
 *     node examples/spawn.ts
 *
 * @module
 */

import process from "node:process";
import { listen, MemoryFs, spawn } from "../mod.ts";

async function serveParent() {
  const fs = new MemoryFs({ motd: "hello from the child\n" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  const server = await listen("stdio:", fs);
  console.log("the child serves"); // To the standard error, as messages use the output.
  await server.finished;
}

async function askChild() {
  const flags = "Deno" in globalThis ? ["run", "--quiet"] : [];
  const args = [...flags, process.argv[1], "child"];
  await using client = await spawn(process.execPath, args);
  console.log((await client.readTextFile("motd")).trim());
  await client.writeTextFile("note", "from the parent\n");
  console.log(`${(await client.stat("note")).length} bytes written`);
  console.log(`17 + 25 = ${await client.call("add", { argv: [17, 25] })}`);
}

await (process.argv[2] === "child" ? serveParent() : askChild());
