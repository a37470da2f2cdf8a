// What a request of any kind has: how its handler sees it, and what its kind
// says of its checks, its answer and its fid. One class for each kind is in
// fid_operations.ts and file_operations.ts.

import { NinePError } from "../codec.ts";
import type { Connection } from "../transport.ts";
import type { Budget } from "./budget.ts";
import type { SessionCore } from "./core.ts";
import type { FidState, Node } from "./fid.ts";
import type { Awaitable, Handler, RequestContext } from "./handler.ts";
import { Operation, type Sharing } from "./operation.ts";

/** A request as it is handed to who answers it. */
export abstract class Request<N extends Node = Node, Answer = unknown>
  implements RequestContext<N> {
  /** Kind of the request, by its message. */
  abstract readonly type: string;
  /** Tag that the client gave it. */
  readonly tag: number;
  /** Fid that the request works with. */
  readonly fid: FidState<N>;
  /** Its way through the session. */
  readonly operation: Operation<N>;
  /** Session that it belongs to. */
  protected readonly core: SessionCore<N>;

  /** Made by a session. */
  constructor(
    core: SessionCore<N>,
    tag: number,
    fid: FidState<N>,
    sharing: Sharing,
  ) {
    this.core = core;
    this.tag = tag;
    this.fid = fid;
    this.operation = new Operation(core, this, sharing);
  }

  /** User of the fid. */
  get uname(): string {
    return this.fid.uname;
  }

  /** Label of the client's end, for logs. */
  get peer(): string {
    return this.core.connection.peer;
  }

  /** Connection to the client. */
  get connection(): Connection {
    return this.core.connection;
  }

  /** The memory budget of the connection. */
  get memory(): Budget {
    return this.core.memory;
  }

  /** Reports an error to the owner of the server, with its context. */
  report(error: unknown, expected = false): void {
    const { type, fid } = this;
    this.core.report(error, { type, fid, expected });
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
  get bearing(): boolean {
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
    return this.core.options.implicitOpen;
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

/** What a handler is asked with when a fid ends, and no request has asked for that. */
export class EndingContext<N extends Node> implements RequestContext<N> {
  readonly fid: FidState<N>;
  readonly #core: SessionCore<N>;

  constructor(core: SessionCore<N>, fid: FidState<N>) {
    this.#core = core;
    this.fid = fid;
  }

  get uname(): string {
    return this.fid.uname;
  }

  /** Never aborted: no client waits. */
  get signal(): AbortSignal {
    return new AbortController().signal;
  }

  get peer(): string {
    return this.connection.peer;
  }

  get connection(): Connection {
    return this.#core.connection;
  }

  get memory(): Budget {
    return this.#core.memory;
  }

  report(error: unknown, expected = false): void {
    this.#core.report(error, { type: "Tclunk", fid: this.fid, expected });
  }
}

/** The answer where a handler has no function for a request. */
export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}
