// Releases the nodes of fids that move or end.

import type { FidNode } from "../fid.ts";
import type { Awaitable, RequestContext } from "../handler.ts";
import type { Background } from "../session/background.ts";
import { type ContextParts, EndingContext } from "./ending_context.ts";
import type { FidState } from "./fid_state.ts";

/** Callbacks of the program that answers requests, for fids and nodes. */
export interface FidHooks<N extends FidNode> {
  /** Releases a fid that ended without a Tclunk or Tremove. */
  release(fid: FidState<N>, context: RequestContext<N>): Awaitable<void>;
  /** Called when a fid that was opened implicitly moves to another file. */
  leave(fid: FidState<N>): Awaitable<void>;
  /** False when {@linkcode releaseNode} does nothing. */
  readonly releases: boolean;
  /** Releases a node that no fid stands for. */
  releaseNode(node: N): Awaitable<void>;
}

/** Releases the nodes of fids, each exactly once. */
export class Releases<N extends FidNode> {
  readonly #hooks: FidHooks<N>;
  readonly #parts: ContextParts;
  readonly #background: Background;

  /**
   * @param hooks The callbacks.
   * @param parts Parts of the session.
   * @param background Counts the asynchronous releases.
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

  /** Makes a fid a clone of another fid. Both then share one node. */
  share(fid: FidState<N>, clone: FidState<N>): void {
    clone.standFor(fid.node);
    if (!this.#hooks.releases) return;
    const references = fid.references ??= { count: 1 };
    references.count++;
    clone.references = references;
  }

  /** Releases the node of a fid that moves to another node. */
  move(fid: FidState<N>): void {
    this.leave(fid);
    this.endRead(fid);
    this.releaseNodeOf(fid);
  }

  /** Ends the implicit open of a fid, if there is one. */
  leave(fid: FidState<N>): void {
    if (fid.implicit === 0) return;
    fid.implicit = 0;
    this.#run(() => this.#hooks.leave(fid));
  }

  /** Releases the node of a fid, unless a clone still stands for the node. */
  releaseNodeOf(fid: FidState<N>): void {
    fid.recorded = undefined;
    const { references } = fid;
    fid.references = undefined;
    if (references !== undefined && --references.count > 0) return;
    this.releaseNode(fid.node);
  }

  /** Releases a node that a handler has returned. */
  releaseNode(node: N): void {
    if (!this.#hooks.releases) return;
    // Walks call this often, so it makes no closure for a synchronous release.
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

  /** Ends the reads of a directory. */
  endRead(fid: FidState<N>): void {
    const { reports } = this.#parts;
    fid.dir?.close((error) => reports.report(error, { type: "Tread", fid }));
    fid.dir = undefined;
    fid.dirOffset = 0;
  }

  /** Releases the node of a fid that has ended. */
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
      // No client gets a reply. A NinePError, such as that of a file that
      // ORCLOSE cannot remove, is not an error of the server, so failure() does
      // not report it.
      (error) => this.#parts.reports.failure(error, { type: "Tclunk", fid }),
      () => this.ended(fid),
    );
  }
}
