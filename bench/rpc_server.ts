// The servers of the benches, in a separate process: a tree, a raw responder, a
// listener that does nothing, and functions that return the CPU time and the
// memory of the process. The program prints the addresses.

import { cpuUsage, memoryUsage } from "node:process";
import { listen, MemoryFs } from "../mod.ts";
import { listen as listenRaw } from "../transport.ts";
import { answerRaw } from "./raw.ts";
import { content } from "./tree.ts";

const fs = new MemoryFs(content(), { uid: "none" });
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
fs.register("cpu", () => {
  const { user, system } = cpuUsage();
  return user + system;
});
fs.register("rss", () => memoryUsage().rss);
fs.register("fill", (path: string, count: number) => {
  fs.mkdir(path);
  for (let i = 0; i < count; i++) fs.create(`${path}/entry${i}`);
}, { params: ["path", "count"] });

const server = await listen("tcp://127.0.0.1:0", fs);
const raw = await listenRaw("tcp://127.0.0.1:0");
const idle = await listenRaw("tcp://127.0.0.1:0");
console.log(JSON.stringify({
  tree: server.addr,
  raw: raw.addr,
  idle: idle.addr,
}));
void (async () => {
  for await (const connection of idle) {
    void connection.read?.(new Uint8Array(8));
  }
})();
for await (const connection of raw) void answerRaw(connection);
