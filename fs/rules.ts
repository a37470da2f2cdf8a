// The rules of the manual that hold for every tree: who may do what, what may
// be changed, how a name is taken and given up. See open(9P), stat(9P),
// remove(9P). What a file does is the business of its tree.

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  DMTMP,
  isName,
  NinePError,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  QTAPPEND,
  QTDIR,
  QTEXCL,
} from "../codec.ts";
import { then } from "../codec/_awaitable.ts";
import { removedError as staleError } from "../codec/call.ts";
import { utf8Length } from "../codec/wire.ts";
import type {
  AttachRequest,
  AttributeChanges,
  Attributes,
  Awaitable,
  CallRequest,
  Created,
  CreateRequest,
  Fid,
  Handler,
  Listing,
  ListRequest,
  Opened,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
  WstatRequest,
} from "../server.ts";
import {
  checkGroup,
  EXECUTE,
  governs,
  type Owned,
  permits,
  READ,
  WRITE,
} from "./access.ts";
import { PathNode } from "./path_node.ts";
import type { OpenFile, Rules, Tree, TreeDir, TreeFile } from "./tree.ts";

/** Most bytes of a name, where a tree says nothing. */
const NAME_MAX = 255;

const NOTHING: Uint8Array = new Uint8Array(0);

/** What a fid has open: kept as its state. */
interface Use {
  readonly node: PathNode;
  open: OpenFile | undefined;
  /** Modes in which the fid uses the file. */
  mode: number;
  isOver: boolean;
}

/** A tree that can be served. */
export interface ServableTree extends Tree {
  /** What a server asks: functions that need no `this`. */
  readonly handler: Handler<PathNode>;
}

/**
 * Makes a tree that can be served out of one that answers for files only: the
 * rules of the manual stand above it.
 *
 * @param tree A tree, or its root directory.
 * @param rules The rules to choose; those of the tree by default.
 * @returns The tree, with the handler that serve() and listen() take.
 *
 * @example A directory of one file
 * ```ts
 * import { connect, pair, serve, type TreeDir, type TreeFile, treeOf } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const text = new TextEncoder().encode("hello\n");
 * const hello: TreeFile = {
 *   qid: { type: 0, vers: 0, path: 1n },
 *   stat: () => ({ qid: hello.qid, name: "hello", mode: 0o444, length: text.length }),
 *   open: () => ({ read: ({ offset, count }) => text.subarray(offset, offset + count) }),
 * };
 * const root: TreeDir = {
 *   qid: { type: 0x80, vers: 0, path: 0n },
 *   stat: () => ({ qid: root.qid, name: "/", mode: 0x80000000 + 0o555 }),
 *   lookup: (name) => name === "hello" ? hello : undefined,
 *   list: (_request, context) => [hello].map((file) => ({ stat: file.stat(context) })),
 * };
 *
 * const [here, there] = pair();
 * const served = serve(there, treeOf(root));
 * const client = await connect(here);
 * assertEquals(await client.readTextFile("hello"), "hello\n");
 * await client.close();
 * await served;
 * ```
 */
export function treeOf(
  tree: Tree | TreeDir,
  rules: Rules | undefined = tree.rules,
): ServableTree {
  const { attach, connect, disconnect } = "attach" in tree
    ? boundOf(tree)
    : { attach: () => tree };
  const made: Tree = {
    attach,
    ...(rules === undefined ? {} : { rules }),
    ...(connect === undefined ? {} : { connect }),
    ...(disconnect === undefined ? {} : { disconnect }),
  };
  return { ...made, handler: handlerOf(made) };
}

function boundOf(tree: Tree): Omit<Tree, "rules"> {
  return {
    attach: (request, context) => tree.attach(request, context),
    ...(tree.connect === undefined
      ? {}
      : { connect: (connection) => tree.connect?.(connection) }),
    ...(tree.disconnect === undefined
      ? {}
      : { disconnect: (connection) => tree.disconnect?.(connection) }),
  };
}

/**
 * The handler of a tree.
 *
 * @param tree The tree.
 * @returns Functions that need no `this`, so that a program can spread them and
 *   replace some.
 */
export function handlerOf(tree: Tree): Handler<PathNode> {
  const rules = new TreeRules(tree);
  return {
    connect: (connection) => tree.connect?.(connection),
    disconnect: (connection) => tree.disconnect?.(connection),
    attach: (_fid, request, context) => rules.attach(request, context),
    walk: (node, name, context) => rules.walk(node, name, context),
    open: (fid, request, context) => rules.open(fid, request, context),
    create: (fid, request, context) => rules.create(fid, request, context),
    read: (fid, request, context) => rules.read(fid, request, context),
    readdir: (fid, request, context) => rules.list(fid, request, context),
    write: (fid, request, context) => rules.write(fid, request, context),
    call: (fid, request, context) => rules.call(fid, request, context),
    leave: (fid) => rules.leave(fid),
    clunk: (fid) => rules.leave(fid),
    remove: (fid, context) => rules.remove(fid, context),
    stat: (fid, context) => rules.stat(fid, context),
    wstat: (fid, request, context) => rules.wstat(fid, request, context),
    // A program may have added an auth() with nodes of its own.
    release: (node: unknown) =>
      node instanceof PathNode ? node.release() : undefined,
  };
}

/** The rules above one tree. */
class TreeRules {
  readonly #tree: Tree;
  readonly #rules: Rules;
  /** The fids that have a file with DMEXCL open, by the path of its qid. */
  readonly #exclusive: Map<bigint, Use> = new Map();

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#rules = tree.rules ?? {};
  }

  attach(request: AttachRequest, context: RequestContext): Awaitable<PathNode> {
    // A longer name would make records of files that no listing has room for.
    if (utf8Length(request.uname) > (this.#rules.maxName ?? NAME_MAX)) {
      throw new NinePError("unknown user");
    }
    return then(
      this.#tree.attach(request, context),
      (root) => new PathNode(root, this.#rules, undefined, "/"),
    );
  }

  walk(
    node: PathNode,
    name: string,
    context: RequestContext,
  ): Awaitable<PathNode | undefined> {
    return then(need(node, context, EXECUTE), () => {
      if (name === "..") {
        if (node.isRemoved) throw removedError(node);
        return node.parent.retain();
      }
      return then(
        dirOf(node).lookup(name, context),
        (file) =>
          file === undefined
            ? undefined
            : new PathNode(file, node.rules, node, name),
      );
    });
  }

  open(
    fid: Fid<PathNode>,
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<Opened<PathNode> | void> {
    const { node } = fid;
    const { mode } = request;
    const use = useOf(fid);
    if (node.isLost && use === undefined) throw removedError(node);
    const access = accessOf(mode);
    const isTruncated = (mode & OTRUNC) !== 0;
    return then(
      need(node, context, isTruncated ? access | WRITE : access),
      () => {
        if ((mode & ORCLOSE) === 0) return this.#open(fid, request, context);
        return then(
          need(node.parent, context, WRITE),
          () => this.#open(fid, request, context),
        );
      },
    );
  }

  #open(
    fid: Fid<PathNode>,
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<Opened<PathNode> | void> {
    const { node } = fid;
    const { implicit } = request;
    const mode = modeOf(node, request.mode);
    const use = useOf(fid);
    if (use !== undefined) {
      return this.#openAgain(use, fid, { mode, implicit }, context);
    }
    const begun = this.#begin(fid, mode);
    try {
      const opened = node.file.open?.({ mode, implicit }, context);
      if (!(opened instanceof Promise)) return this.#opened(begun, opened);
      return opened.then(
        (opened) => this.#opened(begun, opened),
        (error) => this.#failed(fid, begun, error),
      );
    } catch (error) {
      return this.#failed(fid, begun, error);
    }
  }

  /** The fid begins to use its file. */
  #begin(fid: Fid<PathNode>, mode: number): Use {
    const { node } = fid;
    const use: Use = { node, open: undefined, mode, isOver: false };
    const { type, path } = node.qid;
    if ((type & QTEXCL) !== 0 && node.rules.exclusive !== false) {
      if (this.#exclusive.has(path)) {
        throw new NinePError("exclusive use file already open");
      }
      this.#exclusive.set(path, use);
    }
    fid.state = use;
    return use;
  }

  #opened(
    use: Use,
    open: OpenFile | void,
  ): Awaitable<Opened<PathNode> | void> {
    if (open === undefined) return;
    use.open = open;
    if (use.isOver) return this.#abandon(use.node, open);
    const { iounit } = open;
    const node = movedNode(use.node, open);
    if (node === undefined && iounit === undefined) return;
    return {
      ...(iounit === undefined ? {} : { iounit }),
      ...(node === undefined ? {} : { node }),
    };
  }

  /** Ends an open whose fid has ended while its file was opened. */
  async #abandon(node: PathNode, open: OpenFile): Promise<undefined> {
    const moved = movedNode(node, open);
    try {
      await open.close?.({ lost: true, writeFailed: false });
    } finally {
      await moved?.release();
    }
  }

  #failed(fid: Fid<PathNode>, use: Use, error: unknown): never {
    this.#end(fid, use);
    throw error;
  }

  /** The fid uses its file without a Topen, and wants to do more. */
  #openAgain(
    use: Use,
    fid: Fid<PathNode>,
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<void> {
    const { mode, implicit } = request;
    const isSame = use.mode === mode || !implicit;
    const both = isSame ? mode : ORDWR | (mode & OTRUNC);
    const done = () => {
      use.mode = both & ~OTRUNC;
    };
    if (use.open?.reopen !== undefined) {
      return then(use.open.reopen(request, context), done);
    }
    const opened = use.node.file.open?.({ mode: both, implicit }, context);
    return then<OpenFile | void, void>(opened, (opened) => {
      const old = use.open;
      use.open = opened ?? undefined;
      done();
      return old?.close?.(endingOf(fid));
    });
  }

  /** Ends the use of a file by a fid. */
  leave(fid: Fid<PathNode>): Awaitable<void> {
    const use = useOf(fid);
    if (use === undefined) return;
    this.#end(fid, use);
    return use.open?.close?.(endingOf(fid));
  }

  #end(fid: Fid<PathNode>, use: Use): void {
    use.isOver = true;
    fid.state = undefined;
    const { path } = use.node.qid;
    if (this.#exclusive.size > 0 && this.#exclusive.get(path) === use) {
      this.#exclusive.delete(path);
    }
  }

  create(
    fid: Fid<PathNode>,
    request: CreateRequest,
    context: RequestContext,
  ): Awaitable<Created<PathNode>> {
    const { node } = fid;
    const { name } = request;
    if (node.rules.access === false) {
      checkName(node.rules, name);
      return this.#create(fid, request, context);
    }
    const { owned } = node.file;
    return then(owned ?? node.file.stat(context), (dir: Owned | Attributes) => {
      check(node, dir, context, WRITE);
      checkName(node.rules, name);
      const mask = (request.perm & DMDIR) !== 0 ? 0o777 : 0o666;
      const perm = (request.perm & (~mask | (dir.mode & mask))) >>> 0;
      return this.#create(fid, { ...request, perm }, context);
    });
  }

  #create(
    fid: Fid<PathNode>,
    { name, perm, mode: asked }: CreateRequest,
    context: RequestContext,
  ): Awaitable<Created<PathNode>> {
    const { node } = fid;
    const dir = dirOf(node);
    const mode = asked & ~(ORCLOSE | OTRUNC);
    const made = (file: TreeFile, open?: OpenFile) => {
      const child = new PathNode(file, node.rules, node, name);
      const use: Use = { node: child, open, mode, isOver: false };
      fid.state = use;
      const { type, path } = child.qid;
      if ((type & QTEXCL) !== 0) this.#exclusive.set(path, use);
      const { iounit } = open ?? {};
      return iounit === undefined ? { node: child } : { node: child, iounit };
    };
    if ((perm & DMDIR) !== 0) {
      if (dir.mkdir === undefined) throw notSupported();
      return then(dir.mkdir({ name, perm }, context), (file) => {
        const opened = file.open?.({ mode, implicit: false }, context);
        return then(opened, (opened) => made(file, opened ?? undefined));
      });
    }
    if (dir.create === undefined) throw notSupported();
    return then(
      dir.create({ name, perm, mode }, context),
      ({ file, open }) => made(file, open),
    );
  }

  read(
    fid: Fid<PathNode>,
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array> {
    const open = openOf(fid);
    return open?.read === undefined ? NOTHING : open.read(request, context);
  }

  list(
    { node }: Fid<PathNode>,
    request: ListRequest,
    context: RequestContext,
  ): Awaitable<Listing> {
    checkPresent(node);
    const dir = dirOf(node);
    return dir.list === undefined ? [] : dir.list(request, context);
  }

  write(
    fid: Fid<PathNode>,
    request: WriteRequest,
    context: RequestContext,
  ): Awaitable<number | void> {
    const open = openOf(fid);
    if (open?.write === undefined) throw notSupported();
    return open.write(request, context);
  }

  call(
    fid: Fid<PathNode>,
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array | undefined> {
    return openOf(fid)?.call?.(request, context);
  }

  remove(
    { node }: Fid<PathNode>,
    context: RequestContext,
  ): Awaitable<void> {
    if (node.isRoot) throw new NinePError("cannot remove root");
    const { where, file } = node;
    if (where === undefined) throw removedError(node);
    const { parent, name } = where;
    return then(need(parent, context, WRITE), () => {
      const dir = dirOf(parent);
      if (dir.remove === undefined) throw notSupported();
      return then(dir.remove(name, file, context), () => node.removed());
    });
  }

  stat(
    { node }: Fid<PathNode>,
    context: RequestContext,
  ): Awaitable<Attributes> {
    checkPresent(node);
    return node.file.stat(context);
  }

  /**
   * Changes attributes, all or none: first all checks, then the name, which can
   * be taken back, then the others. Waits only for what is not there at once,
   * so that two requests cannot both pass the checks and then exclude each other.
   */
  async wstat(
    { node }: Fid<PathNode>,
    { changes: wishes }: WstatRequest,
    context: RequestContext,
  ): Promise<void> {
    checkPresent(node);
    const { file } = node;
    if (Object.keys(wishes).length === 0) return file.sync?.(context);
    let stat = file.stat(context);
    if (stat instanceof Promise) stat = await stat;
    checkFixed(stat, wishes, node.rules.strict === true);
    const changes = changesOf(file, wishes);
    if (node.rules.access !== false) checkOwner(node, stat, changes, context);
    const hasChanges = Object.keys(changes).length > 0;
    if (hasChanges) {
      if (file.wstat === undefined) throw new NinePError("wstat prohibited");
      const checked = file.checkWstat?.(changes, context);
      if (checked instanceof Promise) await checked;
    }
    const { name } = wishes;
    const isRenamed = name !== undefined && name !== stat.name;
    const old = isRenamed
      ? { parent: node.parent, name: node.name }
      : undefined;
    if (isRenamed) {
      const renamed = this.rename(node, node.parent, name, context);
      if (renamed instanceof Promise) await renamed;
    }
    if (!hasChanges) return;
    try {
      const changed = file.wstat?.(changes, context);
      if (changed instanceof Promise) await changed;
    } catch (error) {
      if (old !== undefined) {
        await this.#undo(node, old.parent, old.name, context);
      }
      throw error;
    }
  }

  /** Gives a file its old name again. The file may have gone meanwhile. */
  async #undo(
    node: PathNode,
    dir: PathNode,
    name: string,
    context: RequestContext,
  ): Promise<void> {
    if (node.isRemoved) return;
    try {
      await this.#move(node, dir, name, false, context);
    } catch (error) {
      context.report(error);
    }
  }

  /** Gives a file another name, or another directory. */
  rename(
    node: PathNode,
    dir: PathNode,
    name: string,
    context: RequestContext,
    replace = false,
  ): Awaitable<void> {
    if (node.isRoot) throw new NinePError("cannot remove root");
    if (node.isRemoved) throw removedError(node);
    checkName(dir.rules, name);
    const { parent } = node;
    return then(need(parent, context, WRITE), () => {
      const allowed = dir === parent ? undefined : need(dir, context, WRITE);
      return then(
        allowed,
        () => this.#move(node, dir, name, replace, context),
      );
    });
  }

  #move(
    node: PathNode,
    dir: PathNode,
    newName: string,
    replace: boolean,
    context: RequestContext,
  ): Awaitable<void> {
    const { parent, name, file } = node;
    const from = dirOf(parent);
    if (from.rename === undefined) throw new NinePError("wstat prohibited");
    const newDir = dirOf(dir);
    return then(
      from.rename({ name, file, newDir, newName, replace }, context),
      () => node.moved(dir, newName),
    );
  }
}

/** What a fid uses. */
function useOf(fid: Fid<PathNode>): Use | undefined {
  return fid.state as Use | undefined; // The rules alone set the state.
}

/** The open file of a fid. */
function openOf(fid: Fid<PathNode>): OpenFile | undefined {
  checkPresent(fid.node);
  return useOf(fid)?.open;
}

function endingOf({ lost, writeFailed }: Fid): Parameters<
  NonNullable<OpenFile["close"]>
>[0] {
  return { lost, writeFailed };
}

/** What a fid stands for when an open has moved it to another file. */
function movedNode(
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

/** The session asks these things of directories only. */
function dirOf({ file }: PathNode): TreeDir {
  if ((file.qid.type & QTDIR) !== 0 && "lookup" in file) {
    return file as TreeDir; // Its qid says so, and it has the only required member.
  }
  throw new NinePError("not a directory");
}

/** The mode as a file gets it: the rules see to the rest of it. */
function modeOf(node: PathNode, mode: number): number {
  const isAppendOnly = (node.qid.type & QTAPPEND) !== 0;
  return mode & ~(isAppendOnly ? ORCLOSE | OTRUNC : ORCLOSE);
}

function accessOf(mode: number): number {
  switch (mode & 3) {
    case OREAD:
      return READ;
    case OWRITE:
      return WRITE;
    case ORDWR:
      return READ | WRITE;
    default: // OEXEC
      return EXECUTE;
  }
}

/** Throws unless a user has an access to a file. */
function need(
  node: PathNode,
  context: RequestContext,
  access: number,
): Awaitable<void> {
  if (node.rules.access === false) return;
  const owned = node.file.owned ?? node.file.stat(context);
  if (!(owned instanceof Promise)) return check(node, owned, context, access);
  return owned.then((owned) => check(node, owned, context, access));
}

function check(
  { rules }: PathNode,
  { mode, uid = "none", gid = uid }: Pick<Attributes, "mode" | "uid" | "gid">,
  { uname }: RequestContext,
  access: number,
): void {
  // Most files need no look at their owner.
  if ((mode & access) === access) return;
  if (!permits(rules.users, { mode, uid, gid }, uname, access)) {
    throw new NinePError("permission denied");
  }
}

/** The attributes that decide on access, with their defaults. */
function ownedOf(
  { mode, uid = "none", gid = uid }: Attributes,
): { mode: number; uid: string; gid: string } {
  return { mode, uid, gid };
}

/** Throws for names that no file can have, or no message carry. */
function checkName({ maxName = NAME_MAX }: Rules, name: string): void {
  if (!isName(name) || name.includes("\0") || !name.isWellFormed()) {
    throw new NinePError("illegal name");
  }
  if (utf8Length(name) > maxName) throw new NinePError("File name too long");
}

/** Throws for a file that was removed, where the rules are strict. */
function checkPresent(node: PathNode): void {
  if (node.rules.strict === true && node.isRemoved) throw removedError(node);
}

/**
 * The error for a fid whose file was removed. Callers can tell the error of a
 * removed function file from an error of the function.
 */
function removedError({ implicitOpen }: PathNode): NinePError {
  return implicitOpen ? staleError() : new NinePError("file has been removed");
}

function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

/** The wishes that a file is asked for; a function has no length and no times to set. */
function changesOf(
  { implicitOpen = false }: TreeFile,
  wishes: WstatRequest["changes"],
): AttributeChanges {
  const { mode, gid, length, atime, mtime } = wishes;
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(gid === undefined ? {} : { gid }),
    ...(length === undefined || implicitOpen ? {} : { length: Number(length) }),
    ...(atime === undefined || implicitOpen ? {} : { atime }),
    ...(mtime === undefined || implicitOpen ? {} : { mtime }),
  };
}

/** Throws unless a user may change attributes. */
function checkOwner(
  node: PathNode,
  stat: Attributes,
  { length, mode, mtime, atime, gid }: AttributeChanges,
  context: RequestContext,
): void {
  const { users } = node.rules;
  const owned = ownedOf(stat);
  const { uname } = context;
  const rules = governs(users, owned, uname);
  if (length !== undefined) {
    check(node, stat, context, WRITE);
    const isCut = Number(length) !== Number(stat.length ?? 0);
    if ((stat.mode & DMAPPEND) !== 0 && isCut) {
      throw new NinePError("permission denied");
    }
  }
  if (mode !== undefined) {
    if (!rules) throw new NinePError("not owner");
    const known = DMDIR | DMAPPEND | DMEXCL | DMTMP | 0o777;
    if ((mode & ~known) !== 0) throw new NinePError("illegal mode");
  }
  if ((mtime !== undefined || atime !== undefined) && !rules) {
    // An ordinary truncation by Linux sets the mtime, too.
    if (length === undefined) throw new NinePError("not owner");
  }
  if (gid !== undefined && gid !== owned.gid) {
    checkGroup(users, owned, uname, gid);
  }
}

/** Refuses changes of attributes that are fixed; the present value is no change. */
function checkFixed(
  stat: Attributes,
  changes: WstatRequest["changes"],
  strict: boolean,
): void {
  const { type, dev, qid, uid, muid, ...rest } = changes;
  const changed = (type !== undefined && type !== 0) ||
    (dev !== undefined && dev !== 0) ||
    (uid !== undefined && uid !== ownedOf(stat).uid) ||
    (qid !== undefined &&
      (qid.type !== stat.qid.type || qid.vers !== stat.qid.vers ||
        qid.path !== stat.qid.path));
  // Linux sends its user's name along with renames and times.
  const alone = muid !== undefined &&
    (strict || Object.keys(rest).length === 0);
  const timed = strict && changes.atime !== undefined;
  if (changed || alone || timed) throw new NinePError("wstat prohibited");
}
