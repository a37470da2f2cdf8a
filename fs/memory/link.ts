// Further names of files.

import { then } from "../../codec/_awaitable.ts";
import type {
  AttributeChanges,
  Awaitable,
  OpenRequest,
  RequestContext,
} from "../../server.ts";
import { TreeNode } from "./node.ts";
import type { OpenFile, TreeFile } from "../tree.ts";

/** A further name of a file. */
export class LinkNode extends TreeNode {
  readonly #target: TreeNode;

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(target: TreeNode, name: string) {
    super(target, name);
    this.#target = target;
  }

  /** The file. */
  override get target(): TreeNode {
    return this.#target;
  }

  /** Size in bytes. */
  get length(): number {
    return this.#target.length;
  }

  /** True when a fid that is not open may be used, as for the file. */
  get implicitOpen(): boolean {
    const target: TreeFile = this.#target;
    return target.implicitOpen ?? false;
  }

  /** Opens the file. */
  override open(
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<OpenFile | void> {
    return this.#target.open(request, context);
  }

  /** Throws for changes that the file refuses. */
  checkWstat(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void> {
    const target: TreeFile = this.#target;
    return target.checkWstat?.(changes, context);
  }

  /** Changes attributes of the file. */
  override wstat(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void> {
    return then(
      this.#target.wstat(changes, context),
      () => this.touchParent(context.uname),
    );
  }

  /** True: the length may come from anywhere. */
  override get isVolatile(): boolean {
    return true;
  }
}
