// The state of one connection of a server: version, fids, flush. It takes
// frames apart, makes operations of them, and sends what they answer.

import {
  decode,
  type Dialect,
  dialect9P2000,
  IOHDRSZ,
  isName,
  type Message,
  MSIZE_MIN,
  NinePError,
  ProtocolError,
  type Rmessage,
  type Tflush,
  type Tversion,
} from "../codec.ts";
import { getMessage, putMessage, putRecord } from "../codec/layout.ts";
import { systemError } from "../codec/system_error.ts";
import { type Reader, utf8Length, type Writer } from "../codec/wire.ts";
import { type Channel, openChannel } from "../transport/channel.ts";
import { Outbox } from "../transport/outbox.ts";
import { RefGroup } from "../transport/ref_group.ts";
import type { Connection } from "../transport.ts";
import { Admission } from "./admission.ts";
import { Budget } from "./budget.ts";
import { Condition } from "./condition.ts";
import { errorReply, isForClient } from "./ename.ts";
import { contextOf, type ErrorSource } from "./error_log.ts";
import type { FidState, Node } from "./fid.ts";
import {
  Attach,
  Auth,
  Clunk,
  Create,
  Open,
  Remove,
  Walk,
} from "./fid_operations.ts";
import { Call, Read, Stat, Write, Wstat } from "./file_operations.ts";
import { FidTable } from "./fid_table.ts";
import type { Awaitable } from "./handler.ts";
import { Input } from "./input.ts";
import type { Operation } from "./operation.ts";
import {
  type SessionOptions,
  type SessionSettings,
  settingsOf,
  type TraceContext,
  type TracedFrame,
  type TracedMessage,
} from "./options.ts";
import { EndingContext, type Request } from "./request.ts";
import type { Responder } from "./responder.ts";
import { TimeSlice } from "./time_slice.ts";
import { agree } from "./version.ts";
import { Watchdog } from "./watchdog.ts";

/** Bytes of replies that may wait while requests are processed. */
const OUTPUT_MAX = 512 * 1024;
/**
 * Number of requests of one chunk that are answered with one write. When a
 * client sends more requests than these at a time, the client and the server
 * would wait for each other in turn; so the server sends the replies to such a
 * client in parts. On two CPUs that is 30 to 50 % more requests a second with
 * 32 in flight; on one CPU it is 30 % less, because each write costs both.
 */
const EARLY = 12;
/** Milliseconds that a client has to take the last replies. */
const GOODBYE_MS = 1000;
/**
 * Most Tflushes that may wait at a time: one for each tag. A client that sends
 * more uses one tag for several requests, which the protocol forbids.
 */
const FLUSHES_MAX = 0xffff;
/** Times `waitingAfter` without an answer after which long requests are refused. */
const PATIENCE = 20;
/** Longest delay of a timer, in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1;
/** The error for requests that no handler can answer. */
const NOT_OFFERED = "Operation not supported";

/** A traced message without the fields that all of them have. */
type Untold<Traced extends TraceContext> = Omit<Traced, keyof TraceContext>;

/** One connection of a server. */
export class SessionCore<N extends Node> {
  /** Connection to the client. */
  readonly connection: Connection;
  /** Options with their defaults. */
  readonly options: SessionSettings;
  /** True when a trace callback is set. */
  readonly tracing: boolean;
  /** Largest message of the session. */
  msize: number;
  /** Version of the session; empty before a Tversion. */
  version = "";
  /** Fids by number, those included whose walk or attach is under way. */
  readonly fids: ReadonlyMap<number, FidState<N>>;
  /** Decides which operations may begin. */
  readonly admission: Admission<N>;
  /** The memory budget of the connection, for what files hold. */
  readonly memory: Budget;
  readonly #table: FidTable<N>;

  readonly #responder: Responder<N>;
  readonly #channel: Channel;
  readonly #outbox: Outbox;
  readonly #input: Input;
  readonly #watchdog: Watchdog;
  /** The group of the timers. */
  readonly #refs: RefGroup;
  /** Waits for the ends of operations, and for the end of the session. */
  readonly #condition: Condition;
  #dialect: Dialect = dialect9P2000;
  /** Number of operations given up and of releases that have not ended. */
  #loose = 0;
  /** Tags of Tflushes that wait for operations. */
  #flushTags: Set<number> | undefined;
  /** Number of those Tflushes; a client may use a tag twice. */
  #flushes = 0;
  #ended = false;
  #exiting = false;
  /** Settles when the handler has accepted or refused the connection; true when it has accepted. */
  #accepted: Awaitable<boolean> = false;
  #stopping = false;
  #patient = false;
  /** The client has ended its half of the connection. */
  #gone = false;
  /** A Tversion that waits until the session before it has ended. */
  #restart: Tversion | undefined;
  #onEnd: (() => void) | undefined;

  constructor(
    connection: Connection,
    options: SessionOptions,
    responder: Responder<N>,
    refs: RefGroup = new RefGroup(),
  ) {
    this.options = settingsOf(options);
    const { msize } = this.options;
    this.msize = msize;
    const memory = options.memory ?? new Budget(Infinity);
    this.#table = new FidTable(this.options.maxFids, memory);
    this.fids = this.#table.byNumber;
    this.memory = new Budget(this.options.maxHeldBytes, memory, msize);
    this.tracing = this.options.onMessage !== undefined;
    this.connection = connection;
    this.#responder = responder;
    this.#refs = refs;
    this.#condition = new Condition(refs, this.options.closeTimeout);
    this.#channel = openChannel(connection);
    this.#input = new Input(this.#channel, msize);
    this.#watchdog = new Watchdog(this.options, refs, {
      isBusy: () => this.admission.pending.size > 0,
      waiting: () => this.#outbox.untaken,
      taken: () => this.#outbox.progress,
      close: () => this.close(),
    });
    this.#outbox = new Outbox(
      this.#channel,
      (error) => this.#lost(error),
      () => this.admission.goOn(),
      (bytes) => {
        memory.charge(bytes);
        if (bytes > 0) this.#watchdog.writing();
      },
    );
    this.admission = new Admission({
      settings: this.options,
      input: this.#input,
      outbox: this.#outbox,
      memory,
      refs,
      onRoom: () => this.#condition.wake(),
      release: (fid) => this.#release(fid),
    });
  }

  /** Where replies are written; sent() sends them. */
  get writer(): Writer {
    return this.#outbox.writer;
  }

  /** Processes requests until the connection ends, and all is released. */
  async run(): Promise<void> {
    this.#watchdog.start();
    const pump = this.#pump().catch((error) => this.#fail(error));
    // The session can end while the pump waits for the client's next bytes.
    await new Promise<void>((resolve) => {
      this.#onEnd = resolve;
      pump.then(resolve);
    });
    if (this.#stopping) {
      // A function of this server may have stopped the server, and answers in
      // this turn of the event loop.
      await new Promise((resolve) => setTimeout(resolve));
      await this.#condition.within(() =>
        !this.#patient || this.#gone || this.admission.pending.size === 0
      );
    }
    this.#reset();
    await this.#sayGoodbye(pump);
    this.close();
    this.#outbox.drop();
    await pump;
    // A handler that never ends delays the end of its connection, but not the
    // end of the server.
    await this.#untilReleased();
    if (this.#accepted === true) {
      this.#disconnect();
      await this.#untilReleased();
    } else if (this.#accepted !== false) {
      // A connect() that ends this late has made what disconnect() must end.
      void this.#accepted.then((accepted) => accepted && this.#disconnect());
    }
  }

  /** Waits until nothing is under way, when the server stops for a bounded time. */
  async #untilReleased(): Promise<void> {
    await this.#condition.until(() => this.#patient || this.#loose === 0);
    await this.#condition.within(() => this.#loose === 0);
  }

  #disconnect(): void {
    this.#attempt(() => this.#responder.disconnect(this.connection));
  }

  /**
   * Asks whether to serve the connection. The time until the first session
   * bounds the answer; the end of the client or of the session ends the wait.
   */
  async #connect(): Promise<void> {
    const refused = (error: unknown): boolean => {
      this.reportFailure(error, {});
      this.close();
      return false;
    };
    const settled = (accepted: boolean): boolean => {
      this.#accepted = accepted;
      this.#condition.wake();
      return accepted;
    };
    try {
      const done = this.#responder.connect(this.connection);
      if (done instanceof Promise) {
        this.#accepted = done.then(() => true, refused).then(settled);
        const isOver = () => typeof this.#accepted === "boolean";
        const over = this.#condition.until(() => this.#ended || isOver());
        return await this.#watch(over);
      }
      this.#accepted = true;
    } catch (error) {
      refused(error);
    }
  }

  async #pump(): Promise<void> {
    if (!this.#ended) await this.#connect();
    const outbox = this.#outbox;
    const input = this.#input;
    const { splitter } = input;
    const slice = new TimeSlice();
    let processed = 0;
    while (!this.#ended) {
      const chunk = await input.read();
      if (chunk === null) {
        this.#gone = true;
        this.#condition.wake();
        break;
      }
      if (slice.begin()) await slice.next();
      input.push(chunk);
      const isWaited = processed > EARLY;
      processed = 0;
      outbox.hold();
      while (!this.#ended && splitter.advance()) {
        const { at, end } = splitter.reader;
        this.#receive(splitter.reader);
        if (++processed % EARLY === 0 && isWaited) outbox.flush();
        if (slice.isOver(end - at)) {
          outbox.flush();
          await slice.next();
          outbox.hold();
        }
        if (outbox.size > OUTPUT_MAX) {
          outbox.flush();
          await outbox.drained();
          outbox.hold();
          slice.resume();
        }
        if (this.admission.isFull) {
          await this.#watch(this.#untilRoom());
          outbox.hold();
          slice.resume();
        }
        if (this.#restart !== undefined) {
          await this.#watch(
            this.#condition.within(() => this.#ended || this.#loose === 0),
          );
          outbox.hold();
          slice.resume();
          this.#restarted();
        }
      }
      outbox.flush();
      slice.end();
    }
  }

  /** Waits for room for requests; refuses long ones when none is answered. */
  async #untilRoom(): Promise<void> {
    const { admission } = this;
    const { waitingAfter } = this.options;
    const patience = Math.min(PATIENCE * waitingAfter, TIMEOUT_MAX);
    let { ended } = admission;
    const look = () => {
      // The remaining requests wait for an event, and a Tflush further on in
      // the stream may end that.
      if (ended === admission.ended) admission.refuse();
      ({ ended } = admission);
      timer = this.#refs.after(patience, look);
      this.#condition.wake();
    };
    let timer = this.#refs.after(patience, look);
    await this.#condition.until(() => this.#ended || !admission.isFull);
    this.#refs.cancel(timer);
  }

  /** Runs a wait of the pump; ends the session when the client goes. */
  async #watch(wait: Promise<void>): Promise<void> {
    this.#outbox.flush();
    this.#input.watch((error) => {
      if (error !== undefined) return this.#lost(error);
      this.#gone = true; // The client may still take replies.
      this.#end();
    });
    await wait;
    this.#input.unwatch();
  }

  /** Sends the last replies, for a bounded time. */
  async #sayGoodbye(pump: Promise<void>): Promise<void> {
    const timer = this.#refs.after(GOODBYE_MS, () => this.#channel.close());
    try {
      this.#outbox.flush();
      await this.#outbox.drained();
      if (this.#exiting) {
        // The client could lose the last reply if the socket were closed with
        // unread bytes.
        await this.#channel.closeWrite();
        await pump;
        await this.#input.drain();
      }
    } catch {
      // The client is gone.
    } finally {
      this.#refs.cancel(timer);
    }
  }

  /**
   * Ends the connection when what is answered is sent.
   *
   * @param patient Wait for what is under way, too, but not beyond `closeTimeout`.
   */
  stop(patient: boolean): void {
    this.#stopping = true;
    this.#patient = patient;
    this.#end();
  }

  /** Ends the connection at once; run() releases the fids. */
  close(): void {
    this.#ended = true;
    this.#watchdog.stop();
    this.#channel.close();
    this.#condition.wake();
  }

  /** Takes one frame; an error in it costs only its tag. */
  #receive(reader: Reader): void {
    const start = reader.at;
    const tag = reader.view.getUint16(start + 5, true);
    const code = reader.bytes[start + 4];
    let message: Message;
    try {
      message = getMessage(reader, this.#dialect);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (this.tracing) {
        const frame = reader.bytes.subarray(start, reader.end);
        this.#trace({ direction: "in", frame, error });
      }
      const type = this.#dialect.byCode[code]?.type;
      const ename = type === undefined ? NOT_OFFERED : "protocol botch";
      return this.#refuse(tag, type, ename);
    }
    this.#watchdog.heard();
    if (this.tracing) this.#trace({ direction: "in", message });
    if (message.type === "Tversion") return this.#startSession(message);
    const { type } = message;
    if (this.version === "") return this.#refuse(tag, type, "protocol botch");
    if (message.type === "Tflush") return this.#flush(tag, message.oldtag);
    const { pending } = this.admission;
    if (pending.size > 0 && (pending.has(tag) || this.#flushTags?.has(tag))) {
      return this.#refuse(tag, type, "duplicate tag");
    }
    let request: Request<N>;
    try {
      request = this.#request(message);
    } catch (error) {
      const fid = "fid" in message ? this.fids.get(message.fid) : undefined;
      return this.#sendError(tag, type, error, fid);
    }
    request.operation.size = reader.end - start;
    this.admission.start(request.operation);
  }

  #request(message: Exclude<Message, Tversion | Tflush>): Request<N> {
    switch (message.type) {
      case "Tauth":
        return new Auth(this, message);
      case "Tattach":
        return new Attach(this, message);
      case "Twalk":
        return new Walk(this, message);
      case "Topen":
        return new Open(this, message);
      case "Tcreate":
        return new Create(this, message);
      case "Tread":
        return new Read(this, message);
      case "Twrite":
        return new Write(this, message);
      case "Tclunk":
        return new Clunk(this, message);
      case "Tremove":
        return new Remove(this, message);
      case "Tstat":
        return new Stat(this, message);
      case "Twstat":
        return new Wstat(this, message);
      case "Tcall":
        return new Call(this, message);
      case "Topenfd":
        throw new NinePError(NOT_OFFERED);
      default:
        message satisfies Rmessage; // A new request needs a case.
        throw new NinePError("protocol botch");
    }
  }

  /** Passes on a checked operation. */
  deliver(operation: Operation<N>): void {
    this.#responder.deliver(operation);
  }

  /** Tells the responder that an operation was flushed. */
  flushed(operation: Operation<N>): void {
    try {
      this.#responder.flushed(operation, this.admission.clearing);
    } catch (error) {
      this.report(error, operation.request);
    }
  }

  /** Another fid stands for the node of a fid, because it is a clone. */
  share(fid: FidState<N>, clone: FidState<N>): void {
    clone.node = fid.node;
    if (!this.#responder.releases) return;
    const sharing = fid.sharing ??= { fids: 1 };
    sharing.fids++;
    clone.sharing = sharing;
  }

  /** A fid does not stand for its node any more, because it moves to another one. */
  move(fid: FidState<N>): void {
    this.leave(fid);
    this.endRead(fid);
    this.letGo(fid);
  }

  /** Ends the use of a file that a fid has used without a Topen. */
  leave(fid: FidState<N>): void {
    if (fid.implicit === 0) return;
    fid.implicit = 0;
    this.#attempt(() => this.#responder.leave(fid));
  }

  /** A fid does not stand for its node any more. */
  letGo(fid: FidState<N>): void {
    fid.told = undefined;
    const { sharing } = fid;
    fid.sharing = undefined;
    if (sharing !== undefined && --sharing.fids > 0) return;
    this.releaseNode(fid.node);
  }

  /** Lets go of a node that was given, once. */
  releaseNode(node: N): void {
    if (!this.#responder.releases) return;
    this.#attempt(() => this.#responder.releaseNode(node));
  }

  /** Runs what no client waits for; the end of the session waits for it. */
  #attempt(run: () => Awaitable<void>): void {
    const failed = (error: unknown) => this.report(error);
    try {
      const done = run();
      if (!(done instanceof Promise)) return;
      this.loosen();
      done.catch(failed).then(() => this.tighten());
    } catch (error) {
      failed(error);
    }
  }

  /** Ends a read of a directory. */
  endRead(fid: FidState<N>): void {
    fid.dir?.close((error) => this.report(error, { type: "Tread", fid }));
    fid.dir = undefined;
    fid.dirOffset = 0;
  }

  /** The use of a fid has ended. */
  ended(fid: FidState<N>): void {
    this.endRead(fid);
    this.letGo(fid);
  }

  #release(fid: FidState<N>): void {
    if (fid.released) return;
    fid.released = fid.lost = true;
    this.#loose++;
    let released: Awaitable<void> = undefined;
    const failed = (error: unknown) => {
      // No client waits for this answer. A file that cannot be removed at the
      // clunk (ORCLOSE) is such an answer, and no error of the server.
      this.reportFailure(error, { type: "Tclunk", fid });
    };
    try {
      released = this.#responder.release(fid, new EndingContext(this, fid));
    } catch (error) {
      failed(error);
    }
    const ended = () => {
      this.ended(fid);
      this.tighten();
    };
    if (released instanceof Promise) released.catch(failed).then(ended);
    else ended();
  }

  #flush(tag: number, oldtag: number): void {
    const operation = this.admission.pending.get(oldtag);
    if (operation === undefined) {
      this.send({ type: "Rflush", tag });
    } else if (this.#flushes >= FLUSHES_MAX) {
      this.#lost(
        new ProtocolError(
          `Connection to "${this.connection.peer}" failed: more Tflushes wait than there are tags`,
        ),
      );
    } else {
      (this.#flushTags ??= new Set()).add(tag);
      this.#flushes++;
      operation.flush(tag);
    }
  }

  /** Answers Tflushes. */
  sendFlushes(tags: readonly number[]): void {
    this.#flushes -= tags.length;
    for (const tag of tags) {
      this.#flushTags?.delete(tag);
      this.send({ type: "Rflush", tag });
    }
  }

  /** Ends the session; the next begins when all of it is released. */
  #startSession(message: Tversion): void {
    this.version = "";
    this.#reset();
    this.#restart = message;
    if (this.#loose === 0) this.#restarted();
  }

  #restarted(): void {
    const message = this.#restart;
    this.#restart = undefined;
    if (message === undefined || this.#ended) return;
    this.#watchdog.start();
    const { tag, type } = message;
    if (message.msize < MSIZE_MIN) {
      return this.#refuse(tag, type, "Invalid argument");
    }
    const dialect = agree(message.version);
    const version = dialect?.version ?? "unknown";
    let msize: number;
    try {
      msize = this.#boundMsize(message.msize, version);
    } catch (error) {
      return this.#sendError(tag, type, error);
    }
    this.send({ type: "Rversion", tag, msize, version });
    if (dialect === undefined) return;
    this.#dialect = dialect;
    this.version = version;
    this.msize = this.#input.splitter.msize = msize;
    this.#watchdog.started();
  }

  #boundMsize(asked: number, version: string): number {
    const most = Math.min(asked, this.options.msize);
    const msize = Math.min(most, this.#responder.msize(most, version));
    if (Number.isInteger(msize) && msize >= MSIZE_MIN) return msize;
    throw new RangeError(
      `Cannot start a session with an msize of ${msize}: the minimum is ${MSIZE_MIN}`,
    );
  }

  /** Gives up all operations and releases all fids. */
  #reset(): void {
    this.#flushTags = undefined;
    this.#flushes = 0;
    this.admission.clear();
    for (const fid of this.#table.clear()) {
      fid.gone = true;
      this.admission.wake(fid);
    }
  }

  /** An operation of an old session is still under way. */
  loosen(): void {
    this.#loose++;
  }

  /** An operation of an old session, or a release, has ended. */
  tighten(): void {
    this.#loose--;
    if (this.#loose === 0) this.#condition.wake();
  }

  /** Finds a fid by its number. */
  fid(fid: number): FidState<N> {
    return this.#table.find(fid);
  }

  /** Makes a fid that does not stand for a file yet. */
  bear(fid: number, uname: string, aname: string): FidState<N> {
    return this.#table.bear(fid, uname, aname);
  }

  /** Takes a fid out of the table; the caller releases it. */
  remove(fid: FidState<N>): void {
    fid.gone = true;
    fid.released = true;
    this.#table.remove(fid);
  }

  /** Throws for names that no file can have. */
  checkName(name: string): void {
    if (!isName(name)) throw new NinePError("illegal name");
    if (utf8Length(name) > this.options.maxName) {
      throw new NinePError("File name too long");
    }
  }

  /** Bounds the iounit that a handler gives. */
  iounit(iounit = 0): number {
    return Math.min(iounit, this.msize - IOHDRSZ);
  }

  /** Throws when there is no room for a late answer of so many bytes. */
  checkRoom(operation: Operation<N>, bytes: number): void {
    if (this.admission.hasRoom(operation, bytes)) return;
    throw new NinePError("Cannot allocate memory");
  }

  /** Sends a reply. */
  send(reply: Rmessage): void {
    this.#outbox.send(reply, this.#dialect);
    if (this.tracing) this.#trace({ direction: "out", message: reply });
  }

  /** Traces the reply in the writer that begins at `start`. */
  traceReply(start: number): void {
    const { bytes, at } = this.writer;
    const message = decode(bytes.subarray(start, at), this.#dialect);
    this.#trace({ direction: "out", message });
  }

  #trace(what: Untold<TracedMessage> | Untold<TracedFrame>): void {
    const { connection } = this;
    const { peer } = connection;
    try {
      this.options.onMessage?.({ ...what, peer, connection, time: Date.now() });
    } catch (error) {
      this.report(error);
    }
  }

  /** Puts a reply into the writer, in the session's dialect. */
  put(reply: Rmessage): void {
    putMessage(this.writer, reply, this.#dialect);
  }

  /** Puts an Rstat into the writer. */
  putRecord(tag: number, record: Uint8Array): void {
    putRecord(this.writer, tag, record, this.#dialect);
  }

  /** Sends what was put into the writer. */
  sent(): void {
    this.#outbox.schedule();
  }

  /** Sends the error of an operation. */
  sendError(operation: Operation<N>, error: unknown): void {
    const { tag, request } = operation;
    this.#sendError(tag, request.type, error, request.fid);
  }

  /** Sends the error of a message that no handler is asked for. */
  #refuse(tag: number, type: string | undefined, ename: string): void {
    this.#sendError(tag, type, new NinePError(ename));
  }

  #sendError(
    tag: number,
    type: string | undefined,
    error: unknown,
    fid?: FidState<N>,
  ): void {
    const known = this.reportFailure(error, { type, fid });
    const most = Math.min(this.msize - 9, 0xffff);
    const asJson = type === "Tcall" || this.options.errors === "json";
    const { ename, exits } = errorReply(known, asJson, most);
    this.send({ type: "Rerror", tag, ename });
    if (exits) this.#exit();
  }

  /**
   * Reports the error of a request to the owner, unless it is a NinePError.
   * Errors of the system that the client is told about are reported as
   * expected.
   *
   * @returns The error for the client.
   */
  reportFailure(error: unknown, source: ErrorSource): NinePError {
    if (isForClient(error)) return error;
    const known = systemError(error);
    // The text of EIO tells the client nothing, so the owner has to see it.
    const expected = known !== undefined && known.code !== "EIO";
    this.report(error, { type: source.type, fid: source.fid, expected });
    return known ?? new NinePError("i/o error", { cause: error });
  }

  /** Reports an error of a request, or of the connection, to the owner. */
  report(error: unknown, source: ErrorSource = {}): void {
    this.options.onError(error, contextOf(this.connection.peer, source));
  }

  /** The stream cannot be followed any more. */
  #fail(error: unknown): void {
    if (!this.#ended) this.report(error);
    this.#ended = true;
  }

  /** The stream died. */
  #lost(error: unknown): void {
    this.#fail(error);
    this.close();
  }

  /** Ends the connection when what is written is sent. */
  #exit(): void {
    this.#exiting = true;
    this.#end();
  }

  #end(): void {
    this.#ended = true;
    this.#condition.wake();
    this.#onEnd?.();
  }
}
