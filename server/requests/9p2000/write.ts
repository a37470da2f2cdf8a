// Twrite: writes the bytes of a file. See read(9P).

import { NinePError, OWRITE, QTAPPEND, type Twrite } from "../../../codec.ts";
import { then } from "../../../codec/_awaitable.ts";
import type { FidNode } from "../../fid.ts";
import { isDirectory } from "../../fids/fid_state.ts";
import type {
  Awaitable,
  Handler,
  WriteAnswer,
  WriteRequest,
} from "../../handler.ts";
import { notSupported, type SessionParts } from "../request.ts";
import { checkImplicit, mayUse, openImplicitly, WRITE } from "./implicit.ts";
import { DataRequest } from "./data_request.ts";

/** A Twrite. See `read(9P)`. */
export class TwriteRequest<N extends FidNode>
  extends DataRequest<N, WriteAnswer> {
  /** Kind of the request. */
  readonly type = "Twrite";
  /**
   * Byte to start at, 0 to 2^53 - 1. For an append-only file, or a fid that
   * appends, the offset may be larger and has no meaning.
   */
  readonly offset: number;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Twrite) {
    super(session, message);
    this.offset = Number(message.offset);
  }

  check(): void {
    const { fid } = this;
    if (isDirectory(fid)) throw new NinePError("bad use of fid");
    if (!fid.writable) checkImplicit(this);
    const { length } = this.bytes;
    // The offset has no meaning for appended data, and for the fid of an
    // authentication.
    const isPlaced = !fid.auth && !this.#appends;
    if (isPlaced && length > 0 && !Number.isSafeInteger(this.offset + length)) {
      throw new NinePError("file too big");
    }
  }

  override revert(): void {
    this.fid.writeFailed = true;
  }

  ask(handler: Handler<N>): Awaitable<WriteAnswer> {
    if (mayUse(this.fid, WRITE)) return this.#ask(handler);
    return openImplicitly(this, OWRITE, handler, () => this.#ask(handler));
  }

  #ask(handler: Handler<N>): Awaitable<WriteAnswer> {
    if (handler.write === undefined) throw notSupported();
    return then(
      handler.write(this.fid, this.data, this),
      (count) => count === undefined ? {} : { count },
    );
  }

  override get data(): WriteRequest {
    const { offset, bytes } = this;
    return { offset, data: bytes, append: this.#appends };
  }

  /** True when the data go to the end of the file. */
  get #appends(): boolean {
    const { fid } = this;
    return fid.appends || (fid.node.qid.type & QTAPPEND) !== 0;
  }

  reply({ count = this.bytes.length }: WriteAnswer): void {
    if (count > this.bytes.length) {
      throw new TypeError(
        `a write of ${this.bytes.length} bytes was answered with ${count}`,
      );
    }
    this.session.replies.put({ type: "Rwrite", tag: this.tag, count });
  }
}
