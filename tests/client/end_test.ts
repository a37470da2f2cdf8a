// Operations that wait for something other than the server when the connection
// ends: they fail, and cancel the source that they read from.
import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
} from "@std/assert";
import { test } from "../harness.ts";
import { failure, type Scene, start } from "./scripted.ts";
import { connect, type FileData } from "../../client.ts";
import { ProtocolError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { pair } from "../../transport.ts";

/** The ways in which a connection ends. */
const ENDS: Record<string, (scene: Scene) => Promise<void>> = {
  "the server dies": async ({ client, server }) => {
    server.close();
    await client.closed;
  },
  "close()": ({ client }) => client.close(),
};

/** Starts a scene whose server answers all requests, and may keep fids. */
async function served(): Promise<Scene> {
  const scene = await start();
  scene.mayLeak = true;
  scene.run(() => undefined);
  return scene;
}

/**
 * Makes a stream and an iterable that yield nothing, with promises for the
 * first read and the cancellation.
 */
function idle(): {
  data: FileData;
  isAsked: Promise<unknown>;
  isGivenUp: Promise<unknown>;
}[] {
  const ofStream = [
    Promise.withResolvers<void>(),
    Promise.withResolvers<unknown>(),
  ] as const;
  const ofIterable = [
    Promise.withResolvers<void>(),
    Promise.withResolvers<void>(),
  ] as const;
  return [
    {
      data: new ReadableStream({
        pull: () => ofStream[0].resolve(),
        cancel: (reason) => ofStream[1].resolve(reason),
      }, { highWaterMark: 0 }),
      isAsked: ofStream[0].promise,
      isGivenUp: ofStream[1].promise,
    },
    {
      data: {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            ofIterable[0].resolve();
            return new Promise<never>(() => {});
          },
          return: () => {
            ofIterable[1].resolve();
            return Promise.resolve({ done: true as const, value: undefined });
          },
        }),
      },
      isAsked: ofIterable[0].promise,
      isGivenUp: ofIterable[1].promise,
    },
  ];
}

for (const [how, end] of Object.entries(ENDS)) {
  test(`K17 writeFile() from an idle source rejects, and gives it up: ${how}`, async () => {
    for (const { data, isAsked, isGivenUp } of idle()) {
      await using scene = await served();
      const writing = failure(scene.client.writeFile("f", data));
      await isAsked;
      await end(scene);
      assertInstanceOf(await writing, ProtocolError);
      await isGivenUp;
    }
  });

  test(`K17 RemoteFile.writable that is idle fails: ${how}`, async () => {
    await using scene = await served();
    const { client } = scene;
    const one = await client.open("f", { write: true });
    const two = await client.open("g", { write: true });
    const writer = one.writable.getWriter();
    await writer.write("x");
    const closed = failure(writer.closed);
    const reason = Promise.withResolvers<unknown>();
    const source = new ReadableStream<Uint8Array>({ cancel: reason.resolve });
    const piping = failure(source.pipeTo(two.writable));
    await end(scene);
    const error = await closed;
    assertInstanceOf(error, ProtocolError);
    assertStrictEquals(await piping, error);
    assertStrictEquals(await reason.promise, error);
    assertStrictEquals(await failure(one.stat()), error);
  });

  for (const lender of ["withFile", "withFid"] as const) {
    test(`K17 ${lender}() whose function waits for something else rejects: ${how}`, async () => {
      await using scene = await served();
      const isLent = Promise.withResolvers<void>();
      const use = () => {
        isLent.resolve();
        return new Promise(() => {});
      };
      const { client } = scene;
      const using = failure(
        lender === "withFile"
          ? client.withFile("f", use)
          : client.protocol.withFid("f", use),
      );
      await isLent.promise;
      await end(scene);
      assertInstanceOf(await using, ProtocolError);
    });
  }
}

test("K17 writeFile() and withFile() after the end reject", async () => {
  await using scene = await served();
  const { client } = scene;
  // Somebody is told before.
  const idle = new ReadableStream<string>();
  const writing = failure(client.writeFile("f", idle));
  await client.close();
  const error = await writing;
  assertInstanceOf(error, ProtocolError);
  for (
    const call of [
      client.writeFile("f", new ReadableStream<string>()),
      client.withFile("f", () => new Promise(() => {})),
    ]
  ) {
    assertInstanceOf(await failure(call), ProtocolError);
  }
});

test("RemoteFile.writable after the end fails", async () => {
  await using scene = await served();
  const { client } = scene;
  const file = await client.open("f", { write: true });
  const before = failure(file.writable.getWriter().closed);
  const another = await client.open("g", { write: true });
  await client.close();
  const error = await before;
  assertStrictEquals(
    await failure(another.writable.getWriter().closed),
    error,
  );
});

test("the end of the session does not reach a closed stream, but a stream whose file is closed", async () => {
  await using scene = await served();
  const { client } = scene;
  const writer = (await client.open("f", { write: true })).writable.getWriter();
  await writer.write("x");
  await writer.close();
  const file = await client.open("f", { write: true });
  const closed = failure(file.writable.getWriter().closed);
  await file.close();
  await client.close();
  assertEquals(await writer.closed, undefined);
  assertInstanceOf(await closed, ProtocolError);
});

test("version() ends a writeFile() from a source that gives nothing", async () => {
  const [near, far] = pair();
  const served = serve(
    far,
    new MemoryFs({ f: "" }, { mode: 0o777, uid: "none" }),
  );
  const client = await connect(near);
  const asked = Promise.withResolvers<void>();
  const source = new ReadableStream({ pull: () => asked.resolve() }, {
    highWaterMark: 0,
  });
  const failed = failure(client.writeFile("new", source));
  await asked.promise;
  await client.version();
  const error = await failed;
  assertInstanceOf(error, DOMException);
  assertEquals(error.name, "AbortError");
  await client.close();
  await served;
});

test("version() ends what begins with a file of the session before it", async () => {
  const [near, far] = pair();
  const served = serve(
    far,
    new MemoryFs({ f: "" }, { mode: 0o777, uid: "none" }),
  );
  const client = await connect(near);
  const file = await client.open("f", { write: true });
  await client.version();
  const { closed } = file.writable.getWriter();
  assertInstanceOf(await failure(closed), DOMException);
  await client.close();
  await served;
});
