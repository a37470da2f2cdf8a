// Connections that a runtime has accepted by itself, and that wait for the
// program.

import type { Connection } from "./connection.ts";

/** Most connections that wait; a further connection is closed. */
const BACKLOG = 512;

/** A queue of accepted connections, for a listener. */
export class ConnectionQueue {
  #waiting: Connection[] = [];
  /** Wakes the loop over the connections. */
  #wake: (() => void) | undefined;
  #closed = false;

  /** Adds a connection. Closes it if the queue is closed or full. */
  push(connection: Connection): void {
    if (this.#closed || this.#waiting.length >= BACKLOG) {
      connection.close();
      return;
    }
    this.#waiting.push(connection);
    this.#wake?.();
  }

  /** Gives the connections in order, until close(). */
  async *take(): AsyncGenerator<Connection> {
    while (!this.#closed) {
      const connection = this.#waiting.shift();
      if (connection) yield connection;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Closes the waiting connections, and ends take(). */
  close(): void {
    this.#closed = true;
    for (const connection of this.#waiting) connection.close();
    this.#waiting = [];
    this.#wake?.();
  }
}
