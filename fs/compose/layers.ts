// The state that the files of a union share.

import type { Qid } from "../../codec.ts";
import type { Attributes } from "../../server.ts";
import type { Rules } from "../tree.ts";
import { PathNumbers } from "./numbers.ts";

/** The identity of a file before it was copied. */
interface Kept {
  readonly path: bigint;
  /** Difference between its version and that of the copy. */
  readonly vers: number;
}

/** The trees of a union, by number: 0 for the upper one. */
export class Layers {
  /** The rules above the union. */
  readonly rules: Rules;
  readonly #numbers: PathNumbers = new PathNumbers();
  /** Copies in the upper tree, by their qid path there. */
  readonly #kept: Map<bigint, Kept> = new Map();
  readonly #stats: WeakMap<Attributes, Attributes> = new WeakMap();
  readonly #forget: (node: object) => void;
  #names = 0;

  /**
   * @param forget Told of a file that no fid stands for any more.
   */
  constructor(rules: Rules, forget: (node: object) => void) {
    this.rules = rules;
    this.#forget = forget;
  }

  forget(node: object): void {
    this.#forget(node);
  }

  /** The identity of a file of one of the trees. */
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

  /** The attributes of a file of one of the trees; the same object for the same one. */
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
   * A copy keeps the identity of its source, and its version continues that of
   * the source.
   */
  keep(copy: Qid, { path, vers }: Qid): void {
    this.#kept.set(copy.path, { path, vers: (vers + 1 - copy.vers) >>> 0 });
  }

  /** A copy is gone, or is none yet. */
  drop(copy: Qid): void {
    this.#kept.delete(copy.path);
  }

  /** A name that no file has. */
  temporaryName(prefix: string): string {
    const [random] = crypto.getRandomValues(new Uint32Array(1));
    return `${prefix}.copy.${random.toString(36)}.${++this.#names}`;
  }
}
