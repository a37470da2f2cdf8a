// Lists whole trees, from the top down.

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
const AHEAD = 8;
/** Most directories of one walk that are read ahead. */
const AHEAD_IN_ALL = 64;

/** Options of {@linkcode Client.walkTree}. */
export interface WalkTreeOptions extends CallerOptions {
  /** Most levels below the top, 0 or more; all levels by default. */
  maxDepth?: number | undefined;
}

/** A file or directory that {@linkcode Client.walkTree} has found. */
export interface TreeEntry {
  /**
   * Path: the path of the top as the caller has named it, and the names below
   * it.
   */
  path: string;
  /** Attributes, as its directory lists them. */
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
    // The walk starts from a fid of the top, because the caller may change the
    // current directory meanwhile.
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
    const descent = new Descent(bases, top, stat.qid, depth, options);
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

/** A directory on the way down, or one that is read ahead. */
interface Level {
  location: NearLocation;
  readonly qid: Qid;
  /** The directory in the loop detector, once its first members are known. */
  step: DirectoryLevel | undefined;
  /** Depth of its members: 1 is just below the top. */
  readonly depth: number;
  readonly batches: AsyncGenerator<Stat[], void, void>;
  /** The first batch, until its turn comes. */
  first: Promise<IteratorResult<Stat[], void>> | undefined;
  /** The present batch of members. */
  batch: readonly Stat[];
  /** Index of the next member in the batch. */
  at: number;
  /**
   * Index up to which the batch was searched for directories to read ahead.
   */
  searched: number;
  /** The directories that are read ahead. */
  readonly ahead: Map<Stat, Level>;
}

/** The way down: it ends at the directory whose members come next. */
class Descent {
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
        await this.#turn(level);
        continue;
      }
      const path = join(level.location.label, member.name);
      if (this.#isToEnter(level, member)) this.#enter(level, member);
      return { path, stat: fileStat(member) };
    }
  }

  /** Goes on to the next batch of a directory, or back up at its end. */
  async #turn(level: Level): Promise<void> {
    const { first } = level;
    level.first = undefined;
    level.batch = [];
    level.at = level.searched = 0;
    try {
      const { value } = await (first ?? level.batches.next());
      if (first && value) level.location = await this.#near(level.location);
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

  /** Enters a directory, unless it is on the way down already. */
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

  /** Returns the location of a directory whose members are walked to. */
  #near(location: NearLocation): Promise<NearLocation> {
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

  /** Begins to read the next directories. */
  #readAhead(level: Level): void {
    level.searched = Math.max(level.searched, level.at);
    while (level.ahead.size < AHEAD && this.#ahead < AHEAD_IN_ALL) {
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

  /** Gives up the requests under way, and closes the open directories. */
  close(): void {
    this.#stop.abort();
    for (const { batches, ahead } of this.#levels) {
      void batches.return();
      for (const { batches } of ahead.values()) void batches.return();
    }
  }
}
