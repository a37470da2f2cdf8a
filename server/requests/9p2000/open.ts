// Topen and Tcreate: requests that open the file of a fid. See open(9P).

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  DMTMP,
  NinePError,
  OAPPEND,
  OCEXEC,
  OEXEC,
  ORCLOSE,
  OREAD,
  OTRUNC,
  type Tcreate,
  type Topen,
} from "../../../codec.ts";
import type { FidNode } from "../../fid.ts";
import { isDirectory } from "../../fids/fid_state.ts";
import type {
  Awaitable,
  Created,
  CreateRequest,
  Handler,
  Opened,
  OpenRequest,
} from "../../handler.ts";
import { notSupported, Request, type SessionParts } from "../request.ts";
import { checkName } from "./names.ts";

/** A Topen. See `open(9P)`. */
export class TopenRequest<N extends FidNode>
  extends Request<N, Opened<N> | void> {
  /** Kind of the request. */
  readonly type = "Topen";
  /** OREAD, OWRITE, ORDWR or OEXEC, with OTRUNC, ORCLOSE, OAPPEND. */
  mode: number;
  /** The node that the handler has returned, if there is one. */
  #given: N | undefined;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Topen) {
    super(session, message.tag, session.fids.find(message.fid), "alone");
    this.mode = message.mode;
  }

  check(): void {
    const { fid, session } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (fid.open) throw new NinePError("file already open for I/O");
    this.mode = checkMode(this.mode, session.settings.strict);
    if (isDirectory(fid)) this.mode = checkDirMode(this.mode);
  }

  ask(handler: Handler<N>): Awaitable<Opened<N> | void> {
    return handler.open(this.fid, this.data, this);
  }

  override get data(): OpenRequest {
    return { mode: this.mode, implicit: false };
  }

  reply(answer: Opened<N> | void): void {
    this.#given = answer?.node;
    const { qid } = answer?.node ?? this.fid.node;
    const iounit = this.session.replies.iounit(answer?.iounit);
    this.session.replies.put({ type: "Ropen", tag: this.tag, qid, iounit });
  }

  override revert(): void {
    if (this.#given !== undefined) {
      this.session.releases.releaseNode(this.#given);
    }
  }

  override commit(answer: Opened<N> | void): void {
    if (answer?.node !== undefined) {
      this.session.releases.releaseNodeOf(this.fid);
      this.fid.standFor(answer.node);
    }
    this.fid.mode = this.mode;
  }
}

/** A Tcreate. See `open(9P)`. */
export class TcreateRequest<N extends FidNode> extends Request<N, Created<N>> {
  /** Kind of the request. */
  readonly type = "Tcreate";
  /** Name of the new file. */
  readonly name: string;
  /** Permissions and DM bits. */
  readonly perm: number;
  /** Mode to open with. */
  mode: number;
  /** The node that the handler has returned. */
  #made: N | undefined;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Tcreate) {
    super(session, message.tag, session.fids.find(message.fid), "alone");
    this.name = message.name;
    this.perm = message.perm;
    this.mode = message.mode;
  }

  check(): void {
    const { fid, session, name, perm } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (fid.open) throw new NinePError("file already open for I/O");
    if (!isDirectory(fid)) throw new NinePError("not a directory");
    checkName(name, session.settings.maxName);
    this.mode = checkMode(this.mode, session.settings.strict);
    const known = DMDIR | DMAPPEND | DMEXCL | DMTMP | 0o777;
    if ((perm & ~known) !== 0) throw new NinePError("illegal mode");
    if ((perm & DMDIR) !== 0) this.mode = checkDirMode(this.mode);
  }

  ask(handler: Handler<N>): Awaitable<Created<N>> {
    if (handler.create === undefined) throw notSupported();
    this.session.releases.leave(this.fid);
    return handler.create(this.fid, this.data, this);
  }

  override get data(): CreateRequest {
    const { name, perm, mode } = this;
    return { name, perm, mode };
  }

  override revert(): void {
    if (this.#made !== undefined) {
      this.session.releases.releaseNode(this.#made);
    }
  }

  reply({ node, iounit }: Created<N>): void {
    this.#made = node;
    this.session.replies.put({
      type: "Rcreate",
      tag: this.tag,
      qid: node.qid,
      iounit: this.session.replies.iounit(iounit),
    });
  }

  override commit({ node }: Created<N>): void {
    this.session.releases.releaseNodeOf(this.fid);
    this.fid.standFor(node);
    this.fid.mode = this.mode;
    this.session.releases.endRead(this.fid);
  }
}

/** Returns the mode without the bits that servers ignore; throws for unknown bits. */
function checkMode(mode: number, strict: boolean): number {
  const known = OEXEC | OTRUNC | ORCLOSE;
  if ((mode & ~known) === 0) return mode;
  if (strict || (mode & ~(known | OCEXEC | OAPPEND)) !== 0) {
    throw new NinePError("illegal mode");
  }
  return mode & ~OCEXEC;
}

/** Returns the mode for a directory: OREAD. OAPPEND is ignored; any other mode throws. */
function checkDirMode(mode: number): number {
  const access = mode & ~OAPPEND;
  if (access === OREAD || access === OEXEC) return OREAD;
  throw new NinePError("Is a directory");
}
