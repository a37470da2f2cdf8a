// Directories: their members, read while the caller works on those before.

import { DMDIR, OREAD, QTDIR } from "../codec/constants.ts";
import { NinePError, ProtocolError } from "../codec/errors.ts";
import { decodeDir, isName, type Stat } from "../codec/stat.ts";
import {
  type CallerOptions,
  type FileRef,
  hasCode,
  namesOf,
  operate,
} from "./operation.ts";
import { Paths } from "./paths.ts";
import type { OpenFid } from "./session.ts";
import { readAll } from "./transfer.ts";

/** Size of the reads of a directory: no record is larger. */
const CHUNK = 64 * 1024;

/**
 * Reads a directory, a batch of members at a time. The next read is under way
 * while the caller works on a batch, never more: each offset is where the last
 * read ended.
 *
 * @param verb What errors say that was tried, and with what.
 * @param options A timeout is for each request.
 */
export async function* readMembers(
  paths: Paths,
  path: string | readonly string[],
  verb: string,
  label: FileRef,
  options: CallerOptions,
): AsyncGenerator<Stat[], void, void> {
  const { session } = paths;
  const stop = new AbortController();
  const { signal, timeout } = options;
  const either = {
    signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
    timeout,
  };
  const open = await operate(
    session,
    verb,
    label,
    either,
    (signal) => openDirectory(paths, path, signal),
    (open) => session.drop(open.fid),
  );
  if (!session.traits.wholeRecords) {
    yield await operate(
      session,
      verb,
      label,
      either,
      (signal) => readWhole(open, signal),
    );
    return;
  }
  const { fid, limit } = open;
  let offset = 0;
  let isOpen = true;
  const read = () =>
    operate(session, verb, label, either, async (signal) => {
      const { data } = await session.rpc({
        type: "Tread",
        tag: 0,
        fid,
        offset: BigInt(offset),
        count: Math.min(CHUNK, limit),
      }, signal);
      offset += data.length;
      // At once: the caller may stay away for long.
      if (data.length === 0) close();
      return members(data);
    });
  const close = () => {
    if (isOpen) session.drop(fid);
    isOpen = false;
  };
  try {
    let next = read();
    while (true) {
      const batch = await next;
      if (batch.length === 0) return;
      next = read();
      next.catch(() => {}); // For a caller who does not come back.
      yield batch;
    }
  } finally {
    stop.abort();
    close();
  }
}

async function openDirectory(
  paths: Paths,
  path: string | readonly string[],
  signal: AbortSignal | undefined,
): Promise<OpenFid> {
  const open = await paths.open(path, { flags: OREAD }, signal);
  if (open.qid.type & QTDIR) return open;
  paths.session.drop(open.fid);
  throw new NinePError("not a directory");
}

/** All members, where reads end anywhere. */
async function readWhole(
  open: OpenFid,
  signal: AbortSignal | undefined,
): Promise<Stat[]> {
  try {
    return members(await readAll(open, signal));
  } finally {
    open.session.drop(open.fid);
  }
}

/** The members in the data of a read; names that could lead a caller astray are refused. */
function members(data: Uint8Array): Stat[] {
  const batch = decodeDir(data);
  for (const { name } of batch) {
    if (isName(name)) continue;
    throw new ProtocolError(
      `Cannot list a directory: the server named a member "${name}"`,
    );
  }
  return batch;
}

/** Makes a directory, which must not be there. */
export async function makeDirectory(
  paths: Paths,
  path: string | readonly string[],
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const perm = (DMDIR | mode) >>> 0;
  const { fid } = await paths.create(path, perm, OREAD, signal);
  paths.session.drop(fid);
}

/**
 * Makes a directory and those on the way to it, as far as they are missing,
 * whoever else does the same meanwhile. A plain file in the way is `EEXIST`
 * at the end of the path, `ENOTDIR` before it.
 */
export async function makeDirectories(
  paths: Paths,
  path: string | readonly string[],
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { session } = paths;
  const isAbsolute = typeof path === "string" && path.startsWith("/");
  let fid = await paths.walk(isAbsolute ? "/" : "", signal);
  try {
    for (const name of namesOf(path)) {
      const next = await step(paths, fid, name, mode, signal);
      session.drop(fid);
      fid = next;
    }
    const { qid } = await session.stat(fid, signal);
    if (!(qid.type & QTDIR)) throw new NinePError("file already exists");
  } finally {
    session.drop(fid);
  }
}

/** Walks to a directory's member, which is made where it is missing. */
async function step(
  { session }: Paths,
  fid: number,
  name: string,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  try {
    return await session.walk(fid, [name], signal);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  try {
    await makeDirectory(new Paths(session, fid), [name], mode, signal);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error; // Another one was faster.
  }
  return await session.walk(fid, [name], signal);
}
