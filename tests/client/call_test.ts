// Function files, on servers with Tcall and without, against a scripted server.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  qid,
  type Reply,
  type Scene,
  sent,
  start,
  walkTo,
} from "./scripted.ts";
import {
  FunctionError,
  NinePError,
  Plan9Exit,
  ProtocolError,
  QTDIR,
  type Tmessage,
} from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { withTestServer } from "../testing.ts";

const text = new TextEncoder();
const utf8 = new TextDecoder();

/** Answers the walk to a function file and the Tcall. */
async function answerCall(
  { server }: Scene,
  reply: Reply,
): Promise<Extract<Tmessage, { type: "Tcall" }>> {
  const walk = await nextWalk(server);
  server.answer(walk, { type: "Rwalk", wqid: [qid(1)] });
  return await server.exchange("Tcall", { fid: walk.newfid }, reply);
}

/**
 * Waits for the next Twalk. Clunks of earlier operations may come before it.
 */
async function nextWalk(
  server: Scene["server"],
): Promise<Extract<Tmessage, { type: "Twalk" }>> {
  while (true) {
    const request = await server.next();
    if (request?.type === "Twalk") return request;
    assert(request?.type === "Tclunk");
    server.answer(request, { type: "Rclunk" });
  }
}

function rcall(data: string, err = 0, message = ""): Reply {
  return { type: "Rcall", err, text: message, data: text.encode(data) };
}

test("call() sends its arguments and decodes the value", async () => {
  await using scene = await start();
  const { client } = scene;
  const first = client.call<number>("f", { argv: [17, 25] });
  const { text: json, data } = await answerCall(scene, rcall("42"));
  assertEquals(JSON.parse(json), {
    argv: [17, 25],
    kwarg: {},
    data_arg: "data",
  });
  assertEquals([data.length, await first], [0, 42]);
  const second = client.call("f", {
    kwarg: { a: 1 },
    data: text.encode("blob"),
    dataArg: "blob",
    loader: (bytes) => utf8.decode(bytes).toUpperCase(),
  });
  const request = await answerCall(scene, rcall("value"));
  assertEquals(JSON.parse(request.text).data_arg, "blob");
  assertEquals(utf8.decode(request.data), "blob");
  assertEquals(await second, "VALUE");
  const third = client.call("f");
  await answerCall(scene, rcall(""));
  assertEquals(await third, undefined);
});

test("call() of a fid", async () => {
  await using scene = await start();
  scene.run((request) => request.type === "Tcall" ? rcall("1") : undefined);
  const fid = await scene.client.protocol.walk("f");
  assertEquals(await scene.client.call(fid), 1);
  assertEquals(await scene.client.call(fid), 1);
  assertEquals(sent(scene), ["Twalk", "Tcall", "Tcall"]);
});

test("call() gives the error of the function", async () => {
  await using scene = await start();
  const { client } = scene;
  const ename =
    '{"class":"FileNotFoundError","argv":[2,"No such file"],"str":"no x"}';
  const failing = assertRejects(() => client.call("f"), FunctionError, "no x");
  await answerCall(scene, { type: "Rerror", ename });
  const error = await failing;
  assertEquals(error.class, "FileNotFoundError");
  assertEquals([...error.argv], [2, "No such file"]);
  assertEquals([error.code, error.ename], ["ENOENT", ename]);
  const exiting = assertRejects(() => client.call("f"), Plan9Exit, "bye");
  const exit = '{"class":"Plan9Exit","argv":[],"str":"bye"}';
  await answerCall(scene, { type: "Rerror", ename: exit });
  await exiting;
});

// P-32.
test("call() of a file that is no function, and with another err", async () => {
  await using scene = await start();
  const { client } = scene;
  const notOne = assertRejects(
    () => client.call("f"),
    NinePError,
    'Cannot call "f": not a function file',
  );
  await answerCall(scene, rcall("", 255));
  await notOne;
  const odd = assertRejects(
    () => client.call("f"),
    NinePError,
    'Cannot call "f": error 7: odd',
  );
  await answerCall(scene, rcall("", 7, "odd"));
  await odd;
});

test("call() of a value that is not JSON", async () => {
  await using scene = await start();
  const failing = assertRejects(() => scene.client.call("f"), ProtocolError);
  await answerCall(scene, rcall("{"));
  await failing;
});

test("call() does not call again when the loader fails", async () => {
  await using scene = await start();
  scene.run((request) => request.type === "Tcall" ? rcall("1") : undefined);
  const error = new RangeError("mine");
  const loader = () => {
    throw error;
  };
  const failing = scene.client.call("f", { loader });
  assertStrictEquals(await failing.catch((error) => error), error);
  assertEquals(sent(scene).filter((type) => type !== "Tclunk"), [
    "Twalk",
    "Tcall",
  ]);
});

/** Starts a server without Tcall, whose function adds a and b. */
function withoutTcall(ename: string): (request: Tmessage) => Reply | undefined {
  let args = "";
  return (request) => {
    switch (request.type) {
      case "Tcall":
        return { type: "Rerror", ename };
      case "Topen":
        return { type: "Ropen", qid: qid(1), iounit: 5 };
      case "Twrite":
        args = args.slice(0, Number(request.offset)) +
          utf8.decode(request.data);
        return { type: "Rwrite", count: request.data.length };
      case "Tread": {
        const { a = 0, b = 0, fill = "" } = JSON.parse(args);
        const value = text.encode(JSON.stringify(a + b + fill.length));
        const at = Number(request.offset);
        return { type: "Rread", data: value.slice(at, at + request.count) };
      }
      default:
        return undefined;
    }
  };
}

for (
  const ename of [
    "Operation not supported",
    "Function not implemented",
    "unknown message",
    "bad type 80",
    "unknown message type",
    "bad fcall type",
    "Illegal message type: 80.",
    "bogus fcall (80)",
    "unknown request type",
  ]
) {
  test(`call() without Tcall on the server ("${ename}") writes and reads, and remembers`, async () => {
    await using scene = await start();
    scene.run(withoutTcall(ename));
    const { client, server } = scene;
    assertEquals(await client.call("f", { kwarg: { a: 17, b: 25 } }), 42);
    assertEquals(await client.call("f", { kwarg: { a: 1000 } }), 1000);
    const { type, offset, data } = server.log.flatMap((t) =>
      t.type === "Twrite" ? [t] : []
    )[1]!;
    assertEquals([type, offset, utf8.decode(data)], ["Twrite", 5n, '17,"b']);
    assertEquals(sent(scene).filter((type) => type === "Tcall").length, 1);
    // A call that needs Tcall is sent, and the caller gets its error.
    const error = await assertRejects(
      () => client.call("f", { argv: [1] }),
      NinePError,
    );
    assertEquals(error.ename, ename);
  });
}

for (
  const ename of [
    "permission denied",
    "no",
    "bad type",
    "invalid type 7",
    "illegal operation",
    "bad message from the printer",
    "unknown type of paper",
    "i/o error",
  ]
) {
  test(`call() does not call again after the error "${ename}", which a function may throw`, async () => {
    await using scene = await start();
    scene.run(withoutTcall(ename));
    const { client } = scene;
    for (let i = 0; i < 2; i++) {
      const error = await assertRejects(() => client.call("f"), NinePError);
      assertEquals([error.ename, error.message], [
        ename,
        `Cannot call "f": ${ename}`,
      ]);
    }
    const asked = sent(scene).filter((type) => type !== "Tclunk");
    assertEquals(asked, ["Twalk", "Tcall", "Twalk", "Tcall"]);
  });
}

test("call() with fallback: false writes nothing", async () => {
  await using scene = await start();
  scene.run(withoutTcall("unknown message"));
  const { client } = scene;
  const fill = "x".repeat(70_000);
  await assertRejects(
    () => client.call("f", { kwarg: { fill }, fallback: false }),
    RangeError,
    'Cannot call "f": the arguments are too long for a Tcall',
  );
  for (let i = 0; i < 2; i++) {
    await assertRejects(
      () => client.call("f", { kwarg: { a: 1 }, fallback: false }),
      NinePError,
      'Cannot call "f": unknown message',
    );
  }
  assertEquals(sent(scene).includes("Topen"), false);
  // The option holds for this call only: the client already knows that the
  // server
  // has no Tcall.
  assertEquals(await client.call("f", { kwarg: { a: 1 } }), 1);
});

test("call() with positional arguments does not fall back", async () => {
  await using scene = await start();
  scene.run(withoutTcall("unknown message"));
  const { client } = scene;
  for (const options of [{ argv: [1] }, { data: new Uint8Array(1) }]) {
    await assertRejects(
      () => client.call("f", options),
      NinePError,
      'Cannot call "f": unknown message',
    );
  }
  assertEquals(sent(scene).includes("Topen"), false);
});

test("call() does not fall back where the fid is the trouble, or Tcall is known", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const failing = assertRejects(() => client.call(7), NinePError);
  server.refuse(await server.expect("Tcall"), "unknown fid");
  await failing;
  const working = client.call("f");
  await answerCall(scene, rcall("1"));
  await working;
  const refused = assertRejects(
    () => client.call("f"),
    NinePError,
    'Cannot call "f": permission denied',
  );
  await answerCall(scene, { type: "Rerror", ename: "permission denied" });
  await refused;
});

test("call() with arguments that no Tcall holds writes them", async () => {
  await using scene = await start();
  scene.run(withoutTcall("never asked"));
  const { client } = scene;
  const fill = "x".repeat(70_000);
  assertEquals(await client.call("f", { kwarg: { fill } }), 70_000);
  assertEquals(sent(scene).includes("Tcall"), false);
  await assertRejects(() => client.call("f", { argv: [fill] }), RangeError);
});

test("call() does not fall back when the connection is lost", async () => {
  await using scene = await start();
  scene.mayLeak = true;
  const { client, server } = scene;
  const failing = assertRejects(() => client.call("f"), ProtocolError, "lost");
  await walkTo(scene);
  await server.expect("Tcall");
  server.close();
  await failing;
});

test("call() without Tcall on the server: two at once do not mix", async () => {
  await using scene = await start();
  const args = new Map<number, string>();
  scene.run((request) => {
    switch (request.type) {
      case "Tcall":
        return { type: "Rerror", ename: "unknown message" };
      case "Twrite":
        args.set(request.fid, utf8.decode(request.data));
        return undefined;
      case "Tread": {
        const value = text.encode(args.get(request.fid)).slice(5, -1);
        const at = Number(request.offset);
        return { type: "Rread", data: value.slice(at) };
      }
      default:
        return undefined;
    }
  });
  const { client } = scene;
  const fid = await client.protocol.fid("f");
  const calls = Array.from(
    { length: 20 },
    (_, i) => client.call(i % 2 === 0 ? fid : "f", { kwarg: { a: i } }),
  );
  assertEquals(await Promise.all(calls), calls.map((_, i) => i));
  assertEquals(args.size, 20, "a fid for each");
  assertEquals(args.has(fid), false);
});

test("call(): what the server can do is known to all trees of the connection", async () => {
  await using scene = await start();
  const handler = withoutTcall("unknown message");
  scene.run((request) =>
    request.type === "Tattach"
      ? { type: "Rattach", qid: qid(0, QTDIR) }
      : handler(request)
  );
  const { client } = scene;
  await using other = await client.attach();
  assertEquals(await client.call("f", { kwarg: { a: 1 } }), 1);
  assertEquals(await other.call("f", { kwarg: { a: 2 } }), 2);
  assertEquals(sent(scene).filter((type) => type === "Tcall").length, 1);
});

test("call() does not fall back when the call was made: its value is too large", async () => {
  await using scene = await start();
  const failing = assertRejects(
    () => scene.client.call("f"),
    NinePError,
    'Cannot call "f": i/o count too large',
  );
  const refusal: Reply = { type: "Rerror", ename: "i/o count too large" };
  await answerCall(scene, refusal);
  await failing;
  assertEquals(sent(scene).includes("Tstat"), false);
});

test("call() does not wait for the clunk", async () => {
  await using scene = await start();
  const call = scene.client.call("f");
  await answerCall(scene, rcall("1"));
  assertEquals(await call, 1);
  await scene.server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
});

test("call() that is aborted is flushed, and does not fall back", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const abort = new AbortController();
  const call = client.call("f", { signal: abort.signal });
  await walkTo(scene);
  const { tag } = await server.expect("Tcall");
  abort.abort(new Error("enough"));
  assertStrictEquals(
    await call.catch((error) => error),
    abort.signal.reason,
  );
  await server.exchange("Tflush", { oldtag: tag }, { type: "Rflush" });
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
  assertEquals(sent(scene), ["Twalk", "Tcall", "Tflush", "Tclunk"]);
});

test("call() that is aborted while it falls back leaves no fid", async () => {
  await using scene = await start();
  const { client, server } = scene;
  const abort = new AbortController();
  const call = client.call("f", { signal: abort.signal });
  await walkTo(scene);
  server.refuse(await server.expect("Tcall"), "unknown message");
  await server.exchange("Twalk", { fid: 1, newfid: 2 }, {
    type: "Rwalk",
    wqid: [],
  });
  const open: Reply = { type: "Ropen", qid: qid(1), iounit: 0 };
  await server.exchange("Topen", { fid: 2 }, open);
  const { tag } = await server.expect("Twrite");
  abort.abort();
  await assertRejects(() => call, DOMException);
  await server.exchange("Tflush", { oldtag: tag }, { type: "Rflush" });
  await server.exchange("Tclunk", { fid: 2 }, { type: "Rclunk" });
  await server.exchange("Tclunk", { fid: 1 }, { type: "Rclunk" });
});

test("call() gives the error of the fallback, as JSON or text", async () => {
  for (const ename of ['{"class":"KeyError","str":"no x"}', "no x"]) {
    await using scene = await start();
    const handler = withoutTcall("unknown message");
    scene.run((request) =>
      request.type === "Tread" ? { type: "Rerror", ename } : handler(request)
    );
    const error = await assertRejects(
      () => scene.client.call("f"),
      NinePError,
      "no x",
    );
    assertEquals(error instanceof FunctionError, ename !== "no x");
  }
});

// P-32.
test("call(): any other err gives an error with its number, and its text if it has one", async () => {
  await using scene = await start();
  const refused = [
    { err: 65535, message: "", detail: "error 65535" },
    { err: 2, message: "No such file", detail: "error 2: No such file" },
  ];
  for (const { err, message, detail } of refused) {
    const failing = scene.client.call("f").catch((error) => error);
    await answerCall(scene, rcall("42", err, message));
    const error = await failing;
    assert(error instanceof NinePError);
    assertEquals(error.message, `Cannot call "f": ${detail}`);
    assertEquals(error.ename, detail);
  }
});

// P-29, P-30.
test("call() and our server: arguments, errors, what no message holds", async () => {
  let calls = 0;
  const fs = new MemoryFs({ plain: "" });
  fs.register("list", (...all: unknown[]) => all);
  fs.register("size", ({ text, blob }) => text?.length ?? blob.length);
  fs.register("large", () => {
    calls++;
    return "x".repeat(10_000);
  });
  fs.register("fail", () => {
    calls++;
    throw new NinePError("permission denied");
  });
  const connect = { msize: 8192 };
  await withTestServer(async ({ client }) => {
    const argv = [1, "two", [3], { four: null }];
    const kwarg = { five: 5 };
    const all = await client.call<unknown[]>("list", { argv, kwarg });
    assertEquals(all, [...argv, kwarg]);
    const payload = { data: new Uint8Array(5000), dataArg: "blob" };
    assertEquals(await client.call("size", payload), 5000);
    // The arguments are longer than msize and than any string of 9P: the client
    // writes them in pieces.
    for (const length of [20_000, 100_000]) {
      const kwarg = { text: "x".repeat(length) };
      assertEquals(await client.call("size", { kwarg }), length);
    }
    const large = await assertRejects(() => client.call("large"), NinePError);
    assertEquals(large.message, 'Cannot call "large": i/o count too large');
    const denied = await assertRejects(
      () => client.call("fail"),
      FunctionError,
      "permission denied",
    );
    assertEquals([denied.class, denied.code], ["PermissionError", "EACCES"]);
    assertEquals(calls, 2, "nothing is called twice");
    const raw = await client.call("large", {
      kwarg: { fill: "y".repeat(9000) },
      loader: (bytes) => bytes.length,
    });
    assertEquals(raw, 10_002);
    await assertRejects(
      () => client.call("plain"),
      NinePError,
      'Cannot call "plain": not a function file',
    );
    await assertRejects(() => client.call(""), NinePError, "not a function");
  }, { fs, connect });
});

test("call() with arguments that JSON cannot say tells what was called; a loader's error is its own", async () => {
  await using scene = await start();
  scene.run((request) =>
    request.type === "Tcall" ? rcall('"value"') : undefined
  );
  const { client } = scene;
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const cases = [{ argv: [1n] }, { kwarg: { a: 1n } }, { argv: cyclic }];
  for (const options of cases) {
    const error = await assertRejects(
      () => client.call("add", options),
      TypeError,
      'Cannot call "add": ',
    );
    assert(error.cause instanceof TypeError);
  }
  assertEquals(sent(scene).includes("Tcall"), false);
  const mine = new TypeError("mine");
  const loader = () => {
    throw mine;
  };
  const loading = client.call("add", { loader });
  assertStrictEquals(await loading.catch((error) => error), mine);
});
