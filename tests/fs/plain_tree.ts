/**
 * A tree in memory in as few lines as the contract allows, for tests of what
 * stands above a tree: it shares nothing with MemoryFs.
 *
 * @module
 */

import { DMDIR, NinePError, OTRUNC, type Qid } from "../../codec.ts";
import type {
  AttributeChanges,
  Attributes,
  DirEntry,
  OpenRequest,
  RequestContext,
} from "../../server.ts";
import type {
  CreatedFile,
  CreateFile,
  MakeDir,
  OpenFile,
  Rename,
  Tree,
  TreeDir,
  TreeFile,
} from "../../fs/mod.ts";

/** A file. */
export class PlainFile implements TreeFile {
  data: Uint8Array = new Uint8Array(0);
  /** Number of times that it was given, less the number of its releases. */
  held = 0;
  stats: Attributes;
  readonly tree: PlainTree;

  constructor(tree: PlainTree, name: string, mode: number, uid: string) {
    this.tree = tree;
    const qid = { type: mode >>> 24, vers: 0, path: tree.nextPath++ };
    this.stats = { qid, name, mode, uid };
  }

  get qid(): Qid {
    return this.stats.qid;
  }

  set(changes: Partial<Attributes>): void {
    const { qid } = this.stats;
    const vers = (qid.vers + 1) >>> 0;
    this.stats = { ...this.stats, ...changes };
    const type = this.stats.mode >>> 24;
    this.stats = { ...this.stats, qid: { ...qid, type, vers } };
  }

  stat(): Attributes {
    return this.stats;
  }

  wstat({ length, ...changes }: AttributeChanges): void {
    if (length !== undefined) this.resize(Number(length));
    this.set(changes);
  }

  resize(length: number): void {
    const data = new Uint8Array(length);
    data.set(this.data.subarray(0, length));
    this.data = data;
    this.set({ length });
  }

  open({ mode }: OpenRequest): OpenFile {
    if ((mode & OTRUNC) !== 0) this.resize(0);
    this.tree.opens++;
    return {
      read: ({ offset, count }) => this.data.subarray(offset, offset + count),
      write: ({ offset, data, append }) => {
        const at = append ? this.data.length : offset;
        this.resize(Math.max(this.data.length, at + data.length));
        this.data.set(data, at);
      },
      close: () => void this.tree.opens--,
    };
  }

  /** The tree gives the file. */
  given(): this {
    this.held++;
    this.tree.held++;
    return this;
  }

  release(): void {
    this.tree.held--;
    if (--this.held < 0) throw new Error("released more often than given");
  }
}

/** A directory. */
export class PlainDir extends PlainFile implements TreeDir {
  readonly members: Map<string, PlainFile> = new Map();

  override open(): OpenFile {
    this.tree.opens++;
    return { close: () => void this.tree.opens-- };
  }

  lookup(name: string): TreeFile | undefined {
    return this.members.get(name)?.given();
  }

  list({ cookie }: { cookie: number }): DirEntry[] {
    return [...this.members.values()].map(({ stats }) => ({ stat: stats }))
      .slice(cookie);
  }

  create(
    { name, perm, mode }: CreateFile,
    { uname }: RequestContext,
  ): CreatedFile {
    const file = this.#add(name, new PlainFile(this.tree, name, perm, uname));
    return { file, open: file.open({ mode, implicit: false }) };
  }

  mkdir({ name, perm }: MakeDir, { uname }: RequestContext): PlainDir {
    return this.#add(name, new PlainDir(this.tree, name, perm, uname));
  }

  #add<File extends PlainFile>(name: string, file: File): File {
    if (this.members.has(name)) throw new NinePError("file already exists");
    this.members.set(name, file);
    return file.given();
  }

  remove(name: string, file: TreeFile): void {
    if (this.members.get(name) !== file) {
      throw new NinePError("file does not exist");
    }
    if (file instanceof PlainDir && file.members.size > 0) {
      throw new NinePError("directory is not empty");
    }
    this.members.delete(name);
  }

  rename({ name, file, newDir, newName, replace }: Rename): void {
    if (!(newDir instanceof PlainDir) || newDir.tree !== this.tree) {
      throw new NinePError("Invalid cross-device link");
    }
    const moved = this.members.get(name);
    if (moved === undefined || moved !== file) {
      throw new NinePError("file does not exist");
    }
    if (!replace && newDir.members.has(newName)) {
      throw new NinePError("file already exists");
    }
    this.members.delete(name);
    newDir.members.set(newName, moved);
    moved.set({ name: newName });
  }
}

/** A tree of such files. */
export class PlainTree implements Tree {
  nextPath: bigint;
  /** Files that were given, and are not released. */
  held = 0;
  /** Files that are open. */
  opens = 0;
  readonly root: PlainDir;

  /** @param firstPath Path of the root; those of the others follow. */
  constructor(
    content: Readonly<Record<string, string>> = {},
    firstPath: bigint = 1n,
    uid = "glenda",
  ) {
    this.nextPath = firstPath;
    this.root = new PlainDir(this, "/", DMDIR + 0o777, uid);
    for (const [path, text] of Object.entries(content)) this.put(path, text);
  }

  attach(): PlainDir {
    return this.root.given();
  }

  /** Makes a file with its directories. */
  put(path: string, text: string, mode = 0o666): PlainFile {
    const names = path.split("/");
    const name = names.pop() ?? "";
    const uid = this.root.stats.uid ?? "none";
    let dir = this.root;
    for (const name of names) {
      let next = dir.members.get(name);
      if (!(next instanceof PlainDir)) {
        next = new PlainDir(this, name, DMDIR + 0o777, uid);
        dir.members.set(name, next);
      }
      if (next instanceof PlainDir) dir = next;
    }
    const file = new PlainFile(this, name, mode, uid);
    file.data = new TextEncoder().encode(text);
    file.set({ length: file.data.length });
    dir.members.set(name, file);
    return file;
  }

  /** Finds a file. */
  find(path: string): PlainFile | undefined {
    let file: PlainFile | undefined = this.root;
    for (const name of path.split("/").filter((name) => name !== "")) {
      file = file instanceof PlainDir ? file.members.get(name) : undefined;
    }
    return file;
  }

  /** The content of a file. */
  text(path: string): string | undefined {
    const file = this.find(path);
    return file && new TextDecoder().decode(file.data);
  }
}
