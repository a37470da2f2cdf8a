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
  /** It changes what the fid is, and so must have it for itself. */
  | "alone"
  /** It changes the file, and must have the fid for itself but for reads. */
  | "besideReads"
  /** It reads; in a directory each read goes on where the one before ended, so that it must be alone. */
  | "reading"
  /** Anything else. */
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
export interface Course {
  /** Aborted when the client flushes the request, or the connection ends. */
  readonly signal: AbortSignal;
  /** Whether the request was answered, or needs no answer any more. */
  readonly settled: boolean;
  /** Whether the file is being opened implicitly. */
  readonly opening: boolean;
  /** The file is being opened implicitly: others wait, or they would open it once more. */
  startOpening(): void;
  /** The implicit open is done, or has failed; then wakeOthers(). */
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

/** A request as it is handed to who answers it. */
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
  operation!: Course;
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
   * Who asks for it must settle the request soon after: the client's Tflush
   * waits for that, so that the client learns what happened.
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

  /** Whether its fid does not stand for a file yet, because it is to make it so. */
  get makesFid(): boolean {
    return false;
  }

  /** Whether its fid is gone afterwards, also when it fails. */
  get endsFid(): boolean {
    return false;
  }

  /** Whether it can be given up when its handler takes no notice of the signal: it has no effects. */
  get harmless(): boolean {
    return false;
  }

  /** Whether any file may be used without an open. */
  get allowsImplicit(): boolean {
    return this.session.settings.implicitOpen;
  }

  /** Bytes of data that it has a view of, in the connection's read buffer. */
  get held(): number {
    return 0;
  }

  /** Makes data its own, for the read buffer is about to be written over. */
  own(): void {}

  /** Most bytes that it may be answered with; 0 for few. */
  get replyMax(): number {
    return 0;
  }

  /** Throws what the protocol refuses. */
  abstract check(): void;

  /** What the client has asked, as plain data. */
  get data(): object {
    return {};
  }

  /** Asks a handler. */
  abstract ask(handler: Handler<N>): Awaitable<Answer>;

  /** Puts the reply to an answer into the writer; throws when the answer cannot be sent. */
  abstract reply(answer: Answer): void;

  /** What an answer does to the fids. */
  commit(_answer: Answer): void {}

  /** What is undone when there was no answer. */
  revert(): void {}
}

/** The answer where a handler has no function for a request. */
export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

/** A program without types may answer with anything; the writer would stumble. */
export function checkBytes(data: Uint8Array): void {
  if (!(data instanceof Uint8Array)) {
    throw new TypeError(`a request for bytes was answered with ${typeof data}`);
  }
}
