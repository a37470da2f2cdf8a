// Function files, on servers with Tcall and without, against a scripted server.
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { test } from "./harness.ts";
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
  type Tmessage,
} from "../codec.ts";

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

/** The next Twalk; clunks of earlier operations may come before it. */
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
  const fid = await scene.client.walk("f");
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

/** A server without Tcall, whose function adds a and b. */
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
    // What only a Tcall can do is tried, and its error is the caller's.
    const error = await assertRejects(
      () => client.call("f", { argv: [1] }),
      NinePError,
    );
    assertEquals(error.ename, ename);
  });
}

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
  server.refuse(await server.expect("Tstat"), "unknown fid");
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
