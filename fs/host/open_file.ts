// A file of the host that a fid has open.

import { NinePError } from "../../codec.ts";
import type { ReadRequest, WriteRequest } from "../../server.ts";
import type { OpenFile } from "../tree.ts";
import { Batches, type Span, type Waiting } from "./batches.ts";
import { BIG, codeOfError, type Handle, type HostStats } from "./system.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/**
 * Minimum of bytes that a read asks for, if the client wants as many. Reads are
 * limited by the known size of the file, so that a small file does not need a
 * buffer of the size of a reply.
 */
const READ_MIN = 16 * 1024;

/** Maximum of reads of one open file at a time. */
const READS_MAX = 2;

/**
 * Maximum of writes to one open file at a time. A second write would wait in
 * the kernel for the first one, and block a thread.
 */
const WRITES_MAX = 1;

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

/**
 * An open file. Its descriptor is closed once, after the last operation has
 * ended.
 */
export class HostOpenFile implements OpenFile {
  readonly #handle: Handle;
  readonly #events: OpenFileEvents;
  readonly #isAppending: boolean;
  readonly #reads: Batches<Span, Uint8Array> = new Batches(
    (batch) => this.#readAll(batch),
    READS_MAX,
  );
  readonly #writes: Batches<WriteSpan, number> = new Batches(
    (batch) => this.#writeAll(batch),
    WRITES_MAX,
  );
  /**
   * Size that was seen last. It is only a hint, because other processes may
   * change the file.
   */
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

  /** Stores the size from the attributes. */
  seen({ size }: HostStats): void {
    this.#size = Number(size);
  }

  /** Reads at an offset. Returns fewer bytes at the end of the file. */
  async read({ offset, count }: ReadRequest): Promise<Uint8Array> {
    if (count === 0) return NO_BYTES;
    const length = Math.min(count, Math.max(this.#size - offset, READ_MIN));
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
      // A file system may return fewer bytes than the file has. Only a read of
      // 0 bytes proves that the file ends here.
      if (at > 0 && at >= bytesRead) {
        const more = await this.#events.track(
          this.#handle.read(buffer, at, span.length, offset + at),
        );
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
      // Requests of which the host has written some bytes succeed; the client
      // gets the error at its next write.
      answer(batch, taken, writeError(error));
      return;
    } finally {
      if (taken > 0) this.#events.changed();
      if (!this.#isAppending) this.#size = Math.max(this.#size, offset + taken);
    }
    answer(batch, taken, undefined);
  }

  /** Returns the attributes of the file, even if its name was moved. */
  stat(): Promise<HostStats> {
    return this.#use(() => this.#handle.stat(BIG));
  }

  /**
   * Runs an operation with the descriptor. The descriptor stays open until the
   * operation ends, because the host may give its number to another file.
   */
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

/** Joins the bytes of a batch. */
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

/**
 * Resolves each write with the number of its written bytes. Rejects each write
 * of which no byte was written.
 */
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

/**
 * Turns EINVAL into `file too big`, because the cause is an offset beyond the
 * limit of the host.
 */
function writeError(error: unknown): unknown {
  return codeOfError(error) === "EINVAL"
    ? new NinePError("file too big", { cause: error })
    : error;
}
