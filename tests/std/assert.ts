/**
 * Stand-in for `@std/assert`, for places that cannot reach the real one: the
 * assertions that the tests and benches use, with the same verdicts. The texts
 * of failures are plainer.
 *
 * @module
 */

/** A class, abstract or not. */
// deno-lint-ignore no-explicit-any -- what a constructor takes is not our matter
type Class<T> = abstract new (...args: any[]) => T;

/** Values that {@linkcode assertFalse} lets pass. */
export type Falsy = false | 0 | 0n | "" | null | undefined;

/** What a failed assertion throws. */
export class AssertionError extends Error {
  /** The error of a failed assertion. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

/** Passes if `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Passes if `expr` is falsy. */
export function assertFalse(expr: unknown, msg = ""): asserts expr is Falsy {
  if (expr) throw new AssertionError(msg);
}

/** Passes if the two are deeply equal; see {@linkcode equal}. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  throw failure(
    "Values are not equal",
    msg,
    `\n    actual:   ${show(actual)}\n    expected: ${show(expected)}`,
  );
}

/** Passes if the two are not deeply equal; see {@linkcode equal}. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  throw failure(`Values are equal: ${show(actual)}`, msg);
}

/** Passes if the two are the same value by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  throw failure(
    "Values are not strictly equal",
    msg,
    `\n    actual:   ${show(actual)}\n    expected: ${show(expected)}`,
  );
}

/** Passes if the two are not the same value by `Object.is`. */
export function assertNotStrictEquals<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (!Object.is(actual, expected)) return;
  throw failure(`Values are strictly equal: ${show(actual)}`, msg);
}

/** Passes if `actual` is neither null nor undefined. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    throw failure(`Value does not exist: ${show(actual)}`, msg);
  }
}

/** Passes if `actual` is an instance of `expectedType`. */
export function assertInstanceOf<
  // deno-lint-ignore no-explicit-any -- the real signature
  T extends abstract new (...args: any[]) => any,
>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  throw failure(
    `Not an instance of ${expectedType.name}: ${show(actual)}`,
    msg,
  );
}

/** Passes if `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  if (actual.includes(expected)) return;
  throw failure(`${show(actual)} does not contain ${show(expected)}`, msg);
}

/** Passes if `actual` matches `expected`. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (expected.test(actual)) return;
  throw failure(`${show(actual)} does not match ${expected}`, msg);
}

/** Passes if `actual` does not match `expected`. */
export function assertNotMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (!expected.test(actual)) return;
  throw failure(`${show(actual)} matches ${expected}`, msg);
}

/** Passes if each of `expected` deeply equals one of `actual`. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T> & object,
  expected: ArrayLike<T> & object,
  msg?: string,
): void {
  const values = Array.from(actual);
  const missing = Array.from(expected).filter((wanted) =>
    !values.some((value) => equal(wanted, value))
  );
  if (missing.length === 0) return;
  throw failure(`${show(actual)} does not include ${show(missing)}`, msg);
}

/** Passes if `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (actual > expected) return;
  throw new AssertionError(msg ?? `${show(actual)} is not > ${show(expected)}`);
}

/** Passes if `actual >= expected`. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (actual >= expected) return;
  throw new AssertionError(
    msg ?? `${show(actual)} is not >= ${show(expected)}`,
  );
}

/** Passes if `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (actual < expected) return;
  throw new AssertionError(msg ?? `${show(actual)} is not < ${show(expected)}`);
}

/** Passes if `actual <= expected`. */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (actual <= expected) return;
  throw new AssertionError(
    msg ?? `${show(actual)} is not <= ${show(expected)}`,
  );
}

/**
 * Passes if `actual` has all properties of `expected`, deeply, with equal
 * values; classes of the objects on the way do not count. Arrays match from
 * their start.
 */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any -- the real signature
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  if (matches(actual, expected, new Map())) return;
  throw failure(
    "Object does not match",
    msg,
    `\n    actual:   ${show(actual)}\n    expected: ${show(expected)}`,
  );
}

/** Passes if `fn` throws; returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Passes if `fn` throws an instance of `ErrorClass` with `msgIncludes` in its
 * message; returns what it threw.
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: Class<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  classOrMsg?: Class<Error> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  try {
    fn();
  } catch (error) {
    checkError(error, classOrMsg, msgIncludes, msg);
    return error;
  }
  throw failure(
    "Expected function to throw",
    typeof classOrMsg === "string" ? classOrMsg : msg,
  );
}

/**
 * Passes if the promise that `fn` returns rejects; resolves to the reason. A
 * function that throws at once does not pass.
 */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/**
 * Passes if the promise that `fn` returns rejects with an instance of
 * `ErrorClass` with `msgIncludes` in its message; resolves to the reason.
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: Class<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: Class<Error> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const text = typeof classOrMsg === "string" ? classOrMsg : msg;
  let promise: PromiseLike<unknown> | undefined;
  try {
    promise = fn();
  } catch {
    // Told below: throwing is not rejecting.
  }
  if (typeof promise?.then !== "function") {
    throw failure("Function throws when expected to reject", text);
  }
  try {
    await promise;
  } catch (error) {
    checkError(error, classOrMsg, msgIncludes, msg);
    return error;
  }
  throw failure("Expected function to reject", text);
}

/** Always fails. */
export function fail(msg?: string): never {
  throw failure("Failed assertion", msg);
}

/** Fails: for code that is never to be reached. */
export function unreachable(msg?: string): never {
  throw failure("Unreachable", msg);
}

/**
 * Tells whether two values are deeply equal: same class, same properties (an
 * undefined one is not an absent one), maps and sets in any order, typed arrays
 * by their elements, NaN equal to NaN, 0 to -0; cycles are allowed.
 *
 * @throws {TypeError} On a WeakMap or WeakSet.
 */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

type Pairs = Map<object, unknown>;

function compare(a: unknown, b: unknown, pairs: Pairs): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (!isObject(a) || !isObject(b)) return false;
  if (!sameClass(a, b)) return false;
  if (a instanceof Date && b instanceof Date) {
    return Object.is(a.getTime(), b.getTime());
  }
  if (
    a instanceof RegExp || a instanceof URL || a instanceof URLSearchParams
  ) return String(a) === String(b);
  if (isBytes(a) && isBytes(b)) return sameElements(elements(a), elements(b));
  if (a instanceof WeakMap || a instanceof WeakSet) {
    throw new TypeError(`Cannot compare ${a.constructor.name} instances`);
  }
  // Met before on the way down: what differs shows elsewhere.
  if (pairs.get(a) === b) return true;
  pairs.set(a, b);
  if (isKeyed(a) && isKeyed(b)) return sameEntries(a, b, pairs);
  const keys = new Set([...keysOf(a), ...keysOf(b)]);
  for (const key of keys) {
    if (key in a !== key in b) return false;
    if (!compare(Reflect.get(a, key), Reflect.get(b, key), pairs)) return false;
  }
  return true;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function sameClass(a: object, b: object): boolean {
  // An object without prototype counts as a plain one.
  const of = (value: object) =>
    Object.getPrototypeOf(value) ?? Object.prototype;
  return of(a) === of(b);
}

function isBytes(value: object): value is ArrayBuffer | ArrayBufferView {
  return value instanceof ArrayBuffer ||
    ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function elements(
  value: ArrayBuffer | ArrayBufferView,
): ArrayLike<unknown> {
  // A view that is no DataView is a typed array.
  return value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : value as unknown as ArrayLike<unknown>;
}

function sameElements(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i] && !Object.is(a[i], b[i])) return false;
  }
  return true;
}

type Keyed = Map<unknown, unknown> | Set<unknown>;

function isKeyed(value: object): value is Keyed {
  return value instanceof Map || value instanceof Set;
}

function sameEntries(a: Keyed, b: Keyed, pairs: Pairs): boolean {
  if (a.size !== b.size) return false;
  const entry = (of: Keyed, key: unknown) =>
    of instanceof Map ? [key, of.get(key)] : [key];
  const spare = [...b.keys()].filter(isObject);
  for (const key of a.keys()) {
    if (!isObject(key)) {
      if (!b.has(key) || !compare(entry(a, key), entry(b, key), pairs)) {
        return false;
      }
      continue;
    }
    // A wrong guess must leave no trace of what it took to be equal.
    const at = spare.findIndex((other) =>
      compare(entry(a, key), entry(b, other), new Map(pairs))
    );
    if (at < 0) return false;
    spare.splice(at, 1);
  }
  return true;
}

/**
 * What to compare: of a plain object or an array the enumerable properties, of
 * any other everything it has and inherits (so errors differ by their stack).
 */
function keysOf(value: object): PropertyKey[] {
  const isPlain = (of: object | null) =>
    of === null || of === Object.prototype || of === Array.prototype;
  if (isPlain(Object.getPrototypeOf(value))) {
    return Reflect.ownKeys({ ...value });
  }
  const keys: PropertyKey[] = [];
  for (let of = value; !isPlain(of); of = Object.getPrototypeOf(of)) {
    keys.push(...Reflect.ownKeys(of));
  }
  return keys;
}

function matches(actual: unknown, expected: unknown, pairs: Pairs): boolean {
  if (!isObject(actual) || !isObject(expected)) return equal(actual, expected);
  if (expected instanceof RegExp || expected instanceof Date) {
    return equal(actual, expected);
  }
  if (isBytes(expected)) return equal(actual, expected);
  if (pairs.get(actual) === expected) return true;
  pairs.set(actual, expected);
  if (expected instanceof Set) {
    return actual instanceof Set && [...expected].every((v) => actual.has(v));
  }
  if (expected instanceof Map) {
    return actual instanceof Map &&
      [...expected].every(([key, value]) =>
        actual.has(key) && matches(actual.get(key), value, pairs)
      );
  }
  if (Array.isArray(expected) !== Array.isArray(actual)) return false;
  return Reflect.ownKeys(expected).every((key) => {
    if (Array.isArray(expected) && key === "length") {
      return Reflect.get(actual, key) >= expected.length;
    }
    return Object.hasOwn(actual, key) &&
      matches(Reflect.get(actual, key), Reflect.get(expected, key), pairs);
  });
}

function checkError(
  error: unknown,
  classOrMsg: Class<Error> | string | undefined,
  msgIncludes: string | undefined,
  msg: string | undefined,
): void {
  if (classOrMsg === undefined || typeof classOrMsg === "string") return;
  if (!(error instanceof Error)) {
    throw failure(`Not an Error: ${show(error)}`, msg);
  }
  const { message, constructor: { name } } = error;
  if (!(error instanceof classOrMsg)) {
    throw new AssertionError(
      `Expected error to be instance of "${classOrMsg.name}", ` +
        `but was "${name}": ${message}`,
      { cause: error },
    );
  }
  if (msgIncludes !== undefined && !message.includes(msgIncludes)) {
    throw failure(
      `Expected error message to include ${show(msgIncludes)}, ` +
        `but got ${show(message)}`,
      msg,
    );
  }
}

function failure(what: string, msg: string | undefined, more = ""): Error {
  return new AssertionError(`${what}${msg ? `: ${msg}` : "."}${more}`);
}

/** `value` as text, on runtimes with and without an inspector. */
function show(value: unknown): string {
  const inspect = globalThis.Deno?.inspect;
  if (inspect !== undefined) {
    return inspect(value, { depth: 10, iterableLimit: 200, sorted: true });
  }
  if (value instanceof Uint8Array) return `Uint8Array [${value.join(", ")}]`;
  if (!isObject(value) || value instanceof Error) {
    return typeof value === "string" ? JSON.stringify(value) : String(value);
  }
  try {
    return JSON.stringify(
      value,
      (_, item) => typeof item === "bigint" ? `${item}n` : item,
    );
  } catch {
    return String(value);
  }
}
