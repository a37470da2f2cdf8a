/**
 * Serves a tree at the edge: by WebSockets, and by POSTs that have a whole
 * session in one body. The same module runs on Deno, Bun and workerd.
 *
 *     deno serve --port 8080 examples/edge.ts
 *     PORT=8080 bun examples/edge.ts
 *
 * workerd takes it as one file: `bun build --outfile edge.js examples/edge.ts`.
 * A client connects to `ws://127.0.0.1:8080`, or to `http://127.0.0.1:8080`.
 *
 * @module
 */

import { MemoryFs, type WebHandler, webHandler } from "../mod.ts";

const fs = new MemoryFs({ motd: "hello from the edge\n" }, { mode: 0o777 });
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });

const handler: WebHandler = webHandler(fs);
export default handler;
