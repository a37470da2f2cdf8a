// Runs functions on a fid or a file, which is given back when the function has
// ended.

import { bounded, type CallerOptions, labelOf } from "./operation.ts";
import type { ClientSession } from "./connection/client_session.ts";

/** How a fid or a file is taken and given back. */
export interface Resource<R> {
  /** The session of the resource. */
  readonly session: ClientSession;
  /** Takes the resource. Signal and timeout are for this step alone. */
  take(options: CallerOptions): Promise<R>;
  /** Ends the requests of the resource, at an abort. */
  interrupt(lent: R, reason: unknown): void;
  /**
   * Gives the resource back. It is called once, when the function has ended.
   */
  giveBack(lent: R): Promise<void>;
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
  loan: Resource<R>,
  use: (lent: R) => T | Promise<T>,
): Promise<T> {
  const what = () => `use ${labelOf(path)}`;
  const { environment } = loan.session;
  const { aborts } = environment;
  const run = async (signal: AbortSignal | undefined): Promise<T> => {
    // A timeout for the whole run replaces those of its parts.
    const isTimed = timeout !== undefined;
    const lent = await loan.take(
      isTimed ? { signal, timeout: Infinity } : { signal },
    );
    const onAbort = () => loan.interrupt(lent, signal?.reason);
    let result: T;
    try {
      signal?.throwIfAborted(); // While it was taken.
      aborts.add(signal, onAbort);
      result = await whileConnected(loan.session, async () => await use(lent));
    } catch (error) {
      await loan.giveBack(lent).catch(() => {}); // The first error is the one to tell.
      throw error;
    } finally {
      aborts.remove(signal, onAbort);
    }
    await loan.giveBack(lent);
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
