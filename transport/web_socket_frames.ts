// The frames of RFC 6455, as a client sends and receives them.

/** Opcodes. */
export const CONTINUATION = 0;
/** Text. */
export const TEXT = 1;
/** Bytes. */
export const BINARY = 2;
/** Begins the closing handshake, or answers it. */
export const CLOSE = 8;
/** Asks for a pong. */
export const PING = 9;
/** Answers a ping. */
export const PONG = 10;

/** Code for a peer that breaks the rules of WebSocket. */
export const PROTOCOL_ERROR = 1002;
/** Code for a peer that sends text. */
export const UNSUPPORTED_DATA = 1003;

/** Most bytes of the header of a frame with a mask. */
export const HEADER_MAX = 14;
/** Most bytes of the content of a control frame. */
const CONTROL_MAX = 125;
/** Least number of bytes that are masked four at a time. */
const WORDS_LEAST = 64;
const FIN = 0x80;
const MASKED = 0x80;

/** Random bytes for masks: a call for each mask costs more than the mask. */
const random = new Uint8Array(1024);
let used = random.length;
const mask = new Uint8Array(4);
const maskWord = new Uint32Array(mask.buffer);

/**
 * Writes a frame with a random mask, which clients must use.
 *
 * @param to Buffer with room for HEADER_MAX bytes more than the content has.
 * @param at Where to write.
 * @param opcode The opcode.
 * @param content The content.
 * @returns The position behind the frame.
 */
export function putFrame(
  to: Uint8Array,
  at: number,
  opcode: number,
  content: Uint8Array,
): number {
  const { length } = content;
  to[at++] = FIN | opcode;
  if (length < 126) {
    to[at++] = MASKED | length;
  } else if (length < 0x10000) {
    to[at++] = MASKED | 126;
    to[at++] = length >> 8;
    to[at++] = length;
  } else {
    to[at++] = MASKED | 127;
    new DataView(to.buffer, to.byteOffset).setBigUint64(at, BigInt(length));
    at += 8;
  }
  if (used === random.length) {
    crypto.getRandomValues(random);
    used = 0;
  }
  const key = random.subarray(used, used += 4);
  to.set(key, at);
  at += 4;
  to.set(content, at);
  maskBytes(to, at, at + length, key);
  return at + length;
}

/** Applies a mask to bytes in their place, four at a time where possible. */
function maskBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  key: Uint8Array,
): void {
  let at = start;
  const offset = bytes.byteOffset;
  if (end - start >= WORDS_LEAST) {
    while ((offset + at) % 4 !== 0) bytes[at] ^= key[(at++ - start) % 4];
    for (let i = 0; i < 4; i++) mask[i] = key[(at - start + i) % 4];
    const [word] = maskWord;
    const count = (end - at) >> 2;
    const words = new Uint32Array(bytes.buffer, offset + at, count);
    for (let i = 0; i < count; i++) words[i] ^= word;
    at += count * 4;
  }
  for (; at < end; at++) bytes[at] ^= key[(at - start) % 4];
}

/** A control frame, or a breach of the rules by the peer. */
export interface Control {
  readonly opcode: number;
  readonly content: Uint8Array;
}

/** A breach of the rules of WebSocket by the peer. */
export class FrameError extends Error {
  override name = "FrameError";
  /** Code for the close. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Takes the contents of binary frames out of the bytes of a server. */
export class FrameReader {
  /** True after an empty binary message, which ends the direction. */
  ended = false;
  readonly #onControl: (control: Control) => void;
  /** Bytes of the header of the frame that has begun. */
  readonly #header = new Uint8Array(HEADER_MAX);
  #length = 0;
  /** Bytes of the content that are still to come. */
  #left = 0;
  #opcode = BINARY;
  /** True while further frames of a message are to come. */
  #isPart = false;
  /** Content of a control frame. */
  #control: Uint8Array | undefined;

  /** @param onControl Called with each control frame. */
  constructor(onControl: (control: Control) => void) {
    this.#onControl = onControl;
  }

  /**
   * Moves the contents of binary frames to the start of `bytes`.
   *
   * @param bytes Bytes as they came.
   * @returns A view of the contents, which may be empty.
   * @throws {FrameError} The bytes break the rules.
   */
  take(bytes: Uint8Array): Uint8Array {
    let to = 0;
    for (let at = 0; at < bytes.length;) {
      if (this.#left === 0) {
        at = this.#takeHeader(bytes, at);
        continue;
      }
      const end = Math.min(at + this.#left, bytes.length);
      const control = this.#control;
      if (control) {
        control.set(bytes.subarray(at, end), control.length - this.#left);
      } else {
        bytes.copyWithin(to, at, end);
        to += end - at;
      }
      this.#left -= end - at;
      at = end;
      if (this.#left === 0) this.#endControl();
    }
    return bytes.subarray(0, to);
  }

  /** Takes bytes of a header. Returns the position behind them. */
  #takeHeader(bytes: Uint8Array, at: number): number {
    const header = this.#header;
    header[this.#length++] = bytes[at++];
    if (this.#length < 2) return at;
    const [first, second] = header;
    if (this.#length === 2) this.#check(first, second);
    const size = second === 127 ? 10 : second === 126 ? 4 : 2;
    if (this.#length < size) return at;
    this.#length = 0;
    const view = new DataView(header.buffer);
    const length = size === 2
      ? second
      : size === 4
      ? view.getUint16(2)
      : Number(view.getBigUint64(2));
    this.#begin(first, length);
    return at;
  }

  #check(first: number, second: number): void {
    const opcode = first & 0xf;
    const isControl = opcode >= CLOSE;
    const isBad = (first & 0x70) !== 0 || (second & MASKED) !== 0 ||
      opcode > PONG || opcode > BINARY && !isControl ||
      isControl && (second > CONTROL_MAX || (first & FIN) === 0) ||
      !isControl && (opcode === CONTINUATION) !== this.#isPart;
    if (isBad) {
      throw new FrameError(PROTOCOL_ERROR, "the peer sent a malformed frame");
    }
    if (opcode === TEXT) {
      throw new FrameError(
        UNSUPPORTED_DATA,
        "the peer sent text, 9P needs bytes",
      );
    }
  }

  #begin(first: number, length: number): void {
    const opcode = first & 0xf;
    const isLast = (first & FIN) !== 0;
    this.#left = length;
    if (opcode >= CLOSE) {
      this.#opcode = opcode;
      this.#control = new Uint8Array(length);
      if (length === 0) this.#endControl();
      return;
    }
    if (length > 0 && this.ended) {
      throw new FrameError(PROTOCOL_ERROR, "the peer sent bytes after its end");
    }
    if (length === 0 && isLast && opcode === BINARY) this.ended = true;
    this.#isPart = !isLast;
  }

  #endControl(): void {
    const content = this.#control;
    this.#control = undefined;
    if (content) this.#onControl({ opcode: this.#opcode, content });
  }
}
