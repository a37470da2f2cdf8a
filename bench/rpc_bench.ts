// Measures round trips: stat, reads of 64 bytes and 64 KiB, and a call, with 1
// and 32 in flight, over TCP to a server process and over a pair in this
// process. Each is compared with a raw exchange of the same sizes with a
// process that only answers raw requests.

import { assertEquals } from "@std/assert";
import { type Client, connect, dial, MemoryFs, pair, serve } from "../mod.ts";
import { bench, run } from "./harness.ts";
import { RawClient } from "./raw.ts";
import { spawnServer } from "./spawn_server.ts";
import { content, LARGE, pattern, SMALL } from "./tree.ts";

const IN_FLIGHT = [1, 32];

const server = await spawnServer();
const [near, far] = pair();
const fs = new MemoryFs(content(), { uid: "none" });
fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
void serve(far, fs);
const clients: Record<string, Client> = {
  "ninep over TCP": await connect(server.tree),
  "ninep over a pair": await connect(near),
};

/**
 * One kind of round trip: the call of the client, and the sizes of its request
 * and its reply.
 */
interface Kind {
  name: string;
  request: number;
  reply: number;
  prepare(client: Client): Promise<() => Promise<unknown>>;
}

function read(name: string, file: string, size: number): Kind {
  return {
    name,
    request: 23,
    reply: 11 + size,
    async prepare(client) {
      const opened = await client.open(file);
      const buffers = Array.from({ length: 32 }, () => new Uint8Array(size));
      let next = 0;
      const one = async () => {
        const buffer = buffers[next++ % 32];
        return await opened.readAt(buffer, 0) === size ? buffer : undefined;
      };
      assertEquals(await one(), pattern(size));
      return one;
    },
  };
}

const kinds: Kind[] = [
  {
    name: "stat",
    request: 11,
    reply: 75,
    async prepare(client) {
      const fid = await client.protocol.walk("small");
      const one = () => client.stat(fid);
      assertEquals((await one()).length, SMALL);
      return one;
    },
  },
  read("read 64 B", "small", SMALL),
  read("read 64 KiB", "large", LARGE),
  {
    name: "call",
    request: 56,
    reply: 17,
    async prepare(client) {
      const fid = await client.protocol.walk("add");
      const one = () => client.call(fid, { argv: [17, 25] });
      assertEquals(await one(), 42);
      return one;
    },
  },
];

for (const { name, request, reply, prepare } of kinds) {
  for (const inFlight of IN_FLIGHT) {
    const group = `${name}, ${inFlight} in flight`;
    const raw = new RawClient(await dial(server.raw));
    await raw.start(request, reply);
    const requests = new Uint8Array(request * inFlight);
    bench(
      { group, name: `${group}: raw TCP`, baseline: true, ops: inFlight },
      async () => {
        await raw.exchange(requests, reply * inFlight);
      },
    );
    for (const [way, client] of Object.entries(clients)) {
      const one = await prepare(client);
      const all = new Array<Promise<unknown>>(inFlight);
      bench({ group, name: `${group}: ${way}`, ops: inFlight }, async () => {
        for (let i = 0; i < inFlight; i++) all[i] = one();
        await Promise.all(all);
      });
    }
  }
}

await run();
if (!("Deno" in globalThis)) server.stop();
