/**
 * A server with everything that the cases of conformance/ need, in memory and
 * over TCP: functions, reads that block, a broken file, authentication.
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

/** A running server. */
export interface Host extends AsyncDisposable {
  readonly connect: Connect;
  /** Starts to close the server and its connections. */
  stop(): void;
}

/** Serves a handler: in memory, or on a port of the loopback device. */
export type Transport = (
  handler: Handler<PathNode>,
  options?: ListenOptions,
) => Promise<Host>;

/** Serves in-memory pairs. */
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

/** Serves TCP on the loopback interface. */
export const overTcp: Transport = async (handler, options) => {
  const server = await listen("tcp://127.0.0.1:0", handler, options);
  return {
    connect: () => dial(server.addr),
    stop: () => void server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  };
};

/**
 * Makes a tree that every user may write in, with every file that a case needs.
 */
export function makeHandler(
  options: MemoryFsOptions = {},
): Handler<PathNode> {
  return makeTree(options).handler;
}

/** Replaces some functions of a handler. */
export function override(
  handler: Handler<PathNode>,
  functions: Partial<Handler<PathNode>>,
): Handler<PathNode> {
  return { ...handler, ...functions };
}

/**
 * Makes a tree that requires authentication: the client must write a password.
 */
export function makeGuarded(): Handler<PathNode> {
  const fs = new MemoryFs({}, { mode: 0o777 });
  const qid = { type: 0x08, vers: 0, path: 1n << 40n };
  const passed = new WeakSet<object>();
  return override(fs.handler, {
    // The node of an authentication file belongs to no tree.
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

/** Writes the password that makeGuarded() requires. */
export const sayTheWord: AuthServer["exchange"] = async (file, { uname }) => {
  if (decoder.decode(await file.read()) !== "who?") {
    throw new Error("the server does not ask for a password");
  }
  await file.write(encoder.encode(`friend ${uname}`));
};
