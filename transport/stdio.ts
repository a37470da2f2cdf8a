// The standard input and output of this process as a connection, for a server
// that its parent starts.

import { unsupported } from "./failure.ts";
import { type NodeReadable, type NodeWritable, Pipes } from "./pipes.ts";
import { fromStreams } from "./streams.ts";
import type { StdioAddress } from "./address.ts";
import type { Connection, Listener } from "./connection.ts";

const ADDR = "stdio:";

/** The parts of Deno that are used here, because plain tsc does not know them. */
interface DenoRuntime {
  readonly stdin: { readonly readable: ReadableStream<Uint8Array> };
  readonly stdout: { readonly writable: WritableStream<Uint8Array> };
}

/** The parts of Bun and Node that are used here. */
interface NodeProcess {
  readonly stdin: NodeReadable;
  readonly stdout: NodeWritable;
}

/** Connects to the parent of this process. */
export function dial(_address: StdioAddress): Promise<Connection> {
  return Promise.resolve(openStdio());
}

/** Listens for the parent of this process, which is the only client. */
export function listen(_address: StdioAddress): Promise<Listener> {
  return Promise.resolve(new StdioListener());
}

/** Makes a connection of the standard input and output. */
function openStdio(): Connection {
  // Casts are needed, because plain tsc does not know these globals.
  const { Deno: deno, process } = globalThis as unknown as {
    readonly Deno?: DenoRuntime;
    readonly process?: NodeProcess;
  };
  const restore = keepConsoleAway();
  if (deno) {
    const { stdin: { readable }, stdout: { writable } } = deno;
    return fromStreams({ readable, writable, close: restore }, ADDR);
  }
  if (!process?.stdin) {
    restore();
    throw unsupported("this runtime has no standard input and output");
  }
  return new Pipes({
    input: process.stdin,
    output: process.stdout,
    peer: ADDR,
    onClose: restore,
  });
}

/**
 * Sends what the program prints by `console` to the standard error, so that it
 * does not get between the messages. Returns a function that ends this.
 */
function keepConsoleAway(): () => void {
  const { debug, info, log } = console;
  const print = console.error.bind(console);
  Object.assign(console, { debug: print, info: print, log: print });
  return () => {
    if (console.log === print) Object.assign(console, { debug, info, log });
  };
}

/** A listener with one connection, which it gives at once. */
class StdioListener implements Listener {
  readonly addr = ADDR;
  #connection: Connection | undefined = openStdio();

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection> {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection) yield connection;
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }

  ref(): void {}

  unref(): void {}
}
