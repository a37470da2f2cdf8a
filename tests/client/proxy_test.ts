// Function files as the methods of an object.
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  type Client,
  connect,
  type ConnectOptions,
  type RemoteApi,
} from "../../client.ts";
import { FunctionError, NinePError, type Tmessage } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";
import { test } from "../harness.ts";
import { type Scene, sent, start, walkTo } from "./scripted.ts";

interface Math {
  add(a: number, b: number): number;
  later(value: string): Promise<string>;
  nothing(): void;
  fail(): never;
  readonly version: string;
}

const MATH = {
  add: (a: number, b: number) => a + b,
  later: (value: string) => Promise.resolve(value),
  nothing: () => {},
  fail: () => {
    throw new RangeError("too far");
  },
};

function mathFs(): MemoryFs {
  const fs = new MemoryFs({ math: { version: "1", deep: {} } });
  for (const [name, fn] of Object.entries(MATH)) {
    fs.register(`math/${name}`, fn);
  }
  fs.register("object", MATH);
  return fs;
}

/** Serves a tree during a test, and records the types of the requests. */
async function withServer(
  fs: MemoryFs,
  work: (client: Client, types: string[]) => Promise<void>,
  options: ConnectOptions = {},
): Promise<void> {
  const [near, far] = pair();
  const types: string[] = [];
  const served = serve(far, fs, {
    onMessage: ({ message }) => {
      if (message?.type.startsWith("T")) types.push(message.type);
    },
  });
  await using client = await connect(near, options);
  types.length = 0;
  await work(client, types);
  await client.close();
  await served;
}

test("proxy() calls the function files of a directory", async () => {
  await withServer(mathFs(), async (client, types) => {
    const math = await client.proxy<Math>("math");
    // The types: await gives the value, also for async functions.
    const sum: number = await math.add(17, 25);
    const later: string = await math.later("now");
    assertEquals([sum, later], [42, "now"]);
    assertEquals(await math.nothing() as unknown, null);
    const error = await assertRejects(() => math.fail(), FunctionError);
    assertEquals([error.class, error.str], ["RangeError", "too far"]);
    types.length = 0;
    assertEquals(await math.add(1, 2), 3);
    assertEquals(types, ["Tcall"], "one round trip");
  });
});

/** Fails to compile unless two types are the same. */
type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false;

// RemoteApi has the types of the values after JSON.
test("proxy() types what JSON makes of a value", () => {
  interface Values {
    date(): Date;
    dates(): { when: Date; name: string; note?: string }[];
    map(): Promise<Map<string, number>>;
    nothing(): void;
    maybe(): string | undefined;
    bytes(): Uint8Array;
    big(): bigint;
    any(): unknown;
    pair(): [a: number, b: string | null];
    kind(): "a" | "b";
  }
  type Value<Name extends keyof Values> = Awaited<
    ReturnType<RemoteApi<Values>[Name]>
  >;
  const same: [
    Same<Value<"date">, never>,
    Same<
      Value<"dates">,
      { when: never; name: string; note?: string | undefined }[]
    >,
    Same<Value<"map">, never>,
    Same<Value<"nothing">, null>,
    Same<Value<"maybe">, string | null>,
    Same<Value<"bytes">, never>,
    Same<Value<"big">, never>,
    Same<Value<"any">, unknown>,
    Same<Value<"pair">, [a: number, b: string | null]>,
    Same<Value<"kind">, "a" | "b">,
  ] = [true, true, true, true, true, true, true, true, true, true];
  assertEquals(same.length, 10);
});

test("proxy() has the plain files that the directory has, and nothing else", async () => {
  await withServer(mathFs(), async (client) => {
    const math = await client.proxy<Math>("/math");
    const names = Object.keys(math).sort();
    assertEquals(names, ["add", "fail", "later", "nothing", "version"]);
    for (const name of ["deep", "toString", "constructor", "missing"]) {
      assertEquals(Reflect.get(math, name), undefined, name);
    }
    assertEquals(Reflect.ownKeys(math).sort(), names, "no symbols");
    // A plain file: the server refuses the call, and the error names the file.
    const call = Reflect.get(math, "version");
    await assertRejects(
      () => call(),
      NinePError,
      'Cannot call "/math/version": not a function file',
    );
  });
});

test("proxy() can be awaited and written as JSON whatever the files are called", async () => {
  const fs = new MemoryFs({ dir: {} });
  const names = ["then", "toJSON", "catch", "__proto__", "constructor", "é b"];
  for (const name of names) fs.register(`dir/${name}`, () => name);
  await withServer(fs, async (client) => {
    const api = await client.proxy<Record<string, () => string>>("dir");
    assertEquals(Object.keys(api).sort(), [
      "__proto__",
      "catch",
      "constructor",
      "é b",
    ]);
    assertEquals(JSON.stringify({ api }), '{"api":{}}');
    for (const name of Object.keys(api)) assertEquals(await api[name](), name);
    assertStrictEquals(await Promise.resolve(api), api);
  });
});

test("proxy() refuses methods that an object cannot have, and asks for nothing", async () => {
  await withServer(mathFs(), async (client, types) => {
    for (const name of ["then", "toJSON"]) {
      const making = () =>
        client.proxy<Record<string, () => void>>("object", {
          methods: ["add", name],
        });
      const message =
        `Cannot make a proxy of "object": "${name}" cannot be a method of it`;
      await assertRejects(making, TypeError, message);
    }
    assertEquals(types, []);
  });
});

test("proxy() keeps to its directory when the current one changes", async () => {
  const fs = mathFs();
  await withServer(fs, async (client) => {
    await client.chdir("math");
    const math = await client.proxy<Math>(".");
    await client.chdir("/");
    assertEquals(await math.add(17, 25), 42);
    const again = await client.proxy<Math>(["math"]);
    assertEquals(await again.add(1, 1), 2);
  });
});

test("proxy() of another tree of the connection", async () => {
  await withServer(mathFs(), async (client) => {
    await using tree = await client.attach({ uname: "glenda" });
    const math = await tree.proxy<Math>("math");
    assertEquals(await math.add(17, 25), 42);
  });
});

test("P-47 proxy() calls the methods behind one file", async () => {
  await withServer(mathFs(), async (client, types) => {
    const math = await client.proxy<typeof MATH>("object", {
      methods: ["add", "later", "fail"],
    });
    assertEquals(types, [], "nothing is asked before it must be");
    assertEquals(await math.add(17, 25), 42);
    assertEquals(types, ["Twalk", "Tcall"]);
    assertEquals(await math.later("now"), "now");
    await assertRejects(() => math.fail(), FunctionError, "too far");
    assertEquals(types, ["Twalk", "Tcall", "Tcall", "Tcall"]);
    const other = await client.proxy<{ other(): void }>("object", {
      methods: ["other"],
    });
    await assertRejects(() => other.other(), FunctionError, "other");
  });
});

test("proxy() rejects where there is no directory", async () => {
  await withServer(mathFs(), async (client) => {
    const missing = await assertRejects(
      () => client.proxy("nothing"),
      NinePError,
    );
    assertEquals([missing.code, missing.message], [
      "ENOENT",
      'Cannot list "nothing": file does not exist',
    ]);
    await assertRejects(
      () => client.proxy("object"),
      NinePError,
      'Cannot list "object": not a directory',
    );
  });
});

test("proxy() finds a file again after its first walk failed", async () => {
  const fs = mathFs();
  await withServer(fs, async (client) => {
    const math = await client.proxy<Math>("math");
    fs.remove("math/add");
    const error = await assertRejects(() => math.add(1, 2), NinePError);
    assertEquals(error.code, "ENOENT");
    fs.register("math/add", () => 7);
    assertEquals(await math.add(1, 2), 7);
  });
});

/**
 * Makes a proxy of a file of a scripted server. No request has been sent for
 * it.
 */
function scripted(
  { client }: Scene,
  signal?: AbortSignal,
): Promise<RemoteApi<{ add(a: number): number }>> {
  return client.proxy<{ add(a: number): number }>("f", {
    methods: ["add"],
    signal,
  });
}

test("proxy() walks once for calls that come together", async () => {
  await using scene = await start();
  const { server } = scene;
  const math = await scripted(scene);
  const calls = [math.add(1), math.add(2)];
  await walkTo(scene);
  for (const value of ["1", "2"]) {
    const data = new TextEncoder().encode(value);
    await server.exchange("Tcall", { fid: 1 }, {
      type: "Rcall",
      err: 0,
      text: "",
      data,
    });
  }
  assertEquals(await Promise.all(calls), [1, 2]);
});

test("proxy(): its signal ends each call, and makes later ones reject", async () => {
  await using scene = await start();
  const { server } = scene;
  const abort = new AbortController();
  const math = await scripted(scene, abort.signal);
  const calls = [math.add(1), math.add(2)];
  await walkTo(scene);
  const pending: Tmessage[] = [
    await server.expect("Tcall"),
    await server.expect("Tcall"),
  ];
  abort.abort(new Error("enough"));
  for (const call of [...calls, math.add(3)]) {
    assertStrictEquals(await call.catch((error) => error), abort.signal.reason);
  }
  for (const { tag } of pending) {
    await server.exchange("Tflush", { oldtag: tag }, { type: "Rflush" });
  }
});

test("proxy(): an abort of one does not end the walk that another waits for", async () => {
  await using scene = await start();
  const { server } = scene;
  const abort = new AbortController();
  const [one, two] = [
    await scripted(scene, abort.signal),
    await scripted(scene),
  ];
  const calls = [one.add(1), two.add(2)];
  const walk = await server.expect("Twalk");
  abort.abort();
  await assertRejects(() => calls[0], DOMException);
  const qid = { type: 0, vers: 0, path: 1n };
  server.answer(walk, { type: "Rwalk", wqid: [qid] });
  const call = await server.expect("Tcall");
  const data = new TextEncoder().encode("2");
  server.answer(call, { type: "Rcall", err: 0, text: "", data });
  assertEquals(await calls[1], 2);
  assertEquals(sent(scene), ["Twalk", "Tcall"]);
});

test("proxy(): its timeout is for each call", async () => {
  await using scene = await start();
  const math = await scene.client.proxy<{ add(): number }>("f", {
    methods: ["add"],
    timeout: 1,
  });
  const error = await assertRejects(() => math.add(), DOMException);
  assertEquals([error.name, error.message], [
    "TimeoutError",
    'Cannot call "f": no answer within 1 ms',
  ]);
});

test("proxy(): with() gives a method a signal and a timeout of its own", async () => {
  await using scene = await start();
  const { server } = scene;
  const [all, own] = [new AbortController(), new AbortController()];
  const math = await scripted(scene, all.signal);
  const add = math.add.with({ signal: own.signal });
  const calls = [math.add(1), add(2)];
  await walkTo(scene);
  await server.expect("Tcall");
  const second = await server.expect("Tcall");
  own.abort(new Error("mine"));
  await assertRejects(() => calls[1], Error, "mine");
  await server.exchange("Tflush", { oldtag: second.tag }, { type: "Rflush" });
  const late = math.add.with({ timeout: 1 })(3);
  const third = await server.expect("Tcall");
  await assertRejects(() => late, DOMException, "no answer within 1 ms");
  await server.exchange("Tflush", { oldtag: third.tag }, { type: "Rflush" });
  // That of the proxy ends them, too.
  const unaborted = new AbortController();
  const fourth = math.add.with({ signal: unaborted.signal })(4);
  const { tag } = await server.expect("Tcall");
  all.abort(new Error("all"));
  await assertRejects(() => add(5), Error, "mine");
  for (const call of [calls[0], fourth, math.add(6)]) {
    assertStrictEquals(
      await call.catch((error) => error),
      all.signal.reason,
    );
  }
  for (const oldtag of [0, tag]) {
    await server.exchange("Tflush", { oldtag }, { type: "Rflush" });
  }
});
