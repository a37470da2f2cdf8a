// What the file API gives for a stat record: numbers, and answers to the usual
// questions.

import { rangeError } from "./error_brand.ts";
import { NOFID, QTDIR, type Stat } from "../codec.ts";
import type { Qid } from "../codec/messages.ts";
import { checkRange, type FileRef, labelOf } from "./operation.ts";

/** The permission bits of a mode; the others are the DM bits. */
export const PERMISSIONS = 0o777;

/** Attributes of a file, as the client gives them. See `stat(9P)`. */
export interface FileStat extends Omit<Stat, "length"> {
  /**
   * Size in bytes; 0 for directories. Where the server names one beyond
   * 2^53 - 1, asking for it throws a RangeError, and what copies or prints all
   * attributes leaves it out: one such file spoils neither its other
   * attributes nor the rest of a list.
   */
  length: number;
  /** Whether it is a directory. */
  isDirectory: boolean;
  /** Whether it is not a directory: 9P2000 has nothing else. */
  isFile: boolean;
}

/**
 * Attributes to change; what is missing is left alone. They are all that
 * 9P2000 lets a client change. See `stat(9P)`.
 */
export interface StatChanges {
  /** New name in the same directory. */
  name?: string | undefined;
  /** New size in bytes, 0 to 2^53 - 1. */
  length?: number | undefined;
  /**
   * New permissions and DM bits, 0 to 2^32 - 2. A directory keeps DMDIR,
   * whether the mode has this bit or not. No other file can get it.
   */
  mode?: number | undefined;
  /**
   * New time of the last read in seconds since 1970-01-01 UTC, 0 to 2^32 - 2;
   * servers that keep to the manual refuse it.
   */
  atime?: number | undefined;
  /** New time of the last change, likewise. */
  mtime?: number | undefined;
  /** Name of the new group. */
  gid?: string | undefined;
}

/** Most that a number of four bytes can be set to; the next one is "don't touch". */
const MOST = NOFID - 1;
/** What can be changed, and the most that it can be where it is a number. */
const CHANGEABLE: Readonly<Record<keyof StatChanges, number | undefined>> = {
  name: undefined,
  length: Number.MAX_SAFE_INTEGER,
  mode: MOST,
  atime: MOST,
  mtime: MOST,
  gid: undefined,
};

/** Recognizes a directory. */
export function isDirectory({ type }: Qid): boolean {
  return (type & QTDIR) !== 0;
}

/** Makes the attributes of a file from its record. */
export function fileStat(stat: Stat): FileStat {
  const isDir = isDirectory(stat.qid);
  const length = Number(stat.length);
  const attributes = { ...stat, length, isDirectory: isDir, isFile: !isDir };
  if (!Number.isSafeInteger(length)) refuseLength(attributes, stat);
  return attributes;
}

/** Has the length throw for those who ask for it, not for those who copy or print all there is. */
function refuseLength(attributes: FileStat, { name, length }: Stat): void {
  Object.defineProperty(attributes, "length", {
    configurable: true,
    enumerable: false,
    get() {
      throw rangeError(
        `Cannot tell the length of "${name}": ${length} is beyond 2^53 - 1`,
      );
    },
  });
}

/**
 * Makes the wishes of a Twstat.
 *
 * @param verb What is tried, for errors.
 * @throws {RangeError} An attribute is out of its range.
 * @throws {TypeError} It is none that can be changed.
 */
export function wishesOf(
  verb: string,
  file: FileRef,
  changes: StatChanges,
): Partial<Stat> {
  const what = `${verb} ${labelOf(file)}`;
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(CHANGEABLE, name)) {
      const names = Object.keys(CHANGEABLE).join(", ");
      throw new TypeError(`Cannot ${what}: ${name} is none of ${names}`);
    }
    const most = CHANGEABLE[name as keyof StatChanges]; // As just asked.
    if (most !== undefined) checkRange(what, name, value, 0, most);
  }
  const { length, ...rest } = changes;
  const wishes = rest as Partial<Stat>; // Undefined is as good as missing.
  return length === undefined ? wishes : { ...wishes, length: BigInt(length) };
}
