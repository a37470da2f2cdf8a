// Closes the connections of clients that start no session, send nothing for too
// long, or do not take their replies.

import type { RefGroup, Timer } from "../../transport/ref_group.ts";
import type { SessionSettings } from "../options.ts";

/** Number of checks within `stallTimeout`. */
const CHECKS = 4;
/**
 * The fraction of its waiting replies that a client must take within
 * `stallTimeout`. It is not one byte, because a client that takes single bytes
 * must not hold a connection.
 */
const TAKEN_PART = 1 / 16;

/** The state of a session that a Watchdog reads. */
export interface Watched {
  /**
   * Returns true while requests are in progress. The client need not send
   * anything then.
   */
  readonly isBusy: () => boolean;
  /** Returns the bytes of replies that the client has not taken. */
  readonly waiting: () => number;
  /**
   * Returns a number that grows with each byte of replies that the client
   * takes.
   */
  readonly taken: () => number;
  /** Closes the connection. */
  readonly close: () => void;
}

/** The time limits of a session; each of them closes the connection. */
export class Watchdog {
  readonly #settings: SessionSettings;
  readonly #refs: RefGroup;
  readonly #watched: Watched;
  #timer: Timer | undefined;
  #stallTimer: Timer | undefined;
  #stopped = false;
  /** True while the connection waits for a Tversion. */
  #isStarting = false;
  #heard = 0;

  /**
   * @param settings The limits.
   * @param refs The group of the timers.
   * @param watched The session.
   */
  constructor(
    settings: SessionSettings,
    refs: RefGroup,
    watched: Watched,
  ) {
    this.#settings = settings;
    this.#refs = refs;
    this.#watched = watched;
  }

  /**
   * Starts the timeout for a Tversion. Tversions that fail do not extend the
   * timeout.
   */
  start(): void {
    if (this.#isStarting || this.#stopped) return;
    this.#isStarting = true;
    this.#clear();
    const { versionTimeout } = this.#settings;
    if (versionTimeout > 0) this.#after(versionTimeout, this.#watched.close);
  }

  /** Starts the idle timeout. Called when a session has begun. */
  started(): void {
    this.#isStarting = false;
    this.#clear();
    this.heard();
    const { idleTimeout } = this.#settings;
    if (idleTimeout > 0) this.#after(idleTimeout, () => this.#checkIdle());
  }

  /** Notes that the client has sent a message. */
  heard(): void {
    if (this.#settings.idleTimeout > 0) this.#heard = performance.now();
  }

  /** Starts to check that the client takes the replies that wait for it. */
  writing(): void {
    const { stallTimeout } = this.#settings;
    if (stallTimeout === 0 || this.#stallTimer !== undefined) return;
    if (!this.#stopped) this.#watchReplies();
  }

  #watchReplies(): void {
    const { taken, waiting } = this.#watched;
    const most = Math.max(1, waiting() * TAKEN_PART);
    this.#awaitTaken(taken() + most, CHECKS);
  }

  /**
   * Closes the connection when the client has not taken the `wanted` bytes
   * after the given number of checks. One timer serves many writes.
   */
  #awaitTaken(wanted: number, checks: number): void {
    const { stallTimeout } = this.#settings;
    this.#stallTimer = this.#refs.after(stallTimeout / CHECKS, () => {
      this.#stallTimer = undefined;
      const { taken, waiting, close } = this.#watched;
      if (waiting() === 0) return; // The next write starts the timer anew.
      if (taken() >= wanted) this.#watchReplies();
      else if (checks > 1) this.#awaitTaken(wanted, checks - 1);
      else close();
    });
  }

  /** Stops all timers. */
  stop(): void {
    this.#stopped = true;
    this.#clear();
    this.#refs.cancel(this.#stallTimer);
    this.#stallTimer = undefined;
  }

  /**
   * Closes the connection when the client has been idle for too long. One timer
   * serves many requests.
   */
  #checkIdle(): void {
    const { idleTimeout } = this.#settings;
    const silent = this.#watched.isBusy() ? 0 : performance.now() - this.#heard;
    if (silent >= idleTimeout) this.#watched.close();
    else this.#after(idleTimeout - silent, () => this.#checkIdle());
  }

  #after(milliseconds: number, then: () => void): void {
    this.#timer = this.#refs.after(milliseconds, then);
  }

  #clear(): void {
    this.#refs.cancel(this.#timer);
    this.#timer = undefined; // Under Deno a cancelled timer still holds 150 bytes, and the objects that its callback refers to.
  }
}
