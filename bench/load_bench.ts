// Measures a server under load: requests per second with the load generator,
// compared with an echo of 75 bytes on the same runtime; latency, memory of
// idle connections, and large directories.
//
//     deno task bench bench/load_bench.ts
//     bun bench/load_bench.ts

import { spawnSync } from "node:child_process";
import process from "node:process";
import { connect, dial } from "../mod.ts";
import { encode, type Tmessage } from "../codec.ts";
import { GREETING, Load, MSIZE, type Run, type Scenario } from "./load.ts";
import { RawClient } from "./raw.ts";
import { type ServerProcess, spawnServer } from "./spawn_server.ts";
import { LARGE, SMALL } from "./tree.ts";

const ROUNDS = 5;
const WINDOW = 32;
const BULK = MSIZE - 24;
const BIG = 64 * 1024 * 1024;
const ENTRIES = 100;
const CONNECTIONS = 1000;

const server = await spawnServer();
pin(server.pid, 0);
pin(process.pid, 1);
const control = await connect(server.tree);
const cpu = await control.protocol.fid("cpu");

/** Pins a process to one CPU, if the system has `taskset`. */
function pin(pid: number, core: number): void {
  spawnSync("taskset", ["-pc", `${core}`, `${pid}`]);
}

/** Returns the CPU time that the server has used, in microseconds. */
async function used(): Promise<number> {
  return await control.call<number>(cpu);
}

const walk = (newfid: number, ...wname: string[]): Tmessage => {
  return { type: "Twalk", tag: 0, fid: 0, newfid, wname };
};
const open = (fid: number, mode = 0): Tmessage => {
  return { type: "Topen", tag: 0, fid, mode };
};
const read = (fid: number, count: number, offset = 0): Tmessage => {
  return { type: "Tread", tag: 0, fid, offset: BigInt(offset), count };
};
const clunk = (fid: number): Tmessage => ({ type: "Tclunk", tag: 0, fid });
const stat = (fid: number): Tmessage => ({ type: "Tstat", tag: 0, fid });

async function prepare(load: Load): Promise<void> {
  for (
    const message of [
      walk(1, "small"),
      open(1),
      walk(2, "big"),
      open(2, 2),
      walk(3, "add"),
    ]
  ) await load.ask(message);
}

await control.writeFile("big", new Uint8Array(BIG));
for (const path of ["a", "a/b", "a/b/c"]) await control.mkdir(path);
await control.mkdir("dir");
for (let i = 0; i < ENTRIES; i++) {
  await control.writeTextFile(`dir/entry${i}`, "");
}
const load = await Load.dial(server.tree);
await prepare(load);
for (const message of [walk(4, "dir"), open(4)]) await load.ask(message);
const dirSize = await load.ask(read(4, BULK)) - 11;

const scenarios: [name: string, count: number, scenario: Scenario][] = [
  ["stat", 100_000, () => [{ message: stat(1), size: 75 }]],
  ["read 64 B", 100_000, () => [{ message: read(1, SMALL), size: 75 }]],
  ["walk of 3 names, clunk", 50_000, (slot) => [
    { message: walk(100 + slot, "a", "b", "c"), size: 48 },
    { message: clunk(100 + slot), size: 7 },
  ]],
  ["walk, open, read, clunk", 25_000, (slot) => [
    { message: walk(100 + slot, "small"), size: 22 },
    { message: open(100 + slot), size: 24 },
    { message: read(100 + slot, SMALL), size: 75 },
    { message: clunk(100 + slot), size: 7 },
  ]],
  [`list ${ENTRIES} entries`, 10_000, (slot) => [
    { message: walk(100 + slot, "dir"), size: 22 },
    { message: open(100 + slot), size: 24 },
    { message: read(100 + slot, BULK), size: 11 + dirSize },
    { message: read(100 + slot, BULK, dirSize), size: 11 },
    { message: clunk(100 + slot), size: 7 },
  ]],
  ["create, remove", 25_000, (slot) => [
    { message: walk(100 + slot), size: 9 },
    {
      message: {
        type: "Tcreate",
        tag: 0,
        fid: 100 + slot,
        name: `new${slot}`,
        perm: 0o644,
        mode: 1,
      },
      size: 24,
    },
    { message: { type: "Tremove", tag: 0, fid: 100 + slot }, size: 7 },
  ]],
  ["read 64 KiB", 20_000, () => [
    { message: read(2, BULK), size: BULK + 11, stride: BULK, end: BIG - LARGE },
  ]],
  ["write 64 KiB", 20_000, () => [{
    message: {
      type: "Twrite",
      tag: 0,
      fid: 2,
      offset: 0n,
      data: new Uint8Array(BULK),
    },
    size: 11,
    stride: BULK,
    end: BIG - LARGE,
  }]],
  ["Tcall of add", 50_000, () => [{
    message: {
      type: "Tcall",
      tag: 0,
      fid: 3,
      text: '{"argv":[17,25]}',
      data: new Uint8Array(0),
    },
    size: 17,
  }]],
];

interface Row extends Run {
  /** Operations per second of CPU time of the server. */
  perCore: number;
}

/**
 * Runs one round that does not count and then several rounds, and returns their
 * median.
 */
async function rounds(once: () => Promise<Run>, count: number): Promise<Row> {
  await once();
  const rows: Row[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const before = await used();
    const run = await once();
    rows.push({ ...run, perCore: count / (await used() - before) * 1e6 });
  }
  rows.sort((a, b) => a.rate - b.rate);
  return rows[ROUNDS >> 1];
}

const figure = (n: number): string => Math.round(n).toLocaleString("en");
let echo = 0;

function print(name: string, row: Row): void {
  const cells = [
    figure(row.rate).padStart(10),
    (row.rate / echo).toFixed(3).padStart(8),
    figure(row.perCore).padStart(12),
    figure(row.p50).padStart(8),
    figure(row.p99).padStart(8),
  ];
  console.log(name.padEnd(32) + cells.join(""));
}

async function raw(window: number, count: number): Promise<Row> {
  const client = new RawClient(await dial(server.raw));
  await client.start(11, 75);
  const requests = new Uint8Array(11 * window);
  const row = await rounds(async () => {
    const start = performance.now();
    for (let i = 0; i < count; i += window) {
      await client.exchange(requests, 75 * window);
    }
    const seconds = (performance.now() - start) / 1e3;
    return { rate: count / seconds, p50: NaN, p99: NaN };
  }, count);
  client.close();
  return row;
}

console.log(
  `${WINDOW} in flight`.padEnd(32) +
    "         a second   ratio  per CPU s  p50 µs  p99 µs".slice(7),
);
const base = await raw(WINDOW, 100_000);
echo = base.rate;
print("echo of 75 bytes", base);
for (const [name, count, scenario] of scenarios) {
  const once = () => load.run(scenario, WINDOW, count);
  print(name, await rounds(once, count));
}

const [[, , statting], , , , , , [, , reading]] = scenarios;
const eight = await Promise.all(
  Array.from({ length: 8 }, () => Load.dial(server.tree)),
);
await Promise.all(eight.map(prepare));
print(
  "stat, 8 connections x 4",
  await rounds(async () => {
    const start = performance.now();
    const runs = await Promise.all(
      eight.map((one) => one.run(statting, 4, 12_500)),
    );
    const seconds = (performance.now() - start) / 1e3;
    return { ...runs[0], rate: 100_000 / seconds };
  }, 100_000),
);
let bulk = true;
const reader = (async () => {
  while (bulk) await eight[0].run(reading, 4, 500);
})();
print(
  "stat beside a bulk reader",
  await rounds(() => load.run(statting, WINDOW, 20_000), 20_000),
);
bulk = false;
await reader;
for (const one of eight) one.close();

pin(process.pid, 0); // The wake-up of an idle CPU would hide the rest.
const single = await raw(1, 10_000);
const sequential = await rounds(() => load.run(statting, 1, 10_000), 10_000);
pin(process.pid, 1);
console.log(
  `\n1 in flight, one CPU: echo ${figure(single.rate)}, stat ${
    figure(sequential.rate)
  } a second (${(sequential.rate / single.rate).toFixed(2)})`,
);

// Large directories: only the time of a listing may depend on the number of
// entries.
console.log(
  "\nDirectory".padEnd(33) + " walk+open a second   listing, ns an entry",
);
for (const entries of [10, 1000, 100_000]) {
  await control.call("fill", { argv: [`dir${entries}`, entries] });
  const opening = await rounds(() =>
    load.run(
      (slot) => [
        { message: walk(100 + slot, `dir${entries}`, "entry7") },
        { message: open(100 + slot) },
        { message: clunk(100 + slot) },
      ],
      WINDOW,
      20_000,
    ), 20_000);
  const lists = Math.max(1, 10_000 / entries);
  const start = performance.now();
  let seen = 0;
  for (let i = 0; i < lists; i++) seen += await list(`dir${entries}`);
  const ns = (performance.now() - start) * 1e6 / seen;
  console.log(
    `${figure(entries)} entries`.padEnd(32) +
      figure(opening.rate).padStart(19) + figure(ns).padStart(23),
  );
}

/**
 * Lists a directory, and returns the number of its bytes divided by the size of
 * an entry.
 */
async function list(name: string): Promise<number> {
  await load.ask(walk(5, name));
  await load.ask(open(5));
  let bytes = 0;
  while (true) {
    const count = await load.ask(read(5, BULK, bytes)) - 11;
    if (count === 0) break;
    bytes += count;
  }
  await load.ask(clunk(5));
  return bytes / 70;
}

/**
 * Returns the bytes of memory that one more idle connection takes in a new
 * server.
 */
async function growth(
  open: (server: ServerProcess) => Promise<RawClient>,
): Promise<number> {
  const server = await spawnServer();
  const control = await connect(server.tree);
  const all: RawClient[] = [];
  const more = async () => {
    for (let i = 0; i < CONNECTIONS; i++) all.push(await open(server));
    return await control.call<number>("rss");
  };
  const before = await more();
  const after = await more();
  for (const one of all) one.close();
  await control.close();
  server.stop();
  return (after - before) / CONNECTIONS;
}

const idle = await growth(async (server) =>
  new RawClient(await dial(server.idle))
);
const session = await growth(async (server) => {
  const client = new RawClient(await dial(server.tree));
  for (const message of GREETING) await client.exchange(encode(message), 7);
  return client;
});
console.log(
  `\nIdle connection: ${figure(session / 1024)} KiB, a socket alone ${
    figure(idle / 1024)
  } KiB`,
);

load.close();
await control.close();
server.stop();
