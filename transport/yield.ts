// Lets the runtime serve other connections while one has much work.

/** The globals of Bun that are used here. */
interface Runtime {
  readonly Bun?: unknown;
  setImmediate?(callback: () => void): void;
}

// A cast is needed, because plain tsc does not know the types of Bun.
const runtime = globalThis as Runtime;
const immediate = runtime.Bun === undefined ? undefined : runtime.setImmediate;

/**
 * Milliseconds of work after which a connection lets others work. Under Bun the
 * change costs microseconds, elsewhere about 2 ms in which nothing is done.
 */
export const SLICE_MS: number = immediate === undefined ? 7 : 3;

/** Resolves when the runtime has looked at all sockets. */
export function yieldToSockets(): Promise<void> {
  return new Promise((resolve) => {
    // Deno looks at other sockets only while it waits for a timer: not before
    // it calls setImmediate(), or a timer that is due.
    if (immediate === undefined) setTimeout(resolve);
    else immediate(resolve);
  });
}
