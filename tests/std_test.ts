// What the other tests rely on in @std, held by the real packages and by the
// stand-ins in tests/std alike.
import {
  assert,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertNotMatch,
  assertNotStrictEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  equal,
  fail,
  unreachable,
} from "@std/assert";
import { abortable, deadline, delay } from "@std/async";
import {
  concat,
  copy,
  endsWith,
  equals,
  includesNeedle,
  indexOfNeedle,
  lastIndexOfNeedle,
  repeat,
  startsWith,
} from "@std/bytes";
import { test } from "./harness.ts";

const bytes = (...values: number[]) => new Uint8Array(values);

/** Fails unless `fn` throws an AssertionError; trusts no assertion to tell. */
function refuses(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    if (error instanceof AssertionError) return;
    throw error;
  }
  throw new Error(`Not refused: ${fn}`);
}

async function refusesLater(fn: () => Promise<unknown>): Promise<void> {
  try {
    await fn();
  } catch (error) {
    if (error instanceof AssertionError) return;
    throw error;
  }
  throw new Error(`Not refused: ${fn}`);
}

class Point {
  #secret = 1;
  x: number;
  constructor(x: number) {
    this.x = x;
  }
  get double(): number {
    return 2 * this.x * this.#secret;
  }
}

test("assert() and assertFalse() go by truth", () => {
  assert(1);
  assertFalse(0);
  refuses(() => assert(""));
  refuses(() => assertFalse("no"));
});

test("equal() holds for values that are alike", () => {
  const cycle = () => {
    const node: Record<string, unknown> = { name: "a" };
    node.self = node;
    return node;
  };
  const alike: [unknown, unknown][] = [
    [NaN, NaN],
    [0, -0],
    [1n, 1n],
    [{ a: 1, b: [2, { c: 3 }] }, { b: [2, { c: 3 }], a: 1 }],
    [Object.create(null), {}],
    [bytes(1, 2), bytes(1, 2)],
    [bytes(0, 1, 2).subarray(1), bytes(1, 2)],
    [bytes(1, 2).buffer, bytes(1, 2).buffer],
    [new Date(5), new Date(5)],
    [/a/g, /a/g],
    [new URL("unix:///a"), new URL("unix:///a")],
    [new Set([1, { a: 1 }]), new Set([{ a: 1 }, 1])],
    [
      new Map([["a", { b: 1 }], ["c", { b: 2 }]]),
      new Map([["c", { b: 2 }], ["a", { b: 1 }]]),
    ],
    [new Map([[{ k: 1 }, 1]]), new Map([[{ k: 1 }, 1]])],
    [new Point(1), new Point(1)],
    [cycle(), cycle()],
  ];
  for (const [i, [a, b]] of alike.entries()) {
    assert(equal(a, b), `pair ${i} should be equal`);
    assertEquals(a, b);
    refuses(() => assertNotEquals(a, b));
  }
});

test("equal() tells apart what differs", () => {
  const different: [unknown, unknown][] = [
    [1, 1n],
    [1, "1"],
    [null, undefined],
    [{}, null],
    [{ a: undefined }, {}],
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, { a: 1, b: 2 }],
    [[1, 2], [1]],
    [[1, 2], [2, 1]],
    [[], {}],
    [[undefined], []],
    [bytes(1, 2), bytes(1, 3)],
    [bytes(1, 2), bytes(1, 2, 3)],
    [bytes(1, 2), [1, 2]],
    [bytes(1), new Int8Array([1])],
    [bytes(1), bytes(1).buffer],
    [new Date(5), new Date(6)],
    [/a/, /a/g],
    [new Set([1]), new Set([2])],
    [new Set([{ a: 1 }]), new Set([{ a: 2 }])],
    [new Map([["a", 1]]), new Map([["a", 2]])],
    [new Map([["a", 1]]), new Map([["b", 1]])],
    [new Point(1), new Point(2)],
    [new Point(1), { x: 1 }],
    [new Error("a"), new TypeError("a")],
    [new Error("a"), new Error("b")],
    [() => 1, () => 1],
    [Symbol("a"), Symbol("a")],
  ];
  for (const [i, [a, b]] of different.entries()) {
    assert(!equal(a, b), `pair ${i} should differ`);
    assertNotEquals(a, b);
    refuses(() => assertEquals(a, b));
  }
});

test("assertStrictEquals() goes by Object.is", () => {
  const value = {};
  assertStrictEquals(value, value);
  assertStrictEquals(NaN, NaN);
  assertNotStrictEquals<unknown>({}, {});
  refuses(() => assertStrictEquals({}, {}));
  refuses(() => assertStrictEquals(0, -0));
  refuses(() => assertNotStrictEquals(value, value));
});

test("assertions of order, presence and kind", () => {
  assertGreater(2, 1);
  assertGreaterOrEqual(2n, 2n);
  assertLess("a", "b");
  assertLessOrEqual(1, 1);
  refuses(() => assertGreater(1, 1));
  refuses(() => assertGreaterOrEqual(0, 1));
  refuses(() => assertLess(1, 1));
  refuses(() => assertLessOrEqual(2, 1));
  assertExists(0);
  refuses(() => assertExists(null));
  refuses(() => assertExists(undefined));
  const caught: unknown = new RangeError("x");
  assertInstanceOf(caught, Error);
  assertEquals(caught.message, "x");
  refuses(() => assertInstanceOf({}, Error));
  refuses(() => assertInstanceOf(null, Error));
});

test("assertions on text and lists", () => {
  assertStringIncludes("walk(9P)", "9P");
  refuses(() => assertStringIncludes("walk(9P)", "9p"));
  assertMatch("walk(9P)", /9p/i);
  refuses(() => assertMatch("walk(9P)", /^9/));
  assertNotMatch("walk(9P)", /^9/);
  refuses(() => assertNotMatch("walk(9P)", /9P/));
  assertArrayIncludes<unknown>([1, NaN, { a: 1 }], [{ a: 1 }, NaN]);
  refuses(() => assertArrayIncludes([1, 2], [2, 3]));
});

test("assertObjectMatch() wants a deep superset", () => {
  assertObjectMatch({ a: { b: 1, c: 2 }, d: 3 }, { a: { b: 1 } });
  assertObjectMatch({ list: [{ a: 1, b: 2 }] }, { list: [{ a: 1 }] });
  assertObjectMatch(
    Object.assign(new Error("x"), { code: "ENOENT" }),
    { message: "x", code: "ENOENT" },
  );
  refuses(() => assertObjectMatch({ a: 1 }, { a: 2 }));
  refuses(() => assertObjectMatch({ a: 1 }, { a: 1, b: 2 }));
  refuses(() => assertObjectMatch({ a: { b: 1 } }, { a: { b: 1, c: 2 } }));
  refuses(() => assertObjectMatch({ list: [1] }, { list: [1, 2] }));
  refuses(() => assertObjectMatch({ a: 1n }, { a: 1 }));
});

test("assertThrows() gives back what was thrown", () => {
  const error = new RangeError("Cannot seek: past the end");
  const boom = () => {
    throw error;
  };
  assertStrictEquals(assertThrows(boom), error);
  assertStrictEquals(assertThrows(boom, RangeError), error);
  assertStrictEquals(assertThrows(boom, Error, "past the end"), error);
  refuses(() => assertThrows(boom, TypeError));
  refuses(() => assertThrows(boom, RangeError, "other words"));
  refuses(() => assertThrows(() => {}));
  // A promise that will reject is not a throw.
  refuses(() => assertThrows(() => Promise.resolve()));
  refuses(() =>
    assertThrows(() => {
      throw "text";
    }, Error)
  );
});

test("assertRejects() gives back the reason", async () => {
  const error = new RangeError("Cannot seek: past the end");
  const boom = () => Promise.reject(error);
  assertStrictEquals(await assertRejects(boom), error);
  assertStrictEquals(await assertRejects(boom, RangeError), error);
  assertStrictEquals(await assertRejects(boom, Error, "past the end"), error);
  await refusesLater(() => assertRejects(boom, TypeError));
  await refusesLater(() => assertRejects(boom, RangeError, "other words"));
  await refusesLater(() => assertRejects(() => Promise.resolve(1)));
  await refusesLater(() => assertRejects(() => Promise.reject("text"), Error));
});

test("assertRejects() refuses a function that throws at once", async () => {
  await refusesLater(() =>
    assertRejects(() => {
      throw new Error("too early");
    })
  );
});

test("fail() and unreachable() fail", () => {
  refuses(() => fail("on purpose"));
  refuses(() => unreachable());
  assertStringIncludes(
    assertThrows(() => fail("on purpose"), AssertionError).message,
    "on purpose",
  );
});

test("delay() ends early with the signal's reason", async () => {
  await delay(0);
  const reason = new Error("enough");
  const controller = new AbortController();
  const wait = delay(60_000, { signal: controller.signal });
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => wait), reason);
  const { signal } = controller;
  assertStrictEquals(await assertRejects(() => delay(1, { signal })), reason);
});

test("deadline() passes on a promise that settles", async () => {
  assertEquals(await deadline(Promise.resolve(9), 60_000), 9);
  const error = new Error("no");
  const failed = deadline(Promise.reject(error), 60_000);
  assertStrictEquals(await assertRejects(() => failed), error);
});

test("deadline() rejects with a TimeoutError", async () => {
  const never = new Promise<never>(() => {});
  // A deadline alone does not keep the process alive.
  const alive = setTimeout(() => {}, 60_000);
  const error = await assertRejects(() => deadline(never, 1), DOMException);
  assertEquals(error.name, "TimeoutError");
  clearTimeout(alive);
});

test("deadline() and abortable() end with the signal's reason", async () => {
  const never = new Promise<never>(() => {});
  const reason = new Error("enough");
  const signal = AbortSignal.abort(reason);
  assertStrictEquals(
    await assertRejects(() => deadline(never, 60_000, { signal })),
    reason,
  );
  const controller = new AbortController();
  const waiting = abortable(never, controller.signal);
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waiting), reason);
});

test("abortable() passes on the values of an iterable", async () => {
  const controller = new AbortController();
  async function* numbers() {
    yield 1;
    yield 2;
    yield 3;
  }
  const seen: number[] = [];
  const reason = new Error("enough");
  const failure = await assertRejects(async () => {
    for await (const value of abortable(numbers(), controller.signal)) {
      seen.push(value);
      if (value === 2) controller.abort(reason);
    }
  });
  assertStrictEquals(failure, reason);
  assertEquals(seen, [1, 2]);
});

test("concat() copies", () => {
  const one = bytes(1, 2);
  const all = concat([one]);
  assertEquals(all, one);
  assertNotStrictEquals(all, one);
  assertEquals(concat([bytes(), one, bytes(3)]), bytes(1, 2, 3));
  assertEquals(concat([]), bytes());
});

test("copy() copies what fits", () => {
  const to = bytes(0, 0, 0);
  assertEquals(copy(bytes(1, 2), to, 2), 1);
  assertEquals(to, bytes(0, 0, 1));
  assertEquals(copy(bytes(1, 2), to), 2);
  assertEquals(to, bytes(1, 2, 1));
  assertEquals(copy(bytes(1), to, 9), 0);
  assertEquals(copy(bytes(7), to, -1), 1);
  assertEquals(to, bytes(7, 2, 1));
});

test("equals(), startsWith() and endsWith() compare bytes", () => {
  const long = new Uint8Array(1000).fill(7);
  const other = long.slice();
  assert(equals(long, other));
  other[999] = 8;
  assertFalse(equals(long, other));
  assertFalse(equals(bytes(1), bytes(1, 2)));
  assert(startsWith(bytes(1, 2, 3), bytes(1, 2)));
  assertFalse(startsWith(bytes(1), bytes(1, 2)));
  assert(startsWith(bytes(1), bytes()));
  assert(endsWith(bytes(1, 2, 3), bytes(2, 3)));
  assertFalse(endsWith(bytes(3), bytes(2, 3)));
});

test("needles are found from either end", () => {
  const hay = bytes(0, 1, 2, 0, 1, 2, 0, 1, 3);
  const needle = bytes(0, 1, 2);
  assertEquals(indexOfNeedle(hay, needle), 0);
  assertEquals(indexOfNeedle(hay, needle, 1), 3);
  assertEquals(indexOfNeedle(hay, needle, 4), -1);
  assertEquals(indexOfNeedle(hay, needle, -6), 3);
  assertEquals(indexOfNeedle(hay, needle, 99), -1);
  assertEquals(indexOfNeedle(hay, bytes()), -1);
  assertEquals(lastIndexOfNeedle(hay, needle), 3);
  assertEquals(lastIndexOfNeedle(hay, needle, 4), 0);
  assertEquals(lastIndexOfNeedle(hay, needle, 99), 3);
  assertEquals(lastIndexOfNeedle(hay, needle, -1), -1);
  assert(includesNeedle(hay, bytes(1, 3)));
  assertFalse(includesNeedle(hay, bytes(3, 1)));
});

test("repeat() takes a non-negative integer", () => {
  assertEquals(repeat(bytes(1, 2), 2), bytes(1, 2, 1, 2));
  assertEquals(repeat(bytes(1, 2), 0), bytes());
  assertThrows(() => repeat(bytes(1), -1), RangeError);
  assertThrows(() => repeat(bytes(1), 1.5), RangeError);
});
