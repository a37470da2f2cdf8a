// Removes all files of a tree, each directory after its members.

import { NinePError, type Qid } from "../../codec.ts";
import {
  BATCH,
  batchesOf,
  type GatherOptions,
  MAX_ENTRIES,
  tooMany,
} from "./directory.ts";
import { runTaskTree } from "./task_tree.ts";
import { isDirectory } from "../file_stat.ts";
import {
  type CallerOptions,
  explained,
  hasCode,
  isMissing,
} from "../operation.ts";
import { memberOf, type NearLocation, PathRoots } from "./location.ts";
import { type DirectoryLevel, LoopDetector } from "./loop_detector.ts";

/** Most tasks at a time. Each task reads a directory or removes a file. */
const AT_ONCE = 16;
/**
 * Most times that one directory is emptied. Without this limit, the removal
 * would not end while other clients add members.
 */
const ROUNDS = 16;

/** A file or directory that is to be removed. */
interface RemoveTask {
  readonly location: NearLocation;
  readonly qid: Qid;
  /**
   * True when the file is a directory that has, or may have, members. They must
   * be removed first.
   */
  isFull: boolean;
  /** Number of times that the directory was emptied. */
  rounds: number;
  /** Number of members that were found in the directory. */
  found: number;
  /** The task of the directory that contains the file. */
  readonly parent: RemoveTask | undefined;
  /** The directory in the loop detector, while its members are removed. */
  step: DirectoryLevel | undefined;
  /** The location from which the client walks to the members. */
  inner: NearLocation;
}

/**
 * Removes a file, or a directory with all files and directories below it. If
 * other clients remove members meanwhile, this is no error.
 *
 * @param top Location of the file. Its base is the file itself. This function
 *   does not clunk the fid of the base.
 * @param options Signal, and a timeout for each request.
 */
export async function removeTree(
  top: NearLocation,
  options: CallerOptions & { readonly maxEntries?: number | undefined },
): Promise<void> {
  const { signal, maxEntries = MAX_ENTRIES } = options;
  const { session, fid } = top.base;
  const { name, qid } = await session.stat(fid, signal);
  if (name === "/") throw new NinePError("cannot remove root");
  const bases = new PathRoots();

  const loops = new LoopDetector();

  /**
   * Returns the next members of a directory. Each call reads the directory from
   * its beginning, because offsets may change while members are removed.
   */
  const membersOf = async (dir: RemoveTask): Promise<RemoveTask[]> => {
    dir.isFull = false;
    const { qid, location, parent } = dir;
    try {
      if (dir.inner === location) {
        dir.inner = await bases.near(location, signal);
      }
      const { inner } = dir;
      const { base, path, label } = inner;
      const gathering: GatherOptions = {
        ...options,
        maxEntries: Infinity, // The batches are counted together.
        verb: "remove",
        label,
      };
      const batches = batchesOf(
        base,
        path,
        gathering,
        ({ name, qid }) => removeTask(memberOf(inner, name), qid, dir),
      );
      for await (const members of batches) {
        const names = members.map(({ location }) => location.path.at(-1) ?? "");
        dir.step ??= loops.enter(qid, location.label, names, parent?.step);
        dir.found += members.length;
        if (dir.found > maxEntries) throw tooMany({ ...gathering, maxEntries });
        // There may be more members, so the directory is read again.
        dir.isFull = members.length >= BATCH;
        if (!dir.isFull) dir.rounds++;
        return members;
      }
    } catch (error) {
      if (!isMissing(error)) throw error; // It may be a plain file by now.
    }
    dir.rounds++;
    return [];
  };

  const remove = async (task: RemoveTask): Promise<RemoveTask[]> => {
    const { base, path } = task.location;
    while (true) {
      if (task.isFull) {
        const members = await membersOf(task);
        if (members.length > 0) return members; // Behind them it comes again.
      }
      bases.leave(task.inner);
      task.inner = task.location;
      if (task.step) loops.leave(task.step);
      task.step = undefined;
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
    await runTaskTree(
      removeTask(top, qid, undefined),
      AT_ONCE,
      (task) => explained("remove", task.location.label, () => remove(task)),
    );
  } finally {
    bases.close();
  }
}

function removeTask(
  location: NearLocation,
  qid: Qid,
  parent: RemoveTask | undefined,
): RemoveTask {
  return {
    location,
    qid,
    isFull: isDirectory(qid),
    rounds: 0,
    found: 0,
    parent,
    step: undefined,
    inner: location,
  };
}
