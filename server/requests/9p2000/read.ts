// Tread: reads the bytes of a file, or the records of a directory. See
// read(9P).

import { NinePError, OREAD, type Tread } from "../../../codec.ts";
import { then } from "../../../codec/_awaitable.ts";
import type { FidNode } from "../../fid.ts";
import { isDirectory } from "../../fids/fid_state.ts";
import type {
  Awaitable,
  Handler,
  ReadAnswer,
  ReadRequest,
} from "../../handler.ts";
import { DirectoryRead } from "../../replies/directory_read.ts";
import { checkBytes, Request, type SessionParts } from "../request.ts";
import { checkImplicit, mayUse, openImplicitly, READ } from "./implicit.ts";
import { NO_BYTES } from "../../../codec/wire.ts";

/** A Tread. See `read(9P)`. */
export class TreadRequest<N extends FidNode> extends Request<N, ReadAnswer> {
  /** Kind of the request. */
  readonly type = "Tread";
  /** Byte to start at, 0 to 2^53 - 1. */
  readonly offset: number;
  /**
   * Maximum of bytes to read: the count of the client, but not more than fits
   * into a reply.
   */
  readonly count: number;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tread) {
    super(session, message.tag, session.fids.find(message.fid), "reading");
    this.offset = Number(message.offset);
    this.count = Math.min(message.count, session.replies.msize - 11);
  }

  override get replyMax(): number {
    return this.count;
  }

  override get harmless(): boolean {
    return !this.operation.opening;
  }

  check(): void {
    const { fid, offset } = this;
    if (!fid.readable) checkImplicit(this);
    if (isDirectory(fid) && offset !== 0 && offset !== fid.dirOffset) {
      throw new NinePError("bad offset in directory read");
    }
  }

  ask(handler: Handler<N>): Awaitable<ReadAnswer> {
    if (mayUse(this.fid, READ)) return this.#ask(handler);
    return openImplicitly(this, OREAD, handler, () => this.#ask(handler));
  }

  #ask(handler: Handler<N>): Awaitable<ReadAnswer> {
    const { fid } = this;
    if (isDirectory(fid)) return this.#readDir(handler);
    // No file is longer than 2^53 - 1 bytes. The offset has no meaning for the
    // fid of an authentication.
    const beyond = !Number.isSafeInteger(this.offset) && !fid.auth;
    if (handler.read === undefined || beyond) {
      return { data: NO_BYTES };
    }
    return then(
      handler.read(fid, this.data, this),
      (data) => ({ data }),
    );
  }

  override get data(): ReadRequest {
    return { offset: this.offset, count: this.count };
  }

  #readDir(handler: Handler<N>): Awaitable<ReadAnswer> {
    const { fid } = this;
    if (handler.readdir === undefined) return { data: NO_BYTES };
    if (this.offset > 0 && fid.dir) return this.#take(fid.dir);
    return then(handler.readdir(fid, { cookie: 0 }, this), (listing) => {
      // The read was flushed meanwhile, and another read may use the directory
      // now.
      if (this.operation.settled) return { data: NO_BYTES };
      this.session.releases.endRead(fid);
      fid.dir = new DirectoryRead(listing);
      return this.#take(fid.dir);
    });
  }

  #take(dir: DirectoryRead): Awaitable<ReadAnswer> {
    const room = { count: this.count, most: this.session.replies.msize - 11 };
    return then(dir.take(room, this), (data) => ({ data }));
  }

  reply({ data }: ReadAnswer): void {
    checkBytes(data);
    this.operation.checkRoom(data.length);
    if (data.length > this.count) {
      throw new TypeError(
        `a read of ${this.count} bytes was answered with ${data.length}`,
      );
    }
    this.session.replies.put({ type: "Rread", tag: this.tag, data });
  }

  override commit({ data }: ReadAnswer): void {
    const { fid } = this;
    if (!isDirectory(fid)) return;
    fid.dirOffset = this.offset + data.length;
    fid.dir?.commit(data.length, this); // Undefined when a loop over requests answers.
  }
}
