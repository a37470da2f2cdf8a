// Decodes the frames of a client, and passes each message on: to the
// negotiation, to the flushes, or as an operation to the admission.

import { type Message, ProtocolError } from "../../codec.ts";
import { getMessage } from "../../codec/layout.ts";
import type { Reader } from "../../codec/wire.ts";
import type { Admission } from "../admission/admission.ts";
import type { FidNode } from "../fid.ts";
import type { Replies } from "../replies/replies.ts";
import { requestOf } from "../requests/9p2000/request_of.ts";
import { Operation, type OperationSession } from "../requests/operation.ts";
import type { Request, SessionParts } from "../requests/request.ts";
import type { Watchdog } from "../timeouts/watchdog.ts";
import type { Flushes } from "./flushes.ts";
import type { Negotiation } from "./negotiation.ts";
import type { Tracer } from "./tracer.ts";

/** The parts of the session that a Dispatcher uses. */
export interface DispatcherInit<N extends FidNode> {
  /** The parts that requests and operations use. */
  readonly session: SessionParts<N> & OperationSession<N>;
  /** Starts sessions. */
  readonly negotiation: Negotiation;
  /** The Tflushes that wait. */
  readonly flushes: Flushes<N>;
  /** Decides which operations may begin. */
  readonly admission: Admission<N>;
  /** Notes when the client has sent a message. */
  readonly watchdog: Watchdog;
  /** The trace. */
  readonly tracer: Tracer;
}

/** Decodes and dispatches the messages of a client. */
export class Dispatcher<N extends FidNode> {
  readonly #session: SessionParts<N> & OperationSession<N>;
  readonly #negotiation: Negotiation;
  readonly #flushes: Flushes<N>;
  readonly #admission: Admission<N>;
  readonly #watchdog: Watchdog;
  readonly #tracer: Tracer;
  readonly #replies: Replies;

  constructor(init: DispatcherInit<N>) {
    this.#session = init.session;
    this.#negotiation = init.negotiation;
    this.#flushes = init.flushes;
    this.#admission = init.admission;
    this.#watchdog = init.watchdog;
    this.#tracer = init.tracer;
    this.#replies = init.session.replies;
  }

  /**
   * Processes one frame. A malformed frame is answered with an error, and the
   * connection goes on.
   */
  receive(reader: Reader): void {
    const replies = this.#replies;
    const start = reader.at;
    const tag = reader.view.getUint16(start + 5, true);
    let message: Message;
    try {
      message = getMessage(reader, replies.dialect);
    } catch (error) {
      return this.#refuseFrame(reader, start, tag, error);
    }
    this.#watchdog.heard();
    if (this.#tracer.isOn) this.#tracer.message("in", message);
    if (message.type === "Tversion") return this.#negotiation.begin(message);
    const { type } = message;
    if (this.#negotiation.version === "") {
      return replies.refuse(tag, type, "protocol botch");
    }
    if (message.type === "Tflush") {
      return this.#flushes.flush(tag, message.oldtag);
    }
    const { pending } = this.#admission;
    if (pending.size > 0 && (pending.has(tag) || this.#flushes.has(tag))) {
      return replies.refuse(tag, type, "duplicate tag");
    }
    let request: Request<N>;
    try {
      request = requestOf(this.#session, message);
    } catch (error) {
      const { byNumber } = this.#session.fids;
      const fid = "fid" in message ? byNumber.get(message.fid) : undefined;
      return replies.error(tag, type, error, fid);
    }
    const size = reader.end - start;
    this.#admission.start(new Operation(this.#session, request, size));
  }

  #refuseFrame(
    reader: Reader,
    start: number,
    tag: number,
    error: unknown,
  ): void {
    if (!(error instanceof ProtocolError)) throw error;
    if (this.#tracer.isOn) {
      this.#tracer.frame(reader.bytes.subarray(start, reader.end), error);
    }
    const code = reader.bytes[start + 4];
    const type = this.#replies.dialect.byCode[code]?.type;
    const isKnown = type !== undefined;
    const ename = isKnown ? "protocol botch" : "Operation not supported";
    this.#replies.refuse(tag, type, ename);
  }
}
