// Reads directories, ahead of the work of the caller, and makes directories.

import { rangeError } from "../error_brand.ts";
import {
  decodeDir,
  DMDIR,
  isName,
  NinePError,
  OREAD,
  ProtocolError,
  type Stat,
} from "../../codec.ts";
import { PathRoot } from "./path_root.ts";
import { isDirectory } from "../file_stat.ts";
import {
  type CallerOptions,
  type FileRef,
  hasCode,
  labelOf,
  namesOf,
  operate,
} from "../operation.ts";
import type { OpenFid } from "../connection/client_session.ts";
import { MAX_LENGTH, readAll, type ReadBounds } from "../transfer/transfer.ts";

/** Size of the reads of a directory. No record is larger. */
const CHUNK = 64 * 1024;

/**
 * Default of `maxEntries`: most members of one directory that are copied,
 * removed or listed.
 */
export const MAX_ENTRIES = 1_000_000;
/**
 * Number of members of a directory that are processed before the next ones are
 * read.
 */
export const BATCH = 4096;

/** Permissions for missing parent directories that the client makes. */
const PARENT_MODE = 0o777;

/**
 * Reads a directory, a batch of members at a time. While the caller works on a
 * batch, the client already sends the next read. There is never more than one,
 * because each read begins where the last one ended.
 *
 * @param verb Name of the operation, for errors.
 * @param options Signal, and a timeout for each request.
 */
export async function* readMembers(
  base: PathRoot,
  path: string | readonly string[],
  verb: string,
  label: FileRef,
  options: CallerOptions,
): AsyncGenerator<Stat[], void, void> {
  const { session } = base;
  const stop = new AbortController();
  const { signal, timeout } = options;
  const either = {
    signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
    timeout,
  };
  const run = <T>(
    work: (signal: AbortSignal | undefined) => Promise<T>,
    undo?: (result: T) => void,
  ) => operate(session, verb, label, either, work, undo);
  const open = await run(
    (signal) => openDirectory(base, path, signal),
    (open) => session.drop(open.fid),
  );
  if (!session.traits.wholeRecords) {
    const bounds = { maxLength: MAX_LENGTH, what: `${verb} ${labelOf(label)}` };
    yield await run((signal) => readWhole(open, signal, bounds));
    return;
  }
  const { fid, limit } = open;
  let offset = 0;
  let isOpen = true;
  const read = () =>
    run(async (signal) => {
      const { data } = await session.rpc({
        type: "Tread",
        tag: 0,
        fid,
        offset: BigInt(offset),
        count: Math.min(CHUNK, limit),
      }, signal);
      offset += data.length;
      // The directory is closed at once, because the caller may be busy for
      // long.
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

/** Options of reading a directory. */
export interface GatherOptions extends CallerOptions {
  /** Most members; {@linkcode MAX_ENTRIES} by default. */
  readonly maxEntries?: number | undefined;
  readonly verb: string;
  readonly label: FileRef;
}

/** Makes the error for a directory with more members than `maxEntries`. */
export function tooMany(
  { verb, label, maxEntries = MAX_ENTRIES }: GatherOptions,
): RangeError {
  return rangeError(
    `Cannot ${verb} ${
      labelOf(label)
    }: a directory has more than ${maxEntries} members (maxEntries)`,
  );
}

/**
 * Reads a directory in batches of about {@linkcode BATCH} members, so that a
 * directory of any length takes little memory. If the fid of the directory is
 * lost with the connection, the client reads the directory once more, unless
 * the caller already has a batch.
 *
 * @param take Returns the result for a member; undefined leaves the member out.
 * @throws {RangeError} The directory has more members than `maxEntries`.
 */
export async function* batchesOf<T>(
  base: PathRoot,
  path: string | readonly string[],
  gathering: GatherOptions,
  take: (member: Stat) => T | undefined,
): AsyncGenerator<T[], void, void> {
  const { verb, label, maxEntries = MAX_ENTRIES } = gathering;
  let isOnlyTry = false;
  while (true) {
    let count = 0;
    let taken: T[] = [];
    try {
      const reads = readMembers(base, path, verb, label, gathering);
      for await (const members of reads) {
        count += members.length;
        if (count > maxEntries) throw tooMany(gathering);
        for (const member of members) {
          const one = take(member);
          if (one !== undefined) taken.push(one);
        }
        if (taken.length < BATCH) continue;
        isOnlyTry = true;
        yield taken;
        taken = [];
      }
      if (taken.length > 0) yield taken;
      return;
    } catch (error) {
      if (isOnlyTry || !hasCode(error, "ESTALE")) throw error;
      isOnlyTry = true;
    }
  }
}

/**
 * Reads a directory as a whole.
 *
 * @param take Returns the result for a member; undefined leaves the member out.
 * @throws {RangeError} The directory has more members than `maxEntries`.
 */
export async function gatherMembers<T>(
  base: PathRoot,
  path: string | readonly string[],
  gathering: GatherOptions,
  take: (member: Stat) => T | undefined,
): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batchesOf(base, path, gathering, take)) {
    for (const one of batch) all.push(one);
  }
  return all;
}

async function openDirectory(
  base: PathRoot,
  path: string | readonly string[],
  signal: AbortSignal | undefined,
): Promise<OpenFid> {
  const open = await base.open(path, { flags: OREAD }, signal);
  if (isDirectory(open.qid)) return open;
  base.session.drop(open.fid);
  throw new NinePError("not a directory");
}

/**
 * Reads all members of a directory from a server whose reads may end in the
 * middle of a record.
 */
async function readWhole(
  open: OpenFid,
  signal: AbortSignal | undefined,
  bounds: ReadBounds,
): Promise<Stat[]> {
  try {
    return members(await readAll(open, signal, bounds));
  } finally {
    open.session.drop(open.fid);
  }
}

/**
 * Decodes the members in the data of a read, and throws if a member has a name
 * that no file can have.
 */
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

/** Makes a directory, which must not exist. */
export async function makeDirectory(
  base: PathRoot,
  path: string | readonly string[],
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const perm = (DMDIR | mode) >>> 0;
  const { fid } = await base.create(path, perm, OREAD, signal);
  base.session.drop(fid);
}

/**
 * Makes a directory and its missing parent directories. This works even if
 * other clients make the same directories at the same time. If a name of the
 * path is a plain file, the error is `EEXIST` for the last name and `ENOTDIR`
 * for any other name.
 *
 * @param mode Permissions of the last directory. Missing parents get the
 *   default permissions, as with `mkdir -p -m`, because without write
 *   permission the client could make nothing in them.
 */
export async function makeDirectories(
  base: PathRoot,
  path: string | readonly string[],
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { session } = base;
  const names = namesOf(path);
  const isAbsolute = typeof path === "string" && path.startsWith("/");
  let fid = await base.walk(isAbsolute ? "/" : "", signal);
  try {
    for (const [i, name] of names.entries()) {
      const isLast = i === names.length - 1;
      const perm = isLast ? mode : PARENT_MODE;
      const next = await step(base, fid, name, perm, signal);
      session.drop(fid);
      fid = next;
    }
    const { qid } = await session.stat(fid, signal);
    if (!isDirectory(qid)) throw new NinePError("file already exists");
  } finally {
    session.drop(fid);
  }
}

/**
 * Walks to a member of a directory, and makes the member as a directory if it
 * is missing.
 */
async function step(
  { session, aname }: PathRoot,
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
    await makeDirectory(
      new PathRoot(session, fid, aname),
      [name],
      mode,
      signal,
    );
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error; // Another one was faster.
  }
  return await session.walk(fid, [name], signal);
}
