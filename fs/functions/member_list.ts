// The listing of a directory that functions define. Each name of the function
// is looked up at its turn.

import { isName } from "../../codec.ts";
import type { Awaitable, DirEntry, RequestContext } from "../../server.ts";
import type { TreeNode } from "../memory/node.ts";
import { HeldRoom } from "../memory/quota.ts";
import { kindOf } from "./request_hooks.ts";

/**
 * Most names in a row that a listing may leave out. A function that returns
 * more of them may never end.
 */
const SKIPPED_MAX = 65_536;
/** Bytes that a name counts, beside its own, while a listing remembers it. */
const NAME_BYTES = 64;

/** A listing to make. */
export interface MemberListInit {
  /** Names that come first. */
  readonly always: readonly string[];
  /** Further names from the function. */
  readonly names: unknown;
  /** Number of names to leave out. */
  readonly cookie: number;
  /** Returns the file of a name. */
  readonly look: (name: string) => Awaitable<TreeNode | undefined>;
  /** True when a name is short enough. */
  readonly fits: (name: string) => boolean;
  /** Name of the operation, for errors. */
  readonly what: string;
  /** Context of the client that lists. */
  readonly context: RequestContext;
}

/** The members of a directory, one by one. */
export class MemberList implements AsyncIterableIterator<DirEntry> {
  readonly #init: MemberListInit;
  readonly #names: Iterator<unknown> | AsyncIterator<unknown>;
  /** Names that came before. */
  readonly #seen: Set<string> = new Set();
  readonly #room: HeldRoom;
  #held = 0;
  /** Number of the names of `always` that were taken. */
  #first = 0;
  #position = 0;
  #isOver = false;
  #hasReported = false;

  constructor(init: MemberListInit) {
    this.#init = init;
    this.#names = iteratorOf(init.names, init.what);
    this.#room = new HeldRoom(init.context.memory);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<DirEntry, undefined>> {
    const { cookie, look } = this.#init;
    for (let skipped = 0; skipped <= SKIPPED_MAX; skipped++) {
      const name = await this.#name();
      if (this.#isOver || name === undefined) {
        this.#free();
        return { done: true, value: undefined };
      }
      if (!this.#isNew(name) || ++this.#position <= cookie) continue;
      const node = await look(name);
      if (this.#isOver) continue;
      if (node === undefined) continue;
      const value = { stat: node.stat(), cookie: this.#position };
      return { done: false, value };
    }
    throw new RangeError(
      `${this.#init.what}: ${SKIPPED_MAX} names in a row are of no file`,
    );
  }

  async #name(): Promise<unknown> {
    const { always } = this.#init;
    if (this.#first < always.length) return always[this.#first++];
    const { done, value } = await this.#names.next();
    return done ? undefined : value;
  }

  /** Tells whether a name is legal and new. */
  #isNew(name: unknown): name is string {
    const { fits, what, context } = this.#init;
    const isLegal = typeof name === "string" && isName(name) &&
      !name.includes("\0") && name.isWellFormed() && fits(name);
    if (!isLegal) {
      if (this.#hasReported) return false;
      this.#hasReported = true;
      const shown = typeof name === "string"
        ? JSON.stringify(name.slice(0, 300))
        : kindOf(name);
      context.report(new TypeError(`${what}: no file can be named ${shown}`));
      return false;
    }
    if (this.#seen.has(name)) return false;
    const bytes = NAME_BYTES + name.length * 2;
    this.#room.take(bytes);
    this.#held += bytes;
    this.#seen.add(name);
    return true;
  }

  #free(): void {
    this.#isOver = true;
    this.#room.take(-this.#held);
    this.#held = 0;
    this.#seen.clear();
  }

  /** Ends the listing, also while a lookup is in progress. */
  async return(): Promise<IteratorResult<DirEntry, undefined>> {
    if (!this.#isOver) {
      this.#free();
      await this.#names.return?.();
    }
    return { done: true, value: undefined };
  }
}

/**
 * Checks the names of a function. A program without types may return anything.
 */
function iteratorOf(
  names: unknown,
  what: string,
): Iterator<unknown> | AsyncIterator<unknown> {
  if (typeof names === "object" && names !== null) {
    if (isAsync(names)) return names[Symbol.asyncIterator]();
    if (isIterable(names)) return names[Symbol.iterator]();
  }
  throw new TypeError(
    `${what}: list() gave ${kindOf(names)}, not a list of names`,
  );
}

function isAsync(names: object): names is AsyncIterable<unknown> {
  return Symbol.asyncIterator in names;
}

function isIterable(names: object): names is Iterable<unknown> {
  return Symbol.iterator in names;
}
