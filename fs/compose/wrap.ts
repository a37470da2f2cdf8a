// Wraps a tree, so that its files get other identities, rules or users. The
// compositions are built on this wrapper.

import { NinePError, type Qid, QTDIR } from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import type {
  AttachRequest,
  AttributeChanges,
  Attributes,
  Awaitable,
  CallRequest,
  DirEntry,
  Listing,
  ListRequest,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../../server.ts";
import type { Owned } from "../rules/access.ts";
import { type ServableTree, treeOf } from "../rules.ts";
import type {
  Capacity,
  CreatedFile,
  CreateFile,
  Ending,
  MakeDir,
  MakeSymlink,
  OpenFile,
  Place,
  Rename,
  Rules,
  Tree,
  TreeDir,
  TreeFile,
} from "../tree.ts";
import { connectionHooks } from "./connections.ts";
import { NO_BYTES } from "../../codec/wire.ts";

/**
 * The changes that {@linkcode wrapTree} makes to a tree. All other properties
 * and all requests pass unchanged.
 */
export interface TreeChanges {
  /** Returns the rules for files that have the given rules in the tree. */
  rules?(rules: Rules): Rules;
  /** Returns the context that the tree gets with a request. */
  context?(context: RequestContext): RequestContext;
  /**
   * Returns the identity of a file. Different paths must stay different, and
   * the type must not change.
   */
  qid?(qid: Qid): Qid;
}

/**
 * Makes a tree with the files of another tree. A method that a file of the tree
 * lacks has its default effect.
 *
 * @param tree The tree. The program may also serve or wrap it elsewhere.
 * @param changes The differences.
 * @returns The new tree.
 *
 * @example Other qid paths
 * ```ts
 * import { connect, MemoryFs, pair, serve, wrapTree } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const fs = new MemoryFs({ motd: "hello\n" });
 * const renumbered = wrapTree(fs, {
 *   qid: ({ type, vers, path }) => ({ type, vers, path: path ^ 1n }),
 * });
 *
 * const [here, there] = pair();
 * const served = serve(there, renumbered);
 * const client = await connect(here);
 * const { qid } = await client.stat("motd");
 * assertEquals(qid.path, fs.stat("motd").qid.path ^ 1n);
 * await client.close();
 * await served;
 * ```
 */
export function wrapTree(tree: Tree, changes: TreeChanges): ServableTree {
  const view = new View(tree, changes);
  return treeOf({
    attach: (request, context) => view.attach(request, context),
    rules: view.rulesOf(tree.rules ?? {}),
    ...connectionHooks([tree]),
  });
}

/**
 * Returns true when a file is a directory: it has QTDIR in its qid, and the
 * method that each directory needs.
 */
export function isDir(file: TreeFile): file is TreeDir {
  return (file.qid.type & QTDIR) !== 0 && "lookup" in file;
}

/** Returns the error for a method that a file lacks. */
export function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

/** Releases files, the last first, and then throws the first error. */
export async function releaseAll(files: readonly TreeFile[]): Promise<void> {
  const errors: unknown[] = [];
  for (const file of files.toReversed()) {
    try {
      await file.release?.();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** The wrapped files of a tree. A file in use has exactly one wrapper. */
export class View {
  /** The tree. */
  readonly tree: Tree;
  /**
   * True for a view of a part of the tree, such as a subtree. The tree can move
   * a file out of this part.
   */
  readonly isConfined: boolean;
  /**
   * The rules for a tree that has no rules. It is one object, so that rulesOf()
   * always returns the same result for it.
   */
  readonly allRules: Rules = {};
  readonly #changes: TreeChanges;
  // A further lookup of a file must find the same wrapper.
  readonly #files: WeakMap<TreeFile, WrappedFile> = new WeakMap();
  readonly #rules: WeakMap<Rules, Rules> = new WeakMap();
  // For the same object, the result is always the same object, so that a session
  // need not encode attributes and listings again.
  readonly #stats: WeakMap<Attributes, Attributes> = new WeakMap();
  readonly #listings: WeakMap<Listing, Listing> = new WeakMap();

  /**
   * Makes the view of a tree.
   *
   * @param isConfined True when the view shows only a part of the tree, so that
   *   the tree can move a file out of the view.
   */
  constructor(tree: Tree, changes: TreeChanges, isConfined = false) {
    this.tree = tree;
    this.#changes = changes;
    this.isConfined = isConfined;
  }

  /** Returns true when a file has a wrapper. */
  knows(file: TreeFile): boolean {
    return this.#files.has(file);
  }

  /** Returns the wrapped root of the tree. */
  attach(request: AttachRequest, context: RequestContext): Awaitable<TreeDir> {
    return then(
      this.attachInner(request, context),
      (root) => this.dirOf(root, () => new WrappedDir(root, this, {})),
    );
  }

  /** Returns the root of the tree, without a wrapper. */
  attachInner(
    request: AttachRequest,
    context: RequestContext,
  ): Awaitable<TreeDir> {
    const inner = this.contextOf(context);
    if (inner === context) return this.tree.attach(request, context);
    return this.tree.attach({ ...request, uname: inner.uname }, inner);
  }

  /** Returns the wrapper of a file. */
  fileOf(file: TreeFile): TreeFile {
    let wrapped = this.#files.get(file);
    if (wrapped === undefined) {
      wrapped = isDir(file)
        ? new WrappedDir(file, this)
        : new WrappedFile(file, this);
      this.#files.set(file, wrapped);
    }
    return wrapped;
  }

  /** Returns the wrapper of a directory; calls `make` if there is none. */
  dirOf(dir: TreeDir, make: () => WrappedDir): WrappedDir {
    const known = this.#files.get(dir);
    if (known instanceof WrappedDir) return known;
    return this.adopt(dir, make());
  }

  /** Sets the wrapper of a directory. */
  adopt<Dir extends WrappedDir>(dir: TreeDir, wrapped: Dir): Dir {
    this.#files.set(dir, wrapped);
    return wrapped;
  }

  /** Returns the file of a wrapper. Throws for a file of another tree. */
  innerOf(file: TreeFile): TreeFile {
    if (file instanceof WrappedFile && file.view === this) return file.inner;
    throw new NinePError("Invalid cross-device link");
  }

  /**
   * Returns the changed rules for a file that has the given rules in the tree.
   */
  rulesOf(rules: Rules): Rules {
    if (this.#changes.rules === undefined) return rules;
    let changed = this.#rules.get(rules);
    if (changed === undefined) {
      changed = this.#changes.rules(rules);
      this.#rules.set(rules, changed);
    }
    return changed;
  }

  /** Returns the context that the tree gets. */
  contextOf(context: RequestContext): RequestContext {
    return this.#changes.context?.(context) ?? context;
  }

  /** Returns the identity of a file. */
  qidOf(qid: Qid): Qid {
    return this.#changes.qid?.(qid) ?? qid;
  }

  /**
   * Returns the attributes of a file. For the same object, the result is always
   * the same object.
   */
  attributesOf(stat: Attributes, name: string = stat.name): Attributes {
    if (this.#changes.qid === undefined && name === stat.name) return stat;
    let changed = this.#stats.get(stat);
    if (changed === undefined) {
      const qid = this.qidOf(stat.qid);
      changed = qid === stat.qid && name === stat.name
        ? stat
        : { ...stat, qid, name };
      this.#stats.set(stat, changed);
    }
    return changed;
  }

  /**
   * Returns the listing of a directory with changed identities. For a listing
   * with `isCurrent`, the result is always the same object.
   */
  listingOf(listing: Listing): Listing {
    if (this.#changes.qid === undefined) return listing;
    if (Symbol.asyncIterator in listing) return this.#lateEntries(listing);
    if (listing.isCurrent === undefined) return this.#entries(listing);
    let changed = this.#listings.get(listing);
    if (changed === undefined) {
      const entries = () => this.#entries(listing);
      changed = {
        get isCurrent(): boolean {
          return listing.isCurrent === true;
        },
        [Symbol.iterator]: entries,
      };
      this.#listings.set(listing, changed);
    }
    return changed;
  }

  *#entries(listing: Iterable<DirEntry>): Generator<DirEntry> {
    for (const entry of listing) yield this.#entryOf(entry);
  }

  // An async generator is not used, because its return() would wait until the
  // pending next() settles.
  #lateEntries(listing: AsyncIterable<DirEntry>): AsyncIterable<DirEntry> {
    return {
      [Symbol.asyncIterator]: () => {
        const entries = listing[Symbol.asyncIterator]();
        return {
          next: async () => {
            const { done, value } = await entries.next();
            if (done === true) return { done, value: undefined };
            return { done: false, value: this.#entryOf(value) };
          },
          return: async () => {
            await entries.return?.();
            return { done: true, value: undefined };
          },
        };
      },
    };
  }

  #entryOf({ stat, cookie }: DirEntry): DirEntry {
    const changed = this.attributesOf(stat);
    return cookie === undefined ? { stat: changed } : { stat: changed, cookie };
  }

  /**
   * Returns the open file. Wraps the open file if its context or its `file`
   * must be changed.
   */
  openOf(open: OpenFile | void): OpenFile | undefined {
    if (open === undefined) return undefined;
    const isSame = this.#changes.context === undefined &&
      open.file === undefined;
    return isSame ? open : new WrappedOpen(open, this);
  }
}

/** A file of a wrapped tree. */
export class WrappedFile implements TreeFile {
  /** The file of the tree. */
  readonly inner: TreeFile;
  /** The wrapped tree. */
  readonly view: View;
  /** The last identity, and the identity in the tree that gave it. */
  #qid: Qid | undefined;
  #innerType = 0;
  #innerVers = 0;
  #innerPath = 0n;

  constructor(inner: TreeFile, view: View) {
    this.inner = inner;
    this.view = view;
  }

  get qid(): Qid {
    const { qid } = this.inner;
    const { type, vers, path } = qid;
    const isSame = this.#innerVers === vers && this.#innerPath === path &&
      this.#innerType === type;
    if (this.#qid === undefined || !isSame) {
      this.#qid = this.view.qidOf(qid);
      this.#innerType = type;
      this.#innerVers = vers;
      this.#innerPath = path;
    }
    return this.#qid;
  }

  get implicitOpen(): boolean {
    return this.inner.implicitOpen === true;
  }

  get place(): Place | null | undefined {
    const { place } = this.inner;
    if (place === undefined || place === null) return place;
    // A file that was moved out of the view has no place in the view. With
    // undefined, the rules use the place where the client found the file.
    if (this.view.isConfined && !this.view.knows(place.dir)) return undefined;
    const dir = this.view.fileOf(place.dir);
    return isDir(dir) ? { dir, name: place.name } : undefined;
  }

  get owned(): Owned | undefined {
    return this.inner.owned;
  }

  get rules(): Rules | undefined {
    const { rules } = this.inner;
    return rules === undefined ? undefined : this.view.rulesOf(rules);
  }

  stat(context: RequestContext): Awaitable<Attributes> {
    const stat = this.inner.stat(this.view.contextOf(context));
    if (!(stat instanceof Promise)) return this.view.attributesOf(stat);
    return stat.then((stat) => this.view.attributesOf(stat));
  }

  wstat(changes: AttributeChanges, context: RequestContext): Awaitable<void> {
    const { inner, view } = this;
    if (inner.wstat === undefined) throw new NinePError("wstat prohibited");
    return inner.wstat(changes, view.contextOf(context));
  }

  get wstatNamed(): TreeFile["wstatNamed"] {
    const { inner, view } = this;
    if (inner.wstatNamed === undefined) return undefined;
    return (newName, changes, context) =>
      inner.wstatNamed?.(newName, changes, view.contextOf(context));
  }

  checkWstat(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void> {
    const { inner, view } = this;
    if (inner.wstat === undefined) throw new NinePError("wstat prohibited");
    return inner.checkWstat?.(changes, view.contextOf(context));
  }

  open(
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<OpenFile | void> {
    const { inner, view } = this;
    const open = inner.open?.(request, view.contextOf(context));
    if (!(open instanceof Promise)) return view.openOf(open);
    return open.then((open) => view.openOf(open));
  }

  readlink(context: RequestContext): Awaitable<string> {
    const { inner, view } = this;
    if (inner.readlink === undefined) throw new NinePError("Invalid argument");
    return inner.readlink(view.contextOf(context));
  }

  sync(context: RequestContext): Awaitable<void> {
    return this.inner.sync?.(this.view.contextOf(context));
  }

  statfs(context: RequestContext): Awaitable<Capacity> {
    const { inner, view } = this;
    if (inner.statfs === undefined) {
      throw new NinePError("Function not implemented");
    }
    return inner.statfs(view.contextOf(context));
  }

  release(): Awaitable<void> {
    return this.inner.release?.();
  }
}

/** The name and the rules of a directory that is the root of a wrapped tree. */
export interface RootOptions {
  /**
   * Name in the attributes of the directory. By default the name that its tree
   * gives.
   */
  readonly name?: string;
  /** The rules for the directory. By default the rules of its tree. */
  readonly rules?: Rules;
}

/** A directory of a wrapped tree. */
export class WrappedDir extends WrappedFile implements TreeDir {
  override readonly inner: TreeDir;
  readonly #root: RootOptions | undefined;

  constructor(inner: TreeDir, view: View, root?: RootOptions) {
    super(inner, view);
    this.inner = inner;
    this.#root = root;
  }

  // The root is at the mount point, or at the root of the new tree. Its place
  // in its own tree does not count.
  override get place(): Place | null | undefined {
    return this.#root === undefined ? super.place : undefined;
  }

  override get rules(): Rules | undefined {
    if (this.#root === undefined) return super.rules;
    const { tree } = this.view;
    const { rules = this.inner.rules ?? tree.rules ?? this.view.allRules } =
      this.#root;
    return this.view.rulesOf(rules);
  }

  override stat(context: RequestContext): Awaitable<Attributes> {
    const name = this.#root?.name;
    const stat = this.inner.stat(this.view.contextOf(context));
    if (!(stat instanceof Promise)) return this.view.attributesOf(stat, name);
    return stat.then((stat) => this.view.attributesOf(stat, name));
  }

  lookup(
    name: string,
    context: RequestContext,
  ): Awaitable<TreeFile | undefined> {
    const { inner, view } = this;
    const file = inner.lookup(name, view.contextOf(context));
    if (file === undefined) return undefined;
    if (!(file instanceof Promise)) return view.fileOf(file);
    return file.then((file) => file && view.fileOf(file));
  }

  checkParent(context: RequestContext): Awaitable<void> {
    return this.inner.checkParent?.(this.view.contextOf(context));
  }

  list(request: ListRequest, context: RequestContext): Awaitable<Listing> {
    const { inner, view } = this;
    const listing = inner.list?.(request, view.contextOf(context));
    return then(listing, (listing) => view.listingOf(listing ?? []));
  }

  create(
    request: CreateFile,
    context: RequestContext,
  ): Awaitable<CreatedFile> {
    const { inner, view } = this;
    if (inner.create === undefined) throw notSupported();
    return then(
      inner.create(request, view.contextOf(context)),
      ({ file, open }) => ({
        file: view.fileOf(file),
        open: view.openOf(open),
      }),
    );
  }

  mkdir(request: MakeDir, context: RequestContext): Awaitable<TreeDir> {
    const { inner, view } = this;
    if (inner.mkdir === undefined) throw notSupported();
    return then(
      inner.mkdir(request, view.contextOf(context)),
      (dir) => view.dirOf(dir, () => new WrappedDir(dir, view)),
    );
  }

  symlink(request: MakeSymlink, context: RequestContext): Awaitable<TreeFile> {
    const { inner, view } = this;
    if (inner.symlink === undefined) throw notSupported();
    return then(
      inner.symlink(request, view.contextOf(context)),
      (link) => view.fileOf(link),
    );
  }

  link(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void> {
    const { inner, view } = this;
    const target = view.innerOf(file);
    if (inner.link === undefined) throw notSupported();
    return inner.link(name, target, view.contextOf(context));
  }

  remove(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void> {
    const { inner, view } = this;
    const target = view.innerOf(file);
    if (inner.remove === undefined) throw notSupported();
    return inner.remove(name, target, view.contextOf(context));
  }

  rename(request: Rename, context: RequestContext): Awaitable<void> {
    const { inner, view } = this;
    const { newDir, newName, replace } = request;
    const file = view.innerOf(request.file);
    const dir = view.innerOf(newDir);
    if (!isDir(dir)) throw new NinePError("not a directory");
    if (newDir instanceof WrappedDir) newDir.checkTaken(newName, replace);
    if (inner.rename === undefined) throw new NinePError("wstat prohibited");
    return inner.rename(
      { ...request, file, newDir: dir },
      view.contextOf(context),
    );
  }

  /**
   * Throws if a rename must not use a name in this directory. By default every
   * name is allowed.
   */
  checkTaken(_name: string, _replace: boolean): void {}
}

/** An open file of a wrapped tree. */
export class WrappedOpen implements OpenFile {
  readonly file?: TreeFile;
  readonly between?: readonly TreeDir[];
  readonly iounit?: number;
  reopen?: (request: OpenRequest, context: RequestContext) => Awaitable<void>;
  readonly #inner: OpenFile;
  readonly #view: Pick<View, "contextOf" | "fileOf">;

  constructor(inner: OpenFile, view: Pick<View, "contextOf" | "fileOf">) {
    this.#inner = inner;
    this.#view = view;
    if (inner.file !== undefined) this.file = view.fileOf(inner.file);
    if (inner.between !== undefined) {
      this.between = inner.between.map((dir) => view.fileOf(dir)).filter(isDir);
    }
    if (inner.iounit !== undefined) this.iounit = inner.iounit;
    if (inner.reopen !== undefined) {
      this.reopen = (request, context) =>
        inner.reopen?.(request, view.contextOf(context));
    }
  }

  read(request: ReadRequest, context: RequestContext): Awaitable<Uint8Array> {
    return this.#inner.read?.(request, this.#view.contextOf(context)) ??
      NO_BYTES;
  }

  write(
    request: WriteRequest,
    context: RequestContext,
  ): Awaitable<number | void> {
    if (this.#inner.write === undefined) throw notSupported();
    return this.#inner.write(request, this.#view.contextOf(context));
  }

  call(
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array | undefined> {
    return this.#inner.call?.(request, this.#view.contextOf(context));
  }

  close(ending: Ending): Awaitable<void> {
    return this.#inner.close?.(ending);
  }
}
