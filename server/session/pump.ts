// Reads the frames of a client. It pauses while too many requests or replies
// wait.

import type { Reader } from "../../codec/wire.ts";
import type { Outbox } from "../../transport/outbox.ts";
import type { RefGroup } from "../../transport/ref_group.ts";
import type { Admission } from "../admission/admission.ts";
import { TimeSlice } from "../admission/time_slice.ts";
import type { FidNode } from "../fid.ts";
import type { SessionSettings } from "../options.ts";
import type { Condition } from "../timeouts/condition.ts";
import type { Background } from "./background.ts";
import type { Input } from "./input.ts";
import type { Lifetime } from "./lifetime.ts";
import type { Negotiation } from "./negotiation.ts";

/** Maximum of bytes of replies that wait while requests are processed. */
const OUTPUT_MAX = 512 * 1024;
/**
 * Number of requests of one chunk that are answered with one write. If a larger
 * chunk were answered with one write, the client and the server would wait for
 * each other in turn. On two CPUs the parts give 30 to 50 % more requests per
 * second with 32 requests in flight. On one CPU they give 30 % less, because
 * each write costs both sides.
 */
const REQUESTS_PER_WRITE = 12;
/**
 * Long requests are refused when no request was answered for this many times
 * `waitingAfter`.
 */
const REFUSAL_FACTOR = 20;
/** Longest delay of a timer, in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1;

/** The parts of the session that a Pump uses. */
export interface PumpInit<N extends FidNode> {
  /** The options. */
  readonly settings: SessionSettings;
  /** The bytes that the client sends. */
  readonly input: Input;
  /** The outgoing replies. */
  readonly outbox: Outbox;
  /** The state of the connection. */
  readonly lifetime: Lifetime;
  /** Says when the server must not read further requests. */
  readonly admission: Admission<N>;
  /** Says when a Tversion waits for the end of the old session. */
  readonly negotiation: Negotiation;
  /** The work of the old session. */
  readonly background: Background;
  /** Waits for memory, and for the end of requests and releases. */
  readonly condition: Condition;
  /** The group of the timers. */
  readonly refs: RefGroup;
  /** Processes one frame. */
  readonly receive: (reader: Reader) => void;
}

/** Reads the frames of a client, and passes each of them on. */
export class Pump<N extends FidNode> {
  readonly #init: PumpInit<N>;

  constructor(init: PumpInit<N>) {
    this.#init = init;
  }

  /** Reads until the connection or the session ends. */
  async run(): Promise<void> {
    const { input, outbox, lifetime, admission, negotiation } = this.#init;
    const { receive } = this.#init;
    const { splitter } = input;
    const slice = new TimeSlice();
    let processed = 0;
    while (!lifetime.ended) {
      const chunk = await input.read();
      if (chunk === null) {
        lifetime.clientEnded();
        break;
      }
      if (slice.begin()) await slice.next();
      input.push(chunk);
      const sendsInParts = processed > REQUESTS_PER_WRITE;
      processed = 0;
      outbox.postpone();
      while (!lifetime.ended && splitter.advance()) {
        const { at, end } = splitter.reader;
        receive(splitter.reader);
        if (++processed % REQUESTS_PER_WRITE === 0 && sendsInParts) {
          outbox.flush();
        }
        if (slice.isOver(end - at)) {
          outbox.flush();
          await slice.next();
          outbox.postpone();
        }
        if (outbox.size > OUTPUT_MAX) {
          outbox.flush();
          await outbox.drained();
          outbox.postpone();
          slice.resume();
        }
        if (admission.isFull) {
          await this.watch(this.#untilRoom());
          outbox.postpone();
          slice.resume();
        }
        if (negotiation.isWaiting) {
          await this.watch(this.#untilReleased());
          outbox.postpone();
          slice.resume();
          negotiation.finish();
        }
      }
      outbox.flush();
      slice.end();
    }
  }

  /**
   * Waits until no work of the old session is in progress, up to
   * `closeTimeout`.
   */
  #untilReleased(): Promise<void> {
    const { condition, lifetime, background } = this.#init;
    return condition.within(() => lifetime.ended || background.isIdle);
  }

  /**
   * Waits until the server may read further requests. Refuses long requests
   * when no request is answered for a while.
   */
  async #untilRoom(): Promise<void> {
    const { admission, condition, lifetime, refs } = this.#init;
    const { waitingAfter } = this.#init.settings;
    const refusalDelay = Math.min(REFUSAL_FACTOR * waitingAfter, TIMEOUT_MAX);
    let { ended } = admission;
    const check = () => {
      // All requests wait for an event. A Tflush that is not read yet may end
      // one of them, so the server must read on.
      if (ended === admission.ended) admission.refuse();
      ({ ended } = admission);
      timer = refs.after(refusalDelay, check);
      condition.wake();
    };
    let timer = refs.after(refusalDelay, check);
    await condition.until(() => lifetime.ended || !admission.isFull);
    refs.cancel(timer);
  }

  /**
   * Waits for a promise that does not depend on the bytes of the client. Ends
   * the session when the client ends the connection meanwhile.
   */
  async watch(wait: Promise<void>): Promise<void> {
    const { input, outbox, lifetime } = this.#init;
    outbox.flush();
    input.watch((error) => {
      if (error !== undefined) return lifetime.lost(error);
      lifetime.clientGone = true; // The client may still take replies.
      lifetime.end();
    });
    await wait;
    input.unwatch();
  }
}
