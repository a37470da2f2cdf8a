// Much data through an open fid: cut into requests that the server takes, and
// several of them in flight. See read(9P).

import { ProtocolError } from "../codec/errors.ts";
import type { OpenFid } from "./session.ts";

/** Most bytes of one request of a transfer. */
const CHUNK = 128 * 1024;
/** Most requests of a transfer in flight. */
const WINDOW = 8;
/** What a first read asks for: enough for most files. */
const FIRST = 64 * 1024;
/** Most bytes that are allocated only because the server says so. */
const TRUSTED = 16 * 1024 * 1024;

/**
 * Reads a whole file.
 *
 * A short read is not the end: only a read of nothing is. As far as the
 * length that the server names, reads are in flight together; behind it, and
 * where it names none (a file that is made up, a stream that takes no
 * notice of offsets), they come one by one.
 */
export async function readAll(
  open: OpenFid,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const { session, fid, limit } = open;
  let bytes = new Uint8Array(Math.min(limit, FIRST));
  let filled = await readInto(open, bytes, 0, 1, signal);
  if (filled < bytes.length) return bytes.slice(0, filled);
  const length = Number((await session.stat(fid, signal)).length);
  while (filled < length) {
    const size = Math.min(length, Math.max(TRUSTED, 2 * filled));
    bytes = joined([bytes], size);
    const rest = bytes.subarray(filled);
    filled += await readInto(open, rest, filled, WINDOW, signal);
    if (filled < size) return bytes.slice(0, filled);
  }
  const parts = [bytes];
  for (let size = FIRST;; size = Math.min(2 * size, TRUSTED)) {
    const part = new Uint8Array(size);
    const count = await readInto(open, part, filled, 1, signal);
    filled += count;
    if (count > 0) parts.push(part.subarray(0, count));
    if (count < size) return parts.length > 1 ? joined(parts, filled) : bytes;
  }
}

/** Reads until `into` is full or the file ends, and gives the number of bytes. */
export async function readInto(
  open: OpenFid,
  into: Uint8Array,
  offset: number,
  window: number,
  signal?: AbortSignal,
): Promise<number> {
  const { session, fid } = open;
  let end = into.length;
  await inChunks(open, end, window, async (at, chunkEnd) => {
    while (at < chunkEnd) {
      const rest = into.subarray(at, chunkEnd);
      const count = await session.read(fid, offset + at, rest, signal);
      if (count === 0) {
        end = Math.min(end, at);
        return false;
      }
      at += count;
    }
    return true;
  });
  return end;
}

/**
 * Writes all data. What a short Rwrite leaves is sent again.
 *
 * @param window Requests in flight; 1 where the order of arrival matters.
 */
export async function writeAll(
  open: OpenFid,
  data: Uint8Array,
  offset: number,
  window: number = WINDOW,
  signal?: AbortSignal,
): Promise<void> {
  const { session, fid } = open;
  await inChunks(open, data.length, window, async (at, chunkEnd) => {
    while (at < chunkEnd) {
      const rest = data.subarray(at, chunkEnd);
      const count = await session.write(fid, offset + at, rest, signal);
      if (count === 0) {
        throw new ProtocolError(
          `Cannot write: the server took none of ${rest.length} bytes`,
        );
      }
      at += count;
    }
    return true;
  });
}

/**
 * Moves `length` bytes chunk by chunk, `window` chunks at a time, until one
 * says false or fails. Resolves when no request is in flight any more.
 */
async function inChunks(
  open: OpenFid,
  length: number,
  window: number,
  move: (at: number, end: number) => Promise<boolean>,
): Promise<void> {
  const size = Math.min(open.limit, CHUNK);
  let next = 0;
  const lane = async () => {
    while (next < length) {
      const at = next;
      next = Math.min(at + size, length);
      let more = false;
      try {
        more = await move(at, next);
      } finally {
        if (!more) next = length; // For the other lanes, too.
      }
    }
  };
  const lanes = Math.min(window, Math.ceil(length / size));
  const ends = await Promise.allSettled(Array.from({ length: lanes }, lane));
  for (const end of ends) {
    if (end.status === "rejected") throw end.reason;
  }
}

/** The parts in one array of `size` bytes. */
function joined(
  parts: readonly Uint8Array[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
