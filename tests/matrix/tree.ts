// The tree of the matrix's servers, with functions by which a client moves its
// own connection.

import { readdirSync } from "node:fs";
import process from "node:process";
import { MemoryFs, Plan9Exit } from "../../mod.ts";

/** What a server uses. */
export interface Usage {
  /** Resident memory in bytes. */
  readonly memory: number;
  /** Number of open descriptors. */
  readonly descriptors: number;
}

/** Makes the tree. */
export function makeTree(): MemoryFs {
  const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  fs.register("usage", () => usage());
  // Ends the connection in order, after the reply.
  fs.register("exit", () => {
    throw new Plan9Exit("bye");
  });
  // Ends the connection without a word.
  fs.register("cut", ({ connection }) => {
    connection.close();
    return new Promise(() => {});
  }, { context: true });
  fs.register("die", () => process.kill(process.pid, "SIGKILL"));
  fs.register("wait", ({ signal }) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    }), { context: true });
  return fs;
}

function usage(): Usage {
  (globalThis as { gc?: () => void }).gc?.();
  return {
    memory: process.memoryUsage.rss(),
    descriptors: readdirSync("/proc/self/fd").length,
  };
}
