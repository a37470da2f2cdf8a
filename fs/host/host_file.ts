// A file of the host: plain, a symbolic link, or something that is not opened.

import {
  NinePError,
  OAPPEND,
  ORDWR,
  OTRUNC,
  OWRITE,
  type Qid,
} from "../../codec.ts";
import type {
  AttributeChanges,
  Attributes,
  OpenRequest,
} from "../../server.ts";
import type { Capacity, OpenFile, Place, TreeDir, TreeFile } from "../tree.ts";
import {
  attributesOf,
  type Identity,
  identityOf,
  isSame,
} from "./attributes.ts";
import { applyChanges, checkChanges } from "./changes.ts";
import {
  type Checks,
  type DirPlace,
  goneError,
  isGone,
} from "./directories.ts";
import type { Host } from "./host.ts";
import { openFile, withInode } from "./inode.ts";
import { HostOpenFile } from "./open_file.ts";
import { BIG, type Handle, type HostStats } from "./system.ts";

/** Bits of an execute permission. */
const EXECUTE = 0o111n;

/** The directory that a file is in. */
export interface HostParent extends DirPlace {
  readonly parent: HostParent | undefined;
  /** A member is not used any more, or is elsewhere now. */
  forget(file: HostFile): void;
  /** One use more, by a member that fids stand for. */
  retain(): unknown;
  /** One use less. */
  release(): void | Promise<void>;
}

/** Only a root has no directory, and a directory of the host has all members of one. */
function isTreeDir(
  parent: HostParent | undefined,
): parent is HostParent & TreeDir {
  return parent !== undefined;
}

/** A file by one of its names. There is one object for a name while fids stand for it. */
export class HostFile implements TreeFile {
  /** The state that all files share. */
  readonly host: Host;
  /** Which file of the host it is. */
  readonly identity: Identity;
  /** The directory that it is in; undefined for the root. */
  parent: HostParent | undefined;
  /** Its name there; `/` for the root. */
  name: string;
  /** True when this server has taken the name away. */
  isRemoved = false;
  #qid: Qid;
  #uses = 1;
  readonly #opens: Set<HostOpenFile> = new Set();

  /** Stands for the file that a lookup has found. */
  constructor(
    host: Host,
    parent: HostParent | undefined,
    name: string,
    stats: HostStats,
  ) {
    this.host = host;
    this.identity = identityOf(stats);
    this.parent = parent;
    this.name = name;
    this.#qid = host.qidOf(stats);
    parent?.retain();
  }

  /** Identity, as it was seen last. */
  get qid(): Qid {
    return this.#qid;
  }

  /** One use more. */
  retain(): this {
    this.#uses++;
    return this;
  }

  /** One use less. */
  release(): void | Promise<void> {
    if (--this.#uses > 0) return;
    return this.released();
  }

  /** No fid stands for the file any more. */
  protected released(): void | Promise<void> {
    this.parent?.forget(this);
    return this.parent?.release();
  }

  /** The present place of the file; null when it was removed. */
  get place(): Place | null | undefined {
    if (this.isRemoved) return null;
    const { parent, name, host } = this;
    // With `followLinks`, several paths may lead to a directory.
    if (host.settings.followLinks || !isTreeDir(parent)) return undefined;
    return { dir: parent, name };
  }

  /** Notes the attributes that were seen. */
  observe(stats: HostStats): HostStats {
    const qid = this.host.qidOf(stats);
    if (qid.vers !== this.#qid.vers) this.#qid = qid;
    return stats;
  }

  /** Runs an operation with the path of the file, in its turn. */
  protected async atName<T>(
    use: (path: string) => Promise<T>,
    checks: Checks<T> = {},
  ): Promise<T> {
    const { host } = this;
    return await host.track(host.gate.shared(async () => {
      // The place is looked at in the turn: a move comes before or after it.
      const { parent, name } = this;
      if (this.isRemoved) throw goneError();
      const { directories } = host;
      // Only a directory has no parent.
      if (parent === undefined) {
        return await directories.at(this, (path) => use(`${path}/.`), checks);
      }
      const { confirm } = checks;
      return await directories.at(parent, (path) => use(`${path}/${name}`), {
        ...checks,
        ...(confirm && {
          confirm: (path, result) => confirm(`${path}/${name}`, result),
        }),
      });
    }));
  }

  /**
   * Returns the attributes of the file itself, by a descriptor of it or by its
   * name.
   */
  protected async stats(): Promise<HostStats> {
    for (const open of this.#opens) {
      try {
        return this.observe(await open.stat());
      } catch {
        // It is being closed.
      }
    }
    const { files } = this.host.system;
    try {
      const stats = await this.atName((path) => files.lstat(path, BIG));
      if (isSame(this.identity, stats)) return this.observe(stats);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    throw goneError();
  }

  /** Tells the attributes. */
  async stat(): Promise<Attributes> {
    const stats = await this.stats();
    const target = this.identity.kind === "link"
      ? await this.readlink().catch(() => undefined)
      : undefined;
    return this.attributes(stats, target);
  }

  /** Attributes for clients. */
  attributes(stats: HostStats, target?: string): Attributes {
    const { qid, name } = this;
    return attributesOf(stats, { qid, name, target }, this.host.owners);
  }

  /** Tells the target of a symbolic link. */
  async readlink(): Promise<string> {
    if (this.identity.kind !== "link") throw new NinePError("Invalid argument");
    const { files } = this.host.system;
    const target = await this.atName(async (path) => {
      await this.check(path);
      return await files.readlink(path);
    });
    // Bytes that are no UTF-8 would lead elsewhere.
    if (target.includes("\uFFFD")) throw new NinePError("Invalid argument");
    return target;
  }

  /** Throws unless a path leads to the file. */
  async check(path: string): Promise<HostStats> {
    const { files } = this.host.system;
    try {
      const stats = await files.lstat(path, BIG);
      if (isSame(this.identity, stats)) return stats;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    throw goneError();
  }

  /** Opens a plain file; nothing else is ever opened. */
  async open({ mode }: OpenRequest): Promise<OpenFile | void> {
    const access = mode & 3;
    const isTruncated = (mode & OTRUNC) !== 0;
    const writes = access === OWRITE || access === ORDWR;
    if (writes || isTruncated) this.host.checkWritable();
    const { kind } = this.identity;
    if (kind === "link") throw new NinePError("illegal mode");
    if (kind !== "file") throw new NinePError("no access to special file");
    const { flags } = this.host.system;
    const isAppending = writes && (mode & OAPPEND) !== 0;
    const handle = await this.openHandle(
      (access === ORDWR || (isTruncated && access !== OWRITE)
        ? flags.RDWR
        : access === OWRITE
        ? flags.WRONLY
        : flags.RDONLY) | (isAppending ? flags.APPEND : 0),
    );
    const open = this.opened(handle, isAppending);
    try {
      if (isTruncated) {
        await this.host.track(handle.truncate(0));
        this.host.changed(this.identity);
      }
      const stats = this.observe(await open.stat());
      open.seen(stats);
      // OEXEC reads; that the file can be executed, the host does not check.
      if (access === 3 && (stats.mode & EXECUTE) === 0n) {
        throw new NinePError("permission denied");
      }
      return open;
    } catch (error) {
      await open.close();
      throw error;
    }
  }

  /** Gets a descriptor of the file, which counts until it is closed. */
  protected async openHandle(mode: number): Promise<Handle> {
    const { host, identity } = this;
    host.descriptors.take();
    try {
      return await this.atName(
        (path) => openFile(host, path, identity, mode),
        {
          confirm: (path) => this.check(path),
          discard: (handle) => handle.close(),
        },
      );
    } catch (error) {
      host.descriptors.give();
      throw error;
    }
  }

  /** Stands for an open descriptor of the file. */
  opened(handle: Handle, isAppending: boolean): HostOpenFile {
    const { host, identity } = this;
    const open = new HostOpenFile(handle, isAppending, {
      track: (promise) => host.track(promise),
      changed: () => host.changed(identity),
      closed: () => {
        this.#opens.delete(open);
        host.descriptors.give();
      },
    });
    this.#opens.add(open);
    return open;
  }

  /** Throws for changes that wstat would refuse. */
  async checkWstat(changes: AttributeChanges): Promise<void> {
    this.host.checkWritable();
    if (this.identity.kind === "special") {
      throw new NinePError("no access to special file");
    }
    checkChanges(await this.stats(), changes, this.host.owners);
  }

  /** Changes attributes, all or none. */
  async wstat(changes: AttributeChanges): Promise<void> {
    await this.checkWstat(changes);
    const { host, identity } = this;
    const { owners } = host;
    const isCut = changes.length !== undefined && identity.kind === "file";
    // A later change must not fail because the permissions have changed.
    const writer = isCut
      ? await this.openHandle(host.system.flags.WRONLY)
      : undefined;
    try {
      await this.atName(async (path) => {
        if (identity.kind === "link") return this.#changeLink(path, changes);
        await withInode(host, path, identity, async (inode) => {
          const target = { inode, writer, owners };
          await applyChanges(await inode.stat(), changes, target);
        });
      });
    } finally {
      if (isCut) host.changed(identity);
      if (writer !== undefined) {
        await writer.close();
        host.descriptors.give();
      }
    }
    await this.stats();
  }

  /** Changes a link, and not its target. */
  async #changeLink(path: string, changes: AttributeChanges): Promise<void> {
    const { system: { files }, owners } = this.host;
    const inode = {
      stat: () => this.check(path),
      chmod: () => Promise.resolve(),
      chown: (uid: number, gid: number) => files.lchown(path, uid, gid),
      utimes: (atime: number, mtime: number) =>
        files.lutimes(path, atime, mtime),
    };
    const target = { inode, writer: undefined, owners };
    await applyChanges(await inode.stat(), changes, target);
  }

  /** Brings the file to stable storage. */
  async sync(): Promise<void> {
    if (this.host.settings.isReadonly) return;
    const { kind } = this.identity;
    if (kind !== "file" && kind !== "directory") return;
    const handle = await this.openHandle(this.host.system.flags.RDONLY);
    try {
      await this.host.track(handle.sync());
    } finally {
      await handle.close();
      this.host.descriptors.give();
    }
  }

  /** Tells the size of the file system. */
  async statfs(): Promise<Capacity> {
    const { host } = this;
    const { files } = host.system;
    const dir = this.parent ?? this; // Only a directory has no parent.
    const size = await host.track(
      host.gate.shared(() =>
        host.directories.at(dir, (path) => files.statfs(`${path}/.`, BIG))
      ),
    );
    return {
      blockSize: Number(size.bsize),
      blocks: Number(size.blocks),
      free: Number(size.bfree),
      available: Number(size.bavail),
      files: Number(size.files),
      freeFiles: Number(size.ffree),
      maxName: 255,
    };
  }
}
