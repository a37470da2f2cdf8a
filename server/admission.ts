// Which requests of a session may begin, and what the others wait for: their
// fid, or room for what they are to be answered with. What all of them cost.

import { NinePError } from "../codec.ts";
import type { RefGroup, Timer } from "../transport/ref_group.ts";
import type { Outbox } from "../transport/outbox.ts";
import type { Budget } from "./budget.ts";
import type { FidState, Node } from "./fid.ts";
import type { Input } from "./input.ts";
import type { Operation } from "./operation.ts";
import type { SessionSettings } from "./options.ts";
import { TimeSlice } from "./time_slice.ts";

/** Operations that hold a view of a read buffer; further ones get a copy. */
const VIEWS_MAX = 16;
/** Memory of the objects that an operation is made of. */
const OBJECTS = 1024;
/** A frame of at most so many bytes is taken while longer ones are refused. */
const SMALL = 512;

/** What the admission of a session works with. */
export interface AdmissionInit<N extends Node> {
  /** The limits. */
  readonly settings: SessionSettings;
  /** Where the data of operations stand. */
  readonly input: Input;
  /** Where their replies go. */
  readonly outbox: Outbox;
  /** Memory that all connections of the server may hold. */
  readonly memory: Budget;
  /** Has the timer. */
  readonly refs: RefGroup;
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
  /** Operations that have ended since the session began: grows with progress. */
  ended = 0;

  readonly #settings: SessionSettings;
  readonly #input: Input;
  readonly #outbox: Outbox;
  readonly #memory: Budget;
  readonly #refs: RefGroup;
  readonly #onRoom: () => void;
  readonly #release: (fid: FidState<N>) => void;
  /** Operations that were given up, whose handlers do not know it. */
  #abandoned = 0;
  /** Bytes of the messages of operations, less data in the read buffer, until nothing works with them. */
  #counted = 0;
  /** Memory that is charged for operations. */
  #charged = 0;
  /** Longer frames are refused until there is room for them again. */
  #refusing = false;
  /** Operations that hold views of the read buffer, until nothing works with those. */
  #views = 0;
  /** Bytes that operations which have begun lately may be answered with. */
  #owed = 0;
  /** Those operations. */
  readonly #owing: Set<Operation<N>> = new Set();
  /** Fids whose first waiting operation waits for room in the replies, in order of arrival. */
  readonly #short: Set<FidState<N>> = new Set();
  /** Runs while room is kept for answers. */
  #lapseTimer: Timer | undefined;
  /** How often that timer has run. */
  #round = 0;
  /** Fids that were given back, whose waiting operations may begin. */
  readonly #toWake: FidState<N>[] = [];
  /** How many of them were seen to. */
  #woken = 0;
  /** Many may wait for one fid, and begin at once. */
  readonly #slice = new TimeSlice();

  constructor(init: AdmissionInit<N>) {
    this.#settings = init.settings;
    this.#input = init.input;
    this.#outbox = init.outbox;
    this.#memory = init.memory;
    this.#refs = init.refs;
    this.#onRoom = init.onRoom;
    this.#release = init.release;
  }

  /** Whether requests hold as many bytes as they may, and no further is to be read. */
  get isFull(): boolean {
    return this.#counted > this.#settings.maxRequestBytes && !this.#refusing;
  }

  /** Has long requests refused, so that reading can go on, until there is room again. */
  refuse(): void {
    if (this.isFull) this.#refusing = true;
  }

  /** Begins an operation, has it wait, or refuses it. */
  start(operation: Operation<N>): void {
    const active = this.pending.size + this.#abandoned;
    if (
      active >= this.#settings.maxRequests || this.#refusing ||
      this.#memory.isFull
    ) {
      const error = this.#refusal(operation, active);
      if (error !== undefined) return operation.refuse(error);
    }
    this.#admit(operation);
  }

  /** Why an operation may not begin; undefined when it may. */
  #refusal(
    { request, size }: Operation<N>,
    active: number,
  ): NinePError | undefined {
    // The client takes the fid for gone, whatever the answer. There cannot be
    // more of these than tags.
    if (request.endsFid) return undefined;
    if (active >= this.#settings.maxRequests) {
      return new NinePError("Too many open files");
    }
    // A connection may always have requests of the size of one message.
    const isOver = this.#refusing
      ? size > SMALL
      : this.#charged > this.#settings.msize;
    return isOver ? new NinePError("Cannot allocate memory") : undefined;
  }

  /** Begins an operation, unless it must wait for its fid, or for room. */
  #admit(operation: Operation<N>): void {
    const { fid } = operation;
    if (
      !operation.isFree || (fid.waiting !== undefined && fid.waiting.size > 0)
    ) {
      this.#wait(operation);
    } else if (this.#mustWaitForRoom(operation)) {
      this.#wait(operation);
      this.#short.add(fid);
    } else {
      if (this.#views >= VIEWS_MAX && operation.request.held > 0) {
        this.#keep(operation);
      }
      this.#begin(operation);
    }
  }

  #wait(operation: Operation<N>): void {
    this.#keep(operation);
    (operation.fid.waiting ??= new Set()).add(operation);
  }

  /** Has an operation own its data. */
  #keep(operation: Operation<N>): void {
    operation.request.own();
    this.#enlist(operation, 0);
  }

  /** Counts an operation among those that are not answered, with the bytes of a read buffer that it holds. */
  #enlist(operation: Operation<N>, viewed: number): void {
    operation.enlisted = true;
    this.pending.set(operation.tag, operation);
    const bytes = operation.size - operation.request.held;
    this.#counted += bytes - operation.counted;
    operation.counted = bytes;
    this.#charge(operation, bytes + viewed + OBJECTS);
  }

  #charge(operation: Operation<N>, bytes: number): void {
    const more = bytes - operation.charged;
    operation.charged = bytes;
    this.#charged += more;
    this.#memory.charge(more);
  }

  #begin(operation: Operation<N>): void {
    operation.begin();
    if (operation.settled) return;
    const isViewing = operation.request.held > 0;
    this.#enlist(operation, isViewing ? this.#input.bufferSize : 0);
    const { replyMax } = operation.request;
    if (replyMax > 0) this.#keepRoom(operation, replyMax);
    if (isViewing) {
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
    // No reply is longer than msize.
    if (owed + msize <= maxReplyBytes && !this.#memory.lacks(msize)) {
      return false;
    }
    const { replyMax } = request;
    // One alone may be larger than the limit, or it could never begin.
    if (replyMax === 0 || owed === 0) return false;
    const most = this.#memory.lacks(replyMax) ? msize : maxReplyBytes;
    return owed + replyMax > most;
  }

  /** Keeps room for the answer of an operation that has begun. */
  #keepRoom(operation: Operation<N>, bytes: number): void {
    operation.owed = bytes;
    operation.round = this.#round;
    this.#owed += bytes;
    this.#memory.reserve(bytes);
    this.#owing.add(operation);
    this.#watchOwing();
  }

  /** Gives the room for an answer back that was kept. */
  #giveRoom(operation: Operation<N>): void {
    if (operation.owed === 0) return;
    this.#owed -= operation.owed;
    this.#memory.reserve(-operation.owed);
    operation.owed = 0;
    this.#owing.delete(operation);
  }

  /** Sees to it that room is kept for those that work, not for those that wait for an event. */
  #watchOwing(): void {
    this.#lapseTimer ??= this.#refs.after(
      this.#settings.waitingAfter,
      () => this.#lapse(),
    );
  }

  /** Keeps no room any more for operations that have begun before the timer did. */
  #lapse(): void {
    this.#lapseTimer = undefined;
    for (const operation of this.#owing) {
      if (operation.round < this.#round) this.#giveRoom(operation);
    }
    this.#round++;
    if (this.#owing.size > 0) this.#watchOwing();
    this.goOn();
  }

  /**
   * Whether a late answer of so many bytes has room: what was kept for it, or
   * what there is when it comes.
   */
  hasRoom(operation: Operation<N>, bytes: number): boolean {
    // The pump bounds what is answered at once.
    if (!operation.enlisted || operation.owed >= bytes) return true;
    const { untaken } = this.#outbox;
    return untaken === 0 || !(this.#memory.lacks(bytes) ||
      untaken + bytes > this.#settings.maxReplyBytes);
  }

  /** Frees an operation's tag, once. */
  forget(operation: Operation<N>): void {
    if (!operation.enlisted) return; // Nearly all were answered at once.
    // The tag may be one of the next session's by now.
    if (this.pending.get(operation.tag) === operation) {
      this.pending.delete(operation.tag);
    }
    this.ended++;
    this.#giveRoom(operation);
    if (!operation.abandoned) this.#freeData(operation);
    this.goOn();
  }

  /** An operation is given up while its handler goes on, which may hold the data. */
  abandon(operation: Operation<N>): void {
    operation.abandoned = true;
    this.#abandoned++;
  }

  /** The handler of an operation that was given up has ended. */
  handlerEnded(operation: Operation<N>): void {
    this.#abandoned--;
    this.ended++;
    this.#freeData(operation);
    this.goOn();
  }

  /** Nothing works with an operation's data any more. */
  #freeData(operation: Operation<N>): void {
    if (operation.viewing) this.#views--;
    this.#counted -= operation.counted;
    this.#charge(operation, 0);
    if (this.#counted <= this.#settings.maxRequestBytes) this.#refusing = false;
  }

  /** There may be room for operations that wait: one is done, or the client has taken replies. */
  goOn(): void {
    for (const fid of this.#short) {
      const first = firstOf(fid); // None when it was flushed.
      if (first !== undefined && this.#lacksRoom(first)) break;
      this.#short.delete(fid);
      this.wake(fid);
    }
    this.#onRoom();
  }

  /** A fid has one user less: those that wait for it may go on. */
  wake(fid: FidState<N>): void {
    const waits = fid.waiting !== undefined && fid.waiting.size > 0;
    if (this.clearing || !(waits || fid.gone)) return;
    // One after the other, not one within the other: a client may make a
    // chain of requests that is longer than the stack is deep.
    this.#toWake.push(fid);
    if (this.#toWake.length === 1) this.#wakeAll();
  }

  #wakeAll(): void {
    this.#slice.begin();
    while (this.#woken < this.#toWake.length) {
      if (!this.#beginWaiting(this.#toWake[this.#woken])) {
        void this.#slice.next().then(() => this.#wakeAll());
        return;
      }
      this.#woken++;
    }
    this.#toWake.length = this.#woken = 0;
  }

  /** Begins what waits for a fid and may begin; false when the turn is over before. */
  #beginWaiting(fid: FidState<N>): boolean {
    const { waiting } = fid;
    if (waiting !== undefined) {
      for (const operation of waiting) {
        if (!operation.isFree) break;
        if (this.#lacksRoom(operation)) {
          this.#short.add(fid);
          break;
        }
        waiting.delete(operation);
        this.#begin(operation);
        if (this.#slice.isOver(operation.size)) return false;
      }
    }
    if (fid.gone && fid.born && fid.active === 0) this.#release(fid);
    return true;
  }

  /** Gives all operations up; what their handlers hold goes on to count. */
  clear(): void {
    const operations = [...this.pending.values()];
    this.pending.clear();
    this.#short.clear();
    this.#refs.cancel(this.#lapseTimer);
    this.#lapseTimer = undefined;
    this.clearing = true;
    for (const operation of operations) {
      this.#giveRoom(operation);
      operation.drop();
    }
    this.clearing = false;
    this.#wakeAll(); // Nothing waits any more.
  }
}

/** The operation that waits for a fid, or for room, at its head. */
function firstOf<N extends Node>(fid: FidState<N>): Operation<N> | undefined {
  for (const operation of fid.waiting ?? []) return operation;
  return undefined;
}
