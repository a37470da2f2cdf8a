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
import { Failure, NoConnection, NoReply, Skip } from "./check.ts";
import type { Line } from "./line.ts";
import { T } from "./requests.ts";
import { ROOT } from "./session.ts";
import { pause, REPLIES, Trial } from "./trial.ts";
import { END } from "./wire.ts";

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
  const { id, title, manual, isAdvice = false } = line;
  const start = Date.now();
  const trial = new Trial(connect, options);
  const { timeout } = trial;
  const outcome = await settled(line.check(trial), timeout);
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
  isAdvice: boolean,
): Pick<CaseResult, "status" | "reason"> {
  const left = cleaning === undefined ? "" : `(${cleaning.message})`;
  if (outcome === undefined) {
    return left === "" ? { status: "ok" } : { status: "ok", reason: left };
  }
  const known = outcome instanceof Failure || outcome instanceof Skip;
  // What is no Failure is a defect of the case: its place is needed.
  const what = known ? outcome.message : outcome.stack ?? String(outcome);
  return {
    status: statusOf(outcome, isAdvice),
    // A dead server is not told twice.
    reason: left === "" || outcome instanceof Failure
      ? what
      : `${what} ${left}`,
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
 * @param options Which of the cases, what they may use, and demand.
 * @returns How each went, as soon as it is known.
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

/** Whether a result proves that the server is there. */
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
  // The server may be busy with clunks of the case: it gets more time.
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
  // A supervisor may start the server again; that takes a moment.
  const last = Date.now() + patience;
  while (true) {
    try {
      if (await isThere()) return undefined;
    } catch (error) {
      if (error instanceof NoReply) return `server says nothing since ${id}`;
      if (!(error instanceof NoConnection)) return undefined; // The server answers, with nonsense.
    }
    if (Date.now() >= last) return `server ended at ${id}`;
    await pause(50);
  }
}

/** The cases that the options choose: at least one, or it throws. */
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
 * Sees whether cases can be run at all: they are there, the server answers, and
 * lets the user in and make a directory.
 *
 * @param cases The cases.
 * @param connect How to connect to the server.
 * @param options Which of the cases, what they may use, and demand.
 * @throws {RangeError} `only` or `skip` names no case, or they leave none.
 * @throws {Error} The server is not there, or not ready.
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
  // What cannot be removed is for the cases to tell.
  await settled(trial.cleanUp(), timeout);
  trial.end();
  if (error === undefined) return;
  throw new Error(`Cannot ${step}: ${error.message}`, { cause: error });
}

/**
 * A result as lines: `ok S35 …`, `FAIL S39 …: got …, wanted …` and the messages
 * of the case, `advice S69 …: got …, wanted …`, or `skip S28 …: no
 * authentication here`; a further line, `server ended at S73`, where it did.
 *
 * @param result How a case went.
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

/** Messages of a failure that are shown: the last ones matter. */
const FRAMES_MAX = 60;
