// What a function is lent for as long as it runs.

import { bounded, type CallerOptions, labelOf } from "./operation.ts";
import type { ClientSession } from "./connection/client_session.ts";

/** How something is taken and given back. */
export interface Resource<R> {
  /** What it is good for no longer than. */
  readonly session: ClientSession;
  /** Takes it, with a signal and a timeout for that alone. */
  take(options: CallerOptions): Promise<R>;
  /** Ends what is under way with it, at an abort. */
  interrupt(lent: R, reason: unknown): void;
  /** Gives it back; called once, when the function has ended. */
  giveBack(lent: R): Promise<void>;
}

/**
 * Runs a function on something of a file, which is given back when it has
 * ended, also after an error. An abort is told at once, and so is the end of
 * the session: the function may wait for other things than the server.
 *
 * @param options A timeout is for all of it; that of the connection is for
 *   calls, and how long the function takes is not known.
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
    // With a timeout for all of it there is none for a part.
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
