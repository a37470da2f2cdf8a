// The requests that make, move and end fids: Tauth, Tattach, Twalk, Topen,
// Tcreate, Tclunk, Tremove. One class each: its checks in the manual's order,
// how a handler is asked, and what the answer does to the fids.

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  DMTMP,
  NinePError,
  NOFID,
  OAPPEND,
  OCEXEC,
  OEXEC,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  QTAUTH,
  QTDIR,
  type Tattach,
  type Tauth,
  type Tclunk,
  type Tcreate,
  type Topen,
  type Tremove,
  type Twalk,
} from "../codec.ts";
import { then } from "../codec/_awaitable.ts";
import type { SessionCore } from "./core.ts";
import { type FidState, isDirectory, type Node } from "./fid.ts";
import type {
  AttachRequest,
  AuthRequest,
  Awaitable,
  Created,
  CreateRequest,
  Found,
  Handler,
  Opened,
  OpenRequest,
  RequestContext,
  Walked,
  WalkRequest,
} from "./handler.ts";
import { notSupported, Request } from "./request.ts";

/** A request that makes a fid out of nothing but a user and a tree. */
abstract class Birth<N extends Node> extends Request<N, Found<N>> {
  /** Tree. */
  readonly aname: string;
  #found: N | undefined;

  constructor(core: SessionCore<N>, fid: number, message: Tauth | Tattach) {
    const { tag, uname, aname } = message;
    super(core, tag, core.bear(fid, uname, aname), "alone");
    this.aname = aname;
  }

  override get bearing(): boolean {
    return true;
  }

  /** Notes the node, for revert() to let go of. */
  protected take({ node }: Found<N>): void {
    this.#found = node;
  }

  override commit({ node }: Found<N>): void {
    this.fid.node = node;
    this.fid.born = true;
  }

  override revert(): void {
    this.core.remove(this.fid);
    if (this.#found !== undefined) this.core.releaseNode(this.#found);
  }
}

/** A Tauth. See `attach(9P)`. */
export class Auth<N extends Node> extends Birth<N> {
  /** Kind of the request. */
  readonly type = "Tauth";

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tauth) {
    super(core, message.afid, message);
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
    this.take(answer);
    const { qid } = answer.node;
    if ((qid.type & QTAUTH) === 0) {
      throw new TypeError("the node of an auth must have QTAUTH in its qid");
    }
    this.core.put({ type: "Rauth", tag: this.tag, aqid: qid });
  }

  override commit(answer: Found<N>): void {
    super.commit(answer);
    this.fid.auth = true;
    this.fid.mode = ORDWR;
  }
}

/** A Tattach. See `attach(9P)`. */
export class Attach<N extends Node> extends Birth<N> {
  /** Kind of the request. */
  readonly type = "Tattach";
  /** Authentication that was made before; undefined for none. */
  readonly afid: FidState<N> | undefined;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tattach) {
    const { fid, afid } = message;
    super(core, fid, message);
    if (afid === NOFID) return;
    this.afid = core.fids.get(afid);
    if (!this.afid?.auth) {
      core.remove(this.fid);
      throw this.afid === undefined
        ? new NinePError("fid unknown or out of range")
        : new NinePError("bad use of fid");
    }
    this.afid.enter(false, false); // What ends the afid waits until it was asked for.
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
    this.take(answer);
    const { qid } = answer.node;
    this.core.put({ type: "Rattach", tag: this.tag, qid });
  }

  override commit(answer: Found<N>): void {
    super.commit(answer);
    this.#leave();
  }

  override revert(): void {
    super.revert();
    this.#leave();
  }

  #leave(): void {
    if (this.afid === undefined) return;
    this.afid.leave(false, false);
    this.core.admission.wake(this.afid);
  }
}

/** A Twalk. See `walk(9P)`. */
export class Walk<N extends Node> extends Request<N, Walked<N>> {
  /** Kind of the request. */
  readonly type = "Twalk";
  /** Names to walk. */
  readonly wname: readonly string[];
  /** Fid for the file reached; may be the fid itself. */
  readonly newfid: FidState<N>;
  /** The nodes that the walk has found, and must let go. */
  #nodes: readonly N[] = [];
  /** Whether the handler looks for a name. */
  #looking = false;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Twalk) {
    const fid = core.fid(message.fid);
    const isMove = message.newfid === message.fid;
    super(core, message.tag, fid, isMove ? "alone" : "beside");
    this.wname = message.wname;
    this.newfid = isMove
      ? fid
      : core.bear(message.newfid, fid.uname, fid.aname);
    // Requests for the new fid may come before the walk is done: they wait.
    if (this.newfid !== fid) this.newfid.enter(false, true);
  }

  // Until it is answered, no fid is another.
  override get harmless(): boolean {
    return true;
  }

  check(): void {
    const { fid, newfid, wname, core } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (fid.open && (newfid === fid || core.options.strict)) {
      throw new NinePError("bad use of fid");
    }
    if (wname.length > 0 && !isDirectory(fid)) {
      throw new NinePError("not a directory");
    }
  }

  ask(handler: Handler<N>): Awaitable<Walked<N>> {
    return this.#walkOn(handler, []);
  }

  override get data(): WalkRequest<N> {
    const { wname, newfid } = this;
    return { wname, newfid };
  }

  #walkOn(handler: Handler<N>, nodes: N[]): Awaitable<Walked<N>> {
    const { wname } = this;
    this.#nodes = nodes;
    let node = nodes.length > 0 ? nodes[nodes.length - 1] : this.fid.node;
    while (nodes.length < wname.length) {
      // What a name behind a plain file would mean, nobody is asked.
      if ((node.qid.type & QTDIR) === 0) break;
      const name = wname[nodes.length];
      let found: Awaitable<N | undefined>;
      try {
        found = isWalkable(name) ? handler.walk(node, name, this) : undefined;
      } catch (error) {
        return this.#stopped(nodes, error);
      }
      if (found instanceof Promise) {
        this.#looking = true;
        return found.then(
          (next) => {
            this.#looking = false;
            if (next !== undefined) nodes.push(next);
            // The walk was given up meanwhile, and the fid may be gone.
            if (this.operation.settled) this.#letGo();
            if (next === undefined || this.operation.settled) return { nodes };
            return this.#walkOn(handler, nodes);
          },
          (error) => {
            this.#looking = false;
            if (this.operation.settled) this.#letGo();
            return this.#stopped(nodes, error);
          },
        );
      }
      if (found === undefined) break;
      nodes.push(found);
      node = found;
    }
    return { nodes };
  }

  /** Only the failure of the first name is an error; a later one ends the walk there. */
  #stopped(nodes: N[], error: unknown): Walked<N> {
    if (nodes.length === 0 || !(error instanceof NinePError)) throw error;
    return { nodes };
  }

  /** Lets go of what was found. Later calls do nothing. */
  #letGo(but?: N): void {
    const nodes = this.#nodes;
    this.#nodes = [];
    // From the end on: a file before its directory.
    for (let i = nodes.length - 1; i >= 0; i--) {
      if (i < nodes.length - 1 || but === undefined) {
        this.core.releaseNode(nodes[i]);
      }
    }
  }

  reply({ nodes }: Walked<N>): void {
    this.#nodes = nodes;
    if (nodes.length === 0 && this.wname.length > 0) {
      throw new NinePError("file does not exist");
    }
    if (nodes.length > this.wname.length) {
      throw new TypeError("a walk has more nodes than names");
    }
    this.core.put({
      type: "Rwalk",
      tag: this.tag,
      wqid: nodes.map((node) => node.qid),
    });
  }

  override commit({ nodes }: Walked<N>): void {
    const { fid, newfid, wname } = this;
    if (nodes.length < wname.length) {
      this.revert();
    } else {
      if (nodes.length > 0) {
        const node = nodes[nodes.length - 1];
        if (newfid === fid) this.core.move(fid);
        newfid.node = node;
        this.#letGo(node);
      } else if (newfid !== fid) {
        this.core.share(fid, newfid);
      }
      newfid.born = true;
      this.#unlock();
    }
  }

  override revert(): void {
    if (!this.#looking) this.#letGo();
    if (this.newfid === this.fid) return;
    this.core.remove(this.newfid);
    this.#unlock();
  }

  #unlock(): void {
    const { newfid } = this;
    if (newfid === this.fid) return;
    newfid.leave(false, true);
    this.core.admission.wake(newfid);
  }
}

/** A Topen. See `open(9P)`. */
export class Open<N extends Node> extends Request<N, Opened<N> | void> {
  /** Kind of the request. */
  readonly type = "Topen";
  /** OREAD, OWRITE, ORDWR or OEXEC, with OTRUNC, ORCLOSE, OAPPEND. */
  mode: number;
  /** A node that the handler has given. */
  #given: N | undefined;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Topen) {
    super(core, message.tag, core.fid(message.fid), "alone");
    this.mode = message.mode;
  }

  check(): void {
    const { fid, core } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (fid.open) throw new NinePError("file already open for I/O");
    this.mode = checkMode(this.mode, core.options.strict);
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
    const iounit = this.core.iounit(answer?.iounit);
    this.core.put({ type: "Ropen", tag: this.tag, qid, iounit });
  }

  override revert(): void {
    if (this.#given !== undefined) this.core.releaseNode(this.#given);
  }

  override commit(answer: Opened<N> | void): void {
    if (answer?.node !== undefined) {
      this.core.letGo(this.fid);
      this.fid.node = answer.node;
    }
    this.fid.mode = this.mode;
  }
}

/** A Tcreate. See `open(9P)`. */
export class Create<N extends Node> extends Request<N, Created<N>> {
  /** Kind of the request. */
  readonly type = "Tcreate";
  /** Name of the new file. */
  readonly name: string;
  /** Permissions and DM bits. */
  readonly perm: number;
  /** Mode to open with. */
  mode: number;
  /** The node that the handler has made. */
  #made: N | undefined;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tcreate) {
    super(core, message.tag, core.fid(message.fid), "alone");
    this.name = message.name;
    this.perm = message.perm;
    this.mode = message.mode;
  }

  check(): void {
    const { fid, core, name, perm } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (fid.open) throw new NinePError("file already open for I/O");
    if (!isDirectory(fid)) throw new NinePError("not a directory");
    core.checkName(name);
    this.mode = checkMode(this.mode, core.options.strict);
    const known = DMDIR | DMAPPEND | DMEXCL | DMTMP | 0o777;
    if ((perm & ~known) !== 0) throw new NinePError("illegal mode");
    if ((perm & DMDIR) !== 0) this.mode = checkDirMode(this.mode);
  }

  ask(handler: Handler<N>): Awaitable<Created<N>> {
    if (handler.create === undefined) throw notSupported();
    this.core.leave(this.fid);
    return handler.create(this.fid, this.data, this);
  }

  override get data(): CreateRequest {
    const { name, perm, mode } = this;
    return { name, perm, mode };
  }

  override revert(): void {
    if (this.#made !== undefined) this.core.releaseNode(this.#made);
  }

  reply({ node, iounit }: Created<N>): void {
    this.#made = node;
    this.core.put({
      type: "Rcreate",
      tag: this.tag,
      qid: node.qid,
      iounit: this.core.iounit(iounit),
    });
  }

  override commit({ node }: Created<N>): void {
    this.core.letGo(this.fid);
    this.fid.node = node;
    this.fid.mode = this.mode;
    this.core.endRead(this.fid);
  }
}

/** A request that ends its fid, whatever the answer will be. */
abstract class Ending<N extends Node> extends Request<N, void> {
  #hasBegun = false;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tclunk | Tremove) {
    super(core, message.tag, core.fid(message.fid), "alone");
  }

  override get endsFid(): boolean {
    return true;
  }

  check(): void {
    this.core.remove(this.fid);
    this.#hasBegun = true;
  }

  override commit(_: void): void {
    this.core.ended(this.fid);
  }

  override revert(): void {
    if (this.#hasBegun) this.core.ended(this.fid);
  }
}

/** A Tclunk. See `clunk(9P)`. */
export class Clunk<N extends Node> extends Ending<N> {
  /** Kind of the request. */
  readonly type = "Tclunk";

  ask(handler: Handler<N>): Awaitable<void> {
    return release(this.fid, handler, this);
  }

  reply(_: void): void {
    this.core.put({ type: "Rclunk", tag: this.tag });
  }
}

/** A Tremove. See `remove(9P)`. */
export class Remove<N extends Node> extends Ending<N> {
  /** Kind of the request. */
  readonly type = "Tremove";

  ask(handler: Handler<N>): Awaitable<void> {
    const { fid } = this;
    if (fid.auth) {
      return both(release(fid, handler, this), () => {
        throw new NinePError("bad use of fid");
      });
    }
    return release(fid, handler, this, true);
  }

  reply(_: void): void {
    this.core.put({ type: "Rremove", tag: this.tag });
  }
}

/**
 * Releases a fid that is out of the table: Tremove and ORCLOSE remove its file,
 * then the handler may let go, whether that worked or not.
 */
export function release<N extends Node>(
  fid: FidState<N>,
  handler: Handler<N>,
  context: RequestContext<N>,
  remove: boolean = fid.open && (fid.mode & ORCLOSE) !== 0,
): Awaitable<void> {
  if (!remove) return handler.clunk?.(fid);
  const clunk = () => handler.clunk?.(fid);
  if (handler.remove === undefined) {
    return both(clunk(), () => {
      throw notSupported();
    });
  }
  let removed: Awaitable<void>;
  try {
    removed = handler.remove(fid, context);
  } catch (error) {
    return both(clunk(), () => {
      throw error;
    });
  }
  if (!(removed instanceof Promise)) return clunk();
  return removed.then(clunk, async (error) => {
    await clunk();
    throw error;
  });
}

function both(first: Awaitable<void>, then: () => void): Awaitable<void> {
  return first instanceof Promise ? first.then(then) : then();
}

/** Names that stand for nothing in a walk. */
function isWalkable(name: string): boolean {
  return name !== "" && name !== "." && !name.includes("/");
}

/** The mode without the bit that only clients use. */
function checkMode(mode: number, strict: boolean): number {
  const known = OEXEC | OTRUNC | ORCLOSE;
  if ((mode & ~known) === 0) return mode;
  if (strict || (mode & ~(known | OCEXEC | OAPPEND)) !== 0) {
    throw new NinePError("illegal mode");
  }
  return mode & ~OCEXEC;
}

/** Directories are only read, so OAPPEND is ignored for them. */
function checkDirMode(mode: number): number {
  const access = mode & ~OAPPEND;
  if (access === OREAD || access === OEXEC) return OREAD;
  throw new NinePError("Is a directory");
}
