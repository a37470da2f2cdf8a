// An open fid, and the position of the next read or write.

import {
  bounded,
  type CallerOptions,
  explained,
  type FileRef,
  labelOf,
  operate,
} from "../operation.ts";
import type { OpenFid } from "../connection/client_session.ts";
import { endOfFile } from "../transfer/append.ts";
import { type Access, PositionTurns, READ, WRITE } from "./turns.ts";
import { lengthOf } from "../transfer/transfer.ts";

/** The position of an open file. */
export interface Cursor {
  position: number;
}

/** An open fid, until it is closed. */
export class Handle {
  readonly open: OpenFid;
  /** True when each write goes to the end of the file. */
  readonly appends: boolean;
  /** The order of the operations that use the position. */
  readonly turns: PositionTurns = new PositionTurns();
  /**
   * Number of bytes of the write in progress at the position. A read that
   * overtakes the write starts after these bytes.
   */
  writing = 0;
  /** The path or fid that the caller gave for the file. */
  readonly #file: FileRef;
  #closing: Promise<void> | undefined;

  constructor(open: OpenFid, file: FileRef, appends: boolean) {
    this.open = open;
    this.appends = appends;
    this.#file = file;
  }

  /** Name of the file for messages. */
  get label(): string {
    return labelOf(this.#file);
  }

  /**
   * Runs an operation on the file, as {@linkcode operate} does.
   *
   * @throws {TypeError} The file is closed.
   */
  operate<T>(
    verb: string,
    options: CallerOptions,
    work: (signal: AbortSignal | undefined) => Promise<T>,
    undo?: (result: T) => void,
  ): Promise<T> {
    if (!this.#closing) {
      return operate(this.open.session, verb, this.#file, options, work, undo);
    }
    return Promise.reject(
      new TypeError(`Cannot ${verb} ${this.label}: the file is closed`),
    );
  }

  /**
   * Waits until the caller may use the position. After the operation, the
   * caller must call `turns.pass()`. If `turns.take()` has returned true, the
   * caller already has the turn and does not need this method.
   *
   * @returns The options for the operation. Their timeout is reduced by the
   *   time of the wait.
   */
  async turn(
    access: Access,
    cursor: Cursor,
    options: CallerOptions,
  ): Promise<CallerOptions> {
    const verb = access === READ
      ? "read"
      : access === WRITE
      ? "write"
      : "seek in";
    const isAtEnd = async () => await lengthOf(this.open) <= cursor.position;

    const { timeout = this.open.session.timeout } = options;
    const start = performance.now();
    await this.operate(
      verb,
      options,
      () => this.turns.wait(access, isAtEnd),
      () => this.turns.pass(access),
    );
    if (timeout === undefined || timeout === Infinity) return options;
    const left = timeout - (performance.now() - start);
    return { ...options, timeout: Math.max(left, 1) };
  }

  /**
   * Appends to the file, after all earlier appends to this file in this
   * session.
   *
   * @param write Writes at an offset, and returns the number of bytes.
   * @returns The number of bytes, and the position after these bytes.
   */
  append(
    options: CallerOptions,
    write: (
      offset: number,
      signal: AbortSignal | undefined,
    ) => Promise<number>,
  ): Promise<{ count: number; position: number }> {
    const { open } = this;
    return this.operate(
      "write",
      options,
      (signal) =>
        open.session.appends.run(open, signal, async () => {
          // The file may be closed while the append waits. Then its fid may
          // belong to another file.
          if (this.#closing) throw this.#closed();
          const end = await endOfFile(open, signal);
          const count = await write(end, signal);
          return { count, position: end + count };
        }),
    );
  }

  #closed(): DOMException {
    return new DOMException(`The file ${this.label} was closed`, "AbortError");
  }

  /**
   * Aborts the pending requests of the fid and clunks the fid. Further calls
   * wait for the same clunk. An abort or a timeout only ends the wait.
   */
  close(options: CallerOptions = {}): Promise<void> {
    const closing = this.#begin();
    return bounded(
      this.open.session,
      () => `close ${this.label}`,
      options,
      () => closing,
    );
  }

  /** Closes the file without waiting for the reply. */
  drop(): void {
    this.#begin();
  }

  #begin(): Promise<void> {
    const closing = this.#closing ??= this.#close();
    closing.catch(() => {}); // Whether anybody waits or not.
    return closing;
  }

  async #close(): Promise<void> {
    const { session, fid } = this.open;
    this.turns.refuse(this.#closed());
    // A server may delay the Rclunk until it has answered the other requests of
    // the fid.
    session.flushFid(fid, () => this.#closed());
    try {
      await explained("close", this.#file, () => session.clunk(fid));
    } catch (error) {
      if (error !== session.error) throw error;
    }
  }

  /**
   * Runs work of a stream, and closes the file if the work fails, because no
   * other code would close the file.
   */
  async orClose<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.drop();
      throw error;
    }
  }
}
