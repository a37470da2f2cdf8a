// The runner: one case after the other, each with its own connections, its own
// directory and its own bound of time, so that none costs another.

import type { Case, CaseResult, ConformanceOptions, Connect } from "./case.ts";
import { Failure, Skip } from "./check.ts";
import type { Line } from "./line.ts";
import { Trial } from "./trial.ts";

const TIMEOUT_MS = 30_000;

/** A line of the checklist as a case that can be run. */
export function caseOf(line: Line): Case {
  const { id, title, manual } = line;
  return {
    id,
    title,
    manual,
    run: (connect, options = {}) => runLine(line, connect, options),
  };
}

async function runLine(
  line: Line,
  connect: Connect,
  options: ConformanceOptions,
): Promise<CaseResult> {
  const { id, title, manual } = line;
  const { timeout = TIMEOUT_MS } = options;
  const start = Date.now();
  const trial = new Trial(connect, options);
  const outcome = await settled(line.check(trial), timeout);
  const frames = [...trial.log];
  const cleaning = await settled(trial.cleanUp(), timeout);
  trial.end();
  const result = verdict(outcome, cleaning);
  return {
    id,
    title,
    manual,
    ...result,
    ...(result.status === "fail" ? { frames } : {}),
    milliseconds: Date.now() - start,
  };
}

/** Undefined when it went well, else what it threw. */
async function settled(
  running: Promise<void>,
  timeout: number,
): Promise<Error | undefined> {
  let timer;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Failure(`no end in ${timeout} ms`)),
      timeout,
    );
  });
  running.catch(() => {}); // When it is late, what it throws is no news.
  try {
    await Promise.race([running, late]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    clearTimeout(timer);
  }
}

function verdict(
  outcome: Error | undefined,
  cleaning: Error | undefined,
): Pick<CaseResult, "status" | "reason"> {
  const left = cleaning === undefined ? "" : `(${cleaning.message})`;
  if (outcome === undefined) {
    return left === "" ? { status: "ok" } : { status: "ok", reason: left };
  }
  const known = outcome instanceof Failure || outcome instanceof Skip;
  // What is no Failure is a defect of the case: its place is needed.
  const what = known ? outcome.message : outcome.stack ?? String(outcome);
  return {
    status: outcome instanceof Skip ? "skip" : "fail",
    // A dead server is not told twice.
    reason: left === "" || outcome instanceof Failure
      ? what
      : `${what} ${left}`,
  };
}

/**
 * Runs cases, one after the other.
 *
 * @param cases The cases.
 * @param connect How to connect to the server.
 * @param options Which of the cases, what they may use, and demand.
 * @returns How each went, as soon as it is known.
 * @throws {RangeError} `only` or `skip` names no case.
 */
export async function* runCases(
  cases: readonly Case[],
  connect: Connect,
  options: ConformanceOptions = {},
): AsyncGenerator<CaseResult, void, void> {
  const { only, skip = [] } = options;
  for (const id of [...only ?? [], ...skip]) {
    if (!cases.some((test) => test.id === id)) {
      throw new RangeError(`Cannot run the cases: there is no "${id}"`);
    }
  }
  for (const test of cases) {
    if (only?.includes(test.id) === false || skip.includes(test.id)) continue;
    yield await test.run(connect, options);
  }
}

/**
 * A result as lines: `ok S35 …`, `FAIL S39 …: got …, wanted …` and the messages
 * of the case, or `skip S28 …: no authentication here`.
 *
 * @param result How a case went.
 * @returns The lines, without a newline at the end.
 */
export function formatResult(result: CaseResult): string {
  const { id, title, status, reason, manual, frames = [] } = result;
  const word = status === "fail" ? "FAIL" : status;
  if (reason === undefined) return `${word} ${id} ${title}`;
  const line = `${word} ${id} ${title.replace(/\.$/, "")}`;
  if (status !== "fail") return `${line}: ${reason}`;
  const shown = frames.slice(-FRAMES_MAX).map((frame) => `    ${frame}`);
  if (frames.length > shown.length) shown.unshift("    …");
  return [`${line} [${manual}]: ${reason}`, ...shown].join("\n");
}

/** Messages of a failure that are shown: the last ones matter. */
const FRAMES_MAX = 60;
