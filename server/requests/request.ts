// A request of any kind: how its handler sees it, and what its kind defines:
// its checks, its reply, and what becomes of its fid. The folder of a dialect
// has a class for each kind.

import { NinePError } from "../../codec.ts";
import type { Connection } from "../../transport.ts";
import type { Budget } from "../budget.ts";
import type { Node } from "../fid.ts";
import type { ContextParts } from "../fids/ending_context.ts";
import type { FidState } from "../fids/fid_state.ts";
import type { FidTable } from "../fids/fid_table.ts";
import type { Releases } from "../fids/releases.ts";
import type { Awaitable, Handler, RequestContext } from "../handler.ts";
import type { SessionSettings } from "../options.ts";
import type { Replies } from "../replies/replies.ts";

/** How a request shares its fid with others. */
export type Sharing =
  /** The request changes what the fid is, so no other request may use the fid meanwhile. */
  | "alone"
  /** The request changes the file; only reads may use the fid meanwhile. */
  | "besideReads"
  /** The request reads. In a directory each read goes on where the last one ended, so it must be alone there. */
  | "reading"
  /** Any other request. */
  | "beside";

/** The parts of a session that its requests work with. */
export interface SessionParts<N extends Node> extends ContextParts {
  /** The options of the session. */
  readonly settings: SessionSettings;
  /** The fids of the client. */
  readonly fids: FidTable<N>;
  /** Lets go of what fids stand for. */
  readonly releases: Releases<N>;
  /** Sends the replies. */
  readonly replies: Replies;
  /** Begins requests that wait for a fid. */
  wake(fid: FidState<N>): void;
}

/** The way of a request through its session, as far as the request needs it. */
export interface OperationHandle {
  /** Aborted when the client flushes the request, or the connection ends. */
  readonly signal: AbortSignal;
  /** True when the request was answered, or needs no answer any more. */
  readonly settled: boolean;
  /** True while the file is being opened implicitly. */
  readonly opening: boolean;
  /** Begins an implicit open. Other requests of the fid wait, or they would open the file once more. */
  startOpening(): void;
  /** Ends an implicit open, whether it worked or not; call wakeOthers() then. */
  endOpening(): void;
  /** Begins the requests that wait for the fid. */
  wakeOthers(): void;
  /** Throws when the request was flushed. */
  throwIfFlushed(): void;
  /** Throws when there is no room for a late answer of so many bytes. */
  checkRoom(bytes: number): void;
  /** Answers the request. */
  respond(answer: unknown): void;
  /** Answers the request with an error. */
  error(error: unknown): void;
}

/** A request, as the program that answers it gets it. */
export abstract class Request<N extends Node = Node, Answer = unknown>
  implements RequestContext<N> {
  /** Kind of the request, by its message. */
  abstract readonly type: string;
  /** Tag that the client gave it. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** How the request shares its fid with others. */
  readonly sharing: Sharing;
  /** Way of the request through its session. */
  // Set by the operation, which is made for the request before anything else is done with it.
  operation!: OperationHandle;
  /** The session that the request belongs to. */
  protected readonly session: SessionParts<N>;

  /** Made by a session. */
  constructor(
    session: SessionParts<N>,
    tag: number,
    fid: FidState<N>,
    sharing: Sharing,
  ) {
    this.session = session;
    this.tag = tag;
    this.fid = fid;
    this.sharing = sharing;
  }

  /** User of the fid. */
  get uname(): string {
    return this.fid.uname;
  }

  /** Label of the client's end, for logs. */
  get peer(): string {
    return this.session.connection.peer;
  }

  /** Connection to the client. */
  get connection(): Connection {
    return this.session.connection;
  }

  /** The memory budget of the connection. */
  get memory(): Budget {
    return this.session.memory;
  }

  /** Reports an error to the owner of the server, with its context. */
  report(error: unknown, expected = false): void {
    const { type, fid } = this;
    this.session.reports.report(error, { type, fid, expected });
  }

  /**
   * Aborted when the client flushes the request, or the connection ends.
   *
   * A program that reads the signal must answer the request soon after an
   * abort. The client's Tflush waits for that answer, so that the client learns
   * what has happened.
   */
  get signal(): AbortSignal {
    return this.operation.signal;
  }

  /**
   * Answers the request.
   *
   * @param answer What the request asks for.
   * @throws {TypeError} The request was answered before.
   */
  respond(answer: Answer): void {
    this.operation.respond(answer);
  }

  /**
   * Answers the request with an error.
   *
   * @param error NinePError for the client to see. An error of the system becomes
   *   the text of its code, anything else `i/o error`.
   * @throws {TypeError} The request was answered before.
   */
  error(error: unknown): void {
    this.operation.error(error);
  }

  /** True when the request makes its fid, which stands for no file before. */
  get makesFid(): boolean {
    return false;
  }

  /** True when the fid is gone afterwards, even if the request fails. */
  get endsFid(): boolean {
    return false;
  }

  /** True when the request has no effects: it may be given up while its handler ignores the signal. */
  get harmless(): boolean {
    return false;
  }

  /** True when any file may be used without an open. */
  get allowsImplicit(): boolean {
    return this.session.settings.implicitOpen;
  }

  /** Bytes of data in the connection's read buffer that the request has a view of. */
  get held(): number {
    return 0;
  }

  /** Copies the data, because the read buffer is about to be used again. */
  own(): void {}

  /** Most bytes of the answer; 0 for an answer that is always short. */
  get replyMax(): number {
    return 0;
  }

  /** Throws what the protocol refuses. */
  abstract check(): void;

  /** The data of the request, as a plain object. */
  get data(): object {
    return {};
  }

  /** Asks a handler. */
  abstract ask(handler: Handler<N>): Awaitable<Answer>;

  /** Puts the reply into the writer; throws when the answer cannot be sent. */
  abstract reply(answer: Answer): void;

  /** Changes the fids as the answer says. */
  commit(_answer: Answer): void {}

  /** Undoes what the request has done to the fids, because it was not answered. */
  revert(): void {}
}

/** Makes the error for a request that the handler has no function for. */
export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

/** Throws for an answer that is no bytes: a program without types may answer with anything. */
export function checkBytes(data: Uint8Array): void {
  if (!(data instanceof Uint8Array)) {
    throw new TypeError(`a request for bytes was answered with ${typeof data}`);
  }
}
