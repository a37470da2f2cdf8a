// The end of clients that start no session, send nothing for too long, or do
// not take their replies.

import type { RefGroup, Timer } from "../transport/ref_group.ts";
import type { SessionSettings } from "./options.ts";

/** How often a client that does not take its replies is looked at within `stallTimeout`. */
const LOOKS = 4;
/** The part of its waiting replies that a client must take within `stallTimeout`: one byte at a time must not do. */
const PART = 1 / 16;

/** What the watchdog of a session watches. */
export interface Watched {
  /** Whether requests are under way: then the client may be silent. */
  readonly isBusy: () => boolean;
  /** Bytes of replies that wait for the client. */
  readonly waiting: () => number;
  /** Grows with each byte of replies that the client takes. */
  readonly taken: () => number;
  /** Closes the connection. */
  readonly close: () => void;
}

/** The timers of a session: each closes the connection. */
export class Watchdog {
  readonly #settings: SessionSettings;
  readonly #refs: RefGroup;
  readonly #watched: Watched;
  #timer: Timer | undefined;
  #stallTimer: Timer | undefined;
  #stopped = false;
  /** Waits for a session. */
  #waits = false;
  #heard = 0;

  /**
   * @param settings The limits.
   * @param refs Has the timers.
   * @param watched What is looked at when a timer has run.
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

  /** There is no session: waits for one, however many Tversions fail meanwhile. */
  start(): void {
    if (this.#waits || this.#stopped) return;
    this.#waits = true;
    this.#clear();
    const { versionTimeout } = this.#settings;
    if (versionTimeout > 0) this.#after(versionTimeout, this.#watched.close);
  }

  /** There is a session: waits for its requests. */
  started(): void {
    this.#waits = false;
    this.#clear();
    this.heard();
    const { idleTimeout } = this.#settings;
    if (idleTimeout > 0) this.#after(idleTimeout, () => this.#lookIdle());
  }

  /** The client has sent something. */
  heard(): void {
    if (this.#settings.idleTimeout > 0) this.#heard = performance.now();
  }

  /** Replies wait for the client: it must go on to take some of them. */
  writing(): void {
    const { stallTimeout } = this.#settings;
    if (stallTimeout === 0 || this.#stallTimer !== undefined) return;
    if (!this.#stopped) this.#watchReplies();
  }

  #watchReplies(): void {
    const { taken, waiting } = this.#watched;
    const most = Math.max(1, waiting() * PART);
    this.#awaitTaken(taken() + most, LOOKS);
  }

  /** One timer for many writes: closes when the client has not taken so many bytes after some looks. */
  #awaitTaken(wanted: number, looks: number): void {
    const { stallTimeout } = this.#settings;
    this.#stallTimer = this.#refs.after(stallTimeout / LOOKS, () => {
      this.#stallTimer = undefined;
      const { taken, waiting, close } = this.#watched;
      if (waiting() === 0) return; // The next write begins anew.
      if (taken() >= wanted) this.#watchReplies();
      else if (looks > 1) this.#awaitTaken(wanted, looks - 1);
      else close();
    });
  }

  /** Waits for nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#clear();
    this.#refs.cancel(this.#stallTimer);
    this.#stallTimer = undefined;
  }

  /** One timer for many requests: it looks when the last of them was. */
  #lookIdle(): void {
    const { idleTimeout } = this.#settings;
    const silent = this.#watched.isBusy() ? 0 : performance.now() - this.#heard;
    if (silent >= idleTimeout) this.#watched.close();
    else this.#after(idleTimeout - silent, () => this.#lookIdle());
  }

  #after(milliseconds: number, then: () => void): void {
    this.#timer = this.#refs.after(milliseconds, then);
  }

  #clear(): void {
    this.#refs.cancel(this.#timer);
    this.#timer = undefined; // Under Deno it is 150 bytes, and more that it holds.
  }
}
