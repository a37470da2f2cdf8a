// How a fid reads a directory: whole records, as many as a reply has room for.
// See read(9P).

import { NinePError } from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import type {
  Awaitable,
  DirEntry,
  Listing,
  RequestContext,
} from "../handler.ts";
import { EMPTY, type KeptListing, recordOf, recordsOf } from "./records.ts";

/**
 * Most bytes of a reply whose members come one by one. A longer reply would
 * keep the client waiting for the first members.
 */
const GRADUAL_MAX = 32 * 1024;

type Entries = Iterator<DirEntry> | AsyncIterator<DirEntry>;

/** A reply's room for records. */
export interface Room {
  /** Bytes that the client has asked for. */
  readonly count: number;
  /** Bytes that any reply of the session has room for. */
  readonly most: number;
}

/** A fid's way through a directory. What take() gives counts as read at commit(). */
export class DirectoryRead {
  /** Bytes that the client has read. */
  #offset = 0;
  /** The listing, while the records may be those that are kept for it. */
  #kept: WeakRef<KeptListing> | KeptListing | undefined;
  /** Index of the next record of the kept listing. */
  #index = 0;
  /** Index behind the records that were given last. */
  #next = 0;
  /** Cookie of the last record that was read from the kept listing. */
  #reached = 0;
  readonly #entries: Entries;
  readonly #isGradual: boolean;
  /** Number of entries that were taken. */
  #position = 0;
  #isOver = false;
  /** Records that are encoded, and not read. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** An entry that is on its way. It may be for a read that was given up. */
  #pendingEntry: Promise<void> | undefined;
  #error: { readonly error: unknown } | undefined;

  /** Begins to read a listing. */
  constructor(listing: Listing) {
    this.#isGradual = Symbol.asyncIterator in listing;
    if (Symbol.asyncIterator in listing) {
      this.#entries = listing[Symbol.asyncIterator]();
    } else {
      // Also where the records are kept: the members that are there now are
      // those that will be listed.
      this.#entries = listing[Symbol.iterator]();
      if (listing.isCurrent === true) this.#kept = listing;
    }
  }

  /** Gives the next records: a view that lives until the next request, none at the end. */
  take(room: Room, context: RequestContext): Awaitable<Uint8Array> {
    const { count } = room;
    if (count === 0) {
      this.#next = this.#index;
      return EMPTY;
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

  /** The listing, if nothing has changed since it was made. */
  #keptListing(): KeptListing | undefined {
    if (this.#kept === undefined) return undefined;
    const kept = this.#kept instanceof WeakRef
      ? this.#kept.deref()
      : this.#kept;
    if (kept?.isCurrent === true) return kept;
    this.#kept = undefined;
    return undefined;
  }

  /** The next record has no room: nothing is given, unless that would look like the end. */
  #tooLong(record: Uint8Array, { most }: Room): Uint8Array {
    // At the start the client would take the directory for empty; later the
    // client is about to ask again with more room.
    if (this.#offset === 0 || record.length > most) {
      throw new NinePError("Invalid argument");
    }
    return EMPTY;
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
      return EMPTY;
    }
    const data = new Uint8Array(used);
    let offset = 0;
    for (let i = 0; i < records; i++) {
      data.set(held[i], offset);
      offset += held[i].length;
    }
    return data;
  }

  /** Encodes records until there are enough for a reply, or no more. */
  #fill(count: number, context: RequestContext): Awaitable<void> {
    if (this.#isGradual) return this.#fillGradually(count, context);
    while (this.#heldBytes < count && !this.#isOver) {
      // Sound: only a gradual listing gives promises.
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

  /** Waits for one entry; never rejects, because a read may have been given up. */
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

  /** The client has the bytes that take() gave last. */
  commit(bytes: number, context: RequestContext): void {
    this.#offset += bytes;
    const kept = this.#keptListing();
    if (kept !== undefined) {
      const records = recordsOf(kept);
      this.#index = this.#next;
      this.#reached = records.cookieBefore(this.#index);
      const isOver = records.isOver(this.#index, context);
      if (isOver) this.#isOver = true;
      // A listing that has changed is not kept for fids that may never read on.
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

  /** Ends the reading. Errors of the directory's own cleaning up are reported. */
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
