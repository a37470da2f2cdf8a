// The matrix of transports: the client of each runtime works with the server of
// each runtime over each transport that both have. Needs deno, bun and node in
// PATH; NINEP_CONNECTS sets the number of connections of a cell.
//
//     bun tests/matrix.ts [RUNTIME…]

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";

const COMMANDS: Record<string, string[]> = {
  deno: ["deno", "run", "--quiet", "--no-check", "-A"],
  bun: ["bun", "run"],
  node: ["node"],
};
const wanted = process.argv.slice(2);
const runtimes = wanted.length > 0 ? wanted : Object.keys(COMMANDS);
const connects = process.env["NINEP_CONNECTS"] ?? "100";
const folder = mkdtempSync(`${tmpdir()}/ninep_matrix_`);
const script = (name: string) =>
  new URL(`./matrix/${name}.ts`, import.meta.url).pathname;

/** Addresses that a runtime can listen on. */
function addressesOf(runtime: string): string[] {
  const local = "127.0.0.1:0";
  return [
    `tcp://${local}`,
    `tls://${local}`,
    `unix://${folder}/${runtime}.sock`,
    `http://${local}/9p`,
    ...(runtime === "node" ? [] : [`ws://${local}/9p`]), // Node has no server.
  ];
}

/** Runs a program to its end, and returns its output; the first line only when it serves. */
function run(
  command: string[],
  onLine?: (line: string) => void,
): { ended: Promise<string>; kill(): void } {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
    if (output.includes("\n")) onLine?.(output.slice(0, output.indexOf("\n")));
  });
  child.stderr.on("data", (chunk) => output += chunk);
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => resolve(output.trim()));
  });
  return { ended, kill: () => void child.kill("SIGKILL") };
}

/** Runs one cell. Returns the failure, or undefined. */
async function cell(client: string, ...words: string[]) {
  const timer = new AbortController();
  const work = run([...COMMANDS[client] ?? [], script("client"), ...words]);
  const late = setTimeout(() => {
    timer.abort();
    work.kill();
  }, 120_000);
  const output = await work.ended;
  clearTimeout(late);
  if (output === "all right") return undefined;
  return timer.signal.aborted ? `it hangs: ${output}` : output;
}

const failures: string[] = [];
let cells = 0;
try {
  for (const server of runtimes) {
    const command = [...COMMANDS[server] ?? [], script("server")];
    const addresses = await new Promise<string>((resolve, reject) => {
      const child = run([...command, ...addressesOf(server)], resolve);
      child.ended.then((output) => reject(new Error(output)));
      process.once("exit", () => child.kill());
    });
    const targets = [
      ...addresses.split(" ").map((address) => [address, connects]),
      ["spawn", connects, ...command, "stdio:"],
    ];
    for (const client of runtimes) {
      for (const target of targets) {
        const [address = ""] = target;
        const name = `${address.split(":")[0]} from ${client} to ${server}`;
        const failure = await cell(client, ...target);
        cells++;
        if (failure === undefined) continue;
        failures.push(name);
        console.log(`${name}: ${failure}`);
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`matrix: ${cells - failures.length} of ${cells} cells are right`);
process.exit(failures.length > 0 ? 1 : 0);
