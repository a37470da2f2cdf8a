/**
 * Serves a directory of the machine until it is interrupted: for reading, or
 * with --write for writing as well. All clients have the rights of this process.
 *
 *     deno run --allow-net --allow-read --allow-write examples/serve_dir.ts DIR [ADDRESS] [--write]
 *     bun examples/serve_dir.ts DIR [ADDRESS] [--write]
 *
 * ADDRESS is tcp://127.0.0.1:5640 by default; port 0 takes a free one.
 *
 * @module
 */

import { statSync } from "node:fs";
import process from "node:process";
import { HostFs, listen, printable } from "../mod.ts";

const words = process.argv.slice(2);
const [dir, address = "tcp://127.0.0.1:5640", ...more] = words
  .filter((word) => word !== "--write");
const isWrong = [dir ?? "-", address].some((word) => word.startsWith("-"));
if (isWrong || more.length > 0 || dir === undefined) {
  console.error("Usage: serve_dir.ts DIR [ADDRESS] [--write]");
  process.exit(2);
}
if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
  console.error(`Cannot serve "${printable(dir)}": there is no such directory`);
  process.exit(1);
}

const fs = new HostFs(dir, { readonly: !words.includes("--write") });
const server = await listen(address, fs).catch((error: Error) => {
  console.error(printable(error.message));
  process.exit(1);
});
console.log(`serving ${printable(dir)} at ${server.addr}`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => server.close());
}
await server.finished;
