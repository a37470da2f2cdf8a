// Locations of files in a tree of any depth. Every location is at most 16 names
// away from a known fid.

import { MAXWELEM } from "../../codec.ts";
import { PathRoot } from "./path_root.ts";
import { join } from "../operation.ts";

/** The location of a file: a fid to walk from, and a path. */
export interface Location {
  readonly base: PathRoot;
  /** Path from the base. */
  readonly path: string | readonly string[];
  /** Its path for the caller. */
  readonly label: string;
}

/** A location at most 16 names away from its base. */
export interface NearLocation extends Location {
  readonly path: readonly string[];
}

/** Returns the location of a directory's member. */
export function memberOf(
  { base, path, label }: NearLocation,
  name: string,
): NearLocation {
  return { base, path: [...path, name], label: join(label, name) };
}

/** The directories to walk from, while a tree is traversed. */
export class PathRoots {
  readonly #bases = new Set<PathRoot>();

  /** Makes a file a base, with a fid of its own. */
  async makeBase(
    { base, path, label }: Location,
    signal: AbortSignal | undefined,
  ): Promise<NearLocation> {
    const { session, aname } = base;
    const fid = await base.walk(path, signal);
    if (signal?.aborted) { // Nobody may be there any more to close.
      session.drop(fid);
      throw signal.reason;
    }
    const own = new PathRoot(session, fid, aname);
    this.#bases.add(own);
    return { base: own, path: [], label };
  }

  /**
   * Makes a directory a base if its members are too far from the present base.
   */
  async near(
    location: NearLocation,
    signal: AbortSignal | undefined,
  ): Promise<NearLocation> {
    return location.path.length < MAXWELEM
      ? location
      : await this.makeBase(location, signal);
  }

  /** Gives the fid of a directory back, if the directory is a base. */
  leave({ base, path }: NearLocation): void {
    if (path.length === 0 && this.#bases.delete(base)) {
      base.session.drop(base.fid);
    }
  }

  /** Gives all fids back. */
  close(): void {
    for (const { session, fid } of this.#bases) session.drop(fid);
    this.#bases.clear();
  }
}
