// Decides which requests of a session may begin. A request may have to wait for
// its fid, or for memory for its reply. The memory of requests is also counted
// here.

import { NinePError } from "../../codec.ts";
import type { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
import type { FidState } from "../fids/fid_state.ts";
import type { SessionSettings } from "../options.ts";
import type { Operation } from "../requests/operation.ts";
import type { Input } from "../session/input.ts";
import { ReplyRoom, type ReplyRoomInit } from "./reply_room.ts";
import { TimeSlice } from "./time_slice.ts";

/**
 * Maximum of operations that hold a view of a read buffer. The data of further
 * operations are copied.
 */
const VIEWS_MAX = 16;
/** Bytes of the objects of one operation. */
const OBJECT_BYTES = 1024;
/**
 * Maximum of bytes of a frame that is accepted while longer frames are refused.
 */
const SMALL_FRAME = 512;

/** The parts of the session that an Admission uses. */
export interface AdmissionInit<N extends FidNode> extends ReplyRoomInit {
  /** The read buffers, which contain the data of operations. */
  readonly input: Input;
  /** Called when there may be memory for further requests. */
  readonly onRoom: () => void;
  /**
   * Releases a fid that is out of the table and that no operation uses any
   * more.
   */
  readonly release: (fid: FidState<N>) => void;
}

/**
 * Decides which operations of a session may begin, and holds the pending
 * operations.
 */
export class Admission<N extends FidNode> {
  /** The operations that are not answered, by tag. */
  readonly pending: Map<number, Operation<N>> = new Map();
  /**
   * True while clear() cancels all operations. No waiting operation may begin
   * then.
   */
  clearing = false;
  /**
   * Number of operations that have ended since the session began. An unchanged
   * number means no progress.
   */
  ended = 0;

  /**
   * Operations that wait for their fid or for memory, by fid, in order of
   * arrival.
   */
  readonly #waiting: Map<FidState<N>, Set<Operation<N>>> = new Map();
  readonly #settings: SessionSettings;
  readonly #input: Input;
  readonly #memory: Budget;
  readonly #onRoom: () => void;
  readonly #release: (fid: FidState<N>) => void;
  /** Number of abandoned operations whose handlers have not ended. */
  #abandoned = 0;
  /**
   * Bytes of the messages that handlers still use, without data that are in the
   * read buffer.
   */
  #counted = 0;
  /** Bytes that are charged for operations. */
  #charged = 0;
  /** True while frames above SMALL_FRAME are refused. */
  #refusing = false;
  /** Number of operations whose handlers still use views of the read buffer. */
  #views = 0;
  /** The memory for the replies of operations. */
  readonly #room: ReplyRoom<N>;
  /**
   * Fids whose first waiting operation waits for memory for its reply, in order
   * of arrival.
   */
  readonly #awaitingRoom: Set<FidState<N>> = new Set();
  /**
   * Fids whose waiting operations may begin, because another operation has
   * ended.
   */
  readonly #toWake: FidState<N>[] = [];
  /** Number of fids at the head of the list that are already handled. */
  #woken = 0;
  /** Limits the time in which waiting operations begin one after the other. */
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
   * True when the requests exceed `maxRequestBytes`. The server must then not
   * read further requests.
   */
  get isFull(): boolean {
    return this.#counted > this.#settings.maxRequestBytes && !this.#refusing;
  }

  /**
   * Refuses long requests until the requests are below `maxRequestBytes` again.
   * The server can then continue to read.
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
    // A request that ends its fid is never refused, because the fid ends
    // whatever the reply is. The number of tags limits the number of these
    // requests.
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

  /** Begins an operation, or makes it wait for its fid or for memory. */
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

  /** True when operations wait for a fid. */
  #isAwaited(fid: FidState<N>): boolean {
    return this.#waiting.size > 0 && this.#waiting.has(fid);
  }

  /** Removes a cancelled operation from the waiting operations. */
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
   * Adds an operation to the pending operations. `viewed` is the size of the
   * read buffer that its view keeps in memory.
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
   * True when there is no memory for the reply of a new operation, or when
   * earlier operations already wait for such memory.
   */
  #mustWaitForRoom(operation: Operation<N>): boolean {
    return (this.#awaitingRoom.size > 0 && operation.request.replyMax > 0) ||
      this.#room.lacks(operation);
  }

  /** True when there is memory for a late reply of `bytes` bytes. */
  hasRoom(operation: Operation<N>, bytes: number): boolean {
    return this.#room.has(operation, bytes);
  }

  /** Frees an operation's tag, once. */
  forget(operation: Operation<N>): void {
    if (!operation.enlisted) return; // Most operations are answered at once.
    // A new session may already use the tag.
    if (this.pending.get(operation.tag) === operation) {
      this.pending.delete(operation.tag);
    }
    this.ended++;
    this.#room.give(operation);
    if (!operation.abandoned) this.#freeData(operation);
    this.resume();
  }

  /**
   * Counts an operation as abandoned: it is cancelled, and its handler may
   * still use its data.
   */
  abandon(operation: Operation<N>): void {
    operation.abandoned = true;
    this.#abandoned++;
  }

  /**
   * Frees the memory of an abandoned operation, because its handler has ended.
   */
  handlerEnded(operation: Operation<N>): void {
    this.#abandoned--;
    this.ended++;
    this.#freeData(operation);
    this.resume();
  }

  /**
   * Stops counting the memory of an operation, because no handler uses its data
   * any more.
   */
  #freeData(operation: Operation<N>): void {
    if (operation.viewing) this.#views--;
    this.#counted -= operation.counted;
    this.#charge(operation, 0);
    if (this.#counted <= this.#settings.maxRequestBytes) this.#refusing = false;
  }

  /**
   * Begins the waiting operations for which there is memory now. Called when an
   * operation has ended, and when the client has taken replies.
   */
  resume(): void {
    for (const fid of this.#awaitingRoom) {
      const first = this.#firstOf(fid); // Undefined after a flush.
      if (first !== undefined && this.#room.lacks(first)) break;
      this.#awaitingRoom.delete(fid);
      this.wake(fid);
    }
    this.#onRoom();
  }

  /** Returns the first operation that waits for a fid or for memory. */
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
    // A loop, not a recursion: a client may send a chain of requests that would
    // overflow the stack.
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
   * Begins the operations that wait for a fid and that may begin now. Returns
   * false when the time slice ends before that is done.
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
   * Cancels all operations. Memory that their handlers still use stays counted.
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
    this.#wakeAll(); // No operation waits any more; this releases the remaining fids.
  }
}
