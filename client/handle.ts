// An open fid that knows when it was closed.

import {
  bounded,
  type CallerOptions,
  explained,
  type FileRef,
  labelOf,
  operate,
} from "./operation.ts";
import type { OpenFid } from "./session.ts";

/** An open fid, until it is closed. */
export class Handle {
  readonly open: OpenFid;
  /** As the caller named it. */
  readonly #file: FileRef;
  #closing: Promise<void> | undefined;

  constructor(open: OpenFid, file: FileRef) {
    this.open = open;
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
  ): Promise<T> {
    if (!this.#closing) {
      return operate(this.open.session, verb, this.#file, options, work);
    }
    return Promise.reject(
      new TypeError(`Cannot ${verb} ${this.label}: the file is closed`),
    );
  }

  /** Ends what is under way with the fid and gives it back, once; an abort only ends the waiting. */
  close(options: CallerOptions = {}): Promise<void> {
    const closing = this.#begin();
    return bounded(
      this.open.session,
      () => `close ${this.label}`,
      options,
      () => closing,
    );
  }

  /** Closes the file, and nobody waits for it. */
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
    // A server may hold a Tclunk back until it has answered them.
    session.flushFid(fid, () => {
      const message = `The file ${this.label} was closed`;
      return new DOMException(message, "AbortError");
    });
    try {
      await explained("close", this.#file, () => session.clunk(fid));
    } catch (error) {
      if (error !== session.error) throw error;
    }
  }

  /** Closes the file when what is done for a stream fails: nobody else would. */
  async orClose<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.drop();
      throw error;
    }
  }
}
