// Function files: how failures reach the caller, and how calls end before
// their time: flush, the end of a connection, a time limit, the exit error.
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  FunctionError,
  NinePError,
  ORDWR,
  OREAD,
  OWRITE,
  Plan9Exit,
} from "../../../codec.ts";
import {
  type CallContext,
  type FileFunction,
  type FunctionOptions,
  MemoryFs,
  type MemoryFsOptions,
} from "../../../fs/mod.ts";
import type { ErrorContext, ServeOptions } from "../../../server.ts";
import { test } from "../../harness.ts";
import {
  aborted,
  type FunctionSetup,
  HeldFunction,
  refusal,
  refused,
  register,
  ServedTree,
  type TreeClient,
} from "../tree_client.ts";

const utf8 = new TextEncoder();

function serving(
  fn: FileFunction | HeldFunction,
  options: FunctionSetup = {},
  serveOptions: ServeOptions = {},
): ServedTree {
  const fs = new MemoryFs({ plain: "" });
  register(fs, "f", fn, options);
  return new ServedTree(fs, serveOptions);
}

function thrower(error: unknown): FileFunction {
  return () => {
    throw error;
  };
}

/** Returns the error of a read after a write of arguments. */
async function readError(client: TreeClient, text = "{}"): Promise<string> {
  const fid = await client.open("f", ORDWR);
  await client.write(fid, text);
  return await refusal(client.read(fid));
}

/** The error of a Tcall: its JSON. */
async function envelope(client: TreeClient, text = ""): Promise<unknown> {
  return JSON.parse(await refusal(client.call("f", text)));
}

class NotReady extends Error {}

const FAILURES: [error: unknown, envelope: unknown, text: string][] = [
  [
    new TypeError("a must be a number"),
    { class: "TypeError", argv: [], str: "a must be a number" },
    "a must be a number",
  ],
  [
    new RangeError("bad value"),
    { class: "RangeError", argv: [], str: "bad value" },
    "bad value",
  ],
  [
    new NinePError("file does not exist"),
    {
      class: "FileNotFoundError",
      argv: [2, "file does not exist"],
      str: "file does not exist",
    },
    "file does not exist",
  ],
  [
    new NinePError("file system is full"),
    {
      class: "OSError",
      argv: [28, "file system is full"],
      str: "file system is full",
    },
    "file system is full",
  ],
  [
    Object.assign(new Error("ENOENT: no such file, open 'x'"), {
      code: "ENOENT",
    }),
    {
      class: "FileNotFoundError",
      argv: [2, "ENOENT: no such file, open 'x'"],
      str: "ENOENT: no such file, open 'x'",
    },
    "ENOENT: no such file, open 'x'",
  ],
  [new NotReady("wait"), { class: "NotReady", argv: [], str: "wait" }, "wait"],
  ["a text", { class: "Error", argv: [], str: "a text" }, "a text"],
  [
    new Error("first\nsecond\nthird"),
    { class: "Error", argv: [], str: "first\nsecond\nthird" },
    "first",
  ],
];

test("errors: of a Tcall they are JSON, of a read the first line (S120)", async () => {
  for (const [error, json, text] of FAILURES) {
    for (const fn of [thrower(error), () => Promise.reject(error)]) {
      await using served = serving(fn);
      const client = await served.client();
      assertEquals(await envelope(client), json);
      assertEquals(await readError(client), text);
      assertEquals(served.reports, [error, error]);
      // Errors that are meant for the caller are expected.
      assertEquals(served.expected, error instanceof NinePError ? 2 : 0);
    }
  }
});

test("errors: with the option all of them are JSON (P-33)", async () => {
  for (const [error, json] of FAILURES) {
    await using served = serving(thrower(error), {}, { errors: "json" });
    const client = await served.client();
    assertEquals(await envelope(client), json);
    assertEquals(JSON.parse(await readError(client)), json);
  }
  await using served = serving(thrower(1), {}, { errors: "json" });
  const client = await served.client();
  assertEquals(JSON.parse(await refusal(client.walk("no"))), {
    class: "FileNotFoundError",
    argv: [2, "file does not exist"],
    str: "file does not exist",
  });
});

test("exit: a client that waits for the call of another client gets an error, and goes on", async () => {
  let exit = (_: unknown) => {};
  const called = Promise.withResolvers<void>();
  await using served = serving(() => {
    called.resolve();
    return new Promise((_, reject) => exit = reject);
  });
  const caller = await served.client();
  const other = await served.client();
  const [own, ahead] = [await caller.open("f"), await other.open("f")];
  await caller.write(await caller.open("f", OWRITE), "{}");
  const reads = [
    refusal(caller.read(own)),
    refusal(other.read(ahead)),
  ];
  await called.promise;
  reads.push(refusal(other.read(ahead, 100)));
  await other.stat("plain"); // The reads are under way.
  exit(new Plan9Exit("bye"));
  assertEquals(await Promise.all(reads), ["bye", "bye", "bye"]);
  assertEquals((await other.stat("plain")).name, "plain");
});

// An error of a function always reaches the owner.
test("errors: an error of a function is reported to the owner, with stack, path, user and peer", async () => {
  const told: [error: unknown, context: ErrorContext][] = [];
  const fs = new MemoryFs({ dir: {} });
  const error = new Error("db password is hunter2");
  fs.register("dir/now", thrower(error));
  fs.register("dir/later", () => Promise.reject(error));
  fs.register("dir/both", { now: thrower(error) });
  fs.register("dir/dumps", () => 1, {
    dumper: () => thrower(error)() as string,
  });
  await using served = new ServedTree(fs, {
    onError: (error, context) => told.push([error, context]),
  });
  const client = await served.client("glenda");
  const files = ["now", "later", "both", "dumps"];
  for (const name of files) {
    const path = `dir/${name}`;
    const text = '{"kwarg": {"fname": "now"}}';
    assertEquals(JSON.parse(await refusal(client.call(path, text))), {
      class: "Error",
      argv: [],
      str: "db password is hunter2",
    });
    const fid = await client.open(path, ORDWR);
    await client.write(fid, '{"fname": "now"}');
    await refused("db password is hunter2", client.read(fid));
    await refused("db password is hunter2", client.read(fid)); // No call, no report.
  }
  assertEquals(told.length, 8);
  for (const [at, [reported, context]] of told.entries()) {
    assertStrictEquals(reported, error);
    const { peer, ...rest } = context;
    assertEquals(typeof peer, "string");
    assertEquals(rest, {
      request: at % 2 === 0 ? "Tcall" : "Tread",
      uname: "glenda",
      path: `/dir/${files[at >> 1]}`,
    });
  }
});

test("errors: an error that is meant for the caller is expected; bad arguments and a call that is given up are not reported", async () => {
  const errors = [
    new NinePError("permission denied"),
    new FunctionError({ class: "ValueError", argv: [], str: "bad" }),
  ];
  for (const error of errors) {
    await using served = serving(thrower(error));
    const client = await served.client();
    await refusal(client.call("f", ""));
    await refusal(client.call("f", "not JSON"));
    await refusal(client.call("f", '{"argv": 1}'));
    await readError(client, "not JSON");
    assertEquals(served.reports, [error]);
    assertEquals(served.expected, 1);
  }
  const held = new HeldFunction();
  await using served = serving(held);
  const client = await served.client();
  const fid = await client.walk("f");
  const reasons = [
    (signal: AbortSignal) => signal.reason,
    () => new DOMException("The operation was aborted", "AbortError"),
  ];
  for (const [at, reason] of reasons.entries()) {
    const data = new Uint8Array(0);
    const { tag } = client.start({ type: "Tcall", fid, text: "", data });
    const call = await held.called(at + 1);
    await client.flush(tag);
    call.reject(reason(call.context.signal));
    await client.stat(fid);
    assertEquals(served.reports, []);
  }
});

test("errors: an error after the caller gave up, or after the timeout, is reported", async () => {
  for (const options of [{}, { timeout: 1 }]) {
    const held = new HeldFunction();
    await using served = serving(held, options);
    const client = await served.client();
    const fid = await client.walk("f");
    const data = new Uint8Array(0);
    const { tag } = client.start({ type: "Tcall", fid, text: "", data });
    const call = await held.called();
    if (options.timeout === undefined) await client.flush(tag);
    else await aborted(call.context.signal);
    const error = new Error("late");
    call.reject(error);
    while (served.reports.length === 0) await client.stat(fid);
    assertEquals(served.reports, [error]);
  }
});

test("maskErrors: hides the errors of a function, not those that are meant for the caller", async () => {
  const secret = new Error("db password is hunter2");
  const said = new NinePError("permission denied");
  const masked = { class: "OSError", argv: [5, "i/o error"], str: "i/o error" };
  const open = { class: "Error", argv: [], str: secret.message };
  const rows: [MemoryFsOptions, FunctionOptions, unknown][] = [
    [{}, {}, open],
    [{}, { maskErrors: true }, masked],
    [{ maskErrors: true }, {}, masked],
    [{ maskErrors: true }, { maskErrors: false }, open],
  ];
  for (const [tree, options, expected] of rows) {
    const fs = new MemoryFs({}, tree);
    fs.register("f", thrower(secret), options);
    fs.register("later", () => Promise.reject(secret), options);
    fs.register("said", thrower(said), options);
    await using served = new ServedTree(fs);
    const client = await served.client();
    for (const path of ["f", "later"]) {
      const told = JSON.parse(await refusal(client.call(path, "")));
      assertEquals(told, expected);
    }
    assertEquals(served.reports, [secret, secret]);
    const { class: name } = JSON.parse(await refusal(client.call("said", "")));
    assertEquals(name, "PermissionError");
    // Bad arguments are the caller's own.
    const { str } = JSON.parse(await refusal(client.call("f", '{"argv": 1}')));
    assertEquals(str, "argv must be an array");
    assertEquals(
      await readError(client),
      expected === masked ? "i/o error" : secret.message,
    );
  }
});

test("timeout: Infinity is none, what no timer knows is refused", async () => {
  const later = () => new Promise((resolve) => setTimeout(resolve, 20, "done"));
  await using served = serving(later, { timeout: Infinity });
  const client = await served.client();
  assertEquals((await client.call("f", "")).value, '"done"');
  const fs = new MemoryFs();
  for (const timeout of [2 ** 31, -1, NaN]) {
    assertThrows(() => fs.register("f", later, { timeout }), RangeError);
  }
});

test("errors: an errno says more than a class", () => {
  const codes = ([
    ["PermissionError", [1, "not owner"], "EPERM"],
    ["PermissionError", [13, "denied"], "EACCES"],
    ["PermissionError", [], "EACCES"],
    ["OSError", [38, "none"], "ENOSYS"],
  ] as const).map(([name, argv, code]) => [
    new FunctionError({ class: name, argv, str: "" }).code,
    code,
  ]);
  for (const [actual, expected] of codes) assertEquals(actual, expected);
});

test("errors: no stack, nothing but class, argv and str", async () => {
  const error = new Error("message", { cause: new Error("secret") });
  await using served = serving(thrower(error));
  const client = await served.client();
  const text = await refusal(client.call("f", ""));
  assertEquals(JSON.parse(text), { class: "Error", argv: [], str: "message" });
  assertEquals(await readError(client), "message");
});

test("errors: a text is at most 126 bytes, cut between characters", async () => {
  await using served = serving(thrower(new Error("é日😀".repeat(50))));
  const client = await served.client();
  const text = await readError(client);
  assertEquals(text, "é日😀".repeat(14));
  assertEquals(utf8.encode(text).length, 126);
});

test("errors: JSON is cut in str, so that the frame fits (S25)", async () => {
  const messages = ["x", "é", "日", "😀", "\n", '"', "\u0001", "\\"]
    .map((character) => character.repeat(2000));
  for (const message of messages) {
    await using served = serving(thrower(new TypeError(message)));
    const client = await served.client("glenda", { msize: 256 });
    const text = await refusal(client.call("f", ""));
    const { str, ...rest } = JSON.parse(text);
    assertEquals(rest, { class: "TypeError", argv: [] });
    assert(str.length > 0 && message.startsWith(str));
    // Not cut more than it must be.
    const size = utf8.encode(text).length;
    assert(size <= 256 - 9 && size > 256 - 9 - 12, `${size} bytes`);
  }
});

test("errors: JSON fits into a text of the protocol, whatever the msize", async () => {
  await using served = serving(thrower(new Error("é".repeat(100_000))));
  const client = await served.client("glenda", { msize: 1 << 20 });
  const text = await refusal(client.call("f", ""));
  assert(utf8.encode(text).length <= 65535);
  assertEquals(JSON.parse(text).class, "Error");
  await client.stat("f");
});

test("errors: a class or argv that is too long does not break the frame", async () => {
  const error = new Error("message");
  error.name = "N".repeat(1000);
  await using served = serving(thrower(error));
  const client = await served.client("glenda", { msize: 256 });
  assertEquals(
    typeof JSON.parse(await refusal(client.call("f", ""))),
    "object",
  );
  await client.stat("f");
});

test("errors: texts that 9P cannot carry are made fit", async () => {
  for (const message of ["nul\0here", "half \ud800 pair", "", "\nsecond"]) {
    await using served = serving(thrower(new TypeError(message)));
    const client = await served.client();
    assertEquals(await envelope(client), {
      class: "TypeError",
      argv: [],
      str: message,
    });
    // Something is left to be shown.
    assert((await readError(client)).length > 0, JSON.stringify(message));
    await client.stat("f");
  }
});

test("errors: the same again at the next read, without a call", async () => {
  let calls = 0;
  const fn = ({ ok }: { ok?: boolean }): string => {
    calls++;
    if (!ok) throw new Error(`call ${calls} failed`);
    return "fine";
  };
  await using served = serving(fn, { dumper: String });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  await refused("call 1 failed", client.text(fid));
  await refused("call 1 failed", client.text(fid));
  assertEquals(await client.text(fid, 3), "");
  const shared = await client.open("f", OWRITE);
  await client.write(shared, "{}");
  const other = await client.open("f");
  await refused("call 2 failed", client.text(other));
  await refused("call 2 failed", client.text(await client.open("f")));
  assertEquals((await client.stat(fid)).length, 0n);
  await client.write(fid, '{"ok": true}', 7);
  assertEquals(await client.text(fid), "fine");
  assertEquals(calls, 3);
});

test("errors: of arguments are the same again, too", async () => {
  await using served = serving(() => 1);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{");
  const first = await refusal(client.text(fid));
  assertEquals(await refusal(client.text(fid)), first);
  await client.write(fid, "{}");
  assertEquals(await client.text(fid), "1");
});

test("flush: a Tcall is cancelled, its signal aborted, no reply comes (S107)", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const client = await served.client();
  const fid = await client.walk("f");
  const data = new Uint8Array(0);
  const { tag } = client.start({ type: "Tcall", fid, text: "", data });
  const call = await held.called();
  assertEquals(call.context.signal.aborted, false);
  assertEquals(await client.flush(tag), ["Rflush"]);
  assert(call.context.signal.aborted);
  call.resolve("late");
  await client.stat(fid);
  assertEquals(client.replies.filter((reply) => reply.tag === tag).length, 0);
  // The file is as good as before.
  const again = client.call(fid, "");
  (await held.called(2)).resolve(2);
  assertEquals((await again).value, "2");
});

test("flush: a Tcall whose function gives up by its signal", async () => {
  const signals: AbortSignal[] = [];
  let begun = () => {};
  const begins = new Promise<void>((resolve) => begun = resolve);
  const fn = async ({ signal }: CallContext) => {
    signals.push(signal);
    begun();
    await aborted(signal);
    signal.throwIfAborted();
  };
  await using served = serving(fn, { context: true });
  const client = await served.client();
  const fid = await client.walk("f");
  const data = new Uint8Array(0);
  const { tag } = client.start({ type: "Tcall", fid, text: "", data });
  await begins;
  assertEquals(await client.flush(tag), ["Rflush"]);
  assert(signals[0].aborted);
});

test("flush: of a read that alone waits for a call aborts it, and it is as if not read", async () => {
  const held = new HeldFunction();
  await using served = serving(held, { dumper: String });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, '{"n": 1}');
  const read = { type: "Tread", fid, offset: 0n, count: 99 } as const;
  const { tag } = client.start(read);
  const first = await held.called();
  assertEquals(await client.flush(tag), ["Rflush"]);
  assert(first.context.signal.aborted);

  const again = client.text(fid);
  const second = await held.called(2);
  assertEquals(second.args, [{ n: 1 }]);
  assertEquals(second.context.signal.aborted, false);
  // The old call is none of the new one's business, however it ends.
  first.resolve("old");
  const third = client.text(fid);
  await client.stat(fid);
  await held.called(2);
  second.resolve("new");
  assertEquals(await again, "new");
  assertEquals(await third, "new");
  assertEquals(await client.text(fid), "new");
});

test("flush: an aborted call that fails late does not disturb the next", async () => {
  const held = new HeldFunction();
  await using served = serving(held, { dumper: String });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  const read = { type: "Tread", fid, offset: 0n, count: 99 } as const;
  const { tag } = client.start(read);
  const first = await held.called();
  await client.flush(tag);
  const again = client.text(fid);
  const second = await held.called(2);
  first.reject(new Error("old"));
  await client.stat(fid);
  const third = client.text(fid);
  await client.stat(fid);
  await held.called(2);
  second.resolve("new");
  assertEquals([await again, await third], ["new", "new"]);
});

test("flush: of one of two reads leaves the call to the other", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  const read = { type: "Tread", fid, offset: 0n, count: 99 } as const;
  const { tag } = client.start(read);
  const other = client.text(fid);
  const call = await held.called();
  assertEquals(await client.flush(tag), ["Rflush"]);
  assertEquals(call.context.signal.aborted, false);
  call.resolve(1);
  assertEquals(await other, "1");
});

test("disconnect: calls are aborted that only its fids wait for (S114)", async () => {
  const held = new HeldFunction();
  await using served = serving(held);
  const one = await served.client("one");
  const two = await served.client("two");
  const writer = await one.open("f", OWRITE);
  await one.write(writer, '{"shared": true}');
  const fid = await one.open("f", OREAD);
  one.start({ type: "Tread", fid, offset: 0n, count: 99 });
  const shared = await held.called();
  const reading = two.text(await two.open("f", OREAD));
  await two.stat("f");
  const own = await one.open("f", ORDWR);
  await one.write(own, '{"own": true}');
  one.start({ type: "Tread", fid: own, offset: 0n, count: 99 });
  const alone = await held.called(2);
  const data = new Uint8Array(0);
  one.start({ type: "Tcall", fid: own, text: "", data });
  const called = await held.called(3);
  await one.write(writer, '{"last": true}');
  one.close();
  await aborted(alone.context.signal);
  await aborted(called.context.signal);
  assertEquals(shared.context.signal.aborted, false);
  shared.resolve("kept");
  assertEquals(await reading, '"kept"');
  // The record of the file stays, and the next read calls the function.
  const next = two.text(await two.open("f", OREAD));
  const again = await held.called(4);
  assertEquals(again.args, [{ last: true }]);
  again.resolve(4);
  assertEquals(await next, "4");
});

test("timeout: ends a call, aborts its signal, and is the error", async () => {
  const held = new HeldFunction();
  await using served = serving(held, { timeout: 1 });
  const client = await served.client();
  const calling = envelope(client);
  const call = await held.called();
  assertEquals(await calling, {
    class: "TimeoutError",
    argv: [110, "Connection timed out"],
    str: "Connection timed out",
  });
  assert(call.context.signal.aborted);
  assertEquals(await readError(client), "Connection timed out");
  for (const { reject } of held.calls) reject(new Error("late"));
  assertEquals(served.reports, []);
});

test("timeout: the file keeps the error, until something is written", async () => {
  const held = new HeldFunction();
  await using served = serving(held, { timeout: 1, dumper: String });
  const client = await served.client();
  const fid = await client.open("f", ORDWR);
  await client.write(fid, "{}");
  await refused("Connection timed out", client.text(fid));
  held.calls[0].resolve("too late");
  await refused("Connection timed out", client.text(fid));
  assertEquals(held.calls.length, 1);
});

test("timeout: no timer is left of a call that ended, failed or was given up", async () => {
  const held = new HeldFunction();
  await using served = serving(held, { timeout: 600_000 });
  const client = await served.client();
  const fid = await client.walk("f");
  const good = client.call(fid, "");
  (await held.called(1)).resolve(1);
  await good;
  const bad = refusal(client.call(fid, ""));
  (await held.called(2)).reject(new Error("bad"));
  await bad;
  const data = new Uint8Array(0);
  const { tag } = client.start({ type: "Tcall", fid, text: "", data });
  await held.called(3);
  await client.flush(tag);
  await client.write(fid, "{}");
  client.start({ type: "Tread", fid, offset: 0n, count: 9 });
  await held.called(4);
  // Both given up and never ended; the leak sanitizer looks for their timers.
});

test("exit: the reply, then the connection is closed (P-15, P-34, S124)", async () => {
  const json = { class: "Plan9Exit", argv: [], str: "see you" };
  const functions: FileFunction[] = [
    thrower(new Plan9Exit("see you")),
    () => Promise.reject(new Plan9Exit("see you")),
  ];
  for (const fn of functions) {
    await using served = serving(fn);
    const one = await served.client("one");
    const two = await served.client("two");
    const three = await served.client("three");
    assertEquals(await envelope(one), json);
    await one.ended;
    assertEquals(await readError(two), "see you");
    await two.ended;
    // Others are served on.
    await three.stat("f");
    assertEquals(served.reports.length, 2);
    assertEquals(served.expected, 2);
  }
});

test("exit: what was asked before is answered, too", async () => {
  await using served = serving(thrower(new Plan9Exit("bye")));
  const client = await served.client();
  const fid = await client.walk("f");
  const stat = client.start({ type: "Tstat", fid });
  const data = new Uint8Array(0);
  const call = client.start({ type: "Tcall", fid, text: "", data });
  assertEquals((await stat.reply).type, "Rstat");
  assertEquals((await call.reply).type, "Rerror");
  await client.ended;
});

test("exit: a function that stops the server first is still heard (P-15)", async () => {
  for (const delayed of [false, true]) {
    const stop = new AbortController();
    const fn = async () => {
      if (delayed) await null;
      stop.abort();
      throw new Plan9Exit("server stopped");
    };
    await using served = serving(fn, {}, { signal: stop.signal });
    const client = await served.client();
    assertEquals(await envelope(client), {
      class: "Plan9Exit",
      argv: [],
      str: "server stopped",
    });
    await client.ended;
  }
});
