// Combines waiting reads, or waiting writes, of one open file. Requests for
// adjacent parts of the file become one operation of the host, so that many
// requests in flight cost few operations.

/** Maximum of bytes of one operation. */
const BATCH_BYTES_MAX = 1024 * 1024;

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
 * Runs operations in the order of their arrival, in a bounded number of batches
 * at a time. Operations that arrive while batches run are combined into the
 * next batches.
 */
export class Batches<S extends Span, Result> {
  readonly #run: (batch: readonly Waiting<S, Result>[]) => Promise<void>;
  readonly #runningMax: number;
  readonly #waiting: Waiting<S, Result>[] = [];
  #running = 0;
  #isScheduled = false;

  /**
   * Makes a queue of operations.
   *
   * @param run Runs operations on adjacent parts of the file, and resolves or
   *   rejects each operation. If `run` rejects, all unsettled operations
   *   reject.
   * @param most Maximum of batches at a time.
   */
  constructor(
    run: (batch: readonly Waiting<S, Result>[]) => Promise<void>,
    most: number,
  ) {
    this.#run = run;
    this.#runningMax = most;
  }

  /** Adds an operation. */
  add(span: S): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ span, resolve, reject });
      if (this.#isScheduled || this.#running === this.#runningMax) return;
      this.#isScheduled = true;
      // Requests that arrived in one chunk are added one after the other, so
      // the batch starts after all of them.
      queueMicrotask(() => {
        this.#isScheduled = false;
        this.#begin();
      });
    });
  }

  #begin(): void {
    while (this.#running < this.#runningMax && this.#waiting.length > 0) {
      this.#running++;
      void this.#finish(this.#next());
    }
  }

  /**
   * Removes and returns the first waiting operation and the operations on the
   * parts that follow it in the file.
   */
  #next(): Waiting<S, Result>[] {
    const waiting = this.#waiting;
    const { offset, length } = waiting[0].span;
    let end = offset + length;
    let count = 1;
    for (; count < waiting.length; count++) {
      const { span } = waiting[count];
      if (span.offset !== end || end + span.length > offset + BATCH_BYTES_MAX) {
        break;
      }
      end += span.length;
    }
    return waiting.splice(0, count);
  }

  /**
   * Runs a batch. Never rejects; on an error, the operations of the batch
   * reject.
   */
  async #finish(batch: Waiting<S, Result>[]): Promise<void> {
    try {
      await this.#run(batch);
    } catch (error) {
      // This has no effect on an operation that is already settled.
      for (const { reject } of batch) reject(error);
    }
    this.#running--;
    this.#begin();
  }
}
