// Connections that end anywhere, under a client that does many things at once.
import { assert, assertEquals } from "@std/assert";
import { test } from "./harness.ts";
import { frail, MSIZE } from "./reconnecting.ts";
import { qid, ScriptedServer } from "./scripted.ts";
import { connect } from "../client.ts";
import { QTDIR } from "../codec.ts";
import { type Connection, pair } from "../transport.ts";

/** Numbers from 0 to 1 that are the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

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
          () => client.withFid(path, (fid) => client.stat(fid), { signal }),
        ];
        // Some fail: what matters is what is left.
        await calls[below(calls.length)]?.().catch(() => {});
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    while (true) {
      const server = servers.at(-1);
      await client.stat(client.root);
      if (server === servers.at(-1)) break;
    }
    await client.stat(client.root);
    assertEquals([...servers.at(-1)?.fids ?? []], [0]);
    assert(servers.length > 5);
    assertEquals(client.allocFid(), 1);
    client.releaseFid(1);
    await client.close();
    await Promise.all(running);
  });
}
