// A file of the host that a fid has open.

import { NinePError } from "../../codec.ts";
import type { ReadRequest, WriteRequest } from "../../server.ts";
import type { OpenFile } from "../tree.ts";
import { Batches, type Span, type Waiting } from "./batches.ts";
import { BIG, codeOfError, type Handle, type HostStats } from "./system.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/**
 * Bytes that a read asks for at least, where the client wants so many: a small
 * file does not cost a buffer of the size of a reply.
 */
const LEAST = 16 * 1024;

/** Reads of the host at once, of one open file. */
const READS = 2;

/** Writes of the host at once: of two writes to one file, one waits for the other in the kernel, and keeps a thread. */
const WRITES = 1;

/** Callbacks of an open file. */
export interface OpenFileEvents {
  /** Waits for an operation, and gives its error a code. */
  track<T>(promise: Promise<T>): Promise<T>;
  /** The content has changed. */
  changed(): void;
  /** The descriptor is closed. */
  closed(file: HostOpenFile): void;
}

/** A part of a file to write. */
interface WriteSpan extends Span {
  readonly data: Uint8Array;
}

/** An open file. Its descriptor is closed once, when nothing uses it any more. */
export class HostOpenFile implements OpenFile {
  readonly #handle: Handle;
  readonly #events: OpenFileEvents;
  readonly #isAppending: boolean;
  readonly #reads: Batches<Span, Uint8Array> = new Batches(
    (batch) => this.#readAll(batch),
    READS,
  );
  readonly #writes: Batches<WriteSpan, number> = new Batches(
    (batch) => this.#writeAll(batch),
    WRITES,
  );
  /** Size when it was last seen: a hint, for files change by themselves. */
  #size = 0;
  #running = 0;
  #closed: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  /**
   * Takes over a descriptor.
   *
   * @param isAppending True when it was opened to append.
   */
  constructor(handle: Handle, isAppending: boolean, events: OpenFileEvents) {
    this.#handle = handle;
    this.#isAppending = isAppending;
    this.#events = events;
  }

  /** The size is known now. */
  seen({ size }: HostStats): void {
    this.#size = Number(size);
  }

  /** Reads at an offset; fewer bytes where the file ends. */
  async read({ offset, count }: ReadRequest): Promise<Uint8Array> {
    if (count === 0) return NO_BYTES;
    const length = Math.min(count, Math.max(this.#size - offset, LEAST));
    const data = await this.#use(() => this.#reads.add({ offset, length }));
    const end = offset + data.length;
    if (data.length < length) this.#size = end;
    // The file has grown: the next read asks for more.
    else if (end > this.#size) this.#size = end + 2 * length;
    return data;
  }

  async #readAll(
    batch: readonly Waiting<Span, Uint8Array>[],
  ): Promise<void> {
    const { offset } = batch[0].span;
    const length = lengthOf(batch);
    // A new buffer each time: a reply may still be copied from the last one.
    const buffer = new Uint8Array(length);
    let { bytesRead } = await this.#events.track(
      this.#handle.read(buffer, 0, length, offset),
    );
    let at = 0;
    for (const { span, resolve } of batch) {
      const end = at + span.length;
      // A file system may give less than there is. The end, it has to tell.
      if (at > 0 && at >= bytesRead) {
        const more = await this.#handle
          .read(buffer, at, span.length, offset + at);
        if (more.bytesRead > 0) bytesRead = at + more.bytesRead;
      }
      resolve(buffer.subarray(at, Math.max(at, Math.min(end, bytesRead))));
      at = end;
    }
  }

  /** Writes all bytes at an offset, or at the end of a file that is open for appending. */
  async write({ offset, data, append }: WriteRequest): Promise<number> {
    // The host would write at another offset.
    if (append && !this.#isAppending) {
      throw new NinePError("Operation not supported");
    }
    const { length } = data;
    if (length === 0) return 0;
    return await this.#use(() => this.#writes.add({ offset, length, data }));
  }

  async #writeAll(
    batch: readonly Waiting<WriteSpan, number>[],
  ): Promise<void> {
    const { offset, data: first } = batch[0].span;
    const length = lengthOf(batch);
    const data = batch.length === 1 ? first : joined(batch, length);
    let taken = 0;
    try {
      while (taken < length) {
        const position = this.#isAppending ? null : offset + taken;
        const { bytesWritten } = await this.#events.track(
          this.#handle.write(data, taken, length - taken, position),
        );
        if (bytesWritten === 0) throw new NinePError("i/o error");
        taken += bytesWritten;
      }
    } catch (error) {
      // The requests that have got bytes into the file are answered below; a
      // client learns of the error at its next write.
      answer(batch, taken, writeError(error));
      return;
    } finally {
      if (taken > 0) this.#events.changed();
      if (!this.#isAppending) this.#size = Math.max(this.#size, offset + taken);
    }
    answer(batch, taken, undefined);
  }

  /** Tells the attributes of the file, wherever its name is. */
  stat(): Promise<HostStats> {
    return this.#use(() => this.#handle.stat(BIG));
  }

  /** The number of a descriptor is used again: none is closed while something uses it. */
  async #use<T>(use: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new NinePError("bad use of fid");
    this.#running++;
    try {
      return await use();
    } finally {
      this.#running--;
      if (this.#running === 0) this.#idle?.();
    }
  }

  /** Closes the descriptor. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    if (this.#running > 0) {
      await new Promise<void>((idle) => this.#idle = idle);
    }
    try {
      await this.#handle.close();
    } finally {
      this.#events.closed(this);
    }
  }
}

/** Bytes of a batch. */
function lengthOf(batch: readonly { readonly span: Span }[]): number {
  return batch.reduce((sum, { span }) => sum + span.length, 0);
}

/** The bytes of a batch, one behind the other. */
function joined(
  batch: readonly { readonly span: WriteSpan }[],
  length: number,
): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const { span } of batch) {
    bytes.set(span.data, at);
    at += span.length;
  }
  return bytes;
}

/** Tells each write how many of its bytes were taken; the error those of which none was. */
function answer(
  batch: readonly Waiting<WriteSpan, number>[],
  taken: number,
  error: unknown,
): void {
  let left = taken;
  for (const { span, resolve, reject } of batch) {
    const count = Math.min(left, span.length);
    left -= count;
    if (count > 0) resolve(count);
    else reject(error);
  }
}

/** An offset beyond the host's limit is no wrong argument. */
function writeError(error: unknown): unknown {
  return codeOfError(error) === "EINVAL"
    ? new NinePError("file too big", { cause: error })
    : error;
}
