// Values that may be present at once, so that no promise is needed.

/**
 * A value, or a promise of it. A handler that can answer at once should answer
 * without a promise.
 */
export type Awaitable<T> = T | Promise<T>;

/**
 * Calls a function with a value: at once, or when the promise of the value
 * resolves.
 */
export function then<A, B>(
  value: Awaitable<A>,
  map: (value: A) => Awaitable<B>,
): Awaitable<B> {
  return value instanceof Promise ? value.then(map) : map(value);
}
