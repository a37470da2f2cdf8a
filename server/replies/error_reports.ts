// Reports the errors of a session to the owner of the server.

import { NinePError } from "../../codec.ts";
import { systemError } from "../../codec/system_error.ts";
import {
  contextOf,
  type ErrorContext,
  type ErrorSource,
} from "../error_log.ts";
import { isForClient } from "./error_reply.ts";

/** Reports the errors of one connection to `onError`. */
export class ErrorReports {
  readonly #peer: string;
  readonly #onError: (error: unknown, context: ErrorContext) => void;

  /**
   * @param peer Label of the client's end.
   * @param onError Called with each error; it does not throw.
   */
  constructor(
    peer: string,
    onError: (error: unknown, context: ErrorContext) => void,
  ) {
    this.#peer = peer;
    this.#onError = onError;
  }

  /** Reports an error of a request, or of the connection. */
  report(error: unknown, source: ErrorSource = {}): void {
    this.#onError(error, contextOf(this.#peer, source));
  }

  /**
   * Reports an error that a handler has thrown, unless it is a NinePError. A
   * system error whose text is sent to the client is reported as expected.
   *
   * @returns The error for the client.
   */
  failure(error: unknown, source: ErrorSource): NinePError {
    if (isForClient(error)) return error;
    const known = systemError(error);
    // The text of EIO says nothing useful to the client, so the owner has to
    // see the error.
    const expected = known !== undefined && known.code !== "EIO";
    this.report(error, { type: source.type, fid: source.fid, expected });
    return known ?? new NinePError("i/o error", { cause: error });
  }
}
