// The room that a session keeps for the answers of operations under way.

import type { Outbox } from "../../transport/outbox.ts";
import type { RefGroup, Timer } from "../../transport/ref_group.ts";
import type { Budget } from "../budget.ts";
import type { Node } from "../fid.ts";
import type { SessionSettings } from "../options.ts";
import type { Operation } from "../requests/operation.ts";

/** What a ReplyRoom needs. */
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
 * Keeps room for the largest answer of each operation, until the operation
 * counts as one that waits for an event.
 */
export class ReplyRoom<N extends Node> {
  readonly #settings: SessionSettings;
  readonly #outbox: Outbox;
  readonly #memory: Budget;
  readonly #refs: RefGroup;
  readonly #onRoom: () => void;
  /** Bytes that are kept free for the answers of operations. */
  #reserved = 0;
  /** The operations that room is kept for. */
  readonly #holders: Set<Operation<N>> = new Set();
  /**
   * The timer after which an operation counts as waiting for an event; it runs
   * while room is kept.
   */
  #timer: Timer | undefined;
  /** Number of times that the timer has fired. */
  #round = 0;

  /**
   * @param init The parts of the session that are needed.
   * @param onRoom Called when room is given back by the timer.
   */
  constructor(init: ReplyRoomInit, onRoom: () => void) {
    this.#settings = init.settings;
    this.#outbox = init.outbox;
    this.#memory = init.memory;
    this.#refs = init.refs;
    this.#onRoom = onRoom;
  }

  /**
   * Whether the answer of an operation may exceed the room for replies. Replies
   * that the client has not taken count, and so do the largest answers of the
   * operations under way.
   */
  lacks({ request }: Operation<N>): boolean {
    const { msize, maxReplyBytes } = this.#settings;
    const memory = this.#memory;
    const owed = this.#reserved + this.#outbox.untaken;
    // No reply is longer than msize.
    if (owed + msize <= maxReplyBytes && !memory.lacks(msize)) return false;
    const { replyMax } = request;
    // One alone may be larger than the limit, or it could never begin.
    if (replyMax === 0 || owed === 0) return false;
    const most = memory.lacks(replyMax) ? msize : maxReplyBytes;
    return owed + replyMax > most;
  }

  /** Keeps room for the answer of an operation that begins. */
  reserve(operation: Operation<N>, bytes: number): void {
    operation.reserved = bytes;
    operation.round = this.#round;
    this.#reserved += bytes;
    this.#memory.reserve(bytes);
    this.#holders.add(operation);
    this.#watch();
  }

  /** Gives back the room that was kept for the answer of an operation. */
  give(operation: Operation<N>): void {
    if (operation.reserved === 0) return;
    this.#reserved -= operation.reserved;
    this.#memory.reserve(-operation.reserved);
    operation.reserved = 0;
    this.#holders.delete(operation);
  }

  /**
   * Starts the timer after which no room is kept for operations that wait for
   * an event.
   */
  #watch(): void {
    const { waitingAfter } = this.#settings;
    this.#timer ??= this.#refs.after(waitingAfter, () => this.#lapse());
  }

  /** Gives back the room of operations that began before the timer did. */
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
   * Whether a late answer of so many bytes has room: the room that was kept for
   * it, or the room that is left.
   */
  has(operation: Operation<N>, bytes: number): boolean {
    // The pump bounds the answers that handlers give at once.
    if (!operation.enlisted || operation.reserved >= bytes) return true;
    const { untaken } = this.#outbox;
    return untaken === 0 || !(this.#memory.lacks(bytes) ||
      untaken + bytes > this.#settings.maxReplyBytes);
  }

  /** Stops the timer, when the operations of the session are given up. */
  stop(): void {
    this.#refs.cancel(this.#timer);
    this.#timer = undefined;
  }
}
