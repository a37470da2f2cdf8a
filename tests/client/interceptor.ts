/**
 * A proxy between client and server that alters their messages, so that a
 * correct server appears faulty.
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

/** The two connections of the proxy, as an interceptor uses them. */
export interface Relay {
  toServer(message: Message | Uint8Array): void;
  toClient(message: Message): void;
  /** Closes both connections. */
  end(): void;
}

/**
 * Alters the messages of one connection. Messages without a method pass
 * unchanged.
 */
export interface Interceptor {
  /** Handles a request, or any other message that the client sends. */
  request?(message: Message, relay: Relay): void;
  /** Handles a reply, with its request. */
  reply?(reply: Rmessage, request: Tmessage | undefined, relay: Relay): void;
  /** Handles a frame of the client that does not decode. */
  malformedFrame?(frame: Uint8Array, relay: Relay): void;
  /**
   * Handles an illegal frame size of the client, after which no frames follow.
   */
  illegalSize?(relay: Relay): void;
  /** Handles the end of the client's direction. */
  clientEnds?(relay: Relay): void;
  /** Handles the end of the server's connection. */
  serverEnds?(relay: Relay): void;
  /** Alters the bytes of the client before they are split into frames. */
  chunk?(bytes: Uint8Array): Uint8Array;
}

/** Returns a connect() whose connections pass through an interceptor. */
export function intercept(
  connect: Connect,
  interceptor: () => Interceptor,
): Connect {
  return async () => {
    const server = await connect();
    const [client, near] = pair();
    new InterceptingProxy(near, server, interceptor()).run();
    return client;
  };
}

const HUGE = 2 ** 30;

class InterceptingProxy implements Relay {
  readonly #client: Connection;
  readonly #server: Connection;
  readonly #interceptor: Interceptor;
  readonly #requests = new Map<number, Tmessage>();

  constructor(
    client: Connection,
    server: Connection,
    interceptor: Interceptor,
  ) {
    this.#client = client;
    this.#server = server;
    this.#interceptor = interceptor;
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
    const interceptor = this.#interceptor;
    const splitter = new FrameSplitter(HUGE);
    const buffer = new Uint8Array(65536);
    let isFramed = true;
    while (true) {
      const chunk = await this.#client.read?.(buffer) ?? null;
      if (chunk === null) break;
      const bytes = interceptor.chunk?.(chunk.slice()) ?? chunk.slice();
      if (!isFramed) {
        this.toServer(bytes);
        continue;
      }
      splitter.push(bytes);
      try {
        for (let frame; (frame = splitter.next()) !== undefined;) {
          this.#request(frame);
        }
      } catch {
        isFramed = false;
        if (interceptor.illegalSize) interceptor.illegalSize(this);
        else this.toServer(Uint8Array.of(1, 0, 0, 0, 0, 0, 0));
      }
      // Seven bytes of an incomplete frame: its size is above every msize.
      if (splitter.pending === 7 && bytes.length === 7) {
        if (interceptor.illegalSize) interceptor.illegalSize(this);
        else this.toServer(bytes);
        isFramed = false;
      }
    }
    if (interceptor.clientEnds) interceptor.clientEnds(this);
    else if (this.#server.closeWrite) await this.#server.closeWrite();
    else this.end();
  }

  #request(frame: Uint8Array): void {
    let message: Message;
    try {
      message = decode(frame.slice());
    } catch {
      if (this.#interceptor.malformedFrame) {
        this.#interceptor.malformedFrame(frame, this);
      } else this.toServer(frame.slice());
      return;
    }
    if (this.#interceptor.request) this.#interceptor.request(message, this);
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
        if (this.#interceptor.reply) {
          this.#interceptor.reply(reply, request, this);
        } else this.toClient(reply);
      }
    }
    if (this.#interceptor.serverEnds) this.#interceptor.serverEnds(this);
    else this.end();
  }
}

function send(connection: Connection, bytes: Uint8Array): void {
  // The messages are small, so a write never stays pending.
  connection.write?.(bytes)?.catch(() => {});
}

/** A fault of a server. */
export interface Fault {
  /** The faulty behaviour of the server. */
  readonly name: string;
  /** Ids of the cases that must not pass. */
  readonly ids: string;
  /**
   * Starts a run. Returns a function that makes an interceptor for each
   * connection.
   */
  begin(): () => Interceptor;
}

/** Makes a stateless fault that alters replies. */
export function replies(
  name: string,
  ids: string,
  alter: (reply: Rmessage, request: Tmessage | undefined) => Rmessage,
): Fault {
  return each(name, ids, () => ({
    reply: (reply, request, relay) => relay.toClient(alter(reply, request)),
  }));
}

/** Makes a stateless fault that alters requests, or answers them. */
export function requests(
  name: string,
  ids: string,
  alter: (message: Message) => Message,
): Fault {
  return each(name, ids, () => ({
    request: (message, relay) => {
      const altered = alter(message);
      if (isTmessage(altered) || altered === message) relay.toServer(altered);
      else relay.toClient(altered);
    },
  }));
}

/** Makes a fault whose state belongs to each connection. */
export function each(
  name: string,
  ids: string,
  interceptor: () => Interceptor,
): Fault {
  return { name, ids, begin: () => interceptor };
}

/** A qid of no file. */
export const QID: Qid = { type: 0, vers: 0, path: 999n };
/** No bytes. */
export const EMPTY: Uint8Array = new Uint8Array(0);

/** Encodes a text as UTF-8. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Returns a success reply in the place of an error. */
export function successOf(
  request: Tmessage | undefined,
  reply: Rmessage,
): Rmessage {
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
      return { type: "Rread", tag, data: EMPTY };
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

/** Makes an Rerror. */
export function error(tag: number, ename: string): Rmessage {
  return { type: "Rerror", tag, ename };
}

/** Replaces each qid of a reply. */
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
