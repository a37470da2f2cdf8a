// The attributes of a file. A tree returns them, and a session encodes them in
// its dialect.

import type { Qid, Stat } from "../codec.ts";

/**
 * Attributes of a file, as an immutable value. A tree returns a new object when
 * an attribute has changed, because a session does not encode the same object
 * twice. See `stat(9P)`.
 */
export interface Attributes {
  /** Identity of the file. */
  readonly qid: Qid;
  /** Name in its directory; `/` for a root. */
  readonly name: string;
  /** Permissions and DM bits. */
  readonly mode: number;
  /** Size in bytes, a whole number; 0 by default. */
  readonly length?: number | bigint;
  /** Owner; `none` by default. */
  readonly uid?: string;
  /** Group; the owner by default. */
  readonly gid?: string;
  /** User who modified the file last; the owner by default. */
  readonly muid?: string;
  /** Last read, in seconds since 1970-01-01 UTC; 0 by default. */
  readonly atime?: number;
  /** Nanoseconds of that second, 0 to 999,999,999. */
  readonly atimeNsec?: number;
  /** Last change of the content, in seconds since 1970-01-01 UTC; 0 by default. */
  readonly mtime?: number;
  /** Nanoseconds of that second, 0 to 999,999,999. */
  readonly mtimeNsec?: number;
  /** Last change of an attribute, in seconds since 1970-01-01 UTC. */
  readonly ctime?: number;
  /** Nanoseconds of that second, 0 to 999,999,999. */
  readonly ctimeNsec?: number;
  /** Creation of the file, in seconds since 1970-01-01 UTC. */
  readonly btime?: number;
  /** Nanoseconds of that second, 0 to 999,999,999. */
  readonly btimeNsec?: number;
  /** Number of the owner, where the tree has numbers (9P2000.u and 9P2000.L). */
  readonly nuid?: number;
  /** Number of the group. */
  readonly ngid?: number;
  /** Number of the user who modified the file last. */
  readonly nmuid?: number;
  /** Number of names of the file. */
  readonly nlink?: number;
  /** Bytes that the file occupies on disk. */
  readonly allocated?: number;
  /** Target of a symbolic link. */
  readonly target?: string;
}

/** Attributes to change. Missing attributes stay as they are. */
export type AttributeChanges = Partial<
  Pick<
    Attributes,
    | "mode"
    | "length"
    | "uid"
    | "gid"
    | "nuid"
    | "ngid"
    | "atime"
    | "atimeNsec"
    | "mtime"
    | "mtimeNsec"
  >
>;

/** Converts attributes to a stat record of 9P2000. */
export function statOf(attributes: Attributes): Stat {
  const { qid, name, mode, length = 0, uid = "none" } = attributes;
  const { gid = uid, muid = uid, atime = 0, mtime = 0 } = attributes;
  return {
    type: 0,
    dev: 0,
    qid,
    mode,
    atime,
    mtime,
    length: typeof length === "bigint" ? length : BigInt(length),
    name,
    uid,
    gid,
    muid,
  };
}
