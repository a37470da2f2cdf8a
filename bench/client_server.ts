// The servers of client_bench.ts, in a separate process: one function and one
// stored byte array over 9P, HTTP and WebSocket, and a raw responder. The
// program prints the addresses.

import { listen, MemoryFs } from "../mod.ts";
import { listen as listenRaw } from "../transport.ts";
import { answerRaw } from "./raw.ts";
import { BULK, pattern } from "./tree.ts";

const content = pattern(BULK);
const add = (a: number, b: number) => a + b;

const fs = new MemoryFs({ bulk: content, sink: "" }, { uid: "none" });
fs.register("add", add, { params: ["a", "b"] });

/** Returns the value of a call as JSON, for HTTP and for WebSocket. */
function answer(call: { argv: [number, number] }): number {
  return add(...call.argv);
}

async function serveHttp(request: Request): Promise<Response> {
  if (request.method === "GET") return new Response(content);
  if (request.method === "POST") {
    return Response.json(answer(await request.json()));
  }
  return Response.json((await request.arrayBuffer()).byteLength);
}

/** Answers one text message of a WebSocket. */
function serveText(text: string): string {
  const { id, ...call } = JSON.parse(text);
  return JSON.stringify({ id, value: answer(call) });
}

/** The part of Bun's types that this file uses. */
interface BunServers {
  serve(options: {
    port: number;
    hostname: string;
    fetch(
      request: Request,
      server: { upgrade(request: Request): boolean },
    ): Promise<Response> | undefined;
    websocket: {
      message(socket: { send(text: string): void }, text: string): void;
    };
  }): { port: number };
}

/**
 * Starts the runtime's own server for HTTP and WebSocket, and returns its port.
 */
function listenHttp(): number {
  const isSocket = (request: Request) => request.headers.has("upgrade");
  const options = { hostname: "127.0.0.1", port: 0 };
  if ("Deno" in globalThis) {
    return Deno.serve({ ...options, onListen() {} }, (request) => {
      if (!isSocket(request)) return serveHttp(request);
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onmessage = ({ data }) => socket.send(serveText(data));
      return response;
    }).addr.port;
  }
  // A cast is needed, because Bun's types are in a separate package.
  const { Bun } = globalThis as unknown as { Bun: BunServers };
  return Bun.serve({
    ...options,
    fetch(request, server) {
      if (!isSocket(request)) return serveHttp(request);
      server.upgrade(request);
      return undefined;
    },
    websocket: {
      message: (socket, text) => socket.send(serveText(text)),
    },
  }).port;
}

const server = await listen("tcp://127.0.0.1:0", fs);
const raw = await listenRaw("tcp://127.0.0.1:0");
const http = `127.0.0.1:${listenHttp()}`;
console.log(JSON.stringify({ tree: server.addr, raw: raw.addr, http }));
for await (const connection of raw) void answerRaw(connection);
