// The runner of cases. Each case has its own connections, its own directory and
// its own time limit, so that no case disturbs another.

import type {
  Case,
  CaseResult,
  ConformanceOptions,
  Connect,
  Status,
} from "./case.ts";
import { NOTAG, printable } from "../../codec.ts";
import { ConnectionFailure, Failure, Skip, TimeoutFailure } from "./check.ts";
import type { Rule } from "./rule.ts";
import { T } from "./requests.ts";
import { ROOT } from "./session.ts";
import { pause, REPLIES, Trial } from "./trial.ts";
import { END } from "./wire.ts";

/** Makes a case of a rule. */
export function caseOf(rule: Rule): Case {
  const { id, title, manual } = rule;
  return {
    id,
    title,
    manual,
    run: (connect, options = {}) => runRule(rule, connect, options),
  };
}

async function runRule(
  rule: Rule,
  connect: Connect,
  options: ConformanceOptions,
): Promise<CaseResult> {
  const { id, title, manual, isAdvice = false } = rule;
  const start = Date.now();
  const trial = new Trial(connect, options);
  const { timeout } = trial;
  const outcome = await settled(rule.check(trial), timeout);
  const frames = [...trial.log];
  const cleaning = await settled(trial.cleanUp(), timeout);
  trial.end();
  const result = verdict(outcome, cleaning, isAdvice && !trial.strict);
  const isShown = result.status === "fail" || result.status === "advice";
  return {
    id,
    title,
    manual,
    ...result,
    ...(isShown ? { frames } : {}),
    milliseconds: Date.now() - start,
  };
}

/** Waits for a promise. Returns its error, or undefined when it succeeded. */
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
  running.catch(() => {}); // After the time limit, its error does not matter.
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
  isAdvice: boolean,
): Pick<CaseResult, "status" | "reason"> {
  const left = cleaning === undefined ? "" : `(${cleaning.message})`;
  if (outcome === undefined) {
    return left === "" ? { status: "ok" } : { status: "ok", reason: left };
  }
  const known = outcome instanceof Failure || outcome instanceof Skip;
  // Any other error is a defect of the case itself, so the stack is shown.
  const reason = known ? outcome.message : outcome.stack ?? String(outcome);
  return {
    status: statusOf(outcome, isAdvice),
    // After a failure, the same dead server may also fail the clean-up.
    reason: left === "" || outcome instanceof Failure
      ? reason
      : `${reason} ${left}`,
  };
}

function statusOf(outcome: Error, isAdvice: boolean): Status {
  if (outcome instanceof Skip) return "skip";
  return isAdvice && outcome instanceof Failure ? "advice" : "fail";
}

/**
 * Runs cases, one after the other. A case after which the server cannot be
 * reached has failed, and all later cases are not run.
 *
 * @param cases The cases.
 * @param connect How to connect to the server.
 * @param options Which cases run, what they may use, and how strict they are.
 * @returns The result of each case, as soon as the case is over.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 */
export async function* runCases(
  cases: readonly Case[],
  connect: Connect,
  options: ConformanceOptions = {},
): AsyncGenerator<CaseResult, void, void> {
  let end: string | undefined;
  for (const test of select(cases, options)) {
    const { id, title, manual } = test;
    if (end !== undefined) {
      const status = "not run";
      yield { id, title, manual, status, reason: end, milliseconds: 0 };
      continue;
    }
    const result = await test.run(connect, options);
    if (!isGood(result)) end = await endOf(result, connect, options);
    yield end === undefined ? result : { ...result, status: "fail", end };
  }
}

/** True when a result proves that the server is alive. */
function isGood({ status, reason }: CaseResult): boolean {
  return status === "ok" && reason === undefined;
}

/**
 * Checks that the server still answers a Tversion on a new connection.
 *
 * @returns Undefined when the server does, else the line that reports its end.
 */
async function endOf(
  { id }: CaseResult,
  connect: Connect,
  options: ConformanceOptions,
): Promise<string | undefined> {
  const { patience } = new Trial(connect, options);
  // The server may still clunk the fids of the case, so it gets more time.
  const trial = new Trial(connect, {
    ...options,
    patience: patience * REPLIES,
  });
  const isThere = async () => {
    const session = await trial.connect();
    try {
      session.start(T.version(8192), NOTAG);
      return await session.next("Rversion") !== END;
    } finally {
      session.close();
    }
  };
  // A supervisor may be restarting the server.
  const last = Date.now() + patience;
  while (true) {
    try {
      if (await isThere()) return undefined;
    } catch (error) {
      if (error instanceof TimeoutFailure) {
        return `server says nothing since ${id}`;
      }
      if (!(error instanceof ConnectionFailure)) return undefined; // The server answers, but wrongly.
    }
    if (Date.now() >= last) return `server ended at ${id}`;
    await pause(50);
  }
}

/** Returns the cases that the options choose; throws when there is none. */
function select(
  cases: readonly Case[],
  { only, skip = [] }: ConformanceOptions,
): Case[] {
  const ids = new Set([...only ?? [], ...skip]);
  for (const { id } of cases) ids.delete(id);
  if (ids.size > 0) {
    const unknown = [...ids].map((id) => `"${id}"`).join(", ");
    throw new RangeError(`Cannot run the cases: there is no ${unknown}`);
  }
  const chosen = cases.filter(({ id }) =>
    only?.includes(id) !== false && !skip.includes(id)
  );
  if (chosen.length === 0) {
    throw new RangeError("Cannot run the cases: none is left to run");
  }
  return chosen;
}

/**
 * Checks that cases can be run: the cases exist, the server answers, the user
 * may attach, and the user may make a directory.
 *
 * @param cases The cases.
 * @param connect How to connect to the server.
 * @param options Which cases run, what they may use, and how strict they are.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 * @throws {Error} The server does not answer, refuses the user, or refuses to
 *   make a directory.
 */
export async function probeCases(
  cases: readonly Case[],
  connect: Connect,
  options: ConformanceOptions = {},
): Promise<void> {
  select(cases, options);
  const trial = new Trial(connect, options);
  const { timeout, uname, aname } = trial;
  let step = "connect to the server";
  const steps = async () => {
    const session = await trial.connect();
    step = "begin a session";
    await session.begin();
    step = `attach "${uname}" to the tree "${aname}"`;
    await trial.attach(session, ROOT, uname);
    step = `make a directory in "${options.dir ?? "/"}"`;
    await trial.session();
  };
  const error = await settled(steps(), timeout);
  // The cases report files that cannot be removed.
  await settled(trial.cleanUp(), timeout);
  trial.end();
  if (error === undefined) return;
  throw new Error(`Cannot ${step}: ${error.message}`, { cause: error });
}

/**
 * Formats a result: `ok S35 …`, `FAIL S39 …: got …, wanted …` and the messages
 * of the case, `advice S69 …: got …, wanted …`, or `skip S28 …: no
 * authentication here`. Where the server ended, the line `server ended at S73`
 * follows.
 *
 * @param result The result of a case.
 * @returns The lines, without a newline at the end.
 */
export function formatResult(result: CaseResult): string {
  const { id, title, status, reason, manual, frames = [], end } = result;
  const word = status === "fail" ? "FAIL" : status;
  if (reason === undefined) return `${word} ${id} ${title}`;
  const line = `${word} ${id} ${title.replace(/\.$/, "")}`;
  if (status !== "fail") return printable(`${line}: ${reason}`);
  const shown = frames.slice(-FRAMES_MAX).map((frame) => `    ${frame}`);
  if (frames.length > shown.length) shown.unshift("    …");
  if (end !== undefined) shown.push(end);
  return [`${line} [${manual}]: ${reason}`, ...shown].map(printable)
    .join("\n");
}

/** Maximum of messages shown for a failure: the last ones matter most. */
const FRAMES_MAX = 60;
