// A child that serves on its standard input and output, and kills itself.

import process from "node:process";
import { listen, MemoryFs } from "../../mod.ts";

const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
fs.register("kill", () => process.kill(process.pid, "SIGKILL"));
const server = await listen("stdio:", fs);
await server.finished;
