// Tauth and Tattach: requests that create a fid for a user and a tree. See
// attach(9P).

import {
  NinePError,
  NOFID,
  ORDWR,
  QTAUTH,
  type Tattach,
  type Tauth,
} from "../../../codec.ts";
import { then } from "../../../codec/_awaitable.ts";
import type { FidNode } from "../../fid.ts";
import type { FidState } from "../../fids/fid_state.ts";
import type {
  AttachRequest,
  AuthRequest,
  Awaitable,
  Found,
  Handler,
} from "../../handler.ts";
import { Request, type SessionParts } from "../request.ts";

/** A request that creates a fid for a user and a tree. */
abstract class NewFidRequest<N extends FidNode> extends Request<N, Found<N>> {
  /** Tree. */
  readonly aname: string;
  #found: N | undefined;

  constructor(session: SessionParts<N>, fid: number, message: Tauth | Tattach) {
    const { tag, uname, aname } = message;
    super(session, tag, session.fids.add(fid, uname, aname), "alone");
    this.aname = aname;
  }

  override get makesFid(): boolean {
    return true;
  }

  /** Keeps the node, so that revert() can release it. */
  protected keepNode({ node }: Found<N>): void {
    this.#found = node;
  }

  override commit({ node }: Found<N>): void {
    this.fid.standFor(node);
    this.fid.bound = true;
  }

  override revert(): void {
    this.session.fids.remove(this.fid);
    if (this.#found !== undefined) {
      this.session.releases.releaseNode(this.#found);
    }
  }
}

/** A Tauth. See `attach(9P)`. */
export class TauthRequest<N extends FidNode> extends NewFidRequest<N> {
  /** Kind of the request. */
  readonly type = "Tauth";

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tauth) {
    super(session, message.afid, message);
  }

  check(): void {}

  ask(handler: Handler<N>): Awaitable<Found<N>> {
    if (handler.auth === undefined) {
      throw new NinePError("authentication not required");
    }
    return then(
      handler.auth(this.fid, this.data, this),
      (node) => ({ node }),
    );
  }

  override get data(): AuthRequest {
    const { uname, aname } = this;
    return { uname, aname };
  }

  reply(answer: Found<N>): void {
    this.keepNode(answer);
    const { qid } = answer.node;
    if ((qid.type & QTAUTH) === 0) {
      throw new TypeError("the node of an auth must have QTAUTH in its qid");
    }
    this.session.replies.put({ type: "Rauth", tag: this.tag, aqid: qid });
  }

  override commit(answer: Found<N>): void {
    super.commit(answer);
    this.fid.auth = true;
    this.fid.mode = ORDWR;
  }
}

/** A Tattach. See `attach(9P)`. */
export class TattachRequest<N extends FidNode> extends NewFidRequest<N> {
  /** Kind of the request. */
  readonly type = "Tattach";
  /** Fid of an earlier Tauth; undefined for none. */
  readonly afid: FidState<N> | undefined;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tattach) {
    const { fid, afid } = message;
    super(session, fid, message);
    if (afid === NOFID) return;
    this.afid = session.fids.byNumber.get(afid);
    if (!this.afid?.auth) {
      session.fids.remove(this.fid);
      throw this.afid === undefined
        ? new NinePError("fid unknown or out of range")
        : new NinePError("bad use of fid");
    }
    this.afid.enter(false, false); // A Tclunk of the afid must wait until this attach is answered.
  }

  check(): void {
    const { afid, uname, aname } = this;
    if (afid && (afid.uname !== uname || afid.aname !== aname)) {
      throw new NinePError("authentication failed");
    }
  }

  ask(handler: Handler<N>): Awaitable<Found<N>> {
    return then(
      handler.attach(this.fid, this.data, this),
      (node) => ({ node }),
    );
  }

  override get data(): AttachRequest<N> {
    const { uname, aname, afid } = this;
    return { uname, aname, afid };
  }

  reply(answer: Found<N>): void {
    this.keepNode(answer);
    const { qid } = answer.node;
    this.session.replies.put({ type: "Rattach", tag: this.tag, qid });
  }

  override commit(answer: Found<N>): void {
    super.commit(answer);
    this.#leaveAfid();
  }

  override revert(): void {
    super.revert();
    this.#leaveAfid();
  }

  #leaveAfid(): void {
    if (this.afid === undefined) return;
    this.afid.leave(false, false);
    this.session.wake(this.afid);
  }
}
