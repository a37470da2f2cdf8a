// A session that outlives its connection. When the connection is lost, the
// client makes another one. Requests wait for the new connection, or are
// repeated.

import {
  type Dialect,
  NinePError,
  ProtocolError,
  type ReplyTo,
  type Rread,
  type Rwrite,
  type Tmessage,
} from "../../codec.ts";
import {
  type Connection,
  dial,
  type Target,
  type TlsOptions,
} from "../../transport.ts";
import { isPermanent, systemCodeOf } from "../../transport/failure.ts";
import type { RefGroup } from "../../transport/ref_group.ts";
import type { Environment } from "./environment.ts";
import type { RecoverableMux } from "./recoverable_mux.ts";
import { isCancelledWithFid, isRepeatable } from "./message_table.ts";
import { type AbortedRequest, type RequestSender, treadFor } from "./mux.ts";
import { abortable, bounded, TIMEOUT_MAX } from "../operation.ts";
import type { PeerTraits } from "./peer.ts";
import { Restoration, type RestorationPlan } from "./restoration.ts";

/**
 * How a client connects again after a lost connection.
 *
 * The delay before an attempt is a random part of a time that doubles with each
 * failed attempt. So the clients of a restarted server do not all connect at
 * once.
 *
 * @example A file stays open
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 *
 * const fs = new MemoryFs({ motd: "hello\n" });
 * let hangUp = () => {};
 * const dial = () => {
 *   const [near, far] = pair();
 *   hangUp = () => far.close();
 *   void serve(far, fs);
 *   return Promise.resolve(near);
 * };
 * await using client = await connect(await dial(), { reconnect: { dial } });
 * await using file = await client.open("motd");
 * await file.seek(2);
 * hangUp();
 * const buffer = new Uint8Array(100);
 * assertEquals(await file.read(buffer), 4);
 * ```
 */
export interface ReconnectOptions {
  /**
   * Attempts in a row, 1 to Infinity, after which the client gives up; 10 by
   * default, which takes 41 seconds on average plus the time of the attempts.
   * The count begins anew when a connection has lasted for `steadyAfter`. The
   * client gives up at once after an error that every further attempt would
   * repeat: a bad address, a missing permission of Deno, a refused certificate.
   */
  attempts?: number | undefined;
  /**
   * Most milliseconds of one attempt, from dialling until all fids are
   * restored, above 0 and up to 2^31 - 1; 30000 by default, or the `timeout` of
   * `connect()` if that is less.
   */
  attemptTimeout?: number | undefined;
  /**
   * Milliseconds after which a connection counts as steady, 0 to 2^31 - 1,
   * 10000 by default. If a server loses each connection sooner, the delays
   * grow, and the client gives up after `attempts`.
   */
  steadyAfter?: number | undefined;
  /** Most milliseconds before the first attempt, 0 to 2^31 - 1; 100 by default. */
  minDelay?: number | undefined;
  /** Most milliseconds before any attempt, 0 to 2^31 - 1; 30000 by default. */
  maxDelay?: number | undefined;
  /**
   * Makes a new connection. By default the client dials the address again, so
   * this option is needed only if `connect()` was given a connection.
   */
  dial?: ((signal: AbortSignal) => Promise<Connection>) | undefined;
}

/** The options of `connect()` for each attempt. */
interface DialContext {
  readonly timeout?: number | undefined;
  readonly tls?: TlsOptions | undefined;
}

/** The options with their defaults. */
export interface ReconnectSettings {
  readonly attempts: number;
  readonly attemptTimeout: number;
  readonly steadyAfter: number;
  readonly minDelay: number;
  readonly maxDelay: number;
  readonly dial: (signal: AbortSignal) => Promise<Connection>;
}

/** Settings and functions for a {@linkcode ReconnectingSender}. */
export interface ReconnectPlan
  extends Omit<ReconnectSettings, "dial">, RestorationPlan {
  /** Makes a new connection, on which no message has been sent yet. */
  readonly open: (signal: AbortSignal) => Promise<RecoverableMux>;
}

/** A request that has no reply yet, whichever connection carries it. */
interface ActiveRequest {
  readonly request: Tmessage;
  /**
   * The error of the request, when it must not be sent on another connection.
   */
  refusal: { readonly error: unknown } | undefined;
  /** Ends the wait for the next connection. */
  wake: (() => void) | undefined;
}

/** Default of `attemptTimeout`. */
const ATTEMPT_TIMEOUT = 30_000;

/**
 * Checks the options for a target of `connect()`.
 *
 * @param context The `timeout` and the `tls` of `connect()`.
 */
export function settingsOf(
  target: string | Target,
  options: ReconnectOptions,
  { timeout = Infinity, tls }: DialContext,
): ReconnectSettings {
  const { attempts = 10, minDelay = 100, maxDelay = 30_000 } = options;
  const { steadyAfter = 10_000 } = options;
  const { attemptTimeout = Math.min(timeout, ATTEMPT_TIMEOUT) } = options;
  const isCount = Number.isInteger(attempts) || attempts === Infinity;
  check("attempts", attempts, isCount && attempts >= 1, "1 to Infinity");
  const delays = { minDelay, maxDelay, steadyAfter };
  for (const [name, value] of Object.entries(delays)) {
    const isDelay = value >= 0 && value <= TIMEOUT_MAX;
    check(name, value, isDelay, "0 to 2^31 - 1");
  }
  if (options.attemptTimeout !== undefined) {
    const isTime = attemptTimeout > 0 && attemptTimeout <= TIMEOUT_MAX;
    check("attemptTimeout", attemptTimeout, isTime, "above 0 to 2^31 - 1");
  }
  const bounds = { attempts, attemptTimeout, ...delays };
  const { dial: redial } = options;
  if (redial) return { ...bounds, dial: redial };
  if (typeof target !== "string") {
    throw new TypeError(
      "Cannot connect: reconnect needs a dial function where a connection is given",
    );
  }
  const redialAddress = (signal: AbortSignal) => dial(target, { signal, tls });
  return { ...bounds, dial: redialAddress };
}

function check(
  name: string,
  value: number,
  isRight: boolean,
  range: string,
): void {
  if (isRight) return;
  throw new RangeError(
    `Cannot connect: reconnect.${name} is ${value}, the range is ${range}`,
  );
}

/**
 * Returns the milliseconds to wait before an attempt.
 *
 * @param failures Number of failed attempts.
 * @param random Returns a number from 0 to 1, as Math.random() does.
 */
export function delayOf(
  failures: number,
  { minDelay, maxDelay }: Pick<ReconnectSettings, "minDelay" | "maxDelay">,
  random: () => number = Math.random,
): number {
  // Any delay has reached the maximum after 31 doublings.
  return random() * Math.min(maxDelay, minDelay * 2 ** Math.min(failures, 31));
}

/**
 * Sends requests over a connection, and over its successor when the connection
 * is lost. The client makes the same fids on the new connection, as far as
 * their files still exist, and repeats the requests that may be repeated.
 *
 * - To make a fid again, the client walks from the root to the path of the fid.
 *   If the fid was open, the client opens it in the same mode, without OTRUNC.
 *   The type and the path of its qid must be the same as before, except for a
 *   root that is not open. The version of a file must not be lower than before,
 *   unless something was written through the fid.
 * - A file must still be as long as the part that was read or written through
 *   its fid. Otherwise a restarted server may have given another file the same
 *   qid.
 * - If the client wrote through a fid before, the fid that was made again can
 *   be read only if the file still has the last bytes that were written through
 *   the fid, or after another write through the fid. The reason is that a
 *   server may keep written data for one fid, as for a function file. A read
 *   through the new fid could then return the value of another user.
 * - Some fids end with the connection: an afid; the fids of a tree that was
 *   attached with an afid, unless the client can authenticate the user again; a
 *   file of exclusive use (QTEXCL), because another client may have opened it
 *   meanwhile; a file that was opened with ORCLOSE, because the server removes
 *   it; and a fid that wrote to a file without a version (the `vers` of its qid
 *   is 0), because the server may have kept the data for the fid.
 * - Requests for a fid that could not be made again fail with the code
 *   `ESTALE`. Only a Tclunk of such a fid succeeds.
 * - Tattach, Twalk, Tstat, Tread, and Topen without OTRUNC and ORCLOSE are
 *   repeated. Data that the server had already taken from a stream to answer a
 *   Tread are lost. A directory must be read again from its beginning.
 * - A Tclunk whose reply was lost counts as done. A Tversion is sent again; it
 *   ends all fids, so the client makes no fid again.
 * - Any other request rejects if it may have been sent, because the client
 *   cannot know whether it was done. A request that is made while there is no
 *   connection waits for the next one. The request rejects if its fid is
 *   clunked during the wait.
 * - A tag belongs to one connection. So a request whose tag the caller chose is
 *   not repeated, and does not wait for a connection.
 */
export class ReconnectingSender implements RequestSender {
  readonly #plan: ReconnectPlan;
  /** The present connection, or the last one. */
  #mux: RecoverableMux;
  /**
   * Resolves when there is a connection again, or when the client has given up.
   */
  #reconnecting: Promise<void> | undefined;
  /** Number of attempts since the last steady connection. */
  #failures = 0;
  /** When the connection was made, by `performance.now()`. */
  #since = performance.now();
  #losses = 0;
  readonly #active = new Set<ActiveRequest>();
  /**
   * The error with which all new requests reject; undefined while requests are
   * possible.
   */
  #refusal: { error: unknown } | undefined;
  /** Aborts the attempts to make a new connection. */
  readonly #ending = new AbortController();
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers();
  /**
   * The msize that the last Tversion asked for; 0 before the first session.
   */
  #msize = 0;

  constructor(mux: RecoverableMux, plan: ReconnectPlan) {
    this.#mux = mux;
    this.#plan = plan;
    this.#watch(mux);
  }

  /** Label of the peer. */
  get peer(): string {
    return this.#mux.peer;
  }

  /** Largest message, in bytes; the next connection may have another one. */
  get msize(): number {
    return this.#mux.msize;
  }

  /** How the server differs from the manual. */
  get traits(): PeerTraits {
    return this.#mux.traits;
  }

  /** The dialect that is spoken. */
  get dialect(): Dialect {
    return this.#mux.dialect;
  }

  /** The state that all calls of the client share. */
  get environment(): Environment {
    return this.#mux.environment;
  }

  /** Number of lost connections. */
  get losses(): number {
    return this.#losses;
  }

  /**
   * The error with which all new requests reject, or undefined while requests
   * are possible.
   */
  get error(): unknown {
    return this.#refusal?.error;
  }

  /** Resolves when there will be no more connections; never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The present connection, or the last one. */
  get connection(): Connection {
    return this.#mux.connection;
  }

  /** Starts another session; see {@linkcode Mux.version}. */
  async version(msize: number, reason?: unknown): Promise<void> {
    // Before the first session, a lost connection is an error.
    const isFirst = this.#msize === 0;
    this.#msize = msize;
    this.#withdraw(() => true, () => reason);
    while (true) {
      while (this.#reconnecting) await this.#reconnecting;
      if (this.#refusal) throw this.#refusal.error;
      const mux = this.#mux;
      try {
        return await mux.version(msize, reason);
      } catch (error) {
        if (isFirst || error !== mux.error || this.#refusal) throw error;
        this.#handleLoss(mux);
      }
    }
  }

  /** Sends a request and returns its reply; see {@linkcode Mux.rpc}. */
  rpc<T extends Tmessage>(
    request: T,
    signal?: AbortSignal,
    tag?: number,
  ): Promise<ReplyTo<T>> {
    const reply = this.#sendUntilDone(request, undefined, signal, tag);
    // Without a buffer, the result is the reply of the request.
    return reply as Promise<ReplyTo<T>>;
  }

  /** Reads into a buffer; see {@linkcode Mux.read}. */
  read(
    fid: number,
    offset: number,
    into: Uint8Array,
    signal?: AbortSignal,
  ): Promise<number> {
    const request = treadFor(fid, offset, into);
    // With a buffer, the result is the count.
    return this.#sendUntilDone(request, into, signal) as Promise<number>;
  }

  /** Cancels the request with a tag; see {@linkcode Mux.flush}. */
  async flush(oldtag: number, reason: unknown): Promise<void> {
    if (this.#refusal) throw this.#refusal.error;
    const mux = this.#mux;
    try {
      // A request whose tag the caller chose ends with its connection.
      if (mux.error === undefined) await mux.flush(oldtag, reason);
    } catch (error) {
      if (error !== mux.error || this.#refusal) throw error;
    }
  }

  /** Cancels all requests for a fid; see {@linkcode Mux.flushFid}. */
  flushFid(fid: number, reason: () => unknown): void {
    this.#withdraw((request) => isCancelledWithFid(request, fid), reason);
    this.#mux.flushFid(fid, reason);
  }

  /** Cancels all requests except Tclunks; see {@linkcode Mux.cancelAll}. */
  cancelAll(error: unknown): boolean {
    this.#withdraw(({ type }) => type !== "Tclunk", () => error);
    return this.#mux.cancelAll(error);
  }

  /** The aborted requests; see {@linkcode Mux.abortedRequests}. */
  abortedRequests(): readonly AbortedRequest[] {
    return this.#mux.abortedRequests();
  }

  /** Refuses new requests. Requests that were sent continue. */
  seal(error: unknown): void {
    this.#refusal ??= { error };
    if (this.#reconnecting) this.#ending.abort(error);
    else this.#mux.seal(error);
  }

  /**
   * Ends the connection and all attempts. All pending requests reject with
   * `error`.
   */
  fail(error: unknown): void {
    this.#refusal ??= { error };
    this.#ending.abort(error);
    this.#mux.fail(error);
  }

  /** Sends a request, on as many connections as needed. */
  async #sendUntilDone(
    request: Tmessage,
    into: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    tag?: number,
  ): Promise<unknown> {
    const carried: ActiveRequest = {
      request,
      refusal: undefined,
      wake: undefined,
    };
    this.#active.add(carried);
    try {
      while (true) {
        const refusal = this.#refusal ?? carried.refusal;
        if (refusal) throw refusal.error;
        const mux = this.#mux;
        if (mux.error !== undefined) this.#handleLoss(mux);
        const again = this.#reconnecting;
        if (request.type === "Tclunk" && (again || mux.isStale(request.fid))) {
          this.#forget(request.fid);
          return { type: "Rclunk", tag: 0 };
        }
        if (again) {
          if (tag !== undefined) throw noConnection(request, mux.error);
          await abortable(
            this.environment.aborts,
            signal,
            () => waitFor(carried),
          );
          continue;
        }
        mux.check(request);
        try {
          if (request.type === "Tread" && mux.isUnproven(request.fid)) {
            await mux.prove(request.fid);
          }
          const reply = await send(mux, request, into, signal, tag);
          if (request.type === "Tread" || request.type === "Twrite") {
            const count = countOf(reply);
            mux.noteMoved(request, count);
            if (request.type === "Tread" && count === 0) {
              if (mux.mayGoOn(request)) await mux.checkEnd(request);
            }
          }
          return reply;
        } catch (error) {
          if (error !== mux.error || this.#refusal) throw error;
          this.#handleLoss(mux);
          if (signal?.aborted) throw signal.reason;
          if (tag !== undefined || !isRepeatable(request)) {
            throw unknownOutcome(request, error);
          }
        }
      }
    } finally {
      this.#active.delete(carried);
    }
  }

  /**
   * Forgets a fid that ends without a Tclunk on the server. From now on, the
   * number of the fid may stand for another file.
   */
  #forget(fid: number): void {
    this.#mux.fids.delete(fid);
    this.#withdraw(
      (request) =>
        request.type === "Tremove" && request.fid === fid ||
        isCancelledWithFid(request, fid),
      () => new NinePError("fid unknown or out of range"),
    );
  }

  /**
   * Rejects the matching requests that wait for the next connection. A matching
   * request that was already sent rejects only if its connection is lost.
   */
  #withdraw(
    isMeant: (request: Tmessage) => boolean,
    reason: () => unknown,
  ): void {
    for (const carried of this.#active) {
      if (carried.refusal || !isMeant(carried.request)) continue;
      carried.refusal = { error: reason() };
      carried.wake?.();
    }
  }

  #watch(mux: RecoverableMux): void {
    mux.ended.then(() => {
      if (this.#refusal) this.#ended.resolve();
      else this.#handleLoss(mux);
    });
  }

  /**
   * Starts to reconnect because a connection is lost. Further calls for the
   * same connection do nothing.
   */
  #handleLoss(mux: RecoverableMux): void {
    if (this.#mux !== mux || this.#reconnecting) return;
    this.#losses++;
    const age = performance.now() - this.#since;
    if (age >= this.#plan.steadyAfter) this.#failures = 0;
    this.#reconnecting = this.#reconnect(mux);
  }

  /** Makes the next connection, or gives up. */
  async #reconnect(lost: RecoverableMux): Promise<void> {
    const { attempts, attemptTimeout: timeout } = this.#plan;
    const { signal } = this.#ending;
    let cause = lost.error;
    await lost.ended;
    while (!signal.aborted && this.#failures < attempts) {
      // The delay is at least one turn of the event loop, so that the requests
      // of the lost connection have rejected before the attempt begins.
      const delay = delayOf(this.#failures++, this.#plan);
      await sleep(delay, signal, this.environment.refs);
      try {
        await bounded(
          { timeout, environment: this.environment },
          () => `connect to "${this.peer}"`,
          { signal },
          // bounded() passes a signal, because it was given one.
          (both = signal) => this.#restore(lost, both),
        );
        return;
      } catch (error) {
        cause = error;
        if (isPermanent(error)) break;
      }
    }
    this.#refusal ??= { error: lostForGood(this.peer, cause) };
    this.#resumeWaiting();
    this.#ended.resolve();
  }

  /** Wakes the requests that wait for a connection. */
  #resumeWaiting(): void {
    this.#reconnecting = undefined;
    for (const carried of this.#active) carried.wake?.();
  }

  /**
   * Makes a connection with the fids of the lost one, and uses it from then on.
   */
  async #restore(lost: RecoverableMux, signal: AbortSignal): Promise<void> {
    const mux = await this.#plan.open(signal);
    const onAbort = () => mux.fail(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      signal.throwIfAborted();
      await mux.version(this.#msize);
      const fids = new Restoration(mux, lost, this.#plan);
      await fids.run();
      for (let swept = fids.sweep(); swept; swept = fids.sweep()) await swept;
      if (mux.error !== undefined) throw mux.error;
      signal.throwIfAborted();
      fids.finish();
      // The last sweep and this line run in the same turn, so that no clunk is
      // missed.
      this.#mux = mux;
      this.#since = performance.now();
      this.#resumeWaiting();
      this.#watch(mux);
    } catch (error) {
      mux.fail(error);
      await mux.ended;
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

/**
 * Waits for the next connection, or until the request is refused. A request
 * that is aborted during the wait keeps no memory, because an outage may be
 * long and a program may retry many times.
 */
function waitFor(carried: ActiveRequest): Promise<void> {
  return new Promise((resolve) => carried.wake = resolve);
}

/**
 * Sends a request. A Tread or Twrite is shortened to the msize of this
 * connection, because the request may have been made for a connection with a
 * larger one.
 */
function send(
  mux: RecoverableMux,
  request: Tmessage,
  into: Uint8Array | undefined,
  signal: AbortSignal | undefined,
  tag: number | undefined,
): Promise<unknown> {
  if (request.type === "Tread") {
    const { fid, offset } = request;
    const count = Math.min(request.count, mux.limitOf(fid));
    if (into) {
      return mux.read(fid, Number(offset), into.subarray(0, count), signal);
    }
    return mux.rpc({ ...request, count }, signal, tag);
  }
  if (request.type === "Twrite") {
    const data = request.data.subarray(0, mux.limitOf(request.fid));
    return mux.rpc({ ...request, data }, signal, tag);
  }
  return mux.rpc(request, signal, tag);
}

/** Returns the number of bytes that a Tread or Twrite has moved. */
function countOf(reply: unknown): number {
  if (typeof reply === "number") return reply; // The count of a read into a buffer.
  const moved = reply as Rread | Rwrite; // Checked against the request.
  return moved.type === "Rread" ? moved.data.length : moved.count;
}

function unknownOutcome({ type }: Tmessage, cause: unknown): ProtocolError {
  return new ProtocolError(
    `Cannot repeat ${type}, which may have been done: ${messageOf(cause)}`,
    { cause, code: systemCodeOf(cause) },
  );
}

function noConnection({ type }: Tmessage, cause: unknown): ProtocolError {
  return new ProtocolError(
    `Cannot send ${type} with a tag of its own: ${messageOf(cause)}`,
    { cause, code: systemCodeOf(cause) },
  );
}

function lostForGood(peer: string, cause: unknown): ProtocolError {
  return new ProtocolError(
    `Cannot reconnect to "${peer}": ${messageOf(cause)}`,
    { cause, code: systemCodeOf(cause) },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Waits for some milliseconds, or until the signal aborts. */
function sleep(
  milliseconds: number,
  signal: AbortSignal,
  refs: RefGroup,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      refs.cancel(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = refs.after(milliseconds, done);
    signal.addEventListener("abort", done, { once: true });
  });
}
