// Encodes, traces and sends the replies of a session.

import {
  decode,
  type Dialect,
  dialect9P2000,
  IOHDRSZ,
  NinePError,
  type Rmessage,
} from "../../codec.ts";
import { putMessage, putRecord } from "../../codec/layout.ts";
import type { Writer } from "../../codec/wire.ts";
import type { Outbox } from "../../transport/outbox.ts";
import type { Fid } from "../fid.ts";
import type { SessionSettings } from "../options.ts";
import type { Tracer } from "../session/tracer.ts";
import { errorReply } from "./error_reply.ts";
import type { ErrorReports } from "./error_reports.ts";

/** The parts of the session that Replies use. */
export interface RepliesInit {
  /** The options. */
  readonly settings: SessionSettings;
  /** The queue of outgoing frames. */
  readonly outbox: Outbox;
  /** The trace. */
  readonly tracer: Tracer;
  /** The reports of errors. */
  readonly reports: ErrorReports;
  /** Called when an error was sent that ends the connection. */
  readonly onExit: () => void;
}

/** Sends the replies of a session. */
export class Replies {
  /** Dialect of the session. */
  dialect: Dialect = dialect9P2000;
  /** Largest message of the session. */
  msize: number;
  readonly #outbox: Outbox;
  readonly #tracer: Tracer;
  readonly #reports: ErrorReports;
  /** True when all errors are sent as JSON. */
  readonly #asJson: boolean;
  readonly #onExit: () => void;

  constructor({ settings, outbox, tracer, reports, onExit }: RepliesInit) {
    this.msize = settings.msize;
    this.#outbox = outbox;
    this.#tracer = tracer;
    this.#reports = reports;
    this.#asJson = settings.errors === "json";
    this.#onExit = onExit;
  }

  /** The writer for replies. sent() sends the reply that was written. */
  get writer(): Writer {
    return this.#outbox.writer;
  }

  /** Puts a reply into the writer. */
  put(reply: Rmessage): void {
    putMessage(this.writer, reply, this.dialect);
  }

  /** Puts an Rstat into the writer. */
  putRecord(tag: number, record: Uint8Array): void {
    putRecord(this.writer, tag, record, this.dialect);
  }

  /** Sends the reply in the writer that begins at `start`. */
  sent(start: number): void {
    if (this.#tracer.isOn) {
      const { bytes, at } = this.writer;
      const reply = decode(bytes.subarray(start, at), this.dialect);
      this.#tracer.message("out", reply);
    }
    this.#outbox.schedule();
  }

  /** Sends a reply. */
  send(reply: Rmessage): void {
    this.#outbox.send(reply, this.dialect);
    if (this.#tracer.isOn) this.#tracer.message("out", reply);
  }

  /** Sends the error of a request, and reports it. */
  error(
    tag: number,
    type: string | undefined,
    error: unknown,
    fid?: Fid,
  ): void {
    const known = this.#reports.failure(error, { type, fid });
    const most = Math.min(this.msize - 9, 0xffff);
    const asJson = type === "Tcall" || this.#asJson;
    const { ename, exits } = errorReply(known, asJson, most);
    this.send({ type: "Rerror", tag, ename });
    if (exits) this.#onExit();
  }

  /** Sends an error for a message that does not reach a handler. */
  refuse(tag: number, type: string | undefined, ename: string): void {
    this.error(tag, type, new NinePError(ename));
  }

  /** Limits the iounit of a handler to the msize of the session. */
  iounit(iounit = 0): number {
    return Math.min(iounit, this.msize - IOHDRSZ);
  }
}
