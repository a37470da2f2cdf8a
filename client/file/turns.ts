// Orders work that must run one piece after the other: operations that use the
// position of an open file, and appends to a file.

import { NinePError, OAPPEND } from "../../codec.ts";
import { abortable, hasCode } from "../operation.ts";
import type { ClientSession, OpenFid } from "../connection/client_session.ts";

/** A piece of work that waits for its turn. */
interface Waiting {
  readonly begin: () => void;
  readonly refuse: (reason: unknown) => void;
}

/** Lets pieces of work run one after the other, in order of arrival. */
class Turns {
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];

  /** Takes the turn if no work has it, and tells whether it did. */
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

  /** Passes the turn on to the work that has waited longest. */
  pass(): void {
    const begin = this.#waiting.shift();
    if (begin) begin();
    else this.#isTaken = false;
  }
}

/** What work does at the position of a file, as bits. */
export type Access = typeof READ | typeof WRITE | typeof SEEK;
/** It reads. */
export const READ = 1;
/** It writes. */
export const WRITE = 2;
/** It moves the position. */
export const SEEK = 4;

/** Work that waits for the position of a file. */
interface WaitingAccess extends Waiting {
  readonly access: Access;
  readonly mayOvertake: () => Promise<boolean>;
  /** True while the server is asked whether the work may overtake. */
  isAsking: boolean;
}

/**
 * Lets operations that use the position of an open file run in order of
 * arrival. While nothing is under way, taking a turn costs no promise.
 *
 * Where a read has to wait for data, as in a dialogue with the server, a write
 * must not wait for that read, nor the other way round. So a write may overtake
 * reads, and a read may overtake writes, where the file has no bytes behind the
 * position: there a read moves the position only in a file that has none.
 */
export class PositionTurns {
  /** The work under way: at most one piece of each kind. */
  #running = 0;
  readonly #waiting: WaitingAccess[] = [];

  /** Takes the turn if no work has it, and tells whether it did. */
  take(access: Access): boolean {
    if (this.#running !== 0) return false;
    this.#running = access;
    return true;
  }

  /**
   * Waits for the turn, which the caller has when the promise resolves.
   *
   * @param mayOvertake Asks the server whether the file has no bytes behind the
   *   position.
   */
  wait(access: Access, mayOvertake: () => Promise<boolean>): Promise<void> {
    if (this.take(access)) return Promise.resolve();
    return new Promise((begin, refuse) => {
      const isAsking = false;
      this.#waiting.push({ access, begin, refuse, mayOvertake, isAsking });
      void this.#overtake(access);
    });
  }

  /** Gives back a turn. The work that has waited longest is next. */
  pass(access: Access): void {
    this.#running &= ~access;
    const [next] = this.#waiting;
    if (!next) return;
    if (this.#running === 0) this.#begin(next);
    void this.#overtake(READ);
    void this.#overtake(WRITE);
  }

  /** Rejects all work that waits. */
  refuse(reason: unknown): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(reason);
  }

  #begin(waiting: WaitingAccess): void {
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
    this.#running |= waiting.access;
    waiting.begin();
  }

  /**
   * Lets the first read overtake writes, or the first write overtake reads, if
   * that is possible.
   */
  async #overtake(access: Access): Promise<void> {
    const first = this.#overtaker(access);
    if (!first || first.isAsking) return;
    first.isAsking = true;
    const isFree = await first.mayOvertake().catch(() => false);
    first.isAsking = false;
    if (isFree && this.#overtaker(access) === first) this.#begin(first);
  }

  #overtaker(access: Access): WaitingAccess | undefined {
    const other = access === READ ? WRITE : READ;
    const isBeside = access !== SEEK && this.#running === other;
    if (!isBeside || this.#waiting.length === 0) return undefined;
    const first = this.#waiting.find((waiting) => waiting.access !== other);
    return first?.access === access ? first : undefined;
  }
}

/**
 * The appends of one session. Appends to one file run one after the other: a
 * server that does not know OAPPEND writes at the given offset, so two appends
 * at once would overwrite each other.
 */
export class Appends {
  /** The files by the path of their qids. */
  readonly #files = new Map<bigint, { turns: Turns; users: number }>();

  /** Runs an append to a file after the earlier appends to this file. */
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

/** Returns the offset to append at, as far as the client knows. */
export async function endOfFile(
  { session, fid }: OpenFid,
  signal: AbortSignal | undefined,
): Promise<number> {
  return Number((await session.stat(fid, signal)).length);
}

/**
 * Opens a file for appending, with OAPPEND if the server accepts this bit. Then
 * each write goes to the end, whatever other clients append.
 *
 * @param open Sends the Topen or Tcreate with a mode.
 */
export async function openToAppend(
  { traits }: ClientSession,
  mode: number,
  open: (mode: number) => Promise<OpenFid>,
): Promise<OpenFid> {
  const plain = mode & ~OAPPEND;
  if (!traits.appendMode) return await open(plain);
  try {
    return await open(mode);
  } catch (error) {
    // These errors are about the file. Any other error may be about the bit.
    const isOther = ["EACCES", "EEXIST", "ENOENT"].some((code) =>
      hasCode(error, code)
    );
    if (isOther || !(error instanceof NinePError)) throw error;
  }
  return await open(plain);
}
