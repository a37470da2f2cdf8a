// Directories that a program defines by functions. The functions look up names,
// list names, and decide what clients may make and remove. A member is made at
// its first lookup, and is not in the `members` of the directory.

import { DMDIR, NinePError } from "../../codec.ts";
import { isRecord } from "../../codec/call.ts";
import { then } from "../../codec/_awaitable.ts";
import { utf8Length } from "../../codec/wire.ts";
import type {
  Awaitable,
  DirEntry,
  ListRequest,
  RequestContext,
} from "../../server.ts";
import { checkAttributes } from "../rules/access.ts";
import {
  abortable,
  checkCallable,
  checkMethods,
  type ContextFunction,
  type ContextMethods,
  type FileFunction,
  type FileMethods,
  type RunningCalls,
} from "./callable.ts";
import { FunctionNode, type FunctionOptions } from "./function.ts";
import {
  checkFunctions,
  checkHooks,
  type FileHooks,
  HookNode,
  modeOf,
  releaseNode,
} from "./hook.ts";
import {
  adopt,
  checkNew,
  DirNode,
  move,
  type NodeInit,
  removedError,
  type TreeNode,
  type TreeVolume,
  unlink,
} from "../memory/node.ts";
import { MemberList } from "./member_list.ts";
import { kindOf } from "./request_hooks.ts";
import type {
  CreatedFile,
  CreateFile,
  MakeDir,
  Rename,
  TreeFile,
} from "../tree.ts";

/**
 * The functions that define a directory; all are optional. Each may throw a
 * NinePError, whose text the client gets. For any other error the client gets
 * `i/o error`, and `onError` of the server gets the error.
 *
 * A {@linkcode Definition} defines a member. The same object stands for the
 * same file, which has one identity for all clients and one count of its fids.
 * So a directory must return the same object for as long as a name stands for
 * the same file. If a directory returns a new object at each lookup, each
 * lookup makes a new file. This is useful for users that must not see each
 * other's files.
 */
export interface DirHooks {
  /** Members that are always there. */
  members?: { readonly [name: string]: Definition };
  /**
   * Looks up a name. Returns its definition, or undefined when there is no such
   * member.
   */
  lookup?(
    name: string,
    context: RequestContext,
  ): Awaitable<Definition | undefined>;
  /**
   * Lists the names of the directory, without those of `members`. The library
   * calls `lookup` for each name. A name that `lookup` does not know, or a
   * repeated name, is left out. A name that is illegal for a file is reported
   * to `onError`. The library takes no more names than the client reads.
   */
  list?(
    context: RequestContext,
  ): Awaitable<Iterable<string> | AsyncIterable<string>>;
  /**
   * Makes a file for a client. Returns the definition of the new name. Unless
   * the definition says otherwise, the file has the permissions that the client
   * asks for, and the user of the request owns it. Default: `Operation not
   * supported`.
   */
  create?(
    request: CreateFile,
    context: RequestContext,
  ): Awaitable<Definition>;
  /** Makes a directory, as `create` makes a file. Default: `Operation not supported`. */
  mkdir?(request: MakeDir, context: RequestContext): Awaitable<DirHooks>;
  /**
   * Removes a name for a client. Fids that have the file open can still use it.
   * The function decides whether a directory with members can be removed.
   * Default: `Operation not supported`.
   */
  remove?(name: string, context: RequestContext): Awaitable<void>;
  /**
   * Gives a member another name in this directory. The library has checked that
   * the new name is free. Default: `wstat prohibited`.
   */
  rename?(
    name: string,
    newName: string,
    context: RequestContext,
  ): Awaitable<void>;
  /**
   * Called when no fid stands for this directory, or for a file below it, any
   * more, however the fids have ended. The library calls it only if this
   * directory is a member of a directory that functions define. After a further
   * lookup of the member it is called again. Its errors go to `onError`.
   */
  release?(): Awaitable<void>;
  /** Permissions: by default 0555, and 0222 when clients can make, remove or rename something. */
  mode?: number;
  /**
   * Owner. By default the owner of the tree. For a member of a directory that
   * functions define, by default the owner of that directory.
   */
  uid?: string;
  /**
   * Group. By default the group of the tree or directory that gives the default
   * of `uid`.
   */
  gid?: string;
}

/** A function file as a member of a directory; see `register()`. */
export interface FunctionDefinition extends FunctionOptions {
  /** Function, or functions by name. */
  fn: FileFunction | FileMethods | ContextFunction | ContextMethods;
  /** Call the function with a context before all other arguments. */
  context?: boolean;
  /**
   * For a member of a directory that functions define: called when no fid
   * stands for the file any more.
   */
  release?(): Awaitable<void>;
}

/**
 * The definition of a member of a directory: a file, a function, or a
 * directory.
 */
export type Definition = FileHooks | DirHooks | FunctionDefinition;

/** The names of the hooks of a directory. */
const FUNCTIONS = [
  "lookup",
  "list",
  "create",
  "mkdir",
  "remove",
  "rename",
  "release",
];

function isFunction(definition: Definition): definition is FunctionDefinition {
  return "fn" in definition;
}

function isDir(definition: Definition): definition is DirHooks {
  return "lookup" in definition || "list" in definition ||
    "members" in definition || "create" in definition || "mkdir" in definition;
}

/**
 * Throws for a definition that defines neither a file, a function nor a
 * directory.
 */
export function checkDefinition(path: string, definition: Definition): void {
  const what = `Cannot define "${path}"`;
  const given: unknown = definition;
  if (!isRecord(given)) {
    throw new TypeError(
      `${what}: ${kindOf(given)} is no object of functions`,
    );
  }
  const { mode = 0, uid = "", gid = "" } = definition;
  checkAttributes(what, mode, uid, gid);
  if (isFunction(definition)) {
    const { fn } = definition;
    if (typeof fn !== "function") checkMethods(path, fn);
    checkCallable(path, definition);
  } else if (isDir(definition)) {
    checkFunctions(what, definition, FUNCTIONS);
    const { members = {} } = definition;
    if (!isRecord(members)) {
      throw new TypeError(
        `${what}: members is ${kindOf(members)}, not an object`,
      );
    }
  } else {
    checkHooks(path, definition);
  }
}

function defaultMode(definition: Definition): number {
  if (isFunction(definition)) return 0o666;
  if (!isDir(definition)) return modeOf(definition);
  const { create, mkdir, remove, rename } = definition;
  return 0o555 | (create ?? mkdir ?? remove ?? rename ? 0o222 : 0);
}

/** Default attributes of a new node. */
interface Owner {
  readonly mode?: number;
  readonly uid?: string;
  readonly gid?: string;
}

/** Makes nodes from definitions. */
export class Definer {
  readonly #volume: TreeVolume;
  readonly #running: RunningCalls;
  readonly #maskErrors: boolean;

  constructor(volume: TreeVolume, running: RunningCalls, maskErrors: boolean) {
    this.#volume = volume;
    this.#running = running;
    this.#maskErrors = maskErrors;
  }

  /**
   * Makes a node. `owner` has the defaults for attributes that the definition
   * does not set.
   */
  make(
    name: string,
    definition: Definition,
    owner: Owner,
    uses?: Uses,
  ): HookNode | FunctionNode | HookDir {
    const { mode = owner.mode ?? defaultMode(definition) } = definition;
    const { uid = owner.uid ?? "sys" } = definition;
    const { gid = owner.gid ?? uid } = definition;
    if (isDir(definition)) {
      const full = ((mode & ~DMDIR) | DMDIR) >>> 0;
      const init = this.#volume.init(name, full, uid, gid);
      return new HookDir(init, definition, this, uses);
    }
    const init = this.#volume.init(name, (mode & ~DMDIR) >>> 0, uid, gid);
    if (!isFunction(definition)) return new HookNode(init, definition);
    const { fn, maskErrors = this.#maskErrors } = definition;
    const options = { ...definition, maskErrors };
    return new FunctionNode(init, fn, options, this.#running);
  }
}

/**
 * Counts the references to a member. While the count is not 0, the member holds
 * one reference to its directory.
 */
class Uses {
  readonly #dir: Uses | undefined;
  readonly #release: () => Awaitable<void>;
  #count = 0;

  constructor(dir: Uses | undefined, release: () => Awaitable<void>) {
    this.#dir = dir;
    this.#release = release;
  }

  add(): void {
    if (this.#count++ === 0) this.#dir?.add();
  }

  /**
   * Drops a reference. After the last one, calls the `release` hook of the
   * member, and then drops the reference to its directory.
   */
  drop(): Awaitable<void> {
    if (--this.#count > 0) return;
    let released: Awaitable<void>;
    try {
      released = this.#release();
    } catch (error) {
      released = Promise.reject(error);
    }
    if (!(released instanceof Promise)) return this.#dir?.drop();
    return released.finally(() => this.#dir?.drop());
  }
}

/** A node that was made for a definition. */
interface Member {
  readonly node: TreeNode;
  readonly uses: Uses;
}

/** A directory that is defined by functions. */
export class HookDir extends DirNode {
  /**
   * Drops a reference to this directory. Set only for a member of a directory
   * that is defined by functions.
   *
   * @ignore
   */
  release?: () => Awaitable<void>;
  readonly #hooks: DirHooks;
  readonly #definer: Definer;
  readonly #uses: Uses | undefined;
  // The members by their definitions and names. The keys are weak, so a member
  // is kept only as long as the program keeps its definition. One definition
  // may have several names.
  readonly #known: WeakMap<Definition, Map<string, Member>> = new WeakMap();
  /** For each node, the entry of its definition in `#known`. */
  readonly #namesOf: WeakMap<TreeNode, Map<string, Member>> = new WeakMap();
  /** Names that are taken by a create, mkdir or rename in progress. */
  readonly #making: Set<string> = new Set();

  /**
   * Made by a tree.
   *
   * @ignore
   */
  constructor(
    init: NodeInit,
    hooks: DirHooks,
    definer: Definer,
    uses: Uses | undefined,
  ) {
    super(init);
    this.#hooks = hooks;
    this.#definer = definer;
    this.#uses = uses;
  }

  /** True: functions define the members. */
  override get isDefined(): boolean {
    return true;
  }

  /**
   * Looks up one name: first among the members that the program has made, then
   * by the functions.
   */
  override lookup(
    name: string,
    context: RequestContext,
  ): Awaitable<TreeNode | undefined> {
    this.checkPresent();
    const made = this.members.get(name);
    if (made !== undefined) return made;
    const found = this.#find(name, context);
    const give = (definition: Definition | undefined) =>
      definition === undefined ? undefined : this.#give(name, definition, {});
    // A lookup that was flushed rejects here, before it counts a reference that
    // no fid would drop.
    return found instanceof Promise
      ? abortable(found, context.signal).then(give)
      : give(found);
  }

  #find(
    name: string,
    context: RequestContext,
  ): Awaitable<Definition | undefined> {
    const { members = {} } = this.#hooks;
    if (Object.hasOwn(members, name)) return members[name];
    return this.#hooks.lookup?.(name, context);
  }

  /** Returns the member of a definition. Makes the member if there is none. */
  #member(
    name: string,
    definition: Definition,
    owner: Owner,
    isUsed: boolean,
  ): Member {
    const path = `${this.path}/${name}`;
    if (!isRecord(definition)) checkDefinition(path, definition);
    const known = this.#known.get(definition)?.get(name);
    if (known !== undefined) return known;
    checkDefinition(path, definition);
    const names = this.#known.get(definition) ?? new Map<string, Member>();
    this.#known.set(definition, names);
    const { uid, gid } = this;
    const uses = new Uses(this.#uses, () => {
      // A definition may have any number of names. So, apart from a single
      // name, only names in use are kept.
      if (names.size > 1) this.#forget(node);
      return definition.release?.();
    });
    const node = this.#definer.make(
      name,
      definition,
      { uid, gid, ...owner },
      uses,
    );
    node.release = () => uses.drop();
    adopt(node, this, name);
    const member = { node, uses };
    this.#namesOf.set(node, names);
    if (names.size === 0 || isUsed) names.set(name, member);
    return member;
  }

  /** A reference to a member. */
  #give(name: string, definition: Definition, owner: Owner): TreeNode {
    const { node, uses } = this.#member(name, definition, owner, true);
    uses.add();
    return node;
  }

  /**
   * Lists the members. Takes names from the `list` hook only while the client
   * reads.
   */
  override async list(
    { cookie }: ListRequest,
    context: RequestContext,
  ): Promise<AsyncIterable<DirEntry>> {
    const { members = {}, list } = this.#hooks;
    const names: unknown = list === undefined
      ? []
      : await list.call(this.#hooks, context);
    return new MemberList({
      always: [
        ...new Set([...this.members.keys(), ...Object.keys(members)]),
      ],
      names,
      cookie,
      look: (name) => this.#look(name, context),
      fits: (name) => utf8Length(name) <= this.volume.maxName,
      what: `Cannot list "${this.path}"`,
      context,
    });
  }

  /** Returns the member of a name, without counting a reference. */
  #look(
    name: string,
    context: RequestContext,
  ): Awaitable<TreeNode | undefined> {
    const made = this.members.get(name);
    if (made !== undefined) return made;
    return then(
      this.#find(name, context),
      (definition) =>
        definition === undefined
          ? undefined
          : this.#member(name, definition, {}, false).node,
    );
  }

  /** Makes a file, and opens it. */
  override async create(
    request: CreateFile,
    context: RequestContext,
  ): Promise<CreatedFile> {
    const { create } = this.#hooks;
    if (create === undefined) throw notSupported();
    const { name, perm, mode } = request;
    const file = await this.#make(name, perm, context, async () => {
      const made = await create.call(this.#hooks, request, context);
      if (isRecord(made) && isDir(made)) {
        throw new TypeError(`create() gave a directory for "${name}"`);
      }
      return made;
    });
    try {
      const open = await file.open({ mode, implicit: false }, context);
      return { file, open: open ?? undefined };
    } catch (error) {
      await releaseNode(file);
      throw error;
    }
  }

  /** Makes a directory. */
  override async mkdir(
    request: MakeDir,
    context: RequestContext,
  ): Promise<DirNode> {
    const { mkdir } = this.#hooks;
    if (mkdir === undefined) throw notSupported();
    const { name, perm } = request;
    const dir = await this.#make(name, perm, context, async () => {
      const made = await mkdir.call(this.#hooks, request, context);
      if (isRecord(made) && !isDir(made)) {
        throw new TypeError(`mkdir() gave no directory for "${name}"`);
      }
      return made;
    });
    if (dir instanceof DirNode) return dir;
    throw new NinePError("not a directory");
  }

  /**
   * Makes a member, unless the name is taken, or another client is making it.
   */
  async #make(
    name: string,
    mode: number,
    context: RequestContext,
    make: () => Promise<Definition>,
  ): Promise<TreeNode> {
    checkNew(this, name);
    if (this.#making.has(name)) throw existsError();
    this.#making.add(name);
    try {
      if (await this.#find(name, context) !== undefined) throw existsError();
      const definition = await make();
      const { uname } = context;
      const node = this.#give(name, definition, { mode, uid: uname });
      this.modified(uname);
      return node;
    } finally {
      this.#making.delete(name);
    }
  }

  /** Removes a member. */
  override async remove(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Promise<void> {
    const { remove } = this.#hooks;
    if (remove === undefined) throw notSupported();
    const node = this.#own(name, file);
    if (node instanceof DirNode && node.members.size > 0) {
      throw fullError();
    }
    if (!(node instanceof HookDir)) await node.target.removing(context);
    await remove.call(this.#hooks, name, context);
    this.#forget(node);
    if (node.parent === this) unlink(node, context.uname);
  }

  /** Gives a member another name. */
  override async rename(
    { name, file, newDir, newName }: Rename,
    context: RequestContext,
  ): Promise<void> {
    if (newDir !== this) throw new NinePError("Invalid cross-device link");
    const { rename } = this.#hooks;
    if (rename === undefined) throw new NinePError("wstat prohibited");
    const node = this.#own(name, file);
    if (newName === name) return;
    checkNew(this, newName);
    if (this.#making.has(newName)) throw existsError();
    this.#making.add(newName);
    try {
      const taken = await this.#find(newName, context);
      if (taken !== undefined) throw existsError();
      await rename.call(this.#hooks, name, newName, context);
    } finally {
      this.#making.delete(newName);
    }
    if (node.parent !== this) return;
    if (this.members.get(name) === node) {
      move(node, this, newName, context.uname);
      return;
    }
    const names = this.#namesOf.get(node);
    const member = names?.get(name);
    this.#forget(node);
    if (member !== undefined) names?.set(newName, member);
    adopt(node, this, newName);
    this.modified(context.uname);
  }

  /**
   * Throws if the directory has members. It is not called for a member of
   * another directory that functions define; the `remove` hook of that
   * directory decides.
   */
  override async removing(context: RequestContext): Promise<void> {
    const { members = {}, lookup, list } = this.#hooks;
    if (Object.keys(members).length > 0 || (lookup && !list)) throw fullError();
    if (list === undefined) return;
    const listed = await this.list({ cookie: 0 }, context);
    const iterator = listed[Symbol.asyncIterator]();
    const { done } = await iterator.next();
    await iterator.return?.();
    if (!done) throw fullError();
  }

  #own(name: string, file: TreeFile): TreeNode {
    this.checkPresent();
    const node = file as TreeNode; // The rules pass what the lookup has given.
    if (node.parent === undefined) throw removedError();
    if (node.parent === this && node.name === name) return node;
    throw new NinePError("file does not exist");
  }

  /** Forgets a member. A later lookup of its definition makes a new file. */
  #forget(node: TreeNode): void {
    const names = this.#namesOf.get(node);
    if (names?.get(node.name)?.node === node) names.delete(node.name);
  }
}

function notSupported(): NinePError {
  return new NinePError("Operation not supported");
}

function existsError(): NinePError {
  return new NinePError("file already exists");
}

function fullError(): NinePError {
  return new NinePError("directory is not empty");
}
