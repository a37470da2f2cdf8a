/**
 * Writes files of a server, of any size, to the standard output.
 *
 *     deno run --allow-net examples/cat.ts ADDRESS PATH…
 *     bun examples/cat.ts ADDRESS PATH…
 *
 * @module
 */

import process from "node:process";
import { connect, printable, QTDIR } from "../mod.ts";

const [address, ...paths] = process.argv.slice(2);
if (address === undefined || paths.length === 0) {
  console.error("Usage: cat.ts ADDRESS PATH…");
  process.exit(2);
}

process.stdout.on("error", () => {}); // print() rejects with it.

/** Writes bytes to the standard output, and waits until they are written. */
function print(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => error ? reject(error) : resolve());
  });
}

async function cat() {
  await using client = await connect(address);
  for (const path of paths) {
    const file = await client.open(path);
    if (file.qid.type & QTDIR) throw new Error(`"${path}" is a directory`);
    for await (const chunk of file.readable) await print(chunk);
  }
}

await cat().catch((error: Error) => {
  console.error(printable(error.message));
  process.exitCode = 1;
});
