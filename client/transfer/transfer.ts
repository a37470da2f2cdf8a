// Transfers many bytes from or to an open fid, in several requests that are in
// flight together. See read(9P).

import { rangeError } from "../error_brand.ts";
import {
  NinePError,
  ProtocolError,
  QTAPPEND,
  QTAUTH,
  QTDIR,
} from "../../codec.ts";
import type { OpenFid } from "../connection/client_session.ts";

/** Most requests of a transfer in flight. */
export const LANES = 8;
/** Bytes of a first read, enough for most files. */
export const FIRST: number = 64 * 1024;
/** Default of `maxLength`: most bytes of a file that is read as a whole. */
export const MAX_LENGTH: number = 1024 * 1024 * 1024;
/**
 * Most bytes that are allocated at first for the length that the server gives,
 * before the data have arrived. This is safe because the operating system
 * assigns memory only when a program writes to it.
 */
const TRUSTED = MAX_LENGTH;
/**
 * Most bytes that are allocated at a time for data after the length that the
 * server gave, or if it gave no length.
 */
const PART_MAX = 16 * 1024 * 1024;
/** Most bytes that are copied in one turn of the event loop. */
const COPY_MAX = 16 * 1024 * 1024;
/**
 * Factor by which the buffer grows for a file whose length is above `TRUSTED`.
 */
const GROWTH = 4;

/** Returns the most bytes of one request of a transfer. */
export function chunkSize({ session, limit }: OpenFid): number {
  return Math.min(limit, Math.ceil(session.window / LANES));
}

/** Returns the length that the server tells; 0 if the server tells none. */
export async function lengthOf(
  { session, fid, qid }: OpenFid,
  signal?: AbortSignal,
): Promise<number> {
  if (qid.type & (QTDIR | QTAUTH)) return 0;
  try {
    return Number((await session.stat(fid, signal)).length);
  } catch (error) {
    // A server may not support Tstat, and a transfer works without the length.
    if (error instanceof NinePError && error !== signal?.reason) return 0;
    throw error;
  }
}

/**
 * Returns how many writes may be in flight together after `end`. The bytes
 * before `end` must be written already. Several writes may be in flight if the
 * length of the file shows that the server stores data at their offsets, as for
 * a plain file. For an append-only file, or a file that ignores offsets, the
 * result is 1, because the rest of a short write must be sent before the next
 * bytes.
 */
export async function writesAllowedAfter(
  open: OpenFid,
  end: number,
  signal?: AbortSignal,
): Promise<number> {
  if (open.qid.type & QTAPPEND) return 1;
  return await lengthOf(open, signal) >= end ? LANES : 1;
}

/** The limit of a read, and the operation for its error. */
export interface ReadBounds {
  /** Most bytes of the file. */
  readonly maxLength: number;
  /** The operation, such as `read "motd"`. */
  readonly what: string;
}

/**
 * Reads a whole file.
 *
 * Only a read that returns no bytes marks the end of the file; a short read
 * does not. Up to the length that the server gives, several reads are in flight
 * together. After this length, one read is in flight at a time. The same holds
 * if the server gives no length, as for a computed file or a stream that
 * ignores offsets.
 *
 * @throws {RangeError} The file has more than `maxLength` bytes. The client
 *   reads at most one byte more than `maxLength`.
 */
export async function readAll(
  open: OpenFid,
  signal: AbortSignal | undefined,
  { maxLength, what }: ReadBounds,
): Promise<Uint8Array<ArrayBuffer>> {
  const { session, fid, limit } = open;
  const most = maxLength + 1;
  const check = (length: number) => {
    if (length <= maxLength) return;
    throw tooLarge(what, maxLength);
  };
  let bytes = new Uint8Array(Math.min(limit, FIRST, most));
  let filled = await readInto(open, bytes, 0, 1, signal);
  check(filled);
  if (filled < bytes.length) return bytes.slice(0, filled);
  const stat = await session.stat(fid, signal);
  open.monitor?.note();
  const length = Math.min(Number(stat.length), most);
  while (filled < length) {
    const size = Math.min(length, Math.max(TRUSTED, GROWTH * filled));
    bytes = await joined([bytes], size, signal);
    const rest = bytes.subarray(filled);
    filled += await readInto(open, rest, filled, LANES, signal);
    check(filled);
    if (filled < size) return bytes.slice(0, filled);
  }
  const parts = [bytes];
  for (let size = FIRST;; size = Math.min(2 * size, PART_MAX)) {
    const part = new Uint8Array(Math.min(size, most - filled));
    const count = await readInto(open, part, filled, 1, signal);
    filled += count;
    check(filled);
    if (count > 0) parts.push(part.subarray(0, count));
    if (count === part.length) continue;
    return parts.length > 1 ? await joined(parts, filled, signal) : bytes;
  }
}

/** Makes the error for a file or value that is longer than `maxLength`. */
export function tooLarge(what: string, maxLength: number): RangeError {
  return rangeError(
    `Cannot ${what}: it has more than ${maxLength} bytes (maxLength)`,
  );
}

/**
 * Reads until `into` is full or the file ends, and returns the number of bytes.
 *
 * @param lanes Most requests in flight.
 */
export async function readInto(
  open: OpenFid,
  into: Uint8Array,
  offset: number,
  lanes: number,
  signal?: AbortSignal,
): Promise<number> {
  const { session, fid } = open;
  let end = into.length;
  await inChunks(open, end, lanes, async (at, chunkEnd) => {
    while (at < chunkEnd) {
      const rest = into.subarray(at, chunkEnd);
      const count = await session.read(fid, offset + at, rest, signal);
      open.monitor?.note();
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
 * Writes all data: one chunk first, then as many chunks at once as {@linkcode
 * writesAllowedAfter} allows. If a write is short, the client writes the remaining
 * bytes again.
 *
 * @param most Most requests in flight; 1 if the data must arrive in order.
 */
export function writeAll(
  open: OpenFid,
  data: Uint8Array,
  offset: number,
  most: number = LANES,
  signal?: AbortSignal,
): Promise<void> {
  // Writing two chunks one after the other takes less time than asking the
  // server for the length of the file.
  const isShort = data.length <= 2 * chunkSize(open);
  return most === 1 || isShort
    ? writeInLanes(open, data, offset, 1, signal)
    : writeBehindFirst(open, data, offset, most, signal);
}

async function writeBehindFirst(
  open: OpenFid,
  data: Uint8Array,
  offset: number,
  most: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const size = chunkSize(open);
  await writeInLanes(open, data.subarray(0, size), offset, 1, signal);
  const at = offset + size;
  const lanes = Math.min(most, await writesAllowedAfter(open, at, signal));
  await writeInLanes(open, data.subarray(size), at, lanes, signal);
}

async function writeInLanes(
  open: OpenFid,
  data: Uint8Array,
  offset: number,
  lanes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { session, fid } = open;
  await inChunks(open, data.length, lanes, async (at, chunkEnd) => {
    while (at < chunkEnd) {
      const rest = data.subarray(at, chunkEnd);
      const count = await session.write(fid, offset + at, rest, signal);
      open.monitor?.note();
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
 * Calls `move` for each chunk of `length` bytes, with `lanes` chunks in
 * progress at a time, until `move` returns false or rejects. The promise
 * settles when no request is in flight any more.
 */
async function inChunks(
  open: OpenFid,
  length: number,
  lanes: number,
  move: (at: number, end: number) => Promise<boolean>,
): Promise<void> {
  const size = chunkSize(open);
  // A single chunk takes this short path, because each further promise between
  // a reply and the next request delays the request, so that it leaves in a
  // separate write to the connection. This delay would cost a fifth of the time
  // of a copy under Deno.
  if (length <= size) {
    if (length > 0) await move(0, length);
    return;
  }
  let next = 0;
  let failure: { error: unknown } | undefined;
  const lane = async () => {
    while (next < length) {
      const at = next;
      next = Math.min(at + size, length);
      let more = false;
      try {
        more = await move(at, next);
      } catch (error) {
        failure ??= { error };
      }
      if (!more) next = length; // For the other lanes, too.
    }
  };
  const count = Math.min(lanes, Math.ceil(length / size));
  await Promise.all(Array.from({ length: count }, lane));
  if (failure) throw failure.error;
}

/**
 * Copies the parts into one new array of `size` bytes. The function yields to
 * the event loop between large copies, so that other work can run.
 */
async function joined(
  parts: readonly Uint8Array[],
  size: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const all = new Uint8Array(size);
  let at = 0;
  let turn = COPY_MAX;
  for (const part of parts) {
    for (let start = 0; start < part.length; start += COPY_MAX) {
      const piece = part.subarray(start, start + COPY_MAX);
      if (at + piece.length > turn) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        signal?.throwIfAborted();
        turn = at + COPY_MAX;
      }
      all.set(piece, at);
      at += piece.length;
    }
  }
  return all;
}
