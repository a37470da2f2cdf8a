// Web streams of an open file.

import { bytesOf } from "../transfer/chunks.ts";
import type { Cursor, Handle } from "./handle.ts";
import type { CallerOptions } from "../operation.ts";
import { writeAll } from "../transfer/transfer.ts";
import { READ, WRITE } from "./turns.ts";
import { copyInto, leftOff, ReadAhead, WriteBehind } from "./stream.ts";

/**
 * A readable stream has no timeout, because the file may have no new data for
 * hours.
 */
const NO_TIMEOUT = { timeout: Infinity };

/** Reads a file from its position on, chunk by chunk, and moves the position. */
export class ChunkReader {
  readonly #handle: Handle;
  readonly #cursor: Cursor;
  #ahead: ReadAhead | undefined;

  constructor(handle: Handle, cursor: Cursor) {
    this.#handle = handle;
    this.#cursor = cursor;
  }

  /** Reads the next chunk, or returns undefined at the end. */
  async next(
    options: CallerOptions,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { turns } = this.#handle;
    const rest = turns.take(READ)
      ? options
      : await this.#handle.turn(READ, this.#cursor, options);
    try {
      const ahead = this.#here();
      const chunk = await this.#handle.operate(
        "read",
        rest,
        (signal) => ahead.next(signal),
      );
      if (chunk) this.#cursor.position += chunk.length;
      return chunk;
    } finally {
      turns.pass(READ);
    }
  }

  /**
   * Returns the ReadAhead for the present position. If a seek or another read
   * has moved the position since the last chunk, this method makes a new
   * ReadAhead.
   */
  #here(): ReadAhead {
    const position = this.#cursor.position + this.#handle.writing;
    if (this.#ahead?.offset !== position) {
      this.#ahead?.stop(leftOff());
      this.#ahead = new ReadAhead(this.#handle.open, position);
    }
    return this.#ahead!; // It was made above.
  }

  /** Takes back the buffer of a chunk, for another read. */
  recycle(chunk: Uint8Array<ArrayBuffer>): void {
    this.#ahead?.recycle(chunk);
  }

  /** Aborts the requests in flight. */
  stop(reason: unknown): void {
    this.#ahead?.stop(reason);
  }
}

/**
 * Makes a readable stream of the bytes of a file, from its position on. When
 * the stream ends, fails or is cancelled, the file is closed.
 */
export function readableOf(
  handle: Handle,
  cursor: Cursor,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = new ChunkReader(handle, cursor);
  /** The rest of a chunk that was longer than the buffer of a BYOB reader. */
  let rest: Uint8Array<ArrayBuffer> | undefined;
  const pull = async (controller: ReadableByteStreamController) => {
    const chunk = rest ?? await source.next(NO_TIMEOUT);
    rest = undefined;
    const request = controller.byobRequest;
    if (!chunk) {
      controller.close();
      request?.respond(0); // Gives a BYOB reader its buffer back.
      await handle.close();
    } else if (!request) {
      controller.enqueue(chunk);
    } else {
      const count = copyInto(request, chunk);
      if (count < chunk.length) rest = chunk.subarray(count);
      else source.recycle(chunk);
      request.respond(count);
    }
  };
  return new ReadableStream({
    type: "bytes",
    pull: (controller) => handle.orClose(() => pull(controller)),
    cancel: (reason) => {
      source.stop(reason ?? leftOff());
      handle.drop(); // Who gives up does not wait for a server that may hang.
    },
  });
}

/**
 * Makes a writable stream that writes to a file, from its position on. When the
 * stream is closed, fails or is aborted, the file is closed.
 */
export function writableOf(
  handle: Handle,
  cursor: Cursor,
): WritableStream<Uint8Array | string> {
  let behind: WriteBehind | undefined;
  /**
   * The signal of the stream. It aborts at once when the stream is aborted. The
   * stream calls abort() only after the write in progress has ended.
   */
  let signal: AbortSignal | undefined;
  const { session, fid } = handle.open;
  let unwatch = () => {};
  const orEnd = async (work: () => Promise<void>) => {
    try {
      await handle.orClose(work);
    } catch (error) {
      unwatch();
      throw error;
    }
  };
  const append = async (bytes: Uint8Array, options: CallerOptions) => {
    const { position } = await handle.append(
      options,
      async (offset, signal) => {
        await writeAll(handle.open, bytes, offset, 1, signal);
        return bytes.length;
      },
    );
    cursor.position = position;
  };
  const write = async (data: unknown) => {
    const bytes = bytesOf(data);
    const own = { signal };
    const { turns } = handle;
    const rest = turns.take(WRITE)
      ? own
      : await handle.turn(WRITE, cursor, own);
    try {
      if (handle.appends) return await append(bytes, rest);
      if (behind && behind.offset !== cursor.position) { // After a seek.
        await flush(behind);
        behind = undefined;
      }
      const target = behind ??= new WriteBehind(handle.open, cursor.position);
      handle.writing = bytes.length;
      await handle.operate(
        "write",
        rest,
        (signal) => target.write(bytes, signal),
      );
      cursor.position += bytes.length;
    } finally {
      handle.writing = 0;
      turns.pass(WRITE);
    }
  };
  const flush = async (target: WriteBehind) => {
    await handle.operate(
      "write",
      { signal },
      (signal) => target.flush(signal),
    );
  };
  return new WritableStream({
    start: (controller) => {
      signal = controller.signal;
      // The program may never write again, so the end of the session makes the
      // stream fail. The fid is the key of the callback. If the file is closed
      // but its stream is not, a stream of the next file with the same fid
      // replaces the callback.
      unwatch = session.onEnd(fid, (error) => controller.error(error));
    },
    write: (data) => orEnd(() => write(data)),
    close: async () => {
      const target = behind;
      if (target) await orEnd(() => flush(target));
      unwatch();
      await handle.close({ signal });
    },
    abort: (reason) => {
      unwatch();
      behind?.stop(reason);
      handle.drop();
    },
  });
}
