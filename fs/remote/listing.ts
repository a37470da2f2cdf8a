// A directory of the far server, read as far as a near client reads it.

import { decodeStat, isName, type Stat } from "../../codec.ts";
import type { Attributes, DirEntry } from "../../server.ts";
import { botch, type Far, type FarOpen } from "./far.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** Most bytes of one read: no record is larger. */
const CHUNK = 64 * 1024;
/** The members of a directory. One read of them is held at a time. */
export class RemoteListing
  implements AsyncIterable<DirEntry>, AsyncIterator<DirEntry, undefined> {
  readonly #far: Far;
  readonly #open: (signal: AbortSignal) => Promise<FarOpen>;
  /** Number of members that the client has read. */
  #skipped: number;
  #fid: number | undefined;
  #count = 0;
  #offset = 0;
  /** Bytes that were read, and are not decoded; the last record may be cut. */
  #bytes: Uint8Array = NO_BYTES;
  #isOver = false;
  /** Ends the requests under way. They may be for any read of the near client. */
  readonly #end = new AbortController();

  /**
   * @param open Opens a fid of the directory.
   * @param cookie Number of members to leave out at the start.
   */
  constructor(
    far: Far,
    open: (signal: AbortSignal) => Promise<FarOpen>,
    cookie: number,
  ) {
    this.#far = far;
    this.#open = open;
    this.#skipped = cookie;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<DirEntry, undefined>> {
    try {
      while (!this.#isOver) {
        const record = this.#take();
        if (record === undefined) {
          await this.#read();
          continue;
        }
        // A name that no file can have could mislead a client.
        if (!isName(record.name)) continue;
        if (this.#skipped-- > 0) continue;
        return { done: false, value: { stat: attributesOf(record) } };
      }
    } catch (error) {
      this.#close();
      throw error;
    }
    return { done: true, value: undefined };
  }

  return(): Promise<IteratorResult<DirEntry, undefined>> {
    this.#end.abort();
    this.#close();
    return Promise.resolve({ done: true, value: undefined });
  }

  #close(): void {
    this.#isOver = true;
    this.#bytes = NO_BYTES;
    if (this.#fid !== undefined) this.#far.drop(this.#fid);
    this.#fid = undefined;
  }

  /** Decodes the next record, if all of it was read. */
  #take(): Stat | undefined {
    const bytes = this.#bytes;
    if (bytes.length < 2) return undefined;
    const size = 2 + bytes[0] + 256 * bytes[1];
    if (bytes.length < size) return undefined;
    this.#bytes = bytes.subarray(size);
    try {
      return decodeStat(bytes.subarray(0, size));
    } catch (error) {
      throw botch(error);
    }
  }

  async #read(): Promise<void> {
    const { signal } = this.#end;
    if (this.#fid === undefined) {
      const { fid, iounit } = await this.#open(signal);
      if (this.#isOver) return this.#far.drop(fid);
      this.#fid = fid;
      this.#count = Math.min(CHUNK, iounit);
    }
    const { data } = await this.#far.request({
      type: "Tread",
      fid: this.#fid,
      offset: BigInt(this.#offset),
      count: this.#count,
    }, signal);
    if (this.#isOver) return;
    if (data.length === 0) {
      if (this.#bytes.length > 0) throw botch();
      return this.#close();
    }
    this.#offset += data.length;
    this.#bytes = joined(this.#bytes, data);
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** The attributes in a record. */
export function attributesOf(stat: Stat): Attributes {
  const { qid, name, mode, length, uid, gid, muid, atime, mtime } = stat;
  return { qid, name, mode, length, uid, gid, muid, atime, mtime };
}
