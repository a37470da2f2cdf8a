// Runs functions on a fid or a file, which is given back when the function has
// ended.

import { bounded, type CallerOptions, labelOf } from "./operation.ts";
import type { ClientSession } from "./connection/client_session.ts";

/** Functions that take a fid or a file and give it back. */
export interface Resource<R> {
  /** The session of the resource. */
  readonly session: ClientSession;
  /** Takes the resource. Signal and timeout are for this step alone. */
  take(options: CallerOptions): Promise<R>;
  /** Ends the requests of the resource, at an abort. */
  interrupt(taken: R, reason: unknown): void;
  /**
   * Gives the resource back. It is called once, when the function has ended.
   */
  giveBack(taken: R): Promise<void>;
}

/**
 * Runs a function on a resource, and gives the resource back when the function
 * has ended, also after an error. The promise rejects at once at an abort and
 * at the end of the session, because the function may wait for something other
 * than the server.
 *
 * @param options Signal, and a timeout for the whole run. The timeout of the
 *   connection does not count, because it is for single calls.
 */
export function withResource<R, T>(
  path: string | readonly string[],
  { signal, timeout }: CallerOptions,
  resource: Resource<R>,
  use: (taken: R) => T | Promise<T>,
): Promise<T> {
  const what = () => `use ${labelOf(path)}`;
  const { environment } = resource.session;
  const { aborts } = environment;
  const run = async (signal: AbortSignal | undefined): Promise<T> => {
    // A timeout for the whole run replaces those of its parts.
    const isTimed = timeout !== undefined;
    const taken = await resource.take(
      isTimed ? { signal, timeout: Infinity } : { signal },
    );
    const onAbort = () => resource.interrupt(taken, signal?.reason);
    let result: T;
    try {
      signal?.throwIfAborted(); // While it was taken.
      aborts.add(signal, onAbort);
      result = await whileConnected(
        resource.session,
        async () => await use(taken),
      );
    } catch (error) {
      await resource.giveBack(taken).catch(() => {}); // The first error is the one to tell.
      throw error;
    } finally {
      aborts.remove(signal, onAbort);
    }
    await resource.giveBack(taken);
    return result;
  };
  const limits = { timeout: undefined, environment };
  return bounded(limits, what, { signal, timeout }, run);
}

function whileConnected<T>(
  session: ClientSession,
  work: () => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const unwatch = session.onEnd(work, reject);
    work().then(resolve, reject).finally(unwatch);
  });
}
