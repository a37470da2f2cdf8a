/**
 * Both ends of the connections of the soak test: the server's, with an account
 * of all that must be given back, and the client's, with troubles to come.
 *
 * @module
 */

import { equals } from "@std/bytes";
import { type Message, ProtocolError } from "../../codec.ts";
import type { PathNode } from "../../fs/mod.ts";
import { type Fid, type Handler, serve } from "../../server.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import type { Connection } from "../../transport.ts";
import type { Random } from "../codec/vectors.ts";

/** What is counted while it lasts, and must be nothing in the end. */
export class Census {
  /** Listeners on signals that are not aborted. */
  readonly listeners: Set<unknown> = new Set<unknown>();
  /** Fids that the tree was asked about and that are not clunked. */
  readonly fids: Set<Fid<PathNode>> = new Set();
  readonly #clunked = new WeakSet<Fid<PathNode>>();
  /** Connections that are served. */
  readonly served: Map<Connection, ServedConnection> = new Map();
  /** The last of each user. */
  readonly attached: Map<string, ServedConnection> = new Map();
  /** Answers that are still to come. */
  readonly late: Set<Promise<unknown>> = new Set();
  /** What went wrong where no client sees it. */
  readonly errors: unknown[] = [];
  /** An abort whose signal tells who listens. */
  abort(): AbortController {
    const abort = new AbortController();
    const { signal } = abort;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    const own = new Set<unknown>();
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      own.add(args[1]);
      this.listeners.add(args[1]);
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      this.listeners.delete(args[1]);
      remove(...args);
    };
    add("abort", () => own.forEach((one) => this.listeners.delete(one)));
    return abort;
  }

  /**
   * A handler that keeps account of the fids which it is asked about, and that
   * answers some requests later than it does them. A stat of the root is
   * always so: when it is answered, all that came before it is.
   */
  watch(handler: Handler<PathNode>, random: Random): Handler<PathNode> {
    return new Proxy(handler, {
      get: (target, name) => {
        const method = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        return (...args: unknown[]) => {
          this.#note(String(name), args);
          const answer = () => Reflect.apply(method, target, args);
          const { node } = Object(args[0]);
          const isRoot = name === "stat" && node.isRoot;
          const mayBeLate = name !== "flush" && name !== "version";
          const isLate = isRoot || (mayBeLate && random.below(8) === 0);
          return isLate ? this.#later(answer, Object(args[1])) : answer();
        };
      },
    });
  }

  #later(
    answer: () => unknown,
    request: { data?: unknown },
  ): Promise<unknown> {
    const data = request.data instanceof Uint8Array ? request.data : undefined;
    const late = (async () => {
      const before = data?.slice();
      const result = answer();
      const own = result instanceof Uint8Array ? result.slice() : result;
      if (result instanceof Promise) result.catch(() => {}); // In time: below.
      await new Promise((resolve) => setTimeout(resolve));
      if (data && before && !equals(data, before)) {
        this.errors.push(new Error("data have changed before the answer"));
      }
      return own;
    })();
    this.late.add(late);
    const done = () => this.late.delete(late);
    late.then(done, done);
    return late;
  }

  #note(method: string, args: unknown[]): void {
    if (method === "flush") return; // That may come when the fid has gone.
    for (const arg of args) {
      const { fid, uname, connection } = Object(arg);
      if (method === "attach") {
        // Not born yet.
        const served = this.served.get(connection);
        if (served !== undefined) this.attached.set(uname, served);
        continue;
      }
      // A fid, or a request that has one.
      const one = typeof fid === "number" ? arg : fid;
      if (one === undefined) continue;
      if (this.#clunked.has(one)) {
        this.errors.push(new Error(`${method}() with a fid that is gone`));
      }
      if (method !== "clunk") {
        this.fids.add(one);
      } else {
        this.fids.delete(one);
        this.#clunked.add(one);
      }
    }
  }
}

/** The server's end of a connection. */
export class ServedConnection {
  /** Ends the session from the server's side. */
  readonly stop: AbortController;
  /** Resolves when the session is over. */
  readonly over: Promise<void>;
  /** Tags of requests that have no answer. */
  readonly tags: Set<number> = new Set();
  /** Tag of the last request; undefined where requests are not watched. */
  lastTag: number | undefined;
  readonly #census: Census;
  readonly #flushes = new Map<number, number>();

  constructor(
    connection: Connection,
    handler: Handler<PathNode>,
    census: Census,
  ) {
    this.#census = census;
    this.stop = census.abort();
    census.served.set(connection, this);
    this.over = serve(connection, handler, {
      signal: this.stop.signal,
      closeTimeout: 20,
      // Half of the connections; it takes time.
      ...(connection.peer === "pair"
        ? { onMessage: ({ message }) => message && this.#note(message) }
        : {}),
      onError: (error) => {
        if (!(error instanceof ProtocolError)) census.errors.push(error);
      },
    }).finally(() => census.served.delete(connection));
  }

  /** Each tag is answered once, and never after the Rflush. */
  #note(message: Message): void {
    const { type, tag } = message;
    if (type.startsWith("T")) {
      this.tags.add(tag);
      this.lastTag = tag;
      if (message.type === "Tflush") this.#flushes.set(tag, message.oldtag);
      return;
    }
    if (!this.tags.delete(tag)) {
      this.#census.errors.push(new Error(`${type} of tag ${tag}: no request`));
    }
    if (type !== "Rflush") return;
    this.tags.delete(this.#flushes.get(tag) ?? tag);
    this.#flushes.delete(tag);
  }
}

/** The client's end of a connection, with troubles to come. */
export class Wire implements Connection {
  /** True when it is cut, or about to be. */
  gone = false;
  readonly #channel: Channel;
  readonly #random: Random;
  #countdown = 0;
  #trouble: () => "cut" | undefined = () => undefined;

  constructor(connection: Connection, random: Random) {
    this.#channel = openChannel(connection);
    this.#random = random;
  }

  get peer(): string {
    return this.#channel.peer;
  }
  get readable(): ReadableStream<Uint8Array> {
    throw new TypeError("the fast path is there to be used");
  }
  get writable(): WritableStream<Uint8Array> {
    throw new TypeError("the fast path is there to be used");
  }

  /** Has something happen at the write of that number from now on: it may cut the connection. */
  arm(countdown: number, trouble: () => "cut" | undefined): void {
    this.#countdown = countdown;
    this.#trouble = trouble;
  }

  read(buffer: Uint8Array): Promise<Uint8Array | null> {
    return this.#channel.read(buffer);
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    const isTime = this.#countdown > 0 && --this.#countdown === 0;
    if (isTime && this.#trouble() === "cut") return this.#cut(bytes);
    // Some messages come in pieces.
    const inPieces = this.#random.below(8) === 0;
    return inPieces ? this.#writeTwice(bytes) : this.#channel.write(bytes);
  }

  async #writeTwice(bytes: Uint8Array): Promise<void> {
    const at = this.#random.below(bytes.length);
    await this.#channel.write(bytes.subarray(0, at));
    await this.#channel.write(bytes.subarray(at));
  }

  /** Sends none, a part, or all of the bytes and nothing more. */
  async #cut(bytes: Uint8Array): Promise<void> {
    this.gone = true;
    const size = this.#random.pick([
      0,
      this.#random.below(bytes.length),
      bytes.length,
    ]);
    if (size > 0) await this.#channel.write(bytes.subarray(0, size));
    if (this.#random.below(2)) await this.#channel.closeWrite();
    else this.#channel.close();
  }

  closeWrite(): Promise<void> {
    return this.#channel.closeWrite();
  }

  close(): void {
    this.#channel.close();
  }
}
