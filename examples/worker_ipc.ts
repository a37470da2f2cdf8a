/**
 * A worker serves functions and a stream to the main thread, and the main thread
 * serves a file to the worker: each over a port of its own.
 *
 *     deno run --allow-read examples/worker_ipc.ts
 *     bun examples/worker_ipc.ts
 *
 * @module
 */

import { connect, MemoryFs, serve } from "../mod.ts";

const url = new URL("./worker_ipc_worker.ts", import.meta.url);
const worker = new Worker(url, { type: "module" });

const { port1, port2 } = new MessageChannel();
const served = serve(port1, new MemoryFs({ name: "glenda" }));
worker.postMessage("a port to the main thread", [port2]);

const client = await connect(worker);
console.log(await client.call("square", { argv: [12] }));
console.log(await client.call("greet"));
const file = await client.open("countdown");
for await (const line of file.lines()) console.log(line);
await file.close();

// The worker closes its own client when it sees this.
await client.close();
await served;
worker.terminate();
