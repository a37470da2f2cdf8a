// The first number for the qids of a tree that makes its qids itself.

/**
 * Returns a random number for the first qid path, so that two servers, of which
 * one replaces the other, are unlikely to have equal qid paths. All paths stay
 * below 2^53, because programs on Node read an inode as a double.
 */
export function firstPath(): bigint {
  let random = 0;
  try {
    [random] = crypto.getRandomValues(new Uint32Array(1));
  } catch {
    // workerd gives no random numbers while a module is loaded. A module makes
    // the same files each time, so they may have the same paths.
  }
  return BigInt(random) << 20n; // Leaves a million paths before the next possible start.
}
