// Streams of Node: sockets, pipes of a child process, the standard input and
// output.

import { closed, lost, pending } from "./failure.ts";
import { Inbox } from "./inbox.ts";
import { type Streams, streamsOf } from "./streams.ts";
import type { Address } from "./address.ts";
import type { Certificate, Connection } from "./connection.ts";

/** The members of all streams of node:stream that are used here. */
interface NodeStream {
  on(
    event: string,
    listener: (value: Uint8Array<ArrayBuffer> & Error) => void,
  ): unknown;
  destroy(): unknown;
  /** Only sockets and pipes have it. */
  ref?(): unknown;
  unref?(): unknown;
}

/** The members of a `Readable` that are used here. */
export interface NodeReadable extends NodeStream {
  pause(): unknown;
  resume(): unknown;
}

/** The members of a `Writable` that are used here. */
export interface NodeWritable extends NodeStream {
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
  end(done?: () => void): unknown;
}

/** What a {@linkcode Pipes} is made of. */
export interface PipesInit {
  /** Bytes from the peer. */
  readonly input: NodeReadable;
  /** Bytes to the peer; a socket is both. */
  readonly output: NodeWritable;
  /** Label of the peer. */
  readonly peer: string;
  /** Address of the peer. */
  readonly remote?: Readonly<Address> | undefined;
  /** Certificate of the peer. */
  readonly certificate?: Certificate | undefined;
  /** Called once by close(). */
  readonly onClose?: (() => void) | undefined;
}

/** A connection over streams of Node. */
export class Pipes implements Connection {
  readonly peer: string;
  readonly remote?: Readonly<Address>;
  readonly certificate?: Certificate;
  /** Number of bytes that the system has taken. */
  taken = 0;
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

  /** Takes over the streams. */
  constructor(init: PipesInit) {
    const { input, output, peer, remote, certificate, onClose } = init;
    this.peer = peer;
    if (remote) this.remote = remote;
    if (certificate) this.certificate = certificate;
    this.#input = input;
    this.#output = output;
    this.#onClose = onClose;
    const inbox = this.#inbox = new Inbox(peer);
    input.on("data", (chunk) => {
      const { buffer, byteOffset, byteLength } = chunk;
      inbox.push(new Uint8Array(buffer, byteOffset, byteLength));
      if (this.#paused || !inbox.isFull) return;
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
    if (this.#paused && !this.#inbox.isFull) {
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
        if (error) return reject(lost(this.peer, error));
        this.taken += bytes.length;
        resolve();
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
    if (this.#reject) {
      this.#reject(closed(this.peer));
      this.#output.destroy();
    } else if (!this.#writeEnded) this.#output.end();
    this.#input.destroy();
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
