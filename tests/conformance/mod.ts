/**
 * The conformance kit: tests any 9P2000 server, in any language, by the cases
 * S1 to S126 of a checklist. The kit makes its frames itself.
 *
 * The server needs a directory that the user may write in. Some cases need
 * more, such as a second user, a function file or a read that blocks. The kit
 * looks for these under default names, or the options name them. A case is
 * skipped when the server lacks what the case needs.
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

import { attachRules } from "./attach.ts";
import type { Case, CaseResult, ConformanceOptions, Connect } from "./case.ts";
import { clunkRules } from "./clunk.ts";
import { createRules } from "./create.ts";
import { directoryRules } from "./directory.ts";
import { flushRules } from "./flush.ts";
import { framingRules } from "./framing.ts";
import { functionRules } from "./functions.ts";
import { openRules } from "./open.ts";
import { readRules } from "./read.ts";
import { caseOf, probeCases, runCases } from "./run.ts";
import { sessionRules } from "./sessions.ts";
import { statRules } from "./stat.ts";
import { versionRules } from "./version.ts";
import { walkRules } from "./walk.ts";
import { writeRules } from "./write.ts";

export type * from "./case.ts";
export { type Arguments, parseArguments, usage } from "./arguments.ts";
export { Count } from "./count.ts";
export { formatResult } from "./run.ts";

/** All cases, S1 to S126. */
export const cases: readonly Case[] = [
  ...framingRules,
  ...versionRules,
  ...attachRules,
  ...walkRules,
  ...openRules,
  ...createRules,
  ...readRules,
  ...directoryRules,
  ...writeRules,
  ...clunkRules,
  ...statRules,
  ...flushRules,
  ...sessionRules,
  ...functionRules,
].map(caseOf);

/**
 * Runs the cases against a server, one after the other. Each case opens its own
 * connections and makes its own directory.
 *
 * A case takes a bounded time and cleans up after itself. When the server
 * cannot be reached after a case, nor within the next `patience`, the case has
 * failed, its result has an `end`, and the results of all later cases are `not
 * run`.
 *
 * @param connect How to connect: a function that gives a new connection at
 *   each call, such as `() => dial(address)`.
 * @param options Which cases run, what they may use, and how strict they are.
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
 * @param options Which cases run, what they may use, and how strict they are.
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
