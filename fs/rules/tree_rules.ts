// The rules of the manual that hold for every tree: access, changes of
// attributes, and names. See open(9P), stat(9P), remove(9P). The tree itself
// reads, writes and changes the files.

import {
  DMDIR,
  NinePError,
  ORCLOSE,
  ORDWR,
  OTRUNC,
  QTEXCL,
} from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import { NO_BYTES, utf8Length } from "../../codec/wire.ts";
import type {
  AttachRequest,
  AttributeChanges,
  Attributes,
  Awaitable,
  CallRequest,
  Created,
  CreateRequest,
  Fid,
  Listing,
  ListRequest,
  Opened,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
  WstatRequest,
} from "../../server.ts";
import type { OpenFile, Rules, Tree, TreeFile } from "../tree.ts";
import { EXECUTE, type Owned, WRITE } from "./access.ts";
import {
  accessOf,
  changesOf,
  check,
  checkFixed,
  checkName,
  checkOwner,
  checkPresent,
  checkWritable,
  dirOf,
  modeOf,
  NAME_MAX,
  need,
  notSupported,
  removedError,
} from "./checks.ts";
import { movedNode, PathNode } from "./path_node.ts";

/** The state of a fid that uses its file: the open file and its mode. */
interface Use {
  readonly node: PathNode;
  open: OpenFile | undefined;
  /** Modes in which the fid uses the file. */
  mode: number;
  isOver: boolean;
}

/**
 * Checks the requests for one tree, and passes the allowed ones to the files of
 * the tree.
 */
export class TreeRules {
  readonly #tree: Tree;
  readonly #rules: Rules;
  /**
   * The fids that have a file with DMEXCL open. The keys are the rules of the
   * file and then the path of its qid. The path alone is not enough, because
   * two trees that are served as one may have equal qids.
   */
  readonly #exclusive: Map<Rules, Map<bigint, Use>> = new Map();

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#rules = tree.rules ?? {};
  }

  attach(request: AttachRequest, context: RequestContext): Awaitable<PathNode> {
    // With a longer user name, the stat record of a file could be too long for
    // any listing.
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
    const found = this.#walk(node, name, context);
    if (!(found instanceof Promise)) return found;
    // The fid may end meanwhile. Its node must not be released before the walk
    // ends.
    node.retain();
    return found.finally(() => node.letGo(context));
  }

  #walk(
    node: PathNode,
    name: string,
    context: RequestContext,
  ): Awaitable<PathNode | undefined> {
    const allowed = need(node, context, EXECUTE);
    if (allowed === undefined) return this.#lookUp(node, name, context);
    return allowed.then(() => this.#lookUp(node, name, context));
  }

  #lookUp(
    node: PathNode,
    name: string,
    context: RequestContext,
  ): Awaitable<PathNode | undefined> {
    if (name === "..") return this.#walkUp(node, context);
    const file = dirOf(node).lookup(name, context);
    if (file === undefined) return undefined;
    if (!(file instanceof Promise)) {
      return new PathNode(file, node.rules, node, name);
    }
    return file.then((file) =>
      file && new PathNode(file, node.rules, node, name)
    );
  }

  #walkUp(node: PathNode, context: RequestContext): Awaitable<PathNode> {
    if (node.isRemoved) throw removedError(node);
    if (node.isRoot) return node.retain();
    return then(
      dirOf(node).checkParent?.(context),
      () => node.parent.retain(),
    );
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
    const allowed = need(
      node,
      context,
      isTruncated ? access | WRITE : access,
    );
    if (allowed === undefined) return this.#openAllowed(fid, request, context);
    return allowed.then(() => this.#openAllowed(fid, request, context));
  }

  #openAllowed(
    fid: Fid<PathNode>,
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<Opened<PathNode> | void> {
    const { node } = fid;
    const { mode } = request;
    const writes = (accessOf(mode) & WRITE) !== 0 ||
      (mode & (OTRUNC | ORCLOSE)) !== 0;
    if (writes) checkWritable(node);
    if ((mode & ORCLOSE) === 0) return this.#open(fid, request, context);
    return then(
      need(node.parent, context, WRITE),
      () => this.#open(fid, request, context),
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

  /** Notes that a fid begins to use its file. */
  #begin(fid: Fid<PathNode>, mode: number): Use {
    const { node } = fid;
    const use: Use = { node, open: undefined, mode, isOver: false };
    const { type, path } = node.qid;
    if ((type & QTEXCL) !== 0) {
      if (this.#exclusive.get(node.rules)?.has(path)) {
        throw new NinePError("exclusive use file already open");
      }
      this.#exclude(use);
    }
    fid.state = use;
    return use;
  }

  /** Prevents other fids from opening the file of a use. */
  #exclude(use: Use): void {
    const { rules, qid } = use.node;
    if (rules.exclusive === false) return;
    const uses = this.#exclusive.get(rules) ?? new Map<bigint, Use>();
    this.#exclusive.set(rules, uses);
    uses.set(qid.path, use);
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

  /** Closes a file whose fid has ended while the open was in progress. */
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

  /**
   * Opens the file of a fid in a further mode, when the fid uses the file
   * without a Topen.
   */
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
    if (this.#exclusive.size === 0) return;
    const { rules } = use.node;
    const uses = this.#exclusive.get(rules);
    if (uses?.get(path) !== use) return;
    uses.delete(path);
    if (uses.size === 0) this.#exclusive.delete(rules);
  }

  create(
    fid: Fid<PathNode>,
    request: CreateRequest,
    context: RequestContext,
  ): Awaitable<Created<PathNode>> {
    const { node } = fid;
    const { name } = request;
    if (node.rules.access === false) {
      checkWritable(node);
      checkName(node.rules, name);
      return this.#create(fid, request, context);
    }
    const dir = node.file.owned ?? node.file.stat(context);
    if (dir instanceof Promise) {
      return dir.then((dir) => this.#createIn(dir, fid, request, context));
    }
    return this.#createIn(dir, fid, request, context);
  }

  /**
   * Makes a file in a directory. The file gets no permissions that the
   * directory does not have.
   */
  #createIn(
    dir: Owned | Attributes,
    fid: Fid<PathNode>,
    { name, perm, mode }: CreateRequest,
    context: RequestContext,
  ): Awaitable<Created<PathNode>> {
    const { node } = fid;
    check(node, dir, context, WRITE);
    checkWritable(node);
    checkName(node.rules, name);
    const mask = (perm & DMDIR) !== 0 ? 0o777 : 0o666;
    const masked = (perm & (~mask | (dir.mode & mask))) >>> 0;
    return this.#create(fid, { name, perm: masked, mode }, context);
  }

  #create(
    fid: Fid<PathNode>,
    { name, perm, mode: asked }: CreateRequest,
    context: RequestContext,
  ): Awaitable<Created<PathNode>> {
    const { node } = fid;
    const dir = dirOf(node);
    const seenTo = node.rules.removeOnClose === false ? 0 : ORCLOSE;
    const mode = asked & ~(seenTo | OTRUNC);
    if ((perm & DMDIR) !== 0) {
      if (dir.mkdir === undefined) throw notSupported();
      return then(
        dir.mkdir({ name, perm }, context),
        (file) => this.#openMade(fid, { name, perm, mode }, file, context),
      );
    }
    if (dir.create === undefined) throw notSupported();
    const made = dir.create({ name, perm, mode }, context);
    if (!(made instanceof Promise)) {
      return this.#made(fid, name, mode, made.file, made.open);
    }
    return made.then(({ file, open }) =>
      this.#made(fid, name, mode, file, open)
    );
  }

  /** Opens a directory that this request has made. */
  async #openMade(
    fid: Fid<PathNode>,
    { name, mode }: CreateRequest,
    file: TreeFile,
    context: RequestContext,
  ): Promise<Created<PathNode>> {
    try {
      const open = await file.open?.({ mode, implicit: false }, context);
      return this.#made(fid, name, mode, file, open ?? undefined);
    } catch (error) {
      await file.release?.();
      throw error;
    }
  }

  /** Makes the fid stand for the new file, which it has open. */
  #made(
    fid: Fid<PathNode>,
    name: string,
    mode: number,
    file: TreeFile,
    open: OpenFile | undefined,
  ): Created<PathNode> {
    const { node } = fid;
    const child = new PathNode(file, node.rules, node, name);
    const use: Use = { node: child, open, mode, isOver: false };
    fid.state = use;
    if ((file.qid.type & QTEXCL) !== 0) this.#exclude(use);
    const iounit = open?.iounit;
    return iounit === undefined ? { node: child } : { node: child, iounit };
  }

  read(
    fid: Fid<PathNode>,
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array> {
    const open = openOf(fid);
    return open?.read === undefined ? NO_BYTES : open.read(request, context);
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
    const open = openOf(fid);
    checkWritable(fid.node);
    return open?.call?.(request, context);
  }

  remove(
    { node, open, mode }: Fid<PathNode>,
    context: RequestContext,
  ): Awaitable<void> {
    if (node.isRoot) throw new NinePError("cannot remove root");
    const { where } = node;
    if (where === undefined) throw removedError(node);
    const isLeft = open && (mode & ORCLOSE) !== 0 &&
      node.rules.removeOnClose === false;
    if (isLeft) return node.removed(); // The close that follows removes it.
    const { parent, name } = where;
    const allowed = need(parent, context, WRITE);
    if (allowed === undefined) {
      return this.#remove(node, parent, name, context);
    }
    return allowed.then(() => this.#remove(node, parent, name, context));
  }

  #remove(
    node: PathNode,
    parent: PathNode,
    name: string,
    context: RequestContext,
  ): Awaitable<void> {
    checkWritable(parent);
    const dir = dirOf(parent);
    if (dir.remove === undefined) throw notSupported();
    const removed = dir.remove(name, node.file, context);
    if (!(removed instanceof Promise)) return node.removed();
    return removed.then(() => node.removed());
  }

  stat(
    { node }: Fid<PathNode>,
    context: RequestContext,
  ): Awaitable<Attributes> {
    checkPresent(node);
    return node.file.stat(context);
  }

  /**
   * Changes attributes, all or none. All checks come first, then the change of
   * the name, which can be undone, then the other changes. The method awaits
   * only values that are promises. In a tree that answers without promises, no
   * other request can then run between the checks and the changes.
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
    const changes = changesOf(node, wishes);
    if (node.rules.access !== false) checkOwner(node, stat, changes, context);
    checkWritable(node);
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
      const isOneStep = hasChanges && file.wstatNamed !== undefined;
      const renamed = isOneStep
        ? this.#renameWith(node, name, changes, context)
        : this.rename(node, node.parent, name, context);
      if (renamed instanceof Promise) await renamed;
      if (isOneStep) return;
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

  /**
   * Gives a file its old name again. Another request may have removed the file
   * meanwhile.
   */
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

  /** Moves a file to another name or another directory. */
  rename(
    node: PathNode,
    dir: PathNode,
    name: string,
    context: RequestContext,
    replace = false,
  ): Awaitable<void> {
    return then(
      this.#checkRename(node, dir, name, context),
      () => this.#move(node, dir, name, replace, context),
    );
  }

  /** Gives a file another name and other attributes, in one step of its tree. */
  #renameWith(
    node: PathNode,
    name: string,
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void> {
    const { parent, file } = node;
    return then(
      this.#checkRename(node, parent, name, context),
      () =>
        then(
          file.wstatNamed?.(name, changes, context),
          () => node.moved(parent, name),
        ),
    );
  }

  /** Throws if a user may not give a file a name in a directory. */
  #checkRename(
    node: PathNode,
    dir: PathNode,
    name: string,
    context: RequestContext,
  ): Awaitable<void> {
    if (node.isRoot) throw new NinePError("cannot remove root");
    if (node.isRemoved) throw removedError(node);
    checkName(dir.rules, name);
    const { parent } = node;
    return then(need(parent, context, WRITE), () => {
      checkWritable(parent);
      checkWritable(dir);
      return dir === parent ? undefined : need(dir, context, WRITE);
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

/**
 * Returns the state of a fid; undefined while the fid does not use its file.
 */
function useOf(fid: Fid<PathNode>): Use | undefined {
  return fid.state as Use | undefined; // The rules alone set the state.
}

/** Returns the open file of a fid, if there is one. */
function openOf(fid: Fid<PathNode>): OpenFile | undefined {
  checkPresent(fid.node);
  return useOf(fid)?.open;
}

function endingOf({ lost, writeFailed }: Fid): Parameters<
  NonNullable<OpenFile["close"]>
>[0] {
  return { lost, writeFailed };
}
