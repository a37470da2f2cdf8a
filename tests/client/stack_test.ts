// The messages and stacks of the errors of a client's methods.
import {
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import type { CallerOptions, Client } from "../../client.ts";
import { FunctionError, NinePError, Plan9Exit } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import type { ErrorContext } from "../../server.ts";
import { withTestServer } from "../testing.ts";

/** Drops the errors that functions report to the owner of the server. */
const onError = () => {};

/** A tree whose functions fail. */
function failingFs(): MemoryFs {
  const fs = new MemoryFs({ plain: "text", fixed: { file: "" } }, {
    mode: 0o777,
  });
  fs.register("boom", () => {
    throw new RangeError("no such day");
  });
  fs.register("big", () => "more than a byte");
  fs.register("bye", () => {
    throw new Plan9Exit("see you");
  });
  return fs;
}

const operations: Record<
  string,
  (client: Client, options: CallerOptions) => Promise<unknown>
> = {
  call: (client, options) => client.call("boom", options),
  open: (client, options) => client.open("gone", options),
  stat: (client, options) => client.stat("gone", options),
  readTextFile: (client, options) => client.readTextFile("gone/x", options),
  writeTextFile: (client, options) =>
    client.writeTextFile("gone/x", "", options),
  mkdir: (client, options) => client.mkdir("plain", options),
  remove: (client, options) => client.remove("gone", options),
  rename: (client, options) => client.rename("gone", "x", options),
  walk: (client, options) => client.protocol.walk("gone", options),
  fid: (client, options) => client.protocol.fid("gone", options),
  "call by write and read": (client, options) =>
    client.call("boom", { kwarg: { fill: "x".repeat(70_000) }, ...options }),
  readDirNames: (client, options) => client.readDirNames("gone", options),
  "remove of a tree": (client, options) =>
    client.remove("fixed", { recursive: true, ...options }),
  "copy of a tree": (client, options) =>
    client.copy("fixed", "plain", { recursive: true, ...options }),
  proxy: (client, options) => client.proxy("gone", options),
  "method of a proxy": async (client, options) => {
    const api = await client.proxy<{ boom(): void }>("/", options);
    await api.boom();
  },
};

for (const [name, operation] of Object.entries(operations)) {
  test(`the stack of an error of ${name}() names its caller`, async () => {
    await withTestServer(async ({ client }) => {
      // A runtime finds the caller by the awaited promise.
      async function theCallersOwnFunction(options: CallerOptions) {
        await operation(client, options);
      }
      const { signal } = new AbortController();
      for (
        const options of [{}, { signal }, { timeout: 600_000 }, {
          signal,
          timeout: 600_000,
        }]
      ) {
        const error = await assertRejects(
          () => theCallersOwnFunction(options),
          NinePError,
          "Cannot ",
        );
        assertMatch(error.stack ?? "", /theCallersOwnFunction/);
      }
    }, { fs: failingFs(), serve: { onError } });
  });
}

test("the stack of a RangeError of call() names its caller", async () => {
  await withTestServer(async ({ client }) => {
    const long = "x".repeat(70_000);
    async function theCallersOwnFunction(call: () => Promise<unknown>) {
      await call();
    }
    const calls = [
      () => client.call("boom", { argv: [long] }),
      () => client.call("big", { maxLength: 1 }),
    ];
    for (const call of calls) {
      const error = await assertRejects(
        () => theCallersOwnFunction(call),
        RangeError,
        "Cannot call ",
      );
      assertMatch(error.stack ?? "", /theCallersOwnFunction/);
    }
  }, { fs: failingFs(), serve: { onError } });
});

test("an error of a function says which file was called, and keeps its parts", async () => {
  await withTestServer(async ({ client }) => {
    const error = await assertRejects(
      () => client.call("boom"),
      FunctionError,
    );
    assertEquals(error.message, 'Cannot call "boom": no such day');
    assertEquals(
      [error.name, error.class, error.str, error.code],
      ["FunctionError", "RangeError", "no such day", "EINVAL"],
    );
    assertInstanceOf(error.cause, FunctionError);
    const fid = await client.protocol.walk("boom");
    await assertRejects(
      () => client.call(fid),
      FunctionError,
      `Cannot call fid ${fid}: no such day`,
    );
    const exit = await assertRejects(() => client.call("bye"), Plan9Exit);
    assertEquals(
      [exit.message, exit.str],
      ['Cannot call "bye": see you', "see you"],
    );
  }, { fs: failingFs(), serve: { onError } });
});

test("an error of a function goes through a second server as it is", async () => {
  await withTestServer(async ({ client: inner }) => {
    const outer = new MemoryFs();
    outer.register("relay", () => inner.call("boom"));
    await withTestServer(async ({ client }) => {
      const error = await assertRejects(
        () => client.call("relay"),
        FunctionError,
      );
      assertEquals(
        [error.message, error.class, error.str],
        ['Cannot call "relay": no such day', "RangeError", "no such day"],
      );
    }, { fs: outer, serve: { onError } });
  }, { fs: failingFs(), serve: { onError } });
});

test("errors: maskErrors hides what another server sent to a function, and tells the owner", async () => {
  const inner = new MemoryFs();
  inner.register("boom", () => {
    throw new Error("inner secret");
  });
  await withTestServer(async ({ client: asking }) => {
    const told: string[] = [];
    const fs = new MemoryFs();
    const maskErrors = true;
    fs.register("relay", () => asking.call("boom"), { maskErrors });
    fs.register("rpc", () => asking.protocol.rpc({ type: "Tstat", fid: 99 }), {
      maskErrors,
    });
    fs.register("open", () => asking.readFile("missing"));
    const onError = (error: unknown, { expected }: ErrorContext) => {
      assertInstanceOf(error, Error);
      told.push(`${error.message}${expected ? ", expected" : ""}`);
    };
    await withTestServer(async ({ client }) => {
      for (
        const [name, message] of [
          ["relay", "i/o error"],
          ["rpc", "i/o error"],
          ["open", "file does not exist"],
        ]
      ) {
        const error = await assertRejects(() => client.call(name));
        assertInstanceOf(error, FunctionError);
        assertEquals(error.str, message);
      }
    }, { fs, serve: { onError } });
    assertEquals(told, [
      'Cannot call "boom": inner secret',
      "fid unknown or out of range",
      'Cannot read "missing": file does not exist, expected',
    ]);
  }, { fs: inner, serve: { onError: () => {} } });
});

test("the reason of an abort is untouched, also a NinePError", async () => {
  await withTestServer(async ({ client }) => {
    const reason = new NinePError("not now");
    for (const signal of [AbortSignal.abort(reason)]) {
      const error = await client.stat("plain", { signal }).catch((e) => e);
      assertStrictEquals(error, reason);
    }
    const controller = new AbortController();
    const { signal } = controller;
    const failing = client.stat("plain", { signal }).catch((e) => e);
    controller.abort(reason);
    assertStrictEquals(await failing, reason);
  }, { fs: failingFs(), serve: { onError } });
});
