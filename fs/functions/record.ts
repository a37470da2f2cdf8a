// Records of calls: the text of the arguments, then the value or the error of
// the call. A function file keeps records for its fids, and for itself.

import { FunctionError, Plan9Exit } from "../../codec.ts";
import type { RequestContext } from "../../server.ts";
import type { Room } from "../memory/quota.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** A call that several reads may wait for. */
export interface SharedCall {
  readonly promise: Promise<Uint8Array>;
  readonly abort: AbortController;
  waiting: number;
}

/** The user and the connection for which a function is called. */
export type Caller = Pick<
  RequestContext,
  "uname" | "fid" | "peer" | "connection"
>;

/** A room that holds a record: the bytes of the record count in this room. */
interface Holder {
  /** Number of reasons for which the room holds the record. */
  reasons: number;
  /**
   * Called when the room has no place for the value, so that it holds the
   * record no more.
   */
  readonly lose: (() => void) | undefined;
}

/**
 * The text of the arguments, then the value or the error of the call. The
 * function is called with the text at most once, whichever fid reads.
 */
export class CallRecord {
  /** The caller: the fid that wrote the text, and its user. */
  readonly caller: Caller;
  /** Offset that the first byte of the text was written at. */
  readonly #start: number;
  /** The call that is under way. */
  call: SharedCall | undefined = undefined;
  /** True when the call has ended, or when the text is complete. */
  done = false;
  #text: Uint8Array;
  /**
   * Buffer that begins with the text, so that adding a piece does not copy the
   * text.
   */
  #room: Uint8Array = NO_BYTES;
  #value: Uint8Array | undefined = undefined;
  #error: unknown = undefined;
  /**
   * The holders by their rooms: fids, each for up to two reasons, and the file.
   * Any number of fids may read a record.
   */
  readonly #holders: Map<Room, Holder> = new Map();

  constructor(
    caller: Caller,
    text: Uint8Array,
    start = 0,
  ) {
    this.caller = caller;
    this.#text = text;
    this.#start = start;
  }

  /** Arguments, until they are used. */
  get text(): Uint8Array {
    return this.#text;
  }

  /** Offset behind the text: a write there adds to the text. */
  get end(): number {
    return this.#start + this.#text.length;
  }

  /** True when the function was called with the text, or is being called. */
  get isUsed(): boolean {
    return this.done || this.call !== undefined;
  }

  /** Adds to the arguments. */
  append(data: Uint8Array): void {
    const { length } = this.#text;
    const end = length + data.length;
    if (end > this.#room.length) {
      const room = Math.max(end, 2 * length);
      this.#count(room - (this.#room.length || length));
      this.#room = new Uint8Array(room);
      this.#room.set(this.#text);
    }
    this.#room.set(data, length);
    this.#text = this.#room.subarray(0, end);
  }

  /** Value of the call. */
  get value(): Uint8Array | undefined {
    return this.#value;
  }

  /** Error of the call. */
  get error(): unknown {
    return this.#error;
  }

  /**
   * Sets the value of the call.
   *
   * @throws {NinePError} The room of the writing fid, or that of the file, has
   *   no place for the value. Fids that only read then lose the record.
   */
  succeed(value: Uint8Array): void {
    this.#count(value.length - this.#size);
    this.#text = this.#room = NO_BYTES;
    this.#value = value;
    this.#end();
  }

  /** Sets the error of the call. */
  fail(error: unknown): void {
    this.#count(-this.#size);
    this.#text = this.#room = NO_BYTES;
    this.#error = forOthers(error);
    this.#end();
  }

  #end(): void {
    this.done = true;
    this.call = undefined;
  }

  /**
   * Counts the bytes of the record in a room. Several reasons of one room count
   * once.
   *
   * @param lose Called when the room has no place for the value. Given by a fid
   *   that only reads, whose room must not decide whether others get the value.
   */
  hold(room: Room, lose?: () => void): void {
    const holder = this.#holders.get(room);
    if (holder !== undefined) {
      holder.reasons++;
      return;
    }
    room.take(this.#size);
    this.#holders.set(room, { reasons: 1, lose });
  }

  /** Stops counting the bytes that hold() counts. */
  drop(room: Room): void {
    const holder = this.#holders.get(room);
    if (holder === undefined || --holder.reasons > 0) return;
    this.#holders.delete(room);
    room.take(-this.#size);
  }

  get #size(): number {
    const text = this.#room.length || this.#text.length;
    return text + (this.#value?.length ?? 0);
  }

  /**
   * Counts bytes in all rooms. If one of them has no room, throws and counts
   * nothing. Readers without room lose the record instead.
   */
  #count(bytes: number): void {
    const counted: Room[] = [];
    const losing: Room[] = [];
    try {
      for (const [room, { lose }] of this.#holders) {
        const isCounted = tryTake(room, bytes, lose !== undefined);
        (isCounted ? counted : losing).push(room);
      }
    } catch (error) {
      for (const room of counted) room.take(-bytes);
      throw error;
    }
    for (const room of losing) {
      const holder = this.#holders.get(room);
      this.#holders.delete(room);
      room.take(-this.#size);
      holder?.lose?.();
    }
  }
}

/**
 * Takes room for bytes. If there is none, returns false where that is allowed,
 * or else throws.
 */
function tryTake(room: Room, bytes: number, mayFail: boolean): boolean {
  try {
    room.take(bytes);
    return true;
  } catch (error) {
    if (!mayFail) throw error;
    return false;
  }
}

/**
 * Returns the error for requests that did not make the call. An exit error ends
 * only the connection of its caller.
 */
export function forOthers(error: unknown): unknown {
  return error instanceof Plan9Exit ? new FunctionError(error) : error;
}
