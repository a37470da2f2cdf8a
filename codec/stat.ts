// The stat record of stat(9P): the attributes of a file in Rstat, Twstat and
// the data of directory reads.

import { NOFID, STATFIXLEN } from "./constants.ts";
import type { Qid } from "./qid.ts";
import { Reader, utf8Length, Writer } from "./wire.ts";

/** Attributes of a file. See `stat(9P)`. */
export interface Stat {
  /** For the client's kernel; servers write 0. */
  type: number;
  /** For the client's kernel; servers write 0. */
  dev: number;
  /** Identity of the file. */
  qid: Qid;
  /** Permissions and DM bits. */
  mode: number;
  /** Last read, in seconds since 1970-01-01 UTC. */
  atime: number;
  /** Last change of the content, in seconds since 1970-01-01 UTC. */
  mtime: number;
  /** Size in bytes; 0 for directories. */
  length: bigint;
  /** Last element of the path; `/` for a root. */
  name: string;
  /** Owner. */
  uid: string;
  /** Group. */
  gid: string;
  /** User who modified the file last. */
  muid: string;
}

/**
 * Makes the record of a Twstat that changes some attributes and leaves the
 * others unchanged. See `stat(9P)`.
 *
 * @param changes Attributes to set. A Twstat without changes asks the server to
 *   write the file to stable storage.
 * @returns The record, with the "don't touch" value in all other fields.
 *
 * @example A rename
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { dontTouch } from "@ninep/ninep/codec";
 *
 * const stat = dontTouch({ name: "new" });
 * assertEquals(stat.name, "new");
 * assertEquals(stat.mode, 0xffffffff);
 * ```
 */
export function dontTouch(changes: Partial<Stat> = {}): Stat {
  return {
    type: changes.type ?? 0xffff,
    dev: changes.dev ?? NOFID,
    qid: changes.qid ??
      { type: 0xff, vers: NOFID, path: 0xffff_ffff_ffff_ffffn },
    mode: changes.mode ?? NOFID,
    atime: changes.atime ?? NOFID,
    mtime: changes.mtime ?? NOFID,
    length: changes.length ?? 0xffff_ffff_ffff_ffffn,
    name: changes.name ?? "",
    uid: changes.uid ?? "",
    gid: changes.gid ?? "",
    muid: changes.muid ?? "",
  };
}

/**
 * Returns the changes of a Twstat: the attributes that do not have the "don't
 * touch" value of {@linkcode dontTouch}. See `stat(9P)`.
 *
 * @param stat Record of a Twstat.
 * @returns The attributes to set, without the attributes that stay unchanged.
 */
export function changesOf(stat: Stat): Partial<Stat> {
  const none = dontTouch();
  const changes: Partial<Stat> = {};
  const { type, vers, path } = stat.qid;
  if (
    type !== none.qid.type || vers !== none.qid.vers || path !== none.qid.path
  ) changes.qid = stat.qid;
  if (stat.type !== none.type) changes.type = stat.type;
  if (stat.dev !== none.dev) changes.dev = stat.dev;
  if (stat.mode !== none.mode) changes.mode = stat.mode;
  if (stat.atime !== none.atime) changes.atime = stat.atime;
  if (stat.mtime !== none.mtime) changes.mtime = stat.mtime;
  if (stat.length !== none.length) changes.length = stat.length;
  if (stat.name !== none.name) changes.name = stat.name;
  if (stat.uid !== none.uid) changes.uid = stat.uid;
  if (stat.gid !== none.gid) changes.gid = stat.gid;
  if (stat.muid !== none.muid) changes.muid = stat.muid;
  return changes;
}

/**
 * Recognizes names that a file can have. A name must not be empty, `.` or `..`,
 * and must not contain a slash.
 *
 * @param name Name, as in a Tcreate or a stat record.
 * @returns True when the name is one valid path element.
 */
export function isName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("/");
}

/** Returns the size in bytes of a record, its size field included. */
export function statLength(stat: Stat): number {
  return STATFIXLEN + utf8Length(stat.name) + utf8Length(stat.uid) +
    utf8Length(stat.gid) + utf8Length(stat.muid);
}

/** Writes one record, its size field included. */
export function putStat(writer: Writer, stat: Stat): void {
  const start = writer.at;
  writer.field = "stat";
  writer.room(2); // size, known at the end
  writer.u16(stat.type);
  writer.u32(stat.dev);
  writer.qid(stat.qid);
  writer.u32(stat.mode);
  writer.u32(stat.atime);
  writer.u32(stat.mtime);
  writer.u64(stat.length);
  writer.text(stat.name);
  writer.text(stat.uid);
  writer.text(stat.gid);
  writer.text(stat.muid);
  const size = writer.at - start - 2;
  if (size > 0xfffd) {
    throw writer.fail(`the record has ${size + 2} bytes, the maximum is 65535`);
  }
  writer.put16(start, size);
}

/**
 * Reads one record, its size field included. The fields must fill the size
 * exactly.
 */
export function getStat(reader: Reader): Stat {
  reader.field = "stat";
  const size = reader.u16();
  const end = reader.at + size;
  if (size < STATFIXLEN - 2 || end > reader.end) {
    throw reader.fail(
      `the size of a stat record is ${size}, of ${
        reader.end - reader.at
      } bytes left`,
    );
  }
  const outer = reader.end;
  reader.end = end;
  const stat: Stat = {
    type: reader.u16(),
    dev: reader.u32(),
    qid: reader.qid(),
    mode: reader.u32(),
    atime: reader.u32(),
    mtime: reader.u32(),
    length: reader.u64(),
    name: reader.text(),
    uid: reader.text(),
    gid: reader.text(),
    muid: reader.text(),
  };
  reader.done();
  reader.end = outer;
  return stat;
}

/**
 * Encodes one stat record, its size field included.
 *
 * @param stat Attributes of a file.
 * @returns The bytes, as in an Rstat after `n[2]`.
 * @throws {RangeError} A field is out of its range.
 */
export function encodeStat(stat: Stat): Uint8Array {
  const writer = new Writer(new Uint8Array(statLength(stat)), true);
  writer.what = "a stat record";
  putStat(writer, stat);
  return writer.bytes;
}

/**
 * Decodes one stat record, its size field included.
 *
 * @param bytes The bytes of exactly one record.
 * @returns The attributes.
 * @throws {ProtocolError} The bytes are not one record.
 */
export function decodeStat(bytes: Uint8Array): Stat {
  const reader = new Reader(bytes, "a stat record");
  const stat = getStat(reader);
  reader.done();
  return stat;
}

/**
 * Encodes directory data, which are consecutive stat records. See `read(9P)`.
 *
 * @param stats Attributes of the members.
 * @param limit Maximum number of bytes. The first record that does not fit is
 *   left out, and so are all records after it.
 * @returns Whole records.
 * @throws {RangeError} A field is out of its range.
 */
export function encodeDir(
  stats: Iterable<Stat>,
  limit: number = Infinity,
): Uint8Array {
  const writer = new Writer(new Uint8Array(1024));
  writer.what = "directory data";
  let end = 0;
  for (const stat of stats) {
    putStat(writer, stat);
    if (writer.at > limit) break;
    end = writer.at;
  }
  return writer.bytes.slice(0, end);
}

/**
 * Decodes directory data, which are consecutive stat records. See `read(9P)`.
 *
 * @param data Whole records, as an Rread of a directory gives them.
 * @returns Attributes of the members.
 * @throws {ProtocolError} The data are not whole records.
 */
export function decodeDir(data: Uint8Array): Stat[] {
  const reader = new Reader(data, "directory data");
  const stats: Stat[] = [];
  while (reader.at < reader.end) stats.push(getStat(reader));
  return stats;
}

/** Options of {@linkcode decodeDirNames}. */
export interface DecodeDirNamesOptions {
  /**
   * True to include names with a leading dot. By default they are left out.
   */
  dotfiles?: boolean;
}

/**
 * Decodes directory data to the names of the members.
 *
 * @param data Whole records, as an Rread of a directory gives them.
 * @param options Tells whether names with a leading dot are included.
 * @returns The names.
 * @throws {ProtocolError} The data are not whole records.
 */
export function decodeDirNames(
  data: Uint8Array,
  options: DecodeDirNamesOptions = {},
): string[] {
  const names = decodeDir(data).map((stat) => stat.name);
  return options.dotfiles
    ? names
    : names.filter((name) => !name.startsWith("."));
}
