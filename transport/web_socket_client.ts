// A client of WebSockets over a socket of this runtime. The class WebSocket of
// Deno delays each frame of more than 1 KiB by 44 ms unless much more follows, see
// bench/deno_websocket_delay.ts. That of Bun sends each message in a packet of
// its own, and that of Node takes no certificates. None lets the process end.

import { formatAddress, type WebAddress } from "./address.ts";
import { type Channel, openChannel } from "./channel.ts";
import { closed, lost, pending } from "./failure.ts";
import { Framer } from "./framer.ts";
import { RefGroup, type Timer } from "./ref_group.ts";
import { dial as dialSocket } from "./socket.ts";
import { type Streams, streamsOf } from "./streams.ts";
import {
  BINARY,
  CLOSE,
  type Control,
  FrameError,
  FrameReader,
  HEADER_MAX,
  PING,
  PONG,
  putFrame,
} from "./web_socket_frames.ts";
import { errorOf, MAX_MESSAGE, UNANSWERED_MAX } from "./web_socket.ts";
import { ProtocolError } from "../codec.ts";
import type { Certificate, Connection, DialOptions } from "./connection.ts";

/** Milliseconds that the peer has for its part of the closing handshake. */
const CLOSING_MS = 1000;
/** Most bytes of the answer of a server to a request for an upgrade. */
const ANSWER_MAX = 16 * 1024;
/** Bytes that are framed and written at a time. */
const PART = 1024 * 1024;
/** Largest buffer that is kept while writes are small. */
const KEPT = 64 * 1024;
/** The text that RFC 6455 puts behind the key. */
const KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The end of the headers. */
const END = [13, 10, 13, 10];
/** Size of the buffer for bytes that are dropped. */
const DRAIN_SIZE = 16 * 1024;

const NORMAL = 1000;
const NO_STATUS = 1005;
const ABNORMAL = 1006;

const NO_BYTES = new Uint8Array(0);

/**
 * Connects to a WebSocket.
 *
 * @param address The address.
 * @param subprotocol The subprotocol to offer.
 * @param options A signal, and certificates.
 * @returns The connection.
 */
export async function dialWebSocket(
  address: WebAddress,
  subprotocol: string,
  options: DialOptions,
): Promise<Connection> {
  const { hostname, port } = address;
  const { signal } = options;
  const isSecure = address.scheme === "wss";
  const socket = await dialSocket(
    { scheme: isSecure ? "tls" : "tcp", hostname, port },
    options,
  );
  const abort = () => socket.close();
  signal?.addEventListener("abort", abort);
  try {
    signal?.throwIfAborted();
    const url = formatAddress(address);
    const first = await upgrade(openChannel(socket), url, subprotocol);
    signal?.throwIfAborted();
    return new ClientConnection(socket, address, first);
  } catch (error) {
    socket.close();
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Asks for the upgrade. Returns the bytes that came behind the answer. */
async function upgrade(
  channel: Channel,
  address: string,
  subprotocol: string,
): Promise<Uint8Array> {
  const { host, pathname, search } = new URL(address);
  const key = base64(crypto.getRandomValues(new Uint8Array(16)));
  const request = [
    `GET ${pathname}${search} HTTP/1.1`,
    `Host: ${host}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
    `Sec-WebSocket-Protocol: ${subprotocol}`,
  ];
  const text = `${request.join("\r\n")}\r\n\r\n`;
  await channel.write(new TextEncoder().encode(text));
  const { answer, rest } = await readAnswer(channel);
  const [status, ...lines] = answer.split("\r\n");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    headers.set(name, line.slice(colon + 1).trim());
  }
  if (!/^HTTP\/1\.1 101( |$)/.test(status)) {
    const text = status.replace(/^HTTP\/[0-9.]+ /, "").slice(0, 100);
    throw new Error(`the server answered ${JSON.stringify(text)}`);
  }
  const expected = new TextEncoder().encode(key + KEY_SUFFIX);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-1", expected));
  const chosen = headers.get("sec-websocket-protocol");
  if (
    headers.get("sec-websocket-accept") !== base64(hash) ||
    headers.get("upgrade")?.toLowerCase() !== "websocket" ||
    headers.has("sec-websocket-extensions") ||
    chosen !== undefined && chosen !== subprotocol
  ) {
    throw new Error("the server's answer is no upgrade to a WebSocket");
  }
  return rest;
}

/** Reads the answer up to its empty line, and what came behind it. */
async function readAnswer(
  channel: Channel,
): Promise<{ answer: string; rest: Uint8Array }> {
  let all = NO_BYTES;
  while (all.length < ANSWER_MAX) {
    const bytes = await channel.read(new Uint8Array(ANSWER_MAX));
    if (bytes === null) throw new Error("the server closed the connection");
    const before = all;
    all = new Uint8Array(before.length + bytes.length);
    all.set(before);
    all.set(bytes, before.length);
    for (let at = Math.max(0, before.length - 3); at + 4 <= all.length; at++) {
      if (END.every((byte, i) => all[at + i] === byte)) {
        const answer = new TextDecoder().decode(all.subarray(0, at));
        return { answer, rest: all.subarray(at + END.length) };
      }
    }
  }
  throw new Error("the server's answer is too long");
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** A connection over the frames of a client. */
class ClientConnection implements Connection {
  readonly peer: string;
  readonly remote: Readonly<WebAddress>;
  readonly maxMessage = MAX_MESSAGE;
  readonly maxUnanswered = UNANSWERED_MAX;
  readonly closed: Promise<void>;
  readonly certificate: Certificate | undefined;
  readonly #channel: Channel;
  readonly #refs = new RefGroup();
  readonly #framer = new Framer(MAX_MESSAGE);
  readonly #frames = new FrameReader((control) => this.#obey(control));
  #streams: Streams | undefined;
  /** Bytes that came behind the answer of the server. */
  #first: Uint8Array;
  #isReading = false;
  /** Memory for frames, used again. */
  #buffer: Uint8Array = NO_BYTES;
  /** The write to the socket that is under way; it never rejects. */
  #sending: Promise<void> | undefined;
  /** Content of the last ping that came during a write. */
  #ping: Uint8Array | undefined;
  /** Rejects the pending write(). */
  #rejectWrite: ((error: Error) => void) | undefined;
  #writeEnded = false;
  #closed = false;
  /** The peer has closed, or the socket has ended, with this error if any. */
  #isOver = false;
  #error: ProtocolError | undefined;
  /** The closing handshake has begun; the timer ends it. */
  #isClosing = false;
  #closing: Timer | undefined;
  #resolveClosed: () => void = () => {};

  constructor(socket: Connection, address: WebAddress, first: Uint8Array) {
    this.peer = formatAddress(address);
    this.remote = address;
    this.certificate = socket.certificate;
    this.#channel = openChannel(socket);
    this.#first = first;
    this.#refs.add(socket);
    this.closed = new Promise((resolve) => this.#resolveClosed = resolve);
  }

  /** Number of bytes that the system has taken, headers of frames included. */
  get taken(): number {
    return this.#channel.taken ?? 0;
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  ref(): void {
    this.#refs.ref();
  }

  unref(): void {
    this.#refs.unref();
  }

  async read(buffer: Uint8Array): Promise<Uint8Array | null> {
    if (this.#closed) return null;
    if (this.#isReading) throw pending(this.peer, "read from");
    this.#isReading = true;
    try {
      while (!this.#isOver && !this.#frames.ended) {
        const bytes = await this.#receive(buffer);
        // What came before an end can still be read. Bytes that come after
        // close() are dropped.
        if (bytes.length > 0 && !this.#closed) return bytes;
      }
    } finally {
      this.#isReading = false;
    }
    if (this.#closed) return null;
    if (this.#error) throw this.#error;
    if (this.#writeEnded) this.#hangUp();
    return null;
  }

  /** Receives bytes once. The state tells whether more can come. */
  async #receive(buffer: Uint8Array): Promise<Uint8Array> {
    try {
      const bytes = await this.#next(buffer);
      if (bytes !== null) return this.#frames.take(bytes);
      this.#end(errorOf(this.peer, ABNORMAL, ""));
    } catch (error) {
      if (error instanceof FrameError) this.#sendClose(error.code);
      this.#end(this.#lost(error));
    }
    return NO_BYTES;
  }

  async #next(buffer: Uint8Array): Promise<Uint8Array | null> {
    const first = this.#first;
    if (first.length === 0) return await this.#channel.read(buffer);
    const length = Math.min(first.length, buffer.length);
    buffer.set(first.subarray(0, length));
    this.#first = first.subarray(length);
    return buffer.subarray(0, length);
  }

  free(chunk: Uint8Array): void {
    this.#channel.free?.(chunk);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#rejectWrite) {
      return Promise.reject(pending(this.peer, "write to"));
    }
    if (this.#isOver) return Promise.reject(this.#error ?? lost(this.peer));
    const written = this.#sending || bytes.length > PART
      ? this.#writeParts(bytes)
      : this.#writePart(bytes);
    if (written === undefined) return undefined;
    return new Promise((resolve, reject) => {
      this.#rejectWrite = reject;
      written.then(() => {
        this.#rejectWrite = undefined;
        resolve();
      }, (error) => {
        this.#rejectWrite = undefined;
        reject(this.#lost(error));
      });
    });
  }

  async #writeParts(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PART) {
      while (this.#sending) await this.#sending;
      await this.#writePart(bytes.subarray(at, at + PART));
    }
  }

  /** Writes the messages that are whole now. No write is under way. */
  #writePart(bytes: Uint8Array): Promise<void> | undefined {
    const framer = this.#framer;
    let to = 0;
    for (let at = 0; at < bytes.length;) {
      at += framer.next(at === 0 ? bytes : bytes.subarray(at));
      const { frame } = framer;
      if (!frame) break;
      this.#makeRoom(to, HEADER_MAX + frame.length, bytes.length - at);
      to = putFrame(this.#buffer, to, BINARY, frame);
    }
    return to === 0 ? undefined : this.#put(this.#buffer.subarray(0, to));
  }

  /** Makes room for a frame, and for others that may follow. */
  #makeRoom(used: number, needed: number, more: number): void {
    const before = this.#buffer;
    if (used + needed <= before.length) return;
    const size = Math.max(used + needed + more, 2 * before.length);
    this.#buffer = new Uint8Array(size);
    this.#buffer.set(before.subarray(0, used));
  }

  /** Writes frames to the socket. No write is under way. */
  #put(frames: Uint8Array): Promise<void> | undefined {
    const written = this.#channel.write(frames);
    if (written === undefined) {
      this.#shrink(frames.length);
      return undefined;
    }
    const sent = written.finally(() => {
      this.#sending = undefined;
      this.#shrink(frames.length);
      if (this.#ping) this.#sendControl(PONG, this.#ping);
      this.#ping = undefined;
    });
    this.#sending = sent.catch(() => {});
    return sent;
  }

  /** Gives back a large buffer after a bulk transfer. */
  #shrink(used: number): void {
    const { length } = this.#buffer;
    if (length > 2 * PART || length > KEPT && used < length / 8) {
      this.#buffer = NO_BYTES;
    }
  }

  /** Sends a control frame. No write is under way. */
  #sendControl(opcode: number, content: Uint8Array): void {
    if (this.#isOver) return;
    const frame = new Uint8Array(HEADER_MAX + content.length);
    const end = putFrame(frame, 0, opcode, content);
    // The next read or write tells of a failure.
    this.#put(frame.subarray(0, end))?.catch(() => {});
  }

  /** Sends a close once, unless a write is under way. */
  #sendClose(code: number): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#sending) return;
    this.#sendControl(CLOSE, new Uint8Array([code >> 8, code]));
  }

  #obey({ opcode, content }: Control): void {
    if (opcode === PING) {
      if (this.#sending) this.#ping = content;
      else if (!this.#isClosing) this.#sendControl(PONG, content);
    } else if (opcode === CLOSE) {
      const [high = NO_STATUS >> 8, low = NO_STATUS & 0xff] = content;
      const code = high << 8 | low;
      const reason = new TextDecoder().decode(content.subarray(2));
      this.#sendClose(NORMAL);
      this.#end(errorOf(this.peer, code, reason));
    }
  }

  async closeWrite(): Promise<void> {
    if (this.#writeEnded) return;
    this.#writeEnded = true;
    try {
      while (this.#sending) await this.#sending;
      if (this.#isOver || this.#isClosing) return;
      const rest = this.#framer.flush() ?? NO_BYTES;
      const frames = new Uint8Array(2 * HEADER_MAX + rest.length);
      const at = rest.length > 0 ? putFrame(frames, 0, BINARY, rest) : 0;
      const end = this.#frames.ended
        ? at
        : putFrame(frames, at, BINARY, NO_BYTES);
      if (end > 0) await this.#put(frames.subarray(0, end));
    } catch {
      // Without a socket, the direction has ended as well.
    }
    if (this.#frames.ended) this.#hangUp();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeEnded = true;
    // A peer that takes no bytes would not take a close either.
    if (this.#rejectWrite) {
      this.#rejectWrite(closed(this.peer));
      this.#end();
    } else this.#hangUp();
  }

  /** Begins the closing handshake, and reads until the peer has answered. */
  #hangUp(): void {
    if (this.#isOver || this.#closing) return;
    this.#sendClose(NORMAL);
    this.#closing = this.#refs.after(CLOSING_MS, () => this.#end());
    if (!this.#isReading) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isReading = true;
    const buffer = new Uint8Array(DRAIN_SIZE);
    while (!this.#isOver) await this.#receive(buffer);
    this.#isReading = false;
  }

  /** The peer has ended, or the socket. Closes the socket. */
  #end(error?: ProtocolError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    this.#refs.cancel(this.#closing);
    const close = () => {
      this.#channel.close();
      this.#resolveClosed();
    };
    // The answer to the peer's close may be under way. If it is other bytes,
    // the peer does not wait for them.
    if (this.#sending && !this.#rejectWrite) void this.#sending.then(close);
    else close();
  }

  /** Makes the error of a lost connection, under the label of this one. */
  #lost(error: unknown): ProtocolError {
    if (this.#error) return this.#error;
    const cause = error instanceof ProtocolError ? error.cause : error;
    return lost(this.peer, cause);
  }
}
