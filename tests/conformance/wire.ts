// One connection, as bytes and messages. A Wire sends exactly the messages of
// the
// case and passes on every reply. It knows the frames of 9P2000, but no rules.

import {
  decode,
  encode,
  formatMessage,
  FrameSplitter,
  isRmessage,
  type Rmessage,
  type Tmessage,
} from "../../codec.ts";
import type { Connection } from "../../transport.ts";
import { fail, Failure, hex, show, TimeoutFailure, unhex } from "./check.ts";
import type { ReplyTo, Request } from "./requests.ts";

/** Largest frame that is accepted before a session has set its msize. */
const FIRST_MSIZE = 64 * 1024;
/** Type of Rlerror, the error of 9P2000.L. */
const RLERROR = 7;
/** Maximum of messages in the log of a case. */
const LOG_MAX = 400;

/** Options of a connection. */
export interface WireOptions {
  /** Number of the connection in its case, from 1 on. */
  readonly number: number;
  /** Longest time in milliseconds that a reply may take. */
  readonly patience: number;
  /** True when only the error texts of this library pass. */
  readonly strict: boolean;
  /** The log of the messages, one line each. */
  readonly log: string[];
}

/** Stands for the end of the connection in the place of a reply. */
export const END: unique symbol = Symbol("the end of the connection");

/** A reply, or the end of the connection. */
export type ReplyOrEnd = Rmessage | typeof END;

/** A connection to the server under test. */
export class Wire {
  /** Largest frame that the server may send. */
  msize: number = FIRST_MSIZE;
  readonly #options: WireOptions;
  readonly #connection: Connection;
  readonly #stream: ByteStream;
  readonly #splitter = new FrameSplitter(FIRST_MSIZE);
  /** Replies that arrived before the case asked for them. */
  readonly #unclaimed: Rmessage[] = [];
  readonly #frames = new WeakMap<Rmessage, Uint8Array>();
  #reading: Promise<Uint8Array | null> | undefined;
  #written: Promise<void> = Promise.resolve();
  #lastTag = 0;
  #ended = false;
  #mute = false;

  constructor(connection: Connection, options: WireOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#stream = streamOf(connection);
  }

  /** True when only the answers of this library pass. */
  get strict(): boolean {
    return this.#options.strict;
  }

  /** Sends bytes, given as such or as hexadecimal digits, in one write. */
  raw(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === "string" ? unhex(data) : data;
    this.#log("->", formatBytes(bytes));
    return this.#write(bytes);
  }

  /** Sends whole messages, tags included, in one write. */
  send(...messages: Tmessage[]): void {
    const frames = messages.map((message) => {
      this.#log("->", formatMessage(message));
      return encode(message);
    });
    this.#write(concat(frames));
  }

  /** Sends a request and returns its tag, without waiting for the reply. */
  start(request: Request, tag: number = this.newTag()): number {
    this.send(tagged(request, tag));
    return tag;
  }

  /** Returns a tag that was not used recently. */
  newTag(): number {
    this.#lastTag = this.#lastTag % 0xfff0 + 1;
    return this.#lastTag;
  }

  /** Waits for the next reply, or the end. */
  async next(wanted = "a reply"): Promise<ReplyOrEnd> {
    return this.#unclaimed.shift() ?? await this.#receive(wanted);
  }

  /**
   * Waits for the reply with a tag, or the end. Keeps replies with other tags
   * for later.
   */
  async reply(tag: number, wanted = "a reply"): Promise<ReplyOrEnd> {
    const index = this.#unclaimed.findIndex((reply) => reply.tag === tag);
    if (index >= 0) return this.#unclaimed.splice(index, 1)[0];
    while (true) {
      const event = await this.#receive(`${wanted} for tag ${tag}`);
      if (event === END || event.tag === tag) return event;
      this.#unclaimed.push(event);
    }
  }

  /** Drops the replies that the case has not asked for. */
  discard(): void {
    this.#unclaimed.length = 0;
  }

  /** Sends a request and returns any reply. */
  async ask(request: Request): Promise<ReplyOrEnd> {
    return await this.reply(this.start(request), replyName(request));
  }

  /** Sends a request; fails unless the request succeeds. */
  async do<R extends Request>(request: R): Promise<ReplyTo<R>> {
    return this.succeeded(request, await this.ask(request));
  }

  /**
   * Sends a request that the server may refuse. Returns the reply, or the text
   * of the error.
   */
  async attempt<R extends Request>(request: R): Promise<ReplyTo<R> | string> {
    const event = await this.ask(request);
    const isRefused = event !== END && event.type === "Rerror";
    return isRefused ? event.ename : this.succeeded(request, event);
  }

  /**
   * Waits for the reply to a started request; fails unless the request
   * succeeded.
   */
  async done<R extends Request>(request: R, tag: number): Promise<ReplyTo<R>> {
    return this.succeeded(request, await this.reply(tag, replyName(request)));
  }

  /** Fails unless an event is the successful reply to a request. */
  succeeded<R extends Request>(request: R, event: ReplyOrEnd): ReplyTo<R> {
    const wanted = replyName(request);
    if (event === END || event.type !== wanted) fail(describe(event), wanted);
    return event as ReplyTo<R>; // Its `type` was just checked.
  }

  /**
   * Sends a request; fails unless the server refuses it, in a strict run with
   * `ename`.
   */
  async refuses(request: Request, ename?: string): Promise<void> {
    this.refused(await this.ask(request), request.type, ename);
  }

  /** Fails unless an event is an error, in a strict run with `ename`. */
  refused(event: ReplyOrEnd, subject: string, ename?: string): void {
    if (event === END || event.type !== "Rerror") {
      fail(
        describe(event),
        `an error for ${subject}${ename ? `: ${ename}` : ""}`,
      );
    }
    if (this.strict && ename !== undefined && event.ename !== ename) {
      fail(`the error "${event.ename}"`, `"${ename}" for ${subject}`);
    }
  }

  /** Fails unless the server ends the connection without a further reply. */
  async ends(): Promise<void> {
    const event = await this.next("the end of the connection");
    if (event !== END) fail(describe(event), "the end of the connection");
  }

  /** Fails when the server has sent a reply that the case has not asked for. */
  async quiet(): Promise<void> {
    const tag = this.start({ type: "Tflush", oldtag: 0xfff8 });
    const event = await this.next("Rflush");
    if (event === END || event.tag !== tag) fail(describe(event), "nothing");
    this.succeeded({ type: "Tflush", oldtag: 0xfff8 }, event);
  }

  /** Returns the whole frame of a reply. */
  frameOf(reply: Rmessage): Uint8Array {
    const frame = this.#frames.get(reply);
    if (frame === undefined) throw new TypeError("no reply of this connection");
    return frame;
  }

  /** Stops logging messages, or starts again. */
  mute(mute = true): void {
    this.#log("--", mute ? "many messages" : "and so on");
    this.#mute = mute;
  }

  /**
   * Closes the direction to the server; closes the whole connection when it
   * cannot be half closed.
   */
  async closeWrite(): Promise<void> {
    await this.#written.catch(() => {});
    this.#log("--", "the end, from here");
    await (this.#stream.closeWrite?.() ?? this.close());
  }

  /** Closes the connection. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.close();
    this.#connection.close();
  }

  #log(direction: string, text: string): void {
    if (this.#mute && direction !== "--") return;
    const { log, number } = this.#options;
    log.push(`${number} ${direction} ${text}`);
    if (log.length > LOG_MAX) log.splice(0, LOG_MAX / 2, "…");
  }

  #write(bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(() => this.#stream.write(bytes));
    // A failed write shows as the end of the connection when a case reads.
    return this.#written = this.#written.catch(() => {});
  }

  async #receive(wanted: string): Promise<ReplyOrEnd> {
    while (true) {
      const frame = this.#nextFrame();
      if (frame !== undefined) return this.#decode(frame.slice());
      const chunk = await this.#read(wanted);
      if (chunk !== null) {
        this.#splitter.push(chunk);
        continue;
      }
      this.#log("<-", "the end");
      const { pending } = this.#splitter;
      if (pending > 0) fail(`${pending} bytes of half a reply`, wanted);
      return END;
    }
  }

  #nextFrame(): Uint8Array | undefined {
    this.#splitter.msize = this.msize;
    try {
      return this.#splitter.next();
    } catch (error) {
      // A reply above msize also fails here, in any case.
      throw new Failure(`got a reply that is none: ${messageOf(error)}`);
    }
  }

  #decode(frame: Uint8Array): Rmessage {
    let reply;
    try {
      reply = decode(frame);
    } catch (error) {
      this.#log("<-", formatBytes(frame));
      if (frame[4] === RLERROR) {
        throw new Failure(
          "got Rlerror, an error of 9P2000.L: the server does not speak 9P2000",
        );
      }
      throw new Failure(`got a malformed reply: ${messageOf(error)}`);
    }
    this.#log("<-", formatMessage(reply));
    if (!isRmessage(reply)) fail(reply.type, "a reply");
    this.#frames.set(reply, frame);
    return reply;
  }

  /** Reads the next bytes. Returns null at the end, and after a reset. */
  async #read(wanted: string): Promise<Uint8Array | null> {
    const { patience } = this.#options;
    // A read that timed out is still pending; only one read may be pending.
    this.#reading ??= this.#stream.read().catch(() => null);
    let timer;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(
            new TimeoutFailure(
              `got nothing in ${patience} ms, wanted ${wanted}`,
            ),
          ),
        patience,
      );
    });
    try {
      const chunk = await Promise.race([this.#reading, late]);
      this.#reading = undefined;
      return chunk;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Formats bytes that are no message in one line. */
function formatBytes(bytes: Uint8Array): string {
  const rest = bytes.length > 64 ? `… (${bytes.length} bytes)` : "";
  return `bytes ${hex(bytes.subarray(0, 64))}${rest}`;
}

/**
 * Reads and writes the bytes of a connection, by its methods or by its streams.
 */
interface ByteStream {
  read(): Promise<Uint8Array | null>;
  write(bytes: Uint8Array): Promise<void> | undefined;
  closeWrite?: (() => Promise<void>) | undefined;
  close(): void;
}

function streamOf(connection: Connection): ByteStream {
  const { read, write, closeWrite } = connection;
  if (read !== undefined && write !== undefined) {
    const buffer = new Uint8Array(64 * 1024);
    return {
      // A copy, because the splitter keeps incomplete frames.
      read: async () => (await read.call(connection, buffer))?.slice() ?? null,
      write: (bytes) => write.call(connection, bytes),
      closeWrite: closeWrite?.bind(connection),
      close: () => {},
    };
  }
  const reader = connection.readable.getReader();
  const writer = connection.writable.getWriter();
  writer.closed.catch(() => {});
  return {
    read: async () => (await reader.read()).value ?? null,
    write: (bytes) => writer.write(bytes),
    closeWrite: () => writer.close().catch(() => {}),
    close: () => {
      reader.cancel().catch(() => {});
      writer.abort().catch(() => {});
    },
  };
}

/** Formats a reply for the text of a failure. */
export function describe(event: ReplyOrEnd): string {
  if (event === END) return "the end of the connection";
  if (event.type === "Rerror") return `the error ${show(event.ename)}`;
  const line = formatMessage(event);
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}

/** Adds a tag to a request. The fields keep the order of the wire. */
export function tagged(request: Request, tag: number): Tmessage {
  const { type, ...fields } = request;
  // A Request is a message without its tag.
  return { type, tag, ...fields } as Tmessage;
}

/** Joins byte arrays. */
function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(
    pieces.reduce((sum, { length }) => sum + length, 0),
  );
  let offset = 0;
  for (const piece of pieces) {
    all.set(piece, offset);
    offset += piece.length;
  }
  return all;
}

function replyName(request: Request): string {
  return request.type.replace("T", "R");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
