// Changes the attributes of a file: all of them, or none if one change fails.

import { DMDIR, NinePError } from "../../codec.ts";
import type { AttributeChanges } from "../../server.ts";
import { hostBits, modeOf, SET_IDS } from "./attributes.ts";
import type { Inode } from "./inode.ts";
import type { Owners } from "./owners.ts";
import type { Handle, HostStats } from "./system.ts";

const NS = 1e9;

/** Largest length of a file that all runtimes accept. */
const MAX_LENGTH = 2 ** 52 - 1;

/** A change of the host's attributes, and its undo. */
interface Step {
  apply(): Promise<void>;
  undo(): Promise<void>;
}

/** The target of a change. */
export interface ChangeTarget {
  /** The file. */
  readonly inode: Inode;
  /**
   * A descriptor that is open for writing; undefined unless the length changes.
   */
  readonly writer: Handle | undefined;
  readonly owners: Owners;
}

/**
 * Checks that the host can make the changes.
 *
 * @throws {NinePError} When the host cannot make a change.
 */
export function checkChanges(
  stats: HostStats,
  changes: AttributeChanges,
  owners: Owners,
): void {
  const { mode, length } = changes;
  if (mode !== undefined) checkMode(stats, mode);
  ownersOf(stats, changes, owners);
  if (length === undefined) return;
  if (stats.isFile()) {
    if (Number(length) > MAX_LENGTH) {
      throw new NinePError("file too big");
    }
  } else if (Number(length) !== 0) {
    throw new NinePError(
      stats.isDirectory() ? "Is a directory" : "no access to special file",
    );
  }
}

/**
 * Checks a new mode: the kind of the file must not change, and a client must
 * not set setuid, setgid or the sticky bit.
 */
function checkMode(stats: HostStats, mode: number): void {
  const now = modeOf(stats);
  if (((mode ^ now) & DMDIR) !== 0) {
    throw new NinePError("wstat can't convert between files and directories");
  }
  const given = (mode & ~now) >>> 0;
  if ((given & SET_IDS) !== 0) throw new NinePError("Operation not permitted");
  // The host cannot store DMAPPEND, DMEXCL or DMTMP.
  if ((given & ~0o777) !== 0) throw new NinePError("illegal mode");
  if (stats.isSymbolicLink() && (mode & 0o777) !== (now & 0o777)) {
    throw new NinePError("Operation not supported");
  }
}

/** Returns the numbers of the owner and the group after the changes. */
function ownersOf(
  stats: HostStats,
  { uid, gid, nuid, ngid }: AttributeChanges,
  owners: Owners,
): { uid: number; gid: number } {
  const wanted = {
    uid: nuid ??
      (uid === undefined ? Number(stats.uid) : owners.userNumber(uid)),
    gid: ngid ??
      (gid === undefined ? Number(stats.gid) : owners.groupNumber(gid)),
  };
  if (wanted.uid === undefined) throw new NinePError("unknown user");
  if (wanted.gid === undefined) throw new NinePError("unknown group");
  return { uid: wanted.uid, gid: wanted.gid };
}

/**
 * Applies changes, and undoes them if one of them fails. Changes that are
 * likely to fail come first. The length, which cannot be undone, comes last.
 */
export async function applyChanges(
  stats: HostStats,
  changes: AttributeChanges,
  target: ChangeTarget,
): Promise<void> {
  checkChanges(stats, changes, target.owners);
  const { length } = changes;
  const { writer } = target;
  const done: Step[] = [];
  try {
    for (const step of stepsOf(stats, changes, target)) {
      await step.apply();
      done.push(step);
    }
    if (length !== undefined && stats.isFile()) {
      await writer?.truncate(Number(length));
    }
  } catch (error) {
    for (const step of done.reverse()) {
      // The caller gets the first error, so an error of the undo is ignored.
      await step.undo().catch(() => {});
    }
    throw error;
  }
  // The truncation has changed the modification time, so the wanted times are
  // set again.
  const times = timesStep(stats, changes, target);
  if (length !== undefined) await times?.apply();
}

function stepsOf(
  stats: HostStats,
  changes: AttributeChanges,
  target: ChangeTarget,
): Step[] {
  const steps: Step[] = [];
  const { inode, owners } = target;
  const now = { uid: Number(stats.uid), gid: Number(stats.gid) };
  const { uid, gid } = ownersOf(stats, changes, owners);
  const bits = Number(stats.mode) & 0o7777;
  if (uid !== now.uid || gid !== now.gid) {
    steps.push({
      apply: () => inode.chown(uid, gid),
      undo: async () => {
        await inode.chown(now.uid, now.gid);
        // The host may have cleared setuid and setgid.
        if (!stats.isSymbolicLink()) await inode.chmod(bits);
      },
    });
  }
  const { mode } = changes;
  const wanted = mode === undefined ? bits : hostBits(mode);
  if (wanted !== bits) {
    steps.push({
      apply: () => inode.chmod(wanted),
      undo: () => inode.chmod(bits),
    });
  }
  const times = timesStep(stats, changes, target);
  if (times !== undefined) steps.push(times);
  return steps;
}

/**
 * Returns the step that sets the times; undefined if no time changes. The host
 * sets both times together. The runtimes take seconds with a fraction.
 */
function timesStep(
  stats: HostStats,
  { atime, atimeNsec = 0, mtime, mtimeNsec = 0 }: AttributeChanges,
  { inode }: ChangeTarget,
): Step | undefined {
  if (atime === undefined && mtime === undefined) return undefined;
  const now = [Number(stats.atimeNs) / NS, Number(stats.mtimeNs) / NS] as const;
  return {
    apply: () =>
      inode.utimes(
        atime === undefined ? now[0] : atime + atimeNsec / NS,
        mtime === undefined ? now[1] : mtime + mtimeNsec / NS,
      ),
    undo: () => inode.utimes(...now),
  };
}
