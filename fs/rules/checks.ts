// The checks of the rules before a file is used: access, names, changes. See
// open(9P), stat(9P).

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  DMTMP,
  isName,
  NinePError,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  QTAPPEND,
  QTDIR,
} from "../../codec.ts";
import { removedError as staleError } from "../../codec/call.ts";
import { utf8Length } from "../../codec/wire.ts";
import type {
  AttributeChanges,
  Attributes,
  RequestContext,
  WstatRequest,
} from "../../server.ts";
import type { Rules, TreeDir } from "../tree.ts";
import {
  checkGroup,
  EXECUTE,
  governs,
  permits,
  READ,
  WRITE,
} from "./access.ts";
import type { PathNode } from "./path_node.ts";

/** Default of `maxName`: most bytes of a name. */
export const NAME_MAX = 255;

/**
 * Returns the file as a directory. The session calls this only for directories.
 */
export function dirOf({ file }: PathNode): TreeDir {
  if ((file.qid.type & QTDIR) !== 0) {
    // Its qid says so. `"lookup" in file` takes longer, and each name of a walk comes here.
    const dir = file as TreeDir;
    if (dir.lookup !== undefined) return dir;
  }
  throw new NinePError("not a directory");
}

/** Returns the mode for a file, without the bits that the rules process. */
export function modeOf(node: PathNode, mode: number): number {
  const isAppendOnly = (node.qid.type & QTAPPEND) !== 0;
  const seenTo = node.rules.removeOnClose === false ? 0 : ORCLOSE;
  return mode & ~(isAppendOnly ? seenTo | OTRUNC : seenTo);
}

export function accessOf(mode: number): number {
  switch (mode & 3) {
    case OREAD:
      return READ;
    case OWRITE:
      return WRITE;
    case ORDWR:
      return READ | WRITE;
    default: // OEXEC
      return EXECUTE;
  }
}

/** Throws unless a user has an access to a file; gives undefined when that is known at once. */
export function need(
  node: PathNode,
  context: RequestContext,
  access: number,
): undefined | Promise<void> {
  if (node.rules.access === false) return undefined;
  const owned = node.file.owned ?? node.file.stat(context);
  if (!(owned instanceof Promise)) {
    check(node, owned, context, access);
    return undefined;
  }
  return owned.then((owned) => check(node, owned, context, access));
}

export function check(
  { rules }: PathNode,
  owned: Pick<Attributes, "mode" | "uid" | "gid">,
  context: RequestContext,
  access: number,
): void {
  // Most files need no look at their owner.
  if ((owned.mode & access) === access) return;
  const { mode, uid = "none", gid = uid } = owned;
  const user = rules.uname ?? context.uname;
  if (!permits(rules.users, { mode, uid, gid }, user, access)) {
    throw new NinePError("permission denied");
  }
}

/** The attributes that decide on access, with their defaults. */
export function ownedOf(
  { mode, uid = "none", gid = uid }: Attributes,
): { mode: number; uid: string; gid: string } {
  return { mode, uid, gid };
}

/** Throws for names that no file can have, or no message carry. */
export function checkName({ maxName = NAME_MAX }: Rules, name: string): void {
  if (!isName(name) || name.includes("\0") || !name.isWellFormed()) {
    throw new NinePError("illegal name");
  }
  if (utf8Length(name) > maxName) throw new NinePError("File name too long");
}

/** Throws where nothing can be changed. */
export function checkWritable({ rules }: PathNode): void {
  if (rules.readonly === true) throw new NinePError("read only file system");
}

/** Throws for a file that was removed, where the rules are strict. */
export function checkPresent(node: PathNode): void {
  if (node.rules.strict === true && node.isRemoved) throw removedError(node);
}

/**
 * Makes the error for a fid whose file was removed. Callers can tell the error
 * of a removed function file from an error of the function.
 */
export function removedError({ implicitOpen }: PathNode): NinePError {
  return implicitOpen ? staleError() : new NinePError("file has been removed");
}

export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

/**
 * Returns the changes for a file. A function has no length and no times to set.
 * A tree that checks access itself gets all changes.
 */
export function changesOf(
  { implicitOpen, rules }: PathNode,
  wishes: WstatRequest["changes"],
): AttributeChanges {
  const isFunction = implicitOpen && rules.access !== false;
  const { mode, gid, length, atime, mtime } = wishes;
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(gid === undefined ? {} : { gid }),
    ...(length === undefined || isFunction ? {} : { length: Number(length) }),
    ...(atime === undefined || isFunction ? {} : { atime }),
    ...(mtime === undefined || isFunction ? {} : { mtime }),
  };
}

/** Throws unless a user may change attributes. */
export function checkOwner(
  node: PathNode,
  stat: Attributes,
  { length, mode, mtime, atime, gid }: AttributeChanges,
  context: RequestContext,
): void {
  const { users, uname = context.uname } = node.rules;
  const owned = ownedOf(stat);
  const rules = governs(users, owned, uname);
  if (length !== undefined) {
    check(node, stat, context, WRITE);
    const isCut = Number(length) !== Number(stat.length ?? 0);
    if ((stat.mode & DMAPPEND) !== 0 && isCut) {
      throw new NinePError("permission denied");
    }
  }
  if (mode !== undefined) {
    if (!rules) throw new NinePError("not owner");
    const known = DMDIR | DMAPPEND | DMEXCL | DMTMP | 0o777;
    if ((mode & ~known) !== 0) throw new NinePError("illegal mode");
  }
  if ((mtime !== undefined || atime !== undefined) && !rules) {
    // An ordinary truncation by Linux sets the mtime, too.
    if (length === undefined) throw new NinePError("not owner");
  }
  if (gid !== undefined && gid !== owned.gid) {
    checkGroup(users, owned, uname, gid);
  }
}

/** Refuses changes of attributes that are fixed; the present value is no change. */
export function checkFixed(
  stat: Attributes,
  changes: WstatRequest["changes"],
  strict: boolean,
): void {
  const { type, dev, qid, uid, muid, ...rest } = changes;
  const changed = (type !== undefined && type !== 0) ||
    (dev !== undefined && dev !== 0) ||
    (uid !== undefined && uid !== ownedOf(stat).uid) ||
    (qid !== undefined &&
      (qid.type !== stat.qid.type || qid.vers !== stat.qid.vers ||
        qid.path !== stat.qid.path));
  // Linux sends its user's name along with renames and times.
  const alone = muid !== undefined &&
    (strict || Object.keys(rest).length === 0);
  const timed = strict && changes.atime !== undefined;
  if (changed || alone || timed) throw new NinePError("wstat prohibited");
}
