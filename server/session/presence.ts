// Asks the handler whether to serve a connection, and tells the handler when the
// connection has ended.

import type { Connection } from "../../transport.ts";
import type { Awaitable } from "../handler.ts";
import type { ErrorReports } from "../replies/error_reports.ts";
import type { Background } from "./background.ts";

/** Callbacks about connections, of the program that answers requests. */
export interface ConnectionHooks {
  /** Accepts a connection before its first request, or refuses it by an error. */
  connect(connection: Connection): Awaitable<void>;
  /** Called when an accepted connection has ended and all is released. */
  disconnect(connection: Connection): Awaitable<void>;
}

/** The parts that a Presence needs. */
export interface PresenceInit {
  /** The handler. */
  readonly hooks: ConnectionHooks;
  /** The connection. */
  readonly connection: Connection;
  /** The reports of errors. */
  readonly reports: ErrorReports;
  /** Counts a disconnect() that takes time. */
  readonly background: Background;
  /** Called when the handler refuses the connection. */
  readonly onRefused: () => void;
  /** Called when isDecided or isOver has become true. */
  readonly onChange: () => void;
}

/** Tells a handler that a connection comes and goes. */
export class Presence {
  /** False while the handler has not decided. */
  isDecided = false;
  /** True when the connection has ended and the handler's disconnect() is done. */
  isOver = false;
  readonly #init: PresenceInit;
  #isAccepted = false;
  /** True when the connection has ended, so that connect() may be late. */
  #hasEnded = false;

  constructor(init: PresenceInit) {
    this.#init = init;
  }

  /** Asks the handler whether to serve the connection; isDecided tells when it has answered. */
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

  /** Tells the handler that the connection has ended, if it was accepted. */
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
    // A connect() that accepts this late has made what disconnect() must end.
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
