// Follows symbolic links for clients that cannot read links. Follows only links
// that lead to files in the tree.

import type { Qid } from "../../codec.ts";
import type {
  AttributeChanges,
  Attributes,
  OpenRequest,
} from "../../server.ts";
import type { Capacity, OpenFile, Place, TreeDir, TreeFile } from "../tree.ts";
import type { HostFile } from "./host_file.ts";

/** Maximum of links between a name and its file, as on Linux. */
const MAX_LINKS = 40;

/** The members that only a directory has. */
type DirMethods = Required<
  Pick<
    TreeDir,
    | "lookup"
    | "list"
    | "create"
    | "mkdir"
    | "symlink"
    | "link"
    | "remove"
    | "rename"
  >
>;

/** A directory in which links are followed. */
export interface FollowDir extends HostFile, DirMethods {
  readonly parent: FollowDir | undefined;
  forget(file: HostFile): void;
  release(): void | Promise<void>;
  /** Finds a member. Does not follow links. */
  find(name: string): Promise<HostFile | undefined>;
}

function isDir(file: HostFile): file is FollowDir {
  return file.identity.kind === "directory";
}

/**
 * Follows a link.
 *
 * @param dir The directory that the link is in.
 * @returns The file that the link leads to, retained for the caller; undefined
 *   if the link leads nowhere, out of the tree, or in a circle.
 */
export async function followLink(
  dir: FollowDir,
  link: HostFile,
): Promise<HostFile | undefined> {
  const names: string[] = [];
  let at: FollowDir = dir.retain() as FollowDir; // The same object.
  let found: HostFile = link.retain();
  for (let links = 0;; links++) {
    const target = links === MAX_LINKS
      ? undefined
      : await found.readlink().catch(() => undefined);
    await found.release();
    const way = target === undefined ? undefined : wayOf(at, target);
    if (way === undefined) break;
    if (way.dir !== at) {
      await at.release();
      at = way.dir.retain() as FollowDir; // The same object.
    }
    names.unshift(...way.names);
    const end = await walk(at, names);
    if (end === undefined) return undefined;
    if (end.file.identity.kind !== "link") {
      await end.dir?.release();
      return end.file;
    }
    // A link is in a directory.
    if (end.dir === undefined) return undefined;
    at = end.dir;
    found = end.file;
  }
  await at.release();
  return undefined;
}

/** Returns the directory where a target begins; undefined if it is outside. */
function wayOf(
  dir: FollowDir,
  target: string,
): { dir: FollowDir; names: string[] } | undefined {
  if (!target.startsWith("/")) return { dir, names: target.split("/") };
  const { path } = dir.host;
  const prefix = path === "/" ? path : `${path}/`;
  if (target !== path && !target.startsWith(prefix)) return undefined;
  let root = dir;
  while (root.parent !== undefined) root = root.parent;
  return { dir: root, names: target.slice(path.length).split("/") };
}

/**
 * Walks names until the last one, or until a link. Removes the walked names
 * from `names`.
 *
 * @param start Directory in which the walk begins. The function releases this
 *   directory.
 * @returns The file; for a link, also the directory of the link. Undefined if a
 *   name does not exist.
 */
async function walk(
  start: FollowDir,
  names: string[],
): Promise<{ file: HostFile; dir?: FollowDir } | undefined> {
  let dir = start;
  for (;;) {
    const name = names.shift();
    if (name === undefined) return { file: dir };
    if (name === "" || name === ".") continue;
    const next = name === ".."
      ? dir.parent?.retain()
      : await dir.find(name).catch(() => undefined);
    if (next?.identity.kind === "link") return { file: next, dir };
    await dir.release();
    if (next === undefined) return undefined;
    if (isDir(next)) {
      dir = next;
      continue;
    }
    if (names.length === 0) return { file: next };
    await next.release();
    return undefined;
  }
}

/**
 * A file that was reached through a link. Its name and place are those of the
 * link; everything else is that of the file.
 */
export class FollowedFile implements TreeFile {
  /** The link. */
  readonly from: HostFile;
  /** The target of the link. */
  readonly target: HostFile;

  /** Takes over a use of both. */
  constructor(link: HostFile, target: HostFile) {
    this.from = link;
    this.target = target;
  }

  /** Identity of the file. */
  get qid(): Qid {
    return this.target.qid;
  }

  /** Null when the link was removed. */
  get place(): Place | null | undefined {
    return this.from.place;
  }

  /** Tells the attributes of the file, with the name of the link. */
  async stat(): Promise<Attributes> {
    return { ...await this.target.stat(), name: this.from.name };
  }

  /** Opens the file. */
  open(request: OpenRequest): Promise<OpenFile | void> {
    return this.target.open(request);
  }

  /** Throws for changes that wstat would refuse. */
  checkWstat(changes: AttributeChanges): Promise<void> {
    return this.target.checkWstat(changes);
  }

  /** Changes attributes of the file. */
  wstat(changes: AttributeChanges): Promise<void> {
    return this.target.wstat(changes);
  }

  /** Brings the file to stable storage. */
  sync(): Promise<void> {
    return this.target.sync();
  }

  /** Tells the size of the file system. */
  statfs(): Promise<Capacity> {
    return this.target.statfs();
  }

  /** Releases the link and the target. */
  async release(): Promise<void> {
    await this.from.release();
    await this.target.release();
  }
}

/**
 * Makes a directory that was reached through a link. Takes over one reference
 * to the link and one to the directory.
 */
export function followedDir(
  link: HostFile,
  dir: FollowDir,
): FollowedFile & TreeDir {
  const methods: DirMethods = {
    lookup: (name, context) => dir.lookup(name, context),
    list: (request, context) => dir.list(request, context),
    create: (request, context) => dir.create(request, context),
    mkdir: (request, context) => dir.mkdir(request, context),
    symlink: (request, context) => dir.symlink(request, context),
    link: (name, file, context) => dir.link(name, file, context),
    remove: (name, file, context) => dir.remove(name, file, context),
    rename: (request, context) => dir.rename(request, context),
  };
  return Object.assign(new FollowedFile(link, dir), methods);
}
