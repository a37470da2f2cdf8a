// The raw responder shows the speed of the sockets alone. Each request has a
// fixed number of bytes, and so has each reply. The first eight bytes of a
// connection have both numbers.

import type { Connection } from "../transport.ts";
import { openChannel } from "../transport/channel.ts";

/** Answers requests of a raw client until the client closes the connection. */
export async function answerRaw(connection: Connection): Promise<void> {
  const channel = openChannel(connection);
  const buffer = new Uint8Array(256 * 1024);
  const head = await channel.read(new Uint8Array(8));
  if (head === null) return;
  const view = new DataView(head.buffer, head.byteOffset);
  const request = view.getUint32(0, true);
  const reply = new Uint8Array(view.getUint32(4, true));
  const many = new Uint8Array(reply.length * 64);
  let waiting = head.length - 8; // A chunk of the channel's own may be longer.
  while (true) {
    while (waiting >= request) {
      const count = Math.min(64, Math.floor(waiting / request));
      waiting -= count * request;
      await channel.write(many.subarray(0, count * reply.length));
    }
    const chunk = await channel.read(buffer);
    if (chunk === null) break;
    waiting += chunk.length;
  }
  channel.close();
}

/** A client that sends bytes and counts the bytes of the replies. */
export class RawClient {
  readonly #channel;
  #buffer: Uint8Array | undefined;

  constructor(connection: Connection) {
    this.#channel = openChannel(connection);
  }

  /** Connects to a raw responder, and sends it the sizes. */
  async start(request: number, reply: number): Promise<void> {
    const head = new DataView(new ArrayBuffer(8));
    head.setUint32(0, request, true);
    head.setUint32(4, reply, true);
    await this.#channel.write(new Uint8Array(head.buffer));
  }

  /** Sends requests in one write, and waits for all bytes of their replies. */
  async exchange(requests: Uint8Array, replies: number): Promise<Uint8Array> {
    const buffer = this.#buffer ??= new Uint8Array(256 * 1024);
    const written = this.#channel.write(requests);
    let chunk: Uint8Array | null = null;
    for (let got = 0; got < replies; got += chunk.length) {
      chunk = await this.#channel.read(buffer);
      if (chunk === null) throw new Error("the raw responder is gone");
    }
    await written;
    return chunk ?? new Uint8Array(0);
  }

  close(): void {
    this.#channel.close();
  }
}
