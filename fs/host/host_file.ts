// A file of the host: a plain file, a symbolic link, or a special file, which
// is never opened.

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
  /**
   * Removes a member that no fid refers to any more, or that was moved to
   * another directory.
   */
  forget(file: HostFile): void;
  /** Adds a reference from a member. */
  retain(): unknown;
  /** Removes a reference. The last one releases the file. */
  release(): void | Promise<void>;
}

/**
 * Returns true unless the parent is undefined, as for the root. Each parent is
 * a HostDir, which implements TreeDir.
 */
function isTreeDir(
  parent: HostParent | undefined,
): parent is HostParent & TreeDir {
  return parent !== undefined;
}

/**
 * A file by one of its names. While fids refer to a name, there is exactly one
 * object for this name.
 */
export class HostFile implements TreeFile {
  /** The state that all files share. */
  readonly host: Host;
  /** Identity of the file on the host. */
  readonly identity: Identity;
  /** The directory that it is in; undefined for the root. */
  parent: HostParent | undefined;
  /** Its name there; `/` for the root. */
  name: string;
  /** True when this server has removed the name. */
  isRemoved = false;
  #qid: Qid;
  #uses = 1;
  readonly #opens: Set<HostOpenFile> = new Set();

  /** Makes the object for a file, with one reference for the caller. */
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

  /** The qid, from the attributes that were read last. */
  get qid(): Qid {
    return this.#qid;
  }

  /** Adds a reference. */
  retain(): this {
    this.#uses++;
    return this;
  }

  /** Removes a reference. The last one releases the file. */
  release(): void | Promise<void> {
    if (--this.#uses > 0) return;
    return this.released();
  }

  /** Called when no fid refers to the file any more. */
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

  /** Updates the qid from new attributes, and returns the attributes. */
  observe(stats: HostStats): HostStats {
    const qid = this.host.qidOf(stats);
    if (qid.vers !== this.#qid.vers) this.#qid = qid;
    return stats;
  }

  /** Runs an operation with the path of the file, when its turn has come. */
  protected async atName<T>(
    use: (path: string) => Promise<T>,
    checks: Checks<T> = {},
  ): Promise<T> {
    const { host } = this;
    return await host.track(host.gate.shared(async () => {
      // The place is read inside the turn, because an earlier operation may
      // move the file.
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
    // A target that is not UTF-8 has lost bytes here, and would lead to another
    // file.
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

  /** Opens a plain file. Files of other kinds are refused. */
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
      // An open with OEXEC opens the file for reading, so the host does not
      // check the execute permission. A refused open must not truncate the file.
      if (access === 3 && ((await open.stat()).mode & EXECUTE) === 0n) {
        throw new NinePError("permission denied");
      }
      if (isTruncated) {
        await this.host.track(handle.truncate(0));
        this.host.changed(this.identity);
      }
      open.seen(this.observe(await open.stat()));
      return open;
    } catch (error) {
      await open.close();
      throw error;
    }
  }

  /**
   * Opens a descriptor of the file, and counts it. The caller must give it back
   * to `host.descriptors` after it is closed.
   */
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

  /** Closes a descriptor from openHandle(). It does not count any more, also after an error. */
  async #close(handle: Handle): Promise<void> {
    try {
      await handle.close();
    } finally {
      this.host.descriptors.give();
    }
  }

  /**
   * Makes the object for an open descriptor of the file. This object gives the
   * descriptor back when it is closed.
   */
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
    // The file is opened before its permissions change, because the new
    // permissions may forbid the open.
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
      if (writer !== undefined) await this.#close(writer);
    }
    await this.stats();
  }

  /** Changes the attributes of the link itself, not of its target. */
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
      await this.#close(handle);
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
