/**
 * Writes the standard input, of any size, into a file of a server; makes the
 * file if it does not exist.
 *
 *     deno run --allow-net examples/put.ts ADDRESS PATH < file
 *     bun examples/put.ts ADDRESS PATH < file
 *
 * @module
 */

import process from "node:process";
import { connect, printable } from "../mod.ts";

const [address, path] = process.argv.slice(2);
if (address === undefined || path === undefined) {
  console.error("Usage: put.ts ADDRESS PATH < file");
  process.exit(2);
}

async function put() {
  await using client = await connect(address);
  await client.writeFile(path, process.stdin); // An iterable of its chunks.
  const { length } = await client.stat(path);
  console.error(printable(`"${path}" has ${length} bytes`));
}

await put().catch((error: Error) => {
  console.error(printable(error.message));
  process.exitCode = 1;
});
