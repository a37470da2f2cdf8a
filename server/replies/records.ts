// The encoded records of the members of a directory. The records of a current
// listing are encoded once for all fids that read it.

import { isName } from "../../codec.ts";
import { putStat } from "../../codec/stat.ts";
import { Writer } from "../../codec/wire.ts";
import { type Attributes, statOf } from "../attributes.ts";
import type { DirEntry, RequestContext } from "../handler.ts";

/**
 * Initial size of the buffer for the records of a listing: about 100 records.
 */
const FIRST = 8192;

const single = new Writer(new Uint8Array(256));
single.what = "a stat record";

/**
 * Encodes the record of a member. Returns undefined for a member that cannot be
 * listed.
 */
export function recordOf(
  stat: Attributes,
  context: RequestContext,
): Uint8Array | undefined {
  if (!isListed(stat, context)) return undefined;
  single.at = 0;
  putStat(single, statOf(stat));
  return single.bytes.slice(0, single.at);
}

/**
 * Returns true when the name of a member is legal. A member with an illegal
 * name is reported and skipped, so that the others can be listed.
 */
function isListed({ name }: Attributes, context: RequestContext): boolean {
  if (isName(name)) return true;
  const shown = JSON.stringify(name);
  context.report(new TypeError(`Cannot list ${shown}: the name is illegal`));
  return false;
}

/** A listing that its tree may return again while it is current. */
export type KeptListing = Iterable<DirEntry> & { readonly isCurrent?: boolean };

/** The records of a listing that is current. */
export class Records {
  readonly #entries: Iterator<DirEntry>;
  readonly #writer: Writer = new Writer(new Uint8Array(FIRST));
  #length = 0;
  /** The end of each record in the buffer. */
  readonly #ends: number[] = [];
  readonly #cookies: number[] = [];
  #isComplete = false;

  constructor(listing: Iterable<DirEntry>) {
    this.#entries = listing[Symbol.iterator]();
    this.#writer.what = "a stat record";
  }

  /** True when there is no record at or after an index. */
  isOver(index: number, context: RequestContext): boolean {
    if (index === this.#ends.length) this.#encode(this.#length, context);
    return index === this.#ends.length;
  }

  /**
   * Returns the index after the records from `index` on that fit into `room`
   * bytes.
   */
  fit(index: number, room: number, context: RequestContext): number {
    const most = this.#startOf(index) + room;
    this.#encode(most, context);
    const ends = this.#ends;
    if (this.#length <= most) return ends.length;
    let next = index;
    while (ends[next] <= most) next++;
    return next;
  }

  /** Returns a view of the records from `index` up to and without `next`. */
  slice(index: number, next: number): Uint8Array {
    const { bytes } = this.#writer;
    return bytes.subarray(this.#startOf(index), this.#startOf(next));
  }

  /** Returns the cookie of the record before an index. */
  cookieBefore(index: number): number {
    return index === 0 ? 0 : this.#cookies[index - 1];
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1];
  }

  /**
   * Encodes records until they extend beyond an offset, or the listing ends.
   */
  #encode(offset: number, context: RequestContext): void {
    const writer = this.#writer;
    while (this.#length <= offset && !this.#isComplete) {
      const { done, value } = this.#entries.next();
      if (done) {
        this.#isComplete = true;
        return;
      }
      if (!isListed(value.stat, context)) continue;
      writer.at = this.#length; // Overwrites half a record if the last one failed.
      putStat(writer, statOf(value.stat));
      this.#length = writer.at;
      this.#ends.push(writer.at);
      this.#cookies.push(value.cookie ?? this.#ends.length);
    }
  }
}

/**
 * The records of each listing. Weak, so that the records are freed when the
 * tree drops the listing.
 */
const known: WeakMap<KeptListing, Records> = new WeakMap();

/**
 * Returns the records of a listing. All fids that read the listing share them.
 */
export function recordsOf(listing: KeptListing): Records {
  let records = known.get(listing);
  if (records === undefined) {
    records = new Records(listing);
    known.set(listing, records);
  }
  return records;
}
