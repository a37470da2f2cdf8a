// Listens on a Unix socket inside a worker, for unix_worker_test.ts.

import { parentPort, workerData } from "node:worker_threads";
import { statSync } from "node:fs";
import { listen } from "../../transport.ts";

const listener = await listen(`unix://${workerData}`);
parentPort?.postMessage(statSync(workerData).mode & 0o777);
listener.close();
