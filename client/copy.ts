// Files and trees from one place to another, of one server or of two.

import { OREAD, QTAPPEND } from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import type { Qid } from "../codec/messages.ts";
import type { Stat } from "../codec/stat.ts";
import { setPermissions } from "./attributes.ts";
import type { Base } from "./base.ts";
import { gatherMembers, makeDirectory } from "./directory.ts";
import { drain } from "./drain.ts";
import { isDirectory, PERMISSIONS } from "./file_stat.ts";
import {
  type CallerOptions,
  explained,
  hasCode,
  isMissing,
  join,
} from "./operation.ts";
import type { Paths } from "./paths.ts";
import type { OpenFid } from "./session.ts";
import { Bases, memberOf, type NearSpot, type Spot } from "./spot.ts";
import { chunkSize, LANES, readInto, writeAll } from "./transfer.ts";

/** Most files that are copied at a time. */
const AT_ONCE = 8;
/** What an owner needs to make the members of a directory. */
const OWNER = 0o700;

/** How far a copy has come; see {@linkcode RemoteTree.copy}. */
export interface CopyProgress {
  /** Path of the file that is copied; in a tree, one of its files. */
  path: string;
  /** Bytes of it that are written. */
  bytes: number;
  /** Bytes that it has: the server's word, or `bytes` where there are more. */
  total: number;
}

/** How a file or directory is copied. */
export interface CopyPlan extends CallerOptions {
  readonly recursive: boolean;
  readonly onProgress: ((progress: CopyProgress) => void) | undefined;
}

/** What is copied, or where to, as the caller names it. */
export interface CopyEnd extends Spot {
  readonly base: Paths;
}

/** A file or directory to copy. */
interface Task {
  readonly from: NearSpot;
  readonly to: NearSpot;
  readonly stat: Stat;
  /** Whether a directory was made for it, with permissions that may be too wide. */
  isMade?: boolean;
  /** The spots that lead to its members. */
  inner?: { from: NearSpot; to: NearSpot };
}

/**
 * Copies a file, or a directory with all that is in it.
 *
 * @param plan A timeout is for each request.
 */
export async function copyTree(
  from: CopyEnd,
  to: CopyEnd,
  plan: CopyPlan,
): Promise<void> {
  const { signal } = plan;
  const bases = new Bases();
  try {
    const source = await bases.hold(from, signal);
    const { session, fid } = source.base;
    const stat = await session.stat(fid, signal);
    if (!isDirectory(stat.qid)) return await copyFile(source, to, stat, plan);
    if (!plan.recursive) throw new NinePError("Is a directory");
    if (isWithin(from, to)) throw new NinePError("Invalid argument");
    const isMade = await madeDirectory(to, stat.mode, signal);
    const target = await bases.hold(to, signal);
    await copyAll({ from: source, to: target, stat, isMade }, bases, plan);
  } finally {
    bases.close();
  }
}

/** Copies a directory to one that is there, and is a base. */
async function copyAll(top: Task, bases: Bases, plan: CopyPlan): Promise<void> {
  const { signal } = plan;
  const { base } = top.to;
  const { qid } = await base.session.stat(base.fid, signal);
  const isOneTree = isSameTree(top.from.base, base);
  const refuseTarget = (member: Stat) => {
    if (!isOneTree || !isSameFile(member.qid, qid)) return;
    throw new NinePError("Invalid argument"); // It would never end.
  };
  refuseTarget(top.stat);

  const membersOf = ({ from, to }: Pick<Task, "from" | "to">) => {
    const { base, path, label } = from;
    const verb = `copy "${label}" to`;
    return gatherMembers(base, path, verb, to.label, plan, (stat): Task => {
      refuseTarget(stat);
      const { name } = stat;
      return { from: memberOf(from, name), to: memberOf(to, name), stat };
    });
  };

  const copyOne = async (task: Task): Promise<Task[]> => {
    const { from, to, stat } = task;
    if (!isDirectory(stat.qid)) {
      await copyFile(from, to, stat, plan);
      return [];
    }
    if (!task.inner) {
      task.isMade ??= await madeDirectory(to, stat.mode, signal);
      task.inner = {
        from: await bases.near(from, signal),
        to: await bases.near(to, signal),
      };
      const members = await membersOf(task.inner);
      if (members.length > 0) return members; // Behind them it comes again.
    }
    const mode = stat.mode & PERMISSIONS;
    if (task.isMade && (mode & OWNER) !== OWNER) {
      await to.base.visit(
        to.path,
        signal,
        (fid) => setPermissions(to.base.session, fid, mode, signal),
      );
    }
    bases.leave(task.inner.from);
    bases.leave(task.inner.to);
    return [];
  };
  await drain(top, AT_ONCE, (task) => {
    const { from, to } = task;
    return explained(`copy "${from.label}" to`, to.label, () => copyOne(task));
  });
}

/** Makes a directory, its owner's for now, where there is none, and tells whether it did. */
async function madeDirectory(
  { base, path }: Spot,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    await makeDirectory(base, path, mode & PERMISSIONS | OWNER, signal);
    return true;
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    const { qid } = await statOf(base, path, signal);
    if (isDirectory(qid)) return false;
    throw error;
  }
}

/** Copies a plain file; what is there is replaced. */
async function copyFile(
  from: Spot,
  to: Spot,
  stat: Stat,
  plan: CopyPlan,
): Promise<void> {
  const { signal } = plan;
  const mode = stat.mode & PERMISSIONS;
  const options = { write: true, truncate: true, create: true, mode };
  const source = await from.base.open(from.path, { flags: OREAD }, signal);
  try {
    if (isSameTree(from.base, to.base)) {
      await refuseItself(source, to, signal);
    }
    const target = await to.base.open(to.path, options, signal);
    try {
      await pour(source, target, Number(stat.length), from.label, plan);
    } catch (error) {
      target.session.drop(target.fid);
      throw error;
    }
    await target.session.clunk(target.fid); // It tells failed writes.
  } finally {
    source.session.drop(source.fid);
  }
}

/** Refuses to copy a file onto itself, which would first be cut to nothing. */
async function refuseItself(
  source: OpenFid,
  { base, path }: Spot,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    const { qid } = await statOf(base, path, signal);
    if (!isSameFile(qid, source.qid)) return;
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  throw new NinePError("Invalid argument");
}

/**
 * Moves the content of a file. As far as the length that the source names,
 * several chunks are under way; behind it, and where the target takes writes
 * in the order they come in, one.
 */
async function pour(
  source: OpenFid,
  target: OpenFid,
  length: number,
  path: string,
  { signal, onProgress }: CopyPlan,
): Promise<void> {
  const size = chunkSize(source);
  let bytes = 0;
  const report = () =>
    onProgress?.({ path, bytes, total: Math.max(length, bytes) });
  const write = async (data: Uint8Array, offset: number) => {
    await writeAll(target, data, offset, 1, signal);
    bytes += data.length;
    report();
  };

  let next = 0;
  let end = length;
  const lane = async () => {
    const buffer = new Uint8Array(Math.min(size, length));
    while (next < end) {
      const at = next;
      next = Math.min(at + size, end);
      const chunk = buffer.subarray(0, next - at);
      let count = 0;
      try {
        count = await readInto(source, chunk, at, 1, signal);
        if (count > 0) await write(chunk.subarray(0, count), at);
      } finally {
        // Also for the other lanes: the file ends here, or it failed.
        if (count < chunk.length) end = Math.min(end, at + count);
      }
    }
  };
  const isTail = (target.qid.type & QTAPPEND) !== 0;
  const lanes = Math.min(isTail ? 1 : LANES, Math.ceil(length / size));
  const ends = await Promise.allSettled(Array.from({ length: lanes }, lane));
  for (const end of ends) {
    if (end.status === "rejected") throw end.reason;
  }

  if (end === length) {
    const buffer = new Uint8Array(size);
    const { session, fid } = source;
    while (true) {
      const count = await session.read(fid, end, buffer, signal);
      if (count === 0) break;
      await write(buffer.subarray(0, count), end);
      end += count;
    }
  }
  if (bytes === 0) report();
}

/** Recognizes a copy of a directory into itself by the paths, before anything is made. */
function isWithin(from: CopyEnd, to: CopyEnd): boolean {
  return isSameTree(from.base, to.base) &&
    `${to.base.absolute(to.path)}/`.startsWith(
      join(from.base.absolute(from.path), ""),
    );
}

/** Recognizes a tree by its name and its server's address: qids mean something only within one. */
function isSameTree(a: Base, b: Base): boolean {
  const { session: { peer } } = a;
  const isOneServer = a.session === b.session ||
    (peer === b.session.peer && peer.includes("://"));
  return isOneServer && a.aname === b.aname;
}

/** Recognizes a file by its qid, within one tree. */
function isSameFile(a: Qid, b: Qid): boolean {
  return a.path === b.path && isDirectory(a) === isDirectory(b);
}

function statOf(
  base: Base,
  path: string | readonly string[],
  signal: AbortSignal | undefined,
): Promise<Stat> {
  return base.visit(path, signal, (fid) => base.session.stat(fid, signal));
}
