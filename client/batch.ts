// connectBatch(): a client whose calls of one turn go out as one batch, which is
// a whole session. batchHandler() answers batches.

import {
  decode,
  decodeDir,
  DMDIR,
  encode,
  FrameSplitter,
  IOHDRSZ,
  MAXWELEM,
  MSIZE_DEFAULT,
  NinePError,
  NOFID,
  NOTAG,
  OREAD,
  OTRUNC,
  OWRITE,
  ProtocolError,
  type Rmessage,
  type Tmessage,
  VERSION9P,
} from "../codec.ts";
import { encodeCall, parseEnvelope } from "../codec/call.ts";
import { NO_BYTES } from "../codec/wire.ts";
import { cannot, lost } from "../transport/failure.ts";
import { type CallOptions, valueOf } from "./call.ts";
import { type FileStat, fileStat } from "./file_stat.ts";
import { checkReply } from "./connection/message_table.ts";
import { explained, namesOf } from "./operation.ts";

/** Fid of the root in each batch. */
const ROOT = 0;
/** Most requests of one batch. */
const REQUESTS_MAX = 10_000;
/** Most bytes of the replies to one batch. */
const REPLIES_MAX = 1024 * 1024 * 1024;

/** Options of {@linkcode connectBatch}. */
export interface BatchClientOptions {
  /** User, `none` by default. */
  uname?: string | undefined;
  /** Name of the server's tree; by default that of its main tree. */
  aname?: string | undefined;
  /** Headers of each POST, such as `authorization`. */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** A request without its tag, and without the fid of its operation. */
type Step = (fid: number, tag: number) => Tmessage;

/** An operation that waits for its batch. */
interface Waiting {
  readonly steps: readonly Step[];
  readonly resolve: (replies: Rmessage[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A client without a connection. The calls of one turn of the event loop go out
 * together, as one batch, and each batch is a session of its own. So a fid, a
 * current directory or an open file do not exist; {@linkcode Client} has them.
 */
export class BatchClient {
  readonly #send: (requests: Uint8Array) => Promise<Uint8Array>;
  readonly #peer: string;
  readonly #options: BatchClientOptions;
  #waiting: Waiting[] = [];

  /** @ignore Clients are made by connectBatch(). */
  constructor(
    send: (requests: Uint8Array) => Promise<Uint8Array>,
    peer: string,
    options: BatchClientOptions,
  ) {
    this.#send = send;
    this.#peer = peer;
    this.#options = options;
  }

  /**
   * Reads a whole file. A file of up to 1 MiB takes one batch, a longer one a
   * batch for each MiB.
   *
   * @param path Path.
   * @returns The content.
   */
  readFile(path: string | readonly string[]): Promise<Uint8Array<ArrayBuffer>> {
    return explained("read", path, async () => {
      const parts: Uint8Array[] = [];
      const count = MSIZE_DEFAULT - IOHDRSZ;
      for (let offset = 0;;) {
        const at = BigInt(offset);
        const replies = await this.#run([
          ...walk(path),
          (fid, tag) => ({ type: "Topen", tag, fid, mode: OREAD }),
          (fid, tag) => ({ type: "Tread", tag, fid, offset: at, count }),
        ]);
        const reply = last(replies, "Rread");
        parts.push(reply.data);
        offset += reply.data.length;
        if (reply.data.length < count) return joined(parts, offset);
      }
    });
  }

  /**
   * Reads a whole file as UTF-8.
   *
   * @param path Path.
   * @returns The text.
   */
  async readTextFile(path: string | readonly string[]): Promise<string> {
    return new TextDecoder().decode(await this.readFile(path));
  }

  /**
   * Replaces the content of a file, or makes the file. An existing file takes
   * one batch, a new one two.
   *
   * @param path Path.
   * @param data New content, as bytes or as a text.
   */
  writeFile(
    path: string | readonly string[],
    data: Uint8Array | string,
  ): Promise<void> {
    const bytes = typeof data === "string"
      ? new TextEncoder().encode(data)
      : data;
    return explained("write", path, async () => {
      const mode = OWRITE;
      try {
        await this.#run([
          ...walk(path),
          (fid, tag) => ({ type: "Topen", tag, fid, mode: mode | OTRUNC }),
          ...writes(bytes),
        ]);
      } catch (error) {
        if (!(error instanceof NinePError) || error.code !== "ENOENT") {
          throw error;
        }
        const names = namesOf(path);
        const name = names.pop() ?? "";
        await this.#run([
          ...walk(names),
          (fid, tag) => ({
            type: "Tcreate",
            tag,
            fid,
            name,
            perm: 0o666,
            mode,
          }),
          ...writes(bytes),
        ]);
      }
    });
  }

  /**
   * Gets the attributes of a file.
   *
   * @param path Path.
   * @returns The attributes.
   */
  stat(path: string | readonly string[]): Promise<FileStat> {
    return explained("stat", path, async () => {
      const replies = await this.#run([
        ...walk(path),
        (fid, tag) => ({ type: "Tstat", tag, fid }),
      ]);
      return fileStat(last(replies, "Rstat").stat);
    });
  }

  /**
   * Lists a directory.
   *
   * @param path Path.
   * @returns The attributes of the members that fit into one message of 1 MiB,
   *   which are some ten thousand.
   */
  readDir(path: string | readonly string[]): Promise<FileStat[]> {
    return explained("read directory", path, async () => {
      const count = MSIZE_DEFAULT - IOHDRSZ;
      const replies = await this.#run([
        ...walk(path),
        (fid, tag) => ({ type: "Topen", tag, fid, mode: OREAD }),
        (fid, tag) => ({ type: "Tread", tag, fid, offset: 0n, count }),
      ]);
      return decodeDir(last(replies, "Rread").data).map(fileStat);
    });
  }

  /**
   * Makes a directory.
   *
   * @param path Path of the directory, whose parent must exist.
   */
  mkdir(path: string | readonly string[]): Promise<void> {
    return explained("make directory", path, async () => {
      const names = namesOf(path);
      const name = names.pop() ?? "";
      const perm = (DMDIR | 0o777) >>> 0;
      await this.#run([
        ...walk(names),
        (fid, tag) => ({ type: "Tcreate", tag, fid, name, perm, mode: OREAD }),
      ]);
    });
  }

  /**
   * Removes a file or an empty directory.
   *
   * @param path Path.
   */
  remove(path: string | readonly string[]): Promise<void> {
    return explained("remove", path, async () => {
      await this.#run([
        ...walk(path),
        (fid, tag) => ({ type: "Tremove", tag, fid }),
      ]);
    });
  }

  /**
   * Calls a function file with one Tcall.
   *
   * @param path Path.
   * @param options Arguments, and how to decode the value.
   * @returns The value; undefined when it has no bytes.
   */
  call<T = unknown>(
    path: string | readonly string[],
    options: Pick<
      CallOptions<T>,
      "argv" | "kwarg" | "data" | "dataArg" | "loader"
    > = {},
  ): Promise<T> {
    return explained("call", path, async () => {
      const { argv = [], kwarg = {}, data = NO_BYTES, dataArg = "data" } =
        options;
      const text = encodeCall({ argv, kwarg, dataArg });
      const replies = await this.#run([
        ...walk(path),
        (fid, tag) => ({ type: "Tcall", tag, fid, text, data }),
      ]);
      return valueOf(last(replies, "Rcall"), options.loader);
    });
  }

  /** Adds an operation to the batch of this turn. Gives its replies. */
  #run(steps: Step[]): Promise<Rmessage[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ steps, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  /** Sends the operations that wait, in batches. */
  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    let batch: Waiting[] = [];
    let count = 0;
    for (const operation of waiting) {
      if (count > 0 && count + operation.steps.length > REQUESTS_MAX) {
        void this.#exchange(batch);
        batch = [];
        count = 0;
      }
      batch.push(operation);
      count += operation.steps.length;
    }
    void this.#exchange(batch);
  }

  async #exchange(batch: readonly Waiting[]): Promise<void> {
    try {
      const replies = await this.#replies(batch);
      let tag = 1;
      for (const [i, { steps, resolve, reject }] of batch.entries()) {
        try {
          const begin = tag;
          tag += steps.length;
          resolve(steps.map((step, n) => {
            const request = step(i + 1, begin + n);
            return checked(request, replies.get(request.tag), this.#peer);
          }));
        } catch (error) {
          reject(error);
        }
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  /** Sends a batch. Returns the replies by their tags. */
  async #replies(batch: readonly Waiting[]): Promise<Map<number, Rmessage>> {
    const { uname = "none", aname = "" } = this.#options;
    const attach: Tmessage = {
      ...{ type: "Tattach", tag: 0, fid: ROOT, afid: NOFID },
      ...{ uname, aname },
    };
    const frames = [
      encode({
        type: "Tversion",
        tag: NOTAG,
        msize: MSIZE_DEFAULT,
        version: VERSION9P,
      }),
      encode(attach),
    ];
    let tag = 1;
    for (const [i, { steps }] of batch.entries()) {
      for (const step of steps) frames.push(encode(step(i + 1, tag++)));
    }
    const size = frames.reduce((sum, { length }) => sum + length, 0);
    const splitter = new FrameSplitter(MSIZE_DEFAULT);
    splitter.push(await this.#send(joined(frames, size)));
    const replies = new Map<number, Rmessage>();
    for (let frame = splitter.next(); frame; frame = splitter.next()) {
      const reply = decode(frame);
      replies.set(reply.tag, reply as Rmessage); // checked() compares the type.
    }
    const version = replies.get(NOTAG);
    if (version?.type !== "Rversion" || version.version !== VERSION9P) {
      throw new ProtocolError(
        `Cannot start a session with "${this.#peer}": it does not speak ${VERSION9P}`,
      );
    }
    if (version.msize < MSIZE_DEFAULT) {
      throw new ProtocolError(
        `Cannot start a session with "${this.#peer}": its msize is ${version.msize}, a batch needs ${MSIZE_DEFAULT}`,
      );
    }
    checked(attach, replies.get(0), this.#peer);
    return replies;
  }
}

/**
 * Makes a client that keeps no connection: the calls of one turn of the event
 * loop go out in one POST, or in one call of a function.
 *
 * @param target URL of a `webHandler()`, such as `https://example.org/9p`, or
 *   the function of a `batchHandler()`.
 * @param options User, tree, headers.
 * @returns The client. It need not be closed.
 *
 * @example Three calls in one batch
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { batchHandler, connectBatch, MemoryFs } from "@ninep/ninep";
 *
 * const fs = new MemoryFs({ motd: "hello\n" });
 * fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
 * const client = connectBatch(batchHandler(fs));
 * const [motd, sum, { length }] = await Promise.all([
 *   client.readTextFile("motd"),
 *   client.call("add", { argv: [17, 25] }),
 *   client.stat("motd"),
 * ]);
 * assertEquals([motd, sum, length], ["hello\n", 42, 6]);
 * ```
 */
export function connectBatch(
  target: string | ((requests: Uint8Array) => Promise<Uint8Array>),
  options: BatchClientOptions = {},
): BatchClient {
  if (typeof target === "function") {
    return new BatchClient(target, "batch", options);
  }
  const send = (requests: Uint8Array) =>
    post(target, requests, options.headers);
  return new BatchClient(send, target, options);
}

async function post(
  url: string,
  requests: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/octet-stream", ...headers },
      body: new Uint8Array(requests),
    });
  } catch (error) {
    throw cannot("connect to", url, error);
  }
  const { ok, status, body } = response;
  if (!ok || !body) {
    await body?.cancel();
    throw lost(url, new Error(`the server answered ${status}`));
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return joined(parts, size);
    size += value.length;
    if (size > REPLIES_MAX) {
      await reader.cancel();
      throw lost(url, new Error("the replies to a batch have more than 1 GiB"));
    }
    parts.push(value);
  }
}

/** Returns the Twalks to a path. */
function walk(path: string | readonly string[]): Step[] {
  const names = namesOf(path);
  const steps: Step[] = [];
  let from: number | undefined = ROOT;
  do {
    const wname = names.splice(0, MAXWELEM);
    const start = from;
    steps.push((newfid, tag) => ({
      type: "Twalk",
      tag,
      fid: start ?? newfid,
      newfid,
      wname,
    }));
    from = undefined;
  } while (names.length > 0);
  return steps;
}

/** Returns the Twrites of a file, and the Tclunk that ends them. */
function writes(data: Uint8Array): Step[] {
  const size = MSIZE_DEFAULT - IOHDRSZ;
  const steps: Step[] = [];
  for (let at = 0; at < data.length; at += size) {
    const part = data.subarray(at, at + size);
    const offset = BigInt(at);
    steps.push((fid, tag) => ({
      type: "Twrite",
      tag,
      fid,
      offset,
      data: part,
    }));
  }
  steps.push((fid, tag) => ({ type: "Tclunk", tag, fid }));
  return steps;
}

/** Returns the reply to a request. Throws if there is none, or an error. */
function checked(
  request: Tmessage,
  reply: Rmessage | undefined,
  peer: string,
): Rmessage {
  if (reply === undefined) {
    throw lost(peer, new Error(`the server has not answered ${request.type}`));
  }
  if (reply.type === "Rerror") {
    throw parseEnvelope(reply.ename) ??
      new NinePError(reply.ename, { request: request.type });
  }
  if (reply.type.slice(1) !== request.type.slice(1)) {
    throw new ProtocolError(
      `Cannot take the reply to ${request.type}: it is ${reply.type}`,
    );
  }
  checkReply(request, reply);
  const isIncomplete = request.type === "Twalk" && reply.type === "Rwalk" &&
    reply.wqid.length < request.wname.length;
  if (isIncomplete) throw new NinePError("file does not exist");
  return reply;
}

/** Returns the last reply, which must have a type. */
function last<Type extends Rmessage["type"]>(
  replies: readonly Rmessage[],
  type: Type,
): Extract<Rmessage, { type: Type }> {
  const reply = replies.at(-1);
  if (reply?.type !== type) {
    throw new ProtocolError(`Cannot take the reply: it is ${reply?.type}`);
  }
  return reply as Extract<Rmessage, { type: Type }>; // Its type was compared.
}

function joined(
  parts: readonly Uint8Array[],
  size: number,
): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
