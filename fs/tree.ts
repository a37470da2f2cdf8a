// The semantics of a tree of nodes: who may do what, what it does to nodes and
// their directories, and the text of each refusal. See open(9P), stat(9P),
// remove(9P).

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  DMTMP,
  NinePError,
  ORCLOSE,
  ORDWR,
  OREAD,
  OTRUNC,
  OWRITE,
  type Stat,
} from "../codec.ts";
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
  DirNode,
  FileNode,
  type NodeInit,
  now,
  type Quota,
  type TreeNode,
} from "./node.ts";

const READ = 4;
const WRITE = 2;
const EXECUTE = 1;

/** Bytes of a name. */
const NAME_MAX = 255;

/** A tree of nodes as a handler: what a MemoryFs is to a server. */
export class TreeHandler implements Handler<TreeNode> {
  /** The root directory. */
  readonly root: DirNode;
  /** How much the files may hold. */
  readonly quota: Quota;
  // Numbers of qids come from a counter: none is given twice.
  #lastPath = 0n;
  /** What each fid has open, also without a Topen: counted once, until the clunk. */
  readonly #uses: WeakMap<Fid<TreeNode>, TreeNode> = new WeakMap();

  constructor(
    root: { uid: string; gid: string; mode: number },
    quota: Quota,
  ) {
    const { uid, gid, mode } = root;
    this.quota = quota;
    this.root = new DirNode({
      name: "/",
      path: this.#lastPath,
      mode: DMDIR + (mode & 0o777),
      uid,
      gid,
    });
    this.root.parent = this.root;
  }

  /** Gives the root to everyone. */
  attach(_fid: Fid<TreeNode>, request: AttachRequest<TreeNode>): TreeNode {
    if (request.aname !== "" && request.aname !== "/") {
      throw new NinePError("file does not exist");
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
    if (node.parent === undefined) {
      throw new NinePError("file has been removed");
    }
    need(node, request.fid.uname, EXECUTE);
    return name === ".." ? node.parent : node.members.get(name);
  }

  /** Checks permissions and exclusive use, truncates. */
  open(fid: Fid<TreeNode>, request: OpenRequest<TreeNode>): void {
    const { node, uname } = fid;
    const { mode } = request;
    const inUse = this.#uses.get(fid) === node;
    if (node.parent === undefined && !inUse) {
      throw new NinePError("file has been removed");
    }
    const access = accessOf(mode);
    need(node, uname, mode & OTRUNC ? access | WRITE : access);
    if (mode & ORCLOSE) {
      if (node.parent === undefined) {
        throw new NinePError("file has been removed");
      }
      need(node.parent, uname, WRITE);
    }
    if (node.isExclusive && node.opens > (inUse ? 1 : 0)) {
      throw new NinePError("exclusive use file already open");
    }
    this.#use(fid, node);
    if (!(node instanceof FileNode)) return;
    if (mode & OTRUNC && !node.isAppendOnly && !node.isFunction) {
      node.truncate(0);
      node.modified(uname);
    }
    if ((access & READ) !== 0) node.atime = now();
  }

  #use(fid: Fid<TreeNode>, node: TreeNode): void {
    if (this.#uses.get(fid) === node) return;
    this.#letGo(fid);
    this.#uses.set(fid, node);
    node.opens++;
  }

  #letGo(fid: Fid<TreeNode>): void {
    const node = this.#uses.get(fid);
    if (node === undefined) return;
    this.#uses.delete(fid);
    node.opens--;
    if (node.opens === 0 && node.parent === undefined) disposeOf(node);
  }

  /** Makes a file or directory. */
  create(
    fid: Fid<TreeNode>,
    request: CreateRequest<TreeNode>,
  ): Created<TreeNode> {
    const dir = fid.node;
    const { name, perm } = request;
    if (!(dir instanceof DirNode)) throw new NinePError("not a directory");
    need(dir, fid.uname, WRITE);
    const mask = (perm & DMDIR) !== 0 ? 0o777 : 0o666;
    const init = this.nodeInit({
      name,
      mode: (perm & (~mask | (dir.mode & mask))) >>> 0,
      uid: fid.uname,
      gid: dir.gid,
    });
    const node = (perm & DMDIR) !== 0
      ? new DirNode(init)
      : new FileNode(init, this.quota);
    this.insert(dir, node);
    this.#use(fid, node);
    return { node };
  }

  /** Reads a file. */
  read(
    fid: Fid<TreeNode>,
    request: ReadRequest<TreeNode>,
  ): Awaitable<Uint8Array> {
    return fileOf(fid).read(fid, request);
  }

  /** Lists a directory: a snapshot of its members, less those removed before their turn. */
  readdir(fid: Fid<TreeNode>): Iterable<DirMember> {
    const { node } = fid;
    if (!(node instanceof DirNode)) throw new NinePError("not a directory");
    return membersOf(node);
  }

  /** Writes to a file. */
  write(
    fid: Fid<TreeNode>,
    request: WriteRequest<TreeNode>,
  ): Awaitable<number> {
    return fileOf(fid).write(fid, request);
  }

  /** Ends the use of an open file. */
  clunk(fid: Fid<TreeNode>): void {
    this.#letGo(fid);
  }

  /** Removes a file or an empty directory. */
  remove(fid: Fid<TreeNode>): void {
    const { node, uname } = fid;
    if (node === this.root) throw new NinePError("cannot remove root");
    const { parent } = node;
    if (parent === undefined) throw new NinePError("file has been removed");
    need(parent, uname, WRITE);
    this.removeNode(node, uname);
  }

  /** Tells the attributes. */
  stat(fid: Fid<TreeNode>): Uint8Array {
    return fid.node.record;
  }

  /** Changes attributes: first all checks, then all changes. */
  wstat(fid: Fid<TreeNode>, request: WstatRequest<TreeNode>): void {
    const { node, uname } = fid;
    const changes = possible(node, request.changes);
    const { name, length, mode, mtime, atime, gid } = changes;
    checkFixed(node, request.changes);
    const leads = uname === node.uid || uname === node.gid;
    if (name !== undefined && name !== node.name) {
      this.#checkRename(node, name, uname);
    }
    if (length !== undefined) {
      if (node.parent === undefined && node.opens === 0) {
        throw new NinePError("file has been removed");
      }
      need(node, uname, WRITE);
      if (node instanceof FileNode) {
        if (node.isAppendOnly && Number(length) !== node.length) {
          throw new NinePError("permission denied");
        }
        node.checkLength(Number(length));
      }
    }
    if (mode !== undefined) {
      if (!leads) throw new NinePError("not owner");
      const known = DMDIR | DMAPPEND | DMEXCL | DMTMP | 0o777;
      if ((mode & ~known) !== 0) throw new NinePError("illegal mode");
    }
    if ((mtime !== undefined || atime !== undefined) && !leads) {
      // An ordinary truncation by Linux sets the mtime, too.
      if (length === undefined) throw new NinePError("not owner");
    }
    if (gid !== undefined && gid !== node.gid) {
      // Each user is the only member, and the leader, of the group of that name.
      const allowed = leads && uname === gid;
      if (!allowed) throw new NinePError("not a member of proposed group");
    }

    if (name !== undefined && name !== node.name) {
      this.moveNode(node, node.parent ?? this.root, name, uname);
    }
    if (length !== undefined && node instanceof FileNode) {
      if (Number(length) !== node.length) {
        node.truncate(Number(length));
        node.modified(uname);
      }
    }
    if (mode !== undefined) node.mode = mode;
    if (gid !== undefined) node.gid = gid;
    if (mtime !== undefined) {
      node.mtime = mtime;
      node.muid = uname;
    }
    if (atime !== undefined) node.atime = atime;
  }

  /** Calls a function file. */
  call(
    fid: Fid<TreeNode>,
    request: CallRequest<TreeNode>,
  ): Awaitable<Uint8Array | undefined> {
    const { node } = fid;
    return node instanceof FileNode ? node.call(fid, request) : undefined;
  }

  #checkRename(node: TreeNode, name: string, uname: string): void {
    const { parent } = node;
    if (node === this.root) throw new NinePError("cannot remove root");
    if (parent === undefined) throw new NinePError("file has been removed");
    need(parent, uname, WRITE);
    if (parent.members.has(name)) throw new NinePError("file already exists");
  }

  /** Attributes for a new node, with a qid that no other had. */
  nodeInit(init: Omit<NodeInit, "path">): NodeInit {
    return { ...init, path: ++this.#lastPath };
  }

  /** Throws unless a directory can have a new member of that name. */
  checkNew(dir: DirNode, name: string): void {
    checkName(name);
    if (dir.parent === undefined) throw new NinePError("file has been removed");
    if (dir.members.has(name)) throw new NinePError("file already exists");
  }

  /** Puts a new node into a directory, without a check of permissions. */
  insert(dir: DirNode, node: TreeNode): void {
    const { name } = node;
    this.checkNew(dir, name);
    node.parent = dir;
    dir.members.set(name, node);
    dir.modified(node.uid);
  }

  /** Takes a node out of its directory, without a check of permissions. */
  removeNode(node: TreeNode, uname: string): void {
    if (node instanceof DirNode && node.members.size > 0) {
      throw new NinePError("directory is not empty");
    }
    node.parent?.members.delete(node.name);
    node.parent?.modified(uname);
    node.parent = undefined;
    if (node.opens === 0) disposeOf(node);
  }

  /** Moves a node to a name in a directory, without a check of permissions. */
  moveNode(node: TreeNode, dir: DirNode, name: string, uname: string): void {
    const { parent } = node;
    if (parent === undefined) throw new NinePError("file has been removed");
    if (parent === dir && node.name === name) return;
    this.checkNew(dir, name);
    parent.members.delete(node.name);
    parent.modified(uname);
    node.name = name;
    node.parent = dir;
    dir.members.set(name, node);
    if (dir !== parent) dir.modified(uname);
  }
}

function disposeOf(node: TreeNode): void {
  if (node instanceof FileNode) node.dispose();
}

function membersOf(dir: DirNode): DirMember[] {
  return Array.from(
    dir.members.values(),
    (node) => () => node.parent === dir ? node.record : undefined,
  );
}

function fileOf(fid: Fid<TreeNode>): FileNode {
  const { node } = fid;
  if (node instanceof FileNode) return node;
  throw new NinePError("Is a directory");
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

/** Throws unless the user has all of an access: rights of owner, group and others add up. */
function need(node: TreeNode, uname: string, access: number): void {
  const { mode } = node;
  let bits = mode;
  // Each user is the only member of the group of that name.
  if (uname === node.gid || uname === node.uid) bits |= mode >> 3;
  if (uname === node.uid) bits |= mode >> 6;
  if ((bits & access) !== access) throw new NinePError("permission denied");
}

/** Throws for names that no file can have, or no message carry. */
function checkName(name: string): void {
  if (
    name === "" || name === "." || name === ".." || /[/\0]/.test(name) ||
    !name.isWellFormed()
  ) {
    throw new NinePError("illegal name");
  }
  if (utf8Length(name) > NAME_MAX) throw new NinePError("File name too long");
}

/** The wishes that mean something: a function file takes lengths and times, to no effect. */
function possible(node: TreeNode, changes: Partial<Stat>): Partial<Stat> {
  if (!(node instanceof FileNode && node.isFunction)) return changes;
  const { length: _length, mtime: _mtime, atime: _atime, ...rest } = changes;
  return rest;
}

/** Refuses wishes for what does not change; the present value is no wish. */
function checkFixed(node: TreeNode, changes: Partial<Stat>): void {
  const { type, dev, qid, uid, muid, ...rest } = changes;
  const changed = (type !== undefined && type !== 0) ||
    (dev !== undefined && dev !== 0) ||
    (uid !== undefined && uid !== node.uid) ||
    (qid !== undefined &&
      (qid.type !== node.qid.type || qid.vers !== node.qid.vers ||
        qid.path !== node.qid.path));
  // Linux sends its user's name along with renames and times.
  const alone = muid !== undefined && Object.keys(rest).length === 0;
  if (changed || alone) throw new NinePError("wstat prohibited");
}
