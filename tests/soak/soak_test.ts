// Soak test: many clients use one tree. Their operations are checked against a
// model, half of the connections are cut at random points, and nothing may be
// left at the end.
//
// NINEP_SOAK_SECONDS is the duration (3 by default), NINEP_SOAK_SEED the seed
// of the random numbers. The order of the requests of different clients depends
// on the runtime.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { deadline } from "@std/async";
import process from "node:process";
import { type Client, connect } from "../../client.ts";
import { NinePError, ProtocolError, QTDIR } from "../../codec.ts";
import { MemoryFs } from "../../fs/mod.ts";
import { serve } from "../../server.ts";
import {
  type Connection,
  dial,
  listen,
  type Listener,
  pair,
} from "../../transport.ts";
import { test } from "../harness.ts";
import {
  asTold,
  Chance,
  observe,
  same,
  show,
  type State,
  type Step,
} from "./model.ts";
import { dig, Kinds } from "./kinds.ts";
import type { Order } from "./resets.ts";
import { Shared } from "./shared.ts";
import { assertSteady, settledMemory } from "../live_memory.ts";
import { Census, ServedConnection, Wire } from "./watch.ts";
import { Random } from "../codec/vectors.ts";

const USERS = 200;
const SECONDS = setting("NINEP_SOAK_SECONDS", 3);
const SEED = setting("NINEP_SOAK_SEED", Date.now() % 1_000_000);
/** Bytes that the files may have together. */
const MAX_SIZE = 64 * 1024 * 1024;
/** Most names in the tree; a deep tree is among them. */
const MAX_FILES = 30_000;
/** Seconds before memory is measured. */
const WARM_UP = Math.min(5, SECONDS);
/** Time after the soak at which a client counts as hung. */
const PATIENCE_MS = 60_000;

/** A number from the environment, where the tests may read it. */
function setting(name: string, otherwise: number): number {
  try {
    return Number(process.env[name] ?? otherwise);
  } catch {
    return otherwise; // Deno, without --allow-env.
  }
}

/** The tree, how it is served, and for how long. */
class World {
  readonly fs = new MemoryFs({}, {
    maxSize: MAX_SIZE,
    maxFiles: MAX_FILES,
  });
  readonly shared = new Shared(this.fs);
  readonly kinds = new Kinds(this.fs);
  readonly census = new Census();
  readonly seconds: number;
  readonly listener: Listener;
  readonly accepting: Promise<void>;
  /** The first failure: the others stop, too. */
  failure: unknown;
  operations = 0;
  cuts = 0;
  resets = 0;
  aborts = 0;
  readonly #begin = performance.now();
  readonly #handler = this.census.watch(
    this.fs.handler,
    new Random(SEED),
  );

  constructor(listener: Listener, seconds: number) {
    this.listener = listener;
    this.seconds = seconds;
    this.accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    for await (const connection of this.listener) this.#serve(connection);
  }

  #serve(connection: Connection): void {
    new ServedConnection(connection, this.#handler, this.census);
  }

  /** Makes a connection that is served. */
  async dial(overTcp: boolean): Promise<Connection> {
    if (overTcp) return await dial(this.listener.addr);
    const [near, far] = pair();
    this.#serve(far);
    return near;
  }

  /** Counts an operation; tells whether there is time for another. */
  goesOn(): boolean {
    this.operations++;
    const isOver = performance.now() - this.#begin > this.seconds * 1000;
    return !isOver && this.failure === undefined;
  }
}

/** A user: one connection after the other, one operation after the other. */
class Person {
  readonly name: string;
  /** What it is doing. */
  step: Step | undefined;
  readonly #world: World;
  readonly #random: Random;
  readonly #chance: Chance;
  readonly #overTcp: boolean;
  readonly #isCut: boolean;
  #state: State;
  #wire: Wire | undefined;
  #client: Client | undefined;
  #served: ServedConnection | undefined;

  constructor(world: World, at: number) {
    this.name = `u${at}`;
    this.#world = world;
    this.#random = new Random(SEED * USERS + at);
    const { shared, kinds } = world;
    this.#chance = new Chance(this.name, this.#random, shared, kinds);
    this.#overTcp = at % 2 === 1;
    this.#isCut = at % 4 < 2;
    world.shared.addUser(this.name);
    this.#state = observe(world.fs, this.name);
  }

  get client(): Client {
    assert(this.#client !== undefined);
    return this.#client;
  }

  /** True when its connection is cut, or about to be. */
  get gone(): boolean {
    const { aborted = false } = this.#served?.stop.signal ?? {};
    return aborted || (this.#wire?.gone ?? false);
  }

  /** Works until the time is over. */
  async run(): Promise<void> {
    await this.#connect();
    for (let count = 0; this.#world.goesOn(); count++) {
      this.step = this.#chance.step(this.#state);
      try {
        await this.#perform(this.step);
      } catch (error) {
        const what = `${this.name}, operation ${count}: ${this.step.name}`;
        throw new Error(`${what}, seed ${SEED}: ${error}`, { cause: error });
      }
    }
    this.step = undefined;
    await this.#disconnect();
  }

  async #connect(): Promise<void> {
    const { name } = this;
    const connection = await this.#world.dial(this.#overTcp);
    // Chance of its own: how often it is asked is not for the seed to say.
    const random = new Random(this.#random.below(2 ** 32));
    this.#wire = new Wire(connection, random);
    const msize = this.#random.pick([600, 4096, 2 ** 16, 2 ** 20]);
    this.#client = await connect(this.#wire, { uname: name, msize });
    this.#chance.limit = this.#client.msize - 24;
    this.#served = this.#world.census.attached.get(name);
  }

  async #disconnect(): Promise<void> {
    if (!this.gone) await this.#checkNumbers();
    await this.client.close();
    await this.#served?.over;
    if (!this.gone) assertEquals([...this.#served?.tags ?? []], []);
  }

  /** Checks that the client has given back all fids and tags. */
  async #checkNumbers(): Promise<void> {
    const { client } = this;
    // What was given up comes to its end, and then is clunked.
    for (let round = 0; round < 6; round++) {
      await client.protocol.rpc({ type: "Tstat", fid: client.protocol.root });
    }
    const fid = client.protocol.allocFid(); // The lowest that is free.
    client.protocol.releaseFid(fid);
    assertEquals(fid, 1, "the client holds fids");
    assertEquals(this.#served?.lastTag ?? 0, 0, "the client holds tags");
  }

  async #perform(step: Step): Promise<void> {
    const { census } = this.#world;
    const abort = census.abort();
    const reason = new Error("given up");
    const trouble = this.#arm(() => abort.abort(reason));
    let known = true;
    try {
      await asTold(step, step.run(this, abort.signal));
    } catch (error) {
      const isExpected = error === reason ||
        (this.gone && error instanceof ProtocolError);
      if (!isExpected) throw error;
      known = false;
    }
    this.#wire?.arm(0, () => undefined);
    if (this.gone || (trouble === "abort" && step.late)) {
      await this.#disconnect();
      await this.#connect();
    } else if (!known) {
      await this.client.stat(""); // What was sent before is done then.
    }
    const state = observe(this.#world.fs, this.name);
    const candidates = known ? step.states.slice(-1) : step.states;
    const found = candidates.find((one) => same(one, state));
    if (found === undefined) {
      const expected = candidates.map(show).join("\n  or ");
      throw new Error(`found ${show(state)}\n  not ${expected}`);
    }
    this.#state = found;
  }

  /** Checks that the tree has what the model has. */
  check(): void {
    const state = observe(this.#world.fs, this.name);
    assertEquals(show(state), show(this.#state));
  }

  /** Prepares a trouble at one of the next writes, sometimes. */
  #arm(giveUp: () => void): "abort" | "cut" | undefined {
    const world = this.#world;
    const countdown = 1 + this.#random.below(6);
    const kind = this.#random.below(24);
    if (kind < 2) {
      this.#wire?.arm(countdown, () => {
        world.aborts++;
        queueMicrotask(giveUp);
        return undefined;
      });
      return "abort";
    }
    if (kind > 3 || !this.#isCut) return undefined;
    this.#wire?.arm(countdown, () => {
      world.cuts++;
      if (kind === 2) return "cut";
      this.#served?.stop.abort(); // By the server.
      return undefined;
    });
    return "cut";
  }
}

/** Checks that no byte and no name is held but those of the files that are there. */
function checkQuota(fs: MemoryFs): void {
  fs.remove("fn", { recursive: true }); // With all that functions hold.
  let held = 0;
  let names = 0;
  const look = (path: string) => {
    for (const { name, qid, length } of fs.readDir(path)) {
      names++;
      held += Number(length);
      if (qid.type & QTDIR) look(`${path}/${name}`);
    }
  };
  look("");
  fs.create("probe");
  fs.truncate("probe", MAX_SIZE - held);
  assertThrows(() => fs.truncate("probe", MAX_SIZE - held + 1), NinePError);
  fs.remove("probe");
  while (names++ < MAX_FILES) fs.create(`probe${names}`);
  assertThrows(() => fs.create("probe"), NinePError);
}

/** Has connections reset by another thread. */
class Resets {
  readonly #world: World;
  readonly #thread: Worker;
  readonly #counted: Promise<number>;

  constructor(world: World) {
    this.#world = world;
    const file = new URL("resets.ts", import.meta.url);
    this.#thread = new Worker(file, { type: "module" });
    this.#counted = new Promise((resolve, reject) => {
      this.#thread.onmessage = ({ data }) => resolve(data);
      this.#thread.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
    this.#counted.catch((error) => {
      world.failure ??= error;
    });
    const order: Order = { address: world.listener.addr, seed: SEED };
    this.#thread.postMessage(order);
  }

  /** Stops the thread, which counts its resets. */
  async stop(): Promise<void> {
    this.#thread.postMessage("stop");
    try {
      this.#world.resets = await deadline(this.#counted, PATIENCE_MS);
    } finally {
      this.#thread.terminate();
    }
  }
}

/** Digs with a client of its own. */
async function digAll(world: World): Promise<void> {
  const client = await connect(await world.dial(false), { uname: "deep" });
  await dig(world.fs, client, () => world.goesOn());
  await client.close();
}

/** Waits for all; names those who hang. */
async function all(people: Person[], world: World): Promise<void> {
  const runs = [
    ...people.map((person) => person.run()),
    digAll(world),
  ].map((run) =>
    run.catch((error) => {
      world.failure ??= error;
    })
  );
  const most = world.seconds * 1000 + PATIENCE_MS;
  await deadline(Promise.all(runs), most).catch((cause) => {
    const hanging = people.filter(({ step }) => step !== undefined)
      .map(({ name, step }) => `${name}: ${step?.name}`);
    throw new Error(`Hangs: ${hanging.join("; ")}`, { cause });
  });
  if (world.failure !== undefined) throw world.failure;
}

/** A soak of its own, with all checks: nothing of it is left. */
async function soak(seconds: number): Promise<void> {
  const world = new World(await listen("tcp://127.0.0.1:0"), seconds);
  const { fs, shared, census, listener } = world;
  const people = Array.from(
    { length: USERS },
    (_, at) => new Person(world, at),
  );
  const resets = new Resets(world);
  try {
    await all(people, world);
  } finally {
    await resets.stop();
    listener.close();
    for (const { stop } of census.served.values()) stop.abort();
    await world.accepting;
    await Promise.all([...census.served.values()].map(({ over }) => over));
    await Promise.allSettled(census.late); // Those that nobody waits for.
  }
  console.log(
    `soak: seed ${SEED}, ${seconds} s, ${world.operations} operations, ` +
      `${world.cuts} cuts, ${world.aborts} aborts, ${world.resets} resets`,
  );
  assertEquals([...new Set(census.errors.map(String))], []);
  assertEquals(census.served.size, 0, "connections are still served");
  assertEquals(census.fids.size, 0, "fids are not clunked");
  assertEquals(census.listeners.size, 0, "listeners are left on signals");
  for (const person of people) person.check();
  await shared.check();
  world.kinds.check();

  const [near, far] = pair();
  const served = serve(far, fs);
  const client = await connect(near);
  await using _excl = await client.open("shared/excl", { write: true });
  await client.close();
  await served;
  checkQuota(fs);
}

test(`soak: ${USERS} clients at one tree, half of them cut`, async () => {
  await soak(WARM_UP);
  const before = await settledMemory();
  await soak(SECONDS);
  console.log(`soak: ${assertSteady(before, await settledMemory())}`);
});
