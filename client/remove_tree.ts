// Whole trees, removed from the bottom up.

import { NinePError } from "../codec/errors.ts";
import { gatherMembers } from "./directory.ts";
import { drain } from "./drain.ts";
import { isDirectory } from "./file_stat.ts";
import {
  type CallerOptions,
  explained,
  hasCode,
  isMissing,
} from "./operation.ts";
import { Bases, memberOf, type NearSpot } from "./spot.ts";

/** Most files that are removed, and directories that are read, at a time. */
const AT_ONCE = 16;
/** Most times that a directory is emptied: others may go on filling it. */
const ROUNDS = 16;

/** A file or directory that is to be removed. */
interface Doomed {
  readonly spot: NearSpot;
  /** Whether it has, or may have, members to be removed before it. */
  isFull: boolean;
  /** How many times it was emptied. */
  rounds: number;
  /** The spot that leads to its members. */
  inner: NearSpot;
}

/**
 * Removes a file, or a directory with all that is in it. What others remove
 * meanwhile is fine.
 *
 * @param top Its base is the file itself, whose fid stays.
 * @param options Signal; a timeout is for each request.
 */
export async function removeTree(
  top: NearSpot,
  options: CallerOptions,
): Promise<void> {
  const { signal } = options;
  const { session, fid } = top.base;
  const { name, qid } = await session.stat(fid, signal);
  if (name === "/") throw new NinePError("cannot remove root");
  const bases = new Bases();

  /** A directory's members, all of them: while some are removed, offsets could shift. */
  const membersOf = async (dir: Doomed): Promise<Doomed[]> => {
    dir.isFull = false;
    dir.rounds++;
    try {
      const inner = dir.inner = await bases.near(dir.spot, signal);
      const { base, path, label } = inner;
      return await gatherMembers(
        base,
        path,
        "remove",
        label,
        options,
        ({ name, qid }) => doomed(memberOf(inner, name), isDirectory(qid)),
      );
    } catch (error) {
      if (!isMissing(error)) throw error; // Or a plain file by now.
      return [];
    }
  };

  const remove = async (task: Doomed): Promise<Doomed[]> => {
    const { base, path } = task.spot;
    while (true) {
      if (task.isFull) {
        const members = await membersOf(task);
        if (members.length > 0) return members; // Behind them it comes again.
      }
      bases.leave(task.inner);
      try {
        await session.remove(await base.walk(path, signal), signal);
        return [];
      } catch (error) {
        if (isMissing(error)) return [];
        if (!hasCode(error, "ENOTEMPTY") || task.rounds >= ROUNDS) throw error;
        task.isFull = true;
      }
    }
  };

  try {
    await drain(
      doomed(top, isDirectory(qid)),
      AT_ONCE,
      (task) => explained("remove", task.spot.label, () => remove(task)),
    );
  } finally {
    bases.close();
  }
}

function doomed(spot: NearSpot, isFull: boolean): Doomed {
  return { spot, isFull, rounds: 0, inner: spot };
}
