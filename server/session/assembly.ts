// Creates the parts of a session and connects them with each other.

import type { RefGroup } from "../../transport/ref_group.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import { Outbox } from "../../transport/outbox.ts";
import type { Connection } from "../../transport.ts";
import { Admission } from "../admission/admission.ts";
import { Budget } from "../budget.ts";
import type { FidNode } from "../fid.ts";
import { FidTable } from "../fids/fid_table.ts";
import { Releases } from "../fids/releases.ts";
import { type SessionOptions, settingsOf } from "../options.ts";
import { ErrorReports } from "../replies/error_reports.ts";
import { Replies } from "../replies/replies.ts";
import type { OperationSession } from "../requests/operation.ts";
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

/** The connection, options and responder of a session. */
export interface SessionInit<N extends FidNode> {
  /** Connection to the client. */
  readonly connection: Connection;
  /** The options of the session. */
  readonly options: SessionOptions;
  /** Answers the requests. */
  readonly responder: Responder<N>;
  /** The group of the timers. */
  readonly refs: RefGroup;
}

/** The parts of a session. */
export interface Assembly<N extends FidNode> {
  /** The parts that requests and operations use. */
  readonly session: SessionParts<N> & OperationSession<N>;
  /** The byte stream of the connection. */
  readonly channel: Channel;
  /** The bytes that the client sends. */
  readonly input: Input;
  /** The outgoing replies. */
  readonly outbox: Outbox;
  /** Decides which operations may begin. */
  readonly admission: Admission<N>;
  /** The Tflushes that wait. */
  readonly flushes: Flushes<N>;
  /** Starts sessions. */
  readonly negotiation: Negotiation;
  /** Reads the client's frames. */
  readonly pump: Pump<N>;
  /** Calls connect() and disconnect() of the handler. */
  readonly presence: Presence;
  /** The state of the connection. */
  readonly lifetime: Lifetime;
  /** Waits for the end of requests and releases. */
  readonly condition: Condition;
  /** The time limits. */
  readonly watchdog: Watchdog;
  /** The group of the timers. */
  readonly refs: RefGroup;
}

/**
 * Creates the parts of a session. Throws a RangeError for options out of range.
 */
export function assemble<N extends FidNode>(
  { connection, options, responder, refs }: SessionInit<N>,
): Assembly<N> {
  const settings = settingsOf(options);
  const { msize } = settings;
  // The budget of the server, or one without a limit.
  const whole = options.memory ?? new Budget(Infinity);
  const memory = new Budget(settings.maxHeldBytes, whole, msize);
  const channel = openChannel(connection);
  const condition = new Condition(refs, settings.closeTimeout);
  const background = new Background(() => condition.wake());
  const reports = new ErrorReports(connection.peer, settings.onError);
  const tracer = new Tracer(connection, settings, reports);
  const input = new Input(channel, msize);
  const fids = new FidTable<N>(settings.maxFids, whole);
  const context = { connection, memory, reports };
  const releases = new Releases(responder, context, background);
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
    () => admission.resume(),
    (bytes) => {
      whole.charge(bytes);
      if (bytes > 0) watchdog.writing();
    },
  );
  const onExit = () => lifetime.exit();
  const replies = new Replies({ settings, outbox, tracer, reports, onExit });
  const admission = new Admission<N>({
    settings,
    input,
    outbox,
    memory: whole,
    refs,
    onRoom: () => condition.wake(),
    release: (fid) => releases.release(fid),
  });
  const flushes = new Flushes<N>({
    pending: admission.pending,
    replies,
    onBreach: (error) => lifetime.lost(error),
    peer: connection.peer,
  });
  const session: SessionParts<N> & OperationSession<N> = {
    connection,
    memory,
    reports,
    settings,
    fids,
    releases,
    replies,
    background,
    scheduler: admission,
    wake: (fid) => admission.wake(fid),
    responder,
    flushed: (operation) => {
      try {
        responder.flushed(operation, admission.clearing);
      } catch (error) {
        reports.report(error, operation.request);
      }
    },
    answerFlushes: (tags) => flushes.answer(tags),
  };
  const negotiation = new Negotiation({
    settings,
    lifetime,
    input,
    replies,
    watchdog,
    background,
    reset: () => resetSession({ flushes, admission, session }),
    boundMsize: (msize, version) =>
      Math.min(responder.msize(msize, version), connection.maxMessage ?? msize),
  });
  const dispatcher = new Dispatcher({
    session,
    negotiation,
    flushes,
    admission,
    watchdog,
    tracer,
  });
  const pump = new Pump({
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
  const presence = new Presence({
    hooks: responder,
    connection,
    reports,
    background,
    onRefused: () => lifetime.close(),
    onChange: () => condition.wake(),
  });
  return {
    ...{ session, channel, input, outbox, admission, flushes, negotiation },
    ...{ pump, presence, lifetime, condition, watchdog, refs },
  };
}

/** Cancels all operations of a session, and releases all of its fids. */
export function resetSession<N extends FidNode>(
  { flushes, admission, session }: Pick<
    Assembly<N>,
    "flushes" | "admission" | "session"
  >,
): void {
  flushes.clear();
  admission.clear();
  for (const fid of session.fids.clear()) admission.wake(fid);
}
