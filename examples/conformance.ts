/**
 * Judges a 9P2000 server that is running already, in any language, line by line
 * of a checklist: its user needs a directory to write in, as the tree's root.
 *
 *     deno run --allow-net examples/conformance.ts ADDRESS [--aname X] [--uname X]
 *         [--only S35,S39] [--skip S15] [--strict] [--json]
 *     bun examples/conformance.ts ADDRESS …
 *
 * A line for each case, the messages of each failure; the exit code is 1 when
 * there is one, 2 when no server answers. With --json, a line of JSON for each.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { dial } from "../mod.ts";
import { formatResult, runConformance } from "../tests/conformance/mod.ts";

/** Ends with one clear line. */
function give(up: unknown): never {
  console.error(up instanceof Error ? up.message : up);
  process.exit(2);
}

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const { values, positionals } = await Promise.resolve().then(() =>
  parseArgs({
    allowPositionals: true,
    options: {
      ...{ aname: text, uname: text, only: text, skip: text },
      ...{ strict: flag, json: flag },
    },
  })
).catch(give);
const { only, skip, json, ...names } = values;
const [address] = positionals;
if (address === undefined) give("Which server? Give its ADDRESS");
(await dial(address).catch(give)).close();

const count = { ok: 0, fail: 0, skip: 0 };
const results = runConformance(() => dial(address), {
  ...names,
  ...(only === undefined ? {} : { only: only.split(",") }),
  ...(skip === undefined ? {} : { skip: skip.split(",") }),
});
try {
  for await (const result of results) {
    count[result.status]++;
    console.log(json ? JSON.stringify(result) : formatResult(result));
  }
} catch (error) {
  give(error);
}
const { ok, fail, skip: skipped } = count;
if (!json) console.log(`${ok} passed, ${fail} failed, ${skipped} skipped`);
process.exitCode = fail > 0 ? 1 : 0;
