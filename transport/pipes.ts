// Streams of Node, as standard input and output and as pipes of a child process
// have them under Bun and Node.

import { closed, lost, pending } from "./failure.ts";
import { Inbox, INBOX_LIMIT } from "./inbox.ts";
import { type Streams, streamsOf } from "./streams.ts";
import type { Connection } from "./connection.ts";

/** The members of a `Readable` of node:stream that are used here. */
export interface NodeReadable {
  on(event: string, listener: (value: Uint8Array & Error) => void): unknown;
  pause(): unknown;
  resume(): unknown;
  destroy(): unknown;
  ref?(): unknown;
  unref?(): unknown;
}

/** The members of a `Writable` of node:stream that are used here. */
export interface NodeWritable {
  on(event: string, listener: (error: Error) => void): unknown;
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
  end(done?: () => void): unknown;
  destroy?(): unknown;
  ref?(): unknown;
  unref?(): unknown;
}

/** A connection over two streams of Node. */
export class Pipes implements Connection {
  readonly peer: string;
  readonly #input: NodeReadable;
  readonly #output: NodeWritable;
  readonly #onClose: (() => void) | undefined;
  readonly #inbox: Inbox;
  #streams: Streams | undefined;
  #paused = false;
  #reject: ((error: Error) => void) | undefined;
  #writeEnded = false;
  #closed = false;
  #error: Error | undefined;

  /**
   * @param input Bytes from the peer.
   * @param output Bytes to the peer.
   * @param peer Label of the peer.
   * @param onClose Called once by close().
   */
  constructor(
    input: NodeReadable,
    output: NodeWritable,
    peer: string,
    onClose?: () => void,
  ) {
    this.peer = peer;
    this.#input = input;
    this.#output = output;
    this.#onClose = onClose;
    const inbox = this.#inbox = new Inbox(peer);
    input.on("data", (chunk) => {
      // A small chunk is a view of a buffer that other chunks share.
      inbox.push(new Uint8Array(chunk));
      if (inbox.size < INBOX_LIMIT || this.#paused) return;
      this.#paused = true;
      input.pause();
    });
    input.on("end", () => inbox.end());
    input.on("close", () => inbox.end());
    input.on("error", (error) => this.#failed(error));
    output.on("error", (error) => this.#failed(error));
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  read(buffer: Uint8Array): Promise<Uint8Array | null> {
    const bytes = this.#inbox.read(buffer);
    if (this.#paused && this.#inbox.size < INBOX_LIMIT) {
      this.#paused = false;
      this.#input.resume();
    }
    return bytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#reject) return Promise.reject(pending(this.peer, "write to"));
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#output.write(bytes, (error) => {
        this.#reject = undefined;
        if (error) reject(lost(this.peer, error));
        else resolve();
      });
    });
  }

  closeWrite(): Promise<void> {
    if (this.#writeEnded) return Promise.resolve();
    this.#writeEnded = true;
    return new Promise((resolve) => {
      // A stream that has failed does not call back.
      if (this.#error) return resolve();
      this.#output.on("close", () => resolve());
      this.#output.end(() => resolve());
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.close();
    this.#input.destroy();
    if (this.#reject) {
      this.#reject(closed(this.peer));
      this.#output.destroy?.();
    } else if (!this.#writeEnded) this.#output.end();
    this.#writeEnded = true;
    this.#onClose?.();
  }

  ref(): void {
    this.#input.ref?.();
    this.#output.ref?.();
  }

  unref(): void {
    this.#input.unref?.();
    this.#output.unref?.();
  }

  #failed(cause: Error): void {
    if (this.#closed || this.#error) return;
    this.#error = lost(this.peer, cause);
    this.#inbox.end(this.#error);
    this.#reject?.(this.#error);
  }
}
