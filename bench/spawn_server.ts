// Starts the server process of a bench, under the same runtime as this process.

import { spawn } from "node:child_process";
import process from "node:process";

/** A server in a process of its own. */
export interface ServerProcess {
  /** Address of the tree. */
  readonly tree: string;
  /** Address of the raw responder. */
  readonly raw: string;
  /** Address of a listener that does nothing. */
  readonly idle: string;
  readonly pid: number;
  /** Host and port of the HTTP server, if the script has one. */
  readonly http: string;
  stop(): void;
}

/**
 * Starts a script that prints its addresses. The script ends at the latest when
 * this process ends.
 */
export function spawnServer(name = "rpc_server.ts"): Promise<ServerProcess> {
  const script = new URL(name, import.meta.url).pathname;
  const args = "Deno" in globalThis
    ? ["run", "--quiet", "--no-check", "--allow-net=127.0.0.1", script]
    : [script];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stop = () => {
    child.kill();
  };
  process.on("exit", stop);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the server ended: ${code}`)));
    child.stdout.on("data", (line: Uint8Array) => {
      const addresses = JSON.parse(new TextDecoder().decode(line));
      resolve({ ...addresses, pid: child.pid, stop });
    });
  });
}
