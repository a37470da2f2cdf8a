// Compares the client with its alternatives: calls of a function in another
// process over 9P, `fetch` with JSON, and JSON over a WebSocket; reads and
// writes of 64 MiB over 9P and over HTTP. All servers run on the same runtime.
// A raw exchange of the same number of bytes is the lower bound. The rounds of
// the alternatives take turns. A ratio of 2 means that the row is twice as fast
// as the column.

import { assertEquals } from "@std/assert";
import { connect, dial } from "../mod.ts";
import { compare } from "./harness.ts";
import { RawClient } from "./raw.ts";
import { spawnServer } from "./spawn_server.ts";
import { BULK, pattern } from "./tree.ts";

const AT_ONCE = 32;
/** Bytes of a 9P call and of its reply. */
const REQUEST = 56;
const REPLY = 17;

const server = await spawnServer("client_server.ts");
const client = await connect(server.tree);
const http = `http://${server.http}/`;
const argv = [17, 25];

/**
 * Calls over a WebSocket. Each call has a number, so that many calls can be in
 * flight.
 */
class SocketCalls {
  readonly #socket = new WebSocket(`ws://${server.http}/`);
  readonly #waiting = new Map<number, (value: number) => void>();
  #id = 0;

  async open(): Promise<void> {
    this.#socket.onmessage = ({ data }) => {
      const { id, value } = JSON.parse(data);
      this.#waiting.get(id)?.(value);
      this.#waiting.delete(id);
    };
    await new Promise((resolve) => this.#socket.onopen = resolve);
  }

  call(): Promise<number> {
    const id = this.#id++;
    this.#socket.send(JSON.stringify({ id, argv }));
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  close(): void {
    this.#socket.close();
  }
}

const sockets = new SocketCalls();
await sockets.open();
const fid = await client.protocol.fid("add");
const calls: Record<string, () => Promise<unknown>> = {
  "ninep, kept fid": () => client.call(fid, { argv }),
  "ninep, by path": () => client.call("add", { argv }),
  HTTP: async () => {
    const body = JSON.stringify({ argv });
    return await (await fetch(http, { method: "POST", body })).json();
  },
  WebSocket: () => sockets.call(),
};
for (const call of Object.values(calls)) assertEquals(await call(), 42);

const raw = new RawClient(await dial(server.raw));
await raw.start(REQUEST, REPLY);
for (const count of [1, AT_ONCE]) {
  const requests = new Uint8Array(REQUEST * count);
  const ways = Object.entries(calls).map(([name, call]) => ({
    name,
    fn: () => Promise.all(Array.from({ length: count }, call)),
  }));
  const fn = () => raw.exchange(requests, REPLY * count);
  await compare(
    `call, ${count} at once`,
    [{ name: "raw TCP", fn }, ...ways],
    { ops: count, to: ["raw TCP", "HTTP", "WebSocket"] },
  );
}
raw.close();
sockets.close();

const content = new Uint8Array(pattern(BULK));

async function streamed(): Promise<number> {
  const file = await client.open("bulk");
  let length = 0;
  for await (const chunk of file.readable) length += chunk.length;
  return length;
}

async function download(): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(http)).arrayBuffer());
}

async function downloadStreamed(): Promise<number> {
  let length = 0;
  for await (const chunk of (await fetch(http)).body ?? []) {
    length += chunk.length;
  }
  return length;
}

async function upload(): Promise<number> {
  return await (await fetch(http, { method: "PUT", body: content })).json();
}

assertEquals(await client.readFile("bulk"), content);
assertEquals(await download(), content);
assertEquals([await streamed(), await downloadStreamed()], [BULK, BULK]);
await client.writeFile("sink", content);
assertEquals(await client.readFile("sink"), content);
assertEquals(await upload(), BULK);

const rawDown = new RawClient(await dial(server.raw));
await rawDown.start(1, BULK / 64);
const rawUp = new RawClient(await dial(server.raw));
await rawUp.start(BULK, 1);
await compare("64 MiB, to the client", [
  { name: "raw TCP", fn: () => rawDown.exchange(new Uint8Array(64), BULK) },
  { name: "ninep readFile()", fn: () => client.readFile("bulk") },
  { name: "ninep readable", fn: streamed },
  { name: "HTTP", fn: download },
  { name: "HTTP stream", fn: downloadStreamed },
], { to: ["raw TCP", "HTTP", "HTTP stream"] });
await compare("64 MiB, to the server", [
  { name: "raw TCP", fn: () => rawUp.exchange(content, 1) },
  { name: "ninep writeFile()", fn: () => client.writeFile("sink", content) },
  { name: "HTTP", fn: upload },
], { to: ["raw TCP", "HTTP"] });
rawDown.close();
rawUp.close();

await client.close();
server.stop();
