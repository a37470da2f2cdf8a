/**
 * Stand-in for `@std/bytes`, for places that cannot reach the real one: the
 * functions that the tests and benches use, with the same results.
 *
 * @module
 */

/** Concatenation of `buffers` in a new array. */
export function concat(
  buffers: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const size = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  const all = new Uint8Array(size);
  let at = 0;
  for (const buffer of buffers) {
    all.set(buffer, at);
    at += buffer.length;
  }
  return all;
}

/**
 * Copies what fits of `src` into `dst` from `offset` on (clamped to `dst`) and
 * returns the number of bytes copied.
 */
export function copy(src: Uint8Array, dst: Uint8Array, offset = 0): number {
  const at = Math.min(Math.max(offset, 0), dst.length);
  const count = Math.min(src.length, dst.length - at);
  dst.set(src.subarray(0, count), at);
  return count;
}

/** Tells whether `a` and `b` hold the same bytes. */
export function equals(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && matchesAt(a, b, 0);
}

/** Tells whether `source` begins with `prefix`. */
export function startsWith(source: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.length <= source.length && matchesAt(source, prefix, 0);
}

/** Tells whether `source` ends with `suffix`. */
export function endsWith(source: Uint8Array, suffix: Uint8Array): boolean {
  const at = source.length - suffix.length;
  return at >= 0 && matchesAt(source, suffix, at);
}

/**
 * Index of the first `needle` in `source` at or after `start` (negative: from
 * the end), or -1. An empty needle is nowhere.
 */
export function indexOfNeedle(
  source: Uint8Array,
  needle: Uint8Array,
  start = 0,
): number {
  if (needle.length === 0) return -1;
  const from = start < 0 ? Math.max(0, source.length + start) : start;
  const last = source.length - needle.length;
  for (let at = from; at <= last; at++) {
    if (matchesAt(source, needle, at)) return at;
  }
  return -1;
}

/**
 * Index of the last `needle` in `source` that ends at or before `start`, or
 * -1. An empty needle is nowhere.
 */
export function lastIndexOfNeedle(
  source: Uint8Array,
  needle: Uint8Array,
  start: number = source.length - 1,
): number {
  if (needle.length === 0) return -1;
  const end = Math.min(start, source.length - 1);
  for (let at = end - needle.length + 1; at >= 0; at--) {
    if (matchesAt(source, needle, at)) return at;
  }
  return -1;
}

/** Tells whether `needle` is in `source` at or after `start`. */
export function includesNeedle(
  source: Uint8Array,
  needle: Uint8Array,
  start = 0,
): boolean {
  return indexOfNeedle(source, needle, start) !== -1;
}

/**
 * `source`, `count` times over, in a new array.
 *
 * @throws {RangeError} If `count` is negative or no integer.
 */
export function repeat(
  source: Uint8Array,
  count: number,
): Uint8Array<ArrayBuffer> {
  if (!Number.isInteger(count) || count < 0) {
    throw new RangeError(
      `Cannot repeat bytes: the count is ${count}, not a non-negative integer`,
    );
  }
  const all = new Uint8Array(source.length * count);
  for (let at = 0; at < all.length; at += source.length) all.set(source, at);
  return all;
}

function matchesAt(
  source: Uint8Array,
  part: Uint8Array,
  at: number,
): boolean {
  for (let i = 0; i < part.length; i++) {
    if (source[at + i] !== part[i]) return false;
  }
  return true;
}
