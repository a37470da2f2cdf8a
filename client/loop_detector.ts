// The directories on the way down through a tree: they tell when a directory is
// in itself.

import { NinePError } from "../codec/errors.ts";
import type { Qid } from "../codec/messages.ts";

/** Most levels of a tree: a server can make up directories without an end. */
const MAX_DEPTH = 100_000;

/** How many members of two directories are compared. */
const COMPARED = 16;

/** A directory that is gone through. */
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

/** All directories that are gone through at present, in any number of branches. */
export class LoopDetector {
  /** By the path of the qid: a directory may be gone through by two names at once. */
  readonly #levels = new Map<bigint, Set<DirectoryLevel>>();

  /**
   * Goes into a directory. It is taken for one that the way leads through already
   * when it has both the path of its qid and the names of its members: some
   * servers give all directories one qid.
   *
   * @param members Names of members that were read first. An empty directory
   *   leads nowhere, so none needs to be gone into.
   * @param parent The directory that it is in; none for the top.
   * @throws {NinePError} With code `ELOOP`: the way down leads through the same
   *   directory already, or has too many levels.
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
        `it is the same directory as "${other.label}", which it is in`,
      );
    }
    const level = { path, parent, depth, label, names };
    if (alike) alike.add(level);
    else this.#levels.set(path, new Set([level]));
    return level;
  }

  /** Comes back from a directory. */
  leave(level: DirectoryLevel): void {
    const alike = this.#levels.get(level.path);
    if (alike?.delete(level) && alike.size === 0) {
      this.#levels.delete(level.path);
    }
  }
}

/** Whether the way to a directory leads through another one, or ends there. */
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
