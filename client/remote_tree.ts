// Directories, and whole trees below them.

import { NinePError } from "../codec.ts";
import { Base } from "./trees/path_root.ts";
import { type CopyProgress, copyTree } from "./trees/copy.ts";
import {
  gatherMembers,
  makeDirectories,
  makeDirectory,
  readMembers,
} from "./trees/directory.ts";
import { type FileStat, fileStat } from "./file_stat.ts";
import { Files } from "./files.ts";
import {
  awaited,
  type CallerOptions,
  checkMost,
  checkRange,
  type FileRef,
  labelOf,
  operate,
  pathOf,
} from "./operation.ts";
import { proxyOf, type ProxyOptions, type RemoteApi } from "./proxy.ts";
import { removeTree } from "./trees/remove_tree.ts";
import { monitored, type TransferOptions } from "./transfer/stall.ts";
import {
  type TreeEntry,
  walkTree,
  type WalkTreeOptions,
} from "./trees/walk_tree.ts";

/** Options of {@linkcode RemoteTree.readDirNames}. */
export interface ReadDirNamesOptions extends CallerOptions {
  /** Give the names that start with a dot, too; false by default. */
  dotfiles?: boolean | undefined;
  /**
   * Most members, 0 to 2^53 - 1, or Infinity; 1,000,000 by default. More
   * members are a RangeError.
   */
  maxEntries?: number | undefined;
}

/** Options of {@linkcode RemoteTree.mkdir}. */
export interface MkdirOptions extends CallerOptions {
  /** Permissions and DM bits of the last directory, 0o777 by default. */
  mode?: number | undefined;
  /**
   * Make missing parent directories as well, with permissions 0o777, and accept
   * an existing directory; false by default.
   */
  recursive?: boolean | undefined;
}

/** Options of {@linkcode RemoteTree.remove}. */
export interface RemoveOptions extends CallerOptions {
  /** Remove a directory with all that is in it; false by default. */
  recursive?: boolean | undefined;
  /**
   * Most members of one directory, 0 to 2^53 - 1, or Infinity; 1,000,000 by
   * default. Beyond it is a RangeError, after so many members were removed.
   */
  maxEntries?: number | undefined;
}

/** Options of {@linkcode RemoteTree.copy}. */
export interface CopyOptions extends TransferOptions {
  /** Tree to copy to: that of another client, for example; by default the same. */
  target?: RemoteTree | undefined;
  /** Copy a directory with all that is in it; false by default. */
  recursive?: boolean | undefined;
  /**
   * Most members of one directory, 0 to 2^53 - 1, or Infinity; 1,000,000 by
   * default. Beyond it is a RangeError, after nearly so many members were
   * copied.
   */
  maxEntries?: number | undefined;
  /** Is told of each part of a file that was written; when it throws, the copy fails. */
  onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/**
 * One tree of a server, as one user sees it.
 *
 * Files are named by paths or, where they are `number`s, by fids. Any number
 * of calls may be under way at once. Failures are NinePErrors, with a `code`
 * such as `ENOENT`, when the server said no; and ProtocolErrors when it
 * misbehaved or the connection ended, which rejects all calls.
 */
export class RemoteTree extends Files {
  #closing: Promise<void> | undefined;

  /**
   * Gives the same tree, bound to the session that there is now. After
   * `Client.version()` its methods reject, as those of a tree from
   * `Client.attach()` do: the numbers of fids from before do not become those of
   * other files. It is not to be closed.
   *
   * @example
   * ```ts
   * import { assertRejects } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ motd: "hello\n" }));
   * await using client = await connect(near);
   * const tree = client.pinned();
   * const fid = await tree.walk("motd");
   * await client.version();
   * await assertRejects(() => tree.stat(fid), DOMException, "started anew");
   * ```
   */
  pinned(): RemoteTree {
    return new RemoteTree(this.paths);
  }

  /**
   * Lists a directory. See `read(9P)`.
   *
   * While the caller works on some members, the next ones are on their way. A
   * server that gives a name that cannot be one (empty, `.`, `..`, with a
   * slash) is refused, but names may still have any other character.
   *
   * @param path Path.
   * @param options Signal, which ends the list with its reason; the timeout is
   *   for each request.
   * @returns Attributes of the members, without `.` and `..`.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n", keys: {} } }));
   * await using client = await connect(near);
   * for await (const { name, isDirectory } of client.readDir("lib")) {
   *   assertEquals(isDirectory, name === "keys");
   * }
   * ```
   */
  async *readDir(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): AsyncGenerator<FileStat, void, void> {
    const { signal } = options;
    const batches = readMembers(this.paths, path, "list", path, options);
    for await (const batch of batches) {
      for (const member of batch) {
        signal?.throwIfAborted();
        yield fileStat(member);
      }
    }
  }

  /**
   * Lists the names in a directory (`directory` of the Scheme egg). See
   * `read(9P)`.
   *
   * @param path Path.
   * @param options Whether to give all names; signal.
   * @returns The names, in the server's order.
   * @throws {RangeError} The directory has more than `maxEntries` members.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ ".profile": "", motd: "hello\n" }));
   * await using client = await connect(near);
   * assertEquals(await client.readDirNames("/"), ["motd"]);
   * const all = await client.readDirNames("/", { dotfiles: true });
   * assertEquals(all, [".profile", "motd"]);
   * ```
   */
  readDirNames(
    path: string | readonly string[],
    options: ReadDirNamesOptions = {},
  ): Promise<string[]> {
    const { dotfiles = false, maxEntries } = options;
    return operate(this.session, "list", path, options, (signal) => {
      checkMost(`list ${labelOf(path)}`, "maxEntries", maxEntries);
      const gathering = { ...options, signal, verb: "list", label: path };
      return gatherMembers(
        this.paths,
        path,
        gathering,
        ({ name }) => dotfiles || !name.startsWith(".") ? name : undefined,
      );
    });
  }

  /**
   * Goes through a tree of files from the top down: a directory comes before
   * its members, which come in the server's order.
   *
   * Directories that are next are read ahead. What others remove meanwhile may
   * or may not be given.
   *
   * @param path Path of the top, which comes first.
   * @param options How deep to go; signal, which ends the walk with its reason;
   *   the timeout is for each request.
   * @returns Paths and attributes.
   * @throws {NinePError} Also with code `ELOOP` for a directory that contains
   *   itself, and for a tree of more than 100,000 levels.
   * @throws {RangeError} `maxDepth` is negative.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { a: "", keys: { b: "" }, c: "" } }));
   * await using client = await connect(near);
   * const paths = await Array.fromAsync(client.walkTree("lib"), (e) => e.path);
   * assertEquals(paths, ["lib", "lib/a", "lib/keys", "lib/keys/b", "lib/c"]);
   * ```
   */
  walkTree(
    path: string | readonly string[],
    options: WalkTreeOptions = {},
  ): AsyncGenerator<TreeEntry, void, void> {
    return walkTree(this.paths, path, options);
  }

  /**
   * Makes a directory (`create-directory` of the Scheme egg). See `open(9P)`.
   *
   * @param path Path.
   * @param options Permissions; whether to make what is missing on the way.
   * @throws {RangeError} The mode is not in 0 to 2^32 - 1.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.mkdir("usr/glenda/lib", { recursive: true });
   * assertEquals(await client.readDirNames("usr/glenda"), ["lib"]);
   * ```
   */
  mkdir(
    path: string | readonly string[],
    options: MkdirOptions = {},
  ): Promise<void> {
    const { mode = 0o777, recursive = false } = options;
    const make = recursive ? makeDirectories : makeDirectory;
    return operate(
      this.session,
      "make directory",
      path,
      options,
      (signal) => {
        const what = `make directory ${labelOf(path)}`;
        checkRange(what, "mode", mode, 0, 0xffffffff);
        return make(this.paths, path, mode, signal);
      },
    );
  }

  /**
   * Removes a file or an empty directory (`delete-file` of the Scheme egg), or
   * a directory with all that is in it. See `remove(9P)`.
   *
   * Members that others remove meanwhile are fine, and so are new ones, unless
   * they keep coming. A directory is read and emptied in batches of some thousand
   * members. When it fails, some members may be gone.
   *
   * @param file Path, or a fid, which is gone afterwards, also after an error.
   * @param options Whether to remove what is in a directory; signal.
   * @throws {NinePError} Also with code `EPERM` for the root, and `ELOOP` for a
   *   directory that contains itself.
   * @throws {RangeError} A directory has more than `maxEntries` members.
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({}, { mode: 0o777 }));
   * await using client = await connect(near);
   * await client.mkdir("a/b/c", { recursive: true });
   * await client.writeTextFile("a/b/d", "hello");
   * await client.remove("a", { recursive: true });
   * assertEquals(await client.exists("a"), false);
   * ```
   */
  remove(file: FileRef, options: RemoveOptions = {}): Promise<void> {
    const { paths, session } = this;
    const remove = async (signal: AbortSignal | undefined) => {
      checkMost(`remove ${labelOf(file)}`, "maxEntries", options.maxEntries);
      const fid = await this.#fidToRemove(file, signal);
      paths.kept.forget(fid);
      if (!options.recursive) return await session.remove(fid, signal);
      const base = new Base(session, fid, paths.aname);
      const top = { base, path: [], label: pathOf(file) };
      try {
        await removeTree(top, { ...options, signal });
      } finally {
        session.drop(fid);
      }
    };
    const isGiven = typeof file === "number" && file !== paths.root;
    if (isGiven && options.signal?.aborted) { // There is no Tremove then.
      paths.kept.forget(file);
      session.drop(file);
    }
    return operate(
      session,
      "remove",
      file,
      options,
      (signal) => paths.moving(file, () => remove(signal)),
    );
  }

  /** The fid of what is to be removed. */
  async #fidToRemove(
    file: FileRef,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { paths } = this;
    const isRoot = typeof file === "number"
      ? file === paths.root
      : paths.absolute(file) === "/";
    if (isRoot) throw new NinePError("cannot remove root");
    return typeof file === "number" ? file : await paths.walk(file, signal);
  }

  /**
   * Copies a file, or a directory with all that is in it, also to another
   * server. See `read(9P)`.
   *
   * A file that is there is replaced, and keeps its permissions; new ones get
   * those of their source, as far as their directory allows. A directory is
   * merged into one that is there. Reads and writes are in flight together, for
   * up to 8 files at a time; memory for each is the `window` of `connect()`, so
   * 8 MiB by default. A directory is read in batches of some thousand members.
   * When it fails, part of the copy may be there.
   *
   * A file that becomes shorter while it is copied is copied up to its new end,
   * so that the copy has no bytes that its source did not have.
   *
   * @param from Path.
   * @param to Path of the copy itself, not of a directory to put it into.
   * @param options Tree to copy to, whether to copy directories, signal.
   * @throws {NinePError} Also with code `EISDIR` for a directory without
   *   `recursive`, and `EINVAL` for a copy onto or into itself. Files are told
   *   apart by their qids, trees by their names, and servers by their
   *   addresses; `ELOOP` for a directory that is in itself. Where two addresses lead to one server, a file that is copied
   *   onto itself stays as it is; a directory is `EINVAL` all the same.
   * @throws {RangeError} A directory has more than `maxEntries` members.
   * @throws {TypeError} The target is no tree.
   *
   * @example From one server to another
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n" } }, { uid: "none" }));
   * await using client = await connect(near);
   * const [here, there] = pair();
   * void serve(there, new MemoryFs({}, { mode: 0o777 }));
   * await using target = await connect(here);
   *
   * await client.copy("lib", "backup", { target, recursive: true });
   * assertEquals(await target.readTextFile("backup/motd"), "hello\n");
   * ```
   */
  copy(
    from: string | readonly string[],
    to: string | readonly string[],
    options: CopyOptions = {},
  ): Promise<void> {
    const { target = this, recursive = false, onProgress, maxEntries } =
      options;
    // As callers without types may do.
    if ((target as RemoteTree | null)?.paths === undefined) {
      const what = `Cannot copy ${labelOf(from)} to ${labelOf(to)}`;
      return Promise.reject(
        new TypeError(`${what}: target is ${target}, not a tree`),
      );
    }
    const ends = [
      { base: this.paths, path: from, label: pathOf(from) },
      { base: target.paths, path: to, label: pathOf(to) },
    ] as const;
    const verb = `copy ${labelOf(from)} to`;
    return monitored(
      this.session,
      () => `${verb} ${labelOf(to)}`,
      options,
      (own, monitor) =>
        operate(this.session, verb, to, own, (signal) => {
          checkMost(`${verb} ${labelOf(to)}`, "maxEntries", maxEntries);
          const { timeout } = own;
          const plan = { recursive, onProgress, maxEntries, monitor };
          return copyTree(...ends, { ...plan, signal, timeout });
        }),
    );
  }

  /**
   * Makes an object whose methods call the function files of a directory, or
   * the functions behind one file: each call is one Tcall, the first of a file
   * also a walk.
   *
   * The arguments of a method are the positional ones of the call, so they and
   * the value are what JSON can say. Each plain file that the directory has now
   * is a method; whether it is a function file, its server says when it is
   * called. `then` and `toJSON` are left out, for they would make something
   * else of the object. The fids are kept until the tree is closed; where one
   * is lost, the next call walks again.
   *
   * @typeParam Api Interface with the methods.
   * @param path Path of the directory, or of the file when `methods` is given.
   * @param options Names of the methods behind a file, each the first argument
   *   of its calls; signal and timeout, which hold for each call as well; see
   *   {@linkcode RemoteMethod.with}.
   * @returns The object; what it promises of its methods is the caller's word.
   *   They reject as {@linkcode Files.call} does.
   * @throws {NinePError} It is not there (`ENOENT`), or not a directory (`ENOTDIR`).
   * @throws {TypeError} A name of `methods` is `then` or `toJSON`.
   *
   * @example The files of a directory
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const fs = new MemoryFs({ math: {} });
   * fs.register("math/add", (a: number, b: number) => a + b);
   * const [near, far] = pair();
   * void serve(far, fs);
   * await using client = await connect(near);
   * const math = await client.proxy<{ add(a: number, b: number): number }>(
   *   "math",
   * );
   * assertEquals(await math.add(17, 25), 42);
   * ```
   *
   * @example The methods behind one file
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const math = {
   *   add: (a: number, b: number) => a + b,
   *   negate: (a: number) => -a,
   * };
   * const fs = new MemoryFs();
   * fs.register("math", math);
   * const [near, far] = pair();
   * void serve(far, fs);
   * await using client = await connect(near);
   * const remote = await client.proxy<typeof math>("math", {
   *   methods: ["add", "negate"],
   * });
   * assertEquals(await remote.negate(await remote.add(17, 25)), -42);
   * ```
   */
  proxy<Api>(
    path: string | readonly string[],
    options: ProxyOptions<Api> = {},
  ): Promise<RemoteApi<Api>> {
    return proxyOf<Api>(() => this.paths, path, options);
  }

  /** Path of the current directory, where paths without a leading slash start. */
  get cwd(): string {
    return this.paths.cwd;
  }

  /**
   * Makes a directory the current one; of several calls at once the one that
   * is done last counts. See `walk(9P)`.
   *
   * @param path Path.
   * @param options Signal.
   * @throws {NinePError} It is not there (`ENOENT`), or not a directory (`ENOTDIR`).
   *
   * @example
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs({ lib: { motd: "hello\n", news: {} } }));
   * await using client = await connect(near);
   * await client.chdir("lib/news");
   * assertEquals(await client.readTextFile("../motd"), "hello\n");
   * await client.chdir("..");
   * assertEquals(client.cwd, "/lib");
   * ```
   */
  chdir(
    path: string | readonly string[],
    options: CallerOptions = {},
  ): Promise<void> {
    return operate(
      this.session,
      "change to",
      path,
      options,
      (signal) => this.paths.chdir(path, signal),
    );
  }

  /**
   * Gives back the tree's fids; files that are open stay open. Closing again
   * does nothing, any other method that takes a path rejects with a TypeError.
   * See `clunk(9P)`.
   *
   * @param options Signal; an abort only ends the waiting.
   *
   * @example
   * ```ts
   * import { assertRejects } from "@std/assert";
   * import { connect, MemoryFs, pair, serve } from "@ninep/ninep";
   *
   * const [near, far] = pair();
   * void serve(far, new MemoryFs());
   * await using client = await connect(near);
   * const tree = await client.attach();
   * await tree.close();
   * await assertRejects(() => tree.stat("/"), TypeError, "it is closed");
   * ```
   */
  close(options: CallerOptions = {}): Promise<void> {
    const { paths, session } = this;
    return awaited(
      session,
      () => `close a tree of "${session.peer}"`,
      options,
      this.#closing ??= paths.release(),
    );
  }

  /** Closes the tree. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
