// Reads a file and a file in a directory, which another process swaps for links,
// over and over, and prints as JSON how that went.
//
//     host_race.ts EXPORT ROUNDS [--follow] [--write]

import process from "node:process";
import { NinePError, ORDWR, OREAD, OTRUNC } from "../../../codec.ts";
import { HostFs } from "../../../fs/mod.ts";
import { serve } from "../../../server.ts";
import { pair } from "../../../transport.ts";
import { openChannel } from "../../../transport/channel.ts";
import { NOTAG } from "../../../codec.ts";
import { TreeClient } from "../tree_client.ts";

const CLIENTS = 4;

const [dir = "", rounds = "", ...words] = process.argv.slice(2);
const writes = words.includes("--write");
const fs = new HostFs(dir, {
  readonly: !writes,
  followLinks: words.includes("--follow"),
});
const outcome = { rounds: 0, read: 0, refused: 0, bait: 0, other: 0 };

async function makeClient(): Promise<
  { client: TreeClient; served: Promise<void> }
> {
  const [here, there] = pair();
  const served = serve(there, fs, { onError: () => {} });
  const client = new TreeClient(openChannel(here));
  await client.ask(
    { type: "Tversion", msize: 65536, version: "9P2000" },
    NOTAG,
  );
  await client.attach(0, "glenda");
  return { client, served };
}

/** One round: walks, opens, reads; every third round also lists, or changes. */
async function round(client: TreeClient, n: number): Promise<string> {
  const path = n % 2 === 0 ? "dir/bait" : "file";
  const fid = await client.walk(path);
  try {
    await client.stat(fid);
    const mode = writes ? ORDWR | (n % 3 === 0 ? OTRUNC : 0) : OREAD;
    await client.ask({ type: "Topen", fid, mode });
    if (writes) await client.write(fid, "inside");
    return await client.text(fid);
  } finally {
    await client.clunk(fid);
  }
}

async function run(most: number): Promise<void> {
  const { client, served } = await makeClient();
  while (outcome.rounds < most) {
    const n = outcome.rounds++;
    try {
      const text = await round(client, n);
      if (text === "inside") outcome.read++;
      else if (text.startsWith("BAIT")) outcome.bait++;
      else outcome.other++;
    } catch (error) {
      if (!(error instanceof NinePError)) throw error;
      outcome.refused++;
    }
  }
  client.close();
  await served;
}

await Promise.all(
  Array.from({ length: CLIENTS }, () => run(Number(rounds))),
);
console.log(JSON.stringify(outcome));
process.exit(0);
