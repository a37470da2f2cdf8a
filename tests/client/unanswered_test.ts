// A connection whose peer cannot hold back its client.

import { assert, assertEquals } from "@std/assert";
import { test } from "../harness.ts";
import { connect, MemoryFs, pair, serve } from "../../mod.ts";

const LIMIT = 100_000;

test("a client keeps below maxUnanswered, and other requests go on", async () => {
  const [near, far] = pair();
  const fs = new MemoryFs({ motd: "hello\n" });
  let underway = 0;
  let most = 0;
  const release: (() => void)[] = [];
  const names = Array.from({ length: 50 }, (_, i) => `slow${i}`);
  for (const name of names) {
    fs.define(name, {
      write: async ({ data }) => {
        underway += data.length;
        most = Math.max(most, underway);
        await new Promise<void>((resolve) => release.push(resolve));
        underway -= data.length;
      },
    });
  }
  const served = serve(far, fs);
  const client = await connect(
    Object.assign(near, { maxUnanswered: LIMIT }),
  );
  const writes = names.map((name) =>
    client.writeFile(name, new Uint8Array(30_000))
  );
  let isDone = false;
  const all = Promise.all(writes).then(() => isDone = true);
  while (!isDone) {
    // Requests without data do not wait for those with data.
    assertEquals(await client.readTextFile("motd"), "hello\n");
    for (const each of release.splice(0)) each();
  }
  await all;
  assert(most > 30_000 && most <= LIMIT, `${most} bytes at once`);
  await client.close();
  await served;
});

test("a request that is larger than maxUnanswered goes alone", async () => {
  const [near, far] = pair();
  const served = serve(far, new MemoryFs({}, { mode: 0o777 }));
  const client = await connect(Object.assign(near, { maxUnanswered: 10 }));
  const data = new Uint8Array(3_000_000).fill(7);
  await Promise.all(["a", "b"].map((name) => client.writeFile(name, data)));
  assertEquals(await client.readFile("a"), data);
  assertEquals(await client.readFile("b"), data);
  await client.close();
  await served;
});

test("an abort ends a write that waits for the peer", async () => {
  const [near, far] = pair();
  const fs = new MemoryFs();
  fs.define("never", { write: () => new Promise(() => {}) });
  const served = serve(far, fs, { onError: () => {} });
  const client = await connect(Object.assign(near, { maxUnanswered: 10 }));
  const abort = new AbortController();
  const writes = [1, 2, 3].map(() =>
    client.writeFile("never", new Uint8Array(10), { signal: abort.signal })
      .catch((error) => error.message)
  );
  await client.stat("/");
  abort.abort(new Error("enough"));
  assertEquals(await Promise.all(writes), ["enough", "enough", "enough"]);
  await client.close();
  await served;
});
