/**
 * A server with all that the cases of conformance/ ask for, in memory and over
 * TCP: functions, reads that block, a file that is broken, an authentication.
 *
 * @module
 */

import {
  type Handler,
  listen,
  type ListenOptions,
  MemoryFs,
  type MemoryFsOptions,
  NinePError,
  pair,
  serve,
} from "../../mod.ts";
import { makeTree } from "../../examples/conformance_server.ts";
import type { PathNode } from "../../fs/mod.ts";
import { type Connection, dial } from "../../transport.ts";
import type { AuthServer, Connect } from "../conformance/mod.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A server, and how to connect to it. */
export interface Host extends AsyncDisposable {
  readonly connect: Connect;
  /** Begins to end, and ends the connections. */
  stop(): void;
}

/** Serves a handler: in memory, or on a port of the loopback device. */
export type Transport = (
  handler: Handler<PathNode>,
  options?: ListenOptions,
) => Promise<Host>;

/** Pairs in memory. */
export const inMemory: Transport = (handler, options = {}) => {
  const stop = new AbortController();
  const served = new Set<Promise<void>>();
  return Promise.resolve({
    connect: (): Connection => {
      const [here, there] = pair();
      served.add(serve(there, handler, { ...options, signal: stop.signal }));
      return here;
    },
    stop: () => stop.abort(),
    async [Symbol.asyncDispose](): Promise<void> {
      stop.abort();
      await Promise.all(served);
    },
  });
};

/** TCP. */
export const overTcp: Transport = async (handler, options) => {
  const server = await listen("tcp://127.0.0.1:0", handler, options);
  return {
    connect: () => dial(server.addr),
    stop: () => void server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  };
};

/** A tree that everybody may write in, with every file that a case looks for. */
export function makeHandler(
  options: MemoryFsOptions = {},
): Handler<PathNode> {
  return makeTree(options).handler;
}

/** A handler with some of its functions replaced. */
export function override(
  handler: Handler<PathNode>,
  functions: Partial<Handler<PathNode>>,
): Handler<PathNode> {
  return { ...handler, ...functions };
}

/** A tree whose users must say a word first; any word but one will not do. */
export function makeGuarded(): Handler<PathNode> {
  const fs = new MemoryFs({}, { mode: 0o777 });
  const qid = { type: 0x08, vers: 0, path: 1n << 40n };
  const passed = new WeakSet<object>();
  return override(fs.handler, {
    // The node of an authentication is the handler's own, of no tree.
    auth: () => ({ qid: { ...qid } }) as PathNode,
    read: (fid) => encoder.encode(passed.has(fid.node) ? "welcome" : "who?"),
    write: (fid, { data }) => {
      if (decoder.decode(data) === `friend ${fid.uname}`) passed.add(fid.node);
      return data.length;
    },
    attach: (fid, request, context) => {
      if (request.afid === undefined || !passed.has(request.afid.node)) {
        throw failed();
      }
      return fs.handler.attach(fid, request, context);
    },
    clunk: (fid) =>
      fid.node.qid.type === qid.type ? undefined : fs.handler.clunk?.(fid),
  });
}

function failed(): Error {
  return new NinePError("authentication failed");
}

/** The word that makeGuarded() wants. */
export const sayTheWord: AuthServer["exchange"] = async (file, { uname }) => {
  if (decoder.decode(await file.read()) !== "who?") {
    throw new Error("nobody asks");
  }
  await file.write(encoder.encode(`friend ${uname}`));
};
