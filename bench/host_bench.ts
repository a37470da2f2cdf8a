// Compares HostFs with MemoryFs: the client writes and reads a large file and
// 2,000 small ones through the server. Each tree is measured in a separate
// process, because the runtime frees the memory of an unused MemoryFs during
// the measurement of the next tree.
//
//     deno run -A bench/host_bench.ts [MIB]
//     bun bench/host_bench.ts [MIB]
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { connect, HostFs, listen, MemoryFs } from "../mod.ts";

const MIB = Number(process.argv[2] ?? 1024);
const FILES = 2000;
const ROUNDS = 5;
const chunk = new Uint8Array(2 ** 20).fill(7);
const small = new Uint8Array(1000).fill(7);

function* content() {
  for (let i = 0; i < MIB; i++) yield chunk;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
}

/**
 * Measures the seconds to write and read the large file and the small files.
 */
async function measure(fs: MemoryFs | HostFs): Promise<number[]> {
  await using server = await listen("tcp://127.0.0.1:0", fs);
  await using client = await connect(server.addr);
  const wrote = await timed(() => client.writeFile("large", content()));
  const read = await timed(async () => {
    let length = 0;
    await using file = await client.open("large");
    for await (const bytes of file.chunks()) length += bytes.length;
    if (length !== MIB * chunk.length) throw new Error(`read ${length} bytes`);
  });
  await client.remove("large");
  const wroteSmall = await timed(async () => {
    for (let i = 0; i < FILES; i++) await client.writeFile(`f${i}`, small);
  });
  const readSmall = await timed(async () => {
    for (let i = 0; i < FILES; i++) {
      const { length } = await client.readFile(`f${i}`);
      if (length !== small.length) throw new Error(`f${i} has ${length} bytes`);
    }
  });
  return [wrote, read, wroteSmall, readSmall];
}

/** Measures one tree in this process. */
async function measureTree(kind: string): Promise<number[]> {
  if (kind === "memory") {
    return await measure(new MemoryFs({}, { mode: 0o777 }));
  }
  const folder = await mkdtemp("/tmp/ninep_bench_");
  try {
    return await measure(new HostFs(folder, { readonly: false }));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Measures one tree in a separate process. */
function measureApart(kind: string): number[] {
  const script = fileURLToPath(import.meta.url);
  const run = "Deno" in globalThis ? ["run", "-A", script] : [script];
  const output = execFileSync(process.execPath, [...run, String(MIB), kind]);
  return JSON.parse(output.toString());
}

const kind = process.argv[3];
if (kind !== undefined) {
  console.log(JSON.stringify(await measureTree(kind)));
} else {
  for (let round = 0; round < ROUNDS; round++) {
    const memory = measureApart("memory");
    const host = measureApart("host");
    const rates = (seconds: number[]) =>
      seconds.map((s, i) => Math.round((i < 2 ? MIB : FILES) / s)).join("\t");
    console.log("\twrite MiB/s\tread MiB/s\twrite files/s\tread files/s");
    console.log(`memory\t${rates(memory)}`);
    console.log(`host\t${rates(host)}`);
    console.log(
      `ratio\t${memory.map((s, i) => (s / host[i]).toFixed(2)).join("\t")}`,
    );
  }
}
