// Tcall: calls a function file.

import { NinePError, ORDWR, type Tcall } from "../../../codec.ts";
import { then } from "../../../codec/_awaitable.ts";
import type { FidNode } from "../../fid.ts";
import type {
  Awaitable,
  CallAnswer,
  CallRequest,
  Handler,
} from "../../handler.ts";
import { checkBytes, type SessionParts } from "../request.ts";
import { BOTH, mayUse, openImplicitly } from "./implicit.ts";
import { DataRequest } from "./data_request.ts";
import { NO_BYTES } from "../../../codec/wire.ts";

/** A Tcall. */
export class TcallRequest<N extends FidNode>
  extends DataRequest<N, CallAnswer> {
  /** Kind of the request. */
  readonly type = "Tcall";
  /** Arguments: JSON, unless the function has another loader. */
  readonly text: string;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tcall) {
    super(session, message);
    this.text = message.text;
  }

  override get replyMax(): number {
    return this.session.replies.msize - 15;
  }

  override get harmless(): boolean {
    return !this.operation.opening;
  }

  check(): void {
    const { fid } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (!fid.node.implicitOpen) return; // A file that is not a function has no access to check.
    if (fid.open && !(fid.readable && fid.writable)) {
      throw new NinePError("bad use of fid");
    }
  }

  ask(handler: Handler<N>): Awaitable<CallAnswer> {
    if (handler.call === undefined) return { data: undefined };
    if (!this.fid.node.implicitOpen) return this.#ask(handler);
    if (mayUse(this.fid, BOTH)) return this.#ask(handler);
    return openImplicitly(this, ORDWR, handler, () => this.#ask(handler));
  }

  #ask(handler: Handler<N>): Awaitable<CallAnswer> {
    if (handler.call === undefined) return { data: undefined };
    return then(
      handler.call(this.fid, this.data, this),
      (data) => ({ data }),
    );
  }

  override get data(): CallRequest {
    return { text: this.text, data: this.bytes };
  }

  reply({ data }: CallAnswer): void {
    const { tag, session } = this;
    if (data === undefined) {
      this.session.replies.put({
        type: "Rcall",
        tag,
        err: 255,
        text: "",
        data: NO_BYTES,
      });
      return;
    }
    checkBytes(data);
    this.operation.checkRoom(data.length);
    if (data.length > session.replies.msize - 15) {
      throw new NinePError("i/o count too large");
    }
    this.session.replies.put({ type: "Rcall", tag, err: 0, text: "", data });
  }
}
