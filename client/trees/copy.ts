// Copies files and directories, within one server or to another one.

import {
  NinePError,
  ORCLOSE,
  OREAD,
  OWRITE,
  type Qid,
  QTAPPEND,
  type Stat,
} from "../../codec.ts";
import { setPermissions } from "../attributes.ts";
import type { PathRoot } from "./path_root.ts";
import { batchesOf, makeDirectory } from "./directory.ts";
import { runTaskTree } from "./task_tree.ts";
import { isDirectory, PERMISSIONS } from "../file_stat.ts";
import {
  type CallerOptions,
  explained,
  hasCode,
  isMissing,
  join,
  namesOf,
} from "../operation.ts";
import type { TreePaths } from "./tree_paths.ts";
import type { OpenFid } from "../connection/client_session.ts";
import {
  type Location,
  memberOf,
  type NearLocation,
  PathRoots,
} from "./location.ts";
import type { ProgressMonitor } from "../transfer/stall.ts";
import {
  chunkSize,
  readInto,
  writeAll,
  writesAllowedAfter,
} from "../transfer/transfer.ts";
import { type DirectoryLevel, LoopDetector } from "./loop_detector.ts";

/** Most files that are copied at a time. */
const AT_ONCE = 8;
/** Permissions that an owner needs to make the members of a directory. */
const OWNER = 0o700;

/** Progress of a copy; see {@linkcode Client.copy}. */
export interface CopyProgress {
  /** Path of the file that is being copied. */
  path: string;
  /** Number of bytes that are written. */
  bytes: number;
  /** Length of the file, as the server told it, or `bytes` if this is more. */
  total: number;
}

/** Options and limits of a copy. */
export interface CopyPlan extends CallerOptions {
  readonly recursive: boolean;
  /** Most members of one directory. */
  readonly maxEntries: number | undefined;
  /** Notes the progress. */
  readonly monitor: ProgressMonitor | undefined;
  readonly onProgress: ((progress: CopyProgress) => void) | undefined;
}

/** The source or the target of a copy, with the path that the caller gave. */
export interface CopyEnd extends Location {
  readonly base: TreePaths;
}

/** A file or directory to copy. */
interface Task {
  readonly from: NearLocation;
  readonly to: NearLocation;
  readonly stat: Stat;
  /**
   * True when the copy has made the directory, whose permissions may be too
   * wide.
   */
  isMade?: boolean;
  /**
   * The task of the directory that contains this file; undefined for the top.
   */
  readonly parent?: Task | undefined;
  /**
   * The members of the directory that are still to be copied; undefined for a
   * plain file.
   */
  descent?: DirectoryCopy;
}

/** A directory whose members are copied in batches. */
interface DirectoryCopy {
  /**
   * The source and the target directory, near enough for one Twalk to each
   * member.
   */
  readonly from: NearLocation;
  readonly to: NearLocation;
  /** The directory in the loop detector, once its first members are known. */
  step?: DirectoryLevel;
  readonly batches: AsyncGenerator<Task[], void, void>;
}

/**
 * Copies a file, or a directory with all files and directories below it.
 *
 * @param plan Options and limits. The timeout is for each request.
 */
export async function copyTree(
  from: CopyEnd,
  to: CopyEnd,
  plan: CopyPlan,
): Promise<void> {
  const { signal } = plan;
  const bases = new PathRoots();
  try {
    const source = await bases.makeBase(from, signal);
    const { session, fid } = source.base;
    const stat = await session.stat(fid, signal);
    if (!isDirectory(stat.qid)) {
      const open = await session.open(fid, OREAD, signal);
      return await copyFile(source, open, to, stat, plan);
    }
    if (!plan.recursive) throw new NinePError("Is a directory");
    if (isWithin(from, to)) throw invalid("into itself");
    const isMade = await madeDirectory(to, stat.mode, signal);
    const target = await bases.makeBase(to, signal);
    await copyAll({ from: source, to: target, stat, isMade }, bases, plan);
  } finally {
    bases.close();
  }
}

/** Copies the members of a directory into a directory that exists. */
async function copyAll(
  top: Task,
  bases: PathRoots,
  plan: CopyPlan,
): Promise<void> {
  const { signal } = plan;
  const { base } = top.to;
  const { qid } = await base.session.stat(base.fid, signal);
  const refuseTarget = async ({ from, stat }: Task, what: string) => {
    if (!isSameFile(stat.qid, qid)) return;
    const isSame = isSameTree(from.base, base) ||
      await isOneDirectory(from, top.to, signal);
    if (isSame) throw invalid(what);
  };
  await refuseTarget(top, "onto itself");

  const loops = new LoopDetector();
  const descents = new Set<DirectoryCopy>();
  const descend = async (task: Task): Promise<DirectoryCopy> => {
    const from = await bases.near(task.from, signal);
    const to = await bases.near(task.to, signal);
    const verb = `copy "${from.label}" to`;
    const { maxEntries, timeout } = plan;
    const batches = batchesOf(
      from.base,
      from.path,
      { verb, label: to.label, maxEntries, signal, timeout },
      (stat): Task => {
        const { name } = stat;
        return {
          from: memberOf(from, name),
          to: memberOf(to, name),
          stat,
          parent: task,
        };
      },
    );
    const descent: DirectoryCopy = { from, to, batches };
    descents.add(descent);
    return descent;
  };

  const copyOne = async (task: Task): Promise<Task[]> => {
    const { from, to, stat } = task;
    if (!isDirectory(stat.qid)) {
      const open = await from.base.open(from.path, { flags: OREAD }, signal);
      try {
        await copyFile(from, open, to, stat, plan);
      } finally {
        open.session.drop(open.fid);
      }
      return [];
    }
    task.isMade ??= await madeDirectory(to, stat.mode, signal);
    const descent = task.descent ??= await descend(task);
    const { value } = await descent.batches.next();
    if (value) {
      const names = value.map(({ stat: { name } }) => name);
      const parent = task.parent?.descent?.step;
      descent.step ??= loops.enter(stat.qid, from.label, names, parent);
      // A directory has one parent, so this check sees each new directory.
      for (const member of value) await refuseTarget(member, "into itself");
      return value; // The directory comes again after its members.
    }
    descents.delete(descent);
    if (descent.step) loops.leave(descent.step);
    const mode = stat.mode & PERMISSIONS;
    if (task.isMade && (mode & OWNER) !== OWNER) {
      await to.base.visit(
        to.path,
        signal,
        (fid) => setPermissions(to.base.session, fid, mode, signal),
      );
    }
    bases.leave(descent.from);
    bases.leave(descent.to);
    return [];
  };
  try {
    await runTaskTree(top, AT_ONCE, (task) => {
      const { from, to } = task;
      plan.monitor?.note(); // The task before it has ended.
      return explained(
        `copy "${from.label}" to`,
        to.label,
        () => copyOne(task),
      );
    });
  } finally {
    for (const { batches } of descents) void batches.return();
  }
}

/**
 * Makes a directory unless it exists, with the permissions of the source and
 * all permissions for its owner. Returns true if it made the directory.
 */
async function madeDirectory(
  { base, path }: Location,
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

/** Copies a plain file, and replaces the target. */
async function copyFile(
  from: Location,
  source: OpenFid,
  to: Location,
  stat: Stat,
  plan: CopyPlan,
): Promise<void> {
  const { signal } = plan;
  const target = await openTarget(from, source, to, stat.mode, signal);
  const { open: { session, fid, qid }, old } = target;
  source.monitor = target.open.monitor = plan.monitor;
  const isTail = (qid.type & QTAPPEND) !== 0;
  // The target may be the source itself, and append-only. Then the copy ends at
  // the first length of the source, because otherwise it would never end. A
  // file whose length is 0 has no such limit, because the server may compute
  // the file.
  const isBounded = old !== undefined && isTail && stat.length > 0n &&
    (source.qid.type & QTAPPEND) !== 0;
  const length = Number(stat.length);
  try {
    const { end, reach } = await copyBytes(source, target.open, {
      length,
      isBounded,
      path: from.label,
    }, plan);
    // The copy must not have bytes behind the end of the source, even if the
    // target has some there.
    const there = old && !isTail ? Math.max(Number(old.length), reach) : reach;
    if (there > end) await cut(target.open, end, signal);
  } catch (error) {
    session.drop(fid);
    throw error;
  }
  await session.clunk(fid); // It tells failed writes.
}

/**
 * Cuts the target of a copy to the number of copied bytes.
 *
 * @throws {NinePError} The server does not cut the file. The file then holds
 *   bytes that its source does not have, and the copy has failed.
 */
async function cut(
  { session, fid }: OpenFid,
  length: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await session.wstat(fid, { length: BigInt(length) }, signal);
  } catch (error) {
    if (!(error instanceof NinePError) || error === signal?.reason) throw error;
    const { ename, code } = error;
    const message =
      `${ename}: the source became shorter while it was read, and its copy cannot be cut to ${length} bytes`;
    throw new NinePError(ename, { code, message });
  }
}

/** The target file of a copy, open for writing. */
interface Target {
  readonly open: OpenFid;
  /**
   * Attributes before the copy, when the target may be the source itself. Then
   * the target was not cut.
   */
  readonly old?: Stat | undefined;
}

/**
 * Opens the target of a copy, or makes the file. This works even if another
 * client makes or removes the file at the same time.
 */
async function openTarget(
  from: Location,
  source: OpenFid,
  to: Location,
  sourceMode: number,
  signal: AbortSignal | undefined,
): Promise<Target> {
  const { base, path } = to;
  const { session } = base;
  const mode = sourceMode & PERMISSIONS;
  const make = { write: true, createNew: true, mode };
  for (let isBeaten = false;; isBeaten = true) {
    try {
      const { fid, qid } = await find(to, signal);
      try {
        const isAlike = isSameFile(qid, source.qid);
        if (isAlike && isSameTree(from.base, base)) {
          throw invalid("onto itself");
        }
        // The target may be the source, by another address. Writing the same
        // bytes into the source again does no harm, but truncating the source
        // would lose its data.
        const old = isAlike ? await session.stat(fid, signal) : undefined;
        const how = { write: true, truncate: !isAlike };
        return { open: await base.open(fid, how, signal), old };
      } catch (error) {
        session.drop(fid);
        throw error;
      }
    } catch (error) {
      if (isBeaten || !hasCode(error, "ENOENT")) throw error;
    }
    try {
      return { open: await base.open(path, make, signal) };
    } catch (error) {
      if (isBeaten || !hasCode(error, "EEXIST")) throw error;
    }
  }
}

/**
 * Walks to a file and returns its new fid and its qid. If the path starts at
 * the fid of `base` and one Twalk carries all its names, the qid comes from the
 * Rwalk, otherwise from a Tstat.
 */
async function find(
  { base, path }: Location,
  signal: AbortSignal | undefined,
): Promise<{ fid: number; qid: Qid }> {
  const { session } = base;
  const wname = namesOf(path);
  const isAnywhere = "cwd" in base; // It starts where the caller's path says.
  if (isAnywhere || wname.length === 0 || !session.isOneStep(wname)) {
    const fid = await base.walk(path, signal);
    try {
      return { fid, qid: (await session.stat(fid, signal)).qid };
    } catch (error) {
      session.drop(fid);
      throw error;
    }
  }
  const [fid, wqid] = await session.walkStep(base.fid, wname, signal);
  return { fid, qid: wqid[wname.length - 1] };
}

/** The part of a file that is copied. */
interface FileCopy {
  /** Length that the source's server told. */
  readonly length: number;
  /**
   * True when the copy ends at `length`, even if the source is longer by then.
   */
  readonly isBounded: boolean;
  readonly path: string;
}

/**
 * Copies the content of a file. Up to the length of the source, several chunks
 * are in flight after the first one, if {@linkcode writesAllowedAfter} allows it.
 * Behind this length, one chunk is in flight.
 *
 * @returns The end of the source, and the end of the written bytes. The end of
 *   the written bytes is larger if the source became shorter during the copy,
 *   after a later chunk was already written.
 */
async function copyBytes(
  source: OpenFid,
  target: OpenFid,
  { length, isBounded, path }: FileCopy,
  { signal, onProgress }: CopyPlan,
): Promise<{ end: number; reach: number }> {
  const size = chunkSize(source);
  let bytes = 0;
  let reach = 0;
  const report = () =>
    onProgress?.({ path, bytes, total: Math.max(length, bytes) });
  const write = async (data: Uint8Array, offset: number) => {
    reach = Math.max(reach, offset + data.length);
    await writeAll(target, data, offset, 1, signal);
    bytes += data.length;
    report();
  };

  let next = 0;
  let end = length;
  const step = async (buffer: Uint8Array) => {
    const at = next;
    next = Math.min(at + size, end);
    const chunk = buffer.subarray(0, next - at);
    let count = 0;
    try {
      count = await readInto(source, chunk, at, 1, signal);
      // Another lane may have found the end of the source before this chunk.
      const known = Math.min(count, Math.max(end - at, 0));
      if (known > 0) await write(chunk.subarray(0, known), at);
    } finally {
      // The other lanes stop here as well, because the file ends or the write
      // has failed.
      if (count < chunk.length) end = Math.min(end, at + count);
    }
  };
  const lane = async (buffer: Uint8Array) => {
    while (next < end) await step(buffer);
  };
  const first = new Uint8Array(Math.min(size, length));
  const buffers = [first];
  if (length > 2 * size) {
    await step(first);
    const rest = Math.ceil((end - next) / size);
    const lanes = rest > 1 ? await writesAllowedAfter(target, next, signal) : 1;
    while (buffers.length < Math.min(lanes, rest)) {
      buffers.push(new Uint8Array(size));
    }
  }
  const ends = await Promise.allSettled(buffers.map(lane));
  for (const end of ends) {
    if (end.status === "rejected") throw end.reason;
  }

  if (end === length && !isBounded) {
    const buffer = new Uint8Array(size);
    const { session, fid } = source;
    while (true) {
      const count = await session.read(fid, end, buffer, signal);
      source.monitor?.note();
      if (count === 0) break;
      await write(buffer.subarray(0, count), end);
      end += count;
    }
  }
  if (bytes > end) { // Bytes that were written behind the end do not count.
    bytes = end;
    report();
  } else if (bytes === 0) report();
  return { end, reach };
}

/**
 * Tells whether two directories with the same qid are one directory, even if
 * their servers have different addresses. The client makes a file in the second
 * directory and looks for this file in the first.
 */
async function isOneDirectory(
  a: NearLocation,
  b: NearLocation,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const name = `.copy-${crypto.randomUUID()}`;
  const { session } = b.base;
  const mark = await b.base.create(
    [...b.path, name],
    0o600,
    OWRITE | ORCLOSE, // Also when it cannot be removed here.
    signal,
  );
  try {
    await a.base.visit([...a.path, name], signal, () => Promise.resolve());
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  } finally {
    await session.remove(mark.fid).catch(() => {});
  }
}

/**
 * Makes the error for a copy of a file onto itself or of a directory into
 * itself.
 */
function invalid(what: string): NinePError {
  const ename = "Invalid argument";
  return new NinePError(ename, { message: `${ename}: it is copied ${what}` });
}

/**
 * Tells by the paths whether a directory would be copied into itself, before
 * the copy makes any file.
 */
function isWithin(from: CopyEnd, to: CopyEnd): boolean {
  return isSameTree(from.base, to.base) &&
    `${to.base.absolute(to.path)}/`.startsWith(
      join(from.base.absolute(from.path), ""),
    );
}

/**
 * Tells whether two roots belong to the same tree, by the name of the tree and
 * the address of its server. Qids can be compared only within one tree.
 */
function isSameTree(a: PathRoot, b: PathRoot): boolean {
  const { session: { peer } } = a;
  const isOneServer = a.session === b.session ||
    (peer === b.session.peer && peer.includes("://"));
  return isOneServer && a.aname === b.aname;
}

/** Tells whether two qids of one tree are of the same file. */
function isSameFile(a: Qid, b: Qid): boolean {
  return a.path === b.path && isDirectory(a) === isDirectory(b);
}

function statOf(
  base: PathRoot,
  path: string | readonly string[],
  signal: AbortSignal | undefined,
): Promise<Stat> {
  return base.visit(path, signal, (fid) => base.session.stat(fid, signal));
}
