// Reads a directory for a fid. Each reply contains as many whole records as
// fit. See read(9P).

import { NinePError } from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import type {
  Awaitable,
  DirEntry,
  Listing,
  RequestContext,
} from "../handler.ts";
import { type KeptListing, recordOf, recordsOf } from "./records.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/**
 * Maximum of bytes of a reply with members of an asynchronous listing. With
 * longer replies the client would wait longer for the first members.
 */
const GRADUAL_MAX = 32 * 1024;

type Entries = Iterator<DirEntry> | AsyncIterator<DirEntry>;

/** The space for records in a reply. */
export interface Room {
  /** Bytes that the client has asked for. */
  readonly count: number;
  /** Maximum of bytes of records in any reply of the session. */
  readonly most: number;
}

/**
 * The reads of a directory by one fid. take() returns the next records, and
 * commit() moves on past them.
 */
export class DirectoryRead {
  /** Bytes that the client has read. */
  #offset = 0;
  /**
   * The listing while it is current; its encoded records are shared by all
   * fids.
   */
  #kept: WeakRef<KeptListing> | KeptListing | undefined;
  /** Index of the next record of the current listing. */
  #index = 0;
  /** Index after the records that take() has returned last. */
  #next = 0;
  /** Cookie of the last record that was read from the current listing. */
  #reached = 0;
  readonly #entries: Entries;
  readonly #isGradual: boolean;
  /** Number of entries taken from the iterator. */
  #position = 0;
  #isOver = false;
  /** Encoded records that the client has not read. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** The wait for the next entry. A flushed read may have started it. */
  #pendingEntry: Promise<void> | undefined;
  #error: { readonly error: unknown } | undefined;

  /** Begins to read a listing. */
  constructor(listing: Listing) {
    this.#isGradual = Symbol.asyncIterator in listing;
    if (Symbol.asyncIterator in listing) {
      this.#entries = listing[Symbol.asyncIterator]();
    } else {
      // The iterator is made even when the shared records are used: if the
      // listing changes, the fid continues with the members of this moment.
      this.#entries = listing[Symbol.iterator]();
      if (listing.isCurrent === true) this.#kept = listing;
    }
  }

  /**
   * Returns the next records: a view that is valid until the next request, or
   * no bytes at the end.
   */
  take(room: Room, context: RequestContext): Awaitable<Uint8Array> {
    const { count } = room;
    if (count === 0) {
      this.#next = this.#index;
      return NO_BYTES;
    }
    const kept = this.#keptListing();
    if (kept !== undefined) {
      const records = recordsOf(kept);
      this.#next = records.fit(this.#index, count, context);
      const data = records.slice(this.#index, this.#next);
      if (data.length > 0 || records.isOver(this.#index, context)) return data;
      const next = records.slice(this.#index, this.#index + 1);
      return this.#tooLong(next, room);
    }
    return then(this.#fill(count, context), () => this.#joinRecords(room));
  }

  /** Returns the listing if it is still current. */
  #keptListing(): KeptListing | undefined {
    if (this.#kept === undefined) return undefined;
    const kept = this.#kept instanceof WeakRef
      ? this.#kept.deref()
      : this.#kept;
    if (kept?.isCurrent === true) return kept;
    this.#kept = undefined;
    return undefined;
  }

  /**
   * Returns no bytes, because the next record does not fit. Throws when the
   * client would take an empty reply for the end of the directory.
   */
  #tooLong(record: Uint8Array, { most }: Room): Uint8Array {
    // At offset 0 the client would take the directory for empty. Later, the
    // client reads again with a larger count.
    if (this.#offset === 0 || record.length > most) {
      throw new NinePError("Invalid argument");
    }
    return NO_BYTES;
  }

  #joinRecords(room: Room): Uint8Array {
    const held = this.#held;
    let used = 0;
    let records = 0;
    while (records < held.length && used + held[records].length <= room.count) {
      used += held[records++].length;
    }
    if (used === 0) {
      if (held.length > 0) return this.#tooLong(held[0], room);
      if (this.#error !== undefined) throw this.#error.error;
      return NO_BYTES;
    }
    const data = new Uint8Array(used);
    let offset = 0;
    for (let i = 0; i < records; i++) {
      data.set(held[i], offset);
      offset += held[i].length;
    }
    return data;
  }

  /**
   * Encodes records until there are enough for a reply, or the listing ends.
   */
  #fill(count: number, context: RequestContext): Awaitable<void> {
    if (this.#isGradual) return this.#fillGradually(count, context);
    while (this.#heldBytes < count && !this.#isOver) {
      // The cast is sound: only an asynchronous listing returns promises.
      const result = this.#entries.next() as IteratorResult<DirEntry>;
      this.#add(result, context);
    }
  }

  async #fillGradually(count: number, context: RequestContext): Promise<void> {
    const wanted = Math.min(count, GRADUAL_MAX);
    while (this.#heldBytes < wanted && !this.#isOver) {
      this.#pendingEntry ??= this.#readEntry(context);
      await this.#pendingEntry;
    }
  }

  /**
   * Waits for one entry. Never rejects, because no read may wait for the
   * promise any more.
   */
  async #readEntry(context: RequestContext): Promise<void> {
    try {
      const result = await this.#entries.next();
      this.#add(result, context);
    } catch (error) {
      this.#isOver = true;
      this.#error = { error };
    }
    this.#pendingEntry = undefined;
  }

  #add(
    { done, value }: IteratorResult<DirEntry>,
    context: RequestContext,
  ): void {
    if (done) {
      this.#isOver = true;
      return;
    }
    this.#position++;
    if ((value.cookie ?? this.#position) <= this.#reached) return;
    const record = recordOf(value.stat, context);
    if (record === undefined) return;
    this.#held.push(record);
    this.#heldBytes += record.length;
  }

  /** Moves on past the bytes that take() has returned last. */
  commit(bytes: number, context: RequestContext): void {
    this.#offset += bytes;
    const kept = this.#keptListing();
    if (kept !== undefined) {
      const records = recordsOf(kept);
      this.#index = this.#next;
      this.#reached = records.cookieBefore(this.#index);
      const isOver = records.isOver(this.#index, context);
      if (isOver) this.#isOver = true;
      // A weak reference, so that a fid that never reads again does not keep an
      // outdated listing in memory.
      this.#kept = isOver
        ? undefined
        : this.#kept instanceof WeakRef
        ? this.#kept
        : new WeakRef(kept);
      return;
    }
    let records = 0;
    for (let left = bytes; left > 0; records++) {
      left -= this.#held[records].length;
    }
    this.#held.splice(0, records);
    this.#heldBytes -= bytes;
  }

  /**
   * Ends the reads, and the iterator of the listing. Errors of the iterator are
   * reported.
   */
  close(report: (error: unknown) => void): void {
    this.#held = [];
    this.#isOver = true;
    this.#kept = undefined;
    try {
      const ended: unknown = this.#entries.return?.();
      if (ended instanceof Promise) ended.catch(report);
    } catch (error) {
      report(error);
    }
  }
}
