/**
 * Clients that connect again, and what they find when they dial: trees, or
 * scripted servers, one for each connection.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
} from "@std/assert";
import { qid, type Reply, ScriptedServer } from "./scripted.ts";
import {
  type Client,
  connect,
  type ConnectOptions,
  type ReconnectOptions,
} from "../../client.ts";
import { NinePError, QTDIR, type Tmessage } from "../../codec.ts";
import type { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { type Connection, pair } from "../../transport.ts";

/** A promise's rejection, asked for before it comes. */
export function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert(false, "the promise must reject"),
    (error) => error,
  );
}

/** Things that come one by one, to be awaited one by one. */
class Queue<T> {
  readonly #come: T[] = [];
  readonly #awaited: ((item: T) => void)[] = [];

  put(item: T): void {
    const take = this.#awaited.shift();
    if (take) take(item);
    else this.#come.push(item);
  }

  next(): Promise<T> {
    const item = this.#come.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve) => this.#awaited.push(resolve));
  }
}

/** The place that a client dials: each call waits for what the test makes of it. */
export class Exchange {
  readonly #calls = new Queue<PromiseWithResolvers<Connection>>();

  readonly dial = (): Promise<Connection> => {
    const call = Promise.withResolvers<Connection>();
    this.#calls.put(call);
    return call.promise;
  };

  /** Waits for a call, and leaves it to the caller. */
  call(): Promise<PromiseWithResolvers<Connection>> {
    return this.#calls.next();
  }

  /** Has a call that was waited for taken by another one. */
  giveBack(call: PromiseWithResolvers<Connection>): void {
    this.#calls.put(call);
  }

  /** Takes a call; gives the server's end. */
  async accept(): Promise<Connection> {
    const call = await this.call();
    const [near, far] = pair();
    call.resolve(near);
    return far;
  }

  /** Takes a call with a server that is played. */
  async play(): Promise<ScriptedServer> {
    return new ScriptedServer(await this.accept());
  }
}

/** Options without delays; a connection counts as steady at once. */
export function again(
  { dial }: Exchange,
  options: ReconnectOptions = {},
): ConnectOptions {
  return { reconnect: { dial, minDelay: 0, steadyAfter: 0, ...options } };
}

/** A client of a tree, whose connection can be lost. */
export class Home implements AsyncDisposable {
  readonly exchange: Exchange = new Exchange();
  readonly fs: MemoryFs;
  client!: Client; // Set by open(), the only one to make a Home.
  #far: Connection | undefined;

  constructor(fs: MemoryFs) {
    this.fs = fs;
  }

  static async open(
    fs: MemoryFs,
    options: ConnectOptions = {},
    reconnect: ReconnectOptions = {},
  ): Promise<Home> {
    const home = new Home(fs);
    const [near, far] = pair();
    home.#far = far;
    void serve(far, fs);
    home.client = await connect(near, {
      ...again(home.exchange, reconnect),
      ...options,
    });
    return home;
  }

  /** Ends the connection from the server's side. */
  lose(): void {
    this.#far?.close();
  }

  /** Ends it, and waits until the client has noticed. */
  async noticed(): Promise<PromiseWithResolvers<Connection>> {
    this.lose();
    return await this.exchange.call();
  }

  /** Serves the tree on a new connection for a call. */
  answer(call: PromiseWithResolvers<Connection>): void {
    const [near, far] = pair();
    this.#far = far;
    void serve(far, this.fs);
    call.resolve(near);
  }

  /** Ends the connection, and serves the next one. */
  async swap(): Promise<void> {
    this.answer(await this.noticed());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

/** A client, and the first of the servers that its test plays. */
export interface Stage extends AsyncDisposable {
  client: Client;
  server: ScriptedServer;
  exchange: Exchange;
}

/** Largest message of the servers that are played. */
export const MSIZE = 8192;

/** Answers the Tversion. */
export async function greet(
  server: ScriptedServer,
  msize: number = MSIZE,
): Promise<void> {
  const version = "9P2000";
  await server.exchange("Tversion", {}, { type: "Rversion", msize, version });
}

/** Connects a client to a server that is played; its root is fid 0. */
export async function stage(
  options: ConnectOptions = {},
  reconnect: ReconnectOptions = {},
): Promise<Stage> {
  const exchange = new Exchange();
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const connecting = connect(near, {
    ...again(exchange, reconnect),
    msize: MSIZE,
    closeTimeout: 0,
    ...options,
  });
  await greet(server);
  await server.exchange("Tattach", {}, { type: "Rattach", qid: qid(0, QTDIR) });
  const client = await connecting;
  return {
    client,
    server,
    exchange,
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** Plays the next connection up to the attach; gives the fid of the root that is attached for the walks. */
export async function welcome(
  { exchange }: Stage,
  msize: number = MSIZE,
): Promise<{ server: ScriptedServer; root: number }> {
  const server = await exchange.play();
  await greet(server, msize);
  const { fid } = await server.exchange("Tattach", {}, {
    type: "Rattach",
    qid: qid(0, QTDIR),
  });
  return { server, root: fid };
}

/** Plays the next connection for a client that has its root only. */
export async function restored(
  on: Stage,
  msize: number = MSIZE,
): Promise<ScriptedServer> {
  const { server, root } = await welcome(on, msize);
  await walked(server, root, 0, []);
  await server.exchange("Tclunk", { fid: root }, { type: "Rclunk" });
  return server;
}

/** Expects the walk from one fid to another, and answers with qids that count from 1. */
export async function walked(
  server: ScriptedServer,
  fid: number,
  newfid: number,
  wname: string[],
): Promise<void> {
  const wqid = wname.map((_, i) => qid(i + 1));
  const fields = { fid, newfid, wname };
  await server.exchange("Twalk", fields, { type: "Rwalk", wqid });
}

/** Answers all requests from here on; Treads with nothing. */
export function run(
  server: ScriptedServer,
  more?: (request: Tmessage) => Reply | undefined,
): void {
  void server.run((request) =>
    more?.(request) ??
      (request.type === "Tread"
        ? { type: "Rread", data: new Uint8Array(0) }
        : undefined)
  );
}

/** Checks the error of what is lost for good. */
export function assertStale(error: unknown, message: RegExp): void {
  assertInstanceOf(error, NinePError);
  assertEquals(error.code, "ESTALE");
  assertMatch(error.message, message);
}

/** A connection that ends when the server has been sent so many bytes. */
export function frail(connection: Connection, bytes: number): Connection {
  let left = bytes;
  return {
    peer: connection.peer,
    readable: connection.readable,
    writable: connection.writable,
    close: () => connection.close(),
    // pair() has the fast path.
    read: (buffer) => connection.read!(buffer),
    write: (data) => {
      left -= data.length;
      if (left < 0) connection.close();
      return connection.write!(data);
    },
  };
}
