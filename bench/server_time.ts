// How many requests a second a server answers with one core: the CPU time of
// its process, asked before and after, over a loop of raw frames with 32 in
// flight. Beside it what its wall time gives, and a raw exchange of the same
// sizes by the same process.
//
//     deno run -A bench/server_time.ts
//     bun bench/server_time.ts

import { connect, dial } from "../mod.ts";
import { encode, NOFID, type Tmessage } from "../codec.ts";
import { RawClient } from "./raw.ts";
import { spawnServer } from "./spawn_server.ts";
import { LARGE, SMALL } from "./tree.ts";

const IN_FLIGHT = 32;
const ROUNDS = 5;

const server = await spawnServer();
const control = await connect(server.tree);
const cpu = await control.walk("cpu");

/** Microseconds of CPU time that the server has used. */
async function used(): Promise<number> {
  return await control.call(cpu) as number;
}

interface Figures {
  perCore: number;
  perSecond: number;
}

/** The median of some rounds of batches. */
async function measure(
  client: RawClient,
  batch: Uint8Array,
  replies: number,
): Promise<Figures> {
  const round = async (count: number): Promise<Figures> => {
    const cpuStart = await used();
    const start = performance.now();
    for (let i = 0; i < count; i++) await client.exchange(batch, replies);
    const wall = (performance.now() - start) / 1e3;
    const busy = (await used() - cpuStart) / 1e6;
    const operations = count * IN_FLIGHT;
    return { perCore: operations / busy, perSecond: operations / wall };
  };
  const count = Math.max(200, Math.round(2e8 / (replies + 20_000)));
  await round(count);
  const rounds: Figures[] = [];
  for (let i = 0; i < ROUNDS; i++) rounds.push(await round(count));
  rounds.sort((a, b) => a.perCore - b.perCore);
  return rounds[ROUNDS >> 1];
}

/** Frames of the same request with tags from 1 on. */
function batchOf(message: Tmessage): Uint8Array {
  const frames = Array.from(
    { length: IN_FLIGHT },
    (_, i) => encode({ ...message, tag: i + 1 }),
  );
  const batch = new Uint8Array(frames[0].length * IN_FLIGHT);
  frames.forEach((frame, i) => batch.set(frame, frame.length * i));
  return batch;
}

const rows: [name: string, message: Tmessage, reply: number][] = [
  ["stat", { type: "Tstat", tag: 0, fid: 1 }, 75],
  [
    "read 64 B",
    { type: "Tread", tag: 0, fid: 1, offset: 0n, count: SMALL },
    11 + SMALL,
  ],
  [
    "read 64 KiB",
    { type: "Tread", tag: 0, fid: 2, offset: 0n, count: LARGE },
    11 + LARGE,
  ],
  [
    "call",
    {
      type: "Tcall",
      tag: 0,
      fid: 3,
      text: '{"argv":[17,25]}',
      data: new Uint8Array(0),
    },
    17,
  ],
];

const nine = new RawClient(await dial(server.tree));
for (
  const message of [
    { type: "Tversion", tag: 0, msize: 1 << 20, version: "9P2000" },
    { type: "Tattach", tag: 1, fid: 0, afid: NOFID, uname: "none", aname: "" },
    { type: "Twalk", tag: 1, fid: 0, newfid: 1, wname: ["small"] },
    { type: "Topen", tag: 1, fid: 1, mode: 0 },
    { type: "Twalk", tag: 1, fid: 0, newfid: 2, wname: ["large"] },
    { type: "Topen", tag: 1, fid: 2, mode: 0 },
    { type: "Twalk", tag: 1, fid: 0, newfid: 3, wname: ["add"] },
  ] satisfies Tmessage[]
) await nine.exchange(encode(message), 7);

console.log(`${IN_FLIGHT} in flight; requests a second`);
console.log(
  "                 by core of server   by the clock   raw by core   ratio",
);
for (const [name, message, reply] of rows) {
  const batch = batchOf(message);
  const mine = await measure(nine, batch, reply * IN_FLIGHT);
  const raw = new RawClient(await dial(server.raw));
  await raw.start(batch.length / IN_FLIGHT, reply);
  const bare = await measure(raw, batch, reply * IN_FLIGHT);
  raw.close();
  const cells = [
    mine.perCore.toFixed(0).padStart(18),
    mine.perSecond.toFixed(0).padStart(15),
    bare.perCore.toFixed(0).padStart(14),
    (mine.perCore / bare.perCore).toFixed(2).padStart(8),
  ];
  console.log(name.padEnd(16) + cells.join(""));
}

nine.close();
await control.close();
server.stop();
