// Calls by write and read leave nothing that other users can find.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "../harness.ts";
import { failure } from "./reconnecting.ts";
import { type Reply, type Scene, start } from "./scripted.ts";
import { NinePError, ProtocolError, type Tmessage } from "../../codec.ts";

const text = new TextEncoder();
const called: Reply = {
  type: "Rcall",
  err: 0,
  text: "",
  data: text.encode("1"),
};
/** Keyword arguments that are too long for a Tcall. */
const kwarg = { fill: "x".repeat(70_000) };

/** The fid of the file, and the fid of the call. */
const FILE = 1;
const OWN = 2;

/**
 * Answers a call by write and read on the fid OWN, whose value is 42. Reports
 * each request for this fid before the answer.
 */
function answering(
  onRequest: (request: Tmessage, at: number) => void,
): (request: Tmessage) => Reply | undefined {
  let count = 0;
  return (request) => {
    if (request.type === "Tcall") return called;
    const isOwn = request.type === "Twalk"
      ? request.newfid === OWN
      : "fid" in request && request.fid === OWN;
    if (isOwn) onRequest(request, count++);
    if (request.type !== "Tread") return undefined;
    const data = request.offset === 0n ? text.encode("42") : new Uint8Array(0);
    return { type: "Rread", data };
  };
}

/**
 * The types of the requests for the fid OWN: the first of several of one type,
 * and reads with their offsets.
 */
function asked({ server }: Scene): string[] {
  const types = server.log.flatMap((request) => {
    if (!("fid" in request) || request.fid !== OWN) return [];
    return request.type === "Tread"
      ? [`Tread at ${request.offset}`]
      : [request.type];
  });
  return types.filter((type, i) => type !== types[i - 1]);
}

for (const isKnown of [true, false]) {
  const which = isKnown ? "with Tcall" : "of an unknown kind";

  test(`call() by write and read on a server ${which}: the requests`, async () => {
    await using scene = await start();
    scene.run(answering(() => {}));
    const file = await scene.client.protocol.walk("f");
    if (isKnown) await scene.client.call(file);
    assertEquals(await scene.client.call(file, { kwarg }), 42);
    await scene.client.protocol.clunk(file);
    assertEquals(asked(scene), [
      "Topen",
      ...(isKnown ? ["Tread at 1"] : []),
      "Twrite",
      "Tread at 0",
      "Tread at 2",
      "Tclunk",
    ]);
  });

  // A walk, Topen, Tread, nine Twrites, two Treads.
  for (let step = 0; step < 14; step++) {
    for (const how of ["an abort", "an error"]) {
      test(`call() by write and read on a server ${which}: ${how} at its request ${step}`, async () => {
        await using scene = await start();
        const { client } = scene;
        const abort = new AbortController();
        const { signal } = abort;
        const answer = answering((_request, at) => {
          if (at !== step) return;
          if (how === "an abort") abort.abort();
          else throw new NinePError("refused");
        });
        scene.run((request) => {
          try {
            return answer(request);
          } catch (error) {
            if (error instanceof NinePError) {
              return { type: "Rerror", ename: error.ename };
            }
            throw error;
          }
        });
        const file = await client.protocol.walk("f");
        assertEquals(file, FILE);
        if (isKnown) await client.call(file);
        const error = await client.call(file, { kwarg, signal })
          .then(() => undefined, (error) => error);
        if (how === "an abort") {
          assert(error === undefined || error === signal.reason);
        } else if (error !== undefined) {
          assert(error instanceof NinePError, String(error));
        }
        await client.protocol.clunk(file);
        await client.stat(0);
        // Our server shares what a fid wrote, unless the fid has also read.
        const all = asked(scene);
        const [write, read] = [
          all.indexOf("Twrite"),
          all.indexOf("Tread at 1"),
        ];
        if (write < 0 || all.includes("Tread at 0")) return;
        assert(read >= 0, `the fid only wrote: ${all}`);
        assertEquals(read < write, isKnown);
      });
    }
  }
}

test("call() by write and read: its error names this way", async () => {
  await using scene = await start();
  scene.run((request) => {
    if (request.type === "Tcall") {
      return { type: "Rerror", ename: "unknown message" };
    }
    return request.type === "Tread"
      ? { type: "Rerror", ename: "out of paper" }
      : undefined;
  });
  await assertRejects(
    () => scene.client.call("f"),
    NinePError,
    'Cannot call "f" by write and read: out of paper',
  );
});

test("call() by write and read is not repeated when the connection ends in it", async () => {
  const scene = await start();
  scene.run(answering((request) => {
    if (request.type === "Tread" && request.offset === 0n) {
      scene.server.close();
    }
  }));
  const file = await scene.client.protocol.walk("f");
  await scene.client.call(file);
  const error = await failure(scene.client.call(file, { kwarg }));
  assert(error instanceof ProtocolError);
  await scene.client.close();
});
