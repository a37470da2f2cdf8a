// The life of a request: it waits for its fid, is checked, asked, answered
// exactly once, and perhaps flushed on the way.

import { NinePError, QTDIR } from "../codec.ts";
import type { Fid, FidState, Node } from "./fid.ts";
import type { Awaitable, Handler, RequestContext } from "./handler.ts";
import type { Connection } from "../transport.ts";
import type { SessionCore } from "./core.ts";

const WAITING = 0;
const RUNNING = 1;
const ANSWERED = 2;
/** Answered or not, nobody wants to hear it any more. */
const ABANDONED = 3;

/** A request on its way through a session. */
export abstract class Operation<N extends Node = Node, Answer = unknown>
  implements RequestContext<N> {
  /** Kind of the request, by its message. */
  abstract readonly type: string;
  /** Tag that the client gave it. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** Session that it belongs to. */
  protected readonly core: SessionCore<N>;
  #state = WAITING;
  #abort: AbortController | undefined;
  #flushed = false;
  #flushes: number[] | undefined;
  #locks = false;
  #dropped = false;
  /** Its file is being opened implicitly: the fid is not free before that is done. */
  opening = false;
  /** Whether it is counted among those that hold a view of the read buffer. */
  viewing = false;
  /** Bytes that are kept free for its answer. */
  owed = 0;

  /** Made by a session. */
  constructor(core: SessionCore<N>, tag: number, fid: FidState<N>) {
    this.core = core;
    this.tag = tag;
    this.fid = fid;
  }

  /** Label of the client's end, for logs. */
  get peer(): string {
    return this.core.connection.peer;
  }

  /** Connection to the client. */
  get connection(): Connection {
    return this.core.connection;
  }

  /**
   * Aborted when the client flushes the request, or the connection ends.
   *
   * Who asks for it must settle the request soon after: the client's Tflush
   * waits for that, so that the client learns what happened.
   */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#flushed || this.#state === ABANDONED) {
        this.#abort.abort(interrupted());
      }
    }
    return this.#abort.signal;
  }

  /** Whether it was answered, or needs no answer any more. */
  get settled(): boolean {
    return this.#state >= ANSWERED;
  }

  /** Whether it changes what the fid is, and so must have it for itself. */
  get exclusive(): boolean {
    return false;
  }

  /** Whether it works with its fid without a change to it or its file. */
  protected get reads(): boolean {
    return false;
  }

  /** Whether none that works with its fid now is in its way. */
  get isFree(): boolean {
    const { fid } = this;
    return !fid.locked && (fid.active === 0 || !this.exclusive);
  }

  /** Whether its fid does not stand for a file yet, because it is to make it so. */
  protected get bearing(): boolean {
    return false;
  }

  /** Whether its fid is gone afterwards, also when it fails. */
  protected get endsFid(): boolean {
    return false;
  }

  /** Whether it can be given up when its handler takes no notice of the signal: it has no effects. */
  protected get harmless(): boolean {
    return false;
  }

  /** Whether any file may be used without an open. */
  get allowsImplicit(): boolean {
    return this.core.options.implicitOpen;
  }

  /** Whether it holds a view of the connection's read buffer. */
  get holdsData(): boolean {
    return false;
  }

  /** Makes data its own, for the read buffer is about to be written over; gives their length. */
  own(): number {
    return 0;
  }

  /** Bytes of data that are its own. */
  get owned(): number {
    return 0;
  }

  /** Most bytes that it may be answered with; 0 for few. */
  get replyMax(): number {
    return 0;
  }

  /** Throws what the protocol refuses. */
  protected abstract check(): void;

  /** Asks a handler. */
  abstract ask(handler: Handler<N>): Awaitable<Answer>;

  /** Puts the reply to an answer into the writer; throws when the answer cannot be sent. */
  protected abstract reply(answer: Answer): void;

  /** What an answer does to the fids. */
  protected commit(_answer: Answer): void {}

  /** What is undone when there was no answer. */
  protected revert(): void {}

  /** Checks the request and hands it on; its fid is free for it. */
  begin(): void {
    const { fid } = this;
    fid.active++;
    if (this.reads) fid.reads++;
    if (this.exclusive) this.#locks = fid.locked = true;
    this.#state = RUNNING;
    try {
      if (fid.gone || !(fid.born || this.bearing)) {
        throw new NinePError("fid unknown or out of range");
      }
      this.check();
    } catch (error) {
      this.error(error);
      return;
    }
    this.core.deliver(this);
  }

  /**
   * Answers the request.
   *
   * @param answer What the request asks for.
   * @throws {TypeError} The request was answered before.
   */
  respond(answer: Answer): void {
    if (!this.#settle()) return;
    const { writer } = this.core;
    const start = writer.at;
    try {
      this.reply(answer);
      if (this.#dropped) writer.at = start;
      else this.#sent(start);
      this.commit(answer);
    } catch (error) {
      this.revert();
      if (!this.#dropped) this.core.sendError(this, error);
    }
    this.#finish();
  }

  /**
   * Answers the request with an error.
   *
   * @param error NinePError for the client to see; anything else becomes `i/o error`.
   * @throws {TypeError} The request was answered before.
   */
  error(error: unknown): void {
    if (!this.#settle()) return;
    this.revert();
    // A flushed request that failed has left no trace, so it has no reply;
    // but one that ends its fid has done that, whatever else failed.
    const isTold = !this.#flushed || this.endsFid;
    if (isTold && !this.#dropped) this.core.sendError(this, error);
    this.#finish();
  }

  /** Ends a request that nobody waits for any more, between two questions to its handler. */
  throwIfFlushed(): void {
    if (this.#flushed) throw interrupted();
  }

  #sent(start: number): void {
    this.core.sent();
    if (this.core.tracing) this.core.traceReply(start);
  }

  #settle(): boolean {
    if (this.#state === ABANDONED) {
      this.core.abandon(-1);
      return false;
    }
    if (this.#state === ANSWERED) {
      throw new TypeError(
        `Cannot answer ${this.type} of tag ${this.tag}: it was answered before`,
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

  /** Nobody wants the answer any more, or soon nobody will. */
  cancel(): void {
    if (this.#flushed) return;
    this.#flushed = true;
    if (this.#state === WAITING) {
      this.#state = ABANDONED;
      const { waiting } = this.fid;
      const at = waiting?.indexOf(this) ?? -1; // Not there when the core holds it.
      if (at >= 0) waiting?.splice(at, 1);
      this.revert();
      this.#close();
      this.core.wake(this.fid); // Those behind it may have waited for it alone.
      return;
    }
    const heard = this.#abort !== undefined;
    this.#abort?.abort(interrupted());
    this.core.flushed(this);
    if (!heard && this.harmless && !this.settled) {
      this.#state = ABANDONED;
      this.core.abandon(1);
      this.revert();
      this.#finish();
    }
  }

  /** The session is over: no reply, whatever the handler does. */
  drop(): void {
    this.#flushes = undefined;
    if (this.#state === RUNNING) {
      this.#dropped = true;
      this.core.loosen();
    }
    this.cancel();
  }

  #finish(): void {
    const { fid, core } = this;
    fid.active--;
    if (this.reads) fid.reads--;
    if (this.#locks) fid.locked = false;
    this.#close();
    core.wake(fid);
    if (this.#dropped) core.tighten();
  }

  /** Frees the tag, then answers the flushes: nothing may follow an Rflush. */
  #close(): void {
    this.core.forget(this);
    if (this.#flushes !== undefined) this.core.sendFlushes(this.#flushes);
  }
}

function interrupted(): NinePError {
  return new NinePError("Interrupted system call");
}

/** Whether a fid stands for a directory. */
export function isDirectory(fid: Fid): boolean {
  return (fid.node.qid.type & QTDIR) !== 0;
}

/** The answer where a handler has no function for a request. */
export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}
