// Bounds the number of operations in progress, and can run one operation alone.

/** An operation that waits for its turn. */
interface Waiting {
  readonly isExclusive: boolean;
  begin(): void;
}

/**
 * Runs a bounded number of operations at a time. A move of a name runs alone,
 * so that no lookup sees a half-finished move. Operations begin in the order of
 * their arrival.
 */
export class Gate {
  readonly #most: number;
  #running = 0;
  #isExclusive = false;
  readonly #waiting: Waiting[] = [];

  /** @param most Most operations at once. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Runs an operation beside others. */
  shared<T>(operation: () => Promise<T>): Promise<T> {
    return this.#run(false, operation);
  }

  /** Runs an operation while no other one is under way. */
  exclusive<T>(operation: () => Promise<T>): Promise<T> {
    return this.#run(true, operation);
  }

  async #run<T>(
    isExclusive: boolean,
    operation: () => Promise<T>,
  ): Promise<T> {
    if (this.#waiting.length > 0 || !this.#hasRoom(isExclusive)) {
      await new Promise<void>((begin) => {
        this.#waiting.push({ isExclusive, begin });
      });
    } else {
      this.#take(isExclusive);
    }
    try {
      return await operation();
    } finally {
      this.#running--;
      this.#isExclusive = false;
      this.#next();
    }
  }

  #hasRoom(isExclusive: boolean): boolean {
    if (this.#isExclusive) return false;
    return isExclusive ? this.#running === 0 : this.#running < this.#most;
  }

  #take(isExclusive: boolean): void {
    this.#running++;
    this.#isExclusive = isExclusive;
  }

  #next(): void {
    let first = this.#waiting[0];
    while (first !== undefined && this.#hasRoom(first.isExclusive)) {
      this.#waiting.shift();
      this.#take(first.isExclusive);
      first.begin();
      first = this.#waiting[0];
    }
  }
}
