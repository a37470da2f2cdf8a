// A server and a client inside workerd, with the small suite. Needs workerd and
// bun in PATH:
//
//     bun tests/workerd.ts

import { assert, assertEquals } from "@std/assert";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { connect, listen, MemoryFs } from "../mod.ts";

const folder = mkdtempSync(`${tmpdir()}/ninep_workerd_`);
const entry = new URL("./edge/worker.ts", import.meta.url).pathname;

/** Returns a port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      assert(typeof address === "object" && address !== null);
      server.close(() => resolve(address.port));
    });
  });
}

const [http, tcp] = [await freePort(), await freePort()];
const built = spawnSync("bun", [
  "build",
  ...["--outfile", `${folder}/worker.js`, entry],
]);
assertEquals(built.status, 0, `${built.stderr}`);
writeFileSync(
  `${folder}/config.capnp`,
  `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ( name = "main", worker = .main ),
    ( name = "internet", network = ( allow = ["private", "local"] ) ),
  ],
  sockets = [
    ( name = "http", address = "127.0.0.1:${http}", http = (), service = "main" ),
    ( name = "tcp", address = "127.0.0.1:${tcp}", tcp = (), service = "main" ),
  ],
);
const main :Workerd.Worker = (
  modules = [ (name = "worker.js", esModule = embed "worker.js") ],
  compatibilityDate = "2026-09-01",
  globalOutbound = "internet",
);
`,
);
const workerd: ChildProcess = spawn(
  "workerd",
  ["serve", "config.capnp"],
  { cwd: folder, stdio: ["ignore", "inherit", "inherit"] },
);

/** The answer of the worker to a request, once the worker is up. */
async function ask(path: string): Promise<Record<string, unknown>> {
  for (let attempt = 0;; attempt++) {
    try {
      const response = await fetch(`http://127.0.0.1:${http}${path}`);
      return await response.json();
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Works with the worker's server as a client of this process. */
async function work(address: string): Promise<void> {
  await using client = await connect(address, { timeout: 10_000 });
  assertEquals(await client.readTextFile("motd"), "hello from workerd\n");
  assertEquals(await client.call("add", { argv: [17, 25] }), 42);
  const data = Uint8Array.from({ length: 4_000_000 }, (_, i) => i % 251);
  await client.writeFile("data", data);
  const back = await client.readFile("data");
  assertEquals(back.length, data.length);
  assert(back.every((byte, i) => byte === i % 251));
}

try {
  const { passed, failed } = await ask("/suite");
  assertEquals(failed, []);
  assert(Array.isArray(passed));
  const addresses = [
    `ws://127.0.0.1:${http}/9p`,
    `http://127.0.0.1:${http}/9p`,
    `tcp://127.0.0.1:${tcp}`,
  ];
  for (const address of addresses) await work(address);

  const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  await using server = await listen(
    ["ws://127.0.0.1:0/9p", "http://127.0.0.1:0/9p"],
    fs,
  );
  for (const address of server.addrs) {
    const answer = await ask(`/client?address=${encodeURIComponent(address)}`);
    assertEquals(answer, { result: "hello\n42 true" });
  }
  console.log(
    `workerd: ${passed.length} checks; server by ${addresses.length} transports, client by 2`,
  );
} finally {
  workerd.kill("SIGKILL");
  rmSync(folder, { recursive: true });
}
