/**
 * Cancels calls that take too long, by a signal and by a timeout, and shows how
 * the server notices. The server is in this process.
 *
 *     deno run examples/cancel.ts
 *     bun examples/cancel.ts
 *
 * @module
 */

import { connect, MemoryFs, pair, serve } from "../mod.ts";

const fs = new MemoryFs({ motd: "hello\n" });

/**
 * A function that never returns by itself. Its signal aborts when the caller
 * cancels the call.
 */
fs.register(
  "ponder",
  ({ signal }, _question: string) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        console.log("server: the caller has given up");
        reject(signal.reason);
      });
    }),
  { params: ["question"], context: true },
);

const [near, far] = pair();
void serve(far, fs);
// No call of this client takes longer than ten seconds.
await using client = await connect(near, { timeout: 10_000 });

// Every call takes a signal. When the signal aborts, the call rejects at once
// with the reason of the signal, and the client sends a Tflush.
const gaveUp = new AbortController();
setTimeout(() => gaveUp.abort(new Error("the user has left")), 50);
try {
  await client.call("ponder", { argv: ["why?"], signal: gaveUp.signal });
} catch (error) {
  console.log(`client: ${(error as Error).message}`);
}

// Every call also takes its own timeout.
try {
  await client.call("ponder", { argv: ["what?"], timeout: 50 });
} catch (error) {
  console.log(`client: ${(error as Error).message}`);
}

// The connection still works after the cancelled calls.
console.log(
  `client: motd is ${JSON.stringify(await client.readTextFile("motd"))}`,
);
