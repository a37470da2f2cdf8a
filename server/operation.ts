// The way of one request through its session: it waits for its fid, is checked,
// asked, answered exactly once, and perhaps flushed on the way.

import { NinePError } from "../codec.ts";
import { systemError } from "../codec/system_error.ts";
import type { SessionCore } from "./core.ts";
import { type FidState, isDirectory, type Node } from "./fid.ts";
import type { Request } from "./request.ts";

const WAITING = 0;
const RUNNING = 1;
const ANSWERED = 2;
/** The client has flushed this request; its reply is dropped. */
const ABANDONED = 3;

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

/**
 * A request on its way through a session. What all kinds go through is done
 * with objects of this one shape: that halves the time of a Tstat among
 * requests of many kinds.
 */
export class Operation<N extends Node = Node> {
  /** Tag that the client gave it. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** What is asked, and how it is answered. */
  readonly request: Request<N>;
  readonly #core: SessionCore<N>;
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
  size = 0;
  /** Those of them that are counted, because it waits or is being processed. */
  counted = 0;
  /** Bytes that are charged for the operation. */
  charged = 0;

  /** Made with its request. */
  constructor(core: SessionCore<N>, request: Request<N>, sharing: Sharing) {
    this.#core = core;
    this.tag = request.tag;
    this.fid = request.fid;
    this.request = request;
    this.#sharing = sharing;
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
    this.#core.admission.wake(this.fid);
  }

  /** Whether it was answered, or needs no answer any more. */
  get settled(): boolean {
    return this.#state >= ANSWERED;
  }

  /** Whether it must have its fid for itself, or but for reads. */
  get #isExclusive(): boolean {
    const { fid } = this;
    return this.#sharing === "alone" || this.#sharing === "besideReads" ||
      this.#sharing === "reading" && fid.born && isDirectory(fid);
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
      if (fid.gone || !(fid.born || request.bearing)) {
        throw new NinePError("fid unknown or out of range");
      }
      request.check();
    } catch (error) {
      this.error(error);
      return;
    }
    this.#core.deliver(this);
  }

  /** Answers the request; see {@linkcode Request}. */
  respond(answer: unknown): void {
    if (!this.#settle()) return;
    const { request } = this;
    const { writer } = this.#core;
    const start = writer.at;
    try {
      request.reply(answer);
      if (this.#dropped) writer.at = start;
      else this.#sent(start);
      request.commit(answer);
    } catch (error) {
      request.revert();
      if (!this.#dropped) this.#core.sendError(this, error);
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
    if (isTold && !this.#dropped) this.#core.sendError(this, error);
    else this.#reportLate(error);
    this.#finish();
  }

  /**
   * Reports an error that no client gets. An abort is not reported, because the
   * client asked for it.
   */
  #reportLate(error: unknown): void {
    if (systemError(error)?.code === "EINTR") return;
    this.#core.reportFailure(error, this.request);
  }

  /** Answers with an error a request that must not begin. */
  refuse(error: NinePError): void {
    this.#state = ANSWERED;
    this.request.revert();
    this.#core.sendError(this, error);
  }

  /**
   * Throws when the request was flushed. Handlers with several steps call it
   * between them.
   */
  throwIfFlushed(): void {
    if (this.#flushed) throw interrupted();
  }

  #sent(start: number): void {
    if (this.#core.tracing) this.#core.traceReply(start);
    this.#core.sent();
  }

  #settle(): boolean {
    if (this.#state === ABANDONED) {
      this.#core.admission.handlerEnded(this);
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
      this.fid.waiting?.delete(this);
      this.request.revert();
      this.#close();
      this.#core.admission.wake(this.fid); // Later operations may have waited for this one alone.
      return;
    }
    const heard = this.#abort !== undefined;
    this.#abort?.abort(interrupted());
    this.#core.flushed(this);
    if (!heard && this.request.harmless && !this.settled) {
      this.#state = ABANDONED;
      this.#core.admission.abandon(this);
      this.request.revert();
      this.#finish();
    }
  }

  /** The session is over: no reply, whatever the handler does. */
  drop(): void {
    this.#flushes = undefined;
    if (this.#state === RUNNING) {
      this.#dropped = true;
      this.#core.loosen();
    }
    this.cancel();
    // Its handler goes on, and counts among those that may be at work.
    if (this.#state === RUNNING) this.#core.admission.abandon(this);
  }

  #finish(): void {
    const { fid } = this;
    fid.leave(this.#sharing === "reading", this.#locks);
    this.#close();
    this.#core.admission.wake(fid);
    if (!this.#dropped) return;
    if (this.abandoned && this.#state === ANSWERED) {
      this.#core.admission.handlerEnded(this);
    }
    this.#core.tighten();
  }

  /** Frees the tag, then answers the flushes: nothing may follow an Rflush. */
  #close(): void {
    this.#core.admission.forget(this);
    if (this.#flushes !== undefined) this.#core.sendFlushes(this.#flushes);
  }
}

function interrupted(): NinePError {
  return new NinePError("Interrupted system call");
}
