/**
 * Serves a scratch tree in memory that every user may write, with a function
 * file `add`, until it is interrupted.
 *
 *     deno run --allow-net examples/memory_server.ts [ADDRESS] [--trace]
 *     bun examples/memory_server.ts [ADDRESS] [--trace]
 *
 * ADDRESS is tcp://127.0.0.1:5640 by default; port 0 takes a free one.
 * --trace shows each message, on the standard error.
 *
 * @module
 */

import process from "node:process";
import {
  formatMessage,
  listen,
  MemoryFs,
  printable,
  type TracedFrame,
  type TracedMessage,
} from "../mod.ts";

const words = process.argv.slice(2);
const [address = "tcp://127.0.0.1:5640", ...more] = words
  .filter((word) => word !== "--trace");
if (address.startsWith("-") || more.length > 0) {
  console.error("Usage: memory_server.ts [ADDRESS] [--trace]");
  process.exit(2);
}

function trace(traced: TracedMessage | TracedFrame) {
  const { direction, peer, message, error } = traced;
  const arrow = direction === "in" ? "->" : "<-";
  const text = message ? formatMessage(message) : printable(error.message);
  console.error(`${peer} ${arrow} ${text}`);
}
const options = words.includes("--trace") ? { onMessage: trace } : {};

const fs = new MemoryFs({}, { mode: 0o777 });
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });

const server = await listen(address, fs, options).catch((error: Error) => {
  console.error(printable(error.message));
  process.exit(1);
});
console.log(`listening on ${server.addr}`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => server.close());
}
await server.finished;
