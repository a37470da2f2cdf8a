// Connections over message ports and workers. A port has no flow control, no end
// and often no event for a peer that has gone, so the two ends send each other
// messages about them.

import type { ProtocolError } from "../codec.ts";
import { closed, lost, pending } from "./failure.ts";
import { Inbox } from "./inbox.ts";
import { type Streams, streamsOf } from "./streams.ts";
import type { Connection } from "./connection.ts";

/** Most bytes that a sender has under way before it waits, 1 MiB. */
const WINDOW = 1024 * 1024;
/** Most bytes of one message, 256 KiB. */
const PIECE = 256 * 1024;
/** Bytes that a reader has taken when it says so, 128 KiB. */
const TAKEN = 128 * 1024;
/** Most bytes of a message that costs less to copy than to transfer. */
const SMALL = 2048;

/**
 * One end of a channel of messages: a `MessagePort`, a `Worker`, the global
 * scope of a worker, or their counterparts of `node:worker_threads`.
 */
export interface MessageTarget {
  /** Sends a message to the other end. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
}

/** The members of ports and workers that are used here, where they exist. */
interface Port extends MessageTarget {
  addEventListener?(type: string, listener: (event: PortEvent) => void): void;
  removeEventListener?(
    type: string,
    listener: (event: PortEvent) => void,
  ): void;
  on?(type: string, listener: (value: unknown) => void): void;
  off?(type: string, listener: (value: unknown) => void): void;
  /** Begins to deliver messages; only a MessagePort has it. */
  start?(): void;
  close?(): void;
  /** Ends a worker. */
  terminate?(): unknown;
  ref?(): void;
  unref?(): void;
}

interface PortEvent {
  readonly data?: unknown;
  readonly message?: unknown;
  readonly error?: unknown;
}

/**
 * A message that is no data.
 *
 * - `open`: the sender listens. Both ends send it first, and again in answer to
 *   the first one that they get, because a message to an end that does not
 *   listen yet can be lost. An end sends no data before.
 * - `taken`: the reader has taken so many bytes more.
 * - `end`: no data follow.
 * - `close`: the connection is closed.
 */
interface Control {
  readonly ninep: "open" | "taken" | "end" | "close";
  readonly bytes?: number;
}

/** Ports that a connection uses. */
const inUse = new WeakSet<MessageTarget>();

/**
 * Makes a connection over a message port or a worker.
 *
 * The other end must do the same. The client and the server may be on either
 * side. The connection takes the ArrayBuffers among the messages, and the
 * objects with a member `ninep`; it ignores all other messages, so that a
 * program may exchange messages of its own.
 *
 * Closing the connection closes a MessagePort. A worker goes on. When a program
 * calls `terminate()` of the worker, or the worker fails or exits, pending calls
 * reject.
 *
 * @param port A `MessagePort`, a `Worker`, or `self` in a worker; also
 *   `parentPort` and `Worker` of `node:worker_threads`.
 * @param peer Label of the peer for messages, `port` or `worker` by default.
 * @returns The connection.
 * @throws {TypeError} Another connection uses the port.
 *
 * @example Two ends of a MessageChannel
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, fromPort, MemoryFs, serve } from "@ninep/ninep";
 *
 * const { port1, port2 } = new MessageChannel();
 * const served = serve(fromPort(port2), new MemoryFs({ motd: "hello\n" }));
 * const client = await connect(fromPort(port1));
 * assertEquals(await client.readTextFile("motd"), "hello\n");
 * await client.close();
 * await served;
 * ```
 */
export function fromPort(port: MessageTarget, peer?: string): Connection {
  if (inUse.has(port)) {
    throw new TypeError(
      "Cannot use the port: another connection uses it",
    );
  }
  return new PortConnection(port, peer);
}

class PortConnection implements Connection {
  readonly peer: string;
  /** Number of bytes that the peer has read. */
  taken = 0;
  readonly #port: Port;
  readonly #inbox: Inbox;
  #streams: Streams | undefined;
  /** True when the peer listens. */
  #isOpen = false;
  /** Number of bytes that were sent, and that the peer has not read. */
  #underway = 0;
  /** Number of bytes read here that the peer has not been told of. */
  #untold = 0;
  /** False when this runtime cannot transfer a buffer. */
  #canTransfer = true;
  #rest: Uint8Array | undefined;
  #writer: PromiseWithResolvers<void> | undefined;
  #writeEnded = false;
  #closed = false;
  #error: ProtocolError | undefined;
  readonly #removers: (() => void)[] = [];

  constructor(port: Port, peer?: string) {
    const isWorker = port.terminate !== undefined;
    this.peer = peer ?? (isWorker ? "worker" : "port");
    this.#port = port;
    this.#inbox = new Inbox(this.peer);
    inUse.add(port);
    this.#on("message", (data) => this.#received(data));
    this.#on("messageerror", () => this.#died("a message cannot be read"));
    // A port of Node, Deno or Chromium, a worker of Bun.
    this.#on("close", () => this.#died());
    this.#on("exit", () => this.#died("the worker has exited")); // Node.
    if (isWorker) {
      this.#on("error", (error) => this.#died(failureOf(error)));
      this.#watchTerminate();
    }
    port.start?.();
    this.#post({ ninep: "open" });
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  async read(buffer: Uint8Array): Promise<Uint8Array | null> {
    const bytes = await this.#inbox.read(buffer);
    if (bytes !== null && !this.#closed) {
      this.#untold += bytes.length;
      if (this.#untold >= TAKEN) {
        this.#post({ ninep: "taken", bytes: this.#untold });
        this.#untold = 0;
      }
    }
    return bytes;
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#writer) return Promise.reject(pending(this.peer, "write to"));
    if (this.#error) return Promise.reject(this.#error);
    const rest = this.#send(bytes);
    if (rest === undefined) return undefined;
    this.#rest = rest;
    this.#writer = Promise.withResolvers();
    return this.#writer.promise;
  }

  closeWrite(): Promise<void> {
    if (!this.#writeEnded) {
      this.#writeEnded = true;
      this.#post({ ninep: "end" });
    }
    return Promise.resolve();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeEnded = true;
    if (!this.#error) this.#post({ ninep: "close" });
    this.#inbox.close();
    this.#settleWrite(closed(this.peer));
    this.#release();
  }

  ref(): void {
    this.#port.ref?.();
  }

  unref(): void {
    this.#port.unref?.();
  }

  /**
   * Sends as many bytes as the window allows. Returns the rest, or undefined
   * when all bytes were sent.
   */
  #send(bytes: Uint8Array): Uint8Array | undefined {
    let at = 0;
    while (at < bytes.length) {
      if (!this.#isOpen || this.#underway >= WINDOW) return bytes.subarray(at);
      // The message needs a buffer of its own, because a copy of a view has its
      // whole buffer.
      const piece = new Uint8Array(bytes.subarray(at, at + PIECE));
      at += piece.length;
      this.#underway += piece.length;
      this.#sendPiece(piece.buffer);
    }
    return undefined;
  }

  #sendPiece(buffer: ArrayBuffer): void {
    const port = this.#port;
    if (this.#canTransfer && buffer.byteLength > SMALL) {
      try {
        return port.postMessage(buffer, [buffer]);
      } catch {
        this.#canTransfer = false; // workerd copies all messages.
      }
    }
    port.postMessage(buffer, []);
  }

  #post(message: Control): void {
    this.#port.postMessage(message, []);
  }

  #received(data: unknown): void {
    if (this.#closed || this.#error) return;
    if (data instanceof ArrayBuffer) {
      // What the peer may have under way, if it keeps to its window.
      if (this.#inbox.size + data.byteLength > WINDOW + PIECE) {
        this.#died("the peer sends more than the window of 1 MiB");
      } else {
        this.#inbox.push(new Uint8Array(data));
      }
      return;
    }
    if (typeof data !== "object" || data === null || !("ninep" in data)) return;
    const bytes = "bytes" in data ? data.bytes : undefined;
    switch (data.ninep) {
      case "open":
        if (this.#isOpen) return;
        this.#isOpen = true;
        this.#post({ ninep: "open" });
        this.#sendRest();
        return;
      case "taken":
        if (
          typeof bytes !== "number" || !(bytes >= 0 && bytes <= this.#underway)
        ) {
          this.#died("the peer has taken more than it got");
          return;
        }
        this.#underway -= bytes;
        this.taken += bytes;
        this.#sendRest();
        return;
      case "end":
        this.#inbox.end();
        return;
      case "close":
        this.#died();
    }
  }

  #sendRest(): void {
    if (this.#rest === undefined) return;
    this.#rest = this.#send(this.#rest);
    if (this.#rest === undefined) this.#settleWrite();
  }

  /**
   * Ends the connection, because the peer has closed it (without a cause), or
   * because of an error.
   */
  #died(cause?: unknown): void {
    if (this.#closed || this.#error) return;
    const error = typeof cause === "string" ? new Error(cause) : cause;
    this.#error = lost(this.peer, error);
    // Bytes that came before can still be read.
    this.#inbox.end(cause === undefined ? undefined : this.#error);
    this.#settleWrite(this.#error);
    this.#release();
  }

  #settleWrite(error?: Error): void {
    const writer = this.#writer;
    this.#rest = this.#writer = undefined;
    if (error) writer?.reject(error);
    else writer?.resolve();
  }

  /** Calls `listener` with the data, or the error, of each event. */
  #on(type: string, listener: (value: unknown) => void): void {
    const port = this.#port;
    if (port.addEventListener) {
      const onEvent = (event: PortEvent) => {
        const { data, error, message } = event;
        listener(type === "error" ? error || message : data);
      };
      port.addEventListener(type, onEvent);
      this.#removers.push(() => port.removeEventListener?.(type, onEvent));
    } else {
      port.on?.(type, listener);
      this.#removers.push(() => port.off?.(type, listener));
    }
  }

  /**
   * Notices a call of terminate(): no event tells of it in browsers and in
   * Deno.
   */
  #watchTerminate(): void {
    const port = this.#port;
    const { terminate } = port;
    const own = Object.getOwnPropertyDescriptor(port, "terminate");
    const watched = () => {
      const result = terminate?.call(port);
      this.#died("the worker was terminated");
      return result;
    };
    port.terminate = watched;
    this.#removers.push(() => {
      if (port.terminate !== watched) return; // A later caller has put its own.
      if (own) Object.defineProperty(port, "terminate", own);
      else delete port.terminate;
    });
  }

  /** Removes the listeners, and closes a MessagePort. */
  #release(): void {
    for (const remove of this.#removers.splice(0)) remove();
    const port = this.#port;
    if (port.start && port !== parentPort()) port.close?.();
    inUse.delete(port);
  }
}

/**
 * Returns the error of a worker that has failed. Browsers give its text; Bun
 * gives it among the lines of the source.
 */
function failureOf(error: unknown): Error {
  if (error instanceof Error) {
    return new Error(`the worker failed: ${error.message}`, { cause: error });
  }
  const line = /^(?:Uncaught )?\w*[Ee]rror: (.*)$/m.exec(`${error}`)?.[1];
  return new Error(`the worker failed: ${line ?? error}`);
}

/**
 * Returns the port of a worker of Node to its parent. A worker that closes it
 * ends.
 */
function parentPort(): MessageTarget | null | undefined {
  // A cast is needed, because the types of Node are a package.
  const { process } = globalThis as unknown as {
    process?: {
      getBuiltinModule?(name: string): { parentPort: MessageTarget | null };
    };
  };
  return process?.getBuiltinModule?.("node:worker_threads").parentPort;
}
