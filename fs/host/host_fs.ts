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
   * Follow symbolic links that lead to files in the directory, for clients that
   * cannot read links. A link that leads elsewhere or nowhere is shown as a
   * link. False by default: all links are shown as links.
   */
  readonly followLinks?: boolean;
  /**
   * Maximum of descriptors for open files and for directories that are being
   * listed, 1 or more. A further open fails with `Too many open files`.
   * Operations on names use up to 160 more. 512 by default.
   */
  readonly maxOpen?: number;
  /**
   * Refuse to serve if directories cannot be held by descriptors, because a
   * link that another process swaps in could then lead out of the directory;
   * see {@linkcode HostFs}. False by default.
   */
  readonly requireDescriptors?: boolean;
  /**
   * The rules that the library applies to the tree. By default the library
   * checks no permissions, because the host checks the rights of the process.
   * With `access: true`, the library also checks the rights of the client's
   * user, by the names of the host's users and groups.
   */
  readonly rules?: Rules;
}

/**
 * A directory of the machine as a tree to serve, under Deno, Bun and Node.
 *
 * Clients reach nothing outside the directory. Clients can change nothing
 * unless `readonly` is false. Symbolic links are followed only with
 * `followLinks`, and only to files in the directory. Devices, FIFOs and sockets
 * are listed, but cannot be opened. A client cannot set setuid, setgid or the
 * sticky bit of a file. DMAPPEND, DMEXCL and DMTMP are refused, because the
 * host does not keep them.
 *
 * All users have the rights of the process, and the process owns the new files.
 * With `access: true` in `rules`, each user has at most these rights. New files
 * get the permissions that the client asks for, masked by those of the
 * directory; the umask of the process has no effect.
 *
 * Other processes may change the directory at the same time. If the host has
 * `/proc/self/fd` (Linux; under Deno only with all permissions, because Deno
 * hides `/proc` from other programs), directories are held by descriptors, and
 * a link that another process swaps in has no effect. Otherwise paths are
 * checked before and after each operation, and an opened file must be the file
 * that was looked up. A process that swaps a directory for a link and back,
 * each time at the right moment, can still make an operation reach a file
 * outside. Under Deno, `--allow-read=DIR --allow-write=DIR` then bounds the
 * damage. No host has an operation that removes or moves a name only if the
 * name still belongs to a certain file. So if another file takes the name at
 * that moment, this other file is removed or moved.
 *
 * A qid path comes from the device and the number of the file, and a qid
 * version from its time and its size. Hosts use the number of a removed file
 * again. Names that are not UTF-8 or that contain U+FFFD are not listed and
 * cannot be used. Bun reads all names of a directory when a listing begins;
 * Deno and Node read them in parts. Times have the resolution of the runtime:
 * milliseconds under Deno, nanoseconds under Bun and Node.
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
  /** The rules that the library applies to the tree. */
  readonly rules: Rules;
  /** The handler. */
  readonly handler: Handler<PathNode>;
  readonly #settings: HostSettings;
  /** The root, while fids refer to it or to a file below it. */
  #root: Promise<HostDir> | undefined;
  /** Resolves when the host directory of the last clients is closed. */
  #ended: Promise<void> | undefined;

  /**
   * Makes a tree of a directory, which is opened when a client attaches.
   *
   * @param dir Path of the directory; a link is followed here.
   * @throws {RangeError} When `maxOpen` is not a whole number of 1 or more.
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
   * @throws {NinePError} When there is no tree of this name, or the directory
   *   does not exist.
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
      // The first client may have left already, and the root may be closed.
      // Then the loop opens a new root.
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
