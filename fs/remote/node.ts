// The files and directories of the far server. For each file that a fid of a
// client stands for, the far server has a fid that is not open.

import { NinePError, OREAD, type Qid, QTDIR, type Stat } from "../../codec.ts";
import type {
  AttributeChanges,
  Attributes,
  Awaitable,
  DirEntry,
  ListRequest,
  OpenRequest,
  RequestContext,
} from "../../server.ts";
import type {
  CreatedFile,
  CreateFile,
  MakeDir,
  OpenFile,
  Rename,
  Rules,
  TreeDir,
  TreeFile,
} from "../tree.ts";
import { abortable } from "../functions/callable.ts";
import { botch, type Far, type FarOpen, isLost, staleError } from "./far.ts";
import { attributesOf, RemoteListing } from "./listing.ts";
import { RemoteOpen } from "./open.ts";

/** The place of a file on the far server. */
interface Found {
  readonly dir: RemoteDir;
  name: string;
}

/** A file of the far server. */
export class RemoteNode implements TreeFile {
  /** The far server. */
  far: Far;
  #qid: Qid;
  /**
   * Fid on the far server that is not open; undefined while the file has only
   * the open fid of a Tcreate or Topen.
   */
  #fid: number | undefined;
  readonly #found: Found | undefined;
  /** The open file that uses the fid of this file. */
  #open: { readonly fid: number | undefined } | undefined;
  #isReleased = false;

  /**
   * @param far The far server.
   * @param qid Identity.
   * @param fid Fid of the far server, which is not open.
   * @param found Directory and name where the file was found; undefined for a
   *   root, and for a file that was opened through a clone file.
   */
  constructor(
    far: Far,
    qid: Qid,
    fid: number | undefined,
    found: Found | undefined,
  ) {
    this.far = far;
    this.#qid = qid;
    this.#fid = fid;
    this.#found = found;
  }

  /** Identity from the last reply of the far server. */
  get qid(): Qid {
    return this.#qid;
  }

  /**
   * Always true, because any plain file may be a function file, and only the
   * far server knows which. The far server answers the reads, writes and calls
   * of a fid that is not open.
   */
  get implicitOpen(): boolean {
    return true;
  }

  /** Returns the attributes. */
  async stat({ signal }: RequestContext): Promise<Attributes> {
    const stat = await this.run(signal, (fid) => this.far.stat(fid, signal));
    this.note(stat.qid);
    const attributes = attributesOf(stat);
    return this.#found === undefined && this.#open === undefined
      ? { ...attributes, name: "/" }
      : attributes;
  }

  /** Changes attributes with one Twstat. */
  wstat(changes: AttributeChanges, { signal }: RequestContext): Promise<void> {
    return this.#change(changes, undefined, signal);
  }

  /** Changes the name and attributes with one Twstat. */
  wstatNamed(
    newName: string,
    changes: AttributeChanges,
    { signal }: RequestContext,
  ): Promise<void> {
    return this.#change(changes, newName, signal);
  }

  /** Gives the file another name in its directory. */
  setName(name: string, signal: AbortSignal): Promise<void> {
    return this.#change({}, name, signal);
  }

  async #change(
    changes: AttributeChanges,
    name: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { mode, length, uid, gid, atime, mtime } = changes;
    const wishes: Partial<Stat> = {
      ...(name === undefined ? {} : { name }),
      ...(mode === undefined ? {} : { mode }),
      ...(length === undefined ? {} : { length: BigInt(length) }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(atime === undefined ? {} : { atime }),
      ...(mtime === undefined ? {} : { mtime }),
    };
    await this.run(signal, (fid) => this.far.wstat(fid, wishes, signal));
    if (name !== undefined && this.#found !== undefined) {
      this.#found.name = name;
    }
    // The type of the qid is the high byte of the mode.
    if (mode !== undefined) this.#qid = { ...this.#qid, type: mode >>> 24 };
  }

  /**
   * Asks the far server to write the file to stable storage, with a Twstat that
   * changes nothing.
   */
  async sync({ signal }: RequestContext): Promise<void> {
    await this.run(signal, (fid) => this.far.wstat(fid, {}, signal));
  }

  /**
   * Opens the file with a further fid. Sends no Topen if the near client has
   * sent none.
   */
  open(request: OpenRequest, context: RequestContext): Awaitable<OpenFile> {
    if (request.implicit) return new RemoteOpen(this);
    return this.#openNow(request, context);
  }

  async #openNow(
    { mode }: OpenRequest,
    { signal }: RequestContext,
  ): Promise<OpenFile> {
    const fid = await this.clone(signal);
    const open = await this.far.openOrDrop(fid, mode, signal);
    if (open.qid.path === this.#qid.path) {
      try {
        this.note(open.qid);
      } catch (error) {
        this.far.drop(fid);
        throw error;
      }
      return new RemoteOpen(this, { ...open, mode });
    }
    // The far server has opened another file instead, because this file is a
    // clone file.
    if (isDirectory(open.qid)) {
      this.far.drop(fid);
      throw botch();
    }
    const file = new RemoteNode(this.far, open.qid, undefined, undefined);
    return file.#opened({ ...open, mode }, file);
  }

  /** Notes that the file has only an open fid, which the open uses. */
  #opened(
    open: FarOpen & { readonly mode: number },
    file?: RemoteNode,
  ): RemoteOpen {
    const opened = new RemoteOpen(this, open, file);
    this.#open = opened;
    return opened;
  }

  /** Makes the file and the open file for an Rcreate. */
  static created(
    far: Far,
    open: FarOpen & { readonly mode: number },
    found: Found,
  ): CreatedFile {
    const file = new RemoteNode(far, open.qid, undefined, found);
    file.seek();
    return { file, open: file.#opened(open) };
  }

  /**
   * Starts to walk to a file that was just made, before another file can get
   * its name. The new fid is not open.
   */
  protected seek(): void {
    this.fid(undefined).catch(() => {}); // The next use of the file tries again.
  }

  /** Releases the file and clunks its fid. */
  release(): void {
    this.#isReleased = true;
    if (this.#fid !== undefined) this.far.drop(this.#fid);
    this.#fid = undefined;
  }

  /** Makes another fid of the file. The new fid is not open. */
  async clone(signal: AbortSignal | undefined): Promise<number> {
    if (this.#fid === undefined && this.#found !== undefined) {
      return await this.#find(this.#found, signal);
    }
    const clone = await this.run(
      signal,
      (fid) => this.far.walk(fid, [], signal),
    );
    if (clone === undefined) throw botch();
    return clone.fid;
  }

  /** Returns a fid of the file for one request. The fid may be open. */
  async anyFid(signal: AbortSignal | undefined): Promise<number> {
    return this.#fid ?? this.#open?.fid ?? await this.fid(signal);
  }

  /** Returns the fid of the file that is not open. */
  async fid(signal: AbortSignal | undefined): Promise<number> {
    if (this.#fid !== undefined) return this.#fid;
    if (this.#found === undefined) throw staleError();
    const fid = await this.#find(this.#found, signal);
    if (this.#isReleased || this.#fid !== undefined) {
      this.far.drop(fid);
      if (this.#fid === undefined) throw staleError();
      return this.#fid;
    }
    return this.#fid = fid;
  }

  /** Walks to the file by its name. Another file may have this name by now. */
  async #find(
    { dir, name }: Found,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const from = await dir.fid(signal);
    const found = await this.far.walk(from, [name], signal);
    if (found === undefined) throw new NinePError("file does not exist");
    if (found.qid?.path === this.#qid.path) return found.fid;
    this.far.drop(found.fid);
    throw staleError();
  }

  /** Sends a request with a fid of the file. */
  protected async run<T>(
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    return await work(await this.anyFid(signal));
  }

  /** Replaces the fid by a fid of another session. */
  protected replace(far: Far, fid: number, qid: Qid): void {
    if (this.#isReleased) return far.drop(fid);
    if (this.#fid !== undefined) this.far.drop(this.#fid);
    this.far = far;
    this.#fid = fid;
    this.note(qid);
  }

  /**
   * Stores the identity from a reply of the far server. Throws if a file has
   * become a directory, or a directory a file.
   */
  protected note(qid: Qid): void {
    if (isDirectory(qid) !== isDirectory(this.#qid)) throw botch();
    this.#qid = qid;
  }
}

/**
 * Gets a new fid for a root in the present session, after the old fid was lost.
 */
export type FindRoot = () => Promise<{ far: Far; fid: number; qid: Qid }>;

/** The callbacks of a root. */
export interface RootHooks {
  /** Finds the root again. */
  find: FindRoot;
  /** Releases the tree of the root. */
  close(): void;
}

/** A directory of the far server. */
export class RemoteDir extends RemoteNode implements TreeDir {
  /**
   * Fids that are open and were not read. Any listing may take one of them.
   */
  readonly #ready: FarOpen[] = [];
  /**
   * True while the first of these fids is from the Tcreate that made the
   * directory.
   */
  #isMade = false;
  readonly #root: RootHooks | undefined;
  /** The rules of a root. They hold for the whole tree. */
  readonly rules: Rules | undefined;
  #finding: Promise<void> | undefined;

  /**
   * @param root The hooks of a root; undefined for any other directory.
   * @param rules Rules of a root.
   */
  constructor(
    far: Far,
    qid: Qid,
    fid: number | undefined,
    found: Found | undefined,
    root?: RootHooks,
    rules?: Rules,
  ) {
    super(far, qid, fid, found);
    this.#root = root;
    this.rules = rules;
  }

  /** Always false, because a directory is read only after a Topen. */
  override get implicitOpen(): boolean {
    return false;
  }

  /** Looks up a name with one Twalk. */
  async lookup(
    name: string,
    { signal }: RequestContext,
  ): Promise<TreeFile | undefined> {
    let found;
    try {
      found = await this.run(
        signal,
        (fid) => this.far.walk(fid, [name], signal),
      );
    } catch (error) {
      const isMissing = error instanceof NinePError &&
        error.code === "ENOENT" && error.ename !== "file has been removed";
      if (isMissing) return undefined;
      throw error; // The directory itself is gone, for example.
    }
    if (found?.qid === undefined) return undefined;
    const { fid, qid } = found;
    const place = { dir: this, name };
    return isDirectory(qid)
      ? new RemoteDir(this.far, qid, fid, place)
      : new RemoteNode(this.far, qid, fid, place);
  }

  /**
   * Walks to the parent on the far server, so that the far server can refuse
   * the walk.
   */
  async checkParent({ signal }: RequestContext): Promise<void> {
    const found = await this.run(
      signal,
      (fid) => this.far.walk(fid, [".."], signal),
    );
    if (found !== undefined) this.far.drop(found.fid);
  }

  /**
   * Opens the directory, so that the far server can refuse the open. A listing
   * takes the fid.
   */
  override async open(
    _request: OpenRequest,
    { signal }: RequestContext,
  ): Promise<OpenFile> {
    const made = this.#isMade ? this.#ready.at(0) : undefined;
    this.#isMade = false;
    const open = made ?? await this.#openFid(signal);
    this.note(open.qid);
    if (made === undefined) this.#ready.push(open);
    const close = async () => {
      if (this.#take(open)) await this.far.clunk(open.fid);
    };
    return { close };
  }

  async #openFid(signal: AbortSignal): Promise<FarOpen> {
    const fid = await this.clone(signal);
    const open = await this.far.openOrDrop(fid, OREAD, signal);
    if (isDirectory(open.qid)) return open;
    this.far.drop(fid);
    throw botch();
  }

  /** Takes an open fid that was not read; returns false when it was taken before. */
  #take(open: FarOpen): boolean {
    const index = this.#ready.indexOf(open);
    if (index >= 0) this.#ready.splice(index, 1);
    return index >= 0;
  }

  /**
   * Lists the members. Reads from the far server only as far as the client
   * reads.
   */
  list({ cookie }: ListRequest): AsyncIterable<DirEntry> {
    const open = (signal: AbortSignal) => {
      const ready = this.#ready.shift();
      return ready === undefined
        ? this.#openFid(signal)
        : Promise.resolve(ready);
    };
    return new RemoteListing(this.far, open, cookie);
  }

  /** Makes a file, and opens it. */
  async create(
    { name, perm, mode }: CreateFile,
    { signal }: RequestContext,
  ): Promise<CreatedFile> {
    const fid = await this.clone(signal);
    const open = await this.far.create(fid, { name, perm, mode }, signal);
    if (isDirectory(open.qid)) {
      this.far.drop(fid);
      throw botch();
    }
    return RemoteNode.created(this.far, { ...open, mode }, { dir: this, name });
  }

  /** Makes a directory. The first open uses the open fid of the Rcreate. */
  async mkdir(
    { name, perm }: MakeDir,
    { signal }: RequestContext,
  ): Promise<TreeDir> {
    const fid = await this.clone(signal);
    const file = { name, perm, mode: OREAD };
    const open = await this.far.create(fid, file, signal);
    if (!isDirectory(open.qid)) {
      this.far.drop(fid);
      throw botch();
    }
    const made = new RemoteDir(this.far, open.qid, undefined, {
      dir: this,
      name,
    });
    made.#ready.push(open);
    made.#isMade = true;
    made.seek();
    return made;
  }

  /**
   * Removes a file with a new fid, because a Tremove clunks its fid, even if
   * the Tremove fails.
   */
  async remove(
    _name: string,
    file: TreeFile,
    { signal }: RequestContext,
  ): Promise<void> {
    const fid = await remoteOf(file).clone(signal);
    await this.far.remove(fid, signal);
  }

  /**
   * Gives a member another name. 9P2000 cannot move a file to another
   * directory.
   */
  async rename(
    { file, newDir, newName }: Rename,
    { signal }: RequestContext,
  ): Promise<void> {
    const isHere = newDir instanceof RemoteDir && newDir.far === this.far &&
      newDir.qid.path === this.qid.path;
    if (!isHere) throw new NinePError("Invalid cross-device link");
    await remoteOf(file).setName(newName, signal);
  }

  /** Gives back all fids. */
  override release(): void {
    for (const { fid } of this.#ready.splice(0)) this.far.drop(fid);
    super.release();
    this.#root?.close();
  }

  /**
   * Sends a request with a fid. If the root was lost, the tree finds it again.
   */
  protected override async run<T>(
    signal: AbortSignal | undefined,
    work: (fid: number) => Promise<T>,
  ): Promise<T> {
    try {
      return await super.run(signal, work);
    } catch (error) {
      if (this.#root === undefined || !isLost(error)) throw error;
    }
    const found = this.#findRoot(this.#root);
    await (signal === undefined ? found : abortable(found, signal));
    return await super.run(signal, work);
  }

  #findRoot(root: RootHooks): Promise<void> {
    return this.#finding ??= root.find()
      .then(({ far, fid, qid }) => this.replace(far, fid, qid))
      .finally(() => this.#finding = undefined);
  }
}

/** Returns the file as a file of a far server. Throws for any other file. */
function remoteOf(file: TreeFile): RemoteNode {
  if (file instanceof RemoteNode) return file;
  throw new NinePError("Invalid cross-device link");
}

function isDirectory({ type }: Qid): boolean {
  return (type & QTDIR) !== 0;
}
