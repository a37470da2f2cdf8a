// Fids that stay: a path that is used again and again is walked to once.

import { FunctionError, NinePError } from "../../codec.ts";
import { isRemovedError } from "../../codec/call.ts";
import { abortable, hasCode, leadsTo, namesOf } from "../operation.ts";
import type { ClientSession } from "../connection/client_session.ts";
import { onlyAsks } from "../connection/message_table.ts";

/** A fid that stays, or the walk to it. */
interface CachedFid {
  /** Path from the root. */
  readonly path: string;
  readonly fid: Promise<number>;
  /** The same, when it is there. */
  number: number | undefined;
  readonly walk: AbortController;
  /** Who wait for it or work with it; without any the walk is given up. */
  users: number;
  /** A caller has the number, so that he clunks it, or nobody. */
  isGiven: boolean;
}

/** How to walk to a path. */
export type Walk = (signal: AbortSignal) => Promise<number>;

/** The fids of one tree that stay. Paths are those from its root. */
export class CachedFids {
  readonly #session: ClientSession;
  /** What who comes gets. */
  readonly #byPath = new Map<string, CachedFid>();
  /** All that are there, also those that their paths do not lead to any more. */
  readonly #byFid = new Map<number, CachedFid>();
  /** Walks that are under way. */
  readonly #walks = new Set<AbortController>();

  constructor(session: ClientSession) {
    this.#session = session;
  }

  /** Gives a fid to a caller: it is there until he clunks it. */
  give(
    path: string,
    walk: Walk,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const give = (fid: number) => {
      const kept = this.#byFid.get(fid);
      if (kept) kept.isGiven = true;
      return Promise.resolve(fid);
    };
    return this.#use(path, walk, signal, give, false);
  }

  /**
   * Works with a fid. Where the file turns out to be gone before anything was
   * done, its path is walked to once more: there may be another one.
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
    const kept = this.#byPath.get(path) ?? this.#begin(path, walk);
    const { aborts } = this.#session.environment;
    kept.users++;
    try {
      return await work(await abortable(aborts, signal, () => kept.fid));
    } catch (error) {
      const isLost = await this.#isLost(kept, error, signal);
      if (!isLost && !isGone(error)) throw error;
      this.#unlist(kept);
      if (!isRepeatable || !isLost && !isUndone(error)) throw error;
    } finally {
      kept.users--;
      this.#settle(kept, signal?.reason);
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
        kept.number = fid;
        this.#byFid.set(fid, kept);
        return fid;
      } finally {
        this.#walks.delete(controller);
      }
    };
    const kept: CachedFid = {
      path,
      fid: stay(),
      number: undefined,
      walk: controller,
      users: 0,
      isGiven: false,
    };
    kept.fid.catch(() => {}); // All who wait for it may have gone.
    this.#byPath.set(path, kept);
    return kept;
  }

  /** Who comes walks again. */
  #unlist(kept: CachedFid): void {
    if (this.#byPath.get(kept.path) === kept) this.#byPath.delete(kept.path);
  }

  /** Gives up what nobody uses, or can use. */
  #settle(kept: CachedFid, reason?: unknown): void {
    const { path, number, walk, users, isGiven } = kept;
    if (users > 0) return;
    if (number === undefined) {
      this.#unlist(kept);
      walk.abort(reason);
    } else if (!isGiven && this.#byPath.get(path) !== kept) {
      if (this.#byFid.delete(number)) this.#session.drop(number);
    }
  }

  /** The path that a fid was walked to, if it stays. */
  pathOf(fid: number): string | undefined {
    return this.#byFid.get(fid)?.path;
  }

  /** A request for a fid has failed: its path may lead to another file by now. */
  note(fid: number, error: unknown): void {
    const kept = this.#byFid.get(fid);
    if (kept && isGone(error)) this.#unlist(kept);
  }

  /** Whether a fid is one of them. */
  has(fid: number): boolean {
    return this.#byFid.has(fid);
  }

  /** A fid is given back. */
  forget(fid: number): void {
    const kept = this.#byFid.get(fid);
    if (!kept) return;
    this.#byFid.delete(fid);
    this.#unlist(kept);
  }

  /** A path does not lead to the same file any more, nor do those below it. */
  forgetPath(path: string): void {
    const top = namesOf(path);
    for (const kept of this.#byPath.values()) {
      if (!leadsTo(namesOf(kept.path), top)) continue;
      this.#unlist(kept);
      if (kept.number !== undefined) this.#settle(kept);
    }
  }

  /** Gives up the walks, and gives the numbers of those that are there, to be clunked. */
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
 * Tells whether nothing was called, for an error that isGone() has recognized.
 */
function isUndone(error: unknown): boolean {
  if (error instanceof FunctionError) return true;
  // An error without a request is that of the client, which did not send it.
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
