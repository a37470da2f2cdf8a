// Tclunk and Tremove: requests that end their fid. See clunk(9P), remove(9P).

import {
  NinePError,
  ORCLOSE,
  type Tclunk,
  type Tremove,
} from "../../../codec.ts";
import type { FidNode } from "../../fid.ts";
import type { FidState } from "../../fids/fid_state.ts";
import type { Awaitable, Handler, RequestContext } from "../../handler.ts";
import { notSupported, Request, type SessionParts } from "../request.ts";

/** A request that ends its fid, even if the request fails. */
abstract class EndingRequest<N extends FidNode> extends Request<N, void> {
  #hasBegun = false;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tclunk | Tremove) {
    super(session, message.tag, session.fids.find(message.fid), "alone");
  }

  override get endsFid(): boolean {
    return true;
  }

  check(): void {
    this.session.fids.remove(this.fid);
    this.#hasBegun = true;
  }

  override commit(_: void): void {
    this.session.releases.ended(this.fid);
  }

  override revert(): void {
    if (this.#hasBegun) this.session.releases.ended(this.fid);
  }
}

/** A Tclunk. See `clunk(9P)`. */
export class TclunkRequest<N extends FidNode> extends EndingRequest<N> {
  /** Kind of the request. */
  readonly type = "Tclunk";

  ask(handler: Handler<N>): Awaitable<void> {
    return releaseFid(this.fid, handler, this);
  }

  reply(_: void): void {
    this.session.replies.put({ type: "Rclunk", tag: this.tag });
  }
}

/** A Tremove. See `remove(9P)`. */
export class TremoveRequest<N extends FidNode> extends EndingRequest<N> {
  /** Kind of the request. */
  readonly type = "Tremove";

  ask(handler: Handler<N>): Awaitable<void> {
    const { fid } = this;
    if (fid.auth) {
      return afterwards(releaseFid(fid, handler, this), () => {
        throw new NinePError("bad use of fid");
      });
    }
    return releaseFid(fid, handler, this, true);
  }

  reply(_: void): void {
    this.session.replies.put({ type: "Rremove", tag: this.tag });
  }
}

/**
 * Releases a fid that is out of the table. For Tremove and ORCLOSE it first
 * removes the file. The handler's clunk() is called even if the removal fails.
 */
export function releaseFid<N extends FidNode>(
  fid: FidState<N>,
  handler: Handler<N>,
  context: RequestContext<N>,
  remove: boolean = fid.open && (fid.mode & ORCLOSE) !== 0,
): Awaitable<void> {
  if (!remove) return handler.clunk?.(fid);
  const clunk = () => handler.clunk?.(fid);
  if (handler.remove === undefined) {
    return afterwards(clunk(), () => {
      throw notSupported();
    });
  }
  let removed: Awaitable<void>;
  try {
    removed = handler.remove(fid, context);
  } catch (error) {
    return afterwards(clunk(), () => {
      throw error;
    });
  }
  if (!(removed instanceof Promise)) return clunk();
  return removed.then(clunk, async (error) => {
    await clunk();
    throw error;
  });
}

function afterwards(first: Awaitable<void>, then: () => void): Awaitable<void> {
  return first instanceof Promise ? first.then(then) : then();
}
