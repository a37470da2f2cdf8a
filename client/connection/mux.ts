// Sends many requests at once over one connection. Each request has a tag, and
// its reply has the same tag. See intro(9P), version(9P) and flush(9P).

import {
  type Dialect,
  dialect9P2000,
  HEADERSZ,
  MSIZE_MIN,
  NinePError,
  NOTAG,
  ProtocolError,
  type ReplyTo,
  type Tmessage,
  type Tread,
  type Tversion,
} from "../../codec.ts";
import { parseEnvelope } from "../../codec/call.ts";
import { getMessage, putMessage } from "../../codec/layout.ts";
import type { Connection } from "../../transport.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import { lost } from "../../transport/failure.ts";
import { Intake } from "../../transport/intake.ts";
import { Outbox } from "../../transport/outbox.ts";
import { branded, MALFORMED_REPLY, UNSENDABLE } from "../error_brand.ts";
import type { AbortListeners } from "./abort.ts";
import type { Environment } from "./environment.ts";
import { checkReply, isCancelledWithFid } from "./message_table.ts";
import { NumberPool } from "./numbers.ts";
import type { PeerTraits } from "./peer.ts";

/**
 * Largest reply to the first Tversion, in bytes. The first bytes of most other
 * protocols look like a larger frame.
 */
const VERSION_REPLY_MSIZE = 8192;
/**
 * Type number of Rlerror, the error message of 9P2000.L: `size[4] Rlerror
 * tag[2] ecode[4]`.
 */
const RLERROR = 7;

/** An aborted request that the server may still answer. */
export interface AbortedRequest {
  /**
   * Time of its last reply, by `performance.now()`; -Infinity before the first.
   */
  at: number;
}

/** A request that waits for its reply, or for its Rflush. */
class Pending {
  readonly request: Tmessage;
  /**
   * Buffer for the data of an Rread. With a buffer, the caller gets only the
   * count of the data.
   */
  readonly into: Uint8Array | undefined;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  onAbort: (() => void) | undefined;
  /** Type number of the expected reply. */
  code = 0;
  /** Number of bytes of data in the request. */
  readonly dataLength: number;
  /** Tag that the caller chose; undefined if the Mux chooses it. */
  chosenTag: number | undefined;
  /**
   * True when a Tflush was sent for the request. The tag is then taken until
   * the Rflush.
   */
  flushing = false;
  /**
   * The promise of that Tflush; it settles when the server has answered the
   * Tflush.
   */
  flush: Promise<void> | undefined;
  /** Set when the request was aborted and the server may still work on it. */
  abortedRequest: AbortedRequest | undefined;
  /** True when a reply, an Rflush or an error has settled the request. */
  settled = false;
  /**
   * True when the request was rejected because the client is closing. The data
   * of a late reply are then not copied into the buffer of the caller.
   */
  abandoned = false;

  constructor(
    request: Tmessage,
    into: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    resolve: (value: unknown) => void,
    reject: (reason: unknown) => void,
  ) {
    this.request = request;
    this.dataLength = request.type === "Twrite" ? request.data.length : 0;
    this.into = into;
    this.signal = signal;
    this.resolve = resolve;
    this.reject = reject;
  }

  settle(aborts: AbortListeners): void {
    this.settled = true;
    if (this.signal && this.onAbort) aborts.remove(this.signal, this.onAbort);
  }
}

const NONE: readonly AbortedRequest[] = [];

/**
 * Sends requests and returns their replies. An implementation uses one
 * connection, or replaces a lost connection by another one.
 */
export type RequestSender = Pick<Mux, keyof Mux>;

/**
 * Sends any number of requests at once over one connection. The requests of one
 * turn of the event loop go out in one write.
 *
 * An abort sends a Tflush. The promise of the request then waits for the
 * server. If the reply comes, the promise resolves with the reply. If the
 * Rflush comes, the server has not done the request, and the promise rejects
 * with the signal's reason. So the code that awaits the promise always knows
 * which fids the server has. The promise that the caller of the client sees
 * rejects at once; `abortable()` does this. If the server cannot flush, an
 * abort sends nothing, and the promise settles with the reply.
 */
export class Mux {
  /** Resolves when the connection has ended; never rejects. */
  readonly ended: Promise<void>;
  /** The connection. */
  readonly connection: Connection;
  /** How the server differs from the manual. */
  readonly traits: PeerTraits;
  /** The state that all calls of the client share. */
  readonly environment: Environment;
  /** Dialect of the session. */
  readonly dialect: Dialect = dialect9P2000;
  /** Number of lost connections that were replaced. */
  readonly losses: number = 0;
  readonly #channel: Channel;
  readonly #intake: Intake;
  readonly #outbox: Outbox;
  #msize = MSIZE_MIN;
  #tags = new NumberPool("tag", NOTAG);
  readonly #limit: number;
  /** Requests that were sent, by tag. */
  readonly #pending: (Pending | undefined)[] = [];
  /** The Tversion that waits for its reply. Its tag is NOTAG. */
  #versionRequest: Pending | undefined;
  /**
   * Tags of requests that a Tversion has ended. Their replies may still come
   * before the Rversion.
   */
  #stale = new Set<number>();
  /**
   * Requests that wait to be sent, in order. They have no tag, unless the
   * caller has chosen one.
   */
  readonly #waiting = new Set<Pending>();
  /** Bytes of data of the requests that were sent and have no reply. */
  #unanswered = 0;
  /** Number of waiting requests that have a tag. */
  #reserved = 0;
  /**
   * Tflushes that wait for a free tag. They are sent before the waiting
   * requests, because a Tflush must not wait for the request that it cancels.
   */
  readonly #urgent = new Set<Pending>();
  /** Aborted requests, until the server has finished them. */
  readonly #abortedRequests = new Set<AbortedRequest>();
  /**
   * The error with which all new requests reject; undefined while the Mux
   * accepts requests.
   */
  #refusal: { error: unknown } | undefined;
  #dead = false;

  /**
   * @param connection Connection, which the Mux takes over.
   * @param limit Most requests that are outstanding at once, besides Tflushes;
   *   at most NOTAG - 1, so that there is a tag for a Tflush.
   * @param traits How the server differs from the manual.
   * @param environment The state that all calls of the client share.
   */
  constructor(
    connection: Connection,
    limit: number,
    traits: PeerTraits,
    environment: Environment,
  ) {
    this.connection = connection;
    this.environment = environment;
    const channel = openChannel(connection);
    environment.refs.add(connection);
    this.#channel = channel;
    this.#limit = limit;
    this.traits = traits;
    this.#intake = new Intake(channel, MSIZE_MIN);
    this.#outbox = new Outbox(
      channel,
      (error) => this.fail(lost(channel.peer, error)),
    );
    this.ended = this.#receive().then(() => connection.closed);
  }

  /** Label of the peer. */
  get peer(): string {
    return this.#channel.peer;
  }

  /** Largest message, in bytes, in both directions. */
  get msize(): number {
    return this.#msize;
  }

  /**
   * The error with which all new requests reject, or undefined while requests
   * are possible.
   */
  get error(): unknown {
    return this.#refusal?.error;
  }

  /**
   * Starts a session. When there was a session before, the server ends all its
   * requests and fids.
   *
   * @param reason Error for the requests that are under way.
   * @throws {ProtocolError} The client cannot work with the server's answer.
   */
  async version(msize: number, reason?: unknown): Promise<void> {
    if (this.#refusal) throw this.#refusal.error;
    const { version } = this.dialect;
    this.#rejectAll(reason);
    this.#stale = new Set(this.#tags.all());
    this.#tags = new NumberPool("tag", NOTAG);
    this.#pending.length = 0;
    this.#unanswered = 0;
    // Replies that come before the Rversion may be as large as the msize of the
    // old session allows.
    const { splitter } = this.#intake;
    splitter.msize = Math.max(VERSION_REPLY_MSIZE, splitter.msize);
    msize = Math.min(msize, this.connection.maxMessage ?? msize);
    const request: Tversion = { type: "Tversion", tag: NOTAG, msize, version };
    const reply = await this.rpc(request);
    const fail = (detail: string) =>
      new ProtocolError(
        `Cannot start a session with "${this.peer}": ${detail}`,
      );
    if (reply.version === "unknown") {
      throw fail(`the server does not speak "${version}"`);
    }
    if (reply.version !== version) {
      throw fail(`asked for "${version}", got "${reply.version}"`);
    }
    if (reply.msize > msize || reply.msize < MSIZE_MIN) {
      throw fail(
        `asked for an msize of ${msize}, got ${reply.msize}, the minimum is ${MSIZE_MIN}`,
      );
    }
    this.#msize = reply.msize;
    splitter.msize = Math.max(reply.msize, this.traits.largestReply);
  }

  /**
   * Sends a request and returns its reply. The Mux sets the tag.
   *
   * @param tag Tag for the request; by default any free tag.
   * @throws {NinePError} The server refused.
   * @throws {ProtocolError} The reply is malformed, or the connection ended.
   * @throws {RangeError} The request cannot be encoded, is longer than msize,
   *   or its tag is in use.
   */
  rpc<T extends Tmessage>(
    request: T,
    signal?: AbortSignal,
    tag?: number,
  ): Promise<ReplyTo<T>> {
    // #decodeReply() always returns the reply that belongs to the request.
    return this.#start(request, undefined, signal, tag) as Promise<ReplyTo<T>>;
  }

  /**
   * Cancels the request with a tag by a Tflush, as an abort does.
   *
   * @param reason Error for the request, if the server has not done it.
   * @throws {NinePError} The server cannot flush.
   */
  async flush(oldtag: number, reason: unknown): Promise<void> {
    if (this.#refusal) throw this.#refusal.error;
    if (!this.traits.flushes) throw new NinePError("Operation not supported");
    const pending = this.#pending[oldtag] ??
      [...this.#waiting].find(({ chosenTag }) => chosenTag === oldtag);
    if (!pending) await this.#sendFlush(oldtag);
    else if (this.#waiting.has(pending)) this.#withdraw(pending, reason);
    else await this.#flush(pending, reason);
  }

  /**
   * Cancels all requests for a fid, as an abort does, except the requests that
   * end the fid.
   */
  flushFid(fid: number, reason: () => unknown): void {
    for (const pending of [...this.#waiting, ...this.#pending]) {
      if (!pending || pending.settled) continue;
      if (isCancelledWithFid(pending.request, fid)) {
        this.#abort(pending, reason());
      }
    }
  }

  /**
   * Reads into a buffer and returns the number of bytes. After an abort, no
   * byte is written to the buffer.
   */
  read(
    fid: number,
    offset: number,
    into: Uint8Array,
    signal?: AbortSignal,
  ): Promise<number> {
    const request = treadFor(fid, offset, into);
    // With a buffer, #decodeReply() returns the count.
    return this.#start(request, into, signal, undefined) as Promise<number>;
  }

  /**
   * Cancels all requests except Tclunks, before the connection ends. The
   * requests reject at once, and the client sends a Tflush for each of them.
   *
   * @param error Error for the requests.
   * @returns True if the server can answer a Tclunk soon. A server that cannot
   *   flush may work on the requests for any time before it answers a Tclunk.
   */
  cancelAll(error: unknown): boolean {
    const { flushes } = this.traits;
    let isFree = true;
    for (const pending of [...this.#waiting, ...this.#pending]) {
      if (!pending || pending.settled) continue;
      const { type } = pending.request;
      // A Tflush is not cancelled, because its answer says that the tag of the
      // flushed request is free.
      if (type === "Tclunk" || type === "Tflush") continue;
      pending.abandoned = true;
      if (this.#waiting.has(pending) || flushes) this.#abort(pending, error);
      else isFree = false;
      pending.reject(error);
    }
    return isFree;
  }

  /** The aborted requests that the server may answer before the next reply. */
  abortedRequests(): readonly AbortedRequest[] {
    return this.#abortedRequests.size === 0 ? NONE : [...this.#abortedRequests];
  }

  /** Refuses new requests. Requests that are in progress continue. */
  seal(error: unknown): void {
    this.#refusal ??= { error };
  }

  /** Ends the connection. All pending requests reject with `error`. */
  fail(error: unknown): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#refusal ??= { error };
    this.environment.refs.delete(this.connection);
    this.#channel.close();
    this.#rejectAll(error);
  }

  #rejectAll(error: unknown): void {
    const all = [
      this.#versionRequest,
      ...this.#pending,
      ...this.#urgent,
      ...this.#waiting,
    ];
    this.#urgent.clear();
    this.#waiting.clear();
    this.#abortedRequests.clear();
    this.#reserved = 0;
    for (const pending of all) {
      if (!pending || pending.settled) continue;
      pending.settle(this.environment.aborts);
      pending.reject(error);
    }
  }

  #start(
    request: Tmessage,
    into: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    tag: number | undefined,
  ): Promise<unknown> {
    if (this.#refusal) return Promise.reject(this.#refusal.error);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const hasTag = this.#hasTag;
      if (tag !== undefined) this.#tags.claim(tag);
      const pending = new Pending(request, into, signal, resolve, reject);
      pending.chosenTag = tag;
      // Requests without data do not wait for those with data.
      const isNext = hasTag && this.#hasRoom(pending) &&
        (this.#waiting.size === 0 || pending.dataLength === 0);
      if (signal) {
        pending.onAbort = () => this.#abort(pending, signal.reason);
        this.environment.aborts.add(signal, pending.onAbort);
      }
      if (isNext) {
        this.#assignTagAndSend(pending);
      } else {
        this.#waiting.add(pending);
        if (tag !== undefined) this.#reserved++;
      }
    });
  }

  /** True when there is a tag for one more request. */
  get #hasTag(): boolean {
    return this.#tags.size - this.#reserved < this.#limit;
  }

  /** True when the peer takes the data of one more request now. */
  #hasRoom({ dataLength }: Pending): boolean {
    const { maxUnanswered = Infinity } = this.connection;
    return dataLength === 0 || this.#unanswered === 0 ||
      this.#unanswered + dataLength <= maxUnanswered;
  }

  /** Gives a request its tag and sends it. */
  #assignTagAndSend(pending: Pending): void {
    const { request } = pending;
    if (request.type === "Tversion") {
      this.#versionRequest = pending;
    } else {
      request.tag = pending.chosenTag ?? this.#tags.take();
      this.#pending[request.tag] = pending;
    }
    this.#unanswered += pending.dataLength;
    const { writer } = this.#outbox;
    const start = writer.at;
    try {
      putMessage(writer, request, this.dialect);
      const size = writer.at - start;
      if (size > this.msize) {
        writer.at = start;
        throw new RangeError(
          `Cannot send ${request.type}: it has ${size} bytes, the session's msize is ${this.msize}`,
        );
      }
      // In 9P the type number of a reply is that of its request plus 1.
      pending.code = writer.bytes[start + 4] + 1;
      this.#outbox.schedule();
    } catch (error) {
      this.#release(pending);
      pending.settle(this.environment.aborts);
      if (error instanceof RangeError) branded(error, UNSENDABLE);
      pending.reject(error);
    }
  }

  /** Sends waiting requests, as many as the free tags and the limit allow. */
  #sendWaiting(): void {
    for (const pending of this.#urgent) {
      if (this.#tags.size === NOTAG) return;
      this.#urgent.delete(pending);
      this.#assignTagAndSend(pending);
    }
    for (const pending of this.#waiting) {
      if (!this.#hasTag) return;
      if (!this.#hasRoom(pending)) continue;
      this.#waiting.delete(pending);
      if (pending.chosenTag !== undefined) this.#reserved--;
      this.#assignTagAndSend(pending);
    }
  }

  /** Frees the tag of a request. */
  #release(pending: Pending): void {
    const { tag } = pending.request;
    if (tag === NOTAG) {
      this.#versionRequest = undefined;
      this.#stale.clear();
    } else if (this.#pending[tag] === pending) { // No Tversion came between.
      this.#pending[tag] = undefined;
      this.#tags.give(tag);
      this.#unanswered -= pending.dataLength;
    }
  }

  #abort(pending: Pending, reason: unknown): void {
    // The tag of a settled request may belong to another request by now.
    if (pending.settled) return;
    if (this.#waiting.has(pending)) return this.#withdraw(pending, reason);
    if (!pending.abortedRequest) {
      pending.abortedRequest = { at: -Infinity };
      this.#abortedRequests.add(pending.abortedRequest);
    }
    if (this.traits.flushes) {
      this.#flush(pending, reason).catch(() => {}); // It has its own reply then.
    }
  }

  /**
   * Notes that a reply has come for a request, and removes the request from the
   * abortedRequests if it is finished.
   */
  #noteReply({ abortedRequest, flushing, settled }: Pending): void {
    if (!abortedRequest) return;
    abortedRequest.at = performance.now();
    if (settled && !flushing) this.#abortedRequests.delete(abortedRequest);
  }

  /** Rejects a request that was not sent. */
  #withdraw(pending: Pending, reason: unknown): void {
    this.#waiting.delete(pending);
    if (pending.chosenTag !== undefined) {
      this.#tags.give(pending.chosenTag);
      this.#reserved--;
    }
    pending.settle(this.environment.aborts);
    pending.reject(reason);
  }

  #flush(pending: Pending, reason: unknown): Promise<void> {
    return pending.flush ??= this.#flushOnce(pending, reason);
  }

  async #flushOnce(pending: Pending, reason: unknown): Promise<void> {
    pending.flushing = true;
    try {
      await this.#sendFlush(pending.request.tag);
      if (!pending.settled) pending.reject(reason);
      pending.settle(this.environment.aborts);
      pending.flushing = false;
      this.#noteReply(pending);
    } catch (error) {
      // The server cannot flush. The reply of the request will free the tag.
      pending.flushing = false;
      pending.flush = undefined;
      this.#noteReply(pending);
      throw error;
    } finally {
      if (pending.settled) {
        this.#release(pending);
        this.#sendWaiting();
      }
    }
  }

  #sendFlush(oldtag: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const request: Tmessage = { type: "Tflush", tag: 0, oldtag };
      const flush = new Pending(request, undefined, undefined, resolve, reject);
      if (this.#tags.size < NOTAG) this.#assignTagAndSend(flush);
      else this.#urgent.add(flush);
    });
  }

  async #receive(): Promise<void> {
    const intake = this.#intake;
    try {
      while (true) {
        const chunk = await intake.read();
        if (this.#dead) return;
        if (chunk === null) throw lost(this.peer);
        intake.push(chunk);
        while (intake.splitter.advance()) this.#dispatch();
        if (this.#waiting.size + this.#urgent.size > 0) this.#sendWaiting();
      }
    } catch (error) {
      this.fail(lost(this.peer, error));
    }
  }

  /** Settles the request that the current frame answers. */
  #dispatch(): void {
    const { reader } = this.#intake.splitter;
    const tag = reader.view.getUint16(reader.at + 5, true);
    const pending = tag === NOTAG ? this.#versionRequest : this.#pending[tag];
    if (!pending || pending.settled) {
      if (this.#stale.delete(tag)) return;
      throw new ProtocolError(
        `Connection to "${this.peer}" failed: a reply has tag ${tag}, which no request has`,
      );
    }
    // The tag is free before the caller sees the reply, unless a Tflush still
    // needs it.
    if (!pending.flushing) this.#release(pending);
    pending.settle(this.environment.aborts);
    this.#noteReply(pending);
    try {
      pending.resolve(this.#decodeReply(pending));
    } catch (error) {
      if (error instanceof ProtocolError) branded(error, MALFORMED_REPLY);
      pending.reject(error);
    }
  }

  /** Decodes the reply and returns the value for the caller. */
  #decodeReply(pending: Pending): unknown {
    const { reader } = this.#intake.splitter;
    const { request, into } = pending;
    const code = reader.bytes[reader.at + 4];
    if (code === RLERROR && reader.end - reader.at === HEADERSZ + 4) {
      const number = reader.view.getUint32(reader.at + HEADERSZ, true);
      throw new ProtocolError(
        `Cannot send ${request.type} to "${this.peer}": the server does not speak ${this.dialect.version}, it answered Rlerror ${number}, a message of 9P2000.L`,
      );
    }
    const reply = getMessage(reader, this.dialect);
    if (reply.type === "Rerror") {
      const { ename } = reply;
      throw parseEnvelope(ename) ??
        new NinePError(ename, { request: request.type });
    }
    if (code !== pending.code) {
      throw new ProtocolError(
        `Cannot take the reply to ${request.type}: it is ${reply.type}`,
      );
    }
    checkReply(request, reply);
    if (!("data" in reply)) return reply;
    // The read buffer will be reused, so the data are copied now.
    if (into === undefined) {
      reply.data = reply.data.slice();
      return reply;
    }
    if (!pending.signal?.aborted && !pending.abandoned) into.set(reply.data);
    return reply.data.length;
  }
}

/** Returns the Tread that fills a buffer. */
export function treadFor(
  fid: number,
  offset: number,
  into: Uint8Array,
): Tread {
  const count = into.length;
  return { type: "Tread", tag: 0, fid, offset: BigInt(offset), count };
}
