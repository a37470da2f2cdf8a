// The files and directories of a union. union.ts says how they behave.

import { NinePError, ORDWR, OTRUNC, OWRITE, type Qid } from "../../codec.ts";
import { then } from "../../codec/_awaitable.ts";
import { utf8Length } from "../../codec/wire.ts";
import type {
  AttributeChanges,
  Attributes,
  Awaitable,
  DirEntry,
  Listing,
  ListRequest,
  OpenRequest,
  RequestContext,
} from "../../server.ts";
import type {
  Capacity,
  CreatedFile,
  CreateFile,
  MakeDir,
  MakeSymlink,
  OpenFile,
  Place,
  Rename,
  Rules,
  TreeDir,
  TreeFile,
} from "../tree.ts";
import { copyFile, discard, NoContentError } from "./copy.ts";
import { LowerOpen } from "./lower_open.ts";
import type { Layers } from "./layers.ts";
import {
  checkName,
  checkReplaced,
  crossError,
  hasMark,
  isCovered,
  isSame,
  marksOf,
  MAX_NAME,
  OWN,
  type Part,
  releaseParts,
  removedError,
} from "./parts.ts";
import { isDir, notSupported, WrappedOpen } from "./wrap.ts";

/** Maximum number of marks that are removed at a time. */
const MAX_MARKS = 1000;

/**
 * Maximum number of tries of a lookup. A further try is needed when the
 * directory has changed during the lookup.
 */
const MAX_TRIES = 16;

/** A listing of a directory in progress. */
interface ActiveListing {
  /**
   * The members that were copied to the upper tree after the listing began. The
   * value is true for a member that was already listed.
   */
  readonly copied: Map<string, boolean>;
}

/**
 * A file of a union. While any fid stands for a file, exactly one object
 * represents the file.
 */
export class UnionFile implements TreeFile {
  readonly layers: Layers;
  /** The directory of the file; undefined for a root. */
  parent: UnionDir | undefined;
  name: string;
  /**
   * The file in each tree that has it, the upper tree first. All parts are
   * released with this file.
   */
  readonly parts: Part[];
  /** Number of references. */
  uses = 1;
  isRemoved = false;
  /**
   * True while a request removes or renames the file. No copy begins during
   * this time.
   */
  isLeaving = false;
  /** The part that gets the requests. */
  #top: Part;
  #copying:
    | { done: Promise<OpenFile | void>; signal: AbortSignal }
    | undefined;

  constructor(
    layers: Layers,
    parts: [Part, ...Part[]],
    parent: UnionDir | undefined,
    name: string,
  ) {
    this.layers = layers;
    this.parts = parts;
    this.#top = parts[0];
    this.parent = parent;
    this.name = name;
  }

  /** The file of a tree that gets the requests. */
  get file(): TreeFile {
    return this.#top.file;
  }

  /** True when this is a file of the upper tree. */
  get isUpper(): boolean {
    return this.#top.layer === 0;
  }

  get qid(): Qid {
    return this.layers.qidOf(this.#top.layer, this.file.qid);
  }

  // A tree without access checks, such as RemoteFs, sets implicitOpen for all
  // plain files.
  get implicitOpen(): boolean {
    const { file, rules } = this.#top;
    return file.implicitOpen === true && rules.access !== false;
  }

  get place(): Place | null | undefined {
    if (this.isRemoved) return null;
    const { parent: dir, name } = this;
    // The name of a file that replaced another one at an open (as for a clone
    // file) is not known.
    return dir === undefined || name === "" ? undefined : { dir, name };
  }

  stat(context: RequestContext): Awaitable<Attributes> {
    const { layer, file } = this.#top;
    return then(
      file.stat(context),
      (stat) => this.layers.attributesOf(layer, stat),
    );
  }

  async wstat(
    changes: AttributeChanges,
    context: RequestContext,
  ): Promise<void> {
    await this.copyUp(context);
    const { file } = this;
    if (file.wstat === undefined) throw new NinePError("wstat prohibited");
    await file.wstat(changes, context);
  }

  checkWstat(
    changes: AttributeChanges,
    context: RequestContext,
  ): Awaitable<void> {
    return this.isUpper ? this.file.checkWstat?.(changes, context) : undefined;
  }

  async open(
    request: OpenRequest,
    context: RequestContext,
  ): Promise<OpenFile | void> {
    const { mode } = request;
    const access = mode & 3;
    const isTruncated = (mode & OTRUNC) !== 0;
    // The content of a function file or control file cannot be copied.
    const isCopied = !this.implicitOpen &&
      (isTruncated || access === OWRITE || access === ORDWR);
    if (isCopied) {
      try {
        const truncating = isTruncated ? request : undefined;
        const open = await this.copyUp(context, truncating);
        if (open !== undefined) return open;
      } catch (error) {
        // A clone file is opened in the lower tree.
        if (!(error instanceof NoContentError)) throw error;
      }
    }
    const { isUpper } = this;
    const open = await this.file.open?.(request, context);
    if (open?.file !== undefined) return new WrappedOpen(open, this);
    if (open === undefined || isUpper || this.implicitOpen) return open;
    return new LowerOpen(this, request, open);
  }

  /**
   * Returns the union's file for another file that an open of this file has
   * returned, as for a clone file.
   */
  fileOf(file: TreeFile): TreeFile {
    const part = { ...this.#top, file };
    const Kind = isDir(file) ? UnionDir : UnionFile;
    return new Kind(this.layers, [part], this.parent, "");
  }

  /** Returns the context that the trees get. */
  contextOf(context: RequestContext): RequestContext {
    return context;
  }

  readlink(context: RequestContext): Awaitable<string> {
    const { file } = this;
    if (file.readlink === undefined) throw new NinePError("Invalid argument");
    return file.readlink(context);
  }

  sync(context: RequestContext): Awaitable<void> {
    return this.file.sync?.(context);
  }

  statfs(context: RequestContext): Awaitable<Capacity> {
    const { file } = this;
    if (file.statfs === undefined) {
      throw new NinePError("Function not implemented");
    }
    return file.statfs(context);
  }

  async release(): Promise<void> {
    if (--this.uses > 0) return;
    this.parent?.forget(this);
    this.layers.forget(this);
    await releaseParts(this.parts);
  }

  /** Returns true when this is one of the given files. */
  has(parts: readonly Part[]): boolean {
    return parts.some((part) => this.parts.some((own) => isSame(own, part)));
  }

  /** Waits for the end of a copy in progress. */
  async settled(): Promise<void> {
    while (this.#copying !== undefined) {
      await this.#copying.done.catch(() => {});
    }
  }

  /**
   * Copies the file to the upper tree, unless the upper tree has it.
   *
   * @param truncating An open that truncates the file, so that no content is
   *   copied.
   * @returns The open file of `truncating`, if this call has made the copy.
   */
  async copyUp(
    context: RequestContext,
    truncating?: OpenRequest,
  ): Promise<OpenFile | void> {
    while (!this.isUpper) {
      if (this.isRemoved || this.isLeaving) throw removedError();
      const copying = this.#copying;
      if (copying === undefined) {
        const done = this.#copyUp(context, truncating).finally(() => {
          this.#copying = undefined;
        });
        this.#copying = { done, signal: context.signal };
        return await done;
      }
      try {
        await copying.done;
      } catch (error) {
        // If the client of that copy has given up, this request makes the copy.
        if (!copying.signal.aborted) throw error;
      }
    }
  }

  async #copyUp(
    context: RequestContext,
    truncating: OpenRequest | undefined,
  ): Promise<OpenFile | void> {
    const { parent, layers, file } = this;
    if (parent === undefined || this.name === "") throw notSupported();
    const dir = await parent.upper(context);
    if (dir.rename === undefined) throw notSupported();
    const temporary = layers.temporaryName(OWN);
    const made = await copyFile({
      file,
      dir,
      name: temporary,
      hasContent: truncating === undefined,
      isOwnerFree: layers.rules.access === false,
    }, context);
    const part = { layer: 0, file: made, rules: layers.rules };
    let open: OpenFile | void = undefined;
    try {
      open = truncating && await made.open?.(truncating, context);
      if (this.isRemoved || this.isLeaving || this.parent !== parent) {
        throw removedError();
      }
      // Other requests may find the copy before rename() returns.
      layers.keep(made.qid, this.qid);
      this.parts.unshift(part);
      parent.copying(this.name);
      await dir.rename({
        name: temporary,
        file: made,
        newDir: dir,
        newName: this.name,
        replace: false,
      }, context);
    } catch (error) {
      const index = this.parts.indexOf(part);
      if (index >= 0) this.parts.splice(index, 1);
      layers.drop(made.qid);
      await open?.close?.({ lost: false, writeFailed: true });
      await discard(dir, temporary, made, context);
      throw error;
    }
    this.#top = part;
    parent.copied();
    return open;
  }
}

/** A directory of a union. */
export class UnionDir extends UnionFile implements TreeDir {
  /** The members that fids stand for, by name. */
  readonly #members: Map<string, UnionFile> = new Map();
  readonly #listings: Set<ActiveListing> = new Set();
  /** Counts changes of names. A lookup tries again after a change. */
  #changes = 0;
  /** True when the directories of the lower trees are hidden. */
  #isOpaque = false;

  /** The directories that show their members, the upper one first. */
  get #dirs(): { layer: number; dir: TreeDir; rules: Rules }[] {
    return this.parts.flatMap(({ layer, file, rules }) =>
      isDir(file) && !(this.#isOpaque && layer > 0)
        ? [{ layer, dir: file, rules }]
        : []
    );
  }

  /** Returns the directory in the upper tree. Makes it if it does not exist. */
  async upper(context: RequestContext): Promise<TreeDir> {
    await this.copyUp(context);
    const { file } = this;
    if (this.isRemoved) throw removedError();
    if (!isDir(file)) throw new NinePError("not a directory");
    return file;
  }

  /**
   * Removes a member from the table of members, because no fid stands for the
   * member, or because the member has lost its name.
   */
  forget(node: UnionFile): void {
    if (this.#members.get(node.name) === node) this.#members.delete(node.name);
  }

  /** Notes that a copy of a member is about to appear in the upper tree. */
  copying(name: string): void {
    for (const { copied } of this.#listings) copied.set(name, false);
  }

  /** Notes that a copy of a member has appeared in the upper tree. */
  copied(): void {
    this.#changes++;
  }

  async lookup(
    name: string,
    context: RequestContext,
  ): Promise<TreeFile | undefined> {
    if (name.startsWith(OWN)) return undefined;
    for (let tries = 1;; tries++) {
      const changes = this.#changes;
      const found = await this.#find(name, context);
      if (changes !== this.#changes && tries < MAX_TRIES) {
        await releaseParts(found);
        continue;
      }
      const [first, ...rest] = found;
      return first && this.#nodeOf(name, [first, ...rest]);
    }
  }

  /** Returns the object for a member. Takes over the parts. */
  #nodeOf(name: string, found: [Part, ...Part[]]): Awaitable<UnionFile> {
    const known = this.#members.get(name);
    if (known?.has(found)) {
      known.uses++;
      return then(releaseParts(found), () => known);
    }
    const Kind = isDir(found[0].file) ? UnionDir : UnionFile;
    const node = new Kind(this.layers, found, this, name);
    this.#members.set(name, node);
    return node;
  }

  /** Returns the object for a member that was just made in the upper tree. */
  #made(name: string, file: TreeFile): Awaitable<UnionFile> {
    this.#changes++;
    const { rules } = this.layers;
    return this.#nodeOf(name, [{ layer: 0, file, rules }]);
  }

  /**
   * Finds the file of a name in each tree. Only a directory can have more than
   * one part.
   */
  async #find(
    name: string,
    context: RequestContext,
    dirs = this.#dirs,
  ): Promise<Part[]> {
    const found: Part[] = [];
    try {
      for (const { layer, dir, rules } of dirs) {
        const file = await dir.lookup(name, context);
        if (file !== undefined) {
          const isMerged = isDir(file);
          if (found.length > 0 && !isMerged) {
            await file.release?.();
            break;
          }
          found.push({ layer, file, rules: file.rules ?? rules });
          if (!isMerged) break;
        }
        if (await hasMark(dir, name, context)) break;
      }
    } catch (error) {
      await releaseParts(found);
      throw error;
    }
    return found;
  }

  /** Returns true when one of the directories shows a name. */
  async #hasName(
    name: string,
    context: RequestContext,
    dirs = this.#dirs,
  ): Promise<boolean> {
    const found = await this.#find(name, context, dirs);
    await releaseParts(found);
    return found.length > 0;
  }

  async *list(
    { cookie }: ListRequest,
    context: RequestContext,
  ): AsyncGenerator<DirEntry> {
    let left = cookie; // Entries without cookies are counted by the library.
    for await (const stat of this.#stats(context)) {
      if (left-- <= 0) yield { stat };
    }
  }

  /** Lists the attributes of all members, from the upper tree downwards. */
  async *#stats(context: RequestContext): AsyncGenerator<Attributes> {
    const active: ActiveListing = { copied: new Map() };
    const { copied } = active;
    this.#listings.add(active);
    try {
      const dirs = this.#dirs;
      for (const [index, { layer, dir }] of dirs.entries()) {
        const listing: Listing = await dir.list?.({ cookie: 0 }, context) ?? [];
        for await (const { stat } of listing) {
          const { name } = stat;
          if (name.startsWith(OWN)) continue;
          if (index === 0) {
            if (copied.has(name)) copied.set(name, true);
          } else {
            const above = dirs.slice(0, index);
            const covered = await isCovered(above, name, context);
            // The marks of a directory that is removed may be gone already.
            if (this.#isOpaque) return;
            if (copied.get(name) === false) {
              // The copy appeared after the upper tree was listed.
              copied.set(name, true);
              const now = await this.#statOf(name, context);
              if (now !== undefined) yield now;
              continue;
            }
            if (covered) continue;
          }
          yield this.layers.attributesOf(layer, stat);
        }
      }
    } finally {
      this.#listings.delete(active);
    }
  }

  async #statOf(
    name: string,
    context: RequestContext,
  ): Promise<Attributes | undefined> {
    const file = await this.lookup(name, context);
    try {
      return await file?.stat(context);
    } finally {
      await file?.release?.();
    }
  }

  /** Returns the upper directory for a new name. Throws if the name exists. */
  async #forNew(name: string, context: RequestContext): Promise<TreeDir> {
    checkName(name);
    if (await this.#hasName(name, context)) {
      throw new NinePError("file already exists");
    }
    return await this.upper(context);
  }

  async create(
    request: CreateFile,
    context: RequestContext,
  ): Promise<CreatedFile> {
    const dir = await this.#forNew(request.name, context);
    if (dir.create === undefined) throw notSupported();
    const { file, open } = await dir.create(request, context);
    return { file: await this.#made(request.name, file), open };
  }

  async mkdir(request: MakeDir, context: RequestContext): Promise<TreeDir> {
    const dir = await this.#forNew(request.name, context);
    if (dir.mkdir === undefined) throw notSupported();
    const made = await dir.mkdir(request, context);
    const node = await this.#made(request.name, made);
    if (node instanceof UnionDir) return node;
    throw new NinePError("i/o error"); // The tree has made a plain file.
  }

  async symlink(
    request: MakeSymlink,
    context: RequestContext,
  ): Promise<TreeFile> {
    const dir = await this.#forNew(request.name, context);
    if (dir.symlink === undefined) throw notSupported();
    const made = await dir.symlink(request, context);
    return await this.#made(request.name, made);
  }

  async link(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Promise<void> {
    const node = this.#own(file);
    await node.copyUp(context);
    const dir = await this.#forNew(name, context);
    if (dir.link === undefined) throw notSupported();
    await dir.link(name, node.file, context);
    this.#changes++;
  }

  async remove(
    name: string,
    file: TreeFile,
    context: RequestContext,
  ): Promise<void> {
    const node = this.#member(name, file);
    await this.#leave(node, async () => {
      if (node instanceof UnionDir) await node.#checkEmpty(context);
      await this.#hide(name, context);
      if (node.isUpper) await this.#removeUpper(node, context);
    });
    this.#gone(node);
  }

  async rename(request: Rename, context: RequestContext): Promise<void> {
    const { name, newDir, newName, replace } = request;
    const node = this.#member(name, request.file);
    const to = this.#own(newDir);
    if (!(to instanceof UnionDir)) throw new NinePError("not a directory");
    if (to === this && newName === name) return;
    checkName(newName);
    for (let at: UnionDir | undefined = to; at !== undefined; at = at.parent) {
      if (at === node) throw new NinePError("Invalid argument");
    }
    if (node instanceof UnionDir && node.#dirs.some(({ layer }) => layer > 0)) {
      throw crossError(); // All files below it would have to be copied.
    }
    await node.copyUp(context);
    const [fromUpper, toUpper] = [
      await this.upper(context),
      await to.upper(context),
    ];
    if (fromUpper.rename === undefined) {
      throw new NinePError("wstat prohibited");
    }
    await this.#leave(node, async () => {
      this.#member(name, node); // Another client may have moved the file.
      const taken = await to.lookup(newName, context);
      try {
        if (taken !== undefined) {
          if (!replace) throw new NinePError("file already exists");
          await checkReplaced(node, taken, context);
        }
        await this.#hide(name, context);
        // A renamed directory must not show files that the lower trees have at
        // its new name.
        if (node instanceof UnionDir) await to.#hide(newName, context);
        if (taken instanceof UnionDir) await taken.#clear(context);
        await fromUpper.rename?.(
          { ...request, file: node.file, newDir: toUpper },
          context,
        );
        if (taken instanceof UnionFile) {
          if (taken.isUpper) this.layers.drop(taken.file.qid);
          to.#gone(taken);
        }
      } finally {
        await taken?.release?.();
      }
    });
    this.forget(node);
    this.#changes++;
    node.parent = to;
    node.name = newName;
    to.#members.set(newName, node);
    to.#changes++;
  }

  /**
   * Runs the removal or rename of a member. Refuses a second removal or rename
   * of the member during this time.
   */
  async #leave(node: UnionFile, take: () => Promise<void>): Promise<void> {
    if (node.isLeaving) throw new NinePError("file does not exist");
    node.isLeaving = true;
    try {
      await node.settled();
      await take();
    } finally {
      node.isLeaving = false;
    }
  }

  /** Notes that a member was removed. */
  #gone(node: UnionFile): void {
    this.forget(node);
    node.isRemoved = true;
    this.#changes++;
  }

  async #removeUpper(node: UnionFile, context: RequestContext): Promise<void> {
    const dir = await this.upper(context);
    if (dir.remove === undefined) throw notSupported();
    if (node instanceof UnionDir) await node.#clear(context);
    const { qid } = node.file;
    await dir.remove(node.name, node.file, context);
    this.layers.drop(qid);
  }

  /**
   * Makes the marker file that hides a name of the lower trees, if a lower tree
   * has the name.
   */
  async #hide(name: string, context: RequestContext): Promise<void> {
    const below = this.#dirs.filter(({ layer }) => layer > 0);
    if (below.length === 0 || !await this.#hasName(name, context, below)) {
      return;
    }
    const dir = await this.upper(context);
    const mark = OWN + name;
    if (utf8Length(mark) > MAX_NAME) throw new NinePError("File name too long");
    if (await hasMark(dir, name, context)) return;
    if (dir.create === undefined) throw notSupported();
    const request = { name: mark, perm: 0, mode: 0 };
    const { file, open } = await dir.create(request, context);
    await open?.close?.({ lost: false, writeFailed: false });
    await file.release?.();
  }

  async #checkEmpty(context: RequestContext): Promise<void> {
    for await (const _ of this.#stats(context)) {
      throw new NinePError("directory is not empty");
    }
  }

  /** Removes the marks from an empty directory that is about to be removed. */
  async #clear(context: RequestContext): Promise<void> {
    const { file } = this;
    if (!this.isUpper || !isDir(file)) return;
    // The mark beside the directory hides the files below it. Other requests
    // may still use the lower directories, so they are released with this one.
    this.#isOpaque = true;
    this.#changes++;
    let marks: string[];
    do {
      marks = await marksOf(file, MAX_MARKS, context);
      for (const name of marks) {
        const mark = await file.lookup(name, context);
        if (mark === undefined) continue;
        try {
          await file.remove?.(name, mark, context);
        } finally {
          await mark.release?.();
        }
      }
    } while (marks.length === MAX_MARKS && file.remove !== undefined);
  }

  /** Returns the file if it belongs to this union. Throws otherwise. */
  #own(file: TreeFile): UnionFile {
    if (file instanceof UnionFile && file.layers === this.layers) return file;
    throw crossError();
  }

  /** Returns the file if it has the name here. Throws otherwise. */
  #member(name: string, file: TreeFile): UnionFile {
    const node = this.#own(file);
    const isHere = node.parent === this && node.name === name;
    if (isHere && !node.isRemoved) return node;
    throw new NinePError("file does not exist");
  }
}
