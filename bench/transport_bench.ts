// Transports beside the raw transport of the same runtime: messages one after
// the other and 32 at once, and 64 MiB each way. Client and server are in one
// process, so ratios count, and not numbers. The median of five rounds.
//
//     deno run -A bench/transport_bench.ts
//     bun bench/transport_bench.ts
//     node bench/transport_bench.ts

import { connect as connectSocket, createServer } from "node:net";
import process from "node:process";
import { type Client, connect, listen, MemoryFs, serve } from "../mod.ts";

const MS = 300;
const ROUNDS = 5;
const SIZE = 64 * 1024 * 1024;
const PART = 1024 * 1024;

/** A raw transport with an echo at its other end. */
interface Raw {
  /** Sends bytes, which the other end sends back. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** Called with the number of bytes that have come back. */
  onBytes: (count: number) => void;
  close(): void;
}

function tree(): MemoryFs {
  return new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
}

function rawSocket(): Promise<Raw> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.setNoDelay(true);
      socket.pipe(socket);
    }).listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (typeof address !== "object" || address === null) return;
      const socket = connectSocket(address.port, "127.0.0.1", () => {
        socket.setNoDelay(true);
        const raw: Raw = {
          send: (bytes) => void socket.write(bytes),
          onBytes: () => {},
          close() {
            socket.destroy();
            server.close();
          },
        };
        socket.on("data", (chunk) => raw.onBytes(chunk.length));
        resolve(raw);
      });
    });
  });
}

function rawPort(): Promise<Raw> {
  const { port1, port2 } = new MessageChannel();
  port2.onmessage = ({ data }) => port2.postMessage(data, [data]);
  const raw: Raw = {
    send(bytes) {
      const { buffer } = bytes.slice();
      port1.postMessage(buffer, [buffer]);
    },
    onBytes: () => {},
    close() {
      port1.close();
      port2.close();
    },
  };
  port1.onmessage = ({ data }) => raw.onBytes(data.byteLength);
  return Promise.resolve(raw);
}

/** Milliseconds until so many bytes have come back. */
function echo(raw: Raw, size: number, part: number): Promise<number> {
  const begin = performance.now();
  const bytes = new Uint8Array(part);
  let left = size;
  return new Promise((resolve) => {
    raw.onBytes = (count) => {
      left -= count;
      if (left <= 0) resolve(performance.now() - begin);
    };
    for (let sent = 0; sent < size; sent += part) raw.send(bytes);
  });
}

/** Calls per second: `lanes` at a time. */
async function rate(lanes: number, call: () => Promise<unknown>) {
  const begin = performance.now();
  let count = 0;
  await Promise.all(Array.from({ length: lanes }, async () => {
    while (performance.now() - begin < MS) {
      await call();
      count++;
    }
  }));
  return count / (performance.now() - begin) * 1000;
}

/** Messages per second of a raw transport: a batch of `lanes` at a time. */
async function rawRate(raw: Raw, lanes: number): Promise<number> {
  return await rate(1, () => echo(raw, 64 * lanes, 64)) * lanes;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

async function compare(name: string, client: Client, raw: Raw): Promise<void> {
  const file = await client.open("motd");
  const data = new Uint8Array(SIZE).fill(7);
  const ratios = { one: [], many: [], up: [], down: [] } as Record<
    string,
    number[]
  >;
  for (let round = 0; round <= ROUNDS; round++) {
    const one = await rate(1, () => file.stat()) / await rawRate(raw, 1);
    const many = await rate(32, () => file.stat()) / await rawRate(raw, 32);
    // An echo moves the bytes twice.
    const twice = await echo(raw, SIZE, PART);
    let begin = performance.now();
    await client.writeFile("data", data);
    const up = twice / 2 / (performance.now() - begin);
    begin = performance.now();
    await client.readFile("data");
    const down = twice / 2 / (performance.now() - begin);
    if (round === 0) continue; // The first round warms up.
    for (const [key, value] of Object.entries({ one, many, up, down })) {
      ratios[key]?.push(value);
    }
  }
  const cells = Object.values(ratios).map((all) => median(all).toFixed(2));
  console.log(`| ${[name, ...cells].join(" | ")} |`);
  await file.close();
  await client.close();
  raw.close();
}

console.log("| transport | one | 32 at once | 64 MiB up | 64 MiB down |");
{
  await using server = await listen("tcp://127.0.0.1:0", tree());
  await compare("TCP", await connect(server.addr), await rawSocket());
}
{
  const { port1, port2 } = new MessageChannel();
  const served = serve(port2, tree());
  await compare("port", await connect(port1), await rawPort());
  await served;
}
process.exit();
