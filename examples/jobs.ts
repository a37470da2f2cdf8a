/**
 * Serves numbered jobs, until it is interrupted. An open of `jobs/clone` makes
 * a job and opens its `ctl`. A job lives as long as a client has a fid in its
 * directory. It adds up the numbers that clients write to `ctl`.
 *
 *     deno run --allow-net examples/jobs.ts [ADDRESS]
 *     bun examples/jobs.ts [ADDRESS]
 *
 * @module
 */

import process from "node:process";
import {
  type DirHooks,
  listen,
  MemoryFs,
  NinePError,
  printable,
  type WriteRequest,
} from "../mod.ts";

const address = process.argv[2] ?? "tcp://127.0.0.1:5640";
const jobs = new Map<string, DirHooks>();
let last = 0;

function makeJob(uid: string): string {
  const name = `${++last}`;
  let sum = 0;
  const write = ({ data }: WriteRequest) => {
    const number = Number(new TextDecoder().decode(data));
    if (!Number.isFinite(number)) throw new NinePError("not a number");
    sum += number;
  };
  jobs.set(name, {
    members: {
      ctl: { content: () => name, write, mode: 0o600, uid },
      data: { content: () => `${sum}\n` },
    },
    release: () => void jobs.delete(name), // No client is in it any more.
  });
  return name;
}

const fs = new MemoryFs();
fs.define("jobs", {
  lookup: (name) => jobs.get(name),
  list: () => jobs.keys(),
});
fs.define("jobs/clone", {
  clone: (_request, { uname }) => `${makeJob(uname)}/ctl`,
});

const server = await listen(address, fs).catch((error: Error) => {
  console.error(printable(error.message));
  process.exit(1);
});
console.log(`listening on ${server.addr}`);
process.once("SIGINT", () => server.close());
process.once("SIGTERM", () => server.close());
await server.finished;
