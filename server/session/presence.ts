// Calls connect() of the handler when a connection begins, and disconnect()
// when it has ended.

import type { Connection } from "../../transport.ts";
import type { Awaitable } from "../handler.ts";
import type { ErrorReports } from "../replies/error_reports.ts";
import type { Background } from "./background.ts";

/** Callbacks of the program that answers requests, for connections. */
export interface ConnectionHooks {
  /** Accepts a connection before its first request, or refuses it by an error. */
  connect(connection: Connection): Awaitable<void>;
  /** Called when an accepted connection has ended and all fids are released. */
  disconnect(connection: Connection): Awaitable<void>;
}

/** The parts of the session that a Presence uses. */
export interface PresenceInit {
  /** The handler. */
  readonly hooks: ConnectionHooks;
  /** The connection. */
  readonly connection: Connection;
  /** The reports of errors. */
  readonly reports: ErrorReports;
  /** Counts an asynchronous disconnect(). */
  readonly background: Background;
  /** Called when the handler refuses the connection. */
  readonly onRefused: () => void;
  /** Called when isDecided or isOver has become true. */
  readonly onChange: () => void;
}

/** Calls connect() and disconnect() of a handler for one connection. */
export class Presence {
  /** True when the handler has accepted or refused the connection. */
  isDecided = false;
  /** True when the connection has ended and the handler's disconnect() is done. */
  isOver = false;
  readonly #init: PresenceInit;
  #isAccepted = false;
  /** True when end() was called; connect() may still be in progress. */
  #hasEnded = false;

  constructor(init: PresenceInit) {
    this.#init = init;
  }

  /**
   * Calls connect() of the handler. isDecided becomes true when connect() is
   * done.
   */
  begin(): void {
    const { hooks, connection } = this.#init;
    try {
      const done = hooks.connect(connection);
      if (done instanceof Promise) {
        done.then(() => this.#accept(), (error) => this.#refuse(error));
      } else {
        this.#accept();
      }
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Calls disconnect() of the handler, if the connection was accepted. */
  end(): void {
    this.#hasEnded = true;
    const { hooks, connection, background, reports, onChange } = this.#init;
    if (!this.#isAccepted) {
      this.isOver = true;
      return;
    }
    this.#isAccepted = false;
    background.run(
      () => hooks.disconnect(connection),
      (error) => reports.report(error),
      () => {
        this.isOver = true;
        onChange();
      },
    );
  }

  #accept(): void {
    this.isDecided = this.#isAccepted = true;
    // This connect() has ended after the connection. Its disconnect() must
    // still be called.
    if (this.#hasEnded) this.end();
    else this.#init.onChange();
  }

  #refuse(error: unknown): void {
    this.isDecided = true;
    this.#init.reports.failure(error, {});
    this.#init.onRefused();
    this.#init.onChange();
  }
}
