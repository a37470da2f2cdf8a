// Single files by their paths: opened, made, read, written and called.

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
  /** Open for reading; the default when nothing else is asked for. */
  read?: boolean | undefined;
  /** Open for writing. */
  write?: boolean | undefined;
  /**
   * Open for writing. Each write goes to the end of the file, and the position
   * starts there.
   *
   * The writes of one session are in order, and none is lost. Between clients,
   * a write of up to {@linkcode RemoteFile.limit} bytes is atomic on a server
   * that knows OAPPEND, such as the server of this library; the client sends
   * this bit. On any other server the client writes at the end that it has
   * seen, so clients that append at the same time overwrite each other. A file
   * that was made with DMAPPEND is safe on every server, see {@linkcode
   * Client.create}.
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
   * Permissions of a new file, 0o666 by default. The server removes those that
   * the directory does not allow.
   */
  mode?: number | undefined;
  /**
   * Mode of the Topen, such as `ORDWR | OTRUNC`, or with OEXEC or ORCLOSE,
   * which have no option of their own. OAPPEND is the same as `append`, and goes
   * with OWRITE or ORDWR. Goes without `read`, `write`, `append`
   * and `truncate`.
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
   * that a file without an end does not take all memory. A longer file is a
   * RangeError, and the rest of it is not read. {@linkcode RemoteFile.chunks}
   * and {@linkcode RemoteFile.readable} read files of any length.
   */
  maxLength?: number | undefined;
}

/** Options of {@linkcode Client.writeFile}. */
export interface WriteFileOptions extends TransferOptions {
  /**
   * Write at the end of the file, instead of replacing its content. {@linkcode
   * OpenOptions.append} says what is safe between clients. Data that come chunk
   * by chunk are appended chunk by chunk, between the writes of other clients.
   */
  append?: boolean | undefined;
  /** Make the file if it does not exist, true by default. */
  create?: boolean | undefined;
  /** Make the file; it is an error if the file exists. */
  createNew?: boolean | undefined;
  /** Permissions of a new file, 0o666 by default. */
  mode?: number | undefined;
}

/** Opens a file, or makes it. */
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

/** Replaces the content of a file, appends to a file, or makes one. */
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
