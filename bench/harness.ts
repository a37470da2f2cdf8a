/**
 * Benches that run under `deno bench` and, with a small loop of their own,
 * under `bun run`.
 *
 * @module
 */

/** Name, group and number of operations of a bench. */
export interface BenchOptions {
  name: string;
  /** Benches of one group are shown, and compared, together. */
  group?: string;
  /**
   * True for the bench that the other benches of the group are compared with.
   */
  baseline?: boolean;
  /** Operations that one call makes, 1 by default. Figures are for one operation; `deno bench` gives them for a call and says so in the name. */
  ops?: number;
}

interface Entry extends BenchOptions {
  fn: () => unknown;
}

/** Nanoseconds for one operation: the median of the rounds, and the least. */
interface Result extends Entry {
  median: number;
  least: number;
}

const WARM_UP_MS = 60;
const ROUND_MS = 20;
const ROUNDS = 7;
/**
 * Factor for the warm-up and the rounds of compare(), because the code of a
 * connection is compiled only after this time.
 */
const PATIENCE = 10;

const underDeno = "Deno" in globalThis;
const entries: Entry[] = [];

/**
 * Registers a bench.
 *
 * @param options Name, group and number of operations.
 * @param fn Function that is timed. If it returns a promise, it must be an
 *   `async` function, or `deno bench` does not wait for it.
 */
export function bench(options: BenchOptions, fn: () => unknown): void {
  if (!underDeno) {
    entries.push({ ...options, fn });
    return;
  }
  const { name, group, baseline = false, ops = 1 } = options;
  Deno.bench({
    name: ops === 1 ? name : `${name} (x${ops})`,
    ...(group === undefined ? {} : { group }),
    baseline,
    // The function is not wrapped, because `deno bench` recognizes an async
    // function by its constructor. Its result is ignored.
    fn: fn as () => void | Promise<void>,
  });
}

/**
 * Times the registered benches and prints a table. Call it at the end of a
 * bench file. Under Deno, `deno bench` does this work.
 */
export async function run(): Promise<void> {
  if (underDeno) return;
  const results: Result[] = [];
  for (const entry of entries.splice(0)) results.push(await measure(entry));
  for (const group of new Set(results.map((result) => result.group))) {
    const rows = results.filter((result) => result.group === group);
    const base = rows.find((result) => result.baseline);
    const width = Math.max(24, ...rows.map((result) => result.name.length));
    const head = ["median", "least", ...(base ? ["ratio"] : [])];
    console.log(line(group ?? "", head, width));
    for (const { name, median, least } of rows) {
      const ratio = base ? [`${(median / base.median).toFixed(2)}x`] : [];
      console.log(line(name, [time(median), time(least), ...ratio], width));
    }
    console.log();
  }
}

/**
 * One of several ways to do the same work. `fn` makes the number of operations
 * that compare() gets as `ops`, one after the other or all at once.
 */
export interface Way {
  name: string;
  fn: () => Promise<unknown>;
}

/**
 * Measures several ways to do the same work, and prints a table, under any
 * runtime. The rounds of the ways take turns, so that a machine that becomes
 * slower slows all ways down. Each ratio is the median of the ratios of the
 * rounds.
 *
 * @param group Name of the work, the title of the table.
 * @param ways The ways; the figures of the others are also given as a ratio to each that `to` names.
 * @param options Operations that one call makes; names of ways to compare with.
 */
export async function compare(
  group: string,
  ways: Way[],
  options: { ops?: number; rounds?: number; to: string[] },
): Promise<void> {
  const { ops = 1, rounds = ROUNDS, to } = options;
  const runs: (Way & { calls: number; times: number[] })[] = [];
  for (const { name, fn } of ways) {
    runs.push({ name, fn, calls: await warmUp(fn, PATIENCE), times: [] });
  }
  for (let i = 0; i < rounds; i++) {
    for (const { fn, calls, times } of runs) {
      times.push(await round(fn, calls) * 1e6 / (calls * ops));
    }
  }
  const width = Math.max(28, ...runs.map(({ name }) => name.length + 2));
  console.log(line(group, ["median", "least", ...to], width));
  for (const { name, times } of runs) {
    const ratios = to.map((other) => {
      const base = runs.find((run) => run.name === other)?.times ?? [];
      return median(times.map((time, i) => (base[i] ?? NaN) / time));
    });
    const cells = [median(times), Math.min(...times)].map(time);
    cells.push(...ratios.map((ratio) => `${ratio.toFixed(2)}x`));
    console.log(line(name, cells, width));
  }
  console.log();
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

async function measure(entry: Entry): Promise<Result> {
  const { fn, ops = 1 } = entry;
  const calls = await warmUp(fn);
  const times: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    times.push(await round(fn, calls) * 1e6 / (calls * ops));
  }
  return { ...entry, median: median(times), least: Math.min(...times) };
}

/**
 * Runs the warm-up, and returns the number of calls that fill a round. `scale`
 * lengthens the warm-up and the round.
 */
async function warmUp(fn: () => unknown, scale = 1): Promise<number> {
  const wanted = ROUND_MS * scale;
  let calls = 1;
  for (let spent = 0, took = 0; spent < WARM_UP_MS * scale; spent += took) {
    took = await round(fn, calls);
    if (took < wanted / 2) calls *= 2;
    else calls = Math.max(1, Math.round(calls * wanted / took));
  }
  return calls;
}

/** Runs `calls` calls, and returns the time in milliseconds. */
async function round(fn: () => unknown, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) {
    const result = fn();
    if (result instanceof Promise) await result;
  }
  return performance.now() - start;
}

function line(name: string, cells: string[], width: number): string {
  return [name.padEnd(width), ...cells.map((cell) => cell.padStart(12))]
    .join("");
}

function time(ns: number): string {
  if (ns < 1e4) return `${ns.toFixed(ns < 100 ? 1 : 0)} ns`;
  return ns < 1e7
    ? `${(ns / 1e3).toFixed(1)} µs`
    : `${(ns / 1e6).toFixed(1)} ms`;
}
