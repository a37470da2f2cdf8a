// The nodes of a tree in memory: their names, attributes and directories. The
// kinds of files extend FileNode (file.ts).

import {
  DMAPPEND,
  DMDIR,
  DMEXCL,
  isName,
  NinePError,
  type Qid,
  type Stat,
} from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import { utf8Length } from "../../codec/wire.ts";
import type {
  AttributeChanges,
  Awaitable,
  DirEntry,
  ListRequest,
  OpenRequest,
  RequestContext,
} from "../../server.ts";
import { Listing, Members } from "./listing.ts";
import { Order } from "./order.ts";
import type { Quota } from "./quota.ts";
import type {
  CreatedFile,
  CreateFile,
  MakeDir,
  OpenFile,
  Place,
  Rename,
  TreeDir,
  TreeFile,
} from "../tree.ts";
import {
  type NodeInit as Init,
  now,
  SharedAttributes,
  type Volume,
} from "./volume.ts";

/** The input for a new node. */
export type NodeInit = Init<TreeNode>;

/** The state that all nodes of a tree share. */
export type TreeVolume = Volume<TreeNode>;

// Functions that only this module can call. The static blocks of the classes
// set them, because only a class can access its private members.
let attributesOf: (node: TreeNode) => SharedAttributes<TreeNode>;
let membersOf: (dir: DirNode) => Map<string, TreeNode>;
let setName: (
  node: TreeNode,
  parent: DirNode | undefined,
  name: string,
) => void;
/**
 * Adds a node to the order of its directory, or (displace) removes the node
 * from it.
 */
let place: (node: TreeNode, dir: DirNode) => void;
let displace: (node: TreeNode, dir: DirNode) => void;
let free: (node: TreeNode) => void;
let unlist: (dir: DirNode) => void;

/**
 * A file or directory of a tree, under one of its names. Only the methods
 * `create()`, `mkdir()`, `register()` and `define()` of a MemoryFs, and
 * requests of clients, make nodes.
 *
 * With `using`, the node is removed at the end of the scope. A directory is
 * removed with all its contents.
 */
export abstract class TreeNode implements TreeFile, Disposable {
  static {
    attributesOf = (node) => node.#attributes;
    setName = (node, parent, name) => {
      node.#parent = parent;
      node.#name = name;
      node.#stat = undefined;
    };
    place = (node, dir) => node.#place = dir.order.add(node);
    displace = (node, dir) => dir.order.remove(node.#place);
    free = (node) => node.free();
  }

  /** Identity of the file. The property always returns the same object. */
  readonly qid: Qid;
  readonly #attributes: SharedAttributes<TreeNode>;
  #name: string;
  #parent: DirNode | undefined;
  /** Index in its directory. */
  #place = 0;
  // The attributes that stat() returned last. stat() returns the same object
  // until an attribute changes, so that a session does not encode it again.
  #stat: Stat | undefined;
  #statChanges = 0;

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(init: NodeInit | TreeNode, name: string) {
    this.#attributes = init instanceof TreeNode
      ? init.#attributes
      : new SharedAttributes(init);
    this.qid = this.#attributes.qid;
    this.#name = name;
  }

  /**
   * Size in bytes; 0 for a directory, and for a file whose size is not known.
   */
  abstract get length(): number;

  /**
   * The node of the file itself. The node of a further name (see `link()`)
   * returns the node of the first name.
   */
  get target(): TreeNode {
    return this;
  }

  /** Name in its directory; `/` for the root. */
  get name(): string {
    return this.#name;
  }

  /**
   * Path in the tree, from the root on. For a removed file, only its last name.
   */
  get path(): string {
    const names: string[] = [];
    let name = this.#name;
    let parent = this.#parent;
    while (parent !== undefined && parent.#parent !== parent) {
      names.push(name);
      name = parent.#name;
      parent = parent.#parent;
    }
    if (this.#parent === this as TreeNode) return "/";
    names.push(name);
    if (parent !== undefined) names.push("");
    return names.reverse().join("/");
  }

  /**
   * Directory that contains the node. The root is its own parent. Undefined
   * after the name was removed.
   */
  get parent(): DirNode | undefined {
    return this.#parent;
  }

  /** Directories that contain the file, one for each name of the file. */
  get parents(): DirNode[] {
    const { target } = this;
    const names = [target, ...this.#attributes.furtherNames ?? []];
    return names.flatMap(({ parent }) => parent ?? []);
  }

  /** The node itself, which has the attributes that decide on access. */
  get owned(): this {
    return this;
  }

  /**
   * Place of the node; null after its name was removed, undefined for the root.
   */
  get place(): Place | null | undefined {
    const dir = this.#parent;
    if (dir === undefined) return null;
    return dir === this as TreeNode ? undefined : { dir, name: this.#name };
  }

  /** True when the file has no name any more. */
  get isRemoved(): boolean {
    return this.#attributes.links === 0;
  }

  /** Number of fids that have the file open. */
  get opens(): number {
    return this.#attributes.opens;
  }

  /** Permissions and DM bits. A new value does not change DMDIR. */
  get mode(): number {
    return this.#attributes.mode;
  }
  set mode(mode: number) {
    const attributes = this.#attributes;
    attributes.mode = (mode & ~DMDIR | attributes.mode & DMDIR) >>> 0;
    attributes.qid.type = attributes.mode >>> 24;
    this.#changed();
  }

  /** Owner. */
  get uid(): string {
    return this.#attributes.uid;
  }

  /** Group. */
  get gid(): string {
    return this.#attributes.gid;
  }
  set gid(gid: string) {
    this.#attributes.gid = gid;
    this.#changed();
  }

  /** Time of the last read, in seconds since 1970-01-01 UTC. */
  get atime(): number {
    return this.#attributes.atime;
  }
  set atime(atime: number) {
    if (atime === this.#attributes.atime) return;
    this.#attributes.atime = atime;
    this.#changed();
  }

  /**
   * Time of the last change of the content, in seconds since 1970-01-01 UTC.
   */
  get mtime(): number {
    return this.#attributes.mtime;
  }
  set mtime(mtime: number) {
    this.#attributes.mtime = mtime;
    this.#changed();
  }

  /** User that modified the file last. */
  get muid(): string {
    return this.#attributes.muid;
  }
  set muid(muid: string) {
    this.#attributes.muid = muid;
    this.#changed();
  }

  /** True when it is a directory. */
  get isDirectory(): boolean {
    return (this.mode & DMDIR) !== 0;
  }

  /** True when every write appends to the file, whatever its offset. */
  get isAppendOnly(): boolean {
    return (this.mode & DMAPPEND) !== 0;
  }

  /** True when at most one fid may have the file open. */
  get isExclusive(): boolean {
    return (this.mode & DMEXCL) !== 0;
  }

  /**
   * Records a change of the content: increments the version, and sets the times
   * and `muid`.
   *
   * @param muid User that made the change.
   */
  modified(muid: string): void {
    this.qid.vers = (this.qid.vers + 1) >>> 0;
    this.touched(muid);
  }

  /**
   * Records a change that does not increment the version: sets the times and
   * `muid`.
   */
  protected touched(muid: string): void {
    const attributes = this.#attributes;
    attributes.atime = attributes.mtime = now();
    attributes.muid = muid;
    this.#changed();
  }

  /** Records a change of the length only; version and times stay the same. */
  protected resized(): void {
    this.#changed();
  }

  /**
   * Invalidates the cached attributes, and the cached listing of the directory
   * that has the file's first name.
   */
  #changed(): void {
    this.#attributes.changes++;
    const parent = this.target.#parent;
    if (parent !== undefined) unlist(parent);
  }

  /**
   * True when an attribute may change without a call of a method of the node,
   * so that stat() must not use its cached attributes.
   */
  get isVolatile(): boolean {
    return false;
  }

  /**
   * Frees the memory of the file. Called when the file has no name and no fid
   * has it open.
   */
  protected free(): void {}

  /**
   * The counter of the bytes and names of the tree.
   *
   * @ignore
   */
  protected get quota(): Quota {
    return this.#attributes.volume.quota;
  }

  /**
   * The shared state of the tree that the node belongs to.
   *
   * @ignore
   */
  get volume(): TreeVolume {
    return this.#attributes.volume;
  }

  /**
   * Returns all attributes. The result is the same object until an attribute
   * changes.
   */
  stat(): Stat {
    const { changes } = this.#attributes;
    const isCurrent = this.#statChanges === changes && !this.isVolatile;
    if (this.#stat === undefined || !isCurrent) {
      this.#stat = this.#makeStat();
      this.#statChanges = changes;
    }
    return this.#stat;
  }

  /**
   * The attributes for a listing, as {@linkcode stat} returns them.
   *
   * @ignore
   */
  get attributes(): Stat {
    return this.stat();
  }

  #makeStat(): Stat {
    const { mode, atime, mtime, uid, gid, muid } = this.#attributes;
    return {
      type: 0,
      dev: 0,
      qid: { ...this.qid },
      mode,
      atime,
      mtime,
      length: BigInt(this.length),
      name: this.#name,
      uid,
      gid,
      muid,
    };
  }

  /** Opens the file. By default there is nothing to do. */
  open(
    _request: OpenRequest,
    _context: RequestContext,
  ): Awaitable<OpenFile | void> {}

  /** Changes attributes. */
  wstat(changes: AttributeChanges, { uname }: RequestContext): Awaitable<void> {
    const { mode, gid, mtime, atime } = changes;
    if (mode !== undefined) this.mode = mode;
    if (gid !== undefined) this.gid = gid;
    if (mtime !== undefined) {
      this.mtime = mtime;
      this.muid = uname;
    }
    if (atime !== undefined) this.atime = atime;
    this.touchParent(uname);
  }

  /**
   * Records in the parent directory that an attribute of this member has
   * changed.
   */
  protected touchParent(uname: string): void {
    const parent: TreeNode | undefined = this.#parent;
    if (parent !== undefined) parent.touched(uname);
  }

  /**
   * Throws to refuse the removal of the file by a client. By default the file
   * allows it.
   */
  removing(_context: RequestContext): Awaitable<void> {}

  /**
   * Removes the name, and all members of a directory. Does nothing for the
   * root, and after the name was removed.
   */
  [Symbol.dispose](): void {
    if (this.#parent !== this as TreeNode) unlinkAll(this, this.uid);
  }
}

/** A directory. */
export class DirNode extends TreeNode implements TreeDir {
  static {
    membersOf = (dir) => dir.#members;
    unlist = (dir) => {
      if (dir.#listing === undefined) return;
      dir.#listing.expire();
      dir.#listing = undefined;
    };
  }

  readonly #members: Map<string, TreeNode> = new Map();
  /**
   * The members in the order in which clients list them. A rename within the
   * directory does not change the order.
   *
   * @ignore
   */
  readonly order: Order<TreeNode> = new Order();
  /** The last listing; undefined after a change of the directory. */
  #listing: Listing | undefined;

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(init: NodeInit) {
    super(init, init.name);
  }

  /** Always 0. */
  get length(): number {
    return 0;
  }

  /** Members by name, in the order of their creation. */
  get members(): ReadonlyMap<string, TreeNode> {
    return this.#members;
  }

  /**
   * Returns the listing for a client that begins to read the directory.
   *
   * @ignore
   */
  get listing(): Listing {
    return this.#listing ??= new Listing(this.order);
  }

  /**
   * Records a change of the members: drops the cached listing, increments the
   * version, and sets the times and `muid`.
   */
  override modified(muid: string): void {
    unlist(this);
    super.modified(muid);
  }

  /**
   * True when functions define the members of the directory. Clients can then
   * change the members only through these functions.
   */
  get isDefined(): boolean {
    return false;
  }

  /** Looks up one name. */
  lookup(
    name: string,
    _context: RequestContext,
  ): Awaitable<TreeNode | undefined> {
    this.checkPresent();
    return this.#members.get(name);
  }

  /**
   * Gives a file of the same tree a further name in this directory; see
   * `link()` of MemoryFs.
   *
   * @param name The new name, which must be free.
   * @param file The file.
   * @param context Context of the client that asks; a program has none.
   * @throws {NinePError} EISDIR: the file is a directory. ESTALE: the file was
   *   removed. EXDEV: the file belongs to another tree. EEXIST, EINVAL: the
   *   name is taken, or illegal.
   */
  link(name: string, file: TreeFile, context?: RequestContext): void {
    if (!(file instanceof TreeNode) || file.volume !== this.volume) {
      throw new NinePError("Invalid cross-device link");
    }
    const { target } = file;
    if (target instanceof DirNode) throw new NinePError("Is a directory");
    if (target.isRemoved) throw removedError();
    checkNew(this, name);
    const further = this.volume.makeLink(target, name);
    link(further, this, name, context?.uname ?? this.uid);
    (attributesOf(target).furtherNames ??= new Set()).add(further);
  }

  /**
   * Removes a name. The file is removed with its last name. A directory must be
   * empty.
   *
   * @param name Name of a member.
   * @throws {NinePError} ENOENT: there is none. ENOTEMPTY: the directory has
   *   members.
   */
  unlink(name: string): void {
    const node = this.#members.get(name);
    if (node === undefined) throw new NinePError("file does not exist");
    if (node instanceof DirNode && node.#members.size > 0) {
      throw new NinePError("directory is not empty");
    }
    unlink(node, this.uid);
  }

  /**
   * Throws if the directory was removed. There is nothing else to do for an
   * open.
   */
  override open(): void {
    this.checkPresent();
  }

  /**
   * Lists the members that exist when the listing begins. A member that is
   * removed before its turn is left out.
   */
  list(
    { cookie }: ListRequest,
    _context: RequestContext,
  ): Awaitable<Iterable<DirEntry> | AsyncIterable<DirEntry>> {
    return cookie === 0 ? this.listing : new Members(this.order, cookie);
  }

  /** Makes a plain file, and opens it. */
  create(
    { name, perm, mode }: CreateFile,
    context: RequestContext,
  ): Awaitable<CreatedFile> {
    this.#checkFree(name);
    const { uname } = context;
    const { volume } = this;
    const file = volume.makeFile(volume.init(name, perm, uname, this.gid));
    link(file, this, name, uname);
    const open = file.open({ mode, implicit: false }, context);
    if (!(open instanceof Promise)) return { file, open: open ?? undefined };
    return open.then((open) => ({ file, open: open ?? undefined }));
  }

  /** Makes a directory. */
  mkdir(
    { name, perm }: MakeDir,
    { uname }: RequestContext,
  ): Awaitable<DirNode> {
    this.#checkFree(name);
    const dir = new DirNode(this.volume.init(name, perm, uname, this.gid));
    link(dir, this, name, uname);
    return dir;
  }

  /** Removes a file or an empty directory. */
  remove(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void> {
    const node = this.#member(name, file);
    if (node instanceof DirNode && node.#members.size > 0) {
      throw new NinePError("directory is not empty");
    }
    return then(node.target.removing(context), () => {
      this.#member(name, file); // Another client may have removed the file meanwhile.
      unlink(node, context.uname);
    });
  }

  /** Gives a member another name, or another directory of the tree. */
  rename(
    { name, file, newDir, newName, replace }: Rename,
    { uname }: RequestContext,
  ): Awaitable<void> {
    const node = this.#member(name, file);
    if (
      !(newDir instanceof DirNode) || newDir.volume !== this.volume ||
      newDir.isDefined
    ) {
      throw new NinePError("Invalid cross-device link");
    }
    for (
      let at: DirNode | undefined = newDir;
      at !== undefined && at.parent !== at;
      at = at.parent
    ) {
      if (at === node) throw new NinePError("Invalid argument");
    }
    if (newDir === this && newName === name) return;
    const taken = newDir.#members.get(newName);
    if (replace && taken !== undefined) replaceable(node, taken);
    else checkNew(newDir, newName);
    if (taken !== undefined) unlink(taken, uname);
    move(node, newDir, newName, uname);
  }

  /**
   * Returns the member with a name if it is the given file. Throws otherwise.
   */
  #member(name: string, file: TreeFile): TreeNode {
    this.checkPresent();
    const node = this.#members.get(name);
    if (node !== undefined && node === file) return node;
    const isRemoved = file instanceof TreeNode && file.parent === undefined;
    throw isRemoved ? removedError() : new NinePError("file does not exist");
  }

  /** @ignore */
  protected checkPresent(): void {
    if (this.parent === undefined) throw removedError();
  }

  /**
   * Throws unless a name is free. The rules have already checked that the name
   * is legal.
   */
  #checkFree(name: string): void {
    this.checkPresent();
    if (this.#members.has(name)) throw new NinePError("file already exists");
  }
}

/** Returns the error for a file or directory that was removed. */
export function removedError(): NinePError {
  return new NinePError("file has been removed");
}

/** Throws unless a rename may replace one node with another. */
function replaceable(node: TreeNode, taken: TreeNode): void {
  if (!(taken instanceof DirNode)) {
    if (node instanceof DirNode) throw new NinePError("not a directory");
    return;
  }
  if (!(node instanceof DirNode)) throw new NinePError("Is a directory");
  if (taken.members.size > 0) throw new NinePError("directory is not empty");
}

/** Throws unless a directory can have a new member with a name. */
export function checkNew(dir: DirNode, name: string): void {
  if (!isName(name) || name.includes("\0") || !name.isWellFormed()) {
    throw new NinePError("illegal name");
  }
  if (utf8Length(name) > dir.volume.maxName) {
    throw new NinePError("File name too long");
  }
  if (dir.parent === undefined) throw removedError();
  if (dir.members.has(name)) throw new NinePError("file already exists");
}

/** Makes a directory the root of its tree. The root is its own parent. */
export function makeRoot(dir: DirNode): void {
  setName(dir, dir, "/");
  attributesOf(dir).links++;
}

/** Adds a node that has no name to a directory, under a name. */
export function link(
  node: TreeNode,
  dir: DirNode,
  name: string,
  muid: string,
): void {
  const attributes = attributesOf(node);
  attributes.volume.quota.addFile();
  attributes.links++;
  setName(node, dir, name);
  membersOf(dir).set(name, node);
  place(node, dir);
  dir.modified(muid);
}

/**
 * Removes a name from its directory. Frees the file if it has no other name and
 * no fid has it open.
 */
export function unlink(node: TreeNode, muid: string): void {
  const { parent } = node;
  if (parent === undefined) return;
  const attributes = attributesOf(node);
  const members = membersOf(parent);
  parent.modified(muid);
  if (members.get(node.name) === node) {
    members.delete(node.name);
    displace(node, parent);
    attributes.volume.quota.dropFile();
  }
  attributes.furtherNames?.delete(node);
  setName(node, undefined, node.name);
  attributes.links--;
  if (attributes.links === 0 && attributes.opens === 0) free(node.target);
}

/**
 * Gives a node a name in a directory that functions define. The directory has
 * no list of such members.
 */
export function adopt(node: TreeNode, dir: DirNode, name: string): void {
  if (node.parent === undefined) attributesOf(node).links++;
  setName(node, dir, name);
}

/**
 * Removes a name from its directory. A directory is removed with all its
 * contents.
 */
export function unlinkAll(node: TreeNode, muid: string): void {
  // No recursion, because a client can make a tree deeper than the stack.
  const left = [node];
  for (let next = left.at(-1); next !== undefined; next = left.at(-1)) {
    if (next instanceof DirNode && next.members.size > 0) {
      for (const member of next.members.values()) left.push(member);
    } else {
      unlink(next, muid);
      left.pop();
    }
  }
}

/** Moves a node to a free name in a directory. */
export function move(
  node: TreeNode,
  dir: DirNode,
  name: string,
  muid: string,
): void {
  const { parent } = node;
  if (parent !== undefined) {
    membersOf(parent).delete(node.name);
    if (parent !== dir) {
      displace(node, parent);
      parent.modified(muid);
    }
  }
  if (parent !== dir) place(node, dir);
  setName(node, dir, name);
  membersOf(dir).set(name, node);
  dir.modified(muid);
}

/** Counts one more fid that has the file open. */
export function opened(node: TreeNode): void {
  attributesOf(node).opens++;
}

/**
 * Counts one fid less that has the file open. Frees the file if it was the last
 * fid and the file has no name.
 */
export function closed(node: TreeNode): void {
  const attributes = attributesOf(node);
  attributes.opens--;
  if (attributes.links === 0 && attributes.opens === 0) free(node.target);
}
