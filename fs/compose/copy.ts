// Copies a file from one tree to another, with its attributes, under a
// temporary name.

import { DMDIR, NinePError, OREAD, OWRITE } from "../../codec.ts";
import type {
  AttributeChanges,
  Attributes,
  RequestContext,
} from "../../server.ts";
import type { OpenFile, TreeDir, TreeFile } from "../tree.ts";
import { contextFor, contextUntil } from "./for_user.ts";
import { notSupported } from "./wrap.ts";

/** Bytes that are copied at a time. */
const PIECE = 64 * 1024;

/**
 * Number of pieces after which the copy lets other requests run, even if
 * neither tree waits.
 */
const PIECES_AT_ONCE = 16;

/** Time in milliseconds after which the removal of a copy is given up. */
const DISCARD_TIMEOUT = 5000;

/** Bit of a mode that makes a file a symbolic link. */
const DMSYMLINK = 0x02000000;

/** The source and the target of a copy. */
export interface Copy {
  /** The file. */
  readonly file: TreeFile;
  /** Directory of the other tree. */
  readonly dir: TreeDir;
  /** Name of the copy. */
  readonly name: string;
  /** True when the content is copied. */
  readonly hasContent: boolean;
  /**
   * True when the copy may have another owner or group, if the other tree
   * refuses those of the file.
   */
  readonly isOwnerFree: boolean;
}

/**
 * Copies one file, or one directory without its members. The copy belongs to
 * the owner of the file. An incomplete copy is removed.
 *
 * @returns The copy, which the caller must release.
 */
export async function copyFile(
  copy: Copy,
  context: RequestContext,
): Promise<TreeFile> {
  const { file, dir, name } = copy;
  const stat = await file.stat(context);
  const owner = contextFor(context, stat.uid ?? "none");
  const { made, open } = await make(copy, stat, owner);
  try {
    try {
      if (open !== undefined && copy.hasContent) {
        await copyContent(file, open, context);
      } else if (open !== undefined && Number(stat.length ?? 0) === 0) {
        // It may be a clone file, which has no content.
        await closeRead(await openToRead(file, context));
      }
    } catch (error) {
      await Promise.resolve(open?.close?.({ lost: false, writeFailed: true }))
        .catch(() => {});
      throw error;
    }
    await open?.close?.({ lost: false, writeFailed: false });
    await copyAttributes(copy, made, stat, owner);
    return made;
  } catch (error) {
    await discard(dir, name, made, context);
    throw error;
  }
}

/**
 * Removes an incomplete copy, also when the client has given up the request
 * that has made the copy.
 */
export async function discard(
  dir: TreeDir,
  name: string,
  made: TreeFile,
  context: RequestContext,
): Promise<void> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), DISCARD_TIMEOUT);
  try {
    await dir.remove?.(name, made, contextUntil(context, limit.signal));
  } catch (error) {
    context.report(error); // The client gets the first error.
  } finally {
    clearTimeout(timer);
  }
  await made.release?.();
}

async function make(
  { file, dir, name }: Copy,
  { mode, target }: Attributes,
  context: RequestContext,
): Promise<{ made: TreeFile; open?: OpenFile | undefined }> {
  if ((mode & DMDIR) !== 0) {
    if (dir.mkdir === undefined) throw notSupported();
    return { made: await dir.mkdir({ name, perm: mode }, context) };
  }
  if ((mode & DMSYMLINK) !== 0) {
    if (dir.symlink === undefined) throw notSupported();
    const to = target ?? await file.readlink?.(context) ?? "";
    return { made: await dir.symlink({ name, target: to }, context) };
  }
  if (dir.create === undefined) throw notSupported();
  const request = { name, perm: mode, mode: OWRITE };
  const { file: made, open = {} } = await dir.create(request, context);
  return { made, open };
}

/**
 * Thrown when a file has no content to copy, because its open leads to another
 * file, as the open of a clone file does.
 */
export class NoContentError extends NinePError {
  constructor() {
    super("Operation not supported");
  }
}

/**
 * Opens a file to read its content.
 *
 * @throws {NoContentError} When the open leads to another file.
 */
async function openToRead(
  file: TreeFile,
  context: RequestContext,
): Promise<OpenFile> {
  const request = { mode: OREAD, implicit: false };
  const open = await file.open?.(request, context) ?? {};
  if (open.file === undefined) return open;
  await closeRead(open);
  const given = [...open.between ?? [], open.file];
  for (const found of given.reverse()) await found.release?.();
  throw new NoContentError();
}

async function closeRead(open: OpenFile): Promise<void> {
  await open.close?.({ lost: false, writeFailed: false });
}

async function copyContent(
  file: TreeFile,
  to: OpenFile,
  context: RequestContext,
): Promise<void> {
  const { signal } = context;
  const from = await openToRead(file, context);
  try {
    let offset = 0;
    for (let pieces = 1;; pieces++) {
      if (signal.aborted) throw new NinePError("Interrupted system call");
      const read = await from.read?.({ offset, count: PIECE }, context);
      if (read === undefined || read.length === 0) return;
      const piece = read.slice(); // The tree may reuse the buffer.
      for (let done = 0; done < piece.length;) {
        if (to.write === undefined) throw notSupported();
        const data = piece.subarray(done);
        const at = { offset: offset + done, data, append: false };
        const count = await to.write(at, context) ?? data.length;
        if (count === 0) throw new NinePError("i/o error");
        done += count;
      }
      offset += piece.length;
      if (pieces % PIECES_AT_ONCE === 0) {
        await new Promise((go) => setTimeout(go));
      }
    }
  } finally {
    await closeRead(from);
  }
}

async function copyAttributes(
  { isOwnerFree }: Copy,
  made: TreeFile,
  stat: Attributes,
  context: RequestContext,
): Promise<void> {
  if (made.wstat === undefined) return;
  const now = await made.stat(context);
  const { uid = "none", gid = uid, mode } = stat;
  const { uid: newUid = "none", gid: newGid = newUid } = now;
  const times = pick(stat, ["atime", "atimeNsec", "mtime", "mtimeNsec"]);
  const changes = {
    ...(mode === now.mode ? {} : { mode }),
    ...((mode & DMSYMLINK) === 0 ? times : {}),
  };
  const owners = {
    ...(uid === newUid ? {} : { uid }),
    ...(gid === newGid ? {} : { gid }),
  };
  if (Object.keys(owners).length > 0) {
    try {
      await made.wstat(owners, context);
    } catch (error) {
      if (!isOwnerFree) throw error;
    }
  }
  if (Object.keys(changes).length > 0) await made.wstat(changes, context);
}

type Times = "atime" | "atimeNsec" | "mtime" | "mtimeNsec";

function pick(
  stat: Attributes,
  names: readonly Times[],
): Pick<AttributeChanges, Times> {
  const picked: { -readonly [Name in Times]?: number } = {};
  for (const name of names) {
    const value = stat[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}
