// Lists all files of a tree, each directory before its members.

import type { Qid, Stat } from "../../codec.ts";
import { rangeError } from "../error_brand.ts";
import type { PathRoot } from "./path_root.ts";
import { readMembers } from "./directory.ts";
import { type FileStat, fileStat, isDirectory } from "../file_stat.ts";
import {
  type CallerOptions,
  explained,
  isMissing,
  join,
  operate,
  pathOf,
} from "../operation.ts";
import { memberOf, type NearLocation, PathRoots } from "./location.ts";
import { type DirectoryLevel, LoopDetector } from "./loop_detector.ts";

/** Most subdirectories of one directory that are read ahead. */
const AHEAD_PER_DIRECTORY = 8;
/** Most directories of one walk that are read ahead. */
const AHEAD_PER_WALK = 64;

/** Options of {@linkcode Client.walkTree}. */
export interface WalkTreeOptions extends CallerOptions {
  /** Most levels below the top, 0 or more; all levels by default. */
  maxDepth?: number | undefined;
}

/** A file or directory that {@linkcode Client.walkTree} has found. */
export interface TreeEntry {
  /**
   * Path of the entry: the path of the top as the caller gave it, followed by
   * the names below the top.
   */
  path: string;
  /**
   * Attributes of the entry, as its directory lists them. The attributes of the
   * top come from a Tstat.
   */
  stat: FileStat;
}

/** Lists a tree; see {@linkcode Client.walkTree}. */
export async function* walkTree(
  base: PathRoot,
  path: string | readonly string[],
  options: WalkTreeOptions,
): AsyncGenerator<TreeEntry, void, void> {
  const { maxDepth = Infinity, signal } = options;
  if (!(maxDepth >= 0)) {
    throw rangeError(
      `Cannot walk a tree: maxDepth is ${maxDepth}, the minimum is 0`,
    );
  }
  const { session } = base;
  const bases = new PathRoots();
  try {
    // The traversal starts from its own fid of the top, because the caller may
    // change the current directory meanwhile.
    const { top, stat } = await operate(
      session,
      "list",
      path,
      options,
      async (signal) => {
        const location = { base, path, label: pathOf(path) };
        const top = await bases.makeBase(location, signal);
        return { top, stat: await session.stat(top.base.fid, signal) };
      },
    );
    const depth = isDirectory(stat.qid) ? maxDepth : 0;
    const descent = new TreeTraversal(bases, top, stat.qid, depth, options);
    try {
      yield { path: top.label, stat: fileStat(stat) };
      for (
        let entry = await descent.next();
        entry !== undefined;
        entry = await descent.next()
      ) {
        signal?.throwIfAborted();
        yield entry;
      }
    } finally {
      descent.close();
    }
  } finally {
    bases.close();
  }
}

/**
 * A directory between the top and the present entry, or a directory that is
 * read ahead.
 */
interface Level {
  location: NearLocation;
  readonly qid: Qid;
  /** The directory in the loop detector, once its first members are known. */
  step: DirectoryLevel | undefined;
  /** Depth of the members of the directory; 1 for the members of the top. */
  readonly depth: number;
  readonly batches: AsyncGenerator<Stat[], void, void>;
  /** The read of the first batch; undefined after the batch was taken. */
  first: Promise<IteratorResult<Stat[], void>> | undefined;
  /** The present batch of members. */
  batch: readonly Stat[];
  /** Index of the next member in the batch. */
  at: number;
  /**
   * Index up to which the batch was searched for directories to read ahead.
   */
  searched: number;
  /** The subdirectories that are read ahead, by their records. */
  readonly ahead: Map<Stat, Level>;
}

/**
 * The traversal of a tree. It holds the directories from the top to the
 * directory whose members come next.
 */
class TreeTraversal {
  readonly #bases: PathRoots;
  readonly #maxDepth: number;
  readonly #stop = new AbortController();
  readonly #options: CallerOptions;
  readonly #levels: Level[] = [];
  readonly #loops = new LoopDetector();
  /** Number of directories that are read ahead. */
  #ahead = 0;

  constructor(
    bases: PathRoots,
    top: NearLocation,
    qid: Qid,
    maxDepth: number,
    { signal, timeout }: CallerOptions,
  ) {
    this.#bases = bases;
    this.#maxDepth = maxDepth;
    const stop = this.#stop.signal;
    this.#options = {
      signal: signal ? AbortSignal.any([signal, stop]) : stop,
      timeout,
    };
    if (maxDepth > 0) this.#levels.push(this.#begin(top, qid, 1));
  }

  /** Returns the next entry, or undefined at the end. */
  async next(): Promise<TreeEntry | undefined> {
    for (
      let level = this.#levels.at(-1);
      level !== undefined;
      level = this.#levels.at(-1)
    ) {
      const member = level.batch[level.at++];
      if (member === undefined) {
        await this.#nextBatch(level);
        continue;
      }
      const path = join(level.location.label, member.name);
      if (this.#isToEnter(level, member)) this.#enter(level, member);
      return { path, stat: fileStat(member) };
    }
  }

  /**
   * Takes the next batch of a directory. At the end of the directory, returns
   * to its parent.
   */
  async #nextBatch(level: Level): Promise<void> {
    const { first } = level;
    level.first = undefined;
    level.batch = [];
    level.at = level.searched = 0;
    try {
      const { value } = await (first ?? level.batches.next());
      if (first && value) {
        level.location = await this.#nearLocation(level.location);
      }
      if (first && value) level.step = await this.#step(level, value);
      if (value) level.batch = value;
    } catch (error) {
      // The directory was removed, or is a plain file by now.
      if (level.depth === 1 || !isMissing(error)) throw error;
      void level.batches.return();
    }
    if (level.batch.length > 0) return this.#readAhead(level);
    this.#levels.pop();
    if (level.step) this.#loops.leave(level.step);
    this.#bases.leave(level.location);
  }

  /**
   * Adds a directory to the loop detector, which rejects a directory that
   * contains itself.
   */
  #step(
    { qid, location: { label } }: Level,
    members: readonly Stat[],
  ): Promise<DirectoryLevel> {
    const parent = this.#levels.at(-2)?.step;
    const names = members.map(({ name }) => name);
    return explained(
      "list",
      label,
      () => Promise.resolve(this.#loops.enter(qid, label, names, parent)),
    );
  }

  /**
   * Returns a location of a directory that is near enough to walk to its
   * members with one Twalk.
   */
  #nearLocation(location: NearLocation): Promise<NearLocation> {
    return operate(
      location.base.session,
      "list",
      location.label,
      this.#options,
      (signal) => this.#bases.near(location, signal),
    );
  }

  #isToEnter({ depth }: Level, { qid }: Stat): boolean {
    return isDirectory(qid) && depth < this.#maxDepth;
  }

  #enter(level: Level, member: Stat): void {
    const below = level.ahead.get(member);
    if (level.ahead.delete(member)) this.#ahead--;
    this.#levels.push(below ?? this.#beginMember(level, member));
    this.#readAhead(level);
  }

  /** Starts to read the next subdirectories of a directory ahead. */
  #readAhead(level: Level): void {
    level.searched = Math.max(level.searched, level.at);
    while (
      level.ahead.size < AHEAD_PER_DIRECTORY && this.#ahead < AHEAD_PER_WALK
    ) {
      const member = level.batch[level.searched++];
      if (member === undefined) return;
      if (!this.#isToEnter(level, member)) continue;
      level.ahead.set(member, this.#beginMember(level, member));
      this.#ahead++;
    }
  }

  #beginMember({ location, depth }: Level, { name, qid }: Stat): Level {
    return this.#begin(memberOf(location, name), qid, depth + 1);
  }

  #begin(location: NearLocation, qid: Qid, depth: number): Level {
    const { base, path, label } = location;
    const batches = readMembers(base, path, "list", label, this.#options);
    const first = batches.next();
    first.catch(() => {}); // It may never have its turn.
    const ahead = new Map<Stat, Level>();
    return {
      location,
      qid,
      step: undefined,
      depth,
      batches,
      first,
      batch: [],
      at: 0,
      searched: 0,
      ahead,
    };
  }

  /** Aborts the requests in progress, and closes the open directories. */
  close(): void {
    this.#stop.abort();
    for (const { batches, ahead } of this.#levels) {
      void batches.return();
      for (const { batches } of ahead.values()) void batches.return();
    }
  }
}
