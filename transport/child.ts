// A child process as a connection: its standard output and input.

import { cannot, lost, unsupported } from "./failure.ts";
import { type Channel, openChannel } from "./channel.ts";
import { type NodeReadable, type NodeWritable, Pipes } from "./pipes.ts";
import { fromStreams, type Streams, streamsOf } from "./streams.ts";
import type { Connection } from "./connection.ts";

/** Milliseconds that a closed child has to end before it gets a signal. */
const END_MS = 3000;
/** Milliseconds between the end of the output and the end of the process. */
const EXIT_MS = 1000;

/** Options of a child process. */
export interface ChildOptions {
  /** Working directory of the child, by default that of this process. */
  cwd?: string | undefined;
  /** Environment variables for the child, beside those of this process. */
  env?: Record<string, string> | undefined;
  /**
   * What happens to the standard error of the child: by default this process
   * has it, too.
   */
  stderr?: "inherit" | "null" | undefined;
}

/** The parts of Deno that are used here, because plain tsc does not know them. */
interface DenoRuntime {
  Command: new (command: string, options: DenoOptions) => {
    spawn(): DenoChild;
  };
}

interface DenoOptions {
  args: readonly string[];
  stdin: "piped";
  stdout: "piped";
  stderr: "inherit" | "null";
  cwd?: string;
  env?: Record<string, string>;
}

interface DenoChild {
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly status: Promise<{ code: number; signal: string | null }>;
  kill(signal: Signal): void;
  ref(): void;
  unref(): void;
}

/** The parts of node:child_process that are used here. */
interface NodeChildProcess {
  spawn(
    command: string,
    args: readonly string[],
    options: {
      stdio: readonly ["pipe", "pipe", "inherit" | "ignore"];
      cwd: string | undefined;
      env: Record<string, string | undefined>;
    },
  ): NodeChild;
}

interface NodeChild {
  readonly stdin: NodeWritable;
  readonly stdout: NodeReadable;
  once(event: "spawn", listener: () => void): void;
  once(event: "error", listener: (error: Error) => void): void;
  once(
    event: "exit",
    listener: (code: number | null, signal: string | null) => void,
  ): void;
  kill(signal: Signal): boolean;
  ref(): void;
  unref(): void;
}

interface NodeProcess {
  readonly env: Record<string, string | undefined>;
  getBuiltinModule(name: string): NodeChildProcess;
}

type Signal = "SIGTERM" | "SIGKILL";

/** A child that runs, and the connection over its pipes. */
interface Child {
  readonly pipes: Connection;
  /** Resolves when the child has ended, with the reason for people. */
  readonly ended: Promise<string>;
  kill(signal: Signal): void;
  ref(): void;
  unref(): void;
}

/**
 * Starts a command and returns the connection over its pipes. Closing the
 * connection ends the child: the child sees the end of its input, gets SIGTERM
 * after 3 seconds, and SIGKILL after 3 more.
 *
 * @param command Name or path of the program.
 * @param args Arguments of the program.
 * @param options Directory, environment, standard error.
 * @throws {ProtocolError} The program cannot be started; `code` is `ENOENT`,
 *   `EACCES`, `ENOTCAPABLE` …
 */
export async function startChild(
  command: string,
  args: readonly string[],
  options: ChildOptions,
): Promise<Connection> {
  // Casts are needed, because plain tsc does not know these globals.
  const { Deno: deno, process } = globalThis as unknown as {
    readonly Deno?: DenoRuntime;
    readonly process?: NodeProcess;
  };
  try {
    if (deno) {
      const child = startByDeno(deno, command, args, options);
      return new ChildConnection(command, child);
    }
    if (!process?.getBuiltinModule) {
      throw unsupported("this runtime has no processes");
    }
    const child = await startByNode(process, command, args, options);
    return new ChildConnection(command, child);
  } catch (error) {
    throw cannot("start", command, error);
  }
}

function startByDeno(
  deno: DenoRuntime,
  command: string,
  args: readonly string[],
  { cwd, env, stderr = "inherit" }: ChildOptions,
): Child {
  const child = new deno.Command(command, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  }).spawn();
  const { stdout: readable, stdin: writable, status } = child;
  return {
    pipes: fromStreams({ readable, writable }, command),
    ended: status.then(({ code, signal }) => describeExit(code, signal)),
    kill: (signal) => child.kill(signal),
    ref: () => child.ref(),
    unref: () => child.unref(),
  };
}

async function startByNode(
  process: NodeProcess,
  command: string,
  args: readonly string[],
  { cwd, env, stderr = "inherit" }: ChildOptions,
): Promise<Child> {
  const { spawn } = process.getBuiltinModule("node:child_process");
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", stderr === "null" ? "ignore" : stderr],
    cwd,
    env: { ...process.env, ...env },
  });
  const ended = new Promise<string>((resolve) =>
    child.once("exit", (code, signal) => resolve(describeExit(code, signal)))
  );
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  const pipes = new Pipes({
    input: child.stdout,
    output: child.stdin,
    peer: command,
  });
  return {
    pipes,
    ended,
    kill: (signal) => void child.kill(signal),
    ref: () => {
      child.ref();
      pipes.ref();
    },
    unref: () => {
      child.unref();
      pipes.unref();
    },
  };
}

function describeExit(code: number | null, signal: string | null): string {
  return signal === null
    ? `the child ended with code ${code}`
    : `the child was ended by ${signal}`;
}

/** The connection to a child. */
class ChildConnection implements Connection {
  readonly peer: string;
  readonly closed: Promise<void>;
  readonly #child: Child;
  readonly #channel: Channel;
  #streams: Streams | undefined;
  #closed = false;
  /** The end of the child, for people. */
  #end: string | undefined;

  constructor(command: string, child: Child) {
    this.peer = command;
    this.#child = child;
    this.#channel = openChannel(child.pipes);
    this.closed = child.ended.then((end) => {
      this.#end = end;
    });
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  async read(buffer: Uint8Array): Promise<Uint8Array | null> {
    try {
      const bytes = await this.#channel.read(buffer);
      if (bytes === null && !this.#closed) await this.#throwEnd();
      return bytes;
    } catch (error) {
      if (!this.#closed) await this.#throwEnd();
      throw error;
    }
  }

  free(chunk: Uint8Array): void {
    this.#channel.free?.(chunk);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    return this.#channel.write(bytes)?.catch(async (error) => {
      if (!this.#closed) await this.#throwEnd();
      throw error;
    });
  }

  closeWrite(): Promise<void> {
    return this.#channel.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#channel.close();
    void this.#endChild();
  }

  ref(): void {
    this.#child.ref();
  }

  unref(): void {
    this.#child.unref();
  }

  /**
   * Throws an error with the reason for the end of the child. The reason comes
   * a moment after the end of the pipes.
   */
  async #throwEnd(): Promise<void> {
    await this.#untilEnd(EXIT_MS);
    if (this.#end === undefined || this.#closed) return;
    throw lost(this.peer, new Error(this.#end));
  }

  /** Waits for the end of the child, and makes it end. */
  async #endChild(): Promise<void> {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await this.#untilEnd(END_MS);
      if (this.#end !== undefined) return;
      try {
        this.#child.kill(signal);
      } catch {
        // The child has just ended.
      }
    }
  }

  /** Waits until the child has ended, or for some milliseconds. */
  async #untilEnd(milliseconds: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, milliseconds);
    });
    await Promise.race([this.#child.ended, late]);
    clearTimeout(timer);
  }
}
