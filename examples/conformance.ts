/**
 * Judges a 9P2000 server that is running already, in any language, line by line
 * of a checklist: its user needs a directory to write in.
 *
 *     deno run --allow-net examples/conformance.ts ADDRESS [OPTION…]
 *     bun examples/conformance.ts ADDRESS [OPTION…]
 *
 * --help tells the options, among them --dir, --aname, --only and --strict.
 *
 * A line for each case, the messages of each failure, and the counts. With
 * --json, each line is an object: that of a case has id, title, manual, status
 * ("ok", "fail", "skip"), milliseconds, where there is one a reason, and frames
 * where it failed; the last one is {"passed":…,"failed":…,"skipped":…}.
 *
 * The exit code is 1 when a case fails, 2 when none could be run.
 *
 * @module
 */

import process from "node:process";
import { dial } from "../mod.ts";
import {
  formatResult,
  parseArguments,
  probeServer,
  runConformance,
  usage,
} from "../tests/conformance/mod.ts";

/** Ends before the first case. */
function refuse(error: Error): never {
  console.error(error.message);
  if (error instanceof TypeError) console.error(usage); // A misuse.
  process.exit(2);
}

const words = process.argv.slice(2);
const { address, json, options } = await Promise.resolve(words)
  .then(parseArguments).catch(refuse);
if (address === undefined) {
  console.log(usage);
  process.exit();
}

const connect = () => dial(address);
await probeServer(connect, options).catch(refuse);
const count = { ok: 0, fail: 0, skip: 0 };
for await (const result of runConformance(connect, options)) {
  count[result.status]++;
  console.log(json ? JSON.stringify(result) : formatResult(result));
}
const { ok: passed, fail: failed, skip: skipped } = count;
console.log(
  json
    ? JSON.stringify({ passed, failed, skipped })
    : `${passed} passed, ${failed} failed, ${skipped} skipped`,
);
process.exitCode = failed > 0 ? 1 : 0;
