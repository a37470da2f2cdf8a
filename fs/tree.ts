// The interfaces of a file tree that a server can serve. rules.ts checks the
// rules that hold for all trees.

import type { Qid } from "../codec.ts";
import type { Connection } from "../transport.ts";
import type { Owned, Users } from "./rules/access.ts";
import type {
  AttachRequest,
  AttributeChanges,
  Attributes,
  Awaitable,
  CallRequest,
  DirEntry,
  ListRequest,
  OpenRequest,
  ReadRequest,
  RequestContext,
  WriteRequest,
} from "../server.ts";

/** The place of a file: a name in a directory. */
export interface Place {
  /** The directory. */
  readonly dir: TreeDir;
  /** The name of the file there. */
  readonly name: string;
}

/** Size of the file system behind a tree. See `statfs(2)`. */
export interface Capacity {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Blocks in all. */
  readonly blocks: number;
  /** Free blocks. */
  readonly free: number;
  /** Free blocks that a usual user may take. */
  readonly available: number;
  /** Maximum number of files. */
  readonly files: number;
  /** Number of files that can still be made. */
  readonly freeFiles: number;
  /** Most bytes of a name. */
  readonly maxName: number;
}

/**
 * A file of a tree. All members but `qid` and `stat` are optional. Each method
 * returns a value or a promise, and promises may settle in any order. An error
 * fails only the request that caused it. The rules (rules.ts) check each
 * request first. They call a file only for requests that the protocol and the
 * permissions of the user allow.
 */
export interface TreeFile {
  /**
   * Identity of the file. The server reads this property for each reply, so the
   * version may change. No other file of the tree has the same path. QTDIR in
   * the type makes the file a {@linkcode TreeDir}.
   */
  readonly qid: Qid;
  /**
   * True for a function file: a read, write or call of a fid that is not open
   * opens the file, with the checks of that access. False by default.
   */
  readonly implicitOpen?: boolean;
  /**
   * The present place of the file; null when it was removed. Without this
   * member, the rules use the place where the file was found, or the place to
   * which a client has moved it.
   */
  readonly place?: Place | null | undefined;
  /**
   * The rules for the file, and for all files that are found through it. By
   * default the rules of its directory, or of the tree.
   */
  readonly rules?: Rules | undefined;
  /**
   * The attributes that decide on access, if the tree has them in memory.
   * Otherwise the rules get the attributes from {@linkcode stat}.
   */
  readonly owned?: Owned | undefined;
  /** Returns the attributes. See `stat(9P)`. */
  stat(context: RequestContext): Awaitable<Attributes>;
  /**
   * Changes attributes, all or none. The name is changed by {@linkcode
   * TreeDir.rename} instead. Default: `wstat prohibited`.
   */
  wstat?(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void>;
  /**
   * Changes attributes, and gives the file another name in its directory, in
   * one step. Default: {@linkcode TreeDir.rename}, and then {@linkcode wstat}.
   * If wstat() fails, the file gets its old name again.
   */
  readonly wstatNamed?:
    | ((
      newName: string,
      changes: AttributeChanges,
      context: RequestContext,
    ) => Awaitable<void>)
    | undefined;
  /**
   * Throws for changes that {@linkcode wstat} would refuse. The rules call it
   * before any change, because a rename by the same request would have to be
   * undone.
   */
  checkWstat?(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void>;
  /**
   * Opens the file, and truncates it if the mode has OTRUNC. The returned open
   * file answers the reads and writes of the fid. A file without this member is
   * empty, and refuses writes. See `open(9P)`.
   */
  open?(
    request: OpenRequest,
    context: RequestContext,
  ): Awaitable<OpenFile | void>;
  /** Returns the target of a symbolic link. Default: `Invalid argument`. */
  readlink?(context: RequestContext): Awaitable<string>;
  /** Writes the file to stable storage. By default there is nothing to do. */
  sync?(context: RequestContext): Awaitable<void>;
  /**
   * Returns the size of the file system. Default: `Function not implemented`.
   */
  statfs?(context: RequestContext): Awaitable<Capacity>;
  /**
   * Releases a file that attach, lookup, create, mkdir, symlink or open
   * returned. The rules call it exactly once for each time that the file was
   * returned, when no fid stands for the file, or for a file below it, any
   * more. Its errors go to `onError`.
   */
  release?(): Awaitable<void>;
}

/**
 * A directory of a tree. By default a missing member gives `Operation not
 * supported`.
 */
export interface TreeDir extends TreeFile {
  /**
   * Looks up one name, never `.` or `..`.
   *
   * @returns The file, or undefined when there is none.
   */
  lookup(
    name: string,
    context: RequestContext,
  ): Awaitable<TreeFile | undefined>;
  /**
   * Throws when the user may not walk from the directory to its parent. Only a
   * tree that checks access itself needs this method, because the rules know
   * the parent and do not look it up in the tree. By default there is nothing
   * to check.
   */
  checkParent?(context: RequestContext): Awaitable<void>;
  /**
   * Lists the members after a cookie, or all members for cookie 0, without `.`
   * and `..`. The library takes no more members than the reply has room for.
   * Default: no members.
   */
  list?(
    request: ListRequest,
    context: RequestContext,
  ): Awaitable<Iterable<DirEntry> | AsyncIterable<DirEntry>>;
  /** Makes a file, and opens it. See `open(9P)`. */
  create?(
    request: CreateFile,
    context: RequestContext,
  ): Awaitable<CreatedFile>;
  /** Makes a directory. */
  mkdir?(request: MakeDir, context: RequestContext): Awaitable<TreeDir>;
  /** Makes a symbolic link. */
  symlink?(
    request: MakeSymlink,
    context: RequestContext,
  ): Awaitable<TreeFile>;
  /** Gives a file of the same tree a further name. */
  link?(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void>;
  /**
   * Removes a file, or an empty directory. Fids that have the file open can
   * still use it.
   *
   * @param file The file, as this tree returned it. The directory compares it
   *   with its member, because another file may have the name by now.
   */
  remove?(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Awaitable<void>;
  /** Renames a member, or moves it to another directory of the same tree. */
  rename?(request: Rename, context: RequestContext): Awaitable<void>;
}

/** A move of a member. */
export interface Rename {
  /** The name. */
  readonly name: string;
  /** The file, as this tree returned it. */
  readonly file: TreeFile;
  /** The directory to move to, often the same directory. */
  readonly newDir: TreeDir;
  /** The name in `newDir`. The name is legal, but may be taken. */
  readonly newName: string;
  /**
   * True to replace a file that has the name. If false, a taken name is refused
   * with `file already exists`.
   */
  readonly replace: boolean;
}

/** A file to make. */
export interface CreateFile {
  /** Name: legal, but perhaps taken. */
  readonly name: string;
  /**
   * Permissions, with DMAPPEND, DMEXCL, DMTMP. They are already limited to
   * those of the directory, unless the rules leave out `access`.
   */
  readonly perm: number;
  /** Mode to open it with. */
  readonly mode: number;
}

/** A directory to make. */
export interface MakeDir {
  /** Name: legal, but perhaps taken. */
  readonly name: string;
  /**
   * Permissions, with DMDIR. They are already limited to those of the
   * directory, unless the rules leave out `access`.
   */
  readonly perm: number;
}

/** A symbolic link to make. */
export interface MakeSymlink {
  /** Name: legal, but perhaps taken. */
  readonly name: string;
  /** Target of the link, as the client gives it, unchecked. */
  readonly target: string;
}

/** A file that was made. */
export interface CreatedFile {
  /** The new file. */
  readonly file: TreeFile;
  /** The open file; undefined for a file that cannot be read or written. */
  readonly open?: OpenFile | undefined;
}

/** An open file of one fid. It may keep state for the fid. */
export interface OpenFile {
  /** Another file that the fid stands for from now on, as for a clone file. */
  readonly file?: TreeFile | undefined;
  /**
   * Directories between the directory of the opened file and `file`, from the
   * outermost to the innermost one. They are released with `file`. Default:
   * both files are in the same directory.
   */
  readonly between?: readonly TreeDir[] | undefined;
  /** Largest transfer in bytes that is atomic; 0, the default, leaves it to msize. */
  readonly iounit?: number;
  /** Reads at most `count` bytes; none at the end. Default: no bytes. See `read(9P)`. */
  read?(
    request: ReadRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array>;
  /**
   * Writes. See `read(9P)`. Default: `Operation not supported`.
   *
   * @returns The number of bytes that were written; undefined for all.
   */
  write?(
    request: WriteRequest,
    context: RequestContext,
  ): Awaitable<number | void>;
  /**
   * Calls the function of a function file. Default: the file is not a function
   * file.
   *
   * @returns The bytes of the value, or undefined for a file that is not a
   *   function file.
   */
  call?(
    request: CallRequest,
    context: RequestContext,
  ): Awaitable<Uint8Array | undefined>;
  /**
   * Adds a mode to this open. It is called for a fid that uses the file without
   * a Topen, and that first reads and then writes, first writes and then reads,
   * or then sends a Topen. Default: the file is opened again, for reading and
   * writing or in the mode of the Topen, and this open is closed.
   */
  reopen?(request: OpenRequest, context: RequestContext): Awaitable<void>;
  /**
   * Closes the open file. Called exactly once, at the clunk, or when the
   * connection has ended.
   */
  close?(ending: Ending): Awaitable<void>;
}

/** The end of an open file. */
export interface Ending {
  /** True when the fid ended with its session or connection, and not by a Tclunk or Tremove. */
  readonly lost: boolean;
  /**
   * True after a write of the fid was refused or given up, so that the written
   * data are not complete.
   */
  readonly writeFailed: boolean;
}

/**
 * The checks that the library makes for a tree, and their options. A tree
 * switches off the checks that a lower layer makes, such as the kernel of a
 * host.
 */
export interface Rules {
  /**
   * Check permissions by owner, group and others with the attributes of files,
   * and give new files no more permissions than their directory has. True by
   * default; false for a tree that checks them itself.
   */
  readonly access?: boolean;
  /**
   * Refuse every request that would change the tree, and every call of a
   * function, with `read only file system`. False by default.
   */
  readonly readonly?: boolean;
  /** User that makes all requests; by default the user of the fid. */
  readonly uname?: string | undefined;
  /** Open a file with DMEXCL for one fid at a time. True by default. */
  readonly exclusive?: boolean;
  /**
   * Remove a file that was opened with ORCLOSE when its fid ends. True by
   * default. With false, the tree gets ORCLOSE in the mode, and removes the file
   * when it is closed.
   */
  readonly removeOnClose?: boolean;
  /** The user database; see {@linkcode Users}. */
  readonly users?: Users | undefined;
  /**
   * Refuse requests that usual clients send against the manual. False by
   * default.
   */
  readonly strict?: boolean;
  /** Most bytes of a name of a file or user, 255 by default. */
  readonly maxName?: number;
}

/** A tree of files. {@linkcode treeOf} makes one that can be served. */
export interface Tree {
  /** Returns the root directory for a user, or throws. See `attach(9P)`. */
  attach(
    request: AttachRequest,
    context: RequestContext,
  ): Awaitable<TreeDir>;
  /** The rules for the tree. By default each option has its default. */
  readonly rules?: Rules | undefined;
  /** Accepts a connection before its first request; an error closes it. See {@linkcode Handler.connect}. */
  connect?(connection: Connection): Awaitable<void>;
  /** Called once for each accepted connection, when it has ended and its fids are released. */
  disconnect?(connection: Connection): Awaitable<void>;
}
