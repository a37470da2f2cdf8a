// A tree in which one user makes all requests.

import type { Fid, RequestContext } from "../../server.ts";
import type { ServableTree } from "../rules.ts";
import type { Tree } from "../tree.ts";
import { wrapTree } from "./wrap.ts";

/**
 * Makes a tree in which one user makes all requests. The user that has attached
 * does not count: the permissions are those of the one user, and new files
 * belong to this user.
 *
 * @param tree The tree.
 * @param uname The user.
 * @returns The tree to serve.
 */
export function forUser(tree: Tree, uname: string): ServableTree {
  return wrapTree(tree, {
    rules: (rules) => ({ ...rules, uname }),
    context: (context) => contextFor(context, uname),
  });
}

/** Returns the context of a request, with another user. */
export function contextFor(
  context: RequestContext,
  uname: string,
): RequestContext {
  return context.uname === uname ? context : new UserContext(context, uname);
}

/** Returns the context of a request, with another signal. */
export function contextUntil(
  context: RequestContext,
  signal: AbortSignal,
): RequestContext {
  return new UserContext(context, context.uname, signal);
}

/** A context that differs in the user, or in the signal. */
class UserContext implements RequestContext {
  readonly uname: string;
  readonly #context: RequestContext;
  readonly #signal: AbortSignal | undefined;

  constructor(context: RequestContext, uname: string, signal?: AbortSignal) {
    this.#context = context;
    this.uname = uname;
    this.#signal = signal;
  }

  get fid(): Fid {
    return this.#context.fid;
  }

  // A session makes a signal only when the signal is read.
  get signal(): AbortSignal {
    return this.#signal ?? this.#context.signal;
  }

  get peer(): string {
    return this.#context.peer;
  }

  get connection(): RequestContext["connection"] {
    return this.#context.connection;
  }

  get memory(): RequestContext["memory"] {
    return this.#context.memory;
  }

  report(error: unknown, expected?: boolean): void {
    this.#context.report(error, expected);
  }
}
