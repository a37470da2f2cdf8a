// The far end of rpc_bench.ts and server_time.ts, in a process of its own: a
// tree, a raw responder, and the CPU time that the process has used. It prints
// the two addresses.

import { cpuUsage } from "node:process";
import { listen, MemoryFs } from "../mod.ts";
import { listen as listenRaw } from "../transport.ts";
import { answerRaw } from "./raw.ts";
import { content } from "./tree.ts";

const fs = new MemoryFs(content());
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
fs.register("cpu", () => {
  const { user, system } = cpuUsage();
  return user + system;
});
const server = await listen("tcp://127.0.0.1:0", fs);
const raw = await listenRaw("tcp://127.0.0.1:0");
console.log(JSON.stringify([server.addr, raw.addr]));
for await (const connection of raw) void answerRaw(connection);
