/**
 * Stand-in for `@std/async`, for places that cannot reach the real one: the
 * functions that the tests and benches use, with the same results.
 *
 * @module
 */

/** Options of {@linkcode delay}. */
export interface DelayOptions {
  /** Ends the wait: the promise rejects with its reason. */
  signal?: AbortSignal;
  /** True when the wait keeps the process alive. Default: true. */
  persistent?: boolean;
}

/** Options of {@linkcode deadline}. */
export interface DeadlineOptions {
  /** Ends the wait: the promise rejects with its reason. */
  signal?: AbortSignal;
}

/** Resolves after `ms` milliseconds. */
export function delay(ms: number, options: DelayOptions = {}): Promise<void> {
  const { signal, persistent = true } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
    if (!persistent) unref(timer);
  });
}

/**
 * `promise`, or a rejection with a `TimeoutError` (a DOMException) when it has
 * not settled after `ms` milliseconds.
 */
export async function deadline<T>(
  promise: Promise<T>,
  ms: number,
  options: DeadlineOptions = {},
): Promise<T> {
  const signals = [AbortSignal.timeout(ms)];
  if (options.signal !== undefined) signals.push(options.signal);
  return await abortable(promise, AbortSignal.any(signals));
}

/** `promise`, or a rejection with the reason of `signal` as soon as it aborts. */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T>;
/** The values of `iterable`, until `signal` aborts: then its reason is thrown. */
export function abortable<T>(
  iterable: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T>;
export function abortable<T>(
  source: Promise<T> | AsyncIterable<T>,
  signal: AbortSignal,
): Promise<T> | AsyncGenerator<T> {
  return source instanceof Promise
    ? abortablePromise(source, signal)
    : abortableIterable(source, signal);
}

async function abortablePromise<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { aborted, release } = abortion(signal);
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    release();
  }
}

async function* abortableIterable<T>(
  iterable: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const { aborted, release } = abortion(signal);
  try {
    const values = iterable[Symbol.asyncIterator]();
    while (true) {
      const { done, value } = await Promise.race([aborted, values.next()]);
      if (done) return;
      yield value;
    }
  } finally {
    release();
  }
}

/** A promise that rejects when `signal` aborts, and the way to let go of it. */
function abortion(
  signal: AbortSignal,
): { aborted: Promise<never>; release: () => void } {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  return {
    aborted: promise,
    release: () => signal.removeEventListener("abort", abort),
  };
}

function unref(timer: number | { unref(): void }): void {
  if (typeof timer === "number") Deno.unrefTimer(timer);
  else timer.unref();
}
