// Which requests of a session may begin. A request may have to wait for its
// fid, or for room for its answer. Requests are also charged for their memory
// here.

import { NinePError } from "../../codec.ts";
import type { Budget } from "../budget.ts";
import type { Node } from "../fid.ts";
import type { FidState } from "../fids/fid_state.ts";
import type { SessionSettings } from "../options.ts";
import type { Operation } from "../requests/operation.ts";
import type { Input } from "../session/input.ts";
import { ReplyRoom, type ReplyRoomInit } from "./reply_room.ts";
import { TimeSlice } from "./time_slice.ts";

/** Operations that hold a view of a read buffer; further ones get a copy. */
const VIEWS_MAX = 16;
/** Bytes of the objects of one operation. */
const OBJECT_BYTES = 1024;
/**
 * Most bytes of a frame that is still accepted while longer frames are refused.
 */
const SMALL_FRAME = 512;

/** What an Admission needs. */
export interface AdmissionInit<N extends Node> extends ReplyRoomInit {
  /** The read buffers, which hold the data of operations. */
  readonly input: Input;
  /** Called when there may be room for further requests. */
  readonly onRoom: () => void;
  /** Releases a fid that is clunked and that no operation uses any more. */
  readonly release: (fid: FidState<N>) => void;
}

/**
 * Decides which operations of a session may begin, and keeps those that are not
 * answered.
 */
export class Admission<N extends Node> {
  /** The operations that are not answered, by tag. */
  readonly pending: Map<number, Operation<N>> = new Map();
  /**
   * True while all operations are given up: no waiting operation may begin
   * then.
   */
  clearing = false;
  /**
   * Number of operations that have ended since the session began. An unchanged
   * number means no progress.
   */
  ended = 0;

  /** Operations that wait for their fid or for room, by fid, in order of arrival. */
  readonly #waiting: Map<FidState<N>, Set<Operation<N>>> = new Map();
  readonly #settings: SessionSettings;
  readonly #input: Input;
  readonly #memory: Budget;
  readonly #onRoom: () => void;
  readonly #release: (fid: FidState<N>) => void;
  /** Number of operations that were given up while their handlers go on. */
  #abandoned = 0;
  /**
   * Bytes of the messages of operations, without data that are in the read
   * buffer, until no handler uses the message any more.
   */
  #counted = 0;
  /** Bytes that are charged for operations. */
  #charged = 0;
  /** True while longer frames are refused, until there is room for them. */
  #refusing = false;
  /**
   * Number of operations that hold views of the read buffer, until no handler
   * uses the views any more.
   */
  #views = 0;
  /** The room for the answers of operations. */
  readonly #room: ReplyRoom<N>;
  /** Fids whose first waiting operation waits for room in the replies, in order of arrival. */
  readonly #awaitingRoom: Set<FidState<N>> = new Set();
  /** Fids that were given back, whose waiting operations may begin. */
  readonly #toWake: FidState<N>[] = [];
  /** Number of these fids that were handled. */
  #woken = 0;
  /**
   * The time slice for operations that waited for one fid and begin together.
   */
  readonly #slice = new TimeSlice();

  constructor(init: AdmissionInit<N>) {
    this.#settings = init.settings;
    this.#input = init.input;
    this.#memory = init.memory;
    this.#room = new ReplyRoom(init, () => this.resume());
    this.#onRoom = init.onRoom;
    this.#release = init.release;
  }

  /**
   * True when the requests hold `maxRequestBytes`: the server must not read
   * further requests.
   */
  get isFull(): boolean {
    return this.#counted > this.#settings.maxRequestBytes && !this.#refusing;
  }

  /**
   * Refuses long requests until there is room again, so that the server can go
   * on reading.
   */
  refuse(): void {
    if (this.isFull) this.#refusing = true;
  }

  /** Begins an operation, makes it wait, or refuses it. */
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

  /** Returns the reason why an operation may not begin, or undefined. */
  #refusal(
    { request, size }: Operation<N>,
    active: number,
  ): NinePError | undefined {
    // After these requests the fid is gone for the client, whatever the answer.
    // Their number is bounded by the number of tags.
    if (request.endsFid) return undefined;
    if (active >= this.#settings.maxRequests) {
      return new NinePError("Too many open files");
    }
    // A connection may always have requests of one message's size in total.
    const isOver = this.#refusing
      ? size > SMALL_FRAME
      : this.#charged > this.#settings.msize;
    return isOver ? new NinePError("Cannot allocate memory") : undefined;
  }

  /** Begins an operation, or makes it wait for its fid or for room. */
  #admit(operation: Operation<N>): void {
    const { fid } = operation;
    if (!operation.isFree || this.#isAwaited(fid)) {
      this.#wait(operation);
    } else if (this.#mustWaitForRoom(operation)) {
      this.#wait(operation);
      this.#awaitingRoom.add(fid);
    } else {
      if (this.#views >= VIEWS_MAX && operation.request.held > 0) {
        this.#copyData(operation);
      }
      this.#begin(operation);
    }
  }

  #wait(operation: Operation<N>): void {
    this.#copyData(operation);
    const { fid } = operation;
    const waiting = this.#waiting.get(fid);
    if (waiting === undefined) this.#waiting.set(fid, new Set([operation]));
    else waiting.add(operation);
  }

  /** Whether operations wait for a fid. */
  #isAwaited(fid: FidState<N>): boolean {
    return this.#waiting.size > 0 && this.#waiting.has(fid);
  }

  /** A waiting operation is given up. */
  stopWaiting(operation: Operation<N>): void {
    const { fid } = operation;
    const waiting = this.#waiting.get(fid);
    waiting?.delete(operation);
    if (waiting?.size === 0) this.#waiting.delete(fid);
  }

  /** Copies the data of an operation out of the read buffer. */
  #copyData(operation: Operation<N>): void {
    operation.request.own();
    this.#enlist(operation, 0);
  }

  /**
   * Counts an operation as not answered, with the bytes of the read buffer that
   * its view keeps in memory.
   */
  #enlist(operation: Operation<N>, viewed: number): void {
    operation.enlisted = true;
    this.pending.set(operation.tag, operation);
    const bytes = operation.size - operation.request.held;
    this.#counted += bytes - operation.counted;
    operation.counted = bytes;
    this.#charge(operation, bytes + viewed + OBJECT_BYTES);
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
    if (replyMax > 0) this.#room.reserve(operation, replyMax);
    if (isViewing) {
      this.#views++;
      operation.viewing = true;
      this.#input.hold();
    }
  }

  /**
   * True when a new operation needs room for its answer that is not there, or
   * would overtake others that wait for room.
   */
  #mustWaitForRoom(operation: Operation<N>): boolean {
    return (this.#awaitingRoom.size > 0 && operation.request.replyMax > 0) ||
      this.#room.lacks(operation);
  }

  /** Whether a late answer of so many bytes has room. */
  hasRoom(operation: Operation<N>, bytes: number): boolean {
    return this.#room.has(operation, bytes);
  }

  /** Frees an operation's tag, once. */
  forget(operation: Operation<N>): void {
    if (!operation.enlisted) return; // Nearly all were answered at once.
    // The tag may be one of the next session's by now.
    if (this.pending.get(operation.tag) === operation) {
      this.pending.delete(operation.tag);
    }
    this.ended++;
    this.#room.give(operation);
    if (!operation.abandoned) this.#freeData(operation);
    this.resume();
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
    this.resume();
  }

  /** Nothing works with an operation's data any more. */
  #freeData(operation: Operation<N>): void {
    if (operation.viewing) this.#views--;
    this.#counted -= operation.counted;
    this.#charge(operation, 0);
    if (this.#counted <= this.#settings.maxRequestBytes) this.#refusing = false;
  }

  /** There may be room for operations that wait: one is done, or the client has taken replies. */
  resume(): void {
    for (const fid of this.#awaitingRoom) {
      const first = this.#firstOf(fid); // Undefined after a flush.
      if (first !== undefined && this.#room.lacks(first)) break;
      this.#awaitingRoom.delete(fid);
      this.wake(fid);
    }
    this.#onRoom();
  }

  /** The first operation that waits for a fid, or for room. */
  #firstOf(fid: FidState<N>): Operation<N> | undefined {
    for (const operation of this.#waiting.get(fid) ?? []) return operation;
    return undefined;
  }

  /**
   * Begins operations that wait for a fid, after another operation of the fid
   * has ended.
   */
  wake(fid: FidState<N>): void {
    if (this.clearing || !(fid.gone || this.#isAwaited(fid))) return;
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

  /**
   * Begins the operations that wait for a fid, as far as they may. Returns
   * false when the time slice is over first.
   */
  #beginWaiting(fid: FidState<N>): boolean {
    const waiting = this.#waiting.get(fid);
    if (waiting !== undefined) {
      for (const operation of waiting) {
        if (!operation.isFree) break;
        if (this.#room.lacks(operation)) {
          this.#awaitingRoom.add(fid);
          break;
        }
        this.stopWaiting(operation);
        this.#begin(operation);
        if (this.#slice.isOver(operation.size)) return false;
      }
    }
    if (fid.gone && fid.bound && fid.active === 0) this.#release(fid);
    return true;
  }

  /**
   * Gives up all operations. Memory that their handlers still use stays
   * counted.
   */
  clear(): void {
    const operations = [...this.pending.values()];
    this.pending.clear();
    this.#awaitingRoom.clear();
    this.#room.stop();
    this.clearing = true;
    for (const operation of operations) {
      this.#room.give(operation);
      operation.drop();
    }
    this.clearing = false;
    this.#wakeAll(); // Nothing waits any more.
  }
}
