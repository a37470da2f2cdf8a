// Reserves memory for the replies of the operations of a session.

import type { Outbox } from "../../transport/outbox.ts";
import type { RefGroup, Timer } from "../../transport/ref_group.ts";
import type { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
import type { SessionSettings } from "../options.ts";
import type { Operation } from "../requests/operation.ts";

/** The parts of the session that a ReplyRoom uses. */
export interface ReplyRoomInit {
  /** The limits. */
  readonly settings: SessionSettings;
  /** The outgoing replies. */
  readonly outbox: Outbox;
  /** The memory budget of the whole server. */
  readonly memory: Budget;
  /** The group of the timer. */
  readonly refs: RefGroup;
}

/**
 * Reserves memory for the largest possible reply of each operation. After a
 * while an operation counts as one that waits for an event, and its memory is
 * free again.
 */
export class ReplyRoom<N extends FidNode> {
  readonly #settings: SessionSettings;
  readonly #outbox: Outbox;
  readonly #memory: Budget;
  readonly #refs: RefGroup;
  readonly #onRoom: () => void;
  /** Bytes that are reserved for the replies of operations. */
  #reserved = 0;
  /** The operations for which memory is reserved. */
  readonly #holders: Set<Operation<N>> = new Set();
  /**
   * The timer after which an operation counts as waiting for an event. It runs
   * while memory is reserved.
   */
  #timer: Timer | undefined;
  /** Number of times that the timer has fired. */
  #round = 0;

  /**
   * @param init The parts of the session.
   * @param onRoom Called when the timer has freed reserved memory.
   */
  constructor(init: ReplyRoomInit, onRoom: () => void) {
    this.#settings = init.settings;
    this.#outbox = init.outbox;
    this.#memory = init.memory;
    this.#refs = init.refs;
    this.#onRoom = onRoom;
  }

  /**
   * True when the reply of an operation may exceed the memory for replies.
   * Replies that the client has not taken count, and so do the largest possible
   * replies of the operations in progress.
   */
  lacks({ request }: Operation<N>): boolean {
    const { msize, maxReplyBytes } = this.#settings;
    const memory = this.#memory;
    const owed = this.#reserved + this.#outbox.untaken;
    // No reply is longer than msize.
    if (owed + msize <= maxReplyBytes && !memory.lacks(msize)) return false;
    const { replyMax } = request;
    // A single reply may exceed the limit; otherwise its operation could never
    // begin.
    if (replyMax === 0 || owed === 0) return false;
    const most = memory.lacks(replyMax) ? msize : maxReplyBytes;
    return owed + replyMax > most;
  }

  /** Reserves memory for the reply of an operation that begins. */
  reserve(operation: Operation<N>, bytes: number): void {
    operation.reserved = bytes;
    operation.round = this.#round;
    this.#reserved += bytes;
    this.#memory.reserve(bytes);
    this.#holders.add(operation);
    this.#watch();
  }

  /** Frees the memory that is reserved for the reply of an operation. */
  give(operation: Operation<N>): void {
    if (operation.reserved === 0) return;
    this.#reserved -= operation.reserved;
    this.#memory.reserve(-operation.reserved);
    operation.reserved = 0;
    this.#holders.delete(operation);
  }

  /** Starts the timer, if it does not run. */
  #watch(): void {
    const { waitingAfter } = this.#settings;
    this.#timer ??= this.#refs.after(waitingAfter, () => this.#lapse());
  }

  /** Frees the memory of operations that began before the timer was started. */
  #lapse(): void {
    this.#timer = undefined;
    for (const operation of this.#holders) {
      if (operation.round < this.#round) this.give(operation);
    }
    this.#round++;
    if (this.#holders.size > 0) this.#watch();
    this.#onRoom();
  }

  /**
   * True when there is memory for a late reply of `bytes` bytes: the memory
   * that is reserved for it, or the memory that is left.
   */
  has(operation: Operation<N>, bytes: number): boolean {
    // The pump limits the replies of handlers that answer at once.
    if (!operation.enlisted || operation.reserved >= bytes) return true;
    const { untaken } = this.#outbox;
    return untaken === 0 || !(this.#memory.lacks(bytes) ||
      untaken + bytes > this.#settings.maxReplyBytes);
  }

  /**
   * Stops the timer. Called when all operations of the session are cancelled.
   */
  stop(): void {
    this.#refs.cancel(this.#timer);
    this.#timer = undefined;
  }
}
