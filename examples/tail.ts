/**
 * Follows a file of a server, as `tail -f` does: shows what is in it, then
 * what comes, until it is interrupted. An event file is followed as well: its
 * server answers a read when there is something to tell.
 *
 *     deno run --allow-net examples/tail.ts ADDRESS PATH
 *     bun examples/tail.ts ADDRESS PATH
 *
 * @module
 */

import process from "node:process";
import { connect } from "../mod.ts";

/** How long to wait at the end of a file that grows, in milliseconds. */
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

/** Waits, but not after an interrupt. */
function pause(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PAUSE);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

async function follow() {
  await using client = await connect(address);
  await using file = await client.open(path);
  const buffer = new Uint8Array(64 * 1024);
  while (!signal.aborted) {
    const count = await file.read(buffer, { signal });
    if (count !== null) {
      process.stdout.write(buffer.slice(0, count));
    } else {
      await pause();
      // A file that was cut is shown from its beginning again.
      if ((await file.stat()).length < file.position) await file.seek(0);
    }
  }
}

await follow().catch((error: Error) => {
  if (signal.aborted) return;
  console.error(error.message);
  process.exitCode = 1;
});
