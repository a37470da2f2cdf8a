// Decides whether the open connections and the timers of a client, or of a
// server, keep the process alive.

/** A connection or a listener that may keep the process alive or not. */
export interface Refable {
  /** Keeps the process alive. This is the default. */
  ref?(): void;
  /** Lets the process end. */
  unref?(): void;
}

/** A timer of this runtime. */
export type Timer = ReturnType<typeof setTimeout>;

/** The functions of Deno for timers that are numbers, as in older versions. */
interface TimerRuntime {
  readonly Deno?: {
    refTimer(timer: Timer): void;
    unrefTimer(timer: Timer): void;
  };
}

/**
 * Decides for a group of connections, listeners and timers whether they keep
 * the process alive. A member that is added later follows the last decision.
 */
export class RefGroup {
  #isHeld = true;
  readonly #members = new Set<Refable>();
  readonly #timers = new Set<Timer>();

  /** Lets the members keep the process alive. This is the default. */
  ref(): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    for (const member of this.#members) member.ref?.();
    for (const timer of this.#timers) setTimerRef(timer, true);
  }

  /** Lets the process end although there are members. */
  unref(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    for (const member of this.#members) member.unref?.();
    for (const timer of this.#timers) setTimerRef(timer, false);
  }

  /** Adds a connection or a listener. */
  add(member: Refable): void {
    this.#members.add(member);
    if (!this.#isHeld) member.unref?.();
  }

  /** Removes a connection or a listener that has ended. */
  delete(member: Refable): void {
    this.#members.delete(member);
  }

  /**
   * Calls `callback` after some milliseconds, unless the timer is cancelled
   * before.
   */
  after(milliseconds: number, callback: () => void): Timer {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      callback();
    }, milliseconds);
    this.#timers.add(timer);
    if (!this.#isHeld) setTimerRef(timer, false);
    return timer;
  }

  /** Cancels a timer. A timer that is undefined or has fired is ignored. */
  cancel(timer: Timer | undefined): void {
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers.delete(timer);
  }
}

function setTimerRef(timer: Timer, isHeld: boolean): void {
  const method = isHeld ? "ref" : "unref";
  const handle: unknown = timer; // A number in browsers and in older versions of Deno.
  if (typeof handle === "object" && handle !== null) {
    (handle as Required<Refable>)[method]();
    return;
  }
  // A cast is needed, because plain tsc does not know the types of Deno.
  const { Deno: deno } = globalThis as TimerRuntime;
  if (isHeld) deno?.refTimer(timer);
  else deno?.unrefTimer(timer);
}
