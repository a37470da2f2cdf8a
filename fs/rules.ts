// The semantics of a tree of nodes: the requests of clients, their effects on
// nodes and directories, and the text of each refusal. See open(9P), stat(9P),
// remove(9P).

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
  type Stat,
} from "../codec.ts";
import { then } from "../codec/_awaitable.ts";
import { removedError } from "../codec/call.ts";
import { utf8Length } from "../codec/wire.ts";
import type {
  AttachRequest,
  Awaitable,
  CallRequest,
  Created,
  CreateRequest,
  DirMember,
  Fid,
  Handler,
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
  permits,
  READ,
  type Users,
  WRITE,
} from "./access.ts";
import { FileNode, PlainNode } from "./file.ts";
import { DirReader } from "./listing.ts";
import {
  closed,
  DirNode,
  link,
  makeRoot,
  move,
  type NodeInit,
  now,
  opened,
  touch,
  type TreeNode,
  unlink,
} from "./node.ts";
import type { Quota } from "./quota.ts";

/** Settings of a tree. */
export interface TreeSettings {
  /** Owner of the root. */
  readonly uid: string;
  /** Group of the root. */
  readonly gid: string;
  /** Permissions of the root. */
  readonly mode: number;
  /** User database, if there is one. */
  readonly users: Users | undefined;
  /** Refuse what usual clients do against the manual. */
  readonly strict: boolean;
  /** Most bytes of a name. */
  readonly maxName: number;
  /** What the tree may hold. */
  readonly quota: Quota;
}

/** A tree of nodes as a handler: what a MemoryFs is to a server. */
export class TreeHandler implements Handler<TreeNode> {
  /** The root directory. */
  readonly root: DirNode;
  readonly #settings: TreeSettings;
  // Qid paths come from a counter, so none is given twice. The counter starts
  // at a random number, so that a client of a restarted server does not take
  // another file for the file that it had.
  #lastPath = randomPath();
  /** Names that files will have which are being cut by the same Twstat. */
  readonly #promised: Set<string> = new Set();
  /** What each fid has open, also without a Topen: counted once, until the clunk. */
  readonly #uses: Map<Fid<TreeNode>, TreeNode> = new Map();

  constructor(settings: TreeSettings) {
    const { uid, gid, mode, quota } = settings;
    this.#settings = settings;
    this.root = new DirNode({
      name: "/",
      path: this.#lastPath,
      mode: DMDIR + (mode & 0o777),
      uid,
      gid,
      quota,
    });
    makeRoot(this.root);
  }

  /** Gives the root to everyone whose name can be the owner of a file. */
  attach(_fid: Fid<TreeNode>, request: AttachRequest<TreeNode>): TreeNode {
    const { uname, aname } = request;
    if (aname !== "" && aname !== "/") {
      throw new NinePError("file does not exist");
    }
    // A longer one would make records of files that no listing has room for.
    if (utf8Length(uname) > this.#settings.maxName) {
      throw new NinePError("unknown user");
    }
    return this.root;
  }

  /** Looks up one name. */
  walk(
    node: TreeNode,
    name: string,
    request: RequestContext<TreeNode>,
  ): TreeNode | undefined {
    if (!(node instanceof DirNode)) throw new NinePError("not a directory");
    const { parent } = node;
    if (parent === undefined) throw new NinePError("file has been removed");
    this.#need(node, request.fid.uname, EXECUTE);
    return name === ".." ? parent : node.members.get(name);
  }

  /** Checks permissions and exclusive use, then has the file open. */
  open(
    fid: Fid<TreeNode>,
    request: OpenRequest<TreeNode>,
  ): Awaitable<void> {
    const { uname } = fid;
    const { mode } = request;
    const node = this.#nodeOf(fid);
    const file = node.target;
    const used = this.#uses.get(fid);
    const again = used === file; // It was open implicitly.
    if (node.isRemoved && !again) throw removed(file);
    const access = accessOf(mode);
    this.#need(node, uname, mode & OTRUNC ? access | WRITE : access);
    if (mode & ORCLOSE) this.#need(parentOf(node), uname, WRITE);
    if (node.isExclusive && node.opens > (again ? 1 : 0)) {
      throw new NinePError("exclusive use file already open");
    }
    if (used !== undefined && !again) {
      return then(this.#leave(fid), () => this.open(fid, request));
    }
    if (!again) this.#use(fid, file);
    if (!(file instanceof FileNode)) return;
    if ((access & READ) !== 0) file.atime = now();
    try {
      const done = file.open(fid, request);
      if (!(done instanceof Promise)) return;
      return done.catch((error) => this.#failed(fid, again, error));
    } catch (error) {
      return this.#failed(fid, again, error);
    }
  }

  /** An open failed: the fid has nothing open, unless it had before. */
  #failed(
    fid: Fid<TreeNode>,
    again: boolean,
    error: unknown,
  ): Awaitable<never> {
    if (again) throw error;
    return then(this.#leave(fid), () => {
      throw error;
    });
  }

  #use(fid: Fid<TreeNode>, file: TreeNode): void {
    this.#uses.set(fid, file);
    opened(file);
  }

  /** Ends what a fid has open. */
  #leave(fid: Fid<TreeNode>): Awaitable<void> {
    const file = this.#uses.get(fid);
    if (file === undefined) return;
    let done: Awaitable<void> = undefined;
    try {
      if (file instanceof FileNode) done = file.clunk(fid);
    } catch (error) {
      this.#left(fid, file);
      throw error;
    }
    if (done instanceof Promise) {
      return done.finally(() => this.#left(fid, file));
    }
    this.#left(fid, file);
  }

  #left(fid: Fid<TreeNode>, file: TreeNode): void {
    this.#uses.delete(fid);
    closed(file);
  }

  /** Makes a file or directory. */
  create(
    fid: Fid<TreeNode>,
    request: CreateRequest<TreeNode>,
  ): Awaitable<Created<TreeNode>> {
    if (this.#uses.has(fid)) {
      return then(this.#leave(fid), () => this.create(fid, request));
    }
    const dir = fid.node;
    const { name, perm } = request;
    if (!(dir instanceof DirNode)) throw new NinePError("not a directory");
    this.#need(dir, fid.uname, WRITE);
    this.checkNew(dir, name);
    const mask = (perm & DMDIR) !== 0 ? 0o777 : 0o666;
    const mode = (perm & (~mask | (dir.mode & mask))) >>> 0;
    const init = this.nodeInit(name, mode, fid.uname, dir.gid);
    const node = (perm & DMDIR) !== 0 ? new DirNode(init) : new PlainNode(init);
    link(node, dir, name, fid.uname);
    this.#use(fid, node);
    return { node };
  }

  /** Reads a file. */
  read(
    fid: Fid<TreeNode>,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array> {
    return this.#fileOf(fid).read(fid, request);
  }

  /** Lists a directory: those that are members from the beginning until their turn. */
  readdir(fid: Fid<TreeNode>): Iterable<DirMember> {
    const node = this.#nodeOf(fid);
    if (!(node instanceof DirNode)) throw new NinePError("not a directory");
    return new DirReader(node.order, node.listing);
  }

  /** Writes to a file. */
  write(
    fid: Fid<TreeNode>,
    request: WriteRequest<TreeNode>,
  ): Awaitable<number | void> {
    return this.#fileOf(fid).write(fid, request);
  }

  /** Ends the use of an open file. */
  clunk(fid: Fid<TreeNode>): Awaitable<void> {
    return this.#leave(fid);
  }

  /** Removes a file or an empty directory. */
  remove(fid: Fid<TreeNode>): Awaitable<void> {
    const { node, uname } = fid;
    if (node === this.root) throw new NinePError("cannot remove root");
    this.#need(parentOf(node), uname, WRITE);
    if (node instanceof DirNode && node.members.size > 0) {
      throw new NinePError("directory is not empty");
    }
    const file = node.target;
    if (!(file instanceof FileNode)) return unlink(node, uname);
    return then(file.remove(fid), () => {
      parentOf(node); // Somebody else may have removed it while the file was asked.
      unlink(node, uname);
    });
  }

  /** Tells the attributes. */
  stat(fid: Fid<TreeNode>): Uint8Array {
    return this.#nodeOf(fid).record;
  }

  /** Changes attributes: first all checks, then all changes. */
  wstat(
    fid: Fid<TreeNode>,
    request: WstatRequest<TreeNode>,
  ): Awaitable<void> {
    const node = this.#nodeOf(fid);
    const file = node.target;
    const changes = possible(file, request.changes);
    this.#checkWishes(node, fid.uname, request.changes, changes);
    const { length } = changes;
    if (length === undefined || !(file instanceof FileNode)) {
      return this.#change(node, fid.uname, changes);
    }
    const cut = file.truncate(Number(length), fid.uname);
    if (!(cut instanceof Promise)) {
      return this.#change(node, fid.uname, changes);
    }
    return this.#changeAfter(cut, node, fid.uname, changes);
  }

  /** Keeps the new name free while the file is cut: it is too late then to refuse it. */
  async #changeAfter(
    cut: Promise<void>,
    node: TreeNode,
    uname: string,
    changes: Partial<Stat>,
  ): Promise<void> {
    const { name = node.name } = changes;
    const isNew = name !== node.name;
    const place = placeOf(node.parent ?? this.root, name);
    if (isNew) this.#promised.add(place);
    try {
      await cut;
    } finally {
      if (isNew) this.#promised.delete(place);
    }
    this.#change(node, uname, changes);
  }

  #checkWishes(
    node: TreeNode,
    uname: string,
    wishes: Partial<Stat>,
    changes: Partial<Stat>,
  ): void {
    const { users, strict } = this.#settings;
    const { name, length, mode, mtime, atime, gid } = changes;
    checkFixed(node, wishes, strict);
    const rules = governs(users, node, uname);
    if (name !== undefined && name !== node.name) {
      this.#checkRename(node, name, uname);
    }
    if (length !== undefined) {
      if (node.isRemoved && node.opens === 0) {
        throw new NinePError("file has been removed");
      }
      this.#need(node, uname, WRITE);
      checkLength(node.target, Number(length));
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
    if (gid !== undefined && gid !== node.gid) {
      checkGroup(users, node, uname, gid);
    }
  }

  #change(node: TreeNode, uname: string, changes: Partial<Stat>): void {
    const { name, length, mode, mtime, atime, gid } = changes;
    if (name !== undefined && name !== node.name) {
      this.moveNode(node, node.parent ?? this.root, name, uname);
    }
    if (mode !== undefined) node.mode = mode;
    if (gid !== undefined) node.gid = gid;
    if (mtime !== undefined) {
      node.mtime = mtime;
      node.muid = uname;
    }
    if (atime !== undefined) node.atime = atime;
    const isChanged = [length, mode, mtime, atime, gid]
      .some((value) => value !== undefined);
    const { parent } = node;
    if (isChanged && parent !== undefined) touch(parent, uname);
  }

  /** Calls a function file. */
  call(
    fid: Fid<TreeNode>,
    request: CallRequest<TreeNode>,
  ): Awaitable<Uint8Array | undefined> {
    const file = this.#nodeOf(fid).target;
    return file instanceof FileNode ? file.call(fid, request) : undefined;
  }

  /** What a fid stands for, by the name that it was walked to. */
  #nodeOf({ node }: Fid<TreeNode>): TreeNode {
    if (this.#settings.strict && node.isRemoved) throw removed(node.target);
    return node;
  }

  #fileOf(fid: Fid<TreeNode>): FileNode {
    const file = this.#nodeOf(fid).target;
    if (file instanceof FileNode) return file;
    throw new NinePError("Is a directory");
  }

  #need(node: TreeNode, uname: string, access: number): void {
    if (!permits(this.#settings.users, node, uname, access)) {
      throw new NinePError("permission denied");
    }
  }

  #checkRename(node: TreeNode, name: string, uname: string): void {
    if (node === this.root) throw new NinePError("cannot remove root");
    const parent = parentOf(node);
    this.#need(parent, uname, WRITE);
    this.checkNew(parent, name);
  }

  /** What a new node is made with: a qid that no other had. */
  nodeInit(name: string, mode: number, uid: string, gid: string): NodeInit {
    const { quota } = this.#settings;
    return { name, path: ++this.#lastPath, mode, uid, gid, quota };
  }

  /** Throws unless a directory can have a new member of that name. */
  checkNew(dir: DirNode, name: string): void {
    this.#checkName(name);
    if (dir.parent === undefined) throw new NinePError("file has been removed");
    const isPromised = this.#promised.size > 0 &&
      this.#promised.has(placeOf(dir, name));
    if (isPromised || dir.members.has(name)) {
      throw new NinePError("file already exists");
    }
  }

  /** Throws for names that no file can have, or no message carry. */
  #checkName(name: string): void {
    if (!isName(name) || name.includes("\0") || !name.isWellFormed()) {
      throw new NinePError("illegal name");
    }
    if (utf8Length(name) > this.#settings.maxName) {
      throw new NinePError("File name too long");
    }
  }

  /** Moves a node to a name in a directory, without a check of permissions. */
  moveNode(node: TreeNode, dir: DirNode, name: string, uname: string): void {
    if (node.parent === dir && node.name === name) return;
    parentOf(node);
    this.checkNew(dir, name);
    move(node, dir, name, uname);
  }
}

/** A name in a directory, also of a file that is not there. */
function placeOf(dir: DirNode, name: string): string {
  return `${dir.qid.path}/${name}`;
}

/** The directory that a node is in. */
function parentOf({ parent }: TreeNode): DirNode {
  if (parent === undefined) throw new NinePError("file has been removed");
  return parent;
}

/**
 * The error for a fid whose file was removed. Callers can tell the error of a
 * removed function file from an error of the function.
 */
function removed(file: TreeNode): NinePError {
  return file instanceof FileNode && file.implicitOpen
    ? removedError()
    : new NinePError("file has been removed");
}

/**
 * Returns the first qid path. Two servers, of which one replaces the other,
 * have no qid path in common. All paths stay below 2^53, because programs on
 * Node read an inode as a double.
 */
function randomPath(): bigint {
  const [random] = crypto.getRandomValues(new Uint32Array(1));
  return BigInt(random) << 20n; // Leaves a million paths before the next possible start.
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

function checkLength(file: TreeNode, length: number): void {
  if (!(file instanceof FileNode)) return;
  if (file.isAppendOnly && length !== file.length) {
    throw new NinePError("permission denied");
  }
  file.checkLength(length);
}

/** The wishes that mean something: a function file takes lengths and times, to no effect. */
function possible(file: TreeNode, changes: Partial<Stat>): Partial<Stat> {
  if (!(file instanceof FileNode && file.isFunction)) return changes;
  const { length: _length, mtime: _mtime, atime: _atime, ...rest } = changes;
  return rest;
}

/** Refuses changes of attributes that are fixed; the present value is no change. */
function checkFixed(
  node: TreeNode,
  changes: Partial<Stat>,
  strict: boolean,
): void {
  const { type, dev, qid, uid, muid, ...rest } = changes;
  const changed = (type !== undefined && type !== 0) ||
    (dev !== undefined && dev !== 0) ||
    (uid !== undefined && uid !== node.uid) ||
    (qid !== undefined &&
      (qid.type !== node.qid.type || qid.vers !== node.qid.vers ||
        qid.path !== node.qid.path));
  // Linux sends its user's name along with renames and times.
  const alone = muid !== undefined &&
    (strict || Object.keys(rest).length === 0);
  const timed = strict && changes.atime !== undefined;
  if (changed || alone || timed) throw new NinePError("wstat prohibited");
}
