/**
 * The worker of `worker_ipc.ts`: it serves functions and a stream to the main
 * thread, and is a client of the tree of the main thread.
 *
 * @module
 */

import { type Client, connect, MemoryFs, serve } from "../mod.ts";

const encoder = new TextEncoder();

function tree(main: Client): MemoryFs {
  const fs = new MemoryFs();
  fs.register("square", (n: number) => n * n, { params: ["n"] });
  fs.register("greet", async () => `hello, ${await main.readTextFile("name")}`);
  // Each read gets the next line, so the reader decides about the pace.
  fs.define("countdown", {
    open: () => ({ left: 3 }),
    read: (_request, _context, state) =>
      encoder.encode(state.left > 0 ? `${state.left--}\n` : ""),
  });
  return fs;
}

// The first message has the port to the main thread.
addEventListener("message", async (event) => {
  if (!(event instanceof MessageEvent) || event.ports.length === 0) return;
  await using main = await connect(event.ports[0]);
  // The cast tells the checker that this module runs in a worker.
  await serve(globalThis as unknown as MessagePort, tree(main));
});
