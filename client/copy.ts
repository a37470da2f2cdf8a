// Files and trees from one place to another, of one server or of two.

import { OREAD, QTAPPEND, QTDIR } from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import type { Qid } from "../codec/messages.ts";
import type { Stat } from "../codec/stat.ts";
import { makeDirectory, readMembers } from "./directory.ts";
import { drain } from "./drain.ts";
import {
  type CallerOptions,
  explained,
  hasCode,
  isMissing,
} from "./operation.ts";
import { Paths } from "./paths.ts";
import type { OpenFid, Session } from "./session.ts";
import { chunkSize, LANES, readInto, writeAll } from "./transfer.ts";
import { join, lookUp, pathOf } from "./walk_tree.ts";

/** Most files that are copied at a time. */
const AT_ONCE = 8;
/** The permission bits of a mode. */
const PERMISSIONS = 0o777;
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

/** How to copy. */
export interface How extends CallerOptions {
  readonly recursive: boolean;
  readonly onProgress: ((progress: CopyProgress) => void) | undefined;
}

/** Where a file is. */
export interface Place {
  readonly paths: Paths;
  readonly path: string | readonly string[];
  /** What errors call it. */
  readonly label: string;
}

/** A file or directory to copy. */
interface Task {
  readonly from: Place;
  readonly to: Place;
  readonly stat: Stat;
}

/**
 * Copies a file, or a directory with all that is in it.
 *
 * @param how A timeout is for each request.
 */
export async function copyTree(
  from: Place,
  to: Place,
  how: How,
): Promise<void> {
  const { session } = from.paths;
  const { fid, stat } = await told(
    from,
    to,
    () => lookUp(from.paths, from.path, how.signal),
  );
  const { label } = from;
  const source = { paths: new Paths(session, fid), path: "", label };
  const task = { from: source, to, stat };
  try {
    if (!isDirectory(stat.qid)) await copyFile(task, how);
    else if (!how.recursive) {
      await told(from, to, () => refused("Is a directory"));
    } else if (isWithin(from, to)) {
      await told(from, to, () => refused("Invalid argument"));
    } else await copyDirectory(task, how);
  } finally {
    session.drop(fid);
  }
}

/** Copies a directory: it is merged into one that is there. */
async function copyDirectory(top: Task, how: How): Promise<void> {
  const { signal } = how;
  const { paths, path, label } = top.to;
  /** Directories that were made, with permissions that are too wide. */
  const wide: [to: Place, mode: number][] = [];
  const make = async ({ from, to, stat }: Task) => {
    const mode = stat.mode & PERMISSIONS;
    const isMade = await told(from, to, () => madeDirectory(to, mode, signal));
    if (isMade && (mode & OWNER) !== OWNER) wide.push([to, mode]);
  };

  await make(top);
  const { fid, stat } = await told(
    top.from,
    top.to,
    () => lookUp(paths, path, signal),
  );
  const to = { paths: new Paths(paths.session, fid), path: "", label };
  const isTarget = ({ qid }: Stat) =>
    isSameServer(top.from.paths.session, paths.session) &&
    isSameQid(qid, stat.qid);
  const refuse = () =>
    told(top.from, top.to, () => refused("Invalid argument"));
  const tasks: Task[] = [];
  const list = async (from: Place, to: Place) => {
    const verb = `copy "${from.label}" to`;
    const batches = readMembers(from.paths, from.path, verb, to.label, how);
    for await (const batch of batches) {
      for (const member of batch) {
        const task = {
          from: memberOf(from, member),
          to: memberOf(to, member),
          stat: member,
        };
        if (isTarget(member)) await refuse(); // It would never end.
        tasks.push(task);
      }
    }
  };
  try {
    if (isTarget(top.stat)) await refuse();
    await list(top.from, to);
    await drain(tasks, AT_ONCE, async (task) => {
      if (!isDirectory(task.stat.qid)) return await copyFile(task, how);
      await make(task);
      await list(task.from, task.to);
    });
    // From the bottom up: what is behind a closed door cannot be changed.
    for (const [place, mode] of wide.reverse()) {
      await told(top.from, place, () => narrow(place, mode, signal));
    }
  } finally {
    paths.session.drop(fid);
  }
}

/** Gives a directory that was made for a copy the permissions of its source. */
async function narrow(
  { paths, path }: Place,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { session } = paths;
  const { fid, stat } = await lookUp(paths, path, signal);
  try {
    const changes = { mode: ((stat.mode & ~PERMISSIONS) | mode) >>> 0 };
    await session.wstat(fid, changes, signal);
  } finally {
    session.drop(fid);
  }
}

/** Makes a directory where there is none, and tells whether it did. */
async function madeDirectory(
  { paths, path }: Place,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    await makeDirectory(paths, path, mode | OWNER, signal);
    return true;
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    const { fid, stat } = await lookUp(paths, path, signal);
    paths.session.drop(fid);
    if (isDirectory(stat.qid)) return false;
    throw error;
  }
}

/** Copies a plain file; what is there is replaced. */
async function copyFile({ from, to, stat }: Task, how: How): Promise<void> {
  const { signal } = how;
  const mode = stat.mode & PERMISSIONS;
  const options = { write: true, truncate: true, create: true, mode };
  await told(from, to, async () => {
    const source = await from.paths.open(from.path, { flags: OREAD }, signal);
    try {
      await refuseItself(source, to, signal);
      const target = await to.paths.open(to.path, options, signal);
      try {
        await pour(source, target, Number(stat.length), from.label, how);
      } catch (error) {
        target.session.drop(target.fid);
        throw error;
      }
      await target.session.clunk(target.fid); // It tells failed writes.
    } finally {
      source.session.drop(source.fid);
    }
  });
}

/** Refuses to copy a file onto itself, which would first be cut to nothing. */
async function refuseItself(
  source: OpenFid,
  { paths, path }: Place,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!isSameServer(source.session, paths.session)) return;
  try {
    const { fid, stat } = await lookUp(paths, path, signal);
    paths.session.drop(fid);
    if (isSameQid(source.qid, stat.qid)) await refused("Invalid argument");
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
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
  { signal, onProgress }: How,
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
function isWithin(from: Place, to: Place): boolean {
  const { paths } = from;
  return paths === to.paths &&
    `${paths.absolute(to.path)}/`.startsWith(
      join(paths.absolute(from.path), ""),
    );
}

function memberOf({ paths, path, label }: Place, { name }: Stat): Place {
  return { paths, path: join(pathOf(path), name), label: join(label, name) };
}

function isDirectory({ type }: Qid): boolean {
  return (type & QTDIR) !== 0;
}

/** Recognizes a server by its address: qids mean something only within one. */
function isSameServer(a: Session, b: Session): boolean {
  return a === b || (a.peer === b.peer && a.peer.includes("://"));
}

/** Recognizes a file by its qid, within one server. */
function isSameQid(a: Qid, b: Qid): boolean {
  return a.path === b.path && isDirectory(a) === isDirectory(b);
}

/** Puts what was tried in front of the servers' errors. */
function told<T>(from: Place, to: Place, work: () => Promise<T>): Promise<T> {
  return explained(`copy "${from.label}" to`, to.label, work);
}

function refused(ename: string): Promise<never> {
  return Promise.reject(new NinePError(ename));
}
