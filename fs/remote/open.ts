// The open files of the far server that near fids use.

import { NinePError, ORDWR } from "../../codec.ts";
import type {
  CallRequest,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../../server.ts";
import { abortable } from "../functions/callable.ts";
import type { Ending, OpenFile, TreeFile } from "../tree.ts";
import type { Far, FarOpen } from "./far.ts";

/** Err of an Rcall when the file is no function. */
const NOT_A_FUNCTION = 255;

/** The parts of a file that its open uses. */
export interface OpenedFile {
  /** The far server. */
  readonly far: Far;
  /** Makes another fid of the file, which is not open. */
  clone(signal: AbortSignal | undefined): Promise<number>;
  /** Returns a fid of the file, which may be open. The file keeps the fid. */
  anyFid(signal: AbortSignal | undefined): Promise<number>;
}

/**
 * An open file of a near fid: a fid of the far server for it alone. It is made
 * at the open, or at the first read or write if the near client sends no Topen.
 */
export class RemoteOpen implements OpenFile {
  /** The file that the far server has put in the place of the one that was opened. */
  readonly file?: TreeFile;
  readonly #opened: OpenedFile;
  readonly #far: Far;
  #fid: number | undefined;
  /** The fid, while it is made. */
  #making: Promise<number> | undefined;
  /** Mode of the Topen; undefined before it. */
  #mode: number | undefined;
  #iounit: number;
  #hasRead = false;
  #hasWritten = false;
  /** Aborts requests for which no near client waits. */
  readonly #end = new AbortController();

  /**
   * @param opened The file.
   * @param open The fid and its mode, if the fid was opened with a Topen.
   * @param file The file that the fid stands for, when it is another one.
   */
  constructor(
    opened: OpenedFile,
    open?: FarOpen & { readonly mode: number },
    file?: TreeFile,
  ) {
    this.#opened = opened;
    this.#far = opened.far;
    this.#fid = open?.fid;
    this.#mode = open?.mode;
    this.#iounit = open?.iounit ?? 0;
    if (file !== undefined) this.file = file;
  }

  /** Most bytes that one request of the far session moves. */
  get iounit(): number {
    return this.#iounit;
  }

  /** The fid of the far server, while there is one. */
  get fid(): number | undefined {
    return this.#fid;
  }

  /**
   * Reads with one request. The result has fewer bytes if the far session
   * allows no more.
   */
  async read(
    { offset, count }: ReadRequest,
    { signal }: RequestContext,
  ): Promise<Uint8Array> {
    const fid = this.#fid ?? await this.#make(signal);
    this.#hasRead = true;
    const { data } = await this.#far.request({
      type: "Tread",
      fid,
      offset: BigInt(offset),
      count: Math.min(count, this.#limit),
    }, signal);
    return data;
  }

  /**
   * Writes with as many requests as needed, until the far server takes fewer
   * bytes than it was sent.
   */
  async write(
    { offset, data }: WriteRequest,
    { signal }: RequestContext,
  ): Promise<number> {
    const fid = this.#fid ?? await this.#make(signal);
    this.#hasWritten = true;
    let written = 0;
    do {
      const part = data.subarray(written, written + this.#limit);
      let count: number;
      try {
        ({ count } = await this.#far.request({
          type: "Twrite",
          fid,
          offset: wireOffset(offset + written),
          data: part,
        }, signal));
      } catch (error) {
        // The next write will get the error. This write tells the bytes that
        // were written.
        if (written > 0 && !signal.aborted) return written;
        throw error;
      }
      written += count;
      if (count < part.length) break;
    } while (written < data.length);
    return written;
  }

  /** Calls the function. A call needs no fid of its own. */
  async call(
    { text, data }: CallRequest,
    { signal }: RequestContext,
  ): Promise<Uint8Array | undefined> {
    const fid = this.#fid ?? await this.#opened.anyFid(signal);
    const reply = await this.#far.request(
      { type: "Tcall", fid, text, data },
      signal,
    );
    const { err } = reply;
    if (err === 0) return reply.data;
    if (err === NOT_A_FUNCTION) return undefined;
    const detail = reply.text === "" ? "" : `: ${reply.text}`;
    throw new NinePError(`error ${err}${detail}`);
  }

  /** Sends a Topen for a fid that was used without a Topen. */
  async reopen(
    { mode, implicit }: OpenRequest,
    { signal }: RequestContext,
  ): Promise<void> {
    if (implicit) return;
    const old = this.#fid;
    let open: FarOpen;
    if (old !== undefined && this.#mode === undefined) {
      // A function file keeps the written arguments for the fid, so the fid
      // stays.
      open = await this.#far.open(old, mode, signal);
    } else {
      // The fid may be open after a Topen that was given up.
      const fid = await this.#opened.clone(signal);
      open = await this.#far.openOrDrop(fid, mode, signal);
    }
    const { fid, iounit } = open;
    if (this.#end.signal.aborted) return this.#far.drop(fid);
    if (old !== undefined && old !== fid) this.#far.drop(old);
    this.#fid = fid;
    this.#mode = mode;
    this.#iounit = iounit;
  }

  /** Clunks the fid. The reply may say that a write has failed. */
  async close({ lost }: Ending): Promise<void> {
    if (this.#end.signal.aborted) return;
    this.#end.abort();
    const fid = this.#fid;
    this.#fid = undefined;
    if (fid === undefined) return;
    if (!lost) return await this.#far.clunk(fid);
    // A Tclunk looks as if the near client had ended in order.
    const isKept = this.#hasWritten && !this.#hasRead &&
      this.#mode !== undefined && (this.#mode & 3) === ORDWR;
    if (isKept) this.#far.conceal(fid);
    else this.#far.drop(fid);
  }

  get #limit(): number {
    // A new session may have begun.
    return Math.min(this.#iounit || Infinity, this.#far.limit);
  }

  /**
   * Makes the far fid for a near client that sends no Topen, once for all
   * requests that wait for it.
   */
  async #make(signal: AbortSignal): Promise<number> {
    const end = this.#end.signal;
    this.#making ??= this.#opened.clone(end).then((fid) => {
      if (end.aborted) this.#far.drop(fid);
      else this.#fid = fid;
      return fid;
    }).finally(() => this.#making = undefined);
    return await abortable(this.#making, signal);
  }
}

/** Returns an offset for the wire. For an append it may be any number. */
function wireOffset(offset: number): bigint {
  if (Number.isSafeInteger(offset)) return BigInt(offset);
  return 0xffff_ffff_ffff_ffffn;
}
