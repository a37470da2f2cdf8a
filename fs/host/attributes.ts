// The qid and the attributes of a file of the host.

import { DMDIR, type Qid, QTDIR } from "../../codec.ts";
import type { Attributes } from "../../server.ts";
import type { Owners } from "./owners.ts";
import type { HostStats } from "./system.ts";

/** QTSYMLINK: the type of a symbolic link. */
export const QTSYMLINK = 0x02;

/** Bits of a mode for files that are no plain files, as 9P2000.u has them. */
export const DMSYMLINK = 0x02000000;
const DMDEVICE = 0x00800000;
const DMNAMEDPIPE = 0x00200000;
const DMSOCKET = 0x00100000;
/** Bits of a mode that a client cannot give to a file: DMSETUID, DMSETGID, DMSETVTX. */
export const SET_IDS = 0x000D0000;

/** S_ISUID, S_ISGID and S_ISVTX of the host, each with its DM bit. */
const HOST_BITS: readonly (readonly [host: number, bit: number])[] = [
  [0o4000, 0x00080000],
  [0o2000, 0x00040000],
  [0o1000, 0x00010000],
];

/** Kind of a file of the host. */
export type Kind = "file" | "directory" | "link" | "special";

/** Identifies a file of the host. */
export interface Identity {
  /** Device. */
  readonly dev: bigint;
  /** Number on the device. */
  readonly ino: bigint;
  /**
   * Kind of the file. After a removal, the host may give the number to a file
   * of another kind.
   */
  readonly kind: Kind;
}

/** Kind of a file. */
export function kindOf(stats: HostStats): Kind {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  return stats.isSymbolicLink() ? "link" : "special";
}

/** Returns the identity of a file. */
export function identityOf(stats: HostStats): Identity {
  return { dev: stats.dev, ino: stats.ino, kind: kindOf(stats) };
}

/** Returns true when the attributes belong to the file. */
export function isSame(file: Identity, stats: HostStats): boolean {
  return file.ino === stats.ino && file.dev === stats.dev &&
    file.kind === kindOf(stats);
}

const MASK = (1n << 64n) - 1n;
const HALF = 1n << 63n;

/**
 * Mixes the bits of a number of 64 bits. Different numbers give different
 * results.
 */
function mix(value: bigint): bigint {
  let bits = value & MASK;
  bits = ((bits ^ (bits >> 30n)) * 0xBF58476D1CE4E5B9n) & MASK;
  bits = ((bits ^ (bits >> 27n)) * 0x94D049BB133111EBn) & MASK;
  return bits ^ (bits >> 31n);
}

/**
 * Returns the path of a file's qid. On the device of the root, the path is the
 * number of the file if this number is below 2^63. Otherwise the path is 2^63
 * plus a hash of 63 bits of the device and the number. The path is the same
 * after a restart.
 */
export function qidPath({ dev, ino }: Identity, rootDev: bigint): bigint {
  const number = ino & MASK;
  if (dev === rootDev && number < HALF) return number;
  return HALF | (mix(mix(dev) + number) >> 1n);
}

/**
 * Returns the version of a file's qid, never 0: a hash of the time of the last
 * change and of the size, plus the number of changes by this server.
 */
export function qidVersion(stats: HostStats, changes: number): number {
  const mixed = mix(mix(stats.mtimeNs) + stats.size);
  return (Number(mixed & 0xFFFFFFFFn) + changes >>> 0) || 1;
}

const MAX_CHANGES = 4096;

/**
 * Counts the changes of files by this server. So versions differ even if the
 * host gives two changes the same time.
 */
export class ChangeCounts {
  readonly #counts: Map<bigint, number> = new Map();

  /**
   * Counts a change of a file. Only the counts of the files that changed last
   * are kept.
   */
  note(path: bigint): void {
    const count = this.of(path);
    this.#counts.delete(path);
    this.#counts.set(path, count + 1);
    if (this.#counts.size <= MAX_CHANGES) return;
    for (const oldest of this.#counts.keys()) {
      this.#counts.delete(oldest);
      break;
    }
  }

  /** Number of the changes of a file. */
  of(path: bigint): number {
    return this.#counts.get(path) ?? 0;
  }
}

/** Type of a file's qid. */
export function qidType(kind: Kind): number {
  switch (kind) {
    case "directory":
      return QTDIR;
    case "link":
      return QTSYMLINK;
    default:
      return 0;
  }
}

/** Permissions and DM bits of a file. */
export function modeOf(stats: HostStats): number {
  const host = Number(stats.mode);
  let mode = (host & 0o777) + kindBits(stats);
  for (const [own, bit] of HOST_BITS) if ((host & own) !== 0) mode += bit;
  return mode;
}

function kindBits(stats: HostStats): number {
  if (stats.isFile()) return 0;
  if (stats.isDirectory()) return DMDIR;
  if (stats.isSymbolicLink()) return DMSYMLINK;
  if (stats.isFIFO()) return DMNAMEDPIPE;
  return stats.isSocket() ? DMSOCKET : DMDEVICE;
}

/** The host's bits for the bits of {@linkcode SET_IDS} in a mode. */
export function hostBits(mode: number): number {
  let bits = mode & 0o777;
  for (const [own, bit] of HOST_BITS) if ((mode & bit) !== 0) bits |= own;
  return bits;
}

/** Last second that a stat record of plain 9P2000 can represent. */
const LAST_SECOND = 0xFFFFFFFE;
const SECOND = 1_000_000_000n;

/**
 * Returns the seconds and nanoseconds of a time, within the range of a record.
 */
function timeOf(ns: bigint): [seconds: number, nsec: number] {
  if (ns < 0n) return [0, 0];
  const seconds = Number(ns / SECOND);
  if (seconds > LAST_SECOND) return [LAST_SECOND, 0];
  return [seconds, Number(ns % SECOND)];
}

/** Attributes of a file, as a client sees them. */
export function attributesOf(
  stats: HostStats,
  file: { qid: Qid; name: string; target?: string | undefined },
  owners: Owners,
): Attributes {
  const { qid, name, target } = file;
  const kind = kindOf(stats);
  const [atime, atimeNsec] = timeOf(stats.atimeNs);
  const [mtime, mtimeNsec] = timeOf(stats.mtimeNs);
  const [ctime, ctimeNsec] = timeOf(stats.ctimeNs);
  const [btime, btimeNsec] = timeOf(stats.birthtimeNs);
  const nuid = Number(stats.uid);
  const ngid = Number(stats.gid);
  return {
    qid,
    name,
    mode: modeOf(stats),
    length: kind === "file" || kind === "link" ? stats.size : 0,
    uid: owners.user(nuid),
    gid: owners.group(ngid),
    ...{ atime, atimeNsec, mtime, mtimeNsec },
    ...{ ctime, ctimeNsec, btime, btimeNsec },
    ...{ nuid, ngid },
    nlink: Number(stats.nlink),
    allocated: Number(stats.blocks) * 512,
    ...(target === undefined ? {} : { target }),
  };
}
