// The worker of tests/workerd.ts: a server by WebSocket, POST and TCP, a client,
// and the small suite.

import {
  connect,
  fromStreams,
  MemoryFs,
  serve,
  type StreamPair,
  webHandler,
} from "../../mod.ts";
import { runSuite } from "./suite.ts";

const fs = new MemoryFs({ motd: "hello from workerd\n" }, { mode: 0o777 });
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
const web = webHandler(fs);

/** Works with a server at an address, as a client. */
async function work(address: string): Promise<string> {
  await using client = await connect(address, { timeout: 10_000 });
  const data = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
  await client.writeFile("from-workerd", data);
  const back = await client.readFile("from-workerd");
  const isSame = back.length === data.length &&
    back.every((byte, i) => byte === i % 251);
  const sum = await client.call("add", { argv: [17, 25] });
  return `${await client.readTextFile("motd")}${sum} ${isSame}`;
}

async function answer(path: string, query: string): Promise<unknown> {
  try {
    if (path === "/suite") return await runSuite();
    return { result: await work(query) };
  } catch (error) {
    return { failed: [`${error}`] };
  }
}

export default {
  async fetch(request: Request, context?: unknown): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/9p") return web.fetch(request, context);
    const result = await answer(pathname, searchParams.get("address") ?? "");
    return new Response(JSON.stringify(result));
  },
  /** A connection of TCP. */
  async connect(socket: StreamPair): Promise<void> {
    await serve(fromStreams(socket, "tcp"), fs);
  },
};
