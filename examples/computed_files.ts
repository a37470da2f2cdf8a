/**
 * Defines files by functions: a file whose content is computed at each open, a
 * log file that clients append lines to, and a file that controls the server.
 *
 *     deno run examples/computed_files.ts
 *     bun examples/computed_files.ts
 *
 * @module
 */

import { connect, MemoryFs, NinePError, pair, serve } from "../mod.ts";

const decoder = new TextDecoder();
const log: string[] = [];
let unit = 1;

const fs = new MemoryFs();
fs.define("log", {
  // Each write is a line of the log.
  write: ({ data }, { uname }) => {
    log.push(`${uname}: ${decoder.decode(data).trim()}`);
  },
  content: () => log.map((line) => `${line}\n`).join(""),
});
fs.define("ctl", {
  // Called at the clunk, with all bytes that were written. If it throws, the
  // clunk fails.
  written: (data) => {
    const [word, value] = decoder.decode(data).trim().split(" ");
    if (word !== "unit") throw new NinePError("unknown control message");
    unit = Number(value);
  },
});
fs.define("length", { content: () => `${log.length / unit}\n` });

const [here, there] = pair();
const served = serve(there, fs);
const client = await connect(here, { uname: "glenda" });

for (const text of ["first", "second"]) {
  await client.writeTextFile("log", text, { append: true });
}
console.log(await client.readTextFile("log"));

await client.writeTextFile("ctl", "unit 2");
console.log(`length: ${await client.readTextFile("length")}`);

try {
  await client.writeTextFile("ctl", "dance");
} catch (error) {
  console.log(String(error));
}

await client.close();
await served;
