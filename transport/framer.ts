// Cuts written bytes into the frames of a transport that carries messages.

/** Smallest message of 9P: size[4] type[1] tag[2]. */
const LEAST = 7;
/** Bytes of the size of a message. */
const HEADER = 4;

const NO_BYTES = new Uint8Array(0);

/**
 * Cuts bytes into whole 9P messages, however they were divided into writes. The
 * first part of a message is held until the rest comes.
 *
 * A message that is larger than the largest frame goes out in several frames,
 * and so do bytes that are no 9P.
 */
export class Framer {
  /** Frame that next() has completed: a view that is valid until the next call. */
  frame: Uint8Array | undefined;
  readonly #largest: number;
  /** Memory for the message that has begun, and how much of it is there. */
  #held = NO_BYTES;
  #length = 0;
  /** Size of the message that has begun, once it is known. */
  #size = 0;
  /** Bytes still to come of a message that is too large for a frame. */
  #left = 0;

  /** @param largest Largest frame in bytes. */
  constructor(largest: number) {
    this.#largest = largest;
  }

  /**
   * Takes bytes until a frame is complete, or there are no more.
   *
   * @param bytes Bytes, at least one.
   * @returns How many bytes were taken.
   */
  next(bytes: Uint8Array): number {
    this.frame = undefined;
    if (this.#left > 0) return this.#pass(bytes);
    if (this.#length > 0) return this.#complete(bytes);
    if (bytes.length >= HEADER) {
      const size = sizeOf(bytes);
      if (this.#isTooLarge(size)) {
        // The rest of a write that is no 9P goes out as it is.
        this.#left = size < LEAST ? bytes.length : size;
        return this.#pass(bytes);
      }
      if (bytes.length >= size) {
        this.frame = bytes.subarray(0, size);
        return size;
      }
      this.#size = size;
    }
    this.#hold(bytes, Math.max(this.#size, HEADER));
    return bytes.length;
  }

  /** Gives the first part of a message whose rest does not come. */
  flush(): Uint8Array | undefined {
    const { length } = this;
    return length > 0 ? this.#take() : undefined;
  }

  /** Number of bytes that are held. */
  get length(): number {
    return this.#length;
  }

  #isTooLarge(size: number): boolean {
    return size < LEAST || size > this.#largest;
  }

  /** Makes a frame of bytes of a message that is too large. */
  #pass(bytes: Uint8Array): number {
    const size = Math.min(this.#left, bytes.length, this.#largest);
    this.#left -= size;
    this.frame = bytes.subarray(0, size);
    return size;
  }

  /** Adds bytes to the message that has begun. */
  #complete(bytes: Uint8Array): number {
    const missing = (this.#size || HEADER) - this.#length;
    const taken = Math.min(missing, bytes.length);
    this.#hold(bytes.subarray(0, taken), this.#size || HEADER);
    if (taken < missing) return taken;
    if (this.#size > 0) {
      this.frame = this.#take();
      return taken;
    }
    const size = sizeOf(this.#held);
    if (this.#isTooLarge(size)) {
      this.frame = this.#take();
      this.#left = size < LEAST ? 0 : size - HEADER;
    } else {
      this.#size = size;
    }
    return taken;
  }

  #hold(bytes: Uint8Array, size: number): void {
    if (this.#held.length < size) {
      const before = this.#held;
      this.#held = new Uint8Array(size);
      this.#held.set(before.subarray(0, this.#length));
    }
    this.#held.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #take(): Uint8Array {
    const bytes = this.#held.subarray(0, this.#length);
    this.#held = NO_BYTES;
    this.#length = this.#size = 0;
    return bytes;
  }
}

function sizeOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}
