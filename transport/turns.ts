// How a connection that has much to do lets the runtime serve the others.

/** As much of Bun's globals as is used here. */
interface Runtime {
  readonly Bun?: unknown;
  setImmediate?(callback: () => void): void;
}

// A cast, because the types of Bun are not there for plain tsc.
const runtime = globalThis as Runtime;
const immediate = runtime.Bun === undefined ? undefined : runtime.setImmediate;

/**
 * Milliseconds of work after which a connection gives up its turn. Under Bun
 * that costs microseconds, elsewhere some 2 ms in which nothing else is done.
 */
export const TURN_MS: number = immediate === undefined ? 7 : 3;

/** Resolves when the runtime has looked at all sockets. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    // Deno does not look at other sockets before it calls setImmediate(), or a
    // timer that is due. It does while it waits for a timer.
    if (immediate === undefined) setTimeout(resolve);
    else immediate(resolve);
  });
}
