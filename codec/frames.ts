// Splits a stream of bytes into frames and messages. The splitter does no I/O.
// readMessages() uses it on a stream, and writeMessage() writes to one.

import { HEADERSZ, MSIZE_DEFAULT } from "./constants.ts";
import { ProtocolError } from "./errors.ts";
import { quoteStart } from "./format.ts";
import { type Dialect, dialect9P2000, encode, getMessage } from "./layout.ts";
import type { Message } from "./messages.ts";
import { NO_BYTES, Reader, utf8Length } from "./wire.ts";

/**
 * Splits chunks of bytes into frames, for client, server and {@linkcode
 * FrameSplitter}. One reader moves over the chunk from frame to frame, so that
 * a small message needs no new view.
 */
export class Splitter {
  /** Largest frame, in bytes. */
  msize: number;
  /**
   * Reader of the frame that advance() found. The frame extends from `at` to
   * `end`.
   */
  readonly reader: Reader = new Reader(NO_BYTES, "a message");
  // The last chunk, its view, and the range of its bytes that are not yet
  // taken.
  #chunk: Uint8Array = NO_BYTES;
  #view: DataView = new DataView(this.#chunk.buffer);
  #next = 0;
  #end = 0;
  // Buffer for a frame that crosses chunks, and the number of its bytes that
  // are there.
  #partial: Uint8Array = NO_BYTES;
  #filled = 0;

  constructor(msize: number) {
    this.msize = msize;
  }

  /** Number of pushed bytes that no frame has had yet. */
  get pending(): number {
    return this.#filled + this.rest;
  }

  /** Takes the next bytes: those of a chunk up to `end`. */
  push(chunk: Uint8Array, end: number = chunk.length): void {
    if (this.rest > 0) {
      throw new TypeError(
        "Cannot push a chunk: frames of the one before have not been taken",
      );
    }
    // A buffer that is used again keeps its view.
    if (chunk !== this.#chunk) {
      this.#chunk = chunk;
      this.#view = new DataView(
        chunk.buffer,
        chunk.byteOffset,
        chunk.byteLength,
      );
    }
    this.#next = 0;
    this.#end = end;
  }

  /**
   * Moves the reader to the next frame, and returns true if the frame is whole.
   * If it returns false, the caller must call move() or spill() before the next
   * push().
   */
  advance(): boolean {
    if (this.#filled > 0) return this.#complete();
    const at = this.#next;
    const left = this.rest;
    if (left < 4) return false;
    const size = this.#check(this.#view.getUint32(at, true));
    if (left < size) return false;
    this.#next = at + size;
    this.#give(this.#chunk, this.#view, at, at + size);
    return true;
  }

  /**
   * Number of bytes of the chunk that are not yet taken. After advance() has
   * returned false, these bytes are the beginning of a frame.
   */
  get rest(): number {
    return this.#end - this.#next;
  }

  /**
   * Size of the frame that begins at the rest of the chunk; HEADERSZ while the
   * size is not known.
   */
  get needed(): number {
    if (this.rest < 4) return HEADERSZ;
    return this.#check(this.#view.getUint32(this.#next, true));
  }

  /**
   * Moves the rest of the chunk to the start of a buffer, and returns its
   * length. The buffer may be the chunk itself. The caller pushes these bytes
   * again, together with the next bytes.
   */
  move(into: Uint8Array): number {
    const { rest } = this;
    into.set(this.#chunk.subarray(this.#next, this.#end));
    this.#next = this.#end;
    return rest;
  }

  /**
   * Copies the rest of the chunk to the partial frame. The next chunks complete
   * this frame.
   *
   * @param again True when no view of the last completed partial frame is in
   *   use, so that its memory can be used again.
   */
  spill(again = false): void {
    const { rest } = this;
    if (rest === 0) return;
    const { needed } = this;
    if (!again || this.#partial.length < needed) {
      this.#partial = new Uint8Array(needed);
    }
    this.#take(rest);
  }

  /** Frees the buffer of the partial frame, unless a frame is incomplete. */
  shrink(): void {
    if (this.#filled === 0) this.#partial = NO_BYTES;
  }

  /** Continues a frame that began in an earlier chunk. */
  #complete(): boolean {
    if (this.#filled < 4) {
      this.#take(4 - this.#filled);
      if (this.#filled < 4) return false;
    }
    const size = this.#check(
      new DataView(this.#partial.buffer).getUint32(0, true),
    );
    if (this.#partial.length < size) {
      const start = this.#partial.subarray(0, this.#filled);
      this.#partial = new Uint8Array(size);
      this.#partial.set(start);
    }
    this.#take(size - this.#filled);
    if (this.#filled < size) return false;
    this.#filled = 0;
    const frame = this.#partial;
    this.#give(frame, new DataView(frame.buffer), 0, size);
    return true;
  }

  /** Appends up to `count` bytes of the chunk to the partial frame. */
  #take(count: number): void {
    const end = Math.min(this.#next + count, this.#end);
    const bytes = this.#chunk.subarray(this.#next, end);
    this.#partial.set(bytes, this.#filled);
    this.#filled += bytes.length;
    this.#next += bytes.length;
  }

  #give(bytes: Uint8Array, view: DataView, at: number, end: number): void {
    const { reader } = this;
    reader.bytes = bytes;
    reader.view = view;
    reader.at = at;
    reader.end = end;
  }

  /**
   * Checks the size of the current frame before memory is allocated for it.
   */
  #check(size: number): number {
    if (size >= HEADERSZ && size <= this.msize) return size;
    const bound = size < HEADERSZ
      ? `minimum is ${HEADERSZ}`
      : `maximum is ${this.msize}`;
    throw new ProtocolError(
      `Cannot follow the stream: a frame of size ${size}, the ${bound}${
        describeForeign(this.#start())
      }`,
    );
  }

  /** Returns the first bytes of the current frame. */
  #start(): Uint8Array {
    const bytes = new Uint8Array(START_MOST);
    const partial = this.#partial.subarray(0, Math.min(this.#filled, 4));
    const rest = this.#chunk.subarray(this.#next, this.#end)
      .subarray(0, START_MOST - partial.length);
    bytes.set(partial);
    bytes.set(rest, partial.length);
    return bytes.subarray(0, partial.length + rest.length);
  }
}

/**
 * Number of first bytes that are examined when a stream is not 9P. The error
 * message shows one byte less, so that quoteStart() can tell that bytes were
 * cut.
 */
const START_MOST = 65;

/** First bytes of common peers that do not speak 9P. */
const FOREIGN: ReadonlyArray<readonly [start: RegExp, what: string]> = [
  [/^HTTP/, "the peer is an HTTP server"],
  [
    /^(CONNECT|DELETE|GET|HEAD|OPTIONS|PATCH|POST|PRI|PUT) /,
    "the peer is an HTTP client",
  ],
  [/^SSH-/, "the peer speaks SSH"],
  [
    /^/,
    "that is text, not 9P: a program that speaks 9P on its standard output must print its messages, such as those of console.log(), to its standard error",
  ],
];

/**
 * Describes the first bytes of a stream that is not 9P, for a message. Returns
 * an empty text when the bytes do not show what the peer speaks.
 */
function describeForeign(bytes: Uint8Array): string {
  // A TLS record begins with its type, which is 20 to 23, and with the version
  // 3.x.
  if (bytes.length >= 2 && bytes[0] >= 20 && bytes[0] <= 23 && bytes[1] === 3) {
    return "; it begins like TLS: the peer speaks TLS, or expects it";
  }
  const [text = ""] = PLAIN.exec(lenient.decode(bytes)) ?? [];
  // The first four bytes may be a size, so a shorter text counts only as a
  // whole line.
  if (utf8Length(text) < 4 && !text.endsWith("\n")) return "";
  const [, what] = FOREIGN.find(([pattern]) => pattern.test(text)) ?? [];
  return `; it begins with ${quoteStart(bytes)}: ${what}`;
}

/**
 * Matches the text at the start of decoded bytes, up to the first invalid
 * character or control character. White space and escape are allowed.
 */
// deno-lint-ignore no-control-regex
const PLAIN = /^[^\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd]+/;
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Splits a stream of bytes into frames. A chunk of the stream may end at any
 * byte.
 *
 * Push a chunk, then call {@linkcode FrameSplitter.next} until it returns
 * undefined. Only then push the next chunk. A frame inside one chunk is a view
 * of the chunk, so use the frame before the chunk changes.
 *
 * @example Two messages in three chunks
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { encode, FrameSplitter } from "@ninep/ninep/codec";
 *
 * const frame = encode({ type: "Tclunk", tag: 1, fid: 7 });
 * const splitter = new FrameSplitter(8192);
 * splitter.push(frame.subarray(0, 3));
 * assertEquals(splitter.next(), undefined);
 * splitter.push(frame.subarray(3));
 * assertEquals(splitter.next(), frame);
 * splitter.push(frame);
 * assertEquals(splitter.next(), frame);
 * ```
 */
export class FrameSplitter {
  readonly #splitter: Splitter;

  /**
   * Makes a splitter.
   *
   * @param msize Largest frame, in bytes.
   */
  constructor(msize: number) {
    this.#splitter = new Splitter(msize);
  }

  /**
   * Largest frame, in bytes. Set it when a session has negotiated its msize.
   */
  get msize(): number {
    return this.#splitter.msize;
  }
  set msize(msize: number) {
    this.#splitter.msize = msize;
  }

  /** Number of pushed bytes that no frame has had yet. */
  get pending(): number {
    return this.#splitter.pending;
  }

  /**
   * Takes the next bytes of the stream.
   *
   * @param chunk Any number of bytes. They must not change until next() returns
   *   undefined.
   * @throws {TypeError} Frames of the previous chunk have not been taken.
   */
  push(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
  }

  /**
   * Returns the next whole frame.
   *
   * @returns A view of the frame, or undefined when more bytes are needed.
   * @throws {ProtocolError} The size of a frame is below 7 or above msize.
   */
  next(): Uint8Array | undefined {
    if (!this.#splitter.advance()) {
      this.#splitter.spill();
      return undefined;
    }
    const { bytes, at, end } = this.#splitter.reader;
    return bytes.subarray(at, end);
  }
}

/** Options of {@linkcode readMessages}. */
export interface ReadMessagesOptions {
  /** Largest frame in bytes, 1 MiB and 24 bytes by default. */
  msize?: number;
  /** Dialect of the session, 9P2000 by default. */
  dialect?: Dialect;
}

/**
 * Receives messages from a stream of bytes, one by one.
 *
 * `data` of a message is a view that is valid until the next message. Leaving
 * the loop releases the stream and does not cancel it. Bytes behind the last
 * message may then be lost, so read all messages in one loop.
 *
 * @param readable Stream of bytes.
 * @param options Limit and dialect.
 * @returns The messages, in order.
 * @throws {ProtocolError} A frame is malformed, or the stream ends inside one.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { encode, readMessages } from "@ninep/ninep/codec";
 *
 * const bytes = ReadableStream.from([
 *   encode({ type: "Tclunk", tag: 1, fid: 7 }),
 * ]);
 * for await (const message of readMessages(bytes)) {
 *   assertEquals(message, { type: "Tclunk", tag: 1, fid: 7 });
 * }
 * ```
 */
export async function* readMessages(
  readable: ReadableStream<Uint8Array>,
  options: ReadMessagesOptions = {},
): AsyncGenerator<Message, void, void> {
  const { msize = MSIZE_DEFAULT, dialect = dialect9P2000 } = options;
  const splitter = new Splitter(msize);
  const reader = readable.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) break;
      splitter.push(value);
      while (splitter.advance()) yield getMessage(splitter.reader, dialect);
      splitter.spill();
    }
  } finally {
    reader.releaseLock();
  }
  if (splitter.pending > 0) {
    throw new ProtocolError(
      `Cannot read a message: the stream ended ${splitter.pending} bytes into it`,
    );
  }
}

/** Options of {@linkcode writeMessage}. */
export interface WriteMessageOptions {
  /** Dialect of the session, 9P2000 by default. */
  dialect?: Dialect;
}

/**
 * Sends one message to a stream of bytes, in one write.
 *
 * @param writable Stream of bytes.
 * @param message Message to send.
 * @param options Dialect.
 * @returns Resolves when the stream has taken the frame.
 * @throws {RangeError} A field is out of its range.
 */
export async function writeMessage(
  writable: WritableStream<Uint8Array>,
  message: Message,
  options: WriteMessageOptions = {},
): Promise<void> {
  const frame = encode(message, options.dialect);
  const writer = writable.getWriter();
  try {
    await writer.write(frame);
  } finally {
    writer.releaseLock();
  }
}
