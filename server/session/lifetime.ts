// The state of a connection, and the ways in which it ends.

import type { ErrorReports } from "../replies/error_reports.ts";
import type { Condition } from "../timeouts/condition.ts";

/** The state of a connection from its first byte to its end. */
export class Lifetime {
  /** True when the server processes no further request. */
  ended = false;
  /** True when a function has ended the connection with Plan9Exit. */
  exiting = false;
  /** True when the server ends the connection. */
  stopping = false;
  /**
   * True when the server waits for the requests in progress before it ends the
   * connection.
   */
  graceful = false;
  /** True when the client has ended its half of the connection. */
  clientGone = false;
  /** Called when the session ends while the pump may still wait for bytes. */
  onEnd: (() => void) | undefined;
  readonly #condition: Condition;
  readonly #reports: ErrorReports;
  readonly #close: () => void;

  /**
   * @param condition Woken when the state changes.
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

  /** Stops the processing of requests. The replies so far are still sent. */
  end(): void {
    this.ended = true;
    this.#condition.wake();
    this.onEnd?.();
  }

  /** Ends the session on behalf of the server. */
  stop(graceful: boolean): void {
    this.stopping = true;
    this.graceful = graceful;
    this.end();
  }

  /** Ends the connection after the replies so far are sent. */
  exit(): void {
    this.exiting = true;
    this.end();
  }

  /**
   * Notes that the client has ended its half of the connection. The client may
   * still take replies.
   */
  clientEnded(): void {
    this.clientGone = true;
    this.#condition.wake();
  }

  /** Ends the session after an error in the stream, and reports the error. */
  fail(error: unknown): void {
    if (!this.ended) this.#reports.report(error);
    this.ended = true;
  }

  /** Closes the connection after an error, and reports the error. */
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
