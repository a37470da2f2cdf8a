// Twalk: walks from one file to another by names. See walk(9P).

import { NinePError, type Qid, QTDIR, type Twalk } from "../../../codec.ts";
import { systemError } from "../../../codec/system_error.ts";
import type { FidNode } from "../../fid.ts";
import { type FidState, isDirectory } from "../../fids/fid_state.ts";
import type { Awaitable, Handler, Walked, WalkRequest } from "../../handler.ts";
import { isForClient } from "../../replies/error_reply.ts";
import { Request, type SessionParts } from "../request.ts";

/** The initial list of nodes, which all walks share. */
const NO_NODES: readonly never[] = [];

/** A Twalk. See `walk(9P)`. */
export class TwalkRequest<N extends FidNode> extends Request<N, Walked<N>> {
  /** Kind of the request. */
  readonly type = "Twalk";
  /** Names to walk. */
  readonly wname: readonly string[];
  /** Fid for the file that the walk reaches; may be the fid itself. */
  readonly newfid: FidState<N>;
  /** The nodes that the walk has found and must release. */
  #nodes: readonly N[] = NO_NODES;
  /** True while the handler looks up a name. */
  #isLookingUp = false;

  /** Made by a session. */
  constructor(session: SessionParts<N>, message: Twalk) {
    const fid = session.fids.find(message.fid);
    const isMove = message.newfid === message.fid;
    super(session, message.tag, fid, isMove ? "alone" : "beside");
    this.wname = message.wname;
    this.newfid = isMove
      ? fid
      : session.fids.add(message.newfid, fid.uname, fid.aname);
    // Requests for the new fid may arrive before the walk is done. They must
    // wait.
    if (this.newfid !== fid) this.newfid.enter(false, true);
  }

  // A walk changes fids only when the walk is answered.
  override get harmless(): boolean {
    return true;
  }

  check(): void {
    const { fid, newfid, wname, session } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (fid.open && (newfid === fid || session.settings.strict)) {
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
      // A name behind a plain file ends the walk without asking the handler.
      if ((node.qid.type & QTDIR) === 0) break;
      const name = wname[nodes.length];
      let found: Awaitable<N | undefined>;
      try {
        found = isWalkable(name) ? handler.walk(node, name, this) : undefined;
      } catch (error) {
        return this.#stopped(nodes, error);
      }
      if (found instanceof Promise) {
        this.#isLookingUp = true;
        return found.then(
          (next) => {
            this.#isLookingUp = false;
            if (next !== undefined) nodes.push(next);
            // The walk was cancelled meanwhile, and the fid may have ended.
            if (this.operation.settled) this.#releaseNodes();
            if (next === undefined || this.operation.settled) return { nodes };
            return this.#walkOn(handler, nodes);
          },
          (error) => {
            this.#isLookingUp = false;
            if (this.operation.settled) this.#releaseNodes();
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

  /**
   * Ends the walk after an error. If the first name has failed, the walk fails;
   * otherwise the reply has the files before the failed name.
   */
  #stopped(nodes: N[], error: unknown): Walked<N> {
    const isKnown = isForClient(error) || systemError(error) !== undefined;
    if (nodes.length === 0 || !isKnown) throw error;
    this.session.reports.failure(error, this);
    return { nodes };
  }

  /**
   * Releases the nodes that were found, without the last one if it is
   * `except`. Further calls do nothing.
   */
  #releaseNodes(except?: N): void {
    const nodes = this.#nodes;
    if (nodes.length === 0) return;
    this.#nodes = NO_NODES;
    const { releases } = this.session;
    // Backwards, so that a file is released before its directory.
    let i = nodes.length - 1;
    if (except === undefined) releases.releaseNode(nodes[i]);
    while (--i >= 0) releases.releaseNode(nodes[i]);
  }

  reply({ nodes }: Walked<N>): void {
    this.#nodes = nodes;
    if (nodes.length === 0 && this.wname.length > 0) {
      throw new NinePError("file does not exist");
    }
    if (nodes.length > this.wname.length) {
      throw new TypeError("a walk has more nodes than names");
    }
    this.session.replies.put({
      type: "Rwalk",
      tag: this.tag,
      wqid: qidsOf(nodes),
    });
  }

  override commit({ nodes }: Walked<N>): void {
    const { fid, newfid, wname } = this;
    if (nodes.length < wname.length) {
      this.revert();
    } else {
      if (nodes.length > 0) {
        const node = nodes[nodes.length - 1];
        if (newfid === fid) this.session.releases.move(fid);
        newfid.standFor(node);
        this.#releaseNodes(node);
      } else if (newfid !== fid) {
        this.session.releases.share(fid, newfid);
      }
      newfid.bound = true;
      this.#unlock();
    }
  }

  override revert(): void {
    if (!this.#isLookingUp) this.#releaseNodes();
    if (this.newfid === this.fid) return;
    this.session.fids.remove(this.newfid);
    this.#unlock();
  }

  #unlock(): void {
    const { newfid } = this;
    if (newfid === this.fid) return;
    newfid.leave(false, true);
    this.session.wake(newfid);
  }
}

/**
 * Returns the qids of nodes. A loop, because map() would take a twentieth of
 * the time of a walk.
 */
function qidsOf(nodes: readonly FidNode[]): Qid[] {
  const qids: Qid[] = [];
  for (let i = 0; i < nodes.length; i++) qids.push(nodes[i].qid);
  return qids;
}

/** Returns false for names that a walk never finds. */
function isWalkable(name: string): boolean {
  return name !== "" && name !== "." && !name.includes("/");
}
