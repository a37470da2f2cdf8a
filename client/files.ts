// Opens, makes, reads and writes single files.

import { NinePError, OAPPEND, ORDWR } from "../codec.ts";
import {
  appendAll,
  bytesOf,
  chunksOf,
  type FileData,
  writeChunks,
} from "./transfer/chunks.ts";
import { isDirectory } from "./file_stat.ts";
import { withResource } from "./with_resource.ts";
import {
  type CallerOptions,
  checkMost,
  type FileRef,
  labelOf,
  operate,
} from "./operation.ts";
import { RemoteFile } from "./file/remote_file.ts";
import type { OpenFid } from "./connection/client_session.ts";
import type { TransferOptions } from "./transfer/stall.ts";
import type { TreePaths } from "./trees/tree_paths.ts";
import { LANES, MAX_LENGTH, readAll, writeAll } from "./transfer/transfer.ts";

/** Options of {@linkcode Client.open}. */
export interface OpenOptions extends CallerOptions {
  /** Open for reading; the default if no other access is given. */
  read?: boolean | undefined;
  /** Open for writing. */
  write?: boolean | undefined;
  /**
   * Open for writing. Each write goes to the end of the file, and the position
   * starts there.
   *
   * The writes of one session are done in order, and none overwrites another.
   * If several clients append, a write of up to {@linkcode RemoteFile.limit}
   * bytes is atomic on a server that knows OAPPEND, such as the server of this
   * library. The client sends this bit. On any other server, the client asks
   * for the length of the file and writes there, so clients that append at the
   * same time overwrite each other. A file that was made with DMAPPEND is safe
   * on every server, see {@linkcode Client.create}.
   */
  append?: boolean | undefined;
  /** Cut the file to the length 0; goes with `write`. */
  truncate?: boolean | undefined;
  /**
   * Make the file if it does not exist; goes with `write`, `append` or `flags`.
   */
  create?: boolean | undefined;
  /**
   * Make the file; it is an error if the file exists. Goes with `write`,
   * `append` or `flags`, and a path.
   */
  createNew?: boolean | undefined;
  /**
   * Permissions of a new file, 0o666 by default. The server removes the
   * permissions that the directory does not allow.
   */
  mode?: number | undefined;
  /**
   * Mode of the Topen, such as `ORDWR | OTRUNC`. Only `flags` can set OEXEC and
   * ORCLOSE. OAPPEND means the same as `append`, and needs OWRITE or ORDWR.
   * With `flags`, do not give `read`, `write`, `append` or `truncate`.
   */
  flags?: number | undefined;
}

/** Options of {@linkcode Client.create}. */
export interface CreateOptions extends CallerOptions {
  /** Permissions and DM bits, 0o666 by default. */
  perm?: number | undefined;
  /** Mode to open the new file with, as in Topen; ORDWR by default. */
  mode?: number | undefined;
}

/** Options of {@linkcode Client.readFile}. */
export interface ReadFileOptions extends TransferOptions {
  /**
   * Most bytes of the file, 0 to 2^53 - 1, or Infinity; 1 GiB by default, so
   * that a file without an end does not take all memory. If the file is longer,
   * the call fails with a RangeError, and the client does not read the rest of
   * the file. {@linkcode RemoteFile.chunks} and {@linkcode RemoteFile.readable}
   * read files of any length.
   */
  maxLength?: number | undefined;
}

/** Options of {@linkcode Client.writeFile}. */
export interface WriteFileOptions extends TransferOptions {
  /**
   * Write at the end of the file, instead of replacing its content. For appends
   * of several clients, see {@linkcode OpenOptions.append}. The chunks of a
   * stream or iterable are appended one by one, so writes of other clients may
   * come between them.
   */
  append?: boolean | undefined;
  /** Make the file if it does not exist, true by default. */
  create?: boolean | undefined;
  /** Make the file; it is an error if the file exists. */
  createNew?: boolean | undefined;
  /** Permissions of a new file, 0o666 by default. */
  mode?: number | undefined;
}

/** Opens a file. With `create` or `createNew`, makes a missing file. */
export function openFile(
  paths: TreePaths,
  file: FileRef,
  options: OpenOptions,
): Promise<RemoteFile> {
  const { session } = paths;
  const { append = false, write = append, flags = 0 } = options;
  const appends = append || (flags & OAPPEND) !== 0;
  const drop = ({ fid }: { fid: number }) => {
    if (typeof file !== "number") session.drop(fid);
  };
  return operate(session, "open", file, options, async (signal) => {
    const open = await paths.open(file, { ...options, write }, signal);
    const result = new RemoteFile(open, file, appends);
    try {
      if (appends) await result.seek(0, "end", { signal });
      return result;
    } catch (error) {
      drop(open);
      throw error;
    }
  }, drop);
}

/** Makes a file and opens it. */
export function createFile(
  paths: TreePaths,
  path: string | readonly string[],
  options: CreateOptions,
): Promise<RemoteFile> {
  const { session } = paths;
  const { perm = 0o666, mode = ORDWR } = options;
  return operate(
    session,
    "create",
    path,
    options,
    async (signal) =>
      new RemoteFile(
        await paths.create(path, perm, mode, signal),
        path,
        (mode & OAPPEND) !== 0,
      ),
    (file) => session.drop(file.fid),
  );
}

/** Opens a file, runs a function on it and closes it, also after an error. */
export function withOpenFile<T>(
  paths: TreePaths,
  path: string | readonly string[],
  use: (file: RemoteFile) => T | Promise<T>,
  options: OpenOptions,
): Promise<T> {
  return withResource(path, options, {
    session: paths.session,
    take: (bounds) => openFile(paths, path, { ...options, ...bounds }),
    interrupt: (file) => void file.close().catch(() => {}),
    giveBack: (file) => file.close(),
  }, use);
}

/** Reads a whole file. */
export function readWholeFile(
  paths: TreePaths,
  path: string | readonly string[],
  options: ReadFileOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const { maxLength = MAX_LENGTH } = options;
  return paths.withOpen("read", path, {}, options, (open, signal) => {
    const what = `read ${labelOf(path)}`;
    checkMost(what, "maxLength", maxLength);
    if (isDirectory(open.qid)) throw new NinePError("Is a directory");
    return readAll(open, signal, { maxLength, what });
  });
}

/**
 * Writes the whole content of a file, or appends to the file. By default, makes
 * a missing file.
 */
export async function writeWholeFile(
  paths: TreePaths,
  path: string | readonly string[],
  data: FileData,
  options: WriteFileOptions,
): Promise<void> {
  const { append = false, create = true } = options;
  const openOptions = {
    ...options,
    write: true,
    append,
    truncate: !append,
    create,
  };
  const write = (
    transfer: (open: OpenFid, signal: AbortSignal | undefined) => Promise<void>,
  ) => paths.withOpen("write", path, openOptions, options, transfer);
  if (typeof data === "string" || data instanceof Uint8Array) {
    const bytes = bytesOf(data);
    return await write(async (open, signal) => {
      if (append) await appendAll(open, bytes, 0, signal);
      else await writeAll(open, bytes, 0, LANES, signal);
    });
  }
  const source = chunksOf(data);
  try {
    await write((open, signal) =>
      writeChunks(open, source, append ? undefined : 0, signal)
    );
  } catch (error) {
    source.cancel(error);
    throw error;
  }
}
