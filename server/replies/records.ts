// The records of a directory's members, as replies carry them. Those of a
// listing that is current are encoded once, for all fids that read it.

import { isName } from "../../codec.ts";
import { putStat } from "../../codec/stat.ts";
import { Writer } from "../../codec/wire.ts";
import { type Attributes, statOf } from "../attributes.ts";
import type { DirEntry, RequestContext } from "../handler.ts";

/** Bytes that the records of a listing have room for at first: 100 usual ones. */
const FIRST = 8192;

/** No records, or no data. */
export const EMPTY: Uint8Array = new Uint8Array(0);

const single = new Writer(new Uint8Array(256));
single.what = "a stat record";

/** Encodes the record of a member; undefined for a member that cannot be listed. */
export function recordOf(
  stat: Attributes,
  context: RequestContext,
): Uint8Array | undefined {
  if (!isListed(stat, context)) return undefined;
  single.at = 0;
  putStat(single, statOf(stat));
  return single.bytes.slice(0, single.at);
}

/** Whether a member has a name. A member without one must not hide the others. */
function isListed({ name }: Attributes, context: RequestContext): boolean {
  if (isName(name)) return true;
  const shown = JSON.stringify(name);
  context.report(new TypeError(`Cannot list ${shown}: the name is illegal`));
  return false;
}

/** A listing that its tree gives again while it is current. */
export type KeptListing = Iterable<DirEntry> & { readonly isCurrent?: boolean };

/** The records of a listing that is current. */
export class Records {
  readonly #entries: Iterator<DirEntry>;
  readonly #writer: Writer = new Writer(new Uint8Array(FIRST));
  #length = 0;
  /** Where each record ends. */
  readonly #ends: number[] = [];
  readonly #cookies: number[] = [];
  #isComplete = false;

  constructor(listing: Iterable<DirEntry>) {
    this.#entries = listing[Symbol.iterator]();
    this.#writer.what = "a stat record";
  }

  /** Whether there are no records from an index on. */
  isOver(index: number, context: RequestContext): boolean {
    if (index === this.#ends.length) this.#encode(this.#length, context);
    return index === this.#ends.length;
  }

  /** The index behind the records from `index` on that have room in so many bytes. */
  fit(index: number, room: number, context: RequestContext): number {
    const most = this.#startOf(index) + room;
    this.#encode(most, context);
    const ends = this.#ends;
    if (this.#length <= most) return ends.length;
    let next = index;
    while (ends[next] <= most) next++;
    return next;
  }

  /** The bytes of the records from one index up to another: a view. */
  slice(index: number, next: number): Uint8Array {
    const { bytes } = this.#writer;
    return bytes.subarray(this.#startOf(index), this.#startOf(next));
  }

  /** Cookie of the record before an index. */
  cookieBefore(index: number): number {
    return index === 0 ? 0 : this.#cookies[index - 1];
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1];
  }

  /** Encodes more records, until they go beyond an offset or there are no more. */
  #encode(offset: number, context: RequestContext): void {
    const writer = this.#writer;
    while (this.#length <= offset && !this.#isComplete) {
      const { done, value } = this.#entries.next();
      if (done) {
        this.#isComplete = true;
        return;
      }
      if (!isListed(value.stat, context)) continue;
      writer.at = this.#length; // Not behind half a record, if the last one failed.
      putStat(writer, statOf(value.stat));
      this.#length = writer.at;
      this.#ends.push(writer.at);
      this.#cookies.push(value.cookie ?? this.#ends.length);
    }
  }
}

/** A tree lets go of a listing that has changed, and so the records go. */
const known: WeakMap<KeptListing, Records> = new WeakMap();

/** The records of a listing: those that other fids have read, if there are any. */
export function recordsOf(listing: KeptListing): Records {
  let records = known.get(listing);
  if (records === undefined) {
    records = new Records(listing);
    known.set(listing, records);
  }
  return records;
}
