// A directory of the host.

import {
  DMDIR,
  NinePError,
  OAPPEND,
  ORDWR,
  OREAD,
  OWRITE,
} from "../../codec.ts";
import { utf8Length } from "../../codec/wire.ts";
import type {
  Attributes,
  DirEntry,
  ListRequest,
  OpenRequest,
} from "../../server.ts";
import type {
  CreatedFile,
  CreateFile,
  MakeDir,
  MakeSymlink,
  OpenFile,
  Rename,
  TreeDir,
  TreeFile,
} from "../tree.ts";
import { identityOf, isSame, SET_IDS } from "./attributes.ts";
import { type Checks, goneError, MAX_DEPTH } from "./directories.ts";
import { followedDir, FollowedFile, followLink } from "./follow.ts";
import type { Host } from "./host.ts";
import { HostFile } from "./host_file.ts";
import { withInode } from "./inode.ts";
import { listEntries } from "./listing.ts";
import { checkSame, linkSame, moveName } from "./move.ts";
import { isHostName, isTooLong } from "./names.ts";
import type { HostOpenFile } from "./open_file.ts";
import { BIG, codeOfError, type HostStats } from "./system.ts";

/** Most bytes of the target of a symbolic link. */
const TARGET_MAX = 4095;

/** Maximum of lookups of a member that other processes keep replacing. */
const FOLLOW_TRIES = 3;

/** A directory by its name. */
export class HostDir extends HostFile implements TreeDir {
  /** The members that fids refer to, by name. */
  readonly #members: Map<string, HostFile> = new Map();
  readonly #onEnd: (() => Promise<void>) | undefined;
  /** True after mkdir() until the first open. */
  #isUnopened = false;
  declare parent: HostDir | undefined;

  /** @param onEnd Called when the last reference to the root is gone. */
  constructor(
    host: Host,
    parent: HostDir | undefined,
    name: string,
    stats: HostStats,
    onEnd?: () => Promise<void>,
  ) {
    super(host, parent, name, stats);
    this.#onEnd = onEnd;
  }

  protected override released(): void | Promise<void> {
    this.host.directories.forget(this);
    return this.#onEnd?.() ?? super.released();
  }

  /** Removes a member that no fid refers to any more. */
  forget(file: HostFile): void {
    if (this.#members.get(file.name) === file) this.#members.delete(file.name);
  }

  /** Adds a member. A member that had this name before counts as removed. */
  add(file: HostFile): void {
    const old = this.#members.get(file.name);
    if (old !== undefined && old !== file) old.isRemoved = true;
    this.#members.set(file.name, file);
  }

  /**
   * Returns the object for a member with the given attributes: the existing
   * object if it is the same file, otherwise a new one.
   */
  member(name: string, stats: HostStats): HostFile {
    const known = this.#members.get(name);
    if (known !== undefined && isSame(known.identity, stats)) {
      known.observe(stats);
      return known.retain();
    }
    const { host } = this;
    const file = stats.isDirectory()
      ? new HostDir(host, this, name, stats)
      : new HostFile(host, this, name, stats);
    this.#members.set(name, file);
    return file;
  }

  /**
   * Runs an operation with a path of the directory, when its turn has come.
   */
  at<T>(
    use: (path: string) => Promise<T>,
    checks?: Checks<T>,
  ): Promise<T> {
    const { host } = this;
    return host.track(
      host.gate.shared(() => this.#use(use, checks)),
    );
  }

  /** Runs an operation while no other operation is in progress. */
  #exclusive<T>(use: (path: string) => Promise<T>): Promise<T> {
    const { host } = this;
    return host.track(host.gate.exclusive(() => this.#use(use)));
  }

  async #use<T>(
    use: (path: string) => Promise<T>,
    checks?: Checks<T>,
  ): Promise<T> {
    // The host may have given the number of the removed directory to a new
    // directory with the same name.
    if (this.isRemoved) throw goneError();
    return await this.host.directories.at(this, use, checks);
  }

  /**
   * Looks up a name. With `followLinks`, a link that leads to a file in the
   * tree is followed.
   */
  async lookup(name: string): Promise<HostFile | FollowedFile | undefined> {
    const file = await this.find(name);
    const isFollowed = file?.identity.kind === "link" &&
      this.host.settings.followLinks;
    if (file === undefined || !isFollowed) return file;
    const target = await followLink(this, file);
    if (target === undefined) return file;
    return target instanceof HostDir
      ? followedDir(file, target)
      : new FollowedFile(file, target);
  }

  /**
   * Returns the attributes of a member, or of the target of a link; undefined
   * if the member was removed.
   */
  async followed(name: string): Promise<Attributes | undefined> {
    for (let i = 0; i < FOLLOW_TRIES; i++) {
      const file = await this.lookup(name);
      if (file === undefined) return undefined;
      try {
        return await file.stat();
      } catch (error) {
        // Another process has removed or replaced the file after the lookup.
        if (!(error instanceof NinePError)) throw error;
      } finally {
        await file.release();
      }
    }
    return undefined;
  }

  /** Finds a member, and follows nothing. */
  async find(name: string): Promise<HostFile | undefined> {
    const { system: { files, platform } } = this.host;
    if (!isHostName(name, platform)) return undefined;
    try {
      return await this.at(async (path) => {
        const stats = await files.lstat(`${path}/${name}`, BIG);
        if (stats.isDirectory()) this.#checkDepth();
        return this.member(name, stats);
      }, {
        confirm: (path, file) => file.check(`${path}/${name}`),
        discard: release,
      });
    } catch (error) {
      // The directory itself was removed.
      if (error instanceof NinePError) throw error;
      if (codeOfError(error) === "ENOENT") return undefined;
      throw codeOfError(error) === "ENOTDIR" ? goneError() : error;
    }
  }

  #checkDepth(): void {
    let depth = 1;
    for (let dir = this.parent; dir !== undefined; dir = dir.parent) depth++;
    if (depth >= MAX_DEPTH) throw new NinePError("File name too long");
  }

  /** Lists the members. The directory is read in small batches. */
  list({ cookie }: ListRequest): AsyncIterable<DirEntry> {
    return listEntries(this, cookie);
  }

  /** Checks that the directory may be read. */
  override async open({ mode }: OpenRequest): Promise<OpenFile | void> {
    if ((mode & 3) !== OREAD && (mode & 3) !== 3) {
      throw new NinePError("Is a directory");
    }
    // The mode of a Tcreate is not checked against the permissions.
    const isMade = this.#isUnopened;
    this.#isUnopened = false;
    if (isMade) return;
    const { files, flags } = this.host.system;
    await this.at(async (path) => {
      const mode = flags.RDONLY | flags.DIRECTORY;
      const handle = await files.open(`${path}/.`, mode);
      await handle.close();
    });
    await this.stats();
  }

  /**
   * Makes a file. The permissions of the directory mask those of the file. The
   * umask of the process has no effect.
   */
  async create({ name, perm, mode }: CreateFile): Promise<CreatedFile> {
    this.host.checkWritable();
    this.#checkName(name);
    this.#checkPerm(perm);
    const { host } = this;
    const { files, flags } = host.system;
    const dir = await this.stats();
    const wanted = perm & (~0o666 | (Number(dir.mode) & 0o666)) & 0o777;
    const access = mode & 3;
    const writes = access === OWRITE || access === ORDWR;
    const isAppending = writes && (mode & OAPPEND) !== 0;
    const openFlags =
      (access === ORDWR ? flags.RDWR : writes ? flags.WRONLY : flags.RDONLY) |
      (isAppending ? flags.APPEND : 0);
    host.descriptors.take();
    let open: HostOpenFile | undefined;
    try {
      return await this.at(async (path) => {
        const made = `${path}/${name}`;
        const more = flags.CREAT | flags.EXCL | flags.CAREFUL;
        const handle = await files.open(made, openFlags | more, wanted);
        try {
          let stats = await handle.stat(BIG);
          if ((Number(stats.mode) & 0o777) !== wanted) {
            await handle.chmod(wanted);
            stats = await handle.stat(BIG);
          }
          host.changed(this.identity);
          const file = this.member(name, stats);
          open = file.opened(handle, isAppending);
          return { file, open };
        } catch (error) {
          await handle.close();
          await files.unlink(made).catch(() => {});
          throw error;
        }
      }, {
        discard: async ({ file, open }) => {
          await open.close();
          await file.release();
        },
      });
    } catch (error) {
      // If `open` exists, its close() gives the descriptor back.
      if (open === undefined) host.descriptors.give();
      throw error;
    }
  }

  /** Makes a directory. */
  async mkdir({ name, perm }: MakeDir): Promise<TreeDir> {
    this.host.checkWritable();
    this.#checkName(name);
    this.#checkPerm(perm);
    this.#checkDepth();
    const { host } = this;
    const { files } = host.system;
    const dir = await this.stats();
    const wanted = perm & Number(dir.mode) & 0o777;
    return await this.at<HostDir>(async (path) => {
      const made = `${path}/${name}`;
      await files.mkdir(made, wanted);
      host.changed(this.identity);
      let stats = await files.lstat(made, BIG);
      if (!stats.isDirectory()) throw goneError();
      if ((Number(stats.mode) & 0o777) !== wanted) {
        // The directory may have inherited setgid.
        const bits = wanted | (Number(stats.mode) & 0o7000);
        const own = identityOf(stats);
        stats = await withInode(host, made, own, async (inode) => {
          await inode.chmod(bits);
          return await inode.stat();
        });
      }
      const dir = this.member(name, stats) as HostDir; // Its attributes say so.
      dir.#isUnopened = true;
      return dir;
    }, { discard: release });
  }

  /**
   * Makes a symbolic link. The target is stored unchanged, and is not followed.
   */
  async symlink({ name, target }: MakeSymlink): Promise<TreeFile> {
    this.host.checkWritable();
    this.#checkName(name);
    const isText = target !== "" && !target.includes("\0") &&
      target.isWellFormed();
    if (!isText) throw new NinePError("Invalid argument");
    if (utf8Length(target) > TARGET_MAX) {
      throw new NinePError("File name too long");
    }
    const { files } = this.host.system;
    return await this.at(async (path) => {
      await files.symlink(target, `${path}/${name}`);
      this.host.changed(this.identity);
      const stats = await files.lstat(`${path}/${name}`, BIG);
      return this.member(name, stats);
    }, { discard: release });
  }

  /** Gives a file a further name. */
  async link(name: string, file: TreeFile): Promise<void> {
    this.host.checkWritable();
    this.#checkName(name);
    const { host } = this;
    const { files } = host.system;
    const own = ownFile(host, file);
    if (own.identity.kind === "directory") {
      throw new NinePError("Operation not permitted");
    }
    const { parent } = own;
    if (parent === undefined) throw new NinePError("Operation not permitted");
    await host.track(
      host.gate.exclusive(() =>
        host.directories.at(
          parent,
          (from) =>
            host.directories.at(this, async (to) => {
              await linkSame(
                own,
                `${from}/${own.name}`,
                `${to}/${name}`,
                files,
              );
              host.changed(this.identity);
            }),
        )
      ),
    );
  }

  /** Removes a member, if the name still belongs to the file. */
  async remove(name: string, file: TreeFile): Promise<void> {
    this.host.checkWritable();
    if (!isHostName(name, this.host.system.platform)) throw goneError();
    const { host } = this;
    const { files } = host.system;
    const own = ownFile(host, file);
    // No other operation may use the file while its name becomes free for
    // another file.
    await this.#exclusive(async (path) => {
      const place = `${path}/${name}`;
      await checkSame(own, place, files);
      await (own.identity.kind === "directory"
        ? files.rmdir(place)
        : files.unlink(place));
      host.changed(this.identity);
      own.isRemoved = true;
      this.forget(own);
      if (own instanceof HostDir) host.directories.forget(own);
    });
  }

  /** Gives a member another name, or another directory. */
  async rename(request: Rename): Promise<void> {
    this.host.checkWritable();
    this.#checkName(request.newName);
    const { host } = this;
    const file = ownFile(host, request.file);
    const newDir = ownDir(host, request.newDir);
    await host.track(
      host.gate.exclusive(() => moveName(this, newDir, { ...request, file })),
    );
  }

  #checkName(name: string): void {
    if (!isHostName(name, this.host.system.platform)) {
      throw new NinePError("illegal name");
    }
    if (isTooLong(name)) throw new NinePError("File name too long");
  }

  /**
   * Checks the permissions of a new file. The host can store only permission
   * bits, and a client must not set setuid, setgid or the sticky bit.
   */
  #checkPerm(perm: number): void {
    if ((perm & SET_IDS) !== 0) throw new NinePError("Operation not permitted");
    if ((perm & ~(DMDIR | 0o777)) !== 0) {
      throw new NinePError("Operation not supported");
    }
  }
}

/** Releases the file that an operation has found. */
async function release(file: HostFile): Promise<void> {
  await file.release();
}

/**
 * Returns the object of this tree for a file. For a followed link, this is the
 * link.
 */
function ownFile(host: Host, file: TreeFile): HostFile {
  const own = file instanceof FollowedFile ? file.from : file;
  if (own instanceof HostFile && own.host === host) return own;
  throw new NinePError("Invalid cross-device link");
}

/**
 * Returns the object of this tree for a directory. For a followed link, this is
 * its target.
 */
function ownDir(host: Host, file: TreeFile): HostDir {
  const own = file instanceof FollowedFile ? file.target : file;
  if (own instanceof HostDir && own.host === host) return own;
  throw new NinePError("Invalid cross-device link");
}
