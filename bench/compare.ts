// Compares this checkout with another one by the round trips of rpc_bench.ts,
// to measure a change on a machine whose speed varies. Both clients are in this
// process, and both servers are in separate processes. The rounds take turns.
// Each ratio is the time of this checkout divided by the time of the other one,
// and the median of all rounds. Measure each line alone, and lines with one
// request in flight on one CPU:
//
//     deno run -A bench/compare.ts ../other "pair stat 32"
//     taskset -c 0 bun bench/compare.ts ../other "TCP stat 1 "

import process from "node:process";
import type { Client } from "../mod.ts";
import { content, LARGE, SMALL } from "./tree.ts";
import { spawnServer } from "./spawn_server.ts";

const ROUNDS = 15;
const ROUND_MS = 20;
const WARM_UP_MS = 300;

type Operation = () => Promise<unknown>;
type Ways = Record<string, Client>;

const [other, filter = ""] = process.argv.slice(2);
if (other === undefined) {
  console.error("Usage: compare.ts CHECKOUT [PART OF A LINE]");
  process.exit(2);
}

/**
 * Makes the clients of a checkout: one for a server in another process, and one
 * for a server in this process.
 */
async function clientsOf(checkout: URL): Promise<Ways> {
  // The other checkout has the same functions, as far as this file uses them.
  const module: typeof import("../mod.ts") = await import(
    new URL("mod.ts", checkout).href
  );
  const { connect, MemoryFs, pair, serve } = module;
  const fs = new MemoryFs(content(), { uid: "none" });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  const [near, far] = pair();
  void serve(far, fs);
  const script = new URL("bench/rpc_server.ts", checkout).href;
  const server = await spawnServer(script);
  return { TCP: await connect(server.tree), pair: await connect(near) };
}

async function reader(
  client: Client,
  path: string,
  size: number,
): Promise<Operation> {
  const file = await client.open(path);
  const buffers = Array.from({ length: 32 }, () => new Uint8Array(size));
  let next = 0;
  return () => file.readAt(buffers[next++ % buffers.length], 0);
}

const kinds: Record<string, (client: Client) => Promise<Operation>> = {
  stat: async (client) => {
    const fid = await client.protocol.walk("small");
    return () => client.stat(fid);
  },
  "read 64 B": (client) => reader(client, "small", SMALL),
  "read 64 KiB": (client) => reader(client, "large", LARGE),
  call: async (client) => {
    const fid = await client.protocol.walk("add");
    return () => client.call(fid, { argv: [17, 25] });
  },
};

async function time(operation: Operation, count: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < count; i++) await operation();
  return performance.now() - start;
}

/**
 * Returns the number of operations that fill a round after the code is
 * compiled.
 */
async function warmUp(operation: Operation): Promise<number> {
  let count = 4;
  for (let spent = 0; spent < WARM_UP_MS;) {
    const took = await time(operation, count);
    spent += took;
    if (took < ROUND_MS) count *= 2;
  }
  return count;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

const here = new URL("../", import.meta.url);
const there = new URL(`${other}/`, `file://${process.cwd()}/`);
const sides = [await clientsOf(here), await clientsOf(there)];
for (const way of ["TCP", "pair"]) {
  for (const [kind, prepare] of Object.entries(kinds)) {
    for (const inFlight of [1, 32]) {
      const name = `${way} ${kind} ${inFlight} `;
      if (!name.includes(filter)) continue;
      const runs: { all: Operation; count: number; times: number[] }[] = [];
      for (const ways of sides) {
        const one = await prepare(ways[way]);
        const all = () => Promise.all(Array.from({ length: inFlight }, one));
        runs.push({ all, count: await warmUp(all), times: [] });
      }
      for (let i = 0; i < ROUNDS; i++) {
        // The order alternates, so that no checkout always runs right after the
        // other one.
        for (const run of i % 2 === 0 ? runs : runs.toReversed()) {
          const took = await time(run.all, run.count);
          run.times.push(took * 1e3 / run.count / inFlight);
        }
      }
      const [mine, theirs] = runs.map(({ times }) => times);
      const ratio = median(mine.map((took, at) => took / theirs[at]));
      const figures = [median(mine), median(theirs)]
        .map((µs) => `${µs.toFixed(2)} µs`.padStart(12));
      console.log(name.padEnd(22) + figures.join(""), ratio.toFixed(2));
    }
  }
}
process.exit(0);
