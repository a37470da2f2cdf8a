// An HTTP server of Node for POSTs. Node has no server of WebSockets.

import type { TlsListenerOptions } from "./connection.ts";

// The parts of Node's types that are used here, because the library depends on
// no package.

interface IncomingMessage extends AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly socket: {
    readonly remoteAddress?: string;
    readonly remotePort?: number;
  };
}

interface ServerResponse {
  writeHead(status: number, headers: Record<string, string>): void;
  flushHeaders(): void;
  write(bytes: Uint8Array): boolean;
  end(): void;
  destroy(): void;
  once(event: "drain" | "close", listener: () => void): void;
}

interface Server {
  requestTimeout: number;
  listen(port: number, hostname: string): void;
  address(): { port: number };
  close(): void;
  on(event: "error", listener: (error: Error) => void): void;
  once(event: "listening", listener: () => void): void;
  ref(): void;
  unref(): void;
}

interface Http {
  createServer(
    options: { cert?: string; key?: string },
    listener: (request: IncomingMessage, response: ServerResponse) => void,
  ): Server;
}

/** Facts about a request, as `Deno.serve` gives them. */
interface Facts {
  readonly remoteAddr: { readonly hostname: string; readonly port: number };
}

/** What an HTTP server is started with. */
export interface NodeServerInit {
  readonly hostname: string;
  readonly port: number;
  readonly tls: TlsListenerOptions | undefined;
  readonly fetch: (request: Request, facts: Facts) => Response;
}

/** Starts an HTTP server that answers requests by a fetch handler. */
export async function serveByNode(init: NodeServerInit): Promise<Server> {
  const { hostname, port, tls, fetch } = init;
  // A cast is needed, because the types of Node are a package.
  const { process } = globalThis as unknown as {
    process: { getBuiltinModule(name: string): Http };
  };
  const http = process.getBuiltinModule(tls ? "node:https" : "node:http");
  const certificate = tls ? { cert: tls.cert, key: tls.key } : {};
  const server = http.createServer(certificate, (incoming, outgoing) => {
    const { remoteAddress = "", remotePort = 0 } = incoming.socket;
    const facts = {
      remoteAddr: { hostname: remoteAddress, port: remotePort },
    };
    const request = requestOf(incoming, tls ? "https" : "http");
    answer(outgoing, fetch(request, facts)).catch(() => outgoing.destroy());
  });
  server.requestTimeout = 0; // The body of a request lasts for a session.
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject);
    server.once("listening", resolve);
    server.listen(port, hostname);
  });
  return server;
}

function requestOf(incoming: IncomingMessage, scheme: string): Request {
  const { method, url, headers } = incoming;
  const list = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    for (const each of [value ?? []].flat()) list.append(name, each);
  }
  const iterator = incoming[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
    cancel: () => void iterator.return?.(),
  });
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(new URL(url, `${scheme}://${list.get("host")}`), {
    method,
    headers: list,
    // Standard, but not in all versions of the types.
    ...(hasBody ? { body, duplex: "half" } : {}),
  });
}

async function answer(
  outgoing: ServerResponse,
  { status, headers, body }: Response,
): Promise<void> {
  outgoing.writeHead(status, Object.fromEntries(headers));
  outgoing.flushHeaders();
  const reader = body?.getReader();
  const closed = new Promise<void>((resolve) =>
    outgoing.once("close", resolve)
  );
  void closed.then(() => reader?.cancel().catch(() => {}));
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    if (outgoing.write(value)) continue;
    const drained = new Promise<void>((resolve) =>
      outgoing.once("drain", resolve)
    );
    await Promise.race([drained, closed]);
  }
  outgoing.end();
}
