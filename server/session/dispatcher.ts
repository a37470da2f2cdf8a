// Takes the frames of a client apart, and passes each message on: to the
// negotiation, to the flushes, or as an operation to the admission.

import { type Message, ProtocolError } from "../../codec.ts";
import { getMessage } from "../../codec/layout.ts";
import type { Reader } from "../../codec/wire.ts";
import type { Admission } from "../admission/admission.ts";
import type { Node } from "../fid.ts";
import type { Replies } from "../replies/replies.ts";
import {
  type RequestMessage,
  requestOf,
} from "../requests/9p2000/request_of.ts";
import { Operation, type OperationSession } from "../requests/operation.ts";
import type { Request, SessionParts } from "../requests/request.ts";
import type { Watchdog } from "../timeouts/watchdog.ts";
import type { Flushes } from "./flushes.ts";
import type { Negotiation } from "./negotiation.ts";
import type { Tracer } from "./tracer.ts";

/** What a Dispatcher passes messages on to. */
export interface DispatcherInit<N extends Node> {
  /** The session that requests work with. */
  readonly session: SessionParts<N> & OperationSession<N>;
  /** Starts sessions. */
  readonly negotiation: Negotiation;
  /** The Tflushes that wait. */
  readonly flushes: Flushes<N>;
  /** Decides which operations may begin. */
  readonly admission: Admission<N>;
  /** Learns that the client has sent something. */
  readonly watchdog: Watchdog;
  /** The trace. */
  readonly tracer: Tracer;
}

/** Passes on the messages of a client. */
export class Dispatcher<N extends Node> {
  readonly #init: DispatcherInit<N>;
  readonly #replies: Replies;
  readonly #pending: ReadonlyMap<number, Operation<N>>;

  constructor(init: DispatcherInit<N>) {
    this.#init = init;
    this.#replies = init.session.replies;
    this.#pending = init.admission.pending;
  }

  /** Takes one frame; an error in it costs only its tag. */
  receive(reader: Reader): void {
    const { negotiation, flushes, watchdog, tracer } = this.#init;
    const start = reader.at;
    const tag = reader.view.getUint16(start + 5, true);
    let message: Message;
    try {
      message = getMessage(reader, this.#replies.dialect);
    } catch (error) {
      return this.#refuseFrame(reader, start, tag, error);
    }
    watchdog.heard();
    if (tracer.isOn) tracer.message("in", message);
    if (message.type === "Tversion") return negotiation.begin(message);
    const { type } = message;
    if (negotiation.version === "") {
      return this.#replies.refuse(tag, type, "protocol botch");
    }
    if (message.type === "Tflush") return flushes.flush(tag, message.oldtag);
    const pending = this.#pending;
    if (pending.size > 0 && (pending.has(tag) || flushes.has(tag))) {
      return this.#replies.refuse(tag, type, "duplicate tag");
    }
    this.#start(message, reader.end - start);
  }

  #start(message: RequestMessage, size: number): void {
    const { session, admission } = this.#init;
    let request: Request<N>;
    try {
      request = requestOf(session, message);
    } catch (error) {
      const { tag, type } = message;
      const fid = "fid" in message
        ? session.fids.byNumber.get(message.fid)
        : undefined;
      return this.#replies.error(tag, type, error, fid);
    }
    admission.start(new Operation(session, request, size));
  }

  #refuseFrame(
    reader: Reader,
    start: number,
    tag: number,
    error: unknown,
  ): void {
    if (!(error instanceof ProtocolError)) throw error;
    const { tracer } = this.#init;
    if (tracer.isOn) {
      tracer.frame(reader.bytes.subarray(start, reader.end), error);
    }
    const code = reader.bytes[start + 4];
    const type = this.#replies.dialect.byCode[code]?.type;
    this.#replies.refuse(
      tag,
      type,
      type === undefined ? "Operation not supported" : "protocol botch",
    );
  }
}
