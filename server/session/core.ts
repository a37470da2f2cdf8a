// A session: one connection of a server, from its first byte until all is
// released.

import type { Node } from "../fid.ts";
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

/** One connection of a server. */
export class ServedConnection<N extends Node> {
  readonly #parts: Assembly<N>;

  /** Makes a session; it begins with run(). */
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

  /** Fids by number, those included whose walk or attach is under way. */
  get fids(): ReadonlyMap<number, FidState<N>> {
    return this.#parts.session.fids.byNumber;
  }

  /** Processes requests until the connection ends, and all is released. */
  async run(): Promise<void> {
    const { lifetime, condition, watchdog, outbox, presence } = this.#parts;
    const { pending } = this.#parts.admission;
    watchdog.start();
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

  /** Serves the connection, when the handler accepts it. */
  #serve(): Promise<void> {
    const { lifetime, presence, condition, pump } = this.#parts;
    if (lifetime.ended) return Promise.resolve();
    presence.begin();
    if (presence.isDecided) return pump.run();
    // The time until the first session bounds this wait.
    const isOver = () => lifetime.ended || presence.isDecided;
    return pump.watch(condition.until(isOver)).then(() => pump.run());
  }

  /** Sends the last replies, for a bounded time. */
  async #sayGoodbye(pump: Promise<void>): Promise<void> {
    const { refs, channel, outbox, input, lifetime } = this.#parts;
    const timer = refs.after(GOODBYE_MS, () => channel.close());
    try {
      outbox.flush();
      await outbox.drained();
      if (lifetime.exiting) {
        // The client could lose the last reply if the socket were closed with
        // unread bytes.
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
   * Waits for a handler. One that never ends delays the end of its connection,
   * but not the end of the server.
   */
  async #bounded(isDone: () => boolean): Promise<void> {
    const { lifetime, condition } = this.#parts;
    await condition.until(() => lifetime.graceful || isDone());
    await condition.within(isDone);
  }

  /**
   * Ends the connection when what is answered is sent.
   *
   * @param graceful Wait for what is under way, too, but not beyond `closeTimeout`.
   */
  stop(graceful: boolean): void {
    this.#parts.lifetime.stop(graceful);
  }

  /** Ends the connection at once; run() releases the fids. */
  close(): void {
    this.#parts.lifetime.close();
  }
}
