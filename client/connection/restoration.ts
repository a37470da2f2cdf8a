// Restores the fids of a lost connection on the next connection. Each fid keeps
// its number, and the client finds its file by path.

import {
  NinePError,
  NOFID,
  ORDWR,
  OTRUNC,
  type Qid,
  type Tattach,
} from "../../codec.ts";
import { isDirectory } from "../file_stat.ts";
import {
  endOf,
  type Origin,
  type RecoverableMux,
  stale,
} from "./recoverable_mux.ts";
import { type Authenticate, login } from "./login.ts";
import { ClientSession } from "./client_session.ts";

const NOT_SAME_FILE = "it is not the same file any more";

/** Settings that are the same for each connection. */
export interface RestorationPlan {
  /** First number for fids. */
  readonly fidBase: number;
  /** Returns the function that authenticates a user, if there is one. */
  readonly authOf: (attach: Tattach) => Authenticate | undefined;
}

/** Restores the fids of a lost connection on another connection. */
export class Restoration {
  readonly #mux: RecoverableMux;
  /**
   * The fids of the lost connection. A fid that is clunked during the
   * restoration is removed from this map.
   */
  readonly #wanted: ReadonlyMap<number, Origin | NinePError>;
  /** The fids that cannot be restored, and their errors. */
  readonly #failed = new Map<number, NinePError>();
  readonly #session: ClientSession;
  readonly #authOf: RestorationPlan["authOf"];

  constructor(
    mux: RecoverableMux,
    lost: RecoverableMux,
    { fidBase, authOf }: RestorationPlan,
  ) {
    this.#mux = mux;
    this.#wanted = lost.fids;
    this.#session = new ClientSession(mux, undefined, fidBase);
    this.#authOf = authOf;
  }

  /**
   * Restores all fids that can be restored.
   *
   * @throws {NinePError} The server refuses to attach to any of the trees.
   */
  async run(): Promise<void> {
    const trees = new Map<Tattach, [number, Origin][]>();
    for (const [fid, origin] of this.#wanted) {
      if (origin instanceof NinePError) {
        this.#failed.set(fid, origin);
        continue;
      }
      const canLogin = this.#authOf(origin.attach) !== undefined;
      const end = endOf(origin, canLogin);
      if (end !== undefined) {
        this.#failed.set(fid, stale(origin, end));
        continue;
      }
      this.#session.fids.claim(fid);
      const tree = trees.get(origin.attach);
      if (tree) tree.push([fid, origin]);
      else trees.set(origin.attach, [[fid, origin]]);
    }
    const refusals = await Promise.all(
      [...trees].map(([attach, fids]) => this.#restoreTree(attach, fids)),
    );
    if (refusals.length > 0 && !refusals.includes(undefined)) throw refusals[0];
  }

  /**
   * Clunks the fids that are not needed: the roots that the restoration has
   * attached, the failed fids, and the fids that the caller has clunked
   * meanwhile. Returns undefined if there are none.
   */
  sweep(): Promise<unknown> | undefined {
    const { fids } = this.#session;
    const unwanted = fids.all().filter((fid) =>
      !this.#wanted.has(fid) || this.#failed.has(fid)
    );
    if (unwanted.length === 0) return undefined;
    return Promise.allSettled(unwanted.map((fid) => this.#session.clunk(fid)));
  }

  /**
   * Records the errors of the failed fids, so that each request for such a fid
   * fails with its error.
   */
  finish(): void {
    for (const [fid, error] of this.#failed) {
      if (this.#wanted.has(fid)) this.#mux.fids.set(fid, error);
    }
  }

  /**
   * Attaches to a tree and restores its fids. Returns the error if the server
   * refuses to attach.
   */
  async #restoreTree(
    attach: Tattach,
    fids: readonly [number, Origin][],
  ): Promise<NinePError | undefined> {
    const { uname, aname, afid } = attach;
    const auth = afid === NOFID ? undefined : this.#authOf(attach);
    let root: number;
    try {
      root = await login(this.#session, { uname, aname, auth });
    } catch (error) {
      if (!(error instanceof NinePError)) throw error;
      for (const [fid, origin] of fids) {
        this.#session.fids.give(fid);
        this.#failed.set(fid, stale(origin, error.message, error));
      }
      return error;
    }
    await Promise.all(
      fids.map(([fid, origin]) => this.#restoreOrFail(root, fid, origin)),
    );
    return undefined;
  }

  async #restoreOrFail(
    root: number,
    fid: number,
    origin: Origin,
  ): Promise<void> {
    try {
      const reason = await this.#restore(root, fid, origin);
      if (reason) this.#failed.set(fid, stale(origin, reason));
    } catch (error) {
      if (!(error instanceof NinePError)) throw error;
      this.#failed.set(fid, stale(origin, error.message, error));
    }
  }

  /**
   * Restores a fid. Returns the reason if the restored fid cannot be used for
   * the same file.
   */
  async #restore(
    root: number,
    fid: number,
    origin: Origin,
  ): Promise<string | undefined> {
    const { open, isWritten = false } = origin;
    await this.#session.walk(root, origin.names, undefined, fid);
    const made = this.#mux.origin(fid);
    if (!made) return NOT_SAME_FILE; // The Rwalk has made one.
    // A root that is not open may be another file than before.
    const isRoot = origin.names.length === 0 && !open;
    if (!isRoot && !isSame(made.qid, origin.qid)) return NOT_SAME_FILE;
    if (!isWritten && isOlder(made.qid, origin.qid)) return NOT_SAME_FILE;
    if (!open) return undefined;
    if (isWritten && made.qid.vers === 0) {
      return "what was written to it may be gone";
    }
    const { qid } = await this.#session.open(fid, open.mode & ~OTRUNC);
    if (!isSame(qid, open.qid)) return NOT_SAME_FILE;
    if (!isWritten && isOlder(qid, open.qid)) return NOT_SAME_FILE;
    made.isWritten = isWritten;
    made.isRewound = isDirectory(qid);
    if (isDirectory(qid)) return undefined;
    const { writtenTo = 0, readTo = 0 } = origin;
    made.writtenTo = writtenTo;
    made.readTo = readTo;
    made.tail = origin.tail;
    made.isUnproven = isWritten && (open.mode & 3) === ORDWR;
    made.isReadOn = readTo > 0;
    if (writtenTo === 0) return undefined;
    const { length } = await this.#session.stat(fid);
    return length < writtenTo
      ? "the file is shorter than the part that was written"
      : undefined;
  }
}

function isSame(one: Qid, other: Qid): boolean {
  return one.type === other.type && one.path === other.path;
}

/**
 * Tells whether the version of a file is older than a known version. Versions
 * are 32-bit numbers that wrap around.
 */
function isOlder(qid: Qid, known: Qid): boolean {
  return !isDirectory(qid) && (qid.vers - known.vers | 0) < 0;
}
