/**
 * The `test` of suites that run under Deno, Bun and Node alike: `deno task
 * test`, `bun test FILE`, and `node --import ./tests/node_std.mjs --test FILE`.
 *
 * @module
 */

/** Longest time in milliseconds of a test under Bun; others have no such limit. */
const PATIENCE_MS = 600_000;

/** True on Node, which has neither a server of WebSockets nor a Worker. */
export const isNode: boolean = !("Deno" in globalThis) &&
  !("Bun" in globalThis);

/** Registers a test. Deno also checks it for leaks. */
export const test: (name: string, fn: () => void | Promise<void>) => void =
  "Bun" in globalThis
    ? await bunTest()
    : "Deno" in globalThis
    ? denoTest
    : await nodeTest();

function denoTest(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

async function bunTest(): Promise<typeof test> {
  // Not a literal, because the checker of Deno would try to resolve it.
  const specifier: string = "bun:test";
  const { test } = await import(specifier);
  // By default Bun ends a test after 5 s, which is too short for a soak test.
  return (name: string, fn: () => void | Promise<void>) =>
    test(name, fn, PATIENCE_MS);
}

async function nodeTest(): Promise<typeof test> {
  const { test: register } = await import("node:test");
  return (name: string, fn: () => void | Promise<void>) =>
    void register(name, async () => await fn());
}
