// A cache of fids, so that the client walks only once to a path that is used
// several times.

import { FunctionError, NinePError } from "../../codec.ts";
import { isRemovedError } from "../../codec/call.ts";
import { abortable, hasCode, leadsTo, namesOf } from "../operation.ts";
import type { ClientSession } from "../connection/client_session.ts";
import { onlyAsks } from "../connection/message_table.ts";

/** A cached fid, or the walk that makes this fid. */
interface CachedFid {
  /** Path from the root. */
  readonly path: string;
  readonly fid: Promise<number>;
  /** Number of the fid; undefined until the walk has ended. */
  number: number | undefined;
  readonly walk: AbortController;
  /**
   * Number of calls that wait for the fid or use it. If no call is left, the
   * walk is aborted.
   */
  users: number;
  /**
   * True after a caller has received the number of the fid. Then the fid stays
   * valid until the caller clunks it or the tree is closed.
   */
  isGiven: boolean;
}

/** Function that walks to a path and returns the new fid. */
export type Walk = (signal: AbortSignal) => Promise<number>;

/** The cached fids of one tree, by their absolute paths. */
export class CachedFids {
  readonly #session: ClientSession;
  /** The fid that the next call for a path gets. */
  readonly #byPath = new Map<string, CachedFid>();
  /**
   * All cached fids by number, including the fids whose paths may lead to other
   * files now.
   */
  readonly #byFid = new Map<number, CachedFid>();
  /** Walks under way. */
  readonly #walks = new Set<AbortController>();

  constructor(session: ClientSession) {
    this.#session = session;
  }

  /**
   * Returns the cached fid of a path. The fid stays valid until the caller
   * clunks it or the tree is closed.
   */
  give(
    path: string,
    walk: Walk,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const give = (fid: number) => {
      const cached = this.#byFid.get(fid);
      if (cached) cached.isGiven = true;
      return Promise.resolve(fid);
    };
    return this.#use(path, walk, signal, give, false);
  }

  /**
   * Runs work on the cached fid of a path. If the file was removed, or the
   * server has lost the fid, and the work has changed nothing, the client walks
   * to the path again and repeats the work once, because the path may lead to
   * another file now.
   */
  use<T>(
    path: string,
    walk: Walk,
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    return this.#use(path, walk, signal, work, true);
  }

  async #use<T>(
    path: string,
    walk: Walk,
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
    isRepeatable: boolean,
  ): Promise<T> {
    const cached = this.#byPath.get(path) ?? this.#begin(path, walk);
    const { aborts } = this.#session.environment;
    cached.users++;
    try {
      return await work(await abortable(aborts, signal, () => cached.fid));
    } catch (error) {
      const isLost = await this.#isLost(cached, error, signal);
      if (!isLost && !isGone(error)) throw error;
      this.#unlist(cached);
      if (!isRepeatable || !isLost && !isUndone(error)) throw error;
    } finally {
      cached.users--;
      this.#settle(cached, signal?.reason);
    }
    return await this.#use(path, walk, signal, work, false);
  }

  /**
   * Asks the server whether it has lost a fid. The text of the error is no
   * proof, because a remote function may throw any text. Only the client ends
   * its fids. So if the server does not know the fid now, it did not know the
   * fid at the failed request, and that request has changed nothing.
   */
  async #isLost(
    { number }: CachedFid,
    error: unknown,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (number === undefined || !saysUnknownFid(error)) return false;
    try {
      await this.#session.stat(number, signal);
      return false;
    } catch (error) {
      return saysUnknownFid(error);
    }
  }

  #begin(path: string, walk: Walk): CachedFid {
    const controller = new AbortController();
    const { signal } = controller;
    const stay = async () => {
      this.#walks.add(controller);
      try {
        const fid = await walk(signal);
        if (signal.aborted) {
          this.#session.drop(fid);
          throw signal.reason;
        }
        cached.number = fid;
        this.#byFid.set(fid, cached);
        return fid;
      } finally {
        this.#walks.delete(controller);
      }
    };
    const cached: CachedFid = {
      path,
      fid: stay(),
      number: undefined,
      walk: controller,
      users: 0,
      isGiven: false,
    };
    cached.fid.catch(() => {}); // All who wait for it may have gone.
    this.#byPath.set(path, cached);
    return cached;
  }

  /**
   * Removes a cached fid from the table of paths, so that the next call for its
   * path walks again.
   */
  #unlist(cached: CachedFid): void {
    if (this.#byPath.get(cached.path) === cached) {
      this.#byPath.delete(cached.path);
    }
  }

  /**
   * Cleans up a cached fid that no call uses: aborts its walk, or clunks the
   * fid if no later call can get it and no caller holds its number.
   */
  #settle(cached: CachedFid, reason?: unknown): void {
    const { path, number, walk, users, isGiven } = cached;
    if (users > 0) return;
    if (number === undefined) {
      this.#unlist(cached);
      walk.abort(reason);
    } else if (!isGiven && this.#byPath.get(path) !== cached) {
      if (this.#byFid.delete(number)) this.#session.drop(number);
    }
  }

  /** Returns the path of a cached fid; undefined for any other fid. */
  pathOf(fid: number): string | undefined {
    return this.#byFid.get(fid)?.path;
  }

  /**
   * Checks the error of a request for a fid. If the file of the fid was
   * removed, the next call for its path walks again.
   */
  note(fid: number, error: unknown): void {
    const cached = this.#byFid.get(fid);
    if (cached && isGone(error)) this.#unlist(cached);
  }

  /** Tells whether a fid is cached. */
  has(fid: number): boolean {
    return this.#byFid.has(fid);
  }

  /** Removes a fid from the cache, because the fid is clunked. */
  forget(fid: number): void {
    const cached = this.#byFid.get(fid);
    if (!cached) return;
    this.#byFid.delete(fid);
    this.#unlist(cached);
  }

  /**
   * Removes a path and the paths below it from the cache, because they may lead
   * to other files now. The next calls for these paths walk again.
   */
  forgetPath(path: string): void {
    const top = namesOf(path);
    for (const cached of this.#byPath.values()) {
      if (!leadsTo(namesOf(cached.path), top)) continue;
      this.#unlist(cached);
      if (cached.number !== undefined) this.#settle(cached);
    }
  }

  /**
   * Aborts the walks, and returns the cached fids. The caller must clunk these
   * fids.
   */
  release(end: DOMException): number[] {
    for (const walk of this.#walks) walk.abort(end);
    const fids = [...this.#byFid.keys()];
    this.#byPath.clear();
    this.#byFid.clear();
    return fids;
  }
}

/**
 * Tells whether an error says that the file of a fid was removed. An error that
 * a remote function throws is not about the file of the function.
 */
function isGone(error: unknown): error is NinePError {
  if (error instanceof FunctionError) return isRemovedError(error);
  return hasCode(error, "ESTALE") ||
    error instanceof NinePError && error.ename === "file has been removed";
}

/**
 * Tells whether the failed request has changed nothing, for an error that
 * isGone() has recognized.
 */
function isUndone(error: unknown): boolean {
  if (error instanceof FunctionError) return true;
  // An error without a request is an error of the client, which then has not
  // sent the request.
  const request = error instanceof NinePError ? error.request : undefined;
  return request === undefined || onlyAsks(request);
}

/** Tells whether an error says that the server does not know the fid. */
function saysUnknownFid(error: unknown): boolean {
  const text = error instanceof FunctionError
    ? error.str
    : error instanceof NinePError
    ? error.ename
    : "";
  return text === "fid unknown or out of range";
}
