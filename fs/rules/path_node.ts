// The node of a fid: a file, and the path to it. The rules know the path, so no
// tree has to know about `..`.

import type { Awaitable, FidNode, RequestContext } from "../../server.ts";
import type { Qid } from "../../codec.ts";
import type { OpenFile, Rules, TreeFile } from "../tree.ts";

/** A file of a tree with the directory and the name by which it was found. */
export class PathNode implements FidNode {
  /** The file. */
  readonly file: TreeFile;
  /** The rules of the file. */
  readonly rules: Rules;
  /** True when the tree has returned the file, and must release it. */
  readonly #isGiven: boolean;
  #parent: PathNode | undefined;
  #name: string;
  #isRemoved = false;
  /**
   * Number of references: times that the node was returned, and nodes below it.
   */
  #uses = 1;

  /** Made by the rules of a tree. */
  constructor(
    file: TreeFile,
    rules: Rules,
    parent: PathNode | undefined,
    name: string,
    isGiven = true,
  ) {
    this.file = file;
    this.rules = file.rules ?? rules;
    this.#parent = parent;
    this.#name = name;
    this.#isGiven = isGiven;
    if (parent !== undefined) parent.#uses++;
  }

  /** Identity of the file. */
  get qid(): Qid {
    return this.file.qid;
  }

  /** True when a read, write or call opens the file. */
  get implicitOpen(): boolean {
    return this.file.implicitOpen === true;
  }

  /** True when the node is the root that a client has attached to. */
  get isRoot(): boolean {
    return this.#parent === undefined && this.#isGiven;
  }

  /** True when the file was removed, as far as the tree or the rules can tell. */
  get isRemoved(): boolean {
    const { place } = this.file;
    return place === undefined ? this.#isRemoved : place === null;
  }

  /** True when the file was removed, and its tree cannot tell. */
  get isLost(): boolean {
    return this.#isRemoved && this.file.place === undefined;
  }

  /** The place of the file; undefined for the root, and for a removed file. */
  get where():
    | { readonly parent: PathNode; readonly name: string }
    | undefined {
    const parent = this.#parent;
    if (this.isRoot) return undefined;
    const { place } = this.file;
    if (place === undefined) {
      if (this.#isRemoved || parent === undefined) return undefined;
      return { parent, name: this.#name };
    }
    if (place === null) return undefined;
    const { dir, name } = place;
    if (dir === parent?.file) return { parent, name };
    // The tree has moved the file, so the path to the new directory is unknown.
    return {
      parent: new PathNode(dir, this.rules, undefined, "", false),
      name,
    };
  }

  /** Name in the directory; `/` for the root. */
  get name(): string {
    if (this.isRoot) return "/";
    return this.file.place?.name ?? this.#name;
  }

  /** The directory that the file is in; itself for the root. */
  get parent(): PathNode {
    return this.where?.parent ?? this;
  }

  /**
   * Path in the tree, from the root on. For a removed file, only its last name.
   */
  get path(): string {
    return pathOf(this);
  }

  /** Adds a reference. */
  retain(): this {
    this.#uses++;
    return this;
  }

  /** Removes a reference. With the last reference the file is released. */
  release(): Awaitable<void> {
    if (--this.#uses > 0) return;
    const released = this.#isGiven ? this.file.release?.() : undefined;
    const parent = this.#parent?.release();
    if (released instanceof Promise && parent instanceof Promise) {
      return Promise.all([released, parent]).then(() => {});
    }
    return released instanceof Promise ? released : parent;
  }

  /**
   * Removes a reference, and does not wait for the release. Errors go to the
   * owner of the server.
   */
  letGo(context: RequestContext): void {
    try {
      const released = this.release();
      if (!(released instanceof Promise)) return;
      released.catch((error) => context.report(error));
    } catch (error) {
      context.report(error);
    }
  }

  /** Notes that the file has another place. */
  moved(parent: PathNode, name: string): Awaitable<void> {
    const old = this.#parent;
    parent.#uses++;
    this.#parent = parent;
    this.#name = name;
    return old?.release();
  }

  /** Notes that the file was removed. */
  removed(): void {
    this.#isRemoved = true;
  }
}

/** Returns the node of a fid that an open has moved to another file. */
export function movedNode(
  opened: PathNode,
  { file, between = [] }: OpenFile,
): PathNode | undefined {
  if (file === undefined) return undefined;
  const { parent } = opened;
  let last = parent;
  for (const next of [...between, file]) {
    const name = next.place?.name ?? opened.name;
    const node = new PathNode(next, last.rules, last, name);
    if (last !== parent) void last.release(); // The node below it goes on to use it.
    last = node;
  }
  return last;
}

function pathOf(file: PathNode): string {
  const names: string[] = [];
  let node = file;
  // A tree that contains itself has no path that ends.
  while (!node.isRoot && names.length < 4096) {
    names.push(node.name);
    if (node.isRemoved) break;
    const { parent } = node;
    if (parent === node) break;
    node = parent;
  }
  if (node.isRoot) names.push("");
  return names.reverse().join("/") || "/";
}
