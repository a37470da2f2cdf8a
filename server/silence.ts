// The end of clients that start no session, send nothing for too long, or may
// have gone unseen.

import type { ProcessHold, Timer } from "../transport/process_hold.ts";
import type { SessionSettings } from "./options.ts";

/** The clock of a session: closes it when the client was silent for too long. */
export class Silence {
  readonly #settings: SessionSettings;
  readonly #isBusy: () => boolean;
  readonly #close: () => void;
  readonly #hold: ProcessHold;
  #timer: Timer | undefined;
  #blindTimer: Timer | undefined;
  /** Waits for a session. */
  #waits = false;
  #heard = 0;

  /**
   * @param settings The two limits.
   * @param isBusy Whether requests are under way: then the client may be silent.
   * @param close Closes the session.
   * @param hold Has the timers.
   */
  constructor(
    settings: SessionSettings,
    isBusy: () => boolean,
    close: () => void,
    hold: ProcessHold,
  ) {
    this.#settings = settings;
    this.#isBusy = isBusy;
    this.#close = close;
    this.#hold = hold;
  }

  /** There is no session: waits for one, however many Tversions fail meanwhile. */
  start(): void {
    if (this.#waits) return;
    this.#waits = true;
    const { versionTimeout } = this.#settings;
    if (versionTimeout === 0) return;
    this.stop();
    this.#after(versionTimeout, this.#close);
  }

  /** There is a session: waits for its requests. */
  started(): void {
    this.#waits = false;
    this.stop();
    this.heard();
    const { idleTimeout } = this.#settings;
    if (idleTimeout > 0) this.#after(idleTimeout, () => this.#look());
  }

  /** The client has sent something. */
  heard(): void {
    if (this.#settings.idleTimeout > 0) this.#heard = performance.now();
  }

  /** The client's end would not be seen: waits until it would. */
  blind(): void {
    const { stallTimeout } = this.#settings;
    if (stallTimeout === 0) return;
    this.#blindTimer ??= this.#hold.after(stallTimeout, this.#close);
  }

  /** It would be seen again. */
  seeing(): void {
    if (this.#blindTimer === undefined) return;
    this.#hold.cancel(this.#blindTimer);
    this.#blindTimer = undefined;
  }

  /** Waits for nothing any more. */
  stop(): void {
    this.#hold.cancel(this.#timer);
    this.#timer = undefined; // Under Deno it is 150 bytes, and more that it holds.
    this.seeing();
  }

  /** One timer for many requests: it looks when the last of them was. */
  #look(): void {
    const { idleTimeout } = this.#settings;
    const silent = this.#isBusy() ? 0 : performance.now() - this.#heard;
    if (silent >= idleTimeout) this.#close();
    else this.#after(idleTimeout - silent, () => this.#look());
  }

  #after(milliseconds: number, then: () => void): void {
    this.#timer = this.#hold.after(milliseconds, then);
  }
}
