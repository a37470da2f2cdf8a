// Serves one connection, from its first byte until all of its fids are
// released.

import type { FidNode } from "../fid.ts";
import type { FidState } from "../fids/fid_state.ts";
import type { SessionSettings } from "../options.ts";
import {
  assemble,
  type Assembly,
  resetSession,
  type SessionInit,
} from "./assembly.ts";

/** Milliseconds that a client has to take the last replies. */
const GOODBYE_MS = 1000;

/** A connection that a server serves. */
export class ServedConnection<N extends FidNode> {
  readonly #parts: Assembly<N>;

  /** Creates the parts of the session. run() starts it. */
  constructor(init: SessionInit<N>) {
    this.#parts = assemble(init);
  }

  /** Options with their defaults. */
  get settings(): SessionSettings {
    return this.#parts.session.settings;
  }

  /** Largest message of the session. */
  get msize(): number {
    return this.#parts.session.replies.msize;
  }

  /** Version of the session; empty before a Tversion. */
  get version(): string {
    return this.#parts.negotiation.version;
  }

  /**
   * All fids by number, including fids whose walk, attach or auth is in
   * progress.
   */
  get fids(): ReadonlyMap<number, FidState<N>> {
    return this.#parts.session.fids.byNumber;
  }

  /**
   * Processes requests until the connection has ended and all fids are
   * released.
   */
  async run(): Promise<void> {
    const { lifetime, condition, watchdog, outbox, presence } = this.#parts;
    const { pending } = this.#parts.admission;
    watchdog.start();
    const { connection } = this.#parts.session;
    if (connection.repliesAfterEnd) {
      // Some runtimes do not end the request of a client that has gone.
      void connection.closed?.then(() => lifetime.close());
    }
    const pump = this.#serve().catch((error) => lifetime.fail(error));
    // The session can end while the pump waits for further bytes of the client.
    await new Promise<void>((resolve) => {
      lifetime.onEnd = resolve;
      pump.then(resolve);
    });
    await this.#untilAnswered();
    if (lifetime.stopping) {
      // A function of this server may have stopped the server. Its own answer
      // comes in this turn of the event loop, and is still sent.
      await new Promise((resolve) => setTimeout(resolve));
      await condition.within(() =>
        !lifetime.graceful || lifetime.clientGone || pending.size === 0
      );
    }
    resetSession(this.#parts);
    await this.#sayGoodbye(pump);
    lifetime.close();
    outbox.drop();
    await pump;
    const { background } = this.#parts.session;
    await this.#bounded(() => background.isIdle);
    presence.end();
    await this.#bounded(() => presence.isOver);
  }

  /**
   * Waits for the requests in progress, if the client has ended its direction
   * and takes their replies.
   */
  async #untilAnswered(): Promise<void> {
    const { lifetime, condition } = this.#parts;
    const { pending } = this.#parts.admission;
    const { connection } = this.#parts.session;
    if (!lifetime.clientGone || !connection.repliesAfterEnd) return;
    await condition.until(() => lifetime.ended || pending.size === 0);
  }

  /** Processes requests when the handler has accepted the connection. */
  #serve(): Promise<void> {
    const { lifetime, presence, condition, pump } = this.#parts;
    if (lifetime.ended) return Promise.resolve();
    presence.begin();
    if (presence.isDecided) return pump.run();
    // `versionTimeout` limits this wait.
    const isOver = () => lifetime.ended || presence.isDecided;
    return pump.watch(condition.until(isOver)).then(() => pump.run());
  }

  /** Sends the last replies within GOODBYE_MS. */
  async #sayGoodbye(pump: Promise<void>): Promise<void> {
    const { refs, channel, outbox, input, lifetime } = this.#parts;
    const timer = refs.after(GOODBYE_MS, () => channel.close());
    try {
      outbox.flush();
      await outbox.drained();
      if (lifetime.exiting) {
        // If the socket were closed with unread bytes, the client could lose
        // the last reply.
        await channel.closeWrite();
        await pump;
        await input.drain();
      }
    } catch {
      // The client is gone.
    } finally {
      refs.cancel(timer);
    }
  }

  /**
   * Waits for a handler. A handler that never ends keeps its connection open,
   * but does not prevent the server from stopping.
   */
  async #bounded(isDone: () => boolean): Promise<void> {
    const { lifetime, condition } = this.#parts;
    await condition.until(() => lifetime.graceful || isDone());
    await condition.within(isDone);
  }

  /**
   * Ends the connection after the replies so far are sent.
   *
   * @param graceful True to wait for the requests in progress, up to
   *   `closeTimeout`.
   */
  stop(graceful: boolean): void {
    this.#parts.lifetime.stop(graceful);
  }

  /** Ends the connection at once. run() then releases the fids. */
  close(): void {
    this.#parts.lifetime.close();
  }
}
