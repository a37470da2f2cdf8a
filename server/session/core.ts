// A session: one connection of a server. This puts the parts together, runs the
// session from its first byte, and ends it.

import type { RefGroup } from "../../transport/ref_group.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import { Outbox } from "../../transport/outbox.ts";
import type { Connection } from "../../transport.ts";
import { Admission } from "../admission/admission.ts";
import { Budget } from "../budget.ts";
import type { Node } from "../fid.ts";
import type { FidState } from "../fids/fid_state.ts";
import { FidTable } from "../fids/fid_table.ts";
import { Releases } from "../fids/releases.ts";
import {
  type SessionOptions,
  type SessionSettings,
  settingsOf,
} from "../options.ts";
import { ErrorReports } from "../replies/error_reports.ts";
import { Replies } from "../replies/replies.ts";
import type { Operation, OperationSession } from "../requests/operation.ts";
import type { SessionParts } from "../requests/request.ts";
import { Condition } from "../timeouts/condition.ts";
import { Watchdog } from "../timeouts/watchdog.ts";
import { Background } from "./background.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Flushes } from "./flushes.ts";
import { Input } from "./input.ts";
import { Lifetime } from "./lifetime.ts";
import { Negotiation } from "./negotiation.ts";
import { Presence } from "./presence.ts";
import { Pump } from "./pump.ts";
import type { Responder } from "./responder.ts";
import { Tracer } from "./tracer.ts";

/** Milliseconds that a client has to take the last replies. */
const GOODBYE_MS = 1000;

/** One connection of a server. */
export class SessionCore<N extends Node>
  implements SessionParts<N>, OperationSession<N> {
  readonly connection: Connection;
  readonly settings: SessionSettings;
  readonly memory: Budget;
  readonly fids: FidTable<N>;
  readonly releases: Releases<N>;
  readonly replies: Replies;
  readonly reports: ErrorReports;
  readonly background: Background;
  readonly turns: Admission<N>;
  readonly #responder: Responder<N>;
  readonly #channel: Channel;
  readonly #outbox: Outbox;
  readonly #input: Input;
  readonly #refs: RefGroup;
  readonly #condition: Condition;
  readonly #lifetime: Lifetime;
  readonly #flushes: Flushes<N>;
  readonly #negotiation: Negotiation;
  readonly #pump: Pump<N>;
  readonly #presence: Presence;
  readonly #watchdog: Watchdog;

  /**
   * @param connection Connection to the client.
   * @param options The options of the session.
   * @param responder Answers the requests.
   * @param refs The group of the timers.
   */
  constructor(
    connection: Connection,
    options: SessionOptions,
    responder: Responder<N>,
    refs: RefGroup,
  ) {
    const settings = settingsOf(options);
    const { msize } = settings;
    const memory = options.memory ?? new Budget(Infinity);
    const channel = openChannel(connection);
    const condition = new Condition(refs, settings.closeTimeout);
    const reports = new ErrorReports(connection.peer, settings.onError);
    const tracer = new Tracer(connection, settings, reports);
    const input = new Input(channel, msize);
    const background = new Background(() => condition.wake());
    this.connection = connection;
    this.settings = settings;
    this.memory = new Budget(settings.maxHeldBytes, memory, msize);
    this.reports = reports;
    this.background = background;
    this.fids = new FidTable(settings.maxFids, memory);
    this.releases = new Releases(responder, this, background);
    const watchdog = new Watchdog(settings, refs, {
      isBusy: () => admission.pending.size > 0,
      waiting: () => outbox.untaken,
      taken: () => outbox.progress,
      close: () => lifetime.close(),
    });
    const lifetime = new Lifetime(condition, reports, () => {
      watchdog.stop();
      channel.close();
    });
    const outbox = new Outbox(
      channel,
      (error) => lifetime.lost(error),
      () => admission.goOn(),
      (bytes) => {
        memory.charge(bytes);
        if (bytes > 0) watchdog.writing();
      },
    );
    const replies = new Replies({
      settings,
      outbox,
      tracer,
      reports,
      onExit: () => lifetime.exit(),
    });
    const admission = new Admission<N>({
      settings,
      input,
      outbox,
      memory,
      refs,
      onRoom: () => condition.wake(),
      release: (fid) => this.releases.release(fid),
    });
    const negotiation = new Negotiation({
      settings,
      lifetime,
      input,
      replies,
      watchdog,
      background,
      reset: () => this.#reset(),
      boundMsize: (msize, version) => responder.msize(msize, version),
    });
    const flushes = new Flushes<N>({
      pending: admission.pending,
      replies,
      onBreach: (error) => lifetime.lost(error),
      peer: connection.peer,
    });
    this.replies = replies;
    this.turns = admission;
    this.#responder = responder;
    this.#channel = channel;
    this.#outbox = outbox;
    this.#input = input;
    this.#refs = refs;
    this.#condition = condition;
    this.#lifetime = lifetime;
    this.#flushes = flushes;
    this.#negotiation = negotiation;
    this.#watchdog = watchdog;
    const dispatcher = new Dispatcher({
      session: this,
      negotiation,
      flushes,
      admission,
      watchdog,
      tracer,
    });
    this.#pump = new Pump({
      settings,
      input,
      outbox,
      lifetime,
      admission,
      negotiation,
      background,
      condition,
      refs,
      receive: (reader) => dispatcher.receive(reader),
    });
    this.#presence = new Presence({
      hooks: responder,
      connection,
      reports,
      background,
      onRefused: () => lifetime.close(),
      onDecided: () => condition.wake(),
    });
  }

  /** Version of the session; empty before a Tversion. */
  get version(): string {
    return this.#negotiation.version;
  }

  /** Processes requests until the connection ends, and all is released. */
  async run(): Promise<void> {
    const lifetime = this.#lifetime;
    this.#watchdog.start();
    const pump = this.#serve().catch((error) => lifetime.fail(error));
    // The session can end while the pump waits for the client's next bytes.
    await new Promise<void>((resolve) => {
      lifetime.onEnd = resolve;
      pump.then(resolve);
    });
    if (lifetime.stopping) {
      // A function of this server may have stopped the server, and answers in
      // this turn of the event loop.
      await new Promise((resolve) => setTimeout(resolve));
      const { pending } = this.turns;
      await this.#condition.within(() =>
        !lifetime.patient || lifetime.gone || pending.size === 0
      );
    }
    this.#reset();
    await this.#sayGoodbye(pump);
    this.close();
    this.#outbox.drop();
    await pump;
    await this.#untilReleased();
    this.#presence.end();
    await this.#untilReleased();
  }

  /** Serves the connection, when the handler accepts it. */
  async #serve(): Promise<void> {
    const lifetime = this.#lifetime;
    const presence = this.#presence;
    if (lifetime.ended) return;
    presence.begin();
    if (!presence.isDecided) {
      // The time until the first session bounds this wait.
      const decided = this.#condition.until(() =>
        lifetime.ended || presence.isDecided
      );
      await this.#pump.watch(decided);
    }
    await this.#pump.run();
  }

  /** Sends the last replies, for a bounded time. */
  async #sayGoodbye(pump: Promise<void>): Promise<void> {
    const timer = this.#refs.after(GOODBYE_MS, () => this.#channel.close());
    try {
      this.#outbox.flush();
      await this.#outbox.drained();
      if (this.#lifetime.exiting) {
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
   * Waits until nothing is under way. A handler that never ends delays the end
   * of its connection, but not the end of the server.
   */
  async #untilReleased(): Promise<void> {
    const { background } = this;
    const lifetime = this.#lifetime;
    await this.#condition.until(() => lifetime.patient || background.isIdle);
    await this.#condition.within(() => background.isIdle);
  }

  /** Gives up all operations and releases all fids. */
  #reset(): void {
    this.#flushes.clear();
    this.turns.clear();
    for (const fid of this.fids.clear()) this.turns.wake(fid);
  }

  /**
   * Ends the connection when what is answered is sent.
   *
   * @param patient Wait for what is under way, too, but not beyond `closeTimeout`.
   */
  stop(patient: boolean): void {
    this.#lifetime.stop(patient);
  }

  /** Ends the connection at once; run() releases the fids. */
  close(): void {
    this.#lifetime.close();
  }

  deliver(operation: Operation<N>): void {
    this.#responder.deliver(operation);
  }

  flushed(operation: Operation<N>): void {
    try {
      this.#responder.flushed(operation, this.turns.clearing);
    } catch (error) {
      this.reports.report(error, operation.request);
    }
  }

  answerFlushes(tags: readonly number[]): void {
    this.#flushes.answer(tags);
  }

  wake(fid: FidState<N>): void {
    this.turns.wake(fid);
  }
}
