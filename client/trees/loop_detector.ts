// The directories on the way down through a tree. They show when a directory
// contains itself.

import { NinePError, type Qid } from "../../codec.ts";

/** Most levels of a tree. A server can compute directories without an end. */
const MAX_DEPTH = 100_000;

/** Number of members of two directories that are compared. */
const COMPARED = 16;

/** A directory whose members are processed. */
export interface DirectoryLevel {
  /** The path of its qid, which is its identity in its tree. */
  readonly path: bigint;
  readonly parent: DirectoryLevel | undefined;
  /** 0 for the top. */
  readonly depth: number;
  /** Its path for the caller. */
  readonly label: string;
  /** Names of its first members. */
  readonly names: string;
}

/**
 * All directories whose members are processed at present, in any number of
 * branches.
 */
export class LoopDetector {
  /**
   * The directories by the path of the qid. One directory may be reached by two
   * names at once.
   */
  readonly #levels = new Map<bigint, Set<DirectoryLevel>>();

  /**
   * Enters a directory. It counts as a directory of the way down if it has the
   * same qid path and the same names of members: some servers give all
   * directories one qid.
   *
   * @param members Names of its first members. An empty directory leads
   *   nowhere, so it need not be entered.
   * @param parent The directory that contains it; none for the top.
   * @throws {NinePError} With code `ELOOP`: the directory is on the way down
   *   already, or the tree has too many levels.
   */
  enter(
    { path }: Qid,
    label: string,
    members: readonly string[],
    parent: DirectoryLevel | undefined,
  ): DirectoryLevel {
    const names = members.slice(0, COMPARED).join("/");
    const depth = parent ? parent.depth + 1 : 0;
    if (depth > MAX_DEPTH) {
      throw loop(`the tree has more than ${MAX_DEPTH} levels`);
    }
    const alike = this.#levels.get(path);
    for (const other of alike ?? []) {
      if (other.names !== names || !leadsThrough(parent, other)) continue;
      throw loop(
        `the directory is the same as "${other.label}", which contains it`,
      );
    }
    const level = { path, parent, depth, label, names };
    if (alike) alike.add(level);
    else this.#levels.set(path, new Set([level]));
    return level;
  }

  /** Leaves a directory. */
  leave(level: DirectoryLevel): void {
    const alike = this.#levels.get(level.path);
    if (alike?.delete(level) && alike.size === 0) {
      this.#levels.delete(level.path);
    }
  }
}

/**
 * Tells whether the way down to a directory leads through another one, or ends
 * there.
 */
function leadsThrough(
  way: DirectoryLevel | undefined,
  other: DirectoryLevel,
): boolean {
  let level = way;
  while (level && level.depth > other.depth) level = level.parent;
  return level === other;
}

function loop(detail: string): NinePError {
  const ename = "Too many levels of symbolic links";
  return new NinePError(ename, {
    code: "ELOOP",
    message: `${ename}: ${detail}`,
  });
}
