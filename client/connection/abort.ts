// The abort signals of callers. A program may give one signal to thousands of
// calls at once, and a runtime compares each new listener of a signal with all
// existing ones. So a client adds one listener to each signal, for all of its
// calls.

/** The calls of a client that one signal aborts. */
class SignalCalls {
  readonly calls = new Set<() => void>();
  readonly #forget: () => void;

  constructor(forget: () => void) {
    this.#forget = forget;
  }

  handleEvent(): void {
    // One call may end another one, and remove() then takes the other call out
    // of the set. So the set must be found until all calls were called.
    for (const call of this.calls) call();
    this.#forget();
  }
}

/**
 * The abort listeners of one client: one for each signal, as long as a call
 * with that signal is under way.
 */
export class AbortListeners {
  readonly #bySignal = new Map<AbortSignal, SignalCalls>();

  /** Calls `onAbort` when the signal aborts. The signal has not aborted yet; without a signal nothing happens. */
  add(signal: AbortSignal | undefined, onAbort: () => void): void {
    if (signal === undefined) return;
    let of = this.#bySignal.get(signal);
    if (of === undefined) {
      of = new SignalCalls(() => this.#bySignal.delete(signal));
      this.#bySignal.set(signal, of);
      signal.addEventListener("abort", of, { once: true });
    }
    of.calls.add(onAbort);
  }

  /** Does not call `onAbort` any more. With the last call of a signal, its listener is removed. */
  remove(signal: AbortSignal | undefined, onAbort: () => void): void {
    if (signal === undefined) return;
    const of = this.#bySignal.get(signal);
    if (of === undefined) return;
    of.calls.delete(onAbort);
    if (of.calls.size > 0) return;
    this.#bySignal.delete(signal);
    signal.removeEventListener("abort", of);
  }
}
