// Every malformed request of testdata/, over real sockets and very often: each
// gets its answer, and other clients are not disturbed.
import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes";
import { connect } from "../../client.ts";
import { ProtocolError } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { listen } from "../../server.ts";
import { dial } from "../../transport.ts";
import { test } from "../harness.ts";
import { assertSteady, settledMemory } from "../live_memory.ts";
import { malformed, type MalformedRequest, Random } from "../codec/vectors.ts";
import { brief, T, WireClient } from "./wire_client.ts";

const FRAMES = 100_000;
/** Those of them after which memory is looked at for the first time. */
const WARM_UP = 20_000;
/** Connections that flood the server at the same time. */
const FLOODS = 4;
/** Frames of one write. */
const BATCH = 64;

const vectors = malformed();
/** Sent in a session; the others are the first that a connection says. */
const inSession = vectors.filter(({ fresh }) => !fresh);
const fresh = vectors.filter(({ fresh }) => fresh);

/**
 * Returns the frame with another tag. A frame without a header stays as it is.
 */
function tagged({ frame, expect }: MalformedRequest, tag: number): Uint8Array {
  if (expect === "close") return frame;
  const copy = frame.slice();
  copy[5] = tag;
  copy[6] = tag >> 8;
  return copy;
}

/** The state of the flood. */
class Flood {
  readonly #address: string;
  readonly #random: Random;
  /** Number of times that each vector was sent. */
  readonly sent: Map<string, number> = new Map();
  frames = 0;
  connections = 0;

  constructor(address: string, seed: number) {
    this.#address = address;
    this.#random = new Random(seed);
  }

  async #dial(): Promise<WireClient> {
    this.connections++;
    return new WireClient(await dial(this.#address));
  }

  #count({ name }: MalformedRequest): void {
    this.sent.set(name, (this.sent.get(name) ?? 0) + 1);
    this.frames++;
  }

  /** Sends frames until there were so many of them. */
  async run(frames: number): Promise<void> {
    let client: WireClient | undefined;
    while (this.frames < frames) {
      if (client === undefined) {
        if (this.#random.below(4) === 0) await this.#first();
        client = await this.#dial();
        await client.start(8192);
      }
      if (!await this.#batch(client)) {
        client.close();
        client = undefined;
      }
    }
    client?.close();
  }

  /** A frame that is the first of its connection. */
  async #first(): Promise<void> {
    using client = await this.#dial();
    const vector = this.#random.pick(fresh);
    this.#count(vector);
    client.raw(vector.frame);
    if (vector.expect === "close") return await client.end();
    const reply = await client.next().catch(() => undefined);
    if (reply !== undefined) assertEquals(reply.type, "Rerror", vector.name);
  }

  /** Many frames with one write; tells whether the connection goes on. */
  async #batch(client: WireClient): Promise<boolean> {
    const batch: MalformedRequest[] = [];
    while (batch.length < BATCH && batch.at(-1)?.expect !== "close") {
      const vector = this.#random.pick(inSession);
      batch.push(vector);
      this.#count(vector);
    }
    client.raw(concat(batch.map((vector, tag) => tagged(vector, tag))));
    for (const [tag, { name, expect }] of batch.entries()) {
      if (expect === "close") {
        await client.end();
        return false;
      }
      const reply = await client.next().catch((error) => {
        if (expect === "either") return undefined; // The end, which will do.
        throw new Error(`${name}: ${error.message}`, { cause: error });
      });
      if (reply === undefined) return false;
      assertEquals([reply.type, reply.tag], ["Rerror", tag], name);
    }
    // The flood has changed no file.
    assertEquals(brief(await client.rpc(T.stat(1, 0))), "Rstat 1 /");
    assertEquals(brief(await client.rpc(T.clunk(1, 1))), UNKNOWN_FID);
    return true;
  }
}

const UNKNOWN_FID = "Rerror 1 fid unknown or out of range";

/** Works as if nothing else went on, until told to stop; counts the rounds. */
async function work(
  address: string,
  uname: string,
  isOver: () => boolean,
): Promise<number> {
  await using client = await connect(address, { uname, msize: 8192 });
  let rounds = 0;
  for (; !isOver(); rounds++) {
    const text = `${uname} ${rounds};`.repeat(1 + rounds % 2000);
    await client.writeTextFile(uname, text);
    assertEquals(await client.readTextFile(uname), text);
    assertEquals((await client.stat(uname)).length, text.length);
    assertEquals(await client.call("add", { argv: [rounds, 1] }), rounds + 1);
    await client.remove(uname);
  }
  return rounds;
}

test(`flood: ${FRAMES} malformed requests over TCP`, async () => {
  const fs = new MemoryFs({ a: "alpha" }, { mode: 0o777 });
  fs.register("add", (a: number, b: number) => a + b, { params: ["a", "b"] });
  const errors: unknown[] = [];
  await using server = await listen("tcp://127.0.0.1:0", fs, {
    onError: (error) => {
      if (!(error instanceof ProtocolError)) errors.push(error);
    },
  });
  const flood = new Flood(server.addr, 1);
  let isOver = false;
  const others = ["glenda", "rob"].map((uname) =>
    work(server.addr, uname, () => isOver)
  );
  const ended = Promise.allSettled(others);
  let before, after;
  try {
    const run = (frames: number) =>
      Promise.all(Array.from({ length: FLOODS }, () => flood.run(frames)));
    await run(WARM_UP);
    before = await settledMemory();
    await run(FRAMES);
    after = await settledMemory();
  } finally {
    isOver = true;
    await ended;
  }
  const rounds = await Promise.all(others);
  console.log(
    `flood: ${flood.frames} frames, ${flood.connections} connections, ` +
      `others: ${rounds.join(" and ")} rounds, ${assertSteady(before, after)}`,
  );
  assert(rounds.every((count) => count > 0), "the others were held up");
  assertEquals([...flood.sent.keys()].length, vectors.length);
  assertEquals(errors, []);
  assertEquals(fs.readDir("").map(({ name }) => name), ["a", "add"]);
});
