// Starts a session for a Tversion. See version(9P).

import { MSIZE_MIN, type Tversion } from "../../codec.ts";
import type { SessionSettings } from "../options.ts";
import type { Replies } from "../replies/replies.ts";
import type { Watchdog } from "../timeouts/watchdog.ts";
import type { Background } from "./background.ts";
import type { Input } from "./input.ts";
import type { Lifetime } from "./lifetime.ts";
import { dialectFor } from "./version.ts";

/** The parts of the session that a Negotiation uses. */
export interface NegotiationInit {
  /** The options. */
  readonly settings: SessionSettings;
  /** The state of the connection. */
  readonly lifetime: Lifetime;
  /** Gets the negotiated msize. */
  readonly input: Input;
  /** Gets the negotiated dialect and msize. */
  readonly replies: Replies;
  /** The time limits. */
  readonly watchdog: Watchdog;
  /** The work of the old session that must end first. */
  readonly background: Background;
  /** Cancels the operations of the old session, and releases its fids. */
  readonly reset: () => void;
  /** Returns the largest msize for a version, at most `msize`. */
  readonly boundMsize: (msize: number, version: string) => number;
}

/** Negotiates the version and the msize with the client. */
export class Negotiation {
  /** Version of the session; empty before a Tversion. */
  version = "";
  readonly #init: NegotiationInit;
  /** A Tversion that waits for the end of the old session. */
  #message: Tversion | undefined;

  constructor(init: NegotiationInit) {
    this.#init = init;
  }

  /** True while a Tversion waits for the end of the old session. */
  get isWaiting(): boolean {
    return this.#message !== undefined;
  }

  /**
   * Ends the old session. The new session begins when all fids of the old one
   * are released.
   */
  begin(message: Tversion): void {
    this.version = "";
    this.#init.reset();
    this.#message = message;
    if (this.#init.background.isIdle) this.finish();
  }

  /** Answers the waiting Tversion, if there is one. */
  finish(): void {
    const message = this.#message;
    this.#message = undefined;
    const { lifetime, replies, watchdog, input } = this.#init;
    if (message === undefined || lifetime.ended) return;
    watchdog.start();
    const { tag, type } = message;
    if (message.msize < MSIZE_MIN) {
      return replies.refuse(tag, type, "Invalid argument");
    }
    const dialect = dialectFor(message.version);
    const version = dialect?.version ?? "unknown";
    let msize: number;
    try {
      msize = this.#boundMsize(message.msize, version);
    } catch (error) {
      return replies.error(tag, type, error);
    }
    replies.send({ type: "Rversion", tag, msize, version });
    if (dialect === undefined) return;
    replies.dialect = dialect;
    replies.msize = input.splitter.msize = msize;
    this.version = version;
    watchdog.started();
  }

  #boundMsize(asked: number, version: string): number {
    const { settings, boundMsize } = this.#init;
    const most = Math.min(asked, settings.msize);
    const msize = Math.min(most, boundMsize(most, version));
    if (Number.isInteger(msize) && msize >= MSIZE_MIN) return msize;
    throw new RangeError(
      `Cannot start a session with an msize of ${msize}: the minimum is ${MSIZE_MIN}`,
    );
  }
}
