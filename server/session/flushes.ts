// The Tflushes of a session that wait for their requests. See flush(9P).

import { ProtocolError } from "../../codec.ts";
import type { FidNode } from "../fid.ts";
import type { Replies } from "../replies/replies.ts";
import type { Operation } from "../requests/operation.ts";

/**
 * Maximum of Tflushes that wait at a time: one for each tag. A client that
 * sends more uses one tag for several requests, which the protocol forbids.
 */
const FLUSHES_MAX = 0xffff;

/** The parts of the session that Flushes use. */
export interface FlushesInit<N extends FidNode> {
  /** The operations that are not answered, by tag. */
  readonly pending: ReadonlyMap<number, Operation<N>>;
  /** The replies. */
  readonly replies: Replies;
  /** Called when the client breaks the protocol. */
  readonly onBreach: (error: ProtocolError) => void;
  /** Label of the client's end. */
  readonly peer: string;
}

/** The Tflushes that are not answered. */
export class Flushes<N extends FidNode> {
  readonly #init: FlushesInit<N>;
  #tags: Set<number> | undefined;
  /**
   * Number of waiting Tflushes. It can exceed the size of the set, because a
   * client may use a tag twice.
   */
  #count = 0;

  constructor(init: FlushesInit<N>) {
    this.#init = init;
  }

  /** True when a waiting Tflush has this tag. */
  has(tag: number): boolean {
    return this.#tags?.has(tag) === true;
  }

  /**
   * Answers a Tflush at once, or passes it on to the operation that has
   * `oldtag`.
   */
  flush(tag: number, oldtag: number): void {
    const { pending, replies, onBreach, peer } = this.#init;
    const operation = pending.get(oldtag);
    if (operation === undefined) {
      replies.send({ type: "Rflush", tag });
    } else if (this.#count >= FLUSHES_MAX) {
      onBreach(
        new ProtocolError(
          `Connection to "${peer}" failed: more Tflushes wait than there are tags`,
        ),
      );
    } else {
      (this.#tags ??= new Set()).add(tag);
      this.#count++;
      operation.flush(tag);
    }
  }

  /** Answers Tflushes whose operation has ended. */
  answer(tags: readonly number[]): void {
    this.#count -= tags.length;
    for (const tag of tags) {
      this.#tags?.delete(tag);
      this.#init.replies.send({ type: "Rflush", tag });
    }
  }

  /** Forgets all Tflushes, because their session has ended. */
  clear(): void {
    this.#tags = undefined;
    this.#count = 0;
  }
}
