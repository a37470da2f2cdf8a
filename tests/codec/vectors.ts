/**
 * The frames of testdata/, and messages made by chance from a seed. Its format
 * is in testdata/README.md.
 *
 * @module
 */

import type { Message, Qid, Stat } from "../../codec.ts";
import base from "../testdata/9p2000.json" with { type: "json" };
import call from "../testdata/call.json" with { type: "json" };
import requests from "../testdata/malformed.json" with { type: "json" };
import replies from "../testdata/malformed-replies.json" with { type: "json" };

/** A message and its bytes. */
export interface MessageVector {
  name: string;
  message: Message;
  frame: Uint8Array;
  /** The stat records in the data of a directory read. */
  entries?: Stat[];
}

/** A request that a server must survive. */
export interface MalformedRequest {
  name: string;
  /** Largest frame of the session. */
  msize: number;
  frame: Uint8Array;
  expect: "error-reply" | "close" | "either";
  /** Nothing was sent before; otherwise fid 0 is at the root. */
  fresh: boolean;
}

/** A reply that a client must refuse. */
export interface MalformedReply {
  name: string;
  /** Largest frame of the session. */
  msize: number;
  /** The request of the reply. */
  request: Message;
  frame: Uint8Array;
  expect: "request-fails" | "connection-fails";
}

/** Bytes of hexadecimal digits; blanks are ignored. */
export function unhex(text: string): Uint8Array {
  const digits = text.match(/[0-9a-f]{2}/g) ?? [];
  return Uint8Array.from(digits, (byte) => parseInt(byte, 16));
}

/** Hexadecimal digits of bytes. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** The messages of one file, or of both. */
export function messageVectors(file?: "9p2000" | "call"): MessageVector[] {
  const rows: RawVector[] = file === "9p2000"
    ? base
    : file === "call"
    ? call
    : [...base, ...call];
  return rows.map((row) => ({
    name: row.name,
    message: toMessage(row.message),
    frame: unhex(row.hex),
    ...(row.entries ? { entries: row.entries.map(toStat) } : {}),
  }));
}

/** The requests that a server must survive. */
export function malformed(): MalformedRequest[] {
  return requests.map((row) => ({
    name: row.name,
    msize: row.msize,
    frame: unhex(row.hex),
    expect: oneOf(row.expect, ["error-reply", "close", "either"]),
    fresh: row.state === "fresh",
  }));
}

/** The replies that a client must refuse. */
export function malformedReplies(): MalformedReply[] {
  return replies.map((row) => ({
    name: row.name,
    msize: row.msize,
    request: toMessage(row.request),
    frame: unhex(row.hex),
    expect: oneOf(row.expect, ["request-fails", "connection-fails"]),
  }));
}

interface RawVector {
  name: string;
  message: object;
  hex: string;
  entries?: object[] | undefined;
}

// The conversions go by the names of fields, so that they need no layout of
// the codec, which the vectors are there to check.

function convert(name: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => convert(name, item));
  if (typeof value === "object" && value !== null) {
    const isQid = Object.keys(value).join() === "type,version,path";
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        isQid && key === "version" ? "vers" : key,
        convert(key, item),
      ]),
    );
  }
  if (typeof value !== "string") return value;
  if (name === "data") return unhex(value);
  return ["offset", "length", "path"].includes(name) ? BigInt(value) : value;
}

function toMessage(raw: object): Message {
  // JSON has no types: that the fields are right, the golden bytes show.
  return convert("message", raw) as Message;
}

function toStat(raw: object): Stat {
  // As in toMessage().
  return convert("stat", raw) as Stat;
}

function oneOf<T extends string>(value: string, values: T[]): T {
  const found = values.find((item) => item === value);
  if (found === undefined) throw new TypeError(`"${value}" is not expected`);
  return found;
}

/** Numbers by chance that are the same in each run: mulberry32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number from 0 to `limit` - 1, at most 2^32. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** A number of `bits` bits, often the first or last of the range. */
  uint(bits: 8 | 16 | 32): number {
    const limit = 2 ** bits;
    return this.pick([0, 1, limit - 1, limit / 2, this.below(limit)]);
  }

  u64(): bigint {
    const any = BigInt(this.below(2 ** 32)) << 32n |
      BigInt(this.below(2 ** 32));
    return this.pick([
      0n,
      1n,
      2n ** 32n - 1n,
      2n ** 32n,
      2n ** 53n + 1n,
      2n ** 63n,
      2n ** 64n - 1n,
      any,
    ]);
  }

  bytes(most: number): Uint8Array {
    return Uint8Array.from(
      { length: this.below(most + 1) },
      () => this.below(256),
    );
  }

  /** A text without NUL, of characters that take one to four bytes. */
  text(most = 60): string {
    const start = this.pick(["", "", "/", "\ufeff", "e\u0301", "\u{1f600}"]);
    const top = this.pick([0x80, 0x80, 0x800, 0x10000, 0x110000]);
    const points = Array.from({ length: this.below(most + 1) }, () => {
      const point = 1 + this.below(top - 1);
      return point >= 0xd800 && point < 0xe000 ? 0xfffd : point;
    });
    return start + String.fromCodePoint(...points);
  }

  list<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }

  qid(): Qid {
    return { type: this.uint(8), vers: this.uint(32), path: this.u64() };
  }

  stat(): Stat {
    return {
      type: this.uint(16),
      dev: this.uint(32),
      qid: this.qid(),
      mode: this.uint(32),
      atime: this.uint(32),
      mtime: this.uint(32),
      length: this.u64(),
      name: this.text(),
      uid: this.text(),
      gid: this.text(),
      muid: this.text(),
    };
  }

  /** A message of that type with any legal values. */
  message(type: Message["type"]): Message {
    const tag = this.uint(16);
    switch (type) {
      case "Tversion":
      case "Rversion":
        return { type, tag, msize: this.uint(32), version: this.text() };
      case "Tauth":
        return {
          type,
          tag,
          afid: this.uint(32),
          uname: this.text(),
          aname: this.text(),
        };
      case "Rauth":
        return { type, tag, aqid: this.qid() };
      case "Tattach":
        return {
          type,
          tag,
          fid: this.uint(32),
          afid: this.uint(32),
          uname: this.text(),
          aname: this.text(),
        };
      case "Rattach":
        return { type, tag, qid: this.qid() };
      case "Rerror":
        return { type, tag, ename: this.text() };
      case "Tflush":
        return { type, tag, oldtag: this.uint(16) };
      case "Twalk":
        return {
          type,
          tag,
          fid: this.uint(32),
          newfid: this.uint(32),
          wname: this.list(16, () => this.text()),
        };
      case "Rwalk":
        return { type, tag, wqid: this.list(16, () => this.qid()) };
      case "Topen":
      case "Topenfd":
        return { type, tag, fid: this.uint(32), mode: this.uint(8) };
      case "Ropen":
      case "Rcreate":
        return { type, tag, qid: this.qid(), iounit: this.uint(32) };
      case "Ropenfd":
        return {
          type,
          tag,
          qid: this.qid(),
          iounit: this.uint(32),
          unixfd: this.uint(32),
        };
      case "Tcreate":
        return {
          type,
          tag,
          fid: this.uint(32),
          name: this.text(),
          perm: this.uint(32),
          mode: this.uint(8),
        };
      case "Tread":
        return {
          type,
          tag,
          fid: this.uint(32),
          offset: this.u64(),
          count: this.uint(32),
        };
      case "Rread":
        return { type, tag, data: this.bytes(300) };
      case "Twrite":
        return {
          type,
          tag,
          fid: this.uint(32),
          offset: this.u64(),
          data: this.bytes(300),
        };
      case "Rwrite":
        return { type, tag, count: this.uint(32) };
      case "Tclunk":
      case "Tremove":
      case "Tstat":
        return { type, tag, fid: this.uint(32) };
      case "Rstat":
        return { type, tag, stat: this.stat() };
      case "Twstat":
        return { type, tag, fid: this.uint(32), stat: this.stat() };
      case "Tcall":
        return {
          type,
          tag,
          fid: this.uint(32),
          text: this.text(),
          data: this.bytes(300),
        };
      case "Rcall":
        return {
          type,
          tag,
          err: this.uint(16),
          text: this.text(),
          data: this.bytes(300),
        };
      case "Rflush":
      case "Rclunk":
      case "Rremove":
      case "Rwstat":
        return { type, tag };
      default:
        return type satisfies never;
    }
  }
}
