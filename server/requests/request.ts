// The base class of requests. A class for each kind of request, in the folder
// of its dialect, defines the checks, the reply, and the changes of fids.

import { NinePError } from "../../codec.ts";
import type { Connection } from "../../transport.ts";
import type { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
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
  /**
   * The request reads. Only one read may use a directory, because each read
   * continues where the last one ended.
   */
  | "reading"
  /** Any other request. */
  | "beside";

/** The parts of a session that its requests use. */
export interface SessionParts<N extends FidNode> extends ContextParts {
  /** The options of the session. */
  readonly settings: SessionSettings;
  /** The fids of the client. */
  readonly fids: FidTable<N>;
  /** Releases fids and nodes. */
  readonly releases: Releases<N>;
  /** Sends the replies. */
  readonly replies: Replies;
  /** Begins requests that wait for a fid. */
  wake(fid: FidState<N>): void;
}

/** The members of Operation that requests use. */
export interface OperationHandle {
  /** Aborted when the client flushes the request, or the connection ends. */
  readonly signal: AbortSignal;
  /** True when the request was answered, or needs no answer any more. */
  readonly settled: boolean;
  /** True while the file is being opened implicitly. */
  readonly opening: boolean;
  /**
   * Begins an implicit open. Other requests of the fid wait, so that they do
   * not open the file again.
   */
  startOpening(): void;
  /**
   * Ends an implicit open, even if it has failed. Call wakeOthers() afterwards.
   */
  endOpening(): void;
  /** Begins the requests that wait for the fid. */
  wakeOthers(): void;
  /** Throws when the request was flushed. */
  throwIfFlushed(): void;
  /** Throws when there is no memory for a late reply of `bytes` bytes. */
  checkRoom(bytes: number): void;
  /** Answers the request. */
  respond(answer: unknown): void;
  /** Answers the request with an error. */
  error(error: unknown): void;
}

/** A request of a client. */
export abstract class Request<N extends FidNode = FidNode, Answer = unknown>
  implements RequestContext<N> {
  /** Kind of the request, by its message. */
  abstract readonly type: string;
  /** Tag that the client chose. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** How the request shares its fid with others. */
  readonly sharing: Sharing;
  /** The operation that processes the request. */
  // The constructor of Operation sets this before the request is used.
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
   * abort. The Rflush is sent after that answer, so that the client learns
   * whether the request had an effect.
   */
  get signal(): AbortSignal {
    return this.operation.signal;
  }

  /**
   * Answers the request.
   *
   * @param answer The answer of the request's kind.
   * @throws {TypeError} The request was answered before.
   */
  respond(answer: Answer): void {
    this.operation.respond(answer);
  }

  /**
   * Answers the request with an error.
   *
   * @param error A NinePError is sent with its text, a system error with the
   *   text of its code, and any other error as `i/o error`.
   * @throws {TypeError} The request was answered before.
   */
  error(error: unknown): void {
    this.operation.error(error);
  }

  /** True when the request creates its fid, which stands for no file before. */
  get makesFid(): boolean {
    return false;
  }

  /** True when the request ends its fid, even if the request fails. */
  get endsFid(): boolean {
    return false;
  }

  /**
   * True when the request has no effects. A flush of such a request need not
   * wait for its handler.
   */
  get harmless(): boolean {
    return false;
  }

  /** True when any file may be opened implicitly. */
  get allowsImplicit(): boolean {
    return this.session.settings.implicitOpen;
  }

  /**
   * Number of bytes in the read buffer of the connection that the request has a
   * view of.
   */
  get held(): number {
    return 0;
  }

  /** Copies the data out of the read buffer, which will be reused. */
  own(): void {}

  /**
   * Maximum of bytes of the reply's data; 0 for a reply that is always short.
   */
  get replyMax(): number {
    return 0;
  }

  /** Throws when the protocol does not allow the request. */
  abstract check(): void;

  /** The data of the request, as a plain object. */
  get data(): object {
    return {};
  }

  /** Calls the function of a handler that answers the request. */
  abstract ask(handler: Handler<N>): Awaitable<Answer>;

  /** Puts the reply into the writer. Throws when the answer cannot be sent. */
  abstract reply(answer: Answer): void;

  /** Changes the fids according to the answer. */
  commit(_answer: Answer): void {}

  /**
   * Undoes the changes of fids, because the request has failed or was
   * cancelled.
   */
  revert(): void {}
}

/** Makes the error for a request that the handler has no function for. */
export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

/**
 * Throws for an answer that is not a Uint8Array. Programs without type checks
 * may answer with any value.
 */
export function checkBytes(data: Uint8Array): void {
  if (!(data instanceof Uint8Array)) {
    throw new TypeError(`a request for bytes was answered with ${typeof data}`);
  }
}
