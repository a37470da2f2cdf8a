// Connections that end at any point, while the client runs many operations.
import { assert, assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import { assertStale, failure, frail, MSIZE } from "./reconnecting.ts";
import { qid, ScriptedServer } from "./scripted.ts";
import { type Client, connect } from "../../client.ts";
import { QTDIR } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import { type Connection, pair } from "../../transport.ts";

/** Makes a generator of numbers from 0 to 1; equal seeds give equal numbers. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const LISTED = Array.from({ length: 100 }, (_, i) => `file${i}`);

/**
 * A client whose connection is lost when a directory with the members `LISTED`
 * was read in part.
 */
async function interrupted(
  work: (client: Client, fs: MemoryFs) => Promise<void>,
): Promise<void> {
  const members = Object.fromEntries(LISTED.map((name) => [name, ""]));
  const fs = new MemoryFs({ d: members }, { mode: 0o777, uid: "none" });
  const served: Promise<void>[] = [];
  let reads = 0;
  const dialled = () => {
    const [near, far] = pair();
    served.push(serve(far, fs, {
      onMessage: ({ message }) => {
        // The last read, which would have found the end.
        if (message?.type === "Rread" && message.data.length === 0) {
          if (++reads === 1) far.close();
        }
      },
    }));
    return near;
  };
  {
    await using client = await connect(dialled(), {
      msize: 2048,
      reconnect: { dial: () => Promise.resolve(dialled()), minDelay: 0 },
    });
    await work(client, fs);
    assertEquals(served.length, 2);
  }
  await Promise.all(served);
}

test("reconnect: what takes a directory as a whole reads it once more", async () => {
  await interrupted(async (client) => {
    assertEquals(await client.readDirNames("d"), LISTED);
  });
  await interrupted(async (client) => {
    const api = await client.proxy<Record<string, () => void>>("d");
    assertEquals(Object.keys(api), LISTED);
  });
  await interrupted(async (client, fs) => {
    await client.copy("d", "e", { recursive: true });
    const names = fs.readDir("e").map(({ name }) => name);
    assertEquals(names.sort(), LISTED.toSorted());
  });
  await interrupted(async (client, fs) => {
    await client.remove("d", { recursive: true });
    assertEquals(fs.readDir("/"), []);
  });
});

test("reconnect: what has given members of a directory says that it must be read again", async () => {
  await interrupted(async (client) => {
    const names: string[] = [];
    const listing = async () => {
      for await (const { name } of client.readDir("d")) names.push(name);
    };
    const error = await failure(listing());
    assertStale(
      error,
      /^Cannot list "d": "\/d" was lost with the connection: a directory that was read in part must be read again from its beginning$/,
    );
    assertEquals(names, LISTED);
    names.length = 0;
    await listing();
    assertEquals(names, LISTED);
  });
});

for (let seed = 1; seed <= 20; seed++) {
  test(`reconnect: losses at any byte leave no fid behind (seed ${seed})`, async () => {
    const random = randomOf(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    const servers: ScriptedServer[] = [];
    const running: Promise<void>[] = [];
    const serveFrailly = (bytes: number): Connection => {
      const [near, far] = pair();
      const server = new ScriptedServer(far);
      servers.push(server);
      running.push(server.run((request) => {
        switch (request.type) {
          case "Tversion":
            return { type: "Rversion", msize: MSIZE, version: "9P2000" };
          case "Tattach":
            return { type: "Rattach", qid: qid(0, QTDIR) };
          case "Tread":
            return { type: "Rread", data: new Uint8Array(below(2) * 9) };
          default:
            return undefined;
        }
      }));
      return frail(near, bytes);
    };
    const dial = () => Promise.resolve(serveFrailly(100 + below(900)));
    const client = await connect(serveFrailly(400), {
      reconnect: { dial, minDelay: 0, attempts: Infinity },
    });
    const work = async () => {
      for (let i = 0; i < 10; i++) {
        const controller = new AbortController();
        const { signal } = controller;
        if (below(3) === 0) {
          queueMicrotask(() =>
            queueMicrotask(() => controller.abort("enough"))
          );
        }
        const path = Array.from({ length: below(20) }, () => "a");
        const calls = [
          () => client.stat(path, { signal }),
          () => client.readFile(path, { signal }),
          () => client.writeFile(path, new Uint8Array(9), { signal }),
          () => client.remove([...path, "a"], { signal }),
          () =>
            client.protocol.withFid(path, (fid) => client.stat(fid), {
              signal,
            }),
        ];
        // Some operations fail; the test checks only the state afterwards.
        await calls[below(calls.length)]?.().catch(() => {});
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    while (true) {
      const server = servers.at(-1);
      await client.stat(client.protocol.root);
      if (server === servers.at(-1)) break;
    }
    await client.stat(client.protocol.root);
    assertEquals([...servers.at(-1)?.fids ?? []], [0]);
    assert(servers.length > 5);
    assertEquals(client.protocol.allocFid(), 1);
    client.protocol.releaseFid(1);
    await client.close();
    await Promise.all(running);
  });
}
