// A child process under either runtime, as far as tests need one. Under Deno
// not by node:child_process, which reports every killed child as ended by the
// signal, whatever its exit code.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import process from "node:process";
import { Readable, Writable } from "node:stream";

/** A process whose output is read as text. */
export interface Child {
  /** The standard output of the process. */
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

/** A process that speaks bytes on its standard input and output. */
export interface PipedChild {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** Exit code, when it has ended. */
  readonly ended: Promise<number | null>;
  /** Sends SIGKILL. */
  kill(): void;
}

/** Starts a script under this runtime, with no rights, and has its pipes. */
export function startPiped(...words: string[]): PipedChild {
  const { execPath } = process;
  if ("Deno" in globalThis) {
    const args = ["run", "--quiet", "--no-prompt", ...words];
    const pipes = { stdin: "piped", stdout: "piped" } as const;
    const child = new Deno.Command(execPath, { args, ...pipes }).spawn();
    return {
      readable: child.stdout,
      writable: child.stdin,
      ended: child.status.then(({ code }) => code),
      kill: () => child.kill("SIGKILL"),
    };
  }
  const child = spawn(execPath, words, { stdio: ["pipe", "pipe", "inherit"] });
  return {
    // What node:stream calls a ReadableStream is one.
    readable: Readable.toWeb(child.stdout) as ReadableStream<Uint8Array>,
    writable: Writable.toWeb(child.stdin),
    ended: new Promise((resolve) => child.on("exit", resolve)),
    kill: () => void child.kill("SIGKILL"),
  };
}

/** The end of a process, with its output. */
export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Runs a script to its end, under this runtime, with the right to the network. */
export async function runScript(...words: string[]): Promise<Ended> {
  const flags = ["run", "--quiet", "--no-prompt", "--allow-net"];
  const args = "Deno" in globalThis ? [...flags, ...words] : words;
  const { bytes, ...ended } = await run(process.execPath, args);
  return { ...ended, output: new TextDecoder().decode(bytes) };
}

/** The end of a process, with its output as bytes. */
export interface EndedBytes extends Omit<Ended, "output"> {
  readonly bytes: Uint8Array;
}

/** Runs a command to its end, with something to read, nothing by default. */
export async function run(
  command: string,
  args: string[],
  input: Uint8Array<ArrayBuffer> = new Uint8Array(0),
): Promise<EndedBytes> {
  if (!("Deno" in globalThis)) return await runByNode(command, args, input);
  const child = new Deno.Command(command, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  // It may end without reading.
  const fed = ReadableStream.from([input]).pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await fed;
  return { code, bytes: stdout, errors: new TextDecoder().decode(stderr) };
}

function runByNode(
  command: string,
  args: string[],
  input: Uint8Array,
): Promise<EndedBytes> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      { encoding: "buffer", maxBuffer: Infinity },
      (error, bytes, errors) => {
        const code = Number(error?.code ?? 0);
        // A Buffer is not what assertEquals() takes for a Uint8Array.
        const plain = new Uint8Array(bytes);
        resolve({ code, bytes: plain, errors: errors.toString() });
      },
    );
    child.stdin?.on("error", () => {}); // It may end without reading.
    child.stdin?.end(input);
  });
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
