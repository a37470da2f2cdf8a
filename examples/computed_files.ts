/**
 * Files that are made by functions: one whose content is computed at each open,
 * one that takes lines, one that controls the server. All in one process.
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
  // Each write is a line, whoever writes it.
  write: ({ data, fid }) => {
    log.push(`${fid.uname}: ${decoder.decode(data).trim()}`);
  },
  content: () => log.map((line) => `${line}\n`).join(""),
});
fs.define("ctl", {
  // All that an open wrote, when it is clunked; what is wrong is told then.
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
