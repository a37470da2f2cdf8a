// The processing of one request: it waits for its fid, is checked, goes to the
// handler, and is answered exactly once. It may be flushed meanwhile.

import { NinePError } from "../../codec.ts";
import { systemError } from "../../codec/system_error.ts";
import type { FidNode } from "../fid.ts";
import { type FidState, isDirectory } from "../fids/fid_state.ts";
import type { ErrorReports } from "../replies/error_reports.ts";
import type { Replies } from "../replies/replies.ts";
import type { Background } from "../session/background.ts";
import type { OperationHandle, Request, Sharing } from "./request.ts";

const WAITING = 0;
const RUNNING = 1;
const ANSWERED = 2;
/** The request was cancelled before it was answered; its answer is dropped. */
const ABANDONED = 3;

/** Schedules the operations of a session. */
export interface Scheduler<N extends FidNode> {
  /** Begins the operations that wait for a fid. */
  wake(fid: FidState<N>): void;
  /** Removes a cancelled operation from the waiting operations. */
  stopWaiting(operation: Operation<N>): void;
  /** Frees the tag of an operation, once. */
  forget(operation: Operation<N>): void;
  /**
   * Counts an operation as abandoned: it is cancelled, and its handler may
   * still use its data.
   */
  abandon(operation: Operation<N>): void;
  /**
   * Frees the memory of an abandoned operation, because its handler has ended.
   */
  handlerEnded(operation: Operation<N>): void;
  /** True when there is memory for a late reply of `bytes` bytes. */
  hasRoom(operation: Operation<N>, bytes: number): boolean;
}

/** Answers operations. */
export interface Deliverer<N extends FidNode> {
  /** Answers the operation, now or later. */
  deliver(operation: Operation<N>): void;
}

/** The parts of a session that its operations use. */
export interface OperationSession<N extends FidNode> {
  /** Schedules the operations. */
  readonly scheduler: Scheduler<N>;
  /** Sends the replies. */
  readonly replies: Replies;
  /** The reports of errors. */
  readonly reports: ErrorReports;
  /** Counts the operations of an old session. */
  readonly background: Background;
  /** Answers checked operations. */
  readonly responder: Deliverer<N>;
  /** Called when an operation is cancelled. */
  flushed(operation: Operation<N>): void;
  /** Answers Tflushes. */
  answerFlushes(tags: readonly number[]): void;
}

/**
 * A request with the state of its processing. All kinds of requests share this
 * class: with objects of one shape, a Tstat among requests of many kinds takes
 * half the time.
 */
export class Operation<N extends FidNode = FidNode> implements OperationHandle {
  /** Tag that the client chose. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** The request: its data, its checks and its reply. */
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
  /**
   * True when the operation is or was pending. Most operations are answered at
   * once and are never pending.
   */
  enlisted = false;
  /** True when the operation was cancelled before its handler has ended. */
  abandoned = false;
  /** True when the operation counts as one that holds a view of the read buffer. */
  viewing = false;
  /** Bytes that are reserved for the reply. */
  reserved = 0;
  /** The round of the ReplyRoom's timer in which the operation began. */
  round = 0;
  /** Bytes of the frame. */
  readonly size: number;
  /** Bytes of the frame that count while the operation waits or is processed. */
  counted = 0;
  /** Bytes that are charged for the operation. */
  charged = 0;

  /**
   * @param session The session.
   * @param request The request; its `operation` becomes this object.
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

  /** True while the file is being opened implicitly. */
  get opening(): boolean {
    return this.#opening;
  }

  /**
   * Begins an implicit open. Other requests of the fid wait, so that they do
   * not open the file again.
   */
  startOpening(): void {
    this.#opening = this.fid.locked = true;
  }

  /**
   * Ends an implicit open, even if it has failed. Call wakeOthers() afterwards.
   */
  endOpening(): void {
    this.#opening = false;
    this.fid.locked = this.#locks;
  }

  /** Begins the operations that wait for the fid. */
  wakeOthers(): void {
    this.#session.scheduler.wake(this.fid);
  }

  /** True when the request was answered, or needs no answer any more. */
  get settled(): boolean {
    return this.#state >= ANSWERED;
  }

  /**
   * True when no other request, or only reads, may use the fid at the same
   * time.
   */
  get #isExclusive(): boolean {
    const { fid } = this;
    return this.#sharing === "alone" || this.#sharing === "besideReads" ||
      this.#sharing === "reading" && fid.bound && isDirectory(fid);
  }

  /**
   * True when this request may begin beside the requests that use the fid now.
   */
  get isFree(): boolean {
    const { fid } = this;
    if (fid.locked) return false;
    const beside = this.#sharing === "besideReads" ? fid.reads : 0;
    return fid.active === beside || !this.#isExclusive;
  }

  /** Checks the request and passes it on. The fid must be free for it. */
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
    // A flushed request that failed has had no effect, so it gets no reply. A
    // request that ends its fid has an effect even if it fails.
    const isSent = !this.#flushed || this.request.endsFid;
    if (isSent && !this.#dropped) this.#sendError(error);
    else this.#reportLate(error);
    this.#finish();
  }

  /**
   * Reports an error that is not sent to the client. The error of an abort is
   * not reported, because the client has caused it.
   */
  #reportLate(error: unknown): void {
    if (systemError(error)?.code === "EINTR") return;
    this.#session.reports.failure(error, this.request);
  }

  /** Refuses a request that must not begin. */
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

  /** Throws when there is no memory for a late reply of `bytes` bytes. */
  checkRoom(bytes: number): void {
    if (this.#session.scheduler.hasRoom(this, bytes)) return;
    throw new NinePError("Cannot allocate memory");
  }

  #settle(): boolean {
    if (this.#state === ABANDONED) {
      this.#session.scheduler.handlerEnded(this);
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

  /**
   * Adds a Tflush for the request. The Rflush is sent when the request is
   * settled.
   */
  flush(tag: number): void {
    (this.#flushes ??= []).push(tag);
    this.cancel();
  }

  /** Cancels the request after a Tflush, or at the end of its session. */
  cancel(): void {
    if (this.#flushed) return;
    this.#flushed = true;
    if (this.#state === WAITING) {
      this.#state = ABANDONED;
      this.#session.scheduler.stopWaiting(this);
      this.request.revert();
      this.#freeTag();
      this.#session.scheduler.wake(this.fid); // Later operations may have waited only for this one.
      return;
    }
    const isObserved = this.#abort !== undefined;
    this.#abort?.abort(interrupted());
    this.#session.flushed(this);
    if (!isObserved && this.request.harmless && !this.settled) {
      this.#state = ABANDONED;
      this.#session.scheduler.abandon(this);
      this.request.revert();
      this.#finish();
    }
  }

  /**
   * Drops the request, because its session has ended. The answer of the handler
   * is not sent.
   */
  drop(): void {
    this.#flushes = undefined;
    if (this.#state === RUNNING) {
      this.#dropped = true;
      this.#session.background.begin();
    }
    this.cancel();
    // The handler has not ended, so it still counts as a request in progress.
    if (this.#state === RUNNING) this.#session.scheduler.abandon(this);
  }

  #finish(): void {
    const { fid } = this;
    fid.leave(this.#sharing === "reading", this.#locks);
    this.#freeTag();
    this.#session.scheduler.wake(fid);
    if (!this.#dropped) return;
    if (this.abandoned && this.#state === ANSWERED) {
      this.#session.scheduler.handlerEnded(this);
    }
    this.#session.background.end();
  }

  /**
   * Frees the tag, then answers the Tflushes: no reply to the request may
   * follow an Rflush.
   */
  #freeTag(): void {
    this.#session.scheduler.forget(this);
    if (this.#flushes !== undefined) this.#session.answerFlushes(this.#flushes);
  }
}

function interrupted(): NinePError {
  return new NinePError("Interrupted system call");
}
