// Traces the messages of a session.

import type { Message, ProtocolError } from "../../codec.ts";
import type { Connection } from "../../transport.ts";
import type {
  SessionSettings,
  TraceContext,
  TracedFrame,
  TracedMessage,
} from "../options.ts";
import type { ErrorReports } from "../replies/error_reports.ts";

/** A traced message or frame without the common fields. */
type WithoutContext<Traced extends TraceContext> = Omit<
  Traced,
  keyof TraceContext
>;

/** Calls `onMessage` with the messages of one connection. */
export class Tracer {
  /** True when there is an `onMessage`. */
  readonly isOn: boolean;
  readonly #connection: Connection;
  readonly #onMessage: SessionSettings["onMessage"];
  readonly #reports: ErrorReports;

  constructor(
    connection: Connection,
    { onMessage }: SessionSettings,
    reports: ErrorReports,
  ) {
    this.isOn = onMessage !== undefined;
    this.#connection = connection;
    this.#onMessage = onMessage;
    this.#reports = reports;
  }

  /** Traces a message of the client, or a reply. */
  message(direction: "in" | "out", message: Message): void {
    this.#trace({ direction, message });
  }

  /** Traces a malformed frame of the client. */
  frame(frame: Uint8Array, error: ProtocolError): void {
    this.#trace({ direction: "in", frame, error });
  }

  #trace(
    traced: WithoutContext<TracedMessage> | WithoutContext<TracedFrame>,
  ): void {
    const connection = this.#connection;
    const { peer } = connection;
    try {
      this.#onMessage?.({ ...traced, peer, connection, time: Date.now() });
    } catch (error) {
      this.#reports.report(error);
    }
  }
}
