// Many functions behind one file (P-47).
import { assertEquals } from "@std/assert";
import { ORDWR } from "../../../codec.ts";
import {
  type CallContext,
  type FileMethods,
  type FunctionOptions,
  MemoryFs,
} from "../../../fs/mod.ts";
import { test } from "../../harness.ts";
import { bytes, refusal, ServedTree } from "../tree_client.ts";

const MATH = {
  add: ({ a, b }: { a: number; b: number }) => a + b,
  negate: ({ a }: { a: number }) => -a,
  list: (...args: unknown[]) => args,
};

function serving(
  methods: FileMethods = MATH,
  options: FunctionOptions & { context?: true } = {},
): ServedTree {
  const fs = new MemoryFs();
  const { context, ...rest } = options;
  if (context) fs.register("f", methods, { ...rest, context });
  else fs.register("f", methods, rest);
  return new ServedTree(fs);
}

async function call(served: ServedTree, args: unknown): Promise<unknown> {
  const client = await served.client();
  return JSON.parse((await client.call("f", JSON.stringify(args))).value);
}

/** The class and str of the error of a call. */
async function failure(served: ServedTree, args: unknown): Promise<string> {
  const client = await served.client();
  const text = await refusal(client.call("f", JSON.stringify(args)));
  const error = JSON.parse(text);
  return `${error.class}: ${error.str}`;
}

test("methods: the first argument names one, the others are its own", async () => {
  await using served = serving();
  assertEquals(await call(served, { argv: ["list", 1, 2] }), [1, 2]);
  const both = { argv: ["list", 1], kwarg: { x: 2 } };
  assertEquals(await call(served, both), [1, { x: 2 }]);
  const named = { argv: ["add"], kwarg: { a: 17, b: 25 } };
  assertEquals(await call(served, named), 42);
});

test("methods: or the member fname does, and is no argument", async () => {
  await using served = serving();
  const kwarg = { fname: "add", a: 17, b: 25 };
  assertEquals(await call(served, { kwarg }), 42);
  const list = { argv: ["add", 1], kwarg: { fname: "list" } };
  assertEquals(await call(served, list), ["add", 1]);
});

test("methods: write and read name one by fname", async () => {
  await using served = serving();
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"fname": "add", "a": 17, "b": 25}');
  assertEquals(await client.text(fid), "42");
  await client.write(fid, '{"fname": "negate", "a": 1}');
  assertEquals(await client.text(fid), "-1");
  await client.write(fid, '{"a": 1}');
  assertEquals(await refusal(client.read(fid)), "no function is named");
});

test("methods: params by the names of the functions", async () => {
  const params = { sub: ["a", "b"] };
  const methods = {
    sub: ({ uname }: CallContext, a: number, b: number) => [a - b, uname],
    other: (_: CallContext, { a }: { a: number }) => a,
  };
  await using served = serving(methods, { params, context: true });
  assertEquals(await call(served, { argv: ["sub", 3, 1] }), [2, "glenda"]);
  const kwarg = { fname: "sub", b: 1, a: 3 };
  assertEquals(await call(served, { kwarg }), [2, "glenda"]);
  assertEquals(await call(served, { kwarg: { fname: "other", a: 1 } }), 1);
  assertEquals(
    await failure(served, { argv: ["sub", 1, 2, 3] }),
    "TypeError: the function takes 2 arguments, 3 were given",
  );
});

test("methods: a payload is an argument as ever", async () => {
  const methods = { size: ({ data }: { data: Uint8Array }) => data.length };
  await using served = serving(methods);
  const client = await served.client();
  const reply = await client.call("f", '{"argv": ["size"]}', bytes("12345"));
  assertEquals(reply.value, "5");
});

test("methods: only own enumerable functions can be reached", async () => {
  class Counter {
    count = 0;
    own = () => 1;
    inherited(): number {
      return 1;
    }
  }
  const object = new Counter();
  Object.defineProperty(object, "hidden", { value: () => 1 });
  // As from a program without types: a member is no function.
  await using served = serving(object as unknown as FileMethods);
  const names = [
    "count",
    "inherited",
    "hidden",
    "toString",
    "hasOwnProperty",
    "constructor",
    "__proto__",
    "",
  ];
  for (const name of names) {
    assertEquals(
      await failure(served, { argv: [name] }),
      `TypeError: there is no function "${name}"`,
    );
  }
});

test("methods: a name that is none, or is missing", async () => {
  await using served = serving();
  const none = "TypeError: no function is named";
  assertEquals(await failure(served, {}), none);
  assertEquals(await failure(served, { argv: [1] }), none);
  const kwarg = { fname: ["add"] };
  assertEquals(await failure(served, { argv: ["add"], kwarg }), none);
});

test("methods: this is the object, and it may change while it is served", async () => {
  const methods: Record<string, (...args: never[]) => unknown> = {
    first(this: Record<string, unknown>) {
      return Object.keys(this);
    },
  };
  await using served = serving(methods);
  assertEquals(await call(served, { argv: ["first"] }), ["first"]);
  methods.second = () => 2;
  assertEquals(await call(served, { argv: ["second"] }), 2);
});
