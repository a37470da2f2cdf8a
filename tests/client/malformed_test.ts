// Every reply of testdata/malformed-replies.json makes the call or the
// connection
// fail, and has no other effect.
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import {
  greeted,
  hold,
  openFile,
  qid,
  type Scene,
  start,
  stat,
  walkTo,
} from "./scripted.ts";
import { malformedReplies, type MalformedReply } from "../codec/vectors.ts";
import { NinePError, ProtocolError, QTDIR } from "../../codec.ts";

/** Makes the call that sends a vector's request. */
async function callOf(
  scene: Scene,
  { request, name }: MalformedReply,
): Promise<{ call: Promise<unknown> }> {
  const { client, server } = scene;
  switch (request.type) {
    case "Twalk":
      return { call: client.protocol.walk("a") };
    case "Tstat":
      return { call: client.stat(0) };
    case "Twrite": {
      const file = await openFile(scene);
      return { call: file.write(request.data) };
    }
    case "Tread": {
      if (!name.startsWith("directory")) {
        const file = await openFile(scene);
        return { call: file.read(new Uint8Array(request.count)) };
      }
      const call = client.readDir("d").next();
      await walkTo(scene);
      const reply = { type: "Ropen", qid: qid(1, QTDIR), iounit: 0 } as const;
      await server.exchange("Topen", {}, reply);
      return { call };
    }
    default:
      throw new TypeError(`no call for ${request.type}`);
  }
}

for (const vector of malformedReplies()) {
  const { name, frame, expect, msize } = vector;
  if (vector.request.type === "Tversion") {
    test(`malformed reply: ${name}`, async () => {
      const error = await greeted(frame, msize);
      assert(error instanceof ProtocolError || error instanceof NinePError);
    });
    continue;
  }
  test(`malformed reply: ${name}`, async () => {
    await using scene = await start({ msize });
    const { client, server } = scene;
    const held = await hold(scene); // It has tag 0, so the call gets tag 1.
    const { call } = await callOf(scene, vector);
    const calling = call.then(
      () => assert(false, "the call must reject"),
      (error) => error,
    );
    assertEquals(await server.next(), vector.request);
    server.open.delete(1);
    server.send(frame);
    const error = await calling;
    if (expect === "connection-fails") {
      assertInstanceOf(error, ProtocolError);
      assertStrictEquals(await client.closed, error);
      scene.mayLeak = true;
      return;
    }
    const isToBeNinePError = /no qid for one name|Rerror with/.test(name);
    assertInstanceOf(error, isToBeNinePError ? NinePError : ProtocolError);
    // The connection goes on; a clunk of a fid in doubt may come first.
    scene.run((request) =>
      request.type === "Tclunk" && !server.fids.has(request.fid)
        ? { type: "Rerror", ename: "unknown fid" }
        : undefined
    );
    server.answer(held.request, { type: "Rstat", stat: stat("/") });
    await held.reply;
    await client.stat(0);
  });
}
