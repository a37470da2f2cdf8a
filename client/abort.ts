// The abort signals of callers. A program may give one signal to thousands of
// calls at once, and a runtime compares each new listener of a signal with all
// that it has. So a client adds one listener to a signal, for all its calls.

/** The calls of a client that one signal aborts. */
class SignalCalls {
  readonly calls = new Set<() => void>();
  readonly #forget: () => void;

  constructor(forget: () => void) {
    this.#forget = forget;
  }

  handleEvent(): void {
    // A call that ends because of another one is not told: remove() takes it
    // out of the set, so the set must be found until all calls were told.
    for (const call of this.calls) call();
    this.#forget();
  }
}

/**
 * The abort listeners of one client: one for each signal, for as long as a
 * call with that signal is under way.
 */
export class AbortListeners {
  readonly #bySignal = new Map<AbortSignal, SignalCalls>();

  /** Calls `onAbort` when the signal aborts, which it has not done yet. */
  add(signal: AbortSignal, onAbort: () => void): void {
    let of = this.#bySignal.get(signal);
    if (of === undefined) {
      of = new SignalCalls(() => this.#bySignal.delete(signal));
      this.#bySignal.set(signal, of);
      signal.addEventListener("abort", of, { once: true });
    }
    of.calls.add(onAbort);
  }

  /** Takes `onAbort` back; the signal's last one takes the listener with it. */
  remove(signal: AbortSignal, onAbort: () => void): void {
    const of = this.#bySignal.get(signal);
    if (of === undefined) return;
    of.calls.delete(onAbort);
    if (of.calls.size > 0) return;
    this.#bySignal.delete(signal);
    signal.removeEventListener("abort", of);
  }
}
