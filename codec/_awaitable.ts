// Values that may be there at once, for which no promise should be made.

/**
 * A value, or a promise of it. A handler that can answer at once should answer
 * without a promise.
 */
export type Awaitable<T> = T | Promise<T>;

/** Goes on with a value, at once when it is there. */
export function then<A, B>(
  value: Awaitable<A>,
  map: (value: A) => Awaitable<B>,
): Awaitable<B> {
  return value instanceof Promise ? value.then(map) : map(value);
}
