/**
 * Tests a running 9P2000 server, in any language, with the cases of the
 * conformance kit. The user needs a directory to write in.
 *
 *     deno run --allow-net examples/conformance.ts ADDRESS [OPTION…]
 *     bun examples/conformance.ts ADDRESS [OPTION…]
 *
 * --help lists the options, among them --dir, --aname, --only and --strict.
 *
 * The output is a line for each case, the messages of each failure, and the
 * counts. --json prints each line as a JSON object; docs/protocol.md describes
 * it.
 *
 * The exit code is 1 when a case fails, and 2 when no case can be run.
 *
 * @module
 */

import process from "node:process";
import { dial, printable } from "../mod.ts";
import {
  Count,
  formatResult,
  parseArguments,
  probeServer,
  runConformance,
  usage,
} from "../tests/conformance/mod.ts";

/** Prints the reason why no case can be run, and exits. */
function refuse(error: Error): never {
  console.error(printable(error.message));
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
const count = new Count();
for await (const result of runConformance(connect, options)) {
  count.add(result);
  if (json) console.log(printable(JSON.stringify(result)));
  else if (result.status !== "not run") console.log(formatResult(result));
}
console.log(json ? JSON.stringify(count) : String(count));
process.exitCode = count.failed > 0 ? 1 : 0;
