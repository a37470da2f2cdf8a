/**
 * The conformance kit: tests any 9P2000 server, in any language, by the cases
 * S1 to S126 of a checklist. The kit makes its frames itself.
 *
 * The server needs a directory that the user may write in. Some cases need more,
 * such as a second user, a function file or a read that blocks: the kit looks
 * for it, or options name it. A case that lacks it is skipped.
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
 * Runs the cases against a server, one after the other. Each case has
 * connections and a directory of its own.
 *
 * A case takes a bounded time and cleans up after itself. When the server cannot
 * be reached after a case, nor within the next `patience`, the case has failed,
 * its result has an `end`, and the results of all later cases are `not run`.
 *
 * @param connect How to connect: a function that gives a new connection at
 *   each call, such as `() => dial(address)`.
 * @param options Which cases, what they may use, and demand.
 * @returns The result of each case, as soon as the case is over.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 */
export function runConformance(
  connect: Connect,
  options: ConformanceOptions = {},
): AsyncGenerator<CaseResult, void, void> {
  return runCases(cases, connect, options);
}

/**
 * Checks that the kit can be run against a server with these options, so that
 * a hundred cases do not fail for one reason.
 *
 * @param connect How to connect to the server.
 * @param options Which cases, what they may use, and demand.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 * @throws {Error} The server does not answer, refuses the user, or refuses to
 *   make a directory; the message says which.
 */
export function probeServer(
  connect: Connect,
  options: ConformanceOptions = {},
): Promise<void> {
  return probeCases(cases, connect, options);
}
