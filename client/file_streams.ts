// Web streams of an open file.

import { bytesOf } from "./chunks.ts";
import type { Handle } from "./handle.ts";
import type { CallerOptions } from "./operation.ts";
import { copyInto, leftOff, ReadAhead, WriteBehind } from "./stream.ts";

/** There is no timeout for a stream: the next event may be hours away. */
const SILENT = { timeout: Infinity };

/** Where a stream starts, and what it moves. */
interface Cursor {
  position: number;
}

/** Reads the next chunk, and moves the position behind it. */
export async function nextChunk(
  handle: Handle,
  cursor: Cursor,
  ahead: ReadAhead,
  options: CallerOptions,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunk = await handle.operate(
    "read",
    options,
    (signal) => ahead.next(signal),
  );
  if (chunk) cursor.position += chunk.length;
  return chunk;
}

/** The bytes of a file from its position on, as a byte stream that closes it. */
export function readableOf(
  handle: Handle,
  cursor: Cursor,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let ahead: ReadAhead | undefined;
  /** Of a chunk that was longer than a BYOB reader's buffer. */
  let rest: Uint8Array<ArrayBuffer> | undefined;
  const pull = async (controller: ReadableByteStreamController) => {
    const source = ahead ??= new ReadAhead(handle.open, cursor.position);
    const chunk = rest ??
      await nextChunk(handle, cursor, source, SILENT);
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
      ahead?.stop(reason ?? leftOff());
      handle.drop(); // Who gives up does not wait for a server that may hang.
    },
  });
}

/** A stream into a file from its position on, which closes it. */
export function writableOf(
  handle: Handle,
  cursor: Cursor,
): WritableStream<Uint8Array | string> {
  let behind: WriteBehind | undefined;
  /** Aborts before abort() is called, which is when the write before it has ended. */
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
  const write = async (data: unknown) => {
    const bytes = bytesOf(data);
    const target = behind ??= new WriteBehind(handle.open, cursor.position);
    await handle.operate(
      "write",
      { signal },
      (signal) => target.write(bytes, signal),
    );
    cursor.position += bytes.length;
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
      // Nobody may write any more. Known by its fid: when the file is closed
      // and the stream is not, the next one with the number takes its place.
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
