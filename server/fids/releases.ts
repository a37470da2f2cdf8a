// What becomes of a fid's file when the fid moves or ends.

import type { Node } from "../fid.ts";
import type { Awaitable, RequestContext } from "../handler.ts";
import type { Background } from "../session/background.ts";
import { type ContextParts, EndingContext } from "./ending_context.ts";
import type { FidState } from "./fid_state.ts";

/** Callbacks about fids and nodes, of the program that answers requests. */
export interface FidHooks<N extends Node> {
  /** Releases a fid that ended without a Tclunk or Tremove. */
  release(fid: FidState<N>, context: RequestContext<N>): Awaitable<void>;
  /** Ends the use of a file by a fid that moves. */
  leave(fid: FidState<N>): Awaitable<void>;
  /** True when {@linkcode releaseNode} does anything. */
  readonly releases: boolean;
  /** Lets go of a node that no fid stands for. */
  releaseNode(node: N): Awaitable<void>;
}

/** Lets go of the nodes that fids stand for, each exactly once. */
export class Releases<N extends Node> {
  readonly #hooks: FidHooks<N>;
  readonly #parts: ContextParts;
  readonly #background: Background;

  /**
   * @param hooks The callbacks.
   * @param parts Parts of the session.
   * @param background Counts the releases that take time.
   */
  constructor(
    hooks: FidHooks<N>,
    parts: ContextParts,
    background: Background,
  ) {
    this.#hooks = hooks;
    this.#parts = parts;
    this.#background = background;
  }

  /** Another fid stands for the node of a fid, because it is a clone. */
  share(fid: FidState<N>, clone: FidState<N>): void {
    clone.standFor(fid.node);
    if (!this.#hooks.releases) return;
    const references = fid.references ??= { count: 1 };
    references.count++;
    clone.references = references;
  }

  /** A fid moves to another node. */
  move(fid: FidState<N>): void {
    this.leave(fid);
    this.endRead(fid);
    this.releaseNodeOf(fid);
  }

  /** Ends the use of a file that a fid has used without a Topen. */
  leave(fid: FidState<N>): void {
    if (fid.implicit === 0) return;
    fid.implicit = 0;
    this.#run(() => this.#hooks.leave(fid));
  }

  /** A fid does not stand for its node any more. */
  releaseNodeOf(fid: FidState<N>): void {
    fid.recorded = undefined;
    const { references } = fid;
    fid.references = undefined;
    if (references !== undefined && --references.count > 0) return;
    this.releaseNode(fid.node);
  }

  /** Lets go of a node that was given, once. */
  releaseNode(node: N): void {
    if (!this.#hooks.releases) return;
    // Each walk comes here several times, so no function is made for it.
    let done: Awaitable<void> = undefined;
    try {
      done = this.#hooks.releaseNode(node);
    } catch (error) {
      this.#parts.reports.report(error);
    }
    if (done instanceof Promise) this.#run(() => done);
  }

  #run(work: () => Awaitable<void>): void {
    this.#background.run(work, (error) => this.#parts.reports.report(error));
  }

  /** Ends a read of a directory. */
  endRead(fid: FidState<N>): void {
    const { reports } = this.#parts;
    fid.dir?.close((error) => reports.report(error, { type: "Tread", fid }));
    fid.dir = undefined;
    fid.dirOffset = 0;
  }

  /** The use of a fid has ended. */
  ended(fid: FidState<N>): void {
    this.endRead(fid);
    this.releaseNodeOf(fid);
  }

  /** Releases a fid that ends without a Tclunk or Tremove. */
  release(fid: FidState<N>): void {
    if (fid.released) return;
    fid.released = fid.lost = true;
    const context = new EndingContext(this.#parts, fid);
    this.#background.run(
      () => this.#hooks.release(fid, context),
      // No client waits for this answer. A file that cannot be removed at the
      // clunk (ORCLOSE) is such an answer, and no error of the server.
      (error) => this.#parts.reports.failure(error, { type: "Tclunk", fid }),
      () => this.ended(fid),
    );
  }
}
