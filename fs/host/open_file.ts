// A file of the host that a fid has open.

import { NinePError } from "../../codec.ts";
import type { ReadRequest, WriteRequest } from "../../server.ts";
import type { OpenFile } from "../tree.ts";
import { BIG, codeOfError, type Handle, type HostStats } from "./system.ts";

/**
 * Bytes that a read asks for at least, where the client wants so many: a small
 * file does not cost a buffer of the size of a reply.
 */
const LEAST = 16 * 1024;

const NOTHING: Uint8Array = new Uint8Array(0);

/** What an open file tells its file. */
export interface OpenFileEvents {
  /** The content has changed. */
  changed(): void;
  /** The descriptor is closed. */
  closed(file: HostOpenFile): void;
}

/** An open file. Its descriptor is closed once, when nothing uses it any more. */
export class HostOpenFile implements OpenFile {
  readonly #handle: Handle;
  readonly #events: OpenFileEvents;
  readonly #isAppending: boolean;
  /** Size when it was last seen: a hint, for files change by themselves. */
  #size = 0;
  #running = 0;
  #closed: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  /**
   * Takes over a descriptor.
   *
   * @param isAppending Whether it was opened to append.
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
    if (count === 0) return NOTHING;
    const likely = Math.max(this.#size - offset, LEAST);
    // A new buffer each time: a reply may still be copied from the last one.
    const buffer = new Uint8Array(Math.min(count, likely));
    const { bytesRead } = await this.#use((handle) =>
      handle.read(buffer, 0, buffer.length, offset)
    );
    const end = offset + bytesRead;
    if (bytesRead < buffer.length) this.#size = end;
    // The file has grown: the next read asks for more.
    else if (end > this.#size) this.#size = end + 2 * buffer.length;
    return bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead);
  }

  /** Writes all bytes at an offset, or at the end of a file that is open for appending. */
  async write({ offset, data, append }: WriteRequest): Promise<number> {
    // It would go to an offset that nobody has named.
    if (append && !this.#isAppending) {
      throw new NinePError("Operation not supported");
    }
    let taken = 0;
    try {
      await this.#use(async (handle) => {
        while (taken < data.length) {
          const position = append ? null : offset + taken;
          const { bytesWritten } = await handle
            .write(data, taken, data.length - taken, position);
          if (bytesWritten === 0) throw new NinePError("i/o error");
          taken += bytesWritten;
        }
      });
    } catch (error) {
      // The client learns of the error at its next write.
      if (taken === 0) throw writeError(error);
    } finally {
      if (taken > 0) this.#events.changed();
    }
    this.#size = Math.max(this.#size, append ? 0 : offset + taken);
    return taken;
  }

  /** Tells the attributes of the file, wherever its name is. */
  stat(): Promise<HostStats> {
    return this.#use((handle) => handle.stat(BIG));
  }

  /** Brings the content to stable storage. */
  sync(): Promise<void> {
    return this.#use((handle) => handle.sync());
  }

  /** The number of a descriptor is used again: none is closed while something uses it. */
  async #use<T>(use: (handle: Handle) => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new NinePError("bad use of fid");
    this.#running++;
    try {
      return await use(this.#handle);
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

/** An offset beyond what the host can have is no wrong argument. */
function writeError(error: unknown): unknown {
  return codeOfError(error) === "EINVAL"
    ? new NinePError("file too big", { cause: error })
    : error;
}
