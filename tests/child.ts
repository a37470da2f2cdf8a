// A child process under either runtime, as far as tests need one. Under Deno
// not by node:child_process, which reports every killed child as ended by the
// signal, whatever its exit code.

import { type ChildProcess, spawn } from "node:child_process";

/** A process whose output is read as text. */
export interface Child {
  /** What it writes to its standard output. */
  readonly output: ReadableStream<string>;
  /** Exit code, when it has ended. */
  readonly ended: Promise<number | null>;
  /** Sends SIGTERM, or another signal. */
  kill(signal?: "SIGTERM" | "SIGINT" | "SIGKILL"): void;
}

/** Starts a process; its errors go to the terminal. */
export function start(command: string, args: string[]): Child {
  return "Deno" in globalThis ? byDeno(command, args) : byNode(command, args);
}

function byDeno(command: string, args: string[]): Child {
  const child = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  return {
    output: child.stdout.pipeThrough(new TextDecoderStream()),
    ended: child.status.then(({ code }) => code),
    kill: (signal) => child.kill(signal),
  };
}

function byNode(command: string, args: string[]): Child {
  const child: ChildProcess = spawn(command, args, {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = new ReadableStream<string>({
    start(controller) {
      const decoder = new TextDecoder();
      child.stdout?.on("data", (bytes: Uint8Array) => {
        controller.enqueue(decoder.decode(bytes, { stream: true }));
      });
      child.stdout?.on("end", () => controller.close());
      child.on("error", (error) => controller.error(error));
    },
  });
  const ended = new Promise<number | null>((resolve) => {
    child.on("exit", resolve);
  });
  return { output, ended, kill: (signal) => void child.kill(signal) };
}

/** Reads up to a line's end, and goes on reading so that the child does not block. */
export async function firstLine(child: Child): Promise<string> {
  const reader = child.output.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the process ended after "${text}"`);
    text += value;
  }
  void (async () => {
    while (!(await reader.read()).done);
  })();
  return text.slice(0, text.indexOf("\n"));
}
