// Files in trees that are gone through, however deep: none is further from a
// fid than one Twalk goes.

import { MAXWELEM } from "../../codec.ts";
import { PathRoot } from "./path_root.ts";
import { join } from "../operation.ts";

/** Where a file is. */
export interface Location {
  readonly base: PathRoot;
  /** From the base. */
  readonly path: string | readonly string[];
  /** Its path for the caller. */
  readonly label: string;
}

/** A file or directory whose base leads to its members. */
export interface NearLocation extends Location {
  readonly path: readonly string[];
}

/** The spot of a directory's member. */
export function memberOf(
  { base, path, label }: NearLocation,
  name: string,
): NearLocation {
  return { base, path: [...path, name], label: join(label, name) };
}

/** The directories to walk from, while a tree is gone through. */
export class PathRoots {
  readonly #bases = new Set<PathRoot>();

  /** Makes a file a base of its own. */
  async hold(
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

  /** Makes a directory a base where its members are too far from the present one. */
  async near(
    spot: NearLocation,
    signal: AbortSignal | undefined,
  ): Promise<NearLocation> {
    return spot.path.length < MAXWELEM ? spot : await this.hold(spot, signal);
  }

  /** Gives a directory's fid back, if it is a base of its own. */
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
