// A worker cannot set the umask of its process.

import { assertEquals } from "@std/assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { test } from "../harness.ts";

test("unix: a worker listens, and only the owner may connect", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ninep-"));
  const worker = new Worker(new URL("./unix_worker.ts", import.meta.url), {
    workerData: join(folder, "socket"),
  });
  const mode = new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  assertEquals(await mode, 0o600);
  await worker.terminate();
  await rm(folder, { recursive: true });
});
