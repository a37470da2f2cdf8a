/**
 * Raw clients of a tree that is served over in-memory pairs. A test decides on
 * each message, and checks the exact texts of errors.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  decode,
  decodeDir,
  dontTouch,
  encode,
  FrameSplitter,
  isRmessage,
  type Message,
  NinePError,
  NOFID,
  NOTAG,
  OREAD,
  type Qid,
  type Rmessage,
  type Stat,
  type Tmessage,
} from "../../codec.ts";
import type {
  CallContext,
  FileFunction,
  FunctionNode,
  FunctionOptions,
  MemoryFs,
} from "../../fs/mod.ts";
import { serve, type ServeOptions } from "../../server.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import { pair } from "../../transport.ts";

/** A request without its tag. */
export type Request = Tmessage extends infer M
  ? M extends Tmessage ? Omit<M, "tag"> : never
  : never;

type ReplyTo<T extends Request> = T["type"] extends `T${infer Name}`
  ? Extract<Rmessage, { type: `R${Name}` }>
  : never;

/** Options of a client. */
export interface ClientOptions {
  msize?: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Encodes a text as UTF-8. */
export function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes bytes as UTF-8. */
export function textOf(data: Uint8Array): string {
  return decoder.decode(data);
}

/** A served tree with any number of clients. */
export class ServedTree implements AsyncDisposable {
  readonly fs: MemoryFs;
  /** Errors that the sessions reported; usually none. */
  readonly reports: unknown[] = [];
  /** Number of these errors that were also sent to the client. */
  expected = 0;
  readonly #options: ServeOptions;
  readonly #clients: TreeClient[] = [];
  readonly #served: Promise<void>[] = [];

  constructor(fs: MemoryFs, options: ServeOptions = {}) {
    this.fs = fs;
    this.#options = {
      onError: (error, { expected }) => {
        this.reports.push(error);
        if (expected) this.expected++;
      },
      ...options,
    };
  }

  /** Connects a client and attaches a user: fid 0 is the root. */
  async client(
    uname = "glenda",
    options: ClientOptions = {},
  ): Promise<TreeClient> {
    const client = this.raw();
    const { msize = 65536 } = options;
    await client.ask({ type: "Tversion", msize, version: "9P2000" }, NOTAG);
    await client.attach(0, uname);
    return client;
  }

  /** Connects a client that has sent nothing yet. */
  raw(): TreeClient {
    const [here, there] = pair();
    this.#served.push(serve(there, this.fs, this.#options));
    const client = new TreeClient(openChannel(here));
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.#served);
  }
}

/** A raw client. */
export class TreeClient {
  /** All replies, in the order of their arrival. */
  readonly replies: Rmessage[] = [];
  /** The frames of these replies. */
  readonly frames: Uint8Array[] = [];
  /** Resolves when the server has ended the connection. */
  readonly ended: Promise<void>;
  readonly #channel: Channel;
  readonly #waiting = new Map<number, {
    resolve: (reply: Rmessage) => void;
    reject: (error: Error) => void;
  }>();
  #tag = 0;
  #fid = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.ended = this.#pump();
  }

  async #pump(): Promise<void> {
    const splitter = new FrameSplitter(2 ** 21);
    const buffer = new Uint8Array(65536);
    while (true) {
      const chunk = await this.#channel.read(buffer);
      if (chunk === null) break;
      splitter.push(chunk);
      for (let frame; (frame = splitter.next()) !== undefined;) {
        const reply = decode(frame.slice());
        assert(isRmessage(reply), `the server sent ${reply.type}`);
        this.replies.push(reply);
        this.frames.push(frame.slice());
        this.#waiting.get(reply.tag)?.resolve(reply);
        this.#waiting.delete(reply.tag);
      }
    }
    for (const { reject } of this.#waiting.values()) {
      reject(new Error("the connection ended"));
    }
    this.#waiting.clear();
  }

  /** Closes the connection. */
  close(): void {
    this.#channel.close();
  }

  /** Sends bytes unchanged. */
  sendBytes(data: Uint8Array): void {
    void this.#channel.write(data.slice());
  }

  /** Sends a request without waiting; its reply arrives in `replies`. */
  send(request: Request, tag: number = this.#tag++ & 0x7fff): number {
    this.sendBytes(encode({ ...request, tag } as Message)); // With its tag.
    return tag;
  }

  /** Sends a request. Returns its tag, and a promise of any reply. */
  start(
    request: Request,
    tag?: number,
  ): { tag: number; reply: Promise<Rmessage> } {
    const sent = this.send(request, tag);
    return { tag: sent, reply: this.reply(sent) };
  }

  /** Waits for the reply to a tag that was just sent. */
  reply(tag: number): Promise<Rmessage> {
    const reply = new Promise<Rmessage>((resolve, reject) =>
      this.#waiting.set(tag, { resolve, reject })
    );
    reply.catch(() => {}); // A test need not wait for it.
    return reply;
  }

  /** Flushes a tag. Returns the types of all replies up to the Rflush. */
  async flush(oldtag: number): Promise<string[]> {
    const from = this.replies.length;
    await this.ask({ type: "Tflush", oldtag });
    return this.replies.slice(from).map(({ type }) => type);
  }

  /** Sends a request and returns its reply; throws an Rerror as NinePError. */
  async ask<T extends Request>(request: T, tag?: number): Promise<ReplyTo<T>> {
    const reply = await this.start(request, tag).reply;
    if (reply.type === "Rerror") throw new NinePError(reply.ename);
    assertEquals(reply.type, request.type.replace(/^T/, "R"));
    return reply as ReplyTo<T>; // As just compared.
  }

  /** Returns a fid number that is not in use. */
  newFid(): number {
    return ++this.#fid;
  }

  async attach(fid: number, uname: string, aname = ""): Promise<Qid> {
    const request = {
      type: "Tattach",
      fid,
      afid: NOFID,
      uname,
      aname,
    } as const;
    return (await this.ask(request)).qid;
  }

  /** Walks a path from the root, or from another fid. Returns the new fid. */
  async walk(path: string, from = 0): Promise<number> {
    const wname = path.split("/").filter((name) => name !== "");
    const newfid = this.newFid();
    const { wqid } = await this.ask({
      type: "Twalk",
      fid: from,
      newfid,
      wname,
    });
    if (wqid.length < wname.length) throw new NinePError("incomplete walk");
    return newfid;
  }

  /** Walks to a file and opens it. */
  async open(path: string, mode: number = OREAD): Promise<number> {
    const fid = await this.walk(path);
    await this.ask({ type: "Topen", fid, mode });
    return fid;
  }

  /** Creates a file in a directory. Returns its open fid. */
  async create(
    dir: string,
    name: string,
    perm = 0o666,
    mode: number = OREAD,
  ): Promise<number> {
    const fid = await this.walk(dir);
    await this.ask({ type: "Tcreate", fid, name, perm, mode });
    return fid;
  }

  async read(fid: number, offset = 0, count = 8192): Promise<Uint8Array> {
    const request = { type: "Tread", fid, offset: BigInt(offset), count };
    return (await this.ask(request as Request & { type: "Tread" })).data;
  }

  /** Reads from a fid, as text. */
  async text(fid: number, offset = 0, count = 8192): Promise<string> {
    return textOf(await this.read(fid, offset, count));
  }

  async write(
    fid: number,
    data: string | Uint8Array,
    offset = 0,
  ): Promise<number> {
    const { count } = await this.ask({
      type: "Twrite",
      fid,
      offset: BigInt(offset),
      data: typeof data === "string" ? bytes(data) : data,
    });
    return count;
  }

  async clunk(fid: number): Promise<void> {
    await this.ask({ type: "Tclunk", fid });
  }

  /** Removes the file of a fid, or of a path. */
  async remove(file: number | string): Promise<void> {
    const fid = typeof file === "string" ? await this.walk(file) : file;
    await this.ask({ type: "Tremove", fid });
  }

  /** Returns the attributes of a fid, or of a path. */
  async stat(file: number | string): Promise<Stat> {
    if (typeof file === "number") {
      return (await this.ask({ type: "Tstat", fid: file })).stat;
    }
    const fid = await this.walk(file);
    const stat = await this.stat(fid);
    await this.clunk(fid);
    return stat;
  }

  /** Changes attributes of a fid, or of a path. */
  async wstat(file: number | string, changes: Partial<Stat>): Promise<void> {
    const fid = typeof file === "string" ? await this.walk(file) : file;
    await this.ask({ type: "Twstat", fid, stat: dontTouch(changes) });
    if (typeof file === "string") await this.clunk(fid);
  }

  /**
   * Reads a directory by its open fid from offset 0 on, and returns the names.
   */
  async list(fid: number, count = 8192): Promise<string[]> {
    const names: string[] = [];
    for (let offset = 0;;) {
      const data = await this.read(fid, offset, count);
      if (data.length === 0) return names;
      names.push(...decodeDir(data).map(({ name }) => name));
      offset += data.length;
    }
  }

  /** Sends a Tcall to a path or a fid. Returns err, and the data as text. */
  async call(
    file: number | string,
    text: string,
    data: Uint8Array = new Uint8Array(0),
  ): Promise<{ err: number; value: string }> {
    const fid = typeof file === "string" ? await this.walk(file) : file;
    const reply = await this.ask({ type: "Tcall", fid, text, data });
    assertEquals(reply.text, "");
    return { err: reply.err, value: textOf(reply.data) };
  }
}

/** Fails unless a request is refused with exactly this text. */
export async function refused(
  ename: string,
  answer: Promise<unknown>,
): Promise<void> {
  assertEquals(await refusal(answer), ename);
}

/** Returns the error text of a refused request. */
export async function refusal(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof NinePError) return error.ename;
    throw error;
  }
  throw new Error("the request was not refused");
}

/** A call of a {@linkcode HeldFunction}. */
export interface HeldCall {
  /** The arguments without the context. */
  args: unknown[];
  context: CallContext;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/**
 * A function whose calls last until the test ends them. It ignores its signal.
 */
export class HeldFunction {
  /** The calls so far. */
  readonly calls: HeldCall[] = [];
  #wake: (() => void) | undefined;

  /** The function, to be registered with `context: true`. */
  readonly fn = (context: CallContext, ...args: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      this.calls.push({ args, context, resolve, reject });
      this.#wake?.();
    });

  /** Waits for a number of calls, and returns the last one. */
  async called(times = 1): Promise<HeldCall> {
    while (this.calls.length < times) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    assertEquals(this.calls.length, times);
    return this.calls[times - 1];
  }
}

/** Options of a function in a test, with a context or without. */
export type FunctionSetup = FunctionOptions & { context?: boolean };

/** Binds a function to a file. */
export function register(
  fs: MemoryFs,
  path: string,
  fn: FileFunction | HeldFunction,
  options: FunctionSetup = {},
): FunctionNode {
  if (fn instanceof HeldFunction) {
    return fs.register(path, fn.fn, { ...options, context: true });
  }
  return options.context
    ? fs.register(path, fn, { ...options, context: true })
    : fs.register(path, fn, { ...options, context: false });
}

/** Waits until a signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
