// The order of operations that use the position of an open file.

/** A piece of work that waits for its turn. */
interface Waiting {
  readonly begin: () => void;
  readonly refuse: (reason: unknown) => void;
}

/** Kinds of work at the position of a file, as bits. */
export type Access = typeof READ | typeof WRITE | typeof SEEK;
/** The work reads. */
export const READ = 1;
/** The work writes. */
export const WRITE = 2;
/** The work moves the position. */
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
 * In a dialogue with the server a read waits for data, so a write must not wait
 * for this read, nor a read for a write. So a write may overtake reads, and a
 * read may overtake writes, if the file has no bytes behind the position.
 */
export class PositionTurns {
  /** The work under way: at most one piece of each kind. */
  #running = 0;
  readonly #waiting: WaitingAccess[] = [];

  /** Takes the turn if it is free, and returns true if so. */
  take(access: Access): boolean {
    if (this.#running !== 0) return false;
    this.#running = access;
    return true;
  }

  /**
   * Waits for the turn. The caller has the turn when the promise resolves.
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
