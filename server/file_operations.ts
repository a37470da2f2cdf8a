// The requests that work with a file's data and attributes: Tread, Twrite,
// Tstat, Twstat, Tcall. One class each, as in fid_operations.ts.

import {
  changesOf,
  DMDIR,
  encodeStat,
  NinePError,
  ORDWR,
  OREAD,
  OWRITE,
  QTAPPEND,
  type Stat as Attributes,
  type Tcall,
  type Tread,
  type Tstat,
  type Twrite,
  type Twstat,
} from "../codec.ts";
import { then } from "../codec/_awaitable.ts";
import type { SessionCore } from "./core.ts";
import { type FidState, isDirectory, type Node } from "./fid.ts";
import { statOf } from "./attributes.ts";
import { DirectoryRead } from "./directory_read.ts";
import type {
  Awaitable,
  CallAnswer,
  CallRequest,
  Handler,
  ReadAnswer,
  ReadRequest,
  StatAnswer,
  WriteAnswer,
  WriteRequest,
  WstatRequest,
} from "./handler.ts";
import { notSupported, Request } from "./request.ts";

/** Access that an implicit open grants. */
const READ = 1;
const WRITE = 2;
const BOTH = READ | WRITE;

/** No data. */
const NOTHING: Uint8Array = new Uint8Array(0);

/** A Tread. See `read(9P)`. */
export class Read<N extends Node> extends Request<N, ReadAnswer> {
  /** Kind of the request. */
  readonly type = "Tread";
  /** Byte to start at, 0 to 2^53 - 1. */
  readonly offset: number;
  /** Most bytes to read: what was asked for, or what fits into a reply. */
  readonly count: number;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tread) {
    super(core, message.tag, core.fid(message.fid), "reading");
    this.offset = Number(message.offset);
    this.count = Math.min(message.count, core.msize - 11);
  }

  override get replyMax(): number {
    return this.count;
  }

  override get harmless(): boolean {
    return !this.operation.opening;
  }

  check(): void {
    const { fid, offset } = this;
    if (!fid.readable) checkImplicit(this);
    if (isDirectory(fid) && offset !== 0 && offset !== fid.dirOffset) {
      throw new NinePError("bad offset in directory read");
    }
  }

  ask(handler: Handler<N>): Awaitable<ReadAnswer> {
    if (mayUse(this.fid, READ)) return this.#ask(handler);
    return openImplicitly(this, OREAD, handler, () => this.#ask(handler));
  }

  #ask(handler: Handler<N>): Awaitable<ReadAnswer> {
    const { fid } = this;
    if (isDirectory(fid)) return this.#readDir(handler);
    // No file of ours is longer than a number can say. In the exchange of an
    // authentication an offset says nothing.
    const beyond = !Number.isSafeInteger(this.offset) && !fid.auth;
    if (handler.read === undefined || beyond) {
      return { data: NOTHING };
    }
    return then(
      handler.read(fid, this.data, this),
      (data) => ({ data }),
    );
  }

  override get data(): ReadRequest {
    return { offset: this.offset, count: this.count };
  }

  #readDir(handler: Handler<N>): Awaitable<ReadAnswer> {
    const { fid } = this;
    if (handler.readdir === undefined) return { data: NOTHING };
    if (this.offset > 0 && fid.dir) return this.#take(fid.dir);
    return then(handler.readdir(fid, { cookie: 0 }, this), (listing) => {
      // Flushed meanwhile: another read may be going through the directory.
      if (this.operation.settled) return { data: NOTHING };
      this.core.endRead(fid);
      fid.dir = new DirectoryRead(listing);
      return this.#take(fid.dir);
    });
  }

  #take(dir: DirectoryRead): Awaitable<ReadAnswer> {
    const room = { count: this.count, most: this.core.msize - 11 };
    return then(dir.take(room, this), (data) => ({ data }));
  }

  reply({ data }: ReadAnswer): void {
    checkBytes(data);
    this.core.checkRoom(this.operation, data.length);
    if (data.length > this.count) {
      throw new TypeError(
        `a read of ${this.count} bytes was answered with ${data.length}`,
      );
    }
    this.core.put({ type: "Rread", tag: this.tag, data });
  }

  override commit({ data }: ReadAnswer): void {
    const { fid } = this;
    if (!isDirectory(fid)) return;
    fid.dirOffset = this.offset + data.length;
    fid.dir?.commit(data.length, this); // There is none in a loop over requests.
  }
}

/** A request that comes with data: they stand in the read buffer until it makes them its own. */
abstract class Sending<N extends Node, Answer> extends Request<N, Answer> {
  /** Bytes to write or to call with: a view that lives until the request is answered. */
  bytes: Uint8Array;
  #isOwn = false;

  constructor(core: SessionCore<N>, message: Twrite | Tcall) {
    super(core, message.tag, core.fid(message.fid), "beside");
    this.bytes = message.data;
  }

  override get held(): number {
    return this.#isOwn ? 0 : this.bytes.length;
  }

  // What waits twice, for its turn and then for its fid, is copied once.
  override own(): void {
    if (this.held > 0) this.bytes = this.bytes.slice();
    this.#isOwn = true;
  }
}

/** A Twrite. See `read(9P)`. */
export class Write<N extends Node> extends Sending<N, WriteAnswer> {
  /** Kind of the request. */
  readonly type = "Twrite";
  /**
   * Byte to start at, 0 to 2^53 - 1. It may be larger for an append-only file,
   * or for a fid that appends: there it means nothing.
   */
  readonly offset: number;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Twrite) {
    super(core, message);
    this.offset = Number(message.offset);
  }

  check(): void {
    const { fid } = this;
    if (isDirectory(fid)) throw new NinePError("bad use of fid");
    if (!fid.writable) checkImplicit(this);
    const { length } = this.bytes;
    // Where data go to the end, or into a dialogue, the offset says nothing.
    const isPlaced = !fid.auth && !this.#appends;
    if (isPlaced && length > 0 && !Number.isSafeInteger(this.offset + length)) {
      throw new NinePError("file too big");
    }
  }

  override revert(): void {
    this.fid.writeFailed = true;
  }

  ask(handler: Handler<N>): Awaitable<WriteAnswer> {
    if (mayUse(this.fid, WRITE)) return this.#ask(handler);
    return openImplicitly(this, OWRITE, handler, () => this.#ask(handler));
  }

  #ask(handler: Handler<N>): Awaitable<WriteAnswer> {
    if (handler.write === undefined) throw notSupported();
    return then(
      handler.write(this.fid, this.data, this),
      (count) => count === undefined ? {} : { count },
    );
  }

  override get data(): WriteRequest {
    const { offset, bytes } = this;
    return { offset, data: bytes, append: this.#appends };
  }

  /** Whether the data go to the end of the file. */
  get #appends(): boolean {
    const { fid } = this;
    return fid.appends || (fid.node.qid.type & QTAPPEND) !== 0;
  }

  reply({ count = this.bytes.length }: WriteAnswer): void {
    if (count > this.bytes.length) {
      throw new TypeError(
        `a write of ${this.bytes.length} bytes was answered with ${count}`,
      );
    }
    this.core.put({ type: "Rwrite", tag: this.tag, count });
  }
}

/** A Tstat. See `stat(9P)`. */
export class Stat<N extends Node> extends Request<N, StatAnswer> {
  /** Kind of the request. */
  readonly type = "Tstat";

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tstat) {
    super(core, message.tag, core.fid(message.fid), "beside");
  }

  override get harmless(): boolean {
    return true;
  }

  check(): void {}

  ask(handler: Handler<N>): Awaitable<StatAnswer> {
    if (handler.stat === undefined) throw notSupported();
    return then(handler.stat(this.fid, this), (stat) => ({ stat }));
  }

  reply({ stat }: StatAnswer): void {
    const { fid } = this;
    // The same object tells the same attributes.
    if (fid.told?.stat !== stat) {
      fid.told = { stat, record: encodeStat(statOf(stat)) };
    }
    const { record } = fid.told;
    this.core.checkRoom(this.operation, record.length);
    // A larger one has no room in the frame, or in its count of 16 bits.
    if (record.length > Math.min(this.core.msize - 9, 0xffff)) {
      throw new NinePError("Invalid argument");
    }
    this.core.putRecord(this.tag, record);
  }
}

/** A Twstat. See `stat(9P)`. */
export class Wstat<N extends Node> extends Request<N, void> {
  /** Kind of the request. */
  readonly type = "Twstat";
  /** Attributes to set, without those to leave alone. */
  readonly changes: Partial<Attributes>;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Twstat) {
    // A read may block for as long as its file likes. That is no reason to wait,
    // for a Twstat changes the file and not the fid, as one through another fid
    // of the file does at any time; what a fid reads with stays as it is.
    super(core, message.tag, core.fid(message.fid), "besideReads");
    this.changes = changesOf(message.stat);
  }

  check(): void {
    const { fid, changes, core } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (changes.name !== undefined) core.checkName(changes.name);
    if (
      changes.mode !== undefined &&
      ((changes.mode & DMDIR) !== 0) !== isDirectory(fid)
    ) {
      throw new NinePError("wstat can't convert between files and directories");
    }
    if (changes.length !== undefined) {
      if (isDirectory(fid) && changes.length !== 0n) {
        throw new NinePError("Is a directory");
      }
      if (changes.length > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new NinePError("file too big");
      }
    }
  }

  ask(handler: Handler<N>): Awaitable<void> {
    if (handler.wstat !== undefined) {
      return handler.wstat(this.fid, this.data, this);
    }
    for (const _ in this.changes) throw new NinePError("wstat prohibited");
  }

  override get data(): WstatRequest {
    return { changes: this.changes };
  }

  reply(_: void): void {
    this.core.put({ type: "Rwstat", tag: this.tag });
  }
}

/** A Tcall. */
export class Call<N extends Node> extends Sending<N, CallAnswer> {
  /** Kind of the request. */
  readonly type = "Tcall";
  /** Arguments: JSON, unless the function has another loader. */
  readonly text: string;

  /** Made by a session. */
  constructor(core: SessionCore<N>, message: Tcall) {
    super(core, message);
    this.text = message.text;
  }

  override get replyMax(): number {
    return this.core.msize - 15;
  }

  override get harmless(): boolean {
    return !this.operation.opening;
  }

  check(): void {
    const { fid } = this;
    if (fid.auth) throw new NinePError("bad use of fid");
    if (!fid.node.implicitOpen) return; // No function: no access to check.
    if (fid.open && !(fid.readable && fid.writable)) {
      throw new NinePError("bad use of fid");
    }
  }

  ask(handler: Handler<N>): Awaitable<CallAnswer> {
    if (handler.call === undefined) return { data: undefined };
    if (!this.fid.node.implicitOpen) return this.#ask(handler);
    if (mayUse(this.fid, BOTH)) return this.#ask(handler);
    return openImplicitly(this, ORDWR, handler, () => this.#ask(handler));
  }

  #ask(handler: Handler<N>): Awaitable<CallAnswer> {
    if (handler.call === undefined) return { data: undefined };
    return then(
      handler.call(this.fid, this.data, this),
      (data) => ({ data }),
    );
  }

  override get data(): CallRequest {
    return { text: this.text, data: this.bytes };
  }

  reply({ data }: CallAnswer): void {
    const { tag, core } = this;
    if (data === undefined) {
      this.core.put({
        type: "Rcall",
        tag,
        err: 255,
        text: "",
        data: NOTHING,
      });
      return;
    }
    checkBytes(data);
    core.checkRoom(this.operation, data.length);
    if (data.length > core.msize - 15) {
      throw new NinePError("i/o count too large");
    }
    this.core.put({ type: "Rcall", tag, err: 0, text: "", data });
  }
}

/** Throws unless a fid that is not open in the right mode may be used as if it were. */
function checkImplicit<N extends Node>(request: Read<N> | Write<N>): void {
  const { fid, allowsImplicit } = request;
  if (fid.open || fid.auth || !(allowsImplicit || fid.node.implicitOpen)) {
    throw new NinePError("bad use of fid");
  }
}

/** Whether a fid is open, or was opened implicitly for an access. */
function mayUse<N extends Node>(fid: FidState<N>, access: number): boolean {
  return fid.open || (fid.implicit & access) === access;
}

/** Has a handler check an access to a fid that is not open, once, and goes on. */
function openImplicitly<N extends Node, Answer>(
  request: Request<N>,
  mode: number,
  handler: Handler<N>,
  go: () => Awaitable<Answer>,
): Awaitable<Answer> {
  const { fid, operation } = request;
  const access = mode === ORDWR ? BOTH : mode === OREAD ? READ : WRITE;
  const opened = handler.open(fid, { mode, implicit: true }, request);
  if (!(opened instanceof Promise)) {
    fid.implicit |= access;
    return go();
  }
  operation.startOpening();
  return opened.then(() => {
    fid.implicit |= access;
    operation.endOpening();
    operation.throwIfFlushed();
    try {
      return go();
    } finally {
      operation.wakeOthers(); // Now, for requests of one fid are asked in their order.
    }
  }, (error) => {
    operation.endOpening();
    throw error;
  });
}

/** A program without types may answer with anything; the writer would stumble. */
function checkBytes(data: Uint8Array): void {
  if (!(data instanceof Uint8Array)) {
    throw new TypeError(`a request for bytes was answered with ${typeof data}`);
  }
}
