// Whole trees, removed from the bottom up.

import { QTDIR } from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import { readMembers } from "./directory.ts";
import { drain } from "./drain.ts";
import {
  type CallerOptions,
  explained,
  hasCode,
  isMissing,
} from "./operation.ts";
import { Paths } from "./paths.ts";
import { join } from "./walk_tree.ts";

/** Most files that are removed, and directories that are read, at a time. */
const AT_ONCE = 16;
/** Most times that a directory is emptied: others may go on filling it. */
const ROUNDS = 16;

/** A file or directory that is to be removed. */
interface Doomed {
  /** Path from the top. */
  readonly path: string;
  readonly parent: Doomed | undefined;
  /** Whether it has, or may have, members to be removed before it. */
  isFull: boolean;
  /** How many of them are left. */
  members: number;
  /** How many times it was emptied. */
  rounds: number;
}

/**
 * Removes a file, or a directory with all that is in it. What others remove
 * meanwhile is fine.
 *
 * @param fid Fid of the top; it stays.
 * @param label Path of the top, for errors.
 * @param options Signal; a timeout is for each request.
 */
export async function removeTree(
  { session }: Paths,
  fid: number,
  label: string,
  options: CallerOptions,
): Promise<void> {
  const { signal } = options;
  const { name, qid } = await session.stat(fid, signal);
  if (name === "/") throw new NinePError("cannot remove root");
  const below = new Paths(session, fid);
  const tasks: Doomed[] = [];
  const doom = (path: string, type: number, parent?: Doomed) => {
    const isFull = (type & QTDIR) !== 0;
    tasks.push({ path, parent, isFull, members: 0, rounds: 0 });
  };

  /** Puts a directory's members on the stack. */
  const empty = async (dir: Doomed, label: string) => {
    dir.isFull = false;
    dir.rounds++;
    const members = [];
    const batches = readMembers(below, dir.path, "remove", label, options);
    try {
      for await (const batch of batches) {
        for (const { name, qid: { type } } of batch) {
          members.push({ name, type });
        }
      }
    } catch (error) {
      if (!isMissing(error)) throw error; // Or a plain file by now.
    }
    // None of them is removed before all are known: offsets could shift.
    dir.members = members.length;
    for (const { name, type } of members) doom(join(dir.path, name), type, dir);
  };

  doom("", qid.type);
  await drain(tasks, AT_ONCE, async (doomed) => {
    const { path, parent } = doomed;
    const what = path === "" ? label : join(label, path);
    if (doomed.isFull) await empty(doomed, what);
    if (doomed.members > 0) return; // The last of them brings it back.
    try {
      await explained("remove", what, async () => {
        await session.remove(await below.walk(path, signal), signal);
      });
    } catch (error) {
      if (hasCode(error, "ENOTEMPTY") && doomed.rounds < ROUNDS) {
        doomed.isFull = true;
        tasks.push(doomed);
        return;
      }
      if (!isMissing(error)) throw error;
    }
    if (parent && --parent.members === 0) tasks.push(parent);
  });
}
