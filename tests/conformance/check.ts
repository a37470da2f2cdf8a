// The checks of a case, and the errors by which a case fails or is skipped.

import type { Stat } from "../../codec.ts";

/**
 * The server breaks the rule; the message has its answer and the expected one.
 */
export class Failure extends Error {
  override readonly name = "Failure";
}

/** The server sent nothing for as long as a reply may take. */
export class TimeoutFailure extends Failure {}

/** The connection to the server was refused. */
export class ConnectionFailure extends Failure {}

/** The server lacks the feature, or the manual promises nothing. */
export class Skip extends Error {
  override readonly name = "Skip";
}

/** Fails the case. */
export function fail(got: string, wanted: string): never {
  throw new Failure(`got ${got}, wanted ${wanted}`);
}

/** Skips the case, or the rest of the case. */
export function skip(reason: string): never {
  throw new Skip(reason);
}

/** Formats a value in one line: strings are quoted, long values are cut. */
export function show(value: unknown, most = 60): string {
  const text = image(value);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function image(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return `${value.length} bytes ${hex(value)}`;
  if (Array.isArray(value)) return `[${value.map(image).join(" ")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value)
      .map(([name, field]) => `${name} ${image(field)}`);
    return `{${fields.join(" ")}}`;
  }
  return JSON.stringify(value) ?? String(value);
}

/** Formats bytes as hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** Parses hexadecimal digits; blanks are ignored. */
export function unhex(digits: string): Uint8Array {
  const pairs = digits.match(/[0-9a-f]{2}/gi) ?? [];
  return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
}

/** Fails unless a value equals the expected value. */
export function equal<T>(got: T, wanted: T, what: string): void {
  const [a, b] = [image(got), image(wanted)];
  if (a === b) return;
  let at = 0;
  while (a[at] === b[at]) at++;
  fail(`${around(a, at)} as ${what}`, around(b, at));
}

/** Returns a text; of a long text, the part around a position. */
function around(text: string, at: number): string {
  const from = Math.max(text.length > 60 ? at - 20 : 0, 0);
  const part = text.slice(from, from + 60);
  const dots = [from > 0 ? "…" : "", from + 60 < text.length ? "…" : ""];
  return `${dots[0]}${part}${dots[1]}`;
}

/**
 * Fails unless attributes equal the expected ones. `type` and `dev` are not
 * compared, because the manual leaves them to the kernel.
 */
export function equalStats(got: Stat, wanted: Stat, what: string): void {
  equal(withoutKernel(got), withoutKernel(wanted), what);
}

function withoutKernel(stat: Stat): Omit<Stat, "type" | "dev"> {
  const { type: _type, dev: _dev, ...rest } = stat;
  return rest;
}

/** Fails unless a value differs from the value before. */
export function mustDiffer<T>(now: T, before: T, what: string): void {
  if (image(now) === image(before)) {
    fail(`${show(now)} as ${what}, as before`, "another one");
  }
}

/** Fails unless a condition is true. */
export function ensure(
  condition: boolean,
  got: string,
  wanted: string,
): asserts condition {
  if (!condition) fail(got, wanted);
}
