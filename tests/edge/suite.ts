// A small suite without a test runner, for places that have none: inside workerd
// and in a page of a browser.

import { decode, encode } from "../../codec.ts";
import {
  connect,
  MemoryFs,
  NinePError,
  pair,
  ProtocolError,
  serve,
} from "../../mod.ts";

/** The checks by name. A check that fails throws. */
const CHECKS: Record<string, () => Promise<void> | void> = {
  "codec: a message is encoded and decoded"() {
    const frame = encode({ type: "Tclunk", tag: 1, fid: 7 });
    equal([...frame], [11, 0, 0, 0, 120, 1, 0, 7, 0, 0, 0]);
    equal(decode(frame), { type: "Tclunk", tag: 1, fid: 7 });
  },

  async "files: made, written, read, listed, renamed, removed"() {
    const [near, far] = pair();
    const served = serve(far, new MemoryFs({}, { mode: 0o777 }));
    const client = await connect(near);
    await client.mkdir("a/b", { recursive: true });
    const data = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
    await client.writeFile("a/b/data", data);
    const back = await client.readFile("a/b/data");
    equal(back.length, data.length);
    equal(back.every((byte, i) => byte === i % 251), true);
    await client.rename("a/b/data", "a/b/other");
    equal(await client.readDirNames("a/b"), ["other"]);
    await client.remove("a", { recursive: true });
    equal(await client.exists("a"), false);
    await client.close();
    await served;
  },

  async "functions: values, errors, 100 at once, an abort"() {
    const fs = new MemoryFs();
    let aborted = false;
    fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
    fs.register("fail", () => {
      throw new NinePError("no");
    });
    fs.register("wait", ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          aborted = true;
          reject(signal.reason);
        });
      }), { context: true });
    const [near, far] = pair();
    const served = serve(far, fs);
    const client = await connect(near);
    const sums = await Promise.all(
      Array.from(
        { length: 100 },
        (_, i) => client.call<number>("add", { argv: [i, 1] }),
      ),
    );
    equal(sums.reduce((all, sum) => all + sum), 5050);
    equal((await caught(client.call("fail"))) instanceof NinePError, true);
    const abort = new AbortController();
    const call = caught(client.call("wait", { signal: abort.signal }));
    await client.stat("wait");
    abort.abort(new Error("enough"));
    equal(`${await call}`, "Error: enough");
    await client.close();
    await served;
    equal(aborted, true);
  },

  async "ports: a client and a server over a MessageChannel"() {
    const { port1, port2 } = new MessageChannel();
    const fs = new MemoryFs({ motd: "hello\n" }, { mode: 0o777 });
    const served = serve(port2, fs);
    const client = await connect(port1);
    equal(await client.readTextFile("motd"), "hello\n");
    await client.writeFile("data", new Uint8Array(2_000_000));
    equal((await client.stat("data")).length, 2_000_000);
    await client.close();
    await served;
  },

  async "errors: a peer that is no server"() {
    const [near, far] = pair();
    const writer = far.writable.getWriter();
    await writer.write(new TextEncoder().encode("HTTP/1.1 400 no\r\n\r\n"));
    equal((await caught(connect(near))) instanceof ProtocolError, true);
    far.close();
  },

  async "sockets: what this runtime lacks is said"() {
    if ("Deno" in globalThis || "Bun" in globalThis) return;
    const error = await caught(connect("unix:///nowhere", { timeout: 5000 }));
    equal(error instanceof ProtocolError, true);
  },
};

/** Runs all checks. Returns the names of those that passed, and the failures. */
export async function runSuite(): Promise<
  { passed: string[]; failed: string[] }
> {
  const passed: string[] = [];
  const failed: string[] = [];
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      await check();
      passed.push(name);
    } catch (error) {
      failed.push(`${name}: ${error}`);
    }
  }
  return { passed, failed };
}

function equal(actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${is} is not ${should}`);
}

async function caught(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("there was no error");
}
