/**
 * Lists a directory of a server, as `ls -l` does.
 *
 *     deno run --allow-net examples/ls.ts ADDRESS [PATH]
 *     bun examples/ls.ts ADDRESS [PATH]
 *
 * @module
 */

import process from "node:process";
import { connect, printable } from "../mod.ts";

const [address, path = "/"] = process.argv.slice(2);
if (address === undefined) {
  console.error("Usage: ls.ts ADDRESS [PATH]");
  process.exit(2);
}

/** The nine bits of a mode: `rwxr-x---`. */
function permissions(mode: number): string {
  return [..."rwxrwxrwx"].map((letter, i) => mode & 0o400 >> i ? letter : "-")
    .join("");
}

async function list() {
  await using client = await connect(address);
  for await (const stat of client.readDir(path)) {
    const { isDirectory, mode, uid, gid, length, mtime, name } = stat;
    const type = isDirectory ? "d" : "-";
    const time = new Date(mtime * 1000).toISOString().slice(0, 16);
    const size = `${length}`.padStart(9);
    const attributes = [type + permissions(mode), uid, gid, size, time, name];
    console.log(printable(attributes.join(" ")));
  }
}

await list().catch((error: Error) => {
  console.error(printable(error.message));
  process.exitCode = 1;
});
