/**
 * A server that behaves as that of pyroute2's `plan9` package does, awkward
 * as it is, for a client that is told so. What would have made the real one
 * lose messages or its client is also noted.
 *
 * @module
 */

import {
  decode,
  DMDIR,
  encode,
  isTmessage,
  type Message,
  type Qid,
  QTDIR,
  type Tmessage,
} from "../../codec.ts";
import { type Channel, openChannel } from "../../transport/channel.ts";
import { type Connection, pair } from "../../transport.ts";
import type { Reply } from "./scripted.ts";

/** A function of the server; it throws a {@linkcode PythonError}. */
export type PythonFunction = (
  argv: readonly unknown[],
  kwarg: Readonly<Record<string, unknown>>,
) => unknown;

/** A tree: data, functions, directories. */
export interface PythonTree {
  [name: string]: Uint8Array | PythonFunction | PythonTree;
}

/** An error as the server tells it. */
export class PythonError extends Error {
  readonly envelope: { class: string; argv: unknown[]; str: string };

  constructor(name: string, str: string, argv: unknown[] = []) {
    super(str);
    this.envelope = { class: name, argv, str };
  }
}

/** Largest message that arrives in one piece. */
const PIECE = 8192;

interface FidNode {
  readonly name: string;
  readonly qid: Qid;
  content: Uint8Array | PythonFunction | PythonTree;
  /** Arguments that were written, or the value of the call. */
  data: Uint8Array;
  isWritten: boolean;
}

/** The server: all its connections share their fids. */
export class Pyroute2Server {
  /** What the clients did that the real one does not bear. */
  readonly breaches: string[] = [];
  /** All requests, in order. */
  readonly log: Tmessage[] = [];
  /** Holds the answer to a request back until its promise is there. */
  hold: (request: Tmessage) => Promise<void> | undefined = () => undefined;
  /** True when the reply of an exit is lost with its connection. */
  losesExit = false;
  readonly #fids = new Map<number, FidNode>();
  readonly #nodes = new Map<unknown, FidNode>();
  readonly #root: FidNode;
  readonly #channels: Channel[] = [];

  constructor(tree: PythonTree) {
    this.#root = this.#node("/", tree);
  }

  /** A connection to it. */
  dial(): Connection {
    const [near, far] = pair();
    const channel = openChannel(far);
    this.#channels.push(channel);
    this.#serve(channel);
    return near;
  }

  /** Ends all connections. */
  close(): void {
    for (const channel of this.#channels) channel.close();
  }

  async #serve(channel: Channel): Promise<void> {
    const buffer = new Uint8Array(65536);
    while (true) {
      const chunk = await channel.read(buffer);
      if (chunk === null) return;
      let at = 0;
      while (at < chunk.length) {
        const view = new DataView(chunk.buffer, chunk.byteOffset + at);
        const size = view.getUint32(0, true);
        if (size > PIECE || at + size > chunk.length) {
          return this.#end(channel, "a message arrives in pieces");
        }
        if (at > 0) this.breaches.push("two messages in one chunk");
        const request = decode(chunk.slice(at, at + size));
        at += size;
        if (!isTmessage(request) || request.type === "Tflush") {
          return this.#end(channel, request.type);
        }
        this.log.push(request);
        await this.hold(request);
        const reply = this.#answer(request);
        const isExit = reply.type === "Rerror" && /Plan9Exit/.test(reply.ename);
        const message = { ...reply, tag: request.tag } as Message; // Of its tag.
        if (!isExit || !this.losesExit) await channel.write(encode(message));
        if (isExit) return channel.close();
        // What came behind it in the chunk is never looked at.
        if (reply.type === "Rerror") break;
      }
    }
  }

  #end(channel: Channel, breach: string): void {
    this.breaches.push(breach);
    channel.close();
  }

  #answer(request: Tmessage): Reply {
    try {
      return this.#handle(request);
    } catch (error) {
      const { envelope } = error instanceof PythonError
        ? error
        : new PythonError("TypeError", String(error));
      return { type: "Rerror", ename: JSON.stringify(envelope) };
    }
  }

  #handle(request: Tmessage): Reply {
    switch (request.type) {
      case "Tversion":
        return { type: "Rversion", msize: request.msize, version: "9P2000" };
      case "Tauth":
        return { type: "Rerror", ename: "no authentication required" };
      case "Tattach":
        this.#fids.set(request.fid, this.#root); // Whoever had it.
        return { type: "Rattach", qid: this.#root.qid };
      case "Twalk":
        return this.#walk(request);
      case "Topen":
        // Whatever the msize.
        return {
          type: "Ropen",
          qid: this.#find(request.fid).qid,
          iounit: 8192,
        };
      case "Tcreate":
      case "Tremove":
        return { type: "Rerror", ename: "permission denied" };
      case "Tclunk":
        return { type: "Rclunk" }; // And frees nothing.
      case "Twstat":
        return { type: "Rwstat" }; // Without effect.
      case "Tstat": {
        const node = this.#find(request.fid);
        const stat = {
          ...{ type: 0, dev: 0, qid: node.qid, atime: 0, mtime: 0 },
          ...{ name: node.name, uid: "root", gid: "root", muid: "" },
          ...attributes(node),
        };
        return { type: "Rstat", stat };
      }
      case "Tread": {
        const data = this.#read(this.#find(request.fid));
        const start = Number(request.offset);
        const end = start + request.count;
        return { type: "Rread", data: data.slice(start, end) };
      }
      case "Twrite": {
        const node = this.#find(request.fid);
        node.data = request.data.slice(); // Whatever the offset.
        node.isWritten = true;
        return { type: "Rwrite", count: request.data.length };
      }
      case "Tcall":
        return this.#call(request);
      default:
        throw new PythonError("KeyError", request.type);
    }
  }

  #walk(request: Extract<Tmessage, { type: "Twalk" }>): Reply {
    let node = this.#find(request.fid);
    const wqid: Qid[] = [];
    for (const name of request.wname) {
      if (name === ".") {
        this.breaches.push("a walk to .");
        continue; // No qid.
      }
      const { content } = node;
      const next = isTree(content) ? content[name] : undefined;
      if (next === undefined) {
        throw new PythonError("KeyError", "'file not found'");
      }
      node = this.#node(name, next);
      wqid.push(node.qid);
    }
    this.#fids.set(request.newfid, node);
    return { type: "Rwalk", wqid };
  }

  #read(node: FidNode): Uint8Array {
    const { content } = node;
    if (typeof content === "function") {
      if (node.isWritten) {
        node.isWritten = false;
        const kwarg = JSON.parse(new TextDecoder().decode(node.data));
        try {
          node.data = json(content([], kwarg));
        } catch (error) {
          // The error goes to the dumper, which does not know it.
          throw new PythonError(
            "TypeError",
            `Object of type ${error} is not JSON serializable`,
          );
        }
      }
      return node.data;
    }
    if (!isTree(content)) return node.data;
    const records = Object.entries(content)
      .flatMap(([name, member]) => [...record(this.#node(name, member))]);
    return Uint8Array.from(records);
  }

  #call(request: Extract<Tmessage, { type: "Tcall" }>): Reply {
    const { content } = this.#find(request.fid);
    if (typeof content !== "function") {
      // It means to answer with err 255.
      throw new PythonError("TypeError", "object of type 'int' has no len()");
    }
    const { argv, kwarg, data_arg: name } = JSON.parse(request.text);
    if (request.data.length > 0) kwarg[name] = request.data;
    const data = json(content(argv, kwarg));
    return { type: "Rcall", err: 0, text: "", data };
  }

  #node(name: string, content: FidNode["content"]): FidNode {
    const known = this.#nodes.get(content);
    if (known) return known;
    const type = isTree(content) ? QTDIR : 0;
    const qid = { type, vers: 0, path: BigInt(this.#nodes.size) };
    const data = content instanceof Uint8Array ? content : new Uint8Array(0);
    const node = { name, qid, content, data, isWritten: false };
    this.#nodes.set(content, node);
    return node;
  }

  #find(fid: number): FidNode {
    const node = this.#fids.get(fid);
    if (!node) throw new PythonError("KeyError", String(fid));
    return node;
  }
}

function isTree(content: FidNode["content"]): content is PythonTree {
  return typeof content === "object" && !(content instanceof Uint8Array);
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value ?? null));
}

function attributes(
  { content, data }: FidNode,
): { mode: number; length: bigint } {
  if (isTree(content)) return { mode: (DMDIR | 0o755) >>> 0, length: 0n };
  return { mode: 0o640, length: BigInt(data.length) };
}

/** A record of a directory, whose sizes count characters: texts are cut to as many bytes. */
function record(node: FidNode): Uint8Array {
  const texts = [node.name, "root", "root", ""].map((text) => {
    const length = [...text].length;
    return {
      length,
      bytes: new TextEncoder().encode(text).subarray(0, length),
    };
  });
  const { mode, length } = attributes(node);
  const size = texts.reduce((sum, { length }) => sum + 2 + length, 39);
  const bytes = new Uint8Array(2 + size);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, size, true); // type[2] and dev[4] are 0
  bytes[8] = node.qid.type; // qid.vers[4] is 0
  view.setBigUint64(13, node.qid.path, true);
  view.setUint32(21, mode, true); // atime[4] and mtime[4] are 0
  view.setBigUint64(33, length, true);
  let at = 41;
  for (const { length, bytes: text } of texts) {
    view.setUint16(at, length, true);
    bytes.set(text, at + 2);
    at += 2 + length;
  }
  return bytes;
}
