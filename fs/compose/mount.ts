// Several trees as one.

import { DMDIR, NinePError, QTDIR } from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import type {
  AttachRequest,
  Attributes,
  Awaitable,
  DirEntry,
  Listing,
  ListRequest,
  RequestContext,
} from "../../server.ts";
import { type ServableTree, treeOf } from "../rules.ts";
import type {
  CreatedFile,
  CreateFile,
  MakeDir,
  MakeSymlink,
  Rename,
  Tree,
  TreeDir,
  TreeFile,
} from "../tree.ts";
import { connectionHooks } from "./connections.ts";
import { MAX_TREES, PathNumbers } from "./numbers.ts";
import { namesOf } from "./path.ts";
import { isDir, type RootOptions, View, WrappedDir } from "./wrap.ts";

/** Number of the tree for directories that exist in no mounted tree. */
const MADE = MAX_TREES;

/**
 * Makes one tree of several trees, each at a path. The tree at `/`, if there is
 * one, is below all others: a mount point hides the file of the same name
 * there. Missing directories on the way to a mount point are added; clients
 * cannot change these directories.
 *
 * Each tree keeps its rules and users. A client attaches to a mounted tree when
 * it walks to the mount point, with an empty `aname`. The `aname` of the client
 * goes to the tree at `/`. No two files have the same qid path. The tree at `/`
 * keeps its qid paths. Clients cannot move or link a file from one tree to
 * another. They cannot move or remove mount points and the directories above
 * them.
 *
 * @param trees The trees, by their mount points, such as `/` and `/usr/glenda`;
 *   254 at most.
 * @returns The tree to serve.
 * @throws {TypeError} When a path has a name that no file can have, or two
 *   paths are the same.
 * @throws {RangeError} When there are too many trees.
 *
 * @example A writable directory in a tree that clients cannot change
 * ```ts
 * import { connect, MemoryFs, mount, pair, readonly, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const tree = mount({
 *   "/": readonly(new MemoryFs({ motd: "hello\n" })),
 *   "/tmp": new MemoryFs({}, { mode: 0o777 }),
 * });
 *
 * const [here, there] = pair();
 * const served = serve(there, tree);
 * const client = await connect(here);
 * await client.writeTextFile("tmp/note", "mine\n");
 * const names = await Array.fromAsync(client.readDir("/"), ({ name }) => name);
 * assertEquals(names.sort(), ["motd", "tmp"]);
 * await client.close();
 * await served;
 * ```
 */
export function mount(trees: Readonly<Record<string, Tree>>): ServableTree {
  const paths = Object.entries(trees).map(([path, tree]) => ({
    path,
    tree,
    names: namesOf(path, "mount"),
  }));
  if (paths.length > MAX_TREES) {
    throw new RangeError(
      `Cannot mount ${paths.length} trees: the maximum is ${MAX_TREES}`,
    );
  }
  const numbers = new PathNumbers();
  const made = viewOf({ attach: () => root.madeDir() }, MADE, numbers);
  const root = new Point("/", made, 0);
  let points = 0;
  let last = 0;
  for (const { path, tree, names } of paths) {
    let point = root;
    for (const name of names) {
      let next = point.points.get(name);
      if (next === undefined) {
        next = new Point(name, made, ++points);
        point.points.set(name, next);
      }
      point = next;
    }
    if (point.view !== undefined) {
      throw new TypeError(`Cannot mount "${path}": there is a tree already`);
    }
    // The tree at "/" keeps its qid paths.
    point.view = viewOf(tree, point === root ? 0 : ++last, numbers);
  }
  const rules = root.view?.tree.rules;
  return treeOf({
    attach: (request, context) => root.attach(request, context),
    ...(rules === undefined ? {} : { rules }),
    ...connectionHooks(Object.values(trees)),
  });
}

function viewOf(tree: Tree, number: number, numbers: PathNumbers): View {
  return new View(tree, {
    qid: (qid) => {
      const path = numbers.pathOf(number, qid.path);
      return path === qid.path ? qid : { type: qid.type, vers: qid.vers, path };
    },
  });
}

/** A directory that is a mount point, or that is above a mount point. */
class Point {
  readonly name: string;
  /** The points in the directory, by name. */
  readonly points: Map<string, Point> = new Map();
  /** The tree that is mounted here, if there is one. */
  view: View | undefined;
  readonly #made: View;
  readonly #number: number;
  #dir: TreeDir | undefined;

  /**
   * Makes a point.
   *
   * @param made The tree of the added directories.
   * @param number Number of the directory in this tree.
   */
  constructor(name: string, made: View, number: number) {
    this.name = name;
    this.#made = made;
    this.#number = number;
  }

  /** Returns the root of the mounted tree, or an added directory. */
  attach(request: AttachRequest, context: RequestContext): Awaitable<TreeDir> {
    const { view, name } = this;
    if (view === undefined) {
      if (request.aname === "" || request.aname === "/") return this.made();
      throw new NinePError("file does not exist");
    }
    return then(
      view.attachInner(request, context),
      (root) =>
        view.dirOf(root, () => new MountDir(root, view, this, { name })),
    );
  }

  /** Returns the directory for a client that walks to it from the one above. */
  enter(
    above: WrappedDir,
    context: RequestContext,
  ): Awaitable<TreeDir> {
    if (this.view !== undefined) {
      const { uname } = context;
      return this.attach({ uname, aname: "", afid: undefined }, context);
    }
    const { view, inner } = above;
    return then(
      inner.lookup(this.name, view.contextOf(context)),
      (file) => {
        if (file === undefined) return this.made();
        if (isDir(file)) return this.#over(file, view);
        return then(file.release?.(), () => this.made());
      },
    );
  }

  /** Returns the wrapper of a directory that the tree above has here. */
  #over(dir: TreeDir, view: View): TreeDir {
    const known = view.fileOf(dir);
    if (known instanceof MountDir && known.point === this) return known;
    return view.adopt(dir, new MountDir(dir, view, this));
  }

  /** Returns the wrapper of the added directory. */
  made(): TreeDir {
    const dir = this.madeDir();
    return this.#made.dirOf(
      dir,
      () => new MountDir(dir, this.#made, this, { name: this.name }),
    );
  }

  /** Returns the added directory, which has no members. */
  madeDir(): TreeDir {
    if (this.#dir !== undefined) return this.#dir;
    const qid = { type: QTDIR, vers: 0, path: BigInt(this.#number) };
    const stat = { qid, name: this.name, mode: DMDIR + 0o555 };
    return this.#dir = { qid, stat: () => stat, lookup: () => undefined };
  }
}

/** A directory with mount points in it, or the root of a mounted tree. */
class MountDir extends WrappedDir {
  /** The mount point. */
  readonly point: Point;

  constructor(inner: TreeDir, view: View, point: Point, root?: RootOptions) {
    super(inner, view, root);
    this.point = point;
  }

  override lookup(
    name: string,
    context: RequestContext,
  ): Awaitable<TreeFile | undefined> {
    const point = this.point.points.get(name);
    return point === undefined
      ? super.lookup(name, context)
      : point.enter(this, context);
  }

  override list(
    request: ListRequest,
    context: RequestContext,
  ): Awaitable<Listing> {
    return this.point.points.size === 0
      ? super.list(request, context)
      : this.#entries(request, context);
  }

  /** Lists the mount points, then the other members of the directory. */
  async *#entries(
    { cookie }: ListRequest,
    context: RequestContext,
  ): AsyncGenerator<DirEntry> {
    const { points } = this.point;
    const { size } = points;
    let at = 0;
    for (const point of points.values()) {
      if (at++ < cookie) continue;
      yield { stat: await this.#statOf(point, context), cookie: at };
    }
    let place = Math.max(0, cookie - size);
    const entries = await super.list({ cookie: place }, context);
    for await (const entry of entries) {
      place = entry.cookie ?? place + 1;
      if (points.has(entry.stat.name)) continue;
      yield { stat: entry.stat, cookie: size + place };
    }
  }

  /**
   * Returns the attributes of a mount point. If its tree cannot be reached,
   * they are those of an added directory, so that the listing goes on.
   */
  async #statOf(point: Point, context: RequestContext): Promise<Attributes> {
    try {
      const dir = await point.enter(this, context);
      try {
        return await dir.stat(context);
      } finally {
        await dir.release?.();
      }
    } catch (error) {
      context.report(error, error instanceof NinePError);
      return await point.made().stat(context);
    }
  }

  #checkNew(name: string): void {
    if (this.point.points.has(name)) {
      throw new NinePError("file already exists");
    }
  }

  #checkMoved(name: string): void {
    if (this.point.points.has(name)) {
      throw new NinePError("Device or resource busy");
    }
  }

  override checkTaken(name: string, replace: boolean): void {
    if (replace) this.#checkMoved(name);
    else this.#checkNew(name);
  }

  override create(
    request: CreateFile,
    context: RequestContext,
  ): Awaitable<CreatedFile> {
    this.#checkNew(request.name);
    return super.create(request, context);
  }

  override mkdir(
    request: MakeDir,
    context: RequestContext,
  ): Awaitable<TreeDir> {
    this.#checkNew(request.name);
    return super.mkdir(request, context);
  }

  override symlink(
    request: MakeSymlink,
    context: RequestContext,
  ): Awaitable<TreeFile> {
    this.#checkNew(request.name);
    return super.symlink(request, context);
  }

  override link(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void> {
    this.#checkNew(name);
    return super.link(name, file, context);
  }

  override remove(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void> {
    this.#checkMoved(name);
    return super.remove(name, file, context);
  }

  override rename(request: Rename, context: RequestContext): Awaitable<void> {
    this.#checkMoved(request.name);
    return super.rename(request, context);
  }
}
