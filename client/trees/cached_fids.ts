// Fids that are kept, so that the client walks once to a path that is used
// again and again.

import { FunctionError, NinePError } from "../../codec.ts";
import { isRemovedError } from "../../codec/call.ts";
import { abortable, hasCode, leadsTo, namesOf } from "../operation.ts";
import type { ClientSession } from "../connection/client_session.ts";
import { onlyAsks } from "../connection/message_table.ts";

/** A fid that is kept, or the walk to it. */
interface CachedFid {
  /** Path from the root. */
  readonly path: string;
  readonly fid: Promise<number>;
  /** The fid, once the walk has ended. */
  number: number | undefined;
  readonly walk: AbortController;
  /**
   * Number of calls that wait for the fid or use it. Without any, the walk is
   * aborted.
   */
  users: number;
  /**
   * True when a caller has the number. The caller then owns the fid and must
   * clunk it.
   */
  isGiven: boolean;
}

/** Walks to a path. */
export type Walk = (signal: AbortSignal) => Promise<number>;

/** The fids of one tree that are kept. Their paths begin at its root. */
export class CachedFids {
  readonly #session: ClientSession;
  /** The fid that the next call for a path gets. */
  readonly #byPath = new Map<string, CachedFid>();
  /** All kept fids, also those whose paths lead to other files by now. */
  readonly #byFid = new Map<number, CachedFid>();
  /** Walks under way. */
  readonly #walks = new Set<AbortController>();

  constructor(session: ClientSession) {
    this.#session = session;
  }

  /** Gives a fid to a caller, who must clunk it. */
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
   * Runs work on a fid. If the file is gone before the work has changed
   * anything, the client walks to its path once more, because there may be
   * another file.
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
   * Finds out whether the server has lost a fid. The text of an error does not
   * prove it, because a function may throw any text. Only the client gives its
   * fids back, so the server did not have the fid before, either.
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

  /** Takes a fid off its path, so that the next call walks again. */
  #unlist(cached: CachedFid): void {
    if (this.#byPath.get(cached.path) === cached) {
      this.#byPath.delete(cached.path);
    }
  }

  /** Ends a walk or a fid that no call uses. */
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

  /** Returns the path of a kept fid. */
  pathOf(fid: number): string | undefined {
    return this.#byFid.get(fid)?.path;
  }

  /**
   * Notes that a request for a fid has failed. Its path may lead to another
   * file by now.
   */
  note(fid: number, error: unknown): void {
    const cached = this.#byFid.get(fid);
    if (cached && isGone(error)) this.#unlist(cached);
  }

  /** Tells whether a fid is kept. */
  has(fid: number): boolean {
    return this.#byFid.has(fid);
  }

  /** Forgets a fid that is given back. */
  forget(fid: number): void {
    const cached = this.#byFid.get(fid);
    if (!cached) return;
    this.#byFid.delete(fid);
    this.#unlist(cached);
  }

  /**
   * Notes that a path, and those below it, do not lead to the same files any
   * more.
   */
  forgetPath(path: string): void {
    const top = namesOf(path);
    for (const cached of this.#byPath.values()) {
      if (!leadsTo(namesOf(cached.path), top)) continue;
      this.#unlist(cached);
      if (cached.number !== undefined) this.#settle(cached);
    }
  }

  /** Aborts the walks, and returns the kept fids, which the caller clunks. */
  release(end: DOMException): number[] {
    for (const walk of this.#walks) walk.abort(end);
    const fids = [...this.#byFid.keys()];
    this.#byPath.clear();
    this.#byFid.clear();
    return fids;
  }
}

/**
 * Recognizes that a fid has no file any more. An error that the function itself
 * throws is about other files.
 */
function isGone(error: unknown): error is NinePError {
  if (error instanceof FunctionError) return isRemovedError(error);
  return hasCode(error, "ESTALE") ||
    error instanceof NinePError && error.ename === "file has been removed";
}

/**
 * Tells whether no function was called, for an error that isGone() has
 * recognized.
 */
function isUndone(error: unknown): boolean {
  if (error instanceof FunctionError) return true;
  // An error without a request comes from the client, which has not sent the
  // request.
  const request = error instanceof NinePError ? error.request : undefined;
  return request === undefined || onlyAsks(request);
}

/** Recognizes the error for a fid that the server does not have. */
function saysUnknownFid(error: unknown): boolean {
  const text = error instanceof FunctionError
    ? error.str
    : error instanceof NinePError
    ? error.ename
    : "";
  return text === "fid unknown or out of range";
}
