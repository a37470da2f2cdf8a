// The state that all files of a host directory share while clients are
// attached.

import { NinePError } from "../../codec.ts";
import type { Qid } from "../../codec.ts";
import {
  ChangeCounts,
  type Identity,
  identityOf,
  kindOf,
  qidPath,
  qidType,
  qidVersion,
} from "./attributes.ts";
import { Descriptors } from "./descriptors.ts";
import { type Directories, openDirectories } from "./directories.ts";
import { Gate } from "./gate.ts";
import { Owners } from "./owners.ts";
import {
  BIG,
  hostError,
  type HostStats,
  loadSystem,
  type System,
} from "./system.ts";

/**
 * Maximum of operations on names at a time. More operations would only wait for
 * the few threads of the runtime.
 */
const OPERATIONS_MAX = 32;

/** Settings of a host directory. */
export interface HostSettings {
  readonly dir: string;
  readonly isReadonly: boolean;
  readonly followLinks: boolean;
  readonly requireDescriptors: boolean;
  readonly maxOpen: number;
}

/** A host directory that is being served. */
export class Host {
  readonly settings: HostSettings;
  readonly system: System;
  readonly directories: Directories;
  readonly owners: Owners;
  /** Path of the root, without links. */
  readonly path: string;
  readonly root: HostStats;
  readonly gate: Gate = new Gate(OPERATIONS_MAX);
  readonly descriptors: Descriptors;
  readonly #changes: ChangeCounts = new ChangeCounts();
  readonly #pending: Set<Promise<unknown>> = new Set();
  #closed: Promise<void> | undefined;

  /**
   * Stores the parts of the host directory. Use {@linkcode Host.open} to make a
   * host.
   */
  constructor(
    settings: HostSettings,
    { system, directories, owners, path, root }: Pick<
      Host,
      "system" | "directories" | "owners" | "path" | "root"
    >,
  ) {
    this.settings = settings;
    this.system = system;
    this.directories = directories;
    this.owners = owners;
    this.path = path;
    this.root = root;
    this.descriptors = new Descriptors(settings.maxOpen);
  }

  /**
   * Opens the directory. A link to the directory is followed, because the
   * program itself has given the path.
   */
  static async open(settings: HostSettings): Promise<Host> {
    const system = loadSystem();
    const { files } = system;
    const path = await files.realpath(settings.dir);
    const root = await files.lstat(path, BIG);
    if (!root.isDirectory()) throw new NinePError("not a directory");
    const [owners, directories] = await Promise.all([
      Owners.load(files),
      openDirectories(system, path, identityOf(root)),
    ]);
    if (settings.requireDescriptors && !directories.isHeld) {
      throw new Error(
        `Cannot serve "${settings.dir}": this program cannot hold directories by descriptors`,
      );
    }
    return new Host(settings, { system, directories, owners, path, root });
  }

  /** @throws {NinePError} When the tree is read-only. */
  checkWritable(): void {
    if (this.settings.isReadonly) throw new NinePError("read only file system");
  }

  /** Returns the qid of a file. */
  qidOf(stats: HostStats): Qid {
    const path = qidPath(identityOf(stats), this.root.dev);
    return {
      type: qidType(kindOf(stats)),
      vers: qidVersion(stats, this.#changes.of(path)),
      path,
    };
  }

  /** Notes that the content of a file has changed through this server. */
  changed(identity: Identity): void {
    this.#changes.note(qidPath(identity, this.root.dev));
  }

  /**
   * Waits for an operation of the host, and gives its error a code. {@linkcode
   * Host.close} waits for operations that are still in progress.
   */
  async track<T>(promise: Promise<T>): Promise<T> {
    this.#pending.add(promise);
    try {
      return await promise;
    } catch (error) {
      throw hostError(error, this.system.platform);
    } finally {
      this.#pending.delete(promise);
    }
  }

  /**
   * Closes all descriptors. Called when no fid refers to a file of the tree any
   * more.
   */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#pending);
    await this.directories.close();
  }
}
