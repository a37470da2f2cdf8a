// Options of a tree, and of the files that a program makes in it.

import type { Users } from "../rules/access.ts";

/** Initial content of a tree: texts and bytes are files, objects are directories. */
export interface Content {
  /** A file, or a directory, by its name. */
  readonly [name: string]: string | Uint8Array | Content;
}

/** Options of a {@linkcode MemoryFs}. */
export interface MemoryFsOptions {
  /**
   * Owner of the root, and of files that the program makes; `sys` by default.
   * The default is not `none`, the user of a client that names no user: such a
   * client has the rights of others. It can read what all users may read, and
   * can write where all users may write, such as in a tree with the mode 0777.
   */
  uid?: string;
  /**
   * Group of the root, and of files that the program makes; the owner by
   * default.
   */
  gid?: string;
  /** Permissions of the root, 0755 by default. */
  mode?: number;
  /**
   * User database: the groups, their members and leaders. By default each user
   * is the only member, and the leader, of the group of the same name. Users
   * that are not in the database may attach, with the rights of others.
   */
  users?: Users;
  /**
   * Refuse requests that usual clients send against the manual: a Twstat of
   * atime, or of muid beside a name or time. Refuse, with `file has been
   * removed`, any use of a file that was removed while a fid had it. False by
   * default. listen() and serve() have such an option of their own.
   */
  strict?: boolean;
  /**
   * Most bytes of one file, 1 GiB by default, because it is in memory. A longer
   * file is refused with `file too big`.
   */
  maxFileSize?: number;
  /**
   * Most bytes of all files together, 2 GiB by default, with the shared values
   * of functions. Beyond it `file system is full`. What fids hold (contents
   * that were made at an open, arguments and values of calls) counts for their
   * connections instead (`maxHeldBytes` of listen() and serve()). A file takes
   * at most twice its length of memory, and at most 1 MiB more than its length.
   */
  maxSize?: number;
  /**
   * Most files and directories, by their names, 1,048,576 by default. An empty
   * one takes up to 3 KiB that `maxSize` does not count. Beyond it `file system
   * is full`.
   */
  maxFiles?: number;
  /**
   * Most bytes of a name, and of a user's name at an attach, 255 by default, as
   * on most hosts. A longer name is refused with `File name too long`, a user's
   * with `unknown user`. A session has a limit of its own.
   */
  maxName?: number;
  /**
   * Most calls of functions that run at a time for one connection, 4096 by
   * default. Calls that the client gave up count as well, because a function
   * may ignore its signal. Beyond it `Too many open files`.
   */
  maxCalls?: number;
  /**
   * The same for all connections together, ended ones included: 16 times
   * `maxCalls` by default.
   */
  maxTreeCalls?: number;
  /**
   * Default of {@linkcode CallableOptions.maskErrors} for all functions of the
   * tree: false.
   */
  maskErrors?: boolean;
}

/** Options for a new file. */
export interface FileOptions {
  /** Content; none by default. */
  data?: string | Uint8Array;
  /** Permissions, 0640 by default, and DMAPPEND, DMEXCL, DMTMP. */
  mode?: number;
  /** Owner; the tree's by default. */
  uid?: string;
  /** Group; the tree's by default. */
  gid?: string;
}

/** Options for a new directory. */
export interface DirOptions {
  /** Permissions, 0750 by default. */
  mode?: number;
  /** Owner; the tree's by default. */
  uid?: string;
  /** Group; the tree's by default. */
  gid?: string;
  /** Make missing parents as well, and take a directory that is there. False by default. */
  recursive?: boolean;
}

/** Options for a removal. */
export interface RemoveNodeOptions {
  /** Remove a directory with all that is in it. False by default. */
  recursive?: boolean;
}
