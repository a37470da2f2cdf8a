// Makes the attributes of files from stat records, and checks changes of
// attributes for a Twstat.

import { NOFID, type Qid, QTDIR, type Stat } from "../codec.ts";
import { rangeError } from "./error_brand.ts";
import { checkRange, type FileRef, labelOf } from "./operation.ts";

/** The permission bits of a mode; the others are the DM bits. */
export const PERMISSIONS = 0o777;

/** Attributes of a file, as the client returns them. See `stat(9P)`. */
export interface FileStat extends Omit<Stat, "length"> {
  /**
   * Size in bytes; 0 for directories. If the server tells a size beyond 2^53 -
   * 1, reading this property throws a RangeError, and code that copies or
   * prints all attributes leaves the property out. So the other attributes of
   * such a file, and the rest of its listing, can be used.
   */
  length: number;
  /** True for a directory. */
  isDirectory: boolean;
  /** True for a file that is no directory. 9P2000 has no other kinds. */
  isFile: boolean;
}

/**
 * Attributes to change. An attribute that is not given stays as it is. In
 * 9P2000, a client can change only these attributes. See `stat(9P)`.
 */
export interface StatChanges {
  /** New name in the same directory. */
  name?: string | undefined;
  /** New size in bytes, 0 to 2^53 - 1. */
  length?: number | undefined;
  /**
   * New permissions and DM bits, 0 to 2^32 - 2. A directory keeps the bit
   * DMDIR, whether the mode has this bit or not. No other file can get this
   * bit.
   */
  mode?: number | undefined;
  /**
   * New time of the last read in seconds since 1970-01-01 UTC, 0 to 2^32 - 2; a
   * server that follows the manual refuses this change.
   */
  atime?: number | undefined;
  /** New time of the last change, in the same unit and range as `atime`. */
  mtime?: number | undefined;
  /** Name of the new group. */
  gid?: string | undefined;
}

/**
 * Largest value of a number of four bytes; the next number means "don't touch".
 */
const MOST = NOFID - 1;
/**
 * The attributes that can be changed. The value is the largest number for a
 * number, and undefined for a text.
 */
const CHANGEABLE: Readonly<Record<keyof StatChanges, number | undefined>> = {
  name: undefined,
  length: Number.MAX_SAFE_INTEGER,
  mode: MOST,
  atime: MOST,
  mtime: MOST,
  gid: undefined,
};

/** Tells whether a qid is the qid of a directory. */
export function isDirectory({ type }: Qid): boolean {
  return (type & QTDIR) !== 0;
}

/** Makes the attributes of a file from its stat record. */
export function fileStat(stat: Stat): FileStat {
  const isDir = isDirectory(stat.qid);
  const length = Number(stat.length);
  const attributes = { ...stat, length, isDirectory: isDir, isFile: !isDir };
  if (!Number.isSafeInteger(length)) refuseLength(attributes, stat);
  return attributes;
}

/**
 * Makes the property `length` throw when it is read, but not when all
 * properties are copied or printed.
 */
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
 * Checks changes, and returns the attributes for a Twstat.
 *
 * @param verb Name of the operation, for errors.
 * @throws {RangeError} An attribute is out of its range.
 * @throws {TypeError} An attribute cannot be changed.
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
