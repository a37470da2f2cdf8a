/**
 * A client without the rules of the protocol: it sends the frames or bytes of a
 * test, and returns the replies in the order of their arrival.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import {
  decode,
  dontTouch,
  encode,
  FrameSplitter,
  type Message,
  NOFID,
  NOTAG,
  type Qid,
  type Stat,
  type Tmessage,
} from "../../codec.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import type { Connection } from "../../transport.ts";
import { unhex } from "../codec/vectors.ts";

/** Longest time in milliseconds that a test may wait. */
const PATIENCE_MS = 5_000;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Encodes a text as UTF-8. */
export function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Waits for a promise; fails the test when it does not settle in time. */
export async function soon<T>(promise: Promise<T>): Promise<T> {
  // deadline() is not used: it holds memory until its time is over.
  let timer;
  const late = new Promise<never>((_, reject) => {
    const error = new DOMException("Signal timed out.", "TimeoutError");
    timer = setTimeout(() => reject(error), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Makes requests. The first argument is the tag, except where the tag is NOTAG.
 */
export const T = {
  version: (
    msize = 8192,
    version = "9P2000",
    tag: number = NOTAG,
  ): Tmessage => ({
    type: "Tversion",
    tag,
    msize,
    version,
  }),
  auth: (tag: number, afid: number, uname = "u", aname = ""): Tmessage => ({
    type: "Tauth",
    tag,
    afid,
    uname,
    aname,
  }),
  attach: (
    tag: number,
    fid: number,
    uname = "u",
    aname = "",
    afid: number = NOFID,
  ): Tmessage => ({ type: "Tattach", tag, fid, afid, uname, aname }),
  walk: (
    tag: number,
    fid: number,
    newfid: number,
    ...wname: string[]
  ): Tmessage => ({ type: "Twalk", tag, fid, newfid, wname }),
  open: (tag: number, fid: number, mode = 0): Tmessage => ({
    type: "Topen",
    tag,
    fid,
    mode,
  }),
  create: (
    tag: number,
    fid: number,
    name: string,
    perm = 0o644,
    mode = 1,
  ): Tmessage => ({ type: "Tcreate", tag, fid, name, perm, mode }),
  read: (
    tag: number,
    fid: number,
    offset: number | bigint = 0,
    count = 100,
  ): Tmessage => ({ type: "Tread", tag, fid, offset: BigInt(offset), count }),
  write: (
    tag: number,
    fid: number,
    data: string | Uint8Array,
    offset: number | bigint = 0,
  ): Tmessage => ({
    type: "Twrite",
    tag,
    fid,
    offset: BigInt(offset),
    data: typeof data === "string" ? bytes(data) : data,
  }),
  clunk: (tag: number, fid: number): Tmessage => ({ type: "Tclunk", tag, fid }),
  remove: (tag: number, fid: number): Tmessage => ({
    type: "Tremove",
    tag,
    fid,
  }),
  stat: (tag: number, fid: number): Tmessage => ({ type: "Tstat", tag, fid }),
  wstat: (
    tag: number,
    fid: number,
    changes: Partial<Stat> = {},
  ): Tmessage => ({ type: "Twstat", tag, fid, stat: dontTouch(changes) }),
  flush: (tag: number, oldtag: number): Tmessage => ({
    type: "Tflush",
    tag,
    oldtag,
  }),
  call: (tag: number, fid: number, text = "{}", data = ""): Tmessage => ({
    type: "Tcall",
    tag,
    fid,
    text,
    data: bytes(data),
  }),
};

/**
 * Returns a reply in one line: its type, its tag and its main fields. A qid is
 * shown by its path, in a MemoryFs by its place among the files. Data are shown
 * as text.
 */
export function brief(reply: Message): string {
  const what = `${reply.type} ${reply.tag}`;
  switch (reply.type) {
    case "Rversion":
      return `${what} ${reply.msize} ${reply.version}`;
    case "Rerror":
      return `${what} ${reply.ename}`;
    case "Rauth":
      return `${what} ${reply.aqid.path}`;
    case "Rattach":
    case "Ropen":
    case "Rcreate":
      return `${what} ${place(reply.qid)}`;
    case "Rwalk":
      return `${what} ${reply.wqid.map(place).join(",")}`
        .trimEnd();
    case "Rread":
      return `${what} ${decoder.decode(reply.data)}`.trimEnd();
    case "Rwrite":
      return `${what} ${reply.count}`;
    case "Rstat":
      return `${what} ${reply.stat.name}`;
    case "Rcall":
      return `${what} ${reply.err} ${decoder.decode(reply.data)}`.trimEnd();
    default:
      return what;
  }
}

/** Returns the path of a qid without the random number of a MemoryFs. */
function place({ path }: Qid): bigint {
  return path & 0xfffffn;
}

/** The client's end of a connection. */
export class WireClient implements Disposable {
  /** Frames of the replies that the test has received, the latest last. */
  lastFrame: Uint8Array = new Uint8Array(0);
  readonly #channel: Channel;
  readonly #splitter = new FrameSplitter(2 ** 24);
  readonly #buffer = new Uint8Array(2 ** 16);
  #written: Promise<void> = Promise.resolve();

  constructor(connection: Connection) {
    this.#channel = openChannel(connection);
  }

  /** Sends messages with one write. */
  send(...messages: Tmessage[]): void {
    this.raw(concat(messages.map((message) => encode(message))));
  }

  /** Sends bytes, or hexadecimal digits, with one write. */
  raw(data: Uint8Array | string): void {
    const bytes = typeof data === "string" ? unhex(data) : data;
    this.#written = this.#written.then(() => this.#channel.write(bytes));
    this.#written.catch(() => {}); // A failed write shows as a missing reply.
  }

  /** Waits for the next reply. */
  async next(): Promise<Message> {
    const reply = await this.#next();
    assert(reply !== null, "a reply expected, the connection ended");
    return reply;
  }

  /**
   * Fails unless the next replies are these, in this order; see {@linkcode
   * brief}.
   */
  async expect(...replies: string[]): Promise<void> {
    for (const [at, expected] of replies.entries()) {
      const reply = await this.#next();
      const actual = reply === null ? "the end" : brief(reply);
      assertEquals(actual, expected, `reply ${at + 1} of ${replies.length}`);
    }
  }

  /** Fails unless the next replies are these, in any order. */
  async expectSome(...replies: string[]): Promise<void> {
    const actual: string[] = [];
    for (const _ of replies) actual.push(brief(await this.next()));
    assertEquals(actual.sort(), replies.toSorted());
  }

  /** Sends one message and returns its reply, which must be the next one. */
  async rpc(message: Tmessage): Promise<Message> {
    this.send(message);
    const reply = await this.next();
    assertEquals(reply.tag, message.tag);
    return reply;
  }

  /**
   * Sends one message; fails unless {@linkcode brief} gives this for its reply.
   */
  async ask(message: Tmessage, reply: string): Promise<void> {
    this.send(message);
    await this.expect(reply);
  }

  /** No further reply has come: the next reply is that of a Tflush. */
  async quiet(tag = 0xfffe): Promise<void> {
    await this.ask(T.flush(tag, 0xfffd), `Rflush ${tag}`);
  }

  /** Starts a session and attaches: fid 0 is the root. */
  async start(msize = 8192, uname = "u"): Promise<void> {
    await this.ask(T.version(msize), `Rversion ${NOTAG} ${msize} 9P2000`);
    const reply = await this.rpc(T.attach(0, 0, uname));
    assertEquals(reply.type, "Rattach");
  }

  /** Fails unless the server ends the connection without a further reply. */
  async end(): Promise<void> {
    const reply = await this.#next();
    assertEquals(reply === null ? "the end" : brief(reply), "the end");
  }

  /** Closes the direction to the server. */
  closeWrite(): Promise<void> {
    return this.#written.then(() => this.#channel.closeWrite());
  }

  /** Closes the connection. */
  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #next(): Promise<Message | null> {
    while (true) {
      const frame = this.#splitter.next();
      if (frame !== undefined) {
        this.lastFrame = frame.slice();
        return decode(this.lastFrame);
      }
      let chunk: Uint8Array | null;
      try {
        chunk = await soon(this.#channel.read(this.#buffer));
      } catch (error) {
        if (error instanceof DOMException) {
          throw new Error("no reply, and no end of the connection");
        }
        return null; // A reset counts as the end.
      }
      if (chunk === null) {
        assertEquals(this.#splitter.pending, 0, "bytes of half a reply");
        return null;
      }
      this.#splitter.push(chunk);
    }
  }
}
