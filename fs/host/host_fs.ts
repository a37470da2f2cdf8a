// A directory of the machine as a tree.

import { NinePError } from "../../codec.ts";
import type { AttachRequest, Handler } from "../../server.ts";
import type { PathNode } from "../rules/path_node.ts";
import { handlerOf, type ServableTree } from "../rules.ts";
import type { Rules, TreeDir } from "../tree.ts";
import { Host, type HostSettings } from "./host.ts";
import { HostDir } from "./host_dir.ts";

/** Default of `maxOpen`. */
const MAX_OPEN = 512;

/** Options of a {@linkcode HostFs}. */
export interface HostFsOptions {
  /** Refuse all changes. True by default. */
  readonly readonly?: boolean;
  /**
   * Follow symbolic links, for clients that cannot read links, and only to
   * files in the directory. A link that leads elsewhere, or nowhere, stays a
   * link. False by default: all links stay links.
   */
  readonly followLinks?: boolean;
  /**
   * Most descriptors that fids hold, for open files and for directories that are
   * being listed, 1 or more; further opens get `Too many open files`. Operations
   * on names use up to 160 more. 512 by default.
   */
  readonly maxOpen?: number;
  /**
   * Refuse to serve where directories cannot be held by descriptors, and a link
   * that is swapped in could lead out of the directory; see {@linkcode HostFs}. False by
   * default.
   */
  readonly requireDescriptors?: boolean;
  /**
   * The rules above the tree. By default the library checks no permissions,
   * because the host checks those of the process. With `access: true` it checks
   * them as well, by the names of the host's users and groups.
   */
  readonly rules?: Rules;
}

/**
 * A directory of the machine as a tree to serve, under Deno, Bun and Node.
 *
 * Nothing outside the directory is reached. Clients change nothing unless
 * `readonly` is false. Symbolic links are followed only with `followLinks`, and
 * only to files in the directory. Devices, FIFOs and sockets are listed, and
 * never opened. No client gives a file setuid, setgid or the sticky bit.
 * DMAPPEND, DMEXCL and DMTMP are refused, because the host does not keep them.
 *
 * All users have the rights of the process, and the process owns the new files.
 * With `rules` that have `access: true`, users have at most these rights. New
 * files get the permissions that the client asks for, as far as the directory
 * has them; the umask of the process does not count.
 *
 * Other processes may change the directory at the same time. If the host has
 * `/proc/self/fd` (Linux; under Deno only with all permissions, because Deno
 * hides `/proc` from other programs), directories are held by descriptors, and
 * a link that is swapped in leads nowhere. Otherwise paths are checked before
 * and after each operation, and an opened file must be the file that was looked
 * up. A process that swaps a directory for a link and back, each time at the
 * right moment, can still win. Under Deno, `--allow-read=DIR --allow-write=DIR`
 * then bounds the damage. No host can remove or move a name on condition that
 * it still belongs to a certain file. So a file that takes the name at that
 * moment, in the same directory, is removed or moved instead.
 *
 * A qid has the device and number of the file, and as its version a mixture of
 * time and size; hosts use the number of a removed file again. Names that are
 * no UTF-8, or contain U+FFFD, cannot be reached, and are not listed. Bun reads
 * all names of a directory when a listing begins, Deno and Node some at a time. Times have
 * the resolution of the runtime: nanoseconds, under Deno milliseconds.
 *
 * @example A directory, for reading
 * ```ts ignore
 * import { HostFs, listen } from "@ninep/ninep";
 *
 * await using server = await listen("tcp://127.0.0.1:5640", new HostFs("/srv"));
 * await server.finished;
 * ```
 */
export class HostFs implements ServableTree {
  /** The rules that stand above the tree. */
  readonly rules: Rules;
  /** The handler. */
  readonly handler: Handler<PathNode>;
  readonly #settings: HostSettings;
  /** The root, while fids stand for it or for a file below it. */
  #root: Promise<HostDir> | undefined;
  /** The end of the last time that clients were attached. */
  #ended: Promise<void> | undefined;

  /**
   * Makes a tree of a directory, which is opened when a client attaches.
   *
   * @param dir Path of the directory; a link is followed here.
   * @throws {RangeError} `maxOpen` is no whole number from 1 on.
   */
  constructor(dir: string, options: HostFsOptions = {}) {
    const { maxOpen = MAX_OPEN } = options;
    if (!Number.isSafeInteger(maxOpen) || maxOpen < 1) {
      throw new RangeError(
        `Cannot serve "${dir}": maxOpen is ${maxOpen}, the minimum is 1`,
      );
    }
    this.#settings = {
      dir,
      isReadonly: options.readonly ?? true,
      followLinks: options.followLinks ?? false,
      requireDescriptors: options.requireDescriptors ?? false,
      maxOpen,
    };
    this.rules = { access: false, ...options.rules };
    this.handler = handlerOf(this);
  }

  /**
   * Gives the root to every user.
   *
   * @throws {NinePError} There is no such tree, or the directory is not there.
   */
  async attach({ aname }: AttachRequest): Promise<TreeDir> {
    if (aname !== "" && aname !== "/") {
      throw new NinePError("file does not exist");
    }
    for (;;) {
      const isFirst = this.#root === undefined;
      const begun = this.#root ??= this.#begin();
      const root = await begun;
      if (isFirst) return root;
      // The first client may have gone already, and the root with it.
      if (this.#root === begun) return root.retain();
    }
  }

  async #begin(): Promise<HostDir> {
    await this.#ended;
    try {
      const host = await Host.open(this.#settings);
      const root: HostDir = new HostDir(host, undefined, "/", host.root, () => {
        this.#root = undefined;
        return this.#ended = host.close();
      });
      return root;
    } catch (error) {
      this.#root = undefined;
      throw error;
    }
  }
}
