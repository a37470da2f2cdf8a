// Reads, or writes, of one open file that wait for each other. Those that
// follow each other in the file become one operation of the host, so that a
// client with many requests in flight does not pay for each of them.

/** Most bytes of one operation. */
const MOST = 1024 * 1024;

/** A part of a file. */
export interface Span {
  /** Offset of its first byte. */
  readonly offset: number;
  /** Number of its bytes. */
  readonly length: number;
}

/** An operation that waits, and its promise. */
export interface Waiting<S extends Span, Result> {
  /** The part of the file. */
  readonly span: S;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Runs operations in the order of their arrival, a bounded number at once.
 * While they are under way, others gather for the next.
 */
export class Batches<S extends Span, Result> {
  readonly #run: (batch: readonly Waiting<S, Result>[]) => Promise<void>;
  readonly #most: number;
  readonly #waiting: Waiting<S, Result>[] = [];
  #running = 0;
  #isBegun = false;

  /**
   * Makes a queue of operations.
   *
   * @param run Does operations whose parts of the file follow each other, and
   *   answers each of them. When it rejects, the operations without an answer
   *   reject.
   * @param most Most batches at once.
   */
  constructor(
    run: (batch: readonly Waiting<S, Result>[]) => Promise<void>,
    most: number,
  ) {
    this.#run = run;
    this.#most = most;
  }

  /** Adds an operation. */
  add(span: S): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ span, resolve, reject });
      if (this.#isBegun || this.#running === this.#most) return;
      this.#isBegun = true;
      // Requests that have arrived together come one after the other.
      queueMicrotask(() => {
        this.#isBegun = false;
        this.#begin();
      });
    });
  }

  #begin(): void {
    while (this.#running < this.#most && this.#waiting.length > 0) {
      this.#running++;
      void this.#finish(this.#next());
    }
  }

  /** The first operation, and those that go on where it ends. */
  #next(): Waiting<S, Result>[] {
    const waiting = this.#waiting;
    const { offset, length } = waiting[0].span;
    let end = offset + length;
    let count = 1;
    for (; count < waiting.length; count++) {
      const { span } = waiting[count];
      if (span.offset !== end || end + span.length > offset + MOST) break;
      end += span.length;
    }
    return waiting.splice(0, count);
  }

  /** Never rejects: the operations do. */
  async #finish(batch: Waiting<S, Result>[]): Promise<void> {
    try {
      await this.#run(batch);
    } catch (error) {
      // One that is answered takes no notice.
      for (const { reject } of batch) reject(error);
    }
    this.#running--;
    this.#begin();
  }
}
