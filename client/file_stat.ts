// What the file API gives for a stat record: numbers, and answers to the usual
// questions.

import { QTDIR } from "../codec/constants.ts";
import type { Stat } from "../codec/stat.ts";

/** Attributes of a file, as the client gives them. See `stat(9P)`. */
export interface FileStat extends Omit<Stat, "length"> {
  /**
   * Size in bytes; 0 for directories. Where the server names one beyond
   * 2^53 - 1, asking for it throws a RangeError; the other attributes, and the
   * rest of a directory's list, are there all the same.
   */
  length: number;
  /** Whether it is a directory. */
  isDirectory: boolean;
  /** Whether it is not a directory: 9P2000 has nothing else. */
  isFile: boolean;
}

/** Attributes to change; what is missing is left alone. See `stat(9P)`. */
export interface StatChanges extends
  Partial<
    { [K in Exclude<keyof Stat, "length">]: Stat[K] | undefined }
  > {
  /** New size in bytes, 0 to 2^53 - 1. */
  length?: number | undefined;
}

/** Makes the attributes of a file from its record. */
export function fileStat(stat: Stat): FileStat {
  const isDirectory = (stat.qid.type & QTDIR) !== 0;
  const length = Number(stat.length);
  const attributes = { ...stat, length, isDirectory, isFile: !isDirectory };
  if (!Number.isSafeInteger(length)) refuseLength(attributes, stat);
  return attributes;
}

/** Has the length throw: one file of that kind must not hide a whole directory. */
function refuseLength(attributes: FileStat, { name, length }: Stat): void {
  Object.defineProperty(attributes, "length", {
    configurable: true,
    enumerable: true,
    get() {
      throw new RangeError(
        `Cannot tell the length of "${name}": ${length} is beyond 2^53 - 1`,
      );
    },
  });
}

/** Makes the wishes of a Twstat. */
export function wishesOf(changes: StatChanges): Partial<Stat> {
  const { length, ...rest } = changes;
  const wishes = rest as Partial<Stat>; // Undefined is as good as missing.
  if (length === undefined) return wishes;
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new RangeError(
      `Cannot set a length of ${length}: the range is 0 to 2^53 - 1`,
    );
  }
  return { ...wishes, length: BigInt(length) };
}
