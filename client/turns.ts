// Work that must be done one piece after the other: what uses the position of
// an open file, and what is appended to a file.

import { OAPPEND } from "../codec/constants.ts";
import { NinePError } from "../codec/errors.ts";
import { abortable, hasCode } from "./operation.ts";
import type { OpenFid, Session } from "./session.ts";

/** A piece of work that waits for its turn. */
interface Waiting {
  readonly begin: () => void;
  readonly refuse: (reason: unknown) => void;
}

/**
 * The turns of work that is done in order of arrival. While nothing is under
 * way, taking a turn costs no promise.
 */
export class Turns {
  #isTaken = false;
  readonly #waiting: Waiting[] = [];

  /** Takes the turn if no work has it, and tells whether it did. */
  take(): boolean {
    if (this.#isTaken) return false;
    this.#isTaken = true;
    return true;
  }

  /** Waits for the turn, which the caller has when the promise resolves. */
  wait(): Promise<void> {
    if (this.take()) return Promise.resolve();
    return new Promise((begin, refuse) =>
      this.#waiting.push({ begin, refuse })
    );
  }

  /** Passes the turn on to the work that has waited longest. */
  pass(): void {
    const next = this.#waiting.shift();
    if (next) next.begin();
    else this.#isTaken = false;
  }

  /** Rejects all work that waits. */
  refuse(reason: unknown): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(reason);
  }
}

/**
 * The appends of one session. Those to one file are done one after the other:
 * a server that does not know OAPPEND writes at the offset that it is told, so
 * two appends at once would write over each other.
 */
export class Appends {
  /** By the path of the file's qid. */
  readonly #files = new Map<bigint, { turns: Turns; users: number }>();

  /** Runs an append to a file when those before it have ended. */
  async run<T>(
    { session, qid: { path: key } }: OpenFid,
    signal: AbortSignal | undefined,
    append: () => Promise<T>,
  ): Promise<T> {
    let file = this.#files.get(key);
    if (!file) this.#files.set(key, file = { turns: new Turns(), users: 0 });
    const { turns } = file;
    file.users++;
    try {
      if (!turns.take()) {
        const { aborts } = session;
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
      // Only the last user removes the entry, so that a file has one at a time.
      if (--file.users === 0) this.#files.delete(key);
    }
  }
}

/** The offset to append at, as far as the client can know. */
export async function endOfFile(
  { session, fid }: OpenFid,
  signal: AbortSignal | undefined,
): Promise<number> {
  return Number((await session.stat(fid, signal)).length);
}

/**
 * Opens a file for appending, with OAPPEND where the server takes it: then
 * each write goes to the end, whatever other clients append.
 *
 * @param open Sends the Topen or Tcreate with a mode.
 */
export async function openToAppend(
  { traits }: Session,
  mode: number,
  open: (mode: number) => Promise<OpenFid>,
): Promise<OpenFid> {
  const plain = mode & ~OAPPEND;
  if (!traits.appendMode) return await open(plain);
  try {
    return await open(mode);
  } catch (error) {
    // These say what is wrong with the file; any other may be meant for the bit.
    const isOther = ["EACCES", "EEXIST", "ENOENT"].some((code) =>
      hasCode(error, code)
    );
    if (isOther || !(error instanceof NinePError)) throw error;
  }
  return await open(plain);
}
