// Tstat and Twstat: read and change the attributes of a file. See stat(9P).

import {
  changesOf,
  DMDIR,
  encodeStat,
  NinePError,
  type Stat,
  type Tstat,
  type Twstat,
} from "../../../codec.ts";
import { then } from "../../../codec/_awaitable.ts";
import { statOf } from "../../attributes.ts";
import type { FidNode } from "../../fid.ts";
import { isDirectory } from "../../fids/fid_state.ts";
import type {
  Awaitable,
  Handler,
  StatAnswer,
  WstatRequest,
} from "../../handler.ts";
import { notSupported, Request, type SessionParts } from "../request.ts";
import { checkName } from "./names.ts";

/** A Tstat. See `stat(9P)`. */
export class TstatRequest<N extends FidNode> extends Request<N, StatAnswer> {
  /** Kind of the request. */
  readonly type = "Tstat";

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tstat) {
    super(session, message.tag, session.fids.find(message.fid), "beside");
  }

  override get harmless(): boolean {
    return true;
  }

  check(): void {}

  ask(handler: Handler<N>): Awaitable<StatAnswer> {
    if (handler.stat === undefined) throw notSupported();
    return then(handler.stat(this.fid, this), (stat) => ({ stat }));
  }

  reply({ stat }: StatAnswer): void {
    const { fid } = this;
    // The same object always has the same attributes, so its record is reused.
    if (fid.recorded?.stat !== stat) {
      fid.recorded = { stat, record: encodeStat(statOf(stat)) };
    }
    const { record } = fid.recorded;
    this.operation.checkRoom(record.length);
    // A longer record does not fit into the frame, or into its 16-bit count.
    if (record.length > Math.min(this.session.replies.msize - 9, 0xffff)) {
      throw new NinePError("Invalid argument");
    }
    this.session.replies.putRecord(this.tag, record);
  }
}

/** A Twstat. See `stat(9P)`. */
export class TwstatRequest<N extends FidNode> extends Request<N, void> {
  /** Kind of the request. */
  readonly type = "Twstat";
  /** Attributes to set. */
  readonly changes: Partial<Stat>;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Twstat) {
    // A Twstat does not wait for reads, which may take long. It changes the
    // file and not the fid, as a Twstat on another fid may do at any time.
    super(session, message.tag, session.fids.find(message.fid), "besideReads");
    this.changes = changesOf(message.stat);
  }

  check(): void {
    const { fid, changes, session } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (changes.name !== undefined) {
      checkName(changes.name, session.settings.maxName);
    }
    if (
      changes.mode !== undefined &&
      ((changes.mode & DMDIR) !== 0) !== isDirectory(fid)
    ) {
      throw new NinePError("wstat can't convert between files and directories");
    }
    if (changes.length !== undefined) {
      if (isDirectory(fid) && changes.length !== 0n) {
        throw new NinePError("Is a directory");
      }
      if (changes.length > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new NinePError("file too big");
      }
    }
  }

  ask(handler: Handler<N>): Awaitable<void> {
    if (handler.wstat !== undefined) {
      return handler.wstat(this.fid, this.data, this);
    }
    for (const _ in this.changes) throw new NinePError("wstat prohibited");
  }

  override get data(): WstatRequest {
    return { changes: this.changes };
  }

  reply(_: void): void {
    this.session.replies.put({ type: "Rwstat", tag: this.tag });
  }
}
