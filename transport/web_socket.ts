// WebSockets as connections. A WebSocket carries messages, has no half-close, and
// cannot be paused in a browser.

import type { ProtocolError } from "../codec.ts";
import { closed, lost, pending } from "./failure.ts";
import { Framer } from "./framer.ts";
import { Inbox, INBOX_LIMIT } from "./inbox.ts";
import { RefGroup, type Timer } from "./ref_group.ts";
import { type Streams, streamsOf } from "./streams.ts";
import type { Address } from "./address.ts";
import type { Connection } from "./connection.ts";

/**
 * Default of the largest message: some hosts close a WebSocket that carries a
 * larger one, with the code 1009.
 */
export const MAX_MESSAGE: number = 1024 * 1024;
/** Bytes that wait in the socket before a write waits as well. */
const HIGH = 1024 * 1024;
/** Bytes that may still wait in the socket when a write goes on. */
const LOW = 256 * 1024;
/**
 * Most bytes that wait to be read, 64 MiB, if the socket cannot be paused. A
 * server of this library reads on until 16 MiB of requests wait.
 */
export const UNREAD_MAX: number = 64 * 1024 * 1024;
/**
 * Most bytes of data that a client sends before it has replies: with what the
 * server's library keeps beside them, they are fewer than UNREAD_MAX.
 */
export const UNANSWERED_MAX: number = 32 * 1024 * 1024;
/** Bytes of memory that a message costs beside its own, for the limits. */
const MESSAGE_COST = 256;
/** First and longest pause in milliseconds between two looks at the socket. */
const LOOK_LEAST = 1;
const LOOK_MOST = 32;
/**
 * Milliseconds that the peer has for its part of the closing handshake, and a
 * socket for its close event after an error.
 */
const CLOSING_MS = 1000;

// `readyState` of a WebSocket.
const CONNECTING = 0;
const CLOSING = 2;
const CLOSED = 3;

// Codes of the end of a WebSocket.
const NORMAL = 1000;
const GOING_AWAY = 1001;
const PROTOCOL_ERROR = 1002;
const UNSUPPORTED_DATA = 1003;
const NO_STATUS = 1005;
const ABNORMAL = 1006;
const POLICY = 1008;
/** Difference between a code and the code for private use in its place. */
const PRIVATE = 3000;

/** Texts for codes that a peer or a runtime gives without a reason. */
const REASONS: ReadonlyMap<number, string> = new Map([
  [1002, "protocol error"],
  [1003, "unsupported data"],
  [ABNORMAL, "the peer has gone without a close"],
  [1007, "invalid data"],
  [1008, "policy violation"],
  [1009, "message too big"],
  [1011, "error of the server"],
  [1012, "service restart"],
  [1013, "try again later"],
]);

/**
 * A WebSocket of a browser, Deno, Bun, Node or workerd, or of the package `ws`.
 */
export interface WebSocketLike {
  /** Form in which binary messages arrive. */
  binaryType: string;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** State: 0 while it connects, 1 open, 2 and 3 closed. */
  readonly readyState: number;
  /** Sends a message. */
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Closes. */
  close(code?: number, reason?: string): void;
  /** Adds a listener. */
  addEventListener(
    type: string,
    listener: (event: WebSocketEvent) => void,
  ): void;
}

/** The members of the events of a {@linkcode WebSocketLike}. */
export interface WebSocketEvent {
  /** Content of a message. */
  readonly data?: unknown;
  /** Code of a close. */
  readonly code?: number;
  /** Reason of a close. */
  readonly reason?: string;
  /** Text of an error. */
  readonly message?: string;
  /** An error. */
  readonly error?: unknown;
}

/** Options of {@linkcode fromWebSocket}. */
export interface WebSocketOptions {
  /** Label of the peer; by default the URL of the socket, or `websocket`. */
  peer?: string | undefined;
  /**
   * Largest message in bytes that the peer takes, 1 MiB by default. A client and
   * a server keep msize below it.
   */
  maxMessage?: number | undefined;
  /** Address of the peer. */
  remote?: Readonly<Address> | undefined;
}

/** A socket that a {@linkcode SocketConnection} is made of. */
export interface MessageSocket {
  /** Bytes that wait to be sent. */
  readonly buffered: number;
  /** True when the socket has ended, also if no event has told so. */
  readonly isClosed: boolean;
  /** Sends bytes, which the caller may reuse at once. */
  send(bytes: Uint8Array): void;
  /** Begins the closing handshake. */
  close(code: number, reason: string): void;
  /** Ends the socket without a handshake, where that is possible. */
  terminate?: (() => void) | undefined;
  /** Stops reading from the system, where that is possible. */
  pause?: (() => void) | undefined;
  /** Reads on. */
  resume?: (() => void) | undefined;
}

/**
 * Makes a connection of a WebSocket.
 *
 * Each message of 9P goes out as one binary message. Bytes may come in any
 * division into binary messages. A text message ends the connection. An empty
 * binary message stands for the end of one direction, which a WebSocket does not
 * have.
 *
 * Most WebSockets cannot be paused; those of the package `ws` and of Bun's
 * clients can. So a connection ends when more than 64 MiB wait to be read. A
 * client of this library never sends more than 32 MiB of data before it has
 * replies.
 *
 * @param socket The socket. It may be connecting; a message that came before
 *   this call is lost.
 * @param options Label, largest message.
 * @returns The connection.
 * @throws {ProtocolError} The socket is closed.
 *
 * @example A browser or any other runtime
 * ```ts ignore
 * import { connect, fromWebSocket } from "@ninep/ninep";
 *
 * const socket = new WebSocket("wss://example.org/9p", "9p");
 * await using client = await connect(fromWebSocket(socket));
 * console.log(await client.readTextFile("motd"));
 * ```
 */
export function fromWebSocket(
  socket: WebSocketLike,
  options: WebSocketOptions = {},
): Connection {
  const url = "url" in socket && typeof socket.url === "string"
    ? socket.url
    : "";
  const { peer = url || "websocket", maxMessage, remote } = options;
  if (socket.readyState >= CLOSING) throw lost(peer);
  // Before the first message: some runtimes give Blobs by default.
  socket.binaryType = "arraybuffer";
  const connection = new SocketConnection(
    messageSocketOf(socket),
    peer,
    maxMessage,
    socket.readyState !== CONNECTING,
    remote,
  );
  socket.addEventListener("open", () => connection.opened());
  socket.addEventListener("message", ({ data }) => connection.received(data));
  socket.addEventListener("error", (event) => {
    // An ErrorEvent of undici has a text, of other runtimes a text or nothing.
    connection.failed(event.error ?? event.message);
  });
  socket.addEventListener("close", ({ code, reason }) => {
    connection.ended(code, reason);
  });
  return connection;
}

/** Members that the sockets of the package `ws` have beside those of others. */
interface WsMembers {
  pause?(): void;
  resume?(): void;
  terminate?(): void;
}

function messageSocketOf(socket: WebSocketLike & WsMembers): MessageSocket {
  const { pause, resume, terminate } = socket;
  // The package `ws`, whose sockets are emitters, and workerd keep a view of the
  // bytes. Others take the bytes at once, as the standard says.
  const keepsView = "on" in socket || "WebSocketPair" in globalThis;
  return {
    get buffered() {
      return socket.bufferedAmount;
    },
    get isClosed() {
      return socket.readyState === CLOSED;
    },
    send: (bytes) =>
      socket.send(keepsView ? new Uint8Array(bytes) : plain(bytes)),
    close(code, reason) {
      try {
        socket.close(code, reason);
      } catch {
        // Most runtimes take 1000 and the codes for private use only.
        socket.close(code === NORMAL ? code : code + PRIVATE, reason);
      }
    },
    pause: pause && (() => pause.call(socket)),
    resume: resume && (() => resume.call(socket)),
    terminate: terminate && (() => terminate.call(socket)),
  };
}

/** A connection over a WebSocket. The events of the socket are its calls. */
export class SocketConnection implements Connection {
  readonly peer: string;
  readonly remote?: Readonly<Address>;
  readonly maxMessage: number;
  readonly maxUnanswered: number = UNANSWERED_MAX;
  readonly closed: Promise<void>;
  readonly #socket: MessageSocket;
  readonly #inbox: Inbox;
  readonly #refs = new RefGroup();
  #streams: Streams | undefined;
  #isOpen: boolean;
  #isPaused = false;
  /** A Blob whose bytes are still to come, and what follows it. */
  #blobs: Promise<void> | undefined;
  /** Number of bytes of the messages that wait for a Blob. */
  #blobBytes = 0;
  readonly #framer: Framer;
  /** Number of bytes that the socket was given. */
  #given = 0;
  #rest: Uint8Array | undefined;
  #writer: PromiseWithResolvers<void> | undefined;
  #readEnded = false;
  #writeEnded = false;
  #closed = false;
  #error: ProtocolError | undefined;
  #resolveClosed: () => void = () => {};
  /** True when the socket was told to close, or has ended. */
  #isClosing = false;
  /** Ends the wait for the peer's part of the closing handshake. */
  #closing: Timer | undefined;
  /** Ends the wait for the close event after an error. */
  #failing: Timer | undefined;
  /** The next look at the bytes that wait in the socket. */
  #looking: Timer | undefined;

  /**
   * @param socket The socket.
   * @param peer Label of the peer.
   * @param maxMessage Largest message that the peer takes.
   * @param isOpen False while the socket connects.
   * @param remote Address of the peer.
   */
  constructor(
    socket: MessageSocket,
    peer: string,
    maxMessage: number = MAX_MESSAGE,
    isOpen = true,
    remote?: Readonly<Address>,
  ) {
    if (remote) this.remote = remote;
    this.#socket = socket;
    this.peer = peer;
    this.maxMessage = maxMessage;
    this.#isOpen = isOpen;
    this.#inbox = new Inbox(peer);
    this.#framer = new Framer(maxMessage);
    this.closed = new Promise((resolve) => this.#resolveClosed = resolve);
  }

  /** Number of bytes that have left the socket. */
  get taken(): number {
    return Math.max(0, this.#given - this.#socket.buffered);
  }

  get readable(): ReadableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).readable;
  }

  get writable(): WritableStream<Uint8Array> {
    return (this.#streams ??= streamsOf(this)).writable;
  }

  read(buffer: Uint8Array): Promise<Uint8Array | null> {
    const bytes = this.#inbox.read(buffer);
    if (this.#isPaused && this.#unread < INBOX_LIMIT) this.#resume();
    return bytes;
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#writeEnded) return Promise.reject(closed(this.peer));
    if (this.#writer) return Promise.reject(pending(this.peer, "write to"));
    if (this.#socket.isClosed) this.ended(ABNORMAL);
    if (this.#error) return Promise.reject(this.#error);
    try {
      const rest = this.#send(bytes);
      if (rest === undefined) return undefined;
      this.#rest = rest;
    } catch (error) {
      return Promise.reject(lost(this.peer, error));
    }
    this.#writer = Promise.withResolvers();
    if (this.#isOpen) this.#look(LOOK_LEAST);
    return this.#writer.promise;
  }

  closeWrite(): Promise<void> {
    if (!this.#writeEnded) {
      this.#writeEnded = true;
      if (this.#isOpen) this.#sendEnd();
    }
    return Promise.resolve();
  }

  /** Sends what is held, and the empty message that ends the direction. */
  #sendEnd(): void {
    try {
      const rest = this.#framer.flush();
      if (rest) this.#socket.send(rest);
      if (!this.#readEnded) this.#socket.send(new Uint8Array(0));
    } catch {
      // The socket has ended, and so has the direction.
    }
    if (this.#readEnded) this.#finish();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeEnded = true;
    this.#inbox.close();
    this.#settleWrite(closed(this.peer));
    this.#closeSocket(NORMAL, "");
  }

  ref(): void {
    this.#refs.ref();
  }

  unref(): void {
    this.#refs.unref();
  }

  /** The socket is open. */
  opened(): void {
    this.#isOpen = true;
    // Deno forgets a close of a server's socket that is not open yet.
    if (this.#isClosing) this.#socket.close(NORMAL, "");
    else if (this.#rest !== undefined) this.#sendRest(LOOK_LEAST);
    else if (this.#writeEnded && !this.#closed) this.#sendEnd();
  }

  /** A message came: an ArrayBuffer, a view, a list of views, a Blob, or text. */
  received(data: unknown): void {
    if (this.#closed || this.#error) return;
    if (this.#blobs === undefined && !isBlob(data)) {
      this.#take(data);
      return;
    }
    const size = MESSAGE_COST + (isBlob(data) ? data.size : lengthOf(data));
    this.#blobBytes += size;
    const before = this.#blobs ?? Promise.resolve();
    const blobs = before.then(async () => {
      const content = isBlob(data) ? await data.arrayBuffer() : data;
      this.#blobBytes -= size;
      this.#take(content);
      if (this.#blobs === blobs) this.#blobs = undefined;
    }).catch((error) => this.failed(error));
    this.#blobs = blobs;
    this.#bound();
  }

  /** The socket has failed. */
  failed(cause: unknown): void {
    if (cause) {
      const detail = cause instanceof Error ? cause : new Error(`${cause}`);
      this.#die(lost(this.peer, detail));
    }
    // The close event that follows in most runtimes has a code. It tells more
    // than an error without a text.
    this.#failing ??= this.#refs.after(CLOSING_MS, () => {
      this.#die(lost(this.peer, new Error("the WebSocket failed")));
      this.#closeSocket(NORMAL, "");
      this.#socketEnded();
    });
  }

  /** The socket is closed. */
  ended(code: number = NO_STATUS, reason = ""): void {
    // A server of workerd answers a close only when it is told to.
    this.#closeSocket(NORMAL, "");
    this.#socketEnded();
    const error = errorOf(this.peer, code, reason);
    // The bytes of a Blob may still be on their way to the inbox.
    if (!error && this.#blobs) void this.#blobs.then(() => this.#die());
    else this.#die(error);
  }

  /** The socket takes more bytes. */
  drained(): void {
    if (this.#writer) this.#sendRest(LOOK_LEAST);
  }

  #take(data: unknown): void {
    if (this.#closed || this.#error) return;
    if (Array.isArray(data)) {
      for (const part of data) this.#take(part);
      return;
    }
    const bytes = data instanceof ArrayBuffer
      ? new Uint8Array(data)
      : ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : undefined;
    if (bytes === undefined) {
      this.#refuse(UNSUPPORTED_DATA, "the peer sent text, 9P needs bytes");
      return;
    }
    if (bytes.length === 0) {
      this.#readEnded = true;
      this.#inbox.end();
      if (this.#writeEnded) this.#finish();
      return;
    }
    if (this.#readEnded) {
      this.#refuse(PROTOCOL_ERROR, "the peer sent bytes after its end");
      return;
    }
    this.#inbox.push(bytes);
    this.#bound();
  }

  /** Memory of the messages that wait to be read. */
  get #unread(): number {
    const { size, count } = this.#inbox;
    return size + count * MESSAGE_COST + this.#blobBytes;
  }

  /** Pauses the socket, or ends the connection, when much waits to be read. */
  #bound(): void {
    const unread = this.#unread;
    if (unread > UNREAD_MAX) {
      this.#refuse(POLICY, "more than 64 MiB wait to be read");
    } else if (
      unread >= INBOX_LIMIT && this.#socket.pause && !this.#isPaused
    ) {
      this.#isPaused = true;
      this.#socket.pause();
    }
  }

  #resume(): void {
    this.#isPaused = false;
    this.#socket.resume?.();
  }

  /** Ends the connection because of a breach of the peer. */
  #refuse(code: number, detail: string): void {
    this.#die(lost(this.peer, new Error(detail)));
    this.#closeSocket(code, detail);
  }

  /**
   * Sends bytes until the socket has enough. Returns the rest, or undefined when
   * all bytes were sent and few of them wait.
   */
  #send(bytes: Uint8Array): Uint8Array | undefined {
    const { length } = bytes;
    const framer = this.#framer;
    for (let at = 0;;) {
      // An empty rest waits until the socket has room for the next write.
      if (!this.#isOpen || this.#socket.buffered > HIGH) {
        return bytes.subarray(at);
      }
      if (at === length) return undefined;
      const taken = framer.next(at === 0 ? bytes : bytes.subarray(at));
      at += taken;
      this.#given += taken;
      if (framer.frame) this.#socket.send(framer.frame);
    }
  }

  /** Looks, after a pause, whether the socket has room. */
  #look(pause: number): void {
    this.#refs.cancel(this.#looking);
    this.#looking = this.#refs.after(pause, () => {
      this.#sendRest(Math.min(pause * 2, LOOK_MOST));
    });
  }

  #sendRest(pause: number): void {
    if (this.#rest === undefined) return;
    if (this.#socket.isClosed) return this.ended(ABNORMAL);
    if (this.#socket.buffered > LOW) return this.#look(pause);
    try {
      this.#rest = this.#send(this.#rest);
    } catch (error) {
      this.#die(lost(this.peer, error));
      return;
    }
    if (this.#rest === undefined) this.#settleWrite();
    else this.#look(LOOK_LEAST);
  }

  #settleWrite(error?: Error): void {
    const writer = this.#writer;
    this.#rest = this.#writer = undefined;
    this.#refs.cancel(this.#looking);
    if (error) writer?.reject(error);
    else writer?.resolve();
  }

  /** Ends both directions, after an error or without one. */
  #die(error?: ProtocolError): void {
    if (this.#closed || this.#error) return;
    this.#error = error ?? lost(this.peer);
    this.#inbox.end(error);
    this.#settleWrite(this.#error);
  }

  /** Both directions have ended. Bytes that came before can still be read. */
  #finish(): void {
    this.#die();
    this.#closeSocket(NORMAL, "");
  }

  /** Closes the socket once. The peer has a second for its part. */
  #closeSocket(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    // A paused socket would not see the answer of the peer.
    if (this.#isPaused) this.#resume();
    this.#closing = this.#refs.after(CLOSING_MS, () => {
      this.#socket.terminate?.();
      this.#resolveClosed();
    });
    try {
      this.#socket.close(code, reason);
    } catch {
      // The socket has never been open.
    }
  }

  #socketEnded(): void {
    this.#isClosing = true;
    this.#refs.cancel(this.#closing);
    this.#refs.cancel(this.#failing);
    this.#resolveClosed();
  }
}

/**
 * Returns the error of a WebSocket that has ended, or undefined for an end in
 * order.
 *
 * @param peer Label of the peer.
 * @param code Code of the close.
 * @param reason Reason of the close, or an empty text.
 */
export function errorOf(
  peer: string,
  code: number,
  reason: string,
): ProtocolError | undefined {
  if (code === NORMAL || code === GOING_AWAY || code === NO_STATUS) return;
  const text = reason || REASONS.get(code) || "closed";
  return lost(peer, new Error(`${text} (WebSocket code ${code})`));
}

/** Tells the type that bytes of a Connection have. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  // A SharedArrayBuffer is refused by send() itself.
  return bytes as Uint8Array<ArrayBuffer>;
}

function isBlob(data: unknown): data is Blob {
  return typeof Blob === "function" && data instanceof Blob;
}

/** Returns the number of bytes of a message that is no Blob. */
function lengthOf(data: unknown): number {
  if (typeof data === "string") return data.length;
  if (Array.isArray(data)) {
    return data.reduce((sum: number, part) => sum + lengthOf(part), 0);
  }
  return data instanceof ArrayBuffer || ArrayBuffer.isView(data)
    ? data.byteLength
    : 0;
}
