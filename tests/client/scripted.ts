/**
 * A server that follows the script of a test: the test says frame by frame
 * which request to expect, and which reply to send, legal or not. The server
 * counts fids as a real server does, and fails the test when the client leaks
 * one.
 *
 * @module
 */

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { concat } from "@std/bytes";
import {
  type Client,
  connect,
  type ConnectOptions,
  type RpcRequest,
} from "../../client.ts";
import {
  decode,
  DMDIR,
  encode,
  FrameSplitter,
  isTmessage,
  type Message,
  NOFID,
  NOTAG,
  type Qid,
  QTDIR,
  type Rmessage,
  type Stat,
  type Tmessage,
} from "../../codec.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import { type Connection, pair } from "../../transport.ts";

/** A reply without its tag. */
export type Reply = Rmessage extends infer M
  ? M extends Rmessage ? Omit<M, "tag"> : never
  : never;

/** Expected fields of a request. */
export type Fields<T extends Tmessage["type"]> = Partial<
  Extract<Tmessage, { type: T }>
>;

/** Makes a qid, by default of a plain file. */
export function qid(path: number, type = 0): Qid {
  return { type, vers: 0, path: BigInt(path) };
}

/** Makes a stat record. */
export function stat(name: string, length = 0, mode = 0o644): Stat {
  return {
    type: 0,
    dev: 0,
    qid: qid(7, mode & DMDIR ? QTDIR : 0),
    mode,
    atime: 0,
    mtime: 0,
    length: BigInt(length),
    name,
    uid: "u",
    gid: "g",
    muid: "m",
  };
}

/** The server's end of a connection. */
export class ScriptedServer {
  /** The fids that exist according to the replies. */
  readonly fids: Set<number> = new Set();
  /** Requests whose tags are in use, by tag. */
  readonly open: Map<number, Tmessage> = new Map();
  /** All requests in the order of their arrival. */
  readonly log: Tmessage[] = [];
  /**
   * Tags that a pending Tflush names; true when the request of the tag is
   * answered.
   */
  readonly #flushing = new Map<number, boolean>();
  readonly #channel: Channel;
  readonly #splitter = new FrameSplitter(2 ** 24);
  #sent: Promise<void> = Promise.resolve();
  readonly #buffer = new Uint8Array(2 ** 16);

  constructor(connection: Connection) {
    this.#channel = openChannel(connection);
  }

  /** Waits for the next request; null at the end of the connection. */
  async next(): Promise<Tmessage | null> {
    while (true) {
      const frame = this.#splitter.next();
      if (frame === undefined) {
        const chunk = await this.#channel.read(this.#buffer);
        if (chunk === null) return null;
        this.#splitter.push(chunk);
        continue;
      }
      const request = decode(frame.slice());
      assert(isTmessage(request), `the client sent ${request.type}`);
      assert(
        !this.open.has(request.tag),
        `tag ${request.tag} is in use twice`,
      );
      if (request.tag === NOTAG) assertEquals(request.type, "Tversion");
      this.open.set(request.tag, request);
      this.log.push(request);
      if (request.type === "Tflush") this.#flushing.set(request.oldtag, false);
      return request;
    }
  }

  /**
   * Waits for the next request; fails unless it has this type and these fields.
   */
  async expect<T extends Tmessage["type"]>(
    type: T,
    fields: Fields<T> = {},
  ): Promise<Extract<Tmessage, { type: T }>> {
    const request = await this.next();
    assert(request !== null, `${type} expected, the connection ended`);
    const picked = Object.fromEntries(
      // Compared by name, whatever the message.
      Object.keys(fields).map((name) => [name, Reflect.get(request, name)]),
    );
    assertEquals<unknown>(
      { type: request.type, ...picked },
      { type, ...fields },
    );
    return request as Extract<Tmessage, { type: T }>; // As just compared.
  }

  /** Answers a request. */
  answer(request: Tmessage, reply: Reply): void {
    this.send(this.frame(request, reply));
  }

  /** Answers with an error. */
  refuse(request: Tmessage, ename = "no"): void {
    this.answer(request, { type: "Rerror", ename });
  }

  /** Encodes a reply that the caller sends. The request counts as answered. */
  frame(request: Tmessage, reply: Reply): Uint8Array {
    this.#account(request, reply);
    // The tag of a flushed request stays in use until the Rflush.
    if (this.#flushing.has(request.tag)) this.#flushing.set(request.tag, true);
    else this.open.delete(request.tag);
    if (request.type === "Tflush") {
      const { oldtag } = request;
      const isFree = reply.type === "Rflush" || this.#flushing.get(oldtag);
      this.#flushing.delete(oldtag);
      if (isFree) this.open.delete(oldtag);
    }
    return encode({ ...reply, tag: request.tag } as Message); // With its tag.
  }

  /** Sends bytes with one write. */
  send(...parts: Uint8Array[]): void {
    const bytes = concat(parts);
    // In order; a write to a closed connection is ignored.
    this.#sent = this.#sent
      .then(() => this.#channel.write(bytes))
      .catch(() => {});
  }

  /** Waits for a request as expect() does, and answers it. */
  async exchange<T extends Tmessage["type"]>(
    type: T,
    fields: Fields<T>,
    reply: Reply,
  ): Promise<Extract<Tmessage, { type: T }>> {
    const request = await this.expect(type, fields);
    this.answer(request, reply);
    return request;
  }

  /**
   * Answers requests until the connection ends. Requests without a reply stay
   * pending.
   */
  async run(
    handler: (request: Tmessage) => Reply | undefined,
  ): Promise<void> {
    for (
      let request = await this.next();
      request !== null;
      request = await this.next()
    ) {
      const reply = handler(request) ?? defaultReply(request);
      if (reply) this.answer(request, reply);
    }
  }

  /** Closes the connection. */
  close(): void {
    this.#channel.close();
  }

  #account(request: Tmessage, reply: Reply): void {
    const isError = reply.type === "Rerror";
    switch (request.type) {
      case "Tversion":
        this.fids.clear();
        this.open.clear();
        this.#flushing.clear();
        break;
      case "Tattach":
        if (!isError) this.#bear(request.fid);
        break;
      case "Tauth":
        if (!isError) this.#bear(request.afid);
        break;
      case "Twalk": {
        const { fid, newfid, wname } = request;
        assert(this.fids.has(fid), `walk from fid ${fid}, which is not there`);
        if (reply.type !== "Rwalk" || newfid === fid) break;
        if (reply.wqid.length === wname.length) this.#bear(newfid);
        break;
      }
      case "Tclunk":
      case "Tremove":
        assert(
          isError || this.fids.has(request.fid),
          `${request.type} of fid ${request.fid}, which is not there`,
        );
        this.fids.delete(request.fid);
        break;
    }
  }

  #bear(fid: number): void {
    assert(fid !== NOFID && !this.fids.has(fid), `fid ${fid} is made twice`);
    this.fids.add(fid);
  }
}

/**
 * Returns the reply that run() sends when the handler of the test gives none.
 */
export function defaultReply(request: Tmessage): Reply | undefined {
  switch (request.type) {
    case "Twalk":
      return { type: "Rwalk", wqid: request.wname.map((_, i) => qid(i + 1)) };
    case "Topen":
      return { type: "Ropen", qid: qid(1), iounit: 0 };
    case "Tcreate":
      return { type: "Rcreate", qid: qid(1), iounit: 0 };
    case "Twrite":
      return { type: "Rwrite", count: request.data.length };
    case "Tstat":
      return { type: "Rstat", stat: stat("a") };
    case "Tclunk":
      return { type: "Rclunk" };
    case "Tremove":
      return { type: "Rremove" };
    case "Tflush":
      return { type: "Rflush" };
    default:
      return undefined;
  }
}

/** A client and its scripted server. */
export class Scene {
  readonly client: Client;
  readonly server: ScriptedServer;
  /** True when the script leaves fids behind on purpose. */
  mayLeak = false;
  #running: Promise<unknown> | undefined;

  constructor(client: Client, server: ScriptedServer) {
    this.client = client;
    this.server = server;
  }

  /** Answers all further requests by a handler. */
  run(handler: (request: Tmessage) => Reply | undefined): void {
    // An error closes the connection, and is thrown at the end of the test.
    this.#running = this.server.run(handler).catch((error) => {
      this.server.close();
      return error;
    });
  }

  /** Closes both ends; fails when fids are left. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#running) this.run(() => undefined);
    await this.client.close();
    const error = await this.#running;
    this.server.close();
    if (error !== undefined) throw error;
    if (!this.mayLeak) assertEquals([...this.server.fids], [], "fids left");
  }
}

/**
 * Connects a client to a scripted server; root fid 0, msize 8192 by default.
 */
export async function start(options: ConnectOptions = {}): Promise<Scene> {
  const { msize = 8192 } = options;
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const connecting = connect(near, { ...options, msize });
  await server.exchange("Tversion", {}, {
    type: "Rversion",
    msize,
    version: "9P2000",
  });
  await server.exchange("Tattach", {}, { type: "Rattach", qid: qid(0, QTDIR) });
  return new Scene(await connecting, server);
}

/**
 * Returns the error of connect() to a server that answers the Tversion with
 * these bytes or this reply.
 */
export async function greeted(
  answer: Uint8Array | Reply,
  msize = 8192,
): Promise<unknown> {
  const [near, far] = pair();
  const server = new ScriptedServer(far);
  const connecting = connect(near, { msize }).then(
    () => assert(false, "connect() must reject"),
    (error) => error,
  );
  const version = await server.expect("Tversion", { tag: NOTAG, msize });
  if (answer instanceof Uint8Array) server.send(answer);
  else server.answer(version, answer);
  const error = await connecting;
  assertEquals(await server.next(), null, "the connection must be closed");
  server.close();
  return error;
}

/** Answers the walk of a path from the root. */
export async function walkTo(
  { server }: Scene,
  newfid = 1,
  count = 1,
): Promise<void> {
  const wqid = Array.from({ length: count }, (_, i) => qid(i + 1));
  await server.exchange("Twalk", { fid: 0, newfid }, { type: "Rwalk", wqid });
}

/**
 * Answers the first write of a transfer. The length in the reply to the Tstat
 * shows that the file is plain, so the client may have several writes in
 * flight.
 */
export async function takeFirst(
  { server }: Pick<Scene, "server">,
): Promise<Extract<Tmessage, { type: "Twrite" }>> {
  const write = await server.expect("Twrite");
  const count = write.data.length;
  server.answer(write, { type: "Rwrite", count });
  const length = Number(write.offset) + count;
  await server.exchange("Tstat", { fid: write.fid }, {
    type: "Rstat",
    stat: stat("f", length),
  });
  return write;
}

/** Opens a file as fid 1 of a new scene. */
export async function openFile(
  scene: Scene,
  options: { qid?: Qid; iounit?: number } = {},
): Promise<Awaited<ReturnType<Client["open"]>>> {
  const { client, server } = scene;
  const opening = client.open("f", { read: true, write: true });
  await walkTo(scene);
  await server.exchange("Topen", { fid: 1 }, {
    type: "Ropen",
    qid: options.qid ?? qid(1),
    iounit: options.iounit ?? 0,
  });
  return await opening;
}

/** Sends a request that the script does not answer yet. */
export async function hold(
  { client, server }: Scene,
  request: RpcRequest = { type: "Tstat", fid: 0 },
): Promise<{ reply: Promise<unknown>; request: Tmessage }> {
  const reply = client.protocol.rpc(request);
  reply.catch(() => {}); // The test may look at it later.
  return { reply, request: await server.expect(request.type) };
}

/** Returns the lowest free fid without taking it. */
export function nextFid({ client }: Scene): number {
  const fid = client.protocol.allocFid();
  client.protocol.releaseFid(fid);
  return fid;
}

/** Waits until the client has processed all replies. */
export async function settled(scene: Scene): Promise<void> {
  const { request, reply } = await hold(scene);
  scene.server.answer(request, { type: "Rstat", stat: stat("/") });
  await reply;
}

/** Returns the types of the requests after Tversion and Tattach. */
export function sent({ server }: Scene): string[] {
  return server.log.slice(2).map(({ type }) => type);
}

/** Returns the error of a promise. The rejection counts as handled. */
export function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert(false, "the promise must reject"),
    (error) => error,
  );
}

/** Fails unless an error is a timeout with this message. */
export function assertTimeout(error: unknown, message: string): void {
  assertInstanceOf(error, DOMException);
  assertEquals([error.name, error.message], ["TimeoutError", message]);
}
