// Requests that wait for the next connection and are cancelled before it opens;
// and an authentication that the end of a connection interrupts.
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { test } from "../harness.ts";
import {
  again,
  Exchange,
  failure,
  MSIZE,
  restored,
  run,
  type Stage,
  stage,
  walked,
} from "./reconnecting.ts";
import { qid, type ScriptedServer } from "./scripted.ts";
import { type Client, connect, type RemoteFile } from "../../client.ts";
import { NinePError, ProtocolError, QTAUTH, QTDIR } from "../../codec.ts";

/** Opens a file as fid 1 of a client that has only its root. */
async function openFile({ client, server }: Stage): Promise<RemoteFile> {
  const opening = client.open("f", { read: true, write: true });
  await walked(server, 0, 1, ["f"]);
  const reply = { type: "Ropen", qid: qid(1), iounit: 0 } as const;
  await server.exchange("Topen", { fid: 1 }, reply);
  return await opening;
}

function assertAborted(error: unknown, detail: string): void {
  assertInstanceOf(error, DOMException);
  assertEquals(error.name, "AbortError");
  assert(error.message.includes(detail), error.message);
}

/**
 * Serves the next connection, on which the released fid number stands for
 * another file.
 */
async function reuse(on: Stage, fid: number): Promise<void> {
  const walking = on.client.protocol.walk("g");
  const next = await restored(on);
  run(next);
  assertEquals(await walking, fid);
  await on.client.stat(fid);
  const types = next.log.slice(4).map(({ type }) => type);
  assertEquals(types, ["Twalk", "Tstat"]);
}

test("reconnect: close() of a file ends at once what waits for it, and nothing of that is sent", async () => {
  await using on = await stage();
  const { exchange } = on;
  const file = await openFile(on);
  on.server.close();
  const call = await exchange.call();
  // With a signal, a request needs more microtasks until it is sent.
  const { signal } = new AbortController();
  const outcomes = [
    file.read(new Uint8Array(9)),
    file.write("x"),
    file.writeAt("x", 9, { signal }),
    file.stat({ signal }),
    file.truncate(),
  ].map(failure);
  await file.close();
  for (const outcome of outcomes) {
    assertAborted(await outcome, 'The file "f" was closed');
  }
  exchange.giveBack(call);
  await reuse(on, file.fid);
});

test("reconnect: a clunk has what waits for its fid fail, and nothing of that is sent", async () => {
  await using on = await stage();
  const { client, server, exchange } = on;
  const attaching = client.attach({ uname: "ken" });
  const attached = { type: "Rattach", qid: qid(0, QTDIR) } as const;
  await server.exchange("Tattach", { fid: 1 }, attached);
  const tree = await attaching;
  const walking = client.protocol.walk("f");
  await walked(server, 0, 2, ["f"]);
  const fid = await walking;
  server.close();
  const call = await exchange.call();
  const { signal } = new AbortController();
  const outcomes = [
    tree.stat("a", { signal }),
    client.stat(fid, { signal }),
    client.protocol.rpc({ type: "Tremove", fid }, { signal }),
  ].map(failure);
  await Promise.all([tree.close(), client.protocol.clunk(fid)]);
  for (const outcome of outcomes) {
    const error = await outcome;
    assertInstanceOf(error, NinePError);
    assertEquals(error.code, "EBADF");
  }
  exchange.giveBack(call);
  await reuse(on, 1);
});

test("reconnect: a read that a close() has flushed is not repeated", async () => {
  await using on = await stage();
  const { server } = on;
  const file = await openFile(on);
  const reading = failure(file.read(new Uint8Array(9)));
  await server.expect("Tread");
  const closing = file.close();
  await server.expect("Tflush");
  server.close();
  assertAborted(await reading, 'The file "f" was closed');
  await closing;
  await reuse(on, file.fid);
});

test("reconnect: client.version() ends at once what waits for the next connection", async () => {
  await using on = await stage();
  const { client, server, exchange } = on;
  server.close();
  const call = await exchange.call();
  const asking = failure(client.stat(0));
  const version = client.version();
  assertAborted(await asking, "started anew");
  exchange.giveBack(call);
  const next = await exchange.play();
  run(next, ({ type }) => {
    switch (type) {
      case "Tversion":
        return { type: "Rversion", msize: MSIZE, version: "9P2000" };
      case "Tattach":
        return { type: "Rattach", qid: qid(0, QTDIR) };
      default:
        return undefined;
    }
  });
  await version;
  assertEquals(next.log.some(({ type }) => type === "Tstat"), false);
});

/**
 * A client whose dialogue is interrupted: by the loss of its connection, so
 * many times after that of connect().
 */
async function interrupted(losses: number, attempts: number): Promise<{
  client: Client;
  words: string[];
}> {
  const exchange = new Exchange();
  const words: string[] = [];
  let servers = 0;
  const play = async () => {
    const server: ScriptedServer = await exchange.play();
    servers++;
    run(server, (request) => {
      switch (request.type) {
        case "Tversion":
          return { type: "Rversion", msize: MSIZE, version: "9P2000" };
        case "Tauth":
          return { type: "Rauth", aqid: qid(3, QTAUTH) };
        case "Tattach":
          return { type: "Rattach", qid: qid(0, QTDIR) };
        case "Twrite":
          words.push(new TextDecoder().decode(request.data));
          if (words.length === 1 || words.length > losses + 1) return undefined;
          server.close();
          if (servers <= losses) void play();
          return undefined;
        default:
          return undefined;
      }
    });
  };
  const [near] = await Promise.all([exchange.dial(), play()]);
  let dialogues = 0;
  const client = await connect(near, {
    ...again(exchange, { attempts }),
    auth: async (file) => {
      await file.write(`word ${++dialogues}`);
    },
  });
  return { client, words };
}

test("reconnect: client.version() authenticates anew when the connection is lost meanwhile", async () => {
  const { client, words } = await interrupted(2, 3);
  await client.version();
  assertEquals(words, ["word 1", "word 2", "word 3", "word 4"]);
  assertEquals((await client.stat("/")).name, "a");
  await client.close();
  assertEquals(await client.closed, undefined);
});

test("reconnect: client.version() gives up when each connection is lost in its dialogue", async () => {
  const { client, words } = await interrupted(2, 2);
  assertInstanceOf(await failure(client.version()), ProtocolError);
  assertEquals(words, ["word 1", "word 2", "word 3"]);
  const error = await client.closed;
  assertInstanceOf(error, ProtocolError);
  assert(error.message.includes("no other session could be started"));
});
