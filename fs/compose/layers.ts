// The state that all files of a union share.

import type { Qid } from "../../codec.ts";
import type { Attributes } from "../../server.ts";
import type { Rules } from "../tree.ts";
import { PathNumbers } from "./numbers.ts";

/** The identity that a copied file had before the copy. */
interface Kept {
  readonly path: bigint;
  /** Difference between the version of the file and that of the copy. */
  readonly vers: number;
}

/** The trees of a union, by number: 0 for the upper one. */
export class Layers {
  /** The rules that stand above the union. */
  readonly rules: Rules;
  readonly #numbers: PathNumbers = new PathNumbers();
  /** Copies in the upper tree, by their qid path there. */
  readonly #kept: Map<bigint, Kept> = new Map();
  readonly #stats: WeakMap<Attributes, Attributes> = new WeakMap();
  readonly #forget: (node: object) => void;
  #names = 0;

  /**
   * Makes the state of a union.
   *
   * @param rules The rules that stand above the union.
   * @param forget Called when no fid stands for a file any more.
   */
  constructor(rules: Rules, forget: (node: object) => void) {
    this.rules = rules;
    this.#forget = forget;
  }

  /** Removes a file that no fid stands for any more. */
  forget(node: object): void {
    this.#forget(node);
  }

  /** Returns the identity that a file of one of the trees has in the union. */
  qidOf(layer: number, qid: Qid): Qid {
    const { type, vers } = qid;
    if (layer === 0 && this.#kept.size > 0) {
      const kept = this.#kept.get(qid.path);
      if (kept !== undefined) {
        return { type, vers: (vers + kept.vers) >>> 0, path: kept.path };
      }
    }
    const path = this.#numbers.pathOf(layer, qid.path);
    return path === qid.path ? qid : { type, vers, path };
  }

  /**
   * Returns the attributes that a file of one of the trees has in the union.
   * For the same object, the result is always the same object.
   */
  attributesOf(layer: number, stat: Attributes): Attributes {
    let changed = this.#stats.get(stat);
    if (changed === undefined) {
      const qid = this.qidOf(layer, stat.qid);
      changed = qid === stat.qid ? stat : { ...stat, qid };
      this.#stats.set(stat, changed);
    }
    return changed;
  }

  /**
   * Gives a copy the identity of its source. The version of the copy continues
   * that of the source.
   */
  keep(copy: Qid, { path, vers }: Qid): void {
    this.#kept.set(copy.path, { path, vers: (vers + 1 - copy.vers) >>> 0 });
  }

  /** Removes the identity of a copy that was removed or has failed. */
  drop(copy: Qid): void {
    this.#kept.delete(copy.path);
  }

  /** Returns a name that no file has. */
  temporaryName(prefix: string): string {
    const [random] = crypto.getRandomValues(new Uint32Array(1));
    return `${prefix}.copy.${random.toString(36)}.${++this.#names}`;
  }
}
