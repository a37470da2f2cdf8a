// Which requests of a session may begin, and what the others wait for: their
// turn, their fid, or room for what they are to be answered with.

import type { Outbox } from "../transport/outbox.ts";
import type { FidState, Node } from "./fid.ts";
import type { Input } from "./input.ts";
import type { Operation } from "./operation.ts";
import type { SessionSettings } from "./options.ts";

/** Requests beyond the limit that may wait, so that a Tflush behind them is seen. */
const RESERVE = 64;
/** Operations that hold a view of a read buffer; further ones get a copy. */
const VIEWS_MAX = 16;

/** What the admission of a session works with. */
export interface AdmissionInit<N extends Node> {
  /** The limits. */
  readonly settings: SessionSettings;
  /** Where the data of operations stand. */
  readonly input: Input;
  /** Where their replies go. */
  readonly outbox: Outbox;
  /** Told when there may be room for more. */
  readonly onRoom: () => void;
  /** Releases a fid that is gone, which nothing works with any more. */
  readonly release: (fid: FidState<N>) => void;
}

/** The operations of a session that are not answered. */
export class Admission<N extends Node> {
  /** All of them, by tag. */
  readonly pending: Map<number, Operation<N>> = new Map();
  /** All are being given up: none that waits may begin. */
  clearing = false;

  readonly #settings: SessionSettings;
  readonly #input: Input;
  readonly #outbox: Outbox;
  readonly #onRoom: () => void;
  readonly #release: (fid: FidState<N>) => void;
  /** Those that wait for others to be answered, in order of arrival. */
  #held: Operation<N>[] = [];
  /** Operations that were given up, whose handlers do not know it. */
  #abandoned = 0;
  /** Bytes of the messages of operations, less data in the read buffer, until nothing works with them. */
  #counted = 0;
  /** Operations that hold views of the read buffer, until nothing works with those. */
  #views = 0;
  /** Bytes that operations which have begun may be answered with. */
  #owed = 0;
  /** Fids whose first waiting operation waits for room in the replies, in order of arrival. */
  readonly #short: Set<FidState<N>> = new Set();
  /** Fids that were given back, whose waiting operations may begin. */
  readonly #toWake: FidState<N>[] = [];

  constructor(init: AdmissionInit<N>) {
    this.#settings = init.settings;
    this.#input = init.input;
    this.#outbox = init.outbox;
    this.#onRoom = init.onRoom;
    this.#release = init.release;
  }

  /** Whether as much is waiting as may. */
  get isFull(): boolean {
    return this.#held.length >= RESERVE ||
      this.#counted > this.#settings.maxRequestBytes;
  }

  /** Operations that are being processed, those included that were given up. */
  get #active(): number {
    return this.pending.size - this.#held.length + this.#abandoned;
  }

  /** Begins an operation, or has it wait. */
  start(operation: Operation<N>): void {
    if (this.#active >= this.#settings.maxRequests) {
      this.#wait(operation, this.#held);
    } else {
      this.#admit(operation);
    }
  }

  /** It is an operation's turn: now it may have to wait for its fid, or for room. */
  #admit(operation: Operation<N>): void {
    const { fid } = operation;
    if (
      !operation.isFree || (fid.waiting !== undefined && fid.waiting.length > 0)
    ) {
      this.#wait(operation, fid.waiting ??= []);
    } else if (this.#mustWaitForRoom(operation)) {
      this.#wait(operation, fid.waiting ??= []);
      this.#short.add(fid);
    } else {
      if (this.#views >= VIEWS_MAX && operation.request.held > 0) {
        this.#keep(operation);
      }
      this.#begin(operation);
    }
  }

  #wait(operation: Operation<N>, queue: Operation<N>[]): void {
    this.#keep(operation);
    queue.push(operation);
  }

  /** Has an operation own its data. */
  #keep(operation: Operation<N>): void {
    operation.request.own();
    this.#enlist(operation);
  }

  #enlist(operation: Operation<N>): void {
    operation.enlisted = true;
    this.pending.set(operation.tag, operation);
    const bytes = operation.size - operation.request.held;
    this.#counted += bytes - operation.counted;
    operation.counted = bytes;
  }

  #begin(operation: Operation<N>): void {
    operation.begin();
    if (operation.settled) return;
    this.#enlist(operation);
    this.#owed += operation.owed = operation.request.replyMax;
    if (operation.request.held > 0) {
      this.#views++;
      operation.viewing = true;
      this.#input.hold();
    }
  }

  /** Whether an operation that comes now would owe too much, or overtake others that wait for room. */
  #mustWaitForRoom(operation: Operation<N>): boolean {
    return (this.#short.size > 0 && operation.request.replyMax > 0) ||
      this.#lacksRoom(operation);
  }

  /**
   * Whether an operation might be answered with more than may be owed to the
   * client: what it has not taken, and what it is yet to be answered.
   */
  #lacksRoom({ request }: Operation<N>): boolean {
    const { msize, maxReplyBytes } = this.#settings;
    const owed = this.#owed + this.#outbox.untaken;
    if (owed + msize <= maxReplyBytes) return false; // No reply is longer.
    const { replyMax } = request;
    // One alone may be larger than the limit, or it could never begin.
    return replyMax > 0 && owed > 0 && owed + replyMax > maxReplyBytes;
  }

  /** Frees an operation's tag, once. */
  forget(operation: Operation<N>): void {
    if (!operation.enlisted) return; // Nearly all were answered at once.
    // The tag may be one of the next session's by now.
    if (this.pending.get(operation.tag) === operation) {
      this.pending.delete(operation.tag);
    }
    const held = this.#held.indexOf(operation);
    if (held >= 0) this.#held.splice(held, 1);
    this.#owed -= operation.owed;
    if (!operation.abandoned) this.#freeData(operation);
    this.goOn();
  }

  /** An operation is given up while its handler goes on, which may hold the data. */
  abandon(operation: Operation<N>): void {
    operation.abandoned = true;
    this.#abandoned++;
  }

  /** The handler of an operation that was given up has ended. */
  ended(operation: Operation<N>): void {
    this.#abandoned--;
    this.#freeData(operation);
    this.goOn();
  }

  /** Nothing works with an operation's data any more. */
  #freeData(operation: Operation<N>): void {
    if (operation.viewing) this.#views--;
    this.#counted -= operation.counted;
  }

  /** There may be room for operations that wait: one is done, or the client has taken replies. */
  goOn(): void {
    for (const fid of this.#short) {
      const first = fid.waiting?.[0]; // None when it was flushed.
      if (first !== undefined && this.#lacksRoom(first)) break;
      this.#short.delete(fid);
      this.wake(fid);
    }
    while (this.#active < this.#settings.maxRequests) {
      const operation = this.#held.shift();
      if (operation === undefined) break;
      this.#admit(operation);
    }
    this.#onRoom();
  }

  /** A fid has one user less: those who wait may go on. */
  wake(fid: FidState<N>): void {
    const waits = fid.waiting !== undefined && fid.waiting.length > 0;
    if (this.clearing || !(waits || fid.gone)) return;
    // One after the other, not one within the other: a client may make a
    // chain of requests that is longer than the stack is deep.
    this.#toWake.push(fid);
    if (this.#toWake.length > 1) return;
    for (let i = 0; i < this.#toWake.length; i++) {
      this.#beginWaiting(this.#toWake[i]);
    }
    this.#toWake.length = 0;
  }

  #beginWaiting(fid: FidState<N>): void {
    const { waiting } = fid;
    while (waiting !== undefined && waiting.length > 0) {
      const operation = waiting[0];
      if (!operation.isFree) break;
      if (this.#lacksRoom(operation)) {
        this.#short.add(fid);
        break;
      }
      waiting.shift();
      this.#begin(operation);
    }
    if (fid.gone && fid.born && fid.active === 0) this.#release(fid);
  }

  /** Gives all operations up; what their handlers hold goes on to count. */
  clear(): void {
    const operations = [...this.pending.values()];
    this.pending.clear();
    this.#held = [];
    this.#short.clear();
    this.clearing = true;
    for (const operation of operations) {
      this.#owed -= operation.owed;
      operation.owed = 0;
      operation.drop();
    }
    this.clearing = false;
  }
}
