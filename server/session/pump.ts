// Reads what a client sends, frame by frame, and bounds how far it reads ahead
// of the replies.

import type { Reader } from "../../codec/wire.ts";
import type { Outbox } from "../../transport/outbox.ts";
import type { RefGroup } from "../../transport/ref_group.ts";
import type { Admission } from "../admission/admission.ts";
import { TimeSlice } from "../admission/time_slice.ts";
import type { Node } from "../fid.ts";
import type { SessionSettings } from "../options.ts";
import type { Condition } from "../timeouts/condition.ts";
import type { Background } from "./background.ts";
import type { Input } from "./input.ts";
import type { Lifetime } from "./lifetime.ts";
import type { Negotiation } from "./negotiation.ts";

/** Bytes of replies that may wait while requests are processed. */
const OUTPUT_MAX = 512 * 1024;
/**
 * Number of requests of one chunk that are answered with one write. When a
 * client sends more requests than these at a time, the client and the server
 * would wait for each other in turn; so the server sends the replies to such a
 * client in parts. On two CPUs that is 30 to 50 % more requests a second with
 * 32 in flight; on one CPU it is 30 % less, because each write costs both.
 */
const REQUESTS_PER_WRITE = 12;
/** Times `waitingAfter` without an answer after which long requests are refused. */
const REFUSAL_FACTOR = 20;
/** Longest delay of a timer, in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1;

/** What a Pump needs. */
export interface PumpInit<N extends Node> {
  /** The options. */
  readonly settings: SessionSettings;
  /** What the client sends. */
  readonly input: Input;
  /** The outgoing replies. */
  readonly outbox: Outbox;
  /** Whether the session goes on. */
  readonly lifetime: Lifetime;
  /** Tells when there is no room for further requests. */
  readonly admission: Admission<N>;
  /** Tells when a session has to end before the next begins. */
  readonly negotiation: Negotiation;
  /** The work of the old session. */
  readonly background: Background;
  /** Waits for room and for ends. */
  readonly condition: Condition;
  /** The group of the timers. */
  readonly refs: RefGroup;
  /** Takes one frame. */
  readonly receive: (reader: Reader) => void;
}

/** Reads the frames of a client, and passes each of them on. */
export class Pump<N extends Node> {
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
      outbox.hold();
      while (!lifetime.ended && splitter.advance()) {
        const { at, end } = splitter.reader;
        receive(splitter.reader);
        if (++processed % REQUESTS_PER_WRITE === 0 && sendsInParts) {
          outbox.flush();
        }
        if (slice.isOver(end - at)) {
          outbox.flush();
          await slice.next();
          outbox.hold();
        }
        if (outbox.size > OUTPUT_MAX) {
          outbox.flush();
          await outbox.drained();
          outbox.hold();
          slice.resume();
        }
        if (admission.isFull) {
          await this.watch(this.#untilRoom());
          outbox.hold();
          slice.resume();
        }
        if (negotiation.isWaiting) {
          await this.watch(this.#untilReleased());
          outbox.hold();
          slice.resume();
          negotiation.finish();
        }
      }
      outbox.flush();
      slice.end();
    }
  }

  /** Waits until nothing of the old session is under way, for a bounded time. */
  #untilReleased(): Promise<void> {
    const { condition, lifetime, background } = this.#init;
    return condition.within(() => lifetime.ended || background.isIdle);
  }

  /** Waits for room for requests; refuses long ones when none is answered. */
  async #untilRoom(): Promise<void> {
    const { admission, condition, lifetime, refs } = this.#init;
    const { waitingAfter } = this.#init.settings;
    const refusalDelay = Math.min(REFUSAL_FACTOR * waitingAfter, TIMEOUT_MAX);
    let { ended } = admission;
    const check = () => {
      // The remaining requests wait for an event, and a Tflush further on in
      // the stream may end that.
      if (ended === admission.ended) admission.refuse();
      ({ ended } = admission);
      timer = refs.after(refusalDelay, check);
      condition.wake();
    };
    let timer = refs.after(refusalDelay, check);
    await condition.until(() => lifetime.ended || !admission.isFull);
    refs.cancel(timer);
  }

  /** Waits for something that no byte of the client brings; ends the session when the client goes. */
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
