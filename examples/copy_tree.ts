/**
 * Copies a file or a whole directory from one server to another, or within one
 * server, and prints each copied file.
 *
 *     deno run --allow-net examples/copy_tree.ts ADDRESS PATH TO-ADDRESS TO-PATH
 *     bun examples/copy_tree.ts ADDRESS PATH TO-ADDRESS TO-PATH
 *
 * @module
 */

import process from "node:process";
import { connect, type CopyProgress, printable } from "../mod.ts";

const [address, path, toAddress, toPath] = process.argv.slice(2);
if (
  address === undefined || path === undefined || toAddress === undefined ||
  toPath === undefined
) {
  console.error("Usage: copy_tree.ts ADDRESS PATH TO-ADDRESS TO-PATH");
  process.exit(2);
}

let files = 0;
let copied = 0;

/** Prints a line for each file that is completely copied. */
function show({ path, bytes, total }: CopyProgress) {
  if (bytes < total) return;
  files++;
  copied += bytes;
  console.log(printable(`${path}: ${bytes} bytes`));
}

async function copy() {
  await using source = await connect(address);
  await using target = await connect(toAddress);
  await source.copy(path, toPath, {
    target,
    recursive: true,
    onProgress: show,
  });
  console.log(`files: ${files}, bytes: ${copied}`);
}

await copy().catch((error: Error) => {
  console.error(printable(error.message));
  process.exitCode = 1;
});
