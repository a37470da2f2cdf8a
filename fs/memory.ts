// MemoryFs: a tree in memory that a program makes, changes and serves.

import { DMDIR, NinePError, type Stat } from "../codec.ts";
import { isRecord } from "../codec/call.ts";
import { isPlain } from "../codec/json.ts";
import type { AttachRequest, Handler } from "../server.ts";
import { checkAttributes } from "./rules/access.ts";
import {
  checkCallable,
  checkMethods,
  type ContextFunction,
  type ContextMethods,
  type ContextOptions,
  type FileFunction,
  type FileMethods,
  RunningCalls,
} from "./functions/callable.ts";
import { isLength } from "./memory/data.ts";
import { PlainNode } from "./memory/file.ts";
import { FunctionNode, type FunctionOptions } from "./functions/function.ts";
import type { FileHooks, HookNode } from "./functions/hook.ts";
import {
  checkDefinition,
  Definer,
  type Definition,
  type DirHooks,
  type HookDir,
} from "./functions/hook_dir.ts";
import {
  checkNew,
  DirNode,
  link,
  makeRoot,
  move,
  type NodeInit,
  type TreeNode,
  type TreeVolume,
  unlink,
  unlinkAll,
} from "./memory/node.ts";
import { attempt, failed, split } from "./memory/operation.ts";
import type {
  Content,
  DirOptions,
  FileOptions,
  MemoryFsOptions,
  RemoveNodeOptions,
} from "./memory/options.ts";
import { LinkNode } from "./memory/link.ts";
import { checkLimit, Quota } from "./memory/quota.ts";
import type { PathNode } from "./rules/path_node.ts";
import { handlerOf, type ServableTree } from "./rules.ts";
import { Volume } from "./memory/volume.ts";
import type { Rules } from "./tree.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/**
 * A file tree in memory that a server can serve. It contains directories,
 * files, and functions that are bound to files.
 *
 * Clients access the tree with the permissions of stat(9P). The program that
 * made the tree has all rights. Paths are split at `/`; empty elements and `.`
 * are dropped, `..` is the parent.
 *
 * @example Files and a function
 * ```ts
 * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
 * import { assertEquals } from "@std/assert";
 *
 * const fs = new MemoryFs({ motd: "hello\n", etc: { hosts: "" } });
 * fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
 * fs.writeFile("etc/hosts", "127.0.0.1 localhost\n");
 *
 * const [here, there] = pair();
 * const served = serve(there, fs);
 * const client = await connect(here);
 * assertEquals(await client.readTextFile("etc/hosts"), "127.0.0.1 localhost\n");
 * assertEquals(await client.call("add", { argv: [17, 25] }), 42);
 * await client.close();
 * await served;
 * ```
 */
export class MemoryFs implements ServableTree {
  /** The root directory. */
  readonly root: DirNode;
  /**
   * The rules for the tree: all default checks, with `users`, `strict` and
   * `maxName` of the options.
   */
  readonly rules: Rules;
  /** The handler of the tree for servers. Its methods need no `this`. */
  readonly handler: Handler<PathNode>;
  readonly #volume: TreeVolume;
  readonly #running: RunningCalls;
  readonly #maskErrors: boolean;
  readonly #definer: Definer;

  /**
   * Makes a tree.
   *
   * @param content Initial files (0644) and directories (0755).
   * @param options Owner, permissions of the root, limits.
   * @throws {NinePError} A name is illegal, or the content is too large.
   * @throws {TypeError} A part of the content is neither text, bytes nor a
   *   plain object, or the content contains itself.
   * @throws {RangeError} A limit is negative or not a number.
   */
  constructor(content: Content = {}, options: MemoryFsOptions = {}) {
    const { uid = "sys", gid = uid, mode = 0o755 } = options;
    const { users, strict = false, maxCalls = 4096 } = options;
    const limits = {
      maxFileSize: options.maxFileSize ?? GiB,
      maxSize: options.maxSize ?? 2 * GiB,
      maxFiles: options.maxFiles ?? MiB,
      maxName: options.maxName ?? 255,
      maxCalls,
      maxTreeCalls: options.maxTreeCalls ?? maxCalls * 16,
    };
    for (const [name, limit] of Object.entries(limits)) checkLimit(name, limit);
    const { maxName, maxTreeCalls } = limits;
    const quota = new Quota(limits);
    this.#maskErrors = options.maskErrors ?? false;
    this.#running = new RunningCalls(maxCalls, maxTreeCalls);
    this.#volume = new Volume(
      quota,
      maxName,
      (init): TreeNode => new PlainNode(init),
      (target, name) => new LinkNode(target, name),
    );
    this.#definer = new Definer(this.#volume, this.#running, this.#maskErrors);
    const full = DMDIR + (mode & 0o777);
    this.root = new DirNode(this.#volume.init("/", full, uid, gid));
    makeRoot(this.root);
    this.rules = { users, strict, maxName };
    this.handler = handlerOf(this);
    this.#fill(content);
  }

  /**
   * Returns the root, for every user. The name of the tree is empty, or `/`.
   */
  attach({ aname }: AttachRequest): DirNode {
    if (aname === "" || aname === "/") return this.root;
    throw new NinePError("file does not exist");
  }

  #fill(content: Content): void {
    // A loop, not a recursion, because contents may be deeper than the stack.
    const within = new Set<Content>();
    const begin = (content: Content, dir: DirNode, prefix: string) => {
      within.add(content);
      return { content, dir, prefix, left: Object.entries(content).values() };
    };
    const open = [begin(content, this.root, "")];
    for (let last = open.at(-1); last !== undefined; last = open.at(-1)) {
      const { dir, prefix } = last;
      const { done, value: entry } = last.left.next();
      if (done) {
        within.delete(last.content);
        open.pop();
        continue;
      }
      const [name, value] = entry;
      const path = prefix + name;
      const place = { dir, name, path };
      if (typeof value === "string" || value instanceof Uint8Array) {
        this.#addFile(place, 0o644, { data: value });
      } else if (!isRecord(value) || !isPlain(value)) {
        throw new TypeError(
          `Cannot create "${path}": the content is neither text, bytes nor a plain object`,
        );
      } else if (within.has(value)) {
        throw new TypeError(
          `Cannot create "${path}": the content contains itself`,
        );
      } else {
        const made = this.#addDir(place, 0o755, {});
        open.push(begin(value, made, `${path}/`));
      }
    }
  }

  /**
   * Makes a file; its directory must exist.
   *
   * @param path Path of the file.
   * @param options Content, permissions, owner.
   * @returns The new node.
   * @throws {NinePError} ENOENT, ENOTDIR: no such directory. EEXIST: the name
   *   is taken. EINVAL: it is illegal. EFBIG, ENOSPC: the content is too large,
   *   or there are too many files.
   *
   * @example For as long as a block lasts
   * ```ts
   * import { MemoryFs } from "@ninep/ninep";
   * import { assertEquals } from "@std/assert";
   *
   * const fs = new MemoryFs();
   * {
   *   using lock = fs.create("lock");
   *   assertEquals(fs.find("lock"), lock);
   * }
   * assertEquals(fs.find("lock"), undefined);
   * ```
   */
  create(path: string, options: FileOptions = {}): PlainNode {
    const { mode = 0o640 } = options;
    return this.#addFile(this.#place(path), mode, options);
  }

  /**
   * Makes a directory.
   *
   * @param path Path of the directory.
   * @param options Permissions, owner, and whether to make its parents.
   * @returns The directory.
   * @throws {NinePError} As create().
   */
  mkdir(path: string, options: DirOptions = {}): DirNode {
    const { mode = 0o750, recursive = false } = options;
    if (!recursive) return this.#addDir(this.#place(path), mode, options);
    let dir = this.root;
    for (const name of split(path)) {
      const found = name === ".." ? dir.parent : dir.members.get(name);
      const node = found ?? this.#addDir({ dir, name, path }, mode, options);
      if (!(node instanceof DirNode)) {
        throw failed("create", path, "not a directory");
      }
      dir = node;
    }
    return dir;
  }

  /**
   * Binds a function to a new file. Clients call it with a Tcall, or write the
   * arguments and read the value. `fn` may also be an object of functions. The
   * member `fname` of the arguments, or else the first positional argument,
   * then names the function to call.
   *
   * With `context: true` the function gets the context of its caller before all
   * other arguments. A caller cannot replace this context with an argument. The
   * caller gets the error of a function, unless `maskErrors` is set. `onError`
   * of the server always gets the error; see {@linkcode CallableOptions}.
   *
   * @param path Path of the file.
   * @param fn Function, or functions by name; see {@linkcode CallableOptions}
   *   for the arguments.
   * @param options How the function is called, and the permissions of the file.
   * @returns The new node.
   * @throws {NinePError} As create().
   * @throws {TypeError} `fn` is neither a function nor an object of functions, or
   *   an option has the wrong type.
   * @throws {RangeError} A limit is negative or not a number.
   *
   * @example Several functions behind one file
   * ```ts
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { assertEquals } from "@std/assert";
   *
   * const fs = new MemoryFs();
   * fs.register("math", {
   *   add: ({ a, b }) => a + b,
   *   negate: ({ a }) => -a,
   * });
   *
   * const [here, there] = pair();
   * const served = serve(there, fs);
   * const client = await connect(here);
   * const kwarg = { fname: "add", a: 17, b: 25 };
   * assertEquals(await client.call("math", { kwarg }), 42);
   * assertEquals(await client.call("math", { argv: ["negate"], kwarg: { a: 1 } }), -1);
   * await client.close();
   * await served;
   * ```
   *
   * @example A function that knows its caller
   * ```ts
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { assertEquals } from "@std/assert";
   *
   * const fs = new MemoryFs();
   * fs.register("whoami", ({ uname }) => uname, { context: true });
   *
   * const [here, there] = pair();
   * const served = serve(there, fs);
   * const client = await connect(here, { uname: "glenda" });
   * assertEquals(await client.call("whoami"), "glenda");
   * await client.close();
   * await served;
   * ```
   */
  register(
    path: string,
    fn: ContextFunction | ContextMethods,
    options: FunctionOptions & ContextOptions,
  ): FunctionNode;
  /**
   * Binds a function that gets no context to a file.
   *
   * @param path Path of the file.
   * @param fn Function, or functions by name.
   * @param options How the function is called, and the permissions of the file.
   * @returns The new node.
   */
  register(
    path: string,
    fn: FileFunction | FileMethods,
    options?: FunctionOptions & { context?: false },
  ): FunctionNode;
  register(
    path: string,
    fn: FileFunction | FileMethods,
    options: FunctionOptions & { context?: boolean } = {},
  ): FunctionNode {
    if (typeof fn !== "function" && !isRecord(fn)) {
      const kind = fn === null ? "null" : typeof fn;
      throw new TypeError(
        `Cannot register "${path}": ${kind} is neither a function nor an object of functions`,
      );
    }
    if (typeof fn !== "function") checkMethods(path, fn);
    checkCallable(path, options);
    const { mode = 0o666, maskErrors = this.#maskErrors } = options;
    const place = this.#place(path);
    const init = this.#init(place, mode, options);
    return this.#insert(
      place,
      new FunctionNode(init, fn, { ...options, maskErrors }, this.#running),
    );
  }

  /**
   * Makes a file that functions define: content that is made at each open,
   * callbacks for written data, or answers to each request.
   *
   * @param path Path of the file.
   * @param hooks Functions of the file, and its permissions; see {@linkcode FileHooks}.
   * @returns The new node.
   * @throws {NinePError} As create().
   * @throws {TypeError} A member of `hooks` is not a function, or two functions
   *   exclude each other.
   * @throws {RangeError} The length is negative or not a whole number.
   *
   * @example Computed content, and a callback for each write
   * ```ts
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { DMAPPEND } from "@ninep/ninep/codec";
   * import { assertEquals } from "@std/assert";
   *
   * const fs = new MemoryFs();
   * const lines: string[] = [];
   * fs.define("count", { content: () => `${lines.length}\n` });
   * fs.define("log", {
   *   mode: DMAPPEND + 0o222,
   *   write: ({ data }) => void lines.push(new TextDecoder().decode(data)),
   * });
   *
   * const [here, there] = pair();
   * const served = serve(there, fs);
   * const client = await connect(here);
   * await client.writeTextFile("log", "hello");
   * assertEquals(await client.readTextFile("count"), "1\n");
   * await client.close();
   * await served;
   * ```
   */
  define<State>(path: string, hooks: FileHooks<State>): HookNode;
  /**
   * Makes a directory that functions define. The functions look up names, list
   * names, and decide which changes clients may make. A file that the program
   * makes in the directory takes precedence over the functions.
   *
   * @param path Path of the directory.
   * @param hooks Functions of the directory, and its permissions; see {@linkcode DirHooks}.
   * @returns The directory.
   *
   * @example Directories that are numbered by a clone file
   * ```ts
   * import { connect, type DirHooks, MemoryFs, pair, serve } from "@ninep/ninep";
   * import { assertEquals } from "@std/assert";
   *
   * const fs = new MemoryFs();
   * const jobs = new Map<string, DirHooks>();
   * let last = 0;
   *
   * function makeJob(): string {
   *   const name = `${++last}`;
   *   jobs.set(name, {
   *     members: { ctl: { content: () => name }, data: { content: () => "nothing yet\n" } },
   *     release: () => void jobs.delete(name), // No fid is in it any more.
   *   });
   *   return name;
   * }
   * fs.define("jobs", { lookup: (name) => jobs.get(name), list: () => jobs.keys() });
   * fs.define("jobs/clone", { clone: () => `${makeJob()}/ctl` });
   *
   * const [here, there] = pair();
   * const served = serve(there, fs);
   * const client = await connect(here);
   * const ctl = await client.open("jobs/clone");
   * assertEquals(jobs.size, 1);
   * assertEquals(await client.readTextFile("jobs/1/data"), "nothing yet\n");
   * await ctl.close();
   * assertEquals(jobs.size, 0);
   * await client.close();
   * await served;
   * ```
   */
  define(path: string, hooks: DirHooks): HookDir;
  define(
    path: string,
    hooks: FileHooks | DirHooks,
  ): HookNode | HookDir | FunctionNode {
    const definition: Definition = hooks;
    checkDefinition(path, definition);
    const place = this.#place(path);
    this.#check(place);
    const { uid, gid } = this.root;
    const owner = { uid, gid };
    return this.#insert(
      place,
      this.#definer.make(place.name, definition, owner),
    );
  }

  /**
   * Gives a file a further name, in any directory. All names lead to the same
   * file. The stat of each name tells that name, and the node of the file tells
   * the first name. remove() removes one name; the file is removed with its
   * last name.
   *
   * @param existing Path of the file.
   * @param path Further path of the file.
   * @throws {NinePError} ENOENT: `existing` does not exist. EISDIR: `existing`
   *   is a directory, and a directory has exactly one name. Otherwise as
   *   create().
   */
  link(existing: string, path: string): void {
    const file = this.#node("link", existing);
    if (file instanceof DirNode) {
      throw failed("link", existing, "Is a directory");
    }
    const { dir, name } = this.#place(path);
    attempt("create", path, () => dir.link(name, file));
  }

  /**
   * Finds a file or directory.
   *
   * @param path Path; empty or `/` for the root.
   * @returns The node, or undefined when there is none.
   */
  find(path: string): TreeNode | undefined {
    return this.#find(path)?.target;
  }

  /**
   * Finds the node of a path. For a file with several names, returns the node
   * of the name in the path.
   */
  #find(path: string): TreeNode | undefined {
    let node: TreeNode | undefined = this.root;
    for (const name of split(path)) {
      if (!(node instanceof DirNode)) return undefined;
      node = name === ".." ? node.parent : node.members.get(name);
    }
    return node;
  }

  /**
   * Reads a whole file.
   *
   * @param path Path of the file.
   * @returns A copy of its content.
   * @throws {NinePError} ENOENT: there is no such file. EISDIR: the path is a
   *   directory. EOPNOTSUPP: the file is not a plain file, and only clients can
   *   open or call it.
   */
  readFile(path: string): Uint8Array {
    return this.#file("read", path).content;
  }

  /**
   * Reads a whole file as text.
   *
   * @param path Path of the file.
   * @returns The content of the file. Bytes that are not UTF-8 become U+FFFD.
   * @throws {NinePError} As readFile().
   */
  readTextFile(path: string): string {
    return decoder.decode(this.#file("read", path).content);
  }

  /**
   * Replaces the content of a file. Makes the file if it does not exist.
   *
   * @param path Path of the file.
   * @param data New content.
   * @param options Permissions and owner, if the file is made.
   * @throws {NinePError} As create() and readFile().
   */
  writeFile(
    path: string,
    data: string | Uint8Array,
    options: Omit<FileOptions, "data"> = {},
  ): void {
    if (this.find(path) === undefined) {
      this.create(path, { ...options, data });
      return;
    }
    const file = this.#file("write", path);
    attempt("write", path, () => file.content = toBytes(data));
    file.modified(this.root.uid);
  }

  /**
   * Lists a directory.
   *
   * @param path Path of the directory.
   * @returns Attributes of its members, in the order in which they came into
   *   the directory.
   * @throws {NinePError} ENOENT: there is no such directory. ENOTDIR: the path
   *   is a file.
   */
  readDir(path: string): Stat[] {
    const dir = this.#node("read", path);
    if (!(dir instanceof DirNode)) {
      throw failed("read", path, "not a directory");
    }
    return [...dir.order].map((node) => node.stat());
  }

  /**
   * Returns the attributes of a file or directory.
   *
   * @param path Path.
   * @returns The attributes.
   * @throws {NinePError} ENOENT: there is none.
   */
  stat(path: string): Stat {
    return this.#node("stat", path).stat();
  }

  /**
   * Changes permissions, and DMAPPEND, DMEXCL, DMTMP.
   *
   * @param path Path.
   * @param mode New permissions and bits, 0 to 2^32 - 1.
   * @throws {NinePError} ENOENT: there is none.
   */
  chmod(path: string, mode: number): void {
    checkAttributes(`Cannot chmod "${path}"`, mode);
    this.#node("chmod", path).mode = mode;
  }

  /**
   * Cuts a file, or extends it with zeros.
   *
   * @param path Path of the file.
   * @param length New length in bytes, 0 by default.
   * @throws {NinePError} As readFile(). EFBIG, ENOSPC: the length is too large.
   * @throws {RangeError} The length is negative or not a whole number.
   */
  truncate(path: string, length = 0): void {
    if (!isLength(length)) {
      throw new RangeError(
        `Cannot truncate "${path}": the length is ${length}, not a whole number from 0 on`,
      );
    }
    const file = this.#file("truncate", path);
    attempt("truncate", path, () => file.truncate(length, this.root.uid));
  }

  /**
   * Removes a file or directory. If a file has several names, only this name is
   * removed. Clients that have the file open can still use it.
   *
   * @param path Path.
   * @param options Whether to remove a directory with all its contents.
   * @throws {NinePError} ENOENT: there is no such file. ENOTEMPTY: the
   *   directory has members. EPERM: the path is the root.
   */
  remove(path: string, options: RemoveNodeOptions = {}): void {
    const node = this.#node("remove", path);
    if (node === this.root) throw failed("remove", path, "cannot remove root");
    if (options.recursive) return unlinkAll(node, this.root.uid);
    if (node instanceof DirNode && node.members.size > 0) {
      throw failed("remove", path, "directory is not empty");
    }
    unlink(node, this.root.uid);
  }

  /**
   * Moves a file or directory to another name or another directory.
   *
   * @param from Path.
   * @param to New path, which must not exist.
   * @throws {NinePError} ENOENT, ENOTDIR: no such file or directory. EEXIST:
   *   the new name is taken. EINVAL: the new name is illegal, or inside the
   *   moved directory. EPERM: the root cannot be moved.
   */
  rename(from: string, to: string): void {
    const node = this.#node("rename", from);
    const { dir, name } = this.#place(to);
    if (node === this.root) throw failed("rename", from, "cannot remove root");
    for (let at: DirNode | undefined = dir; at !== this.root; at = at?.parent) {
      if (at === node) throw failed("rename", from, "Invalid argument");
    }
    if (node.parent === dir && node.name === name) return;
    attempt("create", to, () => {
      checkNew(dir, name);
      move(node, dir, name, this.root.uid);
    });
  }

  #addFile(place: Place, mode: number, options: FileOptions): PlainNode {
    const init = this.#init(place, mode, options);
    const file = new PlainNode(init);
    const { data } = options;
    this.#insert(place, file);
    if (data === undefined) return file;
    try {
      attempt("create", place.path, () => file.content = toBytes(data));
      return file;
    } catch (error) {
      unlink(file, file.uid);
      throw error;
    }
  }

  #addDir(place: Place, mode: number, options: DirOptions): DirNode {
    const init = this.#init(place, mode, options, DMDIR);
    return this.#insert(place, new DirNode(init));
  }

  /** Returns the input for a new node. The place must be free. */
  #init(
    place: Place,
    mode: number,
    { uid = this.root.uid, gid = this.root.gid }: {
      uid?: string;
      gid?: string;
    },
    type: 0 | typeof DMDIR = 0,
  ): NodeInit {
    const { name, path } = place;
    checkAttributes(`Cannot create "${path}"`, mode, uid, gid);
    this.#check(place);
    const full = ((mode & ~DMDIR) | type) >>> 0;
    return this.#volume.init(name, full, uid, gid);
  }

  #check({ dir, name, path }: Place): void {
    attempt("create", path, () => checkNew(dir, name));
  }

  #insert<Kind extends TreeNode>({ dir, name, path }: Place, node: Kind): Kind {
    attempt("create", path, () => link(node, dir, name, node.uid));
    return node;
  }

  #node(operation: string, path: string): TreeNode {
    const node = this.#find(path);
    if (node === undefined) {
      throw failed(operation, path, "file does not exist");
    }
    return node;
  }

  #file(operation: string, path: string): PlainNode {
    const file = this.#node(operation, path).target;
    if (file instanceof PlainNode) return file;
    throw failed(
      operation,
      path,
      file instanceof DirNode ? "Is a directory" : "Operation not supported",
    );
  }

  /** Finds the place for a new file. */
  #place(path: string): Place {
    const names = split(path);
    const name = names.pop();
    if (name === undefined || name === "..") {
      throw failed("create", path, "illegal name");
    }
    const dir = this.#node("create", names.join("/"));
    if (!(dir instanceof DirNode)) {
      throw failed("create", path, "not a directory");
    }
    return { dir, name, path };
  }
}

/**
 * The place for a new file: its directory and name, and the path for error
 * messages.
 */
interface Place {
  readonly dir: DirNode;
  readonly name: string;
  readonly path: string;
}

function toBytes(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}
