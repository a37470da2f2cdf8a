/**
 * Somebody between client and server who alters what they say, so that a right
 * server looks wrong.
 *
 * @module
 */

import {
  decode,
  encode,
  FrameSplitter,
  isTmessage,
  type Message,
  type Qid,
  QTDIR,
  type Rmessage,
  type Tmessage,
} from "../../codec.ts";
import { type Connection, pair } from "../../transport.ts";
import type { Connect } from "../conformance/mod.ts";

/** What a meddler can do. */
export interface MeddledLink {
  toServer(message: Message | Uint8Array): void;
  toClient(message: Message): void;
  /** Ends the connection to both. */
  end(): void;
}

/** Alters one connection. What it does not name goes on as it is. */
export interface Meddler {
  /** A request, or whatever else decodes. */
  request?(message: Message, link: MeddledLink): void;
  /** A reply, and what it answers. */
  reply?(
    reply: Rmessage,
    request: Tmessage | undefined,
    link: MeddledLink,
  ): void;
  /** A frame that does not decode. */
  garbage?(frame: Uint8Array, link: MeddledLink): void;
  /** Bytes behind which there are no frames. */
  nonsense?(link: MeddledLink): void;
  /** The client has ended its direction. */
  clientEnds?(link: MeddledLink): void;
  /** The server has ended the connection. */
  serverEnds?(link: MeddledLink): void;
  /** Bytes as they come, before they are frames. */
  chunk?(bytes: Uint8Array): Uint8Array;
}

/** A connect() whose connections are meddled with. */
export function meddle(connect: Connect, meddler: () => Meddler): Connect {
  return async () => {
    const server = await connect();
    const [client, near] = pair();
    new Middle(near, server, meddler()).run();
    return client;
  };
}

const HUGE = 2 ** 30;

class Middle implements MeddledLink {
  readonly #client: Connection;
  readonly #server: Connection;
  readonly #meddler: Meddler;
  readonly #requests = new Map<number, Tmessage>();

  constructor(client: Connection, server: Connection, meddler: Meddler) {
    this.#client = client;
    this.#server = server;
    this.#meddler = meddler;
  }

  run(): void {
    const ended = () => this.end();
    this.#fromClient().catch(ended);
    this.#fromServer().catch(ended);
  }

  toServer(message: Message | Uint8Array): void {
    if (!(message instanceof Uint8Array) && isTmessage(message)) {
      this.#requests.set(message.tag, message);
    }
    const bytes = message instanceof Uint8Array ? message : encode(message);
    send(this.#server, bytes);
  }

  toClient(message: Message): void {
    send(this.#client, encode(message));
  }

  end(): void {
    this.#client.close();
    this.#server.close();
  }

  async #fromClient(): Promise<void> {
    const meddler = this.#meddler;
    const splitter = new FrameSplitter(HUGE);
    const buffer = new Uint8Array(65536);
    let followed = true;
    while (true) {
      const chunk = await this.#client.read?.(buffer) ?? null;
      if (chunk === null) break;
      const bytes = meddler.chunk?.(chunk.slice()) ?? chunk.slice();
      if (!followed) {
        this.toServer(bytes);
        continue;
      }
      splitter.push(bytes);
      try {
        for (let frame; (frame = splitter.next()) !== undefined;) {
          this.#request(frame);
        }
      } catch {
        followed = false;
        if (meddler.nonsense) meddler.nonsense(this);
        else this.toServer(Uint8Array.of(1, 0, 0, 0, 0, 0, 0));
      }
      // Half a frame of a size that no session has.
      if (splitter.pending === 7 && bytes.length === 7) {
        if (meddler.nonsense) meddler.nonsense(this);
        else this.toServer(bytes);
        followed = false;
      }
    }
    if (meddler.clientEnds) meddler.clientEnds(this);
    else if (this.#server.closeWrite) await this.#server.closeWrite();
    else this.end();
  }

  #request(frame: Uint8Array): void {
    let message: Message;
    try {
      message = decode(frame.slice());
    } catch {
      if (this.#meddler.garbage) this.#meddler.garbage(frame, this);
      else this.toServer(frame.slice());
      return;
    }
    if (this.#meddler.request) this.#meddler.request(message, this);
    else this.toServer(message);
  }

  async #fromServer(): Promise<void> {
    const splitter = new FrameSplitter(HUGE);
    const buffer = new Uint8Array(65536);
    while (true) {
      const chunk = await this.#server.read?.(buffer) ?? null;
      if (chunk === null) break;
      splitter.push(chunk.slice());
      for (let frame; (frame = splitter.next()) !== undefined;) {
        const reply = decode(frame.slice()) as Rmessage; // From our server.
        const request = this.#requests.get(reply.tag);
        if (this.#meddler.reply) this.#meddler.reply(reply, request, this);
        else this.toClient(reply);
      }
    }
    if (this.#meddler.serverEnds) this.#meddler.serverEnds(this);
    else this.end();
  }
}

function send(connection: Connection, bytes: Uint8Array): void {
  // Nothing here is so large that a write would stay pending.
  connection.write?.(bytes)?.catch(() => {});
}

/** A way to be wrong. */
export interface Fault {
  /** What the server does. */
  readonly name: string;
  /** Cases that must not pass. */
  readonly ids: string;
  /** Begins a run: gives a meddler for each connection. */
  begin(): () => Meddler;
}

/** A fault without memory, by what it makes of replies. */
export function replies(
  name: string,
  ids: string,
  alter: (reply: Rmessage, request: Tmessage | undefined) => Rmessage,
): Fault {
  return each(name, ids, () => ({
    reply: (reply, request, link) => link.toClient(alter(reply, request)),
  }));
}

/** A fault by what it makes of requests: another one, or the answer. */
export function requests(
  name: string,
  ids: string,
  alter: (message: Message) => Message,
): Fault {
  return each(name, ids, () => ({
    request: (message, link) => {
      const altered = alter(message);
      if (isTmessage(altered) || altered === message) link.toServer(altered);
      else link.toClient(altered);
    },
  }));
}

/** A fault with a memory for each connection. */
export function each(name: string, ids: string, meddler: () => Meddler): Fault {
  return { name, ids, begin: () => meddler };
}

/** A qid that no file has. */
export const QID: Qid = { type: 0, vers: 0, path: 999n };
/** No bytes. */
export const NOTHING: Uint8Array = new Uint8Array(0);

/** Bytes of a text. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The answer of a server that never says no. */
export function yes(request: Tmessage | undefined, reply: Rmessage): Rmessage {
  const { tag } = reply;
  switch (request?.type) {
    case "Tauth":
      return { type: "Rauth", tag, aqid: QID };
    case "Tattach":
      return { type: "Rattach", tag, qid: { ...QID, type: QTDIR } };
    case "Twalk":
      return { type: "Rwalk", tag, wqid: request.wname.map(() => QID) };
    case "Topen":
      return { type: "Ropen", tag, qid: QID, iounit: 0 };
    case "Tcreate":
      return { type: "Rcreate", tag, qid: QID, iounit: 0 };
    case "Tread":
      return { type: "Rread", tag, data: NOTHING };
    case "Twrite":
      return { type: "Rwrite", tag, count: request.data.length };
    case "Tclunk":
      return { type: "Rclunk", tag };
    case "Tremove":
      return { type: "Rremove", tag };
    case "Tstat":
      return {
        type: "Rstat",
        tag,
        stat: {
          ...{ type: 0, dev: 0, qid: QID, mode: 0, atime: 0, mtime: 0 },
          ...{ length: 0n, name: "x", uid: "x", gid: "x", muid: "x" },
        },
      };
    case "Twstat":
      return { type: "Rwstat", tag };
    case "Tcall":
      return { type: "Rcall", tag, err: 0, text: "", data: bytes("null") };
    default:
      return reply;
  }
}

/** An error. */
export function error(tag: number, ename: string): Rmessage {
  return { type: "Rerror", tag, ename };
}

/** A reply with another qid in the place of each. */
export function withQids(reply: Rmessage, alter: (qid: Qid) => Qid): Rmessage {
  switch (reply.type) {
    case "Rattach":
    case "Ropen":
    case "Rcreate":
      return { ...reply, qid: alter(reply.qid) };
    case "Rwalk":
      return { ...reply, wqid: reply.wqid.map(alter) };
    case "Rstat":
      return { ...reply, stat: { ...reply.stat, qid: alter(reply.stat.qid) } };
    default:
      return reply;
  }
}
