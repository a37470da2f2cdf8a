// The way of one request through its session: it waits for its fid, is checked,
// asked, answered exactly once, and perhaps flushed on the way.

import { NinePError } from "../../codec.ts";
import { systemError } from "../../codec/system_error.ts";
import type { Node } from "../fid.ts";
import { type FidState, isDirectory } from "../fids/fid_state.ts";
import type { ErrorReports } from "../replies/error_reports.ts";
import type { Replies } from "../replies/replies.ts";
import type { Background } from "../session/background.ts";
import type { Course, Request, Sharing } from "./request.ts";

const WAITING = 0;
const RUNNING = 1;
const ANSWERED = 2;
/** The client has flushed this request; its reply is dropped. */
const ABANDONED = 3;

/** Where an operation stands among the others of its session. */
export interface Turns<N extends Node> {
  /** Begins the operations that wait for a fid. */
  wake(fid: FidState<N>): void;
  /** A waiting operation is given up. */
  unwait(operation: Operation<N>): void;
  /** Frees the tag of an operation, once. */
  forget(operation: Operation<N>): void;
  /** An operation is given up while its handler goes on, which may hold the data. */
  abandon(operation: Operation<N>): void;
  /** The handler of an operation that was given up has ended. */
  handlerEnded(operation: Operation<N>): void;
  /** Whether a late answer of so many bytes has room. */
  hasRoom(operation: Operation<N>, bytes: number): boolean;
}

/** What answers operations. */
export interface Deliverer<N extends Node> {
  /** Answers the operation, now or later. */
  deliver(operation: Operation<N>): void;
}

/** The parts of a session that its operations work with. */
export interface OperationSession<N extends Node> {
  /** Decides which operations may begin. */
  readonly turns: Turns<N>;
  /** Sends the replies. */
  readonly replies: Replies;
  /** The reports of errors. */
  readonly reports: ErrorReports;
  /** Counts the operations of an old session. */
  readonly background: Background;
  /** Answers checked operations. */
  readonly responder: Deliverer<N>;
  /** Tells that an operation was flushed. */
  flushed(operation: Operation<N>): void;
  /** Answers Tflushes. */
  answerFlushes(tags: readonly number[]): void;
}

/**
 * A request on its way through a session. What all kinds go through is done
 * with objects of this one shape: that halves the time of a Tstat among
 * requests of many kinds.
 */
export class Operation<N extends Node = Node> implements Course {
  /** Tag that the client gave it. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** What is asked, and how it is answered. */
  readonly request: Request<N>;
  readonly #session: OperationSession<N>;
  readonly #sharing: Sharing;
  #state = WAITING;
  #locks = false;
  #abort: AbortController | undefined = undefined;
  #flushed = false;
  #flushes: number[] | undefined = undefined;
  #dropped = false;
  #opening = false;
  /** Whether it is, or was, pending: most are answered at once, and never are. */
  enlisted = false;
  /** Whether its handler goes on though it was given up. */
  abandoned = false;
  /** Whether it is counted among those that hold a view of the read buffer. */
  viewing = false;
  /** Bytes that are kept free for its answer. */
  owed = 0;
  /** The round of the admission in which the operation began. */
  round = 0;
  /** Bytes of its frame. */
  readonly size: number;
  /** Those of them that are counted, because it waits or is being processed. */
  counted = 0;
  /** Bytes that are charged for the operation. */
  charged = 0;

  /**
   * @param session The session.
   * @param request What is asked; it gets this object as its way through the session.
   * @param size Bytes of the frame.
   */
  constructor(
    session: OperationSession<N>,
    request: Request<N>,
    size: number,
  ) {
    this.#session = session;
    this.tag = request.tag;
    this.fid = request.fid;
    this.request = request;
    this.#sharing = request.sharing;
    this.size = size;
    request.operation = this;
  }

  /** Aborted when the client flushes the request, or the connection ends. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#flushed || this.#state === ABANDONED) {
        this.#abort.abort(interrupted());
      }
    }
    return this.#abort.signal;
  }

  /** Whether its file is being opened implicitly. */
  get opening(): boolean {
    return this.#opening;
  }

  /** Its file is being opened implicitly: others wait, or they would open it once more. */
  startOpening(): void {
    this.#opening = this.fid.locked = true;
  }

  /** That is done, or has failed; then wakeOthers(). */
  endOpening(): void {
    this.#opening = false;
    this.fid.locked = this.#locks;
  }

  /** Begins the operations that wait for the fid. */
  wakeOthers(): void {
    this.#session.turns.wake(this.fid);
  }

  /** Whether it was answered, or needs no answer any more. */
  get settled(): boolean {
    return this.#state >= ANSWERED;
  }

  /** Whether it must have its fid for itself, or but for reads. */
  get #isExclusive(): boolean {
    const { fid } = this;
    return this.#sharing === "alone" || this.#sharing === "besideReads" ||
      this.#sharing === "reading" && fid.bound && isDirectory(fid);
  }

  /** Whether none that works with its fid now is in its way. */
  get isFree(): boolean {
    const { fid } = this;
    if (fid.locked) return false;
    const beside = this.#sharing === "besideReads" ? fid.reads : 0;
    return fid.active === beside || !this.#isExclusive;
  }

  /** Checks the request and hands it on; its fid is free for it. */
  begin(): void {
    const { fid, request } = this;
    this.#locks = this.#isExclusive;
    fid.enter(this.#sharing === "reading", this.#locks);
    this.#state = RUNNING;
    try {
      if (fid.gone || !(fid.bound || request.makesFid)) {
        throw new NinePError("fid unknown or out of range");
      }
      request.check();
    } catch (error) {
      this.error(error);
      return;
    }
    this.#session.responder.deliver(this);
  }

  /** Answers the request; see {@linkcode Request}. */
  respond(answer: unknown): void {
    if (!this.#settle()) return;
    const { request } = this;
    const { replies } = this.#session;
    const { writer } = replies;
    const start = writer.at;
    try {
      request.reply(answer);
      if (this.#dropped) writer.at = start;
      else replies.sent(start);
      request.commit(answer);
    } catch (error) {
      request.revert();
      if (!this.#dropped) this.#sendError(error);
    }
    this.#finish();
  }

  /** Answers the request with an error. */
  error(error: unknown): void {
    if (!this.#settle()) return this.#reportLate(error);
    this.request.revert();
    // A flushed request that failed has left no trace, so it has no reply;
    // but one that ends its fid has done that, whatever else failed.
    const isTold = !this.#flushed || this.request.endsFid;
    if (isTold && !this.#dropped) this.#sendError(error);
    else this.#reportLate(error);
    this.#finish();
  }

  /**
   * Reports an error that no client gets. An abort is not reported, because the
   * client asked for it.
   */
  #reportLate(error: unknown): void {
    if (systemError(error)?.code === "EINTR") return;
    this.#session.reports.failure(error, this.request);
  }

  /** Answers with an error a request that must not begin. */
  refuse(error: NinePError): void {
    this.#state = ANSWERED;
    this.request.revert();
    this.#sendError(error);
  }

  /**
   * Throws when the request was flushed. Handlers with several steps call it
   * between them.
   */
  throwIfFlushed(): void {
    if (this.#flushed) throw interrupted();
  }

  #sendError(error: unknown): void {
    const { type, fid } = this.request;
    this.#session.replies.error(this.tag, type, error, fid);
  }

  /** Throws when there is no room for a late answer of so many bytes. */
  checkRoom(bytes: number): void {
    if (this.#session.turns.hasRoom(this, bytes)) return;
    throw new NinePError("Cannot allocate memory");
  }

  #settle(): boolean {
    if (this.#state === ABANDONED) {
      this.#session.turns.handlerEnded(this);
      return false;
    }
    if (this.#state === ANSWERED) {
      throw new TypeError(
        `Cannot answer ${this.request.type} of tag ${this.tag}: it was answered before`,
      );
    }
    this.#state = ANSWERED;
    return true;
  }

  /** A Tflush came for the request; its Rflush is sent when the request is settled. */
  flush(tag: number): void {
    (this.#flushes ??= []).push(tag);
    this.cancel();
  }

  /** Gives up the request after a Tflush, or at the end of its session. */
  cancel(): void {
    if (this.#flushed) return;
    this.#flushed = true;
    if (this.#state === WAITING) {
      this.#state = ABANDONED;
      this.#session.turns.unwait(this);
      this.request.revert();
      this.#close();
      this.#session.turns.wake(this.fid); // Later operations may have waited for this one alone.
      return;
    }
    const heard = this.#abort !== undefined;
    this.#abort?.abort(interrupted());
    this.#session.flushed(this);
    if (!heard && this.request.harmless && !this.settled) {
      this.#state = ABANDONED;
      this.#session.turns.abandon(this);
      this.request.revert();
      this.#finish();
    }
  }

  /** The session is over: no reply, whatever the handler does. */
  drop(): void {
    this.#flushes = undefined;
    if (this.#state === RUNNING) {
      this.#dropped = true;
      this.#session.background.begin();
    }
    this.cancel();
    // Its handler goes on, and counts among those that may be at work.
    if (this.#state === RUNNING) this.#session.turns.abandon(this);
  }

  #finish(): void {
    const { fid } = this;
    fid.leave(this.#sharing === "reading", this.#locks);
    this.#close();
    this.#session.turns.wake(fid);
    if (!this.#dropped) return;
    if (this.abandoned && this.#state === ANSWERED) {
      this.#session.turns.handlerEnded(this);
    }
    this.#session.background.end();
  }

  /** Frees the tag, then answers the flushes: nothing may follow an Rflush. */
  #close(): void {
    this.#session.turns.forget(this);
    if (this.#flushes !== undefined) this.#session.answerFlushes(this.#flushes);
  }
}

function interrupted(): NinePError {
  return new NinePError("Interrupted system call");
}
