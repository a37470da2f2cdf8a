/**
 * Follows a file of a server, as `tail -f` does: prints its content, then all
 * added bytes, until the program is interrupted. It also follows an event file:
 * a file whose server answers a read when an event happens.
 *
 *     deno run --allow-net examples/tail.ts ADDRESS PATH
 *     bun examples/tail.ts ADDRESS PATH
 *
 * @module
 */

import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { connect, printable, QTDIR } from "../mod.ts";

/** Milliseconds to wait at the end of a file that grows. */
const PAUSE = 200;

const [address, path] = process.argv.slice(2);
if (address === undefined || path === undefined) {
  console.error("Usage: tail.ts ADDRESS PATH");
  process.exit(2);
}

const interrupted = new AbortController();
const { signal } = interrupted;
process.once("SIGINT", () => interrupted.abort());
process.once("SIGTERM", () => interrupted.abort());

process.stdout.on("error", () => {}); // print() rejects with it.

/** Writes bytes to the standard output, and waits until they are written. */
function print(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => error ? reject(error) : resolve());
  });
}

async function follow() {
  await using client = await connect(address);
  await using file = await client.open(path);
  if (file.qid.type & QTDIR) throw new Error(`"${path}" is a directory`);
  let size = 0;
  while (!signal.aborted) {
    for await (const chunk of file.chunks({ signal })) await print(chunk);
    await setTimeout(PAUSE, undefined, { signal });
    const { length } = await file.stat();
    if (length < size) await file.seek(0); // The file was cut.
    size = length;
  }
}

await follow().catch((error: Error) => {
  if (signal.aborted) return;
  console.error(printable(error.message));
  process.exitCode = 1;
});
