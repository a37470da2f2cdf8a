// One connection, as bytes and messages: what is sent is what a case says,
// what comes is taken as it comes. It knows the frames of 9P2000 and no rule.

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
import { fail, Failure, hex, NoReply, show, unhex } from "./check.ts";
import type { AnswerTo, Request } from "./requests.ts";

/** Largest frame that is taken before a session has set its msize. */
const FIRST_MSIZE = 64 * 1024;
/** Type of an error of 9P2000.L. */
const RLERROR = 7;
/** Messages of a case that are kept to be shown. */
const LOG_MAX = 400;

/** What the connections of one case have in common. */
export interface WireOptions {
  /** Number of the connection in its case, from 1 on. */
  readonly number: number;
  /** Longest time in milliseconds that a reply may take. */
  readonly patience: number;
  /** Demand the reference's texts of errors. */
  readonly strict: boolean;
  /** Where the messages are noted, one line each. */
  readonly log: string[];
}

/** The end of the connection, in the place of a reply. */
export const END: unique symbol = Symbol("the end of the connection");

/** A reply, or the end. */
export type Event = Rmessage | typeof END;

/** A connection to the server that is judged. */
export class Wire {
  /** Largest frame that the server may send. */
  msize: number = FIRST_MSIZE;
  readonly #options: WireOptions;
  readonly #connection: Connection;
  readonly #source: Source;
  readonly #splitter = new FrameSplitter(FIRST_MSIZE);
  /** Replies that came before they were asked for. */
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
    this.#source = sourceOf(connection);
  }

  /** Whether the reference's own answers are demanded. */
  get strict(): boolean {
    return this.#options.strict;
  }

  /** Sends bytes, or hexadecimal digits, in one write. */
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

  /** Sends one request under a new tag, and does not wait. */
  start(request: Request, tag: number = this.newTag()): number {
    this.send(tagged(request, tag));
    return tag;
  }

  /** A tag that was not used lately. */
  newTag(): number {
    this.#lastTag = this.#lastTag % 0xfff0 + 1;
    return this.#lastTag;
  }

  /** The next reply, or the end. */
  async next(wanted = "a reply"): Promise<Event> {
    return this.#unclaimed.shift() ?? await this.#receive(wanted);
  }

  /** The reply with a tag, or the end; others wait until they are asked for. */
  async reply(tag: number, wanted = "a reply"): Promise<Event> {
    const at = this.#unclaimed.findIndex((reply) => reply.tag === tag);
    if (at >= 0) return this.#unclaimed.splice(at, 1)[0];
    while (true) {
      const event = await this.#receive(`${wanted} for tag ${tag}`);
      if (event === END || event.tag === tag) return event;
      this.#unclaimed.push(event);
    }
  }

  /** Forgets the replies that came and were not asked for. */
  discard(): void {
    this.#unclaimed.length = 0;
  }

  /** Sends one request and gives its reply, whatever it is. */
  async ask(request: Request): Promise<Event> {
    return await this.reply(this.start(request), replyName(request));
  }

  /** Sends one request, which must succeed. */
  async do<R extends Request>(request: R): Promise<AnswerTo<R>> {
    return this.succeeded(request, await this.ask(request));
  }

  /** Sends one request that may be refused: its reply, or the error's text. */
  async attempt<R extends Request>(request: R): Promise<AnswerTo<R> | string> {
    const event = await this.ask(request);
    const isRefused = event !== END && event.type === "Rerror";
    return isRefused ? event.ename : this.succeeded(request, event);
  }

  /** The reply to a request that was started, which must have succeeded. */
  async done<R extends Request>(request: R, tag: number): Promise<AnswerTo<R>> {
    return this.succeeded(request, await this.reply(tag, replyName(request)));
  }

  /** Fails unless an event is the reply that a request wants. */
  succeeded<R extends Request>(request: R, event: Event): AnswerTo<R> {
    const wanted = replyName(request);
    if (event === END || event.type !== wanted) fail(brief(event), wanted);
    return event as AnswerTo<R>; // By its name, which is that type's only.
  }

  /** Sends one request, which must be refused; a strict run wants that text. */
  async refuses(request: Request, ename?: string): Promise<void> {
    this.refused(await this.ask(request), request.type, ename);
  }

  /** Fails unless an event is an error; a strict run wants that text. */
  refused(event: Event, what: string, ename?: string): void {
    if (event === END || event.type !== "Rerror") {
      fail(
        brief(event),
        `an error for ${what}${ename ? `: ${ename}` : ""}`,
      );
    }
    if (this.strict && ename !== undefined && event.ename !== ename) {
      fail(`the error "${event.ename}"`, `"${ename}" for ${what}`);
    }
  }

  /** The server must end the connection, with no further reply. */
  async ends(): Promise<void> {
    const event = await this.next("the end of the connection");
    if (event !== END) fail(brief(event), "the end of the connection");
  }

  /** Nothing may have come that was not asked for. */
  async quiet(): Promise<void> {
    const tag = this.start({ type: "Tflush", oldtag: 0xfff8 });
    const event = await this.next("Rflush");
    if (event === END || event.tag !== tag) fail(brief(event), "nothing");
    this.succeeded({ type: "Tflush", oldtag: 0xfff8 }, event);
  }

  /** The whole frame that a reply came in. */
  frameOf(reply: Rmessage): Uint8Array {
    const frame = this.#frames.get(reply);
    if (frame === undefined) throw new TypeError("no reply of this connection");
    return frame;
  }

  /** Keeps messages out of the log, where there are too many of them. */
  mute(mute = true): void {
    this.#log("--", mute ? "many messages" : "and so on");
    this.#mute = mute;
  }

  /** Ends the direction to the server, or the connection where that cannot be. */
  async closeWrite(): Promise<void> {
    await this.#written.catch(() => {});
    this.#log("--", "the end, from here");
    await (this.#source.closeWrite?.() ?? this.close());
  }

  /** Ends the connection. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#source.close();
    this.#connection.close();
  }

  #log(direction: string, text: string): void {
    if (this.#mute && direction !== "--") return;
    const { log, number } = this.#options;
    log.push(`${number} ${direction} ${text}`);
    if (log.length > LOG_MAX) log.splice(0, LOG_MAX / 2, "…");
  }

  #write(bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(() => this.#source.write(bytes));
    // What is wrong will be seen by who reads.
    return this.#written = this.#written.catch(() => {});
  }

  async #receive(wanted: string): Promise<Event> {
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
      // Also how a reply above msize shows itself, in whatever case it comes.
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

  /** The next bytes; null at the end, of which a reset is one. */
  async #read(wanted: string): Promise<Uint8Array | null> {
    const { patience } = this.#options;
    // A read that was given up goes on; there must not be two.
    this.#reading ??= this.#source.read().catch(() => null);
    let timer;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(
            new NoReply(`got nothing in ${patience} ms, wanted ${wanted}`),
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

/** Bytes that are no message, in one line. */
function formatBytes(bytes: Uint8Array): string {
  const rest = bytes.length > 64 ? `… (${bytes.length} bytes)` : "";
  return `bytes ${hex(bytes.subarray(0, 64))}${rest}`;
}

/** A connection's bytes: by its fast path, or by its streams. */
interface Source {
  read(): Promise<Uint8Array | null>;
  write(bytes: Uint8Array): Promise<void> | undefined;
  closeWrite?: (() => Promise<void>) | undefined;
  close(): void;
}

function sourceOf(connection: Connection): Source {
  const { read, write, closeWrite } = connection;
  if (read !== undefined && write !== undefined) {
    const buffer = new Uint8Array(64 * 1024);
    return {
      // A copy, for the splitter keeps what is half a frame.
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

/** A reply as a failure tells it. */
export function brief(event: Event): string {
  if (event === END) return "the end of the connection";
  if (event.type === "Rerror") return `the error ${show(event.ename)}`;
  const line = formatMessage(event);
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}

/** A request under a tag, its fields in the order of the wire. */
export function tagged(request: Request, tag: number): Tmessage {
  const { type, ...fields } = request;
  // The one thing that a Request lacks is back.
  return { type, tag, ...fields } as Tmessage;
}

/** Several pieces of bytes as one. */
function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(
    pieces.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function replyName(request: Request): string {
  return request.type.replace("T", "R");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
