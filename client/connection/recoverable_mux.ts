// A connection that records how its fids were made, so that the client can make
// the same fids on the next connection.

import {
  IOHDRSZ,
  type Message,
  NinePError,
  NOFID,
  ORCLOSE,
  ORDWR,
  type Qid,
  QTEXCL,
  type ReplyTo,
  type Tattach,
  type Tmessage,
  type Tread,
  type Tstat,
  type Twrite,
} from "../../codec.ts";
import { endsItsFid, neededFidOf } from "./message_table.ts";
import { Mux } from "./mux.ts";
import { leadsTo } from "../operation.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/** Most bytes of a write that are remembered, to recognize the file later. */
const TAIL = 64;
/** How a fid was made, and what was done with it. */
export interface Origin {
  /**
   * The Tattach that made the root of its tree. For an afid, a Tattach whose
   * fid and afid are both the number of this afid.
   */
  readonly attach: Tattach;
  /** Elements of the path from the root to the file, without `..`. */
  names: readonly string[];
  qid: Qid;
  /**
   * Mode of the Topen or Tcreate, and the qid and iounit of its reply;
   * undefined while the fid is not open.
   */
  open?: { readonly mode: number; readonly qid: Qid; readonly iounit: number };
  /** True when something was written through the fid. */
  isWritten?: boolean;
  /**
   * End of the data that were written through the fid, in bytes from the start
   * of the file.
   */
  writtenTo?: number;
  /** End of the data that were read through the fid. */
  readTo?: number;
  /**
   * The last bytes that were written through the fid, if the fid is open for
   * reading and writing.
   */
  tail?: { readonly offset: number; readonly data: Uint8Array } | undefined;
  /**
   * True after the fid was opened again for reading and writing, if something
   * had been written through it before. A server may keep written data for the
   * reads of the same fid, as for a function file. So a read through the new
   * fid could return the value of another user. The flag is cleared when
   * prove() finds the written bytes, or after the next write.
   */
  isUnproven?: boolean;
  /**
   * True after the fid was opened again, if a part of the file had been read
   * through it before.
   */
  isReadOn?: boolean;
  /**
   * True for a directory that was opened again and has not been read since. The
   * next read must start at the beginning.
   */
  isRewound?: boolean;
}

/** A Mux that records how its fids were made and used. */
export class RecoverableMux extends Mux {
  /**
   * The origin of each fid, by the number of the fid; for a fid that could not
   * be made again, the error of its requests.
   */
  readonly fids: Map<number, Origin | NinePError> = new Map();

  /**
   * Starts a session as {@linkcode Mux.version} does, and forgets all fids.
   */
  override async version(msize: number, reason?: unknown): Promise<void> {
    try {
      await super.version(msize, reason);
    } finally {
      this.fids.clear();
    }
  }

  /**
   * Sends a request as {@linkcode Mux.rpc} does, and notes how it changes a
   * fid.
   */
  override async rpc<T extends Tmessage>(
    request: T,
    signal?: AbortSignal,
    tag?: number,
  ): Promise<ReplyTo<T>> {
    // The request ends the fid, even if the reply is an error.
    if (endsItsFid(request)) this.fids.delete(request.fid);
    else if (request.type === "Twrite") {
      const origin = this.origin(request.fid);
      if (origin) origin.isWritten = true;
    }
    const reply = await super.rpc(request, signal, tag);
    this.#note(request, reply);
    return reply;
  }

  /** Tells whether a fid could not be made again. */
  isStale(fid: number): boolean {
    return this.fids.get(fid) instanceof NinePError;
  }

  /**
   * Checks that the fid of a request was not lost.
   *
   * @throws {NinePError} The fid was lost with another connection.
   */
  check(request: Tmessage): void {
    const fid = neededFidOf(request);
    if (fid === undefined) return;
    const { type } = request;
    const origin = this.fids.get(fid);
    if (origin instanceof NinePError) {
      if (type === "Tremove") this.fids.delete(fid); // As on a server.
      throw origin;
    }
    if (type !== "Tread" || !origin?.isRewound) return;
    if (request.offset !== 0n) {
      throw stale(
        origin,
        "a directory that was read in part must be read again from its beginning",
      );
    }
    origin.isRewound = false;
  }

  /** Notes how far a file was read or written. */
  noteMoved(request: Tread | Twrite, count: number): void {
    const origin = this.origin(request.fid);
    if (!origin) return;
    const isWrite = request.type === "Twrite";
    if (isWrite) origin.isUnproven = false; // The function has new arguments.
    if (count === 0) return; // Without bytes, the offset means nothing.
    const end = Number(request.offset) + count;
    if (!isWrite) {
      origin.readTo = Math.max(origin.readTo ?? 0, end);
      return;
    }
    origin.writtenTo = Math.max(origin.writtenTo ?? 0, end);
    if (origin.open && (origin.open.mode & 3) === ORDWR) {
      const data = request.data.slice(Math.max(0, count - TAIL), count);
      origin.tail = { offset: end - data.length, data };
    }
  }

  /**
   * Tells whether {@linkcode prove} must check the file of a fid before a read.
   */
  isUnproven(fid: number): boolean {
    return this.origin(fid)?.isUnproven === true;
  }

  /**
   * Checks that a file still has the bytes that were written through its fid
   * before the connection was lost. The check reads from an offset above 0,
   * because such a read calls no function.
   *
   * @throws {NinePError} The file does not have these bytes, or the client has
   *   no bytes to compare.
   */
  async prove(fid: number): Promise<void> {
    const origin = this.origin(fid);
    if (!origin) return;
    const { offset = 0, data = NO_BYTES } = origin.tail ?? {};
    const skipped = offset === 0 ? 1 : 0;
    const expected = data.subarray(skipped);
    let read: Uint8Array = NO_BYTES;
    if (expected.length > 0) {
      const reply = await super.rpc<Tread>({
        type: "Tread",
        tag: 0,
        fid,
        offset: BigInt(offset + skipped),
        count: expected.length,
      });
      read = reply.data;
    }
    const isProven = expected.length > 0 && read.length === expected.length &&
      expected.every((byte, i) => byte === read[i]);
    if (!isProven) {
      throw stale(
        origin,
        "the file may not have the bytes that were written",
      );
    }
    origin.isUnproven = false;
  }

  /**
   * Tells whether an empty reply to a read may come before the end of the file,
   * so that {@linkcode checkEnd} must check it.
   */
  mayGoOn({ fid, offset }: Tread): boolean {
    return offset > 0n && this.origin(fid)?.isReadOn === true;
  }

  /**
   * Checks that a file ends where a read returned no bytes. The file must not
   * be longer: a server may keep the value of a function for a fid that reads
   * the value in parts, and the server has no such value for the new fid. The
   * file must not be shorter than the part that was read.
   *
   * @throws {NinePError} The file does not end there.
   */
  async checkEnd({ fid, offset }: Tread): Promise<void> {
    const { stat } = await super.rpc<Tstat>({ type: "Tstat", tag: 0, fid });
    const origin = this.origin(fid);
    if (!origin) return;
    const { readTo = 0, open } = origin;
    const { length, qid } = stat;
    // A stream has no length, and its version says nothing about its data.
    const isStream = length === 0n && qid.vers === open?.qid.vers;
    if (isStream || length <= offset && length >= readTo) return;
    throw stale(
      origin,
      "the file does not end where the part that was read ended",
    );
  }

  /** Most bytes of data in one request for a fid. */
  limitOf(fid: number): number {
    const iounit = this.origin(fid)?.open?.iounit || Infinity;
    return Math.min(iounit, this.msize - IOHDRSZ);
  }

  /** Returns how a fid was made, unless it is unknown or stale. */
  origin(fid: number): Origin | undefined {
    const origin = this.fids.get(fid);
    return origin instanceof NinePError ? undefined : origin;
  }

  #note(request: Tmessage, reply: Message): void {
    const { fids } = this;
    if (request.type === "Tattach" && reply.type === "Rattach") {
      fids.set(request.fid, { attach: request, names: [], qid: reply.qid });
      return;
    }
    if (request.type === "Tauth" && reply.type === "Rauth") {
      const { uname, aname, afid } = request;
      const attach: Tattach = {
        type: "Tattach",
        tag: 0,
        fid: afid,
        afid,
        uname,
        aname,
      };
      fids.set(afid, { attach, names: [], qid: reply.aqid });
      return;
    }
    const origin = "fid" in request ? this.origin(request.fid) : undefined;
    if (!origin) return;
    if (request.type === "Twalk" && reply.type === "Rwalk") {
      const { newfid, wname } = request;
      if (reply.wqid.length < wname.length) return;
      const qid = reply.wqid.at(-1) ?? origin.qid;
      const names = resolved(origin.names, wname);
      fids.set(newfid, { attach: origin.attach, names, qid });
    } else if (request.type === "Topen" && reply.type === "Ropen") {
      const { qid, iounit } = reply;
      origin.open = { mode: request.mode, qid, iounit };
    } else if (request.type === "Tcreate" && reply.type === "Rcreate") {
      const { qid, iounit } = reply;
      origin.names = [...origin.names, request.name];
      origin.qid = qid;
      origin.open = { mode: request.mode, qid, iounit };
    } else if (request.type === "Twstat" && request.stat.name !== "") {
      this.#rename(origin, request.stat.name);
    }
  }

  /** Renames a file in the paths of all fids that lead through it. */
  #rename({ attach, names }: Origin, name: string): void {
    const last = names.length - 1;
    if (last < 0) return;
    for (const origin of this.fids.values()) {
      if (origin instanceof NinePError) continue;
      if (origin.attach.aname !== attach.aname) continue;
      if (!leadsTo(origin.names, names)) continue;
      origin.names = origin.names.with(last, name);
    }
  }
}

/**
 * Returns the path, without `..`, to which the names in `wname` lead from the
 * path `from`.
 */
function resolved(
  from: readonly string[],
  wname: readonly string[],
): string[] {
  const names = [...from];
  for (const name of wname) {
    if (name === "..") names.pop();
    else names.push(name);
  }
  return names;
}

/**
 * Returns the reason why a fid cannot be made again on another connection, or
 * undefined if it can.
 *
 * @param canLogin True when the user can be authenticated again.
 */
export function endOf(
  { attach, open }: Origin,
  canLogin: boolean,
): string | undefined {
  const { fid, afid } = attach;
  if (afid === fid || afid !== NOFID && !canLogin) {
    return "its user was authenticated on that";
  }
  if (!open) return undefined;
  if (open.qid.type & QTEXCL) return "others may have had it meanwhile";
  if (open.mode & ORCLOSE) return "it was to be removed when it is closed";
  return undefined;
}

/** Makes the error for requests of a fid that was lost with its connection. */
export function stale(
  { names }: Origin,
  detail: string,
  cause?: unknown,
): NinePError {
  const path = `"/${names.join("/")}"`;
  return new NinePError("Stale file handle", {
    code: "ESTALE",
    message: `${path} was lost with the connection: ${detail}`,
    cause,
  });
}
