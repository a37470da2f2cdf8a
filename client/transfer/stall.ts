// Time limits for transfers. The time counts from the last progress of the
// transfer.

import type { RefGroup, Timer } from "../../transport/ref_group.ts";
import type { AbortedRequest } from "../connection/mux.ts";
import {
  type CallerOptions,
  lastOf,
  type Limits,
  TIMEOUT_MAX,
} from "../operation.ts";

/** Options of operations that transfer many bytes. */
export interface TransferOptions extends CallerOptions {
  /**
   * Most milliseconds without progress, above 0 and up to 2^31 - 1, or
   * Infinity. After this time, the transfer is aborted with a DOMException
   * named `TimeoutError`. Progress is each reply that moves bytes or ends a
   * step. The time while the client waits for data from the caller does not
   * count.
   *
   * With `stall`, the default `timeout` of `connect()` does not apply, because
   * it limits whole operations: a large transfer may take any time as long as
   * it makes progress. A `timeout` of the call itself does apply.
   */
  stall?: number | undefined;
}

/** Calls a function when a transfer makes no progress for some time. */
export class ProgressMonitor {
  readonly #stall: number;
  readonly #onStall: () => void;
  readonly #abortedRequests: readonly AbortedRequest[];
  readonly #refs: RefGroup;
  #last = performance.now();
  #isPaused = false;
  #timer: Timer;

  /**
   * @param stall Most milliseconds without progress.
   * @param abortedRequests Aborted requests whose replies are still on their way;
   *   their arrival counts as progress.
   * @param onStall Function that is called once, when there was no progress for
   *   `stall` milliseconds.
   * @param refs Group for the timer. The group decides whether the timer keeps
   *   the process alive.
   */
  constructor(
    stall: number,
    abortedRequests: readonly AbortedRequest[],
    onStall: () => void,
    refs: RefGroup,
  ) {
    this.#stall = stall;
    this.#abortedRequests = abortedRequests;
    this.#onStall = onStall;
    this.#refs = refs;
    this.#timer = this.#start(stall);
  }

  /** Notes progress. */
  note(): void {
    this.#last = performance.now();
  }

  /** Stops counting the time, because the transfer waits for the caller. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Starts to count the time again, from now. */
  resume(): void {
    this.#isPaused = false;
    this.note();
  }

  /** Stops the timer. */
  end(): void {
    this.#refs.cancel(this.#timer);
  }

  #start(delay: number): Timer {
    return this.#refs.after(delay, () => this.#look());
  }

  #look(): void {
    const last = Math.max(this.#last, lastOf(this.#abortedRequests));
    const left = this.#isPaused
      ? this.#stall
      : last + this.#stall - performance.now();
    if (left > 0) this.#timer = this.#start(Math.ceil(left));
    else this.#onStall();
  }
}

/**
 * Runs a transfer. It is aborted when it makes no progress for `stall`
 * milliseconds. Without `stall`, the progress is not monitored.
 *
 * @param what The operation, for errors.
 * @param work The transfer. Its arguments are the options for its steps, and
 *   the monitor.
 * @throws {RangeError} `stall` is out of its range.
 */
export function monitored<T>(
  limits: Limits,
  what: () => string,
  options: TransferOptions,
  work: (
    options: CallerOptions,
    monitor: ProgressMonitor | undefined,
  ) => Promise<T>,
): Promise<T> {
  const { stall, timeout = Infinity } = options;
  if (stall === undefined) return work(options, undefined);
  if (stall === Infinity) return work({ ...options, timeout }, undefined);
  return monitor(limits, stall, what, { ...options, timeout }, work);
}

async function monitor<T>(
  limits: Limits,
  stall: number,
  what: () => string,
  options: CallerOptions,
  work: (options: CallerOptions, monitor: ProgressMonitor) => Promise<T>,
): Promise<T> {
  if (!(stall > 0 && stall <= TIMEOUT_MAX)) {
    throw new RangeError(
      `Cannot ${what()}: stall is ${stall}, the range is above 0 to 2^31 - 1, or Infinity`,
    );
  }
  const { signal } = options;
  const { aborts, refs } = limits.environment;
  const both = new AbortController();
  const onAbort = () => both.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else aborts.add(signal, onAbort);
  const onStall = () => {
    const message = `Cannot ${what()}: no progress within ${stall} ms`;
    both.abort(new DOMException(message, "TimeoutError"));
  };
  const abortedRequests = limits.abortedRequests?.() ?? [];
  const progress = new ProgressMonitor(stall, abortedRequests, onStall, refs);
  try {
    return await work({ ...options, signal: both.signal }, progress);
  } finally {
    progress.end();
    aborts.remove(signal, onAbort);
  }
}
