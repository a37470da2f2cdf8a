// The context of a fid that ends without a request.

import type { Connection } from "../../transport.ts";
import type { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
import type { RequestContext } from "../handler.ts";
import type { ErrorReports } from "../replies/error_reports.ts";
import type { FidState } from "./fid_state.ts";

/** The parts of a session that the contexts of its requests use. */
export interface ContextParts {
  /** Connection to the client. */
  readonly connection: Connection;
  /** The memory budget of the connection, for what files hold. */
  readonly memory: Budget;
  /** The reports of errors. */
  readonly reports: ErrorReports;
}

/** The context for a handler when a fid ends with its session or connection. */
export class EndingContext<N extends FidNode> implements RequestContext<N> {
  readonly fid: FidState<N>;
  readonly #parts: ContextParts;

  constructor(parts: ContextParts, fid: FidState<N>) {
    this.#parts = parts;
    this.fid = fid;
  }

  get uname(): string {
    return this.fid.uname;
  }

  /** Never aborted, because no client can flush the release. */
  get signal(): AbortSignal {
    return new AbortController().signal;
  }

  get peer(): string {
    return this.connection.peer;
  }

  get connection(): Connection {
    return this.#parts.connection;
  }

  get memory(): Budget {
    return this.#parts.memory;
  }

  report(error: unknown, expected = false): void {
    const { fid } = this;
    this.#parts.reports.report(error, { type: "Tclunk", fid, expected });
  }
}
