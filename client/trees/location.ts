// Files in trees that are gone through, however deep: none is further from a
// fid than one Twalk goes.

import { MAXWELEM } from "../../codec.ts";
import { Base } from "./path_root.ts";
import { join } from "../operation.ts";

/** Where a file is. */
export interface Spot {
  readonly base: Base;
  /** From the base. */
  readonly path: string | readonly string[];
  /** Its path for the caller. */
  readonly label: string;
}

/** A file or directory whose base leads to its members. */
export interface NearSpot extends Spot {
  readonly path: readonly string[];
}

/** The spot of a directory's member. */
export function memberOf(
  { base, path, label }: NearSpot,
  name: string,
): NearSpot {
  return { base, path: [...path, name], label: join(label, name) };
}

/** The directories to walk from, while a tree is gone through. */
export class Bases {
  readonly #bases = new Set<Base>();

  /** Makes a file a base of its own. */
  async hold(
    { base, path, label }: Spot,
    signal: AbortSignal | undefined,
  ): Promise<NearSpot> {
    const { session, aname } = base;
    const fid = await base.walk(path, signal);
    if (signal?.aborted) { // Nobody may be there any more to close.
      session.drop(fid);
      throw signal.reason;
    }
    const own = new Base(session, fid, aname);
    this.#bases.add(own);
    return { base: own, path: [], label };
  }

  /** Makes a directory a base where its members are too far from the present one. */
  async near(
    spot: NearSpot,
    signal: AbortSignal | undefined,
  ): Promise<NearSpot> {
    return spot.path.length < MAXWELEM ? spot : await this.hold(spot, signal);
  }

  /** Gives a directory's fid back, if it is a base of its own. */
  leave({ base, path }: NearSpot): void {
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
