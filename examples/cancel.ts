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

/** A function that never ends by itself; its signal says when the caller gives up. */
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

// Any call takes a signal. It rejects at once with the signal's reason, and
// the server is sent a Tflush.
const gaveUp = new AbortController();
setTimeout(() => gaveUp.abort(new Error("the user has left")), 50);
try {
  await client.call("ponder", { argv: ["why?"], signal: gaveUp.signal });
} catch (error) {
  console.log(`client: ${(error as Error).message}`);
}

// Any call takes a timeout of its own, too.
try {
  await client.call("ponder", { argv: ["what?"], timeout: 50 });
} catch (error) {
  console.log(`client: ${(error as Error).message}`);
}

// The connection is as good as before.
console.log(
  `client: motd is ${JSON.stringify(await client.readTextFile("motd"))}`,
);
