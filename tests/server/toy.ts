/**
 * A small tree behind a handler that logs its requests, for tests of the server
 * alone:
 *
 *     / (path 0)   a (1, "alpha")   d (2)   d/x (3, "xi")
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { NinePError, ORDWR, QTAUTH, QTDIR, type Stat } from "../../codec.ts";
import {
  type Fid,
  type FidNode,
  type Handler,
  serve,
  type ServeOptions,
} from "../../server.ts";
import { type Connection, pair } from "../../transport.ts";
import { bytes, soon, T, WireClient } from "./wire_client.ts";

/** A file of the tree. */
export class ToyNode implements FidNode {
  readonly qid: { type: number; vers: number; path: bigint };
  readonly name: string;
  parent: ToyNode;
  readonly members: Map<string, ToyNode> = new Map();
  content: Uint8Array;

  constructor(
    name: string,
    path: number,
    content: string | "dir" | "auth",
    parent?: ToyNode,
  ) {
    const type = content === "dir" ? QTDIR : content === "auth" ? QTAUTH : 0;
    this.qid = { type, vers: 0, path: BigInt(path) };
    this.name = name;
    this.content = bytes(type ? "" : content);
    this.parent = parent ?? this;
    parent?.members.set(name, this);
  }
}

/** Returns the stat record of a node. */
export function statOf(node: ToyNode): Stat {
  return {
    type: 0,
    dev: 0,
    qid: node.qid,
    mode: ((node.qid.type << 24) | 0o777) >>> 0,
    atime: 0,
    mtime: 0,
    length: BigInt(node.content.length),
    name: node.name,
    uid: "u",
    gid: "u",
    muid: "u",
  };
}

/** A handler whose nodes are {@linkcode ToyNode}. */
export type ToyHandler = Handler<ToyNode>;

/** The tree and its handler. */
export class Toy {
  readonly root: ToyNode = new ToyNode("/", 0, "dir");
  readonly a: ToyNode = new ToyNode("a", 1, "alpha", this.root);
  readonly d: ToyNode = new ToyNode("d", 2, "dir", this.root);
  readonly x: ToyNode = new ToyNode("x", 3, "xi", this.d);
  /** Log of clunks, removals and the end. */
  readonly log: string[] = [];
  #paths = 3;

  /** A handler that answers synchronously. */
  readonly handler: Required<
    Omit<
      ToyHandler,
      "version" | "auth" | "call" | "connect" | "leave" | "release"
    >
  > = {
    attach: () => this.root,
    walk: (node, name) => name === ".." ? node.parent : node.members.get(name),
    open: () => {},
    create: (fid, { name, perm }) => {
      const isDir = perm >= 0x80000000;
      const { node: dir } = fid;
      if (dir.members.has(name)) throw new NinePError("file already exists");
      this.log.push(`create ${name}`);
      return {
        node: new ToyNode(name, ++this.#paths, isDir ? "dir" : "", dir),
      };
    },
    read: ({ node }, { offset, count }) =>
      node.content.subarray(offset, offset + count),
    readdir: ({ node }) =>
      [...node.members.values()].map((member) => ({ stat: statOf(member) })),
    write: ({ node }, { data }) => {
      node.content = data.slice();
    },
    clunk: (fid: Fid<ToyNode>) => {
      this.log.push(`clunk ${fid.fid}`);
    },
    remove: ({ fid, node }) => {
      if (node === this.root) throw new NinePError("cannot remove root");
      node.parent.members.delete(node.name);
      this.log.push(`remove ${fid}`);
    },
    stat: ({ node }) => statOf(node),
    wstat: () => {},
    flush: () => {
      this.log.push("flush");
    },
    disconnect: () => {
      this.log.push("disconnect");
    },
  };
}

/** Makes a handler answer asynchronously. */
export function later(handler: ToyHandler): ToyHandler {
  const methods = Object.entries(handler).map(([name, method]) => [
    name,
    name === "flush" || name === "version"
      ? method
      : async (...args: unknown[]) => {
        await null;
        return Reflect.apply(method, handler, args);
      },
  ]);
  return Object.fromEntries(methods) as ToyHandler; // The methods have the same names and return promises.
}

/** Options of {@linkcode serveToy}. */
export interface ToyOptions extends ServeOptions {
  /** True when the handler answers asynchronously. */
  async?: boolean;
  /** Wraps the server's end of the pair. */
  wrap?: (connection: Connection) => Connection;
  /**
   * True when the client sends nothing at first. Otherwise fid 0 is the root.
   */
  fresh?: boolean;
  /**
   * msize that the client asks for; by default 8192, or that of the server if
   * smaller.
   */
  clientMsize?: number;
}

/** A server of a toy, and one client. */
export class ToyScene implements AsyncDisposable {
  readonly toy: Toy;
  readonly client: WireClient;
  /** Settles when serve() has ended. */
  readonly served: Promise<void>;
  /** Errors of onError that the test has not taken. */
  readonly errors: unknown[] = [];

  constructor(toy: Toy, overrides: Partial<ToyHandler>, options: ToyOptions) {
    const { async = false, wrap = (end) => end, ...rest } = options;
    const [near, far] = pair();
    this.toy = toy;
    this.client = new WireClient(near);
    const handler: ToyHandler = { ...toy.handler, ...overrides };
    this.served = serve(wrap(far), async ? later(handler) : handler, {
      ...rest,
      onError: (error) => this.errors.push(error),
    });
  }

  /** Returns the log of clunks, removals and the end, and empties it. */
  takeLog(): string[] {
    return this.toy.log.splice(0);
  }

  /** Returns the messages of the errors, and clears them. */
  takeErrors(): string[] {
    return this.errors.splice(0).map((error) =>
      error instanceof Error ? error.message : String(error)
    );
  }

  /** Closes the client's end, and waits until the server has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await soon(this.served);
    assertEquals(this.takeErrors(), [], "onError was told");
  }
}

/** Serves a toy. The test may replace some methods of the handler. */
export async function serveToy(
  overrides: Partial<ToyHandler> | ((toy: Toy) => Partial<ToyHandler>) = {},
  options: ToyOptions = {},
): Promise<ToyScene> {
  const toy = new Toy();
  const own = typeof overrides === "function" ? overrides(toy) : overrides;
  const scene = new ToyScene(toy, own, options);
  const { msize = 8192, clientMsize = Math.min(8192, msize) } = options;
  if (!options.fresh) await scene.client.start(clientMsize);
  return scene;
}

/** A time limit that never ends within a test. */
export const NEVER: number = 2 ** 31 - 1;

/** A promise that a test settles. */
export class Gate {
  readonly #opened: PromiseWithResolvers<void> = Promise.withResolvers();

  /** Resolves when the gate is opened; rejects when it is shut. */
  get passed(): Promise<void> {
    return this.#opened.promise;
  }

  open(): void {
    this.#opened.resolve();
  }

  shut(error: unknown): void {
    this.#opened.reject(error);
  }
}

/**
 * Returns a promise that rejects when a signal is aborted, for a handler that
 * honours it.
 */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** Calls a function before each write of a connection. */
export function onWrite(
  connection: Connection,
  beforeWrite: () => void,
): Connection {
  return {
    peer: connection.peer,
    readable: connection.readable,
    writable: connection.writable,
    read: (buffer) => connection.read!(buffer), // A pair has the fast path.
    write: (data) => {
      beforeWrite();
      return connection.write!(data);
    },
    close: () => connection.close(),
  };
}

/** Waits for the next task, so that all pending microtasks are done. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Opens `a` as fids 1 to `count`. */
export async function openA({ client }: ToyScene, count = 1): Promise<void> {
  for (let fid = 1; fid <= count; fid++) {
    await client.ask(T.walk(1, 0, fid, "a"), "Rwalk 1 1");
    await client.ask(T.open(1, fid, ORDWR), "Ropen 1 1");
  }
}

/** Pending reads that a test answers one by one, by their offsets. */
export class Reads {
  /** The offsets of the pending reads. */
  readonly asked: number[] = [];
  readonly #gates: Map<number, Gate> = new Map();
  readonly #content: (offset: number, count: number) => Uint8Array;

  /** @param content Makes the answer; the offset as text by default. */
  constructor(
    content: (offset: number, count: number) => Uint8Array = (offset) =>
      bytes(`${offset}`),
  ) {
    this.#content = content;
  }

  async read(
    { offset, count }: { offset: number; count: number },
  ): Promise<Uint8Array> {
    const gate = new Gate();
    this.asked.push(offset);
    this.#gates.set(offset, gate);
    await gate.passed;
    return this.#content(offset, count);
  }

  answer(offset: number): void {
    this.asked.splice(this.asked.indexOf(offset), 1);
    this.#gates.get(offset)?.open();
  }
}

/** A connection whose writes the test can block. */
export class BlockedConnection {
  /** Bytes that the peer has taken: `taken` of the connection. */
  taken = 0;
  #gate: Gate | undefined;
  readonly #closed = new Gate();

  readonly wrap = (connection: Connection): Connection => {
    const { write, close } = connection;
    assert(write, "a pair has the fast path");
    Object.defineProperty(connection, "taken", { get: () => this.taken });
    connection.write = (data) => {
      const gate = this.#gate;
      if (gate === undefined) return write.call(connection, data);
      return Promise.race([gate.passed, this.#closed.passed])
        .then(() => write.call(connection, data));
    };
    connection.close = () => {
      this.#closed.open();
      close.call(connection);
    };
    return connection;
  };

  block(): void {
    this.#gate = new Gate();
  }

  unblock(): void {
    this.#gate?.open();
    this.#gate = undefined;
  }
}
