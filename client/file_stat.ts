// What the file API gives for a stat record: numbers, and answers to the usual
// questions.

import { QTDIR } from "../codec/constants.ts";
import type { Stat } from "../codec/stat.ts";

/** Attributes of a file, as the client gives them. See `stat(9P)`. */
export interface FileStat extends Omit<Stat, "length"> {
  /** Size in bytes; 0 for directories. */
  length: number;
  /** Whether it is a directory. */
  isDirectory: boolean;
  /** Whether it is not a directory: 9P2000 has nothing else. */
  isFile: boolean;
}

/** Attributes to change; what is missing is left alone. See `stat(9P)`. */
export interface StatChanges extends Partial<Omit<Stat, "length">> {
  /** New size in bytes, 0 to 2^53 - 1. */
  length?: number;
}

/**
 * Makes the attributes of a file from its record.
 *
 * @throws {RangeError} The length is beyond 2^53 - 1.
 */
export function fileStat(stat: Stat): FileStat {
  const isDirectory = (stat.qid.type & QTDIR) !== 0;
  const length = Number(stat.length);
  if (!Number.isSafeInteger(length)) {
    throw new RangeError(
      `Cannot tell the length of "${stat.name}": ${stat.length} is beyond 2^53 - 1`,
    );
  }
  return { ...stat, length, isDirectory, isFile: !isDirectory };
}

/** Makes the wishes of a Twstat. */
export function wishesOf(changes: StatChanges): Partial<Stat> {
  const { length, ...rest } = changes;
  if (length === undefined) return rest;
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new RangeError(
      `Cannot set a length of ${length}: the range is 0 to 2^53 - 1`,
    );
  }
  return { ...rest, length: BigInt(length) };
}
