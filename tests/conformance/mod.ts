/**
 * The conformance kit: judges any 9P2000 server, in any language, line by line
 * of a checklist, S1 to S126. It talks to the server with frames of its own.
 *
 * The server needs a directory that the user may write in. What else a case
 * needs, such as more users, a function file or a read that blocks, is found
 * out or told by options; where it is not there, the case is skipped.
 *
 * `examples/conformance.ts` runs the kit against a server at an address.
 *
 * @example A tree in memory
 * ```ts
 * import { MemoryFs, pair, serve } from "@ninep/ninep";
 * import { runConformance } from "@ninep/ninep/conformance";
 * import { assertEquals } from "@std/assert";
 *
 * const fs = new MemoryFs({}, { mode: 0o777 });
 * const connect = () => {
 *   const [here, there] = pair();
 *   serve(there, fs);
 *   return here;
 * };
 * for await (const result of runConformance(connect, { only: ["S35"] })) {
 *   assertEquals(result.status, "ok", result.reason);
 * }
 * ```
 *
 * @module
 */

import { attachLines } from "./attach.ts";
import type { Case, CaseResult, ConformanceOptions, Connect } from "./case.ts";
import { clunkLines } from "./clunk.ts";
import { createLines } from "./create.ts";
import { directoryLines } from "./directory.ts";
import { flushLines } from "./flush.ts";
import { framingLines } from "./framing.ts";
import { functionLines } from "./functions.ts";
import { openLines } from "./open.ts";
import { readLines } from "./read.ts";
import { caseOf, probeCases, runCases } from "./run.ts";
import { sessionLines } from "./sessions.ts";
import { statLines } from "./stat.ts";
import { versionLines } from "./version.ts";
import { walkLines } from "./walk.ts";
import { writeLines } from "./write.ts";

export type * from "./case.ts";
export { type Arguments, parseArguments, usage } from "./arguments.ts";
export { Count } from "./count.ts";
export { formatResult } from "./run.ts";

/** All cases, S1 to S126. */
export const cases: readonly Case[] = [
  ...framingLines,
  ...versionLines,
  ...attachLines,
  ...walkLines,
  ...openLines,
  ...createLines,
  ...readLines,
  ...directoryLines,
  ...writeLines,
  ...clunkLines,
  ...statLines,
  ...flushLines,
  ...sessionLines,
  ...functionLines,
].map(caseOf);

/**
 * Runs the kit against a server: one case after the other, each with
 * connections and a directory of its own.
 *
 * A case takes a bounded time and cleans up after itself. A server that is gone
 * after a case, and does not come back, has failed it: its result has an `end`,
 * and those of the cases behind it are `not run`.
 *
 * @param connect How to connect: a function that gives a new connection at
 *   each call, such as `() => dial(address)`.
 * @param options Which cases, what they may use, and demand.
 * @returns How each case went, as soon as it is known.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 */
export function runConformance(
  connect: Connect,
  options: ConformanceOptions = {},
): AsyncGenerator<CaseResult, void, void> {
  return runCases(cases, connect, options);
}

/**
 * Sees whether the kit can be run against a server, with the same options:
 * before a hundred cases fail for one reason.
 *
 * @param connect How to connect to the server.
 * @param options Which cases, what they may use, and demand.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 * @throws {Error} The server does not answer, does not let the user in, or not
 *   make a directory; the message says which.
 */
export function probeServer(
  connect: Connect,
  options: ConformanceOptions = {},
): Promise<void> {
  return probeCases(cases, connect, options);
}
