/**
 * Scripts a program over a Unix socket, such as a window manager: lists its
 * files and reads them. Without an address, this program serves such files
 * itself, and also writes to them.
 *
 *     deno run -A examples/unix_socket.ts [unix:///path/to/socket]
 *     bun examples/unix_socket.ts [unix:///path/to/socket]
 *
 * @module
 */

import process from "node:process";
import { connect, listen, MemoryFs, printable } from "../mod.ts";

/** Makes the files of a window manager. */
function windows(): MemoryFs {
  const fs = new MemoryFs({ colors: "black white\n" }, { mode: 0o777 });
  for (const [number, title] of ["editor", "terminal"].entries()) {
    fs.mkdir(`${number + 1}`, { mode: 0o755 });
    fs.create(`${number + 1}/label`, { data: `${title}\n`, mode: 0o666 });
  }
  return fs;
}

async function show(address: string, isOurs: boolean) {
  await using client = await connect(address);
  for await (const { name, isDirectory } of client.readDir("/")) {
    if (!isDirectory) continue; // No window.
    const label = await client.readTextFile(`${name}/label`);
    console.log(printable(`window ${name}: ${label.trim()}`));
  }
  if (!isOurs) return;
  await client.writeTextFile("1/label", "editor of notes\n");
  console.log(`renamed: ${(await client.readTextFile("1/label")).trim()}`);
}

async function main() {
  const [given] = process.argv.slice(2);
  if (given !== undefined) return await show(given, false);
  const address = `unix:///tmp/ninep_example_${process.pid}.sock`;
  await using server = await listen(address, windows());
  await show(server.addr, true);
}

await main().catch((error: Error) => {
  console.error(printable(error.message));
  process.exitCode = 1;
});
