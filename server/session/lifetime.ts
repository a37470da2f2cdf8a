// How far a session has come, and what ends it.

import type { ErrorReports } from "../replies/error_reports.ts";
import type { Condition } from "../timeouts/condition.ts";

/** The state of a connection from its first byte to its end. */
export class Lifetime {
  /** True when no further request is processed. */
  ended = false;
  /** True when the connection ends because a function has asked for it. */
  exiting = false;
  /** True when the server stops. */
  stopping = false;
  /** True when the server waits for requests under way before it stops. */
  graceful = false;
  /** True when the client has ended its half of the connection. */
  clientGone = false;
  /** Called when the session ends while the pump may still wait for bytes. */
  onEnd: (() => void) | undefined;
  readonly #condition: Condition;
  readonly #reports: ErrorReports;
  readonly #close: () => void;

  /**
   * @param condition Waits for the end, among others.
   * @param reports The reports of errors.
   * @param close Closes the connection.
   */
  constructor(
    condition: Condition,
    reports: ErrorReports,
    close: () => void,
  ) {
    this.#condition = condition;
    this.#reports = reports;
    this.#close = close;
  }

  /** No further request is processed; what is answered is still sent. */
  end(): void {
    this.ended = true;
    this.#condition.wake();
    this.onEnd?.();
  }

  /** Ends the session because the server stops. */
  stop(graceful: boolean): void {
    this.stopping = true;
    this.graceful = graceful;
    this.end();
  }

  /** Ends the connection when what is written is sent. */
  exit(): void {
    this.exiting = true;
    this.end();
  }

  /** The client has ended its half; it may still take replies. */
  clientEnded(): void {
    this.clientGone = true;
    this.#condition.wake();
  }

  /** The stream cannot be followed any more. */
  fail(error: unknown): void {
    if (!this.ended) this.#reports.report(error);
    this.ended = true;
  }

  /** The stream died. */
  lost(error: unknown): void {
    this.fail(error);
    this.close();
  }

  /** Closes the connection at once. */
  close(): void {
    this.ended = true;
    this.#close();
    this.#condition.wake();
  }
}
