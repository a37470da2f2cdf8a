// The order of appends to a file within one session.

import type { Qid } from "../../codec.ts";
import { abortable } from "../operation.ts";
import type { Environment } from "./environment.ts";

/** An open file, as far as its appends are concerned. */
interface AppendedFile {
  readonly session: { readonly environment: Environment };
  readonly qid: Qid;
}

/** Runs pieces of work one after the other, in order of arrival. */
class Turns {
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];

  /** Takes the turn if it is free, and returns true if so. */
  take(): boolean {
    if (this.#isTaken) return false;
    this.#isTaken = true;
    return true;
  }

  /** Waits for the turn. The caller has it when the promise resolves. */
  wait(): Promise<void> {
    if (this.take()) return Promise.resolve();
    return new Promise((begin) => this.#waiting.push(begin));
  }

  /** Passes the turn to the work that has waited longest. */
  pass(): void {
    const begin = this.#waiting.shift();
    if (begin) begin();
    else this.#isTaken = false;
  }
}

/**
 * The appends of one session. Appends to one file run one after the other,
 * because a server that does not know OAPPEND writes at the given offset. Two
 * appends at once would overwrite each other.
 */
export class Appends {
  /** The files by the path of their qids. */
  readonly #files = new Map<bigint, { turns: Turns; users: number }>();

  /** Runs an append to a file after the earlier appends to this file. */
  async run<T>(
    { session, qid: { path: key } }: AppendedFile,
    signal: AbortSignal | undefined,
    append: () => Promise<T>,
  ): Promise<T> {
    let file = this.#files.get(key);
    if (!file) this.#files.set(key, file = { turns: new Turns(), users: 0 });
    const { turns } = file;
    file.users++;
    try {
      if (!turns.take()) {
        const { aborts } = session.environment;
        await abortable(
          aborts,
          signal,
          () => turns.wait(),
          () => turns.pass(),
        );
      }
      try {
        return await append();
      } finally {
        turns.pass();
      }
    } finally {
      // Only the last user removes the entry, so that a file has one entry at a
      // time.
      if (--file.users === 0) this.#files.delete(key);
    }
  }
}
